package kms

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/store"
)

// maxImportDays is how far ahead imported key material may expire.
//
// Source: AWS KMS API Reference, ImportKeyMaterial, ValidTo.
const maxImportDays = 365

// importing checks that a key takes imported material, in one of the states.
func importing(k *keyRow, states ...kmsapi.KeyState) error {
	if k.Origin != kmsapi.OriginTypeExternal {
		return kmsapi.UnsupportedOperationException("%s origin is %s which is not valid for this operation.", k.arn(), k.Origin)
	}
	return inState(k, states...)
}

func importParametersCall(in *kmsapi.GetParametersForImportInput) call {
	return call{key: &in.KeyId, set: func(c authz.Context) {
		c.Set("kms:WrappingAlgorithm", string(in.WrappingAlgorithm))
		c.Set("kms:WrappingKeySpec", string(in.WrappingKeySpec))
	}}
}

// GetParametersForImport makes an RSA wrapping key and returns its public key and
// the token that belongs to it. Both serve one import within 24 hours.
//
// Errors: UnsupportedOperationException for keys of another origin, algorithms
// that AWS does not have for the key, and in FIPS 140 mode for SHA-1 and for keys
// of specs outside the module;
// KMSInvalidStateException; LimitExceededException while 100 wrapping keys of the
// key wait for their imports; ThrottlingException when too many wait for an RSA key.
//
// Source: AWS KMS API Reference, GetParametersForImport.
func (s *Service) GetParametersForImport(ctx context.Context, in *kmsapi.GetParametersForImportInput) (*kmsapi.GetParametersForImportOutput, error) {
	k, _, err := s.resolve(ctx, in.KeyId, byKey)
	if err != nil {
		return nil, err
	}
	if err := importing(&k.keyRow, kmsapi.KeyStateEnabled, kmsapi.KeyStateDisabled, kmsapi.KeyStatePendingImport); err != nil {
		return nil, err
	}
	if err := checkSpec(k.Spec); err != nil {
		return nil, err
	}
	if err := checkWrapping(k.Spec, in.WrappingAlgorithm, in.WrappingKeySpec); err != nil {
		return nil, err
	}
	if err := s.cfg.Store.View(ctx, func(tx *store.Tx) error { return s.roomForImport(tx, &k.keyRow) }); err != nil {
		return nil, err
	}
	private, public, err := s.newPair(ctx, kmsapi.KeySpec(in.WrappingKeySpec))
	defer clear(private)
	if err != nil {
		return nil, err
	}
	if rsaBits(kmsapi.KeySpec(in.WrappingKeySpec)) > 0 { // it has waited for others, and took a while
		if err := s.authorizeAgain(ctx, importParametersCall(in), kmsapi.GetParametersForImport.Name); err != nil {
			return nil, err
		}
	}
	s.wrapping.RLock()
	defer s.wrapping.RUnlock()
	row, token, err := s.newImport(&k.keyRow, in.WrappingAlgorithm, private)
	if err != nil {
		return nil, err
	}
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		now, err := keys.Get(tx, k.Region, k.ID)
		if err != nil {
			return err
		}
		if err := takesImport(&now); err != nil {
			return err
		}
		if err := s.roomForImport(tx, &now); err != nil {
			return err
		}
		return imports.Put(tx, row, row.Region, row.KeyID, row.ID)
	})
	if err != nil {
		return nil, err
	}
	return &kmsapi.GetParametersForImportOutput{
		KeyId: new(k.arn()), ImportToken: []byte(token), PublicKey: public, ParametersValidTo: new(row.Expires),
	}, nil
}

func importCall(in *kmsapi.ImportKeyMaterialInput) call {
	return call{key: &in.KeyId, set: func(c authz.Context) {
		c.Set("kms:ExpirationModel", string(cmp.Or(in.ExpirationModel, kmsapi.ExpirationModelTypeKeyMaterialExpires)))
		if in.ValidTo != nil {
			c.Set("kms:ValidTo", unixTime(*in.ValidTo))
		}
	}}
}

// unixTime is an instant in seconds since the epoch, which the Numeric operators
// of a condition compare as well as the Date operators. There is always a dot:
// four digits alone would be a year.
//
// Source: AWS KMS Developer Guide, kms:ValidTo: "The value is expressed in Unix
// time".
func unixTime(t time.Time) string {
	n := t.UnixMicro()
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	frac := strings.TrimRight(fmt.Sprintf("%06d", n%1e6), "0")
	return fmt.Sprintf("%s%d.%s", sign, n/1e6, cmp.Or(frac, "0"))
}

