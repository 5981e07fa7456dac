package s3_test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
)

// partCopier is a world with a large object in "photos" and one upload of it
// under way in "backup", each under its own key.
type partCopier struct {
	*world
	body           []byte
	source, target string // keys of KMS
	id             string
}

func newPartCopier(t *testing.T) *partCopier {
	t.Helper()
	w := newWorld(t)
	w.bucket("photos")
	w.bucket("backup")
	c := &partCopier{world: w, body: pattern(2*partSize + 1000), source: w.key(), target: w.key()}
	id := w.upload(&s3api.CreateMultipartUploadInput{Bucket: "photos", Key: "a", ServerSideEncryption: "aws:kms", SSEKMSKeyId: &c.source})
	parts := []s3api.CompletedPart{w.part(id, 1, c.body[:partSize+7]), w.part(id, 2, c.body[partSize+7:])}
	must(w, s3api.CompleteMultipartUpload, &s3api.CompleteMultipartUploadInput{Bucket: "photos", Key: "a", UploadId: id, MultipartUpload: completed(parts...)})
	c.id = w.upload(&s3api.CreateMultipartUploadInput{Bucket: "backup", Key: "b", ServerSideEncryption: "aws:kms", SSEKMSKeyId: &c.target})
	return c
}

// in fills what a test leaves out of a request.
func (c *partCopier) in(in s3api.UploadPartCopyInput) *s3api.UploadPartCopyInput {
	in.Bucket, in.Key = "backup", "b"
	if in.CopySource == "" {
		in.CopySource = "photos/a"
	}
	if in.UploadId == "" {
		in.UploadId = c.id
	}
	if in.PartNumber == 0 {
		in.PartNumber = 1
	}
	return &in
}

func TestUploadPartCopy(t *testing.T) {
	t.Parallel()
	c := newPartCopier(t)
	for _, test := range []struct {
		name   string
		upload s3api.CreateMultipartUploadInput
		ranges []string // "": everything
	}{
		{"whole", s3api.CreateMultipartUploadInput{}, []string{""}},
		{"whole under a key", s3api.CreateMultipartUploadInput{ServerSideEncryption: "aws:kms", SSEKMSKeyId: &c.target}, []string{""}},
		{"ranges", s3api.CreateMultipartUploadInput{}, []string{
			fmt.Sprintf("bytes=0-%d", partSize-1), fmt.Sprintf("bytes=%d-%d", partSize, 2*partSize-1), fmt.Sprintf("bytes=%d-%d", 2*partSize, 2*partSize+999),
		}},
		{"ranges under a bucket key, checked", s3api.CreateMultipartUploadInput{
			ServerSideEncryption: "aws:kms", SSEKMSKeyId: &c.target, BucketKeyEnabled: new(true), ChecksumAlgorithm: "SHA256",
		}, []string{fmt.Sprintf("bytes=0-%d", partSize+99), fmt.Sprintf("bytes=%d-%d", partSize+100, 2*partSize+999)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.upload.Bucket, test.upload.Key = "backup", "b"
			id := c.upload(&test.upload)
			var parts []s3api.CompletedPart
			at := 0
			for i, r := range test.ranges {
				in := c.in(s3api.UploadPartCopyInput{UploadId: id, PartNumber: int32(i + 1)})
				want := c.body
				if r != "" {
					in.CopySourceRange = &r
					var first, last int
					if _, err := fmt.Sscanf(r, "bytes=%d-%d", &first, &last); err != nil {
						t.Fatal(err)
					}
					want = c.body[first : last+1]
				}
				at += len(want)
				out := must(c.world, s3api.UploadPartCopy, in)
				got := out.CopyPartResult
				if sum := md5.Sum(want); test.upload.SSEKMSKeyId == nil && *got.ETag != `"`+hex.EncodeToString(sum[:])+`"` {
					t.Errorf("part %d: got entity tag %s", i+1, *got.ETag)
				}
				if sum := sha256.Sum256(want); test.upload.ChecksumAlgorithm != "" && deref(got.ChecksumSHA256) != *b64(sum[:]) {
					t.Errorf("part %d: got checksum %q", i+1, deref(got.ChecksumSHA256))
				}
				if got.ChecksumCRC64NVME != nil {
					t.Errorf("part %d: got a checksum nobody asked for", i+1)
				}
				if !got.LastModified.Equal(c.clock()) || deref(out.SSEKMSKeyId) != deref(test.upload.SSEKMSKeyId) {
					t.Errorf("part %d: got %+v %+v", i+1, out, got)
				}
				parts = append(parts, s3api.CompletedPart{ETag: got.ETag, PartNumber: new(in.PartNumber), ChecksumSHA256: got.ChecksumSHA256})
			}
			if at != len(c.body) {
				t.Fatalf("the ranges cover %d bytes", at)
			}
			must(c.world, s3api.CompleteMultipartUpload, &s3api.CompleteMultipartUploadInput{Bucket: "backup", Key: "b", UploadId: id, MultipartUpload: completed(parts...)})
			if got, err := c.get("backup", "b"); got != string(c.body) {
				t.Fatalf("the copy differs: %v", err)
			}
		})
	}
}

