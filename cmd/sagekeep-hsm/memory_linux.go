package main

import (
	"fmt"
	"syscall"
)

// keepMemory bars other processes of the user from reading this one's memory.
func keepMemory() error {
	const notDumpable = 0
	if _, _, errno := syscall.Syscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, notDumpable, 0); errno != 0 {
		return fmt.Errorf("bar others from the memory: %w", errno)
	}
	return nil
}
