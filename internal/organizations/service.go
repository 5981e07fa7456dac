// Package organizations is the part of AWS Organizations that policies need: an
// organization with its root, organizational units and accounts, the service
// control and resource control policies attached to them, and invitations.
//
// It tells the evaluator where an account stands and which control policies
// bind it there (MembershipOf). State is global: rows have no region. Every
// change that bears on a decision raises the epoch "organizations" in its own
// commit, and what is cached counts only while that epoch is unchanged, so that
// a policy bites on the request after the answer (I3).
//
// Sources: AWS Organizations API Reference; AWS Organizations User Guide,
// "Service control policies", "Resource control policies", "Quotas and service
// limits for AWS Organizations".
package organizations

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/jobs"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// Principal is the service's name, as records of what it does show it.
const Principal = "organizations.amazonaws.com"

// homeRegion is where AWS keeps this global service, and where the records of
// what the service does of its own accord lie.
const homeRegion = "us-east-1"

// Accounts is what the service needs of IAM. The methods may run inside a
// transaction of the service's.
type Accounts interface {
	// Exists reports whether an account is one of this server.
	Exists(ctx context.Context, id string) (bool, error)
	// Add makes an account whose root user has no access key. ok is false when
	// the id is taken or reserved.
	Add(ctx context.Context, id string) (ok bool, err error)
	// The operations are calls through the pipeline for the caller in ctx:
	// authorised and recorded.
	CreateRole(ctx context.Context, in *iamapi.CreateRoleInput) (*iamapi.CreateRoleOutput, error)
	AttachRolePolicy(ctx context.Context, in *iamapi.AttachRolePolicyInput) (*schema.Nothing, error)
}

// Config is what the service needs.
type Config struct {
	Store    *store.Store
	Keyring  *envelope.Keyring // seals list tokens
	Jobs     *jobs.Runner      // not yet started: New registers a kind of task
	Accounts Accounts
	Now      func() time.Time // time.Now when nil
	NewID    func() string    // of event and request ids; random when nil
}

// Service is Organizations. All methods may be called concurrently.
type Service struct {
	cfg Config
	tables
	members atomic.Pointer[generation]
}

// New returns the service.
func New(c Config) *Service {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewID == nil {
		c.NewID = newEventID
	}
	s := &Service{cfg: c, tables: newTables()}
	s.registerTasks()
	return s
}

// Register adds every operation to r.
func (s *Service) Register(r *protocol.Registry) {
	s.registerOrganization(r)
	s.registerTree(r)
	s.registerAccounts(r)
	s.registerHandshakes(r)
	s.registerPolicies(r)
	s.registerTags(r)
}

func (s *Service) registerOrganization(r *protocol.Registry) {
	protocol.Handle(r, orgapi.CreateOrganization, protocol.AnyResource[orgapi.CreateOrganizationInput], s.CreateOrganization)
	protocol.Handle(r, orgapi.DescribeOrganization, protocol.AnyResource[schema.Nothing], s.DescribeOrganization)
	protocol.Handle(r, orgapi.DeleteOrganization, protocol.AnyResource[schema.Nothing], s.DeleteOrganization)
	protocol.Handle(r, orgapi.LeaveOrganization, protocol.AnyResource[schema.Nothing], s.LeaveOrganization)
	protocol.Handle(r, orgapi.ListRoots, protocol.AnyResource[orgapi.ListRootsInput], s.ListRoots)
	protocol.Handle(r, orgapi.EnablePolicyType, about(s, func(q *question, in *orgapi.EnablePolicyTypeInput) error {
		q.policyType(in.PolicyType)
		return q.target(in.RootId)
	}), s.EnablePolicyType)
	protocol.Handle(r, orgapi.DisablePolicyType, about(s, func(q *question, in *orgapi.DisablePolicyTypeInput) error {
		q.policyType(in.PolicyType)
		return q.target(in.RootId)
	}), s.DisablePolicyType)
}

