package authz

// Request is one question: may this principal take this action on this
// resource?
type Request struct {
	Principal Principal
	// Action is the IAM action, for example "kms:GenerateDataKey".
	Action string
	// Resource is the ARN, or "*" for actions that know no resource.
	Resource string
	// ResourceAccount is the account that owns the resource. When empty it is
	// taken from the ARN; a resource whose account is still unknown counts as
	// another account's, unless it is "*".
	ResourceAccount string
	Context         Context
	// KMSKey says that the resource is a KMS key: its key policy, or a grant,
	// must allow, and an account statement in it only delegates.
	KMSKey bool
	// Trust says that a role is asked for a session: its trust policy must
	// allow. Implied by a resource policy that is a [TrustPolicy], as KMSKey is
	// by a [KeyPolicy].
	Trust bool
	// EncryptionContext is what grant constraints are compared with, in
	// CreateGrant the context in the new grant's constraint.
	EncryptionContext map[string]string
	// Work bounds what this question and others that share it may cost; MaxWork
	// for this one alone when nil. Beyond it the request is denied.
	Work *Work
	// GrantID makes that one grant the only allow that counts for a Service:
	// not another grant, and not the key policy either, so that one job's grant
	// never opens another job's data. Denies count as always.
	GrantID string
}

// Policies are the documents of every layer that bear on a request.
type Policies struct {
	// Identity: attached to the user and its groups, or to the role.
	Identity []*Policy
	// Resource: attached to the resource; nil if it has none.
	Resource *Policy
	// Boundary: the permissions boundary; empty if there is none.
	Boundary []*Policy
	// Session: passed when the session was made; empty if none was.
	Session []*Policy
	// SCP and RCP: one element per level, root first; empty if not in use. A
	// level without a policy allows nothing.
	SCP [][]*Policy
	RCP [][]*Policy
}

// Effect is the outcome of a decision. The zero Effect denies.
type Effect int

// The three outcomes.
const (
	ImplicitlyDenied Effect = iota
	Allowed
	ExplicitlyDenied
)

// String returns the name of the effect, for example "ImplicitlyDenied".
func (e Effect) String() string {
	switch e {
	case Allowed:
		return "Allowed"
	case ExplicitlyDenied:
		return "ExplicitlyDenied"
	default:
		return "ImplicitlyDenied"
	}
}

// Layers, as they stand in [Decision.Layer].
const (
	LayerIdentity = "identity"
	LayerResource = "resource"
	LayerBoundary = "boundary"
	LayerSession  = "session"
	LayerSCP      = "scp"
	LayerRCP      = "rcp"
	LayerGrant    = "grant"
	LayerNone     = "none"
)

// Decision is the answer. The zero Decision denies.
type Decision struct {
	Effect Effect
	// Layer that decided: that denied, that failed to allow, or that allowed.
	// LayerNone for the root user in its own account, who needs no policy.
	Layer string
	// Statement is the Sid of the statement that decided, or its index from 0
	// if it has none; "" if no statement decided.
	Statement        string
	StatementIsIndex bool
	// Policy is the Name of that statement's policy.
	Policy string
	// Grant is the ID of the grant that allowed, if one did.
	Grant string
	// Reason is for the operator, never for the caller: it quotes policies.
	Reason string
	// Lacking is the layer that Reason quotes when that is not Layer: AWS reports
	// a resource policy that leaves the decision to the caller's account.
	Lacking string
	// Explanation of a denial, when whoever decided asked [Explain] for it.
	Explanation *Explanation
}

// reasonCostly is the reason of a denial because telling costs too much.
const reasonCostly = "the policies cost too much to evaluate for this request"

// reasonMalformed is the reason of a denial by an unreadable document.
const reasonMalformed = "malformed policy"

// hit is a statement that applies; the statement is nil if the whole policy is
// unreadable.
type hit struct {
	policy    *Policy
	statement *statement
	found     bool
}

func (h hit) decision(e Effect, layer, reason string) Decision {
	d := Decision{Effect: e, Layer: layer, Reason: reason}
	if h.policy != nil {
		d.Policy = h.policy.Name
	}
	if h.statement != nil {
		d.Statement, d.StatementIsIndex = h.statement.label()
	}
	return d
}

func (h hit) deny(layer string) Decision {
	if h.statement == nil {
		return h.decision(ExplicitlyDenied, layer, reasonMalformed)
	}
	return h.decision(ExplicitlyDenied, layer, "explicit deny by "+h.statement.title())
}

