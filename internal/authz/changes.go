package authz

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// maxChanges is the most changes an explanation proposes. A request that would
// need more is explained without any.
const maxChanges = 64

// removeDeny is what a [Change] that adds nothing takes away.
const removeDeny = "explicit deny"

// step is a change with what it does to the policies.
type step struct {
	change Change
	at     site
	deny   *statement // to drop; nil for a policy that cannot be read
	policy *Policy    // to add
	grant  *Grant     // to add
}

func (s *step) adds() bool { return s.change.Add != nil }

// changes finds what allows the request: it takes away every deny that applies,
// asks [Decide] which layer then lacks an allow, gives it the smallest, and so
// on until the answer is Allowed.
func changes(req *Request, pols *Policies, grants []Grant, w *Work) []Change {
	var steps []step
	visit(req, pols, w, func(at site, p *Policy, s *statement) {
		if (s == nil || s.deny) && len(steps) <= maxChanges {
			steps = append(steps, dropping(at, p, s))
		}
	})
	for len(steps) <= maxChanges {
		amended, withGrants := amend(req, pols, grants, steps)
		d := decide(req, amended, withGrants, w)
		if d.Effect == Allowed {
			return prune(req, pols, grants, steps, w)
		}
		layer, level := lacking(req, amended, d, w)
		again := func(s step) bool { return s.adds() && s.at.layer == layer && s.at.level == level }
		next, ok := adding(req, amended, site{layer: layer, level: level})
		if !ok || slices.ContainsFunc(steps, again) {
			return nil
		}
		steps = append(steps, next)
	}
	return nil
}

// prune leaves out additions without which the request is allowed too, and
// returns the changes.
func prune(req *Request, pols *Policies, grants []Grant, steps []step, w *Work) []Change {
	for i := len(steps) - 1; i >= 0 && len(steps) > 1; i-- {
		if !steps[i].adds() {
			break // denies come first, and every one of them counts
		}
		fewer := slices.Delete(slices.Clone(steps), i, i+1)
		amended, withGrants := amend(req, pols, grants, fewer)
		if decide(req, amended, withGrants, w).Effect == Allowed {
			steps = fewer
		}
	}
	all := make([]Change, len(steps))
	for i := range steps {
		all[i] = steps[i].change
	}
	return all
}

// dropping is the step that takes away a deny, or a policy that cannot be read.
func dropping(at site, p *Policy, s *statement) step {
	c := Change{Layer: at.layer, Level: levelOf(at), Remove: removeDeny}
	if p != nil {
		c.Policy = p.Name
	}
	if s != nil {
		c.Statement, c.StatementIsIndex = s.label()
	}
	return step{change: c, at: at, deny: s}
}

func levelOf(at site) int {
	if at.layer == LayerSCP || at.layer == LayerRCP {
		return at.level + 1
	}
	return 0
}

// amend returns the policies and grants as they are after the steps.
func amend(req *Request, pols *Policies, grants []Grant, steps []step) (*Policies, []Grant) {
	n := *pols
	n.Identity, n.Boundary, n.Session = slices.Clone(n.Identity), slices.Clone(n.Boundary), slices.Clone(n.Session)
	n.SCP, n.RCP = cloneLevels(n.SCP), cloneLevels(n.RCP)
	for i := range steps {
		s := &steps[i]
		switch {
		case s.grant != nil:
			grants = append(slices.Clip(grants), *s.grant)
		case s.policy != nil:
			switch list := n.layer(s.at); {
			case list != nil:
				*list = append(*list, s.policy)
			case n.Resource == nil:
				n.Resource = s.policy
			default:
				p := *n.Resource
				p.statements = append(slices.Clip(p.statements), s.policy.statements...)
				n.Resource = &p
			}
		default:
			slot := &n.Resource
			if list := n.layer(s.at); list != nil {
				slot = &(*list)[s.at.index]
			}
			*slot = without(*slot, s.deny, kindIn(req, pols, s.at.layer))
		}
	}
	return &n, grants
}

