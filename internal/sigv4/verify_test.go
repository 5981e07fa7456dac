package sigv4

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var testCred = Credential{AccessKeyID: "AKIATEST", Secret: "test secret"}

// signedRequest makes a server's view of a signed request.
func signedRequest(t testing.TB, service string, body []byte, cred Credential, now time.Time) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://host.test/a/b%2Fc%20d?q=1&r=two%20words", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "TrentService.Encrypt")
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	if err := Sign(r, body, cred, "us-west-2", service, now); err != nil {
		t.Fatal(err)
	}
	return overTheWire(t, r)
}

// TestTampering flips one byte at a time of everything that is signed.
func TestTampering(t *testing.T) {
	t.Parallel()
	now := at(t, "20260102T030405Z")
	cred := testCred
	cred.SessionToken = "tok"
	body := []byte(`{"KeyId":"alias/x"}`)
	for _, service := range []string{"kms", "s3"} {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			v := verifierAt(now, cred)
			opts := Options{S3: service == "s3", Service: service, Body: body}
			base := func() *http.Request { return signedRequest(t, service, body, cred, now) }
			_, err := verify(t, v, base(), opts)
			wantKind(t, err, 0)
			refused := func(name string, r *http.Request, o Options) {
				t.Helper()
				a, err := verify(t, v, r, o)
				if err == nil {
					t.Errorf("%s: accepted", name)
				} else if KindOf(err) == 0 {
					t.Errorf("%s: %v is no *Error", name, err)
				}
				if a.Credential != nil {
					t.Errorf("%s: refused with a credential", name)
				}
			}

			for _, m := range []string{"GET", "post", "PUT", "PATCH"} {
				r := base()
				r.Method = m
				refused("method "+m, r, opts)
			}
			r := base()
			r.Host = "host.tesu"
			refused("host", r, opts)

			target := base().RequestURI
			for i := range len(target) {
				for _, c := range []byte{target[i] ^ 1, '!', '%'} {
					if c == target[i] {
						continue
					}
					r := base()
					r.RequestURI = target[:i] + string(rune(c)) + target[i+1:]
					refused(fmt.Sprintf("target %q", r.RequestURI), r, opts)
				}
			}
			for _, extra := range []string{"&x=1", "&", "&q=1", "&X-Amz-Signature=0", "+", "%00"} {
				r := base()
				r.RequestURI += extra
				if extra == "&" { // an empty parameter is none
					_, err := verify(t, v, r, opts)
					wantKind(t, err, 0)
					continue
				}
				refused("extra "+extra, r, opts)
			}

			for name, values := range base().Header {
				if name == "User-Agent" || name == "Content-Length" {
					continue
				}
				for i := range len(values[0]) {
					r := base()
					b := []byte(values[0])
					b[i] ^= 1
					if service != "s3" && name == "X-Amz-Content-Sha256" {
						continue
					}
					r.Header[name] = []string{string(b)}
					if string(b) == values[0] {
						continue
					}
					if name == "Authorization" && strings.EqualFold(strings.TrimSpace(string(b)), values[0]) {
						continue
					}
					refused(fmt.Sprintf("header %s byte %d: %q", name, i, b), r, opts)
				}
				r := base()
				delete(r.Header, name)
				refused("without "+name, r, opts)
				r = base()
				r.Header[name] = append(r.Header[name], "more")
				refused("two "+name, r, opts)
			}
			r = base()
			r.Header.Set("X-Amz-Grant-Read", "everyone")
			refused("added x-amz header", r, opts)

			if service != "s3" {
				for i := range body {
					b := slices.Clone(body)
					b[i] ^= 1
					o := opts
					o.Body = b
					refused("body", base(), o)
				}
				o := opts
				o.Body = nil
				refused("no body", base(), o)
			}
		})
	}
}

