package kms

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/store"
)

// importLifetime is how long a wrapping key and its import token are valid.
//
// Source: AWS KMS API Reference, GetParametersForImport.
const importLifetime = 24 * time.Hour

// importRow is one wrapping key with its token. The import that uses it deletes
// it. It lies under the deletion epoch like key material: who has kept what was
// sent in an import must not be able to open it with an old copy of the rows.
type importRow struct {
	ID, KeyID, Account, Region string
	Algorithm                  kmsapi.AlgorithmSpec
	Expires                    time.Time
	Wrapped                    []byte // backing key under the deletion epoch
	Private                    []byte // PKCS #8 private key under the backing key
}

var imports = store.Hashed[importRow]("kms.import")

// aad binds a wrapping key to its place.
func (i *importRow) aad() []byte {
	return []byte("sagekeep kms wrapping key v1|" + i.Account + "|" + i.Region + "|" + i.KeyID + "|" + i.ID)
}

// newImport keeps a wrapping key, PKCS #8, and returns its row and token. The
// caller holds s.wrapping as for addMaterial.
func (s *Service) newImport(k *keyRow, a kmsapi.AlgorithmSpec, private []byte) (row importRow, token string, err error) {
	row = importRow{
		ID: newHexID(), KeyID: k.ID, Account: k.Account, Region: k.Region, Algorithm: a,
		Expires: s.timestamp().Add(importLifetime).Truncate(time.Second),
	}
	backing := secret.Random()
	defer backing.Erase()
	aead, err := privateAEAD(backing)
	if err != nil {
		return row, "", err
	}
	row.Private = aead.Seal(nil, nil, private, row.aad())
	row.Wrapped = s.cfg.Epochs.Wrap(row.aad(), backing)
	token, err = s.cfg.Keyring.SealToken(envelope.ImportToken, envelope.Token{
		Account: row.Account, Region: row.Region, Expires: row.Expires, Payload: []byte(row.KeyID + "|" + row.ID),
	})
	return row, token, err
}

// readImport finds the wrapping key of an import token for the key.
//
// Errors: InvalidImportTokenException for a token that is not ours, belongs to
// another key or was used; ExpiredImportTokenException.
func (s *Service) readImport(ctx context.Context, k *keyRow, token []byte) (importRow, *rsa.PrivateKey, error) {
	var row importRow
	t, err := s.cfg.Keyring.OpenToken(envelope.ImportToken, string(token), s.cfg.Now())
	expired := errors.Is(err, envelope.ErrTokenExpired)
	if err != nil && !expired {
		return row, nil, invalidImport().Because(err)
	}
	keyID, id, ok := strings.Cut(string(t.Payload), "|")
	if !ok || t.Account != k.Account || t.Region != k.Region || keyID != k.ID {
		return row, nil, invalidImport()
	}
	if expired {
		return row, nil, kmsapi.ExpiredImportTokenException("The import token has expired.")
	}
	var key *rsa.PrivateKey
	// Erasures of other keys may wrap this one anew after it was read; one that
	// was erased stays as it is.
	for before := []byte(nil); ; before = row.Wrapped {
		err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
			row, err = imports.Get(tx, k.Region, k.ID, id)
			return err
		})
		if isNotFound(err) {
			return row, nil, invalidImport()
		}
		if err != nil {
			return row, nil, err
		}
		if key, err = s.openImport(&row); !errors.Is(err, envelope.ErrErased) || bytes.Equal(before, row.Wrapped) {
			if errors.Is(err, envelope.ErrErased) {
				err = invalidImport().Because(err)
			}
			return row, key, err
		}
	}
}

func (s *Service) openImport(row *importRow) (*rsa.PrivateKey, error) {
	backing, err := s.cfg.Epochs.Unwrap(row.aad(), row.Wrapped)
	if err != nil {
		return nil, fmt.Errorf("kms: open wrapping key: %w", err)
	}
	defer backing.Erase()
	aead, err := privateAEAD(backing)
	if err != nil {
		return nil, err
	}
	der, err := aead.Open(nil, nil, row.Private, row.aad())
	if err != nil {
		return nil, fmt.Errorf("kms: open wrapping key: %w", err)
	}
	defer clear(der)
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("kms: a wrapping key is unreadable")
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("kms: a wrapping key is a %T", key)
	}
	return private, nil
}

