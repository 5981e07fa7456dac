package authz

import (
	"encoding/json"
	"maps"
	"slices"
)

// Explanation says why a request was denied and what would allow it. It quotes
// policies: it is for those who may read them.
type Explanation struct {
	Request *Request
	// Facts are what kept the statements that came nearest from allowing; none
	// for an explicit deny, which the decision names.
	Facts []Fact
	// Changes, made together, allow the request, and none of them is
	// superfluous. There are none when policies and grants cannot allow it:
	// nobody asks, or a service asks for its one grant and for something that
	// grants do not give. An explanation that costs more than MaxWork has
	// neither facts nor changes.
	Changes []Change
}

// Fact is one element of a statement, or of a grant, that the request did not
// meet.
type Fact struct {
	Layer     string `json:"layer"`
	Level     int    `json:"level,omitempty"` // of a control policy: 1 is the root of the organization
	Policy    string `json:"policy,omitempty"`
	Statement string `json:"statement,omitempty"` // Sid, or index from 0
	Grant     string `json:"grant,omitempty"`     // id of a grant, in layer "grant"
	// Element is Principal, NotPrincipal, Action, NotAction, Resource,
	// NotResource or Condition; of a grant GranteePrincipal, Operations or
	// Constraint.
	Element  string `json:"element"`
	Operator string `json:"operator,omitempty"` // of a condition, as written; of a constraint its name
	Key      string `json:"key,omitempty"`      // of a condition, as written
	// Wanted is what the statement says, Found what the request has, each cut
	// to ten values of 256 bytes; a condition key that the request lacks has no
	// Found.
	Wanted []string `json:"wanted,omitempty"`
	Found  []string `json:"found,omitempty"`
	// Resolved is Wanted with the values that its policy variables have in the
	// request; empty when it has none.
	Resolved []string `json:"resolved,omitempty"`
}

// Change is one step towards an allowed request.
type Change struct {
	Layer string `json:"layer"`
	Level int    `json:"level,omitempty"` // of a control policy: 1 is the root of the organization
	// Add is the statement that a policy of the layer needs, or in layer
	// "grant" what a grant to the caller must say; nil for a deny. It follows
	// from the request alone, and holds in documents of version 2012-10-17
	// only: see [Document].
	Add json.RawMessage `json:"add,omitempty"`
	// Remove is "explicit deny" where Add is nil: what must go.
	Remove string `json:"remove,omitempty"`
	// Policy and Statement name the explicit deny that must no longer apply.
	// Without a Statement the policy cannot be read and must be replaced.
	Policy           string `json:"policy,omitempty"`
	Statement        string `json:"statement,omitempty"`
	StatementIsIndex bool   `json:"statementIsIndex,omitempty"`
}

// Limits of an explanation, which is kept in the audit record.
const (
	maxFacts      = 5
	maxFactValues = 10
	maxFactValue  = 256 // bytes
)

// Explain explains the denial d that [Decide] gave for the same arguments. It
// may be called concurrently.
func Explain(req *Request, pols *Policies, grants []Grant, d Decision) *Explanation {
	if pols == nil {
		pols = &Policies{}
	}
	e := &Explanation{Request: req}
	w := NewWork(MaxWork)
	switch d.Effect {
	case ImplicitlyDenied:
		e.Facts = facts(req, pols, grants, d, w)
	case Allowed:
		return e
	}
	e.Changes = changes(req, pols, grants, w)
	if w.Spent() {
		e.Facts, e.Changes = nil, nil
	}
	return e
}

// lacking returns the layer, and the level from 0, in which an allow is missing
// after the implicit denial d. It is d's but where AWS reports the resource
// policy because it leaves the decision to the caller's account.
func lacking(req *Request, pols *Policies, d Decision, w *Work) (layer string, level int) {
	var f findings
	if _, denied := f.collect(req, pols, w); denied {
		return LayerNone, 0
	}
	switch {
	case d.Layer == LayerSCP:
		return LayerSCP, f.scpMissing
	case d.Layer == LayerRCP:
		return LayerRCP, f.rcpMissing
	case d.Layer == LayerResource && f.resourceBy == byAccount:
		return LayerIdentity, 0
	default:
		return d.Layer, 0
	}
}

