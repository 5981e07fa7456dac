package authz

import (
	"fmt"
	"strings"
)

// DeniedMessage is the text AWS gives to a caller who is denied. It names the
// type of the policy that decided and nothing of its content. An empty resource
// is left out.
// Source: IAM User Guide, "Troubleshoot access denied error messages".
func DeniedMessage(principalARN, action, resource string, d Decision) string {
	var b strings.Builder
	fmt.Fprintf(&b, "User: %s is not authorized to perform: %s", principalARN, action)
	if resource != "" {
		fmt.Fprintf(&b, " on resource: %s", resource)
	}
	typ, article := "", "a"
	switch d.Layer {
	case LayerIdentity:
		typ, article = "identity-based policy", "an"
	case LayerResource, LayerGrant:
		typ = "resource-based policy"
	case LayerBoundary:
		typ = "permissions boundary"
	case LayerSession:
		typ = "session policy"
	case LayerSCP:
		typ = "service control policy"
	case LayerRCP:
		typ = "resource control policy"
	}
	switch {
	case typ == "":
	case d.Effect == ExplicitlyDenied:
		fmt.Fprintf(&b, " with an explicit deny in %s %s", article, typ)
	case d.Effect == ImplicitlyDenied:
		fmt.Fprintf(&b, " because no %s allows the %s action", typ, action)
	}
	return b.String()
}

// noResourceAllow says why the resource side does not allow.
func noResourceAllow(req *Request, pols *Policies, grants []Grant, w *Work) string {
	reason := "the resource has no policy"
	if pols.Resource != nil {
		reason = "the resource policy does not allow the action" + explain([]*Policy{pols.Resource}, req, true, w)
	}
	return reason + explainGrants(req, grants)
}

// explain names the Allow statement that came closest to applying, and what
// kept it from it. It starts with ": ", or is empty when there is nothing to
// say.
func explain(policies []*Policy, req *Request, principals bool, w *Work) string {
	if len(policies) == 0 {
		return ": none is attached"
	}
	best, why := 0, ""
	for _, p := range policies {
		for i := range p.statements {
			s := &p.statements[i]
			if s.deny {
				continue
			}
			if rank, reason := s.nearness(req, principals, w); rank > best {
				best, why = rank, reason
				if p.Name != "" {
					why += fmt.Sprintf(" (policy %q)", p.Name)
				}
			}
		}
	}
	if best == 0 {
		return ": no statement allows " + req.Action
	}
	return ": " + why
}

// nearness ranks how near the statement is to applying, 0 for not at all.
func (s *statement) nearness(req *Request, principals bool, w *Work) (int, string) {
	if !s.matchAction(req.Action, w) {
		return 0, ""
	}
	name := s.title()
	switch {
	case principals && s.names(&req.Principal, false) == notNamed:
		return 1, name + " allows the action to other principals"
	case s.noResource:
		return 2, name + " has no Resource and so no effect"
	case !s.matchResource(req, w):
		return 2, name + " allows the action on other resources"
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		if c.eval(req.Context, w) == yes {
			continue
		}
		_, present := req.Context.lookup(c.key)
		switch {
		case c.operand == operandUnknown:
			return 3, fmt.Sprintf("%s has the unknown condition operator %s", name, c.opText)
		case !present:
			return 3, fmt.Sprintf("condition %s on %s of %s is not met: the request has no such key", c.opText, c.keyText, name)
		default:
			return 3, fmt.Sprintf("condition %s on %s of %s is not met", c.opText, c.keyText, name)
		}
	}
	return 0, ""
}
