package authz

import (
	"fmt"
	"strings"
)

// Grant is a live grant on the key that a request is about. Retired and revoked
// grants are not given to [Decide].
// Source: AWS KMS Developer Guide, "Grants in AWS KMS".
type Grant struct {
	ID string
	// Grantee is the ARN of an account root, user, role, assumed-role session
	// or federated-user session, or a service's name.
	Grantee string
	// GranteeIsService says that Grantee is the name of a service.
	GranteeIsService bool
	// GranteeID, if not empty, is the unique id of the grantee when the grant
	// was made; a user or role made again under the same name is not it.
	GranteeID string
	// Account, if not empty, is the account for which a service's grant was
	// made: a request by that service must carry it in aws:SourceAccount.
	Account string
	// Operations are KMS operations without prefix, for example "Decrypt".
	Operations  []string
	Constraints GrantConstraints
}

// GrantConstraints limit a grant. The zero value limits nothing.
type GrantConstraints struct {
	// EncryptionContextEquals, if not nil, must equal the request's encryption
	// context, case and all. Not applied to DescribeKey and RetireGrant.
	EncryptionContextEquals map[string]string
	// EncryptionContextSubset, if not nil, must be part of it. Not applied to
	// DescribeKey and RetireGrant.
	EncryptionContextSubset map[string]string
	// SourceARN, if not empty, must equal aws:SourceArn. Not applied to
	// RetireGrant.
	SourceARN string
	// Unknown says that the grant has a constraint that is none of these. Such
	// a grant allows nothing.
	Unknown bool
}

// match returns how far the grant allows the request, and why not.
func (g *Grant) match(req *Request) (strength, string) {
	named := g.names(&req.Principal)
	if named == notNamed {
		return notNamed, "names another grantee"
	}
	op, ok := kmsOperation(req.Action)
	if !ok || !g.allows(op) {
		return notNamed, "does not list the operation"
	}
	if reason := g.constrain(req, op); reason != "" {
		return notNamed, reason
	}
	return named, ""
}

// names returns byAccount for a grant to the principal's account, byRole for
// one to the principal itself: boundary and session policies limit both.
func (g *Grant) names(p *Principal) strength {
	if g.GranteeIsService {
		if p.isService(g.Grantee) {
			return byOwnName
		}
		return notNamed
	}
	// Parsed by hand: a grant is not compiled, and the loop over the grants of
	// a key must not allocate.
	e := principalEntry{text: g.Grantee, id: g.GranteeID}
	switch a, ok := splitARN(g.Grantee); {
	case !ok:
		return notNamed
	case a.service == "iam" && a.resource == "root":
		e.form, e.account = FormAccount, a.account
	case a.service == "iam" && strings.HasPrefix(a.resource, "user/"):
		e.form = FormUser
	case a.service == "iam" && strings.HasPrefix(a.resource, "role/"):
		e.form = FormRole
	case a.service == "sts" && strings.HasPrefix(a.resource, "assumed-role/"):
		e.form = FormSession
	case a.service == "sts" && strings.HasPrefix(a.resource, "federated-user/"):
		e.form = FormFederatedUser
	default:
		return notNamed
	}
	return min(e.names(p, false), byRole)
}

func (g *Grant) allows(op string) bool {
	for _, o := range g.Operations {
		if strings.EqualFold(o, op) {
			return true
		}
	}
	return false
}

// Constraints by name, as [Grant.unmetConstraint] tells them.
const (
	constraintUnknown = "unknown"
	constraintSource  = "SourceArn"
	constraintAccount = "SourceAccount" // the account that a service's grant was made for
	constraintEquals  = "EncryptionContextEquals"
	constraintSubset  = "EncryptionContextSubset"
)

// constrain returns why a constraint keeps the grant from applying, or "".
func (g *Grant) constrain(req *Request, op string) string {
	switch g.unmetConstraint(req, op) {
	case constraintUnknown:
		return "has a constraint that is not known"
	case constraintSource:
		return "has a SourceArn constraint that aws:SourceArn does not meet"
	case constraintAccount:
		return "was made for another account than aws:SourceAccount"
	case constraintEquals:
		return "has an EncryptionContextEquals constraint that the encryption context does not meet"
	case constraintSubset:
		return "has an EncryptionContextSubset constraint that the encryption context does not meet"
	default:
		return ""
	}
}

// unmetConstraint names the constraint that keeps the grant from applying, or
// returns "".
func (g *Grant) unmetConstraint(req *Request, op string) string {
	c := &g.Constraints
	retire, describe := strings.EqualFold(op, "RetireGrant"), strings.EqualFold(op, "DescribeKey")
	switch {
	case c.Unknown:
		return constraintUnknown
	case !retire && c.SourceARN != "" && req.Context.single("aws:sourcearn") != c.SourceARN:
		return constraintSource
	case g.GranteeIsService && g.Account != "" && req.Context.single("aws:sourceaccount") != g.Account:
		return constraintAccount
	case retire || describe:
		return ""
	case c.EncryptionContextEquals != nil && len(c.EncryptionContextEquals) != len(req.EncryptionContext),
		!contains(req.EncryptionContext, c.EncryptionContextEquals):
		return constraintEquals
	case !contains(req.EncryptionContext, c.EncryptionContextSubset):
		return constraintSubset
	}
	return ""
}

func contains(whole, part map[string]string) bool {
	for k, v := range part {
		if got, ok := whole[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// kmsOperation returns the operation of a KMS action.
func kmsOperation(action string) (string, bool) {
	if len(action) > 4 && strings.EqualFold(action[:4], "kms:") {
		return action[4:], true
	}
	return "", false
}

// matchGrants returns the best of the grants. A request for one grant sees no
// other.
func matchGrants(req *Request, grants []Grant) (strength, *Grant) {
	best, by := notNamed, (*Grant)(nil)
	for i := range grants {
		g := &grants[i]
		if req.GrantID != "" && g.ID != req.GrantID {
			continue
		}
		if s, _ := g.match(req); s > best {
			best, by = s, g
		}
	}
	return best, by
}

// explainGrants says why no grant allowed, or "" if none is near.
func explainGrants(req *Request, grants []Grant) string {
	for i := range grants {
		g := &grants[i]
		if req.GrantID != "" && g.ID != req.GrantID || g.names(&req.Principal) == notNamed {
			continue
		}
		if s, why := g.match(req); s == notNamed {
			return fmt.Sprintf("; grant %q %s", g.ID, why)
		}
	}
	return ""
}
