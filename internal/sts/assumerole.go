package sts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	stsapi "github.com/sagekeep/sagekeep/api/sts"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/iam"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/protocol/wire"
)

const roleType = "AWS::IAM::Role"

// plan is an AssumeRole request with the role as it is, the checks that it
// needs and the session that it makes.
type plan struct {
	role           *iam.RoleInfo
	inherited      map[string]string // transitive tags of the caller's own session
	session        sessionTags
	sourceIdentity string
	checks         []protocol.Check
}

// resolveAssumeRole names the role, and the further actions that tags and a
// source identity need.
func (s *Service) resolveAssumeRole(ctx context.Context, in *stsapi.AssumeRoleInput) ([]protocol.Check, error) {
	p, err := s.plan(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(p.inherited) > 0 {
		// Source: IAM User Guide, "Logging IAM and AWS STS API calls with AWS
		// CloudTrail", the example of a chained role.
		view := wire.AuditView(stsapi.AssumeRole.Input, in)
		view["incomingTransitiveTags"] = p.inherited
		audit.From(ctx).SetRequest(view)
	}
	return p.checks, nil
}

func (s *Service) plan(ctx context.Context, in *stsapi.AssumeRoleInput) (*plan, error) {
	caller := identity.From(ctx).Caller
	switch caller.Type {
	case identity.User, identity.AssumedRole:
	case identity.Root:
		return nil, stsapi.AccessDenied("Roles may not be assumed by root accounts.")
	default:
		return nil, stsapi.AccessDenied("Roles may not be assumed by %s.", caller.Name())
	}
	// What the request says is checked before the role is looked for, and asked
	// about whether or not there is one: the answer must not tell.
	p := &plan{inherited: caller.Transitive()}
	var err error
	if p.session, err = mergeTags(in.Tags, in.TransitiveTagKeys, p.inherited); err != nil {
		return nil, err
	}
	if p.sourceIdentity, err = sourceIdentity(in.SourceIdentity, caller.SourceIdentity); err != nil {
		return nil, err
	}
	c := authz.NewContext()
	c.Set("sts:RoleSessionName", in.RoleSessionName)
	if in.ExternalId != nil {
		c.Set("sts:ExternalId", *in.ExternalId)
	}
	if p.sourceIdentity != "" {
		c.Set("sts:SourceIdentity", p.sourceIdentity)
	}
	if in.DurationSeconds != nil {
		c.Set("sts:DurationSeconds", fmt.Sprint(*in.DurationSeconds))
	}
	c.SetMulti("sts:TransitiveTagKeys", in.TransitiveTagKeys...)
	requestTags(c, in.Tags)
	p.role, err = s.roles.RoleByARN(ctx, in.RoleArn)
	if errors.Is(err, iam.ErrNoSuchRole) {
		audit.From(ctx).AddMissingResource(accountOf(in.RoleArn), roleType, in.RoleArn)
		return nil, s.refuseMissing(ctx, in.RoleArn, c, err)
	}
	if err != nil {
		return nil, err
	}
	for k, v := range p.role.Tags {
		c.Set("iam:ResourceTag/"+k, v)
		c.Set("aws:ResourceTag/"+k, v)
	}
	p.check("sts:AssumeRole", c)
	if len(p.session.all) > 0 {
		p.check("sts:TagSession", c)
	}
	if p.sourceIdentity != "" {
		p.check("sts:SetSourceIdentity", c)
	}
	return p, nil
}

// refuseMissing answers for a role that does not exist in another account what a
// role answers whose trust policy allows nothing, so that nobody learns which
// roles that account has.
func (s *Service) refuseMissing(ctx context.Context, roleARN string, conditions authz.Context, cause error) error {
	caller := identity.From(ctx).Caller
	if account := accountOf(roleARN); account != caller.Account {
		err := s.registry.Authorize(ctx, stsapi.Service, &protocol.Check{
			Action: "sts:AssumeRole", Resource: roleARN, Account: account, Kind: protocol.RoleTrust, Context: conditions,
		})
		if err != nil {
			return err
		}
	}
	return stsapi.AccessDenied("User: %s is not authorized to perform: sts:AssumeRole on resource: %s", caller.ARN, roleARN).Because(cause)
}

func (p *plan) check(action string, c authz.Context) {
	p.checks = append(p.checks, protocol.Check{
		Action: action, Resource: p.role.ARN, ResourceType: roleType, Account: p.role.Account,
		Policy: p.role.Trust, Kind: protocol.RoleTrust, Context: c,
	})
}

// sourceIdentity is the session's: once set it stays along a chain of roles.
func sourceIdentity(asked *string, inherited string) (string, error) {
	if asked == nil {
		return inherited, nil
	}
	if inherited != "" && inherited != *asked {
		return "", stsapi.AccessDenied("The source identity of a session cannot be changed by role chaining.")
	}
	return *asked, nil
}

// requestTags sets the condition keys of the session tags in a request.
func requestTags(c authz.Context, tags []stsapi.Tag) {
	keys := make([]string, len(tags))
	for i, t := range tags {
		keys[i] = t.Key
		c.Set("aws:RequestTag/"+t.Key, t.Value)
	}
	c.SetMulti("aws:TagKeys", keys...)
}

// accountOf is the account field of an ARN, "" when it has none.
func accountOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}

