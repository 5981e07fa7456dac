package authz

import (
	"fmt"
	"slices"
	"strings"
)

// grammar is how strictly a document is read, and what was found in it so far.
type grammar struct {
	kind Kind
	// saving applies the checks that AWS makes when a document is saved and
	// that do not bear on what the document means.
	saving bool
	// anyOperator keeps conditions with operators nobody knows; they fail
	// closed when evaluated.
	anyOperator bool

	index int // of the statement
	worst *MalformedError
}

// Parse reads and compiles a document that is about to be saved or passed. The
// error is a [*MalformedError]. Names of elements, effects and operators are
// case-sensitive; names that occur twice, unknown elements and unknown
// operators are errors; JSON numbers and Booleans as condition values count as
// their text. The kind decides which elements are required or forbidden.
//
// Sources: IAM User Guide, "Grammar of the IAM JSON policy language"; AWS KMS
// Developer Guide, "Key policies"; AWS Organizations User Guide, "SCP syntax",
// "RCP syntax".
func Parse(kind Kind, doc []byte) (*Policy, error) {
	g := grammar{kind: kind, saving: true}
	return g.parse(doc)
}

// ParseStored reads a document that was saved before, perhaps under older
// rules: an operator that is not known does not make it unreadable, but its
// condition fails closed, so that an Allow with it does not match and a Deny
// does. Use [Unreadable] in place of a document for which it returns an error.
func ParseStored(kind Kind, doc []byte) (*Policy, error) {
	g := grammar{kind: kind, anyOperator: true}
	return g.parse(doc)
}

func (g *grammar) parse(doc []byte) (*Policy, error) {
	if g.kind < IdentityPolicy || g.kind > RCP {
		return nil, fmt.Errorf("authz: parse a policy of no known kind (%s)", g.kind)
	}
	if len(doc) > MaxDocument {
		return nil, g.malformed(faultSyntax, fmt.Sprintf("longer than %d bytes", MaxDocument))
	}
	if err := checkJSON(doc); err != nil {
		if len(doc) == 0 || doc[0] != '{' {
			return nil, g.malformed(faultFirstByte, err.Error())
		}
		return nil, g.malformed(faultJSON, err.Error())
	}
	return g.policy(string(doc))
}

// policy compiles a document that checkJSON has passed. The policy shares its
// memory.
func (g *grammar) policy(doc string) (*Policy, error) {
	root := newScanner(doc).value()
	if root.kind != nodeObject {
		return nil, g.malformed(faultFirstByte, "a policy is an object")
	}
	if root.repeats {
		return nil, g.malformed(faultSyntax, fmt.Sprintf("element %q occurs twice", root.text))
	}
	p := &Policy{kind: g.kind}
	var statements *node
	for m := range root.children() {
		switch m.name {
		case "Version":
			if m.kind != nodeString || m.text != Version2008 && m.text != Version2012 {
				return nil, g.malformed(faultVersion, "Version is neither 2012-10-17 nor 2008-10-17")
			}
			p.version = m.text
		case "Id":
			if m.kind != nodeString {
				return nil, g.malformed(faultSyntax, "Id is no string")
			}
			if g.saving && !g.kind.namesPrincipals() {
				g.note(faultProhibited, "", "Id")
			}
			p.id, p.hasID = m.text, true
		case "Statement":
			statements = m
		default:
			return nil, g.malformed(faultUnknownElement, fmt.Sprintf("unknown element %q", m.name), m.name)
		}
	}
	if err := g.statements(p, statements, doc); err != nil {
		return nil, err
	}
	if g.worst != nil {
		return nil, g.worst
	}
	return p, nil
}

