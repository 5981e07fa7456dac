package iam

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/store"
)

// parseTrust checks a trust policy without looking at its principals.
func parseTrust(doc string) (*authz.Policy, error) {
	p, err := parseDocument(authz.TrustPolicy, doc)
	if err != nil {
		return nil, err
	}
	if documentSize(doc) > trustPolicySize {
		return nil, iamapi.LimitExceededException("Cannot exceed quota for ACLSizePerRole: %d", trustPolicySize)
	}
	return p, nil
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
			ok = !strings.HasPrefix(ref.Value, "arn:") // there are no providers of an account's own
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

// compileTrust compiles a role's trust policy for the evaluator.
func compileTrust(e *entity) *authz.Policy {
	return compile(authz.TrustPolicy, "trust policy of "+e.Name, e.Trust).Bind(e.TrustIDs)
}

// shownTrust is the trust policy with the unique ids of principals that are
// gone in place of their ARNs.
// Source: IAM User Guide, "AWS JSON policy elements: Principal".
func (s *Service) shownTrust(tx *store.Tx, e *entity) (string, error) {
	gone := map[string]string{}
	for name, id := range e.TrustIDs {
		now, err := s.principalID(tx, name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return "", fmt.Errorf("read principal of a trust policy: %w", err)
		}
		if now != id {
			gone[name] = id
		}
	}
	if len(gone) == 0 {
		return e.Trust, nil
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(e.Trust), &doc); err != nil {
		return "", fmt.Errorf("read trust policy: %w", err)
	}
	statements, ok := doc["Statement"].([]any)
	if !ok {
		statements = []any{doc["Statement"]}
	}
	for _, st := range statements {
		m, _ := st.(map[string]any)
		for _, element := range []string{"Principal", "NotPrincipal"} {
			if principals, ok := m[element].(map[string]any); ok {
				principals["AWS"] = replaceNames(principals["AWS"], gone)
				if principals["AWS"] == nil {
					delete(principals, "AWS")
				}
			}
		}
	}
	b, err := json.Marshal(doc)
	return string(b), err
}

func replaceNames(v any, by map[string]string) any {
	switch v := v.(type) {
	case string:
		if id, ok := by[v]; ok {
			return id
		}
	case []any:
		for i := range v {
			v[i] = replaceNames(v[i], by)
		}
	}
	return v
}
