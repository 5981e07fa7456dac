package oidc

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // sees the case of names, and refuses a name that occurs twice
)

// Limits of a token, in characters. Source: AWS STS API Reference,
// AssumeRoleWithWebIdentity.
const (
	maxToken   = 20000
	maxSubject = 255
)

// algorithms are those that AWS accepts, with the curve of ECDSA ones. "none"
// and the ones with a shared secret are not among them.
//
// Source: AWS STS API Reference, AssumeRoleWithWebIdentity.
func algorithms() map[string]elliptic.Curve {
	return map[string]elliptic.Curve{
		"RS256": nil, "RS384": nil, "RS512": nil,
		"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521(),
	}
}

// Token is an ID token whose form is right. Nothing in it is proven.
type Token struct {
	// Issuer is the iss claim.
	Issuer string

	text      string
	algorithm string
	keyID     string
	subject   string
	audiences []string
	party     string // azp
	methods   []string
	issued    int64 // s since 1970
	expires   int64
	notBefore int64
	claims    map[string]json.RawMessage
}

// Parse reads a token in JWS compact serialization, of up to 20,000
// characters. Every part has one spelling: what a signature covers cannot be
// written in another way.
//
// Errors: an *Error of kind InvalidIdentityToken.
func Parse(text string) (*Token, error) {
	t, err := parse(text)
	if err == nil {
		return t, nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return nil, e
	}
	return nil, invalid("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)").because(err)
}

func parse(text string) (*Token, error) {
	if len(text) > maxToken {
		return nil, errors.New("the token is too long")
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, errors.New("the token has not three parts")
	}
	var raw [3][]byte
	for i, p := range parts {
		b, err := decodePart(p)
		if err != nil {
			return nil, err
		}
		raw[i] = b
	}
	t := &Token{text: text}
	if err := t.readHeader(raw[0]); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw[1], &t.claims); err != nil {
		return nil, err
	}
	return t, t.readClaims()
}

func decodePart(p string) ([]byte, error) {
	if p == "" || strings.ContainsAny(p, "\r\n") { // the decoder skips these
		return nil, errors.New("a part of the token is not base64url")
	}
	return base64.RawURLEncoding.Strict().DecodeString(p)
}

func (t *Token) readHeader(b []byte) error {
	var header map[string]json.RawMessage
	if err := json.Unmarshal(b, &header); err != nil {
		return err
	}
	for _, name := range []string{"crit", "b64"} {
		if _, has := header[name]; has {
			return invalid("The header %s of the token is not supported", name)
		}
	}
	var err error
	if t.algorithm, err = text(header, "alg"); err != nil {
		return err
	}
	if _, known := algorithms()[t.algorithm]; !known {
		return invalid("The token must be signed with RS256, RS384, RS512, ES256, ES384 or ES512")
	}
	t.keyID, err = text(header, "kid")
	return err
}

func (t *Token) readClaims() error {
	var err error
	claim := func(v *string, name string) { // reads a string
		s, e := text(t.claims, name)
		*v, err = s, cmp.Or(err, e)
	}
	claim(&t.Issuer, "iss")
	claim(&t.subject, "sub")
	claim(&t.party, "azp")
	list := func(v *[]string, name string) {
		l, e := texts(t.claims, name)
		*v, err = l, cmp.Or(err, e)
	}
	list(&t.audiences, "aud")
	list(&t.methods, "amr")
	instant := func(v *int64, name string) {
		n, e := seconds(t.claims, name)
		*v, err = n, cmp.Or(err, e)
	}
	instant(&t.issued, "iat")
	instant(&t.expires, "exp")
	instant(&t.notBefore, "nbf")
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name string
		has  bool
	}{
		{"iss", t.Issuer != ""},
		{"sub", t.subject != ""},
		{"aud", len(t.audiences) > 0},
		{"iat", t.claims["iat"] != nil},
		{"exp", t.claims["exp"] != nil},
	} {
		if !c.has {
			return invalid("Missing a required claim: %s", c.name)
		}
	}
	if len(t.subject) > maxSubject {
		return invalid("The claim sub is longer than %d characters", maxSubject)
	}
	return nil
}

