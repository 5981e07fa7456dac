//go:build unix

package rsakey

import "syscall"

// apart keeps the signals of a terminal from the key process: the server, which
// gets them too, lets it finish.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
