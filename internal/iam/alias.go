package iam

import (
	"context"
	"errors"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/store"
)

// CreateAccountAlias gives the account an alias in place of the one it has.
//
// Errors: EntityAlreadyExists when an account has the alias; InvalidInput for
// 12 digits, which are an account's id.
//
// Source: IAM User Guide, "Use an alias for your AWS account ID".
func (s *Service) CreateAccountAlias(ctx context.Context, in *iamapi.CreateAccountAliasInput) (*schema.Nothing, error) {
	if validAccount(in.AccountAlias) {
		return nil, iamapi.InvalidInputException("The account alias %s is not valid: it must not be a 12-digit number.", in.AccountAlias)
	}
	account := accountOf(ctx)
	return nil, s.update(ctx, account, func(tx *store.Tx) error {
		taken, err := s.aliases.Exists(tx, in.AccountAlias)
		if err != nil {
			return err
		}
		if taken {
			return iamapi.EntityAlreadyExistsException("The account alias %s already exists.", in.AccountAlias)
		}
		if err := s.aliases.Put(tx, aliasRow{Alias: in.AccountAlias, Account: account}, in.AccountAlias); err != nil {
			return err
		}
		return s.setAlias(tx, account, in.AccountAlias)
	})
}

// setAlias gives the account another alias, "" for none, and frees the old one.
func (s *Service) setAlias(tx *store.Tx, account, alias string) error {
	row, err := s.accounts.Get(tx, account)
	if err != nil {
		return err
	}
	if row.Alias != "" {
		if err := s.aliases.Delete(tx, row.Alias); err != nil {
			return err
		}
	}
	row.Alias = alias
	return s.accounts.Put(tx, row, account)
}

// DeleteAccountAlias takes the account's alias away. Errors: NoSuchEntity.
func (s *Service) DeleteAccountAlias(ctx context.Context, in *iamapi.DeleteAccountAliasInput) (*schema.Nothing, error) {
	account := accountOf(ctx)
	return nil, s.update(ctx, account, func(tx *store.Tx) error {
		row, err := s.aliases.Get(tx, in.AccountAlias)
		if errors.Is(err, store.ErrNotFound) || err == nil && row.Account != account {
			return iamapi.NoSuchEntityException("The account alias %s cannot be found.", in.AccountAlias)
		}
		if err != nil {
			return err
		}
		return s.setAlias(tx, account, "")
	})
}

// ListAccountAliases returns the account's alias, if it has one.
//
// Errors: ValidationError for a bad marker.
func (s *Service) ListAccountAliases(ctx context.Context, in *iamapi.ListAccountAliasesInput) (*iamapi.ListAccountAliasesOutput, error) {
	aliases := []string{}
	err := s.view(ctx, func(tx *store.Tx) error {
		row, err := s.accounts.Get(tx, accountOf(ctx))
		if err == nil && row.Alias != "" {
			aliases = []string{row.Alias}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	l := listing{name: "ListAccountAliases", marker: in.Marker, maxItems: in.MaxItems}
	aliases, truncated, marker, err := page(ctx, s, l, aliases, func(a string) string { return a })
	if err != nil {
		return nil, err
	}
	return &iamapi.ListAccountAliasesOutput{AccountAliases: aliases, IsTruncated: truncated, Marker: marker}, nil
}
