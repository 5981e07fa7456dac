package organizations

import (
	"context"
	"errors"
	"strings"

	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// question gathers what one call asks of the evaluator. All of it is asked as
// the caller's own account's affair: parts of an organization have no resource
// policy, and that an account does not manage its organization is the method's
// to refuse.
type question struct {
	s      *Service
	tx     *store.Tx
	org    *organizationRow // nil: the caller's account is in none
	checks []protocol.Check
	facts  []func(authz.Context) // of every check
	tagged bool                  // the request tags what it creates
}

// about is the resolver of operations on parts of the caller's organization. A
// caller in none is asked about "*", and then told so by the method.
func about[In any](s *Service, ask func(*question, *In) error) protocol.Resolver[In] {
	return func(ctx context.Context, in *In) ([]protocol.Check, error) {
		var checks []protocol.Check
		err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
			o, err := s.organizationOf(tx, accountOf(ctx))
			if err != nil {
				return err
			}
			q := &question{s: s, tx: tx, org: o}
			if err := ask(q, in); err != nil {
				return err
			}
			checks = q.all()
			return nil
		})
		return checks, err
	}
}

// all adds the facts, and asks for the tagging that comes with a creation as an
// action of its own, as AWS does.
func (q *question) all() []protocol.Check {
	if q.tagged {
		for _, c := range q.checks[:len(q.checks):len(q.checks)] {
			c.Action, c.Context = "organizations:TagResource", c.Context.Clone()
			q.checks = append(q.checks, c)
		}
	}
	for i := range q.checks {
		for _, f := range q.facts {
			f(q.checks[i].Context)
		}
	}
	return q.checks
}

func (q *question) add(resource string, tags []orgapi.Tag) {
	c := authz.NewContext()
	for _, t := range tags {
		c.Set("aws:ResourceTag/"+t.Key, t.Value)
	}
	q.checks = append(q.checks, protocol.Check{Resource: resource, Context: c})
}

func (q *question) anything() { q.add("*", nil) }

// target asks about a root, unit or account. One that is not there is asked
// about under the ARN that it would have.
func (q *question) target(id string) error {
	if q.org == nil {
		q.anything()
		return nil
	}
	t, err := q.s.target(q.tx, q.org, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	var tags []orgapi.Tag
	if err == nil {
		tags = *t.tags
	}
	q.add(q.org.targetARN(id), tags)
	return nil
}

// policy asks about a policy and tells its type.
func (q *question) policy(id string) error {
	if q.org == nil {
		q.anything()
		return nil
	}
	p, err := q.s.policy(q.tx, q.org, id)
	if errors.Is(err, store.ErrNotFound) {
		p, err = &policyRow{ID: id, Type: orgapi.PolicyTypeServiceControlPolicy}, nil
	}
	if err != nil {
		return err
	}
	q.policyType(p.Type)
	q.add(q.org.policyARN(p.Type, id), p.Tags)
	return nil
}

// anyPolicy asks about the policies of a type, one of which is to be made.
func (q *question) anyPolicy(t orgapi.PolicyType) {
	if q.org == nil {
		q.anything()
		return
	}
	q.add(q.org.policyARN(t, "*"), nil)
}

func (q *question) taggable(id string) error {
	if strings.HasPrefix(id, "p-") {
		return q.policy(id)
	}
	return q.target(id)
}

func (q *question) policyType(t orgapi.PolicyType) {
	q.facts = append(q.facts, func(c authz.Context) { c.Set("organizations:PolicyType", string(t)) })
}

func (q *question) tags(tags []orgapi.Tag) {
	keys := make([]string, len(tags))
	for i, t := range tags {
		keys[i] = t.Key
	}
	q.facts = append(q.facts, func(c authz.Context) {
		for _, t := range tags {
			c.Set("aws:RequestTag/"+t.Key, t.Value)
		}
	})
	q.tagKeys(keys)
}

func (q *question) tagKeys(keys []string) {
	q.facts = append(q.facts, func(c authz.Context) { c.SetMulti("aws:TagKeys", keys...) })
}

// requestTags are tags of what the request creates.
func (q *question) requestTags(tags []orgapi.Tag) {
	if len(tags) > 0 {
		q.tagged = true
		q.tags(tags)
	}
}

func ofTarget[In any](s *Service, id func(*In) string) protocol.Resolver[In] {
	return about(s, func(q *question, in *In) error { return q.target(id(in)) })
}

func ofPolicy[In any](s *Service, id func(*In) string) protocol.Resolver[In] {
	return about(s, func(q *question, in *In) error { return q.policy(id(in)) })
}

// ofHandshake is the resolver of operations on a handshake. To who is no party
// to it, it does not exist.
func ofHandshake[In any](s *Service, id func(*In) string) protocol.Resolver[In] {
	return func(ctx context.Context, in *In) ([]protocol.Check, error) {
		account := accountOf(ctx)
		resource := "arn:aws:organizations::" + account + ":handshake/*/invite/" + id(in)
		err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
			_, o, err := s.handshake(tx, account, id(in))
			if err == nil {
				resource = o.handshakeARN(id(in))
			}
			if errors.Is(err, orgapi.HandshakeNotFoundException("")) {
				err = nil
			}
			return err
		})
		return []protocol.Check{{Resource: resource}}, err
	}
}
