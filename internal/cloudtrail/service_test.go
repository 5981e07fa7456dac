package cloudtrail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	ctapi "github.com/sagekeep/sagekeep/api/cloudtrail"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
)

const (
	home   = "111122223333"
	abroad = "444455556666"
	region = "us-west-2"
)

var start = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

type fixture struct {
	*testing.T
	s     *Service
	r     *protocol.Registry
	store *store.Store
	clock time.Time
}

// Decide implements protocol.Authorizer: denied marks who may not.
func (f *fixture) Decide(ctx context.Context, c *protocol.Check) (authz.Decision, error) {
	if identity.From(ctx).Caller.UserName == "denied" || c.Action != "cloudtrail:LookupEvents" {
		return authz.Decision{Effect: authz.ImplicitlyDenied}, nil
	}
	return authz.Decision{Effect: authz.Allowed}, nil
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, clock: start}
	keyring := envelope.NewMemory()
	f.store = store.New(memstore.New(t), keyring, store.Options{Now: func() time.Time { return f.clock }})
	f.s = New(Config{Store: f.store, Keyring: keyring, Now: func() time.Time { return f.clock }})
	f.r = protocol.NewRegistry(f, nowhere{})
	f.s.Register(f.r)
	return f
}

// nowhere drops what LookupEvents itself leaves, so that the tests count theirs alone.
type nowhere struct{}

func (nowhere) Append(context.Context, ...[]byte) error { return nil }

// event adds a record, committed when the fixture's clock says.
func (f *fixture) event(change func(*audit.Record)) {
	f.Helper()
	r := audit.Record{
		EventVersion: "1.11", EventTime: audit.Time(f.clock), EventSource: "kms.amazonaws.com", EventName: "Decrypt", AWSRegion: region,
		EventID: "e", ReadOnly: true, RequestParameters: json.RawMessage("null"), ResponseElements: json.RawMessage("null"),
		ManagementEvent: true, RecipientAccountID: home, EventCategory: "Management",
	}
	if change != nil {
		change(&r)
	}
	b, err := json.Marshal(r)
	if err != nil {
		f.Fatal(err)
	}
	if err := f.store.Journal().Append(f.Context(), b); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) lookup(account, region string, in *ctapi.LookupEventsInput) (*ctapi.LookupEventsOutput, error) {
	c := &identity.Caller{Type: identity.Root, Account: account, ARN: "arn:aws:iam::" + account + ":root"}
	ctx := identity.With(f.Context(), &identity.Call{Caller: c, Region: region, Time: f.clock})
	return protocol.Call(ctx, f.r, ctapi.LookupEvents, in)
}

// ids follows a question to its end.
func (f *fixture) ids(in ctapi.LookupEventsInput) (ids []string) {
	f.Helper()
	for range 1000 {
		out, err := f.lookup(home, region, &in)
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range out.Events {
			ids = append(ids, *e.EventId)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return ids
		}
	}
	f.Fatal("the events do not end")
	return nil
}

