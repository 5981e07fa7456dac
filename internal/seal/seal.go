// Package seal holds the root key, or reaches who holds it. A seal wraps and
// unwraps small secrets (the service keyring, the deletion-epoch key); the root
// key itself never leaves it and is never stored beside the data unless the
// operator chose a key file there.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/sagekeep/sagekeep/internal/durable"
	"github.com/sagekeep/sagekeep/internal/secret"
)

// ErrWrong is returned by Unwrap when the blob was wrapped by another root key
// or was altered: the two cannot be told apart.
var ErrWrong = errors.New("the seal does not open this data directory: wrong root key, or damaged keyring")

// Seal wraps small secrets under a root key. Implementations may be used
// concurrently.
type Seal interface {
	// Kind names the seal for messages and status: file, passphrase.
	Kind() string
	// Wrap seals plaintext; the same aad is needed to open it.
	Wrap(plaintext, aad []byte) ([]byte, error)
	// Unwrap opens what Wrap made, or returns ErrWrong.
	Unwrap(wrapped, aad []byte) ([]byte, error)
}

// Spec is a parsed --seal value.
type Spec struct {
	kind  string
	value string
}

// Parse reads file:PATH, passphrase-file:PATH or passphrase-env:NAME. An empty
// text means the key file DIR/seal/root.key.
func Parse(text, dataDir string) (Spec, error) {
	if text == "" {
		return Spec{kind: "file", value: filepath.Join(dataDir, "seal", "root.key")}, nil
	}
	kind, value, ok := strings.Cut(text, ":")
	if !ok || value == "" {
		return Spec{}, fmt.Errorf("seal %q: want file:PATH, passphrase-file:PATH or passphrase-env:NAME", text)
	}
	switch kind {
	case "file", "passphrase-file":
		abs, err := filepath.Abs(value)
		if err != nil {
			return Spec{}, fmt.Errorf("seal %q: %w", text, err)
		}
		return Spec{kind: kind, value: abs}, nil
	case "passphrase-env":
		return Spec{kind: kind, value: value}, nil
	case "exec", "awskms", "pkcs11":
		return Spec{}, fmt.Errorf("seal kind %q is not built yet: use file:PATH, passphrase-file:PATH or passphrase-env:NAME", kind)
	}
	return Spec{}, fmt.Errorf("unknown seal kind %q: want file:PATH, passphrase-file:PATH or passphrase-env:NAME", kind)
}

// Inside reports whether the secret of the seal lies in dir, so that who
// copies dir copies the key.
func (s Spec) Inside(dir string) bool {
	if s.kind == "passphrase-env" {
		return false
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return true
	}
	rel, err := filepath.Rel(resolve(abs), resolve(s.value))
	return err != nil || rel == "." || (rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)))
}

// resolve follows symbolic links of the longest part of path that exists, so
// that a link cannot hide that a key lies in the data directory.
func resolve(path string) string {
	rest := ""
	for p := path; ; p = filepath.Dir(p) {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			return filepath.Join(real, rest)
		}
		if p == filepath.Dir(p) {
			return path
		}
		rest = filepath.Join(filepath.Base(p), rest)
	}
}

// Open returns the seal. With create, a missing key file is made with a new
// random root key; without it (data exists already) a missing one is an error,
// because a new root key could open nothing.
func (s Spec) Open(create bool) (Seal, error) {
	switch s.kind {
	case "file":
		return openFile(s.value, create)
	case "passphrase-file":
		b, err := os.ReadFile(s.value)
		if err != nil {
			return nil, fmt.Errorf("read passphrase file: %w", err)
		}
		return newPassphrase(strings.TrimRight(string(b), "\r\n"))
	case "passphrase-env":
		v, ok := os.LookupEnv(s.value)
		if !ok {
			return nil, fmt.Errorf("the environment variable %s with the passphrase is not set", s.value)
		}
		return newPassphrase(v)
	}
	return nil, fmt.Errorf("unknown seal kind %q", s.kind)
}

// keyFileHeader is the first line of a key file; the second is 64 hex digits.
const keyFileHeader = "sagekeep-root-key-1"

// maxKeyFile bounds what is read as a key file, in bytes.
const maxKeyFile = 4096

type fileSeal struct{ aead cipher.AEAD }

func openFile(path string, create bool) (Seal, error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		b, err = createKeyFile(path)
		if err != nil {
			return nil, fmt.Errorf("create root key: %w", err)
		}
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the root key file %s is missing and data exists: bring the key file back; a new key could open nothing", path)
	case err != nil:
		return nil, fmt.Errorf("read root key: %w", err)
	}
	root, err := parseKeyFile(b)
	if err != nil {
		return nil, fmt.Errorf("root key file %s: %w", path, err)
	}
	sub, err := hkdf.Key(sha256.New, root.Bytes(), nil, "sagekeep seal file v1", secret.Size)
	if err != nil {
		return nil, fmt.Errorf("derive seal key: %w", err)
	}
	root.Erase()
	aead, err := newAEAD(sub)
	if err != nil {
		return nil, err
	}
	return &fileSeal{aead}, nil
}

