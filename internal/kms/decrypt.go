package kms

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// blobKey finds the key that a ciphertext names. What cannot be parsed is an
// InvalidCiphertextException; a key that is not there gives the answer of one
// that may not be used, so that nobody learns which exist.
func (s *Service) blobKey(ctx context.Context, ciphertext []byte) (*cachedKey, *blob, error) {
	b, err := parseBlob(ciphertext)
	if err != nil {
		return nil, nil, kmsapi.InvalidCiphertextException("")
	}
	k, err := s.loadKey(ctx, identity.From(ctx).Region, b.keyID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, &b, hiddenKey()
	}
	return k, &b, err
}

func hiddenKey() error {
	return kmsapi.AccessDeniedException("The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.")
}

// source resolves the key of a decryption: the one named in the request, which
// is also the one that is authorised, or the one in the ciphertext.
func (s *Service) source(ctx context.Context, keyID *string, ciphertext []byte) (*cachedKey, keyRef, error) {
	if keyID != nil {
		return s.resolve(ctx, *keyID, byAlias)
	}
	k, _, err := s.blobKey(ctx, ciphertext)
	if err != nil {
		return nil, keyRef{}, err
	}
	return k, keyRef{account: k.Account, region: k.Region, id: k.ID}, nil
}

// decryptionCheck asks whether the caller may open a ciphertext. When only the
// ciphertext names the key, one of another account is refused like one that is
// not there.
func (s *Service) decryptionCheck(ctx context.Context, k *cachedKey, ref keyRef, named bool, c call, tokens []string) (protocol.Check, error) {
	check, err := s.checkNamed(ctx, k, ref, c, tokens)
	if err == nil && !named && k.Account != callerAccount(ctx) {
		err = s.conceal(ctx, check, hiddenKey())
	}
	return check, err
}

// needsSource refuses decryptions that do not say of what, or with which key when
// the ciphertext does not tell.
func needsSource(ciphertext []byte, keyID *string, a kmsapi.EncryptionAlgorithmSpec, ignored bool, member string) error {
	switch {
	case ignored && keyID == nil:
		return kmsapi.ValidationException("%s is required when the ciphertext is ignored.", strings.ToUpper(member[:1])+member[1:])
	case ignored:
		return nil
	case ciphertext == nil:
		member = "ciphertextBlob"
	case a == symmetric || keyID != nil:
		return nil
	}
	return kmsapi.ValidationException("1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", member)
}

func (s *Service) decryptChecks(ctx context.Context, in *kmsapi.DecryptInput) ([]protocol.Check, error) {
	if in.EncryptionAlgorithm == "" {
		in.EncryptionAlgorithm = symmetric
	}
	tokens := takeTokens(ctx, kmsapi.Decrypt, in, &in.GrantTokens)
	if err := needsSource(in.CiphertextBlob, in.KeyId, in.EncryptionAlgorithm, ignoresCiphertext(in.DryRun, in.DryRunModifiers), "keyId"); err != nil {
		return nil, err
	}
	k, ref, err := s.source(ctx, in.KeyId, in.CiphertextBlob)
	if err != nil {
		return nil, err
	}
	check, err := s.decryptionCheck(ctx, k, ref, in.KeyId != nil, call{
		action: "kms:Decrypt", ec: in.EncryptionContext, set: algorithmCondition(in.EncryptionAlgorithm),
	}, tokens)
	if err != nil {
		return nil, err
	}
	if in.KeyId != nil {
		pin(ctx, kmsapi.Decrypt, in, in.KeyId, k, ref)
	}
	return []protocol.Check{check}, nil
}

func ignoresCiphertext(dry *bool, modifiers []kmsapi.DryRunModifierType) bool {
	return dry != nil && *dry && slices.Contains(modifiers, kmsapi.DryRunModifierTypeIgnoreCiphertext)
}

// Decrypt opens what Encrypt, ReEncrypt or GenerateDataKey made. A wrong
// encryption context and a damaged ciphertext give the same error. For the
// ciphertext of an asymmetric key the request names key and algorithm.
//
// Errors: InvalidCiphertextException, IncorrectKeyException, DisabledException,
// KMSInvalidStateException, NotFoundException, DryRunOperationException.
func (s *Service) Decrypt(ctx context.Context, in *kmsapi.DecryptInput) (*kmsapi.DecryptOutput, error) {
	if err := noRecipient(in.Recipient); err != nil {
		return nil, err
	}
	if ignoresCiphertext(in.DryRun, in.DryRunModifiers) {
		k, _, err := s.resolve(ctx, *in.KeyId, byAlias)
		if err != nil {
			return nil, err
		}
		if err := encrypts(k, in.EncryptionAlgorithm, in.EncryptionContext, "Decrypt"); err != nil {
			return nil, err
		}
		return nil, dryRun(in.DryRun)
	}
	k, material, plaintext, err := s.decrypt(ctx, in.KeyId, in.CiphertextBlob, in.EncryptionContext, in.EncryptionAlgorithm, "Decrypt")
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		clear(plaintext)
		return nil, err
	}
	recordMaterial(ctx, "keyMaterialId", material)
	return &kmsapi.DecryptOutput{
		KeyId: new(k.arn()), Plaintext: plaintext, EncryptionAlgorithm: in.EncryptionAlgorithm, KeyMaterialId: material,
	}, nil
}

// decrypt opens a ciphertext with the key that source names. The id of the key
// material is returned for symmetric keys alone.
func (s *Service) decrypt(ctx context.Context, keyID *string, ciphertext []byte, ec map[string]string,
	a kmsapi.EncryptionAlgorithmSpec, operation string,
) (k *cachedKey, material *string, plaintext []byte, err error) {
	k, _, err = s.source(ctx, keyID, ciphertext)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := usable(&k.keyRow); err != nil {
		return nil, nil, nil, err
	}
	if a != symmetric { // what looks like a header in RSA's ciphertext is chance
		if err := encrypts(k, a, ec, operation); err != nil {
			return nil, nil, nil, err
		}
		plaintext, err = s.decryptRSA(ctx, k, a, ciphertext)
		return k, nil, plaintext, err
	}
	b, berr := parseBlob(ciphertext)
	if berr == nil && b.keyID != k.ID {
		// Before usage and spec: a key of another kind is the wrong key, too.
		return nil, nil, nil, kmsapi.IncorrectKeyException("The key ID in the request does not identify a CMK that can perform this operation.")
	}
	if err := encrypts(k, a, ec, operation); err != nil {
		return nil, nil, nil, err
	}
	if berr == nil && (b.external != nil) != k.external() {
		berr = errBlob
	}
	if berr != nil {
		return nil, nil, nil, kmsapi.InvalidCiphertextException("").Because(berr)
	}
	for i := range k.Materials {
		m := &k.Materials[i]
		if hint, err := hex.DecodeString(m.ID); err != nil || [materialHint]byte(hint) != b.material {
			continue
		}
		o, err := s.open(ctx, k, m)
		if err != nil {
			return nil, nil, nil, err
		}
		defer o.done() // there is one such material
		if b.external != nil {
			if err := s.openExternal(ctx, k, &b, ec, operation); err != nil {
				return nil, nil, nil, err
			}
		}
		p, err := b.open(o.backing, ec)
		if err != nil && b.external != nil {
			return nil, nil, nil, kmsapi.KMSInvalidStateException(ciphertextCorrupt).Because(err)
		}
		if err != nil {
			return nil, nil, nil, kmsapi.InvalidCiphertextException("").Because(err)
		}
		return k, new(m.ID), p, nil
	}
	return nil, nil, nil, kmsapi.InvalidCiphertextException("")
}