// TestEquivalentSpellings are changes that mean the same and verify.
func TestEquivalentSpellings(t *testing.T) {
	t.Parallel()
	now := at(t, "20260102T030405Z")
	tests := []struct {
		name, service string
		change        func(*http.Request)
		kind          Kind
	}{
		{"query order", "kms", func(r *http.Request) { r.RequestURI = "/a/b%2Fc%20d?r=two%20words&q=1" }, 0},
		{"query escapes", "kms", func(r *http.Request) { r.RequestURI = "/a/b%2Fc%20d?%71=%31&r=tw%6f%20words" }, 0},
		{"header spaces", "kms", func(r *http.Request) { r.Header.Set("X-Amz-Target", "  TrentService.Encrypt ") }, 0},
		{"unsigned header", "kms", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "::1") }, 0},
		{"trace header", "kms", func(r *http.Request) { r.Header.Set("X-Amzn-Trace-Id", "Root=1") }, 0},
		{"absolute form", "kms", func(r *http.Request) { r.RequestURI = "http://host.test" + r.RequestURI }, 0},
		{"dots normalised", "kms", func(r *http.Request) { r.RequestURI = "/x/..//./a/b%2Fc%20d?q=1&r=two%20words" }, 0},
		{"dots kept by S3", "s3", func(r *http.Request) { r.RequestURI = "/x/../a/b%2Fc%20d?q=1&r=two%20words" }, BadSignature},
		{"double slash kept by S3", "s3", func(r *http.Request) { r.RequestURI = "//a/b%2Fc%20d?q=1&r=two%20words" }, BadSignature},
		{"escape case, S3", "s3", func(r *http.Request) { r.RequestURI = "/%61/b%2fc%20d?q=1&r=two%20words" }, 0},
		{"escape case, others", "kms", func(r *http.Request) { r.RequestURI = "/a/b%2fc%20d?q=1&r=two%20words" }, BadSignature},
		{"escaped slash opened, others", "kms", func(r *http.Request) { r.RequestURI = "/a/b/c%20d?q=1&r=two%20words" }, BadSignature},
		{"broken path escape", "s3", func(r *http.Request) { r.RequestURI = "/a%zz?q=1" }, Malformed},
		{"broken query escape", "kms", func(r *http.Request) { r.RequestURI = "/a?q=%1" }, Malformed},
		{"too many parameters", "kms", func(r *http.Request) { r.RequestURI = "/a?" + strings.Repeat("q&", maxQueryParams+1) }, Malformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := signedRequest(t, tt.service, nil, testCred, now)
			tt.change(r)
			_, err := verify(t, verifierAt(now, testCred), r, Options{S3: tt.service == "s3"})
			wantKind(t, err, tt.kind)
		})
	}
}

// TestEscapedSlashSignedAsSlash: S3 clients that sign the decoded form pass.
func TestEscapedSlashSignedAsSlash(t *testing.T) {
	t.Parallel()
	now := at(t, "20260102T030405Z")
	r, _ := http.NewRequest(http.MethodGet, "http://host.test/bucket/a/b", nil)
	if err := Sign(r, nil, testCred, "us-west-2", "s3", now); err != nil {
		t.Fatal(err)
	}
	got := overTheWire(t, r)
	got.RequestURI = "/bucket/a%2Fb"
	_, err := verify(t, verifierAt(now, testCred), got, Options{S3: true})
	wantKind(t, err, 0)
}

