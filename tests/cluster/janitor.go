// The janitor is a small process that waits for the launcher's end, in order or not, and then removes what the kernel
// does not remove by itself: the run's folder and its control groups. It holds the locks until that is done.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	janitorCommand  = "clear-up-after"
	clearUpLimit    = 20 * time.Second
	madeMountPoints = "made-mount-points"
)

type janitor struct {
	process *exec.Cmd
	line    *os.File // the janitor hears its closing
}

func startJanitor(folder string, locks []*os.File) (*janitor, error) {
	listen, line, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer listen.Close()
	process, err := ownCommand(janitorCommand, folder)
	if err != nil {
		return nil, err
	}
	process.Stdin, process.Stderr = listen, os.Stderr
	process.ExtraFiles = locks
	// Ctrl-C and the end of the terminal must not reach it.
	process.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := process.Start(); err != nil {
		return nil, fmt.Errorf("start the janitor: %w", err)
	}
	for _, lock := range locks {
		lock.Close()
	}
	return &janitor{process, line}, nil
}

// finish ends the run: after it nothing of the run is left.
func (j *janitor) finish() {
	j.line.Close()
	if err := j.process.Wait(); err != nil {
		say("clearing up: %v", err)
	}
}

// clearUpAfter is the janitor's own work.
func clearUpAfter(arguments []string) error {
	if len(arguments) != 1 {
		return errors.New("the janitor is started by `cluster run` only")
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return fmt.Errorf("wait for the launcher: %w", err)
	}
	return clearUp(arguments[0])
}

// clearUp retries until the killed processes have let go of everything.
func clearUp(folder string) error {
	deadline := time.Now().Add(clearUpLimit)
	for {
		err := errors.Join(removeControlGroups(filepath.Base(folder)), removeMountPoints(folder))
		if err == nil {
			err = os.RemoveAll(folder)
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// clearUpStale removes what runs left whose launcher and janitor were both killed.
func clearUpStale(runs string) {
	entries, err := os.ReadDir(runs)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if !entry.IsDir() || !isRunName(entry.Name()) {
			continue
		}
		folder := filepath.Join(runs, entry.Name())
		lock, dead, err := tryLock(filepath.Join(folder, "alive"))
		if err != nil || !dead {
			continue
		}
		say("removing what an earlier run left (%s)", entry.Name())
		if err := clearUp(folder); err != nil {
			say("removing what an earlier run left: %v", err)
		}
		lock.Close()
	}
}

// makeMountPoints makes the folders that are not there yet, and remembers them. What is mounted on them is seen inside of
// the run only.
func makeMountPoints(folder string, places []string) error {
	var made []string
	for _, place := range places {
		err := os.Mkdir(place, 0o755)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		made = append(made, place)
		if err := os.WriteFile(filepath.Join(folder, madeMountPoints), []byte(strings.Join(made, "\n")), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func removeMountPoints(folder string) error {
	made, err := os.ReadFile(filepath.Join(folder, madeMountPoints))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for place := range strings.SplitSeq(string(made), "\n") {
		if err := os.Remove(place); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func isRunName(name string) bool {
	return strings.HasPrefix(name, string(controlPlaneTier)+"-") || strings.HasPrefix(name, string(nodeTier)+"-")
}

// ownCommand calls this program again in another role.
func ownCommand(arguments ...string) (*exec.Cmd, error) {
	launcher, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.Command(launcher, arguments...), nil
}
