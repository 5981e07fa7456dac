package seal

import (
	"bytes"
	"context"
	"crypto/fips140"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"runtime/debug"
	"sync"

	"golang.org/x/crypto/argon2"

	"github.com/sagekeep/sagekeep/internal/secret"
)

// derivation is how a passphrase becomes a wrapping key; it is stored with each
// copy. Bytes: algorithm (1) | numbers (4 each, big endian) | salt (16).
type derivation struct {
	algorithm  byte
	iterations uint32 // PBKDF2: rounds; argon2id: passes
	memory     uint32 // argon2id: KiB
	lanes      uint32 // argon2id
	salt       [saltSize]byte
}

const (
	byPBKDF2   = 1 // PBKDF2-HMAC-SHA-256, NIST SP 800-132
	byArgon2id = 2 // RFC 9106

	saltSize      = 16
	minPassphrase = 12       // bytes
	maxPassphrase = 64 << 10 // bytes

	// The count that OWASP advises (2023).
	pbkdf2Iterations    = 600_000
	pbkdf2MaxIterations = 10_000_000

	// The second choice of RFC 9106, section 4: 64 MiB. The bounds on reading keep
	// an altered file from stalling the start, and weak ones out.
	argonPasses, argonMaxPasses = 3, 64
	argonMemory, argonMinMemory = 64 << 10, 19 << 10 // KiB
	argonMaxMemory              = 1 << 20
	argonLanes, argonMaxLanes   = 4, 64
)

// newDerivation returns fresh parameters: argon2id, or PBKDF2 in FIPS 140-3 mode.
func newDerivation() derivation {
	d := derivation{algorithm: byArgon2id, iterations: argonPasses, memory: argonMemory, lanes: argonLanes}
	if fips140.Enabled() {
		d = derivation{algorithm: byPBKDF2, iterations: pbkdf2Iterations}
	}
	rand.Read(d.salt[:])
	return d
}

func (d *derivation) bytes() []byte {
	b := binary.BigEndian.AppendUint32([]byte{d.algorithm}, d.iterations)
	if d.algorithm == byArgon2id {
		b = binary.BigEndian.AppendUint32(b, d.memory)
		b = binary.BigEndian.AppendUint32(b, d.lanes)
	}
	return append(b, d.salt[:]...)
}

func parseDerivation(b []byte) (derivation, error) {
	var d derivation
	switch {
	case len(b) == 1+4+saltSize && b[0] == byPBKDF2:
		d.algorithm, d.iterations = b[0], binary.BigEndian.Uint32(b[1:])
		if d.iterations < pbkdf2Iterations || d.iterations > pbkdf2MaxIterations {
			return d, fmt.Errorf("%w: PBKDF2 with %d iterations", ErrWrong, d.iterations)
		}
	case len(b) == 1+12+saltSize && b[0] == byArgon2id:
		d.algorithm, d.iterations = b[0], binary.BigEndian.Uint32(b[1:])
		d.memory, d.lanes = binary.BigEndian.Uint32(b[5:]), binary.BigEndian.Uint32(b[9:])
		if d.iterations < 1 || d.iterations > argonMaxPasses || d.memory < argonMinMemory || d.memory > argonMaxMemory ||
			d.lanes < 1 || d.lanes > argonMaxLanes {
			return d, fmt.Errorf("%w: argon2id with parameters out of bounds", ErrWrong)
		}
	default:
		return d, fmt.Errorf("%w: unknown derivation of the passphrase", ErrWrong)
	}
	copy(d.salt[:], b[len(b)-saltSize:])
	return d, nil
}

// String names the algorithm with its parameters.
func (d *derivation) String() string {
	if d.algorithm == byPBKDF2 {
		return fmt.Sprintf("AES-256-GCM under a passphrase (PBKDF2-HMAC-SHA-256, %d iterations)", d.iterations)
	}
	return fmt.Sprintf("AES-256-GCM under a passphrase (argon2id, %d passes, %d MiB, %d lanes)", d.iterations, d.memory>>10, d.lanes)
}

func (d *derivation) fips() FIPS {
	if d.algorithm == byPBKDF2 {
		return Approved
	}
	return NotApproved
}

// id names the key that comes out, by its salt.
func (d *derivation) id() string { return hex.EncodeToString(d.salt[:fileKeyIDBytes]) }

