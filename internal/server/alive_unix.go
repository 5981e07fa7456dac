//go:build unix

package server

import "golang.org/x/sys/unix"

// processRuns reports whether a process has the pid.
func processRuns(pid int) bool {
	err := unix.Kill(pid, 0)
	return err == nil || err == unix.EPERM
}