func cloneLevels(levels [][]*Policy) [][]*Policy {
	levels = slices.Clone(levels)
	for i := range levels {
		levels[i] = slices.Clone(levels[i])
	}
	return levels
}

// layer returns the list of policies at a site; nil for the resource's one.
func (p *Policies) layer(at site) *[]*Policy {
	switch at.layer {
	case LayerIdentity:
		return &p.Identity
	case LayerBoundary:
		return &p.Boundary
	case LayerSession:
		return &p.Session
	case LayerSCP:
		return &p.SCP[at.level]
	case LayerRCP:
		return &p.RCP[at.level]
	default:
		return nil
	}
}

// kindIn is the kind of document that belongs into a layer.
func kindIn(req *Request, pols *Policies, layer string) Kind {
	switch layer {
	case LayerIdentity:
		return IdentityPolicy
	case LayerBoundary:
		return BoundaryPolicy
	case LayerSession:
		return SessionPolicy
	case LayerSCP:
		return SCP
	case LayerRCP:
		return RCP
	}
	switch {
	case isKey(req, pols):
		return KeyPolicy
	case mustGrant(req, pols):
		return TrustPolicy
	default:
		return ResourcePolicy
	}
}

// without returns the policy without one statement, which is p's own or that of
// the policy p was copied from. A policy that cannot be read becomes one of the
// kind that says nothing.
func without(p *Policy, deny *statement, kind Kind) *Policy {
	if deny == nil {
		n := &Policy{kind: kind, version: Version2012}
		if p != nil {
			n.Name = p.Name
		}
		return n
	}
	n := *p
	n.statements = slices.DeleteFunc(slices.Clone(p.statements), func(s statement) bool { return s.index == deny.index })
	return &n
}

// adding is the step that gives a layer the smallest allow for the request. It
// reports false when no allow in that layer can reach the request.
func adding(req *Request, pols *Policies, at site) (step, bool) {
	switch at.layer {
	case LayerNone:
		return step{}, false
	case LayerGrant:
		return addingGrant(req, at)
	case LayerRCP:
		// The only Allow that a resource control policy can have.
		return addingStatement(req, at, RCP, "*", "*")
	}
	kind := kindIn(req, pols, at.layer)
	action := strings.ReplaceAll(req.Action, "*", "?") // a wildcard cannot be escaped in Action
	switch kind {
	case TrustPolicy:
		return addingStatement(req, at, kind, action, "")
	case KeyPolicy:
		return addingStatement(req, at, kind, action, "*")
	}
	if strings.HasPrefix(req.Resource, "arn:") {
		if s, ok := addingStatement(req, at, kind, action, escapeResource(req.Resource)); ok {
			return s, true
		}
	}
	// What is no ARN, or none that Resource can hold, only a star reaches.
	return addingStatement(req, at, kind, action, "*")
}

func addingStatement(req *Request, at site, kind Kind, action, resource string) (step, bool) {
	var b bytes.Buffer
	b.WriteString(`{"Effect":"Allow"`)
	if kind.namesPrincipals() {
		typ, name := req.Principal.element()
		switch {
		case kind == RCP || typ == "*":
			b.WriteString(`,"Principal":"*"`)
		default:
			b.WriteString(`,"Principal":{`)
			printString(&b, typ)
			b.WriteByte(':')
			printString(&b, name)
			b.WriteByte('}')
		}
	}
	b.WriteString(`,"Action":`)
	printString(&b, action)
	if resource != "" {
		b.WriteString(`,"Resource":`)
		printString(&b, resource)
	}
	if kind == TrustPolicy {
		printTrustConditions(&b, req.Context)
	}
	b.WriteByte('}')
	// What is proposed is what is tried: the text is parsed as it would be when
	// somebody saves it.
	p, err := Parse(kind, Document(b.Bytes()))
	if err != nil || !p.statements[0].applies(req, nil) || kind.namesPrincipals() && p.statements[0].names(&req.Principal, false) == notNamed {
		return step{}, false
	}
	return step{change: Change{Layer: at.layer, Level: levelOf(at), Add: b.Bytes()}, at: at, policy: p}, true
}

