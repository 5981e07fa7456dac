package authz

import (
	"strconv"
	"unicode/utf8"
)

// Kind says what a document is for, which decides its grammar.
type Kind int

// The kinds of policy documents.
const (
	// IdentityPolicy is attached to a user, group or role.
	IdentityPolicy Kind = iota + 1
	// ResourcePolicy is attached to a resource, for example a bucket.
	ResourcePolicy
	// KeyPolicy is the policy of a KMS key. A statement without Resource is
	// accepted and has no effect (AWS KMS Developer Guide, "Key policies").
	KeyPolicy
	// TrustPolicy is the trust policy of a role.
	TrustPolicy
	// BoundaryPolicy is a permissions boundary.
	BoundaryPolicy
	// SessionPolicy is passed when a session is made.
	SessionPolicy
	// SCP is a service control policy.
	SCP
	// RCP is a resource control policy.
	RCP
)

// String returns the name used in messages, for example "key policy".
func (k Kind) String() string {
	switch k {
	case IdentityPolicy:
		return "identity policy"
	case ResourcePolicy:
		return "resource policy"
	case KeyPolicy:
		return "key policy"
	case TrustPolicy:
		return "trust policy"
	case BoundaryPolicy:
		return "permissions boundary"
	case SessionPolicy:
		return "session policy"
	case SCP:
		return "service control policy"
	case RCP:
		return "resource control policy"
	default:
		return "kind " + strconv.Itoa(int(k))
	}
}

// namesPrincipals reports whether statements of this kind carry Principal.
func (k Kind) namesPrincipals() bool {
	return k == ResourcePolicy || k == KeyPolicy || k == TrustPolicy || k == RCP
}

// ofIAM reports whether IAM itself stores the document and checks its text.
func (k Kind) ofIAM() bool {
	return k == IdentityPolicy || k == TrustPolicy || k == BoundaryPolicy || k == SessionPolicy
}

// Versions of the policy language.
const (
	Version2008 = "2008-10-17"
	Version2012 = "2012-10-17"
)

// Limits of the parser. They keep foreign bytes from costing much; what a
// service allows is smaller and the service's to check.
const (
	// MaxDocument is the longest document in bytes.
	MaxDocument = 1 << 20
	// MaxStatements is the most statements in one document.
	MaxStatements = 1000
)

// Policy is a compiled policy document. It is immutable, but for Name and
// [Policy.Bind] before it is shared, and safe for concurrent use.
type Policy struct {
	// Name is set by the caller and comes back in [Decision.Policy].
	Name string

	kind       Kind
	id         string
	hasID      bool
	version    string // "" when absent
	statements []statement
	unreadable bool
}

// Unreadable stands for a document that exists but cannot be read. In whatever
// layer it takes part it denies everything (invariant I5).
func Unreadable(name string) *Policy { return &Policy{Name: name, unreadable: true} }

// Kind returns the kind the document was parsed as; zero for [Unreadable].
func (p *Policy) Kind() Kind { return p.kind }

// ID returns the Id element, or "".
func (p *Policy) ID() string { return p.id }

// Version returns the Version element, or "" when the document has none, which
// means 2008-10-17: no policy variables.
func (p *Policy) Version() string { return p.version }

// Len returns the number of statements.
func (p *Policy) Len() int { return len(p.statements) }

// ConditionUse is one condition of a document, for services that check keys
// and operators against what an action offers.
type ConditionUse struct {
	Statement int    // from 0
	Deny      bool   // the statement's effect
	Operator  string // as written, for example "ForAllValues:StringLike"
	Key       string // as written
	Set       string // "ForAllValues", "ForAnyValue" or ""
}

// Conditions lists every condition in document order.
func (p *Policy) Conditions() []ConditionUse {
	var uses []ConditionUse
	for i := range p.statements {
		s := &p.statements[i]
		for j := range s.conditions {
			c := &s.conditions[j]
			uses = append(uses, ConditionUse{Statement: i, Deny: s.deny, Operator: c.opText, Key: c.keyText, Set: c.set.String()})
		}
	}
	return uses
}

// Action is one entry of Action or NotAction.
type Action struct {
	Statement int    // from 0
	Deny      bool   // the statement's effect
	Pattern   string // as written
	Not       bool   // from NotAction
}

// Actions lists the entries of Action and NotAction in document order.
func (p *Policy) Actions() []Action {
	var all []Action
	for i := range p.statements {
		s := &p.statements[i]
		for _, a := range s.actionText {
			all = append(all, Action{Statement: i, Deny: s.deny, Pattern: a, Not: s.notAction})
		}
	}
	return all
}

// Resource is one entry of Resource or NotResource.
type Resource struct {
	Statement int    // from 0
	Pattern   string // as written
	Not       bool   // from NotResource
}

// Resources lists the entries of Resource and NotResource in document order.
func (p *Policy) Resources() []Resource {
	var all []Resource
	for i := range p.statements {
		s := &p.statements[i]
		for _, r := range s.resourceText {
			all = append(all, Resource{Statement: i, Pattern: r, Not: s.notResource})
		}
	}
	return all
}

// SizeWithoutWhitespace counts the characters of a document without the white
// space between its tokens, which is how IAM measures its quotas.
// Source: IAM User Guide, "IAM and AWS STS quotas".
func SizeWithoutWhitespace(doc []byte) int {
	n, quoted := 0, false
	for i := 0; i < len(doc); {
		c := doc[i]
		_, width := utf8.DecodeRune(doc[i:])
		i += width
		switch {
		case quoted && c == '\\' && i < len(doc):
			_, width = utf8.DecodeRune(doc[i:])
			i += width
			n += 2
			continue
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			continue
		}
		n++
	}
	return n
}