func facts(req *Request, pols *Policies, grants []Grant, d Decision, w *Work) []Fact {
	layer, level := lacking(req, pols, d, w)
	var list []*Policy
	named := false
	var granted []Fact
	switch layer {
	case LayerIdentity:
		list = pols.Identity
	case LayerResource:
		if pols.Resource != nil {
			list, named = []*Policy{pols.Resource}, true
		}
	case LayerBoundary:
		list = pols.Boundary
	case LayerSession:
		list = pols.Session
	case LayerSCP:
		list = pols.SCP[level]
	case LayerRCP:
		list, named = pols.RCP[level], true
	}
	if (layer == LayerIdentity || layer == LayerResource || layer == LayerGrant) && isKey(req, pols) {
		granted = grantFacts(req, grants)
	}
	at := Fact{Layer: layer}
	if layer == LayerSCP || layer == LayerRCP {
		at.Level = level + 1
	}
	all := statementFacts(req, list, named, at, maxFacts-min(len(granted), maxFacts/2), w)
	return append(all, granted[:min(len(granted), maxFacts-len(all))]...)
}

// nearby is an Allow statement with its distance from applying.
type nearby struct {
	policy    *Policy
	statement *statement
	distance  int
}

// statementFacts returns up to limit facts of the statements that came nearest.
func statementFacts(req *Request, policies []*Policy, named bool, at Fact, limit int, w *Work) []Fact {
	// The nearest few, nearest first; a longer list would be cut anyway.
	best := make([]nearby, 0, maxFacts+1)
	for _, p := range policies {
		for i := range p.statements {
			s := &p.statements[i]
			if s.deny {
				continue
			}
			n := nearby{policy: p, statement: s, distance: s.distance(req, named, w)}
			j := len(best)
			for j > 0 && best[j-1].distance > n.distance {
				j--
			}
			if j < maxFacts {
				best = slices.Insert(best, j, n)
				best = best[:min(len(best), maxFacts)]
			}
		}
	}
	var all []Fact
	for _, n := range best {
		at.Policy = n.policy.Name
		at.Statement, _ = n.statement.label()
		all = append(all, n.statement.unmet(req, named, at, w)...)
		if len(all) >= limit {
			return all[:limit]
		}
	}
	return all
}

// distance says how far the statement is from applying: first comes whether its
// action matches, then its principal, then its resource, then the number of
// conditions.
func (s *statement) distance(req *Request, named bool, w *Work) int {
	d := 0
	if !s.matchAction(req.Action, w) {
		d += 1 << 30
	}
	if named && s.names(&req.Principal, false) == notNamed {
		d += 1 << 20
	}
	if !s.matchResource(req, w) {
		d += 1 << 10
	}
	for i := range s.conditions {
		if s.conditions[i].eval(req.Context, w) != yes {
			d++
		}
	}
	return d
}

// unmet lists what keeps the statement from applying; at says where it stands.
func (s *statement) unmet(req *Request, named bool, at Fact, w *Work) []Fact {
	var all []Fact
	fact := func(element string, not bool, wanted, found []string) {
		f := at
		f.Element, f.Wanted, f.Found = element, clip(wanted), clip(found)
		if not {
			f.Element = "Not" + element
		}
		all = append(all, f)
	}
	if named && s.names(&req.Principal, false) == notNamed {
		found := req.Principal.namesOf()
		wanted := make([]string, 0, len(s.principals))
		for i := range s.principals {
			e := &s.principals[i]
			text := e.text
			if e.id != "" && slices.Contains(found, text) {
				text = e.id // of someone who had the name before
				found = append(found, req.Principal.UserID+req.Principal.RoleID)
			}
			wanted = append(wanted, text)
		}
		fact("Principal", s.notPrincipal, wanted, slices.Compact(found))
	}
	if !s.matchAction(req.Action, w) {
		fact("Action", s.notAction, s.actionText, []string{req.Action})
	}
	if !s.matchResource(req, w) {
		fact("Resource", s.notResource, s.resourceText, []string{req.Resource})
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		if c.eval(req.Context, w) == yes {
			continue
		}
		v, _ := req.Context.lookup(c.key)
		fact("Condition", false, c.values, v.Vals)
		f := &all[len(all)-1]
		f.Operator, f.Key, f.Resolved = c.opText, c.keyText, clip(c.resolved(req.Context, w))
	}
	return all
}