// key derives the wrapping key. Error: ErrNotAllowed.
func (d *derivation) key(passphrase []byte) (secret.Key, error) {
	var b []byte
	var err error
	if d.algorithm == byArgon2id {
		if fips140.Enforced() {
			return secret.Key{}, fmt.Errorf("the root key is wrapped under a passphrase with argon2id, which is %w: "+
				"run `sagekeep seal rotate` once with fips140=on, which wraps it with PBKDF2", ErrNotAllowed)
		}
		b = argon2.IDKey(passphrase, d.salt[:], d.iterations, d.memory, uint8(d.lanes), secret.Size)
		debug.FreeOSMemory() // what it has filled is large, needed once and derived from the passphrase
	} else {
		b, err = pbkdf2.Key(sha256.New, string(passphrase), d.salt[:], int(d.iterations), secret.Size)
	}
	if err != nil {
		return secret.Key{}, fmt.Errorf("derive key from passphrase: %w", err)
	}
	defer clear(b)
	return secret.New(b)
}

type passphraseSeal struct {
	mu         sync.Mutex
	passphrase []byte
	current    *derivation           // of new copies; nil until one is needed
	keys       map[string]secret.Key // by derivation
}

func readPassphrase(path string) ([]byte, error) {
	b, err := readLimited(path, maxPassphrase)
	if err != nil {
		return nil, fmt.Errorf("read passphrase file: %w", err)
	}
	return bytes.TrimRight(b, "\r\n"), nil
}

// newPassphrase takes over p.
func newPassphrase(p []byte) (Seal, error) {
	if len(p) < minPassphrase {
		return nil, fmt.Errorf("the passphrase has fewer than %d characters", minPassphrase)
	}
	return &passphraseSeal{passphrase: p, keys: map[string]secret.Key{}}, nil
}

func (s *passphraseSeal) Kind() Kind { return Passphrase }

// key returns the wrapping key of d, derived once. The caller holds s.mu.
func (s *passphraseSeal) key(d *derivation) (secret.Key, error) {
	if s.passphrase == nil {
		return secret.Key{}, errClosed
	}
	name := string(d.bytes())
	if k, ok := s.keys[name]; ok {
		return k, nil
	}
	k, err := d.key(s.passphrase)
	if err == nil {
		s.keys[name] = k
	}
	return k, err
}

func (s *passphraseSeal) Wrap(_ context.Context, key secret.Key, at Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		s.current = new(newDerivation())
	}
	kek, err := s.key(s.current)
	if err != nil {
		return nil, err
	}
	w := wrapped{kind: Passphrase, keyID: s.current.id(), params: s.current.bytes()}
	if err := w.sealKey(kek.Bytes(), key, at); err != nil {
		return nil, err
	}
	return w.bytes(), nil
}

func (s *passphraseSeal) Unwrap(_ context.Context, b []byte, at Context) (secret.Key, error) {
	w, err := own(b, Passphrase)
	if err != nil {
		return secret.Key{}, err
	}
	d, err := parseDerivation(w.params)
	if err != nil {
		return secret.Key{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kek, err := s.key(&d)
	if err != nil {
		return secret.Key{}, err
	}
	key, err := w.openKey(kek.Bytes(), at)
	if err == nil && s.current == nil {
		s.current = &d
	}
	return key, err
}

// UnwrapFormat1 opens 2 | iterations (4) | salt (16) | nonce, ciphertext and tag.
func (s *passphraseSeal) UnwrapFormat1(b, aad []byte) ([]byte, error) {
	if len(b) < 1+4+saltSize || b[0] != 2 {
		return nil, ErrWrong
	}
	d, err := parseDerivation(append([]byte{byPBKDF2}, b[1:1+4+saltSize]...))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kek, err := s.key(&d)
	if err != nil {
		return nil, err
	}
	a, err := newAEAD(kek.Bytes())
	if err != nil {
		return nil, err
	}
	p, err := a.Open(nil, nil, b[1+4+saltSize:], aad)
	if err != nil {
		return nil, ErrWrong
	}
	return p, nil
}

// Info tells how the key is derived; before the first copy was opened or made,
// how the next one will be.
func (s *passphraseSeal) Info(context.Context) (Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.current
	if d == nil {
		d = new(newDerivation())
		return Info{Algorithm: d.String(), FIPS: d.fips()}, nil
	}
	return Info{KeyID: d.id(), Algorithm: d.String(), FIPS: d.fips()}, nil
}

func (s *passphraseSeal) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.passphrase)
	s.passphrase = nil
	for _, k := range s.keys {
		k.Erase()
	}
	s.keys = nil
}
