package kms

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
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
	row.Wrapped = s.Epochs.Wrap(row.aad(), backing)
	token, err = s.Keyring.SealToken(envelope.ImportToken, envelope.Token{
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
	t, err := s.Keyring.OpenToken(envelope.ImportToken, string(token), s.Now())
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
		err = s.Store.View(ctx, func(tx *store.Tx) error {
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
			return row, key, err
		}
	}
}

func (s *Service) openImport(row *importRow) (*rsa.PrivateKey, error) {
	backing, err := s.Epochs.Unwrap(row.aad(), row.Wrapped)
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

// rewrapImports drops the wrapping keys that have expired and puts the others
// under the newest epoch, one commit for each.
func (s *Service) rewrapImports(ctx context.Context) error {
	var all []importRow
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		all = nil
		for row, err := range imports.Scan(tx, nil, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			all = append(all, row.Value)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read wrapping keys: %w", err)
	}
	now := s.Now()
	for _, row := range all {
		gone := !now.Before(row.Expires)
		if !gone && s.Epochs.Current(row.Wrapped) {
			continue
		}
		err := s.Store.Update(store.WithPending(ctx, nil), func(tx *store.Tx) error {
			is, err := imports.Get(tx, row.Region, row.KeyID, row.ID)
			if isNotFound(err) {
				return nil
			}
			if err != nil {
				return err
			}
			if gone {
				return imports.Delete(tx, row.Region, row.KeyID, row.ID)
			}
			backing, err := s.Epochs.Unwrap(is.aad(), is.Wrapped)
			if errors.Is(err, envelope.ErrErased) {
				// Nobody can use it any more, and it must not keep others' keys from
				// being erased.
				return imports.Delete(tx, row.Region, row.KeyID, row.ID)
			}
			if err != nil {
				return err
			}
			defer backing.Erase()
			is.Wrapped = s.Epochs.Wrap(is.aad(), backing)
			return imports.Put(tx, is, is.Region, is.KeyID, is.ID)
		})
		if err != nil {
			return fmt.Errorf("rewrap wrapping keys: %w", err)
		}
	}
	return nil
}