// useImport ends a wrapping key and its token, in the commit of the import.
//
// Errors: InvalidImportTokenException when another import has used it.
func useImport(tx *store.Tx, row *importRow) error {
	there, err := imports.Exists(tx, row.Region, row.KeyID, row.ID)
	if err != nil {
		return err
	}
	if !there {
		return invalidImport()
	}
	return imports.Delete(tx, row.Region, row.KeyID, row.ID)
}

// dropImports deletes the wrapping keys of a key that is erased.
func dropImports(tx *store.Tx, k *keyRow) error {
	for row, err := range imports.Scan(tx, store.Key{k.Region, k.ID}, store.ScanOptions{}) {
		if err != nil {
			return err
		}
		if err := imports.Delete(tx, k.Region, k.ID, row.Value.ID); err != nil {
			return err
		}
	}
	return nil
}

// maxImports bounds the wrapping keys of one key that wait for an import at one
// time. AWS documents no such quota; a day of calls would fill a disk without one.
const maxImports = 100

// roomForImport refuses one more wrapping key for a key that has as many as it may.
//
// Errors: LimitExceededException.
func (s *Service) roomForImport(tx *store.Tx, k *keyRow) error {
	now, live := s.cfg.Now(), 0
	for row, err := range imports.Scan(tx, store.Key{k.Region, k.ID}, store.ScanOptions{}) {
		if err != nil {
			return err
		}
		if now.Before(row.Value.Expires) {
			live++
		}
		if live >= maxImports {
			return kmsapi.LimitExceededException("The key %s has %d import tokens that were not used, the limit. Each ends with its import or after 24 hours.", k.arn(), maxImports)
		}
	}
	return nil
}

// rewrapImports drops the wrapping keys that have expired and puts the others
// under the newest epoch, a page in a commit.
func (s *Service) rewrapImports(ctx context.Context) error {
	var after []byte
	for {
		var page store.Page[importRow]
		err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
			var err error
			page, err = imports.Page(tx, nil, store.ScanOptions{After: after, Limit: rewrapBatch})
			return err
		})
		if err != nil {
			return fmt.Errorf("read wrapping keys: %w", err)
		}
		if err := s.rewrapImportPage(ctx, page.Values); err != nil {
			return fmt.Errorf("rewrap wrapping keys: %w", err)
		}
		if after = page.Next; after == nil {
			return nil
		}
	}
}

func (s *Service) rewrapImportPage(ctx context.Context, rows []importRow) error {
	now := s.cfg.Now()
	gone := func(row *importRow) bool { return !now.Before(row.Expires) }
	rows = slices.DeleteFunc(rows, func(row importRow) bool { return !gone(&row) && s.cfg.Epochs.Current(row.Wrapped) })
	if len(rows) == 0 {
		return nil
	}
	return s.cfg.Store.Update(store.WithPending(ctx, nil), func(tx *store.Tx) error {
		for i := range rows {
			row, err := imports.Get(tx, rows[i].Region, rows[i].KeyID, rows[i].ID)
			if isNotFound(err) {
				continue
			}
			if err != nil {
				return err
			}
			if gone(&row) {
				err = imports.Delete(tx, row.Region, row.KeyID, row.ID)
			} else {
				err = s.rewrapImport(tx, &row)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// rewrapImport puts a wrapping key under the newest epoch. One that nothing opens
// goes: nobody can use it any more, and it must not keep others' keys from being
// erased.
func (s *Service) rewrapImport(tx *store.Tx, row *importRow) error {
	backing, err := s.cfg.Epochs.Unwrap(row.aad(), row.Wrapped)
	if errors.Is(err, envelope.ErrErased) {
		return imports.Delete(tx, row.Region, row.KeyID, row.ID)
	}
	if err != nil {
		return err
	}
	defer backing.Erase()
	row.Wrapped = s.cfg.Epochs.Wrap(row.aad(), backing)
	return imports.Put(tx, *row, row.Region, row.KeyID, row.ID)
}
