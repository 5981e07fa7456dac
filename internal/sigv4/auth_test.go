package sigv4

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

const goodScope = "AKIATEST/20260102/us-west-2/kms/aws4_request"

var goodSignature = strings.Repeat("ab", 32)

func TestInspectHeader(t *testing.T) {
	t.Parallel()
	good := Algorithm + " Credential=" + goodScope + ", SignedHeaders=host;x-amz-date, Signature=" + goodSignature
	tests := []struct {
		name, header string
		kind         Kind
		message      string // a part of it
	}{
		{"usual", good, 0, ""},
		{"no spaces", strings.ReplaceAll(good, ", ", ","), 0, ""},
		{"many spaces", strings.ReplaceAll(good, ", ", "  ,   "), 0, ""},
		{"another order", Algorithm + " Signature=" + goodSignature + ", Credential=" + goodScope + ", SignedHeaders=x-amz-date;host", 0, ""},
		{"algorithm alone", Algorithm, Malformed, "requires 'Credential' parameter. Authorization header requires 'Signature' parameter."},
		{"no signature", Algorithm + " Credential=" + goodScope + ", SignedHeaders=host", Malformed, "requires 'Signature' parameter."},
		{"empty signature", Algorithm + " Credential=" + goodScope + ", SignedHeaders=host, Signature=", Malformed, "Signature"},
		{"twice", good + ", Signature=" + goodSignature, Malformed, "twice"},
		{"unknown parameter", good + ", Realm=x", Malformed, "unknown"},
		{"no pair", good + ", x", Malformed, "key=value"},
		{"short scope", strings.Replace(good, "/kms", "", 1), Malformed, "mal-formed"},
		{"long scope", strings.Replace(good, "/kms", "/kms/x", 1), Malformed, "mal-formed"},
		{"empty region", strings.Replace(good, "/us-west-2/", "//", 1), Malformed, "mal-formed"},
		{"odd service", strings.Replace(good, "/kms/", "/k ms/", 1), Malformed, "mal-formed"},
		{"odd date", strings.Replace(good, "/20260102/", "/2026-102/", 1), Malformed, "mal-formed"},
		{"odd key", strings.Replace(good, "AKIATEST", "<script>", 1), Malformed, "mal-formed"},
		{"long key", strings.Replace(good, "AKIATEST", strings.Repeat("A", 129), 1), Malformed, "mal-formed"},
		{"capital header", strings.Replace(good, "host;", "Host;", 1), Malformed, "SignedHeaders"},
		{"repeated header", strings.Replace(good, "host;", "host;host;", 1), Malformed, "twice"},
		{"empty header", strings.Replace(good, "host;", "host;;", 1), Malformed, "SignedHeaders"},
		{"too long", good + strings.Repeat(" ", maxAuthorization), Malformed, "too long"},
		{"4A", algorithmV4A + " Credential=AKIATEST/20260102/kms/aws4_request, SignedHeaders=host, Signature=30", UnsupportedAlgorithm, "Signature Version 4A"},
		{"version 2", "AWS AKIATEST:frJIUN8DYpKDtOLCwo//yllqDzg=", UnsupportedAlgorithm, "Please use AWS4-HMAC-SHA256"},
		{"bearer", "Bearer abc", UnsupportedAlgorithm, "Please use"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{RequestURI: "/", Header: http.Header{"Authorization": {tt.header}, "X-Amz-Date": {"20260102T000000Z"}}}
			a, err := Inspect(r)
			wantKind(t, err, tt.kind)
			if e, ok := errors.AsType[*Error](err); ok && !strings.Contains(e.Message, tt.message) {
				t.Errorf("got %q, want it to say %q", e.Message, tt.message)
			}
			if tt.name == "4A" && (a.Scope.Service != "kms" || a.AccessKeyID != "AKIATEST") {
				t.Errorf("got %v, want the service for routing", a)
			}
			if tt.kind != 0 {
				return
			}
			want := Scope{"20260102", "us-west-2", "kms"}
			if a.AccessKeyID != "AKIATEST" || a.Scope != want || a.signature != goodSignature ||
				!reflect.DeepEqual(a.SignedHeaders, []string{"host", "x-amz-date"}) || a.Presigned || a.Anonymous {
				t.Errorf("got %v %v", a, a.SignedHeaders)
			}
		})
	}
}