func (f *fixture) want(what string, got []string, want ...string) {
	f.Helper()
	if !slices.Equal(got, want) {
		f.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.event(func(r *audit.Record) {
		r.EventID, r.UserIdentity = "role", audit.UserIdentity{Type: "AssumedRole", ARN: "arn:aws:sts::111122223333:assumed-role/worker/night", AccessKeyID: "ASIA1"}
		r.Resources = []audit.Resource{{AccountID: home, Type: "AWS::KMS::Key", ARN: "arn:aws:kms:us-west-2:111122223333:key/k1"}}
	})
	f.event(func(r *audit.Record) {
		r.EventID, r.EventName, r.ReadOnly = "user", "CreateAlias", false
		r.UserIdentity = audit.UserIdentity{Type: "IAMUser", UserName: "alice", AccessKeyID: "AKIA2"}
		r.Resources = []audit.Resource{{Type: "AWS::KMS::Alias", ARN: "arn:aws:kms:us-west-2:111122223333:alias/a"}, {Type: "AWS::KMS::Key", ARN: "arn:aws:kms:us-west-2:111122223333:key/k2"}}
	})
	f.event(func(r *audit.Record) {
		r.EventID, r.EventSource, r.UserIdentity = "root", "sts.amazonaws.com", audit.UserIdentity{Type: "Root"}
	})
	f.event(func(r *audit.Record) {
		r.EventID, r.UserIdentity = "service", audit.UserIdentity{Type: "AWSService", InvokedBy: "s3.amazonaws.com"}
	})
	for _, c := range []struct {
		key   ctapi.LookupAttributeKey
		value string
		want  []string
	}{
		{ctapi.LookupAttributeKeyEventId, "role", []string{"role"}},
		{ctapi.LookupAttributeKeyEventName, "Decrypt", []string{"service", "root", "role"}},
		{ctapi.LookupAttributeKeyEventName, "decrypt", nil},
		{ctapi.LookupAttributeKeyEventSource, "sts.amazonaws.com", []string{"root"}},
		{ctapi.LookupAttributeKeyReadOnly, "false", []string{"user"}},
		{ctapi.LookupAttributeKeyUsername, "night", []string{"role"}},
		{ctapi.LookupAttributeKeyUsername, "alice", []string{"user"}},
		{ctapi.LookupAttributeKeyUsername, "root", []string{"root"}},
		{ctapi.LookupAttributeKeyUsername, "s3.amazonaws.com", []string{"service"}},
		{ctapi.LookupAttributeKeyAccessKeyId, "AKIA2", []string{"user"}},
		{ctapi.LookupAttributeKeyResourceType, "AWS::KMS::Key", []string{"user", "role"}},
		{ctapi.LookupAttributeKeyResourceName, "arn:aws:kms:us-west-2:111122223333:key/k1", []string{"role"}},
		{ctapi.LookupAttributeKeyResourceName, "k2", []string{"user"}},
		{ctapi.LookupAttributeKeyResourceName, "k", nil},
	} {
		in := ctapi.LookupEventsInput{LookupAttributes: []ctapi.LookupAttribute{{AttributeKey: c.key, AttributeValue: c.value}}}
		f.want(string(c.key)+"="+c.value, f.ids(in), c.want...)
	}
	f.want("no attribute", f.ids(ctapi.LookupEventsInput{}), "service", "root", "user", "role")
	out, err := f.lookup(home, region, &ctapi.LookupEventsInput{LookupAttributes: []ctapi.LookupAttribute{{AttributeKey: ctapi.LookupAttributeKeyEventId, AttributeValue: "user"}}})
	if err != nil {
		t.Fatal(err)
	}
	e := out.Events[0]
	if *e.EventName != "CreateAlias" || *e.ReadOnly != "false" || *e.Username != "alice" || *e.AccessKeyId != "AKIA2" || !e.EventTime.Equal(start) ||
		len(e.Resources) != 2 || *e.Resources[0].ResourceName != "arn:aws:kms:us-west-2:111122223333:alias/a" || !json.Valid([]byte(*e.CloudTrailEvent)) {
		t.Errorf("event %+v", e)
	}
}

func TestTimeRanges(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range 5 {
		f.clock = start.Add(time.Duration(i) * time.Minute)
		f.event(func(r *audit.Record) { r.EventID = fmt.Sprint(i) })
	}
	// A call that took a minute: its record is committed long after its eventTime.
	f.event(func(r *audit.Record) { r.EventID, r.EventTime = "slow", audit.Time(start.Add(time.Minute)) })
	at := func(minutes float64) *time.Time {
		return new(start.Add(time.Duration(minutes * float64(time.Minute))))
	}
	for _, c := range []struct {
		name       string
		start, end *time.Time
		want       []string
	}{
		{"all", nil, nil, []string{"slow", "4", "3", "2", "1", "0"}},
		{"from", at(3), nil, []string{"4", "3"}},
		{"until, inclusive", nil, at(1), []string{"slow", "1", "0"}},
		{"between", at(1), at(2), []string{"slow", "2", "1"}},
		{"one instant", at(2), at(2), []string{"2"}},
		{"between two events", at(2.2), at(2.8), nil},
		{"future", at(10), nil, nil},
	} {
		f.want(c.name, f.ids(ctapi.LookupEventsInput{StartTime: c.start, EndTime: c.end}), c.want...)
	}
	f.clock = start.Add(retention + 90*time.Second)
	f.want("90 days later", f.ids(ctapi.LookupEventsInput{}), "slow", "4", "3", "2")
}

func TestPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var want []string
	for i := range 120 {
		f.event(func(r *audit.Record) {
			r.EventID = fmt.Sprint(i)
			if i%2 == 1 {
				r.EventName = "Encrypt"
			}
		})
		want = append([]string{fmt.Sprint(i)}, want...)
	}
	if got := f.ids(ctapi.LookupEventsInput{}); !slices.Equal(got, want) {
		t.Errorf("by 50: %v", got)
	}
	in := ctapi.LookupEventsInput{
		MaxResults: new(int32(7)), LookupAttributes: []ctapi.LookupAttribute{{AttributeKey: ctapi.LookupAttributeKeyEventName, AttributeValue: "Encrypt"}},
	}
	var got []string
	for {
		out, err := f.lookup(home, region, &in)
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Events) > 7 {
			t.Fatalf("%d events on a page of 7", len(out.Events))
		}
		for _, e := range out.Events {
			got = append(got, *e.EventId)
		}
		f.event(func(r *audit.Record) { r.EventID, r.EventName = "new", "Encrypt" }) // while paging: not in this list
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	odd := slices.DeleteFunc(slices.Clone(want), func(id string) bool { return (id[len(id)-1]-'0')%2 == 0 })
	if !slices.Equal(got, odd) {
		t.Errorf("by 7, with new events: %v, want %v", got, odd)
	}
}

