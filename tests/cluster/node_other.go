//go:build !linux

// The node tier is made of what only Linux has; `cluster check` says so before anything here is called.
package main

import "errors"

const (
	namespaceInitCommand = "node-init"
	namespaceBootCommand = "node-boot"
)

var errNeedsLinux = errors.New("the node tier needs Linux")

func runInNamespaces(string, []string) (int, error) { return 1, errNeedsLinux }
func namespaceInit([]string) (int, error)           { return 1, errNeedsLinux }
func namespaceBoot([]string) (int, error)           { return 1, errNeedsLinux }
func removeControlGroups(string) error              { return nil }