func TestUploadPartCopyErrors(t *testing.T) {
	t.Parallel()
	c := newPartCopier(t)
	c.put("photos", "small", "0123456789")
	tag := must(c.world, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "photos", Key: "a"}).ETag
	last := len(c.body) - 1
	before, after := new(c.clock().Add(-time.Hour)), new(c.clock().Add(time.Hour))
	for _, test := range []struct {
		name string
		in   s3api.UploadPartCopyInput
		code string
	}{
		{"everything as a range", s3api.UploadPartCopyInput{CopySourceRange: new(fmt.Sprintf("bytes=0-%d", last))}, ""},
		{"one byte", s3api.UploadPartCopyInput{CopySourceRange: new(fmt.Sprintf("bytes=%d-%d", last, last))}, ""},
		{"a small source as a whole", s3api.UploadPartCopyInput{CopySource: "photos/small"}, ""},
		{"a range of a small source", s3api.UploadPartCopyInput{CopySource: "photos/small", CopySourceRange: new("bytes=0-4")}, "InvalidRequest"},
		{"range past the end", s3api.UploadPartCopyInput{CopySourceRange: new(fmt.Sprintf("bytes=0-%d", last+1))}, "InvalidArgument"},
		{"range behind the end", s3api.UploadPartCopyInput{CopySourceRange: new(fmt.Sprintf("bytes=%d-%d", last+1, last+1))}, "InvalidArgument"},
		{"range without an end", s3api.UploadPartCopyInput{CopySourceRange: new("bytes=0-")}, "InvalidArgument"},
		{"range from the end", s3api.UploadPartCopyInput{CopySourceRange: new("bytes=-5")}, "InvalidArgument"},
		{"range backwards", s3api.UploadPartCopyInput{CopySourceRange: new("bytes=5-4")}, "InvalidArgument"},
		{"two ranges", s3api.UploadPartCopyInput{CopySourceRange: new("bytes=0-1,3-4")}, "InvalidArgument"},
		{"range without a unit", s3api.UploadPartCopyInput{CopySourceRange: new("0-1")}, "InvalidArgument"},
		{"empty range", s3api.UploadPartCopyInput{CopySourceRange: new("")}, "InvalidArgument"},
		{"part 0", s3api.UploadPartCopyInput{PartNumber: -1}, "InvalidArgument"},
		{"part 10,001", s3api.UploadPartCopyInput{PartNumber: 10_001}, "InvalidArgument"},
		{"no such upload", s3api.UploadPartCopyInput{UploadId: "x"}, "NoSuchUpload"},
		{"no such source", s3api.UploadPartCopyInput{CopySource: "photos/missing"}, "NoSuchKey"},
		{"no such bucket", s3api.UploadPartCopyInput{CopySource: "nowhere/a"}, "NoSuchBucket"},
		{"no key", s3api.UploadPartCopyInput{CopySource: "photos"}, "InvalidArgument"},
		{"unknown version", s3api.UploadPartCopyInput{CopySource: "photos/a?versionId=x"}, "InvalidArgument"},
		{"owner of the source", s3api.UploadPartCopyInput{ExpectedSourceBucketOwner: new(other)}, "AccessDenied"},
		{"owner", s3api.UploadPartCopyInput{ExpectedBucketOwner: new(other)}, "AccessDenied"},
		{"customer's key", s3api.UploadPartCopyInput{SSECustomerAlgorithm: new("AES256")}, "InvalidRequest"},
		{"customer's key of the source", s3api.UploadPartCopyInput{CopySourceSSECustomerAlgorithm: new("AES256")}, "InvalidRequest"},
		{"match", s3api.UploadPartCopyInput{CopySourceIfMatch: tag}, ""},
		{"no match", s3api.UploadPartCopyInput{CopySourceIfMatch: new(`"x"`)}, "PreconditionFailed"},
		{"none match", s3api.UploadPartCopyInput{CopySourceIfNoneMatch: new(`"x"`)}, ""},
		{"one matches", s3api.UploadPartCopyInput{CopySourceIfNoneMatch: tag}, "PreconditionFailed"},
		{"modified", s3api.UploadPartCopyInput{CopySourceIfModifiedSince: before}, ""},
		{"not modified", s3api.UploadPartCopyInput{CopySourceIfModifiedSince: after}, "PreconditionFailed"},
		{"unmodified", s3api.UploadPartCopyInput{CopySourceIfUnmodifiedSince: after}, ""},
		{"not unmodified", s3api.UploadPartCopyInput{CopySourceIfUnmodifiedSince: before}, "PreconditionFailed"},
		{"a match beats the time", s3api.UploadPartCopyInput{CopySourceIfMatch: tag, CopySourceIfUnmodifiedSince: before}, ""},
		{"a tag beats the time", s3api.UploadPartCopyInput{CopySourceIfNoneMatch: tag, CopySourceIfModifiedSince: before}, "PreconditionFailed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := c.in(test.in)
			if in.CopySourceRange == nil && in.CopySource == "photos/a" {
				in.CopySourceRange = new("bytes=0-9") // conditions need no large copy
			}
			_, err := call(c.world, s3api.UploadPartCopy, in)
			wantCode(t, err, test.code, 0)
		})
	}
}