// scan finds the first deny, or else the first allow, in a layer whose
// documents name no principals.
func scan(policies []*Policy, req *Request, w *Work) (allow, deny hit) {
	for _, p := range policies {
		if p == nil || p.unreadable || p.kind.namesPrincipals() {
			return hit{}, hit{policy: p, found: true}
		}
		for i := range p.statements {
			s := &p.statements[i]
			if !s.deny && allow.found || !s.applies(req, w) {
				continue
			}
			if s.deny {
				return hit{}, hit{policy: p, statement: s, found: true}
			}
			allow = hit{policy: p, statement: s, found: true}
		}
	}
	return allow, hit{}
}

// scanResource is scan for a document that names principals; the allow is the
// one that names the principal most directly.
func scanResource(p *Policy, req *Request, bounded bool, w *Work) (allow hit, by strength, deny hit) {
	if p.unreadable || !p.kind.namesPrincipals() {
		return hit{}, notNamed, hit{policy: p, found: true}
	}
	for i := range p.statements {
		s := &p.statements[i]
		named := s.names(&req.Principal, bounded)
		if named == notNamed || !s.deny && named <= by || !s.applies(req, w) {
			continue
		}
		if s.deny {
			return hit{}, notNamed, hit{policy: p, statement: s, found: true}
		}
		allow, by = hit{policy: p, statement: s, found: true}, named
	}
	return allow, by, hit{}
}

// findings is what every layer says.
type findings struct {
	identity, resource, boundary, session hit
	resourceBy                            strength
	scpMissing, rcpMissing                int // level without an allow, or -1
}

// Decide answers a request. Grants are the live grants of the key the request
// is about. It may be called concurrently, and keeps no reference to what it is
// given.
//
// Sources: IAM User Guide, "Policy evaluation logic", "Cross-account policy
// evaluation logic"; AWS KMS Developer Guide, "Determining access to AWS KMS
// keys".
func Decide(req *Request, pols *Policies, grants []Grant) Decision {
	if pols == nil {
		pols = &Policies{}
	}
	own := Work{left: MaxWork}
	w := &own
	if req.Work != nil {
		w = req.Work
	}
	return decide(req, pols, grants, w)
}

// decide is Decide within the bound of w.
func decide(req *Request, pols *Policies, grants []Grant, w *Work) Decision {
	d := judge(req, pols, grants, w)
	if w.Spent() {
		return implied(LayerNone, reasonCostly)
	}
	return d
}

func judge(req *Request, pols *Policies, grants []Grant, w *Work) Decision {
	var f findings
	if d, denied := f.collect(req, pols, w); denied {
		return d
	}
	if f.rcpMissing >= 0 {
		return implied(LayerRCP, "no resource control policy allows the action at one level"+explain(pols.RCP[f.rcpMissing], req, true, w))
	}
	if f.scpMissing >= 0 {
		return implied(LayerSCP, "no service control policy allows the action at one level"+explain(pols.SCP[f.scpMissing], req, false, w))
	}
	if !isKey(req, pols) {
		grants = nil
	}
	granted, grant := matchGrants(req, grants)
	switch p := &req.Principal; p.Type {
	case Root, User, AssumedRole, FederatedUser:
		return f.decideIdentity(req, pols, grants, granted, grant, w)
	case Service:
		if granted > notNamed {
			return allowedBy(grant)
		}
		if req.GrantID != "" {
			return implied(LayerGrant, "the grant that the request is for does not allow it"+explainGrants(req, grants))
		}
		fallthrough
	case Anonymous, Federated:
		if f.resource.found {
			return f.resource.decision(Allowed, LayerResource, "allowed by the resource policy")
		}
		return implied(LayerResource, noResourceAllow(req, pols, grants, w))
	default:
		return implied(LayerNone, "no principal")
	}
}

