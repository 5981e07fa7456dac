package s3

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
)

const (
	maxKeyLength = 1024    // bytes of an object key
	maxMetadata  = 2 << 10 // bytes of names and values together
	maxTags      = 10
	maxTagKey    = 128 // characters
	maxTagValue  = 256

	defaultContentType = "binary/octet-stream"
	// httpTime is the format of dates in headers.
	httpTime = "Mon, 02 Jan 2006 15:04:05 GMT"
)

// objectHeaders are the members of a write that become an object's headers, or
// that ask for what we do not have.
type objectHeaders struct {
	contentType, cacheControl, disposition, encoding, language, expires, redirect, tagging *string
	metadata                                                                               map[string]string
	acl                                                                                    s3api.ObjectCannedACL
	grants                                                                                 []*string
	storage                                                                                s3api.StorageClass
	lockMode                                                                               s3api.ObjectLockMode
	legalHold                                                                              s3api.ObjectLockLegalHoldStatus
	retainUntil                                                                            *time.Time
}

// row judges the headers and returns what to keep.
//
// Errors: MetadataTooLarge, InvalidTag, InvalidStorageClass,
// AccessControlListNotSupported, InvalidRequest, InvalidRedirectLocation.
func (h *objectHeaders) row() (headersRow, error) {
	var r headersRow
	if err := h.supported(); err != nil {
		return r, err
	}
	size := 0
	for k, v := range h.metadata {
		size += len(k) + len(v)
	}
	if size > maxMetadata {
		return r, s3api.MetadataTooLarge("Your metadata headers exceed the maximum allowed metadata size").
			With("Size", strconv.Itoa(size)).With("MaxSizeAllowed", strconv.Itoa(maxMetadata))
	}
	r = headersRow{
		ContentType: text(h.contentType), CacheControl: text(h.cacheControl), ContentDisposition: text(h.disposition),
		ContentEncoding: storedEncoding(text(h.encoding)), ContentLanguage: text(h.language), Expires: text(h.expires),
		Redirect: text(h.redirect), Metadata: h.metadata,
	}
	if r.ContentType == "" {
		r.ContentType = defaultContentType
	}
	if h.tagging != nil {
		var err error
		r.Tags, err = parseTags(*h.tagging)
		return r, err
	}
	return r, nil
}

func (h *objectHeaders) supported() error {
	if h.acl != "" && h.acl != "private" && h.acl != "bucket-owner-full-control" ||
		slices.ContainsFunc(h.grants, func(g *string) bool { return g != nil }) {
		return aclError()
	}
	if h.storage != "" && h.storage != s3api.StorageClass("STANDARD") {
		return schema.NewError("InvalidStorageClass", 400, "The storage class you specified is not valid").With("StorageClassRequested", string(h.storage))
	}
	if h.lockMode != "" || h.legalHold != "" || h.retainUntil != nil {
		return s3api.InvalidRequest("Bucket is missing Object Lock Configuration")
	}
	if to := text(h.redirect); to != "" && !strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "http://") && !strings.HasPrefix(to, "https://") {
		return schema.NewError("InvalidRedirectLocation", 400, "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.")
	}
	return nil
}

func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// optional is the opposite of text.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// storedEncoding drops aws-chunked, which describes the transfer only.
func storedEncoding(header string) string {
	var kept []string
	for e := range strings.SplitSeq(header, ",") {
		if e = strings.TrimSpace(e); e != "" && !strings.EqualFold(e, "aws-chunked") {
			kept = append(kept, e)
		}
	}
	return strings.Join(kept, ",")
}