func TestUploadPartCopyNeedsRights(t *testing.T) {
	t.Parallel()
	c := newPartCopier(t)
	const write = `{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::backup/*"}`
	const read = `{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}`
	decrypt := func(key string) string {
		return `{"Effect":"Allow","Action":"kms:Decrypt","Resource":"` + key + `"}`
	}
	for _, test := range []struct {
		name       string
		statements []string
		denied     []string // what the refusal names; none: allowed
	}{
		{"source", []string{write, decrypt("*")}, []string{"s3:GetObject", "photos/a"}},
		{"destination", []string{read, decrypt("*")}, []string{"s3:PutObject", "backup/b"}},
		{"key of the source", []string{read, write, decrypt(c.target)}, []string{"kms:Decrypt", c.source}},
		{"key of the destination", []string{read, write, decrypt(c.source)}, []string{"kms:Decrypt", c.target}},
		{"source that policies refuse", []string{read, write, decrypt("*"), `{"Effect":"Deny","Action":"s3:PutObject","Resource":"*","Condition":{"StringLike":{"s3:x-amz-copy-source":"photos/*"}}}`}, []string{"s3:PutObject"}},
		{"all of them", []string{read, write, decrypt(c.source), decrypt(c.target)}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.allow("carol", `{"Version":"2012-10-17","Statement":[`+strings.Join(test.statements, ",")+`]}`)
			_, err := call(c.as(user(account, "carol")), s3api.UploadPartCopy, c.in(s3api.UploadPartCopyInput{CopySourceRange: new("bytes=0-9")}))
			if test.denied == nil {
				wantCode(t, err, "", 0)
				return
			}
			wantCode(t, err, "AccessDenied", 403)
			for _, text := range test.denied {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("got %v, want %s named", err, text)
				}
			}
		})
	}
}

func TestUploadPartCopyUnderDisabledKeys(t *testing.T) {
	t.Parallel()
	c := newPartCopier(t)
	in := c.in(s3api.UploadPartCopyInput{CopySourceRange: new("bytes=0-9")})
	for _, key := range []string{c.source, c.target} {
		must(c.world, s3api.UploadPartCopy, in)
		must(c.world, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: key})
		_, err := call(c.world, s3api.UploadPartCopy, in)
		wantCode(t, err, "KMS.DisabledException", 400)
		must(c.world, kmsapi.EnableKey, &kmsapi.EnableKeyInput{KeyId: key})
	}
	must(c.world, s3api.UploadPartCopy, in)
}

// A part that is copied in place of another one leaves no segment behind.
func TestUploadPartCopyReplaces(t *testing.T) {
	t.Parallel()
	c := newPartCopier(t)
	for _, r := range []string{"bytes=0-9", "bytes=10-29"} {
		must(c.world, s3api.UploadPartCopy, c.in(s3api.UploadPartCopyInput{CopySourceRange: &r}))
	}
	listed := must(c.world, s3api.ListParts, &s3api.ListPartsInput{Bucket: "backup", Key: "b", UploadId: c.id})
	if len(listed.Parts) != 1 || *listed.Parts[0].Size != 20 {
		t.Fatalf("got parts %+v", listed.Parts)
	}
	must(c.world, s3api.CompleteMultipartUpload, &s3api.CompleteMultipartUploadInput{
		Bucket: "backup", Key: "b", UploadId: c.id,
		MultipartUpload: completed(s3api.CompletedPart{PartNumber: new(int32(1)), ETag: listed.Parts[0].ETag}),
	})
	if got, err := c.get("backup", "b"); got != string(c.body[10:30]) {
		t.Errorf("got %q, %v", got, err)
	}
}
