// Whether a tier can run on this machine, answered before anything is built or started.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// nodePrograms are what the node tier takes from the operating system, with the Debian package that has each.
var nodePrograms = []struct{ program, debianPackage string }{
	{"containerd", "containerd"},
	{"ctr", "containerd"},
	{"runc", "runc"},
	{"clang-19", "clang-19"},
	{"ip", "iproute2"},
	{"nft", "nftables"},
	{"mount", "mount"},
}

// cniFolders are where distributions put the reference CNI plugins.
var cniFolders = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

func check(wanted tier) error {
	if _, err := exec.LookPath("go"); err != nil {
		return fmt.Errorf("the Go toolchain is missing: it builds the cluster")
	}
	if wanted == controlPlaneTier {
		return nil
	}
	if runtime.GOOS != "linux" {
		return fmt.Errorf("the node tier needs Linux, this is %s", runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("the node tier needs root: it makes namespaces, mounts and control groups of its own")
	}
	for _, needed := range nodePrograms {
		if _, err := exec.LookPath(needed.program); err != nil {
			return fmt.Errorf("%s is missing: install the package %s", needed.program, needed.debianPackage)
		}
	}
	if _, err := loopbackPlugin(); err != nil {
		return err
	}
	return nil
}

func loopbackPlugin() (string, error) {
	for _, folder := range cniFolders {
		plugin := filepath.Join(folder, "loopback")
		if _, err := os.Stat(plugin); err == nil {
			return plugin, nil
		}
	}
	return "", fmt.Errorf("the CNI plugin loopback is missing: install the package containernetworking-plugins")
}