// expiry returns when the imported material expires; zero is never.
//
// Errors: ValidationException.
func (s *Service) expiry(in *kmsapi.ImportKeyMaterialInput) (time.Time, error) {
	now := s.cfg.Now()
	switch {
	case in.ExpirationModel == kmsapi.ExpirationModelTypeKeyMaterialDoesNotExpire && in.ValidTo != nil:
		return time.Time{}, kmsapi.ValidationException("A validTo date cannot be set if the ExpirationModel is %s", in.ExpirationModel)
	case in.ExpirationModel == kmsapi.ExpirationModelTypeKeyMaterialDoesNotExpire:
		return time.Time{}, nil
	case in.ValidTo == nil:
		return time.Time{}, kmsapi.ValidationException("A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES")
	case !in.ValidTo.After(now):
		return time.Time{}, kmsapi.ValidationException("The validTo date must be in the future")
	case in.ValidTo.After(now.Add(days(maxImportDays))):
		return time.Time{}, kmsapi.ValidationException("The validTo date must be within %d days of now", maxImportDays)
	}
	return in.ValidTo.UTC().Truncate(time.Microsecond), nil
}

// checkImport refuses members that do not go together or not with the key.
func checkImport(k *keyRow, in *kmsapi.ImportKeyMaterialInput) error {
	if k.Spec != kmsapi.KeySpecSymmetricDefault && (in.ImportType != "" || in.KeyMaterialId != nil || in.KeyMaterialDescription != nil) {
		return kmsapi.ValidationException("ImportType, KeyMaterialId and KeyMaterialDescription are only valid for symmetric encryption keys.")
	}
	if in.ImportType == kmsapi.ImportTypeNewKeyMaterial && in.KeyMaterialId != nil {
		return kmsapi.ValidationException("You cannot specify a KeyMaterialId when the ImportType is %s.", in.ImportType)
	}
	return nil
}

func invalidImport() *schema.Error {
	return kmsapi.InvalidImportTokenException("The import token is invalid, was used before or is associated with a different KMS key.")
}

func incorrectMaterial(format string, args ...any) error {
	return kmsapi.IncorrectKeyMaterialException(format, args...)
}

