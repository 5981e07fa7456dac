package iam

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// managed returns the managed policy of an ARN that the account can use: its
// own or an AWS managed one.
//
// Errors: InvalidInput for what is no policy ARN.
func (s *Service) managed(tx *store.Tx, account, policyARN string) (p policyRow, found bool, err error) {
	if p, ok := s.builtin[policyARN]; ok {
		return p, true, nil
	}
	a, ok := parseARN(policyARN)
	name, named := a.name("policy")
	if !ok || !named || a.service != "iam" {
		return policyRow{}, false, iamapi.InvalidInputException("ARN %s is not valid.", policyARN)
	}
	if a.account != account {
		return policyRow{}, false, nil
	}
	p, err = s.policies.Get(tx, account, strings.ToLower(name))
	if errors.Is(err, store.ErrNotFound) || err == nil && p.arn() != policyARN {
		return policyRow{}, false, nil
	}
	return p, err == nil, err
}

// existing is managed, and NoSuchEntity when there is none.
func (s *Service) existing(tx *store.Tx, account, policyARN string) (policyRow, error) {
	p, found, err := s.managed(tx, account, policyARN)
	if err == nil && !found {
		err = iamapi.NoSuchEntityException("Policy %s was not found.", policyARN)
	}
	return p, err
}

// policyShape describes a policy with its use by the account.
func (s *Service) policyShape(tx *store.Tx, account string, p *policyRow) (*iamapi.Policy, error) {
	attached, bounding, err := s.policyUses(tx, account, p.arn())
	if err != nil {
		return nil, err
	}
	return &iamapi.Policy{
		PolicyName: &p.Name, PolicyId: &p.ID, Arn: new(p.arn()), Path: &p.Path, DefaultVersionId: &p.Default,
		AttachmentCount: &attached, PermissionsBoundaryUsageCount: &bounding, IsAttachable: new(true), Description: p.Description,
		CreateDate: new(timeOf(p.Created)), UpdateDate: new(timeOf(p.Updated)), Tags: p.Tags,
	}, nil
}

// policyUses counts the users, groups and roles that a policy is attached to,
// and those that it bounds.
func (s *Service) policyUses(tx *store.Tx, account, policyARN string) (attached, bounding int32, err error) {
	for _, k := range []*kind{s.users, s.groups, s.roles} {
		a, err := k.having(tx, byAttached, account, policyARN)
		if err != nil {
			return 0, 0, err
		}
		b, err := k.having(tx, byBoundary, account, policyARN)
		if err != nil {
			return 0, 0, err
		}
		attached, bounding = attached+int32(len(a)), bounding+int32(len(b))
	}
	return attached, bounding, nil
}

func parseManaged(doc string) error {
	if _, err := parseDocument(authz.IdentityPolicy, doc); err != nil {
		return err
	}
	if documentSize(doc) > managedPolicySize {
		return iamapi.LimitExceededException("Cannot exceed quota for PolicySize: %d", managedPolicySize)
	}
	return nil
}

