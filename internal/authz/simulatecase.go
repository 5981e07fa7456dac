package authz

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// documentText is the text of a document, and whether checkJSON has passed it.
type documentText struct {
	text    string
	checked bool
}

// simulatedCase is a line taken apart; documents are still text.
type simulatedCase struct {
	id, request, grants         node
	identity, boundary, session []documentText
	resource                    *documentText
	scp, rcp                    [][]documentText
}

// readCase takes a line apart that checkJSON has passed. Unknown names at the
// top are the author's notes; below they could be a misspelled layer or
// constraint, and are refused.
func readCase(line string) (*simulatedCase, error) {
	c := &simulatedCase{}
	s := newScanner(line)
	err := s.eachMember("the case", func(name string) error {
		switch name {
		case "id":
			s.read(&c.id, 1)
		case "request":
			s.read(&c.request, 1)
		case "grants":
			s.read(&c.grants, 1)
		case "policies":
			if s.null() {
				return nil
			}
			return s.eachMember("policies", func(layer string) error { return c.readLayer(s, layer) })
		default:
			s.skip()
		}
		return nil
	})
	return c, err
}

func (c *simulatedCase) readLayer(s *scanner, layer string) error {
	var list *[]documentText
	var levels *[][]documentText
	switch layer {
	case "identity":
		list = &c.identity
	case "boundary":
		list = &c.boundary
	case "session":
		list = &c.session
	case "scp":
		levels = &c.scp
	case "rcp":
		levels = &c.rcp
	case "resource":
		if !s.null() {
			c.resource = new(s.document())
		}
		return nil
	default:
		return fmt.Errorf("policies has the unknown member %q", layer)
	}
	if s.null() {
		return nil
	}
	if list != nil {
		return s.documents("policies: "+layer+" is no list", list)
	}
	return s.eachElem("policies: "+layer+" is no list of levels", func() error {
		var level []documentText
		err := s.documents("policies: a level of "+layer+" is no list", &level)
		*levels = append(*levels, level)
		return err
	})
}

// documents reads a list of documents.
func (s *scanner) documents(otherwise string, list *[]documentText) error {
	return s.eachElem(otherwise, func() error {
		*list = append(*list, s.document())
		return nil
	})
}

// document reads a document: an object as it stands, or a string that holds its
// text. Of anything else the text is no policy either.
func (s *scanner) document() documentText {
	if s.space() == '"' {
		return documentText{text: s.string()}
	}
	start := s.at
	s.skip()
	return documentText{text: s.doc[start:s.at], checked: true}
}

// null passes a null, if that comes next.
func (s *scanner) null() bool {
	if s.space() != 'n' {
		return false
	}
	s.plain()
	return true
}

// eachMember calls f at the value of every member of the object that comes
// next; f passes the value.
func (s *scanner) eachMember(what string, f func(name string) error) error {
	if s.space() != '{' {
		return fmt.Errorf("%s is no object", what)
	}
	var names nameSet
	for s.at++; s.space() != '}'; {
		name := s.string()
		if names.add(name) {
			return fmt.Errorf("%s has %q twice", what, name)
		}
		s.space()
		if err := f(name); err != nil {
			return err
		}
	}
	s.at++
	return nil
}

// eachElem calls f at every element of the list that comes next; f passes it.
func (s *scanner) eachElem(otherwise string, f func() error) error {
	if s.space() != '[' {
		return errors.New(otherwise)
	}
	for s.at++; s.space() != ']'; {
		if err := f(); err != nil {
			return err
		}
	}
	s.at++
	return nil
}

// membersOf returns the members of an object; a missing or null node has none.
// With names given, others are an error.
func membersOf(n *node, what string, names ...string) (map[string]*node, error) {
	if n == nil || n.kind == nodeNull && len(names) > 0 {
		return nil, nil
	}
	if n.kind != nodeObject {
		return nil, fmt.Errorf("%s is no object", what)
	}
	if n.repeats {
		return nil, fmt.Errorf("%s has %q twice", what, n.text)
	}
	m := make(map[string]*node, n.len)
	for e := range n.children() {
		known := len(names) == 0
		for _, name := range names {
			known = known || name == e.name
		}
		if !known {
			return nil, fmt.Errorf("%s has the unknown member %q", what, e.name)
		}
		m[e.name] = e
	}
	return m, nil
}

