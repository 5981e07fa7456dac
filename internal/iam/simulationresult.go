package iam

import (
	"regexp"
	"slices"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/authz/catalog"
)

// action is the result for one action on all resources.
func (sim *simulation) action(action string) iamapi.EvaluationResult {
	missing := sim.missing(action)
	all := iamapi.EvaluationResult{
		EvalActionName: action, EvalDecision: iamapi.PolicyEvaluationDecisionTypeAllowed,
		MatchedStatements: []iamapi.Statement{}, MissingContextValues: missing,
	}
	matched := map[statementPlace]bool{}
	for _, resource := range sim.resources {
		one, organized := sim.evaluate(action, resource)
		one.MissingContextValues = missing
		sim.charge(&one)
		if sim.work.Spent() {
			return all // which nobody gets
		}
		all.EvalDecision = stricter(all.EvalDecision, one.EvalResourceDecision)
		for _, m := range one.MatchedStatements {
			if at := placeOf(&m); !matched[at] {
				matched[at] = true
				all.MatchedStatements = append(all.MatchedStatements, m)
			}
		}
		if organized != nil {
			before := all.OrganizationsDecisionDetail == nil || *all.OrganizationsDecisionDetail.AllowedByOrganizations
			all.OrganizationsDecisionDetail = &iamapi.OrganizationsDecisionDetail{AllowedByOrganizations: new(*organized && before)}
		}
		if b := one.PermissionsBoundaryDecisionDetail; b != nil {
			before := all.PermissionsBoundaryDecisionDetail == nil || *all.PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary
			all.PermissionsBoundaryDecisionDetail = &iamapi.PermissionsBoundaryDecisionDetail{AllowedByPermissionsBoundary: new(*b.AllowedByPermissionsBoundary && before)}
		}
		if sim.named {
			all.ResourceSpecificResults = append(all.ResourceSpecificResults, one)
		}
		if len(sim.resources) == 1 {
			all.EvalResourceName, all.EvalDecisionDetails = &resource, one.EvalDecisionDetails
		}
	}
	if len(sim.resources) > 1 {
		all.EvalResourceName = sim.resourceTemplate(action)
	}
	return all
}

// resourceTemplate is how AWS names several resources of an action together:
// by the form that their ARNs have; nil when we know none.
func (sim *simulation) resourceTemplate(action string) *string {
	a, ok := catalog.Lookup(action)
	if !ok {
		return nil
	}
	for i := range a.Resources {
		var form strings.Builder
		for j, part := range strings.Split(a.Resources[i].ARN, "${") {
			if j > 0 {
				form.WriteString(".+")
				_, part, _ = strings.Cut(part, "}")
			}
			form.WriteString(regexp.QuoteMeta(part))
		}
		re, err := regexp.Compile("^" + form.String() + "$")
		other := func(r string) bool {
			sim.work.Spend(answerSteps * len(r))
			return !re.MatchString(r)
		}
		if err == nil && !slices.ContainsFunc(sim.resources, other) {
			return &a.Resources[i].ARN
		}
	}
	return nil
}

// statementPlace tells statements of results apart.
type statementPlace struct {
	policy       string
	typ          iamapi.PolicySourceType
	line, column int32
}

func placeOf(s *iamapi.Statement) statementPlace {
	at := statementPlace{policy: *s.SourcePolicyId, typ: s.SourcePolicyType}
	if p := s.StartPosition; p != nil {
		at.line, at.column = value(p.Line), value(p.Column)
	}
	return at
}

func stricter(a, b iamapi.PolicyEvaluationDecisionType) iamapi.PolicyEvaluationDecisionType {
	for _, d := range []iamapi.PolicyEvaluationDecisionType{iamapi.PolicyEvaluationDecisionTypeExplicitDeny, iamapi.PolicyEvaluationDecisionTypeImplicitDeny} {
		if a == d || b == d {
			return d
		}
	}
	return a
}

