package kms

import (
	"context"
	"errors"
	"fmt"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/store"
)

// Keys change by themselves when imported material expires, and when a replica is
// made or the primary has moved. Whoever meets such a key makes the change, in a
// commit with its record: a request before it sees the key, or the maintenance.

// nextChange is the next instant at which the key changes by itself; zero is never.
func (k *keyRow) nextChange() time.Time {
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

// changeDue reports whether the key should have changed by itself.
func (k *keyRow) changeDue(now time.Time) bool {
	at := k.nextChange()
	return !at.IsZero() && !now.Before(at)
}

// mustChange is changeDue for a key in the cache.
func (s *Service) mustChange(k *cachedKey) bool {
	return !k.changes.IsZero() && !s.cfg.Now().Before(k.changes)
}

// applyChanges makes the changes that are due.
func (s *Service) applyChanges(ctx context.Context, region, id string) error {
	p := audit.NewPending()
	now := s.cfg.Now()
	var changed *keySet
	err := s.cfg.Store.Update(store.WithPending(ctx, p), func(tx *store.Tx) error {
		set, err := readSet(tx, region, id)
		if isNotFound(err) {
			return nil
		}
		if err != nil || !set.changeDue(now) {
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

// applyDueChanges makes the changes that are due in any key.
func (s *Service) applyDueChanges(ctx context.Context) error {
	var due []keyRow
	now := s.cfg.Now()
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		due = nil
		for row, err := range keys.ByIndex(tx, "turning", store.Key{"turning"}, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			if row.Value.changeDue(now) {
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
		failed = errors.Join(failed, s.applyChanges(ctx, k.Region, k.ID))
	}
	return failed
}

// settling is how long a new replica is Creating and a moved primary Updating.
// AWS takes a few seconds.
const settling = time.Second

// settle ends the states Creating and Updating.
func (s *Service) settle(p *audit.Pending, set *keySet, now time.Time) {
	if set.Settles.IsZero() || now.Before(set.Settles) {
		return
	}
	if set.State == kmsapi.KeyStateCreating || set.State == kmsapi.KeyStateUpdating {
		set.State = set.SettlesTo
		s.synchronized(p, set)
	}
	set.Settles, set.SettlesTo = time.Time{}, ""
}
