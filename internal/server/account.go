package server

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/iam"
)

// accountError gives the refusals of CreateAccount a public text.
func accountError(id string, err error) error {
	switch {
	case errors.Is(err, iam.ErrInvalidAccount):
		return schema.NewError("InvalidAccount", 400, "%q is no account id: it has 12 digits", id).Because(err)
	case errors.Is(err, iam.ErrReservedAccount):
		return schema.NewError("InvalidAccount", 400, "account id %s is reserved for a service", id).Because(err)
	case errors.Is(err, iam.ErrAccountExists):
		return schema.NewError("AccountAlreadyExists", 409, "account %s exists; `sagekeep env --account %s` prints its root credentials", id, id).Because(err)
	}
	return err
}

// CreateAccount opens the data directory of cfg, which no server may have open,
// and adds an account.
func CreateAccount(ctx context.Context, cfg Config, id string) (AccessKey, error) {
	s, err := openExisting(ctx, cfg)
	if err != nil {
		return AccessKey{}, err
	}
	key, err := s.createAccount(ctx, id)
	return key, errors.Join(accountError(id, err), s.Close())
}

// loadCredentials reads the credentials file, or makes the first account.
func (s *Server) loadCredentials(ctx context.Context) error {
	c, err := ReadCredentials(s.dir.path)
	if err == nil {
		s.creds = *c
		return s.finishAccounts(ctx)
	}
	if !errors.Is(err, errNoCredentials) {
		return err
	}
	accounts, err := s.iam.Accounts(ctx)
	if err != nil {
		return err
	}
	if len(accounts) > 0 {
		// The root keys cannot be shown again: who lost the file restores it.
		return fmt.Errorf("%s is missing and accounts exist: bring it back from a backup; keys are not shown twice", s.dir.file(credentialsName))
	}
	s.creds.Operator = newOperatorKey()
	_, err = s.createAccount(ctx, s.cfg.Account)
	return err
}

// finishAccounts adds the accounts of the credentials file that are not there: a
// process ended between the two steps of createAccount.
func (s *Server) finishAccounts(ctx context.Context) error {
	accounts, err := s.iam.Accounts(ctx)
	if err != nil {
		return err
	}
	for i := range s.creds.Accounts {
		k := &s.creds.Accounts[i]
		if slices.Contains(accounts, k.Account) {
			continue
		}
		s.cfg.Log.Warn("an account that was not made to its end is made now", "account", k.Account)
		if err := s.iam.AddAccount(ctx, k.root()); err != nil {
			return err
		}
	}
	return nil
}

// newOperatorKey makes the key of DIR/credentials that signs operator calls.
func newOperatorKey() AccessKey {
	var id [10]byte
	var key [30]byte
	rand.Read(id[:])
	rand.Read(key[:])
	return AccessKey{
		AccessKeyID:     operatorPrefix + base32.StdEncoding.EncodeToString(id[:]),
		SecretAccessKey: base64.StdEncoding.EncodeToString(key[:]),
	}
}

// createAccount makes an account and adds its root credentials to the file. The
// file comes first: an account without its credentials could never be entered,
// and credentials without their account find it at the next start.
func (s *Server) createAccount(ctx context.Context, id string) (AccessKey, error) {
	s.credsMu.Lock()
	defer s.credsMu.Unlock()
	root, err := s.iam.NewRoot(id)
	if err != nil {
		return AccessKey{}, err
	}
	if have, err := s.iam.AccountExists(ctx, id); err != nil || have {
		if have {
			err = fmt.Errorf("create account %s: %w", id, iam.ErrAccountExists)
		}
		return AccessKey{}, err
	}
	key := AccessKey{Account: root.Account, AccessKeyID: root.AccessKeyID, SecretAccessKey: root.SecretAccessKey}
	before, after := s.creds, s.creds
	after.Accounts = append(slices.Clone(before.Accounts), key)
	if err := writeCredentials(s.dir.path, &after); err != nil {
		return AccessKey{}, err
	}
	// Whoever asked may be gone; the two must not drift apart.
	ctx = context.WithoutCancel(ctx)
	if err := s.iam.AddAccount(ctx, root); err != nil {
		if have, herr := s.iam.AccountExists(ctx, id); herr == nil && !have && len(before.Accounts) > 0 {
			err = errors.Join(err, writeCredentials(s.dir.path, &before))
		}
		return AccessKey{}, err
	}
	s.creds = after
	return key, nil
}
