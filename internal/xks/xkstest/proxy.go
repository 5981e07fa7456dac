// Package xkstest is an external key store proxy for tests: the whole proxy API
// over HTTPS on this machine, with real keys, that can be told to fail.
package xkstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/sigv4"
	"github.com/sagekeep/sagekeep/internal/xks"
)

// What a proxy of ours is called.
const (
	Host        = "xks.example.com"
	Endpoint    = "https://" + Host
	Path        = "/team/kms/xks/v1"
	AccessKeyID = "TESTXKSPROXYKEYABCDEF"
	SecretKey   = "FYtE5EFA5FT0mCc3DrGUe2sti527BitkQ0Zr9MO9fvE"
	Region      = "us-west-2"
)

// Request is one that a proxy has seen with a good signature.
type Request struct {
	API      string // health, metadata, encrypt, decrypt
	Key      string // external key id, "" for health
	Region   string // of the signature
	Metadata xks.Request
}

// Proxy is a proxy with its keys. Its exported fields are set before it is asked.
type Proxy struct {
	Server *httptest.Server
	Roots  *x509.CertPool // the authority of its certificate, which is for Host

	t        testing.TB
	verifier *sigv4.Verifier
	mu       sync.Mutex
	paths    []string
	secrets  map[string]string
	keys     map[string]*Key
	seen     []Request
	health   xks.Health
	answers  map[string]func(w http.ResponseWriter, r *http.Request)
}

// New starts a proxy that knows no key. It ends with the test.
func New(t testing.TB) *Proxy {
	t.Helper()
	p := &Proxy{
		t: t, paths: []string{Path}, secrets: map[string]string{AccessKeyID: SecretKey}, keys: map[string]*Key{},
		answers: map[string]func(http.ResponseWriter, *http.Request){}, Roots: x509.NewCertPool(),
		health: xks.Health{
			FleetSize: 1, Vendor: "Sagekeep", Model: "xkstest", ManagerVendor: "Sagekeep",
			Managers: []xks.Manager{{ID: "one", Model: "memory", Status: xks.Active}},
		},
	}
	p.verifier = &sigv4.Verifier{Lookup: p.lookup}
	p.Server = httptest.NewUnstartedServer(p)
	p.Server.TLS = &tls.Config{Certificates: []tls.Certificate{p.certificate(Host)}}
	p.Server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	p.Server.StartTLS()
	t.Cleanup(p.Server.Close)
	return p
}

// certificate makes a certificate for a host, whose own authority it is.
func (p *Proxy) certificate(host string) tls.Certificate {
	p.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Roots.AddCert(c)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}
}

// Address is where the proxy listens.
func (p *Proxy) Address() string { return p.Server.Listener.Addr().String() }

// Config is that of a client which reaches the proxy by its name and has time.
func (p *Proxy) Config() xks.Config {
	return xks.Config{RootCAs: p.Roots, ConnectTo: map[string]string{Host: p.Address()}, Timeout: 10 * time.Second}
}

// Target is the proxy as a key store names it.
func (p *Proxy) Target() xks.Proxy {
	return xks.Proxy{Endpoint: Endpoint, Path: Path, AccessKeyID: AccessKeyID, Secret: secret.NewText(SecretKey), Region: Region}
}

// AddPath has the proxy answer below another path too, with the same keys.
func (p *Proxy) AddPath(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paths = append(p.paths, path)
}

// SetCredentials replaces the credentials that the proxy believes.
func (p *Proxy) SetCredentials(secrets map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets = secrets
}

// SetHealth changes what the proxy says of its health.
func (p *Proxy) SetHealth(change func(*xks.Health)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.health)
}

// Answer has one API (health, metadata, encrypt, decrypt) answered by f, or
// again by the proxy when f is nil.
func (p *Proxy) Answer(api string, f http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f == nil {
		delete(p.answers, api)
		return
	}
	p.answers[api] = f
}

// Refuse has one API answer with an error.
func (p *Proxy) Refuse(api string, status int, name xks.Name) {
	p.Answer(api, func(w http.ResponseWriter, _ *http.Request) { refuse(w, status, name) })
}

// Seen returns the requests so far whose signatures were good.
func (p *Proxy) Seen() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen)
}

// Last returns the newest request.
func (p *Proxy) Last() Request {
	seen := p.Seen()
	if len(seen) == 0 {
		p.t.Fatal("the proxy was not asked")
	}
	return seen[len(seen)-1]
}

func refuse(w http.ResponseWriter, status int, name xks.Name) {
	answer(w, status, map[string]string{"errorName": string(name), "errorMessage": "xkstest refuses"})
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// ServeHTTP answers one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil || r.Header.Get("Content-Type") != "application/json" || !p.authentic(r, body) {
		refuse(w, http.StatusUnauthorized, xks.AuthenticationFailedException)
		return
	}
	api, id, ok := p.route(r.URL.Path)
	if !ok {
		refuse(w, http.StatusNotFound, xks.InvalidURIPathException)
		return
	}
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	var in message
	if err := json.Unmarshal(body, &in); err != nil || in.Request.Operation == "" || in.Request.RequestID == "" || (api != "health") == (in.Request.PrincipalARN == "") {
		refuse(w, http.StatusBadRequest, xks.ValidationException)
		return
	}
	auth, _ := sigv4.Inspect(r)
	p.mu.Lock()
	p.seen = append(p.seen, Request{API: api, Key: id, Region: auth.Scope.Region, Metadata: in.Request})
	other, health := p.answers[api], p.health
	health.Managers = slices.Clone(health.Managers)
	p.mu.Unlock()
	switch {
	case other != nil:
		other(w, r)
	case api == "health":
		answer(w, http.StatusOK, health)
	default:
		p.onKey(w, api, id, &in)
	}
}

// authentic checks the signature, over host and x-amz-date at least.
func (p *Proxy) authentic(r *http.Request, body []byte) bool {
	auth, err := sigv4.Inspect(r)
	if err != nil || !slices.Equal(auth.SignedHeaders, []string{"host", "x-amz-date"}) {
		return false
	}
	return p.verifier.Verify(r.Context(), r, auth, sigv4.Options{Body: body, Service: "kms-xks-proxy"}) == nil
}

// route splits a path into API and key.
func (p *Proxy) route(path string) (api, id string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, prefix := range p.paths {
		rest, found := strings.CutPrefix(path, prefix)
		if !found {
			continue
		}
		if rest == "/health" {
			return "health", "", true
		}
		parts := strings.Split(rest, "/")
		if len(parts) == 4 && parts[0] == "" && parts[1] == "keys" && slices.Contains([]string{"metadata", "encrypt", "decrypt"}, parts[3]) {
			return parts[3], parts[2], true
		}
	}
	return "", "", false
}
