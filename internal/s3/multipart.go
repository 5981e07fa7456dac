package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/store"
)

const (
	maxParts = 10_000
	minPart  = 5 << 20 // bytes of every part but the last
)

func (s *Service) createUploadChecks(ctx context.Context, in *s3api.CreateMultipartUploadInput) ([]protocol.Check, error) {
	b, err := s.locate(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return writeChecks(b, in.Key, writeHeaders{
		encryption: in.ServerSideEncryption, key: in.SSEKMSKeyId, tagging: in.Tagging, acl: in.ACL,
		storage: in.StorageClass, customerAlgorithm: in.SSECustomerAlgorithm,
	}), nil
}

// CreateMultipartUpload begins an upload in parts. How the object is encrypted
// is decided here, with one data key for all parts.
//
// Errors: those of PutObject's headers; KMS.….
//
// Source: S3 API Reference, CreateMultipartUpload.
func (s *Service) CreateMultipartUpload(ctx context.Context, in *s3api.CreateMultipartUploadInput) (*s3api.CreateMultipartUploadOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if err := checkKey(in.Key); err != nil {
		return nil, err
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
	u := uploadRow{
		ID: newHexID(32), Key: in.Key, Version: newHexID(16), Initiated: s.timestamp(),
		Initiator: identity.From(ctx).Caller.ARN, Headers: row,
		Checksum: in.ChecksumAlgorithm, Requested: in.ChecksumAlgorithm != "",
		AskedAlgorithm: in.ServerSideEncryption, AskedKey: in.SSEKMSKeyId,
	}
	if !u.Requested {
		if in.ChecksumType != "" {
			return nil, s3api.InvalidRequest("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		u.Checksum = defaultChecksum
	}
	if u.ChecksumType, err = checkedType(u.Checksum, in.ChecksumType); err != nil {
		return nil, err
	}
	p, err := plan(b, sseHeaders{
		algorithm: in.ServerSideEncryption, key: in.SSEKMSKeyId, context: in.SSEKMSEncryptionContext, bucketKey: in.BucketKeyEnabled,
		customer: []*string{in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5},
	})
	if err != nil {
		return nil, err
	}
	dek, e, err := s.newDataKey(ctx, b, in.Key, p)
	if err != nil {
		return nil, err
	}
	dek.Erase()
	u.Encryption = e
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := stillThere(tx, b); err != nil {
			return err
		}
		return uploads.Put(tx, u, b.ID, u.Key, u.ID)
	})
	if err != nil {
		return nil, storageError(err)
	}
	out := &s3api.CreateMultipartUploadOutput{
		Bucket: new(in.Bucket), Key: new(in.Key), UploadId: new(u.ID), ServerSideEncryption: e.Algorithm,
		SSEKMSKeyId: e.keyHeader(), SSEKMSEncryptionContext: contextText(e.Context), BucketKeyEnabled: e.bucketKeyHeader(),
	}
	if u.Requested {
		out.ChecksumAlgorithm, out.ChecksumType = u.Checksum, u.ChecksumType
	}
	return out, nil
}

// upload returns the row of an upload.
//
// Errors: NoSuchUpload.
func upload(tx *store.Tx, b *bucketState, key, id string) (*uploadRow, error) {
	u, err := uploads.Get(tx, b.ID, key, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, noSuchUpload(id)
	}
	return &u, err
}

func (s *Service) readUpload(ctx context.Context, b *bucketState, key, id string) (u *uploadRow, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		u, err = upload(tx, b, key, id)
		return err
	})
	return u, err
}

