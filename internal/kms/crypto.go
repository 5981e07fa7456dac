package kms

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
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

// Encrypt encrypts up to 4096 bytes under a symmetric key.
//
// Errors: NotFoundException, DisabledException, KMSInvalidStateException,
// InvalidKeyUsageException, DryRunOperationException.
func (s *Service) Encrypt(ctx context.Context, in *kmsapi.EncryptInput) (*kmsapi.EncryptOutput, error) {
	k, _, err := s.resolve(ctx, in.KeyId, true)
	if err != nil {
		return nil, err
	}
	if err := encrypts(k, in.EncryptionAlgorithm, "Encrypt"); err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	sealed, m, err := s.encrypt(ctx, k, in.EncryptionContext, in.Plaintext)
	if err != nil {
		return nil, err
	}
	audit.From(ctx).Additional("keyMaterialId", m.ID)
	return &kmsapi.EncryptOutput{CiphertextBlob: sealed, KeyId: new(k.arn()), EncryptionAlgorithm: symmetric}, nil
}

// encrypts checks usage, algorithm and state of a key.
func encrypts(k *keyState, algorithm kmsapi.EncryptionAlgorithmSpec, operation string) error {
	if err := usable(&k.keyRow); err != nil {
		return err
	}
	if k.Usage != kmsapi.KeyUsageTypeEncryptDecrypt {
		return kmsapi.InvalidKeyUsageException("%s key usage is %s which is not valid for %s.", k.arn(), k.Usage, operation)
	}
	if k.Spec != kmsapi.KeySpecSymmetricDefault {
		return kmsapi.UnsupportedOperationException("%s under keys of spec %s is not implemented; docs/coverage.md lists what is.", operation, k.Spec)
	}
	if algorithm != symmetric {
		return kmsapi.InvalidKeyUsageException("The specified algorithm is not compatible with key spec %s.", k.Spec)
	}
	return nil
}

func (s *Service) encrypt(ctx context.Context, k *keyState, ec map[string]string, plaintext []byte) ([]byte, *materialRow, error) {
	m := k.current()
	if m == nil {
		return nil, nil, kmsapi.KMSInvalidStateException("%s has no key material.", k.arn())
	}
	hbk, err := s.backingKey(ctx, k, m)
	if err != nil {
		return nil, nil, err
	}
	sealed, err := sealBlob(hbk, k.ID, m.ID, ec, plaintext)
	return sealed, m, err
}

