package protocol

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/sigv4"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
)

// rule allows every action but those it lists.
type rule struct {
	denied map[string]bool
	err    error
}

func (r rule) Decide(_ context.Context, c *Check) (authz.Decision, error) {
	if r.err != nil {
		return authz.Decision{}, r.err
	}
	if r.denied[c.Action] {
		return authz.Decision{Effect: authz.ImplicitlyDenied, Layer: "identity"}, nil
	}
	return authz.Decision{Effect: authz.Allowed}, nil
}

// breakingReader panics.
type breakingReader struct{}

func (breakingReader) Read([]byte) (int, error) { panic("broken invariant") }

// brokenJournal refuses every record.
type brokenJournal struct{}

func (brokenJournal) Append(context.Context, ...[]byte) error { return errors.New("disk gone") }

// rig is a registry with a few operations on an in-memory store.
type rig struct {
	*Registry
	store *store.Store
	cred  sigv4.Credential
	h     *Handler
}

type thing struct{ Name string }

var things = store.Hashed[thing]("test.thing")

func newRig(t *testing.T, a Authorizer, journal Journal) *rig {
	t.Helper()
	st := store.New(memstore.New(t), envelope.NewMemory(), store.Options{})
	if journal == nil {
		journal = st.Journal()
	}
	r := &rig{Registry: NewRegistry(a, journal), store: st, cred: sigv4.Credential{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", Secret: "secret"}}
	caller := &identity.Caller{Type: identity.User, Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/u", UserName: "u", PrincipalID: "AIDA"}
	Handle(r.Registry, kmsapi.DescribeKey, func(_ context.Context, in *kmsapi.DescribeKeyInput) ([]Check, error) {
		return []Check{{Resource: in.KeyId, ResourceType: "AWS::KMS::Key", Account: "111122223333"}}, nil
	}, func(ctx context.Context, in *kmsapi.DescribeKeyInput) (*kmsapi.DescribeKeyOutput, error) {
		switch in.KeyId {
		case "slow":
			select {
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-time.After(2 * stallTimeout):
			}
		case "panic":
			panic("broken invariant")
		case "private":
			return nil, errors.New("password hunter2")
		}
		return &kmsapi.DescribeKeyOutput{KeyMetadata: &kmsapi.KeyMetadata{KeyId: in.KeyId}}, nil
	})
	put := func(ctx context.Context, name string) error {
		return st.Update(ctx, func(tx *store.Tx) error {
			audit.From(ctx).SetResponse(map[string]string{"keyId": name})
			if name == "fails" {
				return kmsapi.DisabledException("no")
			}
			return things.Put(tx, thing{name}, name)
		})
	}
	Handle(r.Registry, kmsapi.EnableKey, AnyResource, func(ctx context.Context, in *kmsapi.EnableKeyInput) (*schema.Nothing, error) {
		return nil, put(ctx, in.KeyId)
	})
	Handle(r.Registry, kmsapi.DisableKey, AnyResource, func(ctx context.Context, in *kmsapi.DisableKeyInput) (*schema.Nothing, error) {
		if err := put(ctx, in.KeyId); err != nil { // a method with two commits
			return nil, err
		}
		return nil, put(ctx, in.KeyId+"2")
	})
	Handle(r.Registry, iamapi.ListUsers, AnyResource, func(context.Context, *iamapi.ListUsersInput) (*iamapi.ListUsersOutput, error) {
		return &iamapi.ListUsersOutput{}, nil
	})
	Handle(r.Registry, s3api.HeadBucket, AnyResource, func(context.Context, *s3api.HeadBucketInput) (*s3api.HeadBucketOutput, error) {
		return &s3api.HeadBucketOutput{}, nil
	})
	Handle(r.Registry, s3api.GetObject, AnyResource, func(context.Context, *s3api.GetObjectInput) (*s3api.GetObjectOutput, error) {
		body := io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), breakingReader{})
		return &s3api.GetObjectOutput{Body: io.NopCloser(body), ContentLength: new(int64(1<<20 + 4096))}, nil
	})
	r.Finish()
	r.h = &Handler{Registry: r.Registry, Region: "us-west-2", Log: slog.New(slog.DiscardHandler), Verifier: &sigv4.Verifier{
		Lookup: func(_ context.Context, id, _ string) (*sigv4.Credential, error) {
			if id != r.cred.AccessKeyID {
				return nil, sigv4.ErrUnknownKey
			}
			return &sigv4.Credential{AccessKeyID: id, Secret: r.cred.Secret, Owner: caller}, nil
		},
	}}
	return r
}

// request describes one signed request.
type request struct {
	method, path, target, body, contentType, service string
	unsigned                                         bool
	cred                                             *sigv4.Credential
}

func (r *rig) send(t *testing.T, q request) *httptest.ResponseRecorder {
	t.Helper()
	if q.method == "" {
		q.method = http.MethodPost
	}
	if q.path == "" {
		q.path = "/"
	}
	req := httptest.NewRequest(q.method, q.path, strings.NewReader(q.body))
	req.Host = "127.0.0.1:4566"
	if q.target != "" {
		req.Header.Set("X-Amz-Target", q.target)
	}
	if q.contentType != "" {
		req.Header.Set("Content-Type", q.contentType)
	}
	if !q.unsigned {
		cred := r.cred
		if q.cred != nil {
			cred = *q.cred
		}
		if err := sigv4.Sign(req, []byte(q.body), cred, "us-west-2", q.service, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, req)
	return w
}

// records returns the journal, oldest first.
func (r *rig) records(t *testing.T) []audit.Record {
	t.Helper()
	var out []audit.Record
	for rec, err := range r.store.Journal().Scan(t.Context(), store.JournalScan{}) {
		if err != nil {
			t.Fatal(err)
		}
		var a audit.Record
		if err := json.Unmarshal(rec.Data, &a); err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

const form = "application/x-www-form-urlencoded"

// regionAndFacts notes the region that checks are made in.
type regionAndFacts struct{ seen *identity.Call }

func (a *regionAndFacts) Decide(ctx context.Context, _ *Check) (authz.Decision, error) {
	a.seen = identity.From(ctx)
	return authz.Decision{Effect: authz.Allowed}, nil
}

// TestRegionOfGlobalServices: a global service has one region, for policies and
// in records, whatever the credential scope says.
func TestRegionOfGlobalServices(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		q    request
		want string
	}{
		{"iam", request{body: "Action=ListUsers&Version=2010-05-08", contentType: form, service: "iam"}, "us-east-1"},
		{"kms", request{target: "TrentService.EnableKey", body: `{"KeyId":"k"}`, service: "kms"}, "us-west-2"},
	} {
		a := &regionAndFacts{}
		r := newRig(t, a, nil)
		if w := r.send(t, tc.q); w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", tc.name, w.Code, w.Body)
		}
		if recs := r.records(t); len(recs) != 1 || recs[0].AWSRegion != tc.want || a.seen.Region != tc.want {
			t.Errorf("%s: decided in %q, recorded as %+v; want %s", tc.name, a.seen.Region, recs, tc.want)
		}
	}
}

// TestFactsAreCut: what a caller writes into headers neither swells records nor
// policies' work.
func TestFactsAreCut(t *testing.T) {
	t.Parallel()
	a := &regionAndFacts{}
	r := newRig(t, a, nil)
	req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"KeyId":"k"}`))
	req.Host = strings.Repeat("h", 5000)
	req.Header.Set("X-Amz-Target", "TrentService.EnableKey")
	req.Header.Set("User-Agent", strings.Repeat("é", 5000))
	if err := sigv4.Sign(req, []byte(`{"KeyId":"k"}`), r.cred, "us-west-2", "kms", time.Now()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, req)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if want := strings.Repeat("é", 512); a.seen.UserAgent != want || r.records(t)[0].UserAgent != want {
		t.Errorf("user agent of %d bytes, recorded with %d", len(a.seen.UserAgent), len(r.records(t)[0].UserAgent))
	}
	if len(a.seen.Host) != 1024 {
		t.Errorf("host of %d bytes", len(a.seen.Host))
	}
}

func TestRoutesAndRefusals(t *testing.T) {
	t.Parallel()
	stranger := &sigv4.Credential{AccessKeyID: "AKIANOBODY0000000000", Secret: "x"}
	liar := &sigv4.Credential{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", Secret: "wrong"}
	for _, tc := range []struct {
		name   string
		q      request
		status int
		want   string
	}{
		{"json", request{target: "TrentService.DescribeKey", body: `{"KeyId":"k"}`, service: "kms"}, 200, `"KeyId":"k"`},
		{"json unknown operation", request{target: "TrentService.Nonsense", body: `{}`, service: "kms"}, 400, `UnknownOperationException`},
		{"json known, not implemented", request{target: "TrentService.ConnectCustomKeyStore", body: `{}`, service: "kms"}, 501, `NotImplementedException`},
		{"json unknown service", request{target: "DynamoDB_20120810.ListTables", body: `{}`, service: "dynamodb"}, 400, `UnknownOperationException`},
		{"json malformed body", request{target: "TrentService.DescribeKey", body: `{"KeyId":`, service: "kms"}, 400, `SerializationException`},
		{"json doubled key", request{target: "TrentService.DescribeKey", body: `{"KeyId":"a","KeyId":"b"}`, service: "kms"}, 400, `SerializationException`},
		{"json missing member", request{target: "TrentService.DescribeKey", body: `{}`, service: "kms"}, 400, `ValidationException`},
		{"json unsigned", request{target: "TrentService.DescribeKey", body: `{"KeyId":"k"}`, unsigned: true}, 400, `MissingAuthenticationTokenException`},
		{"json unknown key", request{target: "TrentService.DescribeKey", body: `{"KeyId":"k"}`, service: "kms", cred: stranger}, 400, `UnrecognizedClientException`},
		{"json bad signature", request{target: "TrentService.DescribeKey", body: `{"KeyId":"k"}`, service: "kms", cred: liar}, 400, `InvalidSignatureException`},
		{"json signed for another service", request{target: "TrentService.DescribeKey", body: `{"KeyId":"k"}`, service: "iam"}, 400, `InvalidSignatureException`},
		{"json no target", request{body: `{}`, service: "kms"}, 400, `UnknownOperationException`},
		{"json private error", request{target: "TrentService.DescribeKey", body: `{"KeyId":"private"}`, service: "kms"}, 500, `InternalFailure`},
		{"json panic", request{target: "TrentService.DescribeKey", body: `{"KeyId":"panic"}`, service: "kms"}, 500, `InternalFailure`},
		{"query", request{body: "Action=ListUsers&Version=2010-05-08", contentType: form, service: "iam"}, 200, `<ListUsersResponse`},
		{"query in the URL", request{method: http.MethodGet, path: "/?Action=ListUsers&Version=2010-05-08", service: "iam"}, 200, `<ListUsersResponse`},
		{"query in the URL of a POST", request{path: "/?Action=ListUsers&Version=2010-05-08", service: "iam"}, 200, `<ListUsersResponse`},
		{"query unknown action", request{body: "Action=Nonsense&Version=2010-05-08", contentType: form, service: "iam"}, 400, `<Code>InvalidAction</Code>`},
		{"query wrong version", request{body: "Action=ListUsers&Version=1999-01-01", contentType: form, service: "iam"}, 400, `NoSuchVersion`},
		{"query unsigned", request{body: "Action=ListUsers&Version=2010-05-08", contentType: form, unsigned: true}, 403, `MissingAuthenticationToken`},
		{"query unknown key", request{body: "Action=ListUsers&Version=2010-05-08", contentType: form, service: "iam", cred: stranger}, 403, `InvalidClientTokenId`},
		{"query unknown service", request{body: "Action=ListTopics&Version=2010-03-31", contentType: form, service: "sns"}, 400, `<Code>InvalidAction</Code>`},
		{"s3", request{method: "HEAD", path: "/bucket", service: "s3"}, 200, ""},
		{"s3 unknown key", request{method: "GET", path: "/bucket?policy", service: "s3", cred: stranger}, 403, `<Code>InvalidAccessKeyId</Code>`},
		{"s3 bad signature", request{method: "GET", path: "/bucket?policy", service: "s3", cred: liar}, 403, `<Code>SignatureDoesNotMatch</Code>`},
		{"s3 not implemented", request{method: "GET", path: "/bucket?torrent", service: "s3"}, 501, `<Code>NotImplemented</Code>`},
		{"unknown rest service", request{method: "GET", path: "/2015-03-31/functions/", service: "lambda"}, 404, `UnknownOperationException`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newRig(t, rule{}, nil).send(t, tc.q)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
				t.Errorf("%d %s, want %d with %s", w.Code, w.Body, tc.status, tc.want)
			}
			if strings.Contains(w.Body.String(), "hunter2") || strings.Contains(w.Body.String(), "broken invariant") {
				t.Errorf("the answer shows a private cause: %s", w.Body)
			}
		})
	}
}

func TestEveryCallLeavesOneRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t, rule{denied: map[string]bool{"iam:ListUsers": true}}, nil)
	r.send(t, request{target: "TrentService.DescribeKey", body: `{"KeyId":"k"}`, service: "kms"})
	r.send(t, request{target: "TrentService.DescribeKey", body: `{}`, service: "kms"})
	r.send(t, request{target: "TrentService.DescribeKey", body: `{"KeyId":"private"}`, service: "kms"})
	r.send(t, request{target: "TrentService.DescribeKey", body: `{"KeyId":"panic"}`, service: "kms"})
	r.send(t, request{target: "TrentService.EnableKey", body: `{"KeyId":"k"}`, service: "kms"})
	r.send(t, request{target: "TrentService.EnableKey", body: `{"KeyId":"fails"}`, service: "kms"})
	w := r.send(t, request{body: "Action=ListUsers&Version=2010-05-08", contentType: form, service: "iam"})
	if w.Code != 403 || !strings.Contains(w.Body.String(), "because no identity-based policy allows the iam:ListUsers action") {
		t.Errorf("denial = %d %s", w.Code, w.Body)
	}
	want := []struct{ name, code, response string }{
		{"DescribeKey", "", "null"},
		{"DescribeKey", "ValidationException", "null"},
		{"DescribeKey", "InternalFailure", "null"},
		{"DescribeKey", "InternalFailure", "null"},
		{"EnableKey", "", `{"keyId":"k"}`},
		{"EnableKey", "DisabledException", "null"},
		{"ListUsers", "AccessDenied", "null"},
	}
	got := r.records(t)
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d: %+v", len(got), len(want), got)
	}
	for i, w := range want {
		g := got[i]
		if g.EventName != w.name || g.ErrorCode != w.code || string(g.ResponseElements) != w.response || g.EventID == "" || g.UserIdentity.UserName != "u" {
			t.Errorf("record %d = %s %q %s, want %+v", i, g.EventName, g.ErrorCode, g.ResponseElements, w)
		}
	}
	if strings.Contains(got[2].ErrorMessage, "hunter2") {
		t.Error("the record shows a private cause")
	}
}

func TestTwoCommitsFail(t *testing.T) {
	t.Parallel()
	r := newRig(t, rule{}, nil)
	w := r.send(t, request{target: "TrentService.DisableKey", body: `{"KeyId":"k"}`, service: "kms"})
	if w.Code != 500 {
		t.Errorf("a method with two commits answered %d", w.Code)
	}
}

func TestNoRecordNoAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, rule{}, brokenJournal{})
	w := r.send(t, request{target: "TrentService.DescribeKey", body: `{"KeyId":"k"}`, service: "kms"})
	if w.Code != 500 || strings.Contains(w.Body.String(), `"k"`) {
		t.Errorf("answered %d %s without a record (I4)", w.Code, w.Body)
	}
}

// TestBrokenAnswerIsCut: when an answer breaks in its middle nothing follows that
// could pass for the rest of it.
func TestBrokenAnswerIsCut(t *testing.T) {
	t.Parallel()
	r := newRig(t, rule{}, nil)
	srv := httptest.NewServer(r.h)
	defer srv.Close()
	req, err := http.NewRequest(http.MethodGet, srv.URL+"/bucket/key", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := sigv4.Sign(req, nil, r.cred, "us-west-2", "s3", time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil || strings.Trim(string(b), "x") != "" {
		t.Errorf("read %q behind the body, %v", strings.Trim(string(b), "x"), err)
	}
}

func TestBrokenEvaluatorDenies(t *testing.T) {
	t.Parallel()
	r := newRig(t, rule{err: errors.New("policies unreadable")}, nil)
	w := r.send(t, request{target: "TrentService.DescribeKey", body: `{"KeyId":"k"}`, service: "kms"})
	if w.Code == 200 {
		t.Errorf("answered %d %s (I5)", w.Code, w.Body)
	}
}

func TestRegisteringTwicePanics(t *testing.T) {
	t.Parallel()
	r := newRig(t, rule{}, nil)
	defer func() {
		if recover() == nil {
			t.Error("registered twice")
		}
	}()
	Handle(r.Registry, kmsapi.EnableKey, AnyResource, func(context.Context, *kmsapi.EnableKeyInput) (*schema.Nothing, error) { return nil, nil })
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, rule{}, nil)
	w := r.send(t, request{target: "TrentService.DescribeKey", body: `{"KeyId":"` + strings.Repeat("x", maxBody) + `"}`, service: "kms"})
	if w.Code != 413 {
		t.Errorf("a body of %d bytes answered %d", maxBody, w.Code)
	}
	// Without a signature less is read.
	long := "Action=ListUsers&Version=2010-05-08&X=" + strings.Repeat("x", maxUnsignedForm)
	if w := r.send(t, request{body: long, contentType: form, unsigned: true}); w.Code != 413 {
		t.Errorf("an unsigned form of %d bytes answered %d", len(long), w.Code)
	}
	if w := r.send(t, request{body: long, contentType: form, service: "iam"}); w.Code != 200 {
		t.Errorf("a signed form of %d bytes answered %d %s", len(long), w.Code, w.Body)
	}
}

func TestHostBucket(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"127.0.0.1:4566": "", "[::1]:4566": "", "localhost:4566": "", "s3.localhost": "", "b.localhost:4566": "b",
		"b.s3.localhost": "b", "my.bucket.s3.localhost": "my.bucket", "b.s3.us-west-2.amazonaws.com": "b",
		"s3.us-west-2.amazonaws.com": "", "kms.us-west-2.amazonaws.com": "", "b.s3.amazonaws.com": "b", "example.org": "",
	} {
		if got := HostBucket(host); got != want {
			t.Errorf("HostBucket(%q) = %q, want %q", host, got, want)
		}
	}
}

func TestPathIsTheSignedOne(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"/":                               "/",
		"/?list-type=2":                   "/",
		"/bucket/a%2Fb/../c":              "/bucket/a%2Fb/../c",
		"/uploads/x://y/other/key":        "/uploads/x://y/other/key", // not the object "key" of the bucket "other"
		"/uploads/x://y":                  "/uploads/x://y",
		"/uploads/k?u=http://h/other/key": "/uploads/k",
		"http://host:80/bucket/key?x":     "/bucket/key",
		"http://host/b/x://y/z":           "/b/x://y/z",
		"http://host?x=/a/b":              "/",
		"http://host":                     "/",
		"*":                               "*",
	} {
		if got := escapedPath(&http.Request{RequestURI: target}); got != want {
			t.Errorf("escapedPath(%q) = %q, want %q", target, got, want)
		}
	}
}

func TestForwardedAddresses(t *testing.T) {
	t.Parallel()
	r := newRig(t, rule{}, nil)
	r.h.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, tc := range []struct{ peer, forwarded, want string }{
		{"10.0.0.1:1", "203.0.113.9", "203.0.113.9"},
		{"10.0.0.1:1", "198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"}, // what the client wrote itself is not believed
		{"192.0.2.1:1", "203.0.113.9", "192.0.2.1"},
		{"10.0.0.1:1", "nonsense", "10.0.0.1"},
	} {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.RemoteAddr = tc.peer
		req.Header.Set("X-Forwarded-For", tc.forwarded)
		x := &exchange{h: r.h, r: req}
		if got := x.clientAddress(); got != tc.want {
			t.Errorf("%+v gives %q", tc, got)
		}
	}
}

func TestTrailerOfOrdinaryBody(t *testing.T) {
	t.Parallel()
	if v, ok := Trailer(io.NopCloser(strings.NewReader("")), "x"); ok || v != "" {
		t.Errorf("Trailer = %q, %v", v, ok)
	}
}
