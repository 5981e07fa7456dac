package organizations

import (
	"context"

	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/store"
)

func (s *Service) accountShape(tx *store.Tx, o *organizationRow, a *accountRow) (*orgapi.Account, error) {
	chain, err := s.above(tx, o, a.Parent)
	if err != nil {
		return nil, err
	}
	return &orgapi.Account{
		Id: &a.ID, Arn: new(o.targetARN(a.ID)), Email: &a.Email, Name: &a.Name,
		Status: orgapi.AccountStatusActive, State: orgapi.AccountStateActive,
		Paths: []string{pathOf(o, chain) + a.ID + "/"}, JoinedMethod: a.JoinedMethod, JoinedTimestamp: new(timeOf(a.Joined)),
	}, nil
}

// DescribeAccount describes an account of the organization.
//
// Errors: AccountNotFoundException; AWSOrganizationsNotInUseException;
// AccessDeniedException.
func (s *Service) DescribeAccount(ctx context.Context, in *orgapi.DescribeAccountInput) (*orgapi.DescribeAccountOutput, error) {
	out := &orgapi.DescribeAccountOutput{}
	err := s.read(ctx, func(tx *store.Tx, o *organizationRow) error {
		a, err := s.memberOf(tx, o, in.AccountId)
		if err != nil {
			return err
		}
		out.Account, err = s.accountShape(tx, o, &a)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// listAccounts is the part of a list that describes the accounts below an index
// key.
func (s *Service) listAccounts(o *organizationRow, index string, key store.Key) stage[orgapi.Account] {
	return rows(s.accounts, index, key, func(tx *store.Tx, a *accountRow) (orgapi.Account, bool, error) {
		shape, err := s.accountShape(tx, o, a)
		if err != nil {
			return orgapi.Account{}, false, err
		}
		return *shape, true, nil
	})
}

// ListAccounts lists every account of the organization.
//
// Errors: AWSOrganizationsNotInUseException; AccessDeniedException;
// InvalidInputException.
func (s *Service) ListAccounts(ctx context.Context, in *orgapi.ListAccountsInput) (*orgapi.ListAccountsOutput, error) {
	out := &orgapi.ListAccountsOutput{}
	err := s.read(ctx, func(tx *store.Tx, o *organizationRow) (err error) {
		l := listing{name: "ListAccounts", token: in.NextToken, max: in.MaxResults}
		out.Accounts, out.NextToken, err = list(ctx, s, tx, l, s.listAccounts(o, byOrganization, store.Key{o.ID}))
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ListAccountsForParent lists the accounts right below the root or a unit.
//
// Errors: ParentNotFoundException; AWSOrganizationsNotInUseException;
// AccessDeniedException; InvalidInputException.
func (s *Service) ListAccountsForParent(ctx context.Context, in *orgapi.ListAccountsForParentInput) (*orgapi.ListAccountsForParentOutput, error) {
	out := &orgapi.ListAccountsForParentOutput{}
	err := s.read(ctx, func(tx *store.Tx, o *organizationRow) error {
		parent, err := s.parent(tx, o, in.ParentId, noParent())
		if err != nil {
			return err
		}
		l := listing{name: "ListAccountsForParent|" + parent.id, token: in.NextToken, max: in.MaxResults}
		out.Accounts, out.NextToken, err = list(ctx, s, tx, l, s.listAccounts(o, byParent, store.Key{o.ID, parent.id}))
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// MoveAccount moves an account from the root or unit that it is in to another.
// The policies of the new place bind from the next request on.
//
// Errors: AccountNotFoundException, also when the account is not in the source;
// SourceParentNotFoundException; DestinationParentNotFoundException;
// DuplicateAccountException when it is there already;
// AWSOrganizationsNotInUseException; AccessDeniedException.
func (s *Service) MoveAccount(ctx context.Context, in *orgapi.MoveAccountInput) (*schema.Nothing, error) {
	return nil, s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		a, err := s.memberOf(tx, o, in.AccountId)
		if err != nil {
			return err
		}
		source, err := s.parent(tx, o, in.SourceParentId, orgapi.SourceParentNotFoundException("You specified a source parent that doesn't exist."))
		if err != nil {
			return err
		}
		to, err := s.parent(tx, o, in.DestinationParentId, orgapi.DestinationParentNotFoundException("You specified a destination parent that doesn't exist."))
		if err != nil {
			return err
		}
		switch {
		case a.Parent == to.id:
			return orgapi.DuplicateAccountException("The specified account is already in the destination.")
		case a.Parent != source.id:
			return noAccount()
		}
		a.Parent = to.id
		return s.accounts.Put(tx, a, a.ID)
	})
}

// RemoveAccountFromOrganization takes a member account out of the organization.
// Tags and attachments of the account are lost; no policy binds it any more.
//
// Errors: AccountNotFoundException; MasterCannotLeaveOrganizationException;
// AWSOrganizationsNotInUseException; AccessDeniedException.
func (s *Service) RemoveAccountFromOrganization(ctx context.Context, in *orgapi.RemoveAccountFromOrganizationInput) (*schema.Nothing, error) {
	return nil, s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		return s.remove(ctx, tx, o, in.AccountId, "REMOVED")
	})
}