func parseKeyFile(b []byte) (secret.Key, error) {
	if len(b) > maxKeyFile {
		return secret.Key{}, errors.New("too large for a key file")
	}
	lines := strings.Fields(string(b))
	if len(lines) != 2 || lines[0] != keyFileHeader {
		return secret.Key{}, fmt.Errorf("want the line %s and a line of 64 hex digits", keyFileHeader)
	}
	raw, err := hex.DecodeString(lines[1])
	if err != nil || len(raw) != secret.Size {
		return secret.Key{}, errors.New("the second line is not 64 hex digits")
	}
	return secret.New(raw)
}

func createKeyFile(path string) ([]byte, error) {
	if err := durable.MakeDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	text := []byte(keyFileHeader + "\n" + hex.EncodeToString(secret.Random().Bytes()) + "\n")
	return text, durable.WriteFile(path, text)
}

func (s *fileSeal) Kind() string { return "file" }

func (s *fileSeal) Wrap(plaintext, aad []byte) ([]byte, error) {
	return s.aead.Seal([]byte{1}, nil, plaintext, aad), nil
}

func (s *fileSeal) Unwrap(wrapped, aad []byte) ([]byte, error) {
	if len(wrapped) < 1 || wrapped[0] != 1 {
		return nil, ErrWrong
	}
	p, err := s.aead.Open(nil, nil, wrapped[1:], aad)
	if err != nil {
		return nil, ErrWrong
	}
	return p, nil
}

// Passphrase parameters: PBKDF2-HMAC-SHA-256, the count that OWASP advises (2023).
const (
	pbkdf2Iterations    = 600_000
	pbkdf2MaxIterations = 10_000_000
	minPassphrase       = 12 // characters
)

// passphraseSeal derives a key per salt. A wrapped blob is
// 2 | iterations (4, big endian) | salt (16) | nonce, ciphertext and tag.
type passphraseSeal struct {
	passphrase string

	mu    sync.Mutex
	aeads map[string]cipher.AEAD // by iterations and salt
	last  []byte                 // header used for new blobs
}

func newPassphrase(p string) (Seal, error) {
	if len(p) < minPassphrase {
		return nil, fmt.Errorf("the passphrase has fewer than %d characters", minPassphrase)
	}
	return &passphraseSeal{passphrase: p, aeads: map[string]cipher.AEAD{}}, nil
}

func (s *passphraseSeal) Kind() string { return "passphrase" }

func (s *passphraseSeal) aead(header []byte) (cipher.AEAD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.aeads[string(header)]; ok {
		return a, nil
	}
	n := binary.BigEndian.Uint32(header)
	if n < pbkdf2Iterations || n > pbkdf2MaxIterations {
		return nil, ErrWrong
	}
	k, err := pbkdf2.Key(sha256.New, s.passphrase, header[4:], int(n), secret.Size)
	if err != nil {
		return nil, fmt.Errorf("derive key from passphrase: %w", err)
	}
	a, err := newAEAD(k)
	if err != nil {
		return nil, err
	}
	s.aeads[string(header)] = a
	s.last = header
	return a, nil
}

func (s *passphraseSeal) Wrap(plaintext, aad []byte) ([]byte, error) {
	s.mu.Lock()
	header := s.last
	s.mu.Unlock()
	if header == nil {
		header = binary.BigEndian.AppendUint32(nil, pbkdf2Iterations)
		header = append(header, make([]byte, 16)...)
		rand.Read(header[4:])
	}
	a, err := s.aead(header)
	if err != nil {
		return nil, err
	}
	return a.Seal(append([]byte{2}, header...), nil, plaintext, aad), nil
}

func (s *passphraseSeal) Unwrap(wrapped, aad []byte) ([]byte, error) {
	if len(wrapped) < 21 || wrapped[0] != 2 {
		return nil, ErrWrong
	}
	a, err := s.aead(append([]byte(nil), wrapped[1:21]...))
	if err != nil {
		return nil, err
	}
	p, err := a.Open(nil, nil, wrapped[21:], aad)
	if err != nil {
		return nil, ErrWrong
	}
	return p, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("AES: %w", err)
	}
	a, err := cipher.NewGCMWithRandomNonce(b)
	if err != nil {
		return nil, fmt.Errorf("GCM: %w", err)
	}
	return a, nil
}
