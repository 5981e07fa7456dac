package iam

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/sagekeep/sagekeep/internal/store"
)

// Errors of CreateAccount.
var (
	ErrInvalidAccount  = errors.New("iam: an account id has 12 digits")
	ErrReservedAccount = errors.New("iam: the account id is reserved for a service")
	ErrAccountExists   = errors.New("iam: the account exists")
)

// RootCredentials are the long-term credentials of an account's root user. They
// print without the secret.
type RootCredentials struct {
	Account, AccessKeyID, SecretAccessKey string
}

// Format writes account and access key id alone, whatever the verb.
func (c RootCredentials) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "iam.RootCredentials("+c.Account+" "+c.AccessKeyID+" [redacted])")
}

// LogValue implements slog.LogValuer without the secret.
func (c RootCredentials) LogValue() slog.Value {
	return slog.GroupValue(slog.String("account", c.Account), slog.String("access_key_id", c.AccessKeyID))
}

// reservedAccount reports whether a service acts under the id: those of the
// geospatial service, its buckets and the labeling portal.
func reservedAccount(id string) bool {
	switch id {
	case "378778860802", "394669845002", "027400017018":
		return true
	}
	return false
}

// CreateAccount adds an account and returns credentials of its root user, which
// are shown this once.
//
// Errors: ErrInvalidAccount, ErrReservedAccount, ErrAccountExists.
func (s *Service) CreateAccount(ctx context.Context, id string) (*RootCredentials, error) {
	root, err := s.NewRoot(id)
	if err != nil {
		return nil, err
	}
	if err := s.AddAccount(ctx, root); err != nil {
		return nil, err
	}
	return root, nil
}

// NewRoot makes credentials of the root user of an account that AddAccount then
// adds, so that who must keep them can do so first.
//
// Errors: ErrInvalidAccount, ErrReservedAccount.
func (s *Service) NewRoot(id string) (*RootCredentials, error) {
	if !validAccount(id) {
		return nil, fmt.Errorf("create account %q: %w", id, ErrInvalidAccount)
	}
	if reservedAccount(id) {
		return nil, fmt.Errorf("create account %s: %w", id, ErrReservedAccount)
	}
	keyID, err := newAccessKeyID(longTermPrefix, id)
	if err != nil {
		return nil, err
	}
	return &RootCredentials{Account: id, AccessKeyID: keyID, SecretAccessKey: newSecret()}, nil
}

// AddAccount adds an account with credentials that NewRoot has made. Without an
// access key id the root user gets no access key.
//
// Errors: ErrAccountExists.
func (s *Service) AddAccount(ctx context.Context, root *RootCredentials) error {
	id := root.Account
	key := accessKeyRow{ID: root.AccessKeyID, Secret: root.SecretAccessKey, Account: id, Active: true, Created: s.stamp()}
	err := s.update(ctx, id, func(tx *store.Tx) error {
		if have, err := s.accounts.Exists(tx, id); err != nil || have {
			return errors.Join(err, whenTrue(have, ErrAccountExists))
		}
		if err := s.accounts.Put(tx, accountRow{ID: id, Created: key.Created}, id); err != nil {
			return err
		}
		if key.ID == "" {
			return nil
		}
		return s.keys.Put(tx, key, key.ID)
	})
	if err != nil {
		return fmt.Errorf("create account %s: %w", id, err)
	}
	return nil
}

func whenTrue(cond bool, err error) error {
	if cond {
		return err
	}
	return nil
}

// Accounts returns the ids of all accounts, sorted.
func (s *Service) Accounts(ctx context.Context) ([]string, error) {
	var ids []string
	err := s.view(ctx, func(tx *store.Tx) error {
		ids = nil
		for row, err := range s.accounts.Scan(tx, nil, store.ScanOptions{}) {
			if err != nil {
				return fmt.Errorf("list accounts: %w", err)
			}
			ids = append(ids, row.Value.ID)
		}
		return nil
	})
	slices.Sort(ids)
	return ids, err
}

// AccountExists reports whether the account was created here.
func (s *Service) AccountExists(ctx context.Context, id string) (bool, error) {
	var have bool
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		have, err = s.accounts.Exists(tx, id)
		return err
	})
	return have, err
}

// rootARN is the ARN of an account, and of its root user.
func rootARN(account string) string { return "arn:aws:iam::" + account + ":root" }
