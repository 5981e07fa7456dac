package kms

import (
	"context"
	"log/slog"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/store"
)

// One deletion epoch wraps the material of all keys, and an erasure destroys it.
// Rows that were copied before an erasure and brought back after it therefore hold
// material that nothing opens, erased or not. Keys tell so: those with imported
// material are PendingImport, as if it had been deleted, for the same material
// imported again makes them whole; others are Unavailable.

// materialErased answers what needs material whose deletion epoch is gone.
func materialErased(k *keyRow) error {
	return kmsapi.KMSInvalidStateException("%s is unavailable: its key material has been erased.", k.arn()).Because(envelope.ErrErased)
}

// lacksEpoch reports whether material of the key lies under a deletion epoch that
// is gone. An erasure may have wrapped it anew since k was read.
func (s *Service) lacksEpoch(k *keyRow) bool {
	for m := range k.versions() {
		if m.Wrapped != nil && s.cfg.Epochs.Erased(m.Wrapped) {
			return true
		}
	}
	return false
}

// lose gives a key, as it was read, the state of one that lacksEpoch. The stored
// row stays: with the epoch of its time it opens again.
func (s *Service) lose(k *keyRow) {
	if kept(k) != nil {
		return
	}
	if k.Origin != kmsapi.OriginTypeExternal {
		k.State, k.erased = kmsapi.KeyStateUnavailable, true
		return
	}
	k.State = kmsapi.KeyStatePendingImport
	for m := range k.versions() {
		if m.Wrapped != nil && s.cfg.Epochs.Erased(m.Wrapped) {
			m.Wrapped = nil
		}
	}
}

// erasedSample is the number of keys that a start looks at: their stored names are
// hashes, so that the first of them are as good as any.
const erasedSample = 1000

// warnErased tells the operator when the rows are older than the last erasure.
func (s *Service) warnErased(ctx context.Context, log *slog.Logger) error {
	var lost, looked int
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		lost, looked = 0, 0
		page, err := keys.Page(tx, nil, store.ScanOptions{Limit: erasedSample})
		for i := range page.Values {
			if looked++; s.lacksEpoch(&page.Values[i]) {
				lost++
			}
		}
		return err
	})
	if err == nil && lost > 0 {
		log.Error("the rows are older than the last erasure of key material: nothing opens the material of these KMS keys, erased or not. "+
			"Bring back rows that were copied after the erasure; imported material can be imported again (see Backups in docs/operations.md)",
			"keys", lost, "looked_at", looked)
	}
	return err
}
