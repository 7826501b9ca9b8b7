// The command that the cluster is for: run in the foreground, told about signals exactly once.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// running is the command, once there is one.
var running atomic.Pointer[os.Process]

// stopOnSignal gives a context that ends when somebody asks the launcher to stop while no command runs. While one runs,
// signals are the command's affair.
func stopOnSignal() context.Context {
	stop, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		for received := range signals {
			command := running.Load()
			if command == nil {
				cancel()
			} else if !terminalTellsAll(received) {
				// The command may just have ended; then there is nothing to tell.
				_ = command.Signal(received)
			}
		}
	}()
	return stop
}

// terminalTellsAll says whether the terminal has sent this signal to every process of the foreground, so that passing it
// on would make it arrive twice.
func terminalTellsAll(received os.Signal) bool {
	if received != syscall.SIGINT {
		return false
	}
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer terminal.Close()
	foreground, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && foreground == unix.Getpgrp()
}

// runCommand returns the command's exit code, as a shell would report it.
func runCommand(command, environment []string) (int, error) {
	child := exec.Command(command[0], command[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.Env = environment
	// The new PATH counts for finding the command, too.
	if found, err := lookIn(environment, command[0]); err == nil {
		child.Path, child.Err = found, nil
	}
	child.SysProcAttr = foregroundAttributes()
	if err := startProcess(child); err != nil {
		return 127, fmt.Errorf("start the command: %w", err)
	}
	running.Store(child.Process)
	return exitCode(child.Wait())
}

func exitCode(err error) (int, error) {
	var ended *exec.ExitError
	if !errors.As(err, &ended) {
		return 0, err
	}
	if status, known := ended.Sys().(syscall.WaitStatus); known && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return ended.ExitCode(), nil
}

func lookIn(environment []string, program string) (string, error) {
	if filepath.Base(program) != program {
		return program, nil
	}
	for _, folder := range filepath.SplitList(variable(environment, "PATH")) {
		candidate := filepath.Join(folder, program)
		if unix.Access(candidate, unix.X_OK) == nil {
			return candidate, nil
		}
	}
	return "", exec.ErrNotFound
}