func (s *Service) registerTree(r *protocol.Registry) {
	protocol.Handle(r, orgapi.CreateOrganizationalUnit, about(s, func(q *question, in *orgapi.CreateOrganizationalUnitInput) error {
		q.requestTags(in.Tags)
		return q.target(in.ParentId)
	}), s.CreateOrganizationalUnit)
	protocol.Handle(r, orgapi.DescribeOrganizationalUnit, ofTarget(s, func(in *orgapi.DescribeOrganizationalUnitInput) string { return in.OrganizationalUnitId }), s.DescribeOrganizationalUnit)
	protocol.Handle(r, orgapi.UpdateOrganizationalUnit, ofTarget(s, func(in *orgapi.UpdateOrganizationalUnitInput) string { return in.OrganizationalUnitId }), s.UpdateOrganizationalUnit)
	protocol.Handle(r, orgapi.DeleteOrganizationalUnit, ofTarget(s, func(in *orgapi.DeleteOrganizationalUnitInput) string { return in.OrganizationalUnitId }), s.DeleteOrganizationalUnit)
	protocol.Handle(r, orgapi.ListOrganizationalUnitsForParent, ofTarget(s, func(in *orgapi.ListOrganizationalUnitsForParentInput) string { return in.ParentId }), s.ListOrganizationalUnitsForParent)
	protocol.Handle(r, orgapi.ListAccountsForParent, ofTarget(s, func(in *orgapi.ListAccountsForParentInput) string { return in.ParentId }), s.ListAccountsForParent)
	protocol.Handle(r, orgapi.ListChildren, ofTarget(s, func(in *orgapi.ListChildrenInput) string { return in.ParentId }), s.ListChildren)
	protocol.Handle(r, orgapi.ListParents, ofTarget(s, func(in *orgapi.ListParentsInput) string { return in.ChildId }), s.ListParents)
	protocol.Handle(r, orgapi.MoveAccount, about(s, func(q *question, in *orgapi.MoveAccountInput) error {
		return errors.Join(q.target(in.AccountId), q.target(in.SourceParentId), q.target(in.DestinationParentId))
	}), s.MoveAccount)
}

func (s *Service) registerAccounts(r *protocol.Registry) {
	protocol.Handle(r, orgapi.CreateAccount, about(s, func(q *question, in *orgapi.CreateAccountInput) error {
		q.requestTags(in.Tags)
		q.anything()
		return nil
	}), s.CreateAccount)
	protocol.Handle(r, orgapi.DescribeCreateAccountStatus, protocol.AnyResource[orgapi.DescribeCreateAccountStatusInput], s.DescribeCreateAccountStatus)
	protocol.Handle(r, orgapi.ListCreateAccountStatus, protocol.AnyResource[orgapi.ListCreateAccountStatusInput], s.ListCreateAccountStatus)
	protocol.Handle(r, orgapi.DescribeAccount, ofTarget(s, func(in *orgapi.DescribeAccountInput) string { return in.AccountId }), s.DescribeAccount)
	protocol.Handle(r, orgapi.ListAccounts, protocol.AnyResource[orgapi.ListAccountsInput], s.ListAccounts)
	protocol.Handle(r, orgapi.RemoveAccountFromOrganization, ofTarget(s, func(in *orgapi.RemoveAccountFromOrganizationInput) string { return in.AccountId }), s.RemoveAccountFromOrganization)
}

func (s *Service) registerHandshakes(r *protocol.Registry) {
	protocol.Handle(r, orgapi.InviteAccountToOrganization, about(s, func(q *question, in *orgapi.InviteAccountToOrganizationInput) error {
		q.requestTags(in.Tags)
		if in.Target == nil || !isAccount(in.Target.Id) {
			q.anything()
			return nil
		}
		return q.target(in.Target.Id)
	}), s.InviteAccountToOrganization)
	protocol.Handle(r, orgapi.AcceptHandshake, ofHandshake(s, func(in *orgapi.AcceptHandshakeInput) string { return in.HandshakeId }), s.AcceptHandshake)
	protocol.Handle(r, orgapi.DeclineHandshake, ofHandshake(s, func(in *orgapi.DeclineHandshakeInput) string { return in.HandshakeId }), s.DeclineHandshake)
	protocol.Handle(r, orgapi.CancelHandshake, ofHandshake(s, func(in *orgapi.CancelHandshakeInput) string { return in.HandshakeId }), s.CancelHandshake)
	protocol.Handle(r, orgapi.DescribeHandshake, ofHandshake(s, func(in *orgapi.DescribeHandshakeInput) string { return in.HandshakeId }), s.DescribeHandshake)
	protocol.Handle(r, orgapi.ListHandshakesForAccount, protocol.AnyResource[orgapi.ListHandshakesForAccountInput], s.ListHandshakesForAccount)
	protocol.Handle(r, orgapi.ListHandshakesForOrganization, protocol.AnyResource[orgapi.ListHandshakesForOrganizationInput], s.ListHandshakesForOrganization)
}

