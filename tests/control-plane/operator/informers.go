package main

import (
	"context"
	"fmt"
	"reflect"
	"sort"
	"time"

	configclient "github.com/openshift/client-go/config/clientset/versioned"
	configinformers "github.com/openshift/client-go/config/informers/externalversions"
	mcoclient "github.com/openshift/client-go/machineconfiguration/clientset/versioned"
	mcoinformers "github.com/openshift/client-go/machineconfiguration/informers/externalversions"
	kubeinformers "k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// informers are the caches that the controllers share, one factory for each API that they watch.
type informers struct {
	kube   kubeinformers.SharedInformerFactory
	mco    mcoinformers.SharedInformerFactory
	config configinformers.SharedInformerFactory
	synced []string
}

// resync is how often controllers are told of everything again; a test never lives that long.
const resync = time.Hour

func newInformers(config *rest.Config) (*informers, error) {
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	mco, err := mcoclient.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	openshift, err := configclient.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &informers{
		kube:   kubeinformers.NewSharedInformerFactory(kube, resync),
		mco:    mcoinformers.NewSharedInformerFactory(mco, resync),
		config: configinformers.NewSharedInformerFactory(openshift, resync),
	}, nil
}

// start fills the caches that controllers have asked for by now; it returns when all are filled.
func (i *informers) start(ctx context.Context) error {
	i.kube.Start(ctx.Done())
	i.mco.Start(ctx.Done())
	i.config.Start(ctx.Done())
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, synced := range []map[reflect.Type]bool{
		i.kube.WaitForCacheSync(limited.Done()),
		i.mco.WaitForCacheSync(limited.Done()),
		i.config.WaitForCacheSync(limited.Done()),
	} {
		for kind, is := range synced {
			if !is {
				return fmt.Errorf("no list of %s after a minute", kind)
			}
			i.synced = append(i.synced, kind.Elem().Name())
		}
	}
	sort.Strings(i.synced)
	return nil
}

// kinds are those whose caches are filled.
func (i *informers) kinds() []string { return i.synced }
