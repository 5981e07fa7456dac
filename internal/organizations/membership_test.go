package organizations

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/evaluator"
	"github.com/sagekeep/sagekeep/internal/store"
)

// of returns a membership, which must be known.
func (w *world) of(account string) evaluator.Membership {
	w.Helper()
	m, err := w.s.MembershipOf(w.Context(), account)
	if err != nil {
		w.Fatal(err)
	}
	return m
}

// shape renders what binds an account: the number of policies at every level.
func shape(levels [][]*authz.Policy) string {
	var s strings.Builder
	for _, l := range levels {
		s.WriteString(fmt.Sprint(len(l)))
	}
	return s.String()
}

// allowed asks the control policies of an account alone.
func (w *world) allowed(account, action string) bool {
	w.Helper()
	d := authz.Decide(&authz.Request{
		Principal: authz.Principal{Type: authz.Root, Account: account, ARN: "arn:aws:iam::" + account + ":root"},
		Action:    action, Resource: "*", ResourceAccount: account, Context: authz.NewContext(),
	}, &authz.Policies{SCP: w.of(account).SCP}, nil)
	return d.Effect == authz.Allowed
}

// TestMembership: every change of the organization shows in the next answer.
func TestMembership(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f, ctx := w.fixture, w.as(manager)
	want := func(step, account, path, scps, rcps string) {
		t.Helper()
		m := w.of(account)
		if m.Path != path || shape(m.SCP) != scps || shape(m.RCP) != rcps || m.Organization == "" != (path == "") {
			t.Errorf("%s: %s is at %q with %q, %q; want %q with %q, %q", step, account, m.Path, shape(m.SCP), shape(m.RCP), path, scps, rcps)
		}
	}
	top := w.id + "/" + w.root + "/"
	want("at first", manager, top, "", "")
	want("at first", member, top, "11", "11")
	want("at first", loner, "", "", "")
	w.move(member, w.root, w.b)
	want("moved", member, top+w.a+"/"+w.b+"/", "1111", "1111")
	p := w.newPolicy(scp, "p", denyLeaving)
	for _, target := range []string{w.root, w.b, member} {
		w.attach(p, target)
	}
	want("attached", member, top+w.a+"/"+w.b+"/", "2122", "1111")
	w.attach(w.newPolicy(rcp, "r", denyS3), w.a)
	want("attached", member, top+w.a+"/"+w.b+"/", "2122", "1211")
	must(ctx, f, orgapi.DetachPolicy, &orgapi.DetachPolicyInput{PolicyId: p, TargetId: w.root})
	want("detached", member, top+w.a+"/"+w.b+"/", "1122", "1211")
	w.join(loner)
	want("joined", loner, top, "11", "11")
	must(ctx, f, orgapi.DisablePolicyType, &orgapi.DisablePolicyTypeInput{RootId: w.root, PolicyType: rcp})
	want("disabled", member, top+w.a+"/"+w.b+"/", "1122", "")
	must(w.as(loner), f, orgapi.LeaveOrganization, &schema.Nothing{})
	want("left", loner, "", "", "")
	w.move(manager, w.root, w.a)
	want("the manager moved", manager, top+w.a+"/", "", "")

	scps := w.of(member).SCP
	if scps[2][1] != scps[3][1] || w.of(member).SCP[2][1] != scps[2][1] {
		t.Error("a policy was compiled twice")
	}
}

// TestEveryLevelMustAllow: an allow list at one level is the limit for all that
// lies below.
func TestEveryLevelMustAllow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.move(member, w.root, w.b)
	if !w.allowed(member, "s3:GetObject") {
		t.Fatal("nothing is allowed at first")
	}
	only := w.newPolicy(scp, "kms only", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`)
	w.attach(only, w.a)
	must(w.as(manager), w.fixture, orgapi.DetachPolicy, &orgapi.DetachPolicyInput{PolicyId: fullSCP, TargetId: w.a})
	if w.allowed(member, "s3:GetObject") || !w.allowed(member, "kms:Encrypt") {
		t.Error("the level in the middle does not limit")
	}
	must(w.as(manager), w.fixture, orgapi.UpdatePolicy, &orgapi.UpdatePolicyInput{
		PolicyId: only, Content: new(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["kms:*","s3:*"],"Resource":"*"}}`),
	})
	if !w.allowed(member, "s3:GetObject") {
		t.Error("the update does not count")
	}
}

