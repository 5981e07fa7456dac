package organizations

import (
	"context"
	"errors"
	"fmt"
	"time"

	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

const (
	// handshakeLife is how long an invitation can be accepted.
	handshakeLife = 15 * 24 * time.Hour
	// handshakeMemory is how long one that was answered is still shown.
	handshakeMemory = 30 * 24 * time.Hour
)

// state is the state at an instant: an open handshake expires by itself.
func (h *handshakeRow) state(now time.Time) orgapi.HandshakeState {
	if h.State == orgapi.HandshakeStateOpen && !now.Before(timeOf(h.Expires)) {
		return orgapi.HandshakeStateExpired
	}
	return h.State
}

// shown reports whether a handshake is still to be seen.
func (h *handshakeRow) shown(now time.Time) bool {
	switch h.state(now) {
	case orgapi.HandshakeStateOpen:
		return true
	case orgapi.HandshakeStateExpired:
		return now.Before(timeOf(h.Expires).Add(handshakeMemory))
	}
	return now.Before(timeOf(h.Resolved).Add(handshakeMemory))
}

func (s *Service) handshakeShape(tx *store.Tx, o *organizationRow, h *handshakeRow) (*orgapi.Handshake, error) {
	master, err := s.account(tx, o.Management)
	if err != nil {
		return nil, err
	}
	resource := func(t orgapi.HandshakeResourceType, value string) orgapi.HandshakeResource {
		return orgapi.HandshakeResource{Type: t, Value: &value}
	}
	resources := []orgapi.HandshakeResource{
		resource(orgapi.HandshakeResourceTypeOrganization, o.ID),
		resource(orgapi.HandshakeResourceTypeMasterEmail, master.Email),
		resource(orgapi.HandshakeResourceTypeMasterName, master.Name),
		resource(orgapi.HandshakeResourceTypeOrganizationFeatureSet, string(o.Features)),
		resource(orgapi.HandshakeResourceTypeAccount, h.Account),
	}
	if h.Notes != "" {
		resources = append(resources, resource(orgapi.HandshakeResourceTypeNotes, h.Notes))
	}
	return &orgapi.Handshake{
		Id: &h.ID, Arn: new(o.handshakeARN(h.ID)), State: h.state(s.cfg.Now()), Action: orgapi.ActionTypeInvite,
		Parties: []orgapi.HandshakeParty{
			{Id: o.ID, Type: orgapi.HandshakePartyTypeOrganization}, {Id: h.Account, Type: orgapi.HandshakePartyTypeAccount},
		},
		RequestedTimestamp: new(timeOf(h.Requested)), ExpirationTimestamp: new(timeOf(h.Expires)), Resources: resources,
	}, nil
}

func noHandshake() error {
	return orgapi.HandshakeNotFoundException("You specified a handshake that doesn't exist.")
}

// handshake returns a handshake that the account is a party to, and the
// organization that invites.
//
// Errors: HandshakeNotFoundException.
func (s *Service) handshake(tx *store.Tx, account, id string) (*handshakeRow, *organizationRow, error) {
	h, err := s.handshakes.Get(tx, id)
	if err != nil {
		return nil, nil, missing(err, "handshake", noHandshake())
	}
	o, err := s.organizations.Get(tx, h.Organization)
	if err != nil {
		return nil, nil, missing(err, "organization", noHandshake())
	}
	if account != h.Account && account != o.Management || !h.shown(s.cfg.Now()) {
		return nil, nil, noHandshake()
	}
	return &h, &o, nil
}

// InviteAccountToOrganization invites an account of this server. The invitation
// ends after 15 days.
//
// Errors: InvalidInputException for a target that is no account id, and for an
// account that does not exist; HandshakeConstraintViolationException for an
// account that is in the organization; DuplicateHandshakeException;
// ConstraintViolationException beyond the number of accounts and for tags;
// AWSOrganizationsNotInUseException; AccessDeniedException.
func (s *Service) InviteAccountToOrganization(ctx context.Context, in *orgapi.InviteAccountToOrganizationInput) (*orgapi.InviteAccountToOrganizationOutput, error) {
	switch {
	case in.Target.Type != orgapi.HandshakePartyTypeAccount:
		return nil, invalid("INVALID_PARTY_TYPE_TARGET", "Accounts are invited by their id: the target's type must be ACCOUNT.")
	case !isAccount(in.Target.Id):
		return nil, invalid("INVALID_PATTERN_TARGET_ID", "An account id has 12 digits.")
	}
	tags, err := mergeTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	out := &orgapi.InviteAccountToOrganizationOutput{}
	err = s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		if err := s.invitable(tx.Context(ctx), tx, o, in.Target.Id); err != nil {
			return err
		}
		now := s.cfg.Now().UTC()
		h := handshakeRow{
			ID: newHandshakeID(), Organization: o.ID, Account: in.Target.Id, State: orgapi.HandshakeStateOpen,
			Requested: now.UnixMicro(), Expires: now.Add(handshakeLife).UnixMicro(), Notes: value(in.Notes), Tags: tags,
		}
		if out.Handshake, err = s.handshakeShape(tx, o, &h); err != nil {
			return err
		}
		protocol.Respond(ctx, orgapi.InviteAccountToOrganization, out)
		return s.handshakes.Put(tx, h, h.ID)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// invitable refuses what cannot be invited, and forgets the organization's
// handshakes that are no longer shown.
func (s *Service) invitable(ctx context.Context, tx *store.Tx, o *organizationRow, account string) error {
	have, err := s.cfg.Accounts.Exists(ctx, account)
	if err != nil {
		return fmt.Errorf("look for account: %w", err)
	}
	if !have {
		return invalid("INVALID_PATTERN_TARGET_ID", "You specified an account that doesn't exist.")
	}
	a, err := s.account(tx, account)
	if err != nil {
		return err
	}
	if a.Organization == o.ID {
		return alreadyIn()
	}
	members, err := count(tx, s.accounts, byOrganization, o.ID)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	for row, err := range s.handshakes.ByIndex(tx, byOrganization, store.Key{o.ID}, store.ScanOptions{}) {
		if err != nil {
			return err
		}
		switch h := &row.Value; {
		case h.state(now) == orgapi.HandshakeStateOpen && h.Account == account:
			return orgapi.DuplicateHandshakeException("A handshake with the same action and target already exists.")
		case h.state(now) == orgapi.HandshakeStateOpen:
			members++ // invitations count
		case !h.shown(now):
			if err := s.handshakes.Delete(tx, h.ID); err != nil {
				return err
			}
		}
	}
	if members >= maxAccounts {
		return orgapi.HandshakeConstraintViolationException("You have exceeded the allowed number of AWS accounts: %d.", maxAccounts).
			With("Reason", "ACCOUNT_NUMBER_LIMIT_EXCEEDED")
	}
	return nil
}

func alreadyIn() error {
	return orgapi.HandshakeConstraintViolationException("The account is already a member of an organization.").
		With("Reason", "ALREADY_IN_AN_ORGANIZATION")
}

// answer resolves an open handshake. sender says whose answer it is: the
// inviting organization's, else the invited account's.
//
// Errors: HandshakeNotFoundException; AccessDeniedException for the other
// party; HandshakeAlreadyInStateException; InvalidHandshakeTransitionException.
func (s *Service) answer(ctx context.Context, id string, to orgapi.HandshakeState, then func(*store.Tx, *organizationRow, *handshakeRow) error, respond func(*orgapi.Handshake)) error {
	return s.update(ctx, func(tx *store.Tx) error {
		account := accountOf(ctx)
		h, o, err := s.handshake(tx, account, id)
		if err != nil {
			return err
		}
		answers := h.Account
		if to == orgapi.HandshakeStateCanceled {
			answers = o.Management
		}
		if account != answers {
			return notPermitted()
		}
		switch h.state(s.cfg.Now()) {
		case to:
			return orgapi.HandshakeAlreadyInStateException("The specified handshake is already in the requested state.")
		case orgapi.HandshakeStateOpen:
		default:
			return orgapi.InvalidHandshakeTransitionException("The specified handshake is %s and can no longer be answered.", h.state(s.cfg.Now()))
		}
		h.State, h.Resolved = to, s.stamp()
		if then != nil {
			if err := then(tx, o, h); err != nil {
				return err
			}
		}
		shape, err := s.handshakeShape(tx, o, h)
		if err != nil {
			return err
		}
		respond(shape)
		return s.handshakes.Put(tx, *h, h.ID)
	})
}

// AcceptHandshake makes the caller's account a member of the organization that
// invited it. It must be in none. The organization's policies bind it from the
// next request on.
//
// Errors: those of an answer; HandshakeConstraintViolationException.
func (s *Service) AcceptHandshake(ctx context.Context, in *orgapi.AcceptHandshakeInput) (*orgapi.AcceptHandshakeOutput, error) {
	out := &orgapi.AcceptHandshakeOutput{}
	join := func(tx *store.Tx, o *organizationRow, h *handshakeRow) error {
		a, err := s.account(tx, h.Account)
		if err != nil {
			return err
		}
		if a.Organization != "" {
			return alreadyIn()
		}
		a.Tags = h.Tags
		return s.join(ctx, tx, o, &a, orgapi.AccountJoinedMethodInvited)
	}
	err := s.answer(ctx, in.HandshakeId, orgapi.HandshakeStateAccepted, join, func(h *orgapi.Handshake) {
		out.Handshake = h
		protocol.Respond(ctx, orgapi.AcceptHandshake, out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DeclineHandshake refuses an invitation of the caller's account.
//
// Errors: those of an answer.
func (s *Service) DeclineHandshake(ctx context.Context, in *orgapi.DeclineHandshakeInput) (*orgapi.DeclineHandshakeOutput, error) {
	out := &orgapi.DeclineHandshakeOutput{}
	err := s.answer(ctx, in.HandshakeId, orgapi.HandshakeStateDeclined, nil, func(h *orgapi.Handshake) {
		out.Handshake = h
		protocol.Respond(ctx, orgapi.DeclineHandshake, out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// CancelHandshake takes back an invitation that the caller's organization sent.
//
// Errors: those of an answer.
func (s *Service) CancelHandshake(ctx context.Context, in *orgapi.CancelHandshakeInput) (*orgapi.CancelHandshakeOutput, error) {
	out := &orgapi.CancelHandshakeOutput{}
	err := s.answer(ctx, in.HandshakeId, orgapi.HandshakeStateCanceled, nil, func(h *orgapi.Handshake) {
		out.Handshake = h
		protocol.Respond(ctx, orgapi.CancelHandshake, out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DescribeHandshake describes a handshake to both of its parties, up to 30 days
// after it was answered or has expired.
//
// Errors: HandshakeNotFoundException.
func (s *Service) DescribeHandshake(ctx context.Context, in *orgapi.DescribeHandshakeInput) (*orgapi.DescribeHandshakeOutput, error) {
	out := &orgapi.DescribeHandshakeOutput{}
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		h, o, err := s.handshake(tx, accountOf(ctx), in.HandshakeId)
		if err != nil {
			return err
		}
		out.Handshake, err = s.handshakeShape(tx, o, h)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// listHandshakes is the part of a list that describes the handshakes below an
// index key. Invitations are the only kind there is.
func (s *Service) listHandshakes(index string, key store.Key, filter *orgapi.HandshakeFilter) stage[orgapi.Handshake] {
	all := filter == nil || (filter.ActionType == "" || filter.ActionType == orgapi.ActionTypeInvite) && filter.ParentHandshakeId == nil
	now := s.cfg.Now()
	return rows(s.handshakes, index, key, func(tx *store.Tx, h *handshakeRow) (orgapi.Handshake, bool, error) {
		if !all || !h.shown(now) {
			return orgapi.Handshake{}, false, nil
		}
		o, err := s.organizations.Get(tx, h.Organization)
		if errors.Is(err, store.ErrNotFound) {
			return orgapi.Handshake{}, false, nil
		}
		if err != nil {
			return orgapi.Handshake{}, false, err
		}
		shape, err := s.handshakeShape(tx, &o, h)
		if err != nil {
			return orgapi.Handshake{}, false, err
		}
		return *shape, true, nil
	})
}

func filterName(f *orgapi.HandshakeFilter) string {
	if f == nil {
		return ""
	}
	return string(f.ActionType) + "|" + value(f.ParentHandshakeId)
}

// ListHandshakesForAccount lists the invitations that the caller's account has
// received, whether or not it is in an organization.
//
// Errors: InvalidInputException.
func (s *Service) ListHandshakesForAccount(ctx context.Context, in *orgapi.ListHandshakesForAccountInput) (*orgapi.ListHandshakesForAccountOutput, error) {
	out := &orgapi.ListHandshakesForAccountOutput{}
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		l := listing{name: "ListHandshakesForAccount|" + filterName(in.Filter), token: in.NextToken, max: in.MaxResults}
		out.Handshakes, out.NextToken, err = list(ctx, s, tx, l, s.listHandshakes(byAccount, store.Key{accountOf(ctx)}, in.Filter))
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ListHandshakesForOrganization lists the invitations that the caller's
// organization has sent.
//
// Errors: AWSOrganizationsNotInUseException; AccessDeniedException;
// InvalidInputException.
func (s *Service) ListHandshakesForOrganization(ctx context.Context, in *orgapi.ListHandshakesForOrganizationInput) (*orgapi.ListHandshakesForOrganizationOutput, error) {
	out := &orgapi.ListHandshakesForOrganizationOutput{}
	err := s.read(ctx, func(tx *store.Tx, o *organizationRow) (err error) {
		l := listing{name: "ListHandshakesForOrganization|" + filterName(in.Filter), token: in.NextToken, max: in.MaxResults}
		out.Handshakes, out.NextToken, err = list(ctx, s, tx, l, s.listHandshakes(byOrganization, store.Key{o.ID}, in.Filter))
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
