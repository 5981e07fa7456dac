package kms

import (
	"context"
	"errors"
	"strings"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// retiring finds the grant of a RetireGrant request: by token, or by key ARN and
// grant id.
func (s *Service) retiring(ctx context.Context, in *kmsapi.RetireGrantInput) (grantRow, error) {
	c := identity.From(ctx)
	var t grantToken
	switch {
	case in.GrantToken != nil && (in.KeyId != nil || in.GrantId != nil):
		return grantRow{}, kmsapi.ValidationException("Specify either a grant token, or a key ARN and a grant ID.")
	case in.GrantToken != nil:
		var err error
		if t, err = s.openGrantToken(*in.GrantToken); err != nil {
			return grantRow{}, err
		}
		if t.region != c.Region {
			return grantRow{}, kmsapi.InvalidGrantTokenException("")
		}
	case in.KeyId != nil && in.GrantId != nil:
		ref, err := parseKeyRef(*in.KeyId, callerAccount(ctx), c.Region, byKey)
		if err != nil {
			return grantRow{}, err
		}
		if !strings.HasPrefix(*in.KeyId, "arn:") {
			return grantRow{}, kmsapi.InvalidArnException("RetireGrant needs the key's ARN.")
		}
		t = grantToken{account: ref.account, region: ref.region, keyID: ref.id, grantID: *in.GrantId}
	default:
		return grantRow{}, kmsapi.ValidationException("Specify either a grant token, or a key ARN and a grant ID.")
	}
	var g grantRow
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		g, err = grants.Get(tx, t.region, t.keyID, t.grantID)
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && g.Account != t.account {
		err = kmsapi.NotFoundException("Grant ID %s not found", t.grantID)
		if t.account != callerAccount(ctx) && in.GrantToken == nil {
			// Nobody learns which grants there are on the keys of others.
			err = refusal(ctx, "kms:RetireGrant", keyARN(t.region, t.account, t.keyID))
		}
		return grantRow{}, err
	}
	return g, err
}

// retireGrantChecks asks who may retire: the retiring principal; the grantee when
// the grant lists RetireGrant; the account that made the grant, through IAM. An
// allow in a key policy counts for nothing here, a deny does.
//
// Source: AWS KMS Developer Guide, "Retiring and revoking grants"; API
// Reference, RetireGrant.
func (s *Service) retireGrantChecks(ctx context.Context, in *kmsapi.RetireGrantInput) ([]protocol.Check, error) {
	if in.GrantToken != nil {
		audit.From(ctx).SetRequest(nil)
	}
	g, err := s.retiring(ctx, in)
	if err != nil {
		return nil, err
	}
	k, err := s.loadKey(ctx, g.Region, g.KeyID)
	if isNotFound(err) {
		return nil, kmsapi.NotFoundException("Grant ID %s not found", g.ID) // erased meanwhile
	}
	if err != nil {
		return nil, err
	}
	kind, pairs := g.contextConstraint()
	check, err := s.check(ctx, k, keyRef{}, call{action: "kms:RetireGrant", ec: pairs, awsResource: true, set: func(c authz.Context) {
		if kind != "" {
			c.Set("kms:GrantConstraintType", kind)
		}
	}}, nil)
	if err != nil {
		return nil, err
	}
	check.Grants = []authz.Grant{g.authz(), g.retirement()}
	// The key policy may deny. What else it says is not an answer.
	check.Denied = errRetire
	if err := s.cfg.Authorizer.Authorize(ctx, kmsapi.Service, &check); err != nil && !errors.Is(err, errRetire) {
		return nil, err
	}
	check.Policy = nil
	if err := s.cfg.Authorizer.Authorize(ctx, kmsapi.Service, &check); err == nil {
		check.Denied = nil
	} else if errors.Is(err, errRetire) {
		audit.From(ctx).AddResource(k.Account, resourceType, k.arn())
		check = protocol.Check{Action: check.Action, Resource: k.arn(), Account: g.Issuer, Context: check.Context}
	} else {
		return nil, err
	}
	audit.From(ctx).Additional("grantId", g.ID)
	return []protocol.Check{check}, nil
}

// errRetire marks a denial for want of an allow.
var errRetire = errors.New("kms: no grant lets the caller retire")

// contextConstraint is the grant's constraint of the encryption context: its
// kms:GrantConstraintType, "" for none, and its pairs.
func (g *grantRow) contextConstraint() (kind string, pairs map[string]string) {
	switch {
	case g.Equals != nil:
		return "EncryptionContextEquals", g.Equals
	case g.Subset != nil:
		return "EncryptionContextSubset", g.Subset
	}
	return "", nil
}

// retirement is the grant as its retiring principal holds it.
func (g *grantRow) retirement() authz.Grant {
	r := authz.Grant{
		ID: g.ID, Grantee: g.retiringName(), GranteeIsService: g.retiredByService(), GranteeID: g.RetiringID,
		Operations: []string{string(kmsapi.GrantOperationRetireGrant)},
	}
	if r.GranteeIsService {
		r.Account = g.Issuer
	}
	return r
}

// RetireGrant removes a grant that has served its purpose.
//
// Errors: InvalidGrantTokenException, NotFoundException, InvalidArnException.
func (s *Service) RetireGrant(ctx context.Context, in *kmsapi.RetireGrantInput) (*schemaNothing, error) {
	g, err := s.retiring(ctx, in)
	if err != nil {
		return nil, err
	}
	return nil, s.removeGrant(ctx, keyARN(g.Region, g.Account, g.KeyID), g.ID, in.DryRun)
}
