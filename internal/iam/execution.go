package iam

import (
	"context"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// Source says for whose resource a service assumes a role; it becomes
// aws:SourceAccount and aws:SourceArn.
type Source struct {
	Account string // "" = the role's account
	ARN     string // "" = the resource has no ARN yet
}

// AssumeForService returns the session of an execution role that a service
// (sagemaker-geospatial.amazonaws.com …) acts under: form 2 of "Who acts". The
// role's trust policy must allow sts:AssumeRole to the service, and the control
// policies that bear on the role must not forbid it. That the caller
// may pass the role is PassRoleCheck's to say. The session has no credentials
// and ends with the role.
//
// Errors: ErrNoSuchRole in the tree; AccessDenied.
func (s *Service) AssumeForService(ctx context.Context, roleARN, sessionName, service string) (*identity.Caller, error) {
	return s.AssumeForSource(ctx, roleARN, sessionName, service, Source{})
}

// AssumeForSource is AssumeForService for a resource that is known. A service
// that acts already, as itself, for a resource assumes the role for that one.
func (s *Service) AssumeForSource(ctx context.Context, roleARN, sessionName, service string, source Source) (*identity.Caller, error) {
	denied := iamapi.AccessDenied("User: %s is not authorized to perform: sts:AssumeRole on resource: %s", service, roleARN)
	role, err := s.RoleByARN(ctx, roleARN)
	if err != nil {
		return nil, denied.Because(err)
	}
	if c := identity.From(ctx).Caller; c.Type == identity.Service && source == (Source{}) {
		source = Source{Account: c.SourceAccount, ARN: c.SourceARN}
	}
	if source.Account == "" {
		source.Account = role.Account
	}
	asService := &identity.Caller{Type: identity.Service, ServiceName: service, SourceAccount: source.Account, SourceARN: source.ARN}
	check := protocol.Check{
		Action: "sts:AssumeRole", Resource: role.ARN, Account: role.Account, Policy: role.Trust, Kind: protocol.RoleTrust, Context: authz.NewContext(),
	}
	check.Context.Set("sts:RoleSessionName", sessionName)
	if err := s.registry.Authorize(identity.As(ctx, asService), iamapi.Service, &check); err != nil {
		return nil, denied.Because(err)
	}
	now := s.now().UTC()
	id, err := newAccessKeyID(temporaryPrefix, role.Account)
	if err != nil {
		return nil, err
	}
	return &identity.Caller{
		Type: identity.AssumedRole, Account: role.Account, ARN: sessionARN(role.Account, role.Name, sessionName),
		PrincipalID: role.ID + ":" + sessionName, AccessKeyID: id,
		RoleName: role.Name, RoleARN: role.ARN, RoleID: role.ID, SessionName: sessionName,
		SessionTags: role.Tags, IssuedAt: now,
	}, nil
}