func TestTime(t *testing.T) {
	t.Parallel()
	signedAt := at(t, "20260102T120000Z")
	const minute = time.Minute
	tests := []struct {
		name    string
		service string
		presign time.Duration
		after   time.Duration
		kind    Kind
		message string
	}{
		{"same instant", "kms", 0, 0, 0, ""},
		{"5 min late", "kms", 0, 5 * minute, 0, ""},
		{"5 min early", "kms", 0, -5 * minute, 0, ""},
		{"late", "kms", 0, 5*minute + time.Second, Skewed, "Signature expired: 20260102T120000Z is now earlier than 20260102T120001Z (20260102T120501Z - 5 min.)"},
		{"early", "kms", 0, -5*minute - time.Second, Skewed, "Signature not yet current: 20260102T120000Z is still later than 20260102T115959Z (20260102T115459Z + 5 min.)"},
		{"S3 15 min late", "s3", 0, 15 * minute, 0, ""},
		{"S3 15 min early", "s3", 0, -15 * minute, 0, ""},
		{"S3 late", "s3", 0, 15*minute + time.Second, Skewed, "The difference between the request time and the current time is too large."},
		{"S3 early", "s3", 0, -15*minute - time.Second, Skewed, "The difference between the request time and the current time is too large."},
		{"presigned S3 last second", "s3", 60 * time.Second, minute, 0, ""},
		{"presigned S3 expired", "s3", 60 * time.Second, minute + time.Second, Expired, "Request has expired"},
		{"presigned S3 a week", "s3", maxPresign, maxPresign, 0, ""},
		{"presigned S3 within skew", "s3", minute, -15 * minute, 0, ""},
		{"presigned S3 too early", "s3", minute, -16 * minute, Expired, "Request is not yet valid"},
		{"presigned STS last second", "sts", minute, minute, 0, ""},
		{"presigned STS expired", "sts", minute, 2 * minute, Expired, "Signature expired: 20260102T120000Z is now earlier than 20260102T120100Z (20260102T120200Z - 1 min.)"},
		{"presigned STS too early", "sts", minute, -6 * minute, Expired, "Signature not yet current: 20260102T120000Z is still later than 20260102T115900Z (20260102T115400Z + 5 min.)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, _ := http.NewRequest(http.MethodGet, "http://host.test/", nil)
			if tt.presign > 0 {
				u, err := Presign(r, testCred, "us-west-2", tt.service, tt.presign, signedAt)
				if err != nil {
					t.Fatal(err)
				}
				r, _ = http.NewRequest(http.MethodGet, u, nil)
			} else if err := Sign(r, nil, testCred, "us-west-2", tt.service, signedAt); err != nil {
				t.Fatal(err)
			}
			now := signedAt.Add(tt.after)
			_, err := verify(t, verifierAt(now, testCred), overTheWire(t, r), Options{S3: tt.service == "s3"})
			wantKind(t, err, tt.kind)
			if tt.kind == 0 {
				return
			}
			e, _ := errors.AsType[*Error](err)
			if e.Message != tt.message {
				t.Errorf("got  %q\nwant %q", e.Message, tt.message)
			}
			if !e.RequestTime.Equal(signedAt) || !e.ServerTime.Equal(now) || e.Presigned != (tt.presign > 0) {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func TestScope(t *testing.T) {
	t.Parallel()
	now := at(t, "20260102T120000Z")
	tests := []struct {
		name     string
		from, to string // in the Authorization header
		opts     Options
		kind     Kind
		message  string
		region   string
	}{
		{"any region, any service", "", "", Options{}, 0, "", ""},
		{"expected", "", "", Options{Service: "kms", Region: "us-west-2"}, 0, "", ""},
		{"service", "", "", Options{Service: "iam"}, WrongScope, "Credential should be scoped to correct service: 'iam'.", ""},
		{"region", "", "", Options{Region: "eu-west-1"}, WrongScope, "Credential should be scoped to a valid region.", "eu-west-1"},
		{"region of S3", "", "", Options{S3: true, Region: "eu-west-1"}, WrongScope, "The authorization header is malformed; the region 'us-west-2' is wrong; expecting 'eu-west-1'", "eu-west-1"},
		{"terminator", "aws4_request", "aws5_request", Options{}, WrongScope, "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'.", ""},
		{"date", "/20260102/", "/20260101/", Options{}, WrongScope, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260101' != '20260102', from '20260102T120000Z'.", ""},
		{"another region than signed", "/us-west-2/", "/us-west-1/", Options{}, BadSignature, mismatchText(false), ""},
		{"another service than signed", "/kms/", "/iam/", Options{Service: "iam"}, BadSignature, mismatchText(false), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := signedRequest(t, "kms", nil, testCred, now)
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), tt.from, tt.to, 1))
			_, err := verify(t, verifierAt(now, testCred), r, tt.opts)
			wantKind(t, err, tt.kind)
			if e, ok := errors.AsType[*Error](err); ok && (e.Message != tt.message || e.Region != tt.region || e.AccessKeyID != testCred.AccessKeyID) {
				t.Errorf("got %q, region %q, key %q", e.Message, e.Region, e.AccessKeyID)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	now := at(t, "20260102T120000Z")
	internal := errors.New("the store is down")
	tests := []struct {
		name   string
		token  string // in the request
		cred   *Credential
		err    error
		kind   Kind
		s3     bool
		needle string
	}{
		{name: "long term", cred: &Credential{Secret: testCred.Secret}},
		{name: "temporary", token: "tok", cred: &Credential{Secret: testCred.Secret, SessionToken: "tok", Expires: now.Add(time.Second)}},
		{name: "rotated secret", cred: &Credential{Secret: "other"}, kind: BadSignature},
		{name: "unknown", err: fmt.Errorf("find: %w", ErrUnknownKey), kind: UnknownKey, needle: "security token included in the request is invalid."},
		{name: "unknown to S3", err: ErrUnknownKey, kind: UnknownKey, s3: true, needle: "does not exist in our records"},
		{name: "nil credential", kind: UnknownKey},
		{name: "inactive", err: ErrInactive, kind: UnknownKey},
		{name: "lookup says token expired", err: ErrTokenExpired, kind: TokenExpired},
		{name: "lookup says token invalid", err: ErrTokenInvalid, kind: TokenInvalid, s3: true},
		{name: "token on a long-term key", token: "tok", cred: &Credential{Secret: testCred.Secret}, kind: TokenInvalid},
		{name: "token missing", cred: &Credential{Secret: testCred.Secret, SessionToken: "tok"}, kind: UnknownKey},
		{name: "another token", token: "tok", cred: &Credential{Secret: testCred.Secret, SessionToken: "tokk"}, kind: TokenInvalid},
		{name: "expired now", token: "tok", cred: &Credential{Secret: testCred.Secret, SessionToken: "tok", Expires: now}, kind: TokenExpired},
		{name: "lookup fails", err: internal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			service := "kms"
			if tt.s3 {
				service = "s3"
			}
			sign := testCred
			sign.SessionToken = tt.token
			r := signedRequest(t, service, nil, sign, now)
			v := &Verifier{Now: func() time.Time { return now }, Lookup: func(_ context.Context, id, token string) (*Credential, error) {
				if id != testCred.AccessKeyID || token != tt.token {
					t.Errorf("lookup of %q with token %q", id, token)
				}
				return tt.cred, tt.err
			}}
			_, err := verify(t, v, r, Options{S3: tt.s3})
			if tt.err == internal {
				if !errors.Is(err, internal) || KindOf(err) != 0 {
					t.Fatalf("got %v", err)
				}
				return
			}
			wantKind(t, err, tt.kind)
			if tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("%v does not wrap %v", err, tt.err)
			}
			if tt.needle != "" && !strings.Contains(err.Error(), tt.needle) {
				t.Errorf("got %q, want it to say %q", err, tt.needle)
			}
		})
	}
}

// TestTokenAfterSigning: the token header may be added without being signed.
func TestTokenAfterSigning(t *testing.T) {
	t.Parallel()
	now := at(t, "20260102T120000Z")
	r := signedRequest(t, "kms", nil, testCred, now)
	r.Header.Set("X-Amz-Security-Token", "tok")
	cred := testCred
	cred.SessionToken = "tok"
	_, err := verify(t, verifierAt(now, cred), r, Options{})
	wantKind(t, err, 0)
}

func TestSignedHeaders(t *testing.T) {
	t.Parallel()
	now := at(t, "20260102T120000Z")
	r := signedRequest(t, "s3", nil, testCred, now)
	auth := r.Header.Get("Authorization")
	r.Header.Set("Authorization", strings.Replace(auth, "host;", "", 1))
	_, err := verify(t, verifierAt(now, testCred), r, Options{S3: true})
	wantKind(t, err, UnsignedHeaders)

	r.Header.Set("Authorization", auth)
	r.Header.Set("X-Amz-Acl", "public-read")
	r.Header.Set("X-Amz-Tagging", "a=b")
	_, err = verify(t, verifierAt(now, testCred), r, Options{S3: true})
	wantKind(t, err, UnsignedHeaders)
	e, _ := errors.AsType[*Error](err)
	if !slices.Equal(e.Headers, []string{"x-amz-acl", "x-amz-tagging"}) {
		t.Errorf("got %v", e.Headers)
	}

	// A presigned URL binds its headers too.
	c, _ := http.NewRequest(http.MethodPut, "http://host.test/b/k", nil)
	c.Header.Set("X-Amz-Server-Side-Encryption", "aws:kms")
	u, err := Presign(c, testCred, "us-west-2", "s3", time.Minute, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, header, value string
		kind                Kind
	}{
		{"as signed", "X-Amz-Server-Side-Encryption", "aws:kms", 0},
		{"changed", "X-Amz-Server-Side-Encryption", "AES256", BadSignature},
		{"left out", "X-Other", "1", BadSignature},
	} {
		p, _ := http.NewRequest(http.MethodPut, u, nil)
		p.Header.Set(tt.header, tt.value)
		if _, err := verify(t, verifierAt(now, testCred), overTheWire(t, p), Options{S3: true}); KindOf(err) != tt.kind {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.kind)
		}
	}
}

// TestDateFallback signs with a Date header alone, in each accepted form.
func TestDateFallback(t *testing.T) {
	t.Parallel()
	now := at(t, "20260102T120000Z")
	for _, date := range []string{"20260102T120000Z", "Fri, 02 Jan 2026 12:00:00 GMT", "Fri, 02 Jan 2026 13:00:00 +0100"} {
		a := &Auth{AccessKeyID: testCred.AccessKeyID, amzDate: "20260102T120000Z", Scope: Scope{"20260102", "us-west-2", "kms"}, SignedHeaders: []string{"date", "host"}, PayloadHash: EmptySHA256}
		r := parseRequest(t, "GET / HTTP/1.1\nHost: h\nDate: "+date, nil)
		if err := a.sign(r, "/", "", testCred.Secret); err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", Algorithm+" Credential=AKIATEST/20260102/us-west-2/kms/aws4_request,SignedHeaders=date;host,Signature="+a.signature)
		if _, err := verify(t, verifierAt(now, testCred), r, Options{}); err != nil {
			t.Errorf("%s: %v%s", date, err, details(err))
		}
	}
}

// TestContentSHA256 covers what S3 and the others make of the header.
func TestContentSHA256(t *testing.T) {
	t.Parallel()
	now := at(t, "20260102T120000Z")
	other := strings.Repeat("0", 64)
	tests := []struct {
		name, service, value string
		kind                 Kind
	}{
		{"S3 unsigned", "s3", UnsignedPayload, 0},
		{"S3 any hash, checked with the body", "s3", other, 0},
		{"S3 unsigned trailer", "s3", StreamingUnsignedTrailer, 0},
		{"S3 nonsense", "s3", "nonsense", InvalidArgument},
		{"S3 4A streaming", "s3", streamingV4A, UnsupportedAlgorithm},
		{"others, the body's", "kms", EmptySHA256, 0},
		{"others, another", "kms", other, BodyHash},
		{"others, a word", "kms", UnsignedPayload, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, _ := http.NewRequest(http.MethodGet, "http://host.test/", nil)
			r.Header.Set("X-Amz-Content-Sha256", tt.value)
			if err := Sign(r, nil, testCred, "us-west-2", tt.service, now); err != nil {
				t.Fatal(err)
			}
			_, err := verify(t, verifierAt(now, testCred), overTheWire(t, r), Options{S3: tt.service == "s3"})
			wantKind(t, err, tt.kind)
		})
	}
	t.Run("S3 missing", func(t *testing.T) {
		t.Parallel()
		r, _ := http.NewRequest(http.MethodGet, "http://host.test/", nil)
		if err := Sign(r, nil, testCred, "us-west-2", "kms", now); err != nil {
			t.Fatal(err)
		}
		_, err := verify(t, verifierAt(now, testCred), overTheWire(t, r), Options{S3: true})
		wantKind(t, err, InvalidRequest)
	})
}

// TestKeyCache: bounded, and a rotated secret misses at once.
func TestKeyCache(t *testing.T) {
	t.Parallel()
	now := at(t, "20260102T120000Z")
	cred := testCred
	v := &Verifier{Now: func() time.Time { return now }, Lookup: func(context.Context, string, string) (*Credential, error) { return &cred, nil }}
	old := signedRequest(t, "kms", nil, cred, now)
	_, err := verify(t, v, old, Options{})
	wantKind(t, err, 0)
	cred.Secret = "rotated"
	_, err = verify(t, v, old, Options{})
	wantKind(t, err, BadSignature)
	_, err = verify(t, v, signedRequest(t, "kms", nil, cred, now), Options{})
	wantKind(t, err, 0)

	var c keyCache
	var wg sync.WaitGroup
	secret := [32]byte{1}
	for g := range 4 {
		wg.Go(func() {
			for i := range 3 * keyCacheSize {
				id := keyID{fmt.Sprint(g, i), Scope{"20260102", "r", "s"}}
				k := deriveKey("x", id.scope)
				c.put(id, &secret, k)
				if got := c.get(id, &secret); got != nil && got.b != k.b {
					t.Errorf("another key for %v", id)
				}
				if c.get(id, &[32]byte{2}) != nil {
					t.Errorf("%v found under another secret", id)
				}
				if i > 20 {
					c.put(id, &secret, k)
				}
			}
		})
	}
	wg.Wait()
	if n := c.len(); n > 2*keyCacheSize {
		t.Errorf("%d entries", n)
	}
}

func TestAnonymous(t *testing.T) {
	t.Parallel()
	v := verifierAt(time.Time{}, testCred)
	r := parseRequest(t, "GET /b/k?versionId=1 HTTP/1.1\nHost: h", nil)
	a, err := verify(t, v, r, Options{S3: true})
	wantKind(t, err, MissingAuth)
	if !a.Anonymous {
		t.Errorf("got %v", a)
	}
}

func BenchmarkVerify(b *testing.B) {
	now := at(b, "20260102T120000Z")
	body := []byte(`{"KeyId":"arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab","NumberOfBytes":32}`)
	v := verifierAt(now, testCred)
	cred := testCred
	v.Lookup = func(context.Context, string, string) (*Credential, error) { return &cred, nil }
	r, _ := http.NewRequest(http.MethodPost, "http://host.test/", strings.NewReader(string(body)))
	r.Header.Set("X-Amz-Target", "TrentService.GenerateDataKey")
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("Amz-Sdk-Invocation-Id", "11111111-2222-3333-4444-555555555555")
	r.Header.Set("Amz-Sdk-Request", "attempt=1; max=3")
	if err := Sign(r, body, testCred, "us-west-2", "kms", now); err != nil {
		b.Fatal(err)
	}
	r = overTheWire(b, r)
	opts := Options{Service: "kms", Body: body}
	b.ReportAllocs()
	for b.Loop() {
		a, err := Inspect(r)
		if err != nil {
			b.Fatal(err)
		}
		if err := v.Verify(b.Context(), r, a, opts); err != nil {
			b.Fatal(err)
		}
	}
}