func (s *Service) uploadPartChecks(ctx context.Context, in *s3api.UploadPartInput) ([]protocol.Check, error) {
	b, err := s.locate(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	c, err := s.partCheck(ctx, b, in.Key, in.UploadId)
	return []protocol.Check{c}, err
}

// partCheck asks for s3:PutObject with the encryption headers that the upload
// was begun with: a policy that wants them must let the parts pass.
func (s *Service) partCheck(ctx context.Context, b *bucketState, key, id string) (protocol.Check, error) {
	c := objectCheck(b, "s3:PutObject", key)
	u, err := s.readUpload(ctx, b, key, id)
	if errors.Is(err, noSuchUpload(id)) {
		return c, nil // told after the caller was authorised
	}
	if err != nil {
		return c, err
	}
	setText(c.Context, "s3:x-amz-server-side-encryption", string(u.AskedAlgorithm))
	setOptional(c.Context, "s3:x-amz-server-side-encryption-aws-kms-key-id", u.AskedKey)
	return c, nil
}

// UploadPart stores one part, in place of any of that number.
//
// Errors: NoSuchUpload, InvalidArgument, those of the body, KMS.….
//
// Source: S3 API Reference, UploadPart.
func (s *Service) UploadPart(ctx context.Context, in *s3api.UploadPartInput) (*s3api.UploadPartOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	u, err := s.openUpload(ctx, b, in.Key, in.UploadId, in.PartNumber, in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5)
	if err != nil {
		return nil, err
	}
	part, err := s.receivePart(ctx, b, u, in.PartNumber, promise{
		body: in.Body, length: in.ContentLength, md5: in.ContentMD5, algorithm: in.ChecksumAlgorithm,
		headers: checksumHeaders{
			crc32: in.ChecksumCRC32, crc32c: in.ChecksumCRC32C, crc64nvme: in.ChecksumCRC64NVME, sha1: in.ChecksumSHA1,
			sha256: in.ChecksumSHA256, sha512: in.ChecksumSHA512, md5: in.ChecksumMD5,
			xxhash64: in.ChecksumXXHASH64, xxhash3: in.ChecksumXXHASH3, xxhash128: in.ChecksumXXHASH128,
		},
	})
	if err != nil {
		return nil, err
	}
	e, h := &u.Encryption, part.checksum
	return &s3api.UploadPartOutput{
		ETag: quoted(part.ETag), ServerSideEncryption: e.Algorithm, SSEKMSKeyId: e.keyHeader(), BucketKeyEnabled: e.bucketKeyHeader(),
		ChecksumCRC32: h.crc32, ChecksumCRC32C: h.crc32c, ChecksumCRC64NVME: h.crc64nvme,
		ChecksumSHA1: h.sha1, ChecksumSHA256: h.sha256, ChecksumSHA512: h.sha512, ChecksumMD5: h.md5,
	}, nil
}

// openUpload finds the upload that a part of the number is for. customer are the
// headers of SSE-C, which no upload has.
//
// Errors: InvalidArgument, InvalidRequest, NoSuchUpload.
func (s *Service) openUpload(ctx context.Context, b *bucketState, key, id string, number int32, customer ...*string) (*uploadRow, error) {
	if number < 1 || number > maxParts {
		return nil, invalidArgument("partNumber", count(int64(number)), "Part number must be an integer between 1 and %d, inclusive", maxParts)
	}
	for _, c := range customer {
		if c != nil {
			return nil, s3api.InvalidRequest("The multipart upload initiate requested no encryption with customer provided keys.")
		}
	}
	return s.readUpload(ctx, b, key, id)
}

// receivedPart is a stored part with its checksum in the clear, if the client
// asked for one.
type receivedPart struct {
	partRow
	checksum checksumHeaders
}

// receivePart carries out UploadPart and the second half of UploadPartCopy: it
// seals the body under the upload's data key.
func (s *Service) receivePart(ctx context.Context, b *bucketState, u *uploadRow, number int32, p promise) (*receivedPart, error) {
	if u.Requested {
		p.want = u.Checksum
	}
	intake, err := newIntake(p, maxPut, !u.Encryption.kms())
	if err != nil {
		return nil, err
	}
	// What a part promises need not be what the whole object is checked by.
	intake.add(u.Checksum)
	dek, err := s.dataKey(ctx, b, u.Key, &u.Encryption)
	if err != nil {
		return nil, err
	}
	defer dek.Erase()
	got, err := s.receive(ctx, intake, place{b: b, key: u.Key, version: u.Version, dek: dek})
	if err != nil {
		return nil, err
	}
	out := &receivedPart{partRow: partRow{
		Number: number, Modified: s.timestamp(), Segment: *got.segment, ETag: newETag(&u.Encryption, got.md5),
	}}
	out.Checksum, err = sealChecksum(dek, partAAD(b, u, number), checksumRow{
		Algorithm: u.Checksum, Value: []byte(base64Of(intake.sum(u.Checksum))),
	})
	if err != nil {
		return nil, s.refused(ctx, got, err)
	}
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := upload(tx, b, u.Key, u.ID); err != nil {
			return err
		}
		return s.putPart(tx, u, &out.partRow)
	})
	if err != nil {
		return nil, s.refused(ctx, got, err)
	}
	if intake.value != "" || u.Requested {
		out.checksum.set(got.checksum, got.sum)
	}
	return out, nil
}

