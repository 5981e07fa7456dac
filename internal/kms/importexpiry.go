package kms

import (
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/store"
)

// expire deletes the imported material whose time has passed.
func (s *Service) expire(tx *store.Tx, p *audit.Pending, set *keySet, now time.Time) error {
	past := func(m *materialRow) bool { return !m.ValidTo.IsZero() && !now.Before(m.ValidTo) }
	var ids []string
	for i := range set.Materials {
		if past(&set.Materials[i]) {
			ids = append(ids, set.Materials[i].ID)
		}
	}
	if set.Pending != nil && past(set.Pending) {
		ids = append(ids, set.Pending.ID)
	}
	for _, id := range ids {
		e := s.event("DeleteExpiredKeyMaterial", set.keyRow)
		if set.Spec == kmsapi.KeySpecSymmetricDefault {
			e.Details["keyMaterialId"] = id
		}
		p.AddEvent(e)
		if err := s.deleteMaterial(tx, set, id); err != nil {
			return err
		}
	}
	return nil
}

// deleteMaterial deletes imported material from a key. Material that waits for a
// rotation goes from the replicas too when it goes from the primary.
func (s *Service) deleteMaterial(tx *store.Tx, set *keySet, id string) error {
	if set.Pending != nil && set.Pending.ID == id {
		if set.replica() {
			err := s.discard(tx, set.keyRow, set.Pending)
			set.findLacking()
			return err
		}
		for k := range set.all() {
			if k.Pending == nil {
				continue
			}
			if err := s.discard(tx, k, k.Pending); err != nil {
				return err
			}
			k.Pending, k.Lacking = nil, nil
		}
		return nil
	}
	m := set.material(id)
	if m == nil {
		return nil
	}
	switch set.State {
	case kmsapi.KeyStatePendingDeletion, kmsapi.KeyStatePendingReplicaDeletion:
	default:
		set.State, set.Settles, set.SettlesTo = kmsapi.KeyStatePendingImport, time.Time{}, ""
	}
	return s.discard(tx, set.keyRow, m)
}

// discard takes material out of its version and queues the erasure of its copies.
func (s *Service) discard(tx *store.Tx, k *keyRow, m *materialRow) error {
	m.ValidTo = time.Time{}
	if m.Wrapped == nil {
		return nil
	}
	m.Wrapped, m.Private, m.Public = nil, nil, nil
	e := erasureRow{ID: newHexID(), Region: k.Region, KeyID: k.ID, MaterialID: m.ID}
	return erasures.Put(tx, e, e.Region, e.KeyID, e.ID)
}
