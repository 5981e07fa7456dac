package sigv4

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// text makes a short string of what tends to be encoded wrongly.
func text(rnd *rand.Rand, alphabet []string) string {
	var b strings.Builder
	for range rnd.IntN(8) {
		b.WriteString(alphabet[rnd.IntN(len(alphabet))])
	}
	return b.String()
}

var (
	oddText  = []string{"a", "Z", "9", "-", "_", ".", "~", " ", "+", "%", "%2F", "&", "=", ";", "!", "'", "(", ")", "*", ":", "@", ",", "$", "ü", "日", "\x7f", "#", "?"}
	oddValue = []string{"a", "Z", "9", " ", "  ", "\t", ",", ";", "=", "\"", "ü", ":", "/"}
)

// encodeLabel escapes a path label as SDKs do.
func encodeLabel(s string, keepSlash bool) string {
	var b []byte
	for i := range len(s) {
		if c := s[i]; unreserved(c) || c == '/' && keepSlash {
			b = append(b, c)
		} else {
			b = appendPercent(b, c)
		}
	}
	return string(b)
}

// randomRequest makes a client's request whose path is escaped by SDK rules.
func randomRequest(t testing.TB, rnd *rand.Rand, s3 bool, body []byte) *http.Request {
	t.Helper()
	var path strings.Builder
	for range rnd.IntN(4) {
		path.WriteByte('/')
		label := text(rnd, oddText)
		if s3 && rnd.IntN(3) == 0 {
			label += "/" + text(rnd, []string{"/", ".", "..", "x", "//"})
		}
		label = encodeLabel(label, s3)
		if !s3 && strings.Trim(label, ".") == "" {
			label = "r" // this signer does not normalise, which AWS does
		}
		path.WriteString(label)
	}
	if path.Len() == 0 {
		path.WriteByte('/')
	}
	query := url.Values{}
	for range rnd.IntN(4) {
		k := text(rnd, oddText)
		query.Add(k, text(rnd, oddText))
		if rnd.IntN(3) == 0 {
			query.Add(k, text(rnd, oddText))
		}
	}
	target := "http://host.test:4566" + path.String()
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	method := []string{"GET", "PUT", "POST", "DELETE", "HEAD"}[rnd.IntN(5)]
	r, err := http.NewRequest(method, target, bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%q: %v", target, err)
	}
	for i := range rnd.IntN(4) {
		name := []string{"X-Amz-Meta-N" + strconv.Itoa(i), "Content-Type", "X-Amz-Target", "Range"}[rnd.IntN(4)]
		r.Header.Add(name, "v"+text(rnd, oddValue))
		if rnd.IntN(4) == 0 {
			r.Header.Add(name, text(rnd, oddValue)+"w")
		}
	}
	return r
}

