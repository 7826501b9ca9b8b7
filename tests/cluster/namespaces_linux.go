// The world of a node run: its own network, mounts, processes, host name and control groups, as nested calls of this
// program. When the launcher dies, the kernel kills the first process of the process namespace, with it all others, and
// with the last of them go the interfaces, rules and mounts. Nothing has to be undone, so nothing can be forgotten.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	namespaceInitCommand = "node-init"
	namespaceBootCommand = "node-boot"
)

// coveredFolders are places that programs write to whatever they are told: the kubelet's sockets and logs, the results
// that the CNI library remembers.
var coveredFolders = []string{"/var/log", "/var/lib/kubelet", "/var/lib/cni"}

// runInNamespaces is the part of the launcher that stays outside.
func runInNamespaces(folder string, command []string) (int, error) {
	if err := makeControlGroups(filepath.Base(folder)); err != nil {
		return 1, err
	}
	if err := makeMountPoints(folder, coveredFolders); err != nil {
		return 1, err
	}
	child, err := ownCommand(append([]string{namespaceInitCommand, folder}, command...)...)
	if err != nil {
		return 1, err
	}
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := startProcess(child); err != nil {
		return 1, fmt.Errorf("start in new namespaces: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, entranceFile), []byte(strconv.Itoa(child.Process.Pid)), 0o600); err != nil {
		return 1, errors.Join(err, child.Process.Kill())
	}
	go func() {
		for received := range signals {
			if terminalTellsAll(received) {
				continue
			}
			if received == syscall.SIGINT {
				// Inside, SIGINT means that the terminal has told everybody.
				received = syscall.SIGTERM
			}
			// It may just have ended; then there is nothing to tell.
			_ = child.Process.Signal(received)
		}
	}()
	return exitCode(child.Wait())
}

// namespaceInit is process 1 inside: it enters the run's control groups, starts the boot, passes signals on, and collects
// every process that loses its parent.
func namespaceInit(arguments []string) (int, error) {
	if len(arguments) == 0 || os.Getpid() != 1 {
		return 2, errors.New("this is started by `cluster run` only")
	}
	// A control group namespace belongs to a thread: the children must come from the same one.
	runtime.LockOSThread()
	if err := enterControlGroups(filepath.Base(arguments[0])); err != nil {
		return 1, err
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return 1, fmt.Errorf("make a control group namespace: %w", err)
	}
	// Before the child exists, so that no signal is lost.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	signal.Ignore(syscall.SIGINT)

	boot, err := ownCommand(append([]string{namespaceBootCommand}, arguments...)...)
	if err != nil {
		return 1, err
	}
	boot.Stdin, boot.Stdout, boot.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := boot.Start(); err != nil {
		return 1, err
	}
	go func() {
		for received := range signals {
			_ = boot.Process.Signal(received)
		}
	}()
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1, fmt.Errorf("wait for the processes of the run: %w", err)
		case ended == boot.Process.Pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		case ended == boot.Process.Pid:
			return status.ExitStatus(), nil
		}
	}
}

// namespaceBoot builds the node around itself and runs the command in it.
func namespaceBoot(arguments []string) (int, error) {
	if len(arguments) == 0 {
		return 2, errors.New("this is started by `cluster run` only")
	}
	r := newRun(nodeTier, arguments[0])
	err := errors.Join(
		unix.Sethostname([]byte(nodeName)),
		r.mountPrivately(),
	)
	if err == nil {
		err = makeNetwork()
	}
	if err == nil {
		err = r.bootNode()
	}
	return r.afterBoot(err, []string{containerdAddressVariable + "=" + containerdSocket}, arguments[1:])
}

// mountPrivately hides every place of the machine that a node writes to behind one of the run's own.
func (r *run) mountPrivately() error {
	hierarchies, err := controlGroupHierarchies()
	if err != nil {
		return err
	}
	// Private cuts the tie to the machine's mounts. Shared lets mounts reach containers, as the kubelet expects of a node.
	err = errors.Join(
		mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		mount("none", "/", "", unix.MS_REC|unix.MS_SHARED, ""),
		mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""),
		mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""),
	)
	if err != nil {
		return err
	}
	if err := mountControlGroups(hierarchies); err != nil {
		return err
	}
	err = errors.Join(
		mount("bpf", "/sys/fs/bpf", "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=700"),
		mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"),
		r.coverFolders(),
		r.mountContainerStore(),
		r.shieldSysctls(),
	)
	if err != nil {
		return err
	}
	if place, err := filepath.EvalSymlinks("/var/run"); err != nil || place == "/run" {
		return err
	}
	return mount("/run", "/var/run", "", unix.MS_BIND, "")
}

// mountContainerStore gives containerd a file system that can carry overlays, which an overlay itself cannot.
func (r *run) mountContainerStore() error {
	store := r.path("containerd")
	if err := os.Mkdir(store, 0o711); err != nil {
		return err
	}
	var system unix.Statfs_t
	if err := unix.Statfs(store, &system); err != nil {
		return err
	}
	if system.Type != unix.OVERLAYFS_SUPER_MAGIC {
		return nil
	}
	return mount("tmpfs", store, "tmpfs", unix.MS_NODEV, "mode=711")
}

// shieldSysctls puts files in front of the kernel settings that belong to no namespace and that components of a node
// would change for the whole machine. They find there what they want.
func (r *run) shieldSysctls() error {
	for name, value := range map[string]string{
		// The kubelet.
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
		// Cilium.
		"kernel/unprivileged_bpf_disabled": "1", "kernel/timer_migration": "0",
	} {
		real := filepath.Join("/proc/sys", name)
		if _, err := os.Stat(real); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := r.write(filepath.Join("sysctls", name), value+"\n"); err != nil {
			return err
		}
		if err := mount(r.path(filepath.Join("sysctls", name)), real, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) coverFolders() error {
	for _, place := range coveredFolders {
		own := r.path(filepath.Join("covers", place))
		if err := os.MkdirAll(own, 0o755); err != nil {
			return err
		}
		if err := mount(own, place, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}
