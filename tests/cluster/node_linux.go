// The node: containerd, the kubelet, kube-proxy and the scheduler, around a control plane that listens on the node's
// address. Network policy and DNS have files of their own.
package main

import (
	"embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

const (
	containerdSocket = "/run/containerd/containerd.sock"
	apiServerPort    = 6443
	etcdPort         = 2379
	etcdPeerPort     = 2380
	nodeReadyLimit   = 2 * time.Minute
)

//go:embed manifests
var manifests embed.FS

// settings are what the files in manifests/ leave open.
type settings struct {
	Folder, NodeName, NodeAddress, PodRange, DNSAddress, ContainerdSocket string
	PauseImage, CoreDNSImage, ControlGroupVersion2                        string
}

func (r *run) bootNode() error {
	plane, err := r.newControlPlane(nodeAddress, apiServerPort)
	if err != nil {
		return err
	}
	if err := plane.startAPIServer(etcdPort, etcdPeerPort); err != nil {
		return err
	}
	// What does not need the API server happens while it starts.
	if err := r.startContainerd(); err != nil {
		return err
	}
	if err := r.loadOwnImages(); err != nil {
		return err
	}
	if err := plane.awaitAPIServer(); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return plane.startControllers("--allocate-node-cidrs", "--cluster-cidr="+podRange) },
		plane.startScheduler,
		plane.startKubelet,
		plane.startKubeProxy,
		plane.startCilium,
		plane.installDNS,
		plane.awaitDefaultAccount,
		plane.awaitCilium,
		plane.awaitNode,
		plane.awaitDNS,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) startContainerd() error {
	plugin, err := loopbackPlugin()
	if err != nil {
		return err
	}
	cilium, err := ciliumCNIPart.program()
	if err != nil {
		return err
	}
	plugins := r.path("cni/bin")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		return err
	}
	for _, program := range []string{plugin, cilium} {
		if err := os.Symlink(program, filepath.Join(plugins, filepath.Base(program))); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(r.path("cni/conf"), 0o755); err != nil {
		return err
	}
	config, err := r.render("containerd.toml")
	if err != nil {
		return err
	}
	if err := r.start("containerd", "containerd", nil, "--config", config); err != nil {
		return err
	}
	return r.await("containerd listens", time.Minute, func() error {
		connection, err := net.Dial("unix", containerdSocket)
		if err == nil {
			connection.Close()
		}
		return err
	})
}

// loadOwnImages loads the images that were packed when the programs were built.
func (r *run) loadOwnImages() error {
	for _, p := range []part{pausePart, corednsPart} {
		program, err := p.program()
		if err != nil {
			return err
		}
		if err := loadImages(containerdSocket, []string{program + ".tar"}); err != nil {
			return err
		}
	}
	return nil
}

func (c *controlPlane) startScheduler() error {
	kubeconfig, err := c.componentKubeconfig("kube-scheduler", identity{name: "system:kube-scheduler"})
	if err != nil {
		return err
	}
	return c.start("kube-scheduler", filepath.Join(c.kube, "kube-scheduler"), nil,
		"--kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
		"--secure-port=0", "--leader-elect=false")
}

func (c *controlPlane) startKubelet() error {
	// One certificate for both directions: the node towards the API server, and the API server's way back.
	kubeconfig, err := c.componentKubeconfig("kubelet", identity{
		name: "system:node:" + nodeName, groups: []string{"system:nodes"},
		addresses: []net.IP{net.ParseIP(nodeAddress)}, hosts: []string{nodeName},
	})
	if err != nil {
		return err
	}
	config, err := c.render("kubelet.yaml")
	if err != nil {
		return err
	}
	if err := c.write("resolv.conf", ""); err != nil {
		return err
	}
	return c.start("kubelet", filepath.Join(c.kube, "kubelet"), nil,
		"--config="+config, "--kubeconfig="+kubeconfig, "--root-dir="+c.path("kubelet"), "--cert-dir="+c.path("keys"),
		"--hostname-override="+nodeName, "--node-ip="+nodeAddress)
}

func (c *controlPlane) startKubeProxy() error {
	if _, err := c.componentKubeconfig("kube-proxy", identity{name: "system:kube-proxy"}); err != nil {
		return err
	}
	config, err := c.render("kube-proxy.yaml")
	if err != nil {
		return err
	}
	return c.start("kube-proxy", filepath.Join(c.kube, "kube-proxy"), nil, "--config="+config)
}

func (c *controlPlane) awaitNode() error {
	err := c.await("the node is ready", nodeReadyLimit, func() error {
		return c.api.hasCondition("/api/v1/nodes/"+nodeName, "Ready")
	})
	if err == nil {
		say("node ready (%s)", since(c.started))
	}
	return err
}

// render fills a file from manifests/ and gives the path of the result.
func (r *run) render(name string) (string, error) {
	parsed, err := template.New(name).Option("missingkey=error").ParseFS(manifests, "manifests/"+name)
	if err != nil {
		return "", err
	}
	values := settings{
		Folder: r.folder, NodeName: nodeName, NodeAddress: nodeAddress, PodRange: podRange,
		DNSAddress: dnsAddress, ContainerdSocket: containerdSocket, PauseImage: pauseImage, CoreDNSImage: corednsImage,
	}
	if values.ControlGroupVersion2, err = controlGroupVersion2(); err != nil {
		return "", err
	}
	var text strings.Builder
	if err := parsed.Execute(&text, values); err != nil {
		return "", fmt.Errorf("fill %s: %w", name, err)
	}
	return r.path(name), r.write(name, text.String())
}

// apply gives manifests to the API server. The controllers and the node do not have to be there yet.
func (c *controlPlane) apply(what string, files ...string) error {
	arguments := []string{"--kubeconfig", c.kubeconfig(), "apply", "--server-side"}
	for _, file := range files {
		arguments = append(arguments, "--filename", file)
	}
	kubectl := exec.Command(filepath.Join(c.kube, "kubectl"), arguments...)
	kubectl.Env = append(os.Environ(), kubectlCache(c.run))
	if output, err := kubectl.CombinedOutput(); err != nil {
		return fmt.Errorf("apply %s: %w\n%s", what, err, output)
	}
	return nil
}
