// A component is one long-running program of the cluster: started with a log of its own, watched until the end.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

type component struct {
	name  string
	log   string
	kill  func() error
	ended chan struct{}
	end   error // once ended is closed
}

// start runs a program in the background. Its name names the log.
func (r *run) start(name, program string, environment []string, arguments ...string) error {
	log, err := os.Create(r.log(name))
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.Command(program, arguments...)
	command.Dir = r.folder
	// Some leave files in the home folder of whoever starts them.
	command.Env = append(append(os.Environ(), "HOME="+r.folder), environment...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = backgroundAttributes()
	if err := startProcess(command); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	started := &component{name: name, log: log.Name(), kill: command.Process.Kill, ended: make(chan struct{})}
	r.components = append(r.components, started)
	go func() {
		started.end = command.Wait()
		close(started.ended)
		if !r.ending.Load() {
			r.failed <- started
		}
	}()
	return nil
}

// kill ends all components at once. Their data is about to be removed, so there is nothing to end in good order.
func (r *run) kill() {
	r.ending.Store(true)
	for _, c := range r.components {
		// One that has ended before cannot be killed, and need not be.
		_ = c.kill()
	}
	for _, c := range r.components {
		<-c.ended
	}
}

func (c *component) failure() error {
	return fmt.Errorf("%s ended (%v)\n%s", c.name, c.end, c.tail())
}

// tail is the end of the log, indented under the line that announces it.
func (c *component) tail() string {
	const lines = 15
	content, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(string(bytes.TrimSpace(content)), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return "  " + strings.Join(all, "\n  ")
}

// tails is for a wait that nobody's end explains: the last words of all.
func (r *run) tails() string {
	text := ""
	for _, c := range r.components {
		last := c.tail()
		text += fmt.Sprintf("\n  %s: %s", c.name, strings.TrimSpace(last[strings.LastIndex(last, "\n")+1:]))
	}
	return text
}
