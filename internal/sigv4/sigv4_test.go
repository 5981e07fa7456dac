package sigv4

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	exampleKey    = "AKIAIOSFODNN7EXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// at returns the instant written in basic format.
func at(t testing.TB, s string) time.Time {
	t.Helper()
	v, ok := parseBasic(s)
	if !ok {
		t.Fatalf("bad time %q", s)
	}
	return v
}

// verifierAt knows one credential and stands still at now.
func verifierAt(now time.Time, cred Credential) *Verifier {
	return &Verifier{
		Now: func() time.Time { return now },
		Lookup: func(_ context.Context, id, _ string) (*Credential, error) {
			if id != cred.AccessKeyID {
				return nil, ErrUnknownKey
			}
			return &cred, nil
		},
	}
}

// parseRequest reads a request as a server would. Lines end in LF for legibility.
func parseRequest(t testing.TB, head string, body []byte) *http.Request {
	t.Helper()
	head = strings.ReplaceAll(strings.TrimSpace(head), "\n", "\r\n") + "\r\n\r\n"
	r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head), bytes.NewReader(body))))
	if err != nil {
		t.Fatalf("read request: %v\n%s", err, head)
	}
	return r
}

// overTheWire writes a client's request and reads it as a server would.
func overTheWire(t testing.TB, r *http.Request) *http.Request {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatalf("write request: %v", err)
	}
	got, err := http.ReadRequest(bufio.NewReader(&b))
	if err != nil {
		t.Fatalf("read request: %v", err)
	}
	return got
}

func verify(t testing.TB, v *Verifier, r *http.Request, opts Options) (*Auth, error) {
	t.Helper()
	a, err := Inspect(r)
	if err != nil {
		return a, err
	}
	return a, v.Verify(t.Context(), r, a, opts)
}

// wantKind fails unless err is of kind; 0 means no error.
func wantKind(t testing.TB, err error, kind Kind) {
	t.Helper()
	if kind == 0 && err != nil {
		t.Fatalf("got %v, want no error%s", err, details(err))
	}
	if got := KindOf(err); got != kind {
		t.Fatalf("got kind %v (%v), want %v%s", got, err, kind, details(err))
	}
}

func details(err error) string {
	if e, ok := err.(*Error); ok && e.CanonicalRequest != "" {
		return "\n" + e.CanonicalRequest + "\n\n" + e.StringToSign
	}
	return ""
}

// chunkEncoder writes aws-chunked bodies for tests.
type chunkEncoder struct {
	chain *chunkChain // nil: unsigned
	out   bytes.Buffer
}

func newChunkEncoder(cred Credential, a *Auth) *chunkEncoder {
	if a == nil {
		return &chunkEncoder{}
	}
	return &chunkEncoder{chain: &chunkChain{key: deriveKey(cred.Secret, a.Scope), date: a.amzDate, scope: a.Scope, previous: a.signature}}
}

func (e *chunkEncoder) sign(algorithm string, data []byte) string {
	c := e.chain
	sts := algorithm + "\n" + c.date + "\n" + c.scope.Date + "/" + c.scope.Region + "/" + c.scope.Service + "/aws4_request\n" + c.previous + "\n"
	if algorithm == chunkAlgorithm {
		sts += EmptySHA256 + "\n"
	}
	sts += sha256Hex(data)
	sig := c.key.sign([]byte(sts))
	c.previous = string(sig[:])
	return c.previous
}

func (e *chunkEncoder) chunk(data []byte) {
	e.out.WriteString(strconv.FormatInt(int64(len(data)), 16))
	if e.chain != nil {
		e.out.WriteString(";chunk-signature=" + e.sign(chunkAlgorithm, data))
	}
	e.out.WriteString("\r\n")
	if len(data) > 0 {
		e.out.Write(data)
		e.out.WriteString("\r\n")
	}
}

func (e *chunkEncoder) trailers(kv ...string) {
	var signed strings.Builder
	for i := 0; i < len(kv); i += 2 {
		e.out.WriteString(kv[i] + ":" + kv[i+1] + "\r\n")
		signed.WriteString(kv[i] + ":" + kv[i+1] + "\n")
	}
	if e.chain != nil && len(kv) > 0 {
		e.out.WriteString(trailerSignature + ":" + e.sign(trailerAlgorithm, []byte(signed.String())) + "\r\n")
	}
}

// body encodes data in chunks of size, with the trailing kv pairs.
func (e *chunkEncoder) body(data []byte, size int, kv ...string) []byte {
	for len(data) > 0 {
		n := min(size, len(data))
		e.chunk(data[:n])
		data = data[n:]
	}
	e.chunk(nil)
	e.trailers(kv...)
	e.out.WriteString("\r\n")
	return e.out.Bytes()
}

func sha256Hex(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// TestSecretsDoNotPrint formats everything that holds a secret in every way.
func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	cred := Credential{AccessKeyID: exampleKey, Secret: "hush-secret", SessionToken: "hush-token"}
	now := at(t, "20130524T000000Z")
	r, _ := http.NewRequest(http.MethodPost, "http://kms.test/", nil)
	if err := Sign(r, nil, cred, "us-west-2", "kms", now); err != nil {
		t.Fatal(err)
	}
	v := verifierAt(now, cred)
	a, err := verify(t, v, overTheWire(t, r), Options{Service: "kms"})
	wantKind(t, err, 0)
	keyHex := hex.EncodeToString(a.key.b[:])
	for _, value := range []any{cred, &cred, a, *a.Credential, struct{ C Credential }{cred}, struct{ A *Auth }{a}, a.key, []Credential{cred}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			got := fmt.Sprintf(verb, value)
			for _, secret := range []string{"hush", a.signature, keyHex, hex.EncodeToString([]byte("hush"))} {
				if strings.Contains(got, secret) {
					t.Errorf("%s of %T prints %q: %s", verb, value, secret, got)
				}
			}
		}
	}
}
