package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/secret"
)

func (s *Service) getObjectChecks(ctx context.Context, in *s3api.GetObjectInput) ([]protocol.Check, error) {
	return s.readChecks(ctx, "s3:GetObject", in.Bucket, in.Key, in.ExpectedBucketOwner)
}

func (s *Service) headObjectChecks(ctx context.Context, in *s3api.HeadObjectInput) ([]protocol.Check, error) {
	b, err := s.find(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if identity.From(ctx).Region != b.Region {
		return nil, redirect(b)
	}
	return s.readChecks(ctx, "s3:GetObject", in.Bucket, in.Key, in.ExpectedBucketOwner)
}

// noEncryptionHeaders refuses reads that say how the object shall be encrypted:
// that was settled when it was written.
//
// Source: Amazon S3 API Reference, GetObject, "Encryption".
func noEncryptionHeaders(sse s3api.ServerSideEncryption, key, ec *string) error {
	switch {
	case sse != "":
		return invalidArgument("x-amz-server-side-encryption", string(sse), "x-amz-server-side-encryption header is not supported for this operation.")
	case key != nil:
		return invalidArgument("x-amz-server-side-encryption-aws-kms-key-id", *key, "x-amz-server-side-encryption-aws-kms-key-id header is not supported for this operation.")
	case ec != nil:
		return invalidArgument("x-amz-server-side-encryption-context", "", "x-amz-server-side-encryption-context header is not supported for this operation.")
	}
	return nil
}

func (s *Service) readChecks(ctx context.Context, action, bucket, key string, owner *string) ([]protocol.Check, error) {
	b, err := s.locate(ctx, bucket, owner)
	if err != nil {
		return nil, err
	}
	c, err := s.readCheck(ctx, b, action, key)
	if err != nil {
		return nil, err
	}
	return []protocol.Check{c}, nil
}

// overrides are the response-… parameters of a read.
type overrides struct {
	cacheControl, disposition, encoding, language, contentType *string
	expires                                                    *time.Time
}

// read is one GetObject or HeadObject.
type read struct {
	bucket, key        string
	version, byteRange *string
	part               *int32
	conditions         conditions
	overrides          overrides
	checksum           bool // x-amz-checksum-mode: ENABLED
	body               bool // GetObject
	customer           []*string
}

// found is what a read found.
type found struct {
	b     *bucketState
	o     *objectRow
	r     byteRange
	dek   secret.Key
	reply *s3api.HeadObjectOutput
}

// GetObject returns an object or a part of it. The body is an io.ReadCloser,
// which the caller closes; it fails, and never gives a byte that is not
// authentic, when the stored data is damaged. The KMS key is asked before
// anything is answered.
//
// Errors: NoSuchKey (AccessDenied for callers who may not list),
// PreconditionFailed, NotModified, InvalidRange, InvalidArgument, KMS.….
//
// Source: S3 API Reference, GetObject.
func (s *Service) GetObject(ctx context.Context, in *s3api.GetObjectInput) (*s3api.GetObjectOutput, error) {
	if err := noEncryptionHeaders(in.ServerSideEncryption, in.SSEKMSKeyId, in.SSEKMSEncryptionContext); err != nil {
		return nil, err
	}
	f, err := s.read(ctx, &read{
		bucket: in.Bucket, key: in.Key, version: in.VersionId, byteRange: in.Range, part: in.PartNumber, body: true,
		conditions: conditions{in.IfMatch, in.IfNoneMatch, in.IfModifiedSince, in.IfUnmodifiedSince},
		overrides: overrides{
			in.ResponseCacheControl, in.ResponseContentDisposition, in.ResponseContentEncoding, in.ResponseContentLanguage,
			in.ResponseContentType, in.ResponseExpires,
		},
		checksum: in.ChecksumMode == s3api.ChecksumModeEnabled,
		customer: []*string{in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5},
	})
	if err != nil {
		return nil, err
	}
	body, err := s.open(ctx, f.b, f.o, f.dek, f.r)
	if err != nil {
		f.dek.Erase()
		return nil, err
	}
	if many, ok := body.(*segmentsBody); ok {
		many.done = f.dek.Erase // it opens further segments while it is read
	} else {
		f.dek.Erase()
	}
	h := f.reply
	return &s3api.GetObjectOutput{
		Body: body, AcceptRanges: h.AcceptRanges, LastModified: h.LastModified, ContentLength: h.ContentLength, ETag: h.ETag,
		ChecksumCRC32: h.ChecksumCRC32, ChecksumCRC32C: h.ChecksumCRC32C, ChecksumCRC64NVME: h.ChecksumCRC64NVME,
		ChecksumSHA1: h.ChecksumSHA1, ChecksumSHA256: h.ChecksumSHA256, ChecksumSHA512: h.ChecksumSHA512,
		ChecksumMD5: h.ChecksumMD5, ChecksumType: h.ChecksumType, CacheControl: h.CacheControl,
		ContentDisposition: h.ContentDisposition, ContentEncoding: h.ContentEncoding, ContentLanguage: h.ContentLanguage,
		ContentRange: h.ContentRange, ContentType: h.ContentType, Expires: h.Expires,
		WebsiteRedirectLocation: h.WebsiteRedirectLocation, ServerSideEncryption: h.ServerSideEncryption, Metadata: h.Metadata,
		SSEKMSKeyId: h.SSEKMSKeyId, BucketKeyEnabled: h.BucketKeyEnabled, PartsCount: h.PartsCount, TagCount: h.TagCount,
	}, nil
}

// HeadObject is GetObject without the body. It uses no key unless the checksum
// is asked for.
//
// Errors: those of GetObject; NoSuchKey has the bare code 404 on the wire.
func (s *Service) HeadObject(ctx context.Context, in *s3api.HeadObjectInput) (*s3api.HeadObjectOutput, error) {
	if err := noEncryptionHeaders(in.ServerSideEncryption, in.SSEKMSKeyId, in.SSEKMSEncryptionContext); err != nil {
		return nil, err
	}
	f, err := s.read(ctx, &read{
		bucket: in.Bucket, key: in.Key, version: in.VersionId, byteRange: in.Range, part: in.PartNumber,
		conditions: conditions{in.IfMatch, in.IfNoneMatch, in.IfModifiedSince, in.IfUnmodifiedSince},
		overrides: overrides{
			in.ResponseCacheControl, in.ResponseContentDisposition, in.ResponseContentEncoding, in.ResponseContentLanguage,
			in.ResponseContentType, in.ResponseExpires,
		},
		checksum: in.ChecksumMode == s3api.ChecksumModeEnabled,
		customer: []*string{in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5},
	})
	if err != nil {
		return nil, err
	}
	f.dek.Erase()
	return f.reply, nil
}

// read finds the object, judges the request and opens the data key.
func (s *Service) read(ctx context.Context, in *read) (*found, error) {
	b, err := s.bucket(ctx, in.bucket)
	if err != nil {
		return nil, err
	}
	if err := checkKey(in.key); err != nil {
		return nil, err
	}
	if err := checkVersion(in.version); err != nil {
		return nil, err
	}
	if err := in.overrides.allowed(ctx); err != nil {
		return nil, err
	}
	o, err := s.readObject(ctx, b, in.key)
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, s.missing(ctx, b, in.key)
	}
	for _, c := range in.customer {
		if c != nil {
			return nil, s3api.InvalidRequest("The encryption parameters are not applicable to this object.")
		}
	}
	if failed, changed := in.conditions.holds(o); changed {
		return nil, s3api.NotModified("Not Modified").With("Condition", failed)
	} else if failed != "" {
		return nil, preconditionFailed(failed)
	}
	f := &found{b: b, o: o}
	partial, err := f.locate(in)
	if err != nil {
		return nil, err
	}
	f.reply = reply(o, &in.overrides)
	f.reply.ContentLength = new(f.r.length)
	if partial {
		f.reply.ContentRange = new(f.r.contentRange(o.Size))
	}
	if in.part != nil && o.Multipart {
		f.reply.PartsCount = new(int32(len(o.Segments)))
	}
	if in.body || in.checksum {
		if f.dek, err = s.dataKey(ctx, b, o.Key, &o.Encryption); err != nil {
			return nil, err
		}
	}
	if in.checksum && !partial {
		if err := f.addChecksum(); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// locate finds the bytes that the request wants.
func (f *found) locate(in *read) (partial bool, err error) {
	f.r = byteRange{length: f.o.Size}
	switch {
	case in.part != nil && in.byteRange != nil:
		return false, s3api.InvalidRequest("Cannot specify both Range header and partNumber query parameter")
	case in.part != nil:
		return f.part(int(*in.part))
	case in.byteRange != nil:
		f.r, partial, err = parseRange(*in.byteRange, f.o.Size)
	}
	return partial, err
}

func (f *found) part(n int) (partial bool, err error) {
	if n < 1 || n > maxParts {
		return false, s3api.InvalidArgument("Part number must be an integer between 1 and %d, inclusive", maxParts)
	}
	if !f.o.Multipart {
		if n == 1 {
			return f.o.Size > 0, nil
		}
		return false, invalidPartNumber()
	}
	if n > len(f.o.Segments) {
		return false, invalidPartNumber()
	}
	f.r = byteRange{}
	for _, seg := range f.o.Segments[:n-1] {
		f.r.offset += seg.Size
	}
	f.r.length = f.o.Segments[n-1].Size
	return f.r.length > 0, nil
}

func invalidPartNumber() error {
	e := s3api.InvalidRange("The requested partnumber is not satisfiable")
	e.Code = "InvalidPartNumber"
	return e
}

func (f *found) addChecksum() error {
	o := f.o
	if o.Checksum.Algorithm == "" {
		return nil
	}
	sum, err := openChecksum(f.dek, sealedAAD("checksum", f.b, o.Version, o.Key), o.Checksum)
	if err != nil {
		return fmt.Errorf("s3: open the checksum of an object: %w", err)
	}
	var h checksumHeaders
	h.set(o.Checksum.Algorithm, sum)
	r := f.reply
	r.ChecksumCRC32, r.ChecksumCRC32C, r.ChecksumCRC64NVME = h.crc32, h.crc32c, h.crc64nvme
	r.ChecksumSHA1, r.ChecksumSHA256, r.ChecksumSHA512, r.ChecksumMD5 = h.sha1, h.sha256, h.sha512, h.md5
	r.ChecksumType = o.Checksum.Type
	return nil
}

// allowed refuses overrides of requests that nobody signed.
//
// Source: S3 API Reference, GetObject, overriding response headers.
func (v *overrides) allowed(ctx context.Context) error {
	if identity.From(ctx).Caller.Type != identity.Anonymous {
		return nil
	}
	if v.cacheControl != nil || v.disposition != nil || v.encoding != nil || v.language != nil || v.contentType != nil || v.expires != nil {
		return s3api.InvalidRequest("Request specific response headers cannot be used for anonymous GET requests.")
	}
	return nil
}

// reply is the part of the answer that is the object's alone.
func reply(o *objectRow, v *overrides) *s3api.HeadObjectOutput {
	h := &o.Headers
	out := &s3api.HeadObjectOutput{
		AcceptRanges: new("bytes"), LastModified: new(o.Modified), ETag: quoted(o.ETag),
		CacheControl: optional(h.CacheControl), ContentDisposition: optional(h.ContentDisposition),
		ContentEncoding: optional(h.ContentEncoding), ContentLanguage: optional(h.ContentLanguage),
		ContentType: optional(h.ContentType), Expires: optional(h.Expires), WebsiteRedirectLocation: optional(h.Redirect),
		Metadata: h.Metadata, ServerSideEncryption: o.Encryption.Algorithm, SSEKMSKeyId: o.Encryption.keyHeader(),
		BucketKeyEnabled: o.Encryption.bucketKeyHeader(),
	}
	if len(h.Tags) > 0 {
		out.TagCount = new(int32(len(h.Tags)))
	}
	for _, r := range []struct {
		to   **string
		with *string
	}{
		{&out.CacheControl, v.cacheControl},
		{&out.ContentDisposition, v.disposition},
		{&out.ContentEncoding, v.encoding},
		{&out.ContentLanguage, v.language},
		{&out.ContentType, v.contentType},
	} {
		if r.with != nil {
			*r.to = r.with
		}
	}
	if v.expires != nil {
		out.Expires = new(v.expires.UTC().Format(httpTime))
	}
	return out
}

// open returns a range of an object's body.
func (s *Service) open(ctx context.Context, b *bucketState, o *objectRow, dek secret.Key, r byteRange) (io.ReadCloser, error) {
	if len(o.Segments) > 0 {
		return s.openBody(ctx, b, o.Segments, dek, r)
	}
	plain := o.Inline
	if !dek.IsZero() {
		var err error
		if plain, err = openUnder(dek, sealedAAD("body", b, o.Version, o.Key), o.Inline); err != nil {
			return nil, err
		}
	}
	if int64(len(plain)) != o.Size {
		return nil, fmt.Errorf("s3: the row of an object holds %d bytes of %d", len(plain), o.Size)
	}
	return memoryBody{bytes.NewReader(plain[r.offset : r.offset+r.length])}, nil
}
