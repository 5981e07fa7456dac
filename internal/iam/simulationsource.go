package iam

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// simulationSource is the user, group or role whose policies are simulated.
// Each policy has the name that results give it.
type simulationSource struct {
	principal    authz.Principal
	identity     []*authz.Policy
	boundary     []*authz.Policy
	controls     [][]*authz.Policy
	uncontrolled bool // control policies are left out
}

// sourceKind tells what an ARN of the policy simulator names.
func (s *Service) sourceKind(sourceARN string) (k *kind, account, name string, ok bool) {
	a, ok := parseARN(sourceARN)
	if !ok || a.service != "iam" || !validAccount(a.account) {
		return nil, "", "", false
	}
	for _, k := range []*kind{s.users, s.groups, s.roles} {
		if name, ok := a.name(k.noun); ok {
			return k, a.account, name, true
		}
	}
	return nil, "", "", false
}

// ofSource is the resolver of operations on the policies of a user, group or
// role.
func ofSource[In any](s *Service, source func(*In) string) protocol.Resolver[In] {
	return func(ctx context.Context, in *In) ([]protocol.Check, error) {
		c := protocol.Check{Resource: source(in), Account: accountOf(ctx), Context: authz.NewContext()}
		k, account, name, ok := s.sourceKind(c.Resource)
		if !ok {
			return []protocol.Check{c}, nil
		}
		if c.Account = account; account != accountOf(ctx) {
			return []protocol.Check{c}, nil
		}
		e, err := s.read(ctx, k, name)
		if errors.Is(err, iamapi.NoSuchEntityException("")) {
			return []protocol.Check{c}, nil
		}
		resourceTags(c.Context, e.Tags)
		return []protocol.Check{c}, err
	}
}

