package sigv4

import (
	"bytes"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const upperHex = "0123456789ABCDEF"

// unreserved reports whether RFC 3986 never requires c to be encoded.
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '_' || c == '.' || c == '~'
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// unpercent decodes the escape that s starts with.
func unpercent(s string) (byte, bool) {
	if len(s) < 3 {
		return 0, false
	}
	hi, ok1 := unhex(s[1])
	lo, ok2 := unhex(s[2])
	return hi<<4 | lo, ok1 && ok2
}

// unescape decodes percent-encoding and nothing else: "+" stays.
func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			d, ok := unpercent(s[i:])
			if !ok {
				return "", false
			}
			c = d
			i += 2
		}
		b = append(b, c)
	}
	return string(b), true
}

func appendPercent(dst []byte, c byte) []byte {
	return append(dst, '%', upperHex[c>>4], upperHex[c&15])
}

// appendReescaped decodes s and encodes it again in the one canonical way.
func appendReescaped(dst []byte, s string) ([]byte, bool) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			d, ok := unpercent(s[i:])
			if !ok {
				return dst, false
			}
			c = d
			i += 2
		}
		if unreserved(c) {
			dst = append(dst, c)
		} else {
			dst = appendPercent(dst, c)
		}
	}
	return dst, true
}

// requestTarget returns path and query as they stand in the request line. For
// a client's request it is what net/http will send.
func requestTarget(r *http.Request) (path, query string) {
	target := r.RequestURI
	if target == "" && r.URL != nil {
		target = r.URL.RequestURI()
	}
	if target != "" && target[0] != '/' {
		// Absolute form, or "*" of OPTIONS.
		if _, rest, ok := strings.Cut(target, "://"); ok {
			if i := strings.IndexAny(rest, "/?"); i >= 0 {
				target = rest[i:]
			} else {
				target = "/"
			}
		}
	}
	path, query, _ = strings.Cut(target, "?")
	if path == "" {
		path = "/"
	}
	return path, query
}

// appendPathS3 writes the canonical path of S3: decoded and encoded once, not
// normalised. An escaped slash stays "%2F" with keepSlash and becomes "/"
// without: clients sign either and both name the same object.
func appendPathS3(dst []byte, wire string, keepSlash bool) ([]byte, bool) {
	for i := 0; i < len(wire); i++ {
		c := wire[i]
		if c == '/' {
			dst = append(dst, c)
			continue
		}
		if c == '%' {
			d, ok := unpercent(wire[i:])
			if !ok {
				return dst, false
			}
			c = d
			i += 2
			if c == '/' && !keepSlash {
				dst = append(dst, c)
				continue
			}
		}
		if unreserved(c) {
			dst = append(dst, c)
		} else {
			dst = appendPercent(dst, c)
		}
	}
	return dst, true
}

func hasEscapedSlash(wire string) bool {
	return strings.Contains(wire, "%2F") || strings.Contains(wire, "%2f")
}

// appendPath writes the canonical path of every other service: normalised, then
// the wire form encoded again.
func appendPath(dst []byte, wire string) []byte {
	wire = NormalizePath(wire)
	for i := range len(wire) {
		if c := wire[i]; c == '/' || unreserved(c) {
			dst = append(dst, c)
		} else {
			dst = appendPercent(dst, c)
		}
	}
	return dst
}

// NormalizePath removes empty and dot segments from an escaped path, as the
// signature of every service but S3 does. Such services must route by the
// result, because it is all that the signature covers.
func NormalizePath(path string) string {
	if !strings.Contains(path, "//") && !strings.Contains(path, "/.") {
		if path == "" {
			return "/"
		}
		return path
	}
	var out []string
	for s := range strings.SplitSeq(path, "/") {
		switch s {
		case "", ".":
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		default:
			out = append(out, s)
		}
	}
	clean := "/" + strings.Join(out, "/")
	if len(out) > 0 && strings.HasSuffix(path, "/") {
		clean += "/"
	}
	return clean
}

// ParseQuery decodes a query string exactly as the signature reads it: "&" is
// the only separator, "+" is a plus sign, a missing "=" means an empty value,
// and a broken escape is an error instead of a dropped parameter.
func ParseQuery(raw string) (url.Values, error) {
	v := url.Values{}
	n := 0
	for p := range strings.SplitSeq(raw, "&") {
		if p == "" {
			continue
		}
		if n++; n > maxQueryParams {
			return nil, fail(Malformed, "The query has too many parameters.")
		}
		k, val, _ := strings.Cut(p, "=")
		k, ok1 := unescape(k)
		val, ok2 := unescape(val)
		if !ok1 || !ok2 {
			return nil, fail(Malformed, "The query is not valid percent-encoding.")
		}
		v[k] = append(v[k], val)
	}
	return v, nil
}

