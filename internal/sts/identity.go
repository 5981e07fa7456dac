package sts

import (
	"context"

	stsapi "github.com/sagekeep/sagekeep/api/sts"
	"github.com/sagekeep/sagekeep/internal/iam"
	"github.com/sagekeep/sagekeep/internal/identity"
)

// GetCallerIdentity returns who the caller is. It needs no permission and
// works under an explicit deny.
func (s *Service) GetCallerIdentity(ctx context.Context, _ *stsapi.GetCallerIdentityInput) (*stsapi.GetCallerIdentityOutput, error) {
	c := identity.From(ctx).Caller
	return &stsapi.GetCallerIdentityOutput{UserId: &c.PrincipalID, Account: &c.Account, Arn: &c.ARN}, nil
}

// GetAccessKeyInfo returns the account that an access key id names, which need
// not exist.
//
// Errors: ValidationError for what is no access key id of ours.
func (s *Service) GetAccessKeyInfo(_ context.Context, in *stsapi.GetAccessKeyInfoInput) (*stsapi.GetAccessKeyInfoOutput, error) {
	account, ok := iam.AccountOfAccessKey(in.AccessKeyId)
	if !ok {
		return nil, stsapi.ValidationError("The access key ID %s is not valid.", in.AccessKeyId)
	}
	return &stsapi.GetAccessKeyInfoOutput{Account: &account}, nil
}
