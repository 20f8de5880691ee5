// A Kubernetes control plane for tests, in one process: etcd, the real API server with RBAC on, and a stand-in kubelet
// that answers exec. In: flags. Out: a folder with kubeconfigs, and one JSON line on standard output when it is ready.
//
// Everything listens on loopback, on ports that the system chooses; all data is in the folder that the caller gives and
// removes. It ends when standard input is closed, so that it cannot outlive the test that started it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	dir := flag.String("dir", "", "folder for data, certificates and kubeconfigs (required)")
	crds := flag.String("crds", "", "folder of the Go module github.com/openshift/api; its CRDs are installed")
	execURL := flag.String("exec-url", "", "where exec requests are answered: POST of a JSON execRequest, answer a JSON execAnswer")
	flag.Parse()
	if *dir == "" {
		fail(fmt.Errorf("-dir is required"))
	}
	if err := run(*dir, *crds, *execURL); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "control-plane:", err)
	os.Exit(1)
}

func run(dir, crds, execURL string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	etcd, err := startEtcd(filepath.Join(dir, "etcd"))
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	server, err := startAPIServer(ctx, dir, etcd)
	if err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	if err := prepare(ctx, server, crds); err != nil {
		return err
	}
	port, err := startKubelet(ctx, server, execURL)
	if err != nil {
		return fmt.Errorf("kubelet: %w", err)
	}
	ready := map[string]any{
		"admin":        server.kubeconfig(adminUser),
		"layerplay":    server.kubeconfig(layerplayUser),
		"url":          server.url,
		"kubelet_port": port,
	}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	// The caller holds the other end: when it goes away, however it goes, this process ends at once. An orderly stop
	// of the API server waits for open watches, and its data is temporary.
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
	return nil
}
