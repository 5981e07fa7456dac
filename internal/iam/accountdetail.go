package iam

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// registerAccount adds the operations on the account as a whole.
func (s *Service) registerAccount(r *protocol.Registry) {
	protocol.Handle(r, iamapi.CreateAccountAlias, protocol.AnyResource[iamapi.CreateAccountAliasInput], s.CreateAccountAlias)
	protocol.Handle(r, iamapi.DeleteAccountAlias, protocol.AnyResource[iamapi.DeleteAccountAliasInput], s.DeleteAccountAlias)
	protocol.Handle(r, iamapi.ListAccountAliases, protocol.AnyResource[iamapi.ListAccountAliasesInput], s.ListAccountAliases)
	protocol.Handle(r, iamapi.GetAccountSummary, protocol.AnyResource[schema.Nothing], s.GetAccountSummary)
	protocol.Handle(r, iamapi.GetAccountAuthorizationDetails, protocol.AnyResource[iamapi.GetAccountAuthorizationDetailsInput], s.GetAccountAuthorizationDetails)
	s.registerAbsent(r)
}

// GetAccountSummary returns counts and quotas of the caller's account.
func (s *Service) GetAccountSummary(ctx context.Context, _ *schema.Nothing) (*iamapi.GetAccountSummaryOutput, error) {
	account := accountOf(ctx)
	sum := map[string]int32{
		"UsersQuota": usersPerAccount, "GroupsQuota": groupsPerAccount, "RolesQuota": rolesPerAccount, "PoliciesQuota": policiesPerAccount,
		"InstanceProfilesQuota": 1000,
		"UserPolicySizeQuota":   userPolicySize, "GroupPolicySizeQuota": groupPolicySize, "RolePolicySizeQuota": rolePolicySize,
		"PolicySizeQuota": managedPolicySize, "AssumeRolePolicySizeQuota": trustPolicySize,
		"AccessKeysPerUserQuota": keysPerUser, "VersionsPerPolicyQuota": policyVersions,
		"AttachedPoliciesPerUserQuota": policiesPerPrincipal, "AttachedPoliciesPerRoleQuota": policiesPerPrincipal,
		"AttachedPoliciesPerGroupQuota": policiesPerPrincipal, "PolicyVersionsInUseQuota": 10000,
		"GroupsPerUserQuota": groupsPerUser, "SigningCertificatesPerUserQuota": 2, "ServerCertificatesQuota": 20,
		"InstanceProfiles": 0, "ServerCertificates": 0, "MFADevices": 0, "MFADevicesInUse": 0,
		"AccountMFAEnabled": 0, "AccountPasswordPresent": 0, "AccountSigningCertificatesPresent": 0, "GlobalEndpointTokenVersion": 2,
	}
	err := s.view(ctx, func(tx *store.Tx) error {
		for name, k := range map[string]*kind{"Users": s.users, "Groups": s.groups, "Roles": s.roles} {
			all, err := k.list(tx, account, "")
			if err != nil {
				return err
			}
			sum[name] = int32(len(all))
		}
		var policies, versions int32
		for row, err := range s.policies.Scan(tx, store.Key{account}, store.ScanOptions{}) {
			if err != nil {
				return fmt.Errorf("count policies: %w", err)
			}
			policies++
			versions += int32(len(row.Value.Versions))
		}
		providers, err := s.providersOf(tx, account)
		if err != nil {
			return err
		}
		keys, err := s.keysOf(tx, account, "")
		sum["Policies"], sum["PolicyVersionsInUse"], sum["Providers"] = policies, versions, int32(len(providers))
		sum["AccountAccessKeysPresent"] = int32(min(len(keys), 1))
		return err
	})
	if err != nil {
		return nil, err
	}
	return &iamapi.GetAccountSummaryOutput{SummaryMap: sum}, nil
}

// detail is one entry of GetAccountAuthorizationDetails, before it is described.
type detail struct {
	key    string
	kind   *kind   // of an entity
	entity *entity // or
	policy *policyRow
}

