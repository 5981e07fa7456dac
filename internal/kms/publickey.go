package kms

import (
	"context"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// GetPublicKey returns the DER-encoded SubjectPublicKeyInfo of an asymmetric key.
//
// Errors: UnsupportedOperationException for keys without one; NotFoundException,
// DisabledException, KMSInvalidStateException.
func (s *Service) GetPublicKey(ctx context.Context, in *kmsapi.GetPublicKeyInput) (*kmsapi.GetPublicKeyOutput, error) {
	k, _, err := s.resolve(ctx, in.KeyId, byAlias)
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
		EncryptionAlgorithms: md.EncryptionAlgorithms, SigningAlgorithms: md.SigningAlgorithms,
		KeyAgreementAlgorithms: md.KeyAgreementAlgorithms, EncapsulationAlgorithms: md.EncapsulationAlgorithms,
	}, nil
}
