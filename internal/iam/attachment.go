package iam

import (
	"context"
	"slices"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/store"
)

func (s *Service) attach(ctx context.Context, k *kind, name, policyARN string) error {
	return s.change(ctx, k, name, func(tx *store.Tx, e *entity) error {
		p, found, err := s.managed(tx, e.Account, policyARN)
		switch {
		case err != nil:
			return err
		case !found:
			return iamapi.NoSuchEntityException("Policy %s does not exist or is not attachable.", policyARN)
		case p.ofService():
			return notAttachable(k)
		case slices.Contains(e.Attached, policyARN):
			return nil
		case len(e.Attached) >= policiesPerPrincipal:
			return iamapi.LimitExceededException("Cannot exceed quota for PoliciesPer%s: %d", k.title, policiesPerPrincipal)
		}
		e.Attached = append(e.Attached, policyARN)
		return nil
	})
}

// notAttachable answers for a policy of service-linked roles.
func notAttachable(k *kind) error {
	return iamapi.PolicyNotAttachableException("Cannot attach a Service Role Policy to a Customer %s.", k.title)
}

func (s *Service) detach(ctx context.Context, k *kind, name, policyARN string) error {
	return s.change(ctx, k, name, func(_ *store.Tx, e *entity) error {
		i := slices.Index(e.Attached, policyARN)
		if i < 0 {
			return iamapi.NoSuchEntityException("Policy %s was not found.", policyARN)
		}
		e.Attached = slices.Delete(e.Attached, i, i+1)
		return nil
	})
}

func (s *Service) listAttached(ctx context.Context, k *kind, name string, pathPrefix, marker *string, maxItems *int32) ([]iamapi.AttachedPolicy, *bool, *string, error) {
	e, err := s.read(ctx, k, name)
	if err != nil {
		return nil, nil, nil, err
	}
	all := attachedPolicies(&e, value(pathPrefix))
	l := listing{name: "ListAttached|" + e.ID + "|" + value(pathPrefix), marker: marker, maxItems: maxItems}
	return page(ctx, s, l, all, func(p iamapi.AttachedPolicy) string { return policyKey(*p.PolicyName, *p.PolicyArn) })
}

// AttachUserPolicy attaches a managed policy to a user; once more is no error.
//
// Errors: NoSuchEntity; LimitExceeded beyond ten; InvalidInput;
// PolicyNotAttachable.
func (s *Service) AttachUserPolicy(ctx context.Context, in *iamapi.AttachUserPolicyInput) (*schema.Nothing, error) {
	return nil, s.attach(ctx, s.users, in.UserName, in.PolicyArn)
}

// DetachUserPolicy takes a managed policy from a user. Errors: NoSuchEntity.
func (s *Service) DetachUserPolicy(ctx context.Context, in *iamapi.DetachUserPolicyInput) (*schema.Nothing, error) {
	return nil, s.detach(ctx, s.users, in.UserName, in.PolicyArn)
}

// ListAttachedUserPolicies lists a user's managed policies below a path, by
// name. Errors: NoSuchEntity.
func (s *Service) ListAttachedUserPolicies(ctx context.Context, in *iamapi.ListAttachedUserPoliciesInput) (*iamapi.ListAttachedUserPoliciesOutput, error) {
	all, truncated, marker, err := s.listAttached(ctx, s.users, in.UserName, in.PathPrefix, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListAttachedUserPoliciesOutput{AttachedPolicies: all, IsTruncated: truncated, Marker: marker}, nil
}

// AttachRolePolicy attaches a managed policy to a role; once more is no error.
//
// Errors: NoSuchEntity; LimitExceeded beyond ten; InvalidInput;
// PolicyNotAttachable.
func (s *Service) AttachRolePolicy(ctx context.Context, in *iamapi.AttachRolePolicyInput) (*schema.Nothing, error) {
	return nil, s.attach(ctx, s.roles, in.RoleName, in.PolicyArn)
}

// DetachRolePolicy takes a managed policy from a role. Errors: NoSuchEntity.
func (s *Service) DetachRolePolicy(ctx context.Context, in *iamapi.DetachRolePolicyInput) (*schema.Nothing, error) {
	return nil, s.detach(ctx, s.roles, in.RoleName, in.PolicyArn)
}

// ListAttachedRolePolicies lists a role's managed policies below a path, by
// name. Errors: NoSuchEntity.
func (s *Service) ListAttachedRolePolicies(ctx context.Context, in *iamapi.ListAttachedRolePoliciesInput) (*iamapi.ListAttachedRolePoliciesOutput, error) {
	all, truncated, marker, err := s.listAttached(ctx, s.roles, in.RoleName, in.PathPrefix, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListAttachedRolePoliciesOutput{AttachedPolicies: all, IsTruncated: truncated, Marker: marker}, nil
}

// AttachGroupPolicy attaches a managed policy to a group; once more is no
// error.
//
// Errors: NoSuchEntity; LimitExceeded beyond ten; InvalidInput;
// PolicyNotAttachable.
func (s *Service) AttachGroupPolicy(ctx context.Context, in *iamapi.AttachGroupPolicyInput) (*schema.Nothing, error) {
	return nil, s.attach(ctx, s.groups, in.GroupName, in.PolicyArn)
}

// DetachGroupPolicy takes a managed policy from a group. Errors: NoSuchEntity.
func (s *Service) DetachGroupPolicy(ctx context.Context, in *iamapi.DetachGroupPolicyInput) (*schema.Nothing, error) {
	return nil, s.detach(ctx, s.groups, in.GroupName, in.PolicyArn)
}

// ListAttachedGroupPolicies lists a group's managed policies below a path, by
// name. Errors: NoSuchEntity.
func (s *Service) ListAttachedGroupPolicies(ctx context.Context, in *iamapi.ListAttachedGroupPoliciesInput) (*iamapi.ListAttachedGroupPoliciesOutput, error) {
	all, truncated, marker, err := s.listAttached(ctx, s.groups, in.GroupName, in.PathPrefix, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListAttachedGroupPoliciesOutput{AttachedPolicies: all, IsTruncated: truncated, Marker: marker}, nil
}
