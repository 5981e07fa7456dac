package s3

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/store"
)

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func (s *Service) completeUploadChecks(ctx context.Context, in *s3api.CompleteMultipartUploadInput) ([]protocol.Check, error) {
	b, err := s.locate(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	c, err := s.partCheck(ctx, b, in.Key, in.UploadId)
	if err != nil {
		return nil, err
	}
	setOptional(c.Context, "s3:if-match", in.IfMatch)
	setOptional(c.Context, "s3:if-none-match", in.IfNoneMatch)
	return []protocol.Check{c}, nil
}

// CompleteMultipartUpload makes the object from parts. No byte is moved: the
// object's row takes over the segments of its parts. Under a KMS key the caller
// must be able to decrypt.
//
// Errors: NoSuchUpload, InvalidPart, InvalidPartOrder, EntityTooSmall,
// BadDigest, PreconditionFailed, MalformedXML, KMS.….
//
// Source: S3 API Reference, CompleteMultipartUpload.
func (s *Service) CompleteMultipartUpload(ctx context.Context, in *s3api.CompleteMultipartUploadInput) (*s3api.CompleteMultipartUploadOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	wanted, err := partList(in)
	if err != nil {
		return nil, err
	}
	u, err := s.readUpload(ctx, b, in.Key, in.UploadId)
	if err != nil {
		return nil, err
	}
	dek, err := s.dataKey(ctx, b, u.Key, &u.Encryption)
	if err != nil {
		return nil, err
	}
	defer dek.Erase()
	var o *objectRow
	var sum string
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		u, err := upload(tx, b, in.Key, in.UploadId)
		if err != nil {
			return err
		}
		chosen, err := choose(tx, u, wanted)
		if err != nil {
			return err
		}
		o, sum, err = assemble(b, u, chosen, wanted, dek)
		if err != nil {
			return err
		}
		if err := promised(in, o, sum); err != nil {
			return err
		}
		if err := stillThere(tx, b); err != nil {
			return err
		}
		old, err := getObject(tx, b.ID, u.Key)
		if err != nil {
			return err
		}
		if err := writeCondition(u.Key, in.IfMatch, in.IfNoneMatch, old); err != nil {
			return err
		}
		o.Modified = s.timestamp()
		if err := s.putObjectRow(tx, b, old, o); err != nil {
			return err
		}
		return s.dropUpload(tx, b.ID, u, o.Segments)
	})
	if err != nil {
		return nil, storageError(err)
	}
	var h checksumHeaders
	h.set(o.Checksum.Algorithm, sum)
	return &s3api.CompleteMultipartUploadOutput{
		Bucket: new(in.Bucket), Key: new(in.Key), ETag: quoted(o.ETag), Location: new("/" + in.Bucket + "/" + urlEncode(in.Key)),
		ServerSideEncryption: o.Encryption.Algorithm, SSEKMSKeyId: o.Encryption.keyHeader(),
		BucketKeyEnabled: o.Encryption.bucketKeyHeader(), ChecksumType: o.Checksum.Type,
		ChecksumCRC32: h.crc32, ChecksumCRC32C: h.crc32c, ChecksumCRC64NVME: h.crc64nvme, ChecksumSHA1: h.sha1,
		ChecksumSHA256: h.sha256, ChecksumSHA512: h.sha512, ChecksumMD5: h.md5,
	}, nil
}

// choose finds the parts that the client lists.
func choose(tx *store.Tx, u *uploadRow, wanted []s3api.CompletedPart) ([]partRow, error) {
	page, err := parts.Page(tx, store.Key{u.ID}, store.ScanOptions{})
	if err != nil {
		return nil, err
	}
	have := make(map[int32]*partRow, len(page.Values))
	for i := range page.Values {
		have[page.Values[i].Number] = &page.Values[i]
	}
	chosen := make([]partRow, 0, len(wanted))
	for i := range wanted {
		w := &wanted[i]
		p := have[*w.PartNumber]
		if p == nil || strings.Trim(*w.ETag, `"`) != p.ETag {
			return nil, invalidPart(u, w)
		}
		if i < len(wanted)-1 && p.Segment.Size < minPart {
			return nil, s3api.EntityTooSmall("Your proposed upload is smaller than the minimum allowed size").
				With("ETag", p.ETag).With("MinSizeAllowed", strconv.Itoa(minPart)).With("PartNumber", count(int64(p.Number))).
				With("ProposedSize", count(p.Segment.Size))
		}
		chosen = append(chosen, *p)
	}
	return chosen, nil
}

