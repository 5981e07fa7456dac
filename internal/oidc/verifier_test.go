package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sagekeep/sagekeep/internal/netguard"
	"github.com/sagekeep/sagekeep/internal/oidc/oidctest"
)

// issuer is the test issuer, with what is this package's.
type issuer struct{ *oidctest.Issuer }

func newIssuer(t *testing.T) issuer { return issuer{oidctest.New(t)} }

func (i issuer) provider() Provider {
	return Provider{Issuer: i.URL, ClientIDs: []string{oidctest.Audience}, Thumbprints: []string{oidctest.Thumbprint(i.CA)}}
}

// verifier has no trusted roots but those given.
func (i issuer) verifier(roots ...*x509.Certificate) *Verifier {
	return New(Config{Now: i.Now, Roots: poolOf(roots...), Timeout: 5 * time.Second})
}

// verify parses and verifies.
func verify(t *testing.T, v *Verifier, p Provider, text string) (*Identity, error) {
	t.Helper()
	token, err := Parse(text)
	if err != nil {
		return nil, err
	}
	return v.Verify(t.Context(), p, token)
}

// wantKind checks the kind of an error and a part of its message; kind "" means
// success.
func wantKind(t *testing.T, name string, err error, kind Kind, message string) {
	t.Helper()
	if kind == "" {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind != kind || !strings.Contains(e.Message, message) {
		t.Errorf("%s: error %v, want %s with %q", name, err, kind, message)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	for id, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		i.AddKey(id, k)
	}
	v, p := i.verifier(), i.provider()
	other := oidctest.NewRSA(t)
	der, err := x509.MarshalPKIXPublicKey(i.Key("first").Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	good := i.Token(jose.RS256, "first", nil)
	parts := strings.Split(good, ".")
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	now := i.Now().Unix()
	const badKey = "Couldn't retrieve verification key"
	const noJWT = "not a valid JWT"
	for _, tc := range []struct {
		name, token string
		kind        Kind
		message     string
	}{
		{name: "RS256", token: good},
		{name: "RS384", token: i.Token(jose.RS384, "first", nil)},
		{name: "RS512", token: i.Token(jose.RS512, "first", nil)},
		{name: "ES256", token: i.Token(jose.ES256, "p256", nil)},
		{name: "ES384", token: i.Token(jose.ES384, "p384", nil)},
		{name: "ES512", token: i.Token(jose.ES512, "p521", nil)},
		{name: "list of one audience", token: i.Token(jose.RS256, "first", oidctest.Claims{"aud": []string{"sts.amazonaws.com"}})},
		{name: "one audience of two", token: i.Token(jose.RS256, "first", oidctest.Claims{"aud": []string{"other", "sts.amazonaws.com"}})},
		{name: "authorized party", token: i.Token(jose.RS256, "first", oidctest.Claims{"aud": "account", "azp": "sts.amazonaws.com"})},
		{name: "clock of the issuer ahead", token: i.Token(jose.RS256, "first", oidctest.Claims{"iat": now + 30, "nbf": now + 30})},

		{"PS256", i.Token(jose.PS256, "first", nil), InvalidIdentityToken, "must be signed with"},
		{"HS256 with the public key as the secret", oidctest.Sign(t, jose.HS256, public, "first", i.Claims(nil)), InvalidIdentityToken, "must be signed with"},
		{"HS256 with the public key's DER", oidctest.Sign(t, jose.HS256, der, "first", i.Claims(nil)), InvalidIdentityToken, "must be signed with"},
		{"none", part(`{"alg":"none","kid":"first"}`) + "." + parts[1] + ".", InvalidIdentityToken, noJWT},
		{"none with a signature", part(`{"alg":"none","kid":"first"}`) + "." + parts[1] + "." + parts[2], InvalidIdentityToken, "must be signed with"},
		{"another key under the same kid", oidctest.Sign(t, jose.RS256, other, "first", i.Claims(nil)), InvalidIdentityToken, "signature is wrong"},
		{"unknown kid", oidctest.Sign(t, jose.RS256, i.Key("first"), "second", i.Claims(nil)), InvalidIdentityToken, badKey},
		{"no kid among several keys", oidctest.Sign(t, jose.RS256, i.Key("first"), "", i.Claims(nil)), InvalidIdentityToken, badKey},
		{"kid of another kind of key", oidctest.Sign(t, jose.RS256, i.Key("first"), "p256", i.Claims(nil)), InvalidIdentityToken, badKey},
		{"tampered claims", parts[0] + "." + part(fmt.Sprintf(`{"iss":%q,"sub":"root","aud":"sts.amazonaws.com","iat":%d,"exp":%d}`, i.URL, now, now+600)) + "." + parts[2], InvalidIdentityToken, "signature is wrong"},
		{"signature cut off", parts[0] + "." + parts[1] + "." + parts[2][:100], InvalidIdentityToken, "signature is wrong"},
		{"no signature", parts[0] + "." + parts[1] + ".", InvalidIdentityToken, noJWT},
		{"two parts", parts[0] + "." + parts[1], InvalidIdentityToken, noJWT},
		{"four parts", good + ".x", InvalidIdentityToken, noJWT},
		{"padded", good + "=", InvalidIdentityToken, noJWT},
		{"line break", parts[0] + ".\n" + parts[1] + "." + parts[2], InvalidIdentityToken, noJWT},
		{"JSON serialization", `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, InvalidIdentityToken, noJWT},
		{"opaque", "EAACEdEose0cBA", InvalidIdentityToken, noJWT},
		{"too long", i.Token(jose.RS256, "first", oidctest.Claims{"x": strings.Repeat("x", 15000)}), InvalidIdentityToken, noJWT},
		{"critical header", part(`{"alg":"RS256","kid":"first","crit":["x"],"x":1}`) + "." + parts[1] + "." + parts[2], InvalidIdentityToken, "crit"},
		{"alg twice", part(`{"alg":"none","alg":"RS256","kid":"first"}`) + "." + parts[1] + "." + parts[2], InvalidIdentityToken, noJWT},
		{"sub twice", parts[0] + "." + part(`{"sub":"a","sub":"b"}`) + "." + parts[2], InvalidIdentityToken, noJWT},

		{"wrong audience", i.Token(jose.RS256, "first", oidctest.Claims{"aud": "other"}), InvalidIdentityToken, "Incorrect token audience"},
		{"wrong authorized party", i.Token(jose.RS256, "first", oidctest.Claims{"azp": "other"}), InvalidIdentityToken, "Incorrect token audience"},
		{"wrong issuer", i.Token(jose.RS256, "first", oidctest.Claims{"iss": i.URL + "/"}), InvalidIdentityToken, "issuer"},
		{"expired", i.Token(jose.RS256, "first", oidctest.Claims{"exp": now}), ExpiredToken, "Token expired: current date/time"},
		{"not yet issued", i.Token(jose.RS256, "first", oidctest.Claims{"iat": now + 60}), InvalidIdentityToken, "not valid yet"},
		{"not yet valid", i.Token(jose.RS256, "first", oidctest.Claims{"nbf": now + 60}), InvalidIdentityToken, "not valid yet"},
		{"exp as text", i.Token(jose.RS256, "first", oidctest.Claims{"exp": fmt.Sprint(now + 600)}), InvalidIdentityToken, "exp must be an integer"},
		{"exp as fraction", i.Token(jose.RS256, "first", oidctest.Claims{"exp": float64(now) + 600.5}), InvalidIdentityToken, "exp must be an integer"},
		{"no exp", i.Token(jose.RS256, "first", oidctest.Claims{"exp": nil}), InvalidIdentityToken, "Missing a required claim: exp"},
		{"no iat", i.Token(jose.RS256, "first", oidctest.Claims{"iat": nil}), InvalidIdentityToken, "Missing a required claim: iat"},
		{"no sub", i.Token(jose.RS256, "first", oidctest.Claims{"sub": nil}), InvalidIdentityToken, "Missing a required claim: sub"},
		{"SUB is not sub", i.Token(jose.RS256, "first", oidctest.Claims{"sub": nil, "SUB": "x"}), InvalidIdentityToken, "Missing a required claim: sub"},
		{"no aud", i.Token(jose.RS256, "first", oidctest.Claims{"aud": nil}), InvalidIdentityToken, "Missing a required claim: aud"},
		{"no iss", i.Token(jose.RS256, "first", oidctest.Claims{"iss": nil}), InvalidIdentityToken, "Missing a required claim: iss"},
		{"long sub", i.Token(jose.RS256, "first", oidctest.Claims{"sub": strings.Repeat("s", 256)}), InvalidIdentityToken, "sub is longer"},
		{"sub as number", i.Token(jose.RS256, "first", oidctest.Claims{"sub": 7}), InvalidIdentityToken, "sub must be a string"},
		{"aud as object", i.Token(jose.RS256, "first", oidctest.Claims{"aud": map[string]any{}}), InvalidIdentityToken, "aud must be"},
	} {
		_, err := verify(t, v, p, tc.token)
		wantKind(t, tc.name, err, tc.kind, tc.message)
	}
	if n := i.Asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times for its keys, want once", n)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	id, err := verify(t, i.verifier(), i.provider(), i.Token(jose.RS256, "first", oidctest.Claims{
		"aud": []string{"account"}, "azp": "sts.amazonaws.com", "amr": []string{"pwd", "otp"}, "n": map[string]any{"a": 1},
	}))
	if err != nil {
		t.Fatal(err)
	}
	if id.Issuer != i.URL || id.Subject != "system:serviceaccount:ml:train" || id.Audience != "sts.amazonaws.com" ||
		!slices.Equal(id.Audiences, []string{"account"}) || !slices.Equal(id.Methods, []string{"pwd", "otp"}) || id.Connection != Thumbprint {
		t.Errorf("identity = %+v", id)
	}
	var n map[string]int
	if has, err := id.Claim("n", &n); !has || err != nil || n["a"] != 1 {
		t.Errorf("claim n = %v, %t, %v", n, has, err)
	}
	var s string
	if has, err := id.Claim("n", &s); !has || err == nil {
		t.Errorf("claim n as text: %t, %v", has, err)
	}
	if has, err := id.Claim("none", &s); has || err != nil {
		t.Errorf("claim none: %t, %v", has, err)
	}
	if !slices.Contains(id.Claims(), "azp") {
		t.Errorf("claims = %v", id.Claims())
	}
}

func TestSingleKeyNeedsNoName(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	_, err := verify(t, i.verifier(), i.provider(), oidctest.Sign(t, jose.RS256, i.Key("first"), "", i.Claims(nil)))
	wantKind(t, "no kid", err, "", "")
}

// TestRotation: a new key is found as soon as a token names it, but strangers
// who name keys make nobody ask more than once a minute.
func TestRotation(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v, p := i.verifier(), i.provider()
	asked := func(want int32) {
		t.Helper()
		if n := i.Asked.Load(); n != want {
			t.Fatalf("the issuer was asked %d times, want %d", n, want)
		}
	}
	check := func(name, token string, kind Kind) {
		t.Helper()
		_, err := verify(t, v, p, token)
		wantKind(t, name, err, kind, "")
	}
	check("first", i.Token(jose.RS256, "first", nil), "")
	asked(1)
	i.AddKey("second", oidctest.NewRSA(t))
	i.Pass(2 * time.Minute)
	check("second", i.Token(jose.RS256, "second", nil), "")
	asked(2)
	for n := range 20 {
		check("made up", oidctest.Sign(t, jose.RS256, i.Key("first"), fmt.Sprint("k", n), i.Claims(nil)), InvalidIdentityToken)
	}
	asked(2)
	i.Pass(time.Minute)
	check("made up", oidctest.Sign(t, jose.RS256, i.Key("first"), "k", i.Claims(nil)), InvalidIdentityToken)
	asked(3)
	old := i.Key("first")
	i.DropKey("first")
	i.Pass(keysMaxAge)
	check("dropped", oidctest.Sign(t, jose.RS256, old, "first", i.Claims(nil)), InvalidIdentityToken)
	asked(4)
}

func TestOneLookAtATime(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v, p := i.verifier(), i.provider()
	gate := make(chan struct{})
	i.Answer(oidctest.DiscoveryPath, func(w http.ResponseWriter, _ *http.Request) {
		<-gate
		oidctest.WriteJSON(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + oidctest.KeysPath})
	})
	token := i.Token(jose.RS256, "first", nil)
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			_, err := verify(t, v, p, token)
			wantKind(t, "waiting", err, "", "")
		})
	}
	time.Sleep(20 * time.Millisecond)
	close(gate)
	wait.Wait()
	if n := i.Asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times, want once", n)
	}
}

// TestIssuers are those that do not give their keys as they must.
func TestIssuers(t *testing.T) {
	t.Parallel()
	const badKey = "Couldn't retrieve verification key"
	elsewhere := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(elsewhere.Close)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(s)) }
	}
	for _, tc := range []struct {
		name    string
		change  func(i issuer)
		kind    Kind
		message string
	}{
		{"down", func(i issuer) { i.Server.Close() }, IDPCommunicationError, ""},
		{"answers 503", func(i issuer) { i.Answer(oidctest.DiscoveryPath, status(503)) }, IDPCommunicationError, ""},
		{"has no discovery", func(i issuer) { i.Answer(oidctest.DiscoveryPath, status(404)) }, InvalidIdentityToken, badKey},
		{"discovery is no JSON", func(i issuer) { i.Answer(oidctest.DiscoveryPath, text("<html>")) }, InvalidIdentityToken, badKey},
		{"discovery of another issuer", func(i issuer) {
			i.Answer(oidctest.DiscoveryPath, text(`{"issuer":"https://other.example.com","jwks_uri":"`+i.URL+oidctest.KeysPath+`"}`))
		}, InvalidIdentityToken, badKey},
		{"keys over http", func(i issuer) {
			i.Answer(oidctest.DiscoveryPath, text(`{"issuer":"`+i.URL+`","jwks_uri":"http`+strings.TrimPrefix(i.URL, "https")+oidctest.KeysPath+`"}`))
		}, InvalidIdentityToken, badKey},
		{"keys in a file", func(i issuer) {
			i.Answer(oidctest.DiscoveryPath, text(`{"issuer":"`+i.URL+`","jwks_uri":"file:///etc/passwd"}`))
		}, InvalidIdentityToken, badKey},
		{"no keys", func(i issuer) { i.DropKey("first") }, InvalidIdentityToken, badKey},
		{"huge key set", func(i issuer) {
			i.Answer(oidctest.KeysPath, text(`{"keys":[],"x":"`+strings.Repeat("x", maxDocument)+`"}`))
		}, InvalidIdentityToken, badKey},
		{"too many keys", func(i issuer) {
			i.Answer(oidctest.KeysPath, text(`{"keys":[`+strings.TrimSuffix(strings.Repeat(`{},`, 2*maxKeys+1), ",")+`]}`))
		}, InvalidIdentityToken, badKey},
		{"small RSA key", func(i issuer) {
			i.Answer(oidctest.KeysPath, func(w http.ResponseWriter, _ *http.Request) {
				oidctest.WriteJSON(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: small.Public(), KeyID: "first"}}})
			})
		}, InvalidIdentityToken, badKey},
		{"key for encryption", func(i issuer) {
			k := i.Key("first").Public()
			i.Answer(oidctest.KeysPath, func(w http.ResponseWriter, _ *http.Request) {
				oidctest.WriteJSON(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k, KeyID: "first", Use: "enc"}}})
			})
		}, InvalidIdentityToken, badKey},
		{"redirect on the same server", func(i issuer) {
			h := i.URL + "/moved"
			i.Answer(oidctest.DiscoveryPath, redirect(h))
			i.Answer("/moved", text(`{"issuer":"`+i.URL+`","jwks_uri":"`+i.URL+oidctest.KeysPath+`"}`))
		}, "", ""},
		{"redirect for ever", func(i issuer) { i.Answer(oidctest.DiscoveryPath, redirect(i.URL+oidctest.DiscoveryPath)) }, InvalidIdentityToken, badKey},
		{"redirect to another server", func(i issuer) { i.Answer(oidctest.DiscoveryPath, redirect(elsewhere.URL)) }, InvalidIdentityToken, badKey},
		{"redirect to http", func(i issuer) {
			i.Answer(oidctest.KeysPath, redirect("http"+strings.TrimPrefix(i.URL, "https")+"/x"))
		}, InvalidIdentityToken, badKey},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			token := i.Token(jose.RS256, "first", nil)
			tc.change(i)
			v := i.verifier()
			_, err := verify(t, v, i.provider(), token)
			wantKind(t, tc.name, err, tc.kind, tc.message)
			before := i.Asked.Load()
			for range 5 { // a failure is remembered
				_, err := verify(t, v, i.provider(), token)
				wantKind(t, tc.name, err, tc.kind, tc.message)
			}
			if n := i.Asked.Load(); n != before {
				t.Errorf("the issuer was asked %d more times", n-before)
			}
		})
	}
}

// TestRecovery: an issuer that was away is asked again after a short while.
func TestRecovery(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v, token := i.verifier(), i.Token(jose.RS256, "first", nil)
	i.Answer(oidctest.KeysPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	_, err := verify(t, v, i.provider(), token)
	wantKind(t, "away", err, IDPCommunicationError, "")
	i.Answer(oidctest.KeysPath, nil)
	_, err = verify(t, v, i.provider(), token)
	wantKind(t, "too early", err, IDPCommunicationError, "")
	i.Pass(failurePause)
	_, err = verify(t, v, i.provider(), token)
	wantKind(t, "back", err, "", "")
}

func TestSlowIssuer(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v := New(Config{Now: i.Now, Roots: poolOf(i.CA), Timeout: 50 * time.Millisecond})
	i.Answer(oidctest.DiscoveryPath, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	_, err := verify(t, v, i.provider(), i.Token(jose.RS256, "first", nil))
	wantKind(t, "slow", err, IDPCommunicationError, "")
}

// TestTrust is about the certificate of the issuer's server.
func TestTrust(t *testing.T) {
	t.Parallel()
	const refusal = "certificate doesn't match"
	i := newIssuer(t)
	leaf, err := x509.ParseCertificate(i.Server.TLS.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	stranger, _ := oidctest.Certificates(t, i.Now(), "127.0.0.1")
	for _, tc := range []struct {
		name        string
		roots       []*x509.Certificate
		thumbprints []string
		shift       time.Duration
		want        Connection
	}{
		{name: "nobody trusts it"},
		{name: "trusted root", roots: []*x509.Certificate{i.CA}, want: TrustStore},
		{name: "thumbprint of the authority", thumbprints: []string{oidctest.Thumbprint(i.CA)}, want: Thumbprint},
		{name: "in capitals", thumbprints: []string{strings.ToUpper(oidctest.Thumbprint(i.CA))}, want: Thumbprint},
		{name: "thumbprint of the server", thumbprints: []string{oidctest.Thumbprint(leaf)}, want: Thumbprint},
		{name: "both", roots: []*x509.Certificate{i.CA}, thumbprints: []string{oidctest.Thumbprint(i.CA)}, want: TrustStore},
		{name: "thumbprint of another authority", thumbprints: []string{oidctest.Thumbprint(stranger)}},
		{name: "another root", roots: []*x509.Certificate{stranger}},
		{name: "run out", thumbprints: []string{oidctest.Thumbprint(i.CA)}, shift: 48 * time.Hour},
	} {
		now := func() time.Time { return i.Now().Add(tc.shift) }
		f := fetcher{roots: poolOf(tc.roots...), timeout: 5 * time.Second, now: now}
		set, err := f.keys(t.Context(), i.URL, tc.thumbprints)
		if tc.want == "" {
			wantKind(t, tc.name, err, InvalidIdentityToken, refusal)
		} else if err != nil || set.connection != tc.want {
			t.Errorf("%s: %v, %v, want %s", tc.name, set, err, tc.want)
		}
	}
	named := strings.Replace(i.URL, "127.0.0.1", "localhost", 1) // the certificate is for the address
	f := fetcher{roots: poolOf(i.CA), timeout: 5 * time.Second, now: i.Now}
	_, err = f.keys(t.Context(), named, []string{oidctest.Thumbprint(i.CA), oidctest.Thumbprint(leaf)})
	wantKind(t, "wrong name", err, InvalidIdentityToken, refusal)
}

// TestThumbprintsOfOthers: keys that one account's thumbprint let in are not
// another account's.
func TestThumbprintsOfOthers(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v, p, token := i.verifier(), i.provider(), i.Token(jose.RS256, "first", nil)
	_, err := verify(t, v, p, token)
	wantKind(t, "with thumbprint", err, "", "")
	p.Thumbprints = nil
	_, err = verify(t, v, p, token)
	wantKind(t, "without", err, InvalidIdentityToken, "certificate")
	p.ClientIDs = nil
	p.Thumbprints = []string{strings.ToUpper(oidctest.Thumbprint(i.CA))}
	_, err = verify(t, v, p, token)
	wantKind(t, "no client ids", err, InvalidIdentityToken, "Incorrect token audience")
}

func TestSourcesAreBounded(t *testing.T) {
	t.Parallel()
	v := New(Config{})
	for n := range maxSources + 10 {
		v.source(Provider{Issuer: fmt.Sprint("https://", n)})
	}
	if n := len(v.sources); n != maxSources {
		t.Errorf("%d sources are remembered, want %d", n, maxSources)
	}
}

func TestForbiddenAddresses(t *testing.T) {
	t.Parallel()
	c := connections{f: &fetcher{timeout: time.Second, now: time.Now}}
	for _, address := range []string{"169.254.169.254:443", "[fe80::1]:443", "[64:ff9b::a9fe:a9fe]:443", "[2002:a9fe:a9fe::1]:443"} {
		if _, err := c.dial(t.Context(), "tcp", address); !errors.Is(err, netguard.ErrForbidden) {
			t.Errorf("dial %s = %v, want ErrForbidden", address, err)
		}
	}
}

// FuzzToken: whatever is accepted was signed, as it stands, by the one key that
// there is, and says what its second part says.
func FuzzToken(f *testing.F) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	c := oidctest.Claims{"iss": "https://i.example.com", "sub": "s", "aud": []string{"a", "b"}, "iat": 1, "exp": 1 << 40, "amr": "pwd", "x": map[string]any{"y": 1}}
	good := oidctest.Sign(f, jose.ES256, k, "k", c)
	parts := strings.Split(good, ".")
	f.Add(good)
	f.Add(parts[0] + "." + parts[1] + ".")
	f.Add("eyJhbGciOiJub25lIn0." + parts[1] + ".AA")
	f.Add("eyJhbGciOiJIUzI1NiJ9." + parts[1] + ".AA")
	f.Add(parts[0] + "." + parts[1] + "." + parts[2] + "=")
	f.Add(parts[0] + "\n." + parts[1] + "." + parts[2])
	f.Add("e30.e30.AA")
	f.Add("W10." + parts[1] + ".AA")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := Parse(text)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("%v is no *Error", err)
			}
			return
		}
		if len(text) > maxToken || token.Issuer == "" || token.subject == "" || len(token.audiences) == 0 {
			t.Fatalf("parsed %q to %+v", text, token)
		}
		if token.verify([]key{{id: "k", public: k.Public()}}) != nil {
			return
		}
		signed, signature, _ := cutLast(text)
		sum := sha256.Sum256([]byte(signed))
		b, err := base64.RawURLEncoding.DecodeString(signature)
		if err != nil || len(b) != 64 {
			t.Fatalf("accepted %q with signature %x", text, b)
		}
		if !verifyRaw(&k.PublicKey, sum[:], b) {
			t.Fatalf("accepted %q, which the key did not sign", text)
		}
	})
}

// FuzzKeys: what is taken from a key set can verify signatures, and nothing
// else can be done with it.
func FuzzKeys(f *testing.F) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	for _, jwk := range []jose.JSONWebKey{
		{Key: k.Public(), KeyID: "a", Use: "sig"},
		{Key: k, KeyID: "private"},
		{Key: []byte("secret"), KeyID: "symmetric"},
		{Key: oidctest.NewRSA(f).Public(), KeyID: "b", Algorithm: "RS256"},
	} {
		b, err := jwk.MarshalJSON()
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(`{"keys":[` + string(b) + `]}`))
	}
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`))
	f.Add([]byte(`{"keys":[],"keys":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		keys, err := parseKeys(b)
		if err != nil {
			return
		}
		if len(keys) == 0 || len(keys) > 2*maxKeys {
			t.Fatalf("%d keys", len(keys))
		}
		for _, k := range keys {
			switch public := k.public.(type) {
			case *rsa.PublicKey:
				if n := public.N.BitLen(); n < minRSABits || n > maxRSABits {
					t.Fatalf("an RSA key of %d bits", n)
				}
			case *ecdsa.PublicKey:
				if _, err := public.Bytes(); err != nil {
					t.Fatalf("a key off its curve: %v", err)
				}
			default:
				t.Fatalf("a key of type %T", k.public)
			}
		}
	})
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// verifyRaw is an ECDSA verification of our own making, of R and S.
func verifyRaw(k *ecdsa.PublicKey, sum, signature []byte) bool {
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return ecdsa.Verify(k, sum, r, s)
}
