package iam

import (
	"context"
	"maps"
	"slices"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/store"
)

// putInline stores an inline policy, in place of one of the same name.
func (s *Service) putInline(ctx context.Context, k *kind, principal, policy, doc string) error {
	if _, err := parseDocument(authz.IdentityPolicy, doc); err != nil {
		return err
	}
	return s.change(ctx, k, principal, func(_ *store.Tx, e *entity) error {
		if e.Inline == nil {
			e.Inline = map[string]string{}
		}
		size, others := documentSize(doc), 0
		for name, d := range e.Inline {
			if name != policy {
				size, others = size+documentSize(d), others+len(d)
			}
		}
		e.Inline[policy] = squeezed(doc, max(k.inlineQuota-others/2, 0))
		if size > k.inlineQuota {
			return iamapi.LimitExceededException("Maximum policy size of %d bytes exceeded for %s %s", k.inlineQuota, k.noun, e.Name)
		}
		return nil
	})
}

func noInline(k *kind, policy string) error {
	return iamapi.NoSuchEntityException("The %s policy with name %s cannot be found.", k.noun, policy)
}

// getInline returns the owner's name as stored and the document, encoded.
func (s *Service) getInline(ctx context.Context, k *kind, principal, policy string) (name, doc string, err error) {
	e, err := s.read(ctx, k, principal)
	if err != nil {
		return "", "", err
	}
	doc, ok := e.Inline[policy]
	if !ok {
		return "", "", noInline(k, policy)
	}
	return e.Name, encodeDocument(doc), nil
}

func (s *Service) deleteInline(ctx context.Context, k *kind, principal, policy string) error {
	return s.change(ctx, k, principal, func(_ *store.Tx, e *entity) error {
		if _, ok := e.Inline[policy]; !ok {
			return noInline(k, policy)
		}
		delete(e.Inline, policy)
		return nil
	})
}

func (s *Service) listInline(ctx context.Context, k *kind, principal string, marker *string, maxItems *int32) ([]string, *bool, *string, error) {
	e, err := s.read(ctx, k, principal)
	if err != nil {
		return nil, nil, nil, err
	}
	l := listing{name: "ListInline|" + e.ID, marker: marker, maxItems: maxItems}
	return page(ctx, s, l, slices.Collect(maps.Keys(e.Inline)), func(n string) string { return n })
}

// PutUserPolicy stores an inline policy of a user.
//
// Errors: NoSuchEntity; MalformedPolicyDocument; LimitExceeded beyond 2,048
// characters of all the user's inline policies.
func (s *Service) PutUserPolicy(ctx context.Context, in *iamapi.PutUserPolicyInput) (*schema.Nothing, error) {
	return nil, s.putInline(ctx, s.users, in.UserName, in.PolicyName, in.PolicyDocument)
}

// GetUserPolicy returns an inline policy of a user. Errors: NoSuchEntity.
func (s *Service) GetUserPolicy(ctx context.Context, in *iamapi.GetUserPolicyInput) (*iamapi.GetUserPolicyOutput, error) {
	name, doc, err := s.getInline(ctx, s.users, in.UserName, in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &iamapi.GetUserPolicyOutput{UserName: name, PolicyName: in.PolicyName, PolicyDocument: doc}, nil
}

// ListUserPolicies lists the names of a user's inline policies. Errors:
// NoSuchEntity.
func (s *Service) ListUserPolicies(ctx context.Context, in *iamapi.ListUserPoliciesInput) (*iamapi.ListUserPoliciesOutput, error) {
	names, truncated, marker, err := s.listInline(ctx, s.users, in.UserName, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListUserPoliciesOutput{PolicyNames: names, IsTruncated: truncated, Marker: marker}, nil
}

// DeleteUserPolicy removes an inline policy of a user. Errors: NoSuchEntity.
func (s *Service) DeleteUserPolicy(ctx context.Context, in *iamapi.DeleteUserPolicyInput) (*schema.Nothing, error) {
	return nil, s.deleteInline(ctx, s.users, in.UserName, in.PolicyName)
}

// PutRolePolicy stores an inline policy of a role.
//
// Errors: NoSuchEntity; MalformedPolicyDocument; LimitExceeded beyond 10,240
// characters of all the role's inline policies.
func (s *Service) PutRolePolicy(ctx context.Context, in *iamapi.PutRolePolicyInput) (*schema.Nothing, error) {
	return nil, s.putInline(ctx, s.roles, in.RoleName, in.PolicyName, in.PolicyDocument)
}

// GetRolePolicy returns an inline policy of a role. Errors: NoSuchEntity.
func (s *Service) GetRolePolicy(ctx context.Context, in *iamapi.GetRolePolicyInput) (*iamapi.GetRolePolicyOutput, error) {
	name, doc, err := s.getInline(ctx, s.roles, in.RoleName, in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &iamapi.GetRolePolicyOutput{RoleName: name, PolicyName: in.PolicyName, PolicyDocument: doc}, nil
}

// ListRolePolicies lists the names of a role's inline policies. Errors:
// NoSuchEntity.
func (s *Service) ListRolePolicies(ctx context.Context, in *iamapi.ListRolePoliciesInput) (*iamapi.ListRolePoliciesOutput, error) {
	names, truncated, marker, err := s.listInline(ctx, s.roles, in.RoleName, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListRolePoliciesOutput{PolicyNames: names, IsTruncated: truncated, Marker: marker}, nil
}

// DeleteRolePolicy removes an inline policy of a role. Errors: NoSuchEntity.
func (s *Service) DeleteRolePolicy(ctx context.Context, in *iamapi.DeleteRolePolicyInput) (*schema.Nothing, error) {
	return nil, s.deleteInline(ctx, s.roles, in.RoleName, in.PolicyName)
}

// PutGroupPolicy stores an inline policy of a group.
//
// Errors: NoSuchEntity; MalformedPolicyDocument; LimitExceeded beyond 5,120
// characters of all the group's inline policies.
func (s *Service) PutGroupPolicy(ctx context.Context, in *iamapi.PutGroupPolicyInput) (*schema.Nothing, error) {
	return nil, s.putInline(ctx, s.groups, in.GroupName, in.PolicyName, in.PolicyDocument)
}

// GetGroupPolicy returns an inline policy of a group. Errors: NoSuchEntity.
func (s *Service) GetGroupPolicy(ctx context.Context, in *iamapi.GetGroupPolicyInput) (*iamapi.GetGroupPolicyOutput, error) {
	name, doc, err := s.getInline(ctx, s.groups, in.GroupName, in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &iamapi.GetGroupPolicyOutput{GroupName: name, PolicyName: in.PolicyName, PolicyDocument: doc}, nil
}

// ListGroupPolicies lists the names of a group's inline policies. Errors:
// NoSuchEntity.
func (s *Service) ListGroupPolicies(ctx context.Context, in *iamapi.ListGroupPoliciesInput) (*iamapi.ListGroupPoliciesOutput, error) {
	names, truncated, marker, err := s.listInline(ctx, s.groups, in.GroupName, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListGroupPoliciesOutput{PolicyNames: names, IsTruncated: truncated, Marker: marker}, nil
}

// DeleteGroupPolicy removes an inline policy of a group. Errors: NoSuchEntity.
func (s *Service) DeleteGroupPolicy(ctx context.Context, in *iamapi.DeleteGroupPolicyInput) (*schema.Nothing, error) {
	return nil, s.deleteInline(ctx, s.groups, in.GroupName, in.PolicyName)
}
