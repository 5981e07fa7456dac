package seal

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/sagekeep/sagekeep/internal/durable"
	"github.com/sagekeep/sagekeep/internal/secret"
)

// The first lines of key files. Form 1 holds one key, 64 hexadecimal digits.
// Form 2 holds a list, the key that wraps in front:
//
//	sagekeep-root-key-2
//	current KEYID HEX
//	previous KEYID HEX
const (
	keyFileHeader1 = "sagekeep-root-key-1"
	keyFileHeader2 = "sagekeep-root-key-2"
)

const (
	maxKeyFile     = 4096 // bytes
	maxKeysInFile  = 8
	fileAlgorithm  = "AES-256-GCM under a key file (HKDF-SHA-256)"
	fileKeyIDBytes = 8
)

// ErrNoKeyFile: a key file is not where it should be, and a new one is not wanted.
// Whether a key file is what holds the root key at all, the caller may know.
var ErrNoKeyFile = errors.New("the root key file is missing and data exists")

// fileKey is one key of a key file.
type fileKey struct {
	id  string // 16 hexadecimal digits, from the key
	key secret.Key
}

func newFileKey(key secret.Key) (fileKey, error) {
	id, err := hkdf.Key(sha256.New, key.Bytes(), nil, "sagekeep seal file key id v1", fileKeyIDBytes)
	if err != nil {
		return fileKey{}, fmt.Errorf("derive the key id: %w", err)
	}
	return fileKey{id: hex.EncodeToString(id), key: key}, nil
}

// derive returns the wrapping key for a version of the wrapped form.
func (k *fileKey) derive(version string) ([]byte, error) {
	b, err := hkdf.Key(sha256.New, k.key.Bytes(), nil, "sagekeep seal file "+version, secret.Size)
	if err != nil {
		return nil, fmt.Errorf("derive seal key: %w", err)
	}
	return b, nil
}

type fileSeal struct {
	path string

	mu   sync.Mutex
	keys []fileKey // the first wraps
}

func openFile(path string, create bool) (Seal, error) {
	b, err := readLimited(path, maxKeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		k, err := newFileKey(secret.Random())
		if err != nil {
			return nil, err
		}
		s := &fileSeal{path: path, keys: []fileKey{k}}
		if err := durable.MakeDir(filepath.Dir(path)); err != nil {
			return nil, fmt.Errorf("create root key: %w", err)
		}
		if err := s.save(s.keys); err != nil {
			return nil, fmt.Errorf("create root key: %w", err)
		}
		return s, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: bring %s back, or name with --seal what holds the root key now; a new key could open nothing", ErrNoKeyFile, path)
	case err != nil:
		return nil, fmt.Errorf("read root key: %w", err)
	}
	defer clear(b)
	keys, err := parseKeyFile(b)
	if err != nil {
		return nil, fmt.Errorf("root key file %s: %w", path, err)
	}
	return &fileSeal{path: path, keys: keys}, nil
}

// readLimited reads a file of at most limit bytes.
func readLimited(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, err
}

// parseKeyFile reads both forms; the first key is the one that wraps. It keeps no
// copy of the digits.
func parseKeyFile(b []byte) ([]fileKey, error) {
	lines := bytes.Split(bytes.TrimRight(b, "\r\n"), []byte("\n"))
	switch string(bytes.TrimSpace(lines[0])) {
	case keyFileHeader1:
		if len(lines) != 2 {
			return nil, fmt.Errorf("want the line %s and a line of 64 hex digits", keyFileHeader1)
		}
		k, err := parseFileKey(bytes.TrimSpace(lines[1]))
		if err != nil {
			return nil, err
		}
		return []fileKey{k}, nil
	case keyFileHeader2:
		return parseKeyList(lines[1:])
	}
	return nil, fmt.Errorf("the first line is neither %s nor %s", keyFileHeader1, keyFileHeader2)
}