// text reads a member that is a string; "" when it is not there.
func text(from map[string]json.RawMessage, name string) (string, error) {
	raw, has := from[name]
	if !has {
		return "", nil
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", invalid("The claim %s must be a string", name)
	}
	return *s, nil
}

// texts reads a member that is a string or a list of strings.
func texts(from map[string]json.RawMessage, name string) ([]string, error) {
	raw, has := from[name]
	if !has {
		return nil, nil
	}
	if s, err := text(from, name); err == nil {
		return []string{s}, nil
	}
	var list []*string
	if err := json.Unmarshal(raw, &list); err != nil || slices.Contains(list, nil) {
		return nil, invalid("The claim %s must be a string or a list of strings", name)
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = *s
	}
	return out, nil
}

// seconds reads an instant, which must be written as an integer.
func seconds(from map[string]json.RawMessage, name string) (int64, error) {
	raw, has := from[name]
	if !has {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0, invalid("The claim %s must be an integer", name)
	}
	return n, nil
}

// checkDates compares the dates with the present instant.
func (t *Token) checkDates(now time.Time) error {
	if s := now.Unix(); s >= t.expires {
		return &Error{Kind: ExpiredToken, Message: "Token expired: current date/time " + strconv.FormatInt(s, 10) +
			" must be before the expiration date/time " + strconv.FormatInt(t.expires, 10)}
	}
	latest := now.Add(leeway).Unix()
	if t.issued > latest || t.notBefore > latest {
		return invalid("The token is not valid yet")
	}
	return nil
}

// verify reports whether one of the keys made the signature. A token may leave
// its key unnamed when the issuer has a single one.
func (t *Token) verify(keys []key) error {
	signed, err := jose.ParseSignedCompact(t.text, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(t.algorithm)})
	if err != nil {
		return invalid("The ID Token provided is not a valid JWT.").because(err)
	}
	tried := false
	for i := range keys {
		if !keys[i].fits(t, len(keys) == 1) {
			continue
		}
		tried = true
		if _, err := signed.Verify(keys[i].public); err == nil {
			return nil
		}
	}
	if !tried {
		return noKey()
	}
	return invalid("The web identity token could not be validated: its signature is wrong")
}

// audienceOf returns the audience under which the token is presented: the
// authorized party, when it names one, in place of aud.
//
// Source: IAM User Guide, "Available keys for AWS OIDC federation", aud.
func (t *Token) audienceOf(clientIDs []string) (string, bool) {
	if t.party != "" {
		return t.party, slices.Contains(clientIDs, t.party)
	}
	for _, a := range t.audiences {
		if slices.Contains(clientIDs, a) {
			return a, true
		}
	}
	return "", false
}

// key is a public key of an issuer.
type key struct {
	id        string
	algorithm string // "" when the issuer does not say
	public    any    // *rsa.PublicKey or *ecdsa.PublicKey
}

// fits reports whether the key may have signed the token; single says that the
// issuer has no other.
func (k *key) fits(t *Token, single bool) bool {
	if k.id != t.keyID && (t.keyID != "" || !single) {
		return false
	}
	if k.algorithm != "" && k.algorithm != t.algorithm {
		return false
	}
	curve := algorithms()[t.algorithm]
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return curve == nil
	case *ecdsa.PublicKey:
		return curve != nil && public.Curve == curve
	}
	return false
}

// Connection says why the issuer's server was believed, with CloudTrail's
// names.
type Connection string

// The ways to believe a server.
const (
	TrustStore Connection = "IAMTrustStore"
	Thumbprint Connection = "Thumbprint"
)

// Identity is who presented a token, proven. It is immutable.
type Identity struct {
	Issuer  string
	Subject string
	// Audience is the client id under which the token is presented.
	Audience string
	// Audiences are those of the aud claim, which an authorized party replaces.
	Audiences []string
	// Methods are those of the amr claim.
	Methods    []string
	Connection Connection

	claims map[string]json.RawMessage
}

// Claim decodes a claim into v. It reports whether the token has it, and an
// error when it has another form.
func (i *Identity) Claim(name string, v any) (bool, error) {
	raw, has := i.claims[name]
	if !has {
		return false, nil
	}
	return true, json.Unmarshal(raw, v)
}

// Claims lists the names of the token's claims in order.
func (i *Identity) Claims() []string { return slices.Sorted(maps.Keys(i.claims)) }
