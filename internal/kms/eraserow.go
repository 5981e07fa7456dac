package kms

import (
	"context"
	"slices"
	"strings"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/store"
)

// maxErasedGrants bounds the grants that one commit deletes for several related keys.
const maxErasedGrants = 1000

// together groups keys by what one commit erases: related ones go together, since
// each commit that takes some of them away writes all that stay.
func together(due []keyRow) (groups [][]keyRow) {
	slices.SortStableFunc(due, func(a, b keyRow) int { return strings.Compare(a.ID, b.ID) })
	grants := 0
	for i := range due {
		if grants += due[i].GrantCount; i > 0 && due[i].ID == due[i-1].ID && grants <= maxErasedGrants {
			last := &groups[len(groups)-1]
			*last = append(*last, due[i])
			continue
		}
		grants = due[i].GrantCount
		groups = append(groups, due[i:i+1:i+1])
	}
	return groups
}

// eraseRows replaces the rows of related keys by tombstones and records DeleteKey.
func (s *Service) eraseRows(ctx context.Context, related []keyRow) error {
	p := audit.NewPending()
	var changed *keySet
	defer func() {
		for i := range related {
			s.forget(related[i].Region, related[i].ID)
		}
		s.forgetSet(changed)
	}()
	return s.cfg.Store.Update(store.WithPending(ctx, p), func(tx *store.Tx) error {
		set, err := readAny(tx, related)
		if err != nil || set == nil {
			return err
		}
		due := func(k *keyRow) bool { // unless it was cancelled meanwhile
			return k.State == kmsapi.KeyStatePendingDeletion && !k.DeletionDate.After(s.cfg.Now()) &&
				slices.ContainsFunc(related, func(r keyRow) bool { return r.Region == k.Region })
		}
		gone := slices.DeleteFunc(slices.Collect(set.all()), func(k *keyRow) bool { return !due(k) })
		if len(gone) == 0 {
			return nil
		}
		if err := s.leave(tx, set, gone); err != nil {
			return err
		}
		changed = set
		for _, k := range gone {
			p.AddEvent(s.event("DeleteKey", k))
			if err := s.dropKey(tx, k); err != nil {
				return err
			}
		}
		return nil
	})
}

// readAny reads the set of the first of related keys that is there, nil when none is.
func readAny(tx *store.Tx, related []keyRow) (*keySet, error) {
	for i := range related {
		set, err := readSet(tx, related[i].Region, related[i].ID)
		if !isNotFound(err) {
			return set, err
		}
	}
	return nil, nil
}

// dropKey replaces what is stored of a key by a tombstone.
func (s *Service) dropKey(tx *store.Tx, k *keyRow) error {
	for row, err := range aliases.ByIndex(tx, "key", store.Key{k.Region, k.ID}, store.ScanOptions{}) {
		if err != nil {
			return err
		}
		if err := aliases.Delete(tx, row.Value.Region, row.Value.Account, row.Value.Name); err != nil {
			return err
		}
	}
	if err := dropImports(tx, k); err != nil {
		return err
	}
	for row, err := range grants.Scan(tx, store.Key{k.Region, k.ID}, store.ScanOptions{}) {
		if err != nil {
			return err
		}
		if err := grants.Delete(tx, k.Region, k.ID, row.Value.ID); err != nil {
			return err
		}
	}
	if err := useRows.Delete(tx, k.Region, k.ID); err != nil {
		return err
	}
	if err := uncountKey(tx, k); err != nil {
		return err
	}
	tx.Bump(epoch(k.Region, k.ID))
	if err := tombstones.Put(tx, tombstone{ID: k.ID, Account: k.Account, Region: k.Region, Erased: s.timestamp()}, k.Region, k.ID); err != nil {
		return err
	}
	return keys.Delete(tx, k.Region, k.ID)
}
