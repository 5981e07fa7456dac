package iam

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// registerSimulation adds the operations of the policy simulator.
func (s *Service) registerSimulation(r *protocol.Registry) {
	protocol.Handle(r, iamapi.SimulateCustomPolicy, protocol.AnyResource[iamapi.SimulateCustomPolicyInput], s.SimulateCustomPolicy)
	protocol.Handle(r, iamapi.SimulatePrincipalPolicy, ofSource(s, func(in *iamapi.SimulatePrincipalPolicyInput) string { return in.PolicySourceArn }), s.SimulatePrincipalPolicy)
	protocol.Handle(r, iamapi.GetContextKeysForCustomPolicy, protocol.AnyResource[iamapi.GetContextKeysForCustomPolicyInput], s.GetContextKeysForCustomPolicy)
	protocol.Handle(r, iamapi.GetContextKeysForPrincipalPolicy, ofSource(s, func(in *iamapi.GetContextKeysForPrincipalPolicyInput) string { return in.PolicySourceArn }), s.GetContextKeysForPrincipalPolicy)
}

// Types of policies in results, as AWS sends them; its model has other names,
// which it does not use.
const (
	sourceIdentity = "IAM Policy"
	sourceResource = "Resource Policy"
	sourceBoundary = "Permissions Boundary Policy"
)

// Limits of one simulation, so that no request costs much.
const (
	simulatedItems = 1000    // actions, resources, policies and context entries
	simulatedWork  = 500_000 // statements looked at for a page, beyond its first action
	// simulatedSteps ends a page, and refuses a simulation of which not even one
	// action can be answered: a third of a second. What is answered counts as well,
	// as if each byte took answerSteps.
	simulatedSteps = 1 << 27
	answerSteps    = 8
)

// simulationInput is what both simulations are asked for.
type simulationInput struct {
	policies, boundaries  []string
	actions, resources    []string
	resourcePolicy, owner *string
	caller                *string
	entries               []iamapi.ContextEntry
	maxItems              *int32
}

// simulation is a simulation that can answer for actions and resources.
type simulation struct {
	principal  authz.Principal
	policies   authz.Policies               // but for the resource's one
	resource   map[authz.Kind]*authz.Policy // the resource policy, read as what a resource needs
	everything *authz.Policy                // allows everything
	owner      string                       // account of resources that do not tell theirs
	context    authz.Context
	referred   []*authz.Policy // those that condition keys are missing for
	resources  []string
	named      bool // resources were given
	work       *authz.Work
}

