package kms

import (
	"context"
	"errors"
	"fmt"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/store"
)

// Rotation limits.
//
// Source: AWS KMS API Reference, EnableKeyRotation and RotateKeyOnDemand.
const (
	defaultPeriod = 365 // days
	maxOnDemand   = 25
)

// inside refuses keys of external key stores, whose material is not here.
func inside(k *keyRow) error {
	if k.external() {
		return kmsapi.UnsupportedOperationException("%s origin is %s which is not valid for this operation.", k.arn(), k.Origin)
	}
	return nil
}

// rotatable refuses keys whose material cannot rotate.
func rotatable(k *keyRow) error {
	if err := inside(k); err != nil {
		return err
	}
	if k.Spec != kmsapi.KeySpecSymmetricDefault {
		return kmsapi.UnsupportedOperationException("%s key spec is %s which is not valid for this operation.", k.arn(), k.Spec)
	}
	return nil
}

// GetKeyRotationStatus tells whether and when the key rotates: asymmetric and HMAC
// keys never do. A key that waits for its deletion does not; CancelKeyDeletion
// brings back what was.
//
// Source: AWS KMS API Reference, GetKeyRotationStatus.
func (s *Service) GetKeyRotationStatus(ctx context.Context, in *kmsapi.GetKeyRotationStatusInput) (*kmsapi.GetKeyRotationStatusOutput, error) {
	k, _, err := s.resolve(ctx, in.KeyId, byKey)
	if err != nil {
		return nil, err
	}
	if err := inside(&k.keyRow); err != nil {
		return nil, err
	}
	enabled := k.Rotation.Enabled && kept(&k.keyRow) == nil
	out := &kmsapi.GetKeyRotationStatusOutput{KeyId: new(k.arn()), KeyRotationEnabled: &enabled}
	if enabled {
		out.RotationPeriodInDays, out.NextRotationDate = new(k.Rotation.PeriodDays), new(k.Rotation.Next)
	}
	return out, nil
}

func enableRotationCall(in *kmsapi.EnableKeyRotationInput) call {
	return call{key: &in.KeyId, set: daysCondition("kms:RotationPeriodInDays", in.RotationPeriodInDays, defaultPeriod)}
}

// EnableKeyRotation makes the key rotate every RotationPeriodInDays, 365 by default,
// counted from now. That is so for a key that rotates already, too.
//
// Source: AWS KMS API Reference, EnableKeyRotation.
func (s *Service) EnableKeyRotation(ctx context.Context, in *kmsapi.EnableKeyRotationInput) (*schemaNothing, error) {
	return nil, s.updateSet(ctx, in.KeyId, func(_ *store.Tx, k *keySet) error {
		if err := rotatesAlone(k.keyRow); err != nil {
			return err
		}
		period := int32(defaultPeriod)
		if in.RotationPeriodInDays != nil {
			period = *in.RotationPeriodInDays
		}
		k.Rotation.Enabled, k.Rotation.PeriodDays, k.Rotation.Next = true, period, s.timestamp().Add(days(period))
		s.shareRotation(audit.PendingFrom(ctx), k)
		respondKey(ctx, k.keyRow)
		return nil
	})
}

// shareRotation brings the rotation of a primary key to its replicas.
func (s *Service) shareRotation(p *audit.Pending, set *keySet) {
	for _, k := range set.others {
		k.Rotation = set.Rotation
	}
	s.synchronized(p, set)
}

// rotatesAlone is rotates for automatic rotation, which imported material has not.
func rotatesAlone(k *keyRow) error {
	if k.Origin == kmsapi.OriginTypeExternal {
		return kmsapi.UnsupportedOperationException("%s origin is %s which is not valid for this operation.", k.arn(), k.Origin)
	}
	return rotates(k)
}

func rotates(k *keyRow) error {
	if err := customerManaged(k); err != nil {
		return err
	}
	if err := inside(k); err != nil {
		return err
	}
	if err := usable(k); err != nil {
		return err
	}
	if err := rotatable(k); err != nil {
		return err
	}
	return isPrimary(k)
}

// DisableKeyRotation stops the automatic rotation.
func (s *Service) DisableKeyRotation(ctx context.Context, in *kmsapi.DisableKeyRotationInput) (*schemaNothing, error) {
	return nil, s.updateSet(ctx, in.KeyId, func(_ *store.Tx, k *keySet) error {
		if err := rotatesAlone(k.keyRow); err != nil {
			return err
		}
		k.Rotation.Enabled, k.Rotation.PeriodDays, k.Rotation.Next = false, 0, time.Time{}
		s.shareRotation(audit.PendingFrom(ctx), k)
		respondKey(ctx, k.keyRow)
		return nil
	})
}

