package xks

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/token"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		more fields
		aad  any
	}{
		{"additional data", nil, []byte("project=nile")},
		{"no additional data", fields{"additionalAuthenticatedData": nil}, nil},
		{"integrity value", fields{"ciphertextDataIntegrityValueAlgorithm": "SHA_256"}, []byte("project=nile")},
		{"most bytes", fields{"plaintext": bytes.Repeat([]byte("p"), 4300), "additionalAuthenticatedData": bytes.Repeat([]byte("a"), 8192)}, bytes.Repeat([]byte("a"), 8192)},
		{"an operation of the future", fields{"requestMetadata": fields{"awsPrincipalArn": "p", "kmsKeyArn": "k", "kmsOperation": "BulkEncrypt", "kmsRequestId": "r"}}, []byte("project=nile")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newProxy(t)
			b := encryptBody(tc.more)
			a := p.must(t, key1+"encrypt", b)
			want := bytesOf(t, b["plaintext"])
			if got := bytesOf(t, a["ciphertext"]); len(got) != len(want) || bytes.Equal(got, want) {
				t.Errorf("ciphertext has %d bytes, want %d others", len(got), len(want))
			}
			for name, n := range map[string]int{"initializationVector": 12, "authenticationTag": 16, "ciphertextMetadata": 9} {
				if got := bytesOf(t, a[name]); len(got) != n {
					t.Errorf("%s has %d bytes, want %d", name, len(got), n)
				}
			}
			if _, asked := tc.more["ciphertextDataIntegrityValueAlgorithm"]; asked {
				h := sha256.New()
				for _, part := range []any{tc.aad, a["ciphertextMetadata"], a["initializationVector"], a["ciphertext"], a["authenticationTag"]} {
					h.Write(bytesOf(t, part))
				}
				if got := bytesOf(t, a["ciphertextDataIntegrityValue"]); !bytes.Equal(got, h.Sum(nil)) {
					t.Errorf("integrity value is %x, want %x", got, h.Sum(nil))
				}
			} else if v, ok := a["ciphertextDataIntegrityValue"]; ok {
				t.Errorf("integrity value %v, unasked", v)
			}
			got := p.must(t, key1+"decrypt", decryptBody(a, fields{"additionalAuthenticatedData": tc.aad}))
			if !bytes.Equal(bytesOf(t, got["plaintext"]), want) {
				t.Errorf("decrypted to %v", got)
			}
		})
	}
}

// TestIntegrityValue is the example in appendix C of the specification.
func TestIntegrityValue(t *testing.T) {
	t.Parallel()
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	got := integrityValue([]byte("project=nile,department=marketing"), &encryptAnswer{
		CipherMeta: []byte("key_version=1"), IV: unhex("1ccae5470f39700254779031"),
		Ciphertext: unhex("821c642b5b71783367deaf18"), Tag: unhex("bc1c4dda7707d6812447c5955e99b261"),
	})
	if want := "a8703f2260bd8791ec2d15ea0b23e65a0631eedcf2a13a65cc82db3f47cf5ec7"; hex.EncodeToString(got) != want {
		t.Errorf("got %x, want %s", got, want)
	}
}

// TestBoundData: moving bytes between the two parts changes the token's data.
func TestBoundData(t *testing.T) {
	t.Parallel()
	if got, want := boundData([]byte("ab"), []byte("c")), []byte("\x00\x02ab\x01c"); !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := boundData(nil, nil), []byte("\x00\x00\x00"); !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if bytes.Equal(boundData([]byte("ab"), nil), boundData(nil, []byte("ab"))) {
		t.Error("additional data and metadata can change places")
	}
}

