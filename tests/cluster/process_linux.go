// Processes that cannot outlive the launcher: the kernel kills them when their parent thread dies.
package main

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// backgroundAttributes keep a component out of the terminal's reach: Ctrl-C is for the command.
func backgroundAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func foregroundAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

type startRequest struct {
	command *exec.Cmd
	result  chan error
}

var startRequests = sync.OnceValue(func() chan startRequest {
	requests := make(chan startRequest)
	go func() {
		// "Parent" means the thread that started the process. This one lives as long as the launcher.
		runtime.LockOSThread()
		for request := range requests {
			request.result <- request.command.Start()
		}
	}()
	return requests
})

func startProcess(command *exec.Cmd) error {
	result := make(chan error)
	startRequests() <- startRequest{command, result}
	return <-result
}