// RotateKeyOnDemand adds a version of the key material at once, to the replicas of
// a multi-Region primary key too. Older versions go on opening what they sealed.
// Keys with imported material take the material that was imported for it.
//
// Errors: LimitExceededException after 25 rotations on demand;
// KMSInvalidStateException when no imported material waits for a rotation.
func (s *Service) RotateKeyOnDemand(ctx context.Context, in *kmsapi.RotateKeyOnDemandInput) (*kmsapi.RotateKeyOnDemandOutput, error) {
	var out *kmsapi.RotateKeyOnDemandOutput
	fresh := newMaterial{backing: secret.Random()}
	defer fresh.erase()
	s.wrapping.RLock()
	defer s.wrapping.RUnlock()
	err := s.updateSet(ctx, in.KeyId, func(_ *store.Tx, k *keySet) error {
		if err := rotates(k.keyRow); err != nil {
			return err
		}
		if k.Rotation.OnDemand >= maxOnDemand {
			return kmsapi.LimitExceededException("The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: %s", k.arn())
		}
		k.Rotation.OnDemand++
		former := k.currentID()
		if k.Origin == kmsapi.OriginTypeExternal {
			if err := s.rotateImported(k); err != nil {
				return err
			}
		} else if err := s.addSharedMaterial(k, kmsapi.RotationTypeOnDemand, &fresh); err != nil {
			return err
		}
		audit.PendingFrom(ctx).AddEvent(s.rotated(k.keyRow, kmsapi.RotationTypeOnDemand, former))
		s.shareRotation(audit.PendingFrom(ctx), k)
		out = &kmsapi.RotateKeyOnDemandOutput{KeyId: new(k.arn())}
		protocol.Respond(ctx, kmsapi.RotateKeyOnDemand, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// rotated is the record of a rotation. former is the id of the material before.
//
// Source: AWS KMS Developer Guide, "RotateKey" in "Examples of AWS KMS log entries";
// AWS CloudTrail User Guide, "AWS service events".
func (s *Service) rotated(k *keyRow, why kmsapi.RotationType, former string) audit.Event {
	e := s.event("RotateKey", k)
	e.Details["rotationType"], e.Details["keyOrigin"] = string(why), string(k.Origin)
	e.Details["previousKeyMaterialId"], e.Details["currentKeyMaterialId"] = former, k.currentID()
	return e
}

// ListKeyRotations lists the completed rotations of a key, oldest first, and
// with IncludeKeyMaterial the first material too.
func (s *Service) ListKeyRotations(ctx context.Context, in *kmsapi.ListKeyRotationsInput) (*kmsapi.ListKeyRotationsOutput, error) {
	k, _, err := s.resolve(ctx, in.KeyId, byKey)
	if err != nil {
		return nil, err
	}
	if err := rotatable(&k.keyRow); err != nil {
		return nil, err
	}
	p, err := s.page(ctx, "ListKeyRotations", k.ID+" "+string(in.IncludeKeyMaterial), in.Limit, in.Marker, 1000, 100)
	if err != nil {
		return nil, err
	}
	out := &kmsapi.ListKeyRotationsOutput{Rotations: []kmsapi.RotationsListEntry{}}
	skipping := p.options.After != nil
	var last []byte
	for m, state := range k.versions() {
		if skipping {
			skipping = m.ID != string(p.options.After)
			continue
		}
		if m.Rotation == "" && in.IncludeKeyMaterial != kmsapi.IncludeKeyMaterialAllKeyMaterial {
			continue
		}
		if len(out.Rotations) == p.options.Limit {
			last = []byte(*out.Rotations[len(out.Rotations)-1].KeyMaterialId)
			break
		}
		e := kmsapi.RotationsListEntry{KeyId: new(k.arn()), KeyMaterialId: new(m.ID), KeyMaterialState: state, RotationType: m.Rotation}
		if m.Rotation != "" {
			e.RotationDate = new(m.Created)
		}
		if k.Origin == kmsapi.OriginTypeExternal {
			importEntry(m, &e)
		}
		out.Rotations = append(out.Rotations, e)
	}
	out.NextMarker, out.Truncated, err = p.next(last)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// rotateDue adds material to the keys whose rotation date has passed.
func (s *Service) rotateDue(ctx context.Context) error {
	var due []keyRow
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		due = nil
		for row, err := range keys.ByIndex(tx, "rotating", store.Key{"rotating"}, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			if k := row.Value; rotationDue(&k, s.cfg.Now()) {
				due = append(due, k)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read rotating keys: %w", err)
	}
	var failed error
	for _, k := range due { // one key's trouble keeps no other one from rotating
		if err := s.rotate(ctx, k); err != nil {
			failed = errors.Join(failed, fmt.Errorf("rotate key %s: %w", k.ID, err))
		}
	}
	return failed
}

func (s *Service) rotate(ctx context.Context, k keyRow) error {
	p := audit.NewPending()
	fresh := newMaterial{backing: secret.Random()}
	defer fresh.erase()
	s.wrapping.RLock()
	defer s.wrapping.RUnlock()
	return s.cfg.Store.Update(store.WithPending(ctx, p), func(tx *store.Tx) error {
		now, err := readSet(tx, k.Region, k.ID)
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if !rotationDue(now.keyRow, s.cfg.Now()) {
			return nil
		}
		former := now.currentID()
		if err := s.addSharedMaterial(now, kmsapi.RotationTypeAutomatic, &fresh); err != nil {
			return err
		}
		p.AddEvent(s.rotated(now.keyRow, kmsapi.RotationTypeAutomatic, former))
		now.Rotation.Next = s.timestamp().Add(days(now.Rotation.PeriodDays))
		s.shareRotation(p, now)
		return now.put(tx)
	})
}

// rotationDue reports whether a key rotates now. The primary key rotates for its
// replicas.
func rotationDue(k *keyRow, now time.Time) bool {
	return k.Rotation.Enabled && k.State == kmsapi.KeyStateEnabled && !k.replica() && !k.Rotation.Next.After(now)
}