// evaluate is the result for one action on one resource, and whether control
// policies allow it, if there are any.
func (sim *simulation) evaluate(action, resource string) (result iamapi.ResourceSpecificResult, organized *bool) {
	policies := sim.policies
	if sim.resource != nil {
		policies.Resource = sim.resource[resourcePolicyKind(action, resource)]
	}
	req := authz.Request{
		Principal: sim.principal, Action: action, Resource: resource, ResourceAccount: sim.account(resource), Context: sim.context,
		Work: sim.work,
	}
	d := authz.Decide(&req, &policies, nil)
	result = iamapi.ResourceSpecificResult{
		EvalResourceName: resource, EvalResourceDecision: simulatedDecision(d),
		MatchedStatements: matchedStatements(&req, &policies, d),
	}
	own := req // as if the resource were the principal's own
	own.ResourceAccount = sim.principal.Account
	alone := func(p authz.Policies) iamapi.PolicyEvaluationDecisionType {
		return simulatedDecision(authz.Decide(&own, &p, nil))
	}
	if len(policies.SCP) > 0 {
		verdict := alone(authz.Policies{Identity: []*authz.Policy{sim.everything}, SCP: policies.SCP})
		organized = new(verdict == iamapi.PolicyEvaluationDecisionTypeAllowed)
	}
	var bounded iamapi.PolicyEvaluationDecisionType
	if len(policies.Boundary) > 0 {
		bounded = alone(authz.Policies{Identity: policies.Boundary})
		result.PermissionsBoundaryDecisionDetail = &iamapi.PermissionsBoundaryDecisionDetail{
			AllowedByPermissionsBoundary: new(bounded == iamapi.PolicyEvaluationDecisionTypeAllowed),
		}
	}
	switch {
	case organized != nil && !*organized:
	case req.ResourceAccount != sim.principal.Account:
		result.EvalDecisionDetails = map[string]iamapi.PolicyEvaluationDecisionType{
			sourceIdentity: alone(authz.Policies{Identity: policies.Identity}),
			sourceResource: simulatedDecision(authz.Decide(&req, &authz.Policies{Identity: []*authz.Policy{sim.everything}, Resource: policies.Resource}, nil)),
		}
		if bounded != "" {
			result.EvalDecisionDetails[sourceBoundary] = bounded
		}
	case sim.named:
		result.EvalDecisionDetails = map[string]iamapi.PolicyEvaluationDecisionType{}
	}
	return result, organized
}

// statementBytes is about what one statement of a result takes in the answer.
const statementBytes = 512

// charge takes from the work what a result costs to answer.
func (sim *simulation) charge(r *iamapi.ResourceSpecificResult) {
	n := statementBytes*(1+len(r.MatchedStatements)) + len(r.EvalResourceName)
	for _, key := range r.MissingContextValues {
		n += statementBytes/8 + len(key)
	}
	sim.work.Spend(answerSteps * n)
}

// account is the one that owns a resource.
func (sim *simulation) account(resource string) string {
	if parts := strings.SplitN(resource, ":", 6); len(parts) == 6 && validAccount(parts[4]) {
		return parts[4]
	}
	return sim.owner
}

func simulatedDecision(d authz.Decision) iamapi.PolicyEvaluationDecisionType {
	switch d.Effect {
	case authz.Allowed:
		return iamapi.PolicyEvaluationDecisionTypeAllowed
	case authz.ExplicitlyDenied:
		return iamapi.PolicyEvaluationDecisionTypeExplicitDeny
	default:
		return iamapi.PolicyEvaluationDecisionTypeImplicitDeny
	}
}

// matchedStatements returns the statements that determine the decision: what
// denies, or else what allows; a boundary cannot allow, and control policies
// are not the account's to read.
func matchedStatements(req *authz.Request, policies *authz.Policies, d authz.Decision) []iamapi.Statement {
	matched := []iamapi.Statement{}
	if d.Effect == authz.ImplicitlyDenied {
		return matched
	}
	for _, m := range authz.Matches(req, policies) {
		var typ iamapi.PolicySourceType
		switch {
		case m.Deny != (d.Effect == authz.ExplicitlyDenied):
			continue
		case m.Layer == authz.LayerIdentity:
			typ = sourceIdentity
		case m.Layer == authz.LayerResource:
			typ = sourceResource
		case m.Layer == authz.LayerBoundary && m.Deny:
			typ = sourceBoundary
		default:
			continue
		}
		s := iamapi.Statement{SourcePolicyId: new(m.Policy), SourcePolicyType: typ}
		if m.Statement != "" {
			s.StartPosition = &iamapi.Position{Line: new(int32(m.Start.Line)), Column: new(int32(m.Start.Column))}
			s.EndPosition = &iamapi.Position{Line: new(int32(m.End.Line)), Column: new(int32(m.End.Column))}
		}
		matched = append(matched, s)
	}
	return matched
}
