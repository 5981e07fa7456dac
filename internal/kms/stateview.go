package kms

import (
	"context"
	"fmt"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
)

// shownState returns the state that DescribeKey would show of a key now: a row keeps
// its former state until somebody meets the key, see keyRow.nextChange. Nothing is
// written. The row is the caller's own copy and of no use afterwards.
func (s *Service) shownState(ctx context.Context, row *keyRow) (kmsapi.KeyState, error) {
	k := &cachedKey{keyRow: *row}
	now := s.cfg.Now()
	s.settle(audit.NewPending(), &keySet{keyRow: &k.keyRow}, now)
	k.lapse(now)
	if err := s.joinStore(ctx, k); err != nil {
		return "", fmt.Errorf("kms: read the state of key %s: %w", k.ID, err)
	}
	if s.lacksEpoch(&k.keyRow) {
		s.lose(&k.keyRow)
	}
	return k.State, nil
}

// lapse sets the state that expire leaves behind.
func (k *keyRow) lapse(at time.Time) {
	if k.State == kmsapi.KeyStatePendingDeletion || k.State == kmsapi.KeyStatePendingReplicaDeletion {
		return
	}
	for i := range k.Materials {
		if end := k.Materials[i].ValidTo; !end.IsZero() && !at.Before(end) {
			k.State = kmsapi.KeyStatePendingImport
		}
	}
}
