package xks_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/xks"
	"github.com/sagekeep/sagekeep/internal/xks/xkstest"
)

var request = xks.Request{
	PrincipalARN: "arn:aws:iam::111122223333:user/Alice", KeyARN: "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
	Operation: "Encrypt", RequestID: "4112f4d6-db54-4af4-ae30-c55a22a8dfae", ViaService: "s3.us-west-2.amazonaws.com",
}

func start(t *testing.T) (*xkstest.Proxy, *xks.Client) {
	t.Helper()
	p := xkstest.New(t)
	p.AddKey("k1")
	c := xks.New(p.Config())
	t.Cleanup(c.Close)
	return p, c
}

func wantName(t *testing.T, what string, err error, want xks.Name) {
	t.Helper()
	e, ok := errors.AsType[*xks.Error](err)
	if !ok || e.Name != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
	if err != nil && strings.Contains(fmt.Sprintf("%v %+v", err, err), xkstest.SecretKey) {
		t.Errorf("%s: the error shows the secret", what)
	}
}

func TestFourRequests(t *testing.T) {
	t.Parallel()
	p, c := start(t)
	ctx, target := t.Context(), p.Target()
	h, err := c.Health(ctx, target, request)
	if err != nil || !h.Available() {
		t.Fatalf("health: %+v, %v", h, err)
	}
	if got := p.Last(); got.API != "health" || got.Metadata != (xks.Request{Operation: "Encrypt", RequestID: request.RequestID}) || got.Region != xkstest.Region {
		t.Errorf("health was asked with %+v", got)
	}
	k, err := c.KeyMetadata(ctx, target, "k1", request)
	if err != nil || !k.Usable() {
		t.Fatalf("metadata: %+v, %v", k, err)
	}
	if got := p.Last(); got.Key != "k1" || got.Metadata != request {
		t.Errorf("metadata were asked with %+v", got)
	}
	for name, change := range map[string]func(*xkstest.Key){
		"plain":     func(*xkstest.Key) {},
		"versioned": func(k *xkstest.Key) { k.Versioned = true },
		"long IV":   func(k *xkstest.Key) { k.LongIV = true },
	} {
		p.SetKey("k1", change)
		plain, aad := bytes.Repeat([]byte{7}, xks.MaxPlaintext), bytes.Repeat([]byte{9}, xks.MaxAAD)
		sealed, err := c.Encrypt(ctx, target, "k1", request, plain, aad)
		if err != nil {
			t.Fatalf("%s: encrypt: %v", name, err)
		}
		if got, err := c.Decrypt(ctx, target, "k1", request, sealed, aad); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: decrypt: %d bytes, %v", name, len(got), err)
		}
		_, err = c.Decrypt(ctx, target, "k1", request, sealed, aad[1:])
		wantName(t, name+", other context", err, xks.InvalidCiphertextException)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	p, c := start(t)
	p.AddKey("off")
	p.SetKey("off", func(k *xkstest.Key) { k.Metadata.Status = "DISABLED" })
	p.AddKey("denied")
	p.SetKey("denied", func(k *xkstest.Key) { k.Denied = []string{request.PrincipalARN} })
	p.AddKey("signs")
	p.SetKey("signs", func(k *xkstest.Key) { k.Metadata.Usage = []string{"SIGN"} })
	good := p.Target()
	wrong := good
	wrong.Secret = secret.NewText(strings.Repeat("x", 43))
	lost := good
	lost.Path = "/other/kms/xks/v1"
	for what, c2 := range map[string]struct {
		target xks.Proxy
		key    string
		want   xks.Name
	}{
		"no such key":  {good, "k2", xks.KeyNotFoundException},
		"disabled":     {good, "off", xks.InvalidStateException},
		"denied":       {good, "denied", xks.AccessDeniedException},
		"other usage":  {good, "signs", xks.InvalidKeyUsageException},
		"wrong secret": {wrong, "k1", xks.AuthenticationFailedException},
		"wrong path":   {lost, "k1", xks.InvalidURIPathException},
	} {
		_, err := c.Encrypt(t.Context(), c2.target, c2.key, request, []byte("x"), nil)
		wantName(t, what, err, c2.want)
	}
}