func TestTampering(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	p.token.Add("key-2", 1)
	a := p.must(t, key1+"encrypt", encryptBody(nil))
	flip := func(name string) fields {
		b := bytesOf(t, a[name])
		b[len(b)-1] ^= 1
		return fields{name: b}
	}
	for _, tc := range []struct {
		name string
		more fields
	}{
		{"ciphertext", flip("ciphertext")},
		{"vector", flip("initializationVector")},
		{"tag", flip("authenticationTag")},
		{"metadata", flip("ciphertextMetadata")},
		{"no metadata", fields{"ciphertextMetadata": nil}},
		{"additional data", fields{"additionalAuthenticatedData": []byte("project=nilf")}},
		{"no additional data", fields{"additionalAuthenticatedData": nil}},
		{"short vector", fields{"initializationVector": []byte("short")}},
		{"short tag", fields{"authenticationTag": []byte("short")}},
		{"shorter ciphertext", fields{"ciphertext": bytesOf(t, a["ciphertext"])[:5]}},
	} {
		p.refused(t, key1+"decrypt", decryptBody(a, tc.more), 400, "InvalidCiphertextException")
	}
	p.refused(t, "/prod/kms/xks/v1/keys/key-2/decrypt", decryptBody(a, nil), 400, "InvalidCiphertextException")
	p.must(t, key1+"decrypt", decryptBody(a, nil))
}