// assemble builds the object's row from its parts. sum is the checksum in the
// clear.
func assemble(b *bucketState, u *uploadRow, chosen []partRow, wanted []s3api.CompletedPart, dek secret.Key) (o *objectRow, sum string, err error) {
	o = &objectRow{Key: u.Key, Version: u.Version, Headers: u.Headers, Encryption: u.Encryption, Multipart: true}
	sums := make([]string, len(chosen))
	etag := newHash(s3api.ChecksumAlgorithmMd5)
	for i := range chosen {
		p := &chosen[i]
		if sums[i], err = openChecksum(dek, partAAD(b, u, p.Number), p.Checksum); err != nil {
			return nil, "", fmt.Errorf("s3: open the checksum of a part: %w", err)
		}
		if err := partPromised(u, &wanted[i], sums[i]); err != nil {
			return nil, "", err
		}
		raw, err := hex.DecodeString(p.ETag)
		if err != nil {
			return nil, "", fmt.Errorf("s3: entity tag of a part: %w", err)
		}
		etag.Write(raw)
		o.Size += p.Segment.Size
		o.Segments = append(o.Segments, p.Segment)
	}
	o.ETag = hex.EncodeToString(etag.Sum(nil)) + "-" + strconv.Itoa(len(chosen))
	if sum, err = wholeSum(u, chosen, sums); err != nil {
		return nil, "", err
	}
	o.Checksum, err = sealChecksum(dek, sealedAAD("checksum", b, u.Version, u.Key), checksumRow{
		Algorithm: u.Checksum, Type: u.ChecksumType, Value: []byte(sum),
	})
	return o, sum, err
}

// partPromised compares a part's checksum with what the client lists.
func partPromised(u *uploadRow, w *s3api.CompletedPart, sum string) error {
	h := checksumHeaders{
		crc32: w.ChecksumCRC32, crc32c: w.ChecksumCRC32C, crc64nvme: w.ChecksumCRC64NVME, sha1: w.ChecksumSHA1,
		sha256: w.ChecksumSHA256, sha512: w.ChecksumSHA512, md5: w.ChecksumMD5,
	}
	for _, p := range h.each() {
		if *p.value != nil && p.name == u.Checksum && **p.value != sum {
			return invalidPart(u, w)
		}
	}
	return nil
}

// wholeSum is the checksum of the object: of the whole content, joined from
// those of the parts, or of the parts' sums with their number behind it.
func wholeSum(u *uploadRow, chosen []partRow, sums []string) (string, error) {
	a, ok := algorithmOf(u.Checksum)
	if !ok {
		return "", fmt.Errorf("s3: upload with the checksum %s", u.Checksum)
	}
	if u.ChecksumType == s3api.ChecksumTypeComposite {
		h := a.make()
		for _, text := range sums {
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return "", fmt.Errorf("s3: checksum of a part: %w", err)
			}
			h.Write(raw)
		}
		return base64Of(h.Sum(nil)) + "-" + strconv.Itoa(len(sums)), nil
	}
	var crc uint64
	for i, text := range sums {
		v, ok := a.crcValue(text)
		if !ok {
			return "", fmt.Errorf("s3: checksum of a part: %s", a.name)
		}
		crc = a.combine(crc, v, chosen[i].Segment.Size)
	}
	return a.crcText(crc), nil
}

// promised compares the object with what the request says about it.
func promised(in *s3api.CompleteMultipartUploadInput, o *objectRow, sum string) error {
	if in.MpuObjectSize != nil && *in.MpuObjectSize != o.Size {
		return s3api.InvalidRequest("The provided 'x-amz-mp-object-size' header does not match what was computed.")
	}
	if in.ChecksumType != "" && in.ChecksumType != o.Checksum.Type {
		return s3api.InvalidRequest("The upload was created using the %s checksum mode. The complete request must use the same checksum mode.", o.Checksum.Type)
	}
	h := checksumHeaders{
		crc32: in.ChecksumCRC32, crc32c: in.ChecksumCRC32C, crc64nvme: in.ChecksumCRC64NVME, sha1: in.ChecksumSHA1,
		sha256: in.ChecksumSHA256, sha512: in.ChecksumSHA512, md5: in.ChecksumMD5,
	}
	for _, p := range h.each() {
		if *p.value == nil {
			continue
		}
		if p.name != o.Checksum.Algorithm {
			return checksumMismatch(o.Checksum.Algorithm, p.name)
		}
		want, _, _ := strings.Cut(**p.value, "-")
		if got, _, _ := strings.Cut(sum, "-"); got != want {
			return s3api.BadDigest("The %s you specified did not match the calculated checksum.", p.name)
		}
	}
	return nil
}
