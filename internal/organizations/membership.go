// Package organizations keeps the part of AWS Organizations that policies need:
// an organization, its units and accounts, and the service control and resource
// control policies attached to them.
package organizations

import (
	"context"

	"github.com/sagekeep/sagekeep/internal/authz"
)

// Membership is the place of an account in its organization.
type Membership struct {
	Organization string // o-…; "" = in none
	Path         string // o-…/r-…/ou-…/, as in aws:PrincipalOrgPaths
	// SCP and RCP bind the account: one element a level, root first; empty when
	// the type of policy is not enabled, and for the management account.
	SCP, RCP [][]*authz.Policy
}

// Service is Organizations. All methods may be called concurrently.
type Service struct{}

// MembershipOf returns the account's membership as it is now.
func (s *Service) MembershipOf(context.Context, string) (Membership, error) {
	return Membership{}, nil
}

// ControlsResource reports whether resource control policies bear on an action
// on a resource.
func ControlsResource(action, resource string) bool { return false }
