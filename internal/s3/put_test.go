package s3_test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// trailed is a body with trailing headers.
type trailed struct {
	io.Reader
	h http.Header
}

func (b trailed) Trailer() http.Header { return b.h }

func b64(b []byte) *string { return new(base64.StdEncoding.EncodeToString(b)) }

func TestBodyIsProvenBeforeTheCommit(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 40_000} {
		body := string(pattern(size))
		sum := sha256.Sum256([]byte(body))
		wrong := sha256.Sum256([]byte("wrong"))
		digest := md5.Sum([]byte(body))
		c32 := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(body)))
		for _, test := range []struct {
			name string
			in   s3api.PutObjectInput
			body io.Reader
			code string
		}{
			{name: "no promise"},
			{name: "good MD5", in: s3api.PutObjectInput{ContentMD5: b64(digest[:])}},
			{name: "other MD5", in: s3api.PutObjectInput{ContentMD5: b64(wrong[:16])}, code: "BadDigest"},
			{name: "no MD5 at all", in: s3api.PutObjectInput{ContentMD5: new("x")}, code: "InvalidDigest"},
			{name: "good SHA-256", in: s3api.PutObjectInput{ChecksumSHA256: b64(sum[:])}},
			{name: "other SHA-256", in: s3api.PutObjectInput{ChecksumSHA256: b64(wrong[:])}, code: "BadDigest"},
			{name: "no SHA-256 at all", in: s3api.PutObjectInput{ChecksumSHA256: new("eA==")}, code: "InvalidRequest"},
			{name: "two checksums", in: s3api.PutObjectInput{ChecksumSHA256: b64(sum[:]), ChecksumCRC32: b64(c32)}, code: "InvalidRequest"},
			{name: "algorithm we lack", in: s3api.PutObjectInput{ChecksumXXHASH64: new("eA==")}, code: "NotImplemented"},
			{name: "announced and sent", in: s3api.PutObjectInput{ChecksumAlgorithm: "CRC32", ChecksumCRC32: b64(c32)}},
			{name: "announced, not sent", in: s3api.PutObjectInput{ChecksumAlgorithm: "CRC32"}, code: "InvalidRequest"},
			{name: "announced other", in: s3api.PutObjectInput{ChecksumAlgorithm: "SHA1", ChecksumCRC32: b64(c32)}, code: "InvalidRequest"},
			{
				name: "trailer, announced", in: s3api.PutObjectInput{ChecksumAlgorithm: "CRC32"},
				body: trailed{strings.NewReader(body), http.Header{"X-Amz-Checksum-Crc32": {*b64(c32)}}},
			},
			{name: "trailer out of the blue", body: trailed{strings.NewReader(body), http.Header{"X-Amz-Checksum-Sha256": {*b64(sum[:])}}}},
			{name: "wrong trailer", body: trailed{strings.NewReader(body), http.Header{"X-Amz-Checksum-Sha256": {*b64(wrong[:])}}}, code: "BadDigest"},
			{name: "right length", in: s3api.PutObjectInput{ContentLength: new(int64(size))}},
			{name: "too short", in: s3api.PutObjectInput{ContentLength: new(int64(size + 1))}, code: "IncompleteBody"},
			{name: "too long", in: s3api.PutObjectInput{ContentLength: new(int64(size - 1))}, code: "IncompleteBody"},
			{name: "far too large", in: s3api.PutObjectInput{ContentLength: new(int64(6 << 30))}, code: "EntityTooLarge"},
			{name: "broken connection", body: io.MultiReader(strings.NewReader(body[:size/2]), iotest.ErrReader(io.ErrClosedPipe)), code: "RequestTimeout"},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.bucket("photos")
				w.put("photos", "a", "before")
				in := test.in
				in.Bucket, in.Key, in.Body = "photos", "a", test.body
				if in.Body == nil {
					in.Body = strings.NewReader(body)
				}
				_, err := call(w, s3api.PutObject, &in)
				wantCode(t, err, test.code, 0)
				want := body
				if err != nil {
					want = "before"
				}
				if got, err := w.get("photos", "a"); got != want {
					t.Errorf("got %d bytes and %v, want %d", len(got), err, len(want))
				}
				if n := w.segments(); err != nil && n != 0 {
					t.Errorf("a refused body left %d segments", n)
				}
			})
		}
	}
}

