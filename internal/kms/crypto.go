package kms

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

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

// Encrypt encrypts up to 4096 bytes under a symmetric key, or what fits into an
// RSA key with the padding of the algorithm.
//
// Errors: NotFoundException, DisabledException, KMSInvalidStateException,
// InvalidKeyUsageException, DryRunOperationException; ValidationException for
// what does not fit; UnsupportedOperationException in FIPS 140 mode.
func (s *Service) Encrypt(ctx context.Context, in *kmsapi.EncryptInput) (*kmsapi.EncryptOutput, error) {
	k, _, err := s.resolve(ctx, in.KeyId, true)
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
func encrypts(k *keyState, a kmsapi.EncryptionAlgorithmSpec, ec map[string]string, operation string) error {
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
func (s *Service) encrypt(ctx context.Context, k *keyState, a kmsapi.EncryptionAlgorithmSpec, ec map[string]string, plaintext []byte, operation string) (ciphertext []byte, material *string, err error) {
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
func (s *Service) seal(ctx context.Context, k *keyState, ec map[string]string, plaintext []byte, operation string) ([]byte, *materialRow, error) {
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
		k, _, err := s.resolve(ctx, *in.KeyId, true)
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
) (k *keyState, material *string, plaintext []byte, err error) {
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
) (plain, sealed []byte, k *keyState, m *materialRow, err error) {
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
func (s *Service) dataKeyUser(ctx context.Context, keyID, operation string) (*keyState, error) {
	k, _, err := s.resolve(ctx, keyID, true)
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
