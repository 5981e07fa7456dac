package organizations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/evaluator"
	"github.com/sagekeep/sagekeep/internal/store"
)

// generation is what is known of memberships under one epoch.
type generation struct {
	epoch    uint64
	accounts sync.Map // account id -> *evaluator.Membership
	size     atomic.Int64
	policies sync.Map     // organization, "/", policy id -> *authz.Policy, compiled once
	bytes    atomic.Int64 // that the policies take
}

// A generation is bounded: requests can name accounts that nobody has, and
// organizations can have any number of long policies.
const (
	maxMemberships = 1 << 16
	maxPolicyBytes = 64 << 20
)

// MembershipOf returns the account's membership as it is now, the zero
// Membership for one that is in no organization. Evaluating a request asks up
// to three times, so a known answer costs two look-ups in memory.
//
// A policy that cannot be read denies. Any error denies too.
func (s *Service) MembershipOf(ctx context.Context, account string) (evaluator.Membership, error) {
	if !isAccount(account) {
		return evaluator.Membership{}, nil // a caller's text, of any length: nothing of it is kept
	}
	epoch := s.Epoch() // before the rows are read
	g := s.members.Load()
	if g != nil && g.epoch == epoch {
		if m, ok := g.accounts.Load(account); ok {
			return *m.(*evaluator.Membership), nil
		}
	}
	return s.learn(ctx, g, epoch, account)
}

// Epoch returns the counter that every change of what MembershipOf answers
// raises, for those who keep what was decided.
func (s *Service) Epoch() uint64 { return s.cfg.Store.Epoch(epochName) }

// learn reads a membership and keeps it for the epoch, in g if that is the one.
func (s *Service) learn(ctx context.Context, g *generation, epoch uint64, account string) (evaluator.Membership, error) {
	if g == nil || g.epoch != epoch || g.size.Load() >= maxMemberships || g.bytes.Load() >= maxPolicyBytes {
		fresh := &generation{epoch: epoch}
		s.members.CompareAndSwap(g, fresh) // another may have been quicker; fresh serves this call all the same
		g = fresh
	}
	m := new(evaluator.Membership)
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		*m = evaluator.Membership{}
		return s.place(tx, g, account, m)
	})
	if err != nil {
		return evaluator.Membership{}, fmt.Errorf("organizations: membership of %s: %w", account, err)
	}
	if _, known := g.accounts.LoadOrStore(account, m); !known {
		g.size.Add(1)
	}
	return *m, nil
}

func (s *Service) place(tx *store.Tx, g *generation, account string, m *evaluator.Membership) error {
	a, err := s.accounts.Get(tx, account)
	if errors.Is(err, store.ErrNotFound) || err == nil && a.Organization == "" {
		return nil
	}
	if err != nil {
		return err
	}
	o, err := s.organizations.Get(tx, a.Organization)
	if err != nil {
		return err
	}
	chain, err := s.above(tx, &o, a.Parent)
	if err != nil {
		return err
	}
	m.Organization, m.Path = o.ID, pathOf(&o, chain)
	if account == o.Management {
		return nil // no policy binds it
	}
	levels := make([]attachments, 0, len(chain)+2)
	levels = append(levels, o.Attached)
	for i := range chain {
		levels = append(levels, chain[i].Attached)
	}
	levels = append(levels, a.Attached)
	if m.SCP, err = s.compile(tx, g, &o, orgapi.PolicyTypeServiceControlPolicy, levels); err != nil {
		return err
	}
	m.RCP, err = s.compile(tx, g, &o, orgapi.PolicyTypeResourceControlPolicy, levels)
	return err
}

// compile returns the policies of one type at every level, nil when the type
// is not enabled.
func (s *Service) compile(tx *store.Tx, g *generation, o *organizationRow, t orgapi.PolicyType, levels []attachments) ([][]*authz.Policy, error) {
	if !o.enabled(t) {
		return nil, nil
	}
	out := make([][]*authz.Policy, len(levels))
	for i, level := range levels {
		out[i] = make([]*authz.Policy, len(level[t]))
		for j, id := range level[t] {
			p, err := s.compiled(tx, g, o, t, id)
			if err != nil {
				return nil, err
			}
			out[i][j] = p
		}
	}
	return out, nil
}

func (s *Service) compiled(tx *store.Tx, g *generation, o *organizationRow, t orgapi.PolicyType, id string) (*authz.Policy, error) {
	key := o.ID + "/" + id
	if p, ok := g.policies.Load(key); ok {
		return p.(*authz.Policy), nil
	}
	arn := o.policyARN(t, id)
	p := authz.Unreadable(arn) // also one that is gone
	row, err := s.policy(tx, o, id)
	switch {
	case err == nil:
		if c, err := authz.ParseStored(kindOf(t), []byte(row.Content)); err == nil && row.Type == t {
			c.Name, p = arn, c
		}
	case !errors.Is(err, store.ErrNotFound):
		return nil, err
	}
	kept, known := g.policies.LoadOrStore(key, p)
	if !known {
		g.bytes.Add(int64(p.Size()))
	}
	return kept.(*authz.Policy), nil
}

// above returns the units from the root down to a parent, without the root.
func (s *Service) above(tx *store.Tx, o *organizationRow, parent string) ([]unitRow, error) {
	var chain []unitRow
	for parent != o.Root {
		if len(chain) > maxDepth {
			return nil, fmt.Errorf("unit %s lies deeper than %d levels", parent, maxDepth)
		}
		u, err := s.units.Get(tx, o.ID, parent)
		if err != nil {
			return nil, fmt.Errorf("read unit %s: %w", parent, err)
		}
		chain = append(chain, u)
		parent = u.Parent
	}
	slices.Reverse(chain)
	return chain, nil
}

// pathOf is the path of what lies below the units, in the form of
// aws:PrincipalOrgPaths.
func pathOf(o *organizationRow, chain []unitRow) string {
	var b strings.Builder
	b.WriteString(o.ID + "/" + o.Root + "/")
	for i := range chain {
		b.WriteString(chain[i].ID + "/")
	}
	return b.String()
}