// simulationSource reads the policies of a user, those of its groups included,
// of a group or of a role, but for what is excluded.
//
// Errors: InvalidInput; NoSuchEntity.
func (s *Service) simulationSource(ctx context.Context, sourceARN string, excluded []iamapi.PolicyIdentifier) (*simulationSource, error) {
	k, account, name, ok := s.sourceKind(sourceARN)
	if !ok {
		return nil, iamapi.InvalidInputException("Invalid Entity Arn: %s does not clearly define entity type and name.", sourceARN)
	}
	var from simulationSource
	for _, x := range excluded {
		switch x.PolicyType {
		case iamapi.PolicyIdentifierPolicyTypeRcp:
			return nil, iamapi.InvalidInputException("Resource control policies take no part in a simulation and cannot be excluded.")
		case iamapi.PolicyIdentifierPolicyTypeScp:
			from.uncontrolled = true
		}
	}
	none := iamapi.NoSuchEntityException("The %s with name %s cannot be found.", k.noun, name)
	if account != accountOf(ctx) {
		return nil, none
	}
	err := s.view(ctx, func(tx *store.Tx) error {
		e, err := k.get(tx, account, name)
		if err == nil && k.arn(&e) != sourceARN {
			err = none
		}
		if err != nil {
			return err
		}
		from.principal, from.identity, from.boundary = authz.Principal{Type: authz.User, Account: account}, nil, nil
		switch k {
		case s.users:
			from.principal.ARN, from.principal.UserID = sourceARN, e.ID
		case s.roles:
			from.principal = simulatedSession(sourceARN, account, e.Name)
			from.principal.RoleID = e.ID
		}
		if from.identity, err = s.sourcePolicies(tx, k, &e, excluded); err != nil {
			return err
		}
		for _, id := range e.Groups {
			g, err := s.groups.withID(tx, account, "", id)
			if errors.Is(err, store.ErrNotFound) {
				from.identity = append(from.identity, authz.Unreadable("group "+id))
				continue
			}
			if err != nil {
				return fmt.Errorf("read group: %w", err)
			}
			policies, err := s.sourcePolicies(tx, s.groups, &g, excluded)
			if err != nil {
				return err
			}
			from.identity = append(from.identity, policies...)
		}
		if e.Boundary == "" || excludes(excluded, iamapi.PolicyIdentifierPolicyTypePermissionBoundary, e.Boundary, nil) {
			return nil
		}
		p, err := s.sourceManaged(tx, authz.BoundaryPolicy, account, e.Boundary)
		from.boundary = []*authz.Policy{p}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &from, nil
}

// sourcePolicies compiles the policies that are a user's, group's or role's
// own.
func (s *Service) sourcePolicies(tx *store.Tx, k *kind, e *entity, excluded []iamapi.PolicyIdentifier) ([]*authz.Policy, error) {
	var all []*authz.Policy
	for _, n := range slices.Sorted(maps.Keys(e.Inline)) {
		inline := iamapi.InlinePolicyIdentifierType{PolicyName: n, AttachmentType: iamapi.AttachmentType(k.noun), AttachmentName: e.Name}
		if !excludes(excluded, iamapi.PolicyIdentifierPolicyTypeInline, "", &inline) {
			all = append(all, compile(authz.IdentityPolicy, k.noun+"_"+e.Name+"_"+n, e.Inline[n]))
		}
	}
	for _, policyARN := range e.Attached {
		typ := iamapi.PolicyIdentifierPolicyTypeUserManaged
		if strings.HasPrefix(policyARN, awsPolicyPrefix) {
			typ = iamapi.PolicyIdentifierPolicyTypeAwsManaged
		}
		if excludes(excluded, typ, policyARN, nil) {
			continue
		}
		p, err := s.sourceManaged(tx, authz.IdentityPolicy, e.Account, policyARN)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// sourceManaged compiles a managed policy under its name, without the path.
func (s *Service) sourceManaged(tx *store.Tx, k authz.Kind, account, policyARN string) (*authz.Policy, error) {
	p, err := s.compileManaged(tx, k, account, policyARN)
	if err != nil {
		return nil, err
	}
	p.Name = policyARN[strings.LastIndexByte(policyARN, '/')+1:]
	return p, nil
}

// excludes reports whether a policy is on the list: by its type, its ARN, or
// as the inline policy that it is.
func excludes(list []iamapi.PolicyIdentifier, typ iamapi.PolicyIdentifierPolicyType, policyARN string, inline *iamapi.InlinePolicyIdentifierType) bool {
	for _, x := range list {
		switch {
		case x.PolicyType == typ,
			x.PolicyArn != nil && policyARN != "" && *x.PolicyArn == policyARN,
			x.InlinePolicyIdentifier != nil && inline != nil && *x.InlinePolicyIdentifier == *inline:
			return true
		}
	}
	return false
}

// simulatedContext reads the condition keys of a request. A list type holds a
// set; the others have one value.
func simulatedContext(entries []iamapi.ContextEntry) (authz.Context, error) {
	c := authz.NewContext()
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		name := value(e.ContextKeyName)
		if name == "" {
			return c, iamapi.InvalidInputException("Invalid Context Entry: a context key has no name.")
		}
		if seen[strings.ToLower(name)] {
			return c, iamapi.InvalidInputException("Invalid Context Entry: %s is given twice.", name)
		}
		seen[strings.ToLower(name)] = true
		typ, list := strings.CutSuffix(string(e.ContextKeyType), "List")
		if typ == "" && len(e.ContextKeyValues) != 1 {
			list = true
		}
		for _, v := range e.ContextKeyValues {
			if !contextValue(typ, v) {
				return c, iamapi.InvalidInputException("Invalid Context Entry: %s has a value that is not of type %s.", name, typ)
			}
		}
		switch {
		case list:
			c.SetMulti(name, e.ContextKeyValues...)
		case len(e.ContextKeyValues) != 1:
			return c, iamapi.InvalidInputException("Invalid Context Entry: %s of type %s must have one value.", name, typ)
		default:
			c.Set(name, e.ContextKeyValues[0])
		}
	}
	return c, nil
}

// contextValue reports whether a value is of a type of ContextKeyTypeEnum, for
// lists that of their members.
func contextValue(typ, v string) bool {
	switch typ {
	case string(iamapi.ContextKeyTypeEnumNumeric):
		_, err := strconv.ParseFloat(v, 64)
		return err == nil && strings.Trim(v, "0123456789.+-") == ""
	case string(iamapi.ContextKeyTypeEnumBoolean):
		return strings.EqualFold(v, "true") || strings.EqualFold(v, "false")
	case string(iamapi.ContextKeyTypeEnumIp):
		a, err := netip.ParseAddr(v)
		return err == nil && a.Zone() == ""
	case string(iamapi.ContextKeyTypeEnumBinary):
		_, err := base64.StdEncoding.DecodeString(v)
		return err == nil
	case string(iamapi.ContextKeyTypeEnumDate):
		if _, err := strconv.ParseInt(v, 10, 64); err == nil {
			return true
		}
		return slices.ContainsFunc([]string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", time.DateOnly}, func(layout string) bool {
			_, err := time.Parse(layout, v)
			return err == nil
		})
	default:
		return true
	}
}