// A question that matches little ends early with a token, and loses nothing.
func TestScanIsBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.s.cfg.MaxScanned = 10
	for i := range 45 {
		f.event(func(r *audit.Record) {
			r.EventID = fmt.Sprint(i)
			if i%20 == 3 {
				r.EventName = "Rare"
			}
		})
	}
	in := ctapi.LookupEventsInput{LookupAttributes: []ctapi.LookupAttribute{{AttributeKey: ctapi.LookupAttributeKeyEventName, AttributeValue: "Rare"}}}
	f.want("rare events", f.ids(in), "43", "23", "3")
	out, err := f.lookup(home, region, &ctapi.LookupEventsInput{LookupAttributes: []ctapi.LookupAttribute{{AttributeKey: ctapi.LookupAttributeKeyEventName, AttributeValue: "None"}}})
	if err != nil || len(out.Events) != 0 || out.NextToken == nil {
		t.Errorf("a page without a match: %+v, %v", out, err)
	}
}

func TestIsolation(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.event(func(r *audit.Record) { r.EventID = "mine" })
	f.event(func(r *audit.Record) { r.EventID, r.RecipientAccountID = "theirs", abroad })
	f.event(func(r *audit.Record) { r.EventID, r.AWSRegion = "elsewhere", "eu-central-1" })
	f.event(func(r *audit.Record) { r.EventID, r.ManagementEvent = "data", false })
	for _, c := range []struct{ account, region, want string }{
		{home, region, "mine"}, {abroad, region, "theirs"}, {home, "eu-central-1", "elsewhere"},
	} {
		out, err := f.lookup(c.account, c.region, &ctapi.LookupEventsInput{})
		if err != nil || len(out.Events) != 1 || *out.Events[0].EventId != c.want {
			t.Errorf("%s in %s: %+v, %v", c.account, c.region, out, err)
		}
	}
}