func TestInspectDate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		header http.Header
		want   string // basic format; "" for Malformed
	}{
		{"x-amz-date", http.Header{"X-Amz-Date": {"20240229T235959Z"}}, "20240229T235959Z"},
		{"x-amz-date wins", http.Header{"X-Amz-Date": {"20240229T235959Z"}, "Date": {"nonsense"}}, "20240229T235959Z"},
		{"RFC 1123", http.Header{"Date": {"Fri, 02 Jan 2026 12:00:00 GMT"}}, "20260102T120000Z"},
		{"none", http.Header{}, ""},
		{"no leap day", http.Header{"X-Amz-Date": {"20250229T000000Z"}}, ""},
		{"month 13", http.Header{"X-Amz-Date": {"20251301T000000Z"}}, ""},
		{"day 0", http.Header{"X-Amz-Date": {"20250100T000000Z"}}, ""},
		{"hour 24", http.Header{"X-Amz-Date": {"20250101T240000Z"}}, ""},
		{"extended format", http.Header{"X-Amz-Date": {"2025-01-01T00:00:00Z"}}, ""},
		{"lower case", http.Header{"X-Amz-Date": {"20250101t000000z"}}, ""},
		{"sign", http.Header{"X-Amz-Date": {"+0250101T000000Z"}}, ""},
		{"two", http.Header{"X-Amz-Date": {"20250101T000000Z", "20250101T000000Z"}}, ""},
		{"two Dates", http.Header{"Date": {"20250101T000000Z", "20250101T000000Z"}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.header.Set("Authorization", Algorithm+" Credential="+goodScope+", SignedHeaders=host, Signature="+goodSignature)
			a, err := Inspect(&http.Request{RequestURI: "/", Header: tt.header})
			if tt.want == "" {
				wantKind(t, err, Malformed)
				return
			}
			wantKind(t, err, 0)
			if got := a.Time.Format(basicFormat); got != tt.want || a.amzDate != tt.want {
				t.Errorf("got %s and %s, want %s", got, a.amzDate, tt.want)
			}
		})
	}
}

func TestInspectQuery(t *testing.T) {
	t.Parallel()
	good := map[string]string{
		"X-Amz-Algorithm": Algorithm, "X-Amz-Credential": strings.ReplaceAll(goodScope, "/", "%2F"), "X-Amz-Date": "20260102T000000Z",
		"X-Amz-Expires": "60", "X-Amz-SignedHeaders": "host%3Bx-amz-acl", "X-Amz-Signature": goodSignature, "X-Amz-Security-Token": "a%2Bb+c",
	}
	tests := []struct {
		name        string
		set         map[string]string // "-" removes
		extra       string
		kind        Kind
		checkResult func(*testing.T, *Auth)
	}{
		{name: "usual", checkResult: func(t *testing.T, a *Auth) {
			if !a.Presigned || a.token != "a+b+c" || a.Expires != time.Minute || len(a.SignedHeaders) != 2 {
				t.Errorf("got %v %v %v %q", a, a.SignedHeaders, a.Expires, a.token)
			}
		}},
		{name: "without Expires", set: map[string]string{"X-Amz-Expires": "-"}},
		{name: "0 seconds", set: map[string]string{"X-Amz-Expires": "0"}, kind: Malformed},
		{name: "negative", set: map[string]string{"X-Amz-Expires": "-1"}, kind: Malformed},
		{name: "a week", set: map[string]string{"X-Amz-Expires": "604800"}},
		{name: "more than a week", set: map[string]string{"X-Amz-Expires": "604801"}, kind: Malformed},
		{name: "no number", set: map[string]string{"X-Amz-Expires": "1h"}, kind: Malformed},
		{name: "overflow", set: map[string]string{"X-Amz-Expires": "99999999999999999999"}, kind: Malformed},
		{name: "no algorithm", set: map[string]string{"X-Amz-Algorithm": "-"}, kind: Malformed},
		{name: "no credential", set: map[string]string{"X-Amz-Credential": "-"}, kind: Malformed},
		{name: "no date", set: map[string]string{"X-Amz-Date": "-"}, kind: Malformed},
		{name: "no signed headers", set: map[string]string{"X-Amz-SignedHeaders": "-"}, kind: Malformed},
		{name: "no signature", set: map[string]string{"X-Amz-Signature": "-"}, kind: Malformed},
		{name: "4A", set: map[string]string{"X-Amz-Algorithm": algorithmV4A}, kind: UnsupportedAlgorithm},
		{name: "other algorithm", set: map[string]string{"X-Amz-Algorithm": "HS256"}, kind: UnsupportedAlgorithm},
		{name: "broken escape", set: map[string]string{"X-Amz-Credential": "%zz"}, kind: Malformed},
		{name: "twice", extra: "&X-Amz-Date=20260102T000000Z", kind: Malformed},
		{name: "twice, spelled otherwise", extra: "&X%2DAmz-Signature=0", kind: Malformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var q []string
			for k, v := range good {
				if s, ok := tt.set[k]; ok {
					v = s
				}
				if v != "-" {
					q = append(q, k+"="+v)
				}
			}
			a, err := Inspect(&http.Request{RequestURI: "/k?" + strings.Join(q, "&") + tt.extra, Header: http.Header{}})
			wantKind(t, err, tt.kind)
			if e, ok := errors.AsType[*Error](err); ok && !e.Presigned {
				t.Error("the error does not say presigned")
			}
			if tt.checkResult != nil {
				tt.checkResult(t, a)
			}
		})
	}
	t.Run("both mechanisms", func(t *testing.T) {
		t.Parallel()
		_, err := Inspect(&http.Request{RequestURI: "/?X-Amz-Signature=0", Header: http.Header{"Authorization": {"AWS4-HMAC-SHA256 x"}}})
		wantKind(t, err, Malformed)
	})
	t.Run("version 2", func(t *testing.T) {
		t.Parallel()
		_, err := Inspect(&http.Request{RequestURI: "/k?AWSAccessKeyId=A&Expires=1&Signature=x", Header: http.Header{}})
		wantKind(t, err, UnsupportedAlgorithm)
	})
	t.Run("two Authorization headers", func(t *testing.T) {
		t.Parallel()
		_, err := Inspect(&http.Request{RequestURI: "/", Header: http.Header{"Authorization": {"a", "b"}}})
		wantKind(t, err, Malformed)
	})
}