// GetAccountAuthorizationDetails describes the account's users, groups, roles
// and policies, AWS managed ones as far as the account uses them, in this order
// and by name; with a filter those of the types in it.
//
// Errors: ValidationError for a bad marker.
func (s *Service) GetAccountAuthorizationDetails(ctx context.Context, in *iamapi.GetAccountAuthorizationDetailsInput) (*iamapi.GetAccountAuthorizationDetailsOutput, error) {
	account := accountOf(ctx)
	filter := slices.Clone(in.Filter)
	slices.Sort(filter)
	out := &iamapi.GetAccountAuthorizationDetailsOutput{
		UserDetailList: []iamapi.UserDetail{}, GroupDetailList: []iamapi.GroupDetail{},
		RoleDetailList: []iamapi.RoleDetail{}, Policies: []iamapi.ManagedPolicyDetail{},
	}
	err := s.view(ctx, func(tx *store.Tx) error {
		all, err := s.details(tx, account, filter)
		if err != nil {
			return err
		}
		l := listing{name: fmt.Sprintf("GetAccountAuthorizationDetails|%v", filter), marker: in.Marker, maxItems: in.MaxItems}
		all, out.IsTruncated, out.Marker, err = page(ctx, s, l, all, func(d detail) string { return d.key })
		for i := range all {
			if err == nil {
				err = s.describe(tx, account, &all[i], out)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Service) details(tx *store.Tx, account string, filter []iamapi.EntityType) ([]detail, error) {
	wants := func(t iamapi.EntityType) bool { return len(filter) == 0 || slices.Contains(filter, t) }
	var all []detail
	for i, of := range []struct {
		kind *kind
		is   iamapi.EntityType
	}{{s.users, iamapi.EntityTypeUser}, {s.groups, iamapi.EntityTypeGroup}, {s.roles, iamapi.EntityTypeRole}} {
		if !wants(of.is) {
			continue
		}
		entities, err := of.kind.list(tx, account, "")
		if err != nil {
			return nil, err
		}
		for j := range entities {
			all = append(all, detail{key: fmt.Sprint(i, "|", entityKey(entities[j])), kind: of.kind, entity: &entities[j]})
		}
	}
	if !wants(iamapi.EntityTypeLocalManagedPolicy) && !wants(iamapi.EntityTypeAWSManagedPolicy) {
		return all, nil
	}
	policies, err := s.allPolicies(tx, account, iamapi.PolicyScopeTypeAll)
	if err != nil {
		return nil, err
	}
	for i := range policies {
		p := &policies[i]
		if p.Account == account {
			if !wants(iamapi.EntityTypeLocalManagedPolicy) {
				continue
			}
		} else {
			attached, bounding, err := s.policyUses(tx, account, p.arn())
			if err != nil {
				return nil, err
			}
			if !wants(iamapi.EntityTypeAWSManagedPolicy) || attached+bounding == 0 {
				continue
			}
		}
		all = append(all, detail{key: "3|" + policyKey(p.Name, p.arn()), policy: p})
	}
	return all, nil
}

// describe adds one entry to the answer.
func (s *Service) describe(tx *store.Tx, account string, d *detail, out *iamapi.GetAccountAuthorizationDetailsOutput) error {
	e := d.entity
	if e != nil { // lists leave out what is to be told
		whole, err := d.kind.get(tx, account, e.Name)
		if err != nil {
			return err
		}
		e = &whole
	}
	switch d.kind {
	case s.users:
		groups, err := s.groupsOf(tx, e)
		if err != nil {
			return err
		}
		names := make([]string, len(groups))
		for i := range groups {
			names[i] = groups[i].Name
		}
		slices.Sort(names)
		out.UserDetailList = append(out.UserDetailList, iamapi.UserDetail{
			Path: &e.Path, UserName: &e.Name, UserId: &e.ID, Arn: new(s.users.arn(e)), CreateDate: new(timeOf(e.Created)),
			UserPolicyList: inlineDetails(e), GroupList: names, AttachedManagedPolicies: attachedPolicies(e, ""),
			PermissionsBoundary: boundaryShape(e.Boundary), Tags: e.Tags,
		})
	case s.groups:
		out.GroupDetailList = append(out.GroupDetailList, iamapi.GroupDetail{
			Path: &e.Path, GroupName: &e.Name, GroupId: &e.ID, Arn: new(s.groups.arn(e)), CreateDate: new(timeOf(e.Created)),
			GroupPolicyList: inlineDetails(e), AttachedManagedPolicies: attachedPolicies(e, ""),
		})
	case s.roles:
		trust, err := s.shownTrust(tx, e)
		if err != nil {
			return err
		}
		used, err := s.roleLastUsed(tx, e)
		if err != nil {
			return err
		}
		out.RoleDetailList = append(out.RoleDetailList, iamapi.RoleDetail{
			Path: &e.Path, RoleName: &e.Name, RoleId: &e.ID, Arn: new(s.roles.arn(e)), CreateDate: new(timeOf(e.Created)),
			AssumeRolePolicyDocument: new(encodeDocument(trust)), InstanceProfileList: []iamapi.InstanceProfile{},
			RolePolicyList: inlineDetails(e), AttachedManagedPolicies: attachedPolicies(e, ""),
			PermissionsBoundary: boundaryShape(e.Boundary), Tags: e.Tags, RoleLastUsed: used,
		})
	default:
		p, err := s.policyDetail(tx, account, d.policy)
		if err != nil {
			return err
		}
		out.Policies = append(out.Policies, p)
	}
	return nil
}

func inlineDetails(e *entity) []iamapi.PolicyDetail {
	all := []iamapi.PolicyDetail{}
	for _, n := range slices.Sorted(maps.Keys(e.Inline)) {
		all = append(all, iamapi.PolicyDetail{PolicyName: &n, PolicyDocument: new(encodeDocument(e.Inline[n]))})
	}
	return all
}

// policyDetail describes a managed policy with all its versions, newest first.
func (s *Service) policyDetail(tx *store.Tx, account string, listed *policyRow) (iamapi.ManagedPolicyDetail, error) {
	whole, err := s.existing(tx, account, listed.arn())
	if err != nil {
		return iamapi.ManagedPolicyDetail{}, err
	}
	p := &whole
	shape, err := s.policyShape(tx, account, p)
	if err != nil {
		return iamapi.ManagedPolicyDetail{}, err
	}
	d := iamapi.ManagedPolicyDetail{
		PolicyName: shape.PolicyName, PolicyId: shape.PolicyId, Arn: shape.Arn, Path: shape.Path, DefaultVersionId: shape.DefaultVersionId,
		AttachmentCount: shape.AttachmentCount, PermissionsBoundaryUsageCount: shape.PermissionsBoundaryUsageCount,
		IsAttachable: shape.IsAttachable, Description: shape.Description, CreateDate: shape.CreateDate, UpdateDate: shape.UpdateDate,
	}
	for i := range slices.Backward(p.Versions) {
		v := versionShape(p, &p.Versions[i])
		v.Document = new(encodeDocument(p.Versions[i].Document))
		d.PolicyVersionList = append(d.PolicyVersionList, *v)
	}
	return d, nil
}

// attachedPolicies names the managed policies below a path that a user, group
// or role has.
func attachedPolicies(e *entity, pathPrefix string) []iamapi.AttachedPolicy {
	all := []iamapi.AttachedPolicy{}
	for _, policyARN := range e.Attached {
		_, path, _ := strings.Cut(policyARN, ":policy/")
		slash := strings.LastIndexByte(path, '/')
		if strings.HasPrefix("/"+path[:slash+1], pathPrefix) {
			all = append(all, iamapi.AttachedPolicy{PolicyName: new(path[slash+1:]), PolicyArn: new(policyARN)})
		}
	}
	return all
}
