package server

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/organizations"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// policySource is what the evaluator needs from IAM.
type policySource interface {
	// PoliciesOf returns the caller's identity, boundary and session policies. An
	// error denies.
	PoliciesOf(ctx context.Context, c *identity.Caller) (authz.Policies, error)
}

// controlSource is what the evaluator needs from Organizations.
type controlSource interface {
	// MembershipOf returns the place of an account in its organization with the
	// control policies that bind it there; the zero Membership when it is in none.
	MembershipOf(ctx context.Context, account string) (organizations.Membership, error)
}

// evaluator answers the pipeline's checks: the caller's policies from IAM, the
// resource's from the check, control policies from Organizations, decided by
// package authz. There is no other door.
type evaluator struct {
	policies policySource
	controls controlSource
}

// Decide implements protocol.Authorizer.
func (e *evaluator) Decide(ctx context.Context, c *protocol.Check) (authz.Decision, error) {
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
func (e *evaluator) control(ctx context.Context, p *authz.Policies, conditions authz.Context, caller *identity.Caller, account string, c *protocol.Check) error {
	var own organizations.Membership
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
	if !c.AWSManaged && organizations.ControlsResource(c.Action, c.Resource) {
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

// globalConditions sets the condition keys that every request has.
//
// Source: IAM User Guide, "AWS global condition context keys".
func globalConditions(c authz.Context, call *identity.Call, resourceAccount string) {
	caller := call.Caller
	c.SetTime("aws:CurrentTime", call.Time)
	c.Set("aws:EpochTime", strconv.FormatInt(call.Time.Unix(), 10))
	c.Set("aws:RequestedRegion", call.Region)
	if resourceAccount != "" {
		c.Set("aws:ResourceAccount", resourceAccount)
	}
	principalConditions(c, caller)
	if n := len(caller.Via); n > 0 {
		c.SetBool("aws:ViaAWSService", true)
		names := make([]string, n)
		for i, hop := range caller.Via {
			names[i] = hop.Principal()
		}
		c.SetMulti("aws:CalledVia", names...)
		c.Set("aws:CalledViaFirst", names[0])
		c.Set("aws:CalledViaLast", names[n-1])
		c.Set("kms:ViaService", caller.Via[n-1].Endpoint())
		return
	}
	c.SetBool("aws:ViaAWSService", false)
	if caller.Type == identity.Service {
		return
	}
	// What a service calls under an execution role never leaves the process.
	c.SetBool("aws:SecureTransport", call.TLS.Version != "" || caller.InvokedBy != "")
	if _, err := netip.ParseAddr(call.SourceIP); err == nil { // a service's own calls have its name there
		c.Set("aws:SourceIp", call.SourceIP)
	}
	if call.UserAgent != "" {
		c.Set("aws:UserAgent", call.UserAgent)
	}
}

func principalConditions(c authz.Context, caller *identity.Caller) {
	service := caller.Type == identity.Service
	c.SetBool("aws:PrincipalIsAWSService", service)
	if service {
		c.Set("aws:PrincipalServiceName", caller.GlobalServiceName())
		c.SetMulti("aws:PrincipalServiceNamesList", caller.GlobalServiceName(), caller.ServiceName)
		if caller.SourceARN != "" {
			c.Set("aws:SourceArn", caller.SourceARN)
		}
		if caller.SourceAccount != "" {
			c.Set("aws:SourceAccount", caller.SourceAccount)
		}
		return
	}
	switch caller.Type {
	case identity.Anonymous:
		c.Set("aws:PrincipalType", "Anonymous")
		return
	case identity.WebIdentity:
		c.Set("aws:FederatedProvider", caller.Provider)
		return
	}
	c.Set("aws:PrincipalAccount", caller.Account)
	c.Set("aws:userid", caller.PrincipalID)
	switch caller.Type {
	case identity.Root:
		c.Set("aws:PrincipalType", "Account")
		c.Set("aws:PrincipalArn", caller.ARN)
	case identity.User:
		c.Set("aws:PrincipalType", "User")
		c.Set("aws:PrincipalArn", caller.ARN)
		c.Set("aws:username", caller.UserName)
	case identity.AssumedRole:
		c.Set("aws:PrincipalType", "AssumedRole")
		c.Set("aws:PrincipalArn", caller.RoleARN)
		if caller.Provider != "" {
			c.Set("aws:FederatedProvider", caller.Provider)
		}
		for key, values := range caller.ProviderKeys {
			if strings.HasSuffix(key, ":amr") { // the one that holds a set
				c.SetMulti(key, values...)
			} else if len(values) == 1 {
				c.Set(key, values[0])
			}
		}
	case identity.FederatedUser:
		c.Set("aws:PrincipalType", "FederatedUser")
		c.Set("aws:PrincipalArn", caller.ARN)
	}
	if caller.SourceIdentity != "" {
		c.Set("aws:SourceIdentity", caller.SourceIdentity)
	}
	for name, value := range caller.SessionTags {
		c.Set("aws:PrincipalTag/"+name, value)
	}
	if !caller.IssuedAt.IsZero() {
		c.SetTime("aws:TokenIssueTime", caller.IssuedAt.Truncate(time.Second))
		// There are no MFA devices: no session was made with one. Requests with
		// long-term keys do not have the key at all.
		c.SetBool("aws:MultiFactorAuthPresent", false)
	}
}
