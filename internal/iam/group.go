package iam

import (
	"context"
	"fmt"
	"slices"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// registerGroups adds the operations on groups.
func (s *Service) registerGroups(r *protocol.Registry) {
	protocol.Handle(r, iamapi.CreateGroup, s.resolveCreateGroup, s.CreateGroup)
	protocol.Handle(r, iamapi.GetGroup, of(s, s.groups, func(in *iamapi.GetGroupInput) string { return in.GroupName }), s.GetGroup)
	protocol.Handle(r, iamapi.ListGroups, below(s.groups, func(in *iamapi.ListGroupsInput) *string { return in.PathPrefix }), s.ListGroups)
	protocol.Handle(r, iamapi.UpdateGroup, s.resolveUpdateGroup, s.UpdateGroup)
	protocol.Handle(r, iamapi.DeleteGroup, of(s, s.groups, func(in *iamapi.DeleteGroupInput) string { return in.GroupName }), s.DeleteGroup)
	protocol.Handle(r, iamapi.AddUserToGroup, of(s, s.groups, func(in *iamapi.AddUserToGroupInput) string { return in.GroupName }), s.AddUserToGroup)
	protocol.Handle(r, iamapi.RemoveUserFromGroup, of(s, s.groups, func(in *iamapi.RemoveUserFromGroupInput) string { return in.GroupName }), s.RemoveUserFromGroup)
	protocol.Handle(r, iamapi.ListGroupsForUser, of(s, s.users, func(in *iamapi.ListGroupsForUserInput) string { return in.UserName }), s.ListGroupsForUser)
	protocol.Handle(r, iamapi.PutGroupPolicy, of(s, s.groups, func(in *iamapi.PutGroupPolicyInput) string { return in.GroupName }), s.PutGroupPolicy)
	protocol.Handle(r, iamapi.GetGroupPolicy, of(s, s.groups, func(in *iamapi.GetGroupPolicyInput) string { return in.GroupName }), s.GetGroupPolicy)
	protocol.Handle(r, iamapi.ListGroupPolicies, of(s, s.groups, func(in *iamapi.ListGroupPoliciesInput) string { return in.GroupName }), s.ListGroupPolicies)
	protocol.Handle(r, iamapi.DeleteGroupPolicy, of(s, s.groups, func(in *iamapi.DeleteGroupPolicyInput) string { return in.GroupName }), s.DeleteGroupPolicy)
	protocol.Handle(r, iamapi.AttachGroupPolicy, of(s, s.groups, func(in *iamapi.AttachGroupPolicyInput) string { return in.GroupName }, policyARN(func(in *iamapi.AttachGroupPolicyInput) string { return in.PolicyArn })), s.AttachGroupPolicy)
	protocol.Handle(r, iamapi.DetachGroupPolicy, of(s, s.groups, func(in *iamapi.DetachGroupPolicyInput) string { return in.GroupName }, policyARN(func(in *iamapi.DetachGroupPolicyInput) string { return in.PolicyArn })), s.DetachGroupPolicy)
	protocol.Handle(r, iamapi.ListAttachedGroupPolicies, of(s, s.groups, func(in *iamapi.ListAttachedGroupPoliciesInput) string { return in.GroupName }), s.ListAttachedGroupPolicies)
}

func (s *Service) groupShape(e *entity) *iamapi.Group {
	return &iamapi.Group{Path: e.Path, GroupName: e.Name, GroupId: e.ID, Arn: s.groups.arn(e), CreateDate: timeOf(e.Created)}
}

// CreateGroup adds a group without users and policies.
//
// Errors: EntityAlreadyExists, whatever the case of the name; InvalidInput;
// LimitExceeded beyond 300 groups.
func (s *Service) CreateGroup(ctx context.Context, in *iamapi.CreateGroupInput) (*iamapi.CreateGroupOutput, error) {
	e, err := s.newEntity(ctx, s.groups, in.GroupName, in.Path, nil, nil)
	if err != nil {
		return nil, err
	}
	out := &iamapi.CreateGroupOutput{Group: s.groupShape(&e)}
	err = s.update(ctx, e.Account, func(tx *store.Tx) error {
		if err := s.create(tx, s.groups, &e); err != nil {
			return err
		}
		protocol.Respond(ctx, iamapi.CreateGroup, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// GetGroup describes a group with its users by name, without their tags and
// boundaries. Errors: NoSuchEntity; ValidationError for a bad marker.
func (s *Service) GetGroup(ctx context.Context, in *iamapi.GetGroupInput) (*iamapi.GetGroupOutput, error) {
	var g entity
	var users []entity
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		if g, err = s.groups.get(tx, accountOf(ctx), in.GroupName); err != nil {
			return err
		}
		users, err = s.users.having(tx, byGroup, g.Account, g.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	l := listing{name: "GetGroup|" + g.ID, marker: in.Marker, maxItems: in.MaxItems}
	users, truncated, marker, err := page(ctx, s, l, users, entityKey)
	if err != nil {
		return nil, err
	}
	out := &iamapi.GetGroupOutput{Group: s.groupShape(&g), Users: make([]iamapi.User, len(users)), IsTruncated: truncated, Marker: marker}
	for i := range users {
		out.Users[i] = s.listedUser(&users[i])
	}
	return out, nil
}

// ListGroups lists the groups below a path prefix by name.
func (s *Service) ListGroups(ctx context.Context, in *iamapi.ListGroupsInput) (*iamapi.ListGroupsOutput, error) {
	all, err := s.listEntities(ctx, s.groups, in.PathPrefix)
	if err != nil {
		return nil, err
	}
	l := listing{name: "ListGroups|" + value(in.PathPrefix), marker: in.Marker, maxItems: in.MaxItems}
	groups, truncated, marker, err := s.pageGroups(ctx, l, all)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListGroupsOutput{Groups: groups, IsTruncated: truncated, Marker: marker}, nil
}

func (s *Service) pageGroups(ctx context.Context, l listing, all []entity) ([]iamapi.Group, *bool, *string, error) {
	all, truncated, marker, err := page(ctx, s, l, all, entityKey)
	if err != nil {
		return nil, nil, nil, err
	}
	groups := make([]iamapi.Group, len(all))
	for i := range all {
		groups[i] = *s.groupShape(&all[i])
	}
	return groups, truncated, marker, nil
}

// UpdateGroup gives a group another name or path. The unique id stays, and with
// it users and policies.
//
// Errors: NoSuchEntity; EntityAlreadyExists; InvalidInput.
func (s *Service) UpdateGroup(ctx context.Context, in *iamapi.UpdateGroupInput) (*schema.Nothing, error) {
	account := accountOf(ctx)
	return nil, s.update(ctx, account, func(tx *store.Tx) error {
		_, err := s.rename(tx, s.groups, account, in.GroupName, in.NewGroupName, in.NewPath)
		return err
	})
}

// DeleteGroup removes a group that has no users and no policies.
//
// Errors: NoSuchEntity; DeleteConflict.
func (s *Service) DeleteGroup(ctx context.Context, in *iamapi.DeleteGroupInput) (*schema.Nothing, error) {
	account := accountOf(ctx)
	return nil, s.update(ctx, account, func(tx *store.Tx) error {
		g, err := s.groups.get(tx, account, in.GroupName)
		if err != nil {
			return err
		}
		users, err := s.users.having(tx, byGroup, account, g.ID)
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return iamapi.DeleteConflictException("Cannot delete entity, must remove users from group first.")
		}
		if err := checkDeletable(&g); err != nil {
			return err
		}
		return s.groups.table.Delete(tx, account, strings.ToLower(g.Name))
	})
}

// changeMember rewrites a user for a change of its membership in a group.
func (s *Service) changeMember(ctx context.Context, group, user string, fn func(g, u *entity) error) error {
	account := accountOf(ctx)
	return s.update(ctx, account, func(tx *store.Tx) error {
		g, err := s.groups.get(tx, account, group)
		if err != nil {
			return err
		}
		u, err := s.users.get(tx, account, user)
		if err != nil {
			return err
		}
		if err := fn(&g, &u); err != nil {
			return err
		}
		return s.users.put(tx, u)
	})
}

// AddUserToGroup adds a user to a group, whose policies are the user's from the
// answer on; once more is no error.
//
// Errors: NoSuchEntity for the group or the user; LimitExceeded beyond ten
// groups.
func (s *Service) AddUserToGroup(ctx context.Context, in *iamapi.AddUserToGroupInput) (*schema.Nothing, error) {
	return nil, s.changeMember(ctx, in.GroupName, in.UserName, func(g, u *entity) error {
		switch {
		case slices.Contains(u.Groups, g.ID):
			return nil
		case len(u.Groups) >= groupsPerUser:
			return iamapi.LimitExceededException("Cannot exceed quota for GroupsPerUser: %d", groupsPerUser)
		}
		u.Groups = append(u.Groups, g.ID)
		return nil
	})
}

// RemoveUserFromGroup takes a user out of a group and the group's policies from
// the user.
//
// Errors: NoSuchEntity for the group, the user, or a user who is not in the
// group.
func (s *Service) RemoveUserFromGroup(ctx context.Context, in *iamapi.RemoveUserFromGroupInput) (*schema.Nothing, error) {
	return nil, s.changeMember(ctx, in.GroupName, in.UserName, func(g, u *entity) error {
		i := slices.Index(u.Groups, g.ID)
		if i < 0 {
			return iamapi.NoSuchEntityException("The user with name %s is not in the group %s.", u.Name, g.Name)
		}
		u.Groups = slices.Delete(u.Groups, i, i+1)
		return nil
	})
}

// ListGroupsForUser lists the groups that a user is in, by name.
//
// Errors: NoSuchEntity for the user.
func (s *Service) ListGroupsForUser(ctx context.Context, in *iamapi.ListGroupsForUserInput) (*iamapi.ListGroupsForUserOutput, error) {
	var u entity
	var all []entity
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		if u, err = s.users.get(tx, accountOf(ctx), in.UserName); err != nil {
			return err
		}
		all, err = s.groupsOf(tx, &u)
		return err
	})
	if err != nil {
		return nil, err
	}
	l := listing{name: "ListGroupsForUser|" + u.ID, marker: in.Marker, maxItems: in.MaxItems}
	groups, truncated, marker, err := s.pageGroups(ctx, l, all)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListGroupsForUserOutput{Groups: groups, IsTruncated: truncated, Marker: marker}, nil
}

// groupsOf returns the groups that a user is in.
func (s *Service) groupsOf(tx *store.Tx, u *entity) ([]entity, error) {
	all := make([]entity, len(u.Groups))
	for i, id := range u.Groups {
		g, err := s.groups.withID(tx, u.Account, "", id)
		if err != nil {
			return nil, fmt.Errorf("read a group of user %s: %w", u.Name, err)
		}
		all[i] = g
	}
	return all, nil
}
