// Command cluster starts a real Kubernetes on one machine, for as long as one command runs, out of programs that it
// builds from Go modules: no container engine, no virtual machine, nothing left behind. README.md says how and why.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

const usage = `usage:
  cluster build [--tier control-plane|node]              build what is missing into the cache
  cluster build --part NAME                              build one part and print its folder
  cluster check [--tier control-plane|node]              can the tier run here? one line says why not
  cluster path                                           print a folder with kubectl, helm, kubeconform and crane
  cluster run [--tier control-plane|node] [--logs DIR] [-- COMMAND ARGS...]
                                                         boot, run COMMAND (or wait for Ctrl-C), take everything down
  cluster load IMAGE.tar...                              give images to the node (inside "cluster run --tier node")
`

func main() {
	code, err := dispatch(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
	}
	os.Exit(code)
}

func dispatch(arguments []string) (int, error) {
	if len(arguments) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return 2, nil
	}
	name, rest := arguments[0], arguments[1:]
	switch name {
	case janitorCommand:
		return failing(clearUpAfter(rest))
	case namespaceInitCommand:
		return namespaceInit(rest)
	case namespaceBootCommand:
		return namespaceBoot(rest)
	}

	flags := flag.NewFlagSet("cluster "+name, flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	tierName := flags.String("tier", string(controlPlaneTier), "")
	logs := flags.String("logs", "", "")
	partName := flags.String("part", "", "")
	if err := flags.Parse(rest); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0, nil
		}
		return 2, nil
	}
	wanted, err := parseTier(*tierName)
	if err != nil {
		return 2, err
	}

	switch name {
	case "build":
		if *partName != "" {
			return failing(buildNamed(*partName))
		}
		return failing(build(tierParts[wanted]))
	case "check":
		return failing(check(wanted))
	case "path":
		folder, err := toolFolder()
		if err == nil {
			fmt.Println(folder)
		}
		return failing(err)
	case "run":
		return runCluster(wanted, *logs, flags.Args())
	case "load":
		return failing(loadImages(os.Getenv(containerdAddressVariable), flags.Args()))
	case "help":
		fmt.Print(usage)
		return 0, nil
	}
	return 2, fmt.Errorf("no command is called %q\n%s", name, usage)
}

func failing(err error) (int, error) {
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// tier says how much of a cluster there is.
type tier string

const (
	// controlPlaneTier is etcd, the API server and the controllers: objects, no Pods that run. Any user, many at once.
	controlPlaneTier tier = "control-plane"
	// nodeTier adds a scheduler, a node, enforced NetworkPolicy and cluster DNS. Root on Linux, one at a time.
	nodeTier tier = "node"
)

func parseTier(name string) (tier, error) {
	switch tier(name) {
	case controlPlaneTier, nodeTier:
		return tier(name), nil
	}
	return "", fmt.Errorf("--tier is control-plane or node, not %q", name)
}

// say writes one line for the person who is waiting.
func say(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "cluster: "+format+"\n", values...)
}

func since(start time.Time) string {
	return fmt.Sprintf("%.1f s", time.Since(start).Seconds())
}
