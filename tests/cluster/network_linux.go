// The network of a node run: the node's only interface, and beyond it a second network namespace that plays the world
// outside of the cluster, so that tests can be a stranger or have a remote server.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	nodeName       = "node1"
	nodeAddress    = "192.0.2.2"
	outsideAddress = "192.0.2.1"
	outsideName    = "outside" // as `ip netns` knows it
	podRange       = "10.244.0.0/16"
)

// Every address of the two documentation ranges belongs to the world outside: a server there binds whichever it likes.
const (
	nodeNetwork = `
link set lo up
netns add ` + outsideName + `
link add eth0 type veth peer name uplink netns ` + outsideName + `
address add ` + nodeAddress + `/24 dev eth0
link set eth0 up
route add default via ` + outsideAddress + `
`
	outsideNetwork = `
link set lo up
address add ` + outsideAddress + `/24 dev uplink
link set uplink up
route add ` + podRange + ` via ` + nodeAddress + `
route add local 198.51.100.0/24 dev lo
route add local 203.0.113.0/24 dev lo
`
)

func makeNetwork() error {
	for _, batch := range []struct{ text, namespace string }{{nodeNetwork, ""}, {outsideNetwork, outsideName}} {
		arguments := []string{"-batch", "-"}
		if batch.namespace != "" {
			arguments = append([]string{"-netns", batch.namespace}, arguments...)
		}
		command := exec.Command("ip", arguments...)
		command.Stdin = strings.NewReader(strings.TrimSpace(batch.text) + "\n")
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("make the network: %w\n%s", err, output)
		}
	}
	var failures []error
	for name, value := range map[string]string{
		"net/ipv4/ip_forward": "1",
		// Answers to a Pod may come over another interface than the question.
		"net/ipv4/conf/all/rp_filter": "0", "net/ipv4/conf/default/rp_filter": "0", "net/ipv4/conf/eth0/rp_filter": "0",
	} {
		failures = append(failures, os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644))
	}
	return errors.Join(failures...)
}
