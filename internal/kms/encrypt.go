package kms

import (
	"context"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
)

const symmetric = kmsapi.EncryptionAlgorithmSpecSymmetricDefault

func algorithmCondition(a kmsapi.EncryptionAlgorithmSpec) func(authz.Context) {
	return func(c authz.Context) { c.Set("kms:EncryptionAlgorithm", string(a)) }
}

func encryptCall(in *kmsapi.EncryptInput) call {
	if in.EncryptionAlgorithm == "" {
		in.EncryptionAlgorithm = symmetric // the record names it even when the request does not
	}
	return call{key: &in.KeyId, ec: in.EncryptionContext, tokens: &in.GrantTokens, set: algorithmCondition(in.EncryptionAlgorithm)}
}

// Encrypt encrypts up to 4096 bytes under a symmetric key, or what fits into an
// RSA key with the padding of the algorithm.
//
// Errors: NotFoundException, DisabledException, KMSInvalidStateException,
// InvalidKeyUsageException, DryRunOperationException; ValidationException for
// what does not fit; UnsupportedOperationException in FIPS 140 mode.
func (s *Service) Encrypt(ctx context.Context, in *kmsapi.EncryptInput) (*kmsapi.EncryptOutput, error) {
	k, _, err := s.resolve(ctx, in.KeyId, byAlias)
	if err != nil {
		return nil, err
	}
	if err := encrypts(k, in.EncryptionAlgorithm, in.EncryptionContext, "Encrypt"); err != nil {
		return nil, err
	}
	if err := fits(k, in.EncryptionAlgorithm, in.Plaintext); err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	sealed, material, err := s.encrypt(ctx, k, in.EncryptionAlgorithm, in.EncryptionContext, in.Plaintext, "Encrypt")
	if err != nil {
		return nil, err
	}
	recordMaterial(ctx, "keyMaterialId", material)
	return &kmsapi.EncryptOutput{CiphertextBlob: sealed, KeyId: new(k.arn()), EncryptionAlgorithm: in.EncryptionAlgorithm}, nil
}

// recordMaterial names the key material in the record; asymmetric keys have one
// only, which is not named.
func recordMaterial(ctx context.Context, member string, id *string) {
	if id != nil {
		audit.From(ctx).Additional(member, *id)
	}
}

// encrypts checks that a key can encrypt and decrypt now, by this algorithm.
func encrypts(k *cachedKey, a kmsapi.EncryptionAlgorithmSpec, ec map[string]string, operation string) error {
	if err := serves(k, kmsapi.KeyUsageTypeEncryptDecrypt, operation); err != nil {
		return err
	}
	if a == symmetric && k.Spec == kmsapi.KeySpecSymmetricDefault {
		return nil
	}
	return checkOAEP(k, a, ec)
}

// encrypt encrypts by the algorithm. The id of the key material is returned for
// symmetric keys alone.
func (s *Service) encrypt(ctx context.Context, k *cachedKey, a kmsapi.EncryptionAlgorithmSpec, ec map[string]string, plaintext []byte, operation string) (ciphertext []byte, material *string, err error) {
	if a != symmetric {
		ciphertext, err = s.encryptRSA(ctx, k, a, plaintext)
		return ciphertext, nil, err
	}
	ciphertext, m, err := s.seal(ctx, k, ec, plaintext, operation)
	if err != nil {
		return nil, nil, err
	}
	return ciphertext, new(m.ID), nil
}

// seal makes the ciphertext blob of a symmetric key.
func (s *Service) seal(ctx context.Context, k *cachedKey, ec map[string]string, plaintext []byte, operation string) ([]byte, *materialRow, error) {
	o, m, err := s.openCurrent(ctx, k)
	if err != nil {
		return nil, nil, err
	}
	defer o.done()
	if k.external() {
		sealed, err := s.sealExternal(ctx, k, o.backing, m, ec, plaintext, operation)
		return sealed, m, err
	}
	sealed, err := sealBlob(o.backing, k.ID, m.ID, ec, plaintext)
	return sealed, m, err
}