// parseTags reads the x-amz-tagging header: URL-encoded pairs.
//
// Errors: InvalidArgument, InvalidTag.
func parseTags(header string) ([]tag, error) {
	if header == "" {
		return nil, nil
	}
	if len(header) > 16<<10 {
		return nil, s3api.InvalidArgument("The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
	}
	var tags []tag
	for pair := range strings.SplitSeq(header, "&") {
		k, v, _ := strings.Cut(pair, "=")
		key, err1 := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(v)
		if err1 != nil || err2 != nil || key == "" || !utf8.ValidString(key) || !utf8.ValidString(value) ||
			slices.ContainsFunc(tags, func(t tag) bool { return t.Key == key }) {
			return nil, s3api.InvalidArgument("The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.").
				With("ArgumentName", "x-amz-tagging")
		}
		switch {
		case utf8.RuneCountInString(key) > maxTagKey:
			return nil, s3api.InvalidTag("The TagKey you have provided is invalid").With("TagKey", key)
		case utf8.RuneCountInString(value) > maxTagValue:
			return nil, s3api.InvalidTag("The TagValue you have provided is invalid").With("TagKey", key)
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			return nil, s3api.InvalidTag("Your TagKey cannot be prefixed with aws:").With("TagKey", key)
		}
		tags = append(tags, tag{Key: key, Value: value})
	}
	if len(tags) > maxTags {
		return nil, s3api.InvalidRequest("Object tags cannot be greater than %d", maxTags)
	}
	return tags, nil
}

// checkKey applies the limits of object keys.
func checkKey(key string) error {
	if len(key) > maxKeyLength {
		return s3api.KeyTooLongError("Your key is too long").
			With("Size", strconv.Itoa(len(key))).With("MaxSizeAllowed", strconv.Itoa(maxKeyLength))
	}
	if key == "" {
		return s3api.InvalidArgument("The object key must not be empty")
	}
	if !utf8.ValidString(key) {
		return s3api.InvalidURI("Couldn't parse the specified URI.")
	}
	return nil
}

// checkVersion accepts the one version that objects have here.
func checkVersion(id *string) error {
	if id != nil && *id != "" && *id != "null" {
		return invalidArgument("versionId", *id, "Invalid version id specified")
	}
	return nil
}

// byteRange is a part of a body.
type byteRange struct{ offset, length int64 }

// parseRange reads a Range header for a body of the given size. A header that
// is no single range of bytes is ignored, as if it had not been sent.
//
// Errors: InvalidRange.
//
// Source: RFC 9110, section 14; S3 API Reference, GetObject.
func parseRange(header string, size int64) (r byteRange, partial bool, err error) {
	whole := byteRange{length: size}
	set, ok := strings.CutPrefix(header, "bytes=")
	if !ok || strings.Contains(set, ",") {
		return whole, false, nil
	}
	first, last, ok := strings.Cut(strings.TrimSpace(set), "-")
	if !ok {
		return whole, false, nil
	}
	if first == "" {
		n, ok := decimal(last)
		if !ok {
			return whole, false, nil
		}
		if n == 0 || size == 0 {
			return whole, false, invalidRange(header, size)
		}
		n = min(n, size)
		return byteRange{offset: size - n, length: n}, true, nil
	}
	from, ok := decimal(first)
	if !ok {
		return whole, false, nil
	}
	to := size - 1
	if last != "" {
		n, ok := decimal(last)
		if !ok || n < from {
			return whole, false, nil
		}
		to = min(n, to)
	}
	if from >= size {
		return whole, false, invalidRange(header, size)
	}
	return byteRange{offset: from, length: to - from + 1}, true, nil
}

// decimal reads digits; what does not fit is as good as the largest number.
func decimal(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}

func invalidRange(header string, size int64) error {
	return s3api.InvalidRange("The requested range is not satisfiable").
		With("RangeRequested", header).With("ActualObjectSize", strconv.FormatInt(size, 10))
}

// contentRange is the header of a partial answer.
func (r byteRange) contentRange(size int64) string {
	return "bytes " + strconv.FormatInt(r.offset, 10) + "-" + strconv.FormatInt(r.offset+r.length-1, 10) + "/" + strconv.FormatInt(size, 10)
}

// etagMatches reports whether a list of entity tags names etag (without
// quotes), or everything.
func etagMatches(list, etag string) bool {
	for e := range strings.SplitSeq(list, ",") {
		e = strings.TrimSpace(e)
		if e == "*" {
			return true
		}
		if strings.Trim(strings.TrimPrefix(e, "W/"), `"`) == etag {
			return true
		}
	}
	return false
}

// conditions are the conditional headers of a read.
type conditions struct {
	ifMatch, ifNoneMatch               *string
	ifModifiedSince, ifUnmodifiedSince *time.Time
}

// holds decides as S3 does: If-Match beats If-Unmodified-Since, If-None-Match
// beats If-Modified-Since. changed tells a failure of the second kind.
//
// Source: S3 API Reference, GetObject, conditional headers; RFC 9110, section 13.
func (c *conditions) holds(o *objectRow) (failed string, changed bool) {
	modified := o.Modified.Truncate(time.Second)
	switch {
	case c.ifMatch != nil:
		if !etagMatches(*c.ifMatch, o.ETag) {
			return "If-Match", false
		}
	case c.ifUnmodifiedSince != nil && modified.After(*c.ifUnmodifiedSince):
		return "If-Unmodified-Since", false
	}
	switch {
	case c.ifNoneMatch != nil:
		if etagMatches(*c.ifNoneMatch, o.ETag) {
			return "If-None-Match", true
		}
	case c.ifModifiedSince != nil && !modified.After(*c.ifModifiedSince):
		return "If-Modified-Since", true
	}
	return "", false
}

// writeCondition judges If-Match and If-None-Match of a write against the
// object that is there (nil: none).
//
// Errors: PreconditionFailed, NoSuchKey; NotImplemented for an If-None-Match
// that is not "*".
func writeCondition(key string, ifMatch, ifNoneMatch *string, old *objectRow) error {
	if ifNoneMatch != nil {
		if strings.TrimSpace(*ifNoneMatch) != "*" {
			return notImplemented("If-None-Match")
		}
		if old != nil {
			return preconditionFailed("If-None-Match")
		}
	}
	if ifMatch != nil {
		if old == nil {
			return noSuchKey(key)
		}
		if !etagMatches(*ifMatch, old.ETag) {
			return preconditionFailed("If-Match")
		}
	}
	return nil
}

// quoted is an entity tag as it stands in a header.
func quoted(etag string) *string { return new(`"` + etag + `"`) }
