package kms

import (
	"context"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

const oaepSHA1 = kmsapi.EncryptionAlgorithmSpecRsaesOaepSha1

// oaepHash is the hash of an RSAES_OAEP algorithm and of its mask. That SHA-1 has
// collisions does not weaken OAEP.
func oaepHash(a kmsapi.EncryptionAlgorithmSpec) hash.Hash {
	if a == oaepSHA1 {
		return sha1.New()
	}
	return sha256.New()
}

// checkOAEP checks that a key has an asymmetric encryption algorithm and that
// the request fits it.
func checkOAEP(k *cachedKey, a kmsapi.EncryptionAlgorithmSpec, ec map[string]string) error {
	if sp, _ := specOf(k.Spec); !slices.Contains(sp.encryption, a) {
		return incompatible(a, k)
	}
	if a == oaepSHA1 && fips140.Enforced() {
		return kmsapi.UnsupportedOperationException("Algorithm %s is not available in FIPS 140 mode.", a)
	}
	if len(ec) > 0 {
		return kmsapi.ValidationException("EncryptionContext is not supported when encrypting/decrypting with asymmetric CMKs.")
	}
	return nil
}

// fits refuses a plaintext that is too long for an RSA key and its padding.
//
// Source: RFC 8017, section 7.1.1.
func fits(k *cachedKey, a kmsapi.EncryptionAlgorithmSpec, plaintext []byte) error {
	if a == symmetric {
		return nil // the shape of the request bounds it
	}
	size := sha256.Size
	if a == oaepSHA1 {
		size = sha1.Size
	}
	if most := rsaBits(k.Spec)/8 - 2*size - 2; len(plaintext) > most {
		return kmsapi.ValidationException("Algorithm %s and key spec %s cannot encrypt data larger than %d bytes.", a, k.Spec, most)
	}
	return nil
}

// rsaKey returns the key's RSA key and what it lies in, for the caller to call done.
func (s *Service) rsaKey(ctx context.Context, k *cachedKey) (*rsa.PrivateKey, *opened, error) {
	o, _, err := s.openCurrent(ctx, k)
	if err != nil {
		return nil, nil, err
	}
	key, ok := o.private.(*rsa.PrivateKey)
	if !ok {
		o.done()
		return nil, nil, fmt.Errorf("kms: key %s holds no RSA key", k.ID)
	}
	return key, o, nil
}

// encryptRSA gives the bare RSA ciphertext, as long as the modulus.
func (s *Service) encryptRSA(ctx context.Context, k *cachedKey, a kmsapi.EncryptionAlgorithmSpec, plaintext []byte) ([]byte, error) {
	key, o, err := s.rsaKey(ctx, k)
	if err != nil {
		return nil, err
	}
	defer o.done()
	ciphertext, err := rsa.EncryptOAEP(oaepHash(a), rand.Reader, &key.PublicKey, plaintext, nil)
	if err != nil {
		return nil, fmt.Errorf("kms: encrypt with %s: %w", k.ID, err)
	}
	return ciphertext, nil
}

// decryptRSA opens a bare RSA ciphertext. Whatever is wrong with it has one
// answer.
//
// Source: RFC 8017, section 7.1.2: it is as long as the modulus.
func (s *Service) decryptRSA(ctx context.Context, k *cachedKey, a kmsapi.EncryptionAlgorithmSpec, ciphertext []byte) ([]byte, error) {
	key, o, err := s.rsaKey(ctx, k)
	if err != nil {
		return nil, err
	}
	defer o.done()
	if len(ciphertext) != key.Size() { // package rsa takes one that lacks leading zeros
		return nil, kmsapi.InvalidCiphertextException("").Because(errBlob)
	}
	plaintext, err := rsa.DecryptOAEP(oaepHash(a), nil, key, ciphertext, nil)
	if err != nil {
		return nil, kmsapi.InvalidCiphertextException("").Because(errBlob)
	}
	return plaintext, nil
}