func (g *grammar) statements(p *Policy, n *node, doc string) error {
	switch {
	case n == nil:
		return g.malformed(faultNoStatement, "no Statement")
	case n.kind != nodeObject && n.kind != nodeArray:
		return g.malformed(faultSyntax, "Statement is neither an object nor a list")
	}
	count := 1
	if n.kind == nodeArray {
		count = int(n.len)
	}
	if count == 0 && g.saving {
		return g.malformed(faultEmptyStatement, "no statement")
	}
	if count > MaxStatements {
		return g.malformed(faultSyntax, fmt.Sprintf("more than %d statements", MaxStatements))
	}
	p.statements = make([]statement, 0, count)
	var sids nameSet
	place := place{doc: doc, line: 1, column: 1}
	for n := range n.list() {
		g.index = len(p.statements)
		s, err := g.statement(n, p.version == Version2012)
		if err != nil {
			if err.Detail != "" {
				err.Detail = fmt.Sprintf("statement %d: %s", g.index, err.Detail)
			}
			return err
		}
		s.index = g.index
		s.start, s.end = place.to(int(n.start)), place.to(int(n.end))
		if s.sid != "" && sids.add(s.sid) {
			g.note(faultSidUnique, fmt.Sprintf("%q", s.sid))
		}
		p.statements = append(p.statements, s)
	}
	return nil
}

// statement compiles one statement. The error ends the reading; what else is
// wrong is noted.
func (g *grammar) statement(n *node, vars bool) (statement, *MalformedError) {
	var s statement
	if n.kind != nodeObject {
		return s, g.malformed(faultSyntax, "not an object")
	}
	if n.repeats {
		return s, g.malformed(faultSyntax, fmt.Sprintf("element %q occurs twice", n.text))
	}
	effect := false
	for m := range n.children() {
		var err *MalformedError
		switch m.name {
		case "Sid":
			err = g.sid(&s, m)
		case "Effect":
			effect = true
			err = g.effect(&s, m)
		case "Principal", "NotPrincipal":
			err = g.principals(&s, m)
		case "Action", "NotAction":
			err = g.actions(&s, m)
		case "Resource", "NotResource":
			err = g.resources(&s, m, vars)
		case "Condition":
			s.hasCondition = true
			err = g.conditions(&s, m, vars)
		default:
			err = g.malformed(faultUnknownElement, fmt.Sprintf("unknown element %q", m.name), m.name)
		}
		if err != nil {
			return s, err
		}
	}
	if !effect {
		return s, g.malformed(faultNoEffect, "no Effect")
	}
	g.complete(&s, n)
	return s, nil
}

// complete checks that the elements that the kind requires are there, and that
// they go together.
func (g *grammar) complete(s *statement, n *node) {
	if n.get("Action") == nil && n.get("NotAction") == nil {
		g.note(faultNoActions, "")
	}
	if g.kind.namesPrincipals() && n.get("Principal") == nil && n.get("NotPrincipal") == nil {
		if g.kind != RCP || g.saving {
			g.note(faultNoPrincipal, "")
		}
		// A resource control policy can name nobody but everybody.
		s.principals = []principalEntry{{text: "*", form: FormEverybody}}
	}
	if n.get("Resource") == nil && n.get("NotResource") == nil {
		switch g.kind {
		case TrustPolicy:
			s.anyResource = true
		case KeyPolicy:
			s.noResource = true
		default:
			g.note(faultNoResources, "")
		}
	}
	if !g.saving {
		return
	}
	switch {
	case g.kind == RCP && s.notAction:
		g.note(faultControl, "", "A resource control policy cannot have NotAction.")
	case g.kind == RCP && !s.deny && !fullAccess(s):
		g.note(faultControl, "", "Only the policy RCPFullAWSAccess can have an Allow.")
	case g.kind == RCP && s.deny && slices.ContainsFunc(s.actionText, func(a string) bool { return strings.HasPrefix(a, "*") }):
		g.note(faultControl, "", "Actions of a resource control policy must have the prefix of a service.")
	case g.kind == ResourcePolicy && !appliesToS3(s):
		g.note(faultScope, "")
	}
}

// fullAccess reports whether the statement is that of RCPFullAWSAccess.
func fullAccess(s *statement) bool {
	return !s.notAction && !s.notResource && len(s.conditions) == 0 &&
		len(s.actionText) == 1 && s.actionText[0] == "*" && len(s.resourceText) == 1 && s.resourceText[0] == "*"
}

func (g *grammar) effect(s *statement, n *node) *MalformedError {
	switch {
	case n.kind == nodeString && (n.text == "Allow" || n.text == "Deny"):
		s.deny = n.text == "Deny"
	case n.kind == nodeString && g.kind.ofIAM() && (strings.EqualFold(n.text, "Allow") || strings.EqualFold(n.text, "Deny")):
		g.note(faultLegacy, fmt.Sprintf("Effect %q", n.text))
	default:
		return g.malformed(faultEffect, "Effect is neither Allow nor Deny", n.text)
	}
	return nil
}

