// Package seal reaches who holds the key that opens a data directory: a key
// file, a passphrase, a plugin, a KMS with AWS's wire, or an HSM behind a side
// program. A seal wraps and unwraps 32-byte root keys and nothing else; what lies
// under a root key is sealed by package envelope, without the holder.
package seal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"github.com/sagekeep/sagekeep/internal/secret"
)

var (
	// ErrWrong is returned by Unwrap when the copy was wrapped by another key, for
	// another data directory, or was altered: these cannot be told apart.
	ErrWrong = errors.New("the seal does not open this data directory: wrong root key, or damaged keyring")
	// ErrNotAllowed: a copy needs an algorithm that the FIPS 140-3 mode forbids.
	ErrNotAllowed = errors.New("not allowed in this FIPS 140-3 mode")
)

// Kind names a sort of holder, as a --seal value begins and as status shows it.
type Kind string

// The kinds. A passphrase is one kind, wherever it comes from; a plugin, too.
const (
	File       Kind = "file"
	Passphrase Kind = "passphrase"
	Plugin     Kind = "exec"
	AWSKMS     Kind = "awskms"
	PKCS11     Kind = "pkcs11"
)

// Context is what a wrapped key is bound to.
type Context struct {
	Store   string // id of the data directory
	Purpose string
}

// RootKey is the purpose of the keys that open a data directory.
const RootKey = "root-key"

// pairs is the context as holders with an encryption context see it.
func (c Context) pairs() map[string]string {
	return map[string]string{"sagekeep:data-dir": c.Store, "purpose": c.Purpose}
}

// Seal wraps root keys. Its methods may be called concurrently until Close.
// Calls to holders outside the process end after 30 seconds at the latest.
type Seal interface {
	// Kind says what holds the key.
	Kind() Kind
	// Wrap returns a copy of key that Unwrap opens in the same context; Describe
	// reads what the copy says of itself.
	Wrap(ctx context.Context, key secret.Key, at Context) ([]byte, error)
	// Unwrap opens what Wrap made. Errors: ErrWrong; ErrNotAllowed; others when the
	// holder cannot be reached or refuses.
	Unwrap(ctx context.Context, wrapped []byte, at Context) (secret.Key, error)
	// Info asks the holder about the key that wraps now.
	Info(ctx context.Context) (Info, error)
	// Close overwrites the secrets of the seal, which is not to be used afterwards.
	Close()
}

// Rotator is a seal whose keys this program makes and keeps: the key file. Those
// of the others are rotated by who has them.
type Rotator interface {
	Seal
	// Renew makes the seal wrap under a new key. What was wrapped before still opens.
	Renew() error
	// Settle destroys the keys that no longer wrap: for when nothing is wrapped under
	// them any more.
	Settle() error
}

// Format1 opens the blobs of data format 1, in which seals wrapped whole secrets.
type Format1 interface {
	// UnwrapFormat1 opens such a blob, or returns ErrWrong.
	UnwrapFormat1(wrapped, aad []byte) ([]byte, error)
}

// FIPS says whether only algorithms of FIPS 140-3 protect a root key.
type FIPS string

// What is known about the algorithms. For holders outside the process it is what
// they say of themselves.
const (
	Approved    FIPS = "approved"
	NotApproved FIPS = "not approved"
	Unknown     FIPS = "unknown"
)

// Info is what a holder says about itself. None of it is secret.
type Info struct {
	KeyID     string
	Algorithm string // for people
	FIPS      FIPS
	// Former are the ids of keys that are kept though they do not wrap any more.
	Former []string
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