func TestValidation(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	a := p.must(t, key1+"encrypt", encryptBody(nil))
	without := func(name string) fields {
		m := body(nil)["requestMetadata"].(fields)
		delete(m, name)
		return fields{"requestMetadata": m}
	}
	for _, tc := range []struct {
		name, path string
		body       any
		status     int
		error      string
	}{
		{"no JSON", "encrypt", "plaintext", 400, "ValidationException"},
		{"an array", "encrypt", "[]", 400, "ValidationException"},
		{"two values", "encrypt", "{} {}", 400, "ValidationException"},
		{"no metadata", "metadata", "{}", 400, "ValidationException"},
		{"empty metadata", "metadata", fields{"requestMetadata": fields{}}, 400, "ValidationException"},
		{"no principal", "metadata", body(without("awsPrincipalArn")), 400, "ValidationException"},
		{"no operation", "metadata", body(without("kmsOperation")), 400, "ValidationException"},
		{"no request id", "metadata", body(without("kmsRequestId")), 400, "ValidationException"},
		{"no key ARN", "encrypt", encryptBody(without("kmsKeyArn")), 400, "ValidationException"},
		{"no plaintext", "encrypt", encryptBody(fields{"plaintext": nil}), 400, "ValidationException"},
		{"empty plaintext", "encrypt", encryptBody(fields{"plaintext": ""}), 400, "ValidationException"},
		{"not base64", "encrypt", encryptBody(fields{"plaintext": "a-b_"}), 400, "ValidationException"},
		{"no algorithm", "encrypt", encryptBody(fields{"encryptionAlgorithm": nil}), 400, "ValidationException"},
		{"another algorithm", "encrypt", encryptBody(fields{"encryptionAlgorithm": "AES_CBC"}), 400, "ValidationException"},
		{"another hash", "encrypt", encryptBody(fields{"ciphertextDataIntegrityValueAlgorithm": "SHA_1"}), 400, "ValidationException"},
		{"long plaintext", "encrypt", encryptBody(fields{"plaintext": make([]byte, 4301)}), 501, "UnsupportedOperationException"},
		{"long additional data", "encrypt", encryptBody(fields{"additionalAuthenticatedData": make([]byte, 8193)}), 501, "UnsupportedOperationException"},
		{"long body", "encrypt", strings.Repeat(" ", 1+64<<10), 501, "UnsupportedOperationException"},
		{"no ciphertext", "decrypt", decryptBody(a, fields{"ciphertext": nil}), 400, "ValidationException"},
		{"no vector", "decrypt", decryptBody(a, fields{"initializationVector": nil}), 400, "ValidationException"},
		{"no tag", "decrypt", decryptBody(a, fields{"authenticationTag": nil}), 400, "ValidationException"},
		{"long metadata", "decrypt", decryptBody(a, fields{"ciphertextMetadata": make([]byte, 21)}), 501, "UnsupportedOperationException"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			q := *newProxy(t)
			q.refused(t, key1+tc.path, tc.body, tc.status, tc.error)
		})
	}
	p.refused(t, "/prod/kms/xks/v1/health", "{}", 400, "ValidationException")
	p.must(t, key1+"metadata", body(without("kmsKeyArn"))) // while CreateKey runs
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*proxy)
		then   func(*http.Request)
	}{
		{name: "unsigned", then: func(r *http.Request) { r.Header.Del("Authorization") }},
		{name: "unknown access key", change: func(p *proxy) { p.cred.AccessKeyID = "BCDEFGHIJKLMNOPQRSTU" }},
		{name: "wrong secret", change: func(p *proxy) { p.cred.Secret = "x" + p.cred.Secret[1:] }},
		{name: "too old", change: func(p *proxy) { p.now = p.now.Add(-5*time.Minute - time.Second) }},
		{name: "too early", change: func(p *proxy) { p.now = p.now.Add(5*time.Minute + time.Second) }},
		{name: "another body", then: func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"requestMetadata":{}}`)) }},
		{name: "another path", then: func(r *http.Request) { r.RequestURI = key1 + "decrypt" }},
		{name: "another host", then: func(r *http.Request) { r.Host = "elsewhere" }},
		{name: "another date", then: func(r *http.Request) { r.Header.Set("X-Amz-Date", "20261123T120001Z") }},
		{name: "an unsigned header", then: func(r *http.Request) { r.Header.Set("X-Amz-Meta", "1") }},
		{name: "altered signature", then: func(r *http.Request) {
			a := r.Header.Get("Authorization")
			r.Header.Set("Authorization", a[:len(a)-1]+string("01"[('1'^a[len(a)-1])&1]))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newProxy(t)
			if tc.change != nil {
				tc.change(p)
			}
			r := p.request(t, key1+"encrypt", encryptBody(nil))
			if tc.then != nil {
				tc.then(r)
			}
			if status, out := p.send(t, r); status != 401 || out["errorName"] != "AuthenticationFailedException" {
				t.Errorf("answered %d %v", status, out)
			}
		})
	}
	t.Run("another service", func(t *testing.T) {
		t.Parallel()
		p := newProxy(t)
		r := httptest.NewRequest(http.MethodPost, key1+"encrypt", strings.NewReader("{}"))
		if err := sigv4.Sign(r, []byte("{}"), p.cred, "eu-west-1", "kms", p.now); err != nil {
			t.Fatal(err)
		}
		if status, out := p.send(t, r); status != 401 {
			t.Errorf("answered %d %v", status, out)
		}
	})
	t.Run("presigned", func(t *testing.T) {
		t.Parallel()
		p := newProxy(t)
		r := httptest.NewRequest(http.MethodPost, key1+"encrypt", http.NoBody)
		u, err := sigv4.Presign(r, p.cred, "eu-west-1", service, time.Minute, p.now)
		if err != nil {
			t.Fatal(err)
		}
		if status, out := p.send(t, httptest.NewRequest(http.MethodPost, u[strings.Index(u, "/prod"):], http.NoBody)); status != 404 {
			t.Errorf("answered %d %v", status, out)
		}
	})
	t.Run("within five minutes", func(t *testing.T) {
		t.Parallel()
		for _, d := range []time.Duration{-5 * time.Minute, 5 * time.Minute} {
			p := newProxy(t)
			p.now = p.now.Add(d)
			p.must(t, key1+"encrypt", encryptBody(nil))
		}
	})
}

func TestPaths(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	for _, path := range []string{
		"/", "/kms/xks/v1/health", "/prod/kms/xks/v2/health", "/prod/kms/xks/v1/health/", "/prod/kms/xks/v1//health", "/prod/kms/xks/v1/health?a=b",
		"/prod/kms/xks/v1/keys/key-1", "/prod/kms/xks/v1/keys/key-1/sign", "/prod/kms/xks/v1/keys/../health", "/prod/kms/xks/v1/keys/../encrypt",
		"/prod/kms/xks/v1/keys//encrypt", "/prod/kms/xks/v1/keys/a%2Fb/encrypt", "/prod/kms/xks/v1/keys/key-1/encrypt/more",
		"/prod/kms/xks/v1/keys/" + strings.Repeat("k", 129) + "/encrypt", "/prod/kms/xks/v1/keys/key 1/encrypt",
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}"))
		r.RequestURI = path
		if status, out := p.send(t, r); status != 404 || out["errorName"] != "InvalidUriPathException" {
			t.Errorf("%s answered %d %v", path, status, out)
		}
	}
	for _, method := range []string{"GET", "PUT", "DELETE", "HEAD"} {
		for _, path := range []string{"/prod/kms/xks/v1/health", key1 + "encrypt", key1 + "metadata"} {
			w := httptest.NewRecorder()
			p.s.ServeHTTP(w, httptest.NewRequest(method, path, http.NoBody))
			if w.Code != 405 || w.Header().Get("Allow") != "POST" {
				t.Errorf("%s %s answered %d", method, path, w.Code)
			}
		}
	}
	for prefix, ok := range map[string]bool{
		"": true, "/a": true, "/a-b/C_9": true, "a": false, "/": false, "/a/": false, "/a//b": false, "/ä": false, "/" + strings.Repeat("a", 116): true,
		"/" + strings.Repeat("a", 117): false,
	} {
		if err := CheckPrefix(prefix); (err == nil) != ok {
			t.Errorf("CheckPrefix(%q) = %v", prefix, err)
		}
	}
}

func TestTokenErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err    error
		status int
		name   string
	}{
		{token.ErrNoKey, 404, "KeyNotFoundException"},
		{token.ErrAmbiguous, 500, "InternalException"},
		{token.ErrDisabled, 400, "InvalidStateException"},
		{token.ErrUsage, 400, "InvalidKeyUsageException"},
		{token.ErrBusy, 429, "ThrottlingException"},
		{token.ErrTimeout, 503, "DependencyTimeoutException"},
		{token.ErrUnavailable, 500, "InternalException"},
		{token.ErrDenied, 500, "InternalException"},
		{errors.New("SECRET cause"), 500, "InternalException"},
	} {
		p := newProxy(t)
		p.token.Fail(tc.err)
		status, out := p.post(t, key1+"encrypt", encryptBody(nil))
		if status != tc.status || out["errorName"] != tc.name {
			t.Errorf("%v: answered %d %v, want %d %s", tc.err, status, out, tc.status, tc.name)
		}
		if s, _ := out["errorMessage"].(string); strings.Contains(s, "SECRET") || len(s) > 511 {
			t.Errorf("%v: the message is %q", tc.err, s)
		}
	}
	p := newProxy(t)
	p.refused(t, "/prod/kms/xks/v1/keys/key-9/encrypt", encryptBody(nil), 404, "KeyNotFoundException")
	p.refused(t, "/prod/kms/xks/v1/keys/key-9/metadata", body(nil), 404, "KeyNotFoundException")
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*token.Key)
		want   string
	}{
		{"both ways", func(*token.Key) {}, `{"keySpec":"AES_256","keyStatus":"ENABLED","keyUsage":["ENCRYPT","DECRYPT"]}`},
		{"decrypts only", func(k *token.Key) { k.Encrypt = false }, `{"keySpec":"AES_256","keyStatus":"ENABLED","keyUsage":["DECRYPT"]}`},
		{"short", func(k *token.Key) { k.Bits = 128 }, `{"keySpec":"AES_128","keyStatus":"ENABLED","keyUsage":["ENCRYPT","DECRYPT"]}`},
		{"disabled", func(k *token.Key) { k.Encrypt, k.Decrypt = false, false }, `{"keySpec":"AES_256","keyStatus":"DISABLED","keyUsage":["ENCRYPT","DECRYPT"]}`},
	} {
		p := newProxy(t)
		p.token.Change("key-1", tc.change)
		got, err := json.Marshal(p.must(t, key1+"metadata", body(nil)))
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %s, want %s (%v)", tc.name, got, tc.want, err)
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	old := p.must(t, key1+"encrypt", encryptBody(nil))
	p.token.Add("key-1", 2)
	young := p.must(t, key1+"encrypt", encryptBody(nil))
	if old["ciphertextMetadata"] == young["ciphertextMetadata"] {
		t.Error("the new version does not encrypt")
	}
	for _, a := range []map[string]any{old, young} {
		p.must(t, key1+"decrypt", decryptBody(a, nil))
	}
	p.refused(t, key1+"decrypt", decryptBody(old, fields{"ciphertextMetadata": young["ciphertextMetadata"]}), 400, "InvalidCiphertextException")
}

func TestAuthorization(t *testing.T) {
	t.Parallel()
	p := newProxy(t, func(c *Config) { c.Keys, c.Accounts = []string{"key-1", "key-3"}, []string{"111122223333"} })
	p.token.Add("key-2", 1)
	p.must(t, key1+"encrypt", encryptBody(nil))
	p.refused(t, "/prod/kms/xks/v1/keys/key-2/encrypt", encryptBody(nil), 403, "AccessDeniedException")
	for _, arn := range []string{"arn:aws:kms:eu-west-1:444455556666:key/1", "111122223333"} {
		p.refused(t, key1+"encrypt", encryptBody(fields{"requestMetadata": fields{
			"awsPrincipalArn": "arn:aws:iam::111122223333:root", "kmsKeyArn": arn, "kmsOperation": "Encrypt", "kmsRequestId": "r",
		}}), 403, "AccessDeniedException")
	}
	// Before there is a KMS key, the caller's account counts.
	p.must(t, key1+"metadata", body(fields{"requestMetadata": fields{"awsPrincipalArn": "arn:aws:iam::111122223333:root", "kmsOperation": "CreateKey", "kmsRequestId": "r"}}))
	p.refused(t, key1+"metadata", body(fields{"requestMetadata": fields{"awsPrincipalArn": "arn:aws:iam::444455556666:root", "kmsOperation": "CreateKey", "kmsRequestId": "r"}}), 403, "AccessDeniedException")
}

func TestHealth(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	ask := fields{"requestMetadata": fields{"kmsOperation": "KmsHealthCheck", "kmsRequestId": "r"}}
	const path = "/prod/kms/xks/v1/health"
	got, err := json.Marshal(p.must(t, path, ask))
	const want = `{"ekmFleetDetails":[{"healthStatus":"ACTIVE","id":"0001","model":"Memory 1"}],"ekmVendor":"Nobody","xksProxyFleetSize":1,"xksProxyModel":"sagekeep-hsm 1.2","xksProxyVendor":"Sagekeep"}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, want %s (%v)", got, want, err)
	}
	probe := func(want int) {
		t.Helper()
		w := httptest.NewRecorder()
		p.s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", http.NoBody))
		if w.Code != want {
			t.Errorf("GET /healthz: %d %s, want %d", w.Code, w.Body, want)
		}
	}
	probe(200)
	p.token.Fail(token.ErrUnavailable)
	p.must(t, path, ask) // the last check still counts
	p.clock = p.clock.Add(healthLives)
	p.refused(t, path, ask, 500, "InternalException")
	probe(503)
	p.token.Fail(nil)
	p.clock = p.clock.Add(failureLives)
	p.must(t, path, ask)
	// A request that meets the loss is news for the health status.
	p.token.Fail(token.ErrUnavailable)
	p.refused(t, key1+"encrypt", encryptBody(nil), 500, "InternalException")
	p.refused(t, path, ask, 500, "InternalException")
}

