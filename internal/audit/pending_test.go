package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
	"github.com/sagekeep/sagekeep/internal/store/storetest"
)

const account = "111122223333"

var things = store.Hashed[string]("test.thing")

// request is one request on its way.
type request struct {
	t   *testing.T
	s   *store.Store
	ctx context.Context
	p   *audit.Pending
	n   int
}

func newRequest(t *testing.T) *request {
	t.Helper()
	s := store.New(memstore.New(t), storetest.NewSealer(), store.Options{})
	ctx := identity.With(t.Context(), &identity.Call{
		Caller: &identity.Caller{Type: identity.Root, Account: account, ARN: "arn:aws:iam::111122223333:root", PrincipalID: account},
		Region: "us-west-2", Time: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC),
	})
	ctx, p := audit.WithPending(ctx)
	return &request{t: t, s: s, ctx: store.WithPending(ctx, p), p: p}
}

// call begins a call of the request.
func (r *request) call(ctx context.Context, name string, readOnly bool) (context.Context, *audit.Entry) {
	r.n++
	return r.p.Begin(ctx, "test.amazonaws.com", name, readOnly, false, fmt.Sprintf("id-%d", r.n))
}

func (r *request) rest() []string {
	r.t.Helper()
	b, err := r.p.Rest()
	if err != nil {
		r.t.Fatal(err)
	}
	return names(r.t, b)
}

func (r *request) journal() []string {
	r.t.Helper()
	var all [][]byte
	for rec, err := range r.s.Journal().Scan(r.t.Context(), store.JournalScan{}) {
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, rec.Data)
	}
	return names(r.t, all)
}

// names renders records as name, or name!code for failures.
func names(t *testing.T, records [][]byte) (out []string) {
	t.Helper()
	for _, b := range records {
		var rec audit.Record
		if err := json.Unmarshal(b, &rec); err != nil {
			t.Fatal(err)
		}
		name := rec.EventName
		if rec.ErrorCode != "" {
			name += "!" + rec.ErrorCode
		}
		out = append(out, name)
	}
	return out
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func put(ctx context.Context, s *store.Store, key string) error {
	return s.Update(ctx, func(tx *store.Tx) error { return things.Put(tx, key, key) })
}

func TestCommitTakesTheRecords(t *testing.T) {
	t.Parallel()
	r := newRequest(t)
	ctx, _ := r.call(r.ctx, "Outer", false)
	if err := put(ctx, r.s, "a"); err != nil {
		t.Fatal(err)
	}
	want(t, "journal", r.journal(), "Outer")
	want(t, "rest", r.rest())
}

func TestReadsAreTheRest(t *testing.T) {
	t.Parallel()
	r := newRequest(t)
	r.call(r.ctx, "One", true)
	_, e := r.call(r.ctx, "Two", false)
	e.SetResponse(map[string]string{"a": "b"})
	e.Fail("AccessDenied", "no")
	want(t, "rest", r.rest(), "One", "Two!AccessDenied")
	want(t, "rest again", r.rest())
	want(t, "journal", r.journal())
}

func TestSecondCommitFails(t *testing.T) {
	t.Parallel()
	r := newRequest(t)
	ctx, e := r.call(r.ctx, "Outer", false)
	if err := put(ctx, r.s, "a"); err != nil {
		t.Fatal(err)
	}
	if err := put(ctx, r.s, "b"); !errors.Is(err, audit.ErrTaken) {
		t.Fatalf("the second Update: %v, want ErrTaken", err)
	}
	err := r.s.View(r.ctx, func(tx *store.Tx) error {
		_, err := things.Get(tx, "b")
		return err
	})
	if !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the second Update left its row: %v", err)
	}
	e.Fail("InternalFailure", "")
	want(t, "journal", r.journal(), "Outer")
	want(t, "rest", r.rest())
}

