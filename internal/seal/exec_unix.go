//go:build unix

package seal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links a path may lead through.
const maxLinks = 40

// killGroup makes the end of cmd's context kill its children, too.
func killGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

func writableByAll(fi fs.FileInfo) bool { return fi.Mode().Perm()&0o002 != 0 }

// trusted returns the program that path leads to, without symbolic links. It
// refuses one that others than root and the user of this process may replace: see
// trustedFor.
func trusted(path string) (string, error) { return trustedFor(path, os.Geteuid()) }

// trustedFor walks to the program as the kernel does. Whatever it passes (the
// directories, the links and the program) must belong to root or to user, and
// directories and program must not be writable by anybody else. A directory with
// the sticky bit may be: in it, an entry of ours is replaced by its owner, the
// directory's and root alone.
func trustedFor(path string, user int) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find the program: %w", err)
	}
	at := string(filepath.Separator)
	if err := checkTrust(at, user, fs.ModeDir); err != nil {
		return "", err
	}
	links, rest := 0, strings.Split(path, at)
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..": // of a link: at has no links in it
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		fi, err := os.Lstat(next)
		if err != nil {
			return "", fmt.Errorf("find the program: %w", err)
		}
		kind := fi.Mode().Type()
		if kind == 0 && len(rest) > 0 || kind.IsDir() && len(rest) == 0 || kind&^(fs.ModeDir|fs.ModeSymlink) != 0 {
			return "", fmt.Errorf("find the program: %s is not a regular file", next)
		}
		if err := checkTrust(next, user, kind); err != nil {
			return "", err
		}
		if kind != fs.ModeSymlink {
			at = next
			continue
		}
		target, err := os.Readlink(next)
		if err != nil {
			return "", fmt.Errorf("find the program: %w", err)
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("find the program: %s leads through more than %d symbolic links", path, maxLinks)
		}
		if filepath.IsAbs(target) {
			at = string(filepath.Separator)
		}
		rest = append(strings.Split(target, string(filepath.Separator)), rest...)
	}
	return at, nil
}

// checkTrust refuses what others may write, or own and so may make writable.
func checkTrust(path string, user int, kind fs.FileMode) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("find the program: the file system tells no owners")
	}
	if st.Uid != 0 && int(st.Uid) != user {
		return fmt.Errorf("user %d owns %s and could replace the program: chown it to root or to user %d, who runs the server", st.Uid, path, user)
	}
	sticky := kind.IsDir() && fi.Mode()&fs.ModeSticky != 0
	if kind == fs.ModeSymlink || sticky || fi.Mode().Perm()&0o022 == 0 {
		return nil
	}
	who, bits := "its group", "g-w"
	if writableByAll(fi) {
		who, bits = "everybody", "go-w"
	}
	return fmt.Errorf("%s may write %s (mode %04o) and so replace the program: chmod %s it", who, path, fi.Mode().Perm(), bits)
}
