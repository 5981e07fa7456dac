package token

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// Sizes in bytes.
const (
	ivSize     = 12
	longIVSize = 16 // what some tokens choose, and the XKS specification allows
	tagSize    = 16
)

// Sealed is the result of an encryption with AES-256-GCM.
type Sealed struct {
	IV         []byte // 12 bytes, or 16 when the token chose so
	Ciphertext []byte // as long as the plaintext
	Tag        []byte // 16 bytes
}

// Encrypt encrypts plaintext, of one byte at least, under that version of a key,
// with a new random IV. It does not keep its arguments after it returned, except
// with ErrTimeout. Errors: ErrNoKey, ErrDisabled, ErrUsage and those of the token.
func (t *Token) Encrypt(ctx context.Context, label string, id, plaintext, aad []byte) (Sealed, error) {
	return do(ctx, t, func(c *call) (Sealed, error) {
		k, err := c.version(label, id)
		if err != nil {
			return Sealed{}, err
		}
		if err := k.usable(k.Encrypt); err != nil {
			return Sealed{}, err
		}
		return c.encrypt(k.handle, plaintext, aad)
	})
}

// Decrypt opens what Encrypt returned. Errors: those of Encrypt and ErrInvalid.
func (t *Token) Decrypt(ctx context.Context, label string, id []byte, s Sealed, aad []byte) ([]byte, error) {
	if len(s.IV) != ivSize && len(s.IV) != longIVSize || len(s.Tag) != tagSize || len(s.Ciphertext) == 0 {
		return nil, ErrInvalid
	}
	return do(ctx, t, func(c *call) ([]byte, error) {
		k, err := c.version(label, id)
		if err != nil {
			return nil, err
		}
		if err := k.usable(k.Decrypt); err != nil {
			return nil, err
		}
		return c.decrypt(k.handle, s, aad)
	})
}

// usable says whether k serves an operation that its attributes allow, or not.
func (k *Key) usable(allowed bool) error {
	switch {
	case k.Disabled():
		return fmt.Errorf("%w: %s, version %s", ErrDisabled, k.Label, k.Version())
	case k.Bits != keyBits:
		return fmt.Errorf("%w: %s has %d bits", ErrUsage, k.Label, k.Bits)
	case !allowed:
		return fmt.Errorf("%w: the attributes of %s, version %s, forbid it", ErrUsage, k.Label, k.Version())
	}
	return nil
}

func (c *call) encrypt(key pkcs11.ObjectHandle, plaintext, aad []byte) (Sealed, error) {
	iv := make([]byte, ivSize)
	rand.Read(iv) // never fails: crypto/rand ends the process instead
	b, used, err := c.lib.seal(c.session, key, iv, aad, plaintext)
	if err != nil {
		return Sealed{}, err
	}
	if len(b) != len(plaintext)+tagSize || len(used) != ivSize && len(used) != longIVSize {
		return Sealed{}, fmt.Errorf("%w: its CKM_AES_GCM answers with %d bytes and an IV of %d for %d bytes", ErrUnavailable, len(b), len(used), len(plaintext))
	}
	n := len(plaintext)
	return Sealed{IV: used, Ciphertext: b[:n:n], Tag: b[n:]}, nil
}

func (c *call) decrypt(key pkcs11.ObjectHandle, s Sealed, aad []byte) ([]byte, error) {
	plaintext, err := c.lib.open(c.session, key, s.IV, aad, append(bytes.Clone(s.Ciphertext), s.Tag...))
	if e, ok := errors.AsType[*decryptError](err); ok {
		// If the token works otherwise, then it is the ciphertext.
		if c.another((*call).check) != nil {
			return nil, e.cause
		}
		return nil, fmt.Errorf("%w: %w", ErrInvalid, e)
	}
	switch {
	case unopened(err):
		return nil, ErrInvalid
	case err != nil:
		return nil, err
	case len(plaintext) != len(s.Ciphertext):
		return nil, fmt.Errorf("%w: its CKM_AES_GCM answers with %d bytes for %d", ErrUnavailable, len(plaintext), len(s.Ciphertext))
	}
	return plaintext, nil
}

// another runs fn in a session of its own, for when c's may be in the middle of
// something.
func (c *call) another(fn func(*call) error) error {
	s, err := c.take(c.lib)
	if err != nil {
		return err
	}
	err = fn(&call{c.Token, c.link, s})
	c.give(c.lib, s, err == nil)
	return err
}

// Info is what a token says of itself.
type Info struct {
	Label, Manufacturer, Model, Serial string
}

// Check makes a key that lives for this call alone, and encrypts and decrypts under
// it in the token: what works here works for the keys, too.
func (t *Token) Check(ctx context.Context) (Info, error) {
	return do(ctx, t, func(c *call) (Info, error) {
		if err := c.present(); err != nil {
			return Info{}, err
		}
		if err := c.check(); err != nil {
			return Info{}, err
		}
		i := c.info
		return Info{trim(i.Label), trim(i.ManufacturerID), trim(i.Model), trim(i.SerialNumber)}, nil
	})
}

func (c *call) check() error {
	h, err := c.lib.GenerateKey(c.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, secretKey(false))
	if err != nil {
		return fmt.Errorf("make a test key: %w", err)
	}
	defer func() { _ = c.lib.DestroyObject(c.session, h) }()
	text, aad := []byte("sagekeep-hsm check"), []byte("check")
	s, err := c.encrypt(h, text, aad)
	if err != nil {
		return fmt.Errorf("encrypt under a test key: %w", err)
	}
	got, err := c.lib.open(c.session, h, s.IV, aad, append(s.Ciphertext, s.Tag...))
	if e, ok := errors.AsType[*decryptError](err); ok {
		err = e.cause
	}
	if err != nil {
		return fmt.Errorf("decrypt under a test key: %w", err)
	}
	if subtle.ConstantTimeCompare(got, text) != 1 {
		return fmt.Errorf("%w: a test message came back altered", ErrUnavailable)
	}
	return nil
}
