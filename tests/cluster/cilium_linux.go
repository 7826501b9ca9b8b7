// Cilium: the network of the Pods, and what makes a NetworkPolicy more than an object. Only its agent and CNI plugin run:
// no proxy, no operator, no rules of its own in the packet filter; kube-proxy keeps the Services.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

func (c *controlPlane) startCilium() error {
	sources, err := ciliumSourcesPart.folder()
	if err != nil {
		return err
	}
	// The agent writes headers beside the sources that it compiles.
	if err := os.CopyFS(c.path("cilium/bpf"), os.DirFS(filepath.Join(sources, "bpf"))); err != nil {
		return err
	}
	// The agent calls the compiler by its plain name.
	compiler, err := exec.LookPath("clang-19")
	if err != nil {
		return err
	}
	tools := c.path("cilium/bin")
	if err := os.Mkdir(tools, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(compiler, filepath.Join(tools, "clang")); err != nil {
		return err
	}
	marks, err := c.render("cilium.nft")
	if err != nil {
		return err
	}
	if output, err := exec.Command("nft", "--file", marks).CombinedOutput(); err != nil {
		return fmt.Errorf("mark the node's packets: %w\n%s", err, output)
	}
	if _, err := c.componentKubeconfig("cilium", identity{name: "cilium-agent", groups: []string{"system:masters"}}); err != nil {
		return err
	}
	config, err := c.render("cilium.yaml")
	if err != nil {
		return err
	}
	agent, err := ciliumAgentPart.program()
	if err != nil {
		return err
	}
	if err := c.apply("Cilium's resource definitions", filepath.Join(sources, "crds")); err != nil {
		return err
	}
	return c.start("cilium-agent", agent, []string{
		"PATH=" + tools + string(os.PathListSeparator) + os.Getenv("PATH"),
		"K8S_NODE_NAME=" + nodeName, "CILIUM_K8S_NAMESPACE=kube-system",
	}, "--config", config)
}

// awaitCilium waits until new Pods get an interface that the agent polices.
func (c *controlPlane) awaitCilium() error {
	var network []byte
	err := c.await("Cilium is ready", 2*time.Minute, func() (err error) {
		network, err = os.ReadFile(c.path("cilium/cni.conflist"))
		return err
	})
	if err != nil {
		return err
	}
	// containerd looks again when a file is written, not when one is renamed into place, as the agent does.
	if err := c.write("cni/conf/05-cilium.conflist", string(network)); err != nil {
		return err
	}
	say("network policy enforced (%s)", since(c.started))
	return nil
}
