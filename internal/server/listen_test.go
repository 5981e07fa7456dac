package server

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"testing"
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
