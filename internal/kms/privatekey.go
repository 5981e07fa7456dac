package kms

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"
	"github.com/cloudflare/circl/kem/mlkem/mlkem512"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// A private key is one of *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey,
// *secp256k1.PrivateKey, *mldsa.PrivateKey, *mlkem.DecapsulationKey768,
// *mlkem.DecapsulationKey1024, *kem512 and macKey.

// macKey is the key of an HMAC.
type macKey []byte

// kem512 is an ML-KEM-512 private key and its seed.
type kem512 struct {
	seed [mlkem.SeedSize]byte
	key  *mlkem512.PrivateKey
}

// Bytes returns the seed.
func (k *kem512) Bytes() []byte { return k.seed[:] }

// Encapsulator returns the public key.
func (k *kem512) Encapsulator() crypto.Encapsulator {
	return (*kem512Public)(k.key.Public().(*mlkem512.PublicKey))
}

// Decapsulate opens a ciphertext of the right length.
func (k *kem512) Decapsulate(ciphertext []byte) ([]byte, error) {
	if len(ciphertext) != mlkem512.CiphertextSize {
		return nil, errors.New("kms: a ciphertext of another length")
	}
	shared := make([]byte, mlkem512.SharedKeySize)
	k.key.DecapsulateTo(shared, ciphertext)
	return shared, nil
}

type kem512Public mlkem512.PublicKey

// Bytes returns the encoded public key.
func (p *kem512Public) Bytes() []byte {
	b := make([]byte, mlkem512.PublicKeySize)
	(*mlkem512.PublicKey)(p).Pack(b)
	return b
}

// Encapsulate makes a shared secret and its ciphertext.
func (p *kem512Public) Encapsulate() (shared, ciphertext []byte) {
	shared, ciphertext = make([]byte, mlkem512.SharedKeySize), make([]byte, mlkem512.CiphertextSize)
	(*mlkem512.PublicKey)(p).EncapsulateTo(ciphertext, shared, nil)
	return shared, ciphertext
}

func newKEM512(seed []byte) *kem512 {
	k := &kem512{seed: [mlkem.SeedSize]byte(seed)}
	_, k.key = mlkem512.NewKeyFromSeed(seed)
	return k
}

// seeded is an ML-KEM private key of any size.
type seeded interface {
	crypto.Decapsulator
	Bytes() []byte // the seed, mlkem.SeedSize bytes
}

// rsaBits is the size of an RSA key spec, 0 for others.
func rsaBits(name kmsapi.KeySpec) int {
	switch name {
	case kmsapi.KeySpecRsa2048:
		return 2048
	case kmsapi.KeySpecRsa3072:
		return 3072
	case kmsapi.KeySpecRsa4096:
		return 4096
	}
	return 0
}

// curveOf is the curve of a NIST key spec, nil for others.
func curveOf(name kmsapi.KeySpec) elliptic.Curve {
	switch name {
	case kmsapi.KeySpecEccNistP256:
		return elliptic.P256()
	case kmsapi.KeySpecEccNistP384:
		return elliptic.P384()
	case kmsapi.KeySpecEccNistP521:
		return elliptic.P521()
	}
	return nil
}

// mldsaOf is the parameter set of an ML-DSA key spec.
func mldsaOf(name kmsapi.KeySpec) (set mldsa.Parameters, ok bool) {
	switch name {
	case kmsapi.KeySpecMlDsa44:
		return mldsa.MLDSA44(), true
	case kmsapi.KeySpecMlDsa65:
		return mldsa.MLDSA65(), true
	case kmsapi.KeySpecMlDsa87:
		return mldsa.MLDSA87(), true
	}
	return set, false
}

// macSize is the length of the keys of an HMAC key spec in bytes, 0 for others.
func macSize(name kmsapi.KeySpec) int {
	switch name {
	case kmsapi.KeySpecHmac224:
		return 28
	case kmsapi.KeySpecHmac256:
		return 32
	case kmsapi.KeySpecHmac384:
		return 48
	case kmsapi.KeySpecHmac512:
		return 64
	}
	return 0
}

