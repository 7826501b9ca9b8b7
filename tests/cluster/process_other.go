//go:build !linux

// Processes where the kernel has no signal for a parent's death: they end with the launcher only if it ends in order.
package main

import (
	"os/exec"
	"syscall"
)

func backgroundAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
func foregroundAttributes() *syscall.SysProcAttr { return nil }
func startProcess(command *exec.Cmd) error       { return command.Start() }
