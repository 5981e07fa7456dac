package authz

// site is where a policy takes part in a decision.
type site struct {
	layer string
	level int // of a control policy, from 0
	index int // in its layer or level
}

// visit calls f with every statement that applies to the request, in the order
// in which [Decide] looks at the layers. The statement is nil for a policy that
// denies because it cannot be read.
func visit(req *Request, pols *Policies, w *Work, f func(at site, p *Policy, s *statement)) {
	bounded := len(pols.Boundary) > 0
	unnamed := func(layer string, level int, policies []*Policy) {
		for i, p := range policies {
			at := site{layer: layer, level: level, index: i}
			if p == nil || p.unreadable || p.kind.namesPrincipals() {
				f(at, p, nil)
				continue
			}
			for j := range p.statements {
				if s := &p.statements[j]; s.applies(req, w) {
					f(at, p, s)
				}
			}
		}
	}
	named := func(at site, p *Policy) {
		if p == nil || p.unreadable || !p.kind.namesPrincipals() {
			f(at, p, nil)
			return
		}
		for j := range p.statements {
			if s := &p.statements[j]; s.names(&req.Principal, bounded) != notNamed && s.applies(req, w) {
				f(at, p, s)
			}
		}
	}
	unnamed(LayerIdentity, 0, pols.Identity)
	if pols.Resource != nil {
		named(site{layer: LayerResource}, pols.Resource)
	}
	unnamed(LayerBoundary, 0, pols.Boundary)
	unnamed(LayerSession, 0, pols.Session)
	if req.Principal.serviceLinked() {
		return
	}
	if req.Principal.ofAccount() {
		for level, policies := range pols.SCP {
			unnamed(LayerSCP, level, policies)
		}
	}
	for level, policies := range pols.RCP {
		for i, p := range policies {
			named(site{layer: LayerRCP, level: level, index: i}, p)
		}
	}
}

// Match is a statement that applies to a request, its principal, action,
// resource and conditions all being met.
type Match struct {
	Layer string
	// Policy is the policy's Name.
	Policy string
	// Statement is the Sid, or the index from 0; "" for a policy that cannot be
	// read, which denies.
	Statement        string
	StatementIsIndex bool
	Deny             bool
	// Start and End are where the statement stands in its document, as
	// [Policy.Span] tells them.
	Start, End Position
}

// Matches returns every statement that applies to the request, Allow or Deny,
// in the order in which [Decide] looks at the layers and documents. Layers that
// do not bear on the request, such as service control policies on a service,
// have none; neither has a request whose bound on work is spent.
//
// Source: IAM API Reference, EvaluationResult, on MatchedStatements.
func Matches(req *Request, pols *Policies) []Match {
	if pols == nil {
		return nil
	}
	w := req.Work
	if w == nil {
		w = NewWork(MaxWork)
	}
	var all []Match
	visit(req, pols, w, func(at site, p *Policy, s *statement) {
		m := Match{Layer: at.layer, Deny: true}
		if p != nil {
			m.Policy = p.Name
		}
		if s != nil {
			m.Deny = s.deny
			m.Statement, m.StatementIsIndex = s.label()
			m.Start, m.End = s.start.exported(), s.end.exported()
		}
		all = append(all, m)
	})
	if w.Spent() {
		return nil
	}
	return all
}
