package s3

import (
	"context"
	"strings"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// minRangeSource is the size that an object must have for ranges of it to be
// copied, in bytes.
//
// Source: S3 API Reference, UploadPartCopy, x-amz-copy-source-range.
const minRangeSource = 5 << 20

func (s *Service) uploadPartCopyChecks(ctx context.Context, in *s3api.UploadPartCopyInput) ([]protocol.Check, error) {
	b, err := s.locate(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	src, from, err := s.sourceCheck(ctx, in.CopySource, in.ExpectedSourceBucketOwner)
	if err != nil {
		return nil, err
	}
	to, err := s.partCheck(ctx, b, in.Key, in.UploadId)
	to.Context.Set("s3:x-amz-copy-source", src.condition())
	return []protocol.Check{from, to}, err
}

// UploadPartCopy stores an object, or a range of one, as a part in place of any
// of that number: decrypted as its caller and encrypted anew under the data key
// of the upload.
//
// Errors: NoSuchUpload, InvalidArgument; those of GetObject for the source;
// InvalidRequest for a source too small or too large; KMS.….
//
// Source: S3 API Reference, UploadPartCopy.
func (s *Service) UploadPartCopy(ctx context.Context, in *s3api.UploadPartCopyInput) (*s3api.UploadPartCopyOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	u, err := s.openUpload(ctx, b, in.Key, in.UploadId, in.PartNumber, in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5)
	if err != nil {
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
	r := byteRange{length: source.Size}
	if in.CopySourceRange != nil {
		if r, err = parseCopyRange(*in.CopySourceRange, source.Size); err != nil {
			return nil, err
		}
	}
	if r.length > maxPut {
		return nil, copySourceTooLarge()
	}
	dek, err := s.dataKey(ctx, from, source.Key, &source.Encryption)
	if err != nil {
		return nil, err
	}
	defer dek.Erase()
	body, err := s.open(ctx, from, source, dek, r)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	part, err := s.receivePart(ctx, b, u, in.PartNumber, promise{body: body, length: new(r.length), internal: true})
	if err != nil {
		return nil, err
	}
	e, h := &u.Encryption, part.checksum
	return &s3api.UploadPartCopyOutput{
		CopyPartResult: &s3api.CopyPartResult{
			ETag: quoted(part.ETag), LastModified: new(part.Modified),
			ChecksumCRC32: h.crc32, ChecksumCRC32C: h.crc32c, ChecksumCRC64NVME: h.crc64nvme, ChecksumSHA1: h.sha1,
			ChecksumSHA256: h.sha256, ChecksumSHA512: h.sha512, ChecksumMD5: h.md5,
		},
		ServerSideEncryption: e.Algorithm, SSEKMSKeyId: e.keyHeader(), BucketKeyEnabled: e.bucketKeyHeader(),
	}, nil
}

// parseCopyRange reads x-amz-copy-source-range for a source of the given size.
// Unlike a Range header it is never ignored nor cut: both ends must be there and
// lie in the source.
//
// Errors: InvalidArgument; InvalidRequest for a source that is too small.
//
// Source: S3 API Reference, UploadPartCopy.
func parseCopyRange(header string, size int64) (byteRange, error) {
	const name = "x-amz-copy-source-range"
	set, ok := strings.CutPrefix(header, "bytes=")
	first, last, dash := strings.Cut(set, "-")
	from, okFrom := decimal(first)
	to, okTo := decimal(last)
	if !ok || !dash || !okFrom || !okTo || to < from {
		return byteRange{}, invalidArgument(name, header, "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
	}
	if to >= size {
		return byteRange{}, invalidArgument(name, header, "Range specified is not valid for source object of size: %d", size)
	}
	if size < minRangeSource {
		return byteRange{}, s3api.InvalidRequest("The specified copy source is not supported as a byte-range copy source")
	}
	return byteRange{offset: from, length: to - from + 1}, nil
}

func copySourceTooLarge() error {
	return s3api.InvalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxPut))
}