func partAAD(b *bucketState, u *uploadRow, number int32) []byte {
	return sealedAAD("part "+partName(number), b, u.Version, u.Key)
}

// putPart stores a part and discards the one it replaces.
func (s *Service) putPart(tx *store.Tx, u *uploadRow, row *partRow) error {
	old, err := parts.Get(tx, u.ID, partName(row.Number))
	switch {
	case err == nil:
		if err := s.discard(tx, []segmentRow{old.Segment}); err != nil {
			return err
		}
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	if err := segments.Put(tx, struct{}{}, row.Segment.ID.String()); err != nil {
		return err
	}
	return parts.Put(tx, *row, u.ID, partName(row.Number))
}

// dropUpload deletes the rows of an upload and discards every part that is not
// among the kept segments.
func (s *Service) dropUpload(tx *store.Tx, bucketID string, u *uploadRow, kept []segmentRow) error {
	page, err := parts.Page(tx, store.Key{u.ID}, store.ScanOptions{})
	if err != nil {
		return err
	}
	for i := range page.Values {
		p := &page.Values[i]
		if !slices.ContainsFunc(kept, func(k segmentRow) bool { return k.ID == p.Segment.ID }) {
			if err := s.discard(tx, []segmentRow{p.Segment}); err != nil {
				return err
			}
		}
		if err := parts.Delete(tx, u.ID, partName(p.Number)); err != nil {
			return err
		}
	}
	return uploads.Delete(tx, bucketID, u.Key, u.ID)
}

func (s *Service) abortUploadChecks(ctx context.Context, in *s3api.AbortMultipartUploadInput) ([]protocol.Check, error) {
	b, err := s.locate(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return []protocol.Check{objectCheck(b, "s3:AbortMultipartUpload", in.Key)}, nil
}

// AbortMultipartUpload gives an upload up.
//
// Errors: NoSuchUpload, PreconditionFailed.
func (s *Service) AbortMultipartUpload(ctx context.Context, in *s3api.AbortMultipartUploadInput) (*s3api.AbortMultipartUploadOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		u, err := upload(tx, b, in.Key, in.UploadId)
		if err != nil {
			return err
		}
		if t := in.IfMatchInitiatedTime; t != nil && t.Unix() != u.Initiated.Unix() {
			return preconditionFailed("x-amz-if-match-initiated-time")
		}
		return s.dropUpload(tx, b.ID, u, nil)
	})
	if err != nil {
		return nil, err
	}
	return &s3api.AbortMultipartUploadOutput{}, nil
}

