package organizations

import (
	"context"
	"slices"
	"unicode/utf8"

	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

func kindOf(t orgapi.PolicyType) authz.Kind {
	if t == orgapi.PolicyTypeResourceControlPolicy {
		return authz.RCP
	}
	return authz.SCP
}

// Ids of the policies of AWS's that allow everything.
const (
	fullSCP = "p-FullAWSAccess"
	fullRCP = "p-RCPFullAWSAccess"
)

// fullAccess is the id of the policy that is attached when a type is enabled.
func fullAccess(t orgapi.PolicyType) string {
	if t == orgapi.PolicyTypeResourceControlPolicy {
		return fullRCP
	}
	return fullSCP
}

// builtin returns the AWS managed policy of an id, or nil.
func builtin(id string) *policyRow {
	switch id {
	case fullSCP:
		return &policyRow{
			ID: fullSCP, Type: orgapi.PolicyTypeServiceControlPolicy, Name: "FullAWSAccess", Description: "Allows access to every operation",
			Content: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
		}
	case fullRCP:
		return &policyRow{
			ID: fullRCP, Type: orgapi.PolicyTypeResourceControlPolicy, Name: "RCPFullAWSAccess", Description: "Allows access to every resource",
			Content: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`,
		}
	}
	return nil
}

// policy returns a policy of the organization or of AWS, or an error that is
// store.ErrNotFound.
func (s *Service) policy(tx *store.Tx, o *organizationRow, id string) (*policyRow, error) {
	if p := builtin(id); p != nil {
		return p, nil
	}
	p, err := s.policies.Get(tx, o.ID, id)
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// ownPolicy is policy for one that is about to change.
//
// Errors: PolicyNotFoundException; InvalidInputException for AWS's own.
func (s *Service) ownPolicy(tx *store.Tx, o *organizationRow, id string) (*policyRow, error) {
	if builtin(id) != nil {
		return nil, invalid("IMMUTABLE_POLICY", "You specified a policy that is managed by AWS and can't be modified.")
	}
	p, err := s.policy(tx, o, id)
	if err != nil {
		return nil, missing(err, "policy", noPolicy())
	}
	return p, nil
}

func noPolicy() error {
	return orgapi.PolicyNotFoundException("You specified a policy that doesn't exist.")
}

func (o *organizationRow) summary(p *policyRow) *orgapi.PolicySummary {
	return &orgapi.PolicySummary{
		Id: &p.ID, Arn: new(o.policyARN(p.Type, p.ID)), Name: &p.Name, Description: &p.Description, Type: p.Type,
		AwsManaged: new(builtin(p.ID) != nil),
	}
}

func (o *organizationRow) policyShape(p *policyRow) *orgapi.Policy {
	return &orgapi.Policy{PolicySummary: o.summary(p), Content: &p.Content}
}

// checkContent refuses a document that is too long or no policy of the type.
//
// Sources: AWS Organizations User Guide, "SCP syntax", "RCP syntax".
func checkContent(t orgapi.PolicyType, content string) error {
	if n := utf8.RuneCountInString(content); n > maxContent {
		return violation("POLICY_CONTENT_LIMIT_EXCEEDED", "The policy has %d characters; a policy of type %s can have %d.", n, t, maxContent)
	}
	p, err := authz.Parse(kindOf(t), []byte(content))
	if err != nil {
		return malformed(err.Error())
	}
	if p.Version() != authz.Version2012 {
		return malformed("Version must be " + authz.Version2012 + ".")
	}
	allows := func(a authz.Action) bool { return !a.Deny }
	if t == orgapi.PolicyTypeResourceControlPolicy && slices.ContainsFunc(p.Actions(), allows) {
		return malformed("Allow is supported in the policy RCPFullAWSAccess alone.") // which is no customer's to make
	}
	return nil
}

func malformed(why string) error {
	return orgapi.MalformedPolicyDocumentException("The provided policy document does not meet the requirements of the specified policy type. %s", why)
}

// freePolicyName refuses a name that another policy of the type has.
func (s *Service) freePolicyName(tx *store.Tx, p *policyRow) error {
	taken, err := some(tx, s.policies, byName, p.Organization, string(p.Type), p.Name)
	if err != nil {
		return err
	}
	if own := builtin(fullAccess(p.Type)); taken || own.Name == p.Name {
		return orgapi.DuplicatePolicyException("A policy with the same name and type already exists.")
	}
	return nil
}

// CreatePolicy makes a service or resource control policy. It has no effect
// before it is attached.
//
// Errors: PolicyTypeNotAvailableForOrganizationException;
// MalformedPolicyDocumentException; DuplicatePolicyException;
// ConstraintViolationException beyond 5,120 characters, the number of policies,
// or 50 tags; InvalidInputException for tags; AWSOrganizationsNotInUseException;
// AccessDeniedException.
func (s *Service) CreatePolicy(ctx context.Context, in *orgapi.CreatePolicyInput) (*orgapi.CreatePolicyOutput, error) {
	tags, err := mergeTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	out := &orgapi.CreatePolicyOutput{}
	err = s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		if err := o.available(in.Type); err != nil {
			return err
		}
		if err := checkContent(in.Type, in.Content); err != nil {
			return err
		}
		quota := maxSCPs
		if in.Type == orgapi.PolicyTypeResourceControlPolicy {
			quota = maxRCPs
		}
		if n, err := count(tx, s.policies, byName, o.ID, string(in.Type)); err != nil || n >= quota {
			if err == nil {
				err = violation("POLICY_NUMBER_LIMIT_EXCEEDED", "You have reached the maximum number of policies of type %s: %d.", in.Type, quota)
			}
			return err
		}
		p := policyRow{
			Organization: o.ID, ID: newPolicyID(), Type: in.Type, Name: in.Name, Description: in.Description, Content: in.Content, Tags: tags,
		}
		if err := s.freePolicyName(tx, &p); err != nil {
			return err
		}
		out.Policy = o.policyShape(&p)
		protocol.Respond(ctx, orgapi.CreatePolicy, out)
		return s.policies.Put(tx, p, o.ID, p.ID)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DescribePolicy returns a policy with its document.
//
// Errors: PolicyNotFoundException; AWSOrganizationsNotInUseException;
// AccessDeniedException.
func (s *Service) DescribePolicy(ctx context.Context, in *orgapi.DescribePolicyInput) (*orgapi.DescribePolicyOutput, error) {
	out := &orgapi.DescribePolicyOutput{}
	err := s.read(ctx, func(tx *store.Tx, o *organizationRow) error {
		p, err := s.policy(tx, o, in.PolicyId)
		if err != nil {
			return missing(err, "policy", noPolicy())
		}
		out.Policy = o.policyShape(p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// UpdatePolicy changes name, description and document of a policy; what is
// absent stays. Where it is attached, the new document binds from the next
// request on.
//
// Errors: PolicyNotFoundException; InvalidInputException for AWS's own;
// MalformedPolicyDocumentException; DuplicatePolicyException;
// ConstraintViolationException; AWSOrganizationsNotInUseException;
// AccessDeniedException.
func (s *Service) UpdatePolicy(ctx context.Context, in *orgapi.UpdatePolicyInput) (*orgapi.UpdatePolicyOutput, error) {
	out := &orgapi.UpdatePolicyOutput{}
	err := s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		p, err := s.ownPolicy(tx, o, in.PolicyId)
		if err != nil {
			return err
		}
		if in.Content != nil {
			if err := checkContent(p.Type, *in.Content); err != nil {
				return err
			}
			p.Content = *in.Content
		}
		if in.Name != nil && *in.Name != p.Name {
			p.Name = *in.Name
			if err := s.freePolicyName(tx, p); err != nil {
				return err
			}
		}
		if in.Description != nil {
			p.Description = *in.Description
		}
		out.Policy = o.policyShape(p)
		protocol.Respond(ctx, orgapi.UpdatePolicy, out)
		return s.policies.Put(tx, *p, o.ID, p.ID)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DeletePolicy removes a policy that is attached to nothing.
//
// Errors: PolicyNotFoundException; PolicyInUseException; InvalidInputException
// for AWS's own; AWSOrganizationsNotInUseException; AccessDeniedException.
func (s *Service) DeletePolicy(ctx context.Context, in *orgapi.DeletePolicyInput) (*schema.Nothing, error) {
	return nil, s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		p, err := s.ownPolicy(tx, o, in.PolicyId)
		if err != nil {
			return err
		}
		used, err := s.inUse(tx, o, p)
		if err != nil {
			return err
		}
		if used {
			return orgapi.PolicyInUseException("The policy is attached to one or more entities. Detach it from all roots, OUs, and accounts before performing this operation.")
		}
		return s.policies.Delete(tx, o.ID, p.ID)
	})
}

// ListPolicies lists the policies of one type, AWS's own first. Of types that
// are not ours there are none.
//
// Errors: AWSOrganizationsNotInUseException; AccessDeniedException;
// InvalidInputException.
func (s *Service) ListPolicies(ctx context.Context, in *orgapi.ListPoliciesInput) (*orgapi.ListPoliciesOutput, error) {
	out := &orgapi.ListPoliciesOutput{}
	err := s.read(ctx, func(tx *store.Tx, o *organizationRow) (err error) {
		var first *orgapi.PolicySummary
		if controls(in.Filter) && o.Features == orgapi.OrganizationFeatureSetAll {
			first = o.summary(builtin(fullAccess(in.Filter)))
		}
		l := listing{name: "ListPolicies|" + string(in.Filter), token: in.NextToken, max: in.MaxResults}
		out.Policies, out.NextToken, err = list(ctx, s, tx, l, fixed(first),
			rows(s.policies, byName, store.Key{o.ID, string(in.Filter)}, func(_ *store.Tx, p *policyRow) (orgapi.PolicySummary, bool, error) {
				return *o.summary(p), true, nil
			}))
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
