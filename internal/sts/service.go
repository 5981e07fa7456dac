// Package sts answers the STS API: who a caller is, and temporary credentials
// of roles. It keeps nothing: a session lives in its sealed token.
//
// Sources: AWS STS API Reference; IAM User Guide, "Temporary security
// credentials in IAM", "Pass session tags in AWS STS", "Monitor and control
// actions taken with assumed roles".
package sts

import (
	"context"
	"time"

	stsapi "github.com/sagekeep/sagekeep/api/sts"
	"github.com/sagekeep/sagekeep/internal/iam"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// Roles is what STS needs of IAM.
type Roles interface {
	// RoleByARN returns the role as it is now; an error that is
	// iam.ErrNoSuchRole when there is none.
	RoleByARN(ctx context.Context, roleARN string) (*iam.RoleInfo, error)
	// ManagedPolicyExists reports whether the account can use a managed policy.
	ManagedPolicyExists(ctx context.Context, account, policyARN string) (bool, error)
	// InheritedFrom returns what the caller's own session hands on.
	InheritedFrom(c *identity.Caller) (iam.Inherited, bool)
	// MintSession makes the credentials.
	MintSession(spec iam.SessionSpec) (*iam.SessionCredentials, error)
}

// Service is STS. All methods may be called concurrently.
type Service struct {
	roles    Roles
	registry *protocol.Registry
}

// New returns the service; roles is *iam.Service.
func New(roles Roles) *Service { return &Service{roles: roles} }

// Register adds every operation to r, which the service keeps: AssumeRole asks
// its evaluator. Call it once, before the first request.
func (s *Service) Register(r *protocol.Registry) {
	s.registry = r
	protocol.Handle(r, stsapi.AssumeRole, s.resolveAssumeRole, s.AssumeRole)
	protocol.Handle(r, stsapi.GetCallerIdentity, protocol.Unchecked[stsapi.GetCallerIdentityInput], s.GetCallerIdentity)
	protocol.Handle(r, stsapi.GetAccessKeyInfo, protocol.AnyResource[stsapi.GetAccessKeyInfoInput], s.GetAccessKeyInfo)
}

// Session lengths.
const (
	defaultDuration = time.Hour
	minDuration     = 15 * time.Minute
	maxChained      = time.Hour // of a session made from a session
)