// resolved are the condition's values with those of its policy variables; nil
// when no value has a variable.
func (c *condition) resolved(ctx Context, w *Work) []string {
	if !slices.ContainsFunc(c.texts, func(t text) bool { return t.parts != nil }) {
		return nil
	}
	all := make([]string, len(c.texts))
	for i := range c.texts {
		all[i] = c.texts[i].shown(ctx, w)
	}
	return all
}

// namesOf lists the names by which a Principal element can name the principal
// itself.
func (p *Principal) namesOf() []string {
	switch p.Type {
	case AssumedRole:
		return []string{p.RoleARN, p.ARN}
	case Service:
		return append([]string{p.Service}, p.ServiceNames...)
	case Anonymous:
		return []string{"anonymous"}
	default:
		return []string{p.ARN}
	}
}

// grantFacts tells of the grants to the principal, then of those that lack only
// that.
func grantFacts(req *Request, grants []Grant) []Fact {
	var own, others []Fact
	for i := range grants {
		g := &grants[i]
		if req.GrantID != "" && g.ID != req.GrantID {
			continue
		}
		all := g.unmet(req)
		switch {
		case len(all) == 0:
		case all[0].Element != "GranteePrincipal" || req.GrantID != "":
			own = append(own, all...)
		case len(all) == 1:
			others = append(others, all...)
		}
		if len(own) >= maxFacts {
			break
		}
	}
	all := append(own, others...)
	return all[:min(len(all), maxFacts)]
}

// unmet lists what keeps the grant from applying.
func (g *Grant) unmet(req *Request) []Fact {
	var all []Fact
	fact := func(element, operator, key string, wanted, found []string) {
		all = append(all, Fact{Layer: LayerGrant, Grant: g.ID, Element: element, Operator: operator, Key: key, Wanted: clip(wanted), Found: clip(found)})
	}
	if g.names(&req.Principal) == notNamed {
		fact("GranteePrincipal", "", "", []string{g.Grantee}, req.Principal.namesOf())
	}
	op, ok := kmsOperation(req.Action)
	if !ok || !g.allows(op) {
		fact("Operations", "", "", g.Operations, []string{req.Action})
	}
	valueOf := func(key string) []string {
		v, _ := req.Context.Get(key)
		return v.Vals
	}
	name := g.unmetConstraint(req, op)
	switch name {
	case "":
	case constraintSource:
		fact("Constraint", name, "", []string{g.Constraints.SourceARN}, valueOf("aws:SourceArn"))
	case constraintAccount:
		fact("Constraint", name, "", []string{g.Account}, valueOf("aws:SourceAccount"))
	case constraintEquals:
		fact("Constraint", name, "", pairs(g.Constraints.EncryptionContextEquals), pairs(req.EncryptionContext))
	case constraintSubset:
		fact("Constraint", name, "", pairs(g.Constraints.EncryptionContextSubset), pairs(req.EncryptionContext))
	default:
		fact("Constraint", name, "", nil, nil)
	}
	return all
}

// pairs writes an encryption context as sorted key=value texts.
func pairs(m map[string]string) []string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, k+"="+m[k])
	}
	return all
}

// clip keeps an explanation from growing with the documents it quotes.
func clip(values []string) []string {
	if len(values) == 0 {
		return nil
	}
	out := slices.Clone(values[:min(len(values), maxFactValues)])
	for i, v := range out {
		out[i] = cutText(v, maxFactValue)
	}
	return out
}
