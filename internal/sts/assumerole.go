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
)

const roleType = "AWS::IAM::Role"

// plan is an AssumeRole request with the role as it is, the checks that it
// needs and the session that it makes.
type plan struct {
	role      *iam.RoleInfo
	inherited iam.Inherited
	session   sessionTags
	checks    []protocol.Check
}

// resolveAssumeRole names the role, and the further actions that tags and a
// source identity need.
func (s *Service) resolveAssumeRole(ctx context.Context, in *stsapi.AssumeRoleInput) ([]protocol.Check, error) {
	p, err := s.plan(ctx, in)
	if err != nil {
		return nil, err
	}
	return p.checks, nil
}

func (s *Service) plan(ctx context.Context, in *stsapi.AssumeRoleInput) (*plan, error) {
	caller := identity.From(ctx).Caller
	if caller.Type == identity.Root {
		return nil, stsapi.AccessDenied("Roles may not be assumed by root accounts.")
	}
	role, err := s.roles.RoleByARN(ctx, in.RoleArn)
	if errors.Is(err, iam.ErrNoSuchRole) {
		audit.From(ctx).AddResource(accountOf(in.RoleArn), roleType, in.RoleArn)
		return nil, s.refuseMissing(ctx, in.RoleArn, err)
	}
	if err != nil {
		return nil, err
	}
	p := &plan{role: role}
	if caller.Type == identity.AssumedRole {
		var ok bool
		if p.inherited, ok = s.roles.InheritedFrom(caller); !ok {
			return nil, stsapi.AccessDenied("The session of %s cannot assume roles.", caller.ARN)
		}
	}
	if p.session, err = mergeTags(in, p.inherited.Tags); err != nil {
		return nil, err
	}
	sourceIdentity, err := p.sourceIdentity(in)
	if err != nil {
		return nil, err
	}
	c := authz.NewContext()
	c.Set("sts:RoleSessionName", in.RoleSessionName)
	if in.ExternalId != nil {
		c.Set("sts:ExternalId", *in.ExternalId)
	}
	if sourceIdentity != "" {
		c.Set("sts:SourceIdentity", sourceIdentity)
	}
	if p.inherited.SourceIdentity != "" {
		c.Set("aws:SourceIdentity", p.inherited.SourceIdentity)
	}
	if in.DurationSeconds != nil {
		c.Set("sts:DurationSeconds", fmt.Sprint(*in.DurationSeconds))
	}
	c.SetMulti("sts:TransitiveTagKeys", in.TransitiveTagKeys...)
	for k, v := range role.Tags {
		c.Set("iam:ResourceTag/"+k, v)
		c.Set("aws:ResourceTag/"+k, v)
	}
	keys := make([]string, len(in.Tags))
	for i, t := range in.Tags {
		keys[i] = t.Key
		c.Set("aws:RequestTag/"+t.Key, t.Value)
	}
	c.SetMulti("aws:TagKeys", keys...)
	p.check("sts:AssumeRole", c)
	if len(p.session.all) > 0 {
		p.check("sts:TagSession", c)
	}
	if sourceIdentity != "" {
		p.check("sts:SetSourceIdentity", c)
	}
	return p, nil
}

