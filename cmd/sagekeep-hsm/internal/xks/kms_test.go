package xks

import (
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/token"
	"github.com/sagekeep/sagekeep/internal/secret"
	kms "github.com/sagekeep/sagekeep/internal/xks"
)

// TestClientOfKMS: what Sagekeep's KMS sends is what this proxy takes, and it reads
// every answer.
func TestClientOfKMS(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	srv := httptest.NewTLSServer(p.s)
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	c := kms.New(kms.Config{
		RootCAs: roots, ConnectTo: map[string]string{"example.com": srv.Listener.Addr().String()}, Timeout: 10 * time.Second,
		Now: func() time.Time { return p.clock },
	})
	t.Cleanup(c.Close)
	at := kms.Proxy{Endpoint: "https://example.com", Path: "/prod/kms/xks/v1", AccessKeyID: accessKey, Secret: secret.NewText(secretKey), Region: "eu-west-1"}
	r := kms.Request{
		PrincipalARN: "arn:aws:iam::111122223333:root", KeyARN: "arn:aws:kms:eu-west-1:111122223333:key/1", Operation: "Encrypt", RequestID: "r", ViaService: "s3",
	}
	ctx := t.Context()
	if h, err := c.Health(ctx, at, r); err != nil || !h.Available() {
		t.Errorf("health: %+v, %v", h, err)
	}
	if m, err := c.KeyMetadata(ctx, at, "key-1", r); err != nil || !m.Usable() {
		t.Errorf("metadata: %+v, %v", m, err)
	}
	aad := []byte(strings.Repeat("a", kms.MaxAAD))
	text := []byte(strings.Repeat("p", kms.MaxPlaintext))
	sealed, err := c.Encrypt(ctx, at, "key-1", r, text, aad)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Decrypt(ctx, at, "key-1", r, sealed, aad); err != nil || string(got) != string(text) {
		t.Errorf("decrypt: %d bytes, %v", len(got), err)
	}
	fails := func(what string, want kms.Name, err error) {
		t.Helper()
		if e, ok := errors.AsType[*kms.Error](err); !ok || e.Name != want {
			t.Errorf("%s: %v, want %s", what, err, want)
		}
	}
	_, err = c.Decrypt(ctx, at, "key-1", r, sealed, aad[1:])
	fails("other additional data", kms.InvalidCiphertextException, err)
	_, err = c.KeyMetadata(ctx, at, "key-9", r)
	fails("no such key", kms.KeyNotFoundException, err)
	wrong := at
	wrong.Secret = secret.NewText("x" + secretKey[1:])
	_, err = c.Health(ctx, wrong, r)
	fails("wrong secret", kms.AuthenticationFailedException, err)
	wrong = at
	wrong.Path = "/other/kms/xks/v1"
	_, err = c.Health(ctx, wrong, r)
	fails("wrong path", kms.InvalidURIPathException, err)
	for failure, name := range map[error]kms.Name{
		token.ErrDisabled: kms.InvalidStateException, token.ErrUsage: kms.InvalidKeyUsageException, token.ErrBusy: kms.ThrottlingException,
		token.ErrTimeout: kms.DependencyTimeoutException, token.ErrUnavailable: kms.InternalException,
	} {
		p.token.Fail(failure)
		_, err := c.Encrypt(ctx, at, "key-1", r, text, aad)
		fails(failure.Error(), name, err)
	}
}