func TestLog(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	a := p.must(t, key1+"encrypt", encryptBody(nil))
	p.must(t, key1+"decrypt", decryptBody(a, nil))
	p.refused(t, key1+"decrypt", decryptBody(a, fields{"additionalAuthenticatedData": nil}), 400, "InvalidCiphertextException")
	p.refused(t, key1+"encrypt", `{"plaintext":"SGVsbG8gV29ybGQh","x"`, 400, "ValidationException")
	p.cred.Secret = "wrong" + p.cred.Secret[5:]
	p.refused(t, key1+"encrypt", encryptBody(nil), 401, "AuthenticationFailedException")
	text := p.log.String()
	if n := strings.Count(text, "\n"); n != 5 {
		t.Errorf("%d lines, want 5:\n%s", n, text)
	}
	for _, want := range []string{"operation=Encrypt", "key=key-1", "status=200", "request_id=request-1", "principal=arn:aws:iam::111122223333:user/Alice", "via=s3", "error_name=InvalidCiphertextException"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in:\n%s", want, text)
		}
	}
	for _, leak := range []string{"Hello World", "SGVsbG8", secretKey, a["ciphertext"].(string)} {
		if strings.Contains(text, leak) {
			t.Errorf("%q in:\n%s", leak, text)
		}
	}
}

