package authz

import (
	"slices"
	"strings"
)

// PrincipalType says who acts.
type PrincipalType int

// The types of principals. The zero type is nobody and is always denied.
const (
	// Root is the root user of an account.
	Root PrincipalType = iota + 1
	// User is an IAM user, with long-term or GetSessionToken credentials.
	User
	// AssumedRole is a session of a role.
	AssumedRole
	// FederatedUser is a session made by GetFederationToken.
	FederatedUser
	// Service is an AWS service acting as itself.
	Service
	// Anonymous is an unsigned request.
	Anonymous
	// Federated is an identity of a web or SAML provider that asks for a role.
	Federated
)

// Principal is who makes a request. Policies are matched against the fields,
// never against names rebuilt from other names: a session's ARN does not hold
// the path of its role.
type Principal struct {
	Type PrincipalType
	// ARN is the principal's own ARN: of the account root, the user, the
	// assumed-role session or the federated-user session. For Federated it is
	// the provider: its ARN, or its name such as "accounts.google.com".
	ARN string
	// Account is the 12-digit account of a Root, User, AssumedRole or
	// FederatedUser.
	Account string
	// RoleARN is the ARN, with path, of an AssumedRole's role.
	RoleARN string
	// UserARN is the ARN of the user behind a FederatedUser session.
	UserARN string
	// UserID is the unique id (AIDA…) of a User, or of the user behind a
	// FederatedUser.
	UserID string
	// RoleID is the unique id (AROA…) of an AssumedRole's role.
	RoleID string
	// Service is the name of a Service, for example
	// "sagemaker-geospatial.us-west-2.amazonaws.com"; ServiceNames are the
	// other names it answers to, as in aws:PrincipalServiceNamesList.
	Service      string
	ServiceNames []string
	// CanonicalUser is the canonical user id of the account (S3 only).
	CanonicalUser string
}

// ofAccount reports whether the principal is an identity of an account.
func (p *Principal) ofAccount() bool {
	return p.Type == Root || p.Type == User || p.Type == AssumedRole || p.Type == FederatedUser
}

// serviceLinked reports whether the principal is a session of a service-linked
// role. IAM reserves that path.
func (p *Principal) serviceLinked() bool {
	if p.Type != AssumedRole {
		return false
	}
	_, path, ok := strings.Cut(p.RoleARN, ":role/")
	return ok && strings.HasPrefix(path, "aws-service-role/")
}

func (p *Principal) isService(name string) bool {
	if p.Type != Service || name == "" {
		return false
	}
	if p.Service == name {
		return true
	}
	return slices.Contains(p.ServiceNames, name)
}

// PrincipalForm is what an entry of Principal names.
type PrincipalForm string

// The forms of principals in a document.
const (
	FormEverybody     PrincipalForm = "everybody"      // *
	FormAccount       PrincipalForm = "account"        // 111122223333, arn:aws:iam::111122223333:root
	FormUser          PrincipalForm = "user"           // arn:aws:iam::111122223333:user/…
	FormRole          PrincipalForm = "role"           // arn:aws:iam::111122223333:role/…
	FormSession       PrincipalForm = "session"        // arn:aws:sts::111122223333:assumed-role/ROLE/SESSION
	FormFederatedUser PrincipalForm = "federated-user" // arn:aws:sts::111122223333:federated-user/NAME
	FormUserID        PrincipalForm = "user-id"        // AIDA…
	FormRoleID        PrincipalForm = "role-id"        // AROA…
	FormService       PrincipalForm = "service"        // kms.amazonaws.com
	FormFederated     PrincipalForm = "federated"      // a web or SAML identity provider
	FormCanonicalUser PrincipalForm = "canonical-user" // S3 canonical user id
	FormOriginAccess  PrincipalForm = "origin-access"  // arn:aws:iam::cloudfront:user/…
)

// PrincipalRef is one entry of Principal or NotPrincipal, for services that
// check on saving that principals exist, and that resolve them to unique ids.
type PrincipalRef struct {
	Statement int           // from 0
	Type      string        // "AWS", "Service", "Federated", "CanonicalUser"; "*" for a bare star
	Value     string        // as written
	Form      PrincipalForm // what Value names
	Account   string        // of the forms that have one
	Not       bool          // from NotPrincipal
}

