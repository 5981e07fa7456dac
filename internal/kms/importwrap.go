package kms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/rsa"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// wrapping says how key material is wrapped for its import.
//
// Source: AWS KMS Developer Guide, "Select a wrapping algorithm".
type wrapping struct {
	oaep kmsapi.EncryptionAlgorithmSpec
	// aes says that RSA wraps an AES-256 key, and that key the material, by AES
	// key wrap with padding.
	aes bool
}

func wrappingOf(a kmsapi.AlgorithmSpec) (w wrapping, ok bool) {
	switch a {
	case kmsapi.AlgorithmSpecRsaesOaepSha1:
		return wrapping{oaep: oaepSHA1}, true
	case kmsapi.AlgorithmSpecRsaesOaepSha256:
		return wrapping{oaep: kmsapi.EncryptionAlgorithmSpecRsaesOaepSha256}, true
	case kmsapi.AlgorithmSpecRsaAesKeyWrapSha1:
		return wrapping{oaep: oaepSHA1, aes: true}, true
	case kmsapi.AlgorithmSpecRsaAesKeyWrapSha256:
		return wrapping{oaep: kmsapi.EncryptionAlgorithmSpecRsaesOaepSha256, aes: true}, true
	}
	return w, false
}

// hasCurve reports whether keys of the spec have a curve that can be imported.
func hasCurve(name kmsapi.KeySpec) bool {
	return curveOf(name) != nil || name == kmsapi.KeySpecEccSecgP256k1 || name == kmsapi.KeySpecEccNistEdwards25519
}

// importable refuses key specs whose material AWS does not import.
func importable(name kmsapi.KeySpec) error {
	if name == kmsapi.KeySpecSymmetricDefault || rsaBits(name) > 0 || hasCurve(name) || macSize(name) > 0 {
		return nil
	}
	return kmsapi.UnsupportedOperationException("KeySpec %s is not supported for keys with imported key material.", name)
}

// checkWrapping refuses wrapping algorithms that do not go with a key or with
// the wrapping key: RSA takes no RSA private key, and RSA_2048 no P-521 one.
//
// Errors: UnsupportedOperationException.
//
// Source: AWS KMS API Reference, GetParametersForImport, WrappingAlgorithm.
func checkWrapping(name kmsapi.KeySpec, a kmsapi.AlgorithmSpec, by kmsapi.WrappingKeySpec) error {
	w, ok := wrappingOf(a)
	switch {
	case a == kmsapi.AlgorithmSpecRsaesPkcs1V15:
		return kmsapi.UnsupportedOperationException("The wrapping algorithm %s is no longer supported.", a)
	case !ok, by == kmsapi.WrappingKeySpecSm2:
		return kmsapi.UnsupportedOperationException("The wrapping algorithm %s with the wrapping key spec %s is not supported in this region.", a, by)
	case !w.aes && rsaBits(name) > 0, w.aes && rsaBits(name) == 0 && !hasCurve(name):
		return kmsapi.UnsupportedOperationException("The wrapping algorithm %s is not valid for key material of key spec %s.", a, name)
	case !w.aes && name == kmsapi.KeySpecEccNistP521 && by == kmsapi.WrappingKeySpecRsa2048:
		return kmsapi.UnsupportedOperationException("The wrapping algorithm %s with the wrapping key spec %s is not valid for key material of key spec %s.", a, by, name)
	}
	return w.available(a)
}

// available refuses SHA-1 where FIPS 140 is enforced.
func (w wrapping) available(a kmsapi.AlgorithmSpec) error {
	if w.oaep == oaepSHA1 && fips140.Enforced() {
		return kmsapi.UnsupportedOperationException("Algorithm %s is not available in FIPS 140 mode.", a)
	}
	return nil
}

// errWrapped says nothing of where the unwrapping failed.
var errWrapped = errors.New("kms: the key material does not unwrap")

// unwrap returns the key material. The caller clears it.
func (w wrapping) unwrap(key *rsa.PrivateKey, wrapped []byte) ([]byte, error) {
	if !w.aes {
		return unwrapOAEP(w.oaep, key, wrapped)
	}
	if len(wrapped) <= key.Size() {
		return nil, errWrapped
	}
	kek, err := unwrapOAEP(w.oaep, key, wrapped[:key.Size()])
	if err != nil {
		return nil, err
	}
	defer clear(kek)
	if len(kek) != 32 {
		return nil, errWrapped
	}
	return unwrapPadded(kek, wrapped[key.Size():])
}

func unwrapOAEP(a kmsapi.EncryptionAlgorithmSpec, key *rsa.PrivateKey, wrapped []byte) ([]byte, error) {
	p, err := rsa.DecryptOAEP(oaepHash(a), nil, key, wrapped, nil)
	if err != nil {
		return nil, errWrapped
	}
	return p, nil
}

// AES key wrap with padding, as RFC 5649 has it: blocks of 8 bytes behind an
// initial value of 4 fixed bytes and the length of what is wrapped.
const (
	paddedBlock = 8
	paddedMagic = 0xa65959a6
)

// unwrapPadded opens what AES key wrap with padding made under kek, 16, 24 or 32
// bytes. The caller clears the result.
//
// Source: RFC 5649, section 4.2; RFC 3394, section 2.2.2.
func unwrapPadded(kek, wrapped []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, fmt.Errorf("kms: AES: %w", err)
	}
	if len(wrapped) < 2*paddedBlock || len(wrapped)%paddedBlock != 0 {
		return nil, errWrapped
	}
	out := make([]byte, len(wrapped))
	copy(out, wrapped)
	if len(out) == aes.BlockSize {
		block.Decrypt(out, out)
	} else {
		unwrapRounds(block, out)
	}
	initial, padded := out[:paddedBlock], out[paddedBlock:]
	length := binary.BigEndian.Uint32(initial[4:])
	// One answer, whatever was wrong: nothing here tells a guess from another.
	good := subtle.ConstantTimeEq(int32(binary.BigEndian.Uint32(initial)^paddedMagic), 0)
	if length > uint32(len(padded)) || uint32(len(padded))-length >= paddedBlock {
		good = 0
		length = 0
	}
	var padding byte
	for _, b := range padded[length:] {
		padding |= b
	}
	if length > 0 {
		good &= subtle.ConstantTimeByteEq(padding, 0)
	}
	if good != 1 || length == 0 {
		clear(out)
		return nil, errWrapped
	}
	return padded[:length:length], nil
}

// unwrapRounds takes the six rounds of AES key wrap back, in place.
func unwrapRounds(block cipher.Block, b []byte) {
	var x [aes.BlockSize]byte
	defer clear(x[:])
	n := len(b)/paddedBlock - 1
	for round := 5; round >= 0; round-- {
		for i := n; i > 0; i-- {
			at := b[i*paddedBlock : (i+1)*paddedBlock]
			copy(x[:], b[:paddedBlock])
			binary.BigEndian.PutUint64(x[:], binary.BigEndian.Uint64(x[:])^uint64(n*round+i))
			copy(x[paddedBlock:], at)
			block.Decrypt(x[:], x[:])
			copy(b, x[:paddedBlock])
			copy(at, x[paddedBlock:])
		}
	}
}
