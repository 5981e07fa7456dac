package iam

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/sigv4"
	"github.com/sagekeep/sagekeep/internal/store"
)

// ErrPrincipalGone is in the tree of PoliciesOf's error when the user or role
// was deleted, or made again under the same name.
var ErrPrincipalGone = errors.New("iam: the principal no longer exists")

type keyEntry struct {
	cred    *sigv4.Credential
	account string
	epoch   uint64
}

// entrySize is what an entry of a cache takes besides what varies, in bytes.
const entrySize = 1024

func (e keyEntry) size() int {
	caller, _ := e.cred.Owner.(*identity.Caller)
	return entrySize + mapSize(caller.SessionTags)
}

func mapSize(m map[string]string) int {
	n := 64 * len(m)
	for k, v := range m {
		n += len(k) + len(v)
	}
	return n
}

// Lookup is the verifier's sigv4.Lookup. The credential's Owner is an
// *identity.Caller, shared and immutable. Long-term keys come from rows;
// temporary ones from their sealed session token, whose role must still be the
// one that the session was made for.
//
// Errors: sigv4.ErrUnknownKey, ErrInactive, ErrTokenInvalid, ErrTokenExpired.
func (s *Service) Lookup(ctx context.Context, accessKeyID, sessionToken string) (*sigv4.Credential, error) {
	if sessionToken != "" {
		return s.lookupSession(ctx, accessKeyID, sessionToken)
	}
	if !strings.HasPrefix(accessKeyID, longTermPrefix) {
		return nil, sigv4.ErrUnknownKey
	}
	if have, ok := s.keyCache.get(accessKeyID); ok && have.epoch == s.store.Epoch(epochName(have.account)) {
		return have.cred, nil
	}
	// A key never changes its account, which names the epoch to take before the
	// rows that count are read.
	var k accessKeyRow
	read := func(tx *store.Tx) (err error) {
		k, err = s.keys.Get(tx, accessKeyID)
		if errors.Is(err, store.ErrNotFound) {
			return sigv4.ErrUnknownKey
		}
		return err
	}
	if err := s.view(ctx, read); err != nil {
		return nil, fmt.Errorf("read access key: %w", err)
	}
	entry := keyEntry{account: k.Account, epoch: s.store.Epoch(epochName(k.Account))}
	err := s.view(ctx, func(tx *store.Tx) error {
		if err := read(tx); err != nil {
			return err
		}
		if !k.Active {
			return sigv4.ErrInactive
		}
		owner, err := s.keyCaller(tx, &k)
		entry.cred = &sigv4.Credential{AccessKeyID: k.ID, Secret: k.Secret, Owner: owner}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read access key: %w", err)
	}
	s.keyCache.put(accessKeyID, entry)
	return entry.cred, nil
}

// keyCaller is the caller that a long-term key stands for.
func (s *Service) keyCaller(tx *store.Tx, k *accessKeyRow) (*identity.Caller, error) {
	if k.UserID == "" {
		return &identity.Caller{
			Type: identity.Root, Account: k.Account, ARN: rootARN(k.Account), PrincipalID: k.Account, AccessKeyID: k.ID,
		}, nil
	}
	e, err := s.users.table.Get(tx, k.Account, strings.ToLower(k.UserName))
	if errors.Is(err, store.ErrNotFound) || err == nil && e.ID != k.UserID {
		return nil, sigv4.ErrUnknownKey
	}
	if err != nil {
		return nil, err
	}
	return &identity.Caller{
		Type: identity.User, Account: k.Account, ARN: s.users.arn(&e), PrincipalID: e.ID, AccessKeyID: k.ID,
		UserName: e.Name, SessionTags: tagMap(e.Tags, nil),
	}, nil
}

// principalID names the cache entry of a user or role.
type principalID struct{ account, id string }

type policyEntry struct {
	policies authz.Policies
	epoch    uint64
}

func (e policyEntry) size() int {
	return entrySize + policiesSize(e.policies.Identity) + policiesSize(e.policies.Boundary)
}

func policiesSize(all []*authz.Policy) int {
	n := 0
	for _, p := range all {
		n += p.Size()
	}
	return n
}

// sessionPolicyID names the compiled session policies of one content.
type sessionPolicyID struct {
	account string
	sum     [sha256.Size]byte
}

type sessionPolicyEntry struct {
	policies []*authz.Policy
	epoch    uint64
}

func (e sessionPolicyEntry) size() int { return entrySize + policiesSize(e.policies) }

// PoliciesOf returns the policies that bind a caller on its own side, compiled
// and as they are now: identity policies, boundary, session policies. The root
// user, services and anonymous callers have none. A document that cannot be
// read, and a managed policy that is gone, deny.
//
// Errors: AccessDenied with ErrPrincipalGone in its tree. Any error denies.
func (s *Service) PoliciesOf(ctx context.Context, c *identity.Caller) (authz.Policies, error) {
	switch c.Type {
	case identity.Root, identity.Service, identity.Anonymous:
		return authz.Policies{}, nil
	case identity.User:
		return s.attachedTo(ctx, s.users, c.Account, c.UserName, c.PrincipalID)
	case identity.FederatedUser:
		p, err := s.federatedPolicies(ctx, c)
		if err == nil && len(c.SessionPolicies) > 0 {
			p.Session, err = s.sessionPolicies(ctx, c.Account, c.SessionPolicies)
		}
		if err != nil {
			return authz.Policies{}, err
		}
		return p, nil
	case identity.AssumedRole:
		p, err := s.attachedTo(ctx, s.roles, c.Account, c.RoleName, c.RoleID)
		if err == nil && len(c.SessionPolicies) > 0 {
			p.Session, err = s.sessionPolicies(ctx, c.Account, c.SessionPolicies)
		}
		if err != nil {
			return authz.Policies{}, err
		}
		return p, nil
	}
	return authz.Policies{}, fmt.Errorf("iam: no policies for a principal of type %q", c.Type)
}

// federatedPolicies returns those of the user behind a GetFederationToken
// session. The root user has none and may do everything, which the session
// policies limit.
func (s *Service) federatedPolicies(ctx context.Context, c *identity.Caller) (authz.Policies, error) {
	if c.UserName != "" {
		return s.attachedTo(ctx, s.users, c.Account, c.UserName, c.UserID)
	}
	all := compile(authz.IdentityPolicy, "root user", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`)
	return authz.Policies{Identity: []*authz.Policy{all}}, nil
}

// attachedTo returns identity policies and boundary of one user or role, those
// of a user's groups included.
func (s *Service) attachedTo(ctx context.Context, k *kind, account, name, id string) (authz.Policies, error) {
	key := principalID{account, id}
	epoch := s.store.Epoch(epochName(account))
	if have, ok := s.policyCache.get(key); ok && have.epoch == epoch {
		return have.policies, nil
	}
	var p authz.Policies
	err := s.view(ctx, func(tx *store.Tx) error {
		p = authz.Policies{}
		e, err := k.withID(tx, account, name, id)
		if errors.Is(err, store.ErrNotFound) {
			return iamapi.AccessDenied("The %s of this request no longer exists.", k.noun).Because(ErrPrincipalGone)
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", k.noun, err)
		}
		if p.Identity, err = s.compileIdentity(tx, &e, ""); err != nil {
			return err
		}
		for _, group := range e.Groups {
			more, err := s.compileGroup(tx, account, group)
			if err != nil {
				return err
			}
			p.Identity = append(p.Identity, more...)
		}
		if e.Boundary != "" {
			doc, err := s.compileManaged(tx, authz.BoundaryPolicy, account, e.Boundary)
			if err != nil {
				return err
			}
			p.Boundary = []*authz.Policy{doc}
		}
		return nil
	})
	if err != nil {
		return authz.Policies{}, err
	}
	if !s.store.InTransaction(ctx) { // what is not committed is not kept
		s.policyCache.put(key, policyEntry{policies: p, epoch: epoch})
	}
	return p, nil
}

// compileGroup compiles the policies of a group; one that is not there denies.
func (s *Service) compileGroup(tx *store.Tx, account, id string) ([]*authz.Policy, error) {
	g, err := s.groups.withID(tx, account, "", id)
	if errors.Is(err, store.ErrNotFound) {
		return []*authz.Policy{authz.Unreadable("group " + id)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read group: %w", err)
	}
	return s.compileIdentity(tx, &g, " (group "+g.Name+")")
}

// compileIdentity compiles what a user, group or role may by its own policies.
// Their names, by which decisions are explained, are given the ending of.
func (s *Service) compileIdentity(tx *store.Tx, e *entity, of string) ([]*authz.Policy, error) {
	var all []*authz.Policy
	for _, n := range slices.Sorted(maps.Keys(e.Inline)) {
		all = append(all, compile(authz.IdentityPolicy, n+of, e.Inline[n]))
	}
	for _, arn := range e.Attached {
		doc, err := s.compileManaged(tx, authz.IdentityPolicy, e.Account, arn)
		if err != nil {
			return nil, err
		}
		doc.Name += of
		all = append(all, doc)
	}
	return all, nil
}

// compileManaged compiles the default version of a managed policy; one that
// is not there denies.
func (s *Service) compileManaged(tx *store.Tx, k authz.Kind, account, policyARN string) (*authz.Policy, error) {
	p, found, err := s.managed(tx, account, policyARN)
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	v := p.version(p.Default)
	if !found || v == nil {
		return authz.Unreadable(policyARN), nil
	}
	return compile(k, policyARN, v.Document), nil
}

// sessionPolicies compiles what was passed when a session was made: documents,
// and ARNs of managed policies, whose documents are those of now.
func (s *Service) sessionPolicies(ctx context.Context, account string, passed []string) ([]*authz.Policy, error) {
	h := sha256.New()
	for _, p := range passed {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	key := sessionPolicyID{account: account, sum: [sha256.Size]byte(h.Sum(nil))}
	epoch := s.store.Epoch(epochName(account))
	if have, ok := s.sessionCache.get(key); ok && have.epoch == epoch {
		return have.policies, nil
	}
	var all []*authz.Policy
	err := s.view(ctx, func(tx *store.Tx) error {
		all = nil
		for _, p := range passed {
			if !strings.HasPrefix(p, "arn:") {
				all = append(all, compile(authz.SessionPolicy, "session policy", p))
				continue
			}
			doc, err := s.compileManaged(tx, authz.SessionPolicy, account, p)
			if err != nil {
				return err
			}
			all = append(all, doc)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !s.store.InTransaction(ctx) { // what is not committed is not kept
		s.sessionCache.put(key, sessionPolicyEntry{policies: all, epoch: epoch})
	}
	return all, nil
}
