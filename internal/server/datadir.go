package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/seal"
)

// Names in the data directory.
const (
	keyringName     = "keyring"
	credentialsName = "credentials"
	serverName      = "server.json"
	lockName        = "lock"
	sealName        = "seal"
	epochName       = "epoch.json"
	rowsName        = "rows"
	objectsName     = "objects"
	tmpName         = "tmp"
)

// dataDir is an opened and locked data directory.
type dataDir struct {
	path    string
	lock    *os.File
	fresh   bool
	seal    seal.Seal
	keyring *envelope.Keyring
	epochs  *envelope.Epochs
}

func (d *dataDir) file(names ...string) string {
	return filepath.Join(append([]string{d.path}, names...)...)
}

// inspectDir reports whether path can become a data directory (fresh) or is one.
// It writes nothing.
func inspectDir(path string) (fresh bool, err error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("the data directory cannot be read: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if slices.Contains(names, keyringName) {
		return false, nil
	}
	for _, name := range names {
		// What a first start that was interrupted may have left.
		if name != sealName && name != lockName && name != "lost+found" {
			return false, fmt.Errorf("%s is not a Sagekeep data directory: it holds %q and no keyring; name an empty or a new directory", path, name)
		}
	}
	return true, nil
}

// openDir locks the directory and opens seal, keyring and deletion epochs,
// making them when the directory is fresh.
func openDir(path string, spec seal.Spec) (_ *dataDir, err error) {
	fresh, err := inspectDir(path)
	if err != nil {
		return nil, err
	}
	d := &dataDir{path: path, fresh: fresh}
	if fresh {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, fmt.Errorf("make the data directory: %w", err)
		}
	}
	if d.lock, err = lockFile(d.file(lockName)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.lock.Close()
		}
	}()
	if d.seal, err = spec.Open(fresh); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(d.file(sealName), 0o700); err != nil {
		return nil, fmt.Errorf("make the seal directory: %w", err)
	}
	// Epochs first: a keyring marks a directory that is complete.
	if d.epochs, err = openEpochs(d, fresh); err != nil {
		return nil, err
	}
	if fresh {
		d.keyring, err = envelope.Create(d.file(keyringName), d.seal)
	} else {
		d.keyring, err = envelope.Open(d.file(keyringName), d.seal)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

func openEpochs(d *dataDir, fresh bool) (*envelope.Epochs, error) {
	path := d.file(sealName, epochName)
	if fresh {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("replace the epoch of an unfinished start: %w", err)
		}
	}
	e, err := envelope.OpenEpochs(path, d.seal, fresh)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.path, err)
	}
	return e, nil
}

// Credentials is the file DIR/credentials, mode 0600.
type Credentials struct {
	Operator AccessKey   `json:"operator"` // for /_sagekeep/, no AWS principal
	Accounts []AccessKey `json:"accounts"` // root users, the first account first
}

// AccessKey is one long-term key.
type AccessKey struct {
	Account         string `json:"account,omitempty"`
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
}

// ReadCredentials reads DIR/credentials.
func ReadCredentials(dir string) (*Credentials, error) {
	b, err := os.ReadFile(filepath.Join(dir, credentialsName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no credentials: start `sagekeep serve --data-dir %s` once, it makes them", dir, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	var c Credentials
	if err := json.Unmarshal(b, &c); err != nil || c.Operator.AccessKeyID == "" {
		return nil, fmt.Errorf("%s is not a credentials file", filepath.Join(dir, credentialsName))
	}
	return &c, nil
}

func writeCredentials(dir string, c *Credentials) error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("encode credentials: %w", err)
	}
	return seal.WriteFile(filepath.Join(dir, credentialsName), append(b, '\n'))
}

// Running is the file DIR/server.json of a running server, mode 0600.
type Running struct {
	PID int    `json:"pid"`
	URL string `json:"url"`
	// CA is the PEM certificate to trust when the server made its own.
	CA string `json:"ca,omitempty"`
}

// ReadRunning reads DIR/server.json; fs.ErrNotExist when no server runs.
func ReadRunning(dir string) (*Running, error) {
	b, err := os.ReadFile(filepath.Join(dir, serverName))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", serverName, err)
	}
	var r Running
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("parse %s: %w", serverName, err)
	}
	return &r, nil
}

func writeRunning(dir string, r *Running) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode %s: %w", serverName, err)
	}
	return seal.WriteFile(filepath.Join(dir, serverName), append(b, '\n'))
}
