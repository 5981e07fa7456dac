package envelope

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"time"
)

// Purpose separates the kinds of tokens: each has keys of its own, so that a
// token of one kind opens at no other door.
type Purpose string

// The token purposes.
const (
	SessionToken Purpose = "session" // STS temporary credentials
	GrantToken   Purpose = "grant"
	PageToken    Purpose = "page"
	ImportToken  Purpose = "import" // of key material into KMS
	// AuthorizationMessage is why a request was denied, for sts:DecodeAuthorizationMessage.
	AuthorizationMessage Purpose = "authorization"
)

// Token errors. An expired token of ours is told apart from a foreign one.
var (
	ErrToken        = errors.New("not a token of this service")
	ErrTokenExpired = errors.New("the token has expired")
)

// maxToken bounds a token, in characters.
const maxToken = 64 << 10

// Token is the readable, authenticated part of a sealed token.
type Token struct {
	Account, Region string
	Expires         time.Time // second precision; zero = never
	Payload         []byte
}

// aad is what a token is bound to: purpose|account|region|expiry.
func (t *Token) aad(p Purpose) []byte {
	b := append([]byte(p), '|')
	b = append(append(b, t.Account...), '|')
	b = append(append(b, t.Region...), '|')
	return binary.BigEndian.AppendUint64(b, t.expiry())
}

func (t *Token) expiry() uint64 {
	if t.Expires.IsZero() {
		return 0
	}
	return uint64(t.Expires.Unix())
}

// SealToken returns the token as URL-safe text:
// version (1) | account length (1), account | region length (1), region | expiry (8) | sealed payload.
func (k *Keyring) SealToken(p Purpose, t Token) (string, error) {
	if len(t.Account) > 255 || len(t.Region) > 255 {
		return "", ErrToken
	}
	sealed, err := k.Seal("token/"+string(p), t.aad(p), t.Payload)
	if err != nil {
		return "", err
	}
	b := []byte{1, byte(len(t.Account))}
	b = append(b, t.Account...)
	b = append(append(b, byte(len(t.Region))), t.Region...)
	b = binary.BigEndian.AppendUint64(b, t.expiry())
	return base64.RawURLEncoding.EncodeToString(append(b, sealed...)), nil
}

// OpenToken opens a token of purpose p. Errors: ErrToken; ErrTokenExpired with
// the token's contents.
func (k *Keyring) OpenToken(p Purpose, text string, now time.Time) (Token, error) {
	if len(text) > maxToken || strings.ContainsAny(text, "\r\n") { // line breaks, which the decoder skips
		return Token{}, ErrToken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return Token{}, ErrToken
	}
	t, sealed, ok := parseToken(b)
	if !ok {
		return Token{}, ErrToken
	}
	if t.Payload, err = k.Open("token/"+string(p), t.aad(p), sealed); err != nil {
		return Token{}, ErrToken
	}
	if !t.Expires.IsZero() && !now.Before(t.Expires) {
		return t, ErrTokenExpired
	}
	return t, nil
}

func parseToken(b []byte) (t Token, sealed []byte, ok bool) {
	if len(b) < 1 || b[0] != 1 {
		return t, nil, false
	}
	b = b[1:]
	for _, field := range []*string{&t.Account, &t.Region} {
		if len(b) < 1 || len(b) < 1+int(b[0]) {
			return t, nil, false
		}
		*field = string(b[1 : 1+int(b[0])])
		b = b[1+int(b[0]):]
	}
	if len(b) < 8 {
		return t, nil, false
	}
	if e := binary.BigEndian.Uint64(b); e != 0 {
		t.Expires = time.Unix(int64(e), 0).UTC()
	}
	return t, b[8:], true
}
