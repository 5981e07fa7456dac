package kms

import (
	"context"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

func (s *Service) reEncryptChecks(ctx context.Context, in *kmsapi.ReEncryptInput) ([]protocol.Check, error) {
	if in.SourceEncryptionAlgorithm == "" {
		in.SourceEncryptionAlgorithm = symmetric
	}
	if in.DestinationEncryptionAlgorithm == "" {
		in.DestinationEncryptionAlgorithm = symmetric
	}
	tokens := takeTokens(ctx, kmsapi.ReEncrypt, in, &in.GrantTokens)
	if err := needsSource(in.CiphertextBlob, in.SourceKeyId, in.SourceEncryptionAlgorithm, ignoresCiphertext(in.DryRun, in.DryRunModifiers), "sourceKeyId"); err != nil {
		return nil, err
	}
	from, fromRef, err := s.source(ctx, in.SourceKeyId, in.CiphertextBlob)
	if err != nil {
		return nil, err
	}
	to, toRef, err := s.resolve(ctx, in.DestinationKeyId, byAlias)
	if err != nil {
		return nil, err
	}
	same := func(a kmsapi.EncryptionAlgorithmSpec) func(authz.Context) {
		return func(c authz.Context) {
			c.SetBool("kms:ReEncryptOnSameKey", from.arn() == to.arn())
			c.Set("kms:EncryptionAlgorithm", string(a))
		}
	}
	a, err := s.decryptionCheck(ctx, from, fromRef, in.SourceKeyId != nil, call{
		action: "kms:ReEncryptFrom", ec: in.SourceEncryptionContext, set: same(in.SourceEncryptionAlgorithm),
	}, tokens)
	if err != nil {
		return nil, err
	}
	b, err := s.checkNamed(ctx, to, toRef, call{
		action: "kms:ReEncryptTo", ec: in.DestinationEncryptionContext, set: same(in.DestinationEncryptionAlgorithm),
	}, nil)
	if err != nil {
		return nil, err
	}
	if in.SourceKeyId != nil {
		pin(ctx, kmsapi.ReEncrypt, in, in.SourceKeyId, from, fromRef)
	}
	pin(ctx, kmsapi.ReEncrypt, in, &in.DestinationKeyId, to, toRef)
	return []protocol.Check{a, b}, nil
}

// ReEncrypt opens a ciphertext and encrypts it under another key or context; the
// plaintext never leaves the process.
//
// Errors: those of Decrypt and Encrypt.
func (s *Service) ReEncrypt(ctx context.Context, in *kmsapi.ReEncryptInput) (*kmsapi.ReEncryptOutput, error) {
	to, _, err := s.resolve(ctx, in.DestinationKeyId, byAlias)
	if err != nil {
		return nil, err
	}
	if ignoresCiphertext(in.DryRun, in.DryRunModifiers) {
		from, _, err := s.resolve(ctx, *in.SourceKeyId, byAlias)
		if err != nil {
			return nil, err
		}
		if err := encrypts(from, in.SourceEncryptionAlgorithm, in.SourceEncryptionContext, "ReEncrypt"); err != nil {
			return nil, err
		}
		if err := encrypts(to, in.DestinationEncryptionAlgorithm, in.DestinationEncryptionContext, "ReEncrypt"); err != nil {
			return nil, err
		}
		return nil, dryRun(in.DryRun)
	}
	// State and usage come before the ciphertext, which a proxy may have to open.
	if err := encrypts(to, in.DestinationEncryptionAlgorithm, in.DestinationEncryptionContext, "ReEncrypt"); err != nil {
		return nil, err
	}
	from, sourceID, plaintext, err := s.decrypt(ctx, in.SourceKeyId, in.CiphertextBlob, in.SourceEncryptionContext, in.SourceEncryptionAlgorithm, "ReEncrypt")
	if err != nil {
		return nil, err
	}
	defer clear(plaintext)
	if err := fits(to, in.DestinationEncryptionAlgorithm, plaintext); err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	sealed, destinationID, err := s.encrypt(ctx, to, in.DestinationEncryptionAlgorithm, in.DestinationEncryptionContext, plaintext, "ReEncrypt")
	if err != nil {
		return nil, err
	}
	recordMaterial(ctx, "sourceKeyMaterialId", sourceID)
	recordMaterial(ctx, "destinationKeyMaterialId", destinationID)
	return &kmsapi.ReEncryptOutput{
		CiphertextBlob: sealed, SourceKeyId: new(from.arn()), KeyId: new(to.arn()),
		SourceEncryptionAlgorithm: in.SourceEncryptionAlgorithm, DestinationEncryptionAlgorithm: in.DestinationEncryptionAlgorithm,
		SourceKeyMaterialId: sourceID, DestinationKeyMaterialId: destinationID,
	}, nil
}
