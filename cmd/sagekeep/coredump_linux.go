package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// noCoreDumps keeps the memory of the process, which holds keys, out of core
// files, and closes it to debuggers of the same user.
func noCoreDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("set the core size to 0: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the process undumpable: %w", err)
	}
	return nil
}
