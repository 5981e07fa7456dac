package iam

import (
	"errors"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/store"
)

// parseTrust checks a trust policy without looking at its principals. It returns
// the text to keep as well: as AWS does, it names accounts by the ARNs of their
// root users, not by their ids.
func parseTrust(doc string) (p *authz.Policy, kept string, err error) {
	if p, err = parseDocument(authz.TrustPolicy, doc); err != nil {
		return nil, "", err
	}
	if documentSize(doc) > trustPolicySize {
		return nil, "", iamapi.LimitExceededException("Cannot exceed quota for ACLSizePerRole: %d", trustPolicySize)
	}
	accounts := map[string]string{}
	for _, ref := range p.Principals() {
		if ref.Form == authz.FormAccount && ref.Value == ref.Account {
			accounts[ref.Value] = rootARN(ref.Account)
		}
	}
	kept, err = authz.RenamePrincipals(squeezed(doc, trustPolicySize), accounts)
	return p, kept, err
}

// bindTrust returns the unique ids of the users and roles that a trust policy
// names by ARN. Principals of accounts that are not ours stay names.
//
// Errors: MalformedPolicyDocument for a principal of ours that does not exist.
func (s *Service) bindTrust(tx *store.Tx, p *authz.Policy) (map[string]string, error) {
	ids := map[string]string{}
	for _, ref := range p.Principals() {
		ok := true
		switch ref.Form {
		case authz.FormUser, authz.FormRole, authz.FormSession:
			ours, err := s.accounts.Exists(tx, ref.Account)
			if err != nil {
				return nil, err
			}
			if !ours {
				continue
			}
			id, err := s.principalID(tx, ref.Value)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			ids[ref.Value], ok = id, id != ""
		case authz.FormUserID, authz.FormRoleID:
			k := s.users
			if ref.Form == authz.FormRoleID {
				k = s.roles
			}
			var err error
			if ok, err = k.idExists(tx, ref.Value); err != nil {
				return nil, err
			}
		case authz.FormFederated:
			if err := checkFederated(ref.Value); err != nil {
				return nil, err
			}
		case authz.FormCanonicalUser, authz.FormOriginAccess:
			ok = false
		}
		if !ok {
			return nil, iamapi.MalformedPolicyDocumentException("Invalid principal in policy: %q:%q", ref.Type, ref.Value)
		}
	}
	return ids, nil
}

// principalID returns the unique id of the user or role an ARN names, of the
// role for the ARN of a session, or an error that is store.ErrNotFound.
func (s *Service) principalID(tx *store.Tx, principalARN string) (string, error) {
	a, ok := parseARN(principalARN)
	if !ok {
		return "", store.ErrNotFound
	}
	if a.service == "sts" {
		rest, ok := strings.CutPrefix(a.resource, "assumed-role/")
		name, session, both := strings.Cut(rest, "/")
		if !ok || !both || session == "" {
			return "", store.ErrNotFound
		}
		e, err := s.roles.table.Get(tx, a.account, strings.ToLower(name))
		if err != nil {
			return "", err
		}
		if e.Name != name {
			return "", store.ErrNotFound
		}
		return e.ID, nil
	}
	for _, k := range []*kind{s.users, s.roles} {
		name, ok := a.name(k.noun)
		if !ok {
			continue
		}
		e, err := k.table.Get(tx, a.account, strings.ToLower(name))
		if err != nil {
			return "", err
		}
		if k.arn(&e) == principalARN {
			return e.ID, nil
		}
	}
	return "", store.ErrNotFound
}

// compileTrust compiles a role's trust policy for the evaluator, its users and
// roles bound to their unique ids.
func compileTrust(e *entity) *authz.Policy {
	return compile(authz.TrustPolicy, "trust policy of "+e.Name, e.Trust).Bind(e.TrustIDs)
}

// shownTrust is the trust policy with the principals' names of today.
func (s *Service) shownTrust(tx *store.Tx, e *entity) (string, error) {
	names, err := s.namesNow(tx, e.TrustIDs)
	if err != nil {
		return "", err
	}
	return authz.RenamePrincipals(e.Trust, names)
}