// TestGlobalServices: who changes an account cannot choose a region in which
// nobody sees it.
func TestGlobalServices(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, service := range []string{"iam", "organizations", "sts", "kms"} {
		f.event(func(r *audit.Record) {
			r.EventID, r.EventSource, r.AWSRegion = service, service+".amazonaws.com", "zz-hidden-9"
		})
	}
	f.want("in a region of no event", f.ids(ctapi.LookupEventsInput{}), "sts", "organizations", "iam")
	out, err := f.lookup(abroad, region, &ctapi.LookupEventsInput{})
	if err != nil || len(out.Events) != 0 {
		t.Errorf("another account sees %+v, %v", out, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for range 3 {
		f.event(nil)
	}
	first, err := f.lookup(home, region, &ctapi.LookupEventsInput{MaxResults: new(int32(1))})
	if err != nil {
		t.Fatal(err)
	}
	attribute := func(v string) ctapi.LookupAttribute {
		return ctapi.LookupAttribute{AttributeKey: ctapi.LookupAttributeKeyEventName, AttributeValue: v}
	}
	for _, c := range []struct {
		name    string
		account string
		in      ctapi.LookupEventsInput
		want    error
	}{
		{"no results", home, ctapi.LookupEventsInput{MaxResults: new(int32(0))}, ctapi.InvalidMaxResultsException("")},
		{"51 results", home, ctapi.LookupEventsInput{MaxResults: new(int32(51))}, ctapi.InvalidMaxResultsException("")},
		{"50 results", home, ctapi.LookupEventsInput{MaxResults: new(int32(50))}, nil},
		{"two attributes", home, ctapi.LookupEventsInput{LookupAttributes: []ctapi.LookupAttribute{attribute("a"), attribute("b")}}, ctapi.InvalidLookupAttributesException("")},
		{"empty attribute", home, ctapi.LookupEventsInput{LookupAttributes: []ctapi.LookupAttribute{attribute("")}}, ctapi.InvalidLookupAttributesException("")},
		{"end before start", home, ctapi.LookupEventsInput{StartTime: new(start.Add(time.Hour)), EndTime: &start}, ctapi.InvalidTimeRangeException("")},
		{"Insights", home, ctapi.LookupEventsInput{EventCategory: "insight"}, ctapi.InvalidEventCategoryException("")},
		{"nonsense token", home, ctapi.LookupEventsInput{NextToken: new("x")}, ctapi.InvalidNextTokenException("")},
		{"token of another account", abroad, ctapi.LookupEventsInput{NextToken: first.NextToken}, ctapi.InvalidNextTokenException("")},
		{"token of another question", home, ctapi.LookupEventsInput{NextToken: first.NextToken, LookupAttributes: []ctapi.LookupAttribute{attribute("a")}}, ctapi.InvalidNextTokenException("")},
		{"token of another range", home, ctapi.LookupEventsInput{NextToken: first.NextToken, StartTime: &start}, ctapi.InvalidNextTokenException("")},
		{"good token", home, ctapi.LookupEventsInput{NextToken: first.NextToken}, nil},
	} {
		if _, err := f.lookup(c.account, region, &c.in); c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	f.clock = f.clock.Add(25 * time.Hour)
	if _, err := f.lookup(home, region, &ctapi.LookupEventsInput{NextToken: first.NextToken}); !errors.Is(err, ctapi.InvalidNextTokenException("")) {
		t.Errorf("an old token: %v", err)
	}
	c := &identity.Caller{Type: identity.User, Account: home, UserName: "denied", ARN: "arn:aws:iam::111122223333:user/denied"}
	ctx := identity.With(t.Context(), &identity.Call{Caller: c, Region: region, Time: f.clock})
	if _, err := protocol.Call(ctx, f.r, ctapi.LookupEvents, &ctapi.LookupEventsInput{}); schema.AsError(err).AuditCode != "AccessDenied" {
		t.Errorf("without permission: %v", err)
	}
}