// SimulateCustomPolicy tells what policies would allow if they were attached to
// a user of the caller's account, or to CallerArn. There is one result for each
// action, with one for each resource in it; several resources together have the
// strictest of their decisions. It runs on the engine that decides real
// requests; neither the policies of real resources take part in it nor grants,
// and of the condition keys of a real request only those that tell who asks.
// Control policies are those of the request. ResourceHandlingOption concerns
// Amazon EC2 and changes nothing. Against AWS's own simulator, CallerArn may
// also name a role.
//
// Errors: InvalidInput for a policy, ARN or context entry that cannot be read,
// for too many of them, and for a simulation that costs too much.
//
// Source: IAM API Reference, SimulateCustomPolicy.
func (s *Service) SimulateCustomPolicy(ctx context.Context, in *iamapi.SimulateCustomPolicyInput) (*iamapi.SimulateCustomPolicyOutput, error) {
	asked := simulationInput{
		policies: in.PolicyInputList, boundaries: in.PermissionsBoundaryPolicyInputList, actions: in.ActionNames, resources: in.ResourceArns,
		resourcePolicy: in.ResourcePolicy, owner: in.ResourceOwner, caller: in.CallerArn, entries: in.ContextEntries, maxItems: in.MaxItems,
	}
	from := simulationSource{principal: authz.Principal{Type: authz.User, Account: accountOf(ctx)}}
	for i, level := range in.OrderedOrganizationPolicyInputList {
		if len(level.ServiceControlPolicyInputList) == 0 {
			return nil, iamapi.InvalidInputException("Organization policy at index %d must contain at least one service control policy", i+1)
		}
		policies, err := parseSimulated(authz.SCP, "OrderedOrganizationPolicyInputList", level.ServiceControlPolicyInputList)
		if err != nil {
			return nil, err
		}
		from.controls = append(from.controls, policies)
	}
	sim, err := newSimulation(&asked, &from)
	if err != nil {
		return nil, err
	}
	same := *in
	same.Marker, same.MaxItems = nil, nil
	out := &iamapi.SimulateCustomPolicyOutput{}
	out.EvaluationResults, out.IsTruncated, out.Marker, err = simulatePage(ctx, s, sim, &asked, "SimulateCustomPolicy", same, in.Marker)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SimulatePrincipalPolicy is SimulateCustomPolicy with the policies of a user,
// those of its groups included, of a group or of a role, together with those of
// the request. A permissions boundary in the request takes the place of the
// principal's own; control policies are those of the account.
//
// Errors: NoSuchEntity; InvalidInput.
//
// Source: IAM API Reference, SimulatePrincipalPolicy.
func (s *Service) SimulatePrincipalPolicy(ctx context.Context, in *iamapi.SimulatePrincipalPolicyInput) (*iamapi.SimulatePrincipalPolicyOutput, error) {
	from, err := s.simulationSource(ctx, in.PolicySourceArn, in.PolicyExclusionList)
	if err != nil {
		return nil, err
	}
	if s.controls != nil && !from.uncontrolled {
		if from.controls, err = s.controls(ctx, accountOf(ctx)); err != nil {
			return nil, fmt.Errorf("read control policies: %w", err)
		}
	}
	asked := simulationInput{
		policies: in.PolicyInputList, boundaries: in.PermissionsBoundaryPolicyInputList, actions: in.ActionNames, resources: in.ResourceArns,
		resourcePolicy: in.ResourcePolicy, owner: in.ResourceOwner, caller: in.CallerArn, entries: in.ContextEntries, maxItems: in.MaxItems,
	}
	sim, err := newSimulation(&asked, from)
	if err != nil {
		return nil, err
	}
	same := *in
	same.Marker, same.MaxItems = nil, nil
	out := &iamapi.SimulatePrincipalPolicyOutput{}
	out.EvaluationResults, out.IsTruncated, out.Marker, err = simulatePage(ctx, s, sim, &asked, "SimulatePrincipalPolicy", same, in.Marker)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// GetContextKeysForCustomPolicy lists the condition keys that policies refer
// to, in conditions and policy variables. Errors: InvalidInput.
func (s *Service) GetContextKeysForCustomPolicy(_ context.Context, in *iamapi.GetContextKeysForCustomPolicyInput) (*iamapi.GetContextKeysForCustomPolicyOutput, error) {
	policies, err := parseSimulated(authz.IdentityPolicy, "PolicyInputList", in.PolicyInputList)
	if err != nil {
		return nil, err
	}
	return &iamapi.GetContextKeysForCustomPolicyOutput{ContextKeyNames: contextKeys(policies, (*authz.Policy).ContextKeys)}, nil
}

// GetContextKeysForPrincipalPolicy lists the condition keys that the policies
// of a user, those of its groups included, of a group or of a role refer to,
// its permissions boundary's too, and those of policies in the request.
//
// Errors: NoSuchEntity; InvalidInput.
func (s *Service) GetContextKeysForPrincipalPolicy(ctx context.Context, in *iamapi.GetContextKeysForPrincipalPolicyInput) (*iamapi.GetContextKeysForPrincipalPolicyOutput, error) {
	from, err := s.simulationSource(ctx, in.PolicySourceArn, nil)
	if err != nil {
		return nil, err
	}
	policies, err := parseSimulated(authz.IdentityPolicy, "PolicyInputList", in.PolicyInputList)
	if err != nil {
		return nil, err
	}
	return &iamapi.GetContextKeysForPrincipalPolicyOutput{
		ContextKeyNames: contextKeys(slices.Concat(from.identity, from.boundary, policies), (*authz.Policy).ContextKeys),
	}, nil
}

// parseSimulated reads documents of a request; they are named by their place
// in its list, from 1.
func parseSimulated(k authz.Kind, list string, docs []string) ([]*authz.Policy, error) {
	if len(docs) > simulatedItems {
		return nil, iamapi.InvalidInputException("%s cannot exceed %d items.", list, simulatedItems)
	}
	policies := make([]*authz.Policy, len(docs))
	for i, doc := range docs {
		p, err := authz.Parse(k, []byte(doc))
		if m, ok := errors.AsType[*authz.MalformedError](err); ok {
			return nil, iamapi.InvalidInputException("%s", m.Message).Because(err)
		}
		if err != nil {
			return nil, err
		}
		p.Name = fmt.Sprintf("%s.%d", list, i+1)
		policies[i] = p
	}
	return policies, nil
}

// contextKeys returns the keys of policies, sorted and each once whatever its
// case.
func contextKeys(policies []*authz.Policy, of func(*authz.Policy) []string) []string {
	keys := []string{}
	for _, p := range policies {
		keys = append(keys, of(p)...)
	}
	slices.SortStableFunc(keys, func(a, b string) int {
		return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
	})
	return slices.CompactFunc(keys, strings.EqualFold)
}

// newSimulation checks a request and puts the policies of its source beside
// its own.
func newSimulation(in *simulationInput, from *simulationSource) (*simulation, error) {
	sim := &simulation{principal: from.principal, resources: in.resources, named: len(in.resources) > 0}
	if !sim.named {
		sim.resources = []string{"*"}
	}
	sim.named = sim.named && in.resources[0] != "*"
	if err := checkSimulated(in); err != nil {
		return nil, err
	}
	policies, err := parseSimulated(authz.IdentityPolicy, "PolicyInputList", in.policies)
	if err != nil {
		return nil, err
	}
	boundaries, err := parseSimulated(authz.BoundaryPolicy, "PermissionsBoundaryPolicyInputList", in.boundaries)
	if err != nil {
		return nil, err
	}
	if len(boundaries) == 0 {
		boundaries = from.boundary
	}
	sim.policies = authz.Policies{Identity: slices.Concat(from.identity, policies), Boundary: boundaries, SCP: from.controls}
	sim.everything = compile(authz.IdentityPolicy, "", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`)
	if sim.context, err = simulatedContext(in.entries); err != nil {
		return nil, err
	}
	if err := sim.ask(in, from); err != nil {
		return nil, err
	}
	if err := sim.readResourcePolicy(in); err != nil {
		return nil, err
	}
	sim.referred = slices.Concat(sim.policies.Identity, sim.policies.Boundary)
	for _, p := range sim.resource {
		sim.referred = append(sim.referred, p)
	}
	return sim, nil
}

// missing returns the condition keys without a value to which statements about
// the action refer.
func (sim *simulation) missing(action string) []string {
	keys := contextKeys(sim.referred, func(p *authz.Policy) []string { return p.ContextKeysFor(action) })
	sim.work.Spend(answerSteps * answerSteps * len(keys))
	return slices.DeleteFunc(keys, func(key string) bool {
		_, have := sim.context.Get(key)
		return have
	})
}

// checkSimulated refuses what cannot be an action or a resource, and too much
// of anything.
func checkSimulated(in *simulationInput) error {
	for _, list := range []struct {
		name string
		n    int
		most int
	}{
		{"PermissionsBoundaryPolicyInputList", len(in.boundaries), 1},
		{"ActionNames", len(in.actions), simulatedItems},
		{"ResourceArns", len(in.resources), simulatedItems},
		{"ContextEntries", len(in.entries), simulatedItems},
	} {
		if list.n > list.most {
			return iamapi.InvalidInputException("%s cannot exceed %d items.", list.name, list.most)
		}
	}
	if len(in.actions) == 0 {
		return iamapi.InvalidInputException("ActionNames must not be empty.")
	}
	for _, a := range in.actions {
		service, name, ok := strings.Cut(a, ":")
		if !ok || service == "" || name == "" || strings.ContainsAny(a, "*? ") || strings.Contains(name, ":") {
			return iamapi.InvalidInputException("Invalid Input Actions: %s is not the name of an action.", a)
		}
	}
	for _, r := range in.resources {
		parts := strings.SplitN(r, ":", 6)
		if r == "*" && len(in.resources) == 1 {
			continue
		}
		if len(parts) != 6 || parts[0] != "arn" || parts[1] == "" || parts[2] == "" || parts[5] == "" {
			return iamapi.InvalidInputException("ResourceNames are not in a valid ARN format: %s.", r)
		}
	}
	return nil
}

// ask says who asks, and whose the resources are that do not tell.
func (sim *simulation) ask(in *simulationInput, from *simulationSource) error {
	if in.caller != nil {
		p, ok := simulatedCaller(*in.caller)
		if !ok {
			return iamapi.InvalidInputException("Invalid caller - Caller must be an IAM user or role in this context.")
		}
		sim.principal = p
	}
	p := &sim.principal
	facts := map[string]string{"aws:PrincipalAccount": p.Account}
	switch {
	case p.Type == authz.AssumedRole:
		facts["aws:PrincipalArn"], facts["aws:PrincipalType"] = p.RoleARN, "AssumedRole"
	case p.ARN != "":
		facts["aws:PrincipalArn"], facts["aws:PrincipalType"] = p.ARN, "User"
		facts["aws:username"] = p.ARN[strings.LastIndexByte(p.ARN, '/')+1:]
		if p.ARN == from.principal.ARN && from.principal.UserID != "" {
			facts["aws:userid"] = from.principal.UserID
		}
	}
	for key, v := range facts {
		if _, given := sim.context.Get(key); !given {
			sim.context.Set(key, v)
		}
	}
	if sim.owner = p.Account; in.owner != nil {
		a, ok := parseARN(*in.owner)
		if !ok || a.service != "iam" || !validAccount(a.account) {
			return iamapi.InvalidInputException("Invalid Resource Owner.")
		}
		sim.owner = a.account
	}
	return nil
}

// simulatedCaller returns the principal of a user's or role's ARN.
func simulatedCaller(callerARN string) (authz.Principal, bool) {
	a, ok := parseARN(callerARN)
	if !ok || a.service != "iam" || !validAccount(a.account) {
		return authz.Principal{}, false
	}
	if _, ok := a.name("user"); ok {
		return authz.Principal{Type: authz.User, ARN: callerARN, Account: a.account}, true
	}
	name, ok := a.name("role")
	return simulatedSession(callerARN, a.account, name), ok
}

// simulatedSession is a session of a role.
func simulatedSession(roleARN, account, name string) authz.Principal {
	return authz.Principal{
		Type: authz.AssumedRole, RoleARN: roleARN, Account: account, ARN: "arn:aws:sts::" + account + ":assumed-role/" + name + "/simulated",
	}
}

// readResourcePolicy reads the resource policy of the request as what each
// resource has: a key policy, a trust policy or another.
func (sim *simulation) readResourcePolicy(in *simulationInput) error {
	if in.resourcePolicy == nil {
		return nil
	}
	if sim.principal.ARN == "" {
		return iamapi.InvalidInputException("Invalid caller - Caller cannot be null or empty.")
	}
	if !sim.named {
		return iamapi.InvalidInputException("Invalid Entity Arn: * does not clearly define entity type and name.")
	}
	sim.resource = map[authz.Kind]*authz.Policy{}
	for _, r := range in.resources {
		for _, a := range in.actions {
			k := resourcePolicyKind(a, r)
			if sim.resource[k] != nil {
				continue
			}
			p, err := parseSimulated(k, "ResourcePolicy", []string{*in.resourcePolicy})
			if err != nil {
				return err
			}
			p[0].Name = "ResourcePolicy"
			sim.resource[k] = p[0]
		}
	}
	return nil
}

// resourcePolicyKind is the kind of policy that a resource has, which decides
// whether identity policies of its account suffice.
func resourcePolicyKind(action, resource string) authz.Kind {
	parts := strings.SplitN(resource, ":", 6)
	service, name := parts[2], parts[5]
	switch {
	case service == "kms" && strings.HasPrefix(name, "key/"):
		return authz.KeyPolicy
	case service == "iam" && strings.HasPrefix(name, "role/") && strings.EqualFold(action[:strings.IndexByte(action, ':')], "sts"):
		return authz.TrustPolicy
	default:
		return authz.ResourcePolicy
	}
}

// simulatePage answers for the actions of one page.
func simulatePage(ctx context.Context, s *Service, sim *simulation, in *simulationInput, operation string, same any, marker *string) ([]iamapi.EvaluationResult, *bool, *string, error) {
	request, err := json.Marshal(same)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("name simulation: %w", err)
	}
	statements := 1
	for _, p := range slices.Concat(sim.policies.Identity, sim.policies.Boundary, slices.Concat(sim.policies.SCP...)) {
		statements += p.Len()
	}
	// AWS, too, may return fewer items than asked for.
	limit := int32(max(1, min(defaultItems, simulatedWork/(statements*len(sim.resources)))))
	if in.maxItems != nil {
		limit = min(*in.maxItems, int32(max(1, min(simulatedItems, simulatedWork/(statements*len(sim.resources))))))
	}
	l := listing{name: fmt.Sprintf("%s|%x", operation, sha256.Sum256(request)), marker: marker, maxItems: &limit}
	places := make([]int, len(in.actions))
	for i := range places {
		places[i] = i
	}
	turn := func() ([]int, *bool, *string, error) {
		return page(ctx, s, l, slices.Clone(places), func(i int) string { return fmt.Sprintf("%09d", i) })
	}
	due, truncated, next, err := turn()
	if err != nil {
		return nil, nil, nil, err
	}
	sim.work = authz.NewWork(simulatedSteps)
	results := make([]iamapi.EvaluationResult, len(due))
	for i, at := range due {
		if err := ctx.Err(); err != nil {
			return nil, nil, nil, err
		}
		results[i] = sim.action(in.actions[at])
		if !sim.work.Spent() {
			continue
		}
		if i == 0 {
			return nil, nil, nil, iamapi.InvalidInputException("The simulation is too large. Ask about fewer resources or policies at a time.")
		}
		results, limit = results[:i], int32(i)
		_, truncated, next, err = turn()
		break
	}
	return results, truncated, next, err
}
