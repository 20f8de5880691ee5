// The machine-config operator's own render, node and drain controllers, started against any API server: what they decide
// is what the tests hold the lab against. In: a kubeconfig and delays, as flags. Out: what the controllers write into
// that API, their log on standard error, and one JSON line on standard output when their caches are filled.
//
// It ends when standard input is closed, so that it cannot outlive the test that started it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "the cluster, and a user that may do what the operator may (required)")
	var delays delays
	// The render controller's five seconds are a constant of its package.
	flag.DurationVar(&delays.node, "node-delay", 5*time.Second, "between a change of a pool or node and a look at it")
	flag.DurationVar(&delays.drain, "drain-delay", 5*time.Second, "between a node's wish for a drain and the drain")
	flag.DurationVar(&delays.drainRetry, "drain-retry", time.Minute, "between two tries of a drain")
	flag.Parse()
	if *kubeconfig == "" {
		fail(fmt.Errorf("-kubeconfig is required"))
	}
	if err := run(*kubeconfig, delays); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "operator:", err)
	os.Exit(1)
}

func run(kubeconfig string, delays delays) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	// The client's own brake would be slower than the delays that the tests ask for.
	config.QPS, config.Burst = 1000, 1000
	informers, err := newInformers(config)
	if err != nil {
		return err
	}
	controllers, err := newControllers(config, informers, delays)
	if err != nil {
		return err
	}
	if err := informers.start(ctx); err != nil {
		return err
	}
	controllers.start(ctx)
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"synced": informers.kinds()}); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
	return nil
}