// refuseMissing answers for a role that does not exist in another account what a
// role answers whose trust policy allows nothing, so that nobody learns which
// roles that account has.
func (s *Service) refuseMissing(ctx context.Context, roleARN string, cause error) error {
	caller := identity.From(ctx).Caller
	if account := accountOf(roleARN); account != caller.Account {
		err := s.registry.Authorize(ctx, stsapi.Service, &protocol.Check{
			Action: "sts:AssumeRole", Resource: roleARN, Account: account, Kind: protocol.RoleTrust,
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
func (p *plan) sourceIdentity(in *stsapi.AssumeRoleInput) (string, error) {
	have := p.inherited.SourceIdentity
	if in.SourceIdentity == nil {
		return have, nil
	}
	if have != "" && have != *in.SourceIdentity {
		return "", stsapi.AccessDenied("The source identity of a session cannot be changed by role chaining.")
	}
	return *in.SourceIdentity, nil
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
		return nil, stsapi.AccessDenied("MultiFactorAuthentication failed, unable to validate MFA code. There are no MFA devices here.")
	}
	if len(in.ProvidedContexts) > 0 {
		return nil, stsapi.ValidationError("ProvidedContexts needs a context provider, of which there is none here.")
	}
	duration, err := durationOf(in, p.role, identity.From(ctx).Caller.Type == identity.AssumedRole)
	if err != nil {
		return nil, err
	}
	policies, err := s.sessionPolicies(ctx, in, p.role.Account)
	if err != nil {
		return nil, err
	}
	packed, err := packedSize(policies, p.session.all)
	if err != nil {
		return nil, err
	}
	sourceIdentity, err := p.sourceIdentity(in)
	if err != nil {
		return nil, err
	}
	spec := iam.SessionSpec{
		Role: p.role, Name: in.RoleSessionName, Duration: duration, Policies: policies,
		Tags: p.session.all, TransitiveKeys: p.session.transitive, SourceIdentity: sourceIdentity,
	}
	if in.MinimumSessionTokenSize != nil {
		spec.MinTokenSize = int(*in.MinimumSessionTokenSize)
	}
	cred, err := s.roles.MintSession(spec)
	if err != nil {
		return nil, err
	}
	out := &stsapi.AssumeRoleOutput{
		Credentials: &stsapi.Credentials{
			AccessKeyId: cred.AccessKeyID, SecretAccessKey: cred.SecretAccessKey, SessionToken: cred.SessionToken, Expiration: cred.Expires,
		},
		AssumedRoleUser:  &stsapi.AssumedRoleUser{AssumedRoleId: cred.AssumedRoleID, Arn: cred.AssumedRoleARN},
		PackedPolicySize: packed,
	}
	if sourceIdentity != "" {
		out.SourceIdentity = &sourceIdentity
	}
	if in.MinimumSessionTokenSize != nil {
		out.SessionTokenSize = new(int32(len(cred.SessionToken)))
	}
	record(ctx, out)
	return out, nil
}

// record sets responseElements: what AWS writes there, without the token (I4).
func record(ctx context.Context, out *stsapi.AssumeRoleOutput) {
	elements := map[string]any{
		"credentials": map[string]any{
			"accessKeyId": out.Credentials.AccessKeyId,
			"expiration":  out.Credentials.Expiration.UTC().Format("Jan 2, 2006, 3:04:05 PM"),
		},
		"assumedRoleUser": map[string]any{
			"assumedRoleId": out.AssumedRoleUser.AssumedRoleId, "arn": out.AssumedRoleUser.Arn,
		},
	}
	if out.PackedPolicySize != nil {
		elements["packedPolicySize"] = *out.PackedPolicySize
	}
	if out.SourceIdentity != nil {
		elements["sourceIdentity"] = *out.SourceIdentity
	}
	audit.From(ctx).SetResponse(elements)
}

// durationOf is how long the session lasts.
func durationOf(in *stsapi.AssumeRoleInput, role *iam.RoleInfo, chained bool) (time.Duration, error) {
	if in.DurationSeconds == nil {
		return defaultDuration, nil
	}
	d := time.Duration(*in.DurationSeconds) * time.Second
	switch {
	case d < minDuration:
		return 0, stsapi.ValidationError("1 validation error detected: Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900", *in.DurationSeconds)
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
func mergeTags(in *stsapi.AssumeRoleInput, inherited map[string]string) (sessionTags, error) {
	t := sessionTags{}
	if len(in.Tags)+len(inherited) > 0 {
		t.all = make(map[string]string, len(in.Tags)+len(inherited))
	}
	for k, v := range inherited {
		t.all[k] = v
		t.transitive = append(t.transitive, k)
	}
	for _, tag := range in.Tags {
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
	for _, key := range in.TransitiveTagKeys {
		if !slices.ContainsFunc(in.Tags, func(tag stsapi.Tag) bool { return strings.EqualFold(tag.Key, key) }) {
			return t, stsapi.ValidationError("The specified transitive tag key must be included in the requested tags.")
		}
		t.transitive = append(t.transitive, key)
	}
	slices.Sort(t.transitive)
	return t, nil
}