func (s *Service) listPartsChecks(ctx context.Context, in *s3api.ListPartsInput) ([]protocol.Check, error) {
	b, err := s.locate(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return []protocol.Check{objectCheck(b, "s3:ListMultipartUploadParts", in.Key)}, nil
}

// ListParts lists the parts of an upload by number. Under a KMS key the caller
// must be able to decrypt: the checksums tell about the content.
//
// Errors: NoSuchUpload, KMS.….
//
// Source: S3 API Reference, ListParts.
func (s *Service) ListParts(ctx context.Context, in *s3api.ListPartsInput) (*s3api.ListPartsOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("max-parts", in.MaxParts)
	if err != nil {
		return nil, err
	}
	after := int32(0)
	if in.PartNumberMarker != nil {
		after = max(0, *in.PartNumberMarker)
	}
	var u *uploadRow
	var page store.Page[partRow]
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		if u, err = upload(tx, b, in.Key, in.UploadId); err != nil || limit == 0 {
			return err
		}
		page, err = parts.Page(tx, store.Key{u.ID}, store.ScanOptions{From: store.Key{u.ID, partName(min(after, maxParts) + 1)}, Limit: limit})
		return err
	})
	if err != nil {
		return nil, err
	}
	dek, err := s.dataKey(ctx, b, u.Key, &u.Encryption)
	if err != nil {
		return nil, err
	}
	defer dek.Erase()
	out := &s3api.ListPartsOutput{
		Bucket: new(in.Bucket), Key: new(in.Key), UploadId: new(u.ID), PartNumberMarker: new(after), MaxParts: new(int32(limit)),
		IsTruncated: new(page.Next != nil), StorageClass: "STANDARD", Owner: owner(b.Account),
		Initiator: &s3api.Initiator{ID: new(u.Initiator)},
	}
	if u.Requested {
		out.ChecksumAlgorithm, out.ChecksumType = u.Checksum, u.ChecksumType
	}
	for i := range page.Values {
		part, err := listedPart(b, u, &page.Values[i], dek)
		if err != nil {
			return nil, err
		}
		out.Parts = append(out.Parts, part)
	}
	if n := len(page.Values); n > 0 {
		out.NextPartNumberMarker = new(page.Values[n-1].Number)
	}
	return out, nil
}

func listedPart(b *bucketState, u *uploadRow, p *partRow, dek secret.Key) (s3api.Part, error) {
	out := s3api.Part{PartNumber: new(p.Number), LastModified: new(p.Modified), ETag: quoted(p.ETag), Size: new(p.Segment.Size)}
	if !u.Requested {
		return out, nil
	}
	sum, err := openChecksum(dek, partAAD(b, u, p.Number), p.Checksum)
	if err != nil {
		return out, fmt.Errorf("s3: open the checksum of a part: %w", err)
	}
	var h checksumHeaders
	h.set(p.Checksum.Algorithm, sum)
	out.ChecksumCRC32, out.ChecksumCRC32C, out.ChecksumCRC64NVME = h.crc32, h.crc32c, h.crc64nvme
	out.ChecksumSHA1, out.ChecksumSHA256, out.ChecksumSHA512, out.ChecksumMD5 = h.sha1, h.sha256, h.sha512, h.md5
	return out, nil
}

