// Building the parts that are missing into the cache, with a sign of life while Go compiles for minutes.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const heartbeat = 30 * time.Second

// build makes sure that these parts are in the cache. It is quick when they are.
func build(wanted []part) error {
	missing, err := missingParts(wanted)
	if err != nil || len(missing) == 0 {
		return err
	}
	// One build at a time on a machine: two would compile the same packages beside each other.
	lock, err := waitForLock(filepath.Join(cacheFolder(), "build.lock"), "another run is building the cluster's programs; waiting for it")
	if err != nil {
		return err
	}
	defer lock.Close()
	if missing, err = missingParts(wanted); err != nil {
		return err
	}
	for number, p := range missing {
		if err := p.build(fmt.Sprintf("%d of %d", number+1, len(missing))); err != nil {
			return err
		}
	}
	return nil
}

func missingParts(wanted []part) ([]part, error) {
	var missing []part
	for _, p := range wanted {
		folder, err := p.folder()
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(folder); errors.Is(err, os.ErrNotExist) {
			missing = append(missing, p)
		} else if err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// buildNamed makes sure that one part is there and prints its folder, for programs that want it without a cluster.
func buildNamed(name string) error {
	wanted, err := partNamed(name)
	if err != nil {
		return err
	}
	if err := build([]part{wanted}); err != nil {
		return err
	}
	folder, err := wanted.folder()
	if err == nil {
		fmt.Println(folder)
	}
	return err
}

// build fills a folder beside the final one and renames it when everything is there.
func (p part) build(position string) error {
	folder, err := p.folder()
	if err != nil {
		return err
	}
	partial := folder + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return err
	}
	start := time.Now()
	if p.target != "" {
		say("building %s (%s), about %d min the first time", p.name, position, p.minutes)
		if err := p.compile(partial, start); err != nil {
			return fmt.Errorf("build %s: %w", p.name, err)
		}
	} else {
		say("copying %s (%s)", p.name, position)
	}
	for _, link := range p.links {
		if err := os.Symlink(p.name, filepath.Join(partial, link)); err != nil {
			return err
		}
	}
	if p.finish != nil {
		if err := p.finish(p, partial); err != nil {
			return fmt.Errorf("finish %s: %w", p.name, err)
		}
	}
	if err := os.Rename(partial, folder); err != nil {
		return err
	}
	say("%s is ready (%s)", p.name, time.Since(start).Round(time.Second))
	return nil
}

func (p part) compile(into string, start time.Time) error {
	module, err := p.moduleFolder()
	if err != nil {
		return err
	}
	arguments := append([]string{"build", "-trimpath", "-buildvcs=false"}, p.flags...)
	command := exec.Command("go", append(arguments, "-o", filepath.Join(into, p.name), p.target)...)
	command.Dir = module
	// Static programs: they also run in an image that holds nothing else.
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	command.SysProcAttr = foregroundAttributes()
	if err := startProcess(command); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- command.Wait() }()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-beat.C:
			say("building %s: %s of about %d min", p.name, time.Since(start).Round(time.Second), p.minutes)
		}
	}
}

// toolFolder is a folder of links to the programs that people and tests call by name.
func toolFolder() (string, error) {
	links := map[string]string{}
	combined := ""
	for _, p := range toolParts {
		program, err := p.program()
		if err != nil {
			return "", err
		}
		if p.name == kubePart.name {
			program = filepath.Join(filepath.Dir(program), "kubectl")
		}
		if _, err := os.Stat(program); err != nil {
			return "", fmt.Errorf("%s is not built yet: run `cluster build`", p.name)
		}
		links[filepath.Base(program)] = program
		combined += filepath.Base(filepath.Dir(program)) + "\n"
	}
	folder := filepath.Join(cacheFolder(), "tools-"+shortHash(combined))
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	partial, err := os.MkdirTemp(cacheFolder(), "tools-*.partial")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(partial)
	if err := os.Chmod(partial, 0o755); err != nil {
		return "", err
	}
	for name, program := range links {
		if err := os.Symlink(program, filepath.Join(partial, name)); err != nil {
			return "", err
		}
	}
	// Another run may have made the same folder in the meantime; its links are as good.
	if err := os.Rename(partial, folder); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return folder, nil
}
