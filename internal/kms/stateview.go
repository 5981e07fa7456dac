package kms

import (
	"context"
	"fmt"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/store"
)

// StateAt returns the state that DescribeKey would show of a key at an instant: a
// row keeps its former state until somebody meets the key, see keyRow.turns. Of a
// key in an external key store it looks at the connection as it is now. It is for
// the operator: nobody is asked, and nothing is written.
//
// Errors: NotFoundException.
func (s *Service) StateAt(ctx context.Context, region, id string, at time.Time) (kmsapi.KeyState, error) {
	k := &cachedKey{}
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		k.keyRow, err = keys.Get(tx, region, id)
		return err
	})
	if isNotFound(err) {
		return "", kmsapi.NotFoundException("Key '%s' does not exist", id)
	}
	if err == nil {
		s.settle(audit.NewPending(), &keySet{keyRow: &k.keyRow}, at)
		k.lapse(at)
		if err = s.joinStore(ctx, k); err == nil && s.lacksEpoch(&k.keyRow) {
			s.lose(&k.keyRow)
		}
	}
	if err != nil {
		return "", fmt.Errorf("kms: read the state of key %s: %w", id, err)
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
