package kms

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"fmt"
	"slices"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secpecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/kms/externalmu"
)

func signingConditions(a kmsapi.SigningAlgorithmSpec, t kmsapi.MessageType) func(authz.Context) {
	return func(c authz.Context) {
		c.Set("kms:SigningAlgorithm", string(a))
		c.Set("kms:MessageType", string(t))
	}
}

func signCall(in *kmsapi.SignInput) call {
	if in.MessageType == "" {
		in.MessageType = kmsapi.MessageTypeRaw // the record names it even when the request does not
	}
	return call{key: &in.KeyId, tokens: &in.GrantTokens, set: signingConditions(in.SigningAlgorithm, in.MessageType)}
}

func verifyCall(in *kmsapi.VerifyInput) call {
	if in.MessageType == "" {
		in.MessageType = kmsapi.MessageTypeRaw
	}
	return call{key: &in.KeyId, tokens: &in.GrantTokens, set: signingConditions(in.SigningAlgorithm, in.MessageType)}
}

// Sign signs a message of up to 4096 bytes, a digest or, with ML-DSA, a message
// representative.
//
// Errors: NotFoundException, DisabledException, KMSInvalidStateException,
// InvalidKeyUsageException, DryRunOperationException; ValidationException for a
// message that does not fit its type; UnsupportedOperationException in FIPS 140 mode.
//
// Source: AWS KMS API Reference, Sign.
func (s *Service) Sign(ctx context.Context, in *kmsapi.SignInput) (*kmsapi.SignOutput, error) {
	k, _, err := s.resolve(ctx, in.KeyId, byAlias)
	if err != nil {
		return nil, err
	}
	msg := message{in.SigningAlgorithm, in.MessageType, in.Message}
	if err := msg.check(k, "Sign"); err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	o, _, err := s.openCurrent(ctx, k)
	if err != nil {
		return nil, err
	}
	defer o.done()
	signature, err := msg.sign(o.private)
	if err != nil {
		return nil, fmt.Errorf("kms: sign with %s: %w", k.ID, err)
	}
	return &kmsapi.SignOutput{KeyId: new(k.arn()), Signature: signature, SigningAlgorithm: in.SigningAlgorithm}, nil
}