func (w *world) segments() int {
	w.t.Helper()
	n := 0
	for _, err := range w.blobs.List(w.t.Context()) {
		if err != nil {
			w.t.Fatal(err)
		}
		n++
	}
	return n
}

func TestSignatureErrorsPassThrough(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	bad := &sigv4.Error{Kind: sigv4.BodyHash, Message: "mismatch"}
	_, err := call(w, s3api.PutObject, &s3api.PutObjectInput{Bucket: "photos", Key: "a", Body: io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), iotest.ErrReader(bad))})
	if err != error(bad) {
		t.Errorf("got %v, want the signature's own error", err)
	}
	_, err = w.get("photos", "a")
	wantCode(t, err, "NoSuchKey", 404)
	if w.segments() != 0 {
		t.Error("a refused body left a segment")
	}
}

func TestChecksumComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	arn := w.key()
	for _, key := range []*string{nil, &arn} {
		in := &s3api.PutObjectInput{Bucket: "photos", Key: "a", Body: strings.NewReader("123456789"), SSEKMSKeyId: key}
		if key != nil {
			in.ServerSideEncryption = "aws:kms"
		}
		put := must(w, s3api.PutObject, in)
		raw := binary.BigEndian.AppendUint64(nil, 0xAE8B14860A799888) // the check value of CRC-64/NVME
		if *put.ChecksumCRC64NVME != *b64(raw) || put.ChecksumType != "FULL_OBJECT" {
			t.Errorf("got CRC64NVME %s %s, want %s", *put.ChecksumCRC64NVME, put.ChecksumType, *b64(raw))
		}
		head := must(w, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "photos", Key: "a", ChecksumMode: "ENABLED"})
		if *head.ChecksumCRC64NVME != *b64(raw) {
			t.Errorf("HEAD: got %s", *head.ChecksumCRC64NVME)
		}
		if head := must(w, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "photos", Key: "a"}); head.ChecksumCRC64NVME != nil {
			t.Error("HEAD without checksum mode told the checksum")
		}
		sum := md5.Sum([]byte("123456789"))
		if isMD5 := strings.Trim(*put.ETag, `"`) == hex.EncodeToString(sum[:]); isMD5 != (key == nil) {
			t.Errorf("key %v: got entity tag %s", key != nil, *put.ETag)
		}
	}
}

func TestHeadersComeBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	must(w, s3api.PutObject, &s3api.PutObjectInput{
		Bucket: "photos", Key: "a", Body: strings.NewReader("x"), ContentType: new("image/png"), CacheControl: new("no-cache"),
		ContentDisposition: new("attachment"), ContentEncoding: new("aws-chunked,gzip"), ContentLanguage: new("de"),
		Expires: new("Thu, 01 Dec 1994 16:00:00 GMT"), Metadata: map[string]string{"team": "blue"}, Tagging: new("a=1&b=%20"),
	})
	out := must(w, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "photos", Key: "a"})
	if *out.ContentType != "image/png" || *out.CacheControl != "no-cache" || *out.ContentDisposition != "attachment" ||
		*out.ContentEncoding != "gzip" || *out.ContentLanguage != "de" || out.Metadata["team"] != "blue" || *out.TagCount != 2 {
		t.Errorf("got %+v", out)
	}
	w.put("photos", "b", "x")
	if out := must(w, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "photos", Key: "b"}); *out.ContentType != "binary/octet-stream" || out.ContentEncoding != nil {
		t.Errorf("got defaults %v %v", *out.ContentType, out.ContentEncoding)
	}
	got := must(w, s3api.GetObject, &s3api.GetObjectInput{Bucket: "photos", Key: "a", ResponseContentType: new("text/plain"), ResponseExpires: new(time.Unix(0, 0))})
	readBody(t, got)
	if *got.ContentType != "text/plain" || *got.Expires != "Thu, 01 Jan 1970 00:00:00 GMT" {
		t.Errorf("got overridden headers %s %s", *got.ContentType, *got.Expires)
	}
}

func TestPutObjectRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	arn := w.key()
	for _, test := range []struct {
		name string
		in   s3api.PutObjectInput
		code string
	}{
		{"long key", s3api.PutObjectInput{Key: strings.Repeat("k", 1025)}, "KeyTooLongError"},
		{"key that is no text", s3api.PutObjectInput{Key: "\xff"}, "InvalidURI"},
		{"metadata", s3api.PutObjectInput{Metadata: map[string]string{"a": strings.Repeat("x", 2048)}}, "MetadataTooLarge"},
		{"ACL", s3api.PutObjectInput{ACL: "public-read"}, "AccessControlListNotSupported"},
		{"grant", s3api.PutObjectInput{GrantRead: new("id=x")}, "AccessControlListNotSupported"},
		{"storage class", s3api.PutObjectInput{StorageClass: "GLACIER"}, "InvalidStorageClass"},
		{"object lock", s3api.PutObjectInput{ObjectLockMode: "GOVERNANCE"}, "InvalidRequest"},
		{"tags", s3api.PutObjectInput{Tagging: new("a=1&a=2")}, "InvalidArgument"},
		{"reserved tag", s3api.PutObjectInput{Tagging: new("aws:a=1")}, "InvalidTag"},
		{"SSE-C", s3api.PutObjectInput{SSECustomerAlgorithm: new("AES256")}, "NotImplemented"},
		{"SSE-C and SSE", s3api.PutObjectInput{SSECustomerAlgorithm: new("AES256"), ServerSideEncryption: "AES256"}, "InvalidArgument"},
		{"key without algorithm", s3api.PutObjectInput{SSEKMSKeyId: &arn}, "InvalidArgument"},
		{"key with AES256", s3api.PutObjectInput{SSEKMSKeyId: &arn, ServerSideEncryption: "AES256"}, "InvalidArgument"},
		{"algorithm", s3api.PutObjectInput{ServerSideEncryption: "AES192"}, "InvalidArgument"},
		{"context that is no JSON", s3api.PutObjectInput{ServerSideEncryption: "aws:kms", SSEKMSEncryptionContext: new("e30x")}, "InvalidArgument"},
		{"context with our pair", s3api.PutObjectInput{ServerSideEncryption: "aws:kms", SSEKMSEncryptionContext: b64([]byte(`{"aws:s3:arn":"x"}`))}, "InvalidArgument"},
		{"no key id", s3api.PutObjectInput{ServerSideEncryption: "aws:kms", SSEKMSKeyId: new("nonsense")}, "KMS.NotFoundException"},
		{"unknown key", s3api.PutObjectInput{ServerSideEncryption: "aws:kms", SSEKMSKeyId: new("134f2428-cec1-4b25-a1ae-9048164dba47")}, "KMS.NotFoundException"},
		{"key elsewhere", s3api.PutObjectInput{ServerSideEncryption: "aws:kms", SSEKMSKeyId: new(strings.Replace(arn, region, "eu-west-1", 1))}, "KMS.NotFoundException"},
		{"offset", s3api.PutObjectInput{WriteOffsetBytes: new(int64(1))}, "NotImplemented"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.in.Bucket, test.in.Body = "photos", strings.NewReader("x")
			if test.in.Key == "" {
				test.in.Key = "a"
			}
			_, err := call(w, s3api.PutObject, &test.in)
			wantCode(t, err, test.code, 0)
		})
	}
	_, err := call(w, s3api.PutObject, &s3api.PutObjectInput{Bucket: "nowhere", Key: "a"})
	wantCode(t, err, "NoSuchBucket", 404)
	w.allow("carol", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`)
	_, err = call(w.as(user(account, "carol")), s3api.PutObject, &s3api.PutObjectInput{Bucket: "photos", Key: "a", ServerSideEncryption: "aws:kms", SSEKMSKeyId: &arn})
	wantCode(t, err, "AccessDenied", 403)
	if !strings.Contains(err.Error(), "kms:GenerateDataKey on resource: "+arn) {
		t.Errorf("got %v", err)
	}
}

func TestConditionalWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	put := func(match, none *string) error {
		_, err := call(w, s3api.PutObject, &s3api.PutObjectInput{Bucket: "photos", Key: "a", Body: strings.NewReader("x"), IfMatch: match, IfNoneMatch: none})
		return err
	}
	wantCode(t, put(new(`"x"`), nil), "NoSuchKey", 404)
	wantCode(t, put(nil, new("*")), "", 0)
	wantCode(t, put(nil, new("*")), "PreconditionFailed", 412)
	wantCode(t, put(nil, new(`"x"`)), "NotImplemented", 501)
	wantCode(t, put(new(`"x"`), nil), "PreconditionFailed", 412)
	tag := must(w, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "photos", Key: "a"}).ETag
	wantCode(t, put(tag, nil), "", 0)
	_, err := call(w, s3api.DeleteObject, &s3api.DeleteObjectInput{Bucket: "photos", Key: "a", IfMatch: new(`"x"`)})
	wantCode(t, err, "PreconditionFailed", 412)
	must(w, s3api.DeleteObject, &s3api.DeleteObjectInput{Bucket: "photos", Key: "a", IfMatch: tag})
	_, err = call(w, s3api.DeleteObject, &s3api.DeleteObjectInput{Bucket: "photos", Key: "a", IfMatch: tag})
	wantCode(t, err, "NoSuchKey", 404)
	must(w, s3api.DeleteObject, &s3api.DeleteObjectInput{Bucket: "photos", Key: "a"})
}

// TestNobodyUsesAKey: a request that nobody signed is served nothing under a KMS
// key, even when bucket and key are open to everybody.
func TestNobodyUsesAKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	key := *must(w, kmsapi.CreateKey, &kmsapi.CreateKeyInput{Policy: new(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}}`)}).KeyMetadata.Arn
	must(w, s3api.PutBucketPolicy, &s3api.PutBucketPolicyInput{Bucket: "photos", Policy: `{"Version":"2012-10-17","Statement":
		{"Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::photos/*"}}`})
	nobody := w.as(&identity.Caller{Type: identity.Anonymous, ARN: "anonymous"})
	w.put("photos", "open", "x")
	for _, bucketKey := range []bool{false, true} {
		sealed := s3api.PutObjectInput{Bucket: "photos", Key: "sealed", ServerSideEncryption: s3api.ServerSideEncryptionAwsKms, SSEKMSKeyId: &key, BucketKeyEnabled: &bucketKey}
		in := sealed
		in.Body = strings.NewReader("x")
		must(w, s3api.PutObject, &in)
		if got, err := w.get("photos", "sealed"); got != "x" {
			t.Fatalf("a signed request: %q, %v", got, err)
		}
		_, err := nobody.get("photos", "sealed")
		wantCode(t, err, "InvalidArgument", 400)
		in = sealed
		in.Body = strings.NewReader("y")
		_, err = call(nobody, s3api.PutObject, &in)
		wantCode(t, err, "InvalidArgument", 400)
		_, err = call(nobody, s3api.CopyObject, &s3api.CopyObjectInput{Bucket: "photos", Key: "copy", CopySource: "photos/sealed"})
		wantCode(t, err, "InvalidArgument", 400)
		_, err = call(nobody, s3api.CreateMultipartUpload, &s3api.CreateMultipartUploadInput{
			Bucket: "photos", Key: "sealed", ServerSideEncryption: s3api.ServerSideEncryptionAwsKms, SSEKMSKeyId: &key, BucketKeyEnabled: &bucketKey,
		})
		wantCode(t, err, "InvalidArgument", 400)
	}
	if got, err := nobody.get("photos", "open"); got != "x" {
		t.Errorf("an object without a KMS key: %q, %v", got, err)
	}
}
