// Package tokentest is a token in memory, for tests of what uses one.
package tokentest

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"sync"

	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/token"
)

// Token holds AES-256 keys in memory. Its methods behave like those of
// [token.Token]. The zero Token is empty.
type Token struct {
	mu       sync.Mutex
	versions map[string][]version
	err      error
}

type version struct {
	key  token.Key
	aead cipher.AEAD
}

// Add adds a version of a key, which encrypts from now on.
func (t *Token) Add(label string, id byte) {
	block, err := aes.NewCipher(random(32))
	if err != nil {
		panic("tokentest: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("tokentest: " + err.Error())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.versions == nil {
		t.versions = map[string][]version{}
	}
	k := token.Key{Label: label, ID: []byte{id}, Bits: 256, Encrypt: true, Decrypt: true, Sensitive: true, Local: true}
	t.versions[label] = append(t.versions[label], version{k, aead})
}

// Change alters every version of a key.
func (t *Token) Change(label string, fn func(*token.Key)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.versions[label] {
		fn(&t.versions[label][i].key)
	}
}

// Fail makes every call fail with err, until it is nil.
func (t *Token) Fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
}

// Versions is that of [token.Token].
func (t *Token) Versions(_ context.Context, label string) ([]token.Key, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return nil, t.err
	}
	var out []token.Key
	for _, v := range t.versions[label] {
		out = append(out, v.key)
	}
	if out == nil {
		return nil, token.ErrNoKey
	}
	return out, nil
}

func (t *Token) find(label string, id []byte) (version, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return version{}, t.err
	}
	for _, v := range t.versions[label] {
		switch {
		case !bytes.Equal(v.key.ID, id):
		case v.key.Disabled():
			return v, token.ErrDisabled
		case v.key.Bits != 256:
			return v, token.ErrUsage
		default:
			return v, nil
		}
	}
	return version{}, token.ErrNoKey
}

// Encrypt is that of [token.Token].
func (t *Token) Encrypt(_ context.Context, label string, id, plaintext, aad []byte) (token.Sealed, error) {
	v, err := t.find(label, id)
	if err == nil && !v.key.Encrypt {
		err = token.ErrUsage
	}
	if err != nil {
		return token.Sealed{}, err
	}
	iv := random(12)
	b := v.aead.Seal(nil, iv, plaintext, aad)
	n := len(plaintext)
	return token.Sealed{IV: iv, Ciphertext: b[:n:n], Tag: b[n:]}, nil
}

// Decrypt is that of [token.Token].
func (t *Token) Decrypt(_ context.Context, label string, id []byte, s token.Sealed, aad []byte) ([]byte, error) {
	v, err := t.find(label, id)
	switch {
	case err != nil:
		return nil, err
	case !v.key.Decrypt:
		return nil, token.ErrUsage
	case len(s.IV) != 12:
		return nil, token.ErrInvalid
	}
	b, err := v.aead.Open(nil, s.IV, append(bytes.Clone(s.Ciphertext), s.Tag...), aad)
	if err != nil {
		return nil, token.ErrInvalid
	}
	return b, nil
}

// Check is that of [token.Token].
func (t *Token) Check(context.Context) (token.Info, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return token.Info{Label: "fake", Manufacturer: "Nobody", Model: "Memory 1", Serial: "0001"}, t.err
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