// ImportKeyMaterial puts key material that was made elsewhere into a key. The
// first material of a key becomes current and belongs to it for ever; symmetric
// encryption keys take more, each of which RotateKeyOnDemand makes current. The
// same material again brings back what was deleted or has expired, or changes
// when it expires. A token serves one import; a failed one leaves it as it was.
//
// Errors: InvalidImportTokenException, ExpiredImportTokenException;
// InvalidCiphertextException for what does not unwrap;
// IncorrectKeyMaterialException for material of another kind or size, and for
// other material than the request says; KMSInvalidStateException, also while
// other new material waits for a rotation; UnsupportedOperationException for
// keys of another origin, new material in a replica, and in FIPS 140 mode for
// keys of specs outside the module; ValidationException.
//
// Source: AWS KMS API Reference, ImportKeyMaterial.
func (s *Service) ImportKeyMaterial(ctx context.Context, in *kmsapi.ImportKeyMaterialInput) (*kmsapi.ImportKeyMaterialOutput, error) {
	validTo, err := s.expiry(in)
	if err != nil {
		return nil, err
	}
	k, _, err := s.resolve(ctx, in.KeyId, byKey)
	if err != nil {
		return nil, err
	}
	if err := takesImport(&k.keyRow); err != nil {
		return nil, err
	}
	if err := checkSpec(k.Spec); err != nil {
		return nil, err
	}
	if err := checkImport(&k.keyRow, in); err != nil {
		return nil, err
	}
	row, key, err := s.readImport(ctx, &k.keyRow, in.ImportToken)
	if err != nil {
		return nil, err
	}
	defer erasePrivate(key)
	fresh, ids, err := unwrapMaterial(&k.keyRow, &row, key, in.EncryptedKeyMaterial)
	defer fresh.erase()
	if err != nil {
		return nil, err
	}
	out := &kmsapi.ImportKeyMaterialOutput{KeyId: new(k.arn())}
	if k.Spec == kmsapi.KeySpecSymmetricDefault {
		out.KeyMaterialId = new(ids[0])
	}
	s.wrapping.RLock()
	defer s.wrapping.RUnlock()
	err = s.updateSet(ctx, in.KeyId, func(tx *store.Tx, set *keySet) error {
		if err := takesImport(set.keyRow); err != nil {
			return err
		}
		m, err := s.placeImport(set, in, ids)
		if err != nil {
			return err
		}
		if err := useImport(tx, &row); err != nil {
			return err
		}
		if err := s.fill(set.keyRow, m, &fresh); err != nil {
			return err
		}
		m.ValidTo = validTo
		if in.KeyMaterialDescription != nil {
			m.Description = *in.KeyMaterialDescription
		}
		set.findLacking()
		if set.State == kmsapi.KeyStatePendingImport && set.complete() {
			set.State = kmsapi.KeyStateEnabled
		}
		protocol.Respond(ctx, kmsapi.ImportKeyMaterial, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// takesImport is importing for ImportKeyMaterial, which also serves keys that
// are Updating.
func takesImport(k *keyRow) error {
	return importing(k, kmsapi.KeyStateEnabled, kmsapi.KeyStateDisabled, kmsapi.KeyStatePendingImport, kmsapi.KeyStateUpdating)
}

// unwrapMaterial opens what an import sends and reads it as material of the key.
// It returns the ids that the material may have, the one for new material first:
// see encodings.
func unwrapMaterial(k *keyRow, row *importRow, key *rsa.PrivateKey, wrapped []byte) (m newMaterial, ids []string, err error) {
	w, ok := wrappingOf(row.Algorithm)
	if !ok {
		return m, nil, kmsapi.UnsupportedOperationException("The wrapping algorithm %s is not supported.", row.Algorithm)
	}
	if err := w.available(row.Algorithm); err != nil {
		return m, nil, err
	}
	plain, err := w.unwrap(key, wrapped)
	if err != nil {
		return m, nil, kmsapi.InvalidCiphertextException("").Because(err)
	}
	defer clear(plain)
	if k.Spec == kmsapi.KeySpecSymmetricDefault {
		if m.backing, err = secret.New(plain); err != nil {
			return m, nil, incorrectMaterial("Key material for a symmetric encryption key has 256 bits.")
		}
		return m, []string{importedID(k, plain)}, nil
	}
	private, err := parsePrivate(k.Spec, plain)
	if err != nil {
		return m, nil, incorrectMaterial("The key material is not a private key of key spec %s.", k.Spec)
	}
	defer erasePrivate(private)
	m.backing = secret.Random()
	if m.public, err = encodePublic(private); err != nil {
		return m, nil, incorrectMaterial("The key material is not a private key of key spec %s.", k.Spec)
	}
	forms, err := encodings(private)
	if err != nil {
		return m, nil, err
	}
	m.private = forms[0]
	for i, form := range forms {
		ids = append(ids, importedID(k, form))
		if i > 0 {
			clear(form)
		}
	}
	return m, ids, nil
}

// imported returns the version with the id, also one that waits for a rotation.
func (k *keyRow) imported(id string) *materialRow {
	if k.Pending != nil && k.Pending.ID == id {
		return k.Pending
	}
	return k.material(id)
}

// complete reports whether all material that belongs to the key for ever is there.
func (k *keyRow) complete() bool {
	return len(k.Materials) > 0 && !slices.ContainsFunc(k.Materials, func(m materialRow) bool { return m.Wrapped == nil })
}

// placeImport finds the version that imported material fills, or makes it. The
// first of the material's ids is that of a new one.
func (s *Service) placeImport(set *keySet, in *kmsapi.ImportKeyMaterialInput, ids []string) (*materialRow, error) {
	kind := in.ImportType
	if kind == "" {
		kind = kmsapi.ImportTypeExistingKeyMaterial
		if len(set.Materials) == 0 {
			kind = kmsapi.ImportTypeNewKeyMaterial
		}
	}
	id, m := ids[0], set.imported(ids[0])
	for _, other := range ids[1:] {
		if m == nil {
			m = set.imported(other)
		}
	}
	switch {
	case in.KeyMaterialId != nil && *in.KeyMaterialId != id:
		return nil, incorrectMaterial("The key material is not the one with the id %s.", *in.KeyMaterialId)
	case kind == kmsapi.ImportTypeExistingKeyMaterial && m == nil:
		return nil, incorrectMaterial("The key material is not the same key material that was previously imported into %s.", set.arn())
	case kind == kmsapi.ImportTypeExistingKeyMaterial:
		return m, nil
	case m != nil:
		return nil, incorrectMaterial("The key material is already associated with %s.", set.arn())
	case set.replica():
		return nil, kmsapi.UnsupportedOperationException("New key material cannot be imported into the multi-Region replica key %s. Import it into the primary key first.", set.arn())
	case len(set.Materials) == 0:
		set.Materials = []materialRow{{ID: id, Created: s.timestamp()}}
		return &set.Materials[0], nil
	case set.Pending != nil:
		return nil, kmsapi.KMSInvalidStateException("New key material (id: %s) cannot be imported into KMS key %s, because another key material (id: %s) is pending rotation.", id, set.arn(), set.Pending.ID)
	}
	for k := range set.all() {
		k.Pending = &materialRow{ID: id, Created: s.timestamp()}
	}
	return set.Pending, nil
}

// DeleteImportedKeyMaterial deletes the current imported material of a key, or
// the one that is named. Unless it waits for a rotation, the key is unusable
// until the same material is imported again. That no copy of the rows opens with
// the seal of then is the work of the next maintenance, see eraseDue.
//
// Errors: UnsupportedOperationException for keys of another origin;
// NotFoundException for material that the key does not have;
// KMSInvalidStateException.
//
// Source: AWS KMS API Reference, DeleteImportedKeyMaterial.
func (s *Service) DeleteImportedKeyMaterial(ctx context.Context, in *kmsapi.DeleteImportedKeyMaterialInput) (*kmsapi.DeleteImportedKeyMaterialOutput, error) {
	var out *kmsapi.DeleteImportedKeyMaterialOutput
	err := s.updateSet(ctx, in.KeyId, func(tx *store.Tx, set *keySet) error {
		err := importing(set.keyRow, kmsapi.KeyStateEnabled, kmsapi.KeyStateDisabled, kmsapi.KeyStatePendingImport,
			kmsapi.KeyStatePendingDeletion, kmsapi.KeyStatePendingReplicaDeletion)
		if err != nil {
			return err
		}
		out = &kmsapi.DeleteImportedKeyMaterialOutput{KeyId: new(set.arn())}
		m := set.current()
		if in.KeyMaterialId != nil {
			if set.Spec != kmsapi.KeySpecSymmetricDefault {
				return kmsapi.ValidationException("KeyMaterialId is only valid for symmetric encryption keys.")
			}
			if m = set.imported(*in.KeyMaterialId); m == nil {
				return kmsapi.NotFoundException("Key material %s of %s does not exist", *in.KeyMaterialId, set.arn())
			}
		}
		if m != nil {
			if set.Spec == kmsapi.KeySpecSymmetricDefault {
				out.KeyMaterialId = new(m.ID)
			}
			if err := s.deleteMaterial(tx, set, m.ID); err != nil {
				return err
			}
		}
		protocol.Respond(ctx, kmsapi.DeleteImportedKeyMaterial, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// rotateImported makes the imported material current that waits for a rotation,
// in every Region.
//
// Errors: KMSInvalidStateException while there is none in one of them.
func (s *Service) rotateImported(set *keySet) error {
	if set.Pending == nil || len(set.Lacking) > 0 {
		return kmsapi.KMSInvalidStateException("No available key material pending rotation for the key: %s.", set.arn())
	}
	now := s.timestamp()
	for k := range set.all() {
		m := *k.Pending
		m.Created, m.Rotation = now, kmsapi.RotationTypeOnDemand
		k.Materials = append(slices.Clip(k.Materials), m)
		k.Pending, k.Lacking = nil, nil
	}
	return nil
}

// versions yields the versions of a key's material, oldest first, and what each is.
func (k *keyRow) versions() iter.Seq2[*materialRow, kmsapi.KeyMaterialState] {
	return func(yield func(*materialRow, kmsapi.KeyMaterialState) bool) {
		for i := range k.Materials {
			state := kmsapi.KeyMaterialStateNonCurrent
			if i == len(k.Materials)-1 {
				state = kmsapi.KeyMaterialStateCurrent
			}
			if !yield(&k.Materials[i], state) {
				return
			}
		}
		switch {
		case k.Pending == nil:
		case len(k.Lacking) > 0:
			yield(k.Pending, kmsapi.KeyMaterialStatePendingMultiRegionImportAndRotation)
		default:
			yield(k.Pending, kmsapi.KeyMaterialStatePendingRotation)
		}
	}
}

// importEntry completes an entry of ListKeyRotations for imported material.
func importEntry(m *materialRow, e *kmsapi.RotationsListEntry) {
	e.KeyMaterialDescription = optional(m.Description)
	if m.Wrapped == nil {
		e.ImportState = kmsapi.ImportStatePendingImport
		return
	}
	e.ImportState, e.ExpirationModel = kmsapi.ImportStateImported, kmsapi.ExpirationModelTypeKeyMaterialDoesNotExpire
	if !m.ValidTo.IsZero() {
		e.ExpirationModel, e.ValidTo = kmsapi.ExpirationModelTypeKeyMaterialExpires, new(m.ValidTo)
	}
}

// expiration tells when the first of a key's imported material expires; nothing
// when none is there. What waits for a rotation does not count.
func expiration(k *keyRow, m *kmsapi.KeyMetadata) {
	var first time.Time
	there := false
	for i := range k.Materials {
		there = there || k.Materials[i].Wrapped != nil
		first = earlier(first, k.Materials[i].ValidTo)
	}
	switch {
	case !there:
	case first.IsZero():
		m.ExpirationModel = kmsapi.ExpirationModelTypeKeyMaterialDoesNotExpire
	default:
		m.ExpirationModel, m.ValidTo = kmsapi.ExpirationModelTypeKeyMaterialExpires, new(first)
	}
}

// newSalt returns the salt of a key's material ids.
func newSalt() []byte {
	b := make([]byte, sha256.Size)
	rand.Read(b)
	return b
}
