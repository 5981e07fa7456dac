package pebblestore

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
)

var (
	// ErrWrongKey says that a file was encrypted under another files key.
	ErrWrongKey = errors.New("pebblestore: wrong files key")

	// ErrNewerFormat says that a file was written by a newer version.
	ErrNewerFormat = errors.New("pebblestore: files are in a newer format")

	// ErrBadHeader says that a file does not begin with a file header.
	ErrBadHeader = errors.New("pebblestore: damaged file header")
)

const (
	headerSize  = 64
	headerMagic = "SGKF"
	fileVersion = 1
	saltSize    = 32
	keySize     = 32
)

// Keys yields the 32-byte keys that files are encrypted under. Files name
// their key by its number, so that a new key can come into use while older
// files still stand.
type Keys interface {
	// Newest returns the key for new files. The receiver does not change it.
	Newest() (number uint32, key []byte, err error)

	// ByNumber returns the key with that number, or an error.
	ByNumber(number uint32) (key []byte, err error)
}

// SingleKey returns Keys with one 32-byte key, number 1.
func SingleKey(key []byte) Keys { return singleKey{key} }

type singleKey struct{ key []byte }

func (k singleKey) Newest() (uint32, []byte, error) { return 1, k.key, nil }

func (k singleKey) ByNumber(number uint32) ([]byte, error) {
	if number != 1 {
		return nil, fmt.Errorf("no files key number %d", number)
	}
	return k.key, nil
}

// Format prints no key bytes.
func (singleKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// newHeader makes the header of a new file and the cipher behind it.
func newHeader(keys Keys) ([]byte, cipher.Block, error) {
	number, key, err := keys.Newest()
	if err != nil {
		return nil, nil, fmt.Errorf("files key: %w", err)
	}
	h := make([]byte, headerSize)
	copy(h, headerMagic)
	binary.BigEndian.PutUint16(h[4:], fileVersion)
	binary.BigEndian.PutUint32(h[8:], number)
	rand.Read(h[16 : 16+saltSize]) // never fails
	block, check, err := deriveFile(key, h)
	if err != nil {
		return nil, nil, err
	}
	copy(h[48:], check)
	return h, block, nil
}

// openHeader returns the cipher of the file that begins with h.
//
// Errors: ErrBadHeader, ErrNewerFormat, ErrWrongKey.
func openHeader(keys Keys, h []byte) (cipher.Block, error) {
	if len(h) != headerSize || string(h[:4]) != headerMagic {
		return nil, ErrBadHeader
	}
	if v := binary.BigEndian.Uint16(h[4:]); v > fileVersion {
		return nil, fmt.Errorf("%w: version %d, this program knows %d", ErrNewerFormat, v, fileVersion)
	} else if v != fileVersion {
		return nil, ErrBadHeader
	}
	key, err := keys.ByNumber(binary.BigEndian.Uint32(h[8:]))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWrongKey, err)
	}
	block, check, err := deriveFile(key, h)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(check, h[48:]) {
		return nil, ErrWrongKey
	}
	return block, nil
}

// deriveFile derives the file's own AES key from its salt, and the check value
// over the first 48 bytes of its header.
func deriveFile(key, h []byte) (cipher.Block, []byte, error) {
	if len(key) != keySize {
		return nil, nil, fmt.Errorf("files key has %d bytes, not %d", len(key), keySize)
	}
	material, err := hkdf.Key(sha256.New, key, h[16:16+saltSize], "sagekeep file v1", 2*keySize)
	if err != nil {
		return nil, nil, fmt.Errorf("derive file key: %w", err)
	}
	block, err := aes.NewCipher(material[:keySize])
	if err != nil {
		return nil, nil, fmt.Errorf("derive file key: %w", err)
	}
	mac := hmac.New(sha256.New, material[keySize:])
	mac.Write(h[:48])
	clear(material)
	return block, mac.Sum(nil)[:16], nil
}