// collect reads every layer. It reports an explicit deny in any of them.
func (f *findings) collect(req *Request, pols *Policies, w *Work) (Decision, bool) {
	f.scpMissing, f.rcpMissing = -1, -1
	var deny hit
	if f.identity, deny = scan(pols.Identity, req, w); deny.found {
		return deny.deny(LayerIdentity), true
	}
	bounded := len(pols.Boundary) > 0
	if pols.Resource != nil {
		if f.resource, f.resourceBy, deny = scanResource(pols.Resource, req, bounded, w); deny.found {
			return deny.deny(LayerResource), true
		}
	}
	if f.boundary, deny = scan(pols.Boundary, req, w); deny.found {
		return deny.deny(LayerBoundary), true
	}
	if f.session, deny = scan(pols.Session, req, w); deny.found {
		return deny.deny(LayerSession), true
	}
	linked := req.Principal.serviceLinked()
	if req.Principal.ofAccount() && !linked {
		for level, policies := range pols.SCP {
			allow, deny := scan(policies, req, w)
			if deny.found {
				return deny.deny(LayerSCP), true
			}
			if !allow.found && f.scpMissing < 0 {
				f.scpMissing = level
			}
		}
	}
	if !linked {
		for level, policies := range pols.RCP {
			allowed := false
			for _, p := range policies {
				if p == nil {
					return hit{}.deny(LayerRCP), true
				}
				allow, _, deny := scanResource(p, req, bounded, w)
				if deny.found {
					return deny.deny(LayerRCP), true
				}
				allowed = allowed || allow.found
			}
			if !allowed && f.rcpMissing < 0 {
				f.rcpMissing = level
			}
		}
	}
	return Decision{}, false
}

// decideIdentity decides for a principal that belongs to an account, after
// denies and control policies. The strength that the resource side reaches says
// what the principal's side must still allow.
func (f *findings) decideIdentity(req *Request, pols *Policies, grants []Grant, granted strength, grant *Grant, w *Work) Decision {
	same := sameAccount(req)
	by := f.resourceBy
	if !same {
		by = min(by, byAccount) // the caller's own account must agree as well
	}
	if same && !mustGrant(req, pols) {
		by = max(by, byAccount) // identity policies suffice
	}
	viaGrant := granted > by
	by = max(by, granted)

	root := req.Principal.Type == Root
	if by == notNamed {
		return implied(LayerResource, noResourceAllow(req, pols, grants, w))
	}
	if by == byAccount && !root && !f.identity.found {
		reason := "no identity policy allows the action" + explain(pols.Identity, req, false, w)
		if !same && !viaGrant && f.resourceBy == byAccount {
			// What AWS reports when the other account delegates to a caller's
			// account that has passed nothing on.
			d := implied(LayerResource, "the resource policy names the account, and "+reason)
			d.Lacking = LayerIdentity
			return d
		}
		if same { // another account's grants are not the caller's to know
			reason += explainGrants(req, grants)
		}
		return implied(LayerIdentity, reason)
	}
	if by <= byRole {
		if len(pols.Boundary) > 0 && !f.boundary.found {
			return implied(LayerBoundary, "the permissions boundary does not allow the action"+explain(pols.Boundary, req, false, w))
		}
		if (len(pols.Session) > 0 || req.Principal.Type == FederatedUser) && !f.session.found {
			return implied(LayerSession, "no session policy allows the action"+explain(pols.Session, req, false, w))
		}
	}
	switch {
	case by == byAccount && f.identity.found:
		return f.identity.decision(Allowed, LayerIdentity, "allowed by an identity policy")
	case viaGrant:
		return allowedBy(grant)
	case f.resource.found:
		return f.resource.decision(Allowed, LayerResource, "allowed by the resource policy")
	default:
		return Decision{Effect: Allowed, Layer: LayerNone, Reason: "root user of the account"}
	}
}

// mustGrant reports whether an identity policy of the owning account does not
// suffice: for KMS keys and role trust policies.
func mustGrant(req *Request, pols *Policies) bool {
	return isKey(req, pols) || req.Trust || pols.Resource != nil && pols.Resource.kind == TrustPolicy
}

func isKey(req *Request, pols *Policies) bool {
	return req.KMSKey || pols.Resource != nil && pols.Resource.kind == KeyPolicy
}

func sameAccount(req *Request) bool {
	owner := req.ResourceAccount
	if owner == "" {
		if req.Resource == "*" {
			return req.Principal.Account != ""
		}
		a, _ := splitARN(req.Resource)
		owner = a.account
	}
	return owner != "" && owner == req.Principal.Account
}

func allowedBy(g *Grant) Decision {
	return Decision{Effect: Allowed, Layer: LayerGrant, Grant: g.ID, Reason: "allowed by a grant"}
}

func implied(layer, reason string) Decision {
	return Decision{Effect: ImplicitlyDenied, Layer: layer, Reason: reason}
}
