//go:build !unix

package rsakey

import "syscall"

// apart does nothing: process groups are of Unix.
func apart() *syscall.SysProcAttr { return nil }
