package sts

import (
	"context"
	"errors"
	"fmt"
	"slices"

	stsapi "github.com/sagekeep/sagekeep/api/sts"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/iam"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/oidc"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/protocol/wire"
)

// TokenVerifier proves web identity tokens.
type TokenVerifier interface {
	// Verify returns who a token of the provider's issuer says its bearer is.
	// Refusals are an *oidc.Error.
	Verify(ctx context.Context, p oidc.Provider, t *oidc.Token) (*oidc.Identity, error)
}

// nobody is the caller of a request until its token is proven. Whoever signed
// the request does not count.
func nobody() *identity.Caller { return &identity.Caller{Type: identity.Anonymous, ARN: "anonymous"} }

// resolveWebIdentity names the role for the record, which is its account's. It
// asks for no permission: who calls stands in the token alone, and
// AssumeRoleWithWebIdentity asks for that one.
func (s *Service) resolveWebIdentity(ctx context.Context, in *stsapi.AssumeRoleWithWebIdentityInput) ([]protocol.Check, error) {
	entry := audit.From(ctx)
	entry.SetCaller(nobody())
	account := accountOf(in.RoleArn)
	have, err := s.roles.AccountExists(ctx, account)
	if err != nil {
		return nil, err
	}
	if have {
		entry.AddResource(account, roleType, in.RoleArn)
	}
	return nil, nil
}

// AssumeRoleWithWebIdentity makes temporary credentials of a role for whoever
// presents an ID token of an identity provider that the role's account has and
// the role trusts. The request needs no signature.
//
// A role that does not exist answers as one that trusts nobody.
//
// Errors: InvalidIdentityToken; ExpiredTokenException; IDPCommunicationError;
// AccessDenied; ValidationError; MalformedPolicyDocument; PackedPolicyTooLarge.
//
// Source: AWS STS API Reference, AssumeRoleWithWebIdentity.
func (s *Service) AssumeRoleWithWebIdentity(ctx context.Context, in *stsapi.AssumeRoleWithWebIdentityInput) (*stsapi.AssumeRoleWithWebIdentityOutput, error) {
	ctx = identity.As(ctx, nobody())
	if in.ProviderId != nil {
		return nil, stsapi.InvalidIdentityTokenException("ProviderId is for OAuth 2.0 access tokens, which cannot be validated here. Do not specify it for OpenID Connect ID tokens.")
	}
	provider, id, err := s.proveIdentity(ctx, accountOf(in.RoleArn), in.WebIdentityToken)
	if err != nil {
		return nil, err
	}
	w, err := s.webSession(ctx, in, provider, id)
	if err != nil {
		return nil, err
	}
	w.record(ctx, in)
	if err := s.authorizeWeb(ctx, w); err != nil {
		return nil, err
	}
	duration, err := durationOf(&stsapi.AssumeRoleInput{DurationSeconds: in.DurationSeconds}, w.role, false)
	if err != nil {
		return nil, err
	}
	policies, err := s.sessionPolicies(ctx, w.role.Account, in.Policy, in.PolicyArns)
	if err != nil {
		return nil, err
	}
	packed, err := packedSize(policies, w.tags.all)
	if err != nil {
		return nil, err
	}
	cred, err := s.roles.MintSession(iam.SessionSpec{
		Role: w.role, Name: in.RoleSessionName, Duration: duration, Policies: policies, Tags: w.tags.all, TransitiveKeys: w.tags.transitive,
		SourceIdentity: w.sourceIdentity, Provider: w.caller.Provider, ProviderKeys: sessionKeys(provider.URL, id), MinTokenSize: minTokenSize(in.MinimumSessionTokenSize),
	})
	if err != nil {
		return nil, err
	}
	elements := recordedRole(cred, packed, w.sourceIdentity)
	elements["subjectFromWebIdentityToken"], elements["provider"], elements["audience"] = id.Subject, w.caller.Provider, id.Audience
	audit.From(ctx).SetResponse(elements)
	out := &stsapi.AssumeRoleWithWebIdentityOutput{
		Credentials: credentials(cred), SubjectFromWebIdentityToken: &id.Subject,
		AssumedRoleUser:  &stsapi.AssumedRoleUser{AssumedRoleId: cred.AssumedRoleID, Arn: cred.AssumedRoleARN},
		PackedPolicySize: packed, Provider: &w.caller.Provider, Audience: &id.Audience,
		SessionTokenSize: tokenSize(in.MinimumSessionTokenSize, cred),
	}
	if w.sourceIdentity != "" {
		out.SourceIdentity = &w.sourceIdentity
	}
	return out, nil
}

// proveIdentity verifies a token against the account's provider of its issuer.
func (s *Service) proveIdentity(ctx context.Context, account, text string) (*iam.OIDCProvider, *oidc.Identity, error) {
	token, err := oidc.Parse(text)
	if err != nil {
		return nil, nil, tokenError(err)
	}
	provider, err := s.roles.OIDCProvider(ctx, account, token.Issuer)
	if errors.Is(err, iam.ErrNoSuchProvider) {
		return nil, nil, stsapi.InvalidIdentityTokenException("No OpenIDConnect provider found in your account for %s", token.Issuer)
	}
	if err != nil {
		return nil, nil, err
	}
	id, err := s.tokens.Verify(ctx, oidc.Provider{
		Issuer: "https://" + provider.URL, ClientIDs: provider.ClientIDs, Thumbprints: provider.Thumbprints,
	}, token)
	if err != nil {
		return nil, nil, tokenError(err)
	}
	return provider, id, nil
}

