// Package envelope holds the service-owned keyring, the layer under everything
// that is stored: rows, files, segments and tokens are sealed under keys
// derived from it, and it lies wrapped by the seal in the data directory.
package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/sagekeep/sagekeep/internal/secret"
)

// Format is the newest data format this program reads and the one it writes.
// Format 1, in which the seal sealed keyring and epochs itself, is read and
// brought to this one.
const Format = 2

var (
	// ErrNewer: the data directory was written by a newer version.
	ErrNewer = errors.New("written by a newer version of sagekeep; use that version or restore a backup")
	// ErrSealed: a sealed value was altered, moved, or sealed under another keyring.
	ErrSealed = errors.New("a sealed value does not open: altered, moved, or of another data directory")
)

// Keyring is the set of service-owned keys: the newest seals, all open. It
// implements store.Sealer and may be used concurrently.
type Keyring struct {
	id       string
	versions map[uint32]secret.Key
	current  uint32

	mu      sync.Mutex
	sealers map[string]*classSealer   // by class
	openers map[openerKey]cipher.AEAD // bounded by maxOpeners
	macKeys map[string][sha256.Size]byte
}

type openerKey struct {
	version uint32
	salt    [saltSize]byte
	class   string
}

const (
	saltSize     = 16
	headerSize   = 1 + 4 + saltSize
	valueVersion = 1
	maxOpeners   = 8192
	// sealsPerSalt keeps every derived key far below 2^32 random nonces.
	sealsPerSalt = 1 << 30
)

// classSealer is the key in use for new values of one class.
type classSealer struct {
	header [headerSize]byte
	aead   cipher.AEAD
	used   int64
}

func newKeyring(id string) *Keyring {
	return &Keyring{
		id:       id,
		versions: map[uint32]secret.Key{},
		sealers:  map[string]*classSealer{},
		openers:  map[openerKey]cipher.AEAD{},
		macKeys:  map[string][sha256.Size]byte{},
	}
}

// NewMemory returns a keyring that is stored nowhere, for in-memory stores.
func NewMemory() *Keyring {
	k := newKeyring("memory")
	k.versions[1] = secret.Random()
	k.current = 1
	return k
}

// ID names the data directory; it is random and public.
func (k *Keyring) ID() string { return k.id }

// Derive returns the key of one purpose, for example the files layer. It is
// always derived from the first version, so that it does not change when the
// keyring is rotated.
func (k *Keyring) Derive(purpose string) secret.Key {
	b, err := hkdf.Key(sha256.New, k.versions[1].Bytes(), nil, "sagekeep purpose v1|"+purpose, secret.Size)
	if err != nil {
		panic("envelope: HKDF: " + err.Error()) // only for lengths that no input can reach
	}
	key, err := secret.New(b)
	if err != nil {
		panic("envelope: " + err.Error())
	}
	clear(b)
	return key
}

// aead derives the AES-256-GCM key of (version, class, salt).
func (k *Keyring) aead(version uint32, class string, salt []byte) (cipher.AEAD, error) {
	root, ok := k.versions[version]
	if !ok {
		return nil, fmt.Errorf("keyring version %d: %w", version, ErrSealed)
	}
	b, err := hkdf.Key(sha256.New, root.Bytes(), salt, "sagekeep value v1|"+class, secret.Size)
	if err != nil {
		return nil, fmt.Errorf("derive value key: %w", err)
	}
	defer clear(b)
	return newAEAD(b)
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

// sealer returns the key in use for class and its header.
func (k *Keyring) sealer(class string) (*classSealer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.sealers[class]
	if s != nil && s.used < sealsPerSalt {
		s.used++
		return s, nil
	}
	s = &classSealer{used: 1}
	s.header[0] = valueVersion
	binary.BigEndian.PutUint32(s.header[1:], k.current)
	rand.Read(s.header[5:])
	var err error
	if s.aead, err = k.aead(k.current, class, s.header[5:]); err != nil {
		return nil, err
	}
	k.sealers[class] = s
	return s, nil
}

// bind joins class and aad without ambiguity.
func bind(class string, aad []byte) []byte {
	b := make([]byte, 0, 4+len(class)+len(aad))
	b = binary.BigEndian.AppendUint32(b, uint32(len(class)))
	b = append(b, class...)
	return append(b, aad...)
}

// Seal encrypts plaintext for class; Open needs the same class and aad. The
// result is 49 bytes longer than plaintext.
func (k *Keyring) Seal(class string, aad, plaintext []byte) ([]byte, error) {
	s, err := k.sealer(class)
	if err != nil {
		return nil, err
	}
	out := make([]byte, headerSize, headerSize+len(plaintext)+s.aead.Overhead())
	copy(out, s.header[:])
	return s.aead.Seal(out, nil, plaintext, bind(class, aad)), nil
}

// Open decrypts what Seal made, or returns ErrSealed or ErrNewer.
func (k *Keyring) Open(class string, aad, sealed []byte) ([]byte, error) {
	if len(sealed) < headerSize {
		return nil, ErrSealed
	}
	if sealed[0] > valueVersion {
		return nil, ErrNewer
	}
	if sealed[0] != valueVersion {
		return nil, ErrSealed
	}
	key := openerKey{version: binary.BigEndian.Uint32(sealed[1:]), salt: [saltSize]byte(sealed[5:headerSize]), class: class}
	k.mu.Lock()
	a := k.openers[key]
	if s := k.sealers[class]; a == nil && s != nil && [headerSize]byte(sealed[:headerSize]) == s.header {
		a = s.aead
	}
	k.mu.Unlock()
	if a == nil {
		var err error
		if a, err = k.aead(key.version, class, key.salt[:]); err != nil {
			return nil, err
		}
	}
	p, err := a.Open(nil, nil, sealed[headerSize:], bind(class, aad))
	if err != nil {
		return nil, ErrSealed
	}
	k.mu.Lock()
	if len(k.openers) >= maxOpeners { // salts are few: one per start and class; a flood of foreign ones never gets here
		clear(k.openers)
	}
	k.openers[key] = a
	k.mu.Unlock()
	return p, nil
}

// MAC returns HMAC-SHA-256, cut to 128 bits, of data under the key of class:
// the stored form of keys that are only ever matched exactly. It does not
// change when the keyring is rotated.
func (k *Keyring) MAC(class string, data []byte) [16]byte {
	k.mu.Lock()
	key, ok := k.macKeys[class]
	k.mu.Unlock()
	if !ok {
		key = [sha256.Size]byte(k.Derive("mac|" + class).Bytes())
		k.mu.Lock()
		k.macKeys[class] = key
		k.mu.Unlock()
	}
	h := hmac.New(sha256.New, key[:])
	h.Write(data)
	var sum [sha256.Size]byte
	return [16]byte(h.Sum(sum[:0])[:16])
}