// appendQuery writes the canonical query. With presigned, X-Amz-Signature is
// left out; nothing else ever is.
func appendQuery(dst []byte, raw string, presigned bool) ([]byte, *Error) {
	if raw == "" {
		return dst, nil
	}
	type param struct{ key, value []byte }
	n := strings.Count(raw, "&") + 1
	if n > maxQueryParams {
		return dst, fail(Malformed, "The query has too many parameters.")
	}
	params := make([]param, 0, n)
	// Three bytes for each one is the longest encoding, so scratch never moves.
	scratch := make([]byte, 0, 3*len(raw))
	for p := range strings.SplitSeq(raw, "&") {
		if p == "" {
			continue
		}
		k, v, _ := strings.Cut(p, "=")
		from := len(scratch)
		var ok1, ok2 bool
		scratch, ok1 = appendReescaped(scratch, k)
		mid := len(scratch)
		scratch, ok2 = appendReescaped(scratch, v)
		if !ok1 || !ok2 {
			return dst, fail(Malformed, "The query is not valid percent-encoding.")
		}
		key, value := scratch[from:mid:mid], scratch[mid:]
		if presigned && string(key) == "X-Amz-Signature" {
			continue
		}
		params = append(params, param{key, value})
	}
	slices.SortFunc(params, func(a, b param) int {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		return bytes.Compare(a.value, b.value)
	})
	for i, p := range params {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = append(dst, p.key...)
		dst = append(dst, '=')
		dst = append(dst, p.value...)
	}
	return dst, nil
}

// appendTrimmed writes a header value without surrounding blanks and with runs
// of spaces squeezed to one.
func appendTrimmed(dst []byte, v string) []byte {
	v = strings.Trim(v, " \t")
	if !strings.Contains(v, "  ") {
		return append(dst, v...)
	}
	for i := range len(v) {
		if v[i] == ' ' && v[i-1] == ' ' { // v does not start with a space
			continue
		}
		dst = append(dst, v[i])
	}
	return dst
}

// headerValues returns the values of a lower-case header name, wherever
// net/http keeps them.
func headerValues(r *http.Request, name string) []string {
	if v, ok := r.Header[textproto.CanonicalMIMEHeaderKey(name)]; ok {
		return v
	}
	switch name {
	case "transfer-encoding":
		return r.TransferEncoding
	case "trailer":
		names := make([]string, 0, len(r.Trailer))
		for k := range r.Trailer {
			names = append(names, k)
		}
		slices.Sort(names)
		return names
	}
	for k, v := range r.Header {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return nil
}

func requestHost(r *http.Request) string {
	if r.Host == "" && r.URL != nil {
		return r.URL.Host
	}
	return r.Host
}

// canonicalForm is how one request is canonicalised.
type canonicalForm struct {
	path, query string   // as in the request line
	s3          bool     // path rules
	keepSlash   bool     // S3: sign "%2F" as it is
	presigned   bool     // leave X-Amz-Signature out
	headers     []string // signed ones: lower case, sorted
	payloadHash string
}

// append writes the canonical request of r.
func (f *canonicalForm) append(dst []byte, r *http.Request) ([]byte, *Error) {
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	dst = append(dst, method...)
	dst = append(dst, '\n')
	if f.s3 {
		var ok bool
		if dst, ok = appendPathS3(dst, f.path, f.keepSlash); !ok {
			return dst, fail(Malformed, "The path is not valid percent-encoding.")
		}
	} else {
		dst = appendPath(dst, f.path)
	}
	dst = append(dst, '\n')
	var e *Error
	if dst, e = appendQuery(dst, f.query, f.presigned); e != nil {
		return dst, e
	}
	dst = append(dst, '\n')
	for _, name := range f.headers {
		dst = append(dst, name...)
		dst = append(dst, ':')
		switch {
		case name == "host" || name == ":authority":
			dst = appendTrimmed(dst, requestHost(r))
		case name == "content-length" && r.ContentLength > 0:
			dst = strconv.AppendInt(dst, r.ContentLength, 10)
		default:
			for i, v := range headerValues(r, name) {
				if i > 0 {
					dst = append(dst, ',')
				}
				dst = appendTrimmed(dst, v)
			}
		}
		dst = append(dst, '\n')
	}
	dst = append(dst, '\n')
	for i, name := range f.headers {
		if i > 0 {
			dst = append(dst, ';')
		}
		dst = append(dst, name...)
	}
	dst = append(dst, '\n')
	return append(dst, f.payloadHash...), nil
}
