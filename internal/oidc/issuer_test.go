package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// issuer is an OpenID Connect issuer on this machine, under a certificate
// authority of its own.
type issuer struct {
	t      *testing.T
	url    string
	ca     *x509.Certificate
	server *httptest.Server
	asked  atomic.Int32 // key sets that were read

	mu      sync.Mutex
	keys    map[string]crypto.Signer // by kid
	replace map[string]http.HandlerFunc
	clock   time.Time
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{
		t: t, keys: map[string]crypto.Signer{}, replace: map[string]http.HandlerFunc{},
		clock: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC),
	}
	i.server = httptest.NewUnstartedServer(i)
	var leaf tls.Certificate
	i.ca, leaf = certificates(t, i.clock, "127.0.0.1")
	i.server.TLS = &tls.Config{Certificates: []tls.Certificate{leaf}}
	i.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	i.server.StartTLS()
	t.Cleanup(i.server.Close)
	i.url = i.server.URL
	i.addKey("first", newRSA(t))
	return i
}

// certificates makes an authority and a server's certificate under it, which
// the server shows with it.
func certificates(t *testing.T, now time.Time, address string) (*x509.Certificate, tls.Certificate) {
	t.Helper()
	make := func(serial int64, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template.SerialNumber, template.BasicConstraintsValid = big.NewInt(serial), true
		template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(24*time.Hour)
		if parent == nil {
			parent, signer = template, k
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, k.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c, k
	}
	ca, caKey := make(1, &x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	leaf, leafKey := make(2, &x509.Certificate{
		Subject: pkix.Name{CommonName: "issuer"}, IPAddresses: []net.IP{net.ParseIP(address)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, caKey)
	return ca, tls.Certificate{Certificate: [][]byte{leaf.Raw, ca.Raw}, PrivateKey: leafKey}
}

func newRSA(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func thumbprint(c *x509.Certificate) string {
	sum := sha1.Sum(c.Raw)
	return hex.EncodeToString(sum[:])
}

func (i *issuer) addKey(id string, k crypto.Signer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys[id] = k
}

func (i *issuer) dropKey(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.keys, id)
}

// answer replaces what the issuer answers under a path; nil takes it back.
func (i *issuer) answer(path string, h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.replace[path] = h
}

func (i *issuer) now() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.clock
}

func (i *issuer) pass(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.clock = i.clock.Add(d)
}

const (
	discoveryPath = "/.well-known/openid-configuration"
	keysPath      = "/keys"
)

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	h := i.replace[r.URL.Path]
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for id, k := range i.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: id, Use: "sig"})
	}
	i.mu.Unlock()
	if r.URL.Path == keysPath {
		i.asked.Add(1)
	}
	switch {
	case h != nil:
		h(w, r)
	case r.URL.Path == discoveryPath:
		writeJSON(w, map[string]any{"issuer": i.url, "jwks_uri": i.url + keysPath})
	case r.URL.Path == keysPath:
		writeJSON(w, set)
	default:
		http.NotFound(w, r)
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

type claims map[string]any

// claims are right ones, with more on top; nil takes a claim away.
func (i *issuer) claims(more claims) claims {
	now := i.now().Unix()
	c := claims{"iss": i.url, "sub": "system:serviceaccount:ml:train", "aud": "sts.amazonaws.com", "iat": now, "exp": now + 600}
	for k, v := range more {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

// token signs claims with a key of the issuer's.
func (i *issuer) token(alg jose.SignatureAlgorithm, kid string, more claims) string {
	i.t.Helper()
	i.mu.Lock()
	k := i.keys[kid]
	i.mu.Unlock()
	return sign(i.t, alg, k, kid, i.claims(more))
}

func sign(t testing.TB, alg jose.SignatureAlgorithm, k any, kid string, c claims) string {
	t.Helper()
	opts := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		opts = opts.WithHeader("kid", kid)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: k}, opts)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (i *issuer) provider() Provider {
	return Provider{Issuer: i.url, ClientIDs: []string{"sts.amazonaws.com"}, Thumbprints: []string{thumbprint(i.ca)}}
}

// verifier has no trusted roots but those given.
func (i *issuer) verifier(roots ...*x509.Certificate) *Verifier {
	return New(Config{Now: i.now, Roots: poolOf(roots...), Timeout: 5 * time.Second})
}
