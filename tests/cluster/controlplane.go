// The control plane: etcd, the API server and the controllers, as processes of the launcher.
package main

import (
	_ "embed"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"
)

const (
	serviceRange    = "10.96.0.0/16"
	kubernetesIP    = "10.96.0.1" // the first address of the range: Service default/kubernetes
	adminName       = "admin"
	tokenIssuer     = "https://kubernetes.default.svc"
	loopbackAddress = "127.0.0.1"
)

//go:embed manifests/audit-policy.yaml
var auditPolicy string

type controlPlane struct {
	*run
	address string // where the API server listens
	server  string // its URL
	keys    *authority
	api     *apiClient
	kube    string // folder of the Kubernetes programs
}

// runControlPlane is the whole of the control-plane tier.
func runControlPlane(folder string, command []string) (int, error) {
	r := newRun(controlPlaneTier, folder)
	defer r.kill()
	return r.afterBoot(r.bootControlPlane(), nil, command)
}

func (r *run) bootControlPlane() error {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	plane, err := r.newControlPlane(loopbackAddress, ports[0])
	if err != nil {
		return err
	}
	// Nobody reaches a loopback address through the Service default/kubernetes: it stays without endpoints.
	if err := plane.startAPIServer(ports[1], ports[2], "--endpoint-reconciler-type=none"); err != nil {
		return err
	}
	if err := plane.awaitAPIServer(); err != nil {
		return err
	}
	if err := plane.startControllers(); err != nil {
		return err
	}
	return plane.awaitDefaultAccount()
}

// newControlPlane makes keys and kubeconfigs; nothing runs yet.
func (r *run) newControlPlane(address string, port int) (*controlPlane, error) {
	program, err := kubePart.program()
	if err != nil {
		return nil, err
	}
	keys, err := newAuthority(r.path("keys"))
	if err != nil {
		return nil, err
	}
	plane := &controlPlane{
		run: r, address: address, keys: keys, kube: filepath.Dir(program),
		server: "https://" + net.JoinHostPort(address, strconv.Itoa(port)),
	}
	err = errors.Join(
		keys.issueTokenKey("tokens"),
		keys.issue("api-server", identity{
			name:      "kube-apiserver",
			addresses: []net.IP{net.ParseIP(address), net.ParseIP(loopbackAddress), net.ParseIP(kubernetesIP)},
			hosts:     []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		}),
		// The API server shows this one to kubelets.
		keys.issue("api-server-client", identity{name: "kube-apiserver", groups: []string{"system:masters"}}),
		keys.issue(adminName, identity{name: adminName, groups: []string{"system:masters"}}),
		keys.writeKubeconfig(r.kubeconfig(), plane.server, adminName),
		r.write("audit-policy.yaml", auditPolicy),
	)
	if err != nil {
		return nil, err
	}
	plane.api, err = newAPIClient(plane.server, keys, adminName)
	return plane, err
}

// startAPIServer starts etcd and the API server, which waits for etcd by itself.
func (c *controlPlane) startAPIServer(etcdPort, etcdPeerPort int, more ...string) error {
	etcd := fmt.Sprintf("http://%s:%d", loopbackAddress, etcdPort)
	etcdPeer := fmt.Sprintf("http://%s:%d", loopbackAddress, etcdPeerPort)
	err := c.start("etcd", filepath.Join(c.kube, "etcd"), nil,
		"--name=only", "--data-dir="+c.path("etcd"),
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls="+etcdPeer, "--initial-advertise-peer-urls="+etcdPeer, "--initial-cluster=only="+etcdPeer,
		// The data lives as long as the run: there is nothing to save from a power cut.
		"--unsafe-no-fsync", "--log-level=warn",
	)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(c.server[len("https://"):])
	if err != nil {
		return err
	}
	return c.start("kube-apiserver", filepath.Join(c.kube, "kube-apiserver"), nil, append([]string{
		"--etcd-servers=" + etcd,
		"--secure-port=" + port, "--advertise-address=" + c.address,
		"--cert-dir=" + c.path("keys"),
		"--tls-cert-file=" + c.keys.certificateFile("api-server"), "--tls-private-key-file=" + c.keys.keyFile("api-server"),
		"--client-ca-file=" + c.keys.certificateFile("ca"),
		"--kubelet-certificate-authority=" + c.keys.certificateFile("ca"),
		"--kubelet-client-certificate=" + c.keys.certificateFile("api-server-client"), "--kubelet-client-key=" + c.keys.keyFile("api-server-client"),
		// Nobody resolves the node's name here.
		"--kubelet-preferred-address-types=InternalIP",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-cluster-ip-range=" + serviceRange,
		"--service-account-issuer=" + tokenIssuer,
		"--service-account-signing-key-file=" + c.keys.keyFile("tokens"), "--service-account-key-file=" + filepath.Join(c.keys.folder, "tokens.pub"),
		// A token ends when it says so: the year of grace would hide a token that nobody renews.
		"--service-account-extend-token-expiration=false",
		// As in common installers. What may really be privileged is up to Pod Security.
		"--allow-privileged",
		"--audit-policy-file=" + c.path("audit-policy.yaml"), "--audit-log-path=" + c.auditLog(), "--audit-log-format=json",
		// One file per run: no rotation while a test reads it.
		"--audit-log-maxsize=100000",
	}, more...)...)
}

func (c *controlPlane) awaitAPIServer() error {
	err := c.await("the API server is ready", time.Minute, func() error { return c.api.get("/readyz", nil) })
	if err == nil {
		say("etcd and API server ready (%s)", since(c.started))
	}
	return err
}

func (c *controlPlane) startControllers(more ...string) error {
	kubeconfig, err := c.componentKubeconfig("kube-controller-manager", identity{name: "system:kube-controller-manager"})
	if err != nil {
		return err
	}
	return c.start("kube-controller-manager", filepath.Join(c.kube, "kube-controller-manager"), nil, append([]string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--secure-port=0", "--leader-elect=false",
		// The default makes the start wait for its own rate limit.
		"--kube-api-qps=500", "--kube-api-burst=1000",
		"--use-service-account-credentials",
		"--service-account-private-key-file=" + c.keys.keyFile("tokens"), "--root-ca-file=" + c.keys.certificateFile("ca"),
		"--cluster-signing-cert-file=" + c.keys.certificateFile("ca"), "--cluster-signing-key-file=" + c.keys.keyFile("ca"),
	}, more...)...)
}

// componentKubeconfig gives a component its own user, so that it has the rights it has in any cluster and no more.
func (c *controlPlane) componentKubeconfig(component string, holder identity) (string, error) {
	file := c.path(filepath.Join("keys", component+".kubeconfig"))
	return file, errors.Join(c.keys.issue(component, holder), c.keys.writeKubeconfig(file, c.server, component))
}

// awaitDefaultAccount waits for the sign that the controllers work, without which no Pod could be created.
func (c *controlPlane) awaitDefaultAccount() error {
	err := c.await("the default ServiceAccount exists", time.Minute, func() error {
		return c.api.get("/api/v1/namespaces/default/serviceaccounts/default", nil)
	})
	if err == nil {
		say("controllers ready (%s)", since(c.started))
	}
	return err
}

// freePorts holds all listeners before it lets go of the first, so that the ports differ.
func freePorts(count int) ([]int, error) {
	ports := make([]int, count)
	for i := range ports {
		listener, err := net.Listen("tcp", net.JoinHostPort(loopbackAddress, "0"))
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer listener.Close()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