// FuzzRequest: no body, however it is made, is answered with something other than
// one of the statuses of the specification; what encrypts also decrypts.
func FuzzRequest(f *testing.F) {
	for _, b := range []fields{encryptBody(nil), body(nil), {}, encryptBody(fields{"ciphertextDataIntegrityValueAlgorithm": "SHA_256"})} {
		text, err := json.Marshal(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 32<<10 {
			return
		}
		p := newProxy(t)
		status, a := p.post(t, key1+"encrypt", text)
		switch status {
		case 200:
			var req request
			if err := json.Unmarshal([]byte(text), &req); err != nil {
				t.Fatal(err)
			}
			more := fields{"additionalAuthenticatedData": nil}
			if req.AAD != nil {
				more["additionalAuthenticatedData"] = *req.AAD
			}
			got := p.must(t, key1+"decrypt", decryptBody(a, more))
			if want, err := decode("plaintext", req.Plaintext, maxText); err != nil || !bytes.Equal(bytesOf(t, got["plaintext"]), want) {
				t.Errorf("decrypted to %v, want %x (%v)", got, want, err)
			}
		case 400, 501:
		default:
			t.Errorf("answered %d %v", status, a)
		}
	})
}

// FuzzDecryptRequest: no body, however it is made, decrypts to something that was
// not encrypted, or is answered with a status that the specification does not have.
func FuzzDecryptRequest(f *testing.F) {
	p := newProxy(f)
	a := p.must(f, key1+"encrypt", encryptBody(nil))
	for _, b := range []fields{
		decryptBody(a, nil), body(nil),
		{},
		decryptBody(a, fields{"initializationVector": "AAAAAAAAAAAAAAAAAAAAAA=="}),
		decryptBody(a, fields{"authenticationTag": ""}), decryptBody(a, fields{"ciphertextMetadata": "/w=="}),
	} {
		text, err := json.Marshal(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	want := p.must(f, key1+"decrypt", decryptBody(a, nil))["plaintext"]
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 32<<10 {
			return
		}
		p.log.Reset()
		switch status, got := p.post(t, key1+"decrypt", text); status {
		case 200:
			if got["plaintext"] != want {
				t.Errorf("decrypted to %v", got)
			}
		case 400, 501:
		default:
			t.Errorf("answered %d %v", status, got)
		}
	})
}

// FuzzRoute: a path that is known names one operation and one key that may be
// served, and no other path does so.
func FuzzRoute(f *testing.F) {
	for _, uri := range []string{"/prod/kms/xks/v1/health", key1 + "encrypt", key1 + "metadata", "/prod/kms/xks/v1/keys/../encrypt", "/prod/kms/xks/v1/keys//decrypt", "/"} {
		f.Add(uri)
	}
	s := newProxy(f).s
	f.Fuzz(func(t *testing.T, uri string) {
		if len(uri) > 4096 {
			return
		}
		op, key, ok := s.route(uri)
		path := map[operation]string{
			health: "/health", describe: "/keys/" + key + "/metadata", encrypt: "/keys/" + key + "/encrypt", decrypt: "/keys/" + key + "/decrypt",
		}[op]
		switch {
		case !ok && (op != "" || key != ""):
			t.Errorf("%q is refused and names %s %q", uri, op, key)
		case ok && (path == "" || uri != s.cfg.Prefix+basePath+path || (op == health) != (key == "") || key != "" && token.CheckLabel(key) != nil):
			t.Errorf("%q names %s %q", uri, op, key)
		}
	})
}
