package organizations

import (
	"context"
	"fmt"
	"slices"
	"strings"

	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/store"
)

// target is what policies and tags are attached to: the root, a unit or an
// account, with the row that holds it.
type target struct {
	typ      orgapi.TargetType
	id, name string
	parent   string // "" for the root
	attached *attachments
	tags     *[]orgapi.Tag
	put      func(*store.Tx) error
}

// target returns the root, unit or account of an id, or an error that is
// store.ErrNotFound.
func (s *Service) target(tx *store.Tx, o *organizationRow, id string) (*target, error) {
	switch {
	case id == o.Root:
		return s.rootTarget(o), nil
	case strings.HasPrefix(id, "ou-"):
		u, err := s.units.Get(tx, o.ID, id)
		if err != nil {
			return nil, fmt.Errorf("read unit: %w", err)
		}
		return s.unitTarget(&u), nil
	case isAccount(id):
		a, err := s.accounts.Get(tx, id)
		if err == nil && a.Organization != o.ID {
			err = store.ErrNotFound
		}
		if err != nil {
			return nil, fmt.Errorf("read account: %w", err)
		}
		return s.accountTarget(&a), nil
	}
	return nil, fmt.Errorf("target %q: %w", id, store.ErrNotFound)
}

func (s *Service) rootTarget(o *organizationRow) *target {
	return &target{
		typ: orgapi.TargetTypeRoot, id: o.Root, name: rootName, attached: &o.Attached, tags: &o.Tags,
		put: func(tx *store.Tx) error { return s.organizations.Put(tx, *o, o.ID) },
	}
}

func (s *Service) unitTarget(u *unitRow) *target {
	return &target{
		typ: orgapi.TargetTypeOrganizationalUnit, id: u.ID, name: u.Name, parent: u.Parent, attached: &u.Attached, tags: &u.Tags,
		put: func(tx *store.Tx) error { return s.units.Put(tx, *u, u.Organization, u.ID) },
	}
}

func (s *Service) accountTarget(a *accountRow) *target {
	return &target{
		typ: orgapi.TargetTypeAccount, id: a.ID, name: a.Name, parent: a.Parent, attached: &a.Attached, tags: &a.Tags,
		put: func(tx *store.Tx) error { return s.accounts.Put(tx, *a, a.ID) },
	}
}

// everyTarget returns the root, all units and all accounts.
func (s *Service) everyTarget(tx *store.Tx, o *organizationRow) ([]*target, error) {
	all := []*target{s.rootTarget(o)}
	for row, err := range s.units.Scan(tx, store.Key{o.ID}, store.ScanOptions{}) {
		if err != nil {
			return nil, fmt.Errorf("list units: %w", err)
		}
		all = append(all, s.unitTarget(&row.Value))
	}
	for row, err := range s.accounts.ByIndex(tx, byOrganization, store.Key{o.ID}, store.ScanOptions{}) {
		if err != nil {
			return nil, fmt.Errorf("list accounts: %w", err)
		}
		all = append(all, s.accountTarget(&row.Value))
	}
	return all, nil
}

func noTarget() error {
	return orgapi.TargetNotFoundException("You specified a target that doesn't exist.")
}

// attachment returns a policy and a target of the organization.
//
// Errors: PolicyNotFoundException; TargetNotFoundException.
func (s *Service) attachment(tx *store.Tx, o *organizationRow, policy, id string) (*policyRow, *target, error) {
	p, err := s.policy(tx, o, policy)
	if err != nil {
		return nil, nil, missing(err, "policy", noPolicy())
	}
	t, err := s.target(tx, o, id)
	if err != nil {
		return nil, nil, missing(err, "target", noTarget())
	}
	return p, t, nil
}

// AttachPolicy attaches a policy to the root, a unit or an account. It binds
// from the next request on.
//
// Errors: PolicyNotFoundException; TargetNotFoundException;
// PolicyTypeNotEnabledException; DuplicatePolicyAttachmentException;
// ConstraintViolationException beyond five policies of the type;
// AWSOrganizationsNotInUseException; AccessDeniedException.
func (s *Service) AttachPolicy(ctx context.Context, in *orgapi.AttachPolicyInput) (*schema.Nothing, error) {
	return nil, s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		p, t, err := s.attachment(tx, o, in.PolicyId, in.TargetId)
		if err != nil {
			return err
		}
		switch {
		case !o.enabled(p.Type):
			return notEnabled()
		case t.attached.has(p.Type, p.ID):
			return orgapi.DuplicatePolicyAttachmentException("The selected policy is already attached to the specified target.")
		case len((*t.attached)[p.Type]) >= maxAttached:
			return violation("MAX_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED", "You have attached the maximum number of policies of type %s to the target: %d.", p.Type, maxAttached)
		}
		if *t.attached == nil {
			*t.attached = attachments{}
		}
		(*t.attached)[p.Type] = append((*t.attached)[p.Type], p.ID)
		return t.put(tx)
	})
}

