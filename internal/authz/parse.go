package authz

import (
	"fmt"
	"strings"
)

// MalformedError says why a document is no policy. Message is the text AWS
// gives; Detail says where and what, and holds text of the document. The
// service chooses the code: MalformedPolicyDocument (IAM),
// MalformedPolicyDocumentException (KMS), MalformedPolicy (S3).
type MalformedError struct {
	Message string
	Detail  string
}

// Error returns the message with the detail.
func (e *MalformedError) Error() string {
	if e.Detail == "" {
		return e.Message
	}
	return strings.TrimSuffix(e.Message, ".") + ": " + e.Detail
}

// Texts that AWS gives for malformed documents.
const (
	msgSyntax       = "Syntax errors in policy."
	msgLegacy       = "The policy failed legacy parsing"
	msgSidUnique    = "Statement IDs (SID) in a single policy must be unique."
	msgSidText      = "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"
	msgNoActions    = "Policy statement must contain actions."
	msgNoResources  = "Policy statement must contain resources."
	msgNoPrincipal  = "Policy statement must contain principals."
	msgVendor       = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
	msgOneColon     = "Actions/Condition can contain only one colon."
	msgResource     = `Resource %s must be in ARN format or "*".`
	msgPartition    = `Partition %q is not valid for resource %q.`
	msgResVendor    = "Resource vendor must be fully qualified and cannot contain regexes."
	msgProhibited   = "Has prohibited field %s"
	msgTrustActions = "AssumeRole policy may only specify STS AssumeRole actions."
	msgPrincipalIAM = `Invalid principal in policy: %q:%q`
	msgPrincipalKMS = "Policy contains a statement with one or more invalid principals."
	msgPrincipalS3  = "Invalid principal in policy"
)

// grammar is how strictly a document is read.
type grammar struct {
	kind Kind
	// saving applies the checks that AWS makes when a document is saved and
	// that do not bear on what the document means.
	saving bool
	// anyOperator keeps conditions with operators nobody knows; they fail
	// closed when evaluated.
	anyOperator bool
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
	return grammar{kind: kind, saving: true}.parse(doc)
}

// ParseStored reads a document that was saved before, perhaps under older
// rules: an operator that is not known does not make it unreadable, but its
// condition fails closed, so that an Allow with it does not match and a Deny
// does. Use [Unreadable] in place of a document for which it returns an error.
func ParseStored(kind Kind, doc []byte) (*Policy, error) {
	return grammar{kind: kind, anyOperator: true}.parse(doc)
}

func (g grammar) parse(doc []byte) (*Policy, error) {
	if g.kind < IdentityPolicy || g.kind > RCP {
		return nil, fmt.Errorf("authz: parse a policy of no known kind (%s)", g.kind)
	}
	if len(doc) > MaxDocument {
		return nil, malformed(msgSyntax, "longer than %d bytes", MaxDocument)
	}
	if err := checkJSON(doc); err != nil {
		return nil, &MalformedError{Message: msgSyntax, Detail: err.Error()}
	}
	return g.policy(string(doc))
}

func malformed(message, detail string, args ...any) *MalformedError {
	return &MalformedError{Message: message, Detail: fmt.Sprintf(detail, args...)}
}

// policy compiles a document that checkJSON has passed. The policy shares its
// memory.
func (g grammar) policy(doc string) (*Policy, error) {
	root := newScanner(doc).value()
	if root.kind != nodeObject {
		return nil, malformed(msgSyntax, "a policy is an object")
	}
	if root.repeats {
		return nil, malformed(msgSyntax, "element %q occurs twice", root.text)
	}
	p := &Policy{kind: g.kind}
	var statements *node
	for m := range root.children() {
		switch m.name {
		case "Version":
			if m.kind != nodeString || m.text != Version2008 && m.text != Version2012 {
				return nil, malformed(msgSyntax, "Version is neither 2012-10-17 nor 2008-10-17")
			}
			p.version = m.text
		case "Id":
			if m.kind != nodeString {
				return nil, malformed(msgSyntax, "Id is no string")
			}
			if g.saving && !g.kind.namesPrincipals() {
				return nil, malformed(fmt.Sprintf(msgProhibited, "Id"), "")
			}
			p.id, p.hasID = m.text, true
		case "Statement":
			statements = m
		default:
			return nil, malformed(msgSyntax, "unknown element %q", m.name)
		}
	}
	if err := g.statements(p, statements, doc); err != nil {
		return nil, err
	}
	return p, nil
}

