package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/sagekeep/sagekeep/internal/durable"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/iam"
	"github.com/sagekeep/sagekeep/internal/seal"
)

// Names in the data directory.
const (
	keyringName     = "keyring"
	credentialsName = "credentials"
	serverName      = "server.json"
	lockName        = "lock"
	sealName        = "seal"
	rootKeyName     = "root.key"
	epochName       = "epoch.json"
	rowsName        = "rows"
	objectsName     = "objects"
	tmpName         = "tmp"
)

// dataDir is an opened and locked data directory.
type dataDir struct {
	path    string
	lock    *os.File
	log     *slog.Logger
	seal    seal.Spec // who holds the root key now
	proof   string    // of this process, that a caller reads the directory: Running.Proof
	keys    *envelope.Keys
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
		if name != sealName && name != lockName && name != "lost+found" && !durable.IsTemporary(name, keyringName) {
			return false, fmt.Errorf("%s is not a Sagekeep data directory: it holds %q and no keyring; name an empty or a new directory", path, name)
		}
	}
	return true, nil
}

// openDir locks the directory and opens seal, keyring and deletion epochs,
// making them when the directory is fresh.
func openDir(ctx context.Context, path string, spec seal.Spec, log *slog.Logger) (*dataDir, error) {
	// A directory that is refused is not written to, not even for its lock; nor is
	// one made for a seal that cannot be opened.
	fresh, err := inspectDir(path)
	if err != nil {
		return nil, err
	}
	if fresh && spec.Kind() != seal.File { // a key file is made by opening it
		s, err := spec.Open(seal.Options{Log: log})
		if err != nil {
			return nil, err
		}
		s.Close()
	}
	if err := durable.MakeDir(path); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	d := &dataDir{path: path, seal: spec, log: log, proof: rand.Text()}
	if d.lock, err = lockFile(d.file(lockName)); err != nil {
		return nil, err
	}
	if err := d.open(ctx); err != nil {
		d.lock.Close()
		return nil, err
	}
	return d, nil
}

// open opens what the locked directory holds. Whether it is fresh is asked here
// only: until the lock was ours another process may have made it.
func (d *dataDir) open(ctx context.Context) error {
	fresh, err := inspectDir(d.path)
	if err != nil {
		return err
	}
	s, err := d.seal.Open(seal.Options{Create: fresh, Log: d.log})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := durable.MakeDir(d.file(sealName)); err != nil {
		return fmt.Errorf("make the seal directory: %w", err)
	}
	if fresh {
		d.keys, err = d.create(ctx, s)
	} else {
		d.keys, err = envelope.OpenKeys(ctx, filesOf(d.path), s)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.path, err)
	}
	d.keyring, d.epochs = d.keys.Keyring, d.keys.Epochs
	if err := d.upgrade(ctx); err != nil {
		return fmt.Errorf("%s: %w", d.path, err)
	}
	return d.clean()
}

// filesOf are the two files that the seal of a data directory opens.
func filesOf(dir string) envelope.Files {
	return envelope.Files{Keyring: filepath.Join(dir, keyringName), Epochs: filepath.Join(dir, sealName, epochName)}
}

func (d *dataDir) create(ctx context.Context, s seal.Seal) (*envelope.Keys, error) {
	files := filesOf(d.path)
	if err := os.Remove(files.Epochs); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replace the epoch of an unfinished start: %w", err)
	}
	return envelope.CreateKeys(ctx, files, s, d.reopen)
}

// upgrade brings data format 1 to the present one.
func (d *dataDir) upgrade(ctx context.Context) error {
	if !d.keys.OldFormat() {
		return nil
	}
	d.log.Info("the keyring is brought to the present data format", "format", envelope.Format)
	if _, err := d.keys.Reseal(ctx, d.reopen, nil); err != nil {
		return fmt.Errorf("bring the keyring to data format %d: %w", envelope.Format, err)
	}
	return nil
}

// reopen opens the seal of a directory that exists.
func (d *dataDir) reopen() (seal.Seal, error) { return d.seal.Open(seal.Options{Log: d.log}) }

// clean removes what a process that was killed has left behind.
func (d *dataDir) clean() error {
	for _, path := range []string{
		d.file(keyringName), d.file(credentialsName), d.file(serverName), d.file(sealName, epochName), d.file(sealName, rootKeyName),
	} {
		if err := durable.RemoveTemporary(path); err != nil {
			return err
		}
	}
	if err := os.Remove(d.file(serverName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what a former server has left: %w", err)
	}
	return nil
}

// makeRows makes the directory of the row store, unless accounts were made here:
// then rows are missing that cannot be made again.
func (d *dataDir) makeRows() error {
	_, err := os.Stat(d.file(rowsName))
	if errors.Is(err, fs.ErrNotExist) {
		if _, cerr := os.Stat(d.file(credentialsName)); cerr == nil {
			return fmt.Errorf("%s is missing and %s exists: bring the rows back from a backup", d.file(rowsName), d.file(credentialsName))
		}
	}
	if err := durable.MakeDir(d.file(rowsName)); err != nil {
		return fmt.Errorf("make the row store: %w", err)
	}
	return nil
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

// Format writes the access key id alone, whatever the verb.
func (k AccessKey) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "server.AccessKey(%s [redacted])", k.AccessKeyID)
}

// LogValue implements slog.LogValuer without the secret.
func (k AccessKey) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

func (k *AccessKey) root() *iam.RootCredentials {
	return &iam.RootCredentials{Account: k.Account, AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey}
}

// errNoCredentials: there is no credentials file.
var errNoCredentials = errors.New("no credentials")

// ReadCredentials reads DIR/credentials.
func ReadCredentials(dir string) (*Credentials, error) {
	b, err := os.ReadFile(filepath.Join(dir, credentialsName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds %w: start `sagekeep serve --data-dir %s` once, it makes them", dir, errNoCredentials, dir)
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
	return durable.WriteFile(filepath.Join(dir, credentialsName), append(b, '\n'))
}

// Running is the file DIR/server.json of a running server, mode 0600.
type Running struct {
	PID int    `json:"pid"`
	URL string `json:"url"`
	// CA is the PEM certificate to trust when the server made its own.
	CA string `json:"ca,omitempty"`
	// Proof is a secret of this start: who sends it can read the data directory
	// now, which a copy of the operator key does not show.
	Proof string `json:"proof,omitempty"`
}

// Format writes all but the proof, whatever the verb.
func (r Running) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "server.Running(%d %s)", r.PID, r.URL) }

// LogValue implements slog.LogValuer without the proof.
func (r Running) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// Alive reports whether the server that wrote the file still runs: its process,
// and what answers at its address. The pid alone is not enough, for another
// process may have it by now; in a container it is always the same.
func (r *Running) Alive() bool {
	if r.PID <= 0 || !processRuns(r.PID) {
		return false
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		return false
	}
	c, err := net.DialTimeout("tcp", u.Host, aliveTimeout)
	if err != nil {
		return !errors.Is(err, syscall.ECONNREFUSED)
	}
	c.Close()
	return true
}

// aliveTimeout is how long Alive waits for a connection.
const aliveTimeout = 2 * time.Second

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
	return durable.WriteFile(filepath.Join(dir, serverName), append(b, '\n'))
}
