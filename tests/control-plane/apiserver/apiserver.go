package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

const (
	adminUser = "admin"
	// layerplayUser has no group of its own: what it may do, RBAC says.
	layerplayUser = "layerplay"
)

type apiServer struct {
	dir    string
	url    string
	ca     string
	tokens map[string]string
}

// startAPIServer starts the real API server and waits until /readyz answers 200.
func startAPIServer(ctx context.Context, dir, etcd string) (*apiServer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	certs := filepath.Join(dir, "certs")
	server := &apiServer{
		dir:    dir,
		url:    "https://127.0.0.1:" + strconv.Itoa(port),
		ca:     filepath.Join(certs, "apiserver.crt"),
		tokens: map[string]string{adminUser: token(), layerplayUser: token()},
	}
	tokens := filepath.Join(dir, "tokens.csv")
	lines := fmt.Sprintf("%s,%s,1,\"system:masters\"\n%s,%s,2,\n",
		server.tokens[adminUser], adminUser, server.tokens[layerplayUser], layerplayUser)
	if err := os.WriteFile(tokens, []byte(lines), 0o600); err != nil {
		return nil, err
	}
	key, err := serviceAccountKey(filepath.Join(dir, "service-account.key"))
	if err != nil {
		return nil, err
	}
	command := app.NewAPIServerCommand()
	command.SetArgs([]string{
		"--etcd-servers=" + etcd,
		"--secure-port=" + strconv.Itoa(port),
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--cert-dir=" + certs,
		"--token-auth-file=" + tokens,
		"--authorization-mode=RBAC",
		"--disable-admission-plugins=ServiceAccount", // no controller makes service accounts here
		"--allow-privileged",
		"--service-cluster-ip-range=10.0.0.0/24",
		"--endpoint-reconciler-type=none",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file=" + key,
		"--service-account-key-file=" + key,
		"--v=0",
	})
	ended := make(chan error, 1)
	go func() { ended <- command.ExecuteContext(ctx) }()
	deadline := time.After(2 * time.Minute)
	for {
		if client, err := server.client(); err == nil {
			if _, err := client.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err == nil {
				return server, server.writeKubeconfigs()
			}
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("ended before it was ready: %w", err)
		case <-deadline:
			return nil, fmt.Errorf("not ready after two minutes")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *apiServer) config() *rest.Config {
	return &rest.Config{
		Host:            s.url,
		BearerToken:     s.tokens[adminUser],
		TLSClientConfig: rest.TLSClientConfig{CAFile: s.ca},
		QPS:             1000,
		Burst:           1000,
	}
}

func (s *apiServer) client() (*kubernetes.Clientset, error) {
	return kubernetes.NewForConfig(s.config())
}

func (s *apiServer) kubeconfig(user string) string {
	return filepath.Join(s.dir, user+".kubeconfig")
}

func (s *apiServer) writeKubeconfigs() error {
	ca, err := os.ReadFile(s.ca)
	if err != nil {
		return err
	}
	for user, token := range s.tokens {
		config := clientcmdapi.NewConfig()
		config.Clusters["test"] = &clientcmdapi.Cluster{Server: s.url, CertificateAuthorityData: ca}
		config.AuthInfos[user] = &clientcmdapi.AuthInfo{Token: token}
		config.Contexts[user] = &clientcmdapi.Context{Cluster: "test", AuthInfo: user}
		config.CurrentContext = user
		if err := clientcmd.WriteToFile(*config, s.kubeconfig(user)); err != nil {
			return err
		}
	}
	return nil
}

// freePort asks the system for a port. The API server takes a number, not a listener.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func token() string {
	bytes := make([]byte, 16)
	_, _ = rand.Read(bytes) // never fails, by its documentation
	return hex.EncodeToString(bytes)
}

func serviceAccountKey(path string) (string, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", err
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return path, os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
}
