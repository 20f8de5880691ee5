package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// execRequest is what the caller's server is asked when somebody runs a command in a container.
type execRequest struct {
	Namespace string   `json:"namespace"`
	Pod       string   `json:"pod"`
	Container string   `json:"container"`
	Command   []string `json:"command"`
	Stdin     []byte   `json:"stdin"`
}

// execAnswer is what the container would have said.
type execAnswer struct {
	Stdout []byte `json:"stdout"`
	Stderr []byte `json:"stderr"`
	Code   int    `json:"code"`
}

// startKubelet serves exec as a kubelet does, keeps pods that are bound to a node Running, and lets deleted ones go.
// It returns the port for the nodes' status.daemonEndpoints.kubeletEndpoint.
func startKubelet(ctx context.Context, server *apiServer, execURL string) (int, error) {
	client, err := server.client()
	if err != nil {
		return 0, err
	}
	certificate, err := selfSigned()
	if err != nil {
		return 0, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	handler := &execHandler{url: execURL}
	web := &http.Server{
		Handler: handler,
		// The API server speaks HTTP/1.1 to kubelets: upgrades need it.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		TLSConfig:    &tls.Config{Certificates: []tls.Certificate{certificate}},
	}
	go func() { _ = web.ServeTLS(listener, "", "") }()
	go runPods(ctx, client)
	return listener.Addr().(*net.TCPAddr).Port, nil
}

type execHandler struct{ url string }

func (h *execHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// /exec/NAMESPACE/POD/CONTAINER, or with the pod's uid before the container.
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) < 4 || parts[0] != "exec" {
		http.NotFound(w, r)
		return
	}
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	executor := &executor{url: h.url, namespace: parts[1]}
	remotecommand.ServeExec(w, r, executor, parts[2], "", parts[len(parts)-1], r.URL.Query()["command"], options,
		time.Hour, 30*time.Second, remotecommand.SupportedStreamingProtocols)
}

type executor struct{ url, namespace string }

func (e *executor) ExecInContainer(ctx context.Context, pod, _ string, container string, command []string,
	in io.Reader, out, errOut io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	question := execRequest{Namespace: e.namespace, Pod: pod, Container: container, Command: command}
	if in != nil {
		stdin, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		question.Stdin = stdin
	}
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("no answer for exec: %w", err)
	}
	defer response.Body.Close()
	var answer execAnswer
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("answer for exec: %w", err)
	}
	if out != nil {
		if _, err := out.Write(answer.Stdout); err != nil {
			return err
		}
	}
	if errOut != nil {
		if _, err := errOut.Write(answer.Stderr); err != nil {
			return err
		}
	}
	if answer.Code != 0 {
		return exitError(answer.Code)
	}
	return nil
}

// exitError carries a command's exit status to the client.
type exitError int

var _ utilexec.ExitError = exitError(0)

func (e exitError) Error() string { return e.String() }
func (e exitError) String() string {
	return fmt.Sprintf("command terminated with exit code %d", int(e))
}
func (e exitError) Exited() bool    { return true }
func (e exitError) ExitStatus() int { return int(e) }

// runPods is the other half of a kubelet: bound pods run, deleted pods go.
func runPods(ctx context.Context, client *kubernetes.Clientset) {
	for ctx.Err() == nil {
		list, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		if err == nil {
			for i := range list.Items {
				settle(ctx, client, &list.Items[i])
			}
			watch, err := client.CoreV1().Pods("").Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
			if err == nil {
				for event := range watch.ResultChan() {
					if pod, ok := event.Object.(*v1.Pod); ok {
						settle(ctx, client, pod)
					}
				}
				continue
			}
		}
		time.Sleep(100 * time.Millisecond) // the API server is not to be reached; try again soon
	}
}

func settle(ctx context.Context, client *kubernetes.Clientset, pod *v1.Pod) {
	pods := client.CoreV1().Pods(pod.Namespace)
	if pod.DeletionTimestamp != nil {
		now := int64(0)
		_ = pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		return
	}
	if pod.Spec.NodeName == "" || pod.Status.Phase == v1.PodRunning {
		return
	}
	running := pod.DeepCopy()
	running.Status.Phase = v1.PodRunning
	running.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}
	running.Status.ContainerStatuses = nil
	for _, container := range pod.Spec.Containers {
		running.Status.ContainerStatuses = append(running.Status.ContainerStatuses, v1.ContainerStatus{
			Name: container.Name, Ready: true, Image: container.Image,
			State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.Now()}},
		})
	}
	_, _ = pods.UpdateStatus(ctx, running, metav1.UpdateOptions{}) // a conflict comes back as the next event
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
