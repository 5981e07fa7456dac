package authz

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxCase is the longest line that Simulate reads, in bytes.
const maxCase = 16 << 20

// Simulate reads one case a line and writes one verdict a line:
//
//	{"id","request":{"principal","action","resource","resourceAccount","context":{key:string|[string]}},
//	 "policies":{"identity":[doc],"resource":doc,"boundary":[doc],"session":[doc],"scp":[[doc]],"rcp":[[doc]]},
//	 "grants":[{"grantee","operations","constraints"}]}
//	{"id","decision","layer","statement","reason"}
//
// A document is an object, or a string that holds its text. One that cannot be
// read denies explicitly, with reason "malformed policy". A context value in a
// list is a multi-valued key. The statement is a Sid, an index from 0, or null.
//
// The context is complete: nothing is added or dropped. A session's role is
// aws:PrincipalArn if that is a role's ARN of the same name, else the role's
// ARN without a path; aws:userid gives the unique id; a service's further names
// are aws:PrincipalServiceNamesList; the encryption context that grants are
// tested with is what kms:EncryptionContext: keys hold. Without
// resourceAccount, the ARN tells it, else aws:ResourceAccount, else the
// resource is the caller's. A resource that is a key (arn:…:kms:…:key/…) has a
// key policy, a role asked for a session a trust policy.
//
// A line that is no case gives {"id":null,"error"} and counts as bad. err is a
// failure of r or w.
func Simulate(r io.Reader, w io.Writer) (bad int, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for {
		line, tooLong, rerr := readLine(in)
		if rerr != nil && !errors.Is(rerr, io.EOF) {
			return bad, errors.Join(fmt.Errorf("read cases: %w", rerr), out.Flush())
		}
		if text := strings.TrimSpace(string(line)); text != "" || tooLong {
			v, cerr := verdict{}, error(nil)
			if tooLong {
				cerr = fmt.Errorf("line longer than %d bytes", maxCase)
			} else {
				v, cerr = simulateLine([]byte(text))
			}
			if cerr != nil {
				bad++
				err = enc.Encode(caseError{Error: cerr.Error()})
			} else {
				err = enc.Encode(v)
			}
			if err == nil && in.Buffered() == 0 {
				err = out.Flush()
			}
			if err != nil {
				return bad, fmt.Errorf("write verdicts: %w", err)
			}
		}
		if rerr != nil {
			if err := out.Flush(); err != nil {
				return bad, fmt.Errorf("write verdicts: %w", err)
			}
			return bad, nil
		}
	}
}

