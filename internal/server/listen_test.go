package server

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/sigv4"
	"github.com/sagekeep/sagekeep/internal/store"
)

func TestPlainHTTPPeers(t *testing.T) {
	t.Parallel()
	s, _ := startServerWith(t, Config{
		DataDir: filepath.Join(t.TempDir(), "data"), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")},
	})
	for peer, want := range map[string]int{
		"127.0.0.1:5000": 200, "[::1]:5000": 200, "10.1.2.3:5000": 200, "10.2.0.1:5000": 403, "203.0.113.9:5000": 403, "nonsense": 403,
	} {
		req := httptest.NewRequest(http.MethodGet, "/healthz", nil)
		req.RemoteAddr = peer
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, req)
		if w.Code != want {
			t.Errorf("plain HTTP from %s answers %d, want %d", peer, w.Code, want)
		}
	}
}

func TestHealthIsUnsigned(t *testing.T) {
	t.Parallel()
	_, c := startServer(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		resp, err := c.HTTP.Get(c.Endpoint + path)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s = %v, %v", path, resp, err)
		}
		resp.Body.Close()
	}
}

// TestOwnPathsAreNoObjects: in a virtual-hosted bucket every path is an object's.
func TestOwnPathsAreNoObjects(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t)
	for _, tc := range []struct {
		host, path string
		ours       bool
	}{
		{"127.0.0.1:4566", "/healthz", true},
		{"localhost:4566", "/readyz", true},
		{"s3.localhost:4566", "/healthz", true},
		{"bucket.localhost:4566", "/healthz", false},
		{"bucket.s3.us-west-2.amazonaws.com", "/readyz", false},
		{"127.0.0.1:4566", "/_sagekeep/CreateAccount", true},
		{"bucket.localhost:4566", "/_sagekeep/CreateAccount", false},
	} {
		req := httptest.NewRequest(http.MethodGet, tc.path, nil)
		req.Host, req.RemoteAddr = tc.host, "127.0.0.1:5000"
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, req)
		if ours := !strings.Contains(w.Body.String(), "<Code>NoSuchBucket</Code>"); ours != tc.ours {
			t.Errorf("%s%s = %d %s", tc.host, tc.path, w.Code, w.Body)
		}
	}
}

// TestOperatorRecords: the record names the whole address, and a call that breaks
// has one too.
func TestOperatorRecords(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t)
	key := sigv4.Credential{AccessKeyID: s.creds.Operator.AccessKeyID, Secret: s.creds.Operator.SecretAccessKey}
	const body = `{"id":"12"}`
	req := httptest.NewRequest(http.MethodPost, operatorPath+"CreateAccount", strings.NewReader(body))
	req.RemoteAddr = "[::1]:5000"
	if err := sigv4.Sign(req, []byte(body), key, DefaultRegion, operatorService, time.Now()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, req)
	if w.Code != http.StatusBadRequest {
		t.Fatalf("CreateAccount = %d %s", w.Code, w.Body)
	}
	_, err := s.recorded(req, "Broken", func(context.Context) (any, error) { panic("secret cause") })
	if err == nil {
		t.Fatal("a panic is an answer")
	}
	var got []string
	for rec, err := range s.store.Journal().Scan(t.Context(), store.JournalScan{}) {
		if err != nil {
			t.Fatal(err)
		}
		var r audit.Record
		if err := json.Unmarshal(rec.Data, &r); err != nil {
			t.Fatal(err)
		}
		if r.EventSource == "sagekeep.operator" {
			got = append(got, r.EventName+" "+r.ErrorCode+" "+r.SourceIPAddress)
			if strings.Contains(string(rec.Data), "secret cause") {
				t.Errorf("the record shows a private cause: %s", rec.Data)
			}
		}
	}
	if want := "CreateAccount InvalidAccount ::1, Broken InternalFailure ::1"; strings.Join(got, ", ") != want {
		t.Errorf("records %q, want %s", got, want)
	}
}

// TestToldToEndWhileStarting: a signal before the server is ready is no failure.
func TestToldToEndWhileStarting(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := Run(ctx, Config{DataDir: dir, Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)}, func(string) {})
	if err != nil {
		t.Errorf("Run = %v", err)
	}
	if _, err := openOnce(t, dir); err != nil {
		t.Errorf("the next start: %v", err)
	}
}

// TestReadersThatStall: a client that takes no more of an answer does not hold
// its connection for ever.
func TestReadersThatStall(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := stallListener{inner, 50 * time.Millisecond}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for begun := time.Now(); err == nil; _, err = c.Write(make([]byte, 64<<10)) {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("writes do not end")
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write = %v", err)
	}
}

// TestReachableAddress: clients beside the server are told an address that its
// certificate covers, and 0.0.0.0 is IPv4 alone.
func TestReachableAddress(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]struct{ network, host string }{
		"0.0.0.0:4566":   {"tcp4", "127.0.0.1"},
		"[::]:4566":      {"tcp", "::1"},
		":4566":          {"tcp", "::1"},
		"127.0.0.1:4566": {"tcp4", "127.0.0.1"},
		"[::1]:4566":     {"tcp", "::1"},
		"192.0.2.7:4566": {"tcp4", "192.0.2.7"},
	} {
		if got := network(listen); got != want.network {
			t.Errorf("%s: network %s, want %s", listen, got, want.network)
		}
		host, _, err := net.SplitHostPort(listen)
		if err != nil {
			t.Fatal(err)
		}
		at := net.ParseIP(host)
		if host == "" {
			at = net.IPv6unspecified
		}
		u := reachable(&net.TCPAddr{IP: at, Port: 4566})
		if want := net.JoinHostPort(want.host, "4566"); u.String() != want {
			t.Errorf("%s: clients are told %s, want %s", listen, u, want)
		}
		conf, _, err := selfSigned(listen)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(conf.Certificates[0].Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := leaf.VerifyHostname(want.host); err != nil {
			t.Errorf("%s: the certificate: %v", listen, err)
		}
	}
}
