package s3_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"hash/crc64"
	"strings"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
)

const partSize = 5 << 20

func (w *world) upload(in *s3api.CreateMultipartUploadInput) string {
	w.t.Helper()
	return *must(w, s3api.CreateMultipartUpload, in).UploadId
}

func (w *world) part(id string, number int32, body []byte) s3api.CompletedPart {
	w.t.Helper()
	out := must(w, s3api.UploadPart, &s3api.UploadPartInput{Bucket: "photos", Key: "a", UploadId: id, PartNumber: number, Body: bytes.NewReader(body)})
	return s3api.CompletedPart{ETag: out.ETag, PartNumber: &number}
}

func completed(parts ...s3api.CompletedPart) *s3api.CompletedMultipartUpload {
	return &s3api.CompletedMultipartUpload{Parts: parts}
}

func TestMultipartUpload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	arn := w.key()
	whole := pattern(2*partSize + 1000)
	pieces := [][]byte{whole[:partSize], whole[partSize : 2*partSize], whole[2*partSize:]}
	nvme := crc64.Checksum(whole, crc64.MakeTable(0x9a6c9329ac4bc9b5))
	var sums []byte
	var tags []byte
	for _, p := range pieces {
		s := sha256.Sum256(p)
		sums = append(sums, s[:]...)
		m := md5.Sum(p)
		tags = append(tags, m[:]...)
	}
	composite := sha256.Sum256(sums)
	tag := md5.Sum(tags)
	for _, test := range []struct {
		name     string
		in       s3api.CreateMultipartUploadInput
		checksum func(*s3api.CompleteMultipartUploadOutput) *string
		want     string
		kind     s3api.ChecksumType
	}{
		{"default", s3api.CreateMultipartUploadInput{}, func(o *s3api.CompleteMultipartUploadOutput) *string { return o.ChecksumCRC64NVME }, *b64(binary.BigEndian.AppendUint64(nil, nvme)), "FULL_OBJECT"},
		{"full CRC32", s3api.CreateMultipartUploadInput{ChecksumAlgorithm: "CRC32", ChecksumType: "FULL_OBJECT"}, func(o *s3api.CompleteMultipartUploadOutput) *string { return o.ChecksumCRC32 }, *b64(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(whole))), "FULL_OBJECT"},
		{"full CRC32C", s3api.CreateMultipartUploadInput{ChecksumAlgorithm: "CRC32C", ChecksumType: "FULL_OBJECT", ServerSideEncryption: "aws:kms", SSEKMSKeyId: &arn, BucketKeyEnabled: new(true)}, func(o *s3api.CompleteMultipartUploadOutput) *string { return o.ChecksumCRC32C }, *b64(binary.BigEndian.AppendUint32(nil, crc32.Checksum(whole, crc32.MakeTable(crc32.Castagnoli)))), "FULL_OBJECT"},
		{"composite SHA-256 under KMS", s3api.CreateMultipartUploadInput{ChecksumAlgorithm: "SHA256", ServerSideEncryption: "aws:kms", SSEKMSKeyId: &arn}, func(o *s3api.CompleteMultipartUploadOutput) *string { return o.ChecksumSHA256 }, *b64(composite[:]) + "-3", "COMPOSITE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.in.Bucket, test.in.Key, test.in.ContentType = "photos", "a", new("image/tiff")
			id := w.upload(&test.in)
			var parts []s3api.CompletedPart
			for i, p := range pieces {
				parts = append(parts, w.part(id, int32(i*3+1), p))
			}
			// A part may come again, and be there without being chosen.
			parts[1] = w.part(id, 4, pieces[1])
			w.part(id, 9, []byte("unused"))
			listed := must(w, s3api.ListParts, &s3api.ListPartsInput{Bucket: "photos", Key: "a", UploadId: id, MaxParts: new(int32(2))})
			if len(listed.Parts) != 2 || !*listed.IsTruncated || *listed.NextPartNumberMarker != 4 {
				t.Errorf("got parts %+v", listed)
			}
			out := must(w, s3api.CompleteMultipartUpload, &s3api.CompleteMultipartUploadInput{Bucket: "photos", Key: "a", UploadId: id, MultipartUpload: completed(parts...), MpuObjectSize: new(int64(len(whole)))})
			if got := test.checksum(out); got == nil || *got != test.want || out.ChecksumType != test.kind {
				t.Errorf("got checksum %v %s, want %s %s", got, out.ChecksumType, test.want, test.kind)
			}
			if want := `"` + hex.EncodeToString(tag[:]) + `-3"`; test.in.SSEKMSKeyId == nil && *out.ETag != want || !strings.HasSuffix(*out.ETag, `-3"`) {
				t.Errorf("got entity tag %s, want %s", *out.ETag, want)
			}
			if got, err := w.get("photos", "a"); got != string(whole) {
				t.Fatalf("the object differs: %v", err)
			}
			span := must(w, s3api.GetObject, &s3api.GetObjectInput{Bucket: "photos", Key: "a", Range: new(fmt.Sprintf("bytes=%d-%d", partSize-2, 2*partSize+1))})
			if got := readBody(t, span); got != string(whole[partSize-2:2*partSize+2]) {
				t.Error("a range over three parts differs")
			}
			second := must(w, s3api.GetObject, &s3api.GetObjectInput{Bucket: "photos", Key: "a", PartNumber: new(int32(2))})
			if got := readBody(t, second); got != string(pieces[1]) || *second.PartsCount != 3 {
				t.Error("part 2 differs")
			}
			_, err := call(w, s3api.ListParts, &s3api.ListPartsInput{Bucket: "photos", Key: "a", UploadId: id})
			wantCode(t, err, "NoSuchUpload", 404)
			head := must(w, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "photos", Key: "a", ChecksumMode: "ENABLED"})
			if head.ChecksumType != test.kind || *head.ContentType != "image/tiff" {
				t.Errorf("got %+v", head)
			}
		})
	}
}

func TestMultipartErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	id := w.upload(&s3api.CreateMultipartUploadInput{Bucket: "photos", Key: "a"})
	one, two := w.part(id, 1, []byte("short")), w.part(id, 2, []byte("last"))
	wrong := one
	wrong.ETag = new(`"x"`)
	for _, test := range []struct {
		name string
		in   s3api.CompleteMultipartUploadInput
		code string
	}{
		{"no list", s3api.CompleteMultipartUploadInput{UploadId: id}, "MalformedXML"},
		{"wrong order", s3api.CompleteMultipartUploadInput{UploadId: id, MultipartUpload: completed(two, one)}, "InvalidPartOrder"},
		{"wrong tag", s3api.CompleteMultipartUploadInput{UploadId: id, MultipartUpload: completed(wrong)}, "InvalidPart"},
		{"missing part", s3api.CompleteMultipartUploadInput{UploadId: id, MultipartUpload: completed(s3api.CompletedPart{PartNumber: new(int32(7)), ETag: one.ETag})}, "InvalidPart"},
		{"short part", s3api.CompleteMultipartUploadInput{UploadId: id, MultipartUpload: completed(one, two)}, "EntityTooSmall"},
		{"size", s3api.CompleteMultipartUploadInput{UploadId: id, MultipartUpload: completed(one), MpuObjectSize: new(int64(9))}, "InvalidRequest"},
		{"checksum", s3api.CompleteMultipartUploadInput{UploadId: id, MultipartUpload: completed(one), ChecksumCRC64NVME: new("AAAAAAAAAAA=")}, "BadDigest"},
		{"unknown upload", s3api.CompleteMultipartUploadInput{UploadId: "x", MultipartUpload: completed(one)}, "NoSuchUpload"},
		{"condition", s3api.CompleteMultipartUploadInput{UploadId: id, MultipartUpload: completed(one), IfMatch: new(`"x"`)}, "NoSuchKey"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.in.Bucket, test.in.Key = "photos", "a"
			_, err := call(w, s3api.CompleteMultipartUpload, &test.in)
			wantCode(t, err, test.code, 0)
		})
	}
	_, err := call(w, s3api.UploadPart, &s3api.UploadPartInput{Bucket: "photos", Key: "a", UploadId: id, PartNumber: 10_001})
	wantCode(t, err, "InvalidArgument", 400)
	_, err = call(w, s3api.CreateMultipartUpload, &s3api.CreateMultipartUploadInput{Bucket: "photos", Key: "a", ChecksumAlgorithm: "SHA256", ChecksumType: "FULL_OBJECT"})
	wantCode(t, err, "InvalidRequest", 400)
	sums := w.upload(&s3api.CreateMultipartUploadInput{Bucket: "photos", Key: "a", ChecksumAlgorithm: "SHA256"})
	_, err = call(w, s3api.UploadPart, &s3api.UploadPartInput{Bucket: "photos", Key: "a", UploadId: sums, PartNumber: 1, Body: strings.NewReader("x"), ChecksumCRC32: new("AAAAAA==")})
	wantCode(t, err, "InvalidRequest", 400)
	must(w, s3api.AbortMultipartUpload, &s3api.AbortMultipartUploadInput{Bucket: "photos", Key: "a", UploadId: id})
	_, err = call(w, s3api.AbortMultipartUpload, &s3api.AbortMultipartUploadInput{Bucket: "photos", Key: "a", UploadId: id})
	wantCode(t, err, "NoSuchUpload", 404)
}

