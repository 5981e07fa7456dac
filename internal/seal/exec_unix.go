//go:build unix

package seal

import (
	"io/fs"
	"os/exec"
	"syscall"
)

// killGroup makes the end of cmd's context kill its children, too.
func killGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

func writableByAll(fi fs.FileInfo) bool { return fi.Mode().Perm()&0o002 != 0 }