// A failed Update takes back the changes that nested calls made in it. What they
// read or were refused has happened.
func TestFailedCommit(t *testing.T) {
	t.Parallel()
	r := newRequest(t)
	ctx, outer := r.call(r.ctx, "Outer", false)
	broken := errors.New("broken")
	err := r.s.Update(ctx, func(tx *store.Tx) error {
		inner := tx.Context(ctx)
		c, _ := r.call(inner, "Change", false)
		if err := put(c, r.s, "a"); err != nil {
			return err
		}
		_, e := r.call(inner, "Refused", false)
		e.Fail("AccessDenied", "no")
		r.call(inner, "Decrypt", true)
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	outer.Fail("Broken", "")
	want(t, "rest", r.rest(), "Outer!Broken", "Refused!AccessDenied", "Decrypt")
	want(t, "journal", r.journal())
}

func TestNestedCallsShareTheCommit(t *testing.T) {
	t.Parallel()
	r := newRequest(t)
	ctx, _ := r.call(r.ctx, "Outer", false)
	r.call(ctx, "Before", true)
	err := r.s.Update(ctx, func(tx *store.Tx) error {
		c, _ := r.call(tx.Context(ctx), "Inner", false)
		if err := put(c, r.s, "a"); err != nil {
			return err
		}
		audit.PendingFrom(ctx).AddEvent(audit.Event{Name: "Event", Account: account})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.call(ctx, "After", true)
	want(t, "journal", r.journal(), "Outer", "Before", "Inner", "Event")
	want(t, "rest", r.rest(), "After")
}

// The contract with the store, step by step: an attempt that is run again leaves
// one set of records.
func TestRetriedAttempt(t *testing.T) {
	t.Parallel()
	r := newRequest(t)
	_, outer := r.call(r.ctx, "Outer", false)
	var taken [][]byte
	mark := r.p.Mark()
	for attempt := range 3 {
		if attempt > 0 {
			r.p.Rewind(mark)
			mark = r.p.Mark()
		}
		r.call(r.ctx, "Inner", false)
		outer.SetResponse(map[string]int{"attempt": attempt})
		var err error
		if taken, err = r.p.Take(); err != nil {
			t.Fatalf("attempt %d: %v", attempt, err)
		}
	}
	want(t, "taken", names(t, taken), "Outer", "Inner")
	var rec audit.Record
	if err := json.Unmarshal(taken[0], &rec); err != nil || string(rec.ResponseElements) != `{"attempt":2}` {
		t.Errorf("response %s, %v", rec.ResponseElements, err)
	}
	want(t, "rest", r.rest())
	if _, err := r.p.Take(); !errors.Is(err, audit.ErrTaken) {
		t.Errorf("Take after the commit: %v", err)
	}
	mark = r.p.Mark()
	r.p.Rewind(mark)
	want(t, "rest after a failed second commit", r.rest())
}

func TestSkippedEntriesLeaveNothing(t *testing.T) {
	t.Parallel()
	r := newRequest(t)
	_, e := r.p.Begin(r.ctx, "s3.amazonaws.com", "GetObject", true, true, "x")
	e.Fail("AccessDenied", "")
	want(t, "rest", r.rest())
}

func TestRequestParametersStand(t *testing.T) {
	t.Parallel()
	r := newRequest(t)
	_, a := r.call(r.ctx, "A", true)
	a.SetRequest(nil)
	a.DefaultRequestJSON([]byte(`{"grantToken":"secret"}`))
	_, b := r.call(r.ctx, "B", true)
	b.DefaultRequestJSON([]byte(`{"b":1}`))
	rest, err := r.p.Rest()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"null", `{"b":1}`} {
		var rec audit.Record
		if err := json.Unmarshal(rest[i], &rec); err != nil || string(rec.RequestParameters) != want {
			t.Errorf("requestParameters %s, %v, want %s", rec.RequestParameters, err, want)
		}
	}
	if !a.HasRequest() || b.HasRequest() {
		t.Error("HasRequest tells the wrong entry")
	}
}

// Outside a request nothing is recorded and nothing breaks.
func TestNilEntry(t *testing.T) {
	t.Parallel()
	e := audit.From(context.Background())
	e.SetRequest(1)
	e.SetResponse(1)
	e.Additional("a", 1)
	e.AddResource("a", "b", "c")
	e.Touch("c")
	e.Fail("a", "b")
	if e.Names("c") || e.ID() != "" || e.HasRequest() {
		t.Error("no entry knows something")
	}
	audit.PendingFrom(context.Background()).AddEvent(audit.Event{})
}

// Every account whose resource an event touched has a record of its own.
func TestDeliveries(t *testing.T) {
	t.Parallel()
	const owner, third = "444455556666", "777788889999"
	r := newRequest(t)
	_, e := r.call(r.ctx, "ReEncrypt", true)
	e.AddResource(owner, "AWS::KMS::Key", "arn:1")
	e.AddResource(third, "AWS::KMS::Key", "arn:2")
	e.AddResource(account, "AWS::KMS::Key", "arn:3")
	first, err := r.p.Take()
	if err != nil {
		t.Fatal(err)
	}
	r.p.Rewind(1)
	again, err := r.p.Rest()
	if err != nil || len(first) != 3 || fmt.Sprintf("%q", first) != fmt.Sprintf("%q", again) {
		t.Fatalf("%d records, not the same when encoded again (%v)", len(first), err)
	}
	ids, shared := map[string]bool{}, map[string]bool{}
	for i, b := range first {
		var rec audit.Record
		if err := json.Unmarshal(b, &rec); err != nil {
			t.Fatal(err)
		}
		ids[rec.EventID], shared[rec.SharedEventID] = true, true
		if want := []string{account, owner, third}[i]; rec.RecipientAccountID != want {
			t.Errorf("record %d is for %s, want %s", i, rec.RecipientAccountID, want)
		}
		if i == 0 && (rec.UserIdentity.Type != "Root" || len(rec.Resources) != 3) {
			t.Errorf("the caller's record: %+v", rec)
		}
		if i > 0 && (rec.UserIdentity.Type != "AWSAccount" || rec.UserIdentity.ARN != "" || len(rec.Resources) != 1) {
			t.Errorf("the owner's record: %+v", rec)
		}
	}
	if len(ids) != 3 || len(shared) != 1 || shared[""] {
		t.Errorf("event ids %v, shared %v", ids, shared)
	}
}

// TestMissingResources: an account has no record of a resource that only a
// caller's text names, and the caller's record does not tell that there is none.
func TestMissingResources(t *testing.T) {
	t.Parallel()
	own := func(add func(*audit.Entry)) (rec audit.Record) {
		r := newRequest(t)
		_, e := r.call(r.ctx, "AssumeRole", false)
		add(e)
		all, err := r.p.Rest()
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range all {
			var got audit.Record
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				rec = got
			} else if got.Resources[0].ARN == "arn:missing" {
				t.Errorf("%s has a record of what it does not have", got.RecipientAccountID)
			}
		}
		return rec
	}
	there := own(func(e *audit.Entry) { e.AddResource("444455556666", "AWS::IAM::Role", "arn:there") })
	missing := own(func(e *audit.Entry) { e.AddMissingResource("444455556666", "AWS::IAM::Role", "arn:missing") })
	if len(missing.Resources) != 1 || missing.Resources[0].ARN != "arn:missing" || missing.SharedEventID == "" || there.SharedEventID == "" {
		t.Errorf("the caller's records differ: %+v, %+v", there, missing)
	}
	if mine := own(func(e *audit.Entry) { e.AddMissingResource(account, "AWS::IAM::Role", "arn:missing") }); mine.SharedEventID != "" {
		t.Errorf("a resource of the caller's own account: %+v", mine)
	}
}

// What nobody's account asked for is its owner's to know.
func TestAnonymousCallsGoToTheOwner(t *testing.T) {
	t.Parallel()
	ctx := identity.With(t.Context(), &identity.Call{Caller: &identity.Caller{Type: identity.Anonymous}, Time: time.Now()})
	ctx, p := audit.WithPending(ctx)
	_, e := p.Begin(ctx, "s3.amazonaws.com", "GetBucketPolicy", true, false, "x")
	e.AddResource(account, "AWS::S3::Bucket", "arn:aws:s3:::b")
	rest, err := p.Rest()
	if err != nil || len(rest) != 1 {
		t.Fatalf("%d records, %v", len(rest), err)
	}
	var rec audit.Record
	if err := json.Unmarshal(rest[0], &rec); err != nil || rec.RecipientAccountID != account || rec.SharedEventID != "" || rec.UserIdentity.AccountID != "ANONYMOUS_PRINCIPAL" {
		t.Errorf("%+v, %v", rec, err)
	}
}

// A caller who is proven only during the call takes the place of the one before,
// and the record goes where that one's go.
func TestSetCaller(t *testing.T) {
	t.Parallel()
	const owner, provider = "444455556666", "arn:aws:iam::444455556666:oidc-provider/login.example.com"
	r := newRequest(t)
	_, e := r.call(r.ctx, "AssumeRoleWithWebIdentity", true)
	e.SetCaller(&identity.Caller{Type: identity.WebIdentity, PrincipalID: provider + ":a:s", UserName: "s", Provider: provider})
	e.AddResource(owner, "AWS::IAM::Role", "arn:aws:iam::444455556666:role/r")
	e.Fail("AccessDenied", "no")
	rest, err := r.p.Rest()
	if err != nil || len(rest) != 1 {
		t.Fatalf("%d records, %v", len(rest), err)
	}
	var rec audit.Record
	if err := json.Unmarshal(rest[0], &rec); err != nil {
		t.Fatal(err)
	}
	who := audit.UserIdentity{Type: "WebIdentityUser", PrincipalID: provider + ":a:s", UserName: "s", IdentityProvider: provider}
	if rec.UserIdentity != who || rec.RecipientAccountID != owner || rec.SharedEventID != "" {
		t.Errorf("%+v", rec)
	}
	audit.From(context.Background()).SetCaller(&identity.Caller{})
}
