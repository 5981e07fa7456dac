package lint

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sagekeep/sagekeep/internal/authz"
)

// policy is a document as far as it can be read. What has the wrong shape is
// left out: authz.Parse reports it.
type policy struct {
	version    string
	statements []statement
}

// statement is one statement with the offsets of its parts.
type statement struct {
	index int
	at    int
	sid   string
	deny  bool

	principals   []principal
	principalAt  int
	hasPrincipal bool
	notPrincipal bool

	actions   []entry
	notAction bool
	actionAt  int

	resources   []entry
	hasResource bool
	notResource bool

	conditions []condition

	uses []use // what the entries of actions name, once they are checked
}

// entry is a string of the document.
type entry struct {
	text string
	at   int
}

// principal is one entry of Principal; a bare star has no type.
type principal struct {
	typ string
	entry
}

// condition is one key of one operator.
type condition struct {
	set      string // "ForAllValues", "ForAnyValue" or ""
	name     string // the operator without prefix and suffix
	ifExists bool
	opText   string // as written
	key      string // as written
	keyAt    int
	values   []entry
}

// label is the Sid, or the index.
func (s *statement) label() string {
	if s.sid != "" {
		return s.sid
	}
	return strconv.Itoa(s.index)
}

func readPolicy(root *value) *policy {
	p := &policy{}
	if v := root.get("Version"); v != nil {
		p.version = v.text
	}
	list := root.get("Statement")
	if list == nil {
		return p
	}
	all := list.list
	if list.object {
		all = []value{*list}
	}
	for i := range min(len(all), authz.MaxStatements) {
		p.statements = append(p.statements, readStatement(i, &all[i]))
	}
	return p
}

func readStatement(index int, v *value) statement {
	s := statement{index: index, at: v.at}
	for i := range v.members {
		m := &v.members[i]
		switch m.name {
		case "Sid":
			s.sid = m.value.text
		case "Effect":
			s.deny = m.value.text == "Deny"
		case "Principal", "NotPrincipal":
			s.hasPrincipal, s.notPrincipal, s.principalAt = true, m.name == "NotPrincipal", m.at
			s.principals = readPrincipals(&m.value)
		case "Action", "NotAction":
			s.actions, s.notAction, s.actionAt = entries(&m.value), m.name == "NotAction", m.at
		case "Resource", "NotResource":
			s.resources, s.notResource, s.hasResource = entries(&m.value), m.name == "NotResource", true
		case "Condition":
			s.conditions = readConditions(&m.value)
		}
	}
	return s
}

// entries reads a string or a list of strings.
func entries(v *value) []entry {
	if v.scalar {
		return []entry{{v.text, v.at}}
	}
	var all []entry
	for i := range v.list {
		if v.list[i].scalar {
			all = append(all, entry{v.list[i].text, v.list[i].at})
		}
	}
	return all
}

func readPrincipals(v *value) []principal {
	if v.scalar {
		return []principal{{entry: entry{v.text, v.at}}}
	}
	var all []principal
	for i := range v.members {
		for _, e := range entries(&v.members[i].value) {
			all = append(all, principal{v.members[i].name, e})
		}
	}
	return all
}

func readConditions(v *value) []condition {
	var all []condition
	for i := range v.members {
		op := &v.members[i]
		for j := range op.value.members {
			m := &op.value.members[j]
			c := condition{opText: op.name, key: m.name, keyAt: m.at, values: entries(&m.value)}
			rest := op.name
			for _, set := range []string{"ForAllValues", "ForAnyValue"} {
				if r, ok := strings.CutPrefix(rest, set+":"); ok {
					c.set, rest = set, r
				}
			}
			c.name, c.ifExists = strings.CutSuffix(rest, "IfExists")
			all = append(all, c)
		}
	}
	return all
}

// everybody reports whether the statement names every principal.
func (s *statement) everybody() bool {
	return !s.notPrincipal && slices.ContainsFunc(s.principals, func(p principal) bool { return p.text == "*" && (p.typ == "" || p.typ == "AWS") })
}

// negated reports whether the operator holds when nothing equals the values.
func (c *condition) negated() bool { return strings.Contains(c.name, "Not") }

// needsKey reports whether the condition fails when the key is absent.
func (c *condition) needsKey() bool {
	switch {
	case c.name == "Null":
		return !c.nullAllows(true)
	case c.ifExists || c.set == "ForAllValues":
		return false
	case c.set == "ForAnyValue":
		return true
	default:
		return !c.negated()
	}
}

// nullAllows reports whether a Null condition holds for a key that is absent,
// or present.
func (c *condition) nullAllows(absent bool) bool {
	return slices.ContainsFunc(c.values, func(v entry) bool { return strings.EqualFold(v.text, strconv.FormatBool(absent)) })
}

// is reports whether the condition is about the key.
func (c *condition) is(key string) bool { return strings.EqualFold(c.key, key) }

// requires reports whether another condition of the statement demands that the
// key is there.
func (s *statement) requires(key string) bool {
	return slices.ContainsFunc(s.conditions, func(c condition) bool { return c.is(key) && c.name == "Null" && !c.nullAllows(true) })
}

// GuessKind tells what a document is most likely for: a key policy when it
// names principals and KMS actions alone, a trust policy for those of STS, a
// resource policy for others, else an identity policy.
func GuessKind(doc []byte) authz.Kind {
	if len(doc) > authz.MaxDocument {
		return authz.IdentityPolicy
	}
	root, _, err := readTree(doc)
	if err != nil {
		return authz.IdentityPolicy
	}
	named := false
	services := map[string]bool{}
	for _, s := range readPolicy(root).statements {
		named = named || s.hasPrincipal
		for _, a := range s.actions {
			prefix, _, _ := strings.Cut(strings.ToLower(a.text), ":")
			services[prefix] = true
		}
	}
	switch {
	case !named:
		return authz.IdentityPolicy
	case len(services) == 1 && services["kms"]:
		return authz.KeyPolicy
	case len(services) == 1 && services["sts"]:
		return authz.TrustPolicy
	default:
		return authz.ResourcePolicy
	}
}
