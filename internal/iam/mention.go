package iam

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sagekeep/sagekeep/internal/store"
)

// Mention is a policy whose document names something.
type Mention struct {
	Policy  string   // ARN of a managed policy, or name of an inline one
	Inline  bool     // of the one principal in Holders
	Kind    string   // "identity" or "trust"
	Holders []string // ARNs of the users, groups and roles that have the policy
}

// PoliciesMentioning returns the policies of every account whose documents
// contain one of the texts: the names of a resource. Wildcards that cover it
// without naming it are not found.
func (s *Service) PoliciesMentioning(ctx context.Context, texts ...string) ([]Mention, error) {
	mentions := func(doc string) bool {
		return slices.ContainsFunc(texts, func(t string) bool { return t != "" && strings.Contains(doc, t) })
	}
	var out []Mention
	err := s.view(ctx, func(tx *store.Tx) error {
		out = nil
		for _, k := range []*kind{s.users, s.groups, s.roles} {
			for row, err := range k.table.Scan(tx, nil, store.ScanOptions{}) {
				if err != nil {
					return err
				}
				e := &row.Value
				for _, name := range slices.Sorted(maps.Keys(e.Inline)) {
					if mentions(e.Inline[name]) {
						out = append(out, Mention{Policy: name, Inline: true, Kind: "identity", Holders: []string{k.arn(e)}})
					}
				}
				if mentions(e.Trust) {
					out = append(out, Mention{Kind: "trust", Inline: true, Holders: []string{k.arn(e)}})
				}
			}
		}
		for row, err := range s.policies.Scan(tx, nil, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			p := &row.Value
			v := p.version(p.Default)
			if v == nil || !mentions(v.Document) {
				continue
			}
			m := Mention{Policy: p.arn(), Kind: "identity", Holders: []string{}}
			for _, k := range []*kind{s.users, s.groups, s.roles} {
				for _, index := range []string{byAttached, byBoundary} {
					have, err := k.having(tx, index, p.Account, p.arn())
					if err != nil {
						return err
					}
					for i := range have {
						if arn := k.arn(&have[i]); !slices.Contains(m.Holders, arn) {
							m.Holders = append(m.Holders, arn)
						}
					}
				}
			}
			out = append(out, m)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("iam: search policies: %w", err)
	}
	return out, nil
}
