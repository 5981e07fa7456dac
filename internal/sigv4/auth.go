package sigv4

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Algorithm is the only signing algorithm that is accepted.
const Algorithm = "AWS4-HMAC-SHA256"

const (
	algorithmV4A = "AWS4-ECDSA-P256-SHA256"
	terminator   = "aws4_request"
	basicFormat  = "20060102T150405Z"

	maxAuthorization = 16 << 10 // bytes of an Authorization header
	maxToken         = 32 << 10 // bytes of a session token
	maxSignedHeaders = 256
	maxQueryParams   = 2048
	maxAccessKeyID   = 128
	maxScopePart     = 64

	maxPresign     = 7 * 24 * time.Hour
	defaultPresign = 15 * time.Minute // services other than S3, X-Amz-Expires absent
)

// Scope is a credential scope without its terminator.
type Scope struct {
	Date    string // YYYYMMDD
	Region  string
	Service string
}

// Auth is what a request says about who sent it. Inspect fills all but
// Credential and PayloadHash and believes nothing of it; Verify proves it.
type Auth struct {
	AccessKeyID string
	Scope       Scope
	// Presigned: the credentials are query parameters.
	Presigned bool
	// Anonymous: there are no credentials; nothing else is set.
	Anonymous bool
	// SignedHeaders are lower-case names in ascending order.
	SignedHeaders []string
	// Time is the time of signing.
	Time time.Time
	// Expires is how long a presigned request lives, 0 when it does not say.
	Expires time.Duration
	// PayloadHash is the last line of the canonical request: the body's
	// SHA-256 in hexadecimal, or one of S3's words for other bodies. Set by
	// Verify.
	PayloadHash string
	// Credential is the proven credential. Set by Verify.
	Credential *Credential

	token      string
	signature  string // hexadecimal, as sent
	amzDate    string // Time as it stands in the string to sign
	terminator string
	querySHA   string      // X-Amz-Content-Sha256 as a query parameter
	key        *signingKey // set by Verify, for chunk signatures
}

// Format writes who and for which scope, without token or signature.
func (a *Auth) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.describe()) }

// LogValue implements slog.LogValuer like Format.
func (a *Auth) LogValue() slog.Value { return slog.StringValue(a.describe()) }

func (a *Auth) describe() string {
	switch {
	case a == nil:
		return "sigv4.Auth(nil)"
	case a.Anonymous:
		return "sigv4.Auth(anonymous)"
	}
	return "sigv4.Auth(" + a.AccessKeyID + " " + a.Scope.Date + "/" + a.Scope.Region + "/" + a.Scope.Service + ")"
}

// HasSessionToken reports whether the request carries a session token.
func (a *Auth) HasSessionToken() bool { return a.token != "" }

// Inspect parses the credentials of r and verifies nothing. The Auth is never
// nil: together with an error it holds what could be read, so that a router can
// still tell the service from the scope. Errors are *Error with kind Malformed
// or UnsupportedAlgorithm.
func Inspect(r *http.Request) (*Auth, error) {
	a := new(Auth)
	_, query := requestTarget(r)
	var q presignParams
	if query != "" {
		if err := q.scan(query); err != nil {
			return a, err
		}
	}
	header := r.Header["Authorization"]
	switch {
	case len(header) > 1:
		return a, fail(Malformed, "The request has more than one Authorization header.")
	case len(header) == 1 && header[0] != "":
		if q.present() {
			return a, fail(Malformed, "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified")
		}
		return a, a.finish(a.fromHeader(r, header[0]))
	case q.present():
		a.Presigned = true
		return a, a.finish(a.fromQuery(r, &q))
	case q.seen&paramV2Key != 0 && q.seen&paramV2Signature != 0:
		return a, fail(UnsupportedAlgorithm, "The authorization mechanism you have provided is not supported. Please use "+Algorithm+".")
	}
	a.Anonymous = true
	return a, nil
}

// finish completes an error with what is known about the request.
func (a *Auth) finish(e *Error) error {
	if e == nil {
		return nil
	}
	return a.annotate(e)
}

func (a *Auth) annotate(e *Error) *Error {
	e.Presigned, e.AccessKeyID = a.Presigned, a.AccessKeyID
	return e
}