func textOf(m map[string]*node, name string, required bool) (string, error) {
	n := m[name]
	switch {
	case n == nil || n.kind == nodeNull:
		if required {
			return "", fmt.Errorf("no %s", name)
		}
		return "", nil
	case n.kind != nodeString:
		return "", fmt.Errorf("%s is no string", name)
	case n.text == "" && required:
		return "", fmt.Errorf("%s is empty", name)
	}
	return n.text, nil
}

func simulatedRequest(n *node) (*Request, error) {
	m, err := membersOf(n, "request", "principal", "action", "resource", "resourceAccount", "context")
	if err != nil {
		return nil, err
	}
	req := &Request{}
	principal, err := textOf(m, "principal", true)
	if err != nil {
		return nil, err
	}
	if req.Action, err = textOf(m, "action", true); err != nil {
		return nil, err
	}
	if !strings.Contains(req.Action, ":") {
		return nil, fmt.Errorf("action %q has no prefix", req.Action)
	}
	if req.Resource, err = textOf(m, "resource", true); err != nil {
		return nil, err
	}
	if req.ResourceAccount, err = textOf(m, "resourceAccount", false); err != nil {
		return nil, err
	}
	if req.Context, req.EncryptionContext, err = simulatedContext(m["context"]); err != nil {
		return nil, err
	}
	if req.Principal, err = simulatedPrincipal(principal, req); err != nil {
		return nil, err
	}
	if req.ResourceAccount == "" {
		if a, _ := splitARN(req.Resource); a.account != "" {
			req.ResourceAccount = a.account
		} else if owner := req.Context.single("aws:resourceaccount"); owner != "" {
			req.ResourceAccount = owner
		} else {
			req.ResourceAccount = req.Principal.Account
		}
	}
	return req, nil
}

// encryptionContextPrefix, in lower case, precedes the keys of an encryption
// context in condition keys.
const encryptionContextPrefix = "kms:encryptioncontext:"

func simulatedContext(n *node) (Context, map[string]string, error) {
	ctx := NewContext()
	encryption := map[string]string{}
	if n == nil || n.kind == nodeNull {
		return ctx, encryption, nil
	}
	if n.kind != nodeObject {
		return ctx, nil, errors.New("context is no object")
	}
	for m := range n.children() {
		if _, dup := ctx.vals[lower(m.name)]; dup {
			return ctx, nil, fmt.Errorf("context has %q twice (names of condition keys are case-insensitive)", m.name)
		}
		switch m.kind {
		case nodeString, nodeNumber, nodeBool:
			ctx.Set(m.name, m.text)
			if len(m.name) > len(encryptionContextPrefix) && strings.EqualFold(m.name[:len(encryptionContextPrefix)], encryptionContextPrefix) {
				encryption[m.name[len(encryptionContextPrefix):]] = m.text
			}
		case nodeArray:
			values, err := stringsOf(m)
			if err != nil {
				return ctx, nil, fmt.Errorf("context: %w", err)
			}
			ctx.SetMulti(m.name, values...)
		default:
			return ctx, nil, fmt.Errorf("context: %s is neither a string nor a list of strings", m.name)
		}
	}
	return ctx, encryption, nil
}

// simulatedPrincipal reads the principal of a case.
func simulatedPrincipal(s string, req *Request) (Principal, error) {
	ctx := req.Context
	if s == "anonymous" {
		return Principal{Type: Anonymous}, nil
	}
	a, ok := splitARN(s)
	if !ok {
		if !strings.Contains(s, ".") || !plainName(s) || strings.ContainsAny(s, ":/ ") {
			return Principal{}, fmt.Errorf("principal %q is neither an ARN, nor a service, nor anonymous", s)
		}
		if !strings.HasSuffix(s, ".amazonaws.com") && !strings.HasSuffix(s, ".amazonaws.com.cn") || strings.EqualFold(req.Action, "sts:AssumeRoleWithWebIdentity") {
			return Principal{Type: Federated, ARN: s}, nil
		}
		p := Principal{Type: Service, Service: s}
		if names, ok := ctx.Get("aws:PrincipalServiceNamesList"); ok {
			p.ServiceNames = names.Vals
		}
		return p, nil
	}
	p := Principal{ARN: s, Account: a.account}
	id, _, _ := strings.Cut(ctx.single("aws:userid"), ":")
	principalARN := ctx.single("aws:principalarn")
	name, rest, _ := strings.Cut(a.resource, "/")
	kind := a.service + " " + name
	switch {
	case kind == "iam saml-provider" || kind == "iam oidc-provider":
		return Principal{Type: Federated, ARN: s}, nil
	case !digits(a.account) || a.account == "":
	case a.service == "iam" && a.resource == "root":
		p.Type = Root
		return p, nil
	case kind == "iam user" && rest != "":
		p.Type, p.UserID = User, id
		return p, nil
	case kind == "iam role" && rest != "":
		p.Type, p.RoleARN, p.RoleID = AssumedRole, s, id
		return p, nil
	case kind == "sts federated-user" && rest != "":
		p.Type, p.UserID = FederatedUser, id
		if u, ok := splitARN(principalARN); ok && u.account == a.account && strings.HasPrefix(u.resource, "user/") {
			p.UserARN = principalARN
		}
		return p, nil
	case kind == "sts assumed-role":
		role, session, _ := strings.Cut(rest, "/")
		if role == "" || session == "" {
			break
		}
		p.Type, p.RoleID = AssumedRole, id
		p.RoleARN = "arn:" + a.partition + ":iam::" + a.account + ":role/" + role
		if r, ok := splitARN(principalARN); ok && r.service == "iam" && r.account == a.account &&
			strings.HasPrefix(r.resource, "role/") && strings.HasSuffix(r.resource, "/"+role) {
			p.RoleARN = principalARN
		}
		return p, nil
	}
	return Principal{}, fmt.Errorf("principal %q is no user, role session, federated user or account root", s)
}