// DetachPolicy detaches a policy from a target.
//
// Errors: PolicyNotFoundException; TargetNotFoundException;
// PolicyTypeNotEnabledException; PolicyNotAttachedException;
// ConstraintViolationException for the last service control policy;
// InvalidInputException for RCPFullAWSAccess, which is attached everywhere;
// AWSOrganizationsNotInUseException; AccessDeniedException.
func (s *Service) DetachPolicy(ctx context.Context, in *orgapi.DetachPolicyInput) (*schema.Nothing, error) {
	return nil, s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		p, t, err := s.attachment(tx, o, in.PolicyId, in.TargetId)
		if err != nil {
			return err
		}
		have := (*t.attached)[p.Type]
		switch {
		case !o.enabled(p.Type):
			return notEnabled()
		case !slices.Contains(have, p.ID):
			return orgapi.PolicyNotAttachedException("The policy isn't attached to the specified target in the specified root.")
		case p.ID == fullAccess(orgapi.PolicyTypeResourceControlPolicy):
			return invalid("NON_DETACHABLE_POLICY", "You can't detach the policy %s.", p.Name)
		case len(have) == 1 && p.Type == orgapi.PolicyTypeServiceControlPolicy:
			return violation("MIN_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED", "You cannot remove the last policy attached to the specified target. You must have at least one attached at all times.")
		}
		(*t.attached)[p.Type] = slices.DeleteFunc(slices.Clone(have), func(id string) bool { return id == p.ID })
		return t.put(tx)
	})
}

// ListPoliciesForTarget lists the policies of one type that are attached to the
// root, a unit or an account itself.
//
// Errors: TargetNotFoundException; AWSOrganizationsNotInUseException;
// AccessDeniedException; InvalidInputException.
func (s *Service) ListPoliciesForTarget(ctx context.Context, in *orgapi.ListPoliciesForTargetInput) (*orgapi.ListPoliciesForTargetOutput, error) {
	out := &orgapi.ListPoliciesForTargetOutput{}
	err := s.read(ctx, func(tx *store.Tx, o *organizationRow) error {
		t, err := s.target(tx, o, in.TargetId)
		if err != nil {
			return missing(err, "target", noTarget())
		}
		var parts []stage[orgapi.PolicySummary]
		for _, id := range (*t.attached)[in.Filter] {
			p, err := s.policy(tx, o, id)
			if err != nil {
				return fmt.Errorf("read policy: %w", err)
			}
			parts = append(parts, fixed(o.summary(p)))
		}
		l := listing{name: "ListPoliciesForTarget|" + in.TargetId + "|" + string(in.Filter), token: in.NextToken, max: in.MaxResults}
		out.Policies, out.NextToken, err = list(ctx, s, tx, l, parts...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ListTargetsForPolicy lists root, units and accounts that a policy is attached
// to.
//
// Errors: PolicyNotFoundException; AWSOrganizationsNotInUseException;
// AccessDeniedException; InvalidInputException.
func (s *Service) ListTargetsForPolicy(ctx context.Context, in *orgapi.ListTargetsForPolicyInput) (*orgapi.ListTargetsForPolicyOutput, error) {
	out := &orgapi.ListTargetsForPolicyOutput{}
	err := s.read(ctx, func(tx *store.Tx, o *organizationRow) error {
		p, err := s.policy(tx, o, in.PolicyId)
		if err != nil {
			return missing(err, "policy", noPolicy())
		}
		shape := func(t *target) orgapi.PolicyTargetSummary {
			return orgapi.PolicyTargetSummary{TargetId: &t.id, Arn: new(o.targetARN(t.id)), Name: &t.name, Type: t.typ}
		}
		var root *orgapi.PolicyTargetSummary
		if o.Attached.has(p.Type, p.ID) {
			root = new(shape(s.rootTarget(o)))
		}
		l := listing{name: "ListTargetsForPolicy|" + p.ID, token: in.NextToken, max: in.MaxResults}
		key := store.Key{o.ID, p.ID}
		out.Targets, out.NextToken, err = list(ctx, s, tx, l, fixed(root),
			rows(s.units, byPolicy, key, func(_ *store.Tx, u *unitRow) (orgapi.PolicyTargetSummary, bool, error) {
				return shape(s.unitTarget(u)), true, nil
			}),
			rows(s.accounts, byPolicy, key, func(_ *store.Tx, a *accountRow) (orgapi.PolicyTargetSummary, bool, error) {
				return shape(s.accountTarget(a)), true, nil
			}))
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// inUse reports whether a policy is attached to anything.
func (s *Service) inUse(tx *store.Tx, o *organizationRow, p *policyRow) (bool, error) {
	units, err := some(tx, s.units, byPolicy, o.ID, p.ID)
	if err != nil {
		return false, err
	}
	accounts, err := some(tx, s.accounts, byPolicy, o.ID, p.ID)
	return units || accounts || o.Attached.has(p.Type, p.ID), err
}

// parent returns the root or unit of an id. An account is no parent.
func (s *Service) parent(tx *store.Tx, o *organizationRow, id string, answer error) (*target, error) {
	t, err := s.target(tx, o, id)
	if err == nil && t.typ == orgapi.TargetTypeAccount {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, missing(err, "parent", answer)
	}
	return t, nil
}

func noParent() error {
	return orgapi.ParentNotFoundException("You specified parent that doesn't exist.")
}