// TestKeyIDs: an id that the path of a request would not bring to the proxy as it
// is names no key, and the proxy is not asked.
func TestKeyIDs(t *testing.T) {
	t.Parallel()
	p, c := start(t)
	var asked atomic.Int32
	for _, api := range []string{"metadata", "encrypt", "decrypt"} {
		p.Answer(api, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"errorName":"InvalidKeyUsageException"}`))
		})
	}
	for id, sent := range map[string]bool{
		"k": true, "...": true, ".k": true, "k.": true, "a..b": true, "-": true, "_": true, strings.Repeat("k", 128): true,
		".": false, "..": false, "": false, "a/b": false, "../k": false, "%2e": false, "a?b": false, "a#b": false, "é": false, strings.Repeat("k", 129): false,
	} {
		want, wantAsked := xks.InvalidKeyUsageException, int32(3)
		if !sent {
			want, wantAsked = xks.KeyNotFoundException, 0
		}
		asked.Store(0)
		_, err := c.KeyMetadata(t.Context(), p.Target(), id, request)
		wantName(t, "metadata of "+id, err, want)
		_, err = c.Encrypt(t.Context(), p.Target(), id, request, []byte("x"), nil)
		wantName(t, "encrypt under "+id, err, want)
		_, err = c.Decrypt(t.Context(), p.Target(), id, request, &xks.Ciphertext{Bytes: []byte("x")}, nil)
		wantName(t, "decrypt under "+id, err, want)
		if n := asked.Load(); n != wantAsked {
			t.Errorf("the proxy was asked %d times for key %q, want %d", n, id, wantAsked)
		}
	}
}

func TestBadAnswers(t *testing.T) {
	t.Parallel()
	p, c := start(t)
	var asked atomic.Int32
	for what, c2 := range map[string]struct {
		answer http.HandlerFunc
		want   xks.Name
		tries  int32
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, xks.InvalidResponse, 1},
		"too long": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 70<<10)) }, xks.InvalidResponse, 1},
		"no JSON":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }, xks.InvalidResponse, 1},
		"bare 500": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, xks.InvalidResponse, 1},
		"no HTTP": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = conn.Write([]byte("SSH-2.0\r\n\r\n"))
				_ = conn.Close()
			}
		}, xks.InvalidResponse, 1},
		"cut": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, xks.Unreachable, 2},
		"busy": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"errorName":"DependencyTimeoutException"}`))
		}, xks.DependencyTimeoutException, 2},
		"throttled": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte(`{"errorName":"ThrottlingException"}`))
		}, xks.ThrottlingException, 1},
	} {
		asked.Store(0)
		p.Answer("encrypt", func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			c2.answer(w, r)
		})
		_, err := c.Encrypt(t.Context(), p.Target(), "k1", request, []byte("x"), nil)
		wantName(t, what, err, c2.want)
		if n := asked.Load(); n < c2.tries || c2.tries == 1 && n > 1 {
			t.Errorf("%s: %d tries, want %d", what, n, c2.tries)
		}
	}
}

func TestSecondTryCounts(t *testing.T) {
	t.Parallel()
	p, c := start(t)
	var asked atomic.Int32
	p.Answer("metadata", func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"errorName":"DependencyTimeoutException"}`))
			return
		}
		_, _ = w.Write([]byte(`{"keySpec":"AES_256","keyUsage":["ENCRYPT","DECRYPT"],"keyStatus":"ENABLED"}`))
	})
	if k, err := c.KeyMetadata(t.Context(), p.Target(), "k1", request); err != nil || !k.Usable() {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	p := xkstest.New(t)
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	p.Answer("health", func(http.ResponseWriter, *http.Request) { <-block })
	config := p.Config()
	config.Timeout = 100 * time.Millisecond
	c := xks.New(config)
	t.Cleanup(c.Close)
	began := time.Now()
	_, err := c.Health(t.Context(), p.Target(), request)
	if e, ok := errors.AsType[*xks.Error](err); !ok || e.Name != xks.TimedOut && e.Name != xks.Unreachable { // Unreachable on a machine too busy to connect
		t.Errorf("a proxy that is silent: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Health(ctx, p.Target(), request); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled request: %v", err)
	}
}

func TestConnections(t *testing.T) {
	t.Parallel()
	p, _ := start(t)
	old, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: p.Server.TLS.Certificates, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if err != nil {
		t.Fatal(err)
	}
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	t.Cleanup(func() { old.Close(); mute.Close() })
	go func() {
		for {
			conn, err := old.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
	}()
	for what, c := range map[string]struct {
		change func(*xks.Config, *xks.Proxy)
		want   xks.Name
	}{
		"nobody listens": {func(c *xks.Config, _ *xks.Proxy) { c.ConnectTo[xkstest.Host] = closed.Addr().String() }, xks.Unreachable},
		"no TLS answer": {func(c *xks.Config, _ *xks.Proxy) {
			c.ConnectTo[xkstest.Host] = mute.Addr().String()
			c.Timeout = 200 * time.Millisecond
		}, xks.TimedOut},
		"unknown authority": {func(c *xks.Config, _ *xks.Proxy) { c.RootCAs = nil }, xks.TLSFailed},
		"other name": {func(c *xks.Config, p *xks.Proxy) {
			p.Endpoint = "https://other.example.com"
			c.ConnectTo["other.example.com"] = c.ConnectTo[xkstest.Host]
		}, xks.TLSFailed},
		"TLS 1.1":    {func(c *xks.Config, _ *xks.Proxy) { c.ConnectTo[xkstest.Host] = old.Addr().String() }, xks.TLSFailed},
		"plain HTTP": {func(_ *xks.Config, p *xks.Proxy) { p.Endpoint = "http://" + xkstest.Host }, xks.Unreachable},
		"link-local": {func(c *xks.Config, _ *xks.Proxy) { c.ConnectTo[xkstest.Host] = "169.254.169.254:443" }, xks.Unreachable},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			config, target := p.Config(), p.Target()
			c.change(&config, &target)
			client := xks.New(config)
			t.Cleanup(client.Close)
			_, err := client.Health(t.Context(), target, request)
			wantName(t, what, err, c.want)
		})
	}
}

func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	p, c := start(t)
	p.Answer("health", func(w http.ResponseWriter, r *http.Request) {
		if r.TLS.Version != tls.VersionTLS13 || r.ProtoMajor != 1 {
			t.Errorf("TLS %x, HTTP %d", r.TLS.Version, r.ProtoMajor)
		}
		_, _ = w.Write([]byte(`{"xksProxyFleetSize":1,"xksProxyVendor":"v","xksProxyModel":"` + r.RemoteAddr + `","ekmVendor":"e","ekmFleetDetails":[{"id":"a","model":"m","healthStatus":"ACTIVE"}]}`))
	})
	from := ""
	for range 5 {
		h, err := c.Health(t.Context(), p.Target(), request)
		if err != nil {
			t.Fatal(err)
		}
		if from != "" && h.Model != from {
			t.Errorf("another connection: %s, then %s", from, h.Model)
		}
		from = h.Model
	}
}
