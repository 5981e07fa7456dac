package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"

	"github.com/sagekeep/sagekeep/api/internal/lockfile"
)

//go:embed botocore.lock
var lockText string

// maxModel bounds one decompressed model (the largest today has about 6 MB).
const maxModel = 64 << 20

// lock is the pinned wheel.
type lock struct {
	Name, Version, SHA256 string
}

// parseLock reads the lock file.
func parseLock(text string) (lock, error) {
	values, err := lockfile.Parse("botocore.lock", text, "name", "version", "sha256")
	if err != nil {
		return lock{}, err
	}
	l := lock{Name: values["name"], Version: values["version"], SHA256: values["sha256"]}
	if b, err := hex.DecodeString(l.SHA256); err != nil || len(b) != sha256.Size {
		return lock{}, errors.New("botocore.lock: needs a SHA-256 in hexadecimal")
	}
	return l, nil
}

// modelSource is a botocore data folder: <service>/<API version>/service-2.json
// or the same compressed.
type modelSource struct{ data fs.FS }

// openModels opens an unpacked data folder, or the pinned wheel when data is "".
func openModels(ctx context.Context, data string) (modelSource, error) {
	if data != "" {
		return modelSource{os.DirFS(data)}, nil
	}
	l, err := parseLock(lockText)
	if err != nil {
		return modelSource{}, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return modelSource{}, fmt.Errorf("find cache folder: %w", err)
	}
	wheel, err := fetchWheel(ctx, l, filepath.Join(cache, "sagekeep"))
	if err != nil {
		return modelSource{}, err
	}
	r, err := zip.NewReader(bytes.NewReader(wheel), int64(len(wheel)))
	if err != nil {
		return modelSource{}, fmt.Errorf("open wheel: %w", err)
	}
	sub, err := fs.Sub(r, "botocore/data")
	if err != nil {
		return modelSource{}, fmt.Errorf("open wheel: %w", err)
	}
	return modelSource{sub}, nil
}

// fetchWheel returns the bytes of the pinned wheel: from dir when they are
// there and whole, else through pip, which checks the hash as well.
func fetchWheel(ctx context.Context, l lock, dir string) ([]byte, error) {
	file := filepath.Join(dir, fmt.Sprintf("%s-%s-py3-none-any.whl", l.Name, l.Version))
	if b, err := os.ReadFile(file); err == nil && digest(b) == l.SHA256 {
		return b, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make cache folder: %w", err)
	}
	want := filepath.Join(dir, l.Name+".requirements")
	line := fmt.Sprintf("%s==%s --hash=sha256:%s\n", l.Name, l.Version, l.SHA256)
	if err := os.WriteFile(want, []byte(line), 0o644); err != nil {
		return nil, fmt.Errorf("write requirements: %w", err)
	}
	cmd := exec.CommandContext(ctx, "python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
		"--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", dir, "--requirement", want)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("download %s %s with pip: %w", l.Name, l.Version, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read wheel: %w", err)
	}
	if got := digest(b); got != l.SHA256 {
		return nil, fmt.Errorf("wheel has SHA-256 %s, botocore.lock says %s", got, l.SHA256)
	}
	return b, nil
}

// model reads the newest API version of a service.
func (s modelSource) model(service string) (*apiModel, error) {
	versions, err := fs.ReadDir(s.data, service)
	if err != nil {
		return nil, fmt.Errorf("find model: %w", err)
	}
	var names []string
	for _, v := range versions {
		if v.IsDir() {
			names = append(names, v.Name())
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("find model: %s has no API version", service)
	}
	slices.Sort(names) // dates
	file := path.Join(service, names[len(names)-1], "service-2.json")
	b, err := s.read(file)
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	m, err := parseModel(b)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", file, err)
	}
	return m, nil
}

// read returns a file, or the content of the same file with .gz appended.
func (s modelSource) read(file string) ([]byte, error) {
	b, err := fs.ReadFile(s.data, file)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	f, err := s.data.Open(file + ".gz")
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	b, err = io.ReadAll(io.LimitReader(z, maxModel+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxModel {
		return nil, fmt.Errorf("%s is larger than %d bytes", file, maxModel)
	}
	return b, nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
