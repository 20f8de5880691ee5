package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	// Keeps the module in go.mod, so that `go list -m` finds the folder of its CRDs.
	_ "github.com/openshift/api/machineconfiguration/v1"
)

var crdResource = schema.GroupVersionResource{
	Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
}

// crdFolders are the parts of OpenShift's API that a rollout of an OS image reads or writes.
var crdFolders = []string{
	"machineconfiguration/v1/zz_generated.crd-manifests",
	"config/v1/zz_generated.crd-manifests",
	"operator/v1/zz_generated.crd-manifests",
}

// wantedCRDs are the kinds that are installed; the folders hold many more.
var wantedCRDs = []string{
	"machineconfigs", "machineconfigpools", "controllerconfigs", "machineconfignodes", "machineosconfigs",
	"machineosbuilds", "pinnedimagesets", "kubeletconfigs", "containerruntimeconfigs", "clusterversions",
	"clusteroperators", "infrastructures", "schedulers", "imagedigestmirrorsets", "imagetagmirrorsets",
	"machineconfigurations",
}

// prepare makes the namespaces and kinds that an OpenShift cluster has.
func prepare(ctx context.Context, server *apiServer, crds string) error {
	client, err := server.client()
	if err != nil {
		return err
	}
	for _, name := range []string{"openshift-machine-config-operator", "openshift-config", "openshift-config-managed"} {
		body := []byte(fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, name))
		err := client.CoreV1().RESTClient().Post().AbsPath("/api/v1/namespaces").Body(body).
			SetHeader("Content-Type", "application/json").Do(ctx).Error()
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("namespace %s: %w", name, err)
		}
	}
	if crds == "" {
		return nil
	}
	files, err := chooseCRDs(crds)
	if err != nil {
		return err
	}
	dynamicClient, err := dynamic.NewForConfig(server.config())
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := install(ctx, dynamicClient, file); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
	}
	return nil
}

// chooseCRDs picks one file a kind: the default feature set where there are several, and the self-managed variant.
func chooseCRDs(module string) ([]string, error) {
	chosen := map[string]string{}
	for _, folder := range crdFolders {
		files, err := filepath.Glob(filepath.Join(module, folder, "*.crd.yaml"))
		if err != nil {
			return nil, err
		}
		sort.Strings(files)
		for _, file := range files {
			base := strings.TrimSuffix(filepath.Base(file), ".crd.yaml")
			plural, variant, _ := strings.Cut(base[strings.LastIndex(base, "_")+1:], "-")
			switch variant {
			case "", "Default", "SelfManagedHA", "SelfManagedHA-Default":
				chosen[plural] = file
			}
		}
	}
	var files []string
	for _, plural := range wantedCRDs {
		file, found := chosen[plural]
		if !found {
			return nil, fmt.Errorf("no CRD of %s in %s", plural, module)
		}
		files = append(files, file)
	}
	return files, nil
}

func install(ctx context.Context, client dynamic.Interface, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var object unstructured.Unstructured
	if err := yaml.Unmarshal(text, &object.Object); err != nil {
		return err
	}
	crds := client.Resource(crdResource)
	if _, err := crds.Create(ctx, &object, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		current, err := crds.Get(ctx, object.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(current.Object, "status", "conditions")
		for _, condition := range conditions {
			if c, ok := condition.(map[string]any); ok && c["type"] == "Established" && c["status"] == "True" {
				return nil
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("not established after a minute")
}
