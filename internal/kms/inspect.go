package kms

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/store"
)

// Facts is what the operator of the server is shown of a key.
type Facts struct {
	ARN, ID, Account, Region, Description string
	State                                 kmsapi.KeyState // as DescribeKey would show it
	Spec                                  kmsapi.KeySpec
	Usage                                 kmsapi.KeyUsageType
	Origin                                kmsapi.OriginType
	Manager                               kmsapi.KeyManagerType
	Created, DeletionDate                 time.Time // DeletionDate is zero unless one is set
	// Regions are those of a multi-Region key, its primary's first.
	Regions []string
	Aliases []string
	// Principals are those that the key policy names.
	Principals []string
	Grants     int
	LastUse    LastUse // zero when the key was never used
}

// LastUse is the last successful cryptographic operation with a key.
type LastUse struct {
	Operation, EventID, RequestID string
	At                            time.Time
}

// GrantFacts is what the operator is shown of a grant.
type GrantFacts struct {
	ID, Name, Grantee, Retiring, Issuer, SourceARN string
	Service                                        bool // the grantee is a service
	Operations                                     []string
	Equals, Subset                                 map[string]string
	Created                                        time.Time
}

// Inspect returns what is known of a key, named in any form; account and region
// are those of names that have none. It is for the operator: nobody is asked.
//
// Errors: NotFoundException.
func (s *Service) Inspect(ctx context.Context, account, region, name string) (*Facts, error) {
	if strings.HasPrefix(name, "arn:") {
		if p := strings.SplitN(name, ":", 6); len(p) == 6 {
			region, account = p[3], p[4]
		}
	}
	ref, err := parseKeyRef(name, account, region, byAlias)
	if err != nil {
		return nil, err
	}
	var k keyRow
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		if ref.alias != "" {
			a, err := aliases.Get(tx, ref.region, ref.account, ref.alias)
			if isNotFound(err) {
				return kmsapi.NotFoundException("Alias %s is not found.", aliasARN(ref.region, ref.account, ref.alias))
			}
			if err != nil {
				return err
			}
			ref.id = a.Target
		}
		var err error
		k, err = keys.Get(tx, ref.region, ref.id)
		if isNotFound(err) || err == nil && k.Account != ref.account {
			return kmsapi.NotFoundException("Key '%s' does not exist", keyARN(ref.region, ref.account, ref.id))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.facts(ctx, &k)
}

// InspectAll returns the keys of an account in a region, limit at a time; next
// continues, nil at the end.
func (s *Service) InspectAll(ctx context.Context, account, region string, after []byte, limit int) (all []*Facts, next []byte, err error) {
	var rows store.Page[keyRow]
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		rows, err = keys.PageByIndex(tx, "account", store.Key{region, account}, store.ScanOptions{After: after, Limit: limit})
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("kms: list keys: %w", err)
	}
	for i := range rows.Values {
		f, err := s.facts(ctx, &rows.Values[i])
		if err != nil {
			return nil, nil, err
		}
		all = append(all, f)
	}
	return all, rows.Next, nil
}

func (s *Service) facts(ctx context.Context, k *keyRow) (*Facts, error) {
	f := &Facts{
		ARN: k.arn(), ID: k.ID, Account: k.Account, Region: k.Region, Description: k.Description, Spec: k.Spec,
		Usage: k.Usage, Origin: k.Origin, Manager: k.Manager, Created: k.Created, DeletionDate: k.DeletionDate,
		Grants: k.GrantCount, Aliases: []string{}, Principals: []string{},
	}
	if k.MultiRegion {
		f.Regions = append([]string{k.primary()}, k.Replicas...)
	}
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		f.Aliases = f.Aliases[:0]
		for row, err := range aliases.ByIndex(tx, "key", store.Key{k.Region, k.ID}, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			f.Aliases = append(f.Aliases, row.Value.Name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("kms: read aliases: %w", err)
	}
	slices.Sort(f.Aliases)
	if f.State, err = s.shownState(ctx, k); err != nil {
		return nil, err
	}
	if p, err := authz.ParseStored(authz.KeyPolicy, []byte(k.Policy)); err == nil {
		for _, ref := range p.Principals() {
			if !slices.Contains(f.Principals, ref.Value) {
				f.Principals = append(f.Principals, ref.Value)
			}
		}
	}
	u, err := s.lastUse(ctx, k)
	if err != nil {
		return nil, err
	}
	if u.At != 0 {
		f.LastUse = LastUse{Operation: u.Operation, EventID: u.EventID, RequestID: u.RequestID, At: time.Unix(u.At, 0).UTC()}
	}
	return f, nil
}

// InspectGrants returns the grants of a key, limit at a time; next continues, nil
// at the end.
func (s *Service) InspectGrants(ctx context.Context, region, id string, after []byte, limit int) (all []GrantFacts, next []byte, err error) {
	var rows store.Page[grantRow]
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		rows, err = grants.Page(tx, store.Key{region, id}, store.ScanOptions{After: after, Limit: limit})
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("kms: list grants: %w", err)
	}
	for i := range rows.Values {
		g := &rows.Values[i]
		f := GrantFacts{
			ID: g.ID, Name: g.Name, Grantee: g.granteeName(), Retiring: g.retiringName(), Issuer: g.Issuer, SourceARN: g.SourceARN,
			Service: g.GranteeService != "" || isService(g.Grantee), Equals: g.Equals, Subset: g.Subset, Created: g.Created,
		}
		for _, op := range g.Operations {
			f.Operations = append(f.Operations, string(op))
		}
		all = append(all, f)
	}
	return all, rows.Next, nil
}
