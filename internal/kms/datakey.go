package kms

import (
	"context"
	"crypto/rand"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
)

func dataKeyCall(in *kmsapi.GenerateDataKeyInput) call {
	return call{key: &in.KeyId, ec: in.EncryptionContext, tokens: &in.GrantTokens, set: algorithmCondition(symmetric)}
}

func dataKeyWithoutCall(in *kmsapi.GenerateDataKeyWithoutPlaintextInput) call {
	return call{key: &in.KeyId, ec: in.EncryptionContext, tokens: &in.GrantTokens, set: algorithmCondition(symmetric)}
}

// dataKeySize returns the length of a data key, in bytes.
func dataKeySize(spec kmsapi.DataKeySpec, n *int32) (int, error) {
	switch {
	case (spec == "") == (n == nil):
		return 0, kmsapi.ValidationException("Please specify either number of bytes or key spec.")
	case n != nil:
		return int(*n), nil
	case spec == kmsapi.DataKeySpecAes128:
		return 16, nil
	}
	return 32, nil
}

// GenerateDataKey returns a new data key in plaintext and encrypted under the
// key.
//
// Errors: those of Encrypt; ValidationException unless exactly one of KeySpec
// and NumberOfBytes is given.
func (s *Service) GenerateDataKey(ctx context.Context, in *kmsapi.GenerateDataKeyInput) (*kmsapi.GenerateDataKeyOutput, error) {
	if err := noRecipient(in.Recipient); err != nil {
		return nil, err
	}
	plain, sealed, k, m, err := s.dataKey(ctx, in.KeyId, in.KeySpec, in.NumberOfBytes, in.EncryptionContext, in.DryRun, "GenerateDataKey")
	if err != nil {
		return nil, err
	}
	return &kmsapi.GenerateDataKeyOutput{CiphertextBlob: sealed, Plaintext: plain, KeyId: new(k.arn()), KeyMaterialId: new(m.ID)}, nil
}

// GenerateDataKeyWithoutPlaintext is GenerateDataKey without the plaintext.
func (s *Service) GenerateDataKeyWithoutPlaintext(ctx context.Context, in *kmsapi.GenerateDataKeyWithoutPlaintextInput) (*kmsapi.GenerateDataKeyWithoutPlaintextOutput, error) {
	plain, sealed, k, m, err := s.dataKey(ctx, in.KeyId, in.KeySpec, in.NumberOfBytes, in.EncryptionContext, in.DryRun, "GenerateDataKeyWithoutPlaintext")
	if err != nil {
		return nil, err
	}
	clear(plain)
	return &kmsapi.GenerateDataKeyWithoutPlaintextOutput{CiphertextBlob: sealed, KeyId: new(k.arn()), KeyMaterialId: new(m.ID)}, nil
}

func (s *Service) dataKey(ctx context.Context, keyID string, spec kmsapi.DataKeySpec, n *int32, ec map[string]string, dry *bool, operation string,
) (plain, sealed []byte, k *cachedKey, m *materialRow, err error) {
	size, err := dataKeySize(spec, n)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	k, err = s.dataKeyUser(ctx, keyID, operation)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	if err := dryRun(dry); err != nil {
		return nil, nil, nil, nil, err
	}
	plain = make([]byte, size)
	rand.Read(plain)
	sealed, m, err = s.seal(ctx, k, ec, plain, operation)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	audit.From(ctx).Additional("keyMaterialId", m.ID)
	return plain, sealed, k, m, nil
}

// dataKeyUser resolves a key and checks that it can seal data keys now: symmetric
// encryption keys alone do.
func (s *Service) dataKeyUser(ctx context.Context, keyID, operation string) (*cachedKey, error) {
	k, _, err := s.resolve(ctx, keyID, byAlias)
	if err != nil {
		return nil, err
	}
	if err := serves(k, kmsapi.KeyUsageTypeEncryptDecrypt, operation); err != nil {
		return nil, err
	}
	if k.Spec != kmsapi.KeySpecSymmetricDefault {
		return nil, kmsapi.InvalidKeyUsageException("%s key spec is %s which is not valid for %s.", k.arn(), k.Spec, operation)
	}
	return k, nil
}
