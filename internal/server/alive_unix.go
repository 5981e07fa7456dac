//go:build unix

package server

import "golang.org/x/sys/unix"

// Alive reports whether the process that wrote the file still runs.
func (r *Running) Alive() bool {
	err := unix.Kill(r.PID, 0)
	return err == nil || err == unix.EPERM
}
