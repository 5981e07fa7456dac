// Package iam keeps accounts, users, roles, access keys and policies, answers
// the IAM API, and tells the rest of the product who a caller is and which
// policies bind it.
//
// IAM is global: rows are keyed by account and have no region. Every change
// raises the epoch "iam/ACCOUNT" in its own commit, and every cache entry of
// this package is used only while that epoch is unchanged, so that what was
// taken away is gone for the next request (I3).
//
// Sources: AWS IAM API Reference; IAM User Guide, "IAM identifiers", "IAM and
// AWS STS quotas".
package iam

import (
	"context"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// Deps is what the service needs.
type Deps struct {
	Store   *store.Store
	Keyring *envelope.Keyring // seals session tokens and list markers
	Now     func() time.Time  // time.Now when nil
	// LinkedRoleUse returns what keeps the service-linked role of a service
	// (mrk.kms.amazonaws.com …) in an account from being deleted; when nil, nothing.
	// It is asked in the transaction that deletes the role (store.Tx.Context), maybe
	// several times.
	LinkedRoleUse func(ctx context.Context, account, service string) ([]LinkedRoleUse, error)
	// Controls returns the service control policies that bind an account, one
	// element a level, root first, for the policy simulator; empty when the
	// account is in no organization, as when Controls is nil.
	Controls func(ctx context.Context, account string) (scp [][]*authz.Policy, err error)
}

// Service is IAM. All methods may be called concurrently.
type Service struct {
	store   *store.Store
	keyring *envelope.Keyring
	now     func() time.Time

	accounts *store.Table[accountRow]
	keys     *store.Table[accessKeyRow]
	policies *store.Table[policyRow]
	used     *store.Table[useRow]
	uses     uses
	aliases  *store.Table[aliasRow]
	issuers  *store.Table[providerRow]
	linked   *store.Table[deletionRow]
	linkUse  func(ctx context.Context, account, service string) ([]LinkedRoleUse, error)
	controls func(ctx context.Context, account string) ([][]*authz.Policy, error)
	users    *kind
	groups   *kind
	roles    *kind
	builtin  map[string]policyRow // AWS managed policies by ARN

	registry *protocol.Registry // decides for services that assume a role

	keyCache     *cache[string, keyEntry]
	tokenCache   *cache[tokenID, *tokenEntry]
	policyCache  *cache[principalID, policyEntry]
	sessionCache *cache[sessionPolicyID, sessionPolicyEntry]
	roleCache    *cache[string, roleEntry]
}

// cacheSize bounds each cache, in entries, and each of the rooms one, in bytes.
const (
	cacheSize   = 8192
	keyRoom     = 16 << 20
	tokenRoom   = 32 << 20
	policyRoom  = 96 << 20
	sessionRoom = 32 << 20
	roleRoom    = 32 << 20
)

// New returns the service.
func New(d Deps) *Service {
	if d.Now == nil {
		d.Now = time.Now
	}
	return &Service{
		store: d.Store, keyring: d.Keyring, now: d.Now,
		accounts: accountTable(), keys: accessKeyTable(), policies: policyTable(), used: useTable(),
		aliases: aliasTable(), issuers: providerTable(), linked: deletionTable(), linkUse: d.LinkedRoleUse, controls: d.Controls,
		users: userKind(), groups: groupKind(), roles: roleKind(), builtin: withLinkedRolePolicies(builtinPolicies()),
		keyCache:     newCache[string](cacheSize, keyRoom, keyEntry.size),
		tokenCache:   newCache[tokenID](cacheSize, tokenRoom, (*tokenEntry).size),
		policyCache:  newCache[principalID](cacheSize, policyRoom, policyEntry.size),
		sessionCache: newCache[sessionPolicyID](cacheSize, sessionRoom, sessionPolicyEntry.size),
		roleCache:    newCache[string](cacheSize, roleRoom, roleEntry.size),
	}
}

// Register adds every operation to r.
func (s *Service) Register(r *protocol.Registry) {
	s.registry = r
	s.registerUsers(r)
	s.registerRoles(r)
	s.registerPolicies(r)
	s.registerGroups(r)
	s.registerAccount(r)
	s.registerLinkedRoles(r)
	s.registerProviders(r)
	s.registerSimulation(r)
}

func (s *Service) registerUsers(r *protocol.Registry) {
	protocol.Handle(r, iamapi.CreateUser, s.resolveCreateUser, s.CreateUser)
	protocol.Handle(r, iamapi.GetUser, ofOwner(s, func(in *iamapi.GetUserInput) *string { return in.UserName }), s.GetUser)
	protocol.Handle(r, iamapi.UpdateUser, s.resolveUpdateUser, s.UpdateUser)
	protocol.Handle(r, iamapi.ListUsers, below(s.users, func(in *iamapi.ListUsersInput) *string { return in.PathPrefix }), s.ListUsers)
	protocol.Handle(r, iamapi.DeleteUser, of(s, s.users, func(in *iamapi.DeleteUserInput) string { return in.UserName }), s.DeleteUser)
	protocol.Handle(r, iamapi.CreateAccessKey, ofOwner(s, func(in *iamapi.CreateAccessKeyInput) *string { return in.UserName }), s.CreateAccessKey)
	protocol.Handle(r, iamapi.ListAccessKeys, ofOwner(s, func(in *iamapi.ListAccessKeysInput) *string { return in.UserName }), s.ListAccessKeys)
	protocol.Handle(r, iamapi.UpdateAccessKey, ofOwner(s, func(in *iamapi.UpdateAccessKeyInput) *string { return in.UserName }), s.UpdateAccessKey)
	protocol.Handle(r, iamapi.DeleteAccessKey, ofOwner(s, func(in *iamapi.DeleteAccessKeyInput) *string { return in.UserName }), s.DeleteAccessKey)
	protocol.Handle(r, iamapi.GetAccessKeyLastUsed, s.resolveAccessKey, s.GetAccessKeyLastUsed)
	protocol.Handle(r, iamapi.PutUserPolicy, of(s, s.users, func(in *iamapi.PutUserPolicyInput) string { return in.UserName }, bounded[iamapi.PutUserPolicyInput]), s.PutUserPolicy)
	protocol.Handle(r, iamapi.GetUserPolicy, of(s, s.users, func(in *iamapi.GetUserPolicyInput) string { return in.UserName }), s.GetUserPolicy)
	protocol.Handle(r, iamapi.ListUserPolicies, of(s, s.users, func(in *iamapi.ListUserPoliciesInput) string { return in.UserName }), s.ListUserPolicies)
	protocol.Handle(r, iamapi.DeleteUserPolicy, of(s, s.users, func(in *iamapi.DeleteUserPolicyInput) string { return in.UserName }, bounded[iamapi.DeleteUserPolicyInput]), s.DeleteUserPolicy)
	protocol.Handle(r, iamapi.AttachUserPolicy, of(s, s.users, func(in *iamapi.AttachUserPolicyInput) string { return in.UserName }, bounded[iamapi.AttachUserPolicyInput], policyARN(func(in *iamapi.AttachUserPolicyInput) string { return in.PolicyArn })), s.AttachUserPolicy)
	protocol.Handle(r, iamapi.DetachUserPolicy, of(s, s.users, func(in *iamapi.DetachUserPolicyInput) string { return in.UserName }, bounded[iamapi.DetachUserPolicyInput], policyARN(func(in *iamapi.DetachUserPolicyInput) string { return in.PolicyArn })), s.DetachUserPolicy)
	protocol.Handle(r, iamapi.ListAttachedUserPolicies, of(s, s.users, func(in *iamapi.ListAttachedUserPoliciesInput) string { return in.UserName }), s.ListAttachedUserPolicies)
	protocol.Handle(r, iamapi.PutUserPermissionsBoundary, of(s, s.users, func(in *iamapi.PutUserPermissionsBoundaryInput) string { return in.UserName }, newBoundary(func(in *iamapi.PutUserPermissionsBoundaryInput) string { return in.PermissionsBoundary })), s.PutUserPermissionsBoundary)
	protocol.Handle(r, iamapi.DeleteUserPermissionsBoundary, of(s, s.users, func(in *iamapi.DeleteUserPermissionsBoundaryInput) string { return in.UserName }, bounded[iamapi.DeleteUserPermissionsBoundaryInput]), s.DeleteUserPermissionsBoundary)
	protocol.Handle(r, iamapi.TagUser, of(s, s.users, func(in *iamapi.TagUserInput) string { return in.UserName }, requestTags(func(in *iamapi.TagUserInput) []iamapi.Tag { return in.Tags })), s.TagUser)
	protocol.Handle(r, iamapi.UntagUser, of(s, s.users, func(in *iamapi.UntagUserInput) string { return in.UserName }, tagKeys(func(in *iamapi.UntagUserInput) []string { return in.TagKeys })), s.UntagUser)
	protocol.Handle(r, iamapi.ListUserTags, of(s, s.users, func(in *iamapi.ListUserTagsInput) string { return in.UserName }), s.ListUserTags)
}

func (s *Service) registerRoles(r *protocol.Registry) {
	protocol.Handle(r, iamapi.CreateRole, s.resolveCreateRole, s.CreateRole)
	protocol.Handle(r, iamapi.GetRole, of(s, s.roles, func(in *iamapi.GetRoleInput) string { return in.RoleName }), s.GetRole)
	protocol.Handle(r, iamapi.ListRoles, below(s.roles, func(in *iamapi.ListRolesInput) *string { return in.PathPrefix }), s.ListRoles)
	protocol.Handle(r, iamapi.UpdateRole, of(s, s.roles, func(in *iamapi.UpdateRoleInput) string { return in.RoleName }), s.UpdateRole)
	protocol.Handle(r, iamapi.UpdateRoleDescription, of(s, s.roles, func(in *iamapi.UpdateRoleDescriptionInput) string { return in.RoleName }), s.UpdateRoleDescription)
	protocol.Handle(r, iamapi.UpdateAssumeRolePolicy, of(s, s.roles, func(in *iamapi.UpdateAssumeRolePolicyInput) string { return in.RoleName }), s.UpdateAssumeRolePolicy)
	protocol.Handle(r, iamapi.DeleteRole, of(s, s.roles, func(in *iamapi.DeleteRoleInput) string { return in.RoleName }), s.DeleteRole)
	protocol.Handle(r, iamapi.PutRolePolicy, of(s, s.roles, func(in *iamapi.PutRolePolicyInput) string { return in.RoleName }, bounded[iamapi.PutRolePolicyInput]), s.PutRolePolicy)
	protocol.Handle(r, iamapi.GetRolePolicy, of(s, s.roles, func(in *iamapi.GetRolePolicyInput) string { return in.RoleName }), s.GetRolePolicy)
	protocol.Handle(r, iamapi.ListRolePolicies, of(s, s.roles, func(in *iamapi.ListRolePoliciesInput) string { return in.RoleName }), s.ListRolePolicies)
	protocol.Handle(r, iamapi.DeleteRolePolicy, of(s, s.roles, func(in *iamapi.DeleteRolePolicyInput) string { return in.RoleName }, bounded[iamapi.DeleteRolePolicyInput]), s.DeleteRolePolicy)
	protocol.Handle(r, iamapi.AttachRolePolicy, of(s, s.roles, func(in *iamapi.AttachRolePolicyInput) string { return in.RoleName }, bounded[iamapi.AttachRolePolicyInput], policyARN(func(in *iamapi.AttachRolePolicyInput) string { return in.PolicyArn })), s.AttachRolePolicy)
	protocol.Handle(r, iamapi.DetachRolePolicy, of(s, s.roles, func(in *iamapi.DetachRolePolicyInput) string { return in.RoleName }, bounded[iamapi.DetachRolePolicyInput], policyARN(func(in *iamapi.DetachRolePolicyInput) string { return in.PolicyArn })), s.DetachRolePolicy)
	protocol.Handle(r, iamapi.ListAttachedRolePolicies, of(s, s.roles, func(in *iamapi.ListAttachedRolePoliciesInput) string { return in.RoleName }), s.ListAttachedRolePolicies)
	protocol.Handle(r, iamapi.PutRolePermissionsBoundary, of(s, s.roles, func(in *iamapi.PutRolePermissionsBoundaryInput) string { return in.RoleName }, newBoundary(func(in *iamapi.PutRolePermissionsBoundaryInput) string { return in.PermissionsBoundary })), s.PutRolePermissionsBoundary)
	protocol.Handle(r, iamapi.DeleteRolePermissionsBoundary, of(s, s.roles, func(in *iamapi.DeleteRolePermissionsBoundaryInput) string { return in.RoleName }, bounded[iamapi.DeleteRolePermissionsBoundaryInput]), s.DeleteRolePermissionsBoundary)
	protocol.Handle(r, iamapi.TagRole, of(s, s.roles, func(in *iamapi.TagRoleInput) string { return in.RoleName }, requestTags(func(in *iamapi.TagRoleInput) []iamapi.Tag { return in.Tags })), s.TagRole)
	protocol.Handle(r, iamapi.UntagRole, of(s, s.roles, func(in *iamapi.UntagRoleInput) string { return in.RoleName }, tagKeys(func(in *iamapi.UntagRoleInput) []string { return in.TagKeys })), s.UntagRole)
	protocol.Handle(r, iamapi.ListRoleTags, of(s, s.roles, func(in *iamapi.ListRoleTagsInput) string { return in.RoleName }), s.ListRoleTags)
	protocol.Handle(r, iamapi.ListInstanceProfilesForRole, of(s, s.roles, func(in *iamapi.ListInstanceProfilesForRoleInput) string { return in.RoleName }), s.ListInstanceProfilesForRole)
}

func (s *Service) registerPolicies(r *protocol.Registry) {
	protocol.Handle(r, iamapi.CreatePolicy, s.resolveCreatePolicy, s.CreatePolicy)
	protocol.Handle(r, iamapi.GetPolicy, ofPolicy(s, func(in *iamapi.GetPolicyInput) string { return in.PolicyArn }), s.GetPolicy)
	protocol.Handle(r, iamapi.ListPolicies, belowPolicies, s.ListPolicies)
	protocol.Handle(r, iamapi.DeletePolicy, ofPolicy(s, func(in *iamapi.DeletePolicyInput) string { return in.PolicyArn }), s.DeletePolicy)
	protocol.Handle(r, iamapi.CreatePolicyVersion, ofPolicy(s, func(in *iamapi.CreatePolicyVersionInput) string { return in.PolicyArn }), s.CreatePolicyVersion)
	protocol.Handle(r, iamapi.GetPolicyVersion, ofPolicy(s, func(in *iamapi.GetPolicyVersionInput) string { return in.PolicyArn }), s.GetPolicyVersion)
	protocol.Handle(r, iamapi.ListPolicyVersions, ofPolicy(s, func(in *iamapi.ListPolicyVersionsInput) string { return in.PolicyArn }), s.ListPolicyVersions)
	protocol.Handle(r, iamapi.DeletePolicyVersion, ofPolicy(s, func(in *iamapi.DeletePolicyVersionInput) string { return in.PolicyArn }), s.DeletePolicyVersion)
	protocol.Handle(r, iamapi.SetDefaultPolicyVersion, ofPolicy(s, func(in *iamapi.SetDefaultPolicyVersionInput) string { return in.PolicyArn }), s.SetDefaultPolicyVersion)
	protocol.Handle(r, iamapi.ListEntitiesForPolicy, ofPolicy(s, func(in *iamapi.ListEntitiesForPolicyInput) string { return in.PolicyArn }), s.ListEntitiesForPolicy)
	protocol.Handle(r, iamapi.TagPolicy, ofPolicy(s, func(in *iamapi.TagPolicyInput) string { return in.PolicyArn }, requestTags(func(in *iamapi.TagPolicyInput) []iamapi.Tag { return in.Tags })), s.TagPolicy)
	protocol.Handle(r, iamapi.UntagPolicy, ofPolicy(s, func(in *iamapi.UntagPolicyInput) string { return in.PolicyArn }, tagKeys(func(in *iamapi.UntagPolicyInput) []string { return in.TagKeys })), s.UntagPolicy)
	protocol.Handle(r, iamapi.ListPolicyTags, ofPolicy(s, func(in *iamapi.ListPolicyTagsInput) string { return in.PolicyArn }), s.ListPolicyTags)
}

// accountOf is the account that a call is about: the caller's.
func accountOf(ctx context.Context) string { return identity.From(ctx).Caller.Account }

// epochName is the cache epoch of an account's IAM.
func epochName(account string) string { return "iam/" + account }

// stamp is the present instant as rows hold it: microseconds UTC, of whole
// seconds because IAM shows no more.
func (s *Service) stamp() int64 { return s.now().UTC().Truncate(time.Second).UnixMicro() }

func timeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// view reads one snapshot.
func (s *Service) view(ctx context.Context, fn func(*store.Tx) error) error {
	return s.store.View(ctx, fn)
}

// update changes an account's rows and voids what is cached of them.
func (s *Service) update(ctx context.Context, account string, fn func(*store.Tx) error) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		tx.Bump(epochName(account))
		return nil
	})
}

// compile turns a stored document into a policy; one that cannot be read
// denies (I5).
func compile(k authz.Kind, name, doc string) *authz.Policy {
	p, err := authz.ParseStored(k, []byte(doc))
	if err != nil {
		return authz.Unreadable(name)
	}
	p.Name = name
	return p
}