func (a *Auth) fromHeader(r *http.Request, h string) *Error {
	if len(h) > maxAuthorization {
		return fail(Malformed, "The Authorization header is too long.")
	}
	scheme, rest, _ := strings.Cut(strings.TrimSpace(h), " ")
	if scheme != Algorithm && scheme != algorithmV4A {
		return fail(UnsupportedAlgorithm, "The authorization mechanism you have provided is not supported. Please use "+Algorithm+".")
	}
	var credential, signedHeaders, signature string
	var haveC, haveH, haveS bool
	for part := range strings.SplitSeq(rest, ",") {
		part = strings.TrimSpace(part)
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			if part == "" && rest == "" {
				break
			}
			return fail(Malformed, "Authorization header has a part that is not a key=value pair.")
		}
		var dst *string
		var have *bool
		switch name {
		case "Credential":
			dst, have = &credential, &haveC
		case "SignedHeaders":
			dst, have = &signedHeaders, &haveH
		case "Signature":
			dst, have = &signature, &haveS
		default:
			return fail(Malformed, "Authorization header has an unknown parameter.")
		}
		if *have {
			return fail(Malformed, "Authorization header names '"+name+"' twice.")
		}
		*dst, *have = value, true
	}
	if missing := missingParams(haveC, haveS, haveH); missing != "" {
		return fail(Malformed, missing)
	}
	if scheme == algorithmV4A {
		a.scopeV4A(credential)
		return failV4A()
	}
	if e := a.parseCredential(credential); e != nil {
		return e
	}
	if e := a.parseSignature(signature); e != nil {
		return e
	}
	if e := a.parseSignedHeaders(signedHeaders); e != nil {
		return e
	}
	if e := a.parseToken(r.Header["X-Amz-Security-Token"]); e != nil {
		return e
	}
	return a.parseHeaderTime(r.Header)
}

func missingParams(credential, signature, signedHeaders bool) string {
	if credential && signature && signedHeaders {
		return ""
	}
	var b strings.Builder
	for _, p := range []struct {
		name string
		have bool
	}{{"Credential", credential}, {"Signature", signature}, {"SignedHeaders", signedHeaders}} {
		if !p.have {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteString("Authorization header requires '" + p.name + "' parameter.")
		}
	}
	return b.String()
}

func failV4A() *Error {
	return fail(UnsupportedAlgorithm, "Signature Version 4A ("+algorithmV4A+") is not supported. Please use "+Algorithm+".")
}

// scopeV4A reads the service of a Version 4A scope, which has no region, so
// that the refusal can be rendered in that service's protocol.
func (a *Auth) scopeV4A(credential string) {
	p := strings.Split(credential, "/")
	if len(p) == 4 && validAccessKeyID(p[0]) && validScopePart(p[2]) {
		a.AccessKeyID, a.Scope.Date, a.Scope.Service = p[0], p[1], p[2]
	}
}

const scopeShape = "a Credential must have the form ACCESS_KEY_ID/YYYYMMDD/REGION/SERVICE/aws4_request"

func (a *Auth) parseCredential(s string) *Error {
	var part [5]string
	n := 0
	for p := range strings.SplitSeq(s, "/") {
		if n == len(part) {
			n++
			break
		}
		part[n] = p
		n++
	}
	if n != len(part) {
		return fail(Malformed, "Credential is mal-formed: "+scopeShape+".")
	}
	if !validAccessKeyID(part[0]) || !validDate(part[1]) || !validScopePart(part[2]) || !validScopePart(part[3]) || len(part[4]) > maxScopePart {
		return fail(Malformed, "Credential is mal-formed: "+scopeShape+".")
	}
	a.AccessKeyID = part[0]
	a.Scope = Scope{Date: part[1], Region: part[2], Service: part[3]}
	a.terminator = part[4]
	return nil
}

func validAccessKeyID(s string) bool { return s != "" && len(s) <= maxAccessKeyID && wordly(s) }

func validScopePart(s string) bool { return s != "" && len(s) <= maxScopePart && wordly(s) }