// blobKey finds the key that a ciphertext names. What cannot be parsed is an
// InvalidCiphertextException; a key that is not there gives the answer of one
// that may not be used, so that nobody learns which exist.
func (s *Service) blobKey(ctx context.Context, ciphertext []byte) (*keyState, *blob, error) {
	b, err := parseBlob(ciphertext)
	if err != nil {
		return nil, nil, kmsapi.InvalidCiphertextException("")
	}
	k, err := s.state(ctx, identity.From(ctx).Region, b.keyID)
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
func (s *Service) source(ctx context.Context, keyID *string, ciphertext []byte) (*keyState, keyRef, error) {
	if keyID != nil {
		return s.resolve(ctx, *keyID, true)
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
func (s *Service) decryptionCheck(ctx context.Context, k *keyState, ref keyRef, named bool, c call, tokens []string) (protocol.Check, error) {
	check, err := s.checkNamed(ctx, k, ref, c, tokens)
	if err == nil && !named && k.Account != callerAccount(ctx) {
		err = s.conceal(ctx, check, hiddenKey())
	}
	return check, err
}

// needsCiphertext refuses requests without what they must be about.
func needsCiphertext(ciphertext []byte, keyID *string, ignored bool, member string) error {
	switch {
	case ignored && keyID == nil:
		return kmsapi.ValidationException("%s is required when the ciphertext is ignored.", member)
	case !ignored && ciphertext == nil:
		return kmsapi.ValidationException("1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: Member must not be null")
	}
	return nil
}

func (s *Service) decryptChecks(ctx context.Context, in *kmsapi.DecryptInput) ([]protocol.Check, error) {
	if in.EncryptionAlgorithm == "" {
		in.EncryptionAlgorithm = symmetric
	}
	tokens := takeTokens(ctx, kmsapi.Decrypt, in, &in.GrantTokens)
	if err := needsCiphertext(in.CiphertextBlob, in.KeyId, ignoresCiphertext(in.DryRun, in.DryRunModifiers), "KeyId"); err != nil {
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
// encryption context and a damaged ciphertext give the same error.
//
// Errors: InvalidCiphertextException, IncorrectKeyException, DisabledException,
// KMSInvalidStateException, NotFoundException, DryRunOperationException.
func (s *Service) Decrypt(ctx context.Context, in *kmsapi.DecryptInput) (*kmsapi.DecryptOutput, error) {
	if in.Recipient != nil {
		return nil, kmsapi.UnsupportedOperationException("Recipient needs an attested enclave.")
	}
	if ignoresCiphertext(in.DryRun, in.DryRunModifiers) {
		k, _, err := s.resolve(ctx, *in.KeyId, true)
		if err != nil {
			return nil, err
		}
		if err := encrypts(k, in.EncryptionAlgorithm, "Decrypt"); err != nil {
			return nil, err
		}
		return nil, dryRun(in.DryRun)
	}
	k, m, plaintext, err := s.decrypt(ctx, in.KeyId, in.CiphertextBlob, in.EncryptionContext, in.EncryptionAlgorithm, "Decrypt")
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	audit.From(ctx).Additional("keyMaterialId", m.ID)
	return &kmsapi.DecryptOutput{
		KeyId: new(k.arn()), Plaintext: plaintext, EncryptionAlgorithm: symmetric, KeyMaterialId: new(m.ID),
	}, nil
}

// decrypt opens a ciphertext with the key that source names.
func (s *Service) decrypt(ctx context.Context, keyID *string, ciphertext []byte, ec map[string]string,
	algorithm kmsapi.EncryptionAlgorithmSpec, operation string,
) (*keyState, *materialRow, []byte, error) {
	k, _, err := s.source(ctx, keyID, ciphertext)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := usable(&k.keyRow); err != nil {
		return nil, nil, nil, err
	}
	b, berr := parseBlob(ciphertext)
	if berr == nil && b.keyID != k.ID {
		// Before usage and spec: a key of another kind is the wrong key, too.
		return nil, nil, nil, kmsapi.IncorrectKeyException("The key ID in the request does not identify a CMK that can perform this operation.")
	}
	if err := encrypts(k, algorithm, operation); err != nil {
		return nil, nil, nil, err
	}
	if berr != nil {
		return nil, nil, nil, kmsapi.InvalidCiphertextException("").Because(berr)
	}
	for i := range k.Materials {
		m := &k.Materials[i]
		if hint, err := hex.DecodeString(m.ID); err != nil || [materialHint]byte(hint) != b.material {
			continue
		}
		hbk, err := s.backingKey(ctx, k, m)
		if err != nil {
			return nil, nil, nil, err
		}
		p, err := b.open(hbk, ec)
		if err != nil {
			return nil, nil, nil, kmsapi.InvalidCiphertextException("").Because(err)
		}
		return k, m, p, nil
	}
	return nil, nil, nil, kmsapi.InvalidCiphertextException("")
}

func (s *Service) reEncryptChecks(ctx context.Context, in *kmsapi.ReEncryptInput) ([]protocol.Check, error) {
	if in.SourceEncryptionAlgorithm == "" {
		in.SourceEncryptionAlgorithm = symmetric
	}
	if in.DestinationEncryptionAlgorithm == "" {
		in.DestinationEncryptionAlgorithm = symmetric
	}
	tokens := takeTokens(ctx, kmsapi.ReEncrypt, in, &in.GrantTokens)
	if err := needsCiphertext(in.CiphertextBlob, in.SourceKeyId, ignoresCiphertext(in.DryRun, in.DryRunModifiers), "SourceKeyId"); err != nil {
		return nil, err
	}
	from, fromRef, err := s.source(ctx, in.SourceKeyId, in.CiphertextBlob)
	if err != nil {
		return nil, err
	}
	to, toRef, err := s.resolve(ctx, in.DestinationKeyId, true)
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
	to, _, err := s.resolve(ctx, in.DestinationKeyId, true)
	if err != nil {
		return nil, err
	}
	if ignoresCiphertext(in.DryRun, in.DryRunModifiers) {
		from, _, err := s.resolve(ctx, *in.SourceKeyId, true)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(encrypts(from, in.SourceEncryptionAlgorithm, "ReEncrypt"), encrypts(to, in.DestinationEncryptionAlgorithm, "ReEncrypt")); err != nil {
			return nil, err
		}
		return nil, dryRun(in.DryRun)
	}
	from, fm, plaintext, err := s.decrypt(ctx, in.SourceKeyId, in.CiphertextBlob, in.SourceEncryptionContext, in.SourceEncryptionAlgorithm, "ReEncrypt")
	if err != nil {
		return nil, err
	}
	defer clear(plaintext)
	if err := encrypts(to, in.DestinationEncryptionAlgorithm, "ReEncrypt"); err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	sealed, tm, err := s.encrypt(ctx, to, in.DestinationEncryptionContext, plaintext)
	if err != nil {
		return nil, err
	}
	e := audit.From(ctx)
	e.Additional("sourceKeyMaterialId", fm.ID)
	e.Additional("destinationKeyMaterialId", tm.ID)
	return &kmsapi.ReEncryptOutput{
		CiphertextBlob: sealed, SourceKeyId: new(from.arn()), KeyId: new(to.arn()),
		SourceEncryptionAlgorithm: symmetric, DestinationEncryptionAlgorithm: symmetric,
		SourceKeyMaterialId: new(fm.ID), DestinationKeyMaterialId: new(tm.ID),
	}, nil
}

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
	if in.Recipient != nil {
		return nil, kmsapi.UnsupportedOperationException("Recipient needs an attested enclave.")
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
) (plain, sealed []byte, k *keyState, m *materialRow, err error) {
	size, err := dataKeySize(spec, n)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	k, _, err = s.resolve(ctx, keyID, true)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	if err := encrypts(k, symmetric, operation); err != nil {
		return nil, nil, nil, nil, err
	}
	if err := dryRun(dry); err != nil {
		return nil, nil, nil, nil, err
	}
	plain = make([]byte, size)
	rand.Read(plain)
	sealed, m, err = s.encrypt(ctx, k, ec, plain)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	audit.From(ctx).Additional("keyMaterialId", m.ID)
	return plain, sealed, k, m, nil
}

// GenerateRandom returns 1-1024 random bytes.
func (s *Service) GenerateRandom(ctx context.Context, in *kmsapi.GenerateRandomInput) (*kmsapi.GenerateRandomOutput, error) {
	if in.CustomKeyStoreId != nil {
		return nil, kmsapi.CustomKeyStoreNotFoundException("Custom key store %s does not exist.", *in.CustomKeyStoreId)
	}
	if in.Recipient != nil {
		return nil, kmsapi.UnsupportedOperationException("Recipient needs an attested enclave.")
	}
	audit.From(ctx).SetRequest(nil)
	if in.NumberOfBytes == nil {
		return nil, kmsapi.ValidationException("1 validation error detected: Value null at 'numberOfBytes' failed to satisfy constraint: Member must not be null")
	}
	b := make([]byte, *in.NumberOfBytes)
	rand.Read(b)
	return &kmsapi.GenerateRandomOutput{Plaintext: b}, nil
}
