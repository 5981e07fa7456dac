package kms

import (
	"context"
	"fmt"
	"slices"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

func encapsulateCall(in *kmsapi.EncapsulateInput) call {
	return call{key: &in.KeyId, tokens: &in.GrantTokens}
}

func decapsulateCall(in *kmsapi.DecapsulateInput) call {
	return call{key: &in.KeyId, tokens: &in.GrantTokens}
}

// Encapsulate makes a shared secret of 32 bytes and its ciphertext for the
// public key.
//
// Errors: NotFoundException, DisabledException, KMSInvalidStateException,
// InvalidKeyUsageException, DryRunOperationException.
//
// Source: AWS KMS API Reference, Encapsulate.
func (s *Service) Encapsulate(ctx context.Context, in *kmsapi.EncapsulateInput) (*kmsapi.EncapsulateOutput, error) {
	k, err := s.kemKey(ctx, in.KeyId, in.EncapsulationAlgorithm, "Encapsulate")
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	key, o, err := s.decapsulator(ctx, k)
	if err != nil {
		return nil, err
	}
	defer o.done()
	shared, ciphertext := key.Encapsulator().Encapsulate()
	return &kmsapi.EncapsulateOutput{
		KeyId: new(k.arn()), SharedSecret: shared, SharedSecretCiphertextBlob: ciphertext, EncapsulationAlgorithm: in.EncapsulationAlgorithm,
	}, nil
}

// Decapsulate recovers a shared secret from its ciphertext. A ciphertext that was
// changed or made for another key gives a secret of no use: that ML-KEM does not
// tell is part of its security.
//
// Errors: InvalidCiphertextException for a ciphertext of another length, and
// those of Encapsulate.
//
// Source: AWS KMS API Reference, Decapsulate; FIPS 203, section 6.3.
func (s *Service) Decapsulate(ctx context.Context, in *kmsapi.DecapsulateInput) (*kmsapi.DecapsulateOutput, error) {
	k, err := s.kemKey(ctx, in.KeyId, in.EncapsulationAlgorithm, "Decapsulate")
	if err != nil {
		return nil, err
	}
	key, o, err := s.decapsulator(ctx, k)
	if err != nil {
		return nil, err
	}
	defer o.done()
	shared, err := key.Decapsulate(in.SharedSecretCiphertextBlob)
	if err != nil {
		return nil, kmsapi.InvalidCiphertextException("").Because(err)
	}
	if err := dryRun(in.DryRun); err != nil {
		clear(shared)
		return nil, err
	}
	return &kmsapi.DecapsulateOutput{KeyId: new(k.arn()), SharedSecret: shared, EncapsulationAlgorithm: in.EncapsulationAlgorithm}, nil
}

// kemKey resolves a key and checks that it encapsulates by the algorithm.
func (s *Service) kemKey(ctx context.Context, id string, a kmsapi.EncapsulationAlgorithmSpec, operation string) (*cachedKey, error) {
	k, _, err := s.resolve(ctx, id, byAlias)
	if err != nil {
		return nil, err
	}
	if err := serves(k, kmsapi.KeyUsageTypeEncapsulateDecapsulate, operation); err != nil {
		return nil, err
	}
	if sp, _ := specOf(k.Spec); !slices.Contains(sp.encapsulation, a) {
		return nil, incompatible(a, k)
	}
	return k, nil
}

// decapsulator returns the key's ML-KEM key and what it lies in, for the caller to
// call done.
func (s *Service) decapsulator(ctx context.Context, k *cachedKey) (seeded, *opened, error) {
	o, _, err := s.openCurrent(ctx, k)
	if err != nil {
		return nil, nil, err
	}
	key, ok := o.private.(seeded)
	if !ok {
		o.done()
		return nil, nil, fmt.Errorf("kms: key %s holds no ML-KEM key", k.ID)
	}
	return key, o, nil
}