// generatePrivate makes a private key of a spec that is not RSA: see
// Service.newRSA.
func generatePrivate(name kmsapi.KeySpec) (any, error) {
	if c := curveOf(name); c != nil {
		return ecdsa.GenerateKey(c, rand.Reader)
	}
	if set, ok := mldsaOf(name); ok {
		return mldsa.GenerateKey(set)
	}
	if size := macSize(name); size > 0 {
		key := make(macKey, size)
		rand.Read(key)
		return key, nil
	}
	switch name {
	case kmsapi.KeySpecEccSecgP256k1:
		return secp256k1.GeneratePrivateKey()
	case kmsapi.KeySpecEccNistEdwards25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case kmsapi.KeySpecMlKem512:
		seed := make([]byte, mlkem.SeedSize)
		defer clear(seed)
		rand.Read(seed)
		return newKEM512(seed), nil
	case kmsapi.KeySpecMlKem768:
		return mlkem.GenerateKey768()
	case kmsapi.KeySpecMlKem1024:
		return mlkem.GenerateKey1024()
	}
	return nil, fmt.Errorf("no keys of spec %q", name)
}

// Object identifiers of what the standard library does not encode.
//
// Source: RFC 5480, section 2.1.1; SEC 2, appendix A; RFC 9935, section 3.
var (
	oidECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidSecp256k1   = asn1.ObjectIdentifier{1, 3, 132, 0, 10}
	oidMLKEM       = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4} // and 1, 2, 3
)

// kemOID is the object identifier of an ML-KEM private key.
func kemOID(key seeded) asn1.ObjectIdentifier {
	last := 1
	switch key.(type) {
	case *mlkem.DecapsulationKey768:
		last = 2
	case *mlkem.DecapsulationKey1024:
		last = 3
	}
	return append(oidMLKEM[:len(oidMLKEM):len(oidMLKEM)], last)
}

// pkcs8 is a PrivateKeyInfo.
type pkcs8 struct {
	Version    int
	Algorithm  pkix.AlgorithmIdentifier
	PrivateKey []byte
}

// ecPrivateKey is the private key in a PrivateKeyInfo for a curve.
//
// Source: RFC 5915, section 3.
type ecPrivateKey struct {
	Version    int
	PrivateKey []byte
	Curve      asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
	PublicKey  asn1.BitString        `asn1:"optional,explicit,tag:1"`
}

// spki is a SubjectPublicKeyInfo.
type spki struct {
	Algorithm pkix.AlgorithmIdentifier
	PublicKey asn1.BitString
}

func secpAlgorithm() (pkix.AlgorithmIdentifier, error) {
	curve, err := asn1.Marshal(oidSecp256k1)
	return pkix.AlgorithmIdentifier{Algorithm: oidECPublicKey, Parameters: asn1.RawValue{FullBytes: curve}}, err
}

// encodePrivate returns a private key as PKCS #8 DER, a MAC key as it is. The
// caller clears it.
//
// ML-DSA and ML-KEM keys are their seeds (RFC 9881, section 6; RFC 9935, section 6).
func encodePrivate(key any) ([]byte, error) {
	switch key := key.(type) {
	case macKey:
		return append([]byte(nil), key...), nil
	case *secp256k1.PrivateKey:
		algorithm, err := secpAlgorithm()
		if err != nil {
			return nil, err
		}
		secret := key.Serialize()
		defer clear(secret)
		public := key.PubKey().SerializeUncompressed()
		inner, err := asn1.Marshal(ecPrivateKey{Version: 1, PrivateKey: secret, PublicKey: asn1.BitString{Bytes: public, BitLength: 8 * len(public)}})
		if err != nil {
			return nil, err
		}
		defer clear(inner)
		return asn1.Marshal(pkcs8{Algorithm: algorithm, PrivateKey: inner})
	case seeded:
		inner := append([]byte{0x80, mlkem.SeedSize}, key.Bytes()...) // [0] IMPLICIT OCTET STRING
		defer clear(inner)
		return asn1.Marshal(pkcs8{Algorithm: pkix.AlgorithmIdentifier{Algorithm: kemOID(key)}, PrivateKey: inner})
	}
	return mldsax509.MarshalPKCS8PrivateKey(key)
}

// encodePublic returns the public half of a private key as SubjectPublicKeyInfo
// DER, nil for a MAC key.
func encodePublic(key any) ([]byte, error) {
	switch key := key.(type) {
	case macKey:
		return nil, nil
	case *secp256k1.PrivateKey:
		algorithm, err := secpAlgorithm()
		if err != nil {
			return nil, err
		}
		public := key.PubKey().SerializeUncompressed()
		return asn1.Marshal(spki{Algorithm: algorithm, PublicKey: asn1.BitString{Bytes: public, BitLength: 8 * len(public)}})
	case seeded:
		public := key.Encapsulator().Bytes()
		return asn1.Marshal(spki{
			Algorithm: pkix.AlgorithmIdentifier{Algorithm: kemOID(key)},
			PublicKey: asn1.BitString{Bytes: public, BitLength: 8 * len(public)},
		})
	case crypto.Signer:
		return mldsax509.MarshalPKIXPublicKey(key.Public())
	}
	return nil, fmt.Errorf("no public key in a %T", key)
}