func parseKeyList(lines [][]byte) ([]fileKey, error) {
	if len(lines) == 0 || len(lines) > maxKeysInFile {
		return nil, fmt.Errorf("want 1 to %d lines behind %s", maxKeysInFile, keyFileHeader2)
	}
	var keys []fileKey
	for i, line := range lines {
		want := "previous"
		if i == 0 {
			want = "current"
		}
		f := bytes.Fields(line)
		if len(f) != 3 || string(f[0]) != want {
			return nil, fmt.Errorf("line %d: want %s, a key id and 64 hex digits", i+2, want)
		}
		k, err := parseFileKey(f[2])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+2, err)
		}
		if k.id != string(f[1]) {
			return nil, fmt.Errorf("line %d: the id of this key is %s, not %q: was a digit lost?", i+2, k.id, f[1])
		}
		if slices.ContainsFunc(keys, func(o fileKey) bool { return o.id == k.id }) {
			return nil, fmt.Errorf("line %d: the key %s stands twice", i+2, k.id)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func parseFileKey(digits []byte) (fileKey, error) {
	raw := make([]byte, secret.Size)
	defer clear(raw)
	if len(digits) != hex.EncodedLen(secret.Size) {
		return fileKey{}, errors.New("a root key has 64 hex digits")
	}
	if _, err := hex.Decode(raw, digits); err != nil {
		return fileKey{}, errors.New("a root key has 64 hex digits")
	}
	key, err := secret.New(raw)
	if err != nil {
		return fileKey{}, err
	}
	return newFileKey(key)
}

// keyFileText is the form that parseKeyFile reads: form 1 for a single key, which
// every version of the program knows.
func keyFileText(keys []fileKey) []byte {
	if len(keys) == 1 {
		return hexLine([]byte(keyFileHeader1+"\n"), keys[0].key)
	}
	b := []byte(keyFileHeader2 + "\n")
	for i, k := range keys {
		role := "previous "
		if i == 0 {
			role = "current "
		}
		b = hexLine(append(append(b, role...), k.id+" "...), k.key)
	}
	return b
}

func hexLine(b []byte, key secret.Key) []byte { return append(hex.AppendEncode(b, key.Bytes()), '\n') }

func (s *fileSeal) save(keys []fileKey) error {
	b := keyFileText(keys)
	defer clear(b)
	return durable.WriteFile(s.path, b)
}

func (s *fileSeal) Kind() Kind { return File }

func (s *fileSeal) Wrap(_ context.Context, key secret.Key, at Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) == 0 {
		return nil, errClosed
	}
	kek, err := s.keys[0].derive("v3")
	if err != nil {
		return nil, err
	}
	defer clear(kek)
	w := wrapped{kind: File, keyID: s.keys[0].id}
	if err := w.sealKey(kek, key, at); err != nil {
		return nil, err
	}
	return w.bytes(), nil
}

var errClosed = errors.New("the seal is closed")

func (s *fileSeal) Unwrap(_ context.Context, b []byte, at Context) (secret.Key, error) {
	w, err := own(b, File)
	if err != nil {
		return secret.Key{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.keys {
		k := &s.keys[i]
		if k.id != w.keyID {
			continue
		}
		kek, err := k.derive("v3")
		if err != nil {
			return secret.Key{}, err
		}
		defer clear(kek)
		return w.openKey(kek, at)
	}
	return secret.Key{}, fmt.Errorf("%w: it is wrapped by the root key %s, which is not in %s", ErrWrong, w.keyID, s.path)
}

// UnwrapFormat1 opens 1 | nonce, ciphertext and tag, under any key of the file.
func (s *fileSeal) UnwrapFormat1(b, aad []byte) ([]byte, error) {
	if len(b) < 1 || b[0] != 1 {
		return nil, ErrWrong
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.keys {
		kek, err := s.keys[i].derive("v1")
		if err != nil {
			return nil, err
		}
		a, err := newAEAD(kek)
		clear(kek)
		if err != nil {
			return nil, err
		}
		if p, err := a.Open(nil, nil, b[1:], aad); err == nil {
			return p, nil
		}
	}
	return nil, ErrWrong
}

func (s *fileSeal) Info(context.Context) (Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) == 0 {
		return Info{}, errClosed
	}
	info := Info{KeyID: s.keys[0].id, Algorithm: fileAlgorithm, FIPS: Approved}
	for _, k := range s.keys[1:] {
		info.Former = append(info.Former, k.id)
	}
	return info, nil
}

// Renew puts a new key in front of the file and keeps the others behind it.
func (s *fileSeal) Renew() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) == 0 {
		return errClosed
	}
	if len(s.keys) == maxKeysInFile {
		return fmt.Errorf("the key file %s holds %d keys already: remove previous ones that no backup needs", s.path, maxKeysInFile)
	}
	k, err := newFileKey(secret.Random())
	if err != nil {
		return err
	}
	keys := append([]fileKey{k}, s.keys...)
	if err := s.save(keys); err != nil {
		return fmt.Errorf("add a root key: %w", err)
	}
	s.keys = keys
	return nil
}

// Settle leaves the first key in the file.
func (s *fileSeal) Settle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) <= 1 {
		return nil
	}
	if err := s.save(s.keys[:1]); err != nil {
		return fmt.Errorf("remove the previous root key: %w", err)
	}
	for _, k := range s.keys[1:] {
		k.key.Erase()
	}
	s.keys = s.keys[:1]
	return nil
}

func (s *fileSeal) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		k.key.Erase()
	}
	s.keys = nil
}
