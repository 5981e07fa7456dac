//go:build !unix

package seal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// killGroup does nothing: the end of cmd's context kills cmd alone.
func killGroup(*exec.Cmd) {}

// writableByAll cannot tell where files have no modes.
func writableByAll(fs.FileInfo) bool { return false }

// trusted returns the program that path leads to. Whether others may replace it
// cannot be told where files have no modes.
func trusted(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("find the program: %w", err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("find the program: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return "", errors.New("find the program: not a regular file")
	}
	return path, nil
}
