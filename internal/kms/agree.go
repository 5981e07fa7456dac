package kms

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"slices"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/authz"
)

func deriveCall(in *kmsapi.DeriveSharedSecretInput) call {
	return call{key: &in.KeyId, tokens: &in.GrantTokens, set: func(c authz.Context) {
		c.Set("kms:KeyAgreementAlgorithm", string(in.KeyAgreementAlgorithm))
	}}
}

// DeriveSharedSecret computes the raw ECDH secret of the key and a public key on
// the same curve, given as DER-encoded SubjectPublicKeyInfo.
//
// Errors: NotFoundException, DisabledException, KMSInvalidStateException,
// InvalidKeyUsageException, DryRunOperationException; ValidationException for a
// public key that is none, or is on another curve.
//
// Source: AWS KMS API Reference, DeriveSharedSecret.
func (s *Service) DeriveSharedSecret(ctx context.Context, in *kmsapi.DeriveSharedSecretInput) (*kmsapi.DeriveSharedSecretOutput, error) {
	if err := noRecipient(in.Recipient); err != nil {
		return nil, err
	}
	k, _, err := s.resolve(ctx, in.KeyId, byAlias)
	if err != nil {
		return nil, err
	}
	if err := serves(k, kmsapi.KeyUsageTypeKeyAgreement, "DeriveSharedSecret"); err != nil {
		return nil, err
	}
	if sp, _ := specOf(k.Spec); !slices.Contains(sp.agreement, in.KeyAgreementAlgorithm) {
		return nil, incompatible(in.KeyAgreementAlgorithm, k)
	}
	peer, err := peerKey(k, in.PublicKey)
	if err != nil {
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
	private, ok := o.private.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("kms: key %s is on no curve", k.ID)
	}
	own, err := private.ECDH()
	if err != nil {
		return nil, fmt.Errorf("kms: agree with %s: %w", k.ID, err)
	}
	shared, err := own.ECDH(peer)
	if err != nil {
		return nil, fmt.Errorf("kms: agree with %s: %w", k.ID, err)
	}
	return &kmsapi.DeriveSharedSecretOutput{
		KeyId: new(k.arn()), SharedSecret: shared, KeyAgreementAlgorithm: in.KeyAgreementAlgorithm, KeyOrigin: k.Origin,
	}, nil
}

// peerKey reads the other side's public key, a point on the curve of k.
func peerKey(k *cachedKey, der []byte) (*ecdh.PublicKey, error) {
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, kmsapi.ValidationException("The public key is not a DER-encoded X.509 SubjectPublicKeyInfo of a supported curve.").Because(err)
	}
	public, ok := parsed.(*ecdsa.PublicKey)
	if !ok || public.Curve != curveOf(k.Spec) {
		return nil, kmsapi.ValidationException("The public key is not on the curve of key spec %s.", k.Spec)
	}
	peer, err := public.ECDH() // refuses what is not on its curve
	if err != nil {
		return nil, kmsapi.ValidationException("The public key is not on the curve of key spec %s.", k.Spec).Because(err)
	}
	return peer, nil
}

// noRecipient refuses attestation documents: there is no enclave whose documents
// could be verified.
func noRecipient(r *kmsapi.RecipientInfo) error {
	if r != nil {
		return kmsapi.ValidationException("The attestation document in Recipient cannot be verified: no attested environments are supported here.")
	}
	return nil
}