// Principals lists every entry in document order.
func (p *Policy) Principals() []PrincipalRef {
	var refs []PrincipalRef
	for i := range p.statements {
		s := &p.statements[i]
		for _, e := range s.principals {
			typ := e.typ
			if typ == "" {
				typ = "*"
			}
			refs = append(refs, PrincipalRef{Statement: i, Type: typ, Value: e.text, Form: e.form, Account: e.account, Not: s.notPrincipal})
		}
	}
	return refs
}

// Bind ties principals named by ARN to unique ids, as AWS does when it saves a
// policy: a bound user or role matches only with that id, so one that was
// deleted and made again under the same name does not. A session is bound to
// the id of its role. ARNs not in ids stay as they are. It returns p. Call it
// before p is shared.
// Source: IAM User Guide, "Principal", on users and roles.
func (p *Policy) Bind(ids map[string]string) *Policy {
	for i := range p.statements {
		entries := p.statements[i].principals
		for j := range entries {
			switch entries[j].form {
			case FormUser, FormRole, FormSession:
				if id := ids[entries[j].text]; id != "" {
					entries[j].id = id
				}
			}
		}
	}
	return p
}

// principalEntry is a compiled entry.
type principalEntry struct {
	typ     string // "" for a bare star
	text    string
	form    PrincipalForm
	account string
	id      string // unique id bound to an ARN
}

// parsePrincipalEntry reads one value of a Principal map; ok is false when it
// names nobody.
func parsePrincipalEntry(typ, v string) (principalEntry, bool) {
	e := principalEntry{typ: typ, text: v}
	switch typ {
	case "Service":
		e.form = FormService
		return e, plainName(v) && strings.Contains(v, ".")
	case "Federated":
		e.form = FormFederated
		return e, plainName(v)
	case "CanonicalUser":
		e.form = FormCanonicalUser
		return e, plainName(v)
	case "AWS":
		return parseAWSPrincipal(e)
	}
	return e, false
}

func plainName(v string) bool { return v != "" && !strings.ContainsAny(v, "*?") }

func parseAWSPrincipal(e principalEntry) (principalEntry, bool) {
	v := e.text
	switch {
	case v == "*":
		e.form = FormEverybody
		return e, true
	case len(v) == 12 && digits(v):
		e.form, e.account = FormAccount, v
		return e, true
	case isUniqueID(v, "AIDA"):
		e.form = FormUserID
		return e, true
	case isUniqueID(v, "AROA"):
		e.form = FormRoleID
		return e, true
	}
	a, ok := splitARN(v)
	if !ok || !plainName(v) || a.region != "" || a.partition == "" {
		return e, false
	}
	name, rest, _ := strings.Cut(a.resource, "/")
	if a.service == "iam" && a.account == "cloudfront" && name == "user" && rest != "" {
		e.form = FormOriginAccess
		return e, true
	}
	if a.account == "" || len(a.account) > 12 || !digits(a.account) {
		return e, false
	}
	e.account = a.account
	switch {
	case a.service == "iam" && a.resource == "root":
		e.form = FormAccount
		return e, true
	case a.service == "iam" && name == "user":
		e.form = FormUser
	case a.service == "iam" && name == "role":
		e.form = FormRole
	case a.service == "sts" && name == "federated-user":
		e.form = FormFederatedUser
	case a.service == "sts" && name == "assumed-role":
		role, session, _ := strings.Cut(rest, "/")
		e.form = FormSession
		return e, role != "" && session != "" && !strings.Contains(session, "/")
	default:
		return e, false
	}
	return e, rest != "" && !strings.HasSuffix(rest, "/")
}

