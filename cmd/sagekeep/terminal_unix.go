//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package main

import "golang.org/x/sys/unix"

// terminalAt reports whether the file descriptor is a terminal's.
func terminalAt(fd uintptr) bool {
	_, err := unix.IoctlGetTermios(int(fd), readTermios)
	return err == nil
}
