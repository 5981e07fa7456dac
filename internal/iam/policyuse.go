package iam

import (
	"context"
	"fmt"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/store"
)

// policyUse is one user, group or role that has a policy.
type policyUse struct {
	key    string
	kind   *kind
	entity entity
}

// ListEntitiesForPolicy lists the groups, roles and users that a managed policy
// is attached to or bounds, by name within each.
//
// Errors: NoSuchEntity; InvalidInput; ValidationError for a bad marker.
func (s *Service) ListEntitiesForPolicy(ctx context.Context, in *iamapi.ListEntitiesForPolicyInput) (*iamapi.ListEntitiesForPolicyOutput, error) {
	account := accountOf(ctx)
	var all []policyUse
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		if _, err = s.existing(tx, account, in.PolicyArn); err == nil {
			all, err = s.usesOf(tx, account, in)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	l := listing{
		name:   fmt.Sprintf("ListEntitiesForPolicy|%s|%s|%s|%s", in.PolicyArn, in.EntityFilter, in.PolicyUsageFilter, value(in.PathPrefix)),
		marker: in.Marker, maxItems: in.MaxItems,
	}
	all, truncated, marker, err := page(ctx, s, l, all, func(u policyUse) string { return u.key })
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListEntitiesForPolicyOutput{
		PolicyGroups: []iamapi.PolicyGroup{}, PolicyUsers: []iamapi.PolicyUser{}, PolicyRoles: []iamapi.PolicyRole{},
		IsTruncated: truncated, Marker: marker,
	}
	for i := range all {
		e := &all[i].entity
		switch all[i].kind {
		case s.users:
			out.PolicyUsers = append(out.PolicyUsers, iamapi.PolicyUser{UserName: &e.Name, UserId: &e.ID})
		case s.groups:
			out.PolicyGroups = append(out.PolicyGroups, iamapi.PolicyGroup{GroupName: &e.Name, GroupId: &e.ID})
		default:
			out.PolicyRoles = append(out.PolicyRoles, iamapi.PolicyRole{RoleName: &e.Name, RoleId: &e.ID})
		}
	}
	return out, nil
}

// usesOf returns who has a policy in a way that the request's filters let
// through, each once.
func (s *Service) usesOf(tx *store.Tx, account string, in *iamapi.ListEntitiesForPolicyInput) ([]policyUse, error) {
	indexes := []string{byAttached, byBoundary}
	switch in.PolicyUsageFilter {
	case iamapi.PolicyUsageTypePermissionsPolicy:
		indexes = indexes[:1]
	case iamapi.PolicyUsageTypePermissionsBoundary:
		indexes = indexes[1:]
	}
	var all []policyUse
	for _, k := range []*kind{s.groups, s.roles, s.users} {
		if in.EntityFilter != "" && string(in.EntityFilter) != k.title {
			continue
		}
		seen := map[string]bool{}
		for _, index := range indexes {
			having, err := k.having(tx, index, account, in.PolicyArn)
			if err != nil {
				return nil, err
			}
			for _, e := range having {
				if !seen[e.ID] && strings.HasPrefix(e.Path, value(in.PathPrefix)) {
					seen[e.ID] = true
					all = append(all, policyUse{key: k.noun + "|" + entityKey(e), kind: k, entity: e})
				}
			}
		}
	}
	return all, nil
}
