package kms

import (
	"context"
	"errors"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/store"
)

// update changes one key in one commit: fn works on the row as it is in the
// transaction.
func (s *Service) update(ctx context.Context, id string, fn func(tx *store.Tx, k *keyRow) error) error {
	ref, err := s.refOf(ctx, id)
	if err != nil {
		return err
	}
	defer s.forget(ref.region, ref.id)
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		k, err := keys.Get(tx, ref.region, ref.id)
		if errors.Is(err, store.ErrNotFound) {
			return kmsapi.NotFoundException("Key '%s' does not exist", keyARN(ref.region, ref.account, ref.id))
		}
		if err != nil {
			return err
		}
		if err := fn(tx, &k); err != nil {
			return err
		}
		tx.Bump(epoch(ref.region, ref.id))
		return keys.Put(tx, k, ref.region, ref.id)
	})
}

// refOf resolves a KeyId once more for the method; the resolver has accepted it.
func (s *Service) refOf(ctx context.Context, text string) (keyRef, error) {
	k, ref, err := s.resolve(ctx, text, byKey)
	if err != nil {
		return ref, err
	}
	ref.id, ref.account = k.ID, k.Account
	return ref, nil
}

// updateSet is update for a change of what the keys of a set share.
func (s *Service) updateSet(ctx context.Context, id string, fn func(tx *store.Tx, set *keySet) error) error {
	ref, err := s.refOf(ctx, id)
	if err != nil {
		return err
	}
	var changed *keySet
	defer func() { s.forgetSet(changed) }()
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		set, err := readSet(tx, ref.region, ref.id)
		if isNotFound(err) {
			return kmsapi.NotFoundException("Key '%s' does not exist", keyARN(ref.region, ref.account, ref.id))
		}
		if err != nil {
			return err
		}
		changed = set
		if err := fn(tx, set); err != nil {
			return err
		}
		return set.put(tx)
	})
}