func (g grammar) statements(p *Policy, n *node, doc string) error {
	switch {
	case n == nil:
		return malformed(msgSyntax, "no Statement")
	case n.kind != nodeObject && n.kind != nodeArray:
		return malformed(msgSyntax, "Statement is neither an object nor a list")
	}
	count := 1
	if n.kind == nodeArray {
		count = int(n.len)
	}
	if count == 0 && g.saving {
		return malformed(msgSyntax, "no statement")
	}
	if count > MaxStatements {
		return malformed(msgSyntax, "more than %d statements", MaxStatements)
	}
	p.statements = make([]statement, 0, count)
	var sids nameSet
	place := place{doc: doc, line: 1, column: 1}
	for n := range n.list() {
		i := len(p.statements)
		s, err := g.statement(n, p.version == Version2012)
		if err != nil {
			if err.Detail != "" {
				err.Detail = fmt.Sprintf("statement %d: %s", i, err.Detail)
			}
			return err
		}
		s.index = i
		s.start, s.end = place.to(int(n.start)), place.to(int(n.end))
		if s.sid != "" {
			if sids.add(s.sid) {
				return malformed(msgSidUnique, "%q", s.sid)
			}
		}
		p.statements = append(p.statements, s)
	}
	return nil
}

func (g grammar) statement(n *node, vars bool) (statement, *MalformedError) {
	var s statement
	if n.kind != nodeObject {
		return s, malformed(msgSyntax, "not an object")
	}
	if n.repeats {
		return s, malformed(msgSyntax, "element %q occurs twice", n.text)
	}
	effect := false
	for m := range n.children() {
		var err *MalformedError
		switch m.name {
		case "Sid":
			err = g.sid(&s, m)
		case "Effect":
			effect = true
			if m.kind != nodeString || m.text != "Allow" && m.text != "Deny" {
				err = malformed(msgSyntax, "Effect is neither Allow nor Deny")
			}
			s.deny = m.text == "Deny"
		case "Principal", "NotPrincipal":
			err = g.principals(&s, m.name, m)
		case "Action", "NotAction":
			err = g.actions(&s, m.name, m)
		case "Resource", "NotResource":
			err = g.resources(&s, m.name, m, vars)
		case "Condition":
			s.hasCondition = true
			err = g.conditions(&s, m, vars)
		default:
			err = malformed(msgSyntax, "unknown element %q", m.name)
		}
		if err != nil {
			return s, err
		}
	}
	if !effect {
		return s, malformed(msgSyntax, "no Effect")
	}
	return s, g.complete(&s)
}

// complete checks that the elements that the kind requires are there.
func (g grammar) complete(s *statement) *MalformedError {
	if len(s.actions) == 0 {
		return malformed(msgNoActions, "")
	}
	if len(s.principals) == 0 && g.kind.namesPrincipals() {
		if g.kind != RCP || g.saving {
			return malformed(msgNoPrincipal, "")
		}
		// A resource control policy can name nobody but everybody.
		s.principals = []principalEntry{{text: "*", form: FormEverybody}}
	}
	if len(s.resources) == 0 {
		switch g.kind {
		case TrustPolicy:
			s.anyResource = true
		case KeyPolicy:
			s.noResource = true
		default:
			return malformed(msgNoResources, "")
		}
	}
	return nil
}

func (g grammar) sid(s *statement, n *node) *MalformedError {
	if n.kind != nodeString {
		return malformed(msgSyntax, "Sid is no string")
	}
	if g.saving && g.kind.ofIAM() {
		for i := range len(n.text) {
			c := n.text[i]
			if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				return malformed(msgSidText, "%q", n.text)
			}
		}
	}
	s.sid, s.hasSid = n.text, true
	return nil
}

// stringsOf reads a string or a list of strings.
func stringsOf(name string, n *node) ([]string, *MalformedError) {
	switch n.kind {
	case nodeString:
		return []string{n.text}, nil
	case nodeArray:
		list := make([]string, 0, n.len)
		for e := range n.children() {
			if e.kind != nodeString {
				return nil, malformed(msgSyntax, "%s holds something that is no string", name)
			}
			list = append(list, e.text)
		}
		return list, nil
	default:
		return nil, malformed(msgSyntax, "%s is neither a string nor a list of strings", name)
	}
}

func (g grammar) actions(s *statement, name string, n *node) *MalformedError {
	if s.actions != nil {
		return malformed(msgSyntax, "both Action and NotAction")
	}
	list, err := stringsOf(name, n)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return malformed(msgNoActions, "%s is empty", name)
	}
	s.notAction, s.actionText = name == "NotAction", list
	for _, a := range list {
		vendor, rest, colon := strings.Cut(a, ":")
		switch {
		case a == "*":
		case !colon || vendor == "" || rest == "":
			return malformed(msgVendor, "%s %q", name, a)
		case strings.Contains(rest, ":"):
			return malformed(msgOneColon, "%s %q", name, a)
		case vendor != "*" && !vendorName(vendor):
			return malformed("Vendor "+vendor+" is not valid", "")
		}
		if g.kind == TrustPolicy && lowerASCII(vendor) != "sts" {
			return malformed(msgTrustActions, "%s %q", name, a)
		}
		t, terr := compileText(lowerASCII(a), false, wildPlain)
		if terr != nil {
			return malformed(msgSyntax, "%s %q: %v", name, a, terr)
		}
		s.actions = append(s.actions, t.glob)
	}
	return nil
}

