// What the launcher promises about itself: the command's exit code, runs beside each other, and nothing left behind.
// The test program plays the launcher as well: called with a launcher's arguments, it is one.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		main()
	}
	os.Exit(m.Run())
}

func TestControlPlane(t *testing.T) {
	needs(t, controlPlaneTier)
	t.Run("the command finds the cluster and its exit code passes through", func(t *testing.T) {
		script := `test "$(kubectl get --raw /readyz)" = ok && helm version --short >&2 && test -s "$CARDEA_CLUSTER_AUDIT_LOG" && exit 7`
		output, err := launcher("run", "--", "sh", "-c", script).CombinedOutput()
		if code, _ := exitCode(err); code != 7 {
			t.Fatalf("exit code %d, wanted 7\n%s", code, output)
		}
	})
	t.Run("two at once do not see each other", func(t *testing.T) {
		results := make(chan string, 2)
		meeting := t.TempDir()
		for own, other := range map[string]string{"first": "second", "second": "first"} {
			go func() {
				// Each waits for the other, so that both are there while they look.
				script := `kubectl create configmap "$1" && touch "$0/$1" && until test -e "$0/$2"; do sleep 0.1; done; ! kubectl get configmap "$2"`
				output, err := launcher("run", "--", "sh", "-c", script, meeting, own, other).CombinedOutput()
				if err != nil {
					results <- fmt.Sprintf("%s: %v\n%s", own, err, output)
					return
				}
				results <- ""
			}()
		}
		for range 2 {
			if failure := <-results; failure != "" {
				t.Error(failure)
			}
		}
	})
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(signal.String()+" leaves nothing", func(t *testing.T) { leavesNothing(t, controlPlaneTier, signal) })
	}
	t.Run("what the janitor could not do, the next run does", func(t *testing.T) {
		run := start(t, "run")
		folder := run.folder(t)
		janitor := run.child(t, janitorCommand)
		kill(t, janitor, syscall.SIGKILL)
		kill(t, run.Process.Pid, syscall.SIGKILL)
		_ = run.Wait()
		if _, err := os.Stat(folder); err != nil {
			t.Fatalf("there is nothing to clear up: %v", err)
		}
		// Its components hold the files, not the lock; they are gone when their parent is.
		if output, err := launcher("run", "--", "true").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		eventually(t, "the folder is removed", func() bool { _, err := os.Stat(folder); return os.IsNotExist(err) })
	})
}

func TestNodeCluster(t *testing.T) {
	needs(t, nodeTier)
	t.Run("inside", func(t *testing.T) {
		command := launcher("run", "--tier", "node", "--", os.Args[0], "-test.v", "-test.run", "^TestInsideNodeCluster$")
		output, err := command.CombinedOutput()
		if err != nil || !strings.Contains(string(output), "--- PASS: TestInsideNodeCluster") {
			t.Fatalf("%v\n%s", err, output)
		}
	})
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String()+" leaves nothing", func(t *testing.T) { leavesNothing(t, nodeTier, signal) })
	}
	t.Run("a second one waits and says so", func(t *testing.T) {
		first := start(t, "run", "--tier", "node")
		second := launcher("run", "--tier", "node", "--", "true")
		lines, err := second.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := second.Start(); err != nil {
			t.Fatal(err)
		}
		said := bufio.NewScanner(lines)
		if !said.Scan() || !strings.Contains(said.Text(), "waiting for it to end") {
			t.Errorf("the second run said %q", said.Text())
		}
		kill(t, first.Process.Pid, syscall.SIGINT)
		for said.Scan() {
		}
		if err := second.Wait(); err != nil {
			t.Errorf("the second run: %v", err)
		}
	})
}

// leavesNothing boots, ends the launcher, and compares the machine with what it was before.
func leavesNothing(t *testing.T, wanted tier, signal syscall.Signal) {
	before := traces(t, wanted)
	run := start(t, "run", "--tier", string(wanted))
	folder := run.folder(t)
	if !strings.Contains(processes(t), folder) {
		t.Fatal("no process shows the folder of the run: this test would see nothing")
	}
	kill(t, run.Process.Pid, signal)
	err := run.Wait()
	if signal == syscall.SIGINT && err != nil {
		t.Errorf("the launcher ended with %v", err)
	}
	eventually(t, "the folder is removed", func() bool { _, err := os.Stat(folder); return os.IsNotExist(err) })
	eventually(t, "no process of the run is left", func() bool { return !strings.Contains(processes(t), folder) })
	if after := traces(t, wanted); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// traces is everything on the machine that a node could leave behind.
func traces(t *testing.T, wanted tier) string {
	if wanted == controlPlaneTier {
		return ""
	}
	script := `ip -oneline link; ip rule; ip route; ip netns; nft list ruleset; cut -d' ' -f4- /proc/self/mountinfo | sort
		find /sys/fs/cgroup -type d -name '` + controlGroupPrefix + `*'
		ls /var/lib /etc/cni /var/log /run /sys/fs/bpf 2>&1
		cat /proc/sys/vm/overcommit_memory /proc/sys/kernel/panic* /proc/sys/kernel/keys/root_max* /proc/sys/kernel/unprivileged_bpf_disabled /proc/sys/net/ipv4/ip_forward`
	output, err := exec.Command("sh", "-c", script).CombinedOutput()
	if err != nil && len(output) == 0 {
		t.Fatal(err)
	}
	return string(output)
}

func processes(t *testing.T) string {
	t.Helper()
	output, err := exec.Command("ps", "-eo", "pid,args").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(output)
}

// needs skips a test where the tier cannot run or would first build for minutes.
func needs(t *testing.T, wanted tier) {
	t.Helper()
	if testing.Short() {
		t.Skip("boots clusters")
	}
	if err := check(wanted); err != nil {
		t.Skip(err)
	}
	missing, err := missingParts(tierParts[wanted])
	if err != nil {
		t.Fatal(err)
	}
	if len(missing) > 0 {
		t.Skipf("%s is not built: run `cluster build --tier %s`", missing[0].name, wanted)
	}
	if os.Getenv("CARDEA_CLUSTER_TIER") != "" {
		t.Skip("this starts clusters itself")
	}
}

func launcher(arguments ...string) *exec.Cmd {
	return exec.Command(os.Args[0], arguments...)
}

// launched is a launcher that runs until it is told to stop.
type launched struct {
	*exec.Cmd
	kubeconfig string
}

// start waits until the cluster is ready.
func start(t *testing.T, arguments ...string) launched {
	t.Helper()
	run := launched{Cmd: launcher(arguments...)}
	lines, err := run.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run.Process.Signal(syscall.SIGTERM) })
	said := bufio.NewScanner(lines)
	all := ""
	for said.Scan() {
		all += said.Text() + "\n"
		if _, kubeconfig, found := strings.Cut(said.Text(), "KUBECONFIG="); found {
			run.kubeconfig = kubeconfig
			return run
		}
	}
	t.Fatalf("the cluster did not start:\n%s", all)
	return run
}

func (l launched) folder(t *testing.T) string {
	t.Helper()
	return filepath.Dir(l.kubeconfig)
}

// child finds the launcher's child process that plays a role.
func (l launched) child(t *testing.T, role string) int {
	t.Helper()
	output, err := exec.Command("pgrep", "--parent", fmt.Sprint(l.Process.Pid), "--full", role).Output()
	if err != nil {
		t.Fatalf("no child process %s: %v", role, err)
	}
	var pid int
	if _, err := fmt.Sscan(string(output), &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func kill(t *testing.T, pid int, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(clearUpLimit); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after %s: %s", clearUpLimit, what)
		}
	}
}