// Verify verifies a signature. One that is not valid is an error, never an
// answer.
//
// Errors: KMSInvalidSignatureException with an empty message, and those of Sign.
//
// Source: AWS KMS API Reference, Verify.
func (s *Service) Verify(ctx context.Context, in *kmsapi.VerifyInput) (*kmsapi.VerifyOutput, error) {
	k, _, err := s.resolve(ctx, in.KeyId, byAlias)
	if err != nil {
		return nil, err
	}
	msg := message{in.SigningAlgorithm, in.MessageType, in.Message}
	if err := msg.check(k, "Verify"); err != nil {
		return nil, err
	}
	o, _, err := s.openCurrent(ctx, k)
	if err != nil {
		return nil, err
	}
	defer o.done()
	if !msg.verify(o.private, in.Signature) {
		return nil, kmsapi.KMSInvalidSignatureException("")
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return &kmsapi.VerifyOutput{KeyId: new(k.arn()), SignatureValid: new(true), SigningAlgorithm: in.SigningAlgorithm}, nil
}

// message is what is signed, and how.
type message struct {
	algorithm kmsapi.SigningAlgorithmSpec
	kind      kmsapi.MessageType
	bytes     []byte
}

// check refuses what the key cannot sign.
func (m *message) check(k *cachedKey, operation string) error {
	if err := serves(k, kmsapi.KeyUsageTypeSignVerify, operation); err != nil {
		return err
	}
	if sp, _ := specOf(k.Spec); !slices.Contains(sp.signing, m.algorithm) {
		return incompatible(m.algorithm, k)
	}
	switch m.algorithm {
	case kmsapi.SigningAlgorithmSpecMlDsaShake256:
		return m.checkMLDSA(k)
	case kmsapi.SigningAlgorithmSpecEd25519Sha512:
		return m.must(kmsapi.MessageTypeRaw)
	case kmsapi.SigningAlgorithmSpecEd25519PhSha512:
		if err := m.must(kmsapi.MessageTypeDigest); err != nil {
			return err
		}
	default:
		if m.kind == kmsapi.MessageTypeExternalMu {
			return m.misplaced(k)
		}
	}
	if m.kind == kmsapi.MessageTypeDigest && len(m.bytes) != m.hash().Size() {
		return kmsapi.ValidationException("Digest is invalid length for algorithm %s.", m.algorithm)
	}
	return nil
}

func (m *message) checkMLDSA(k *cachedKey) error {
	switch {
	case m.kind == kmsapi.MessageTypeDigest:
		return m.misplaced(k)
	case m.kind == kmsapi.MessageTypeExternalMu && len(m.bytes) != externalmu.Size:
		return kmsapi.ValidationException("External Mu is invalid length for algorithm %s.", m.algorithm)
	}
	return nil
}

func (m *message) misplaced(k *cachedKey) error {
	return kmsapi.ValidationException("Message type %s is incompatible with key spec %s.", m.kind, k.Spec)
}

func (m *message) must(kind kmsapi.MessageType) error {
	if m.kind != kind {
		return kmsapi.ValidationException("Message type %s is incompatible with algorithm %s.", m.kind, m.algorithm)
	}
	return nil
}

// hash is the algorithm's hash function; ML-DSA's is its own affair.
func (m *message) hash() crypto.Hash {
	switch m.algorithm {
	case kmsapi.SigningAlgorithmSpecRsassaPkcs1V15Sha256, kmsapi.SigningAlgorithmSpecRsassaPssSha256, kmsapi.SigningAlgorithmSpecEcdsaSha256:
		return crypto.SHA256
	case kmsapi.SigningAlgorithmSpecRsassaPkcs1V15Sha384, kmsapi.SigningAlgorithmSpecRsassaPssSha384, kmsapi.SigningAlgorithmSpecEcdsaSha384:
		return crypto.SHA384
	}
	return crypto.SHA512
}

func (m *message) digest() []byte {
	if m.kind == kmsapi.MessageTypeDigest {
		return m.bytes
	}
	h := m.hash().New()
	h.Write(m.bytes)
	return h.Sum(nil)
}

// pss reports whether the padding of an RSA signature is PSS.
func (m *message) pss() bool {
	switch m.algorithm {
	case kmsapi.SigningAlgorithmSpecRsassaPssSha256, kmsapi.SigningAlgorithmSpecRsassaPssSha384, kmsapi.SigningAlgorithmSpecRsassaPssSha512:
		return true
	}
	return false
}

// prehashed is the digest that Ed25519ph signs: KMS hashes what it gets, which is
// a digest already, once more.
//
// Source: AWS KMS API Reference, Sign, MessageType.
func (m *message) prehashed() []byte {
	d := sha512.Sum512(m.bytes)
	return d[:]
}

func (m *message) edwards() (b []byte, o *ed25519.Options) {
	if m.algorithm == kmsapi.SigningAlgorithmSpecEd25519PhSha512 {
		return m.prehashed(), &ed25519.Options{Hash: crypto.SHA512}
	}
	return m.bytes, &ed25519.Options{}
}

func (m *message) sign(private any) ([]byte, error) {
	switch key := private.(type) {
	case *rsa.PrivateKey:
		if m.pss() {
			return rsa.SignPSS(rand.Reader, key, m.hash(), m.digest(), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.SignPKCS1v15(rand.Reader, key, m.hash(), m.digest())
	case *ecdsa.PrivateKey:
		return ecdsa.SignASN1(rand.Reader, key, m.digest())
	case *secp256k1.PrivateKey:
		return secpecdsa.Sign(key, m.digest()).Serialize(), nil
	case ed25519.PrivateKey:
		b, o := m.edwards()
		return key.Sign(nil, b, o)
	case *mldsa.PrivateKey:
		if m.kind == kmsapi.MessageTypeExternalMu {
			return key.Sign(nil, m.bytes, mldsacrypto.MLDSAMu)
		}
		return key.Sign(nil, m.bytes, nil)
	}
	return nil, fmt.Errorf("a %T cannot sign", private)
}

// verify verifies a signature with the public half of the key.
func (m *message) verify(private any, signature []byte) bool {
	switch key := private.(type) {
	case *rsa.PrivateKey:
		if m.pss() {
			return rsa.VerifyPSS(&key.PublicKey, m.hash(), m.digest(), signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(&key.PublicKey, m.hash(), m.digest(), signature) == nil
	case *ecdsa.PrivateKey:
		return ecdsa.VerifyASN1(&key.PublicKey, m.digest(), signature)
	case *secp256k1.PrivateKey:
		parsed, err := secpecdsa.ParseDERSignature(signature)
		return err == nil && parsed.Verify(m.digest(), key.PubKey())
	case ed25519.PrivateKey:
		b, o := m.edwards()
		return ed25519.VerifyWithOptions(key.Public().(ed25519.PublicKey), b, signature, o) == nil
	case *mldsa.PrivateKey:
		if m.kind == kmsapi.MessageTypeExternalMu {
			return externalmu.Verify(key.PublicKey().Bytes(), m.bytes, signature)
		}
		return mldsa.Verify(key.PublicKey(), m.bytes, signature, nil) == nil
	}
	return false
}
