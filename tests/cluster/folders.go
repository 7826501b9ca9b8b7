// Where things lie: the cache of built programs, the folder of one run, and the locks on both.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// cacheFolder keeps what takes minutes to build. It can be deleted at any time between runs.
func cacheFolder() string {
	base := os.Getenv("CARDEA_CACHE")
	if base == "" {
		caches, err := os.UserCacheDir()
		if err != nil {
			caches = os.TempDir()
		}
		base = filepath.Join(caches, "cardea")
	}
	return filepath.Join(base, "cluster")
}

// runsFolder is one folder per user for all runs, so that the next run finds what a crash left. It is in the temporary
// folder because paths of sockets must be short.
func runsFolder() (string, error) {
	folder := filepath.Join(os.TempDir(), fmt.Sprintf("cardea-cluster-%d", os.Getuid()))
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	// The temporary folder belongs to everybody: somebody else's folder of this name must not receive our keys.
	state, err := os.Lstat(folder)
	if err != nil {
		return "", err
	}
	owner, known := state.Sys().(*syscall.Stat_t)
	if !state.IsDir() || state.Mode().Perm() != 0o700 || !known || int(owner.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s is not a private folder of this user: remove it", folder)
	}
	return folder, nil
}

// tryLock takes an exclusive lock on a file and says whether it got it. The lock lasts until the last process that
// holds the open file is gone, however it goes.
func tryLock(name string) (*os.File, bool, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return file, true, nil
	}
	file.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, false, nil
	}
	return nil, false, fmt.Errorf("lock %s: %w", name, err)
}

// waitForLock says why it waits, once, if it has to.
func waitForLock(name, reason string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	lock, taken, err := tryLock(name)
	if err != nil || taken {
		return lock, err
	}
	say("%s", reason)
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
	}
}

func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:16]
}
