package xkstest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"slices"

	"github.com/sagekeep/sagekeep/internal/sigv4"
	"github.com/sagekeep/sagekeep/internal/xks"
)

// Key is one external key.
type Key struct {
	Metadata xks.KeyMetadata
	// Versioned keys add metadata to each ciphertext.
	Versioned bool
	// LongIV gives initialization vectors of 16 bytes.
	LongIV bool
	// Denied callers, by principal ARN, are refused.
	Denied []string

	secret []byte
}

// message is every field that a request may have.
type message struct {
	Request   xks.Request `json:"requestMetadata"`
	AAD       []byte      `json:"additionalAuthenticatedData"`
	Plaintext []byte      `json:"plaintext"`
	xks.Ciphertext
	Algorithm string `json:"encryptionAlgorithm"`
	Integrity string `json:"ciphertextDataIntegrityValueAlgorithm"`
}

// AddKey makes an enabled AES-256 key.
func (p *Proxy) AddKey(id string) {
	k := &Key{Metadata: xks.KeyMetadata{Spec: "AES_256", Usage: []string{"ENCRYPT", "DECRYPT"}, Status: "ENABLED"}, secret: make([]byte, 32)}
	rand.Read(k.secret)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[id] = k
}

// RemoveKey forgets a key.
func (p *Proxy) RemoveKey(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.keys, id)
}

// SetKey changes a key.
func (p *Proxy) SetKey(id string, change func(*Key)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p.keys[id])
}

func (p *Proxy) lookup(_ context.Context, id, _ string) (*sigv4.Credential, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.secrets[id]
	if !ok {
		return nil, sigv4.ErrUnknownKey
	}
	return &sigv4.Credential{AccessKeyID: id, Secret: s}, nil
}

func (p *Proxy) onKey(w http.ResponseWriter, api, id string, in *message) {
	p.mu.Lock()
	k, ok := p.keys[id]
	var now Key
	if ok {
		now = *k
	}
	p.mu.Unlock()
	switch {
	case !ok:
		refuse(w, http.StatusNotFound, xks.KeyNotFoundException)
	case slices.Contains(now.Denied, in.Request.PrincipalARN):
		refuse(w, http.StatusForbidden, xks.AccessDeniedException)
	case api == "metadata":
		answer(w, http.StatusOK, now.Metadata)
	case now.Metadata.Status != "ENABLED":
		refuse(w, http.StatusBadRequest, xks.InvalidStateException)
	case in.Algorithm != "AES_GCM" || in.Request.KeyARN == "":
		refuse(w, http.StatusBadRequest, xks.ValidationException)
	case api == "encrypt":
		// The proxy is another machine: what it may do is not for our mode to say.
		fips140.WithoutEnforcement(func() { now.encrypt(w, in) })
	default:
		fips140.WithoutEnforcement(func() { now.decrypt(w, in) })
	}
}

func (k *Key) aead(ivSize int) cipher.AEAD {
	b, err := aes.NewCipher(k.secret)
	if err != nil {
		panic(err)
	}
	a, err := cipher.NewGCMWithNonceSize(b, ivSize)
	if err != nil {
		panic(err)
	}
	return a
}

// aad joins what is authenticated, with lengths.
//
// Source: proxy API specification, Encrypt, ciphertextMetadata.
func aad(aad, metadata []byte) []byte {
	out := binary.BigEndian.AppendUint16(nil, uint16(len(aad)))
	out = append(append(out, aad...), byte(len(metadata)))
	return append(out, metadata...)
}

func (k *Key) encrypt(w http.ResponseWriter, in *message) {
	if len(in.Plaintext) > xks.MaxPlaintext || len(in.AAD) > xks.MaxAAD || !slices.Contains(k.Metadata.Usage, "ENCRYPT") {
		refuse(w, http.StatusBadRequest, xks.InvalidKeyUsageException)
		return
	}
	var metadata []byte
	if k.Versioned {
		metadata = []byte("key_version=1")
	}
	iv := make([]byte, 12)
	if k.LongIV {
		iv = make([]byte, 16)
	}
	rand.Read(iv)
	sealed := k.aead(len(iv)).Seal(nil, iv, in.Plaintext, aad(in.AAD, metadata))
	c := xks.Ciphertext{Bytes: sealed[:len(in.Plaintext)], Metadata: metadata, IV: iv, Tag: sealed[len(in.Plaintext):]}
	out := struct {
		xks.Ciphertext
		Integrity []byte `json:"ciphertextDataIntegrityValue,omitempty"`
	}{Ciphertext: c}
	if in.Integrity == "SHA_256" {
		sum := sha256.Sum256(slices.Concat(in.AAD, c.Metadata, c.IV, c.Bytes, c.Tag))
		out.Integrity = sum[:]
	}
	answer(w, http.StatusOK, out)
}

func (k *Key) decrypt(w http.ResponseWriter, in *message) {
	if !slices.Contains(k.Metadata.Usage, "DECRYPT") {
		refuse(w, http.StatusBadRequest, xks.InvalidKeyUsageException)
		return
	}
	if len(in.IV) != 12 && len(in.IV) != 16 || len(in.Tag) != xks.TagSize || len(in.Ciphertext.Metadata) > xks.MaxMetadata {
		refuse(w, http.StatusBadRequest, xks.InvalidCiphertextException)
		return
	}
	plain, err := k.aead(len(in.IV)).Open(nil, in.IV, slices.Concat(in.Bytes, in.Tag), aad(in.AAD, in.Ciphertext.Metadata))
	if err != nil {
		refuse(w, http.StatusBadRequest, xks.InvalidCiphertextException)
		return
	}
	answer(w, http.StatusOK, map[string][]byte{"plaintext": plain})
}
