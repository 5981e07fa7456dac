package iam

import (
	"context"
	"fmt"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

func (s *Service) userShape(e *entity) *iamapi.User {
	return &iamapi.User{
		Path: e.Path, UserName: &e.Name, UserId: e.ID, Arn: s.users.arn(e), CreateDate: timeOf(e.Created),
		PermissionsBoundary: boundaryShape(e.Boundary), Tags: e.Tags,
	}
}

// newEntity checks what users, groups and roles have in common. Boundary and
// name are checked by create.
func (s *Service) newEntity(ctx context.Context, k *kind, name string, path, boundary *string, tags []iamapi.Tag) (entity, error) {
	e := entity{Account: accountOf(ctx), Name: name, Path: "/", ID: newUniqueID(k.idPrefix), Created: s.stamp(), Boundary: value(boundary)}
	if path != nil {
		e.Path = *path
	}
	if err := checkPath(e.Path); err != nil {
		return entity{}, err
	}
	var err error
	e.Tags, err = mergeTags(nil, tags)
	return e, err
}

// checkPath refuses the paths that AWS keeps for itself.
func checkPath(path string) error {
	switch {
	case strings.HasPrefix(path, linkedPath):
		return iamapi.InvalidInputException("Path prefix '%s' can only be used for AWS Service linked Roles", linkedPath)
	case strings.HasPrefix(path, "/aws-reserved/"):
		return iamapi.InvalidInputException("The path %s is reserved for AWS services.", path)
	}
	return nil
}

// create stores a new user, group or role.
func (s *Service) create(tx *store.Tx, k *kind, e *entity) error {
	have, err := k.table.Exists(tx, e.Account, strings.ToLower(e.Name))
	if err != nil {
		return err
	}
	if have {
		return iamapi.EntityAlreadyExistsException("%s with name %s already exists.", k.title, e.Name)
	}
	if e.Boundary != "" {
		if err := s.checkBoundary(tx, e.Account, e.Boundary); err != nil {
			return err
		}
	}
	if e.Linked == "" { // service-linked roles alone may exceed the quota of roles
		if err := checkQuota(tx, k.table, e.Account, k.quota, k.title+"sPerAccount"); err != nil {
			return err
		}
	}
	return k.put(tx, *e)
}

// checkQuota refuses a new row of the account when it has max.
func checkQuota[T any](tx *store.Tx, t *store.Table[T], account string, limit int, name string) error {
	n := 0
	for _, err := range t.Scan(tx, store.Key{account}, store.ScanOptions{}) {
		if err != nil {
			return fmt.Errorf("count for the quota %s: %w", name, err)
		}
		n++
	}
	if n >= limit {
		return iamapi.LimitExceededException("Cannot exceed quota for %s: %d", name, limit)
	}
	return nil
}

// change rewrites a user, group or role of the caller's account.
//
// Errors: NoSuchEntity; UnmodifiableEntity for service-linked roles.
func (s *Service) change(ctx context.Context, k *kind, name string, fn func(*store.Tx, *entity) error) error {
	return s.annotate(ctx, k, name, func(tx *store.Tx, e *entity) error {
		if err := checkModifiable(e); err != nil {
			return err
		}
		return fn(tx, e)
	})
}

// annotate is change for what service-linked roles take as well: tags and
// descriptions.
func (s *Service) annotate(ctx context.Context, k *kind, name string, fn func(*store.Tx, *entity) error) error {
	account := accountOf(ctx)
	return s.update(ctx, account, func(tx *store.Tx) error {
		e, err := k.get(tx, account, name)
		if err != nil {
			return err
		}
		if err := fn(tx, &e); err != nil {
			return err
		}
		return k.put(tx, e)
	})
}

// read returns a user, group or role of the caller's account.
func (s *Service) read(ctx context.Context, k *kind, name string) (e entity, err error) {
	err = s.view(ctx, func(tx *store.Tx) (err error) {
		e, err = k.get(tx, accountOf(ctx), name)
		return err
	})
	return e, err
}

// CreateUser adds a user without credentials.
//
// Errors: EntityAlreadyExists, whatever the case of the name; InvalidInput;
// NoSuchEntity for the boundary; LimitExceeded for tags, or 5,000 users.
func (s *Service) CreateUser(ctx context.Context, in *iamapi.CreateUserInput) (*iamapi.CreateUserOutput, error) {
	e, err := s.newEntity(ctx, s.users, in.UserName, in.Path, in.PermissionsBoundary, in.Tags)
	if err != nil {
		return nil, err
	}
	out := &iamapi.CreateUserOutput{User: s.userShape(&e)}
	err = s.update(ctx, e.Account, func(tx *store.Tx) error {
		if err := s.create(tx, s.users, &e); err != nil {
			return err
		}
		protocol.Respond(ctx, iamapi.CreateUser, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// GetUser describes a user, without a name the caller, who may be the root
// user: its name is the account's alias, and absent without one.
//
// Errors: NoSuchEntity; ValidationError when a role's session names no user.
func (s *Service) GetUser(ctx context.Context, in *iamapi.GetUserInput) (*iamapi.GetUserOutput, error) {
	name, err := ownerName(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return s.getRoot(ctx)
	}
	e, err := s.read(ctx, s.users, name)
	if err != nil {
		return nil, err
	}
	return &iamapi.GetUserOutput{User: s.userShape(&e)}, nil
}

func (s *Service) getRoot(ctx context.Context) (*iamapi.GetUserOutput, error) {
	account := accountOf(ctx)
	var row accountRow
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		row, err = s.accounts.Get(tx, account)
		return err
	})
	if err != nil {
		return nil, err
	}
	root := &iamapi.User{Path: "/", UserId: account, Arn: rootARN(account), CreateDate: timeOf(row.Created)}
	if row.Alias != "" {
		root.UserName = &row.Alias
	}
	return &iamapi.GetUserOutput{User: root}, nil
}

// ownerName is the user that a call with an optional UserName is about: the
// named one, else the caller; "" is the root user.
func ownerName(ctx context.Context, name *string) (string, error) {
	if name != nil {
		return *name, nil
	}
	switch c := identity.From(ctx).Caller; c.Type {
	case identity.Root:
		return "", nil
	case identity.User:
		return c.UserName, nil
	}
	return "", iamapi.ValidationError("Must specify userName when calling with non-User credentials")
}

// ListUsers lists the users below a path prefix by name, without their tags and
// boundaries.
func (s *Service) ListUsers(ctx context.Context, in *iamapi.ListUsersInput) (*iamapi.ListUsersOutput, error) {
	all, err := s.listEntities(ctx, s.users, in.PathPrefix)
	if err != nil {
		return nil, err
	}
	l := listing{name: "ListUsers|" + value(in.PathPrefix), marker: in.Marker, maxItems: in.MaxItems}
	all, truncated, marker, err := page(ctx, s, l, all, entityKey)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListUsersOutput{Users: make([]iamapi.User, len(all)), IsTruncated: truncated, Marker: marker}
	for i := range all {
		out.Users[i] = s.listedUser(&all[i])
	}
	return out, nil
}

// listedUser is a user as lists show it: without tags and boundary.
func (s *Service) listedUser(e *entity) iamapi.User {
	u := s.userShape(e)
	u.Tags, u.PermissionsBoundary = nil, nil
	return *u
}

func entityKey(e entity) string { return strings.ToLower(e.Name) }

func (s *Service) listEntities(ctx context.Context, k *kind, pathPrefix *string) (all []entity, err error) {
	err = s.view(ctx, func(tx *store.Tx) (err error) {
		all, err = k.list(tx, accountOf(ctx), value(pathPrefix))
		return err
	})
	return all, err
}

// UpdateUser gives a user another name or path. The unique id stays, and with
// it access keys, groups, policies, and what policies of resources allow.
//
// Errors: NoSuchEntity; EntityAlreadyExists; InvalidInput.
func (s *Service) UpdateUser(ctx context.Context, in *iamapi.UpdateUserInput) (*schema.Nothing, error) {
	account := accountOf(ctx)
	return nil, s.update(ctx, account, func(tx *store.Tx) error {
		e, err := s.rename(tx, s.users, account, in.UserName, in.NewUserName, in.NewPath)
		if err != nil {
			return err
		}
		keys, err := s.keysOf(tx, account, e.ID)
		if err != nil {
			return err
		}
		for _, key := range keys {
			key.UserName = e.Name
			if err := s.keys.Put(tx, key, key.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// rename moves a user or group to another name or path.
func (s *Service) rename(tx *store.Tx, k *kind, account, name string, newName, newPath *string) (entity, error) {
	e, err := k.get(tx, account, name)
	if err != nil {
		return entity{}, err
	}
	if newPath != nil {
		if err := checkPath(*newPath); err != nil {
			return entity{}, err
		}
		e.Path = *newPath
	}
	if newName != nil && !strings.EqualFold(*newName, e.Name) {
		have, err := k.table.Exists(tx, account, strings.ToLower(*newName))
		if err != nil {
			return entity{}, err
		}
		if have {
			return entity{}, iamapi.EntityAlreadyExistsException("%s with name %s already exists.", k.title, *newName)
		}
		if err := k.table.Delete(tx, account, strings.ToLower(e.Name)); err != nil {
			return entity{}, err
		}
	}
	if newName != nil {
		e.Name = *newName
	}
	return e, k.put(tx, e)
}

// checkDeletable refuses to delete a user, group or role that still holds
// something.
func checkDeletable(e *entity) error {
	switch {
	case len(e.Attached) > 0:
		return iamapi.DeleteConflictException("Cannot delete entity, must detach all policies first.")
	case len(e.Inline) > 0:
		return iamapi.DeleteConflictException("Cannot delete entity, must delete policies first.")
	}
	return nil
}

// DeleteUser removes a user that has no policies and no access keys and is in
// no group.
//
// Errors: NoSuchEntity; DeleteConflict.
func (s *Service) DeleteUser(ctx context.Context, in *iamapi.DeleteUserInput) (*schema.Nothing, error) {
	account := accountOf(ctx)
	err := s.update(ctx, account, func(tx *store.Tx) error {
		e, err := s.users.get(tx, account, in.UserName)
		if err != nil {
			return err
		}
		if len(e.Groups) > 0 {
			return iamapi.DeleteConflictException("Cannot delete entity, must remove users from group first.")
		}
		if err := checkDeletable(&e); err != nil {
			return err
		}
		keys, err := s.keysOf(tx, account, e.ID)
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			return iamapi.DeleteConflictException("Cannot delete entity, must delete access keys first.")
		}
		return s.users.table.Delete(tx, account, strings.ToLower(e.Name))
	})
	return nil, err
}
