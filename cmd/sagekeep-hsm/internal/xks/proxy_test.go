package xks

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/token/tokentest"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

const (
	accessKey = "ABCDEFGHIJKLMNOPQRST"
	secretKey = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA=="
	key1      = "/prod/kms/xks/v1/keys/key-1/"
)

type proxy struct {
	token *tokentest.Token
	log   *bytes.Buffer
	s     *Server
	cred  sigv4.Credential
	now   time.Time // of signing
	clock time.Time // of the proxy
}

func newProxy(t testing.TB, change ...func(*Config)) *proxy {
	t.Helper()
	p := &proxy{
		token: new(tokentest.Token), log: new(bytes.Buffer), cred: sigv4.Credential{AccessKeyID: accessKey, Secret: secretKey},
		now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
	}
	p.clock = p.now
	p.token.Add("key-1", 1)
	c := Config{
		Token: p.token, Prefix: "/prod", Version: "1.2", Log: slog.New(slog.NewTextHandler(p.log, nil)), Now: func() time.Time { return p.clock },
		Lookup: func(_ context.Context, id, _ string) (*sigv4.Credential, error) {
			if id != accessKey {
				return nil, sigv4.ErrUnknownKey
			}
			return &sigv4.Credential{AccessKeyID: id, Secret: secretKey}, nil
		},
	}
	for _, fn := range change {
		fn(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	p.s = s
	return p
}

// request returns a signed request; body is marshalled unless it is a string.
func (p *proxy) request(t testing.TB, path string, body any) *http.Request {
	t.Helper()
	text, ok := body.(string)
	if !ok {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(text))
	r.Header.Set("Content-Type", "application/json")
	if err := sigv4.Sign(r, []byte(text), p.cred, "eu-west-1", service, p.now); err != nil {
		t.Fatal(err)
	}
	return r
}

func (p *proxy) send(t testing.TB, r *http.Request) (int, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	p.s.ServeHTTP(w, r)
	var out map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatalf("%d %q: %v", w.Code, w.Body, err)
		}
	}
	return w.Code, out
}

func (p *proxy) post(t testing.TB, path string, body any) (int, map[string]any) {
	t.Helper()
	return p.send(t, p.request(t, path, body))
}

// must posts and wants success.
func (p *proxy) must(t testing.TB, path string, body any) map[string]any {
	t.Helper()
	status, out := p.post(t, path, body)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %v", path, status, out)
	}
	return out
}

func (p *proxy) refused(t testing.TB, path string, body any, status int, name string) {
	t.Helper()
	got, out := p.post(t, path, body)
	if got != status || out["errorName"] != name {
		t.Errorf("%s answered %d %v, want %d %s", path, got, out, status, name)
	}
}

type fields = map[string]any

// body returns a request with full metadata; a nil value removes a member.
func body(more fields) fields {
	out := fields{
		"requestMetadata": fields{
			"awsPrincipalArn": "arn:aws:iam::111122223333:user/Alice",
			"kmsKeyArn":       "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
			"kmsOperation":    "Encrypt", "kmsRequestId": "request-1", "kmsViaService": "s3", "newMember": 1,
		},
		"encryptionAlgorithm": "AES_GCM",
	}
	for k, v := range more {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = v
		}
	}
	return out
}

func encryptBody(more fields) fields {
	b := body(fields{"plaintext": []byte("Hello World!"), "additionalAuthenticatedData": []byte("project=nile")})
	for k, v := range more {
		if v == nil {
			delete(b, k)
		} else {
			b[k] = v
		}
	}
	return b
}

// decryptBody makes the request that opens an answer of Encrypt.
func decryptBody(answer map[string]any, more fields) fields {
	b := body(fields{"additionalAuthenticatedData": []byte("project=nile")})
	for _, k := range []string{"ciphertext", "ciphertextMetadata", "initializationVector", "authenticationTag"} {
		b[k] = answer[k]
	}
	for k, v := range more {
		if v == nil {
			delete(b, k)
		} else {
			b[k] = v
		}
	}
	return b
}

func bytesOf(t *testing.T, v any) []byte {
	t.Helper()
	var out []byte
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}
