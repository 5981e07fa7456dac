package envelope

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/sagekeep/sagekeep/internal/secret"
)

// root is the root key of one generation. It lies wrapped by a seal in the
// keyring file, and what it seals lies beside it: keyring, canary, epoch keys.
// Generation 0 is data format 1, in which the seal sealed those itself; it has no
// key.
type root struct {
	generation uint64
	key        secret.Key
}

// canaryText is what the canary holds: it tells a wrong root key from a damaged
// keyring.
const canaryText = "sagekeep canary v1"

// Purposes of what a root key seals.
const (
	canaryPurpose  = "canary"
	keyringPurpose = "keyring"
	epochPurpose   = "deletion epoch|" // and the epoch's id
)

// aead derives the key of one purpose in one data directory.
func (r *root) aead(store, purpose string) (cipher.AEAD, []byte, error) {
	b, err := hkdf.Key(sha256.New, r.key.Bytes(), nil, "sagekeep root v2|"+store+"|"+purpose, secret.Size)
	if err != nil {
		return nil, nil, fmt.Errorf("derive a key from the root key: %w", err)
	}
	defer clear(b)
	a, err := newAEAD(b)
	return a, binary.BigEndian.AppendUint64([]byte(purpose+"|"), r.generation), err
}

func (r *root) seal(store, purpose string, plain []byte) ([]byte, error) {
	a, aad, err := r.aead(store, purpose)
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nil, plain, aad), nil
}

// open opens what seal made, or returns ErrSealed.
func (r *root) open(store, purpose string, sealed []byte) ([]byte, error) {
	a, aad, err := r.aead(store, purpose)
	if err != nil {
		return nil, err
	}
	p, err := a.Open(nil, nil, sealed, aad)
	if err != nil {
		return nil, ErrSealed
	}
	return p, nil
}