func (g *grammar) sid(s *statement, n *node) *MalformedError {
	if n.kind != nodeString {
		return g.malformed(faultSyntax, "Sid is no string")
	}
	if g.saving && g.kind.ofIAM() && !alphanumeric(n.text) {
		g.note(faultSidText, fmt.Sprintf("%q", n.text))
	}
	s.sid, s.hasSid = n.text, true
	return nil
}

func alphanumeric(v string) bool {
	for i := range len(v) {
		c := v[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// stringsOf reads a string or a list of strings; the error says what else it is.
func stringsOf(n *node) ([]string, error) {
	switch n.kind {
	case nodeString:
		return []string{n.text}, nil
	case nodeArray:
		list := make([]string, 0, n.len)
		for e := range n.children() {
			if e.kind != nodeString {
				return nil, fmt.Errorf("%s holds something that is no string", n.name)
			}
			list = append(list, e.text)
		}
		return list, nil
	default:
		return nil, fmt.Errorf("%s is neither a string nor a list of strings", n.name)
	}
}

func (g *grammar) actions(s *statement, n *node) *MalformedError {
	if s.actionText != nil {
		return g.malformed(faultSyntax, "both Action and NotAction")
	}
	list, err := stringsOf(n)
	if err != nil {
		return g.malformed(faultSyntax, err.Error())
	}
	if len(list) == 0 {
		g.note(faultNoActions, n.name+" is empty")
	}
	s.notAction, s.actionText = n.name == "NotAction", list
	s.actions = make([]glob, len(list))
	for i, a := range list {
		g.action(n.name, a)
		t, err := compileText(lowerASCII(a), false, wildPlain)
		if err != nil {
			return g.malformed(faultSyntax, fmt.Sprintf("%s %q: %v", n.name, a, err))
		}
		s.actions[i] = t.glob
	}
	return nil
}

// action notes what is wrong with an entry of Action or NotAction.
func (g *grammar) action(name, a string) {
	vendor, rest, colon := strings.Cut(a, ":")
	detail := func() string { return fmt.Sprintf("%s %q", name, a) }
	switch {
	case a == "*":
	case !colon || vendor == "" || rest == "":
		g.note(faultVendor, detail())
	case strings.Contains(rest, ":"):
		g.note(faultOneColon, detail())
	case vendor != "*" && !vendorName(vendor):
		g.note(faultVendorName, "", vendor)
	}
	if g.kind == TrustPolicy && lowerASCII(vendor) != "sts" {
		g.note(faultTrustAction, detail())
	}
}

func vendorName(v string) bool {
	for i := range len(v) {
		if c := v[i]; c != '-' && c != '.' && !alphanumeric(v[i:i+1]) {
			return false
		}
	}
	return true
}

func (g *grammar) principals(s *statement, n *node) *MalformedError {
	if !g.kind.namesPrincipals() || g.kind == RCP && n.name == "NotPrincipal" {
		g.note(faultProhibited, "", n.name)
		return nil
	}
	if s.principals != nil {
		return g.malformed(faultSyntax, "both Principal and NotPrincipal")
	}
	s.notPrincipal = n.name == "NotPrincipal"
	everybody := []principalEntry{{text: "*", form: FormEverybody}}
	if n.kind == nodeString {
		if n.text != "*" {
			g.note(faultPrincipal, g.principalDetail("AWS", n.text), "AWS", n.text)
		}
		s.principals = everybody
		return nil
	}
	if n.kind != nodeObject {
		return g.malformed(faultSyntax, n.name+" is neither \"*\" nor an object")
	}
	if n.repeats {
		return g.malformed(faultSyntax, fmt.Sprintf("%s has %q twice", n.name, n.text))
	}
	for m := range n.children() {
		list, err := stringsOf(m)
		if err != nil {
			return g.malformed(faultSyntax, n.name+": "+err.Error())
		}
		if len(list) == 0 {
			g.note(faultEmptyPrincipal, fmt.Sprintf("%s %q is empty", n.name, m.name))
		}
		for _, v := range list {
			e, ok := parsePrincipalEntry(m.name, v)
			if !ok || g.kind == RCP && e.form != FormEverybody {
				g.note(faultPrincipal, g.principalDetail(m.name, v), m.name, v)
			}
			s.principals = append(s.principals, e)
		}
	}
	if s.principals == nil {
		g.note(faultEmptyPrincipal, n.name+" is empty")
		s.principals = everybody
	}
	return nil
}

// principalDetail is the detail of a principal that AWS's message does not
// quote.
func (g *grammar) principalDetail(typ, v string) string {
	if strings.Contains(faultPrincipal.text(g.kind), "%s") {
		return ""
	}
	return fmt.Sprintf("%q:%q", typ, v)
}

func (g *grammar) resources(s *statement, n *node, vars bool) *MalformedError {
	if g.kind == TrustPolicy {
		g.note(faultProhibited, "", n.name)
		return nil
	}
	if s.resourceText != nil {
		return g.malformed(faultSyntax, "both Resource and NotResource")
	}
	list, err := stringsOf(n)
	if err != nil {
		return g.malformed(faultSyntax, err.Error())
	}
	if len(list) == 0 {
		g.note(faultNoResources, n.name+" is empty")
	}
	s.notResource, s.resourceText = n.name == "NotResource", list
	for _, r := range list {
		g.resource(r)
		for _, full := range g.completions(r) {
			t, err := compileText(full, vars, wildResource)
			if err != nil {
				g.note(faultLegacy, fmt.Sprintf("%s %q: %v", n.name, r, err))
			}
			s.resources = append(s.resources, t)
		}
	}
	return nil
}

// resource notes what is wrong with an entry of Resource or NotResource.
func (g *grammar) resource(r string) {
	if r == "*" {
		return
	}
	scheme, rest, colon := strings.Cut(r, ":")
	strict := g.saving && g.kind.ofIAM()
	if !colon || scheme != "arn" && !strict {
		g.note(faultResource, "", r)
		return
	}
	if !strict {
		return
	}
	parts := strings.SplitN(rest, ":", 5)
	partition, wild := parts[0], func(v string) bool { return strings.ContainsAny(v, "*?") }
	switch {
	case !wild(partition) && partition != "aws" && !strings.HasPrefix(partition, "aws-"):
		g.note(faultPartition, "", partition, "arn:"+rest+strings.Repeat(":*", 5-len(parts)))
		return
	case scheme != "arn":
		g.note(faultResource, "", r)
		return
	case len(parts) < 2 || wild(parts[1]):
		g.note(faultResVendor, fmt.Sprintf("%q", r))
		return
	case parts[1] == "":
		g.note(faultLegacy, fmt.Sprintf("%q", r))
		return
	case parts[1] == "s3" && len(parts) == 4 && !wild(parts[3]):
		g.note(faultLegacy, fmt.Sprintf("%q", r))
		return
	case len(parts) < 5:
		return
	}
	region, path := parts[2], parts[4]
	switch parts[1] {
	case "s3":
		if region != "" && !wild(region) && parts[3] == "" {
			g.note(faultRegion, "", r)
		}
	case "iam":
		if region != "" && !wild(region) {
			g.note(faultRegionIAM, "", r)
		} else if head, _, slash := strings.Cut(path, "/"); !wild(head) && path != "root" && (!slash || !strings.Contains(", "+iamPaths+",", ", "+head+"/,")) {
			g.note(faultPathIAM, fmt.Sprintf("%q", r))
		}
	}
}

// completions returns the patterns that a resource stands for. In policies
// without principals an ARN of fewer than six segments is completed with `*`;
// one whose last character is `*` reaches beyond it anyway.
// Source: IAM User Guide, "Resource", on incomplete ARNs.
func (g *grammar) completions(r string) []string {
	if r == "*" || g.kind.namesPrincipals() {
		return []string{r}
	}
	missing := 5 - strings.Count(r, ":")
	if missing <= 0 || strings.HasSuffix(r, "*") {
		return []string{r}
	}
	return []string{r, r + strings.Repeat(":*", missing)}
}
