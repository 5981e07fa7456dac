package organizations

import (
	"context"
	"errors"
	"fmt"
	"slices"

	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// account returns what is known of an account of this server; one that
// Organizations has not met has its id for a name, and an address that nobody
// has.
func (s *Service) account(tx *store.Tx, id string) (accountRow, error) {
	a, err := s.accounts.Get(tx, id)
	if errors.Is(err, store.ErrNotFound) {
		return accountRow{ID: id, Name: id, Email: "root@" + id + ".invalid"}, nil
	}
	if err != nil {
		return accountRow{}, fmt.Errorf("read account: %w", err)
	}
	return a, nil
}

// memberOf returns an account that is in the organization, or
// AccountNotFoundException.
func (s *Service) memberOf(tx *store.Tx, o *organizationRow, id string) (accountRow, error) {
	a, err := s.accounts.Get(tx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && a.Organization != o.ID {
		return accountRow{}, noAccount()
	}
	if err != nil {
		return accountRow{}, fmt.Errorf("read account: %w", err)
	}
	return a, nil
}

func noAccount() error {
	return orgapi.AccountNotFoundException("You specified an account that doesn't exist.")
}

func (s *Service) organizationShape(tx *store.Tx, o *organizationRow) (*orgapi.Organization, error) {
	a, err := s.account(tx, o.Management)
	if err != nil {
		return nil, err
	}
	available := []orgapi.PolicyTypeSummary{}
	if o.Features == orgapi.OrganizationFeatureSetAll {
		available = append(available, orgapi.PolicyTypeSummary{
			Type: orgapi.PolicyTypeServiceControlPolicy, Status: orgapi.PolicyTypeStatusEnabled,
		})
	}
	return &orgapi.Organization{
		Id: &o.ID, Arn: new(o.ownARN()), FeatureSet: o.Features,
		MasterAccountId: &o.Management, MasterAccountArn: new(o.targetARN(o.Management)), MasterAccountEmail: &a.Email,
		AvailablePolicyTypes: available,
	}, nil
}

// CreateOrganization makes an organization with a root. The caller's account
// manages it. No policy type is enabled yet.
//
// Errors: AlreadyInOrganizationException.
func (s *Service) CreateOrganization(ctx context.Context, in *orgapi.CreateOrganizationInput) (*orgapi.CreateOrganizationOutput, error) {
	out := &orgapi.CreateOrganizationOutput{}
	err := s.update(ctx, func(tx *store.Tx) error {
		id := accountOf(ctx)
		a, err := s.account(tx, id)
		if err != nil {
			return err
		}
		if a.Organization != "" {
			return orgapi.AlreadyInOrganizationException("The provided account is already a member of an organization.")
		}
		o := organizationRow{
			ID: newOrganizationID(), Management: id, Features: orgapi.OrganizationFeatureSetAll, Created: s.stamp(), Root: newRootID(),
		}
		if in.FeatureSet != "" {
			o.Features = in.FeatureSet
		}
		if err := s.join(ctx, tx, &o, &a, orgapi.AccountJoinedMethodInvited); err != nil {
			return err
		}
		if err := s.organizations.Put(tx, o, o.ID); err != nil {
			return err
		}
		if out.Organization, err = s.organizationShape(tx, &o); err != nil {
			return err
		}
		protocol.Respond(ctx, orgapi.CreateOrganization, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// join puts an account below the root of an organization.
func (s *Service) join(ctx context.Context, tx *store.Tx, o *organizationRow, a *accountRow, method orgapi.AccountJoinedMethod) error {
	a.Organization, a.Parent, a.JoinedMethod, a.Joined = o.ID, o.Root, method, s.stamp()
	a.Attached = o.defaults()
	s.event(ctx, o, "AccountJoinedOrganization", map[string]any{
		"accountId": a.ID, "joinedMethod": string(method), "joinedTime": audit.Time(timeOf(a.Joined)),
	})
	return s.accounts.Put(tx, *a, a.ID)
}

// depart takes an account out of its organization.
func (s *Service) depart(ctx context.Context, tx *store.Tx, o *organizationRow, a *accountRow, method string) error {
	a.leave()
	s.event(ctx, o, "AccountDepartedOrganization", map[string]any{
		"accountId": a.ID, "departureMethod": method, "departureTime": audit.Time(s.cfg.Now()),
	})
	return s.accounts.Put(tx, *a, a.ID)
}

// event adds a record of the service's own to the commit of the request. The
// management account receives it.
//
// Source: AWS Organizations User Guide, "Logging API calls with AWS CloudTrail".
func (s *Service) event(ctx context.Context, o *organizationRow, name string, details map[string]any) {
	audit.PendingFrom(ctx).AddEvent(audit.Event{
		Source: orgapi.Service.EventSource, Name: name, Region: homeRegion, Account: o.Management,
		Time: s.cfg.Now(), ID: s.cfg.NewID(), Details: details,
	})
}

// DescribeOrganization describes the organization of the caller's account,
// which may be a member.
//
// Errors: AWSOrganizationsNotInUseException.
func (s *Service) DescribeOrganization(ctx context.Context, _ *schema.Nothing) (*orgapi.DescribeOrganizationOutput, error) {
	out := &orgapi.DescribeOrganizationOutput{}
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		o, err := s.organizationOf(tx, accountOf(ctx))
		if err != nil {
			return err
		}
		if o == nil {
			return notInUse()
		}
		out.Organization, err = s.organizationShape(tx, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DeleteOrganization removes an organization that has no accounts but the one
// that manages it, no units and no policies. Its invitations end with it.
//
// Errors: OrganizationNotEmptyException; AWSOrganizationsNotInUseException;
// AccessDeniedException.
func (s *Service) DeleteOrganization(ctx context.Context, _ *schema.Nothing) (*schema.Nothing, error) {
	return nil, s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		accounts, err := count(tx, s.accounts, byOrganization, o.ID)
		if err != nil {
			return err
		}
		units, err := some(tx, s.units, byParent, o.ID)
		if err != nil {
			return err
		}
		policies, err := some(tx, s.policies, byName, o.ID)
		if err != nil {
			return err
		}
		creating, err := some(tx, s.creations, byState, o.ID, string(orgapi.CreateAccountStateInProgress))
		if err != nil {
			return err
		}
		if accounts > 1 || units || policies || creating {
			return orgapi.OrganizationNotEmptyException("To delete an organization you must first remove all member accounts, and delete all organizational units and policies.")
		}
		a, err := s.account(tx, o.Management)
		if err != nil {
			return err
		}
		if err := s.depart(ctx, tx, o, &a, "LEFT"); err != nil {
			return err
		}
		for row, err := range s.handshakes.ByIndex(tx, byOrganization, store.Key{o.ID}, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			if err := s.handshakes.Delete(tx, row.Value.ID); err != nil {
				return err
			}
		}
		for row, err := range s.creations.ByIndex(tx, byState, store.Key{o.ID}, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			if err := s.creations.Delete(tx, o.ID, row.Value.ID); err != nil {
				return err
			}
		}
		return s.organizations.Delete(tx, o.ID)
	})
}

// LeaveOrganization takes the caller's account out of its organization. Tags
// and attachments of the account are lost.
//
// Errors: AWSOrganizationsNotInUseException;
// MasterCannotLeaveOrganizationException.
func (s *Service) LeaveOrganization(ctx context.Context, _ *schema.Nothing) (*schema.Nothing, error) {
	return nil, s.update(ctx, func(tx *store.Tx) error {
		account := accountOf(ctx)
		o, err := s.organizationOf(tx, account)
		if err != nil {
			return err
		}
		if o == nil {
			return notInUse()
		}
		return s.remove(ctx, tx, o, account, "LEFT")
	})
}

func (s *Service) remove(ctx context.Context, tx *store.Tx, o *organizationRow, account, method string) error {
	if account == o.Management {
		return orgapi.MasterCannotLeaveOrganizationException("The management account of an organization cannot leave it.")
	}
	a, err := s.memberOf(tx, o, account)
	if err != nil {
		return err
	}
	return s.depart(ctx, tx, o, &a, method)
}

func (o *organizationRow) rootShape() *orgapi.Root {
	types := make([]orgapi.PolicyTypeSummary, len(o.Enabled))
	for i, t := range o.Enabled {
		types[i] = orgapi.PolicyTypeSummary{Type: t, Status: orgapi.PolicyTypeStatusEnabled}
	}
	return &orgapi.Root{Id: &o.Root, Arn: new(o.targetARN(o.Root)), Name: new(rootName), PolicyTypes: types}
}

// rootName is the name of every root.
const rootName = "Root"

// ListRoots lists the one root of the organization, with the policy types that
// are enabled in it.
//
// Errors: AWSOrganizationsNotInUseException; AccessDeniedException;
// InvalidInputException.
func (s *Service) ListRoots(ctx context.Context, in *orgapi.ListRootsInput) (*orgapi.ListRootsOutput, error) {
	out := &orgapi.ListRootsOutput{}
	err := s.read(ctx, func(tx *store.Tx, o *organizationRow) (err error) {
		l := listing{name: "ListRoots", token: in.NextToken, max: in.MaxResults}
		out.Roots, out.NextToken, err = list(ctx, s, tx, l, fixed(o.rootShape()))
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// controls reports whether a policy type is one of ours.
func controls(t orgapi.PolicyType) bool {
	return t == orgapi.PolicyTypeServiceControlPolicy || t == orgapi.PolicyTypeResourceControlPolicy
}

// available refuses the policy types that the organization cannot use.
func (o *organizationRow) available(t orgapi.PolicyType) error {
	if o.Features != orgapi.OrganizationFeatureSetAll || !controls(t) {
		return orgapi.PolicyTypeNotAvailableForOrganizationException("The policy type %s is not available in this organization.", t)
	}
	return nil
}

func (o *organizationRow) checkRoot(id string) error {
	if id != o.Root {
		return orgapi.RootNotFoundException("You specified a root that doesn't exist.")
	}
	return nil
}

// EnablePolicyType puts a type of policies into force. The policy of AWS's that
// allows everything is attached to the root and to every unit and account.
//
// Errors: RootNotFoundException; PolicyTypeAlreadyEnabledException;
// PolicyTypeNotAvailableForOrganizationException, for other types than service
// and resource control policies too; AWSOrganizationsNotInUseException;
// AccessDeniedException.
func (s *Service) EnablePolicyType(ctx context.Context, in *orgapi.EnablePolicyTypeInput) (*orgapi.EnablePolicyTypeOutput, error) {
	out := &orgapi.EnablePolicyTypeOutput{}
	err := s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		if err := errors.Join(o.checkRoot(in.RootId), o.available(in.PolicyType)); err != nil {
			return err
		}
		if o.enabled(in.PolicyType) {
			return orgapi.PolicyTypeAlreadyEnabledException("The specified policy type is already enabled.")
		}
		o.Enabled = append(o.Enabled, in.PolicyType)
		slices.Sort(o.Enabled)
		if err := s.attachEverywhere(tx, o, in.PolicyType, []string{fullAccess(in.PolicyType)}); err != nil {
			return err
		}
		out.Root = o.rootShape()
		protocol.Respond(ctx, orgapi.EnablePolicyType, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DisablePolicyType takes a type of policies out of force. Every policy of the
// type is detached; enabling it again brings none of them back.
//
// Errors: RootNotFoundException; PolicyTypeNotEnabledException;
// AWSOrganizationsNotInUseException; AccessDeniedException.
func (s *Service) DisablePolicyType(ctx context.Context, in *orgapi.DisablePolicyTypeInput) (*orgapi.DisablePolicyTypeOutput, error) {
	out := &orgapi.DisablePolicyTypeOutput{}
	err := s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		if err := o.checkRoot(in.RootId); err != nil {
			return err
		}
		if !o.enabled(in.PolicyType) {
			return notEnabled()
		}
		o.Enabled = slices.DeleteFunc(o.Enabled, func(t orgapi.PolicyType) bool { return t == in.PolicyType })
		if err := s.attachEverywhere(tx, o, in.PolicyType, nil); err != nil {
			return err
		}
		out.Root = o.rootShape()
		protocol.Respond(ctx, orgapi.DisablePolicyType, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func notEnabled() error {
	return orgapi.PolicyTypeNotEnabledException("This operation can be performed only for enabled policy types.")
}

// attachEverywhere makes the policies the only ones of their type on every
// target.
func (s *Service) attachEverywhere(tx *store.Tx, o *organizationRow, t orgapi.PolicyType, ids []string) error {
	targets, err := s.everyTarget(tx, o)
	if err != nil {
		return err
	}
	for _, at := range targets {
		if *at.attached == nil {
			*at.attached = attachments{}
		}
		if (*at.attached)[t] = ids; ids == nil {
			delete(*at.attached, t)
		}
		if err := at.put(tx); err != nil {
			return err
		}
	}
	return nil
}
