package kms

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"slices"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/authz"
)

func macCondition(a kmsapi.MacAlgorithmSpec) func(authz.Context) {
	return func(c authz.Context) { c.Set("kms:MacAlgorithm", string(a)) }
}

func generateMacCall(in *kmsapi.GenerateMacInput) call {
	return call{key: &in.KeyId, tokens: &in.GrantTokens, set: macCondition(in.MacAlgorithm)}
}

func verifyMacCall(in *kmsapi.VerifyMacInput) call {
	return call{key: &in.KeyId, tokens: &in.GrantTokens, set: macCondition(in.MacAlgorithm)}
}

// GenerateMac returns the HMAC of a message of up to 4096 bytes.
//
// Errors: NotFoundException, DisabledException, KMSInvalidStateException,
// InvalidKeyUsageException, DryRunOperationException.
//
// Source: AWS KMS API Reference, GenerateMac.
func (s *Service) GenerateMac(ctx context.Context, in *kmsapi.GenerateMacInput) (*kmsapi.GenerateMacOutput, error) {
	k, err := s.macKey(ctx, in.KeyId, in.MacAlgorithm, "GenerateMac")
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	mac, err := s.mac(ctx, k, in.MacAlgorithm, in.Message)
	if err != nil {
		return nil, err
	}
	return &kmsapi.GenerateMacOutput{KeyId: new(k.arn()), Mac: mac, MacAlgorithm: in.MacAlgorithm}, nil
}

// VerifyMac verifies the HMAC of a message, in constant time. One that is not
// valid is an error, never an answer.
//
// Errors: KMSInvalidMacException with an empty message, and those of GenerateMac.
//
// Source: AWS KMS API Reference, VerifyMac.
func (s *Service) VerifyMac(ctx context.Context, in *kmsapi.VerifyMacInput) (*kmsapi.VerifyMacOutput, error) {
	k, err := s.macKey(ctx, in.KeyId, in.MacAlgorithm, "VerifyMac")
	if err != nil {
		return nil, err
	}
	mac, err := s.mac(ctx, k, in.MacAlgorithm, in.Message)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(mac, in.Mac) {
		return nil, kmsapi.KMSInvalidMacException("")
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return &kmsapi.VerifyMacOutput{KeyId: new(k.arn()), MacValid: new(true), MacAlgorithm: in.MacAlgorithm}, nil
}

// macKey resolves a key and checks that it makes MACs of the algorithm.
func (s *Service) macKey(ctx context.Context, id string, a kmsapi.MacAlgorithmSpec, operation string) (*cachedKey, error) {
	k, _, err := s.resolve(ctx, id, byAlias)
	if err != nil {
		return nil, err
	}
	if err := serves(k, kmsapi.KeyUsageTypeGenerateVerifyMac, operation); err != nil {
		return nil, err
	}
	if sp, _ := specOf(k.Spec); !slices.Contains(sp.mac, a) {
		return nil, incompatible(a, k)
	}
	return k, nil
}

func (s *Service) mac(ctx context.Context, k *cachedKey, a kmsapi.MacAlgorithmSpec, text []byte) ([]byte, error) {
	o, _, err := s.openCurrent(ctx, k)
	if err != nil {
		return nil, err
	}
	defer o.done()
	key, ok := o.private.(macKey)
	if !ok {
		return nil, fmt.Errorf("kms: key %s holds no MAC key", k.ID)
	}
	h := hmac.New(macHash(a), key)
	h.Write(text)
	return h.Sum(nil), nil
}

func macHash(a kmsapi.MacAlgorithmSpec) func() hash.Hash {
	switch a {
	case kmsapi.MacAlgorithmSpecHmacSha224:
		return sha256.New224
	case kmsapi.MacAlgorithmSpecHmacSha256:
		return sha256.New
	case kmsapi.MacAlgorithmSpecHmacSha384:
		return sha512.New384
	}
	return sha512.New
}
