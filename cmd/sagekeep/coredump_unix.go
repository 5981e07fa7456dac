//go:build unix && !linux

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// noCoreDumps keeps the memory of the process, which holds keys, out of core
// files.
func noCoreDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("set the core size to 0: %w", err)
	}
	return nil
}