func TestUploadPartNeedsDecrypt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	arn := w.key()
	w.allow("carol", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["s3:*","kms:GenerateDataKey"],"Resource":"*"}}`)
	carol := w.as(user(account, "carol"))
	id := carol.upload(&s3api.CreateMultipartUploadInput{Bucket: "photos", Key: "a", ServerSideEncryption: "aws:kms", SSEKMSKeyId: &arn})
	_, err := call(carol, s3api.UploadPart, &s3api.UploadPartInput{Bucket: "photos", Key: "a", UploadId: id, PartNumber: 1, Body: strings.NewReader("x")})
	wantCode(t, err, "AccessDenied", 403)
	done := w.part(id, 1, []byte("x"))
	must(w, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: arn})
	_, err = call(w, s3api.CompleteMultipartUpload, &s3api.CompleteMultipartUploadInput{Bucket: "photos", Key: "a", UploadId: id, MultipartUpload: completed(done)})
	wantCode(t, err, "KMS.DisabledException", 400)
}

func TestListMultipartUploads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	for _, key := range []string{"a", "a", "b/1", "b/2", "c"} {
		w.upload(&s3api.CreateMultipartUploadInput{Bucket: "photos", Key: key})
	}
	for _, limit := range []int32{1, 2, 3, 10} {
		var got []string
		in := &s3api.ListMultipartUploadsInput{Bucket: "photos", Delimiter: new("/"), MaxUploads: &limit}
		for {
			out := must(w, s3api.ListMultipartUploads, in)
			for _, u := range out.Uploads {
				got = append(got, *u.Key)
			}
			for _, p := range out.CommonPrefixes {
				got = append(got, *p.Prefix)
			}
			if !*out.IsTruncated {
				break
			}
			in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
		}
		if len(got) != 4 {
			t.Errorf("limit %d: got %q", limit, got)
		}
	}
}

func TestPolicyForKeysLetsPartsPass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	arn := w.key()
	must(w, s3api.PutBucketPolicy, &s3api.PutBucketPolicyInput{Bucket: "photos", Policy: `{"Version":"2012-10-17","Statement":[{
		"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::photos/*",
		"Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"` + arn + `"}}}]}`})
	_, err := call(w, s3api.CreateMultipartUpload, &s3api.CreateMultipartUploadInput{Bucket: "photos", Key: "a"})
	wantCode(t, err, "AccessDenied", 403)
	id := w.upload(&s3api.CreateMultipartUploadInput{Bucket: "photos", Key: "a", ServerSideEncryption: "aws:kms", SSEKMSKeyId: &arn})
	done := w.part(id, 1, []byte("x"))
	must(w, s3api.CompleteMultipartUpload, &s3api.CompleteMultipartUploadInput{Bucket: "photos", Key: "a", UploadId: id, MultipartUpload: completed(done)})
	if got, err := w.get("photos", "a"); got != "x" {
		t.Error(err)
	}
}