func (s *Service) listUploadsChecks(ctx context.Context, in *s3api.ListMultipartUploadsInput) ([]protocol.Check, error) {
	b, err := s.locate(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	c := bucketCheck(b, "s3:ListBucketMultipartUploads")
	setOptional(c.Context, "s3:prefix", in.Prefix)
	setOptional(c.Context, "s3:delimiter", in.Delimiter)
	return []protocol.Check{c}, nil
}

// ListMultipartUploads lists the uploads under way by key, then by id.
//
// Errors: InvalidArgument.
func (s *Service) ListMultipartUploads(ctx context.Context, in *s3api.ListMultipartUploadsInput) (*s3api.ListMultipartUploadsOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("max-uploads", in.MaxUploads)
	if err != nil {
		return nil, err
	}
	encode, err := encoder(in.EncodingType)
	if err != nil {
		return nil, err
	}
	out := &s3api.ListMultipartUploadsOutput{
		Bucket: new(in.Bucket), KeyMarker: encode(text(in.KeyMarker)), UploadIdMarker: new(text(in.UploadIdMarker)),
		Prefix: encode(text(in.Prefix)), MaxUploads: new(int32(limit)), IsTruncated: new(false), EncodingType: in.EncodingType,
	}
	q := listQuery{prefix: text(in.Prefix), delimiter: text(in.Delimiter), limit: limit}
	if q.delimiter != "" {
		out.Delimiter = encode(q.delimiter)
	}
	if limit == 0 {
		return out, nil
	}
	n, lastGroup, lastKey, lastID := 0, "", "", ""
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		for row, err := range uploads.Scan(tx, store.Key{b.ID}, store.ScanOptions{StartsWith: q.prefix}) {
			if err != nil {
				return err
			}
			u := &row.Value
			g := q.group(u.Key)
			if behind(u, g, text(in.KeyMarker), text(in.UploadIdMarker)) || g != "" && g == lastGroup {
				continue
			}
			if n == limit {
				out.IsTruncated = new(true)
				break
			}
			n++
			if g != "" {
				lastGroup, lastKey, lastID = g, g, ""
				out.CommonPrefixes = append(out.CommonPrefixes, s3api.CommonPrefix{Prefix: encode(g)})
				continue
			}
			lastKey, lastID = u.Key, u.ID
			out.Uploads = append(out.Uploads, listedUpload(b, u, encode))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if *out.IsTruncated {
		out.NextKeyMarker, out.NextUploadIdMarker = encode(lastKey), new(lastID)
	}
	return out, nil
}

// behind reports whether an upload was told on an earlier page.
func behind(u *uploadRow, group, key, id string) bool {
	switch {
	case key == "":
		return false
	case group != "" && group == key:
		return true
	case u.Key == key && id != "":
		return u.ID <= id
	}
	return u.Key <= key
}

func listedUpload(b *bucketState, u *uploadRow, encode func(string) *string) s3api.MultipartUpload {
	m := s3api.MultipartUpload{
		UploadId: new(u.ID), Key: encode(u.Key), Initiated: new(u.Initiated), StorageClass: "STANDARD",
		Owner: owner(b.Account), Initiator: &s3api.Initiator{ID: new(u.Initiator)},
	}
	if u.Requested {
		m.ChecksumAlgorithm, m.ChecksumType = u.Checksum, u.ChecksumType
	}
	return m
}

// partList reads the parts of a CompleteMultipartUpload.
//
// Errors: MalformedXML, InvalidPartOrder.
func partList(in *s3api.CompleteMultipartUploadInput) ([]s3api.CompletedPart, error) {
	if in.MultipartUpload == nil || len(in.MultipartUpload.Parts) == 0 {
		return nil, s3api.MalformedXML("You must specify at least one part")
	}
	if len(in.MultipartUpload.Parts) > maxParts {
		return nil, malformedXML()
	}
	last := int32(0)
	for _, p := range in.MultipartUpload.Parts {
		if p.PartNumber == nil || p.ETag == nil {
			return nil, malformedXML()
		}
		if *p.PartNumber < 1 || *p.PartNumber > maxParts {
			return nil, invalidArgument("partNumber", count(int64(*p.PartNumber)), "PartNumber must be >= 1")
		}
		if *p.PartNumber <= last {
			return nil, s3api.InvalidPartOrder("The list of parts was not in ascending order. Parts must be ordered by part number.")
		}
		last = *p.PartNumber
	}
	return in.MultipartUpload.Parts, nil
}

func invalidPart(u *uploadRow, p *s3api.CompletedPart) error {
	return s3api.InvalidPart("One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.").
		With("UploadId", u.ID).With("PartNumber", count(int64(*p.PartNumber))).With("ETag", strings.Trim(*p.ETag, `"`))
}
