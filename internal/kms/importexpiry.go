package kms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/store"
)

// Keys change by themselves when imported material expires, and when a replica is
// made or the primary has moved. Whoever meets such a key makes the change, in a
// commit with its record: a request before it sees the key, or the maintenance.

// erasureRow is imported material that is deleted but that an older copy of the
// rows still holds under the present deletion epoch.
type erasureRow struct {
	ID, Region, KeyID, MaterialID string
}

var erasures = store.Hashed[erasureRow]("kms.erasure")

// turns is the next instant at which the key changes by itself; zero is never.
func (k *keyRow) turns() time.Time {
	at := k.Settles
	for _, m := range k.Materials {
		at = earlier(at, m.ValidTo)
	}
	if k.Pending != nil {
		at = earlier(at, k.Pending.ValidTo)
	}
	return at
}

// earlier is the first of two instants, where zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// turned reports whether the key should have changed by itself.
func (k *keyRow) turned(now time.Time) bool {
	at := k.turns()
	return !at.IsZero() && !now.Before(at)
}

// due is turned for a key in the cache.
func (s *Service) due(k *keyState) bool { return !k.turn.IsZero() && !s.Now().Before(k.turn) }

// turn makes the changes that are due.
func (s *Service) turn(ctx context.Context, region, id string) error {
	p := audit.NewPending()
	now := s.Now()
	var changed *keySet
	err := s.Store.Update(store.WithPending(ctx, p), func(tx *store.Tx) error {
		set, err := readSet(tx, region, id)
		if isNotFound(err) {
			return nil
		}
		if err != nil || !set.turned(now) {
			return err
		}
		changed = set
		s.settle(p, set, now)
		if err := s.expire(tx, p, set, now); err != nil {
			return err
		}
		return set.put(tx)
	})
	s.forgetSet(changed)
	if err != nil {
		return fmt.Errorf("kms: change key %s: %w", id, err)
	}
	return nil
}

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
	if m.Wrapped == nil {
		return nil
	}
	m.Wrapped, m.Private, m.Public, m.ValidTo = nil, nil, nil, time.Time{}
	e := erasureRow{ID: newHexID(), Region: k.Region, KeyID: k.ID, MaterialID: m.ID}
	return erasures.Put(tx, e, e.Region, e.KeyID, e.ID)
}

// queuedErasures returns what waits for an erasure.
func (s *Service) queuedErasures(ctx context.Context) (queued []erasureRow, err error) {
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		queued = nil
		for row, err := range erasures.Scan(tx, nil, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			queued = append(queued, row.Value)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read erasures: %w", err)
	}
	return queued, nil
}

// strikeErasures drops what has been erased.
func (s *Service) strikeErasures(ctx context.Context, done []erasureRow) error {
	for batch := range slices.Chunk(done, rewrapBatch) {
		err := s.Store.Update(store.WithPending(ctx, nil), func(tx *store.Tx) error {
			for _, e := range batch {
				if err := erasures.Delete(tx, e.Region, e.KeyID, e.ID); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("strike erasures: %w", err)
		}
	}
	return nil
}

// turnDue makes the changes that are due in any key.
func (s *Service) turnDue(ctx context.Context) error {
	var due []keyRow
	now := s.Now()
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		due = nil
		for row, err := range keys.ByIndex(tx, "turning", store.Key{"turning"}, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			if row.Value.turned(now) {
				due = append(due, row.Value)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read keys that change: %w", err)
	}
	var failed error
	for _, k := range due { // one key's trouble keeps no other one from changing
		failed = errors.Join(failed, s.turn(ctx, k.Region, k.ID))
	}
	return failed
}
