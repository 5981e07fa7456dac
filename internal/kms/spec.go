package kms

import (
	"crypto/fips140"
	"slices"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// spec is what keys of a key spec can do.
type spec struct {
	usages        []kmsapi.KeyUsageType
	encryption    []kmsapi.EncryptionAlgorithmSpec
	signing       []kmsapi.SigningAlgorithmSpec
	mac           []kmsapi.MacAlgorithmSpec
	agreement     []kmsapi.KeyAgreementAlgorithmSpec
	encapsulation []kmsapi.EncapsulationAlgorithmSpec
	// outside says that the code behind it is not in the FIPS 140 module.
	outside bool
}

func rsaSpec() spec {
	return spec{
		usages:     []kmsapi.KeyUsageType{kmsapi.KeyUsageTypeEncryptDecrypt, kmsapi.KeyUsageTypeSignVerify},
		encryption: []kmsapi.EncryptionAlgorithmSpec{kmsapi.EncryptionAlgorithmSpecRsaesOaepSha1, kmsapi.EncryptionAlgorithmSpecRsaesOaepSha256},
		signing: []kmsapi.SigningAlgorithmSpec{
			kmsapi.SigningAlgorithmSpecRsassaPkcs1V15Sha256, kmsapi.SigningAlgorithmSpecRsassaPkcs1V15Sha384, kmsapi.SigningAlgorithmSpecRsassaPkcs1V15Sha512,
			kmsapi.SigningAlgorithmSpecRsassaPssSha256, kmsapi.SigningAlgorithmSpecRsassaPssSha384, kmsapi.SigningAlgorithmSpecRsassaPssSha512,
		},
	}
}

func nistSpec(a kmsapi.SigningAlgorithmSpec) spec {
	return spec{
		usages:    []kmsapi.KeyUsageType{kmsapi.KeyUsageTypeSignVerify, kmsapi.KeyUsageTypeKeyAgreement},
		signing:   []kmsapi.SigningAlgorithmSpec{a},
		agreement: []kmsapi.KeyAgreementAlgorithmSpec{kmsapi.KeyAgreementAlgorithmSpecEcdh},
	}
}

func signingSpec(algorithms ...kmsapi.SigningAlgorithmSpec) spec {
	return spec{usages: []kmsapi.KeyUsageType{kmsapi.KeyUsageTypeSignVerify}, signing: algorithms}
}

func macSpec(a kmsapi.MacAlgorithmSpec) spec {
	return spec{usages: []kmsapi.KeyUsageType{kmsapi.KeyUsageTypeGenerateVerifyMac}, mac: []kmsapi.MacAlgorithmSpec{a}}
}

func kemSpec() spec {
	return spec{
		usages:        []kmsapi.KeyUsageType{kmsapi.KeyUsageTypeEncapsulateDecapsulate},
		encapsulation: []kmsapi.EncapsulationAlgorithmSpec{kmsapi.EncapsulationAlgorithmSpecMlKem},
	}
}

// specOf returns what a key spec can do; ok is false for SM2, which AWS has in
// China alone.
//
// Source: AWS KMS Developer Guide, "Key spec reference".
func specOf(name kmsapi.KeySpec) (sp spec, ok bool) {
	switch name {
	case kmsapi.KeySpecSymmetricDefault:
		sp = spec{usages: []kmsapi.KeyUsageType{kmsapi.KeyUsageTypeEncryptDecrypt}, encryption: []kmsapi.EncryptionAlgorithmSpec{symmetric}}
	case kmsapi.KeySpecRsa2048, kmsapi.KeySpecRsa3072, kmsapi.KeySpecRsa4096:
		sp = rsaSpec()
	case kmsapi.KeySpecEccNistP256:
		sp = nistSpec(kmsapi.SigningAlgorithmSpecEcdsaSha256)
	case kmsapi.KeySpecEccNistP384:
		sp = nistSpec(kmsapi.SigningAlgorithmSpecEcdsaSha384)
	case kmsapi.KeySpecEccNistP521:
		sp = nistSpec(kmsapi.SigningAlgorithmSpecEcdsaSha512)
	case kmsapi.KeySpecEccSecgP256k1:
		sp = signingSpec(kmsapi.SigningAlgorithmSpecEcdsaSha256)
		sp.outside = true
	case kmsapi.KeySpecEccNistEdwards25519:
		sp = signingSpec(kmsapi.SigningAlgorithmSpecEd25519Sha512, kmsapi.SigningAlgorithmSpecEd25519PhSha512)
	case kmsapi.KeySpecMlDsa44, kmsapi.KeySpecMlDsa65, kmsapi.KeySpecMlDsa87:
		// FIPS 204 approves the algorithm, but the module has no code for it.
		sp = signingSpec(kmsapi.SigningAlgorithmSpecMlDsaShake256)
		sp.outside = true
	case kmsapi.KeySpecHmac224:
		sp = macSpec(kmsapi.MacAlgorithmSpecHmacSha224)
	case kmsapi.KeySpecHmac256:
		sp = macSpec(kmsapi.MacAlgorithmSpecHmacSha256)
	case kmsapi.KeySpecHmac384:
		sp = macSpec(kmsapi.MacAlgorithmSpecHmacSha384)
	case kmsapi.KeySpecHmac512:
		sp = macSpec(kmsapi.MacAlgorithmSpecHmacSha512)
	case kmsapi.KeySpecMlKem512:
		sp = kemSpec()
		sp.outside = true
	case kmsapi.KeySpecMlKem768, kmsapi.KeySpecMlKem1024:
		sp = kemSpec()
	default:
		return spec{}, false
	}
	return sp, true
}

// checkSpec refuses specs that no key can have here, now.
func checkSpec(name kmsapi.KeySpec) error {
	sp, ok := specOf(name)
	if !ok {
		return kmsapi.UnsupportedOperationException("KeySpec %s is not supported in this region.", name)
	}
	if sp.outside && fips140.Enforced() {
		return kmsapi.UnsupportedOperationException("KeySpec %s is not available in FIPS 140 mode.", name)
	}
	return nil
}

// checkUsage refuses specs and usages that do not go together.
func checkUsage(name kmsapi.KeySpec, usage kmsapi.KeyUsageType) error {
	if err := checkSpec(name); err != nil {
		return err
	}
	if sp, _ := specOf(name); !slices.Contains(sp.usages, usage) {
		return kmsapi.ValidationException("KeyUsage %s is not compatible with KeySpec %s", usage, name)
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
		m.KeyAgreementAlgorithms = sp.agreement
	case kmsapi.KeyUsageTypeEncapsulateDecapsulate:
		m.EncapsulationAlgorithms = sp.encapsulation
	}
}

// serves checks that a key can be used now, for this usage.
//
// Errors: DisabledException, KMSInvalidStateException, InvalidKeyUsageException;
// UnsupportedOperationException in FIPS 140 mode.
func serves(k *cachedKey, usage kmsapi.KeyUsageType, operation string) error {
	if err := usable(&k.keyRow); err != nil {
		return err
	}
	if k.Usage != usage {
		return kmsapi.InvalidKeyUsageException("%s key usage is %s which is not valid for %s.", k.arn(), k.Usage, operation)
	}
	if k.Spec == kmsapi.KeySpecSymmetricDefault {
		return nil
	}
	return checkSpec(k.Spec)
}

// incompatible is the answer to an algorithm that keys of the spec do not have.
func incompatible[A ~string](algorithm A, k *cachedKey) error {
	return kmsapi.InvalidKeyUsageException("Algorithm %s is incompatible with key spec %s.", algorithm, k.Spec)
}
