// Package sts answers the STS API: who a caller is, temporary credentials of
// roles, also for whoever presents a web identity, of users and of federated
// users, and why a request was denied. It keeps nothing: a session lives in its
// sealed token, a denial in its message.
//
// Sources: AWS STS API Reference; IAM User Guide, "Temporary security
// credentials in IAM", "Pass session tags in AWS STS", "Monitor and control
// actions taken with assumed roles".
package sts

import (
	"context"
	"time"

	stsapi "github.com/sagekeep/sagekeep/api/sts"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/iam"
	"github.com/sagekeep/sagekeep/internal/oidc"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// Roles is what STS needs of IAM.
type Roles interface {
	// RoleByARN returns the role as it is now; an error that is
	// iam.ErrNoSuchRole when there is none.
	RoleByARN(ctx context.Context, roleARN string) (*iam.RoleInfo, error)
	// ManagedPolicyExists reports whether the account can use a managed policy.
	ManagedPolicyExists(ctx context.Context, account, policyARN string) (bool, error)
	// MintSession makes the credentials of a role session.
	MintSession(spec iam.SessionSpec) (*iam.SessionCredentials, error)
	// MintUserSession makes those of a session of a user or the root user.
	MintUserSession(spec iam.UserSessionSpec) (*iam.SessionCredentials, error)
	// AccountExists reports whether the account is there.
	AccountExists(ctx context.Context, account string) (bool, error)
	// OIDCProvider returns an account's provider of an issuer as it is now; an
	// error that is iam.ErrNoSuchProvider when there is none.
	OIDCProvider(ctx context.Context, account, issuer string) (*iam.OIDCProvider, error)
}

// Config is what the service needs.
type Config struct {
	Roles   Roles             // *iam.Service
	Keyring *envelope.Keyring // seals authorization messages
	Tokens  TokenVerifier     // one of its own when nil
	Now     func() time.Time  // time.Now when nil
}

// Service is STS. All methods may be called concurrently.
type Service struct {
	roles    Roles
	keyring  *envelope.Keyring
	tokens   TokenVerifier
	now      func() time.Time
	registry *protocol.Registry
}

// New returns the service.
func New(c Config) *Service {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Tokens == nil {
		c.Tokens = oidc.New(oidc.Config{Now: c.Now})
	}
	return &Service{roles: c.Roles, keyring: c.Keyring, tokens: c.Tokens, now: c.Now}
}

// Register adds every operation to r, which the service keeps: AssumeRole asks
// its evaluator. Call it once, before the first request.
func (s *Service) Register(r *protocol.Registry) {
	s.registry = r
	protocol.Handle(r, stsapi.AssumeRole, s.resolveAssumeRole, s.AssumeRole)
	protocol.Handle(r, stsapi.AssumeRoleWithWebIdentity, s.resolveWebIdentity, s.AssumeRoleWithWebIdentity)
	protocol.Handle(r, stsapi.GetSessionToken, s.resolveGetSessionToken, s.GetSessionToken)
	protocol.Handle(r, stsapi.GetFederationToken, s.resolveGetFederationToken, s.GetFederationToken)
	protocol.Handle(r, stsapi.GetCallerIdentity, protocol.Unchecked[stsapi.GetCallerIdentityInput], s.GetCallerIdentity)
	protocol.Handle(r, stsapi.GetAccessKeyInfo, protocol.AnyResource[stsapi.GetAccessKeyInfoInput], s.GetAccessKeyInfo)
	protocol.Handle(r, stsapi.DecodeAuthorizationMessage, protocol.AnyResource[stsapi.DecodeAuthorizationMessageInput], s.DecodeAuthorizationMessage)
}

// Session lengths.
const (
	defaultDuration = time.Hour // of a role session
	minDuration     = 15 * time.Minute
	maxChained      = time.Hour // of a role session made from a role session

	defaultOwnDuration = 12 * time.Hour // of a session that a user asks for itself or for a federated user
	maxOwnDuration     = 36 * time.Hour
	maxRootDuration    = time.Hour // of one that the root user asks for
)
