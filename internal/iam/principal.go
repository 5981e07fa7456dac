package iam

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/store"
)

// ErrNoSuchRole is returned by RoleByARN and AssumeForService.
var ErrNoSuchRole = errors.New("iam: the role does not exist")

// RoleInfo is what other services need of a role. It is shared: change nothing
// in it.
type RoleInfo struct {
	ARN, Name, Path, ID, Account string
	// Trust is the trust policy, its principals bound to unique ids.
	Trust *authz.Policy
	// MaxSession is the longest session, 1 to 12 hours.
	MaxSession time.Duration
	Tags       map[string]string
}

type roleEntry struct {
	role  *RoleInfo
	epoch uint64
}

func (e roleEntry) size() int { return entrySize + e.role.Trust.Size() + mapSize(e.role.Tags) }

// RoleByARN returns the role of an ARN with its path, as it is now.
//
// Errors: ErrNoSuchRole.
func (s *Service) RoleByARN(ctx context.Context, roleARN string) (*RoleInfo, error) {
	a, ok := parseARN(roleARN)
	name, named := a.name(s.roles.noun)
	if !ok || !named || a.service != "iam" || !validAccount(a.account) {
		return nil, fmt.Errorf("%q: %w", roleARN, ErrNoSuchRole)
	}
	if have, ok := s.roleCache.get(roleARN); ok && have.epoch == s.store.Epoch(epochName(a.account)) {
		return have.role, nil
	}
	// A counter, once asked for, stays in memory: the ARN is a caller's text, so
	// ask only for accounts that are there.
	if have, err := s.AccountExists(ctx, a.account); err != nil || !have {
		return nil, fmt.Errorf("%q: %w", roleARN, cmp.Or(err, ErrNoSuchRole))
	}
	epoch := s.store.Epoch(epochName(a.account))
	var e entity
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		e, err = s.roles.table.Get(tx, a.account, strings.ToLower(name))
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && s.roles.arn(&e) != roleARN {
		return nil, fmt.Errorf("%q: %w", roleARN, ErrNoSuchRole)
	}
	if err != nil {
		return nil, fmt.Errorf("read role: %w", err)
	}
	role := &RoleInfo{
		ARN: roleARN, Name: e.Name, Path: e.Path, ID: e.ID, Account: e.Account, Trust: compileTrust(&e),
		MaxSession: time.Duration(e.MaxSession) * time.Second, Tags: tagMap(e.Tags, nil),
	}
	if !s.store.InTransaction(ctx) { // what is not committed is not kept
		s.roleCache.put(roleARN, roleEntry{role: role, epoch: epoch})
	}
	return role, nil
}

// tagMap returns tags with more on top; keys are the same whatever their case.
func tagMap(tags []iamapi.Tag, more map[string]string) map[string]string {
	if len(tags)+len(more) == 0 {
		return nil
	}
	m := make(map[string]string, len(tags)+len(more))
	maps.Copy(m, more)
	for _, t := range tags {
		covered := false
		for k := range more {
			covered = covered || strings.EqualFold(k, t.Key)
		}
		if !covered {
			m[t.Key] = t.Value
		}
	}
	return m
}

// PrincipalExists reports whether a policy or grant may name the principal: any
// account (as id or root ARN), and a user, role or session of a role that
// exists, a user or role also by its unique id. uniqueID is the user's or role's; "" for an account. When rows cannot
// be read the answer is no.
func (s *Service) PrincipalExists(ctx context.Context, principalARN string) (uniqueID string, ok bool) {
	if validAccount(principalARN) {
		return "", true
	}
	for _, k := range []*kind{s.users, s.roles} {
		if strings.HasPrefix(principalARN, k.idPrefix) {
			err := s.view(ctx, func(tx *store.Tx) (err error) {
				ok, err = k.idExists(tx, principalARN)
				return err
			})
			return principalARN, ok && err == nil
		}
	}
	a, ok := parseARN(principalARN)
	if !ok || !validAccount(a.account) {
		return "", false
	}
	if a.service == "iam" && a.resource == "root" {
		return "", true
	}
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		uniqueID, err = s.principalID(tx, principalARN)
		return err
	})
	return uniqueID, err == nil
}

// NamesNow returns what stands today in place of ARNs that a policy was bound
// to, ARN to unique id, when it was saved: the unique id of a principal that is
// gone, the new ARN of one that was renamed. Names that still hold are left out.
// Source: IAM User Guide, "AWS JSON policy elements: Principal".
func (s *Service) NamesNow(ctx context.Context, bound map[string]string) (names map[string]string, err error) {
	err = s.view(ctx, func(tx *store.Tx) (err error) {
		names, err = s.namesNow(tx, bound)
		return err
	})
	return names, err
}

func (s *Service) namesNow(tx *store.Tx, bound map[string]string) (map[string]string, error) {
	names := map[string]string{}
	for arn, id := range bound {
		if id == "" {
			continue
		}
		now, err := s.principalID(tx, arn)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("read principal of a policy: %w", err)
		}
		if now == id {
			continue
		}
		names[arn] = id
		k := s.users
		if strings.HasPrefix(id, s.roles.idPrefix) {
			k = s.roles
		}
		for row, err := range k.table.ByIndex(tx, byID, store.Key{id}, store.ScanOptions{Limit: 1}) {
			if err != nil {
				return nil, fmt.Errorf("read principal of a policy: %w", err)
			}
			if !strings.Contains(arn, ":assumed-role/") {
				names[arn] = k.arn(&row.Value)
			}
		}
	}
	return names, nil
}

// ManagedPolicyExists reports whether the account can use the managed policy
// of an ARN: its own, or an AWS managed one.
func (s *Service) ManagedPolicyExists(ctx context.Context, account, policyARN string) (found bool, err error) {
	err = s.view(ctx, func(tx *store.Tx) (err error) {
		_, found, err = s.managed(tx, account, policyARN)
		return err
	})
	if errors.Is(err, iamapi.InvalidInputException("")) {
		return false, nil
	}
	return found, err
}
