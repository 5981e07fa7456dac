package segment

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/sagekeep/sagekeep/internal/secret"
)

// Keys are the data keys of a segment. One pair may serve many segments: each
// derives keys of its own from them.
type Keys struct {
	Service  secret.Key // outer layer, always there
	Customer secret.Key // inner layer; the zero Key means there is none
}

// Layers returns how many layers a segment under k has: 1 or 2.
func (k Keys) Layers() int {
	if k.Customer.IsZero() {
		return 1
	}
	return 2
}

var errNoServiceKey = errors.New("segment: the service key is missing")

// layers are the ciphers of one segment, ready for use by many goroutines.
type layers struct {
	service, customer cipher.AEAD // customer is nil in a segment of one layer
	commitments       [maxLayers][commitment]byte
}

// derive makes the ciphers and commitments of a segment.
func (k Keys) derive(id ID, context []byte) (*layers, error) {
	if k.Service.IsZero() {
		return nil, errNoServiceKey
	}
	l := new(layers)
	var err error
	if l.service, err = deriveLayer(k.Service, 1, id, context, &l.commitments[0]); err != nil {
		return nil, err
	}
	if k.Layers() == 2 {
		if l.customer, err = deriveLayer(k.Customer, 2, id, context, &l.commitments[1]); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// deriveLayer follows RFC 5869 with the identifier as salt. The layer number in
// info keeps the layers apart even when a caller gives one key twice.
func deriveLayer(k secret.Key, layer byte, id ID, context []byte, commit *[commitment]byte) (cipher.AEAD, error) {
	info := string(append([]byte{'s', 'g', 'k', '1', suite, layer}, context...))
	out, err := hkdf.Key(sha512.New, k.Bytes(), id[:], info, secret.Size+commitment)
	if err != nil {
		return nil, fmt.Errorf("segment: derive key: %w", err)
	}
	defer clear(out)
	copy(commit[:], out[secret.Size:])
	block, err := aes.NewCipher(out[:secret.Size])
	if err != nil {
		return nil, fmt.Errorf("segment: make cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("segment: make cipher: %w", err)
	}
	return aead, nil
}

// committed reports, in constant time, whether the header's commitments are
// those of l: AES-GCM alone would let one ciphertext open under two keys.
func (l *layers) committed(h *header) bool {
	ok := subtle.ConstantTimeCompare(l.commitments[0][:], h.commitments[0][:])
	if l.customer != nil {
		ok &= subtle.ConstantTimeCompare(l.commitments[1][:], h.commitments[1][:])
	}
	return ok == 1
}
