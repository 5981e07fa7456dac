package kms

import (
	"context"
	"fmt"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/store"
)

// Quotas are the resource quotas that AWS lets its customers change. A zero
// field is AWS's default.
//
// Source: AWS KMS Developer Guide, "Resource quotas".
type Quotas struct {
	Keys   int // customer managed keys of one account in one Region, in any state
	Grants int // of one key
}

// maxKeys is the default of Quotas.Keys.
const maxKeys = 100_000

func (q *Quotas) setDefaults() {
	if q.Keys == 0 {
		q.Keys = maxKeys
	}
	if q.Grants == 0 {
		q.Grants = maxGrants
	}
}

// countRow is the number of customer managed keys of an account in a Region.
type countRow struct{ Keys int }

var keyCounts = store.Hashed[countRow]("kms.keycount")

// keyCount reads the number of keys. Rows of an older version are counted, once.
func keyCount(tx *store.Tx, region, account string) (int, error) {
	n, err := keyCounts.Get(tx, region, account)
	if err == nil || !isNotFound(err) {
		return n.Keys, err
	}
	for row, err := range keys.ByIndex(tx, "account", store.Key{region, account}, store.ScanOptions{}) {
		if err != nil {
			return 0, fmt.Errorf("count keys: %w", err)
		}
		if row.Value.Manager != kmsapi.KeyManagerTypeAws {
			n.Keys++
		}
	}
	return n.Keys, nil
}

// countKey counts a customer managed key that the same commit stores. It comes
// before that.
//
// Errors: LimitExceededException.
func (s *Service) countKey(tx *store.Tx, k *keyRow) error {
	n, err := keyCount(tx, k.Region, k.Account)
	if err != nil {
		return err
	}
	if n >= s.cfg.Quotas.Keys {
		return keyLimit(k.Region, k.Account, s.cfg.Quotas.Keys)
	}
	return keyCounts.Put(tx, countRow{Keys: n + 1}, k.Region, k.Account)
}

// uncountKey is the reverse of countKey. It comes before the key's row is deleted.
func uncountKey(tx *store.Tx, k *keyRow) error {
	if k.Manager == kmsapi.KeyManagerTypeAws {
		return nil
	}
	n, err := keyCount(tx, k.Region, k.Account)
	if err != nil {
		return err
	}
	return keyCounts.Put(tx, countRow{Keys: max(n-1, 0)}, k.Region, k.Account)
}

// roomForKey refuses a key that countKey will refuse, before its material is made.
func (s *Service) roomForKey(ctx context.Context, region, account string) error {
	return s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		n, err := keyCounts.Get(tx, region, account)
		if isNotFound(err) {
			return nil
		}
		if err == nil && n.Keys >= s.cfg.Quotas.Keys {
			err = keyLimit(region, account, s.cfg.Quotas.Keys)
		}
		return err
	})
}

func keyLimit(region, account string, most int) error {
	return kmsapi.LimitExceededException("The account %s has %d KMS keys in %s, the limit.", account, most, region)
}
