package storetest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"

	"github.com/sagekeep/sagekeep/internal/store"
)

// NewSealer returns a sealer with random keys of its own, for tests: AES-GCM
// and HMAC-SHA-256, keys by class.
func NewSealer() store.Sealer {
	var root [32]byte
	rand.Read(root[:])
	return NewSealerFrom(root)
}

// NewSealerFrom is NewSealer with keys that follow from root, to open kept
// samples.
func NewSealerFrom(root [32]byte) store.Sealer { return &sealer{root: root} }

type sealer struct{ root [32]byte }

func (s *sealer) key(purpose, class string) []byte {
	m := hmac.New(sha256.New, s.root[:])
	m.Write([]byte(purpose + "\x00" + class))
	return m.Sum(nil)
}

func (s *sealer) aead(class string) (cipher.AEAD, error) {
	block, err := aes.NewCipher(s.key("seal", class))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (s *sealer) Seal(class string, aad, plaintext []byte) ([]byte, error) {
	a, err := s.aead(class)
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nil, plaintext, aad), nil
}

func (s *sealer) Open(class string, aad, sealed []byte) ([]byte, error) {
	a, err := s.aead(class)
	if err != nil {
		return nil, err
	}
	return a.Open(nil, nil, sealed, aad)
}

func (s *sealer) MAC(class string, data []byte) [16]byte {
	m := hmac.New(sha256.New, s.key("mac", class))
	m.Write(data)
	return [16]byte(m.Sum(nil)[:16])
}
