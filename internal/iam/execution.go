package iam

import (
	"context"
	"fmt"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
)

// Source says for whose resource a service assumes a role; it becomes
// aws:SourceAccount and aws:SourceArn.
type Source struct {
	Account string // "" = the role's account
	ARN     string // "" = the resource has no ARN yet
}

// AssumeForService returns the session of an execution role that a service
// (sagemaker-geospatial.amazonaws.com …) acts under: form 2 of "Who acts". The
// role's trust policy must allow sts:AssumeRole to the service. That the caller
// may pass the role is PassRoleCheck's to say. The session has no credentials
// and ends with the role.
//
// Errors: ErrNoSuchRole in the tree; AccessDenied.
func (s *Service) AssumeForService(ctx context.Context, roleARN, sessionName, service string) (*identity.Caller, error) {
	return s.AssumeForSource(ctx, roleARN, sessionName, service, Source{})
}

// AssumeForSource is AssumeForService for a resource that is known.
func (s *Service) AssumeForSource(ctx context.Context, roleARN, sessionName, service string, source Source) (*identity.Caller, error) {
	denied := iamapi.AccessDenied("User: %s is not authorized to perform: sts:AssumeRole on resource: %s", service, roleARN)
	role, err := s.RoleByARN(ctx, roleARN)
	if err != nil {
		return nil, denied.Because(err)
	}
	if source.Account == "" {
		source.Account = role.Account
	}
	now := s.now().UTC()
	c := authz.NewContext()
	c.SetBool("aws:PrincipalIsAWSService", true)
	c.Set("aws:PrincipalServiceName", service)
	c.SetMulti("aws:PrincipalServiceNamesList", service)
	c.Set("aws:SourceAccount", source.Account)
	if source.ARN != "" {
		c.Set("aws:SourceArn", source.ARN)
	}
	c.Set("sts:RoleSessionName", sessionName)
	c.SetTime("aws:CurrentTime", now)
	c.Set("aws:EpochTime", fmt.Sprint(now.Unix()))
	d := authz.Decide(&authz.Request{
		Principal: authz.Principal{Type: authz.Service, ARN: service, Service: service},
		Action:    "sts:AssumeRole", Resource: role.ARN, ResourceAccount: role.Account, Context: c, Trust: true,
	}, &authz.Policies{Resource: role.Trust}, nil)
	if d.Effect != authz.Allowed {
		return nil, denied.Because(fmt.Errorf("trust policy of %s: %s", role.ARN, d.Reason))
	}
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
