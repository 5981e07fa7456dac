package s3

import (
	"context"
	"net/url"
	"strings"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// copySource is the parsed x-amz-copy-source header.
type copySource struct{ bucket, key, version string }

// parseCopySource reads "/bucket/key" or "bucket/key", URL-encoded, with an
// optional "?versionId=ID".
//
// Errors: InvalidArgument.
func parseCopySource(header string) (copySource, error) {
	bad := invalidArgument("x-amz-copy-source", "", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	if len(header) > 8<<10 {
		return copySource{}, bad
	}
	path, query, _ := strings.Cut(header, "?")
	var c copySource
	if query != "" {
		v, ok := strings.CutPrefix(query, "versionId=")
		if !ok {
			return copySource{}, bad
		}
		c.version = v
	}
	plain, err := url.PathUnescape(path)
	if err != nil {
		return copySource{}, bad
	}
	plain = strings.TrimPrefix(plain, "/")
	var ok bool
	if c.bucket, c.key, ok = strings.Cut(plain, "/"); !ok || c.bucket == "" || c.key == "" || strings.HasPrefix(c.bucket, "arn:") {
		return copySource{}, bad
	}
	return c, nil
}

// sourceCheck is the check of what a copy reads. The source may be in another
// region.
func (s *Service) sourceCheck(ctx context.Context, header string, owner *string) (copySource, protocol.Check, error) {
	src, err := parseCopySource(header)
	if err != nil {
		return src, protocol.Check{}, err
	}
	from, err := s.find(ctx, src.bucket, owner)
	if err != nil {
		return src, protocol.Check{}, err
	}
	c, err := s.readCheck(ctx, from, "s3:GetObject", src.key)
	return src, c, err
}

// condition is the source as policies know it: s3:x-amz-copy-source.
func (c *copySource) condition() string { return c.bucket + "/" + c.key }

func (s *Service) copyObjectChecks(ctx context.Context, in *s3api.CopyObjectInput) ([]protocol.Check, error) {
	b, err := s.locate(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	src, c, err := s.sourceCheck(ctx, in.CopySource, in.ExpectedSourceBucketOwner)
	if err != nil {
		return nil, err
	}
	return append([]protocol.Check{c}, writeChecks(b, in.Key, writeHeaders{
		encryption: in.ServerSideEncryption, key: in.SSEKMSKeyId, tagging: in.Tagging, ifMatch: in.IfMatch,
		ifNoneMatch: in.IfNoneMatch, acl: in.ACL, storage: in.StorageClass, metadataDirective: in.MetadataDirective,
		copySource: src.condition(), customerAlgorithm: in.SSECustomerAlgorithm,
	})...), nil
}

// CopyObject makes an object from another one: decrypted as its caller and
// encrypted anew, by the headers of this request or the default of the
// destination, never as the source was.
//
// Errors: those of GetObject for the source and of PutObject.
//
// Source: S3 API Reference, CopyObject.
func (s *Service) CopyObject(ctx context.Context, in *s3api.CopyObjectInput) (*s3api.CopyObjectOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if err := checkKey(in.Key); err != nil {
		return nil, err
	}
	if in.CopySourceSSECustomerAlgorithm != nil || in.CopySourceSSECustomerKey != nil || in.CopySourceSSECustomerKeyMD5 != nil {
		return nil, s3api.InvalidRequest("The encryption parameters are not applicable to this object.")
	}
	from, source, err := s.source(ctx, in.CopySource, conditions{
		in.CopySourceIfMatch, in.CopySourceIfNoneMatch, in.CopySourceIfModifiedSince, in.CopySourceIfUnmodifiedSince,
	})
	if err != nil {
		return nil, err
	}
	row, err := copiedHeaders(in, source)
	if err != nil {
		return nil, err
	}
	p, err := plan(b, sseHeaders{
		algorithm: in.ServerSideEncryption, key: in.SSEKMSKeyId, context: in.SSEKMSEncryptionContext, bucketKey: in.BucketKeyEnabled,
		customer: []*string{in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5},
	})
	if err != nil {
		return nil, err
	}
	if err := changesSomething(in, b, from, source, p); err != nil {
		return nil, err
	}
	if source.Size > maxPut {
		return nil, copySourceTooLarge()
	}
	algorithm := in.ChecksumAlgorithm
	if algorithm == "" {
		algorithm = source.Checksum.Algorithm
	} else if _, ok := algorithmOf(algorithm); !ok {
		return nil, notImplemented("x-amz-checksum-algorithm")
	}
	dek, err := s.dataKey(ctx, from, source.Key, &source.Encryption)
	if err != nil {
		return nil, err
	}
	defer dek.Erase()
	body, err := s.open(ctx, from, source, dek, byteRange{length: source.Size})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	o, _, err := s.write(ctx, b, in.Key, write{
		headers: row, plan: p, ifMatch: in.IfMatch, ifNoneMatch: in.IfNoneMatch,
		promise: promise{body: body, length: new(source.Size), internal: true, want: algorithm},
	})
	if err != nil {
		return nil, err
	}
	h := o.checksum
	return &s3api.CopyObjectOutput{
		CopyObjectResult: &s3api.CopyObjectResult{
			ETag: quoted(o.ETag), LastModified: new(o.Modified), ChecksumType: s3api.ChecksumTypeFullObject,
			ChecksumCRC32: h.crc32, ChecksumCRC32C: h.crc32c, ChecksumCRC64NVME: h.crc64nvme, ChecksumSHA1: h.sha1,
			ChecksumSHA256: h.sha256, ChecksumSHA512: h.sha512, ChecksumMD5: h.md5,
		},
		ServerSideEncryption: o.Encryption.Algorithm, SSEKMSKeyId: o.Encryption.keyHeader(),
		SSEKMSEncryptionContext: contextText(o.Encryption.Context), BucketKeyEnabled: o.Encryption.bucketKeyHeader(),
	}, nil
}

// source finds the object to copy and judges the x-amz-copy-source-if-… headers.
func (s *Service) source(ctx context.Context, header string, c conditions) (*bucketState, *objectRow, error) {
	src, err := parseCopySource(header)
	if err != nil {
		return nil, nil, err
	}
	if src.version != "" && src.version != "null" {
		return nil, nil, invalidArgument("x-amz-copy-source", "", "Invalid version id specified")
	}
	from, err := s.bucket(ctx, src.bucket)
	if err != nil {
		return nil, nil, err
	}
	o, err := s.readObject(ctx, from, src.key)
	if err != nil {
		return nil, nil, err
	}
	if o == nil {
		return nil, nil, s.missing(ctx, from, src.key)
	}
	if failed, _ := c.holds(o); failed != "" {
		return nil, nil, preconditionFailed("x-amz-copy-source-" + failed)
	}
	return from, o, nil
}

// copiedHeaders are the source's headers, or those of the request, as the
// directives say.
func copiedHeaders(in *s3api.CopyObjectInput, source *objectRow) (headersRow, error) {
	h := objectHeaders{
		contentType: in.ContentType, cacheControl: in.CacheControl, disposition: in.ContentDisposition,
		encoding: in.ContentEncoding, language: in.ContentLanguage, expires: in.Expires,
		redirect: in.WebsiteRedirectLocation, tagging: in.Tagging, metadata: in.Metadata, acl: in.ACL,
		grants:  []*string{in.GrantFullControl, in.GrantRead, in.GrantReadACP, in.GrantWriteACP},
		storage: in.StorageClass, lockMode: in.ObjectLockMode, legalHold: in.ObjectLockLegalHoldStatus,
		retainUntil: in.ObjectLockRetainUntilDate,
	}
	row, err := h.row()
	if err != nil {
		return row, err
	}
	asked := row
	switch in.MetadataDirective {
	case "", s3api.MetadataDirective("COPY"):
		row = source.Headers
		row.Redirect = asked.Redirect // never copied
	case s3api.MetadataDirective("REPLACE"):
	default:
		return row, invalidArgument("x-amz-metadata-directive", string(in.MetadataDirective), "Unknown metadata directive.")
	}
	switch in.TaggingDirective {
	case "", s3api.TaggingDirectiveCopy:
		row.Tags = source.Headers.Tags
	case s3api.TaggingDirectiveReplace:
		row.Tags = asked.Tags
	default:
		return row, invalidArgument("x-amz-tagging-directive", string(in.TaggingDirective), "Unknown tagging directive.")
	}
	return row, nil
}

// changesSomething refuses a copy of an object onto itself that changes nothing.
func changesSomething(in *s3api.CopyObjectInput, b, from *bucketState, source *objectRow, p encryptionPlan) error {
	if b.ID != from.ID || in.Key != source.Key || in.MetadataDirective == s3api.MetadataDirective("REPLACE") ||
		in.ServerSideEncryption != "" || in.StorageClass != "" || in.WebsiteRedirectLocation != nil || in.BucketKeyEnabled != nil ||
		in.TaggingDirective == s3api.TaggingDirectiveReplace || in.ChecksumAlgorithm != "" ||
		p.row.Algorithm != source.Encryption.Algorithm {
		return nil
	}
	return s3api.InvalidRequest("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
}
