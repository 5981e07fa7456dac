package kms

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/secret"
)

// spec is what a key spec can do.
type spec struct {
	usages     []kmsapi.KeyUsageType
	encryption []kmsapi.EncryptionAlgorithmSpec
	signing    []kmsapi.SigningAlgorithmSpec
	mac        []kmsapi.MacAlgorithmSpec
	generate   func() (crypto.Signer, error) // asymmetric keys
	macBytes   int                           // MAC keys
}

var (
	rsaEncryption = []kmsapi.EncryptionAlgorithmSpec{kmsapi.EncryptionAlgorithmSpecRsaesOaepSha1, kmsapi.EncryptionAlgorithmSpecRsaesOaepSha256}
	rsaSigning    = []kmsapi.SigningAlgorithmSpec{
		kmsapi.SigningAlgorithmSpecRsassaPkcs1V15Sha256, kmsapi.SigningAlgorithmSpecRsassaPkcs1V15Sha384, kmsapi.SigningAlgorithmSpecRsassaPkcs1V15Sha512,
		kmsapi.SigningAlgorithmSpecRsassaPssSha256, kmsapi.SigningAlgorithmSpecRsassaPssSha384, kmsapi.SigningAlgorithmSpecRsassaPssSha512,
	}
)

func rsaSpec(bits int) spec {
	return spec{
		usages:     []kmsapi.KeyUsageType{kmsapi.KeyUsageTypeEncryptDecrypt, kmsapi.KeyUsageTypeSignVerify},
		encryption: rsaEncryption, signing: rsaSigning,
		generate: func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, bits) },
	}
}

func ecSpec(c elliptic.Curve, a kmsapi.SigningAlgorithmSpec) spec {
	return spec{
		usages:   []kmsapi.KeyUsageType{kmsapi.KeyUsageTypeSignVerify, kmsapi.KeyUsageTypeKeyAgreement},
		signing:  []kmsapi.SigningAlgorithmSpec{a},
		generate: func() (crypto.Signer, error) { return ecdsa.GenerateKey(c, rand.Reader) },
	}
}

func macSpec(a kmsapi.MacAlgorithmSpec, bytes int) spec {
	return spec{usages: []kmsapi.KeyUsageType{kmsapi.KeyUsageTypeGenerateVerifyMac}, mac: []kmsapi.MacAlgorithmSpec{a}, macBytes: bytes}
}

// specOf returns what a key spec can do; ok is false for those that we cannot make.
//
// Source: AWS KMS Developer Guide, "Key spec reference".
func specOf(name kmsapi.KeySpec) (sp spec, ok bool) {
	switch name {
	case kmsapi.KeySpecSymmetricDefault:
		return spec{usages: []kmsapi.KeyUsageType{kmsapi.KeyUsageTypeEncryptDecrypt}, encryption: []kmsapi.EncryptionAlgorithmSpec{symmetric}}, true
	case kmsapi.KeySpecRsa2048:
		return rsaSpec(2048), true
	case kmsapi.KeySpecRsa3072:
		return rsaSpec(3072), true
	case kmsapi.KeySpecRsa4096:
		return rsaSpec(4096), true
	case kmsapi.KeySpecEccNistP256:
		return ecSpec(elliptic.P256(), kmsapi.SigningAlgorithmSpecEcdsaSha256), true
	case kmsapi.KeySpecEccNistP384:
		return ecSpec(elliptic.P384(), kmsapi.SigningAlgorithmSpecEcdsaSha384), true
	case kmsapi.KeySpecEccNistP521:
		return ecSpec(elliptic.P521(), kmsapi.SigningAlgorithmSpecEcdsaSha512), true
	case kmsapi.KeySpecEccNistEdwards25519:
		return spec{
			usages:  []kmsapi.KeyUsageType{kmsapi.KeyUsageTypeSignVerify},
			signing: []kmsapi.SigningAlgorithmSpec{kmsapi.SigningAlgorithmSpecEd25519Sha512, kmsapi.SigningAlgorithmSpecEd25519PhSha512},
			generate: func() (crypto.Signer, error) {
				_, key, err := ed25519.GenerateKey(rand.Reader)
				return key, err
			},
		}, true
	case kmsapi.KeySpecHmac224:
		return macSpec(kmsapi.MacAlgorithmSpecHmacSha224, 28), true
	case kmsapi.KeySpecHmac256:
		return macSpec(kmsapi.MacAlgorithmSpecHmacSha256, 32), true
	case kmsapi.KeySpecHmac384:
		return macSpec(kmsapi.MacAlgorithmSpecHmacSha384, 48), true
	case kmsapi.KeySpecHmac512:
		return macSpec(kmsapi.MacAlgorithmSpecHmacSha512, 64), true
	}
	return spec{}, false
}