// printTrustConditions holds a proposed trust to what the request says of who
// asks: the token's audience and subject, the external id. Without them it
// would let in everybody for whom the provider makes tokens.
func printTrustConditions(b *bytes.Buffer, ctx Context) {
	var keys []string
	for key, v := range ctx.All() {
		issuer := strings.HasSuffix(key, ":aud") || strings.HasSuffix(key, ":sub")
		if (issuer || key == "sts:externalid") && !v.Multi && len(v.Vals) == 1 {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return
	}
	slices.Sort(keys)
	b.WriteString(`,"Condition":{"StringEquals":{`)
	for i, key := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		name := key
		if key == "sts:externalid" {
			name = "sts:ExternalId"
		}
		printString(b, name)
		b.WriteByte(':')
		printString(b, strings.ReplaceAll(ctx.single(key), "${", "${$}{"))
	}
	b.WriteString("}}")
}

// element returns the entry of Principal that names the principal, its sessions
// aside: type and value.
func (p *Principal) element() (typ, name string) {
	switch p.Type {
	case AssumedRole:
		if p.RoleARN != "" {
			return "AWS", p.RoleARN
		}
		return "AWS", p.ARN
	case Service:
		return "Service", p.Service
	case Federated:
		return "Federated", p.ARN
	case Anonymous:
		return "*", "*"
	default:
		return "AWS", p.ARN
	}
}

// addingGrant is the step that makes the grant which a service asks for by its
// id say what the request needs.
func addingGrant(req *Request, at site) (step, bool) {
	op, ok := kmsOperation(req.Action)
	if !ok || !grantable(op) {
		return step{}, false
	}
	add, err := json.Marshal(struct {
		GranteePrincipal string
		Operations       []string
	}{req.Principal.Service, []string{op}})
	if err != nil {
		return step{}, false
	}
	g := &Grant{ID: req.GrantID, Grantee: req.Principal.Service, GranteeIsService: true, Operations: []string{op}}
	return step{change: Change{Layer: LayerGrant, Add: add}, at: at, grant: g}, true
}

// grantable reports whether grants can give an operation.
// Source: AWS KMS Developer Guide, "Grant operations".
func grantable(op string) bool {
	switch op {
	case "Encrypt", "Decrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPair",
		"GenerateDataKeyPairWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo", "Sign", "Verify", "GetPublicKey",
		"GenerateMac", "VerifyMac", "DeriveSharedSecret", "Encapsulate", "Decapsulate", "DescribeKey", "CreateGrant", "RetireGrant":
		return true
	}
	return false
}

// escapeResource writes a resource so that Resource matches it and nothing
// else, whatever characters are in it. The escapes are read in documents of
// version 2012-10-17 only.
// Source: IAM User Guide, "Policy variables", on special characters.
func escapeResource(arn string) string {
	if !strings.ContainsAny(arn, "*?$") {
		return arn
	}
	// Actions that make something are asked on all of its kind, such as all
	// buckets; objects in a bucket may have a star in their name.
	kind, all := strings.CutSuffix(arn, "*")
	if all && !strings.ContainsAny(kind, "*?$") && !(strings.HasPrefix(arn, "arn:aws:s3:::") && strings.Contains(kind, "/")) {
		return arn
	}
	return strings.NewReplacer("*", "${*}", "?", "${?}", "${", "${$}{").Replace(arn)
}

// Document wraps a statement, such as [Change.Add], into a whole document of
// the version in which its escapes hold.
func Document(statement json.RawMessage) []byte {
	doc := make([]byte, 0, len(statement)+64)
	doc = append(doc, `{"Version":"`+Version2012+`","Statement":[`...)
	doc = append(doc, statement...)
	return append(doc, "]}"...)
}