// AssumeRole makes temporary credentials of a role. The role's trust policy
// must allow it, from another account the caller's identity policies as well.
//
// Errors: AccessDenied, also for a role that does not exist; ValidationError;
// MalformedPolicyDocument; PackedPolicyTooLarge.
//
// Source: AWS STS API Reference, AssumeRole.
func (s *Service) AssumeRole(ctx context.Context, in *stsapi.AssumeRoleInput) (*stsapi.AssumeRoleOutput, error) {
	// The role that is assumed must be the one whose trust policy allowed it,
	// even if it is deleted and made again meanwhile: ask about this very one.
	p, err := s.plan(ctx, in)
	if err != nil {
		return nil, err
	}
	for i := range p.checks {
		if err := s.registry.Authorize(ctx, stsapi.Service, &p.checks[i]); err != nil {
			return nil, err
		}
	}
	if in.SerialNumber != nil || in.TokenCode != nil {
		return nil, stsapi.AccessDenied(noMFA)
	}
	if len(in.ProvidedContexts) > 0 {
		return nil, stsapi.ValidationError("ProvidedContexts needs a context provider, of which there is none here.")
	}
	duration, err := durationOf(in, p.role, identity.From(ctx).Caller.Type == identity.AssumedRole)
	if err != nil {
		return nil, err
	}
	policies, err := s.sessionPolicies(ctx, p.role.Account, in.Policy, in.PolicyArns)
	if err != nil {
		return nil, err
	}
	packed, err := packedSize(policies, p.session.all)
	if err != nil {
		return nil, err
	}
	spec := iam.SessionSpec{
		Role: p.role, Name: in.RoleSessionName, Duration: duration, Policies: policies,
		Tags: p.session.all, TransitiveKeys: p.session.transitive, SourceIdentity: p.sourceIdentity,
		MinTokenSize: minTokenSize(in.MinimumSessionTokenSize),
	}
	cred, err := s.roles.MintSession(spec)
	if err != nil {
		return nil, err
	}
	out := &stsapi.AssumeRoleOutput{
		Credentials:      credentials(cred),
		AssumedRoleUser:  &stsapi.AssumedRoleUser{AssumedRoleId: cred.AssumedRoleID, Arn: cred.AssumedRoleARN},
		PackedPolicySize: packed, SessionTokenSize: tokenSize(in.MinimumSessionTokenSize, cred),
	}
	if p.sourceIdentity != "" {
		out.SourceIdentity = &p.sourceIdentity
	}
	audit.From(ctx).SetResponse(recordedRole(cred, packed, p.sourceIdentity))
	return out, nil
}

// recordedRole are the responseElements of a role session.
func recordedRole(cred *iam.SessionCredentials, packed *int32, sourceIdentity string) map[string]any {
	elements := map[string]any{
		"credentials":     recordedCredentials(cred),
		"assumedRoleUser": map[string]any{"assumedRoleId": cred.AssumedRoleID, "arn": cred.AssumedRoleARN},
	}
	if packed != nil {
		elements["packedPolicySize"] = *packed
	}
	if sourceIdentity != "" {
		elements["sourceIdentity"] = sourceIdentity
	}
	return elements
}

// durationOf is how long the session lasts.
func durationOf(in *stsapi.AssumeRoleInput, role *iam.RoleInfo, chained bool) (time.Duration, error) {
	if in.DurationSeconds == nil {
		return defaultDuration, nil
	}
	d := time.Duration(*in.DurationSeconds) * time.Second
	switch {
	case d < minDuration:
		return 0, outOfRange(*in.DurationSeconds, "greater than or equal to 900")
	case chained && d > maxChained:
		return 0, stsapi.ValidationError("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	case d > role.MaxSession:
		return 0, stsapi.ValidationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return d, nil
}

// sessionTags are the tags of a session to be made.
type sessionTags struct {
	all        map[string]string
	transitive []string
}

// mergeTags joins the tags of the request with those inherited, which it
// cannot change. Keys are the same whatever their case.
func mergeTags(tags []stsapi.Tag, transitive []string, inherited map[string]string) (sessionTags, error) {
	t := sessionTags{}
	if len(tags)+len(inherited) > 0 {
		t.all = make(map[string]string, len(tags)+len(inherited))
	}
	for k, v := range inherited {
		t.all[k] = v
		t.transitive = append(t.transitive, k)
	}
	for _, tag := range tags {
		if len(tag.Key) >= 4 && strings.EqualFold(tag.Key[:4], "aws:") {
			return t, stsapi.ValidationError("Tag keys that begin with aws: are reserved for system use.")
		}
		for k := range t.all {
			if !strings.EqualFold(k, tag.Key) {
				continue
			}
			if _, theirs := inherited[k]; theirs {
				return t, stsapi.ValidationError("One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
			}
			return t, stsapi.ValidationError("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		t.all[tag.Key] = tag.Value
	}
	for _, key := range transitive {
		if !slices.ContainsFunc(tags, func(tag stsapi.Tag) bool { return strings.EqualFold(tag.Key, key) }) {
			return t, stsapi.ValidationError("The specified transitive tag key must be included in the requested tags.")
		}
		t.transitive = append(t.transitive, key)
	}
	slices.Sort(t.transitive)
	return t, nil
}
