package main

import (
	"context"
	"time"

	configv1 "github.com/openshift/api/config/v1"
	"github.com/openshift/api/features"
	mcoclient "github.com/openshift/client-go/machineconfiguration/clientset/versioned"
	"github.com/openshift/machine-config-operator/pkg/controller/common"
	"github.com/openshift/machine-config-operator/pkg/controller/drain"
	"github.com/openshift/machine-config-operator/pkg/controller/node"
	"github.com/openshift/machine-config-operator/pkg/controller/render"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// delays are how long the controllers wait, where they can be told; a real operator waits 5 s nearly everywhere.
type delays struct {
	node, drain, drainRetry time.Duration
}

// controllers are the three that decide a rollout. The others of the operator only make MachineConfigs of other objects.
type controllers struct {
	render *render.Controller
	node   *node.Controller
	drain  *drain.Controller
}

func newControllers(config *rest.Config, informers *informers, delays delays) (*controllers, error) {
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	mco, err := mcoclient.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	// All off: nobody here plays what they would wait for.
	gates := common.NewFeatureGatesHardcodedHandler(nil, []configv1.FeatureGateName{
		features.FeatureGatePinnedImages,
		features.FeatureGateMachineConfigNodes,
		features.FeatureGateOnClusterBuild,
	})
	kinds := informers.mco.Machineconfiguration().V1()
	core := informers.kube.Core().V1()
	return &controllers{
		render: render.New(
			kinds.MachineConfigPools(), kinds.MachineConfigs(), kinds.ControllerConfigs(),
			kinds.ContainerRuntimeConfigs(), kinds.KubeletConfigs(), kube, mco,
		),
		node: node.NewWithCustomUpdateDelay(
			kinds.ControllerConfigs(), kinds.MachineConfigs(), kinds.MachineConfigPools(), core.Nodes(), core.Pods(),
			kinds.MachineOSConfigs(), informers.config.Config().V1().Schedulers(), kube, mco, delays.node, gates,
		),
		drain: drain.New(drainConfig(delays), core.Nodes(), kinds.MachineConfigPools(), kube, mco, gates),
	}, nil
}

func drainConfig(delays delays) drain.Config {
	config := drain.DefaultConfig()
	config.UpdateDelay = delays.drain
	config.DrainRequeueDelay = delays.drainRetry
	// After a write that another one overtook; ten seconds of a real cluster's patience.
	config.CordonOrUncordonBackoff.Duration = delays.drain
	return config
}

// start runs them with as many workers as the operator gives them, until the context ends. The drain controller gets one
// instead of five: its workers share a map without a lock (drain_controller.go `ongoingDrains`), so that two drains at the
// same moment can end the whole program. In a cluster its pod is started again.
func (c *controllers) start(ctx context.Context) {
	go c.render.Run(2, ctx.Done())
	go c.node.Run(2, ctx.Done())
	go c.drain.Run(1, ctx.Done())
}
