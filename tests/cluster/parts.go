// What a cluster is built from: each part, the Go module it comes from, and the key under which it is cached.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// part is one entry of the cache: a folder <name>-<key> that appears whole or not at all.
type part struct {
	name    string
	module  string   // folder of its Go module, relative to this one
	target  string   // package to build; empty for a part that is only copied
	flags   []string // for go build, beside those that all parts share
	links   []string // other names of the program
	finish  func(part, string) error
	minutes int // of the first build on two cores
}

const (
	kubernetesVersion = "v1.36.3"
	ciliumModule      = "github.com/cilium/cilium"
)

var (
	kubePart = part{
		name: "kube", module: "kube", target: ".", minutes: 6,
		flags: []string{"-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion=" + kubernetesVersion},
		links: []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"},
	}
	helmPart        = part{name: "helm", module: "tools", target: "helm.sh/helm/v3/cmd/helm", flags: stripped, minutes: 2}
	kubeconformPart = part{name: "kubeconform", module: "tools", target: "github.com/yannh/kubeconform/cmd/kubeconform", flags: stripped, minutes: 1}
	cranePart       = part{name: "crane", module: "tools", target: "github.com/google/go-containerregistry/cmd/crane", flags: stripped, minutes: 1}
	corednsPart     = part{name: "coredns", module: "tools", target: "github.com/coredns/coredns", flags: stripped, minutes: 2, finish: packCoreDNS}
	pausePart       = part{name: "pause", module: ".", target: "./pause", flags: stripped, minutes: 1, finish: packPause}
	ciliumAgentPart = part{
		name: "cilium-agent", module: "cilium", target: ciliumModule + "/daemon", minutes: 6,
		flags: []string{"-tags", "osusergo", "-ldflags", `-s -w -X "` + ciliumModule + `/pkg/version.ciliumVersion=1.20.2 module go"`},
	}
	ciliumCNIPart     = part{name: "cilium-cni", module: "cilium", target: ciliumModule + "/plugins/cilium-cni", flags: []string{"-tags", "osusergo", "-ldflags", "-s -w"}, minutes: 1}
	ciliumSourcesPart = part{name: "cilium-sources", module: "cilium", finish: copyCiliumSources}
	vaultPart         = part{name: "vault", module: "vault", target: ".", flags: stripped, minutes: 6}

	stripped = []string{"-ldflags", "-s -w"}
	// toolParts are for the people and tests that use the cluster.
	toolParts = []part{kubePart, helmPart, kubeconformPart, cranePart}
	// tierParts come in the order in which they are built: the longest of the common ones first.
	tierParts = map[tier][]part{
		controlPlaneTier: toolParts,
		nodeTier:         append(slices.Clone(toolParts), pausePart, corednsPart, ciliumAgentPart, ciliumCNIPart, ciliumSourcesPart),
	}
	// namedParts are built for those who ask for them by name, with or without a cluster.
	namedParts = append([]part{vaultPart}, tierParts[nodeTier]...)
)

// partNamed is the part that --part means.
func partNamed(name string) (part, error) {
	var known []string
	for _, p := range namedParts {
		if p.name == name {
			return p, nil
		}
		known = append(known, p.name)
	}
	return part{}, fmt.Errorf("no part is called %q; there are %s", name, strings.Join(known, ", "))
}

// folder is where the part lies once it is built.
func (p part) folder() (string, error) {
	key, err := p.key()
	if err != nil {
		return "", err
	}
	return filepath.Join(cacheFolder(), p.name+"-"+key), nil
}

// program is the path of the part's own program.
func (p part) program() (string, error) {
	folder, err := p.folder()
	return filepath.Join(folder, p.name), err
}

// key changes when anything that goes into the part does: module files, sources, flags, Go version, platform.
func (p part) key() (string, error) {
	version, err := goVersion()
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%q %q %q %q %s/%s\n", p.target, p.flags, p.links, version, runtime.GOOS, runtime.GOARCH)
	module, err := p.moduleFolder()
	if err != nil {
		return "", err
	}
	files := []string{filepath.Join(module, "go.mod"), filepath.Join(module, "go.sum")}
	if strings.HasPrefix(p.target, ".") {
		own, err := filepath.Glob(filepath.Join(module, p.target, "*.go"))
		if err != nil {
			return "", err
		}
		files = append(files, own...)
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("key of %s: %w", p.name, err)
		}
		fmt.Fprintf(hash, "%s %d\n", filepath.Base(name), len(content))
		_, _ = hash.Write(content)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

func (p part) moduleFolder() (string, error) {
	sources, err := sourceFolder()
	return filepath.Join(sources, p.module), err
}

// sourceFolder is this module's own folder, remembered by the compiler: the other modules lie beside this file.
func sourceFolder() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	folder := filepath.Dir(file)
	if _, err := os.Stat(filepath.Join(folder, "go.mod")); err != nil {
		return "", fmt.Errorf("the sources of the cluster are not where this program was built (build it without -trimpath): %w", err)
	}
	return folder, nil
}

// goVersion is asked for in the module's folder, where a toolchain may be prescribed.
var goVersion = sync.OnceValues(func() (string, error) {
	sources, err := sourceFolder()
	if err != nil {
		return "", err
	}
	command := exec.Command("go", "env", "GOVERSION")
	command.Dir = sources
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("go env GOVERSION: %w", err)
	}
	return strings.TrimSpace(string(output)), nil
})

// packPause makes the image of the container that holds a Pod's namespaces.
func packPause(p part, folder string) error {
	return writeImage(filepath.Join(folder, "pause.tar"), imageSpec{
		name: pauseImage, files: map[string]string{"/pause": filepath.Join(folder, p.name)}, entrypoint: []string{"/pause"},
	})
}

func packCoreDNS(p part, folder string) error {
	return writeImage(filepath.Join(folder, "coredns.tar"), imageSpec{
		name: corednsImage, files: map[string]string{"/coredns": filepath.Join(folder, p.name)}, entrypoint: []string{"/coredns"},
	})
}

// copyCiliumSources takes what Cilium's image would have carried out of its module: the programs that the agent
// compiles for the kernel, and the resource definitions that its operator would have installed.
func copyCiliumSources(p part, folder string) error {
	module, err := p.moduleFolder()
	if err != nil {
		return err
	}
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", ciliumModule)
	list.Dir = module
	output, err := list.Output()
	if err != nil {
		return fmt.Errorf("where is %s: %w", ciliumModule, err)
	}
	cilium := strings.TrimSpace(string(output))
	if err := os.CopyFS(filepath.Join(folder, "bpf"), os.DirFS(filepath.Join(cilium, "bpf"))); err != nil {
		return fmt.Errorf("copy Cilium's BPF sources: %w", err)
	}
	definitions := filepath.Join(folder, "crds")
	if err := os.Mkdir(definitions, 0o755); err != nil {
		return err
	}
	for _, version := range []string{"v2", "v2alpha1"} {
		found, err := filepath.Glob(filepath.Join(cilium, "pkg/k8s/apis/cilium.io/client/crds", version, "*.yaml"))
		if err != nil {
			return err
		}
		for _, name := range found {
			if err := copyFile(filepath.Join(definitions, version+"-"+filepath.Base(name)), name, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyFile(to, from string, mode os.FileMode) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(target, source); err != nil {
		target.Close()
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return target.Close()
}