// simulatedRules tells from the case whether the resource is a key or a role
// asked for a session.
func simulatedRules(req *Request, hasPolicy, hasGrants bool) (key, trust bool) {
	a, _ := splitARN(req.Resource)
	if _, ok := kmsOperation(req.Action); ok {
		return a.service == "kms" && strings.HasPrefix(a.resource, "key/") || hasPolicy || hasGrants, false
	}
	switch lowerASCII(req.Action) {
	case "sts:assumerole", "sts:assumerolewithsaml", "sts:assumerolewithwebidentity", "sts:tagsession",
		"sts:setsourceidentity", "sts:setcontext":
		return false, a.service == "iam" && strings.HasPrefix(a.resource, "role/")
	}
	return false, false
}

func simulatedGrants(n *node) ([]Grant, error) {
	if n == nil || n.kind == nodeNull {
		return nil, nil
	}
	if n.kind != nodeArray {
		return nil, errors.New("grants is no list")
	}
	grants := make([]Grant, 0, n.len)
	for e := range n.children() {
		m, err := membersOf(e, "a grant", "id", "name", "grantee", "operations", "constraints")
		if err != nil {
			return nil, err
		}
		g := Grant{ID: strconv.Itoa(len(grants))}
		if g.Grantee, err = textOf(m, "grantee", true); err != nil {
			return nil, fmt.Errorf("a grant: %w", err)
		}
		g.GranteeIsService = !strings.HasPrefix(g.Grantee, "arn:")
		if id := m["id"]; id != nil && id.kind == nodeString {
			g.ID = id.text
		}
		ops := m["operations"]
		if ops == nil {
			return nil, errors.New("a grant: no operations")
		}
		if g.Operations, err = stringsOf(ops); err != nil {
			return nil, fmt.Errorf("a grant: %w", err)
		}
		if g.Constraints, err = simulatedConstraints(m["constraints"]); err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, nil
}

func simulatedConstraints(n *node) (GrantConstraints, error) {
	var c GrantConstraints
	if n == nil || n.kind == nodeNull {
		return c, nil
	}
	m, err := membersOf(n, "constraints")
	if err != nil {
		return c, err
	}
	for name, v := range m {
		switch {
		case strings.EqualFold(name, "EncryptionContextEquals"):
			c.EncryptionContextEquals, err = simulatedPairs(v)
		case strings.EqualFold(name, "EncryptionContextSubset"):
			c.EncryptionContextSubset, err = simulatedPairs(v)
		case strings.EqualFold(name, "SourceArn"):
			if c.SourceARN, err = textOf(m, name, false); c.SourceARN == "" && v.kind != nodeNull {
				c.Unknown = true
			}
		default:
			c.Unknown = true
		}
		if err != nil {
			return c, fmt.Errorf("constraints: %w", err)
		}
	}
	return c, nil
}

func simulatedPairs(n *node) (map[string]string, error) {
	if n.kind == nodeNull {
		return nil, nil
	}
	m, err := membersOf(n, "the encryption context")
	if err != nil {
		return nil, err
	}
	pairs := make(map[string]string, len(m))
	for k := range m {
		if pairs[k], err = textOf(m, k, false); err != nil {
			return nil, err
		}
	}
	return pairs, nil
}
