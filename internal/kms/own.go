package kms

import (
	"context"
	"fmt"
	"slices"

	"github.com/sagekeep/sagekeep/internal/store"
)

// ownPage bounds the keys that one transaction of NamesOwnKey reads.
const ownPage = 500

// NamesOwnKey reports whether a ciphertext names a key of this store, in any
// account, Region and state: a ciphertext names the id of its key alone, which
// multi-Region keys share and keys in external key stores have like others. It
// does not open the ciphertext, and what is none of ours names no key of ours.
//
// When the ciphertext is of our form every key is read, up to the one that it
// names: this is for calls that are rare.
func (s *Service) NamesOwnKey(ctx context.Context, ciphertext []byte) (bool, error) {
	b, err := parseBlob(ciphertext)
	if err != nil {
		return false, nil //nolint:nilerr // another KMS has made it
	}
	var after []byte
	for {
		var page store.Page[keyRow]
		err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
			var err error
			page, err = keys.Page(tx, nil, store.ScanOptions{After: after, Limit: ownPage})
			return err
		})
		if err != nil {
			return false, fmt.Errorf("kms: read keys: %w", err)
		}
		if slices.ContainsFunc(page.Values, func(k keyRow) bool { return k.ID == b.keyID }) {
			return true, nil
		}
		if after = page.Next; after == nil {
			return false, nil
		}
	}
}