// checkUsage refuses specs and usages that do not go together.
func checkUsage(name kmsapi.KeySpec, usage kmsapi.KeyUsageType) error {
	sp, ok := specOf(name)
	if !ok {
		return kmsapi.UnsupportedOperationException("Keys of spec %s are not implemented; docs/coverage.md lists what is.", name)
	}
	if !slices.Contains(sp.usages, usage) {
		return kmsapi.ValidationException("The operation failed because the KeyUsage value of the KMS key is %s and the KeySpec is %s. Specify a KeyUsage that the KeySpec supports: %v.", usage, name, sp.usages)
	}
	return nil
}

// algorithmsOf lists the algorithms of a key in its metadata.
func algorithmsOf(k *keyRow, m *kmsapi.KeyMetadata) {
	sp, _ := specOf(k.Spec)
	switch k.Usage {
	case kmsapi.KeyUsageTypeEncryptDecrypt:
		m.EncryptionAlgorithms = sp.encryption
	case kmsapi.KeyUsageTypeSignVerify:
		m.SigningAlgorithms = sp.signing
	case kmsapi.KeyUsageTypeGenerateVerifyMac:
		m.MacAlgorithms = sp.mac
	case kmsapi.KeyUsageTypeKeyAgreement:
		m.KeyAgreementAlgorithms = []kmsapi.KeyAgreementAlgorithmSpec{kmsapi.KeyAgreementAlgorithmSpecEcdh}
	}
}

// addMaterial gives the key a new version of its material. The caller holds
// s.wrapping for reading from before its Update until that has returned.
func (s *Service) addMaterial(k *keyRow, how kmsapi.RotationType) error {
	sp, ok := specOf(k.Spec)
	if !ok {
		return fmt.Errorf("kms: no such spec %q", k.Spec)
	}
	hbk := secret.Random()
	defer hbk.Erase()
	m := materialRow{ID: newHexID(), Created: s.timestamp(), Rotation: how}
	var private []byte
	switch {
	case sp.macBytes > 0:
		private = make([]byte, sp.macBytes)
		rand.Read(private)
	case sp.generate != nil:
		signer, err := sp.generate()
		if err != nil {
			return fmt.Errorf("kms: generate %s: %w", k.Spec, err)
		}
		if private, err = x509.MarshalPKCS8PrivateKey(signer); err != nil {
			return fmt.Errorf("kms: encode private key: %w", err)
		}
		if m.Public, err = x509.MarshalPKIXPublicKey(signer.Public()); err != nil {
			return fmt.Errorf("kms: encode public key: %w", err)
		}
	}
	if private != nil {
		defer clear(private)
		a, err := privateAEAD(hbk)
		if err != nil {
			return err
		}
		m.Private = a.Seal(nil, nil, private, k.aad(m.ID))
	}
	m.Wrapped = s.Epochs.Wrap(k.aad(m.ID), hbk)
	k.Materials = append(slices.Clip(k.Materials), m)
	return nil
}

// privateAEAD seals private keys under their backing key, which seals nothing else.
func privateAEAD(hbk secret.Key) (cipher.AEAD, error) {
	b, err := aes.NewCipher(hbk.Bytes())
	if err != nil {
		return nil, fmt.Errorf("kms: AES: %w", err)
	}
	a, err := cipher.NewGCMWithRandomNonce(b)
	if err != nil {
		return nil, fmt.Errorf("kms: GCM: %w", err)
	}
	return a, nil
}

// GetPublicKey returns the DER-encoded SubjectPublicKeyInfo of an asymmetric key.
func (s *Service) GetPublicKey(ctx context.Context, in *kmsapi.GetPublicKeyInput) (*kmsapi.GetPublicKeyOutput, error) {
	k, _, err := s.resolve(ctx, in.KeyId, true)
	if err != nil {
		return nil, err
	}
	if err := usable(&k.keyRow); err != nil {
		return nil, err
	}
	m := k.current()
	if m == nil || m.Public == nil {
		return nil, kmsapi.UnsupportedOperationException("%s key spec is %s which is not valid for GetPublicKey.", k.arn(), k.Spec)
	}
	md := metadata(&k.keyRow)
	return &kmsapi.GetPublicKeyOutput{
		KeyId: new(k.arn()), PublicKey: m.Public, KeySpec: k.Spec, CustomerMasterKeySpec: kmsapi.CustomerMasterKeySpec(k.Spec), KeyUsage: k.Usage,
		EncryptionAlgorithms: md.EncryptionAlgorithms, SigningAlgorithms: md.SigningAlgorithms, KeyAgreementAlgorithms: md.KeyAgreementAlgorithms,
	}, nil
}