// wordly reports whether s consists of letters, digits, '-', '_' and '.'.
func wordly(s string) bool {
	for i := range len(s) {
		if c := s[i]; !unreserved(c) || c == '~' {
			return false
		}
	}
	return true
}

func validDate(s string) bool {
	if len(s) != 8 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func (a *Auth) parseSignature(s string) *Error {
	// A signature of the wrong length is a wrong signature, not a broken
	// header; only the length is bounded here.
	if s == "" || len(s) > 512 {
		return fail(Malformed, "The Signature is empty or too long.")
	}
	a.signature = s
	return nil
}

func (a *Auth) parseSignedHeaders(s string) *Error {
	if s == "" {
		return fail(Malformed, "SignedHeaders is empty.")
	}
	n := strings.Count(s, ";") + 1
	if n > maxSignedHeaders {
		return fail(Malformed, "SignedHeaders names too many headers.")
	}
	names := make([]string, 0, n)
	for name := range strings.SplitSeq(s, ";") {
		if !validHeaderName(name) && name != ":authority" {
			return fail(Malformed, "SignedHeaders must be a list of lower-case header names separated by semicolons.")
		}
		names = append(names, name)
	}
	if !slices.IsSorted(names) {
		slices.Sort(names)
	}
	for i := 1; i < len(names); i++ {
		if names[i] == names[i-1] {
			return fail(Malformed, "SignedHeaders names a header twice.")
		}
	}
	a.SignedHeaders = names
	return nil
}

// validHeaderName reports whether s is an HTTP token without capitals.
func validHeaderName(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return true
}

func (a *Auth) parseToken(values []string) *Error {
	switch {
	case len(values) == 0:
		return nil
	case len(values) > 1:
		return fail(Malformed, "The request has more than one X-Amz-Security-Token.")
	case len(values[0]) > maxToken:
		return fail(Malformed, "The X-Amz-Security-Token is too long.")
	}
	a.token = values[0]
	return nil
}

const badDate = "Date must be in ISO-8601 'basic format' (YYYYMMDD'T'HHMMSS'Z')."

func (a *Auth) parseHeaderTime(h http.Header) *Error {
	amz, date := h["X-Amz-Date"], h["Date"]
	switch {
	case len(amz) > 1 || (len(amz) == 0 && len(date) > 1):
		return fail(Malformed, "The request has more than one date.")
	case len(amz) == 1:
		t, ok := parseBasic(amz[0])
		if !ok {
			return fail(Malformed, badDate)
		}
		a.Time, a.amzDate = t, amz[0]
		return nil
	case len(date) == 1:
		if t, ok := parseBasic(date[0]); ok {
			a.Time, a.amzDate = t, date[0]
			return nil
		}
		t, err := http.ParseTime(date[0])
		if err != nil {
			t, err = time.Parse(time.RFC1123Z, date[0])
		}
		if err != nil || t.UTC().Year() < 0 || t.UTC().Year() > 9999 {
			return fail(Malformed, badDate)
		}
		a.Time = t.UTC()
		a.amzDate = a.Time.Format(basicFormat)
		return nil
	}
	return fail(Malformed, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
}

// parseBasic reads YYYYMMDDTHHMMSSZ. There is one spelling of each instant, so
// the text itself can stand in the string to sign.
func parseBasic(s string) (time.Time, bool) {
	if len(s) != 16 || s[8] != 'T' || s[15] != 'Z' {
		return time.Time{}, false
	}
	num := func(from, to int) int {
		n := 0
		for _, c := range []byte(s[from:to]) {
			if c < '0' || c > '9' {
				return -1 << 20
			}
			n = n*10 + int(c-'0')
		}
		return n
	}
	y, mo, d, h, mi, sec := num(0, 4), num(4, 6), num(6, 8), num(9, 11), num(11, 13), num(13, 15)
	if y < 0 || mo < 1 || mo > 12 || d < 1 || d > 31 || h < 0 || h > 23 || mi < 0 || mi > 59 || sec < 0 || sec > 59 {
		return time.Time{}, false
	}
	t := time.Date(y, time.Month(mo), d, h, mi, sec, 0, time.UTC)
	return t, t.Day() == d
}

const (
	paramAlgorithm = 1 << iota
	paramCredential
	paramDate
	paramExpires
	paramSignedHeaders
	paramSignature
	paramToken
	paramContentSHA
	paramV2Key
	paramV2Signature
)

// presignParams are the query parameters that concern signing, decoded.
type presignParams struct {
	seen                                        int
	algorithm, credential, date, expires        string
	signedHeaders, signature, token, contentSHA string
}

func (q *presignParams) present() bool {
	return q.seen&(paramAlgorithm|paramCredential|paramSignature) != 0
}

func (q *presignParams) scan(raw string) error {
	n := 0
	for p := range strings.SplitSeq(raw, "&") {
		if n++; n > maxQueryParams {
			return fail(Malformed, "The query has too many parameters.")
		}
		k, v, _ := strings.Cut(p, "=")
		if strings.IndexByte(k, '%') >= 0 {
			d, ok := unescape(k)
			if !ok {
				continue // refused when the query is canonicalised
			}
			k = d
		}
		var bit int
		var dst *string
		switch k {
		case "X-Amz-Algorithm":
			bit, dst = paramAlgorithm, &q.algorithm
		case "X-Amz-Credential":
			bit, dst = paramCredential, &q.credential
		case "X-Amz-Date":
			bit, dst = paramDate, &q.date
		case "X-Amz-Expires":
			bit, dst = paramExpires, &q.expires
		case "X-Amz-SignedHeaders":
			bit, dst = paramSignedHeaders, &q.signedHeaders
		case "X-Amz-Signature":
			bit, dst = paramSignature, &q.signature
		case "X-Amz-Security-Token":
			bit, dst = paramToken, &q.token
		case "X-Amz-Content-Sha256", "x-amz-content-sha256":
			bit, dst = paramContentSHA, &q.contentSHA
		case "AWSAccessKeyId":
			q.seen |= paramV2Key
			continue
		case "Signature":
			q.seen |= paramV2Signature
			continue
		default:
			continue
		}
		if q.seen&bit != 0 {
			return &Error{Kind: Malformed, Presigned: true, Message: "The query names " + k + " twice."}
		}
		d, ok := unescape(v)
		if !ok {
			return &Error{Kind: Malformed, Presigned: true, Message: "The query parameter " + k + " is not valid percent-encoding."}
		}
		q.seen |= bit
		*dst = d
	}
	return nil
}

func (a *Auth) fromQuery(r *http.Request, q *presignParams) *Error {
	const all = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
	if q.seen&paramAlgorithm == 0 || q.seen&paramCredential == 0 {
		return fail(Malformed, all)
	}
	switch q.algorithm {
	case Algorithm:
	case algorithmV4A:
		a.scopeV4A(q.credential)
		return failV4A()
	default:
		return fail(UnsupportedAlgorithm, "X-Amz-Algorithm only supports \""+Algorithm+"\"")
	}
	if e := a.parseCredential(q.credential); e != nil {
		return e
	}
	const need = paramDate | paramSignedHeaders | paramSignature
	if q.seen&need != need {
		return fail(Malformed, all)
	}
	if e := a.parseSignature(q.signature); e != nil {
		return e
	}
	if e := a.parseSignedHeaders(q.signedHeaders); e != nil {
		return e
	}
	t, ok := parseBasic(q.date)
	if !ok {
		return fail(Malformed, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
	}
	a.Time, a.amzDate = t, q.date
	if q.seen&paramExpires != 0 {
		n, err := strconv.Atoi(q.expires)
		switch {
		case err != nil:
			return fail(Malformed, "X-Amz-Expires should be a number")
		case n < 1:
			return fail(Malformed, "X-Amz-Expires must be at least 1 second")
		case n > int(maxPresign/time.Second):
			return fail(Malformed, "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
		}
		a.Expires = time.Duration(n) * time.Second
	}
	a.querySHA = q.contentSHA
	if q.seen&paramToken != 0 {
		if len(q.token) > maxToken {
			return fail(Malformed, "The X-Amz-Security-Token is too long.")
		}
		a.token = q.token
		return nil
	}
	return a.parseToken(r.Header["X-Amz-Security-Token"])
}
