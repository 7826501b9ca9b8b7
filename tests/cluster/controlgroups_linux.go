// The control groups of a node run: one folder of the run's own in every hierarchy of the machine. Inside, a control group
// namespace makes these folders look like the roots, so that kubelet, containerd and runc need no special settings.
// Version 1, version 2 and the hybrid of both are handled.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	controlGroupRoot   = "/sys/fs/cgroup"
	controlGroupPrefix = "cardea-cluster-"
)

// hierarchy is one mounted tree of control groups.
type hierarchy struct {
	mountPoint string
	kind       string // cgroup or cgroup2
	options    string // the controllers of a version 1 hierarchy, or its name
}

func controlGroupHierarchies() ([]hierarchy, error) {
	table, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer table.Close()
	var found []hierarchy
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		place, system, separated := strings.Cut(lines.Text(), " - ")
		fields, systemFields := strings.Fields(place), strings.Fields(system)
		if !separated || len(fields) < 5 || len(systemFields) < 3 {
			continue
		}
		kind, mountPoint := systemFields[0], fields[4]
		if kind != "cgroup" && kind != "cgroup2" || !strings.HasPrefix(mountPoint, controlGroupRoot) {
			continue
		}
		options := slices.DeleteFunc(strings.Split(systemFields[2], ","), func(option string) bool {
			return slices.Contains([]string{"rw", "ro", "xattr", "clone_children", "nsdelegate", "memory_recursiveprot"}, option) ||
				strings.HasPrefix(option, "release_agent=")
		})
		found = append(found, hierarchy{mountPoint, kind, strings.Join(options, ",")})
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no control groups are mounted at %s", controlGroupRoot)
	}
	return found, nil
}

func (h hierarchy) folder(run string) string {
	return filepath.Join(h.mountPoint, controlGroupPrefix+run)
}

// pureVersion2 says whether this tree has all controllers.
func (h hierarchy) pureVersion2() bool {
	return h.kind == "cgroup2" && h.mountPoint == controlGroupRoot
}

func makeControlGroups(run string) error {
	hierarchies, err := controlGroupHierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		if h.pureVersion2() {
			if err := enableControllers(h.mountPoint); err != nil {
				return err
			}
		}
		if err := os.Mkdir(h.folder(run), 0o755); err != nil {
			return fmt.Errorf("make a control group: %w", err)
		}
		// A version 1 cpuset admits nobody before it has processors and memory.
		for _, setting := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(h.mountPoint, setting))
			if errors.Is(err, fs.ErrNotExist) || h.kind == "cgroup2" {
				continue
			}
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(h.folder(run), setting), value, 0o644); err != nil {
				return fmt.Errorf("set up a control group: %w", err)
			}
		}
	}
	return nil
}

// enterControlGroups moves this process, and so all that it will start.
func enterControlGroups(run string) error {
	hierarchies, err := controlGroupHierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		if err := os.WriteFile(filepath.Join(h.folder(run), "cgroup.procs"), []byte("0"), 0o644); err != nil {
			return fmt.Errorf("enter a control group: %w", err)
		}
	}
	return nil
}

// mountControlGroups mounts the same hierarchies again, from inside of the control group namespace.
func mountControlGroups(hierarchies []hierarchy) error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if hierarchies[0].pureVersion2() {
		if err := mount("cgroup2", controlGroupRoot, "cgroup2", flags, ""); err != nil {
			return err
		}
		return delegateVersion2()
	}
	if err := mount("tmpfs", controlGroupRoot, "tmpfs", flags, "mode=755"); err != nil {
		return err
	}
	for _, h := range hierarchies {
		if err := os.MkdirAll(h.mountPoint, 0o755); err != nil {
			return err
		}
		if err := mount(h.kind, h.mountPoint, h.kind, flags, h.options); err != nil {
			return err
		}
		// Where controllers share a hierarchy, each is looked for under its own name, too.
		for controller := range strings.SplitSeq(h.options, ",") {
			link := filepath.Join(controlGroupRoot, controller)
			if _, err := os.Lstat(link); h.kind == "cgroup" && errors.Is(err, fs.ErrNotExist) && !strings.Contains(controller, "=") {
				if err := os.Symlink(filepath.Base(h.mountPoint), link); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// delegateVersion2 makes room for the kubelet: a group that hands controllers down must not hold processes itself.
func delegateVersion2() error {
	leaf := filepath.Join(controlGroupRoot, "launcher")
	if err := os.Mkdir(leaf, 0o755); err != nil {
		return err
	}
	for _, process := range []string{"1", "0"} {
		if err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte(process), 0o644); err != nil {
			return fmt.Errorf("leave the root control group: %w", err)
		}
	}
	return enableControllers(controlGroupRoot)
}

// enableControllers hands the controllers that a node needs down to the groups below.
func enableControllers(folder string) error {
	for _, controller := range []string{"cpuset", "cpu", "memory", "pids"} {
		err := os.WriteFile(filepath.Join(folder, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
		if err != nil {
			return fmt.Errorf("hand the controller %s down: %w", controller, err)
		}
	}
	return nil
}

// removeControlGroups removes the run's folders; it fails while a process is still in one of them.
func removeControlGroups(run string) error {
	hierarchies, err := controlGroupHierarchies()
	if err != nil {
		// A control plane needs none, so a machine may have none.
		return nil
	}
	var failures []error
	for _, h := range hierarchies {
		failures = append(failures, removeControlGroup(h.folder(run)))
	}
	return errors.Join(failures...)
}

// removeControlGroup works from the leaves up; the files in a control group go with it.
func removeControlGroup(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeControlGroup(filepath.Join(folder, entry.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(folder)
}

// controlGroupVersion2 is where the version 2 tree is mounted.
func controlGroupVersion2() (string, error) {
	hierarchies, err := controlGroupHierarchies()
	if err != nil {
		return "", err
	}
	for _, h := range hierarchies {
		if h.kind == "cgroup2" {
			return h.mountPoint, nil
		}
	}
	return "", fmt.Errorf("no version 2 control groups are mounted below %s", controlGroupRoot)
}
