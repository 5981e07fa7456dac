package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// serviceS3 is the service name whose requests Sign and Presign treat by S3's
// rules.
const serviceS3 = "s3"

// Sign signs r, whose body is body, for the Authorization header and sets
// X-Amz-Date, X-Amz-Security-Token when cred has a token, and for service "s3"
// X-Amz-Content-Sha256. A value of the latter that r already has is kept: that
// is how UNSIGNED-PAYLOAD and the streaming forms are signed. Every header but
// those that transports change is signed. It fails for a request target that is
// not valid percent-encoding; then r is not signed.
func Sign(r *http.Request, body []byte, cred Credential, region, service string, t time.Time) error {
	a := &Auth{AccessKeyID: cred.AccessKeyID, amzDate: t.UTC().Format(basicFormat)}
	a.Scope = Scope{a.amzDate[:8], region, service}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	h := r.Header
	h.Del("Authorization")
	h.Set("X-Amz-Date", a.amzDate)
	h.Del("X-Amz-Security-Token")
	if cred.SessionToken != "" {
		h.Set("X-Amz-Security-Token", cred.SessionToken)
	}
	sum := sha256.Sum256(body)
	a.PayloadHash = hex.EncodeToString(sum[:])
	if service == serviceS3 {
		if declared := h.Get("X-Amz-Content-Sha256"); declared != "" {
			a.PayloadHash = declared
		} else {
			h.Set("X-Amz-Content-Sha256", a.PayloadHash)
		}
	}
	a.SignedHeaders = headersToSign(h)
	path, query := requestTarget(r)
	if err := a.sign(r, path, query, cred.Secret); err != nil {
		return err
	}
	b := append([]byte(nil), Algorithm+" Credential="+a.AccessKeyID+"/"...)
	b = appendScope(b, a.Scope)
	b = append(b, ", SignedHeaders="+strings.Join(a.SignedHeaders, ";")+", Signature="+a.signature...)
	h.Set("Authorization", string(b))
	return nil
}

// Presign returns the URL of r with credentials that hold for expires (1 second
// to 7 days) from t. The headers of r are signed and must be sent with the
// request. The body is UNSIGNED-PAYLOAD for service "s3" and must be empty for
// every other service.
func Presign(r *http.Request, cred Credential, region, service string, expires time.Duration, t time.Time) (string, error) {
	if expires < time.Second || expires > maxPresign {
		return "", errors.New("sigv4: a presigned request lives from 1 second to 7 days")
	}
	if r.URL == nil {
		return "", errors.New("sigv4: the request has no URL")
	}
	a := &Auth{AccessKeyID: cred.AccessKeyID, Presigned: true, PayloadHash: EmptySHA256, amzDate: t.UTC().Format(basicFormat)}
	if service == serviceS3 {
		a.PayloadHash = UnsignedPayload
		if declared := r.Header.Get("X-Amz-Content-Sha256"); declared != "" {
			a.PayloadHash = declared
		}
	}
	a.Scope = Scope{a.amzDate[:8], region, service}
	a.SignedHeaders = headersToSign(r.Header)

	path, query := requestTarget(r)
	b := []byte(query)
	add := func(name, value string) {
		if len(b) > 0 {
			b = append(b, '&')
		}
		b = append(b, name...)
		b = append(b, '=')
		for i := range len(value) {
			if c := value[i]; unreserved(c) {
				b = append(b, c)
			} else {
				b = appendPercent(b, c)
			}
		}
	}
	add("X-Amz-Algorithm", Algorithm)
	add("X-Amz-Credential", string(appendScope([]byte(a.AccessKeyID+"/"), a.Scope)))
	add("X-Amz-Date", a.amzDate)
	add("X-Amz-Expires", strconv.Itoa(int(expires/time.Second)))
	if cred.SessionToken != "" {
		add("X-Amz-Security-Token", cred.SessionToken)
	}
	add("X-Amz-SignedHeaders", strings.Join(a.SignedHeaders, ";"))
	canonical, e := appendQuery(nil, string(b), true)
	if e != nil {
		return "", fmt.Errorf("presign: %w", e)
	}
	if err := a.sign(r, path, string(canonical), cred.Secret); err != nil {
		return "", err
	}
	return r.URL.Scheme + "://" + requestHost(r) + path + "?" + string(canonical) + "&X-Amz-Signature=" + a.signature, nil
}

// sign sets a.signature.
func (a *Auth) sign(r *http.Request, path, query, secret string) error {
	form := canonicalForm{
		path: path, query: query, s3: a.Scope.Service == serviceS3, keepSlash: true,
		presigned: a.Presigned, headers: a.SignedHeaders, payloadHash: a.PayloadHash,
	}
	canonical, e := form.append(nil, r)
	if e != nil {
		return fmt.Errorf("sign: %w", e)
	}
	sig := deriveKey(secret, a.Scope).sign(appendStringToSign(nil, a.amzDate, a.Scope, canonical))
	a.signature = string(sig[:])
	return nil
}

// headersToSign returns host and the lower-case names of h, sorted, without
// those that a transport adds or changes.
func headersToSign(h http.Header) []string {
	names := []string{"host"}
	for k := range h {
		k = strings.ToLower(k)
		switch k {
		case "host", "authorization", "user-agent", "x-amzn-trace-id", "expect", "transfer-encoding",
			"connection", "content-length", "accept-encoding", "trailer", "te", "upgrade", "keep-alive":
			continue
		}
		if !slices.Contains(names, k) {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	return names
}
