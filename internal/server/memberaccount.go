package server

import (
	"context"
	"errors"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/iam"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// memberAccounts makes the accounts that Organizations creates. Their root users
// have no access keys, so that DIR/credentials does not know them: who manages
// the organization enters them through a role.
type memberAccounts struct{ s *Server }

func (m memberAccounts) Exists(ctx context.Context, id string) (bool, error) {
	return m.s.iam.AccountExists(ctx, id)
}

func (m memberAccounts) Add(ctx context.Context, id string) (bool, error) {
	_, err := m.s.iam.NewRoot(id) // may the id be used at all?
	if err == nil {
		err = m.s.iam.AddAccount(ctx, &iam.RootCredentials{Account: id})
	}
	if errors.Is(err, iam.ErrAccountExists) || errors.Is(err, iam.ErrReservedAccount) {
		return false, nil
	}
	return err == nil, err
}

func (m memberAccounts) CreateRole(ctx context.Context, in *iamapi.CreateRoleInput) (*iamapi.CreateRoleOutput, error) {
	return protocol.Call(ctx, m.s.registry, iamapi.CreateRole, in)
}

func (m memberAccounts) AttachRolePolicy(ctx context.Context, in *iamapi.AttachRolePolicyInput) (*schema.Nothing, error) {
	return protocol.Call(ctx, m.s.registry, iamapi.AttachRolePolicy, in)
}