func vendorName(v string) bool {
	for i := range len(v) {
		c := v[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

func (g grammar) principals(s *statement, name string, n *node) *MalformedError {
	if !g.kind.namesPrincipals() || g.kind == RCP && name == "NotPrincipal" {
		return malformed(fmt.Sprintf(msgProhibited, name), "")
	}
	if s.principals != nil {
		return malformed(msgSyntax, "both Principal and NotPrincipal")
	}
	s.notPrincipal = name == "NotPrincipal"
	if n.kind == nodeString {
		if n.text != "*" {
			return g.badPrincipal("AWS", n.text)
		}
		s.principals = []principalEntry{{text: "*", form: FormEverybody}}
		return nil
	}
	if n.kind != nodeObject {
		return malformed(msgSyntax, "%s is neither \"*\" nor an object", name)
	}
	if n.repeats {
		return malformed(msgSyntax, "%s has %q twice", name, n.text)
	}
	for m := range n.children() {
		list, err := stringsOf(name, m)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return malformed(msgNoPrincipal, "%s %q is empty", name, m.name)
		}
		for _, v := range list {
			e, ok := parsePrincipalEntry(m.name, v)
			if !ok || g.kind == RCP && e.form != FormEverybody {
				return g.badPrincipal(m.name, v)
			}
			s.principals = append(s.principals, e)
		}
	}
	if s.principals == nil {
		return malformed(msgNoPrincipal, "%s is empty", name)
	}
	return nil
}

func (g grammar) badPrincipal(typ, v string) *MalformedError {
	switch g.kind {
	case KeyPolicy:
		return malformed(msgPrincipalKMS, "%q:%q", typ, v)
	case TrustPolicy:
		return malformed(fmt.Sprintf(msgPrincipalIAM, typ, v), "")
	default:
		return malformed(msgPrincipalS3, "%q:%q", typ, v)
	}
}

func (g grammar) resources(s *statement, name string, n *node, vars bool) *MalformedError {
	if g.kind == TrustPolicy {
		return malformed(fmt.Sprintf(msgProhibited, name), "")
	}
	if s.resources != nil {
		return malformed(msgSyntax, "both Resource and NotResource")
	}
	list, err := stringsOf(name, n)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return malformed(msgNoResources, "%s is empty", name)
	}
	s.notResource, s.resourceText = name == "NotResource", list
	for _, r := range list {
		if err := g.checkResource(r); err != nil {
			return err
		}
		for _, full := range g.completions(r) {
			t, terr := compileText(full, vars, wildResource)
			if terr != nil {
				return malformed(msgLegacy, "%s %q: %v", name, r, terr)
			}
			s.resources = append(s.resources, t)
		}
	}
	return nil
}

func (g grammar) checkResource(r string) *MalformedError {
	if r == "*" {
		return nil
	}
	rest, ok := strings.CutPrefix(r, "arn:")
	if !ok {
		return malformed(fmt.Sprintf(msgResource, r), "")
	}
	if !g.saving || !g.kind.ofIAM() {
		return nil
	}
	partition, rest, colon := strings.Cut(rest, ":")
	if !strings.ContainsAny(partition, "*?") && partition != "aws" && !strings.HasPrefix(partition, "aws-") {
		return malformed(fmt.Sprintf(msgPartition, partition, r), "")
	}
	service, _, _ := strings.Cut(rest, ":")
	if !colon || service == "" || strings.ContainsAny(service, "*?") {
		return malformed(msgResVendor, "%q", r)
	}
	return nil
}

// completions returns the patterns that a resource stands for. In policies
// without principals an ARN of fewer than six segments is completed with `*`;
// one whose last character is `*` reaches beyond it anyway.
// Source: IAM User Guide, "Resource", on incomplete ARNs.
func (g grammar) completions(r string) []string {
	if r == "*" || g.kind.namesPrincipals() {
		return []string{r}
	}
	missing := 5 - strings.Count(r, ":")
	if missing <= 0 || strings.HasSuffix(r, "*") {
		return []string{r}
	}
	return []string{r, r + strings.Repeat(":*", missing)}
}