// tokenError gives a refusal of a token its answer.
func tokenError(err error) error {
	e, ok := errors.AsType[*oidc.Error](err)
	if !ok {
		return err
	}
	answer := stsapi.InvalidIdentityTokenException
	switch e.Kind {
	case oidc.ExpiredToken:
		answer = stsapi.ExpiredTokenException
	case oidc.IDPCommunicationError:
		answer = stsapi.IDPCommunicationErrorException
	case oidc.InvalidIdentityToken:
	}
	return answer("%s", e.Message).Because(err)
}

// webSession is a proven identity with what it asks for.
type webSession struct {
	caller         *identity.Caller
	id             *oidc.Identity
	roleARN        string
	role           *iam.RoleInfo // nil when there is none
	asked          askedSession
	tags           sessionTags
	sourceIdentity string
	named          bool // the provider lists the role in the token
	context        authz.Context
}

// webSession reads what the token says of the session.
func (s *Service) webSession(ctx context.Context, in *stsapi.AssumeRoleWithWebIdentityInput, provider *iam.OIDCProvider, id *oidc.Identity) (*webSession, error) {
	w := &webSession{id: id, roleARN: in.RoleArn}
	role, err := s.roles.RoleByARN(ctx, in.RoleArn)
	if err != nil && !errors.Is(err, iam.ErrNoSuchRole) {
		return nil, err
	}
	w.role = role
	name := providerName(provider, role)
	w.caller = &identity.Caller{
		Type: identity.WebIdentity, PrincipalID: name + ":" + id.Audience + ":" + id.Subject, UserName: id.Subject, Provider: name,
	}
	entry := audit.From(ctx)
	entry.SetCaller(w.caller)
	entry.Additional("identityProviderConnectionVerificationMethod", string(id.Connection))
	if w.asked, err = readClaims(id); err != nil {
		return nil, err
	}
	if err := w.asked.check(in); err != nil {
		return nil, err
	}
	if w.asked.roles != nil {
		if w.named = slices.Contains(w.asked.roles, in.RoleArn); !w.named {
			return nil, stsapi.InvalidIdentityTokenException("The target role ARN is not present in the roles claim of the identity token")
		}
		entry.Additional("RoleAuthorizedByIdp", true)
	}
	if w.tags, err = mergeTags(w.asked.tags, w.asked.transitive, nil); err != nil {
		return nil, err
	}
	w.sourceIdentity = w.asked.sourceIdentity
	w.context = authz.NewContext()
	issuerConditions(w.context, provider.URL, id)
	w.context.Set("sts:RoleSessionName", in.RoleSessionName)
	w.context.SetBool("sts:RoleAuthorizedByIdp", w.named)
	if w.sourceIdentity != "" {
		w.context.Set("sts:SourceIdentity", w.sourceIdentity)
	}
	w.context.SetMulti("sts:TransitiveTagKeys", w.tags.transitive...)
	requestTags(w.context, w.asked.tags)
	return w, nil
}

// providerName is how the caller's provider is called in policies: its ARN,
// or, if the role's trust policy says so, the name that AWS knows it by.
func providerName(p *iam.OIDCProvider, role *iam.RoleInfo) string {
	if role == nil || p.URL != "accounts.google.com" && p.URL != "cognito-identity.amazonaws.com" {
		return p.ARN
	}
	name := p.ARN
	for _, ref := range role.Trust.Principals() {
		switch {
		case ref.Form != authz.FormFederated:
		case ref.Value == p.ARN:
			return p.ARN
		case ref.Value == p.URL:
			name = p.URL
		}
	}
	return name
}

// record adds to requestParameters what the token asks for. The token itself
// is in no record.
func (w *webSession) record(ctx context.Context, in *stsapi.AssumeRoleWithWebIdentityInput) {
	if len(w.asked.tags) == 0 && w.sourceIdentity == "" {
		return
	}
	view := wire.AuditView(stsapi.AssumeRoleWithWebIdentity.Input, in)
	if len(w.asked.tags) > 0 {
		view["principalTags"] = w.tags.all
	}
	if len(w.tags.transitive) > 0 {
		view["transitiveTagKeys"] = w.tags.transitive
	}
	if w.sourceIdentity != "" {
		view["sourceIdentity"] = w.sourceIdentity
	}
	audit.From(ctx).SetRequest(view)
}

// authorizeWeb asks the evaluator whether the role trusts the identity, also
// about a role that does not exist, which nobody is trusted by.
func (s *Service) authorizeWeb(ctx context.Context, w *webSession) error {
	check := protocol.Check{Resource: w.roleARN, ResourceType: roleType, Account: accountOf(w.roleARN), Kind: protocol.RoleTrust, Context: w.context}
	if w.role != nil {
		check.Policy = w.role.Trust
		for k, v := range w.role.Tags {
			check.Context.Set("iam:ResourceTag/"+k, v)
			check.Context.Set("aws:ResourceTag/"+k, v)
		}
	}
	actions := []string{"sts:AssumeRoleWithWebIdentity"}
	if len(w.tags.all) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	if w.sourceIdentity != "" {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	ctx = identity.As(ctx, w.caller)
	for _, action := range actions {
		denied := stsapi.AccessDenied("Not authorized to perform %s", action)
		c := check
		c.Action = action
		err := s.registry.Authorize(ctx, stsapi.Service, &c)
		if _, refused := errors.AsType[*protocol.Denial](err); refused {
			return denied.Because(err)
		}
		if err != nil {
			return err
		}
		if w.role == nil {
			return denied.Because(fmt.Errorf("%s: %w", w.roleARN, iam.ErrNoSuchRole))
		}
	}
	return nil
}
