package kms

import (
	"context"
	"crypto/rand"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
)

// GenerateRandom returns 1-1024 random bytes.
func (s *Service) GenerateRandom(ctx context.Context, in *kmsapi.GenerateRandomInput) (*kmsapi.GenerateRandomOutput, error) {
	if in.CustomKeyStoreId != nil {
		if _, err := s.keyStore(ctx, *in.CustomKeyStoreId); err != nil {
			return nil, err
		}
		return nil, kmsapi.UnsupportedOperationException("External key stores generate no random bytes.")
	}
	if err := noRecipient(in.Recipient); err != nil {
		return nil, err
	}
	audit.From(ctx).SetRequest(nil)
	if in.NumberOfBytes == nil {
		return nil, kmsapi.ValidationException("NumberOfBytes is required.")
	}
	b := make([]byte, *in.NumberOfBytes)
	rand.Read(b)
	return &kmsapi.GenerateRandomOutput{Plaintext: b}, nil
}