func (s *Service) registerPolicies(r *protocol.Registry) {
	protocol.Handle(r, orgapi.CreatePolicy, about(s, func(q *question, in *orgapi.CreatePolicyInput) error {
		q.policyType(in.Type)
		q.requestTags(in.Tags)
		q.anyPolicy(in.Type)
		return nil
	}), s.CreatePolicy)
	protocol.Handle(r, orgapi.DescribePolicy, ofPolicy(s, func(in *orgapi.DescribePolicyInput) string { return in.PolicyId }), s.DescribePolicy)
	protocol.Handle(r, orgapi.UpdatePolicy, ofPolicy(s, func(in *orgapi.UpdatePolicyInput) string { return in.PolicyId }), s.UpdatePolicy)
	protocol.Handle(r, orgapi.DeletePolicy, ofPolicy(s, func(in *orgapi.DeletePolicyInput) string { return in.PolicyId }), s.DeletePolicy)
	protocol.Handle(r, orgapi.ListPolicies, about(s, func(q *question, in *orgapi.ListPoliciesInput) error {
		q.policyType(in.Filter)
		q.anything()
		return nil
	}), s.ListPolicies)
	protocol.Handle(r, orgapi.AttachPolicy, about(s, func(q *question, in *orgapi.AttachPolicyInput) error {
		return errors.Join(q.policy(in.PolicyId), q.target(in.TargetId))
	}), s.AttachPolicy)
	protocol.Handle(r, orgapi.DetachPolicy, about(s, func(q *question, in *orgapi.DetachPolicyInput) error {
		return errors.Join(q.policy(in.PolicyId), q.target(in.TargetId))
	}), s.DetachPolicy)
	protocol.Handle(r, orgapi.ListPoliciesForTarget, about(s, func(q *question, in *orgapi.ListPoliciesForTargetInput) error {
		q.policyType(in.Filter)
		return q.target(in.TargetId)
	}), s.ListPoliciesForTarget)
	protocol.Handle(r, orgapi.ListTargetsForPolicy, ofPolicy(s, func(in *orgapi.ListTargetsForPolicyInput) string { return in.PolicyId }), s.ListTargetsForPolicy)
}

func (s *Service) registerTags(r *protocol.Registry) {
	protocol.Handle(r, orgapi.TagResource, about(s, func(q *question, in *orgapi.TagResourceInput) error {
		q.tags(in.Tags)
		return q.taggable(in.ResourceId)
	}), s.TagResource)
	protocol.Handle(r, orgapi.UntagResource, about(s, func(q *question, in *orgapi.UntagResourceInput) error {
		q.tagKeys(in.TagKeys)
		return q.taggable(in.ResourceId)
	}), s.UntagResource)
	protocol.Handle(r, orgapi.ListTagsForResource, about(s, func(q *question, in *orgapi.ListTagsForResourceInput) error {
		return q.taggable(in.ResourceId)
	}), s.ListTagsForResource)
}

// accountOf is the account that a call is made for.
func accountOf(ctx context.Context) string { return identity.From(ctx).Caller.Account }

// epochName is the cache epoch of all organizations together: they change
// seldom, and one counter is what a decision can afford to read.
const epochName = "organizations"

// stamp is the present instant as rows hold it: microseconds UTC.
func (s *Service) stamp() int64 { return s.cfg.Now().UTC().UnixMicro() }

func timeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// update is one commit that voids what is cached of memberships.
func (s *Service) update(ctx context.Context, fn func(*store.Tx) error) error {
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		tx.Bump(epochName)
		return nil
	})
}

// change changes the organization that the caller's account manages.
//
// Errors: AWSOrganizationsNotInUseException; AccessDeniedException for member
// accounts.
func (s *Service) change(ctx context.Context, fn func(*store.Tx, *organizationRow) error) error {
	return s.update(ctx, func(tx *store.Tx) error {
		o, err := s.managedBy(tx, accountOf(ctx))
		if err != nil {
			return err
		}
		return fn(tx, o)
	})
}

// read reads the organization that the caller's account manages, with the
// errors of change.
func (s *Service) read(ctx context.Context, fn func(*store.Tx, *organizationRow) error) error {
	return s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		o, err := s.managedBy(tx, accountOf(ctx))
		if err != nil {
			return err
		}
		return fn(tx, o)
	})
}

// organizationOf returns the organization that an account is in, nil if none.
func (s *Service) organizationOf(tx *store.Tx, account string) (*organizationRow, error) {
	a, err := s.accounts.Get(tx, account)
	if errors.Is(err, store.ErrNotFound) || err == nil && a.Organization == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read account: %w", err)
	}
	o, err := s.organizations.Get(tx, a.Organization)
	if err != nil {
		return nil, fmt.Errorf("read organization: %w", err)
	}
	return &o, nil
}

func (s *Service) managedBy(tx *store.Tx, account string) (*organizationRow, error) {
	o, err := s.organizationOf(tx, account)
	switch {
	case err != nil:
		return nil, err
	case o == nil:
		return nil, notInUse()
	case o.Management != account:
		return nil, notPermitted()
	}
	return o, nil
}

func notInUse() error {
	return orgapi.AWSOrganizationsNotInUseException("Your account is not a member of an organization.")
}

// notPermitted is the answer to an account that may not, whatever its policies
// say.
func notPermitted() error {
	e := orgapi.AccessDeniedException("You don't have permissions to access this resource.")
	e.AuditCode = "AccessDenied"
	return e
}

func invalid(reason, format string, args ...any) error {
	return orgapi.InvalidInputException(format, args...).With("Reason", reason)
}

func violation(reason, format string, args ...any) error {
	return orgapi.ConstraintViolationException(format, args...).With("Reason", reason)
}

// missing turns the absence of a row into the given answer.
func missing(err error, what string, answer error) error {
	if errors.Is(err, store.ErrNotFound) {
		return answer
	}
	return fmt.Errorf("read %s: %w", what, err)
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
