package iam

import (
	"context"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/store"
)

func boundaryShape(policyARN string) *iamapi.AttachedPermissionsBoundary {
	if policyARN == "" {
		return nil
	}
	return &iamapi.AttachedPermissionsBoundary{
		PermissionsBoundaryType: iamapi.PermissionsBoundaryAttachmentTypePermissionsBoundaryPolicy, PermissionsBoundaryArn: &policyARN,
	}
}

// checkBoundary refuses what is no managed policy that the account can use.
func (s *Service) checkBoundary(tx *store.Tx, account, policyARN string) error {
	p, found, err := s.managed(tx, account, policyARN)
	if err == nil && (!found || p.ofService()) {
		err = iamapi.NoSuchEntityException("Scope ARN: %s does not exist or is not attachable.", policyARN)
	}
	return err
}

func (s *Service) putBoundary(ctx context.Context, k *kind, name, policyARN string) error {
	return s.change(ctx, k, name, func(tx *store.Tx, e *entity) error {
		e.Boundary = policyARN
		return s.checkBoundary(tx, e.Account, policyARN)
	})
}

func (s *Service) deleteBoundary(ctx context.Context, k *kind, name string) error {
	return s.change(ctx, k, name, func(_ *store.Tx, e *entity) error {
		if e.Boundary == "" {
			return iamapi.NoSuchEntityException("%s %s does not have a permissions boundary.", k.title, e.Name)
		}
		e.Boundary = ""
		return nil
	})
}

// PutUserPermissionsBoundary sets a managed policy as the most that a user can
// be allowed.
//
// Errors: NoSuchEntity; InvalidInput.
func (s *Service) PutUserPermissionsBoundary(ctx context.Context, in *iamapi.PutUserPermissionsBoundaryInput) (*schema.Nothing, error) {
	return nil, s.putBoundary(ctx, s.users, in.UserName, in.PermissionsBoundary)
}

// DeleteUserPermissionsBoundary takes a user's boundary away. Errors:
// NoSuchEntity.
func (s *Service) DeleteUserPermissionsBoundary(ctx context.Context, in *iamapi.DeleteUserPermissionsBoundaryInput) (*schema.Nothing, error) {
	return nil, s.deleteBoundary(ctx, s.users, in.UserName)
}

// PutRolePermissionsBoundary sets a managed policy as the most that a role can
// be allowed.
//
// Errors: NoSuchEntity; InvalidInput.
func (s *Service) PutRolePermissionsBoundary(ctx context.Context, in *iamapi.PutRolePermissionsBoundaryInput) (*schema.Nothing, error) {
	return nil, s.putBoundary(ctx, s.roles, in.RoleName, in.PermissionsBoundary)
}

// DeleteRolePermissionsBoundary takes a role's boundary away. Errors:
// NoSuchEntity.
func (s *Service) DeleteRolePermissionsBoundary(ctx context.Context, in *iamapi.DeleteRolePermissionsBoundaryInput) (*schema.Nothing, error) {
	return nil, s.deleteBoundary(ctx, s.roles, in.RoleName)
}
