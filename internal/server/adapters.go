package server

import (
	"context"
	"errors"
	"maps"
	"slices"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/iam"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/kms"
	"github.com/sagekeep/sagekeep/internal/organizations"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// keyCalls are the KMS operations that other services call, through the
// pipeline: each is authorised for the caller in ctx and recorded.
type keyCalls struct {
	registry *protocol.Registry
	kms      *kms.Service
}

func (k keyCalls) GenerateDataKey(ctx context.Context, in *kmsapi.GenerateDataKeyInput) (*kmsapi.GenerateDataKeyOutput, error) {
	return protocol.Call(ctx, k.registry, kmsapi.GenerateDataKey, in)
}

func (k keyCalls) GenerateDataKeyWithoutPlaintext(ctx context.Context, in *kmsapi.GenerateDataKeyWithoutPlaintextInput) (*kmsapi.GenerateDataKeyWithoutPlaintextOutput, error) {
	return protocol.Call(ctx, k.registry, kmsapi.GenerateDataKeyWithoutPlaintext, in)
}

func (k keyCalls) Decrypt(ctx context.Context, in *kmsapi.DecryptInput) (*kmsapi.DecryptOutput, error) {
	return protocol.Call(ctx, k.registry, kmsapi.Decrypt, in)
}

func (k keyCalls) CreateGrant(ctx context.Context, in *kmsapi.CreateGrantInput) (*kmsapi.CreateGrantOutput, error) {
	return protocol.Call(ctx, k.registry, kmsapi.CreateGrant, in)
}

func (k keyCalls) RetireGrant(ctx context.Context, in *kmsapi.RetireGrantInput) (*schema.Nothing, error) {
	return protocol.Call(ctx, k.registry, kmsapi.RetireGrant, in)
}

func (k keyCalls) Describe(ctx context.Context, keyID string) (arn string, symmetric bool, state string, err error) {
	info, err := k.kms.Describe(ctx, keyID)
	return info.ARN, info.Symmetric, info.State, err
}

func (k keyCalls) Check(ctx context.Context, keyID, action string, ec map[string]string) (protocol.Check, error) {
	return k.kms.CheckFor(ctx, keyID, action, ec)
}

// objectCalls are the S3 operations that other services call.
type objectCalls struct{ registry *protocol.Registry }

func (o objectCalls) PutObject(ctx context.Context, in *s3api.PutObjectInput) (*s3api.PutObjectOutput, error) {
	return protocol.Call(ctx, o.registry, s3api.PutObject, in)
}

// executionRoles are the roles that services act under.
type executionRoles struct{ *iam.Service }

func (executionRoles) PassRoleCheck(roleARN, service string) protocol.Check {
	return iam.PassRoleCheck(roleARN, service)
}

// customer is the organization of an account, or the account itself: who makes
// accounts in an organization has no more of the server for it.
func (s *Server) customer(ctx context.Context, account string) string {
	if m, err := s.organizations.MembershipOf(ctx, account); err == nil && m.Organization != "" {
		return m.Organization
	}
	return account
}

// linkedRoleUse is what still needs a service-linked role of an account.
func (s *Server) linkedRoleUse(ctx context.Context, account, service string) ([]iam.LinkedRoleUse, error) {
	switch service {
	case organizations.Principal:
	case kms.MultiRegionPrincipal:
		return s.multiRegionUse(ctx, account)
	default:
		return nil, nil
	}
	m, err := s.organizations.MembershipOf(ctx, account)
	if err != nil || m.Organization == "" {
		return nil, err
	}
	return []iam.LinkedRoleUse{{Region: DefaultRegion, Resources: []string{m.Organization}}}, nil
}

// multiRegionUse lists the multi-Region keys of an account.
func (s *Server) multiRegionUse(ctx context.Context, account string) ([]iam.LinkedRoleUse, error) {
	arns, err := s.kms.MultiRegionKeys(ctx, account)
	if err != nil {
		return nil, err
	}
	var use []iam.LinkedRoleUse
	for _, region := range slices.Sorted(maps.Keys(arns)) {
		use = append(use, iam.LinkedRoleUse{Region: region, Resources: arns[region]})
	}
	return use, nil
}

// linkedRole makes the service-linked role of a service of KMS in the caller's
// account unless it is there, as the caller, who needs iam:CreateServiceLinkedRole.
func (s *Server) linkedRole(ctx context.Context, service string) error {
	role := "arn:aws:iam::" + identity.From(ctx).Caller.Account + ":role/aws-service-role/" + service + "/" + kms.MultiRegionRole
	if _, err := s.iam.RoleByARN(ctx, role); !errors.Is(err, iam.ErrNoSuchRole) {
		return err
	}
	_, err := protocol.Call(ctx, s.registry, iamapi.CreateServiceLinkedRole, &iamapi.CreateServiceLinkedRoleInput{AWSServiceName: service})
	if err == nil {
		return nil
	}
	e := schema.AsError(err)
	if e.Code == "AccessDenied" { // in the words of KMS
		denied := kmsapi.AccessDeniedException("%s", e.Message)
		denied.AuditCode = e.Code
		return denied.Because(err)
	}
	if e.Code != "InvalidInput" {
		return err
	}
	if _, rerr := s.iam.RoleByARN(ctx, role); rerr != nil {
		return err
	}
	return nil // another use of the service was quicker
}
