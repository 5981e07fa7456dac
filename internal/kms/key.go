package kms

import (
	"cmp"
	"context"
	"errors"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// Deletion windows, in days. The model allows more; the service does not.
const (
	minWindow     = 7
	maxWindow     = 30
	defaultWindow = 30
)

// resolveCreateKey is the resolver of CreateKey.
func (s *Service) resolveCreateKey(ctx context.Context, in *kmsapi.CreateKeyInput) ([]protocol.Check, error) {
	if in.KeySpec != "" && in.CustomerMasterKeySpec != "" {
		return nil, kmsapi.ValidationException("You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")
	}
	return s.createKeyChecks(ctx, in)
}

// createKeyChecks fills in the defaults of a request and asks for its rights.
func (s *Service) createKeyChecks(ctx context.Context, in *kmsapi.CreateKeyInput) ([]protocol.Check, error) {
	if err := normaliseSpec(in); err != nil {
		return nil, err
	}
	set := func(c authz.Context) {
		c.SetFlag("kms:BypassPolicyLockoutSafetyCheck", in.BypassPolicyLockoutSafetyCheck)
		c.Set("kms:KeySpec", string(in.KeySpec))
		c.Set("kms:CustomerMasterKeySpec", string(in.KeySpec))
		c.Set("kms:KeyUsage", string(in.KeyUsage))
		c.Set("kms:CustomerMasterKeyUsage", string(in.KeyUsage))
		c.Set("kms:KeyOrigin", string(in.Origin))
		c.SetBool("kms:MultiRegion", in.MultiRegion != nil && *in.MultiRegion)
		if in.MultiRegion != nil && *in.MultiRegion {
			c.Set("kms:MultiRegionKeyType", string(kmsapi.MultiRegionKeyTypePrimary))
		}
		c.Set("kms:CallerAccount", identity.From(ctx).Caller.Account)
		tagConditions(c, in.Tags)
	}
	create := authz.NewContext()
	set(create)
	checks := []protocol.Check{{Resource: "*", Context: create}}
	if len(in.Tags) > 0 {
		tag := authz.NewContext()
		set(tag)
		checks = append(checks, protocol.Check{Action: "kms:TagResource", Resource: "*", Context: tag})
	}
	return checks, nil
}

// normaliseSpec fills in the defaults of CreateKey, which its record names too. Only
// symmetric encryption keys have a default usage.
func normaliseSpec(in *kmsapi.CreateKeyInput) error {
	if in.KeySpec == "" {
		in.KeySpec = kmsapi.KeySpec(in.CustomerMasterKeySpec)
	}
	if in.KeySpec == "" {
		in.KeySpec = kmsapi.KeySpecSymmetricDefault
	}
	if in.CustomerMasterKeySpec == "" {
		in.CustomerMasterKeySpec = kmsapi.CustomerMasterKeySpec(in.KeySpec)
	}
	if in.Origin == "" {
		in.Origin = kmsapi.OriginTypeAwsKms
	}
	noUnlessSaid(&in.MultiRegion)
	noUnlessSaid(&in.BypassPolicyLockoutSafetyCheck)
	if in.KeyUsage == "" {
		if in.KeySpec != kmsapi.KeySpecSymmetricDefault {
			return kmsapi.ValidationException("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
		}
		in.KeyUsage = kmsapi.KeyUsageTypeEncryptDecrypt
	}
	return nil
}

// noUnlessSaid fills in a flag of a request that its record names even when the
// request does not.
func noUnlessSaid(flag **bool) {
	if *flag == nil {
		*flag = new(false)
	}
}

// CreateKey makes a key with one version of key material, Enabled, or one of
// origin EXTERNAL without any, PendingImport.
//
// Errors: ValidationException for specs and usages that do not go together;
// MalformedPolicyDocumentException; TagException; LimitExceededException;
// UnsupportedOperationException for origins and specs that we do not have, in
// FIPS 140 mode also for specs outside the module; ThrottlingException when too
// many wait for an RSA key.
func (s *Service) CreateKey(ctx context.Context, in *kmsapi.CreateKeyInput) (*kmsapi.CreateKeyOutput, error) {
	if err := checkCreate(in); err != nil {
		return nil, err
	}
	k, err := s.draftKey(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.CustomKeyStoreId != nil {
		home, err := s.findExternalKey(ctx, in)
		if err != nil {
			return nil, err
		}
		k.KeyStore, k.XksKeyID = home.ID, *in.XksKeyId
	}
	if in.Origin != kmsapi.OriginTypeExternal {
		fresh, err := s.makeMaterial(ctx, k.Spec)
		defer fresh.erase()
		if err != nil {
			return nil, err
		}
		s.wrapping.RLock()
		defer s.wrapping.RUnlock()
		if err := s.addMaterial(k, "", &fresh); err != nil {
			return nil, err
		}
	}
	if rsaBits(k.Spec) > 0 && in.Origin != kmsapi.OriginTypeExternal { // it has waited for others, and took a while
		if err := s.authorizeCreation(ctx, in); err != nil {
			return nil, err
		}
	}
	out := &kmsapi.CreateKeyOutput{KeyMetadata: metadata(k)}
	audit.From(ctx).AddResource(k.Account, resourceType, k.arn())
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		protocol.Respond(ctx, kmsapi.CreateKey, out)
		return s.putNewKey(ctx, tx, k)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// authorizeCreation asks whether the caller may still make the key (I3).
//
// Errors: AccessDeniedException.
func (s *Service) authorizeCreation(ctx context.Context, in *kmsapi.CreateKeyInput) error {
	checks, err := s.createKeyChecks(ctx, in)
	for i := range checks {
		if err == nil {
			checks[i].Action = cmp.Or(checks[i].Action, "kms:"+kmsapi.CreateKey.Name)
			err = s.cfg.Authorizer.Authorize(ctx, kmsapi.Service, &checks[i])
		}
	}
	return err
}

// checkCreate refuses what does not go together in a CreateKey request.
func checkCreate(in *kmsapi.CreateKeyInput) error {
	if err := checkKeyStoreMembers(in); err != nil {
		return err
	}
	if err := checkUsage(in.KeySpec, in.KeyUsage); err != nil {
		return err
	}
	if in.Origin == kmsapi.OriginTypeExternal {
		return importable(in.KeySpec)
	}
	return nil
}

// draftKey is the row of a new key before it has material.
func (s *Service) draftKey(ctx context.Context, in *kmsapi.CreateKeyInput) (*keyRow, error) {
	call := identity.From(ctx)
	k := &keyRow{
		Account: call.Caller.Account, Region: call.Region, Spec: in.KeySpec, Usage: in.KeyUsage, Origin: in.Origin,
		Manager: kmsapi.KeyManagerTypeCustomer, State: kmsapi.KeyStateEnabled, Created: s.timestamp(),
		MultiRegion: in.MultiRegion != nil && *in.MultiRegion, Tags: map[string]string{},
	}
	k.ID = newID(k.MultiRegion)
	if k.MultiRegion {
		k.PrimaryRegion = k.Region
	}
	if in.Description != nil {
		k.Description = *in.Description
	}
	if in.Origin == kmsapi.OriginTypeExternal {
		k.State, k.ImportSalt = kmsapi.KeyStatePendingImport, newSalt()
	}
	if err := addTags(k.Tags, in.Tags); err != nil {
		return nil, err
	}
	bypass := in.BypassPolicyLockoutSafetyCheck != nil && *in.BypassPolicyLockoutSafetyCheck
	text := defaultPolicy(k.Account)
	if in.Policy != nil {
		text = *in.Policy
	}
	if err := s.setPolicy(ctx, k, text, bypass || in.Policy == nil); err != nil {
		return nil, err
	}
	return k, s.roomForKey(ctx, k.Region, k.Account)
}

// putNewKey stores a key that CreateKey has made.
func (s *Service) putNewKey(ctx context.Context, tx *store.Tx, k *keyRow) error {
	if k.MultiRegion && s.cfg.LinkedRole != nil {
		if err := s.cfg.LinkedRole(tx.Context(ctx), MultiRegionPrincipal); err != nil {
			return err
		}
	}
	if k.external() {
		if _, err := claimable(ctx, tx, k.KeyStore, &k.XksKeyID); err != nil {
			return err
		}
	}
	tx.Bump(epoch(k.Region, k.ID))
	if err := s.countKey(tx, k); err != nil {
		return err
	}
	return keys.Put(tx, *k, k.Region, k.ID)
}

// metadata renders a key.
func metadata(k *keyRow) *kmsapi.KeyMetadata {
	m := &kmsapi.KeyMetadata{
		AWSAccountId: new(k.Account), KeyId: k.ID, Arn: new(k.arn()), CreationDate: new(k.Created),
		Enabled: new(k.State == kmsapi.KeyStateEnabled), Description: new(k.Description), KeyUsage: k.Usage, KeyState: k.State,
		Origin: k.Origin, KeyManager: k.Manager, KeySpec: k.Spec, MultiRegion: new(k.MultiRegion),
	}
	m.CustomerMasterKeySpec = kmsapi.CustomerMasterKeySpec(k.Spec)
	algorithmsOf(k, m)
	if k.State == kmsapi.KeyStatePendingDeletion {
		m.DeletionDate = new(k.DeletionDate)
	}
	if k.MultiRegion {
		m.MultiRegionConfiguration = k.configuration()
	}
	if k.State == kmsapi.KeyStatePendingReplicaDeletion {
		m.PendingDeletionWindowInDays = new(k.WindowDays)
	}
	if k.Origin == kmsapi.OriginTypeExternal {
		expiration(k, m)
	}
	if k.external() {
		m.CustomKeyStoreId, m.XksKeyConfiguration = new(k.KeyStore), &kmsapi.XksKeyConfigurationType{Id: new(k.XksKeyID)}
	} else if c := k.current(); c != nil && k.Spec == kmsapi.KeySpecSymmetricDefault {
		m.CurrentKeyMaterialId = new(c.ID)
	}
	return m
}

// DescribeKey returns a key's metadata, in every state.
func (s *Service) DescribeKey(ctx context.Context, in *kmsapi.DescribeKeyInput) (*kmsapi.DescribeKeyOutput, error) {
	k, _, err := s.resolve(ctx, in.KeyId, byAlias)
	if err != nil {
		return nil, err
	}
	return &kmsapi.DescribeKeyOutput{KeyMetadata: metadata(&k.keyRow)}, nil
}

// ListKeys lists the caller's keys in the region, in no particular order.
func (s *Service) ListKeys(ctx context.Context, in *kmsapi.ListKeysInput) (*kmsapi.ListKeysOutput, error) {
	call := identity.From(ctx)
	p, err := s.page(ctx, "ListKeys", "", in.Limit, in.Marker, 1000, 100)
	if err != nil {
		return nil, err
	}
	out := &kmsapi.ListKeysOutput{Keys: []kmsapi.KeyListEntry{}}
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		rows, err := keys.PageByIndex(tx, "account", store.Key{call.Region, call.Caller.Account}, p.options)
		if err != nil {
			return err
		}
		for _, k := range rows.Values {
			out.Keys = append(out.Keys, kmsapi.KeyListEntry{KeyId: new(k.ID), KeyArn: new(k.arn())})
		}
		out.NextMarker, out.Truncated, err = p.next(rows.Next)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// respondKey sets the responseElements that AWS writes for changes without output.
func respondKey(ctx context.Context, k *keyRow) {
	audit.From(ctx).SetResponse(map[string]string{"keyId": k.arn()})
}

// EnableKey makes a disabled key usable again.
func (s *Service) EnableKey(ctx context.Context, in *kmsapi.EnableKeyInput) (*schemaNothing, error) {
	return nil, s.setState(ctx, in.KeyId, kmsapi.KeyStateEnabled)
}

// DisableKey makes a key unusable: no request that starts after the answer uses it.
func (s *Service) DisableKey(ctx context.Context, in *kmsapi.DisableKeyInput) (*schemaNothing, error) {
	return nil, s.setState(ctx, in.KeyId, kmsapi.KeyStateDisabled)
}

func (s *Service) setState(ctx context.Context, id string, state kmsapi.KeyState) error {
	return s.update(ctx, id, func(_ *store.Tx, k *keyRow) error {
		if err := customerManaged(k); err != nil {
			return err
		}
		if err := switchable(k); err != nil {
			return err
		}
		k.State = state
		respondKey(ctx, k)
		return nil
	})
}

// customerManaged refuses changes of AWS managed keys, which belong to a service.
func customerManaged(k *keyRow) error {
	if k.Manager == kmsapi.KeyManagerTypeAws {
		e := kmsapi.AccessDeniedException("%s is an AWS managed key: it can be viewed and used through its service, not changed.", k.arn())
		e.AuditCode = "AccessDenied"
		return e
	}
	return nil
}

func scheduleCall(in *kmsapi.ScheduleKeyDeletionInput) call {
	return call{key: &in.KeyId, unused: true, set: daysCondition("kms:ScheduleKeyDeletionPendingWindowInDays", in.PendingWindowInDays, defaultWindow)}
}

// ScheduleKeyDeletion moves a key to PendingDeletion and returns the UTC
// instant after which its material is erased. The window is 7–30 days, 30 when
// nil. Grants are kept, in case the deletion is cancelled. A multi-Region primary
// key with replicas waits for their deletion in PendingReplicaDeletion first.
//
// Errors: NotFoundException; KMSInvalidStateException when deletion is already
// pending; ValidationException for a window out of range.
//
// Source: AWS KMS API Reference, ScheduleKeyDeletion.
func (s *Service) ScheduleKeyDeletion(ctx context.Context, in *kmsapi.ScheduleKeyDeletionInput) (*kmsapi.ScheduleKeyDeletionOutput, error) {
	window := int32(defaultWindow)
	if in.PendingWindowInDays != nil {
		window = *in.PendingWindowInDays
	}
	if window < minWindow || window > maxWindow {
		return nil, kmsapi.ValidationException("PendingWindowInDays must be between %d and %d", minWindow, maxWindow)
	}
	var out *kmsapi.ScheduleKeyDeletionOutput
	err := s.update(ctx, in.KeyId, func(_ *store.Tx, k *keyRow) error {
		if err := customerManaged(k); err != nil {
			return err
		}
		if err := deletable(k); err != nil {
			return err
		}
		out = &kmsapi.ScheduleKeyDeletionOutput{KeyId: new(k.arn()), PendingWindowInDays: new(window)}
		k.WindowDays = window
		if k.MultiRegion && !k.replica() && len(k.Replicas) > 0 {
			k.State = kmsapi.KeyStatePendingReplicaDeletion // the window begins when the last replica is gone
		} else {
			k.State, k.DeletionDate = kmsapi.KeyStatePendingDeletion, s.timestamp().Add(days(window))
			out.DeletionDate = new(k.DeletionDate)
		}
		out.KeyState = k.State
		protocol.Respond(ctx, kmsapi.ScheduleKeyDeletion, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// CancelKeyDeletion moves a key from PendingDeletion or PendingReplicaDeletion to
// Disabled, or to PendingImport while it lacks imported material.
func (s *Service) CancelKeyDeletion(ctx context.Context, in *kmsapi.CancelKeyDeletionInput) (*kmsapi.CancelKeyDeletionOutput, error) {
	var out *kmsapi.CancelKeyDeletionOutput
	err := s.update(ctx, in.KeyId, func(_ *store.Tx, k *keyRow) error {
		if k.State != kmsapi.KeyStatePendingDeletion && k.State != kmsapi.KeyStatePendingReplicaDeletion {
			return kmsapi.KMSInvalidStateException("%s is not pending deletion.", k.arn())
		}
		k.State, k.DeletionDate, k.WindowDays = kmsapi.KeyStateDisabled, time.Time{}, 0
		if k.Origin == kmsapi.OriginTypeExternal && !k.complete() {
			k.State = kmsapi.KeyStatePendingImport
		}
		out = &kmsapi.CancelKeyDeletionOutput{KeyId: new(k.arn())}
		protocol.Respond(ctx, kmsapi.CancelKeyDeletion, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// UpdateKeyDescription replaces a key's description.
func (s *Service) UpdateKeyDescription(ctx context.Context, in *kmsapi.UpdateKeyDescriptionInput) (*schemaNothing, error) {
	return nil, s.update(ctx, in.KeyId, func(_ *store.Tx, k *keyRow) error {
		if err := customerManaged(k); err != nil {
			return err
		}
		if err := kept(k); err != nil {
			return err
		}
		k.Description = in.Description
		respondKey(ctx, k)
		return nil
	})
}

// isNotFound reports whether a row is missing.
func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