// TestAgainstSDKSigner lets the SDK sign and Verify judge, and lets Sign and the
// SDK sign the same request and compares.
func TestAgainstSDKSigner(t *testing.T) {
	t.Parallel()
	now := at(t, "20260102T030405Z")
	signer := v4.NewSigner()
	for seed := range uint64(600) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		s3 := seed%2 == 0
		service := "kms"
		if s3 {
			service = "s3"
		}
		cred := Credential{AccessKeyID: "ASIA" + strconv.FormatUint(seed, 10), Secret: "s" + text(rnd, oddText)}
		if rnd.IntN(2) == 0 {
			cred.SessionToken = "token/" + text(rnd, oddText)
			cred.SessionToken = strings.Map(func(c rune) rune {
				if c < ' ' || c > '~' {
					return 'x'
				}
				return c
			}, cred.SessionToken) + "="
		}
		body := []byte(text(rnd, oddText))
		r := randomRequest(t, rnd, s3, body)
		hash := sha256Hex(body)
		if s3 {
			if rnd.IntN(2) == 0 {
				hash = UnsignedPayload
			}
			r.Header.Set("X-Amz-Content-Sha256", hash)
		}
		opts := Options{S3: s3, Service: service, Body: body}
		sdkCred := aws.Credentials{AccessKeyID: cred.AccessKeyID, SecretAccessKey: cred.Secret, SessionToken: cred.SessionToken}
		escaping := func(o *v4.SignerOptions) { o.DisableURIPathEscaping = s3 }
		name := fmt.Sprintf("seed %d %s %s", seed, r.Method, r.URL)

		v := verifierAt(now, cred)
		if seed%3 == 0 { // presigned
			p := r.Clone(t.Context())
			if !s3 {
				p.Body, p.ContentLength, opts.Body, hash = http.NoBody, 0, nil, EmptySHA256
			}
			q := p.URL.Query()
			q.Set("X-Amz-Expires", "60")
			p.URL.RawQuery = q.Encode()
			uri, headers, err := signer.PresignHTTP(t.Context(), sdkCred, p, hash, service, "eu-west-1", now, escaping)
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(uri)
			if err != nil {
				t.Fatal(err)
			}
			p.URL, p.Header = u, headers
			p.Header.Del("Host")
			p.Header.Del("Content-Length")
			got := overTheWire(t, p)
			a, err := verify(t, v, got, opts)
			if err != nil {
				t.Fatalf("%s presigned: %v%s", name, err, details(err))
			}
			if !a.Presigned || a.Expires != time.Minute || a.HasSessionToken() != (cred.SessionToken != "") {
				t.Fatalf("%s: got %+v", name, a)
			}
			continue
		}
		ours := r.Clone(t.Context())
		if err := signer.SignHTTP(t.Context(), sdkCred, r, hash, service, "eu-west-1", now, escaping); err != nil {
			t.Fatal(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		got := overTheWire(t, r)
		a, err := verify(t, v, got, opts)
		if err != nil {
			t.Fatalf("%s: %v%s", name, err, details(err))
		}
		if s3 {
			p, err := v.Body(got, a)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if b, err := io.ReadAll(p); err != nil || !bytes.Equal(b, body) {
				t.Fatalf("%s: body %q, %v", name, b, err)
			}
		}

		// Ours on the same target: Verify accepts it as well.
		ours.Body = io.NopCloser(bytes.NewReader(body))
		if err := Sign(ours, body, cred, "eu-west-1", service, now); err != nil {
			t.Fatal(err)
		}
		if _, err := verify(t, v, overTheWire(t, ours), opts); err != nil {
			t.Fatalf("%s signed by Sign: %v%s", name, err, details(err))
		}
		// And the SDK's signature over exactly the headers Sign chose is equal.
		ours.Header.Del("Authorization")
		check := ours.Clone(t.Context())
		check.ContentLength = 0 // Sign leaves Content-Length to the transport
		if err := signer.SignHTTP(t.Context(), sdkCred, check, hash, service, "eu-west-1", now, escaping); err != nil {
			t.Fatal(err)
		}
		ours.URL = check.URL // the SDK rewrites "+" in queries
		if err := Sign(ours, body, cred, "eu-west-1", service, now); err != nil {
			t.Fatal(err)
		}
		if got, want := ours.Header.Get("Authorization"), check.Header.Get("Authorization"); got != want {
			t.Fatalf("%s\ngot  %s\nwant %s", name, got, want)
		}
	}
}

// TestPresignVerifies checks our own presigned URLs, also for other services.
func TestPresignVerifies(t *testing.T) {
	t.Parallel()
	now := at(t, "20260102T030405Z")
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		service := []string{"s3", "sts"}[seed%2]
		cred := Credential{AccessKeyID: "ASIAX", Secret: "secret", SessionToken: []string{"", "a+b/c=="}[rnd.IntN(2)]}
		r := randomRequest(t, rnd, service == "s3", nil)
		signed, err := Presign(r, cred, "us-east-1", service, time.Hour, now)
		if err != nil {
			t.Fatal(err)
		}
		got, err := http.NewRequest(r.Method, signed, nil)
		if err != nil {
			t.Fatalf("%s: %v", signed, err)
		}
		got.Header = r.Header
		_, err = verify(t, verifierAt(now.Add(time.Hour), cred), overTheWire(t, got), Options{S3: service == "s3", Service: service})
		if err != nil {
			t.Fatalf("%s: %v%s", signed, err, details(err))
		}
	}
}