// errPrivateKey says nothing of the key's bytes.
var errPrivateKey = errors.New("not a private key of this spec")

// parsePrivate reads what encodePrivate wrote for a key of the spec, and every
// other PKCS #8 encoding of one.
func parsePrivate(name kmsapi.KeySpec, der []byte) (any, error) {
	switch name {
	case kmsapi.KeySpecEccSecgP256k1:
		return parseSecp(der)
	case kmsapi.KeySpecMlKem512, kmsapi.KeySpecMlKem768, kmsapi.KeySpecMlKem1024:
		return parseKEM(name, der)
	}
	if size := macSize(name); size > 0 {
		if len(der) != size {
			return nil, errPrivateKey
		}
		return macKey(append([]byte(nil), der...)), nil
	}
	key, err := mldsax509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errPrivateKey
	}
	fits := false
	switch key := key.(type) {
	case *rsa.PrivateKey:
		fits = key.N.BitLen() == rsaBits(name)
	case *ecdsa.PrivateKey:
		fits = key.Curve == curveOf(name)
	case ed25519.PrivateKey:
		fits = name == kmsapi.KeySpecEccNistEdwards25519
	case *mldsa.PrivateKey:
		set, ok := mldsaOf(name)
		fits = ok && key.PublicKey().Parameters() == set
	}
	if !fits {
		return nil, errPrivateKey
	}
	return key, nil
}

func parseSecp(der []byte) (any, error) {
	var outer pkcs8
	if rest, err := asn1.Unmarshal(der, &outer); err != nil || len(rest) > 0 {
		return nil, errPrivateKey
	}
	defer clear(outer.PrivateKey)
	var curve asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(outer.Algorithm.Parameters.FullBytes, &curve)
	if err != nil || len(rest) > 0 || !outer.Algorithm.Algorithm.Equal(oidECPublicKey) || !curve.Equal(oidSecp256k1) {
		return nil, errPrivateKey
	}
	var inner ecPrivateKey
	if rest, err := asn1.Unmarshal(outer.PrivateKey, &inner); err != nil || len(rest) > 0 || inner.Version != 1 || len(inner.PrivateKey) != secp256k1.PrivKeyBytesLen {
		return nil, errPrivateKey
	}
	defer clear(inner.PrivateKey)
	var scalar secp256k1.ModNScalar
	defer scalar.Zero()
	if overflow := scalar.SetByteSlice(inner.PrivateKey); overflow || scalar.IsZero() {
		return nil, errPrivateKey
	}
	return secp256k1.NewPrivateKey(&scalar), nil
}

func parseKEM(name kmsapi.KeySpec, der []byte) (any, error) {
	var outer pkcs8
	if rest, err := asn1.Unmarshal(der, &outer); err != nil || len(rest) > 0 {
		return nil, errPrivateKey
	}
	b := outer.PrivateKey
	defer clear(b)
	if len(outer.Algorithm.Parameters.FullBytes) > 0 || len(b) != 2+mlkem.SeedSize || b[0] != 0x80 || b[1] != mlkem.SeedSize {
		return nil, errPrivateKey
	}
	var key seeded
	var err error
	switch name {
	case kmsapi.KeySpecMlKem512:
		key = newKEM512(b[2:])
	case kmsapi.KeySpecMlKem768:
		key, err = mlkem.NewDecapsulationKey768(b[2:])
	default:
		key, err = mlkem.NewDecapsulationKey1024(b[2:])
	}
	if err != nil || !outer.Algorithm.Algorithm.Equal(kemOID(key)) {
		return nil, errPrivateKey
	}
	return key, nil
}

// erasePrivate overwrites what can be reached of a private key, which is used no
// more.
func erasePrivate(key any) {
	switch key := key.(type) {
	case macKey:
		clear(key)
	case ed25519.PrivateKey:
		clear(key)
	case *ecdsa.PrivateKey:
		//lint:ignore SA1019 nothing computes with the key after this
		wipe(key.D)
	case *secp256k1.PrivateKey:
		key.Zero()
	case *kem512:
		clear(key.seed[:])
	case *rsa.PrivateKey:
		wipe(key.D, key.Precomputed.Dp, key.Precomputed.Dq, key.Precomputed.Qinv)
		wipe(key.Primes...)
	}
}