// CreatePolicy adds a customer managed policy with its first version, v1.
//
// Errors: EntityAlreadyExists; MalformedPolicyDocument; LimitExceeded beyond
// 6,144 characters, or 1,500 policies in the account; InvalidInput.
func (s *Service) CreatePolicy(ctx context.Context, in *iamapi.CreatePolicyInput) (*iamapi.CreatePolicyOutput, error) {
	if err := parseManaged(in.PolicyDocument); err != nil {
		return nil, err
	}
	tags, err := mergeTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	now := s.stamp()
	p := policyRow{
		Account: accountOf(ctx), Name: in.PolicyName, Path: "/", ID: newUniqueID("ANPA"), Description: in.Description,
		Created: now, Updated: now, Default: "v1", Next: 2, Tags: tags,
		Versions: []policyVersion{{ID: "v1", Document: squeezed(in.PolicyDocument, managedPolicySize), Created: now}},
	}
	if in.Path != nil {
		p.Path = *in.Path
	}
	out := &iamapi.CreatePolicyOutput{}
	err = s.update(ctx, p.Account, func(tx *store.Tx) error {
		have, err := s.policies.Exists(tx, p.Account, strings.ToLower(p.Name))
		if err != nil {
			return err
		}
		if have {
			return iamapi.EntityAlreadyExistsException("A policy called %s already exists. Duplicate names are not allowed.", p.Name)
		}
		if err := checkQuota(tx, s.policies, p.Account, policiesPerAccount, "PoliciesPerAccount"); err != nil {
			return err
		}
		if out.Policy, err = s.policyShape(tx, p.Account, &p); err != nil {
			return err
		}
		protocol.Respond(ctx, iamapi.CreatePolicy, out)
		return s.policies.Put(tx, p, p.Account, strings.ToLower(p.Name))
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// GetPolicy describes a managed policy. Errors: NoSuchEntity; InvalidInput.
func (s *Service) GetPolicy(ctx context.Context, in *iamapi.GetPolicyInput) (*iamapi.GetPolicyOutput, error) {
	out := &iamapi.GetPolicyOutput{}
	account := accountOf(ctx)
	err := s.view(ctx, func(tx *store.Tx) error {
		p, err := s.existing(tx, account, in.PolicyArn)
		if err != nil {
			return err
		}
		out.Policy, err = s.policyShape(tx, account, &p)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ListPolicies lists managed policies by name: the account's own, AWS's, or
// both; with OnlyAttached or a usage those that a user, group or role of the
// account has.
func (s *Service) ListPolicies(ctx context.Context, in *iamapi.ListPoliciesInput) (*iamapi.ListPoliciesOutput, error) {
	account := accountOf(ctx)
	out := &iamapi.ListPoliciesOutput{}
	err := s.view(ctx, func(tx *store.Tx) error {
		all, err := s.allPolicies(tx, account, in.Scope)
		if err != nil {
			return err
		}
		if in.PolicyUsageFilter != "" || value(in.OnlyAttached) || value(in.PathPrefix) != "" {
			if all, err = s.policiesInUse(tx, account, all, in); err != nil {
				return err
			}
		}
		l := listing{
			name:   fmt.Sprintf("ListPolicies|%s|%t|%s|%s", in.Scope, value(in.OnlyAttached), in.PolicyUsageFilter, value(in.PathPrefix)),
			marker: in.Marker, maxItems: in.MaxItems,
		}
		all, out.IsTruncated, out.Marker, err = page(ctx, s, l, all, func(p policyRow) string { return policyKey(p.Name, p.arn()) })
		if err != nil {
			return err
		}
		out.Policies = make([]iamapi.Policy, len(all))
		for i := range all {
			shape, err := s.policyShape(tx, account, &all[i])
			if err != nil {
				return err
			}
			shape.Tags, shape.Description = nil, nil
			out.Policies[i] = *shape
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// policiesInUse keeps the policies that path, usage and OnlyAttached of a
// request leave.
func (s *Service) policiesInUse(tx *store.Tx, account string, all []policyRow, in *iamapi.ListPoliciesInput) ([]policyRow, error) {
	var kept []policyRow
	for i := range all {
		if !strings.HasPrefix(all[i].Path, value(in.PathPrefix)) {
			continue
		}
		attached, bounding, err := s.policyUses(tx, account, all[i].arn())
		if err != nil {
			return nil, err
		}
		switch {
		case in.PolicyUsageFilter == iamapi.PolicyUsageTypePermissionsPolicy && attached == 0,
			in.PolicyUsageFilter == iamapi.PolicyUsageTypePermissionsBoundary && bounding == 0,
			value(in.OnlyAttached) && attached+bounding == 0:
			continue
		}
		kept = append(kept, all[i])
	}
	return kept, nil
}

// policyKey sorts policies by name; an AWS managed policy may have the name
// of one of the account's.
func policyKey(name, policyARN string) string {
	owner := "own"
	if strings.HasPrefix(policyARN, awsPolicyPrefix) {
		owner = "aws"
	}
	return strings.ToLower(name) + "|" + owner
}

// allPolicies returns the managed policies of a scope, those of the account
// without their documents and tags.
func (s *Service) allPolicies(tx *store.Tx, account string, scope iamapi.PolicyScopeType) ([]policyRow, error) {
	var all []policyRow
	if scope != iamapi.PolicyScopeTypeLocal {
		for _, p := range s.builtin {
			all = append(all, p)
		}
	}
	if scope == iamapi.PolicyScopeTypeAws {
		return all, nil
	}
	for row, err := range s.policies.Scan(tx, store.Key{account}, store.ScanOptions{}) {
		if err != nil {
			return nil, fmt.Errorf("list policies: %w", err)
		}
		p := row.Value
		p.Tags = nil
		for i := range p.Versions {
			p.Versions[i].Document = ""
		}
		all = append(all, p)
	}
	return all, nil
}

// changePolicy rewrites the versions of a customer managed policy.
func (s *Service) changePolicy(ctx context.Context, policyARN string, fn func(*policyRow) error) error {
	return s.annotatePolicy(ctx, policyARN, func(p *policyRow) error {
		p.Updated = s.stamp()
		return fn(p)
	})
}

// annotatePolicy rewrites a customer managed policy; its versions and the time
// of their last change stay.
func (s *Service) annotatePolicy(ctx context.Context, policyARN string, fn func(*policyRow) error) error {
	account := accountOf(ctx)
	return s.update(ctx, account, func(tx *store.Tx) error {
		p, err := s.owned(tx, account, policyARN)
		if err != nil {
			return err
		}
		if err := fn(&p); err != nil {
			return err
		}
		return s.policies.Put(tx, p, p.Account, strings.ToLower(p.Name))
	})
}

// owned is existing for policies that are about to change.
func (s *Service) owned(tx *store.Tx, account, policyARN string) (policyRow, error) {
	p, err := s.existing(tx, account, policyARN)
	if err == nil && p.Account != account {
		err = iamapi.AccessDenied("Policy %s is managed by AWS and cannot be changed.", policyARN)
	}
	return p, err
}

// DeletePolicy removes a customer managed policy that is attached to nobody
// and has its default version only.
//
// Errors: NoSuchEntity; DeleteConflict; InvalidInput; AccessDenied for AWS
// managed policies.
func (s *Service) DeletePolicy(ctx context.Context, in *iamapi.DeletePolicyInput) (*schema.Nothing, error) {
	account := accountOf(ctx)
	return nil, s.update(ctx, account, func(tx *store.Tx) error {
		p, err := s.owned(tx, account, in.PolicyArn)
		if err != nil {
			return err
		}
		attached, bounding, err := s.policyUses(tx, account, in.PolicyArn)
		switch {
		case err != nil:
			return err
		case attached+bounding > 0:
			return iamapi.DeleteConflictException("Cannot delete a policy attached to entities.")
		case len(p.Versions) > 1:
			return iamapi.DeleteConflictException("This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		return s.policies.Delete(tx, account, strings.ToLower(p.Name))
	})
}

func versionShape(p *policyRow, v *policyVersion) *iamapi.PolicyVersion {
	return &iamapi.PolicyVersion{VersionId: &v.ID, IsDefaultVersion: new(v.ID == p.Default), CreateDate: new(timeOf(v.Created))}
}

func noVersion(policyARN, version string) error {
	return iamapi.NoSuchEntityException("Policy %s version %s does not exist or is not attachable.", policyARN, version)
}

// CreatePolicyVersion adds a version, as the default one if asked.
//
// Errors: NoSuchEntity; MalformedPolicyDocument; LimitExceeded beyond five
// versions or 6,144 characters; InvalidInput; AccessDenied for AWS managed
// policies.
func (s *Service) CreatePolicyVersion(ctx context.Context, in *iamapi.CreatePolicyVersionInput) (*iamapi.CreatePolicyVersionOutput, error) {
	if err := parseManaged(in.PolicyDocument); err != nil {
		return nil, err
	}
	out := &iamapi.CreatePolicyVersionOutput{}
	err := s.changePolicy(ctx, in.PolicyArn, func(p *policyRow) error {
		if len(p.Versions) >= policyVersions {
			return iamapi.LimitExceededException("A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", policyVersions)
		}
		v := policyVersion{ID: "v" + strconv.Itoa(p.Next), Document: squeezed(in.PolicyDocument, managedPolicySize), Created: s.stamp()}
		p.Next++
		p.Versions = append(p.Versions, v)
		if value(in.SetAsDefault) {
			p.Default = v.ID
		}
		out.PolicyVersion = versionShape(p, &v)
		protocol.Respond(ctx, iamapi.CreatePolicyVersion, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// readPolicy returns a policy that the caller's account can use.
func (s *Service) readPolicy(ctx context.Context, policyARN string) (p policyRow, err error) {
	err = s.view(ctx, func(tx *store.Tx) (err error) {
		p, err = s.existing(tx, accountOf(ctx), policyARN)
		return err
	})
	return p, err
}

// GetPolicyVersion returns one version with its document. Errors:
// NoSuchEntity; InvalidInput.
func (s *Service) GetPolicyVersion(ctx context.Context, in *iamapi.GetPolicyVersionInput) (*iamapi.GetPolicyVersionOutput, error) {
	p, err := s.readPolicy(ctx, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	v := p.version(in.VersionId)
	if v == nil {
		return nil, noVersion(in.PolicyArn, in.VersionId)
	}
	shape := versionShape(&p, v)
	shape.Document = new(encodeDocument(v.Document))
	return &iamapi.GetPolicyVersionOutput{PolicyVersion: shape}, nil
}

// ListPolicyVersions lists versions, newest first, without their documents.
// Errors: NoSuchEntity; InvalidInput.
func (s *Service) ListPolicyVersions(ctx context.Context, in *iamapi.ListPolicyVersionsInput) (*iamapi.ListPolicyVersionsOutput, error) {
	p, err := s.readPolicy(ctx, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	l := listing{name: "ListPolicyVersions|" + p.ID, marker: in.Marker, maxItems: in.MaxItems}
	versions, truncated, marker, err := page(ctx, s, l, slices.Clone(p.Versions), func(v policyVersion) string {
		n, _ := strconv.Atoi(v.ID[1:])
		return fmt.Sprintf("%012d", 1_000_000_000_000-1-n)
	})
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListPolicyVersionsOutput{Versions: make([]iamapi.PolicyVersion, len(versions)), IsTruncated: truncated, Marker: marker}
	for i := range versions {
		out.Versions[i] = *versionShape(&p, &versions[i])
	}
	return out, nil
}

// DeletePolicyVersion removes a version that is not the default one.
//
// Errors: NoSuchEntity; DeleteConflict; InvalidInput; AccessDenied for AWS
// managed policies.
func (s *Service) DeletePolicyVersion(ctx context.Context, in *iamapi.DeletePolicyVersionInput) (*schema.Nothing, error) {
	return nil, s.changePolicy(ctx, in.PolicyArn, func(p *policyRow) error {
		if p.version(in.VersionId) == nil {
			return noVersion(in.PolicyArn, in.VersionId)
		}
		if p.Default == in.VersionId {
			return iamapi.DeleteConflictException("Cannot delete the default version of a policy.")
		}
		p.Versions = slices.DeleteFunc(p.Versions, func(v policyVersion) bool { return v.ID == in.VersionId })
		return nil
	})
}

// SetDefaultPolicyVersion makes a version the one in force.
//
// Errors: NoSuchEntity; InvalidInput; AccessDenied for AWS managed policies.
func (s *Service) SetDefaultPolicyVersion(ctx context.Context, in *iamapi.SetDefaultPolicyVersionInput) (*schema.Nothing, error) {
	return nil, s.changePolicy(ctx, in.PolicyArn, func(p *policyRow) error {
		if p.version(in.VersionId) == nil {
			return noVersion(in.PolicyArn, in.VersionId)
		}
		p.Default = in.VersionId
		return nil
	})
}
