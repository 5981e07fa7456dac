package sigv4

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Values of x-amz-content-sha256 that are not a hash.
const (
	UnsignedPayload          = "UNSIGNED-PAYLOAD"
	StreamingPayload         = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	StreamingPayloadTrailer  = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	StreamingUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

const (
	streamingV4A        = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
	streamingV4ATrailer = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER"

	// EmptySHA256 is the hash of an empty body.
	EmptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

	skewS3    = 15 * time.Minute
	skewOther = 5 * time.Minute
)

// Options say how one request is verified.
type Options struct {
	// S3 selects S3's rules for path, payload hash and time.
	S3 bool
	// Body is the whole request body of a service other than S3.
	Body []byte
	// Service is what the credential scope must name; "" accepts any.
	Service string
	// Region is what the credential scope must name; "" accepts any, which
	// is right for a server of every region and for the global services.
	Region string
}

// Verifier verifies requests. Lookup must be set; the rest may be zero. It must
// not be copied after first use and may be used concurrently.
type Verifier struct {
	// Lookup finds credentials.
	Lookup Lookup
	// Now is the clock, time.Now when nil.
	Now func() time.Time

	keys keyCache
	bufs sync.Pool // *[]byte, scratch for canonical requests
}

func (v *Verifier) now() time.Time {
	if v.Now != nil {
		return v.Now().UTC()
	}
	return time.Now().UTC()
}

// Verify proves a, which Inspect returned for the same r, and sets its
// Credential and PayloadHash. It does not read r.Body.
//
// Errors are *Error; any other error is a failure of Lookup. An anonymous
// request gives MissingAuth: who allows those does not call Verify.
func (v *Verifier) Verify(ctx context.Context, r *http.Request, a *Auth, opts Options) error {
	if a.Anonymous {
		return fail(MissingAuth, "Missing Authentication Token")
	}
	if e := v.check(r, a, &opts); e != nil {
		return a.annotate(e)
	}
	cred, err := v.credential(ctx, a, opts.S3)
	if err != nil {
		return err
	}
	if e := v.signature(r, a, cred, &opts); e != nil {
		return a.annotate(e)
	}
	a.Credential = cred
	return nil
}

// check does everything that needs no key.
func (v *Verifier) check(r *http.Request, a *Auth, opts *Options) *Error {
	if e := checkScope(a, opts); e != nil {
		return e
	}
	if e := v.checkTime(a, opts.S3); e != nil {
		return e
	}
	if e := checkSignedHeaders(r, a); e != nil {
		return e
	}
	if opts.S3 {
		return payloadHashS3(r, a)
	}
	return payloadHash(r, a, opts.Body)
}

func checkScope(a *Auth, opts *Options) *Error {
	switch {
	case a.terminator != terminator:
		return fail(WrongScope, "Credential should be scoped with a valid terminator: '"+terminator+"', not '"+a.terminator+"'.")
	case opts.Service != "" && a.Scope.Service != opts.Service:
		return fail(WrongScope, "Credential should be scoped to correct service: '"+opts.Service+"'.")
	case a.Scope.Date != a.amzDate[:8]:
		return fail(WrongScope, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '"+
			a.Scope.Date+"' != '"+a.amzDate[:8]+"', from '"+a.amzDate+"'.")
	case opts.Region != "" && a.Scope.Region != opts.Region:
		e := fail(WrongScope, "Credential should be scoped to a valid region.")
		if opts.S3 {
			e.Message = "The authorization header is malformed; the region '" + a.Scope.Region + "' is wrong; expecting '" + opts.Region + "'"
		}
		e.Region = opts.Region
		return e
	}
	return nil
}

func (v *Verifier) checkTime(a *Auth, s3 bool) *Error {
	now := v.now().Truncate(time.Second)
	skew := skewOther
	if s3 {
		skew = skewS3
	}
	if a.Presigned {
		return checkPresignedTime(a, s3, now, skew)
	}
	early, late := a.Time.Before(now.Add(-skew)), a.Time.After(now.Add(skew))
	if !early && !late {
		return nil
	}
	e := &Error{Kind: Skewed, RequestTime: a.Time, ServerTime: now, MaxSkew: skew}
	switch {
	case s3:
		e.Message = "The difference between the request time and the current time is too large."
	case early:
		e.Message = expiredText(a.amzDate, now, skew)
	default:
		e.Message = notYetText(a.amzDate, now, skew)
	}
	return e
}

func checkPresignedTime(a *Auth, s3 bool, now time.Time, skew time.Duration) *Error {
	life := a.Expires
	if life == 0 {
		if s3 {
			return fail(Malformed, "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
		}
		life = defaultPresign
	}
	e := &Error{Kind: Expired, RequestTime: a.Time, ServerTime: now, MaxSkew: skew, ExpiresAt: a.Time.Add(life)}
	switch {
	case a.Time.After(now.Add(skew)):
		e.Message = notYetText(a.amzDate, now, skew)
		if s3 {
			e.Message = "Request is not yet valid"
		}
		return e
	case now.After(e.ExpiresAt):
		e.Message = expiredText(a.amzDate, now, life)
		if s3 {
			e.Message = "Request has expired"
		}
		return e
	}
	return nil
}

func expiredText(at string, now time.Time, d time.Duration) string {
	return "Signature expired: " + at + " is now earlier than " + now.Add(-d).Format(basicFormat) + " (" + now.Format(basicFormat) + " - " + span(d) + ")"
}

func notYetText(at string, now time.Time, d time.Duration) string {
	return "Signature not yet current: " + at + " is still later than " + now.Add(d).Format(basicFormat) + " (" + now.Format(basicFormat) + " + " + span(d) + ")"
}

func span(d time.Duration) string {
	if d%time.Minute == 0 {
		return strconv.Itoa(int(d/time.Minute)) + " min."
	}
	return strconv.Itoa(int(d/time.Second)) + " sec."
}

// checkSignedHeaders wants host and every x-amz-* header signed. The session
// token may be added after signing.
func checkSignedHeaders(r *http.Request, a *Auth) *Error {
	if !signed(a, "host") && !signed(a, ":authority") {
		e := fail(UnsignedHeaders, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
		e.Headers = []string{"host"}
		return e
	}
	var missing []string
	for k := range r.Header {
		if len(k) < 6 || (k[0] != 'X' && k[0] != 'x') || !strings.EqualFold(k[:6], "x-amz-") {
			continue
		}
		if !signedFold(a, k) && !strings.EqualFold(k, "X-Amz-Security-Token") {
			missing = append(missing, strings.ToLower(k))
		}
	}
	if missing == nil {
		return nil
	}
	slices.Sort(missing)
	e := fail(UnsignedHeaders, "There were headers present in the request which were not signed")
	e.Headers = missing
	return e
}

func signed(a *Auth, name string) bool {
	_, ok := slices.BinarySearch(a.SignedHeaders, name)
	return ok
}

// signedFold is signed for a name in any case, without making a lower-case copy.
func signedFold(a *Auth, name string) bool {
	for _, s := range a.SignedHeaders {
		if len(s) == len(name) && strings.EqualFold(s, name) {
			return true
		}
	}
	return false
}

// payloadHash hashes the body; a hash in the header must agree with it.
func payloadHash(r *http.Request, a *Auth, body []byte) *Error {
	a.PayloadHash = EmptySHA256
	if len(body) > 0 {
		var text [2 * sha256.Size]byte
		sum := sha256.Sum256(body)
		hex.Encode(text[:], sum[:])
		a.PayloadHash = string(text[:])
	}
	for _, h := range r.Header["X-Amz-Content-Sha256"] {
		if isSHA256(h) && !strings.EqualFold(h, a.PayloadHash) {
			return &Error{
				Kind: BodyHash, Message: "The provided 'x-amz-content-sha256' header does not match what was computed.",
				ClientSHA256: h, ComputedSHA256: a.PayloadHash,
			}
		}
	}
	return nil
}

// payloadHashS3 takes the hash that the client declares.
func payloadHashS3(r *http.Request, a *Auth) *Error {
	h := r.Header["X-Amz-Content-Sha256"]
	switch {
	case len(h) > 1:
		return fail(InvalidArgument, "The request has more than one x-amz-content-sha256.")
	case len(h) == 1: // signed, or checkSignedHeaders had refused
		a.PayloadHash = h[0]
	case !a.Presigned:
		return fail(InvalidRequest, "Missing required header for this request: x-amz-content-sha256")
	case a.querySHA != "":
		a.PayloadHash = a.querySHA
	default:
		a.PayloadHash = UnsignedPayload
	}
	return checkPayloadHash(a.PayloadHash)
}

func checkPayloadHash(h string) *Error {
	switch h {
	case UnsignedPayload, StreamingPayload, StreamingPayloadTrailer, StreamingUnsignedTrailer:
		return nil
	case streamingV4A, streamingV4ATrailer:
		return failV4A()
	}
	if !isSHA256(h) {
		return fail(InvalidArgument, "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, "+StreamingUnsignedTrailer+", "+StreamingPayload+", "+StreamingPayloadTrailer+" or a valid sha256 value.")
	}
	return nil
}

func isSHA256(s string) bool {
	if len(s) != 2*sha256.Size {
		return false
	}
	for i := range len(s) {
		if _, ok := unhex(s[i]); !ok {
			return false
		}
	}
	return true
}

// credential looks the key up and checks that the token belongs to it.
func (v *Verifier) credential(ctx context.Context, a *Auth, s3 bool) (*Credential, error) {
	cred, err := v.Lookup(ctx, a.AccessKeyID, a.token)
	kind := Kind(0)
	switch {
	case err == nil && cred == nil, errors.Is(err, ErrUnknownKey), errors.Is(err, ErrInactive):
		kind = UnknownKey
	case errors.Is(err, ErrTokenExpired):
		kind = TokenExpired
	case errors.Is(err, ErrTokenInvalid):
		kind = TokenInvalid
	case err != nil:
		return nil, fmt.Errorf("look up access key: %w", err)
	case cred.SessionToken != "" && a.token == "":
		kind = UnknownKey
	case subtle.ConstantTimeCompare([]byte(cred.SessionToken), []byte(a.token)) != 1:
		kind = TokenInvalid
	case !cred.Expires.IsZero() && !v.now().Before(cred.Expires):
		kind = TokenExpired
	default:
		return cred, nil
	}
	e := &Error{Kind: kind, cause: err}
	switch {
	case kind == TokenExpired && s3:
		e.Message = "The provided token has expired."
	case kind == TokenExpired:
		e.Message = "The security token included in the request is expired"
	case kind == TokenInvalid && s3:
		e.Message = "The provided token is malformed or otherwise invalid."
	case s3:
		e.Message = "The AWS Access Key Id you provided does not exist in our records."
	default:
		e.Message = "The security token included in the request is invalid."
	}
	return nil, a.annotate(e)
}

// signature computes what the signature should be and compares.
func (v *Verifier) signature(r *http.Request, a *Auth, cred *Credential, opts *Options) *Error {
	id := keyID{a.AccessKeyID, a.Scope}
	fingerprint := sha256.Sum256([]byte(cred.Secret))
	key := v.keys.get(id, &fingerprint)
	cached := key != nil
	if !cached {
		key = deriveKey(cred.Secret, a.Scope)
	}
	form := canonicalForm{s3: opts.S3, presigned: a.Presigned, headers: a.SignedHeaders, payloadHash: a.PayloadHash}
	form.path, form.query = requestTarget(r)
	form.keepSlash = opts.S3 && hasEscapedSlash(form.path)

	scratch, _ := v.bufs.Get().(*[]byte)
	if scratch == nil {
		scratch = new([]byte)
	}
	defer v.bufs.Put(scratch)

	var wrong *Error
	for {
		canonical, e := form.append((*scratch)[:0], r)
		if e != nil {
			*scratch = canonical
			return e
		}
		n := len(canonical)
		both := appendStringToSign(canonical, a.amzDate, a.Scope, canonical)
		*scratch = both
		sig := key.sign(both[n:])
		if subtle.ConstantTimeCompare(sig[:], []byte(a.signature)) == 1 {
			break
		}
		if wrong == nil {
			wrong = &Error{
				Kind: BadSignature, Message: mismatchText(opts.S3), SignatureProvided: a.signature,
				CanonicalRequest: string(both[:n]), StringToSign: string(both[n:]),
			}
		}
		if !form.keepSlash {
			return wrong
		}
		form.keepSlash = false
	}
	if !cached {
		v.keys.put(id, &fingerprint, key)
	}
	a.key = key
	return nil
}

func mismatchText(s3 bool) string {
	if s3 {
		return "The request signature we calculated does not match the signature you provided. Check your key and signing method."
	}
	return "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
}
