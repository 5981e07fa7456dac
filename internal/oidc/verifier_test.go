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
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

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
		i.addKey(id, k)
	}
	v, p := i.verifier(), i.provider()
	other := newRSA(t)
	der, err := x509.MarshalPKIXPublicKey(i.keys["first"].Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	good := i.token(jose.RS256, "first", nil)
	parts := strings.Split(good, ".")
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	now := i.now().Unix()
	const badKey = "Couldn't retrieve verification key"
	const noJWT = "not a valid JWT"
	for _, tc := range []struct {
		name, token string
		kind        Kind
		message     string
	}{
		{name: "RS256", token: good},
		{name: "RS384", token: i.token(jose.RS384, "first", nil)},
		{name: "RS512", token: i.token(jose.RS512, "first", nil)},
		{name: "ES256", token: i.token(jose.ES256, "p256", nil)},
		{name: "ES384", token: i.token(jose.ES384, "p384", nil)},
		{name: "ES512", token: i.token(jose.ES512, "p521", nil)},
		{name: "list of one audience", token: i.token(jose.RS256, "first", claims{"aud": []string{"sts.amazonaws.com"}})},
		{name: "one audience of two", token: i.token(jose.RS256, "first", claims{"aud": []string{"other", "sts.amazonaws.com"}})},
		{name: "authorized party", token: i.token(jose.RS256, "first", claims{"aud": "account", "azp": "sts.amazonaws.com"})},
		{name: "clock of the issuer ahead", token: i.token(jose.RS256, "first", claims{"iat": now + 30, "nbf": now + 30})},

		{"PS256", i.token(jose.PS256, "first", nil), InvalidIdentityToken, "must be signed with"},
		{"HS256 with the public key as the secret", sign(t, jose.HS256, public, "first", i.claims(nil)), InvalidIdentityToken, "must be signed with"},
		{"HS256 with the public key's DER", sign(t, jose.HS256, der, "first", i.claims(nil)), InvalidIdentityToken, "must be signed with"},
		{"none", part(`{"alg":"none","kid":"first"}`) + "." + parts[1] + ".", InvalidIdentityToken, noJWT},
		{"none with a signature", part(`{"alg":"none","kid":"first"}`) + "." + parts[1] + "." + parts[2], InvalidIdentityToken, "must be signed with"},
		{"another key under the same kid", sign(t, jose.RS256, other, "first", i.claims(nil)), InvalidIdentityToken, "signature is wrong"},
		{"unknown kid", sign(t, jose.RS256, i.keys["first"], "second", i.claims(nil)), InvalidIdentityToken, badKey},
		{"no kid among several keys", sign(t, jose.RS256, i.keys["first"], "", i.claims(nil)), InvalidIdentityToken, badKey},
		{"kid of another kind of key", sign(t, jose.RS256, i.keys["first"], "p256", i.claims(nil)), InvalidIdentityToken, badKey},
		{"tampered claims", parts[0] + "." + part(fmt.Sprintf(`{"iss":%q,"sub":"root","aud":"sts.amazonaws.com","iat":%d,"exp":%d}`, i.url, now, now+600)) + "." + parts[2], InvalidIdentityToken, "signature is wrong"},
		{"signature cut off", parts[0] + "." + parts[1] + "." + parts[2][:100], InvalidIdentityToken, "signature is wrong"},
		{"no signature", parts[0] + "." + parts[1] + ".", InvalidIdentityToken, noJWT},
		{"two parts", parts[0] + "." + parts[1], InvalidIdentityToken, noJWT},
		{"four parts", good + ".x", InvalidIdentityToken, noJWT},
		{"padded", good + "=", InvalidIdentityToken, noJWT},
		{"line break", parts[0] + ".\n" + parts[1] + "." + parts[2], InvalidIdentityToken, noJWT},
		{"JSON serialization", `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, InvalidIdentityToken, noJWT},
		{"opaque", "EAACEdEose0cBA", InvalidIdentityToken, noJWT},
		{"too long", i.token(jose.RS256, "first", claims{"x": strings.Repeat("x", 15000)}), InvalidIdentityToken, noJWT},
		{"critical header", part(`{"alg":"RS256","kid":"first","crit":["x"],"x":1}`) + "." + parts[1] + "." + parts[2], InvalidIdentityToken, "crit"},
		{"alg twice", part(`{"alg":"none","alg":"RS256","kid":"first"}`) + "." + parts[1] + "." + parts[2], InvalidIdentityToken, noJWT},
		{"sub twice", parts[0] + "." + part(`{"sub":"a","sub":"b"}`) + "." + parts[2], InvalidIdentityToken, noJWT},

		{"wrong audience", i.token(jose.RS256, "first", claims{"aud": "other"}), InvalidIdentityToken, "Incorrect token audience"},
		{"wrong authorized party", i.token(jose.RS256, "first", claims{"azp": "other"}), InvalidIdentityToken, "Incorrect token audience"},
		{"wrong issuer", i.token(jose.RS256, "first", claims{"iss": i.url + "/"}), InvalidIdentityToken, "issuer"},
		{"expired", i.token(jose.RS256, "first", claims{"exp": now}), ExpiredToken, "Token expired: current date/time"},
		{"not yet issued", i.token(jose.RS256, "first", claims{"iat": now + 60}), InvalidIdentityToken, "not valid yet"},
		{"not yet valid", i.token(jose.RS256, "first", claims{"nbf": now + 60}), InvalidIdentityToken, "not valid yet"},
		{"exp as text", i.token(jose.RS256, "first", claims{"exp": fmt.Sprint(now + 600)}), InvalidIdentityToken, "exp must be an integer"},
		{"exp as fraction", i.token(jose.RS256, "first", claims{"exp": float64(now) + 600.5}), InvalidIdentityToken, "exp must be an integer"},
		{"no exp", i.token(jose.RS256, "first", claims{"exp": nil}), InvalidIdentityToken, "Missing a required claim: exp"},
		{"no iat", i.token(jose.RS256, "first", claims{"iat": nil}), InvalidIdentityToken, "Missing a required claim: iat"},
		{"no sub", i.token(jose.RS256, "first", claims{"sub": nil}), InvalidIdentityToken, "Missing a required claim: sub"},
		{"SUB is not sub", i.token(jose.RS256, "first", claims{"sub": nil, "SUB": "x"}), InvalidIdentityToken, "Missing a required claim: sub"},
		{"no aud", i.token(jose.RS256, "first", claims{"aud": nil}), InvalidIdentityToken, "Missing a required claim: aud"},
		{"no iss", i.token(jose.RS256, "first", claims{"iss": nil}), InvalidIdentityToken, "Missing a required claim: iss"},
		{"long sub", i.token(jose.RS256, "first", claims{"sub": strings.Repeat("s", 256)}), InvalidIdentityToken, "sub is longer"},
		{"sub as number", i.token(jose.RS256, "first", claims{"sub": 7}), InvalidIdentityToken, "sub must be a string"},
		{"aud as object", i.token(jose.RS256, "first", claims{"aud": map[string]any{}}), InvalidIdentityToken, "aud must be"},
	} {
		_, err := verify(t, v, p, tc.token)
		wantKind(t, tc.name, err, tc.kind, tc.message)
	}
	if n := i.asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times for its keys, want once", n)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	id, err := verify(t, i.verifier(), i.provider(), i.token(jose.RS256, "first", claims{
		"aud": []string{"account"}, "azp": "sts.amazonaws.com", "amr": []string{"pwd", "otp"}, "n": map[string]any{"a": 1},
	}))
	if err != nil {
		t.Fatal(err)
	}
	if id.Issuer != i.url || id.Subject != "system:serviceaccount:ml:train" || id.Audience != "sts.amazonaws.com" ||
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
	_, err := verify(t, i.verifier(), i.provider(), sign(t, jose.RS256, i.keys["first"], "", i.claims(nil)))
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
		if n := i.asked.Load(); n != want {
			t.Fatalf("the issuer was asked %d times, want %d", n, want)
		}
	}
	check := func(name, token string, kind Kind) {
		t.Helper()
		_, err := verify(t, v, p, token)
		wantKind(t, name, err, kind, "")
	}
	check("first", i.token(jose.RS256, "first", nil), "")
	asked(1)
	i.addKey("second", newRSA(t))
	i.pass(2 * time.Minute)
	check("second", i.token(jose.RS256, "second", nil), "")
	asked(2)
	for n := range 20 {
		check("made up", sign(t, jose.RS256, i.keys["first"], fmt.Sprint("k", n), i.claims(nil)), InvalidIdentityToken)
	}
	asked(2)
	i.pass(time.Minute)
	check("made up", sign(t, jose.RS256, i.keys["first"], "k", i.claims(nil)), InvalidIdentityToken)
	asked(3)
	old := i.keys["first"]
	i.dropKey("first")
	i.pass(keysMaxAge)
	check("dropped", sign(t, jose.RS256, old, "first", i.claims(nil)), InvalidIdentityToken)
	asked(4)
}

func TestOneLookAtATime(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v, p := i.verifier(), i.provider()
	gate := make(chan struct{})
	i.answer(discoveryPath, func(w http.ResponseWriter, _ *http.Request) {
		<-gate
		writeJSON(w, map[string]any{"issuer": i.url, "jwks_uri": i.url + keysPath})
	})
	token := i.token(jose.RS256, "first", nil)
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
	if n := i.asked.Load(); n != 1 {
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
		change  func(i *issuer)
		kind    Kind
		message string
	}{
		{"down", func(i *issuer) { i.server.Close() }, IDPCommunicationError, ""},
		{"answers 503", func(i *issuer) { i.answer(discoveryPath, status(503)) }, IDPCommunicationError, ""},
		{"has no discovery", func(i *issuer) { i.answer(discoveryPath, status(404)) }, InvalidIdentityToken, badKey},
		{"discovery is no JSON", func(i *issuer) { i.answer(discoveryPath, text("<html>")) }, InvalidIdentityToken, badKey},
		{"discovery of another issuer", func(i *issuer) {
			i.answer(discoveryPath, text(`{"issuer":"https://other.example.com","jwks_uri":"`+i.url+keysPath+`"}`))
		}, InvalidIdentityToken, badKey},
		{"keys over http", func(i *issuer) {
			i.answer(discoveryPath, text(`{"issuer":"`+i.url+`","jwks_uri":"http`+strings.TrimPrefix(i.url, "https")+keysPath+`"}`))
		}, InvalidIdentityToken, badKey},
		{"keys in a file", func(i *issuer) {
			i.answer(discoveryPath, text(`{"issuer":"`+i.url+`","jwks_uri":"file:///etc/passwd"}`))
		}, InvalidIdentityToken, badKey},
		{"no keys", func(i *issuer) { i.dropKey("first") }, InvalidIdentityToken, badKey},
		{"huge key set", func(i *issuer) { i.answer(keysPath, text(`{"keys":[],"x":"`+strings.Repeat("x", maxDocument)+`"}`)) }, InvalidIdentityToken, badKey},
		{"too many keys", func(i *issuer) {
			i.answer(keysPath, text(`{"keys":[`+strings.TrimSuffix(strings.Repeat(`{},`, 2*maxKeys+1), ",")+`]}`))
		}, InvalidIdentityToken, badKey},
		{"small RSA key", func(i *issuer) {
			i.answer(keysPath, func(w http.ResponseWriter, _ *http.Request) {
				writeJSON(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: small.Public(), KeyID: "first"}}})
			})
		}, InvalidIdentityToken, badKey},
		{"key for encryption", func(i *issuer) {
			k := i.keys["first"].Public()
			i.answer(keysPath, func(w http.ResponseWriter, _ *http.Request) {
				writeJSON(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k, KeyID: "first", Use: "enc"}}})
			})
		}, InvalidIdentityToken, badKey},
		{"redirect on the same server", func(i *issuer) {
			h := i.url + "/moved"
			i.answer(discoveryPath, redirect(h))
			i.answer("/moved", text(`{"issuer":"`+i.url+`","jwks_uri":"`+i.url+keysPath+`"}`))
		}, "", ""},
		{"redirect for ever", func(i *issuer) { i.answer(discoveryPath, redirect(i.url+discoveryPath)) }, InvalidIdentityToken, badKey},
		{"redirect to another server", func(i *issuer) { i.answer(discoveryPath, redirect(elsewhere.URL)) }, InvalidIdentityToken, badKey},
		{"redirect to http", func(i *issuer) {
			i.answer(keysPath, redirect("http"+strings.TrimPrefix(i.url, "https")+"/x"))
		}, InvalidIdentityToken, badKey},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			token := i.token(jose.RS256, "first", nil)
			tc.change(i)
			v := i.verifier()
			_, err := verify(t, v, i.provider(), token)
			wantKind(t, tc.name, err, tc.kind, tc.message)
			before := i.asked.Load()
			for range 5 { // a failure is remembered
				_, err := verify(t, v, i.provider(), token)
				wantKind(t, tc.name, err, tc.kind, tc.message)
			}
			if n := i.asked.Load(); n != before {
				t.Errorf("the issuer was asked %d more times", n-before)
			}
		})
	}
}

// TestRecovery: an issuer that was away is asked again after a short while.
func TestRecovery(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v, token := i.verifier(), i.token(jose.RS256, "first", nil)
	i.answer(keysPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	_, err := verify(t, v, i.provider(), token)
	wantKind(t, "away", err, IDPCommunicationError, "")
	i.answer(keysPath, nil)
	_, err = verify(t, v, i.provider(), token)
	wantKind(t, "too early", err, IDPCommunicationError, "")
	i.pass(failurePause)
	_, err = verify(t, v, i.provider(), token)
	wantKind(t, "back", err, "", "")
}

func TestSlowIssuer(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v := New(Config{Now: i.now, Roots: poolOf(i.ca), Timeout: 50 * time.Millisecond})
	i.answer(discoveryPath, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	_, err := verify(t, v, i.provider(), i.token(jose.RS256, "first", nil))
	wantKind(t, "slow", err, IDPCommunicationError, "")
}

// TestTrust is about the certificate of the issuer's server.
func TestTrust(t *testing.T) {
	t.Parallel()
	const refusal = "certificate doesn't match"
	i := newIssuer(t)
	leaf, err := x509.ParseCertificate(i.server.TLS.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	stranger, _ := certificates(t, i.now(), "127.0.0.1")
	for _, tc := range []struct {
		name        string
		roots       []*x509.Certificate
		thumbprints []string
		shift       time.Duration
		want        Connection
	}{
		{name: "nobody trusts it"},
		{name: "trusted root", roots: []*x509.Certificate{i.ca}, want: TrustStore},
		{name: "thumbprint of the authority", thumbprints: []string{thumbprint(i.ca)}, want: Thumbprint},
		{name: "in capitals", thumbprints: []string{strings.ToUpper(thumbprint(i.ca))}, want: Thumbprint},
		{name: "thumbprint of the server", thumbprints: []string{thumbprint(leaf)}, want: Thumbprint},
		{name: "both", roots: []*x509.Certificate{i.ca}, thumbprints: []string{thumbprint(i.ca)}, want: TrustStore},
		{name: "thumbprint of another authority", thumbprints: []string{thumbprint(stranger)}},
		{name: "another root", roots: []*x509.Certificate{stranger}},
		{name: "run out", thumbprints: []string{thumbprint(i.ca)}, shift: 48 * time.Hour},
	} {
		now := func() time.Time { return i.clock.Add(tc.shift) }
		f := fetcher{roots: poolOf(tc.roots...), timeout: 5 * time.Second, now: now}
		set, err := f.keys(t.Context(), i.url, tc.thumbprints)
		if tc.want == "" {
			wantKind(t, tc.name, err, InvalidIdentityToken, refusal)
		} else if err != nil || set.connection != tc.want {
			t.Errorf("%s: %v, %v, want %s", tc.name, set, err, tc.want)
		}
	}
	named := strings.Replace(i.url, "127.0.0.1", "localhost", 1) // the certificate is for the address
	f := fetcher{roots: poolOf(i.ca), timeout: 5 * time.Second, now: i.now}
	_, err = f.keys(t.Context(), named, []string{thumbprint(i.ca), thumbprint(leaf)})
	wantKind(t, "wrong name", err, InvalidIdentityToken, refusal)
}

// TestThumbprintsOfOthers: keys that one account's thumbprint let in are not
// another account's.
func TestThumbprintsOfOthers(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v, p, token := i.verifier(), i.provider(), i.token(jose.RS256, "first", nil)
	_, err := verify(t, v, p, token)
	wantKind(t, "with thumbprint", err, "", "")
	p.Thumbprints = nil
	_, err = verify(t, v, p, token)
	wantKind(t, "without", err, InvalidIdentityToken, "certificate")
	p.ClientIDs = nil
	p.Thumbprints = []string{strings.ToUpper(thumbprint(i.ca))}
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
	for address, want := range map[string]bool{
		"169.254.169.254": true, "::ffff:169.254.169.254": true, "fe80::1": true, "fe80::1%eth0": true, "fd00:ec2::254": true,
		"64:ff9b::a9fe:a9fe": true, "0.0.0.0": true, "::": true, "224.0.0.1": true, "100.100.100.200": true, "168.63.129.16": true,
		"127.0.0.1": false, "::1": false, "10.1.2.3": false, "192.168.0.1": false, "fd00::1": false, "203.0.113.7": false,
	} {
		if got := forbidden(netip.MustParseAddr(address)); got != want {
			t.Errorf("forbidden(%s) = %t, want %t", address, got, want)
		}
	}
	c := connections{f: &fetcher{timeout: time.Second, now: time.Now}}
	if _, err := c.dial(t.Context(), "tcp", "169.254.169.254:443"); !errors.Is(err, errForbidden) {
		t.Errorf("dial = %v, want errForbidden", err)
	}
}

// FuzzToken: whatever is accepted was signed, as it stands, by the one key that
// there is, and says what its second part says.
func FuzzToken(f *testing.F) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	c := claims{"iss": "https://i.example.com", "sub": "s", "aud": []string{"a", "b"}, "iat": 1, "exp": 1 << 40, "amr": "pwd", "x": map[string]any{"y": 1}}
	good := sign(f, jose.ES256, k, "k", c)
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