// TestUnreadablePolicyDenies is I5.
func TestUnreadablePolicyDenies(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(w *world, tx *store.Tx, p policyRow) error{
		"spoilt": func(w *world, tx *store.Tx, p policyRow) error {
			p.Content = `{"Version":"2012-10-17","Statement":[{"Effect":"Maybe"}]}`
			return w.s.policies.Put(tx, p, p.Organization, p.ID)
		},
		"gone": func(w *world, tx *store.Tx, p policyRow) error {
			return w.s.policies.Delete(tx, p.Organization, p.ID)
		},
		"of another type": func(w *world, tx *store.Tx, p policyRow) error {
			p.Type = rcp
			return w.s.policies.Put(tx, p, p.Organization, p.ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.newPolicy(scp, "p", denyLeaving)
			w.attach(id, member)
			if !w.allowed(member, "s3:GetObject") {
				t.Fatal("denied at first")
			}
			err := w.s.update(t.Context(), func(tx *store.Tx) error {
				p, err := w.s.policies.Get(tx, w.id, id)
				if err != nil {
					return err
				}
				return spoil(w, tx, p)
			})
			if err != nil {
				t.Fatal(err)
			}
			if w.allowed(member, "s3:GetObject") {
				t.Error("allowed")
			}
			if !w.allowed(manager, "s3:GetObject") {
				t.Error("the manager is bound")
			}
		})
	}
}

// TestBrokenTreeDenies: what cannot be read is an error, and an error denies.
func TestBrokenTreeDenies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.move(member, w.root, w.b)
	err := w.s.update(t.Context(), func(tx *store.Tx) error { return w.s.units.Delete(tx, w.id, w.a) })
	if err != nil {
		t.Fatal(err)
	}
	if m, err := w.s.MembershipOf(t.Context(), member); err == nil {
		t.Errorf("membership %+v", m)
	}
}

// TestRevocation is I3: after AttachPolicy has answered, no look at the
// membership is without the policy.
func TestRevocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.newPolicy(scp, "p", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`)
	for range 10 {
		var answered, stop atomic.Bool
		var late atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for !stop.Load() {
					after := answered.Load()
					if w.allowed(member, "s3:GetObject") && after {
						late.Add(1)
					}
				}
			})
		}
		time.Sleep(time.Millisecond)
		w.attach(p, w.root)
		answered.Store(true)
		time.Sleep(2 * time.Millisecond)
		stop.Store(true)
		wg.Wait()
		if n := late.Load(); n > 0 {
			t.Errorf("%d requests were allowed after the answer", n)
		}
		must(w.as(manager), w.fixture, orgapi.DetachPolicy, &orgapi.DetachPolicyInput{PolicyId: p, TargetId: w.root})
	}
}

func TestMembershipsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.of(member)
	g := w.s.members.Load()
	g.size.Store(maxMemberships)
	w.of("999999999999")
	if w.s.members.Load() == g {
		t.Error("a full generation grows on")
	}
	if w.of(member).Organization != w.id {
		t.Error("the membership is lost")
	}
	g = w.s.members.Load()
	if n := g.bytes.Load(); n < 500 {
		t.Errorf("the policies of %s take %d bytes", member, n)
	}
	g.bytes.Store(maxPolicyBytes)
	w.of("999999999998")
	if w.s.members.Load() == g || w.of(member).Organization != w.id {
		t.Error("a generation full of policies grows on")
	}
	// What is no account's id is a caller's text.
	g = w.s.members.Load()
	before := g.size.Load()
	for _, text := range []string{"", "aws", "99999999999", "9999999999999", "99999999999x", strings.Repeat("9", 2048)} {
		if m := w.of(text); m.Organization != "" {
			t.Errorf("%.20q is in %s", text, m.Organization)
		}
	}
	if g != w.s.members.Load() || g.size.Load() != before {
		t.Error("text that is no account's id is kept")
	}
}

func TestMembershipAllocatesNothing(t *testing.T) {
	w := newWorld(t)
	w.move(member, w.root, w.b)
	w.of(member)
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := w.s.MembershipOf(ctx, member); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMembershipOf(b *testing.B) {
	w := newWorld(b)
	w.move(member, w.root, w.b)
	ctx := b.Context()
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.s.MembershipOf(ctx, member); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("miss", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w.s.members.Store(nil)
			if _, err := w.s.MembershipOf(ctx, member); err != nil {
				b.Fatal(err)
			}
		}
	})
}
