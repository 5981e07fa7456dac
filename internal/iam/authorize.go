package iam

import (
	"context"
	"errors"
	"fmt"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// fact adds condition keys of one operation to its check.
type fact[In any] func(in *In, e *entity, c authz.Context)

// of is the resolver of operations on a named user, group or role of the caller's
// account. One that does not exist is checked under its ARN without a path;
// the method then says NoSuchEntity.
func of[In any](s *Service, k *kind, name func(*In) string, facts ...fact[In]) protocol.Resolver[In] {
	return func(ctx context.Context, in *In) ([]protocol.Check, error) {
		c, e, err := s.entityCheck(ctx, k, name(in))
		if err != nil {
			return nil, err
		}
		for _, f := range facts {
			f(in, e, c.Context)
		}
		return []protocol.Check{c}, nil
	}
}

// ofOwner is the resolver of operations whose user is optional: without a name
// the caller, the root user under the account's root ARN.
func ofOwner[In any](s *Service, name func(*In) *string) protocol.Resolver[In] {
	return func(ctx context.Context, in *In) ([]protocol.Check, error) {
		n, err := ownerName(ctx, name(in))
		if err != nil {
			return nil, err
		}
		c, err := s.ownerCheck(ctx, n)
		return []protocol.Check{c}, err
	}
}

func (s *Service) ownerCheck(ctx context.Context, name string) (protocol.Check, error) {
	if name == "" {
		account := accountOf(ctx)
		return protocol.Check{Resource: rootARN(account), Account: account}, nil
	}
	c, _, err := s.entityCheck(ctx, s.users, name)
	return c, err
}

func (s *Service) entityCheck(ctx context.Context, k *kind, name string) (protocol.Check, *entity, error) {
	e, err := s.read(ctx, k, name)
	if errors.Is(err, iamapi.NoSuchEntityException("")) {
		e, err = entity{Account: accountOf(ctx), Path: "/", Name: name}, nil
	}
	if err != nil {
		return protocol.Check{}, nil, err
	}
	c := authz.NewContext()
	resourceTags(c, e.Tags)
	return protocol.Check{Resource: k.arn(&e), Account: e.Account, Context: c}, &e, nil
}

func resourceTags(c authz.Context, tags []iamapi.Tag) {
	for _, t := range tags {
		c.Set("aws:ResourceTag/"+t.Key, t.Value)
		c.Set("iam:ResourceTag/"+t.Key, t.Value)
	}
}

func setRequestTags(c authz.Context, tags []iamapi.Tag) {
	keys := make([]string, len(tags))
	for i, t := range tags {
		c.Set("aws:RequestTag/"+t.Key, t.Value)
		keys[i] = t.Key
	}
	c.SetMulti("aws:TagKeys", keys...)
}

// bounded sets iam:PermissionsBoundary to the boundary that the user or role
// has.
func bounded[In any](_ *In, e *entity, c authz.Context) {
	if e.Boundary != "" {
		c.Set("iam:PermissionsBoundary", e.Boundary)
	}
}

// newBoundary sets iam:PermissionsBoundary to the boundary in the request.
func newBoundary[In any](policyARN func(*In) string) fact[In] {
	return func(in *In, _ *entity, c authz.Context) { c.Set("iam:PermissionsBoundary", policyARN(in)) }
}

func policyARN[In any](arn func(*In) string) fact[In] {
	return func(in *In, _ *entity, c authz.Context) { c.Set("iam:PolicyARN", arn(in)) }
}

func requestTags[In any](tags func(*In) []iamapi.Tag) fact[In] {
	return func(in *In, _ *entity, c authz.Context) { setRequestTags(c, tags(in)) }
}

func tagKeys[In any](keys func(*In) []string) fact[In] {
	return func(in *In, _ *entity, c authz.Context) { c.SetMulti("aws:TagKeys", keys(in)...) }
}

// below is the resolver of lists: the ARN of the path.
func below[In any](k *kind, pathPrefix func(*In) *string) protocol.Resolver[In] {
	return func(ctx context.Context, in *In) ([]protocol.Check, error) {
		return []protocol.Check{{Resource: k.arnOf(accountOf(ctx), pathOf(pathPrefix(in)), ""), Account: accountOf(ctx)}}, nil
	}
}

func belowPolicies(ctx context.Context, in *iamapi.ListPoliciesInput) ([]protocol.Check, error) {
	return []protocol.Check{{Resource: "arn:aws:iam::" + accountOf(ctx) + ":policy" + pathOf(in.PathPrefix), Account: accountOf(ctx)}}, nil
}

func pathOf(prefix *string) string {
	if prefix == nil || !strings.HasPrefix(*prefix, "/") {
		return "/"
	}
	return *prefix
}

func (s *Service) resolveCreateUser(ctx context.Context, in *iamapi.CreateUserInput) ([]protocol.Check, error) {
	return createCheck(ctx, s.users.arnOf(accountOf(ctx), pathOf(in.Path), in.UserName), in.PermissionsBoundary, in.Tags), nil
}

func (s *Service) resolveCreateRole(ctx context.Context, in *iamapi.CreateRoleInput) ([]protocol.Check, error) {
	return createCheck(ctx, s.roles.arnOf(accountOf(ctx), pathOf(in.Path), in.RoleName), in.PermissionsBoundary, in.Tags), nil
}

func (s *Service) resolveCreateGroup(ctx context.Context, in *iamapi.CreateGroupInput) ([]protocol.Check, error) {
	return createCheck(ctx, s.groups.arnOf(accountOf(ctx), pathOf(in.Path), in.GroupName), nil, nil), nil
}

func (s *Service) resolveUpdateUser(ctx context.Context, in *iamapi.UpdateUserInput) ([]protocol.Check, error) {
	return s.renameChecks(ctx, s.users, in.UserName, in.NewUserName, in.NewPath)
}

func (s *Service) resolveUpdateGroup(ctx context.Context, in *iamapi.UpdateGroupInput) ([]protocol.Check, error) {
	return s.renameChecks(ctx, s.groups, in.GroupName, in.NewGroupName, in.NewPath)
}

// renameChecks asks about the user or group under its old and its new ARN.
// Source: IAM API Reference, UpdateUser, UpdateGroup.
func (s *Service) renameChecks(ctx context.Context, k *kind, name string, newName, newPath *string) ([]protocol.Check, error) {
	old, e, err := s.entityCheck(ctx, k, name)
	if err != nil {
		return nil, err
	}
	as := *e
	if newName != nil {
		as.Name = *newName
	}
	if newPath != nil {
		as.Path = *newPath
	}
	checks := []protocol.Check{old}
	if renamed := k.arn(&as); renamed != old.Resource {
		c := authz.NewContext()
		resourceTags(c, e.Tags)
		checks = append(checks, protocol.Check{Resource: renamed, Account: as.Account, Context: c})
	}
	return checks, nil
}

func (s *Service) resolveCreatePolicy(ctx context.Context, in *iamapi.CreatePolicyInput) ([]protocol.Check, error) {
	return createCheck(ctx, "arn:aws:iam::"+accountOf(ctx)+":policy"+pathOf(in.Path)+in.PolicyName, nil, in.Tags), nil
}

// createCheck asks for the creation, and for the tagging that comes with it
// as an action of its own, as AWS does.
func createCheck(ctx context.Context, resource string, boundary *string, tags []iamapi.Tag) []protocol.Check {
	c := authz.NewContext()
	if boundary != nil {
		c.Set("iam:PermissionsBoundary", *boundary)
	}
	setRequestTags(c, tags)
	checks := []protocol.Check{{Resource: resource, Account: accountOf(ctx), Context: c}}
	if len(tags) > 0 {
		action := "iam:TagPolicy"
		switch {
		case strings.Contains(resource, ":user/"):
			action = "iam:TagUser"
		case strings.Contains(resource, ":role/"):
			action = "iam:TagRole"
		}
		checks = append(checks, protocol.Check{Action: action, Resource: resource, Account: accountOf(ctx), Context: c})
	}
	return checks
}

// ofPolicy is the resolver of operations on a managed policy. An AWS managed
// policy belongs to whoever asks; a policy of another account is that
// account's, which has no way to share it.
func ofPolicy[In any](s *Service, name func(*In) string, facts ...fact[In]) protocol.Resolver[In] {
	return func(ctx context.Context, in *In) ([]protocol.Check, error) {
		policyARN := name(in)
		c := protocol.Check{Resource: policyARN, Account: accountOf(ctx), Context: authz.NewContext()}
		if a, ok := parseARN(policyARN); ok && validAccount(a.account) {
			c.Account = a.account
		}
		err := s.view(ctx, func(tx *store.Tx) error {
			p, found, err := s.managed(tx, accountOf(ctx), policyARN)
			if found {
				resourceTags(c.Context, p.Tags)
			}
			return err
		})
		for _, f := range facts {
			f(in, nil, c.Context)
		}
		return []protocol.Check{c}, err
	}
}

// resolveAccessKey names the user that a key belongs to; a key that is not
// there or another account's is checked as the account's root.
func (s *Service) resolveAccessKey(ctx context.Context, in *iamapi.GetAccessKeyLastUsedInput) ([]protocol.Check, error) {
	var k accessKeyRow
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		k, err = s.keys.Get(tx, in.AccessKeyId)
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read access key: %w", err)
	}
	name := ""
	if k.Account == accountOf(ctx) {
		name = k.UserName
	}
	c, err := s.ownerCheck(ctx, name)
	return []protocol.Check{c}, err
}

// PassRoleCheck asks whether the caller may hand a role to a service
// (sagemaker-geospatial.amazonaws.com …). It is no call and leaves no record;
// a service that is given a role asks it before it assumes the role.
// Source: IAM User Guide, "Grant a user permissions to pass a role to an AWS
// service".
func PassRoleCheck(roleARN, service string) protocol.Check {
	c := authz.NewContext()
	c.Set("iam:PassedToService", service)
	check := protocol.Check{Action: "iam:PassRole", Resource: roleARN, Context: c}
	if a, ok := parseARN(roleARN); ok {
		check.Account = a.account
	}
	return check
}
