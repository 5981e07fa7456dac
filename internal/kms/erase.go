package kms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/store"
)

// tombstone remains of an erased key, so that its id is never given again.
type tombstone struct {
	ID, Account, Region string
	Erased              time.Time
}

var tombstones = store.Hashed[tombstone]("kms.tombstone")

// rewrapBatch bounds the keys that one transaction rewraps.
const rewrapBatch = 200

// eraseRested is eraseDue unless the last erasure was too long, too short ago.
func (s *Service) eraseRested(ctx context.Context) error {
	s.erasing.Lock()
	defer s.erasing.Unlock()
	if time.Now().Before(s.rested) {
		return nil
	}
	start := time.Now()
	worked, err := s.erase(ctx)
	if worked {
		end := time.Now()
		s.rested = end.Add(min(eraseRest*end.Sub(start), maxEraseRest))
	}
	return err
}

// eraseDue erases every key whose deletion date has passed, and the imported
// material that was deleted since the last erasure: a new deletion epoch, the rows
// erased, the survivors rewrapped, the old epoch destroyed, the files compacted.
// Interrupted anywhere, the next call carries on: it ends the erasure
// under way before it begins one for what is due, for what an unfinished erasure
// has rewrapped lies under an epoch that stays.
func (s *Service) eraseDue(ctx context.Context) error {
	s.erasing.Lock()
	defer s.erasing.Unlock()
	_, err := s.erase(ctx)
	return err
}

// erase is eraseDue for who holds s.erasing. It reports whether there was anything
// to erase, also when that failed.
func (s *Service) erase(ctx context.Context) (worked bool, err error) {
	carriedOn := s.cfg.Epochs.InErasure()
	if carriedOn {
		if err := s.endErasure(ctx); err != nil {
			return true, err
		}
	}
	due, err := s.dueForDeletion(ctx)
	if err != nil {
		return carriedOn, err
	}
	queued, err := s.queuedErasures(ctx)
	if err != nil {
		return carriedOn, err
	}
	if len(due)+len(queued) > 0 {
		if err := s.beginErasure(); err != nil {
			return true, err
		}
		for _, related := range together(due) {
			if err := s.eraseRows(ctx, related); err != nil {
				return true, fmt.Errorf("erase key %s: %w", related[0].ID, err)
			}
		}
		if err := s.endErasure(ctx); err != nil {
			return true, err
		}
		if err := s.strikeErasures(ctx, queued); err != nil {
			return true, err
		}
	}
	if !carriedOn && len(due)+len(queued) == 0 {
		return false, nil
	}
	return true, s.cfg.Store.Compact(ctx)
}

// beginErasure makes the new epoch when no commit is under way that holds
// material of the old one.
func (s *Service) beginErasure() error {
	s.wrapping.Lock()
	defer s.wrapping.Unlock()
	return s.cfg.Epochs.Begin()
}

func (s *Service) endErasure(ctx context.Context) error {
	if err := s.rewrapAll(ctx); err != nil {
		return err
	}
	if err := s.rewrapImports(ctx); err != nil {
		return err
	}
	return s.cfg.Epochs.Finish()
}

func (s *Service) dueForDeletion(ctx context.Context) ([]keyRow, error) {
	var due []keyRow
	now := s.cfg.Now()
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		due = nil
		for row, err := range keys.ByIndex(tx, "due", store.Key{"due"}, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			if !row.Value.DeletionDate.After(now) {
				due = append(due, row.Value)
			}
		}
		return nil
	})
	return due, err
}

// rewrapAll puts every backing key under the newest epoch.
func (s *Service) rewrapAll(ctx context.Context) error {
	var after []byte
	for {
		var page store.Page[keyRow]
		err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
			var err error
			page, err = keys.Page(tx, nil, store.ScanOptions{After: after, Limit: rewrapBatch})
			return err
		})
		if err != nil {
			return fmt.Errorf("read keys: %w", err)
		}
		if err := s.rewrap(ctx, page.Values); err != nil {
			return fmt.Errorf("rewrap keys: %w", err)
		}
		if after = page.Next; after == nil {
			return nil
		}
	}
}

func (s *Service) rewrap(ctx context.Context, rows []keyRow) error {
	return s.cfg.Store.Update(store.WithPending(ctx, nil), func(tx *store.Tx) error {
		for _, r := range rows {
			k, err := keys.Get(tx, r.Region, r.ID)
			if isNotFound(err) {
				continue
			}
			if err != nil {
				return err
			}
			changed := false
			for m := range k.versions() {
				if m.Wrapped == nil || s.cfg.Epochs.Current(m.Wrapped) {
					continue
				}
				hbk, err := s.cfg.Epochs.Unwrap(k.aad(m.ID), m.Wrapped)
				if errors.Is(err, envelope.ErrErased) {
					continue // of rows older than an erasure; it must not keep others' keys from being erased
				}
				if err != nil {
					return fmt.Errorf("key %s, material %s: %w", k.arn(), m.ID, err)
				}
				m.Wrapped, changed = s.cfg.Epochs.Wrap(k.aad(m.ID), hbk), true
				hbk.Erase()
			}
			if !changed {
				continue
			}
			tx.Bump(epoch(k.Region, k.ID))
			if err := keys.Put(tx, k, k.Region, k.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// An erasure rewraps every key and rewrites the store's files, whoever asked for
// it. The maintenance rests between two of them for eraseRest times as long as the
// last one took, so that at most a twentieth of the machine goes into them, but
// for maxEraseRest at most: with the interval of ten minutes at which the server
// maintains, what is due is erased within an hour.
const (
	eraseRest    = 20
	maxEraseRest = 50 * time.Minute
)

// erasureRow is imported material that is deleted but that an older copy of the
// rows still holds under the present deletion epoch.
type erasureRow struct {
	ID, Region, KeyID, MaterialID string
}

var erasures = store.Hashed[erasureRow]("kms.erasure")

// queuedErasures returns what waits for an erasure.
func (s *Service) queuedErasures(ctx context.Context) (queued []erasureRow, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
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
		err := s.cfg.Store.Update(store.WithPending(ctx, nil), func(tx *store.Tx) error {
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