// readLine reads up to a newline. Of a line that is too long it keeps nothing.
func readLine(in *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		chunk, err := in.ReadSlice('\n')
		if len(line)+len(chunk) > maxCase {
			tooLong, line = true, nil
		}
		if !tooLong {
			line = append(line, chunk...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}

type verdict struct {
	ID        json.RawMessage `json:"id"`
	Decision  string          `json:"decision"`
	Layer     string          `json:"layer"`
	Statement json.RawMessage `json:"statement"`
	Reason    string          `json:"reason"`
}

type caseError struct {
	ID    *string `json:"id"`
	Error string  `json:"error"`
}

func simulateLine(line []byte) (verdict, error) {
	root, err := readNode(line)
	if err != nil {
		return verdict{}, err
	}
	m, err := membersOf(root, "the case")
	if err != nil {
		return verdict{}, err
	}
	// Unknown names at the top are the author's notes; below they could be a
	// misspelled layer or constraint, and are refused.
	req, err := simulatedRequest(m["request"])
	if err != nil {
		return verdict{}, err
	}
	isKey, isTrust := simulatedRules(req, m)
	req.KMSKey, req.Trust = isKey, isTrust
	pols, err := simulatedPolicies(m["policies"], isKey, isTrust)
	if err != nil {
		return verdict{}, err
	}
	grants, err := simulatedGrants(m["grants"])
	if err != nil {
		return verdict{}, err
	}
	d := Decide(req, pols, grants)
	v := verdict{
		ID: json.RawMessage("null"), Decision: d.Effect.String(), Layer: d.Layer,
		Statement: json.RawMessage("null"), Reason: d.Reason,
	}
	switch {
	case d.StatementIsIndex:
		v.Statement = json.RawMessage(d.Statement)
	case d.Statement != "":
		v.Statement = quote(d.Statement)
	}
	switch id := m["id"]; {
	case id == nil:
	case id.kind == nodeString:
		v.ID = quote(id.text)
	case id.kind == nodeNumber || id.kind == nodeBool:
		v.ID = json.RawMessage(id.text)
	}
	return v, nil
}

func quote(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a string cannot fail
	return b
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
		return nil, fmt.Errorf("%s has %q twice", what, n.repeat)
	}
	m := make(map[string]*node, len(n.members))
	for _, e := range n.members {
		known := len(names) == 0
		for _, name := range names {
			known = known || name == e.name
		}
		if !known {
			return nil, fmt.Errorf("%s has the unknown member %q", what, e.name)
		}
		m[e.name] = e.value
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
	for _, m := range n.members {
		if _, dup := ctx.vals[lower(m.name)]; dup {
			return ctx, nil, fmt.Errorf("context has %q twice (names of condition keys are case-insensitive)", m.name)
		}
		switch m.value.kind {
		case nodeString, nodeNumber, nodeBool:
			ctx.Set(m.name, m.value.text)
			if len(m.name) > len(encryptionContextPrefix) && strings.EqualFold(m.name[:len(encryptionContextPrefix)], encryptionContextPrefix) {
				encryption[m.name[len(encryptionContextPrefix):]] = m.value.text
			}
		case nodeArray:
			values, err := stringsOf(m.name, m.value)
			if err != nil {
				return ctx, nil, fmt.Errorf("context: %s", err.Detail)
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
func simulatedRules(req *Request, m map[string]*node) (key, trust bool) {
	a, _ := splitARN(req.Resource)
	if _, ok := kmsOperation(req.Action); ok {
		var policy *node
		if p := m["policies"]; p != nil {
			policy = p.get("resource")
		}
		grants := m["grants"]
		return a.service == "kms" && strings.HasPrefix(a.resource, "key/") ||
			policy != nil && policy.kind != nodeNull || grants != nil && len(grants.elems) > 0, false
	}
	switch lowerASCII(req.Action) {
	case "sts:assumerole", "sts:assumerolewithsaml", "sts:assumerolewithwebidentity", "sts:tagsession",
		"sts:setsourceidentity", "sts:setcontext":
		return false, a.service == "iam" && strings.HasPrefix(a.resource, "role/")
	}
	return false, false
}

func simulatedPolicies(n *node, key, trust bool) (*Policies, error) {
	m, err := membersOf(n, "policies", "identity", "resource", "boundary", "session", "scp", "rcp")
	if err != nil {
		return nil, err
	}
	pols := &Policies{}
	if pols.Identity, err = simulatedDocs(m["identity"], "identity", IdentityPolicy); err != nil {
		return nil, err
	}
	if pols.Boundary, err = simulatedDocs(m["boundary"], "boundary", BoundaryPolicy); err != nil {
		return nil, err
	}
	if pols.Session, err = simulatedDocs(m["session"], "session", SessionPolicy); err != nil {
		return nil, err
	}
	if pols.SCP, err = simulatedLevels(m["scp"], "scp", SCP); err != nil {
		return nil, err
	}
	if pols.RCP, err = simulatedLevels(m["rcp"], "rcp", RCP); err != nil {
		return nil, err
	}
	if doc := m["resource"]; doc != nil && doc.kind != nodeNull {
		kind := ResourcePolicy
		switch {
		case key:
			kind = KeyPolicy
		case trust:
			kind = TrustPolicy
		}
		pols.Resource = simulatedDoc(doc, "resource", kind)
	}
	return pols, nil
}

func simulatedLevels(n *node, layer string, kind Kind) ([][]*Policy, error) {
	if n == nil || n.kind == nodeNull {
		return nil, nil
	}
	if n.kind != nodeArray {
		return nil, fmt.Errorf("policies: %s is no list of levels", layer)
	}
	levels := make([][]*Policy, 0, len(n.elems))
	for _, e := range n.elems {
		if e.kind != nodeArray {
			return nil, fmt.Errorf("policies: a level of %s is no list", layer)
		}
		docs, err := simulatedDocs(e, layer, kind)
		if err != nil {
			return nil, err
		}
		levels = append(levels, docs)
	}
	return levels, nil
}

func simulatedDocs(n *node, layer string, kind Kind) ([]*Policy, error) {
	if n == nil || n.kind == nodeNull {
		return nil, nil
	}
	if n.kind != nodeArray {
		return nil, fmt.Errorf("policies: %s is no list", layer)
	}
	var docs []*Policy
	for i, e := range n.elems {
		docs = append(docs, simulatedDoc(e, fmt.Sprintf("%s %d", layer, i), kind))
	}
	return docs, nil
}

// simulatedDoc compiles a document as strictly as a saved one is read, but for
// what only saving forbids.
func simulatedDoc(n *node, name string, kind Kind) *Policy {
	g := grammar{kind: kind}
	var p *Policy
	var err error
	if n.kind == nodeString {
		p, err = g.parse([]byte(n.text))
	} else {
		p, err = g.policy(n)
	}
	if err != nil {
		return Unreadable(name)
	}
	p.Name = name
	return p
}

func simulatedGrants(n *node) ([]Grant, error) {
	if n == nil || n.kind == nodeNull {
		return nil, nil
	}
	if n.kind != nodeArray {
		return nil, errors.New("grants is no list")
	}
	grants := make([]Grant, 0, len(n.elems))
	for i, e := range n.elems {
		m, err := membersOf(e, "a grant", "id", "name", "grantee", "operations", "constraints")
		if err != nil {
			return nil, err
		}
		g := Grant{ID: fmt.Sprint(i)}
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
		list, merr := stringsOf("operations", ops)
		if merr != nil {
			return nil, fmt.Errorf("a grant: %s", merr.Detail)
		}
		g.Operations = list
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
