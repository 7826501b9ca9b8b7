// What the command finds in its environment.
package main

import (
	"os"
	"path/filepath"
	"strings"
)

const containerdAddressVariable = "CARDEA_CONTAINERD_ADDRESS"

// environment is the launcher's own, with the cluster added.
func (r *run) environment(more ...string) ([]string, error) {
	tools, err := toolFolder()
	if err != nil {
		return nil, err
	}
	// The launcher itself is on the PATH as well, for `cluster load`.
	own := r.path("bin")
	if err := os.MkdirAll(own, 0o755); err != nil {
		return nil, err
	}
	launcher, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := os.Symlink(launcher, filepath.Join(own, "cluster")); err != nil {
		return nil, err
	}
	path := strings.Join([]string{own, tools, os.Getenv("PATH")}, string(os.PathListSeparator))
	return append(os.Environ(), append(more,
		"KUBECONFIG="+r.kubeconfig(),
		"PATH="+path,
		// kubectl remembers what an API server offers by its address, which many clusters have in turn.
		kubectlCache(r),
		"CARDEA_CLUSTER_TIER="+string(r.tier),
		"CARDEA_CLUSTER_DIR="+r.folder,
		"CARDEA_CLUSTER_AUDIT_LOG="+r.auditLog(),
	)...), nil
}

func kubectlCache(r *run) string { return "KUBECACHEDIR=" + r.path("kubectl-cache") }

// variable reads one variable; as in an environment, the last setting counts.
func variable(environment []string, name string) string {
	value := ""
	for _, setting := range environment {
		if text, found := strings.CutPrefix(setting, name+"="); found {
			value = text
		}
	}
	return value
}
