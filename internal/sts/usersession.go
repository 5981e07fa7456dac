package sts

import (
	"context"
	"time"

	stsapi "github.com/sagekeep/sagekeep/api/sts"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/iam"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// noMFA is the answer to MFA parameters: no device can have been assigned.
const noMFA = "MultiFactorAuthentication failed, unable to validate MFA code. There are no MFA devices here."

// longTerm refuses everybody but users and root users with access keys of
// their own.
func longTerm(ctx context.Context, operation string) error {
	c := identity.From(ctx).Caller
	if c.Type != identity.User && c.Type != identity.Root || c.Temporary() {
		return stsapi.AccessDenied("Cannot call %s with session credentials", operation)
	}
	return nil
}

// resolveGetSessionToken asks for no permission: an authentication is not
// controlled by policies, neither allowed nor denied.
// Source: IAM User Guide, "Permissions for GetSessionToken".
func (s *Service) resolveGetSessionToken(ctx context.Context, _ *stsapi.GetSessionTokenInput) ([]protocol.Check, error) {
	return nil, longTerm(ctx, "GetSessionToken")
}

// GetSessionToken makes temporary credentials of the caller itself, a user or
// the root user. They do what the caller may do at each request, apart from
// what [identity.Caller.MayCall] closes.
//
// Errors: AccessDenied for callers with temporary credentials, and for MFA
// parameters; ValidationError for a duration out of range.
//
// Source: AWS STS API Reference, GetSessionToken.
func (s *Service) GetSessionToken(ctx context.Context, in *stsapi.GetSessionTokenInput) (*stsapi.GetSessionTokenOutput, error) {
	if in.SerialNumber != nil || in.TokenCode != nil {
		return nil, stsapi.AccessDenied(noMFA)
	}
	caller := identity.From(ctx).Caller
	duration, err := ownDuration(in.DurationSeconds, caller)
	if err != nil {
		return nil, err
	}
	cred, err := s.roles.MintUserSession(iam.UserSessionSpec{
		Maker: caller, Duration: duration, MinTokenSize: minTokenSize(in.MinimumSessionTokenSize),
	})
	if err != nil {
		return nil, err
	}
	audit.From(ctx).SetResponse(map[string]any{"credentials": recordedCredentials(cred)})
	return &stsapi.GetSessionTokenOutput{
		Credentials: credentials(cred), SessionTokenSize: tokenSize(in.MinimumSessionTokenSize, cred),
	}, nil
}

// resolveGetFederationToken names the federated user, and the tagging that
// comes with tags as an action of its own.
func (s *Service) resolveGetFederationToken(ctx context.Context, in *stsapi.GetFederationTokenInput) ([]protocol.Check, error) {
	if err := longTerm(ctx, "GetFederationToken"); err != nil {
		return nil, err
	}
	account := identity.From(ctx).Caller.Account
	c := authz.NewContext()
	requestTags(c, in.Tags)
	check := protocol.Check{
		Action: "sts:GetFederationToken", Resource: iam.FederatedUserARN(account, in.Name), Account: account, Context: c,
	}
	checks := []protocol.Check{check}
	if len(in.Tags) > 0 {
		check.Action = "sts:TagSession"
		checks = append(checks, check)
	}
	return checks, nil
}

// GetFederationToken makes temporary credentials of a federated user, who may do
// what both the caller and the session policies allow; without any, only what
// resource policies allow to the federated user by name.
//
// Errors: AccessDenied for callers with temporary credentials;
// MalformedPolicyDocument; PackedPolicyTooLarge; ValidationError.
//
// Source: AWS STS API Reference, GetFederationToken.
func (s *Service) GetFederationToken(ctx context.Context, in *stsapi.GetFederationTokenInput) (*stsapi.GetFederationTokenOutput, error) {
	caller := identity.From(ctx).Caller
	duration, err := ownDuration(in.DurationSeconds, caller)
	if err != nil {
		return nil, err
	}
	tags, err := mergeTags(in.Tags, nil, nil)
	if err != nil {
		return nil, err
	}
	policies, err := s.sessionPolicies(ctx, caller.Account, in.Policy, in.PolicyArns)
	if err != nil {
		return nil, err
	}
	packed, err := packedSize(policies, tags.all)
	if err != nil {
		return nil, err
	}
	cred, err := s.roles.MintUserSession(iam.UserSessionSpec{
		Maker: caller, Duration: duration, FederatedName: in.Name, Policies: policies, Tags: tags.all,
		MinTokenSize: minTokenSize(in.MinimumSessionTokenSize),
	})
	if err != nil {
		return nil, err
	}
	user := &stsapi.FederatedUser{FederatedUserId: caller.Account + ":" + in.Name, Arn: iam.FederatedUserARN(caller.Account, in.Name)}
	elements := map[string]any{
		"credentials":   recordedCredentials(cred),
		"federatedUser": map[string]any{"federatedUserId": user.FederatedUserId, "arn": user.Arn},
	}
	if packed != nil {
		elements["packedPolicySize"] = *packed
	}
	audit.From(ctx).SetResponse(elements)
	return &stsapi.GetFederationTokenOutput{
		Credentials: credentials(cred), FederatedUser: user, PackedPolicySize: packed,
		SessionTokenSize: tokenSize(in.MinimumSessionTokenSize, cred),
	}, nil
}

// ownDuration is how long a session lasts that a user or the root user asks
// for. What the root user asks for is cut to an hour without an error.
func ownDuration(seconds *int32, caller *identity.Caller) (time.Duration, error) {
	longest, d := maxOwnDuration, defaultOwnDuration
	if caller.Type == identity.Root {
		longest, d = maxRootDuration, maxRootDuration
	}
	if seconds == nil {
		return d, nil
	}
	d = time.Duration(*seconds) * time.Second
	if d < minDuration {
		return 0, outOfRange(*seconds, "greater than or equal to 900")
	}
	if d > maxOwnDuration {
		return 0, outOfRange(*seconds, "less than or equal to 129600")
	}
	return min(d, longest), nil
}

func outOfRange(seconds int32, want string) error {
	return stsapi.ValidationError("1 validation error detected: Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value %s", seconds, want)
}

// credentials are those of an answer.
func credentials(c *iam.SessionCredentials) *stsapi.Credentials {
	return &stsapi.Credentials{
		AccessKeyId: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken, Expiration: c.Expires,
	}
}

// recordedCredentials are those of a record: what AWS writes there, without the
// token (I4).
func recordedCredentials(c *iam.SessionCredentials) map[string]any {
	return map[string]any{
		"accessKeyId": c.AccessKeyID, "expiration": c.Expires.UTC().Format("Jan 2, 2006, 3:04:05 PM"),
	}
}

// minTokenSize is the size in characters that was asked for, 0 for any.
func minTokenSize(asked *int32) int {
	if asked == nil {
		return 0
	}
	return int(*asked)
}

// tokenSize is the size of the token, told to those who asked for one.
func tokenSize(asked *int32, c *iam.SessionCredentials) *int32 {
	if asked == nil {
		return nil
	}
	return new(int32(len(c.SessionToken)))
}