func isUniqueID(v, prefix string) bool {
	if len(v) < 16 || len(v) > 128 || !strings.HasPrefix(v, prefix) {
		return false
	}
	for i := range len(v) {
		if c := v[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// arn is an ARN in its six components.
type arn struct{ partition, service, region, account, resource string }

func splitARN(s string) (arn, bool) {
	rest, ok := strings.CutPrefix(s, "arn:")
	if !ok {
		return arn{}, false
	}
	var a arn
	for _, part := range []*string{&a.partition, &a.service, &a.region, &a.account} {
		if *part, rest, ok = strings.Cut(rest, ":"); !ok {
			return arn{}, false
		}
	}
	a.resource = rest
	return a, true
}

// strength is how directly a statement or grant names a principal, which is
// how much of the principal's own side an Allow makes superfluous.
// Source: IAM User Guide, "Policy evaluation logic", on how resource-based
// policies affect implicit denies.
type strength uint8

const (
	notNamed     strength = iota
	byAccount             // delegates to identity policies
	byRole                // identity policies are not needed; boundary and session policies are
	byOwnName             // nothing else is needed
	fullStrength = byOwnName
)

// names returns how an entry names a principal. When the entry is bound to a
// unique id and the principal's is unknown, the answer is unknownID.
func (e *principalEntry) names(p *Principal, unknownID bool) strength {
	switch e.form {
	case FormEverybody:
		return fullStrength
	case FormAccount:
		if p.ofAccount() && p.Account == e.account && e.account != "" {
			return byAccount
		}
	case FormUser:
		if !e.bound(p.UserID, unknownID) {
			return notNamed
		}
		// A bound entry follows its user through a change of name.
		same := e.id != "" && p.UserID != ""
		if p.Type == User && (same || p.ARN == e.text) {
			return byOwnName
		}
		if p.Type == FederatedUser && (same || p.UserARN == e.text) {
			return byRole
		}
	case FormUserID:
		if p.Type == User && p.UserID == e.text {
			return byOwnName
		}
		if p.Type == FederatedUser && p.UserID == e.text {
			return byRole
		}
	case FormRole:
		if p.Type == AssumedRole && p.RoleARN == e.text && e.bound(p.RoleID, unknownID) {
			return byRole
		}
	case FormRoleID:
		if p.Type == AssumedRole && p.RoleID == e.text {
			return byRole
		}
	case FormSession:
		if p.Type == AssumedRole && p.ARN == e.text && e.bound(p.RoleID, unknownID) {
			return byOwnName
		}
	case FormFederatedUser:
		if p.Type == FederatedUser && p.ARN == e.text {
			return byOwnName
		}
	case FormService:
		if p.isService(e.text) {
			return byOwnName
		}
	case FormFederated:
		if p.Type == Federated && p.ARN == e.text {
			return byOwnName
		}
	case FormCanonicalUser:
		if p.ofAccount() && p.CanonicalUser == e.text {
			return byAccount
		}
	}
	return notNamed
}

func (e *principalEntry) bound(id string, unknownID bool) bool {
	switch {
	case e.id == "":
		return true
	case id == "":
		return unknownID
	default:
		return e.id == id
	}
}

// names returns how the statement names a principal. bounded says that the
// principal has a permissions boundary.
func (s *statement) names(p *Principal, bounded bool) strength {
	if s.notPrincipal {
		return s.namesByException(p, bounded)
	}
	best := notNamed
	for i := range s.principals {
		best = max(best, s.principals[i].names(p, s.deny))
	}
	return best
}

// namesByException evaluates NotPrincipal. An Allow reaches everybody whom no
// entry names in any way. A Deny spares only whom an entry names, or whose
// role it names, and for identities of an account only when an entry for the
// account stands beside it; that entry alone spares only the root user. With a
// permissions boundary it spares no user or role.
// Source: IAM User Guide, "NotPrincipal", "Permissions boundaries".
func (s *statement) namesByException(p *Principal, bounded bool) strength {
	if s.deny && bounded && (p.Type == User || p.Type == AssumedRole || p.Type == FederatedUser) {
		return fullStrength
	}
	account, own := false, false
	for i := range s.principals {
		e := &s.principals[i]
		switch e.names(p, !s.deny) {
		case notNamed:
		case byAccount:
			account = true
		default:
			if e.form == FormEverybody {
				return notNamed
			}
			own = true
		}
	}
	spared := account || own
	if s.deny && p.ofAccount() {
		spared = account && (own || p.Type == Root)
	}
	if spared {
		return notNamed
	}
	return fullStrength
}
