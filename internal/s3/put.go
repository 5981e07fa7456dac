package s3

import (
	"context"
	"encoding/hex"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/store"
)

func (s *Service) putObjectChecks(ctx context.Context, in *s3api.PutObjectInput) ([]protocol.Check, error) {
	b, err := s.locate(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return writeChecks(b, in.Key, writeHeaders{
		encryption: in.ServerSideEncryption, key: in.SSEKMSKeyId, tagging: in.Tagging, ifMatch: in.IfMatch,
		ifNoneMatch: in.IfNoneMatch, acl: in.ACL, storage: in.StorageClass, customerAlgorithm: in.SSECustomerAlgorithm,
	}), nil
}

// PutObject stores an object in place of any of that key. The body is read to
// its end, and everything the request promised about it holds, before the old
// object is replaced.
//
// Errors: those of plan, newDataKey, intake and writeCondition; KeyTooLongError,
// EntityTooLarge, MetadataTooLarge, InvalidTag, NoSuchBucket.
//
// Source: S3 API Reference, PutObject.
func (s *Service) PutObject(ctx context.Context, in *s3api.PutObjectInput) (*s3api.PutObjectOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if err := checkKey(in.Key); err != nil {
		return nil, err
	}
	if in.WriteOffsetBytes != nil {
		return nil, notImplemented("x-amz-write-offset-bytes")
	}
	headers := objectHeaders{
		contentType: in.ContentType, cacheControl: in.CacheControl, disposition: in.ContentDisposition,
		encoding: in.ContentEncoding, language: in.ContentLanguage, expires: in.Expires,
		redirect: in.WebsiteRedirectLocation, tagging: in.Tagging, metadata: in.Metadata, acl: in.ACL,
		grants:  []*string{in.GrantFullControl, in.GrantRead, in.GrantReadACP, in.GrantWriteACP},
		storage: in.StorageClass, lockMode: in.ObjectLockMode, legalHold: in.ObjectLockLegalHoldStatus,
		retainUntil: in.ObjectLockRetainUntilDate,
	}
	row, err := headers.row()
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
	o, _, err := s.write(ctx, b, in.Key, write{
		headers: row, plan: p, ifMatch: in.IfMatch, ifNoneMatch: in.IfNoneMatch,
		promise: promise{
			body: in.Body, length: in.ContentLength, md5: in.ContentMD5, algorithm: in.ChecksumAlgorithm,
			headers: checksumHeaders{
				crc32: in.ChecksumCRC32, crc32c: in.ChecksumCRC32C, crc64nvme: in.ChecksumCRC64NVME, sha1: in.ChecksumSHA1,
				sha256: in.ChecksumSHA256, sha512: in.ChecksumSHA512, md5: in.ChecksumMD5,
				xxhash64: in.ChecksumXXHASH64, xxhash3: in.ChecksumXXHASH3, xxhash128: in.ChecksumXXHASH128,
			},
		},
	})
	if err != nil {
		return nil, err
	}
	h := o.checksum
	return &s3api.PutObjectOutput{
		ETag: quoted(o.ETag), ServerSideEncryption: o.Encryption.Algorithm, SSEKMSKeyId: o.Encryption.keyHeader(),
		SSEKMSEncryptionContext: contextText(o.Encryption.Context), BucketKeyEnabled: o.Encryption.bucketKeyHeader(),
		ChecksumType: s3api.ChecksumTypeFullObject, ChecksumCRC32: h.crc32, ChecksumCRC32C: h.crc32c,
		ChecksumCRC64NVME: h.crc64nvme, ChecksumSHA1: h.sha1, ChecksumSHA256: h.sha256, ChecksumSHA512: h.sha512, ChecksumMD5: h.md5,
	}, nil
}

// write is one object to be written.
type write struct {
	headers              headersRow
	plan                 encryptionPlan
	promise              promise
	ifMatch, ifNoneMatch *string
}

// written is a stored object with its checksum in the clear.
type written struct {
	objectRow
	checksum checksumHeaders
}

// write carries out PutObject and the second half of CopyObject.
func (s *Service) write(ctx context.Context, b *bucketState, key string, w write) (*written, *body, error) {
	if w.ifMatch != nil || w.ifNoneMatch != nil {
		// Judged again at the commit; this saves a long upload in vain.
		old, err := s.readObject(ctx, b, key)
		if err != nil {
			return nil, nil, err
		}
		if err := writeCondition(key, w.ifMatch, w.ifNoneMatch, old); err != nil {
			return nil, nil, err
		}
	}
	intake, err := newIntake(w.promise, maxPut, !w.plan.row.kms())
	if err != nil {
		return nil, nil, err
	}
	dek, e, err := s.newDataKey(ctx, b, key, w.plan)
	if err != nil {
		return nil, nil, err
	}
	defer dek.Erase()
	out := &written{objectRow: objectRow{Key: key, Version: newHexID(16), Headers: w.headers, Encryption: e}}
	got, err := s.receive(ctx, intake, place{b: b, key: key, version: out.Version, dek: dek, inline: true})
	if err != nil {
		return nil, nil, err
	}
	out.Size, out.Inline, out.Modified = got.size, got.inline, s.timestamp()
	out.ETag = newETag(&e, got.md5)
	if got.segment != nil {
		out.Segments = []segmentRow{*got.segment}
	}
	out.checksum.set(got.checksum, got.sum)
	out.Checksum, err = sealChecksum(dek, sealedAAD("checksum", b, out.Version, key), checksumRow{
		Algorithm: got.checksum, Type: s3api.ChecksumTypeFullObject, Value: []byte(got.sum),
	})
	if err != nil {
		return nil, nil, s.refused(ctx, got, err)
	}
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := stillThere(tx, b); err != nil {
			return err
		}
		old, err := getObject(tx, b.ID, key)
		if err != nil {
			return err
		}
		if err := writeCondition(key, w.ifMatch, w.ifNoneMatch, old); err != nil {
			return err
		}
		return s.putObjectRow(tx, b, old, &out.objectRow)
	})
	if err != nil {
		return nil, nil, s.refused(ctx, got, err)
	}
	return out, got, nil
}

// newETag is the MD5 of the body, or 16 random bytes under a KMS key, where an
// MD5 would tell the content.
func newETag(e *encryptionRow, sum []byte) string {
	if e.kms() || sum == nil {
		return newHexID(16)
	}
	return hex.EncodeToString(sum)
}

// sealChecksum seals the value of a checksum under the object's data key.
func sealChecksum(dek secret.Key, aad []byte, c checksumRow) (checksumRow, error) {
	if dek.IsZero() {
		return c, nil
	}
	var err error
	c.Value, err = sealUnder(dek, aad, c.Value)
	return c, err
}

// openChecksum reverses sealChecksum.
func openChecksum(dek secret.Key, aad []byte, c checksumRow) (string, error) {
	if dek.IsZero() || len(c.Value) == 0 {
		return string(c.Value), nil
	}
	p, err := openUnder(dek, aad, c.Value)
	return string(p), err
}
