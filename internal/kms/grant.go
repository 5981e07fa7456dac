package kms

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/store"
)

// Quotas of grants.
//
// Source: AWS KMS Developer Guide, "Resource quotas"; API Reference, CreateGrant.
const (
	maxGrants          = 50_000 // of one key
	maxConstraintPairs = 8
	maxConstraintValue = 384 // characters, also of names, for which AWS names no bound
)

// authz renders the grant for the evaluator.
func (g *grantRow) authz() authz.Grant {
	out := authz.Grant{
		ID: g.ID, Grantee: g.granteeName(), GranteeIsService: g.GranteeService != "" || isService(g.Grantee), GranteeID: g.GranteeID,
		Constraints: authz.GrantConstraints{
			EncryptionContextEquals: g.Equals, EncryptionContextSubset: g.Subset, SourceARN: g.SourceARN,
		},
	}
	if out.GranteeIsService {
		out.Account = g.Issuer // who made it, on a key of its own or of another account
	}
	for _, op := range g.Operations {
		out.Operations = append(out.Operations, string(op))
	}
	return out
}

// isService reports whether a principal is the name of a service.
func isService(principal string) bool {
	return strings.HasSuffix(principal, ".amazonaws.com") && !strings.HasPrefix(principal, "arn:")
}

// entry renders the grant for lists.
func (g *grantRow) entry() kmsapi.GrantListEntry {
	e := kmsapi.GrantListEntry{
		KeyId: new(keyARN(g.Region, g.Account, g.KeyID)), GrantId: new(g.ID), CreationDate: new(g.Created),
		IssuingAccount: new(rootARN(g.Issuer)), Operations: g.Operations, Name: optional(g.Name),
		GranteePrincipal: optional(g.Grantee), RetiringPrincipal: optional(g.Retiring),
		GranteeServicePrincipal: optional(g.GranteeService), RetiringServicePrincipal: optional(g.RetiringService),
	}
	if g.Equals != nil || g.Subset != nil || g.SourceARN != "" {
		e.Constraints = &kmsapi.GrantConstraints{
			EncryptionContextEquals: g.Equals, EncryptionContextSubset: g.Subset, SourceArn: optional(g.SourceARN),
		}
	}
	return e
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// constraintContext is the encryption context that conditions on CreateGrant see:
// the one of the new grant's constraint.
func constraintContext(c *kmsapi.GrantConstraints) map[string]string {
	if c == nil {
		return nil
	}
	if c.EncryptionContextEquals != nil {
		return c.EncryptionContextEquals
	}
	return c.EncryptionContextSubset
}

func createGrantCall(in *kmsapi.CreateGrantInput) call {
	return call{
		key: &in.KeyId, tokens: &in.GrantTokens, ec: constraintContext(in.Constraints), awsResource: true,
		set: func(c authz.Context) {
			for key, v := range map[string]*string{
				"kms:GranteePrincipal": in.GranteePrincipal, "kms:RetiringPrincipal": in.RetiringPrincipal,
				"kms:GranteeServicePrincipal": in.GranteeServicePrincipal, "kms:RetiringServicePrincipal": in.RetiringServicePrincipal,
			} {
				if v != nil {
					c.Set(key, *v)
				}
			}
			var ops []string
			for _, op := range in.Operations {
				ops = append(ops, string(op))
			}
			c.SetMulti("kms:GrantOperations", ops...)
			if k := in.Constraints; k != nil {
				switch {
				case k.EncryptionContextEquals != nil:
					c.Set("kms:GrantConstraintType", "EncryptionContextEquals")
				case k.EncryptionContextSubset != nil:
					c.Set("kms:GrantConstraintType", "EncryptionContextSubset")
				}
				if k.SourceArn != nil {
					c.Set("kms:GrantConstraintSourceArn", *k.SourceArn)
				}
			}
		},
	}
}

// CreateGrant lets a principal use a key. A name makes the call idempotent: the
// same parameters under the same name give the same grant.
//
// Errors: ValidationException, InvalidArnException, DisabledException,
// KMSInvalidStateException, LimitExceededException, InvalidGrantTokenException.
func (s *Service) CreateGrant(ctx context.Context, in *kmsapi.CreateGrantInput) (*kmsapi.CreateGrantOutput, error) {
	caller := identity.From(ctx).Caller
	k, ref, err := s.resolve(ctx, in.KeyId, byKey)
	if err != nil {
		return nil, err
	}
	g := grantRow{
		ID: newHexID(), KeyID: k.ID, Region: k.Region, Account: k.Account, Name: deref(in.Name),
		Grantee: deref(in.GranteePrincipal), Retiring: deref(in.RetiringPrincipal),
		GranteeService: deref(in.GranteeServicePrincipal), RetiringService: deref(in.RetiringServicePrincipal),
		Operations: in.Operations, Issuer: caller.Account, ByIssuer: true, Created: s.timestamp(),
	}
	if caller.Type == identity.Service {
		g.Issuer = caller.SourceAccount
	}
	if c := in.Constraints; c != nil {
		g.Equals, g.Subset, g.SourceARN = c.EncryptionContextEquals, c.EncryptionContextSubset, deref(c.SourceArn)
	}
	if err := s.checkGrant(ctx, k, &g); err != nil {
		return nil, err
	}
	if err := s.checkNarrowing(ctx, k, ref, &g, in); err != nil {
		return nil, err
	}
	var made grantRow
	err = s.update(ctx, in.KeyId, func(tx *store.Tx, k *keyRow) error {
		if err := grantable(k); err != nil {
			return err
		}
		same, found, err := sameName(tx, g)
		if err != nil {
			return err
		}
		if made = g; found {
			made = same
		} else {
			if k.GrantCount >= s.cfg.Quotas.Grants {
				return kmsapi.LimitExceededException("The key %s has %d grants, the limit.", k.arn(), s.cfg.Quotas.Grants)
			}
			k.GrantCount++
		}
		if err := dryRun(in.DryRun); err != nil {
			return err
		}
		audit.From(ctx).SetResponse(map[string]string{"grantId": made.ID, "keyId": k.arn()})
		return grants.Put(tx, made, made.Region, made.KeyID, made.ID)
	})
	if err != nil {
		return nil, err
	}
	token, err := s.cfg.Keyring.SealToken(envelope.GrantToken, envelope.Token{
		Account: made.Account, Region: made.Region, Payload: []byte(made.KeyID + "|" + made.ID),
	})
	if err != nil {
		return nil, err
	}
	return &kmsapi.CreateGrantOutput{GrantId: new(made.ID), GrantToken: new(token)}, nil
}

// sameName finds an equal grant of the same name.
func sameName(tx *store.Tx, g grantRow) (same grantRow, found bool, err error) {
	if g.Name == "" {
		return same, false, nil
	}
	for row, err := range grants.ByIndex(tx, "name", store.Key{g.Region, g.KeyID, g.Name}, store.ScanOptions{}) {
		if err != nil {
			return same, false, err
		}
		if equalGrant(row.Value, g) {
			return row.Value, true, nil
		}
	}
	return same, false, nil
}

// equalGrant compares what CreateGrant's caller chose.
func equalGrant(a, b grantRow) bool {
	for _, g := range []*grantRow{&a, &b} {
		g.ID, g.Created, g.ByIssuer = "", b.Created, false
		g.Operations = slices.Sorted(slices.Values(g.Operations))
	}
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// checkGrant validates a new grant and resolves its principals.
func (s *Service) checkGrant(ctx context.Context, k *cachedKey, g *grantRow) error {
	if err := grantable(&k.keyRow); err != nil {
		return err
	}
	switch {
	case len(g.Operations) == 0:
		return kmsapi.ValidationException("A grant needs at least one operation.")
	case g.GranteeService != "" && !isService(g.GranteeService), g.RetiringService != "" && !isService(g.RetiringService):
		return kmsapi.ValidationException("A service principal has the form SERVICE.REGION.amazonaws.com.")
	case (g.Grantee == "") == (g.GranteeService == ""):
		return kmsapi.ValidationException("Exactly one of GranteePrincipal and GranteeServicePrincipal must be given.")
	case g.Retiring != "" && g.RetiringService != "":
		return kmsapi.ValidationException("RetiringPrincipal and RetiringServicePrincipal cannot both be given.")
	case g.GranteeService != "" && (g.SourceARN == "" || g.Retiring == "" && g.RetiringService == ""):
		return kmsapi.ValidationException("A grant to a service principal needs a SourceArn constraint and a retiring principal.")
	case g.Equals != nil && g.Subset != nil:
		return kmsapi.ValidationException("Only one of EncryptionContextEquals and EncryptionContextSubset may be given.")
	case (g.Equals != nil || g.Subset != nil) && k.Spec != kmsapi.KeySpecSymmetricDefault:
		return kmsapi.ValidationException("Encryption context constraints are only valid for symmetric encryption keys.")
	}
	for _, pairs := range []map[string]string{g.Equals, g.Subset} {
		if len(pairs) > maxConstraintPairs {
			return kmsapi.ValidationException("A grant constraint may have up to %d encryption context pairs.", maxConstraintPairs)
		}
		for name, v := range pairs {
			if utf8.RuneCountInString(name) > maxConstraintValue {
				return kmsapi.ValidationException("Names of encryption context constraints may have up to %d characters.", maxConstraintValue)
			}
			if utf8.RuneCountInString(v) > maxConstraintValue {
				return kmsapi.ValidationException("Values of encryption context constraints may have up to %d characters.", maxConstraintValue)
			}
		}
	}
	g.Operations = slices.Compact(slices.Sorted(slices.Values(g.Operations)))
	for _, op := range g.Operations {
		if !operationFits(k, op) {
			return kmsapi.ValidationException("Operation %s is not valid for a key of usage %s and spec %s.", op, k.Usage, k.Spec)
		}
	}
	var err error
	if g.GranteeID, err = s.grantPrincipal(ctx, g.Grantee, "GranteePrincipal"); err != nil {
		return err
	}
	g.RetiringID, err = s.grantPrincipal(ctx, g.Retiring, "RetiringPrincipal")
	return err
}

// grantPrincipal checks a principal given as an ARN and returns its unique id. A
// service's name is accepted only when a service makes the grant.
func (s *Service) grantPrincipal(ctx context.Context, arn, member string) (string, error) {
	if arn == "" {
		return "", nil
	}
	caller := identity.From(ctx).Caller
	if isService(arn) {
		if len(caller.Via) == 0 && caller.InvokedBy == "" && caller.Type != identity.Service {
			return "", kmsapi.ValidationException("%s cannot be a service principal; use the service principal parameter.", member)
		}
		return "", nil
	}
	whose := arn
	if p, found := strings.CutPrefix(arn, "arn:aws:sts::"); found && strings.Contains(p, ":federated-user/") {
		whose = rootARN(accountOfARN(arn)) // nobody but its account vouches for the name of such a session
	}
	id, ok := s.cfg.Principals.PrincipalExists(ctx, whose)
	if !ok || !strings.HasPrefix(arn, "arn:") {
		return "", kmsapi.InvalidArnException("ARN does not refer to a valid principal: %s", arn)
	}
	return id, nil
}

// operationFits reports whether a key of this usage has the operation.
func operationFits(k *cachedKey, op kmsapi.GrantOperation) bool {
	switch op {
	case kmsapi.GrantOperationCreateGrant, kmsapi.GrantOperationRetireGrant, kmsapi.GrantOperationDescribeKey:
		return true
	case kmsapi.GrantOperationGetPublicKey:
		return k.Spec != kmsapi.KeySpecSymmetricDefault && k.Usage != kmsapi.KeyUsageTypeGenerateVerifyMac
	case kmsapi.GrantOperationSign, kmsapi.GrantOperationVerify:
		return k.Usage == kmsapi.KeyUsageTypeSignVerify
	case kmsapi.GrantOperationGenerateMac, kmsapi.GrantOperationVerifyMac:
		return k.Usage == kmsapi.KeyUsageTypeGenerateVerifyMac
	case kmsapi.GrantOperationDeriveSharedSecret:
		return k.Usage == kmsapi.KeyUsageTypeKeyAgreement
	case kmsapi.GrantOperationEncapsulate, kmsapi.GrantOperationDecapsulate:
		return k.Usage == kmsapi.KeyUsageTypeEncapsulateDecapsulate
	case kmsapi.GrantOperationEncrypt, kmsapi.GrantOperationDecrypt, kmsapi.GrantOperationReEncryptFrom, kmsapi.GrantOperationReEncryptTo:
		return k.Usage == kmsapi.KeyUsageTypeEncryptDecrypt
	}
	return k.Spec == kmsapi.KeySpecSymmetricDefault // the data key operations
}

// checkNarrowing holds a caller whose right to create grants comes from a grant
// to what that grant has: a subset of its operations, constraints at least as
// strict.
//
// Source: AWS KMS Developer Guide, "Granting CreateGrant permission".
func (s *Service) checkNarrowing(ctx context.Context, k *cachedKey, ref keyRef, g *grantRow, in *kmsapi.CreateGrantInput) error {
	c := createGrantCall(in)
	c.action = "kms:CreateGrant"
	check, err := s.check(ctx, k, ref, c, nil)
	if err != nil {
		return err
	}
	parents := check.Grants
	if len(parents) == 0 {
		return nil
	}
	check.Grants = nil
	if s.cfg.Authorizer.Authorize(ctx, kmsapi.Service, &check) == nil {
		return nil
	}
	// One grant must both permit the call and be as wide: a wide grant that does
	// not concern this caller, of a principal that is gone, lends nothing.
	for _, p := range parents {
		if !narrower(&p, g) {
			continue
		}
		check.Grants = []authz.Grant{p}
		if s.cfg.Authorizer.Authorize(ctx, kmsapi.Service, &check) == nil {
			return nil
		}
	}
	return kmsapi.AccessDeniedException("The grant that permits CreateGrant does not permit operations or constraints wider than its own.")
}

func narrower(parent *authz.Grant, g *grantRow) bool {
	for _, op := range g.Operations {
		if !slices.Contains(parent.Operations, string(op)) {
			return false
		}
	}
	c := parent.Constraints
	if c.SourceARN != "" && c.SourceARN != g.SourceARN {
		return false
	}
	if c.EncryptionContextEquals != nil {
		return g.Equals != nil && maps.Equal(g.Equals, c.EncryptionContextEquals)
	}
	for name, value := range c.EncryptionContextSubset {
		inEquals, inSubset := g.Equals[name], g.Subset[name]
		_, hasEquals := g.Equals[name]
		_, hasSubset := g.Subset[name]
		if !(hasEquals && inEquals == value) && !(hasSubset && inSubset == value) {
			return false
		}
	}
	return true
}

// ListGrants lists the grants of a key.
func (s *Service) ListGrants(ctx context.Context, in *kmsapi.ListGrantsInput) (*kmsapi.ListGrantsOutput, error) {
	k, _, err := s.resolve(ctx, in.KeyId, byKey)
	if err != nil {
		return nil, err
	}
	if in.GranteePrincipal != nil && in.GranteeServicePrincipal != nil {
		return nil, kmsapi.ValidationException("GranteePrincipal and GranteeServicePrincipal cannot both be given.")
	}
	grantee := deref(in.GranteePrincipal) + deref(in.GranteeServicePrincipal)
	p, err := s.page(ctx, "ListGrants", k.ID+" "+grantee, in.Limit, in.Marker, 100, 50)
	if err != nil {
		return nil, err
	}
	out := &kmsapi.ListGrantsOutput{Grants: []kmsapi.GrantListEntry{}}
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var rows store.Page[grantRow]
		var err error
		switch {
		case in.GrantId != nil:
			g, err := grants.Get(tx, k.Region, k.ID, *in.GrantId)
			if isNotFound(err) || err == nil && grantee != "" && g.granteeName() != grantee {
				break
			}
			if err != nil {
				return err
			}
			rows.Values = []grantRow{g}
		case grantee != "":
			rows, err = grants.PageByIndex(tx, "grantee", store.Key{k.Region, k.ID, grantee}, p.options)
		default:
			rows, err = grants.Page(tx, store.Key{k.Region, k.ID}, p.options)
		}
		if err != nil {
			return err
		}
		for i := range rows.Values {
			out.Grants = append(out.Grants, rows.Values[i].entry())
		}
		out.NextMarker, out.Truncated, err = p.next(rows.Next)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ListRetirableGrants lists the grants that a principal of the caller's account
// may retire, also on keys of other accounts.
func (s *Service) ListRetirableGrants(ctx context.Context, in *kmsapi.ListRetirableGrantsInput) (*kmsapi.ListRetirableGrantsOutput, error) {
	c := identity.From(ctx)
	if (in.RetiringPrincipal == nil) == (in.RetiringServicePrincipal == nil) {
		return nil, kmsapi.ValidationException("Exactly one of RetiringPrincipal and RetiringServicePrincipal must be given.")
	}
	who := deref(in.RetiringPrincipal) + deref(in.RetiringServicePrincipal)
	question := who
	if in.RetiringServicePrincipal != nil {
		question += " by issuer"
	}
	p, err := s.page(ctx, "ListRetirableGrants", question, in.Limit, in.Marker, 100, 50)
	if err != nil {
		return nil, err
	}
	if in.RetiringPrincipal != nil && accountOfARN(who) != c.Caller.Account {
		return nil, kmsapi.InvalidArnException("The retiring principal %s is not of your account.", who)
	}
	out := &kmsapi.ListRetirableGrantsOutput{Grants: []kmsapi.GrantListEntry{}}
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var rows store.Page[grantRow]
		var err error
		if in.RetiringServicePrincipal != nil {
			rows, err = retirableByService(tx, c.Region, who, c.Caller.Account, p.options)
		} else {
			rows, err = grants.PageByIndex(tx, "retiring", store.Key{c.Region, who}, p.options)
		}
		if err != nil {
			return err
		}
		out.Grants = []kmsapi.GrantListEntry{}
		for i := range rows.Values {
			out.Grants = append(out.Grants, rows.Values[i].entry())
		}
		out.NextMarker, out.Truncated, err = p.next(rows.Next)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// retirableByService returns a page of the grants of an account that a service may
// retire. Those of before ByIssuer come first: the first byte of a cursor says
// whether there are more of them.
func retirableByService(tx *store.Tx, region, service, account string, options store.ScanOptions) (rows store.Page[grantRow], err error) {
	const before, byIssuer = 0, 1
	phase := byte(before)
	if len(options.After) > 0 {
		phase, options.After = options.After[0], options.After[1:]
	}
	if phase == before {
		rows, err = grants.PageByIndex(tx, "retiring", store.Key{region, service}, options)
		if err != nil {
			return rows, err
		}
		rows.Values = slices.DeleteFunc(rows.Values, func(g grantRow) bool { return g.Issuer != account })
		if rows.Next != nil {
			rows.Next = append([]byte{before}, rows.Next...)
			return rows, nil
		}
		options.After = nil
		if options.Limit -= len(rows.Values); options.Limit == 0 {
			rows.Next = []byte{byIssuer}
			return rows, nil
		}
	}
	if len(options.After) == 0 {
		options.After = nil
	}
	mine, err := grants.PageByIndex(tx, "retiring", store.Key{region, retiringOf(service, account)}, options)
	if err != nil {
		return rows, err
	}
	rows.Values = append(rows.Values, mine.Values...)
	if mine.Next != nil {
		rows.Next = append([]byte{byIssuer}, mine.Next...)
	}
	return rows, nil
}

// accountOfARN returns the account in an ARN, or "".
func accountOfARN(arn string) string {
	if p := strings.SplitN(arn, ":", 6); len(p) == 6 && p[0] == "arn" {
		return p[4]
	}
	return ""
}

// RevokeGrant removes a grant; nothing that starts after the answer is allowed by it.
//
// Errors: NotFoundException, InvalidGrantIdException.
func (s *Service) RevokeGrant(ctx context.Context, in *kmsapi.RevokeGrantInput) (*schemaNothing, error) {
	return nil, s.removeGrant(ctx, in.KeyId, in.GrantId, in.DryRun)
}

func (s *Service) removeGrant(ctx context.Context, keyID, grantID string, dry *bool) error {
	return s.update(ctx, keyID, func(tx *store.Tx, k *keyRow) error {
		exists, err := grants.Exists(tx, k.Region, k.ID, grantID)
		if err != nil {
			return err
		}
		if !exists {
			return kmsapi.NotFoundException("Grant ID %s not found", grantID)
		}
		if err := dryRun(dry); err != nil {
			return err
		}
		k.GrantCount--
		respondKey(ctx, k)
		return grants.Delete(tx, k.Region, k.ID, grantID)
	})
}
