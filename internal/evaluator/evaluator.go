// Package evaluator answers the pipeline's checks: it gathers the policies and the
// condition keys that bear on a request, and package authz decides by them.
package evaluator

import (
	"context"
	"strings"

	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/authz/catalog"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// Policies is what the evaluator needs from IAM.
type Policies interface {
	// PoliciesOf returns the caller's identity, boundary and session policies. An
	// error denies.
	PoliciesOf(ctx context.Context, c *identity.Caller) (authz.Policies, error)
}

// Controls is what the evaluator needs from Organizations.
type Controls interface {
	// MembershipOf returns the place of an account in its organization with the
	// control policies that bind it there; the zero Membership when it is in none.
	MembershipOf(ctx context.Context, account string) (Membership, error)
}

// Membership is the place of an account in its organization. It is shared and
// immutable.
type Membership struct {
	Organization string // o-…; "" = in none
	Path         string // o-…/r-…/ou-…/, as in aws:PrincipalOrgPaths
	// SCP and RCP bind the account: one element a level, root first; empty when
	// the type of policy is not enabled, and for the management account.
	SCP, RCP [][]*authz.Policy
}

// Evaluator is the authorizer of a registry: the caller's policies come from IAM,
// the resource's from the check, control policies from Organizations. There is no
// other door.
type Evaluator struct {
	policies Policies
	controls Controls
}

// New returns an evaluator; nil controls are those of accounts in no organization.
func New(policies Policies, controls Controls) *Evaluator {
	if controls == nil {
		controls = noOrganizations{}
	}
	return &Evaluator{policies: policies, controls: controls}
}

type noOrganizations struct{}

func (noOrganizations) MembershipOf(context.Context, string) (Membership, error) {
	return Membership{}, nil
}

// Decide implements protocol.Authorizer.
func (e *Evaluator) Decide(ctx context.Context, c *protocol.Check) (authz.Decision, error) {
	call := identity.From(ctx)
	caller := call.Caller
	var policies authz.Policies
	if caller.Account != "" && caller.Type != identity.Service {
		var err error
		if policies, err = e.policies.PoliciesOf(ctx, caller); err != nil {
			return authz.Decision{}, err
		}
	}
	policies.Resource = c.Policy
	account := c.Account
	if account == "" {
		account = caller.Account
	}
	conditions := c.Context
	if conditions.Len() == 0 {
		conditions = authz.NewContext()
	}
	globalConditions(conditions, call, account)
	if err := e.control(ctx, &policies, conditions, caller, account, c); err != nil {
		return authz.Decision{}, err
	}
	req := authz.Request{
		Principal: principalOf(caller), Action: c.Action, Resource: c.Resource, ResourceAccount: account, Context: conditions,
		KMSKey: c.Kind == protocol.KMSKey, Trust: c.Kind == protocol.RoleTrust,
		EncryptionContext: c.EncryptionContext, GrantID: caller.GrantID,
	}
	d := authz.Decide(&req, &policies, c.Grants)
	if err := conditions.Failed(); err != nil {
		return authz.Decision{}, err
	}
	if d.Effect != authz.Allowed {
		d.Explanation = explainDenial(req, &policies, c.Grants, d)
	}
	return d, nil
}

// explainDenial takes the request by value, so that an allowed one stays off
// the heap.
func explainDenial(req authz.Request, policies *authz.Policies, grants []authz.Grant, d authz.Decision) *authz.Explanation {
	return authz.Explain(&req, policies, grants, d)
}

// control adds the control policies of the organizations that caller and
// resource are in, and the condition keys that tell of them.
func (e *Evaluator) control(ctx context.Context, p *authz.Policies, conditions authz.Context, caller *identity.Caller, account string, c *protocol.Check) error {
	var own Membership
	if caller.Account != "" {
		var err error
		if own, err = e.controls.MembershipOf(ctx, caller.Account); err != nil {
			return err
		}
		p.SCP = own.SCP
		if own.Organization != "" {
			conditions.Set("aws:PrincipalOrgID", own.Organization)
			conditions.SetMulti("aws:PrincipalOrgPaths", own.Path)
		}
	} else if caller.Type == identity.Service && caller.SourceAccount != "" {
		source, err := e.controls.MembershipOf(ctx, caller.SourceAccount)
		if err != nil {
			return err
		}
		if source.Organization != "" {
			conditions.Set("aws:SourceOrgID", source.Organization)
			conditions.SetMulti("aws:SourceOrgPaths", source.Path)
		}
	}
	of := own
	if account != caller.Account {
		if account == "" {
			return nil
		}
		var err error
		if of, err = e.controls.MembershipOf(ctx, account); err != nil {
			return err
		}
	}
	if of.Organization == "" {
		return nil
	}
	conditions.Set("aws:ResourceOrgID", of.Organization)
	conditions.SetMulti("aws:ResourceOrgPaths", of.Path)
	if !c.AWSManaged && ControlsResource(c.Action, c.Resource) {
		p.RCP = of.RCP
	}
	return nil
}

func principalOf(c *identity.Caller) authz.Principal {
	p := authz.Principal{ARN: c.ARN, Account: c.Account, CanonicalUser: c.Account} // as S3's answers name owners
	switch c.Type {
	case identity.Root:
		p.Type = authz.Root
	case identity.User:
		p.Type, p.UserID = authz.User, c.PrincipalID
	case identity.AssumedRole:
		p.Type, p.RoleARN, p.RoleID = authz.AssumedRole, c.RoleARN, c.RoleID
	case identity.FederatedUser:
		p.Type, p.UserARN, p.UserID = authz.FederatedUser, c.UserARN, c.UserID
	case identity.WebIdentity:
		p.Type, p.ARN = authz.Federated, c.Provider
	case identity.Service:
		p.Type, p.Service, p.ServiceNames = authz.Service, c.ServiceName, []string{c.ServiceName, c.GlobalServiceName()}
	default:
		p.Type = authz.Anonymous
	}
	return p
}

// ControlsResource reports whether resource control policies bear on an action
// on a resource. They bear on the services of the catalog's list alone, not on
// retiring grants, and not on who may assume a service-linked role.
//
// Sources: AWS Organizations User Guide, "Resource control policies (RCPs)", on
// what is not restricted; AWS KMS Developer Guide, "Resource control policies in
// AWS KMS".
func ControlsResource(action, resource string) bool {
	service, name, _ := strings.Cut(action, ":")
	switch {
	case strings.EqualFold(service, "kms") && strings.EqualFold(name, "RetireGrant"):
		return false
	case strings.EqualFold(service, "sts"):
		if _, role, ok := strings.Cut(resource, ":role/"); ok && strings.HasPrefix(role, "aws-service-role/") {
			return false
		}
	}
	return catalog.ResourceControlled(service)
}
