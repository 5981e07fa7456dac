//go:build unix

package main

import "golang.org/x/sys/unix"

// privateFiles makes every file of the process readable for its user alone,
// also those that libraries create.
func privateFiles() { unix.Umask(0o077) }
