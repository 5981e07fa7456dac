package iam

import (
	"context"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// registerAbsent adds the operations that tell of what no account has here:
// passwords, MFA devices, certificates, SSH keys, credentials of other
// services, instance profiles and SAML providers. They are asked by tools that
// look at an account or take a user away.
func (s *Service) registerAbsent(r *protocol.Registry) {
	protocol.Handle(r, iamapi.GetLoginProfile, ofOwner(s, func(in *iamapi.GetLoginProfileInput) *string { return in.UserName }), s.GetLoginProfile)
	protocol.Handle(r, iamapi.DeleteLoginProfile, ofOwner(s, func(in *iamapi.DeleteLoginProfileInput) *string { return in.UserName }), s.DeleteLoginProfile)
	protocol.Handle(r, iamapi.DeactivateMFADevice, ofOwner(s, func(in *iamapi.DeactivateMFADeviceInput) *string { return in.UserName }), s.DeactivateMFADevice)
	protocol.Handle(r, iamapi.GetAccountPasswordPolicy, protocol.AnyResource[schema.Nothing], s.GetAccountPasswordPolicy)
	protocol.Handle(r, iamapi.ListMFADevices, ofOwner(s, func(in *iamapi.ListMFADevicesInput) *string { return in.UserName }), s.ListMFADevices)
	protocol.Handle(r, iamapi.ListVirtualMFADevices, belowNoun("mfa", func(*iamapi.ListVirtualMFADevicesInput) *string { return nil }), s.ListVirtualMFADevices)
	protocol.Handle(r, iamapi.ListSSHPublicKeys, ofOwner(s, func(in *iamapi.ListSSHPublicKeysInput) *string { return in.UserName }), s.ListSSHPublicKeys)
	protocol.Handle(r, iamapi.ListSigningCertificates, ofOwner(s, func(in *iamapi.ListSigningCertificatesInput) *string { return in.UserName }), s.ListSigningCertificates)
	protocol.Handle(r, iamapi.ListServiceSpecificCredentials, s.resolveServiceCredentials, s.ListServiceSpecificCredentials)
	protocol.Handle(r, iamapi.ListInstanceProfiles, belowNoun("instance-profile", func(in *iamapi.ListInstanceProfilesInput) *string { return in.PathPrefix }), s.ListInstanceProfiles)
	protocol.Handle(r, iamapi.ListSAMLProviders, protocol.AnyResource[iamapi.ListSAMLProvidersInput], s.ListSAMLProviders)
	protocol.Handle(r, iamapi.ListServerCertificates, belowNoun("server-certificate", func(in *iamapi.ListServerCertificatesInput) *string { return in.PathPrefix }), s.ListServerCertificates)
}

// belowNoun is the resolver of lists of a noun that has no rows.
func belowNoun[In any](noun string, pathPrefix func(*In) *string) protocol.Resolver[In] {
	return func(ctx context.Context, in *In) ([]protocol.Check, error) {
		account := accountOf(ctx)
		return []protocol.Check{{Resource: "arn:aws:iam::" + account + ":" + noun + pathOf(pathPrefix(in)), Account: account}}, nil
	}
}

func (s *Service) resolveServiceCredentials(ctx context.Context, in *iamapi.ListServiceSpecificCredentialsInput) ([]protocol.Check, error) {
	if value(in.AllUsers) {
		return []protocol.Check{{Resource: s.users.arnOf(accountOf(ctx), "/", "*"), Account: accountOf(ctx)}}, nil
	}
	return ofOwner(s, func(in *iamapi.ListServiceSpecificCredentialsInput) *string { return in.UserName })(ctx, in)
}

// checkOwner refuses a user who does not exist; without a name the caller is
// meant. It returns the user's name, "" for the root user.
func (s *Service) checkOwner(ctx context.Context, name *string) (string, error) {
	n, err := ownerName(ctx, name)
	if err != nil || n == "" {
		return "", err
	}
	e, err := s.read(ctx, s.users, n)
	return e.Name, err
}

// nothing pages through an empty list; every marker is a bad one.
func nothing[T any](ctx context.Context, s *Service, list string, marker *string) ([]T, *bool, error) {
	all, truncated, _, err := page(ctx, s, listing{name: list, marker: marker}, []T{}, func(T) string { return "" })
	if marker != nil && err == nil {
		err = iamapi.ValidationError("Invalid Marker.")
	}
	return all, truncated, err
}

// ownedNothing is nothing of a user.
func ownedNothing[T any](ctx context.Context, s *Service, list string, user, marker *string) ([]T, *bool, error) {
	if _, err := s.checkOwner(ctx, user); err != nil {
		return nil, nil, err
	}
	return nothing[T](ctx, s, list, marker)
}

// GetLoginProfile finds none: there are no passwords.
//
// Errors: NoSuchEntity; ValidationError when a role's session names no user.
func (s *Service) GetLoginProfile(ctx context.Context, in *iamapi.GetLoginProfileInput) (*iamapi.GetLoginProfileOutput, error) {
	return nil, s.noPassword(ctx, in.UserName)
}

// DeleteLoginProfile finds none: there are no passwords.
//
// Errors: NoSuchEntity; ValidationError when a role's session names no user.
func (s *Service) DeleteLoginProfile(ctx context.Context, in *iamapi.DeleteLoginProfileInput) (*schema.Nothing, error) {
	return nil, s.noPassword(ctx, in.UserName)
}

func (s *Service) noPassword(ctx context.Context, user *string) error {
	name, err := s.checkOwner(ctx, user)
	if err != nil {
		return err
	}
	if name == "" {
		name = accountOf(ctx)
	}
	return iamapi.NoSuchEntityException("Login Profile for User %s cannot be found.", name)
}

// DeactivateMFADevice finds none.
//
// Errors: NoSuchEntity; ValidationError when a role's session names no user.
func (s *Service) DeactivateMFADevice(ctx context.Context, in *iamapi.DeactivateMFADeviceInput) (*schema.Nothing, error) {
	if _, err := s.checkOwner(ctx, in.UserName); err != nil {
		return nil, err
	}
	return nil, iamapi.NoSuchEntityException("MFA Device with serial number %s does not exist.", in.SerialNumber)
}

// GetAccountPasswordPolicy finds none: there are no passwords.
//
// Errors: NoSuchEntity.
func (s *Service) GetAccountPasswordPolicy(ctx context.Context, _ *schema.Nothing) (*iamapi.GetAccountPasswordPolicyOutput, error) {
	return nil, iamapi.NoSuchEntityException("The Password Policy with domain name %s cannot be found.", accountOf(ctx))
}

// ListMFADevices returns no device of a user. Errors: NoSuchEntity for the
// user; ValidationError.
func (s *Service) ListMFADevices(ctx context.Context, in *iamapi.ListMFADevicesInput) (*iamapi.ListMFADevicesOutput, error) {
	all, truncated, err := ownedNothing[iamapi.MFADevice](ctx, s, "ListMFADevices", in.UserName, in.Marker)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListMFADevicesOutput{MFADevices: all, IsTruncated: truncated}, nil
}

// ListVirtualMFADevices returns no device. Errors: ValidationError for a bad
// marker.
func (s *Service) ListVirtualMFADevices(ctx context.Context, in *iamapi.ListVirtualMFADevicesInput) (*iamapi.ListVirtualMFADevicesOutput, error) {
	all, truncated, err := nothing[iamapi.VirtualMFADevice](ctx, s, "ListVirtualMFADevices", in.Marker)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListVirtualMFADevicesOutput{VirtualMFADevices: all, IsTruncated: truncated}, nil
}

// ListSSHPublicKeys returns no key of a user. Errors: NoSuchEntity for the
// user; ValidationError.
func (s *Service) ListSSHPublicKeys(ctx context.Context, in *iamapi.ListSSHPublicKeysInput) (*iamapi.ListSSHPublicKeysOutput, error) {
	all, truncated, err := ownedNothing[iamapi.SSHPublicKeyMetadata](ctx, s, "ListSSHPublicKeys", in.UserName, in.Marker)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListSSHPublicKeysOutput{SSHPublicKeys: all, IsTruncated: truncated}, nil
}

// ListSigningCertificates returns no certificate of a user. Errors:
// NoSuchEntity for the user; ValidationError.
func (s *Service) ListSigningCertificates(ctx context.Context, in *iamapi.ListSigningCertificatesInput) (*iamapi.ListSigningCertificatesOutput, error) {
	all, truncated, err := ownedNothing[iamapi.SigningCertificate](ctx, s, "ListSigningCertificates", in.UserName, in.Marker)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListSigningCertificatesOutput{Certificates: all, IsTruncated: truncated}, nil
}

// ListServiceSpecificCredentials returns no credential of a user, or of all.
//
// Errors: NoSuchEntity for the user; ValidationError.
func (s *Service) ListServiceSpecificCredentials(ctx context.Context, in *iamapi.ListServiceSpecificCredentialsInput) (*iamapi.ListServiceSpecificCredentialsOutput, error) {
	if !value(in.AllUsers) {
		if _, err := s.checkOwner(ctx, in.UserName); err != nil {
			return nil, err
		}
	}
	all, truncated, err := nothing[iamapi.ServiceSpecificCredentialMetadata](ctx, s, "ListServiceSpecificCredentials", in.Marker)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListServiceSpecificCredentialsOutput{ServiceSpecificCredentials: all, IsTruncated: truncated}, nil
}

// ListInstanceProfiles returns no profile: there are no instances. Errors:
// ValidationError for a bad marker.
func (s *Service) ListInstanceProfiles(ctx context.Context, in *iamapi.ListInstanceProfilesInput) (*iamapi.ListInstanceProfilesOutput, error) {
	all, truncated, err := nothing[iamapi.InstanceProfile](ctx, s, "ListInstanceProfiles", in.Marker)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListInstanceProfilesOutput{InstanceProfiles: all, IsTruncated: truncated}, nil
}

// ListSAMLProviders returns no provider.
func (s *Service) ListSAMLProviders(context.Context, *iamapi.ListSAMLProvidersInput) (*iamapi.ListSAMLProvidersOutput, error) {
	return &iamapi.ListSAMLProvidersOutput{SAMLProviderList: []iamapi.SAMLProviderListEntry{}}, nil
}

// ListServerCertificates returns no certificate. Errors: ValidationError for a
// bad marker.
func (s *Service) ListServerCertificates(ctx context.Context, in *iamapi.ListServerCertificatesInput) (*iamapi.ListServerCertificatesOutput, error) {
	all, truncated, err := nothing[iamapi.ServerCertificateMetadata](ctx, s, "ListServerCertificates", in.Marker)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListServerCertificatesOutput{ServerCertificateMetadataList: all, IsTruncated: truncated}, nil
}
