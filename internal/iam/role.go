package iam

import (
	"cmp"
	"context"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// defaultMaxSession is a role's longest session in seconds unless it says
// otherwise.
const defaultMaxSession = 3600

// roleShape describes a role with the given trust policy.
func (s *Service) roleShape(e *entity, trust string) *iamapi.Role {
	return &iamapi.Role{
		Path: e.Path, RoleName: e.Name, RoleId: e.ID, Arn: s.roles.arn(e), CreateDate: timeOf(e.Created),
		AssumeRolePolicyDocument: new(encodeDocument(trust)), Description: e.Description, MaxSessionDuration: new(e.MaxSession),
		PermissionsBoundary: boundaryShape(e.Boundary), Tags: e.Tags,
	}
}

// CreateRole adds a role. Users and roles that its trust policy names by ARN
// are bound to their unique ids.
//
// Errors: EntityAlreadyExists; MalformedPolicyDocument, also for principals
// that do not exist; LimitExceeded; InvalidInput; ValidationError for a maximum
// session outside 3600 to 43200 seconds.
func (s *Service) CreateRole(ctx context.Context, in *iamapi.CreateRoleInput) (*iamapi.CreateRoleOutput, error) {
	e, err := s.newEntity(ctx, s.roles, in.RoleName, in.Path, in.PermissionsBoundary, in.Tags)
	if err != nil {
		return nil, err
	}
	e.Description, e.MaxSession = in.Description, defaultMaxSession
	if in.MaxSessionDuration != nil {
		e.MaxSession = *in.MaxSessionDuration
	}
	if err := checkMaxSession(e.MaxSession); err != nil {
		return nil, err
	}
	trust, kept, err := parseTrust(in.AssumeRolePolicyDocument)
	if err != nil {
		return nil, err
	}
	e.Trust = kept
	out := &iamapi.CreateRoleOutput{Role: s.roleShape(&e, e.Trust)}
	err = s.update(ctx, e.Account, func(tx *store.Tx) (err error) {
		if e.TrustIDs, err = s.bindTrust(tx, trust); err != nil {
			return err
		}
		if err := s.create(tx, s.roles, &e); err != nil {
			return err
		}
		protocol.Respond(ctx, iamapi.CreateRole, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func checkMaxSession(seconds int32) error {
	if seconds < 3600 || seconds > 43200 {
		return iamapi.ValidationError("1 validation error detected: Value '%d' at 'maxSessionDuration' failed to satisfy constraint: Member must have value between 3600 and 43200", seconds)
	}
	return nil
}

// GetRole describes a role. Its trust policy shows the unique id in place of a
// principal that is gone.
//
// Errors: NoSuchEntity.
func (s *Service) GetRole(ctx context.Context, in *iamapi.GetRoleInput) (*iamapi.GetRoleOutput, error) {
	out := &iamapi.GetRoleOutput{}
	err := s.view(ctx, func(tx *store.Tx) error {
		e, err := s.roles.get(tx, accountOf(ctx), in.RoleName)
		if err != nil {
			return err
		}
		trust, err := s.shownTrust(tx, &e)
		if err != nil {
			return err
		}
		out.Role = s.roleShape(&e, trust)
		out.Role.RoleLastUsed, err = s.roleLastUsed(tx, &e)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ListRoles lists the roles below a path prefix by name, without their tags
// and boundaries.
func (s *Service) ListRoles(ctx context.Context, in *iamapi.ListRolesInput) (*iamapi.ListRolesOutput, error) {
	all, err := s.listEntities(ctx, s.roles, in.PathPrefix)
	if err != nil {
		return nil, err
	}
	l := listing{name: "ListRoles|" + value(in.PathPrefix), marker: in.Marker, maxItems: in.MaxItems}
	all, truncated, marker, err := page(ctx, s, l, all, entityKey)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListRolesOutput{Roles: make([]iamapi.Role, len(all)), IsTruncated: truncated, Marker: marker}
	err = s.view(ctx, func(tx *store.Tx) error {
		for i := range all {
			trust, err := s.shownTrust(tx, &all[i])
			if err != nil {
				return err
			}
			r := s.roleShape(&all[i], trust)
			r.Tags, r.PermissionsBoundary = nil, nil
			out.Roles[i] = *r
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// UpdateRole changes description and longest session; what is absent stays. Of
// a service-linked role the description alone can change.
//
// Errors: NoSuchEntity; ValidationError; UnmodifiableEntity.
func (s *Service) UpdateRole(ctx context.Context, in *iamapi.UpdateRoleInput) (*iamapi.UpdateRoleOutput, error) {
	out := &iamapi.UpdateRoleOutput{}
	if in.MaxSessionDuration != nil {
		if err := checkMaxSession(*in.MaxSessionDuration); err != nil {
			return nil, err
		}
	}
	err := s.annotate(ctx, s.roles, in.RoleName, func(_ *store.Tx, e *entity) error {
		if in.Description != nil {
			e.Description = in.Description
		}
		if in.MaxSessionDuration != nil {
			if err := checkModifiable(e); err != nil {
				return err
			}
			e.MaxSession = *in.MaxSessionDuration
		}
		protocol.Respond(ctx, iamapi.UpdateRole, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// UpdateRoleDescription changes the description, also of a service-linked role.
//
// Errors: NoSuchEntity.
func (s *Service) UpdateRoleDescription(ctx context.Context, in *iamapi.UpdateRoleDescriptionInput) (*iamapi.UpdateRoleDescriptionOutput, error) {
	out := &iamapi.UpdateRoleDescriptionOutput{}
	err := s.annotate(ctx, s.roles, in.RoleName, func(tx *store.Tx, e *entity) error {
		e.Description = &in.Description
		trust, err := s.shownTrust(tx, e)
		if err != nil {
			return err
		}
		out.Role = s.roleShape(e, trust)
		protocol.Respond(ctx, iamapi.UpdateRoleDescription, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// UpdateAssumeRolePolicy replaces the trust policy of a role.
//
// Errors: NoSuchEntity; MalformedPolicyDocument; LimitExceeded;
// UnmodifiableEntity for service-linked roles.
func (s *Service) UpdateAssumeRolePolicy(ctx context.Context, in *iamapi.UpdateAssumeRolePolicyInput) (*schema.Nothing, error) {
	trust, kept, err := parseTrust(in.PolicyDocument)
	if err != nil {
		return nil, err
	}
	return nil, s.change(ctx, s.roles, in.RoleName, func(tx *store.Tx, e *entity) (err error) {
		e.Trust = kept
		e.TrustIDs, err = s.bindTrust(tx, trust)
		return err
	})
}

// DeleteRole removes a role that has no policies. Its sessions end with it,
// also when a role of the same name is made later.
//
// Errors: NoSuchEntity; DeleteConflict; UnmodifiableEntity for service-linked
// roles.
func (s *Service) DeleteRole(ctx context.Context, in *iamapi.DeleteRoleInput) (*schema.Nothing, error) {
	account := accountOf(ctx)
	return nil, s.update(ctx, account, func(tx *store.Tx) error {
		e, err := s.roles.get(tx, account, in.RoleName)
		if err != nil {
			return err
		}
		if err := cmp.Or(checkModifiable(&e), checkDeletable(&e)); err != nil {
			return err
		}
		if err := s.forgetUse(tx, account, e.ID); err != nil {
			return err
		}
		return s.roles.table.Delete(tx, account, strings.ToLower(e.Name))
	})
}

// ListInstanceProfilesForRole returns no profile: there are no instances.
//
// Errors: NoSuchEntity for the role.
func (s *Service) ListInstanceProfilesForRole(ctx context.Context, in *iamapi.ListInstanceProfilesForRoleInput) (*iamapi.ListInstanceProfilesForRoleOutput, error) {
	if _, err := s.read(ctx, s.roles, in.RoleName); err != nil {
		return nil, err
	}
	l := listing{name: "ListInstanceProfilesForRole|" + in.RoleName, marker: in.Marker, maxItems: in.MaxItems}
	profiles, truncated, marker, err := page(ctx, s, l, []iamapi.InstanceProfile{}, func(p iamapi.InstanceProfile) string { return p.InstanceProfileName })
	if err != nil {
		return nil, err
	}
	return &iamapi.ListInstanceProfilesForRoleOutput{InstanceProfiles: profiles, IsTruncated: truncated, Marker: marker}, nil
}