func TestParseQuery(t *testing.T) {
	t.Parallel()
	got, err := ParseQuery("a=1+2&&b;c=%3B&a=%2B&d&=e&%C3%BC==")
	want := map[string][]string{"a": {"1+2", "+"}, "b;c": {";"}, "d": {""}, "": {"e"}, "ü": {"="}}
	if err != nil || !reflect.DeepEqual(map[string][]string(got), want) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"a=%", "%zz", "a=%1"} {
		if v, err := ParseQuery(bad); KindOf(err) != Malformed {
			t.Errorf("%q: got %v, %v", bad, v, err)
		}
	}
}

func TestNormalizePath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "/", "/": "/", "/a/b": "/a/b", "/a/b/": "/a/b/", "//": "/", "/a//b": "/a/b", "/a/./b": "/a/b", "/a/../b": "/b",
		"/../../x": "/x", "/a/..": "/", "/a/.": "/a", "/a/./": "/a/", "/..a/.b": "/..a/.b", "/a%2F%2e%2e": "/a%2F%2e%2e", "/...": "/...",
	} {
		if got := NormalizePath(in); got != want {
			t.Errorf("NormalizePath(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzInspectHeader: what parses can be written again from the Auth and parses
// to the same Auth.
func FuzzInspectHeader(f *testing.F) {
	f.Add(Algorithm+" Credential="+goodScope+", SignedHeaders=host;x-amz-date, Signature="+goodSignature, "20260102T000000Z")
	f.Add(Algorithm+" Signature=0,Credential=a/00000000/b/c/,SignedHeaders=:authority", "Fri, 02 Jan 2026 12:00:00 GMT")
	f.Add(algorithmV4A+" Credential=a/b/c/d, SignedHeaders=a, Signature=30", "")
	f.Fuzz(func(t *testing.T, header, date string) {
		if len(header) > 4096 || len(date) > 64 {
			return
		}
		inspect := func(header, date string) (*Auth, error) {
			return Inspect(&http.Request{RequestURI: "/", Header: http.Header{"Authorization": {header}, "Date": {date}}})
		}
		a, err := inspect(header, date)
		if err != nil {
			if k := KindOf(err); k != Malformed && k != UnsupportedAlgorithm {
				t.Fatalf("kind %v", k)
			}
			return
		}
		if a.Anonymous {
			if header != "" {
				t.Fatalf("%q is anonymous", header)
			}
			return
		}
		again := Algorithm + " Credential=" + a.AccessKeyID + "/" + a.Scope.Date + "/" + a.Scope.Region + "/" + a.Scope.Service + "/" + a.terminator +
			", SignedHeaders=" + strings.Join(a.SignedHeaders, ";") + ", Signature=" + a.signature
		b, err := inspect(again, a.amzDate)
		if err != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%q gave %#v, %q gave %#v, %v", header, *a, again, *b, err)
		}
	})
}

// FuzzCanonicalQuery: the canonical query is a fixed point, and says the same as
// ParseQuery.
func FuzzCanonicalQuery(f *testing.F) {
	f.Add("a=1&b=2")
	f.Add("%C3%BC=+&&a;b&=&X-Amz-Signature=x")
	f.Add("%zz")
	f.Fuzz(func(t *testing.T, raw string) {
		if len(raw) > 4096 {
			return
		}
		got, e := appendQuery(nil, raw, false)
		values, err := ParseQuery(raw)
		if (e != nil) != (err != nil) {
			t.Fatalf("%q: appendQuery %v, ParseQuery %v", raw, e, err)
		}
		if e != nil {
			return
		}
		again, e := appendQuery(nil, string(got), false)
		if e != nil || string(again) != string(got) {
			t.Fatalf("%q gave %q, then %q, %v", raw, got, again, e)
		}
		reparsed, err := ParseQuery(string(got))
		if err != nil || len(reparsed) != len(values) {
			t.Fatalf("%q: %v, then %v, %v", raw, values, reparsed, err)
		}
		for k, v := range values {
			if len(reparsed[k]) != len(v) {
				t.Fatalf("%q: %q is %q, then %q", raw, k, v, reparsed[k])
			}
		}
	})
}
