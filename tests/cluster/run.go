// One run from start to end: its folder, the boot of the tier, the command, and the clearing up.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// run is what the parts of a boot share.
type run struct {
	tier       tier
	folder     string // private, removed at the end
	started    time.Time
	components []*component
	failed     chan *component // receives each component that ends by itself
	ending     atomic.Bool
	stop       context.Context // done when somebody asked to stop
}

func newRun(wanted tier, folder string) *run {
	return &run{tier: wanted, folder: folder, started: time.Now(), failed: make(chan *component, 16), stop: stopOnSignal()}
}

// entranceFile holds the process whose namespaces a node run lives in, as the machine numbers it.
const entranceFile = "entrance"

// exitInterrupted is what a shell reports for a program that Ctrl-C ended.
const exitInterrupted = 130

var errInterrupted = errors.New("interrupted")

// runCluster boots the tier, runs the command and returns the command's exit code.
func runCluster(wanted tier, logs string, command []string) (int, error) {
	if err := check(wanted); err != nil {
		return 1, err
	}
	if err := build(tierParts[wanted]); err != nil {
		return 1, err
	}
	runs, err := runsFolder()
	if err != nil {
		return 1, err
	}
	var held []*os.File
	if wanted == nodeTier {
		turn, err := waitForLock(filepath.Join(runs, "node.lock"), "another node cluster is running here; waiting for it to end")
		if err != nil {
			return 1, err
		}
		held = append(held, turn)
	}
	folder, janitor, err := openRun(runs, wanted, logs, held)
	if err != nil {
		return 1, err
	}

	var code int
	if wanted == nodeTier {
		code, err = runInNamespaces(folder, command)
	} else {
		code, err = runControlPlane(folder, command)
	}
	if kept := keepLogs(folder); kept != "" {
		say("the logs are in %s", kept)
	}
	janitor.finish()
	return code, err
}

// openRun clears the ground and makes the run's folder, with the janitor that will remove it. One at a time: a folder
// that is not locked yet would look like one that nobody owns any more.
func openRun(runs string, wanted tier, logs string, held []*os.File) (string, *janitor, error) {
	opening, err := waitForLock(filepath.Join(runs, "opening.lock"), "another run is just starting; waiting for it")
	if err != nil {
		return "", nil, err
	}
	defer opening.Close()
	clearUpStale(runs)
	folder, lock, err := newRunFolder(runs, wanted, logs)
	if err != nil {
		return "", nil, err
	}
	janitor, err := startJanitor(folder, append(held, lock))
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(folder))
	}
	return folder, janitor, nil
}

// newRunFolder makes the folder and takes the lock that says that the run lives.
func newRunFolder(runs string, wanted tier, logs string) (string, *os.File, error) {
	folder, err := os.MkdirTemp(runs, string(wanted)+"-*")
	if err != nil {
		return "", nil, err
	}
	lock, taken, err := tryLock(filepath.Join(folder, "alive"))
	if err == nil && !taken {
		err = errors.New("somebody else took the new folder of this run")
	}
	if err == nil {
		err = makeLogFolder(folder, logs)
	}
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(folder))
	}
	return folder, lock, nil
}

// makeLogFolder lets the logs lie in the run's folder, or behind a link where the caller wants to keep them.
func makeLogFolder(folder, logs string) error {
	own := filepath.Join(folder, "logs")
	if logs == "" {
		return os.Mkdir(own, 0o700)
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	absolute, err := filepath.Abs(logs)
	if err != nil {
		return err
	}
	return os.Symlink(absolute, own)
}

// keepLogs saves the logs of a boot that failed, in place of those of the failure before it.
func keepLogs(folder string) string {
	if _, err := os.Stat(filepath.Join(folder, "failed")); err != nil {
		return ""
	}
	logs := filepath.Join(folder, "logs")
	if target, err := os.Readlink(logs); err == nil {
		return target
	}
	kept := filepath.Join(filepath.Dir(folder), "logs-of-last-failure")
	if err := errors.Join(os.RemoveAll(kept), os.Rename(logs, kept)); err != nil {
		return ""
	}
	return kept
}

// afterBoot reports a failed boot, or runs the command with more variables.
func (r *run) afterBoot(bootError error, more []string, command []string) (int, error) {
	if errors.Is(bootError, errInterrupted) {
		return exitInterrupted, nil
	}
	if bootError != nil {
		mark := os.WriteFile(filepath.Join(r.folder, "failed"), nil, 0o600)
		return 1, errors.Join(bootError, mark)
	}
	say("%s cluster ready (%s)", r.tier, since(r.started))
	go r.reportFailures()
	if len(command) == 0 {
		say("export KUBECONFIG=%s", r.kubeconfig())
		if process, err := os.ReadFile(r.path(entranceFile)); err == nil {
			say("it is reachable from inside only: nsenter --all --target %s", process)
		}
		say("Ctrl-C ends it")
		<-r.stop.Done()
		return 0, nil
	}
	environment, err := r.environment(more...)
	if err != nil {
		return 1, err
	}
	return runCommand(command, environment)
}

// reportFailures tells why a test may be failing when a component ends under it.
func (r *run) reportFailures() {
	for {
		select {
		case lost := <-r.failed:
			say("%v", lost.failure())
		case <-r.stop.Done():
			return
		}
	}
}

// await polls until ready returns nil, a component ends, somebody asks to stop, or the time is over.
func (r *run) await(what string, limit time.Duration, ready func() error) error {
	const interval = 50 * time.Millisecond
	deadline := time.Now().Add(limit)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not after %s: %w%s", what, limit, err, r.tails())
		}
		select {
		case lost := <-r.failed:
			return lost.failure()
		case <-r.stop.Done():
			return errInterrupted
		case <-time.After(interval):
		}
	}
}

func (r *run) path(name string) string { return filepath.Join(r.folder, name) }
func (r *run) kubeconfig() string      { return r.path("kubeconfig") }
func (r *run) log(name string) string  { return filepath.Join(r.folder, "logs", name+".log") }
func (r *run) auditLog() string        { return r.path("audit.log") }
func (r *run) write(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(r.path(name)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(r.path(name), []byte(text), 0o600)
}
