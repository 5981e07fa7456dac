//go:build unix

package server

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockPatience = 200 * time.Millisecond
	lockPause    = 10 * time.Millisecond
)

// lockFile takes the lock of a data directory, which the kernel drops with the
// process, however it ends.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the data directory: %w", err)
	}
	// A process that the last owner was about to start has the lock, too, from its
	// fork to its exec: some time passes before the lock counts as taken.
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(lockPause) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock the data directory: %w", err)
		}
		if time.Now().After(deadline) {
			f.Close()
			return nil, ErrInUse
		}
	}
}
