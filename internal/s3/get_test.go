package s3_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	s3api "github.com/sagekeep/sagekeep/api/s3"
)

func TestRanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	small, large := pattern(10), pattern(200_000)
	must(w, s3api.PutObject, &s3api.PutObjectInput{Bucket: "photos", Key: "small", Body: bytes.NewReader(small)})
	must(w, s3api.PutObject, &s3api.PutObjectInput{Bucket: "photos", Key: "large", Body: bytes.NewReader(large)})
	w.put("photos", "empty", "")
	for _, test := range []struct {
		key, header, content, code string
		from, to                   int
	}{
		{key: "small", header: "bytes=0-3", content: "bytes 0-3/10", from: 0, to: 4},
		{key: "small", header: "bytes=3-", content: "bytes 3-9/10", from: 3, to: 10},
		{key: "small", header: "bytes=-4", content: "bytes 6-9/10", from: 6, to: 10},
		{key: "small", header: "bytes=-400", content: "bytes 0-9/10", from: 0, to: 10},
		{key: "small", header: "bytes=5-99999999999999999999", content: "bytes 5-9/10", from: 5, to: 10},
		{key: "small", header: "bytes=9-9", content: "bytes 9-9/10", from: 9, to: 10},
		{key: "small", header: "bytes=10-", code: "InvalidRange"},
		{key: "small", header: "bytes=-0", code: "InvalidRange"},
		{key: "small", header: "bytes=5-4", from: 0, to: 10},
		{key: "small", header: "bytes=0-1,3-4", from: 0, to: 10},
		{key: "small", header: "lines=0-1", from: 0, to: 10},
		{key: "small", header: "bytes=a-b", from: 0, to: 10},
		{key: "empty", header: "bytes=0-", code: "InvalidRange"},
		{key: "large", header: "bytes=65535-65536", content: "bytes 65535-65536/200000", from: 65535, to: 65537},
		{key: "large", header: "bytes=65536-131071", content: "bytes 65536-131071/200000", from: 65536, to: 131072},
		{key: "large", header: "bytes=-1", content: "bytes 199999-199999/200000", from: 199_999, to: 200_000},
	} {
		t.Run(test.key+" "+test.header, func(t *testing.T) {
			out, err := call(w, s3api.GetObject, &s3api.GetObjectInput{Bucket: "photos", Key: test.key, Range: &test.header})
			wantCode(t, err, test.code, 0)
			if err != nil {
				return
			}
			body := map[string][]byte{"small": small, "large": large}[test.key]
			if got := readBody(t, out); got != string(body[test.from:test.to]) || *out.ContentLength != int64(len(got)) {
				t.Errorf("got %d bytes, length %d, want %d", len(got), *out.ContentLength, test.to-test.from)
			}
			if got := deref(out.ContentRange); got != test.content {
				t.Errorf("got Content-Range %q, want %q", got, test.content)
			}
			head := must(w, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "photos", Key: test.key, Range: &test.header})
			if *head.ContentLength != *out.ContentLength || deref(head.ContentRange) != test.content {
				t.Errorf("HEAD differs: %d %q", *head.ContentLength, deref(head.ContentRange))
			}
		})
	}
}

func deref(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

func TestConditionalReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	tag := w.put("photos", "a", "x").ETag
	at := w.clock()
	before, after := at.Add(-time.Hour), at.Add(time.Hour)
	other := new(`"0123456789abcdef0123456789abcdef"`)
	for _, test := range []struct {
		name string
		in   s3api.GetObjectInput
		code string
	}{
		{"If-Match", s3api.GetObjectInput{IfMatch: tag}, ""},
		{"If-Match without quotes", s3api.GetObjectInput{IfMatch: new(strings.Trim(*tag, `"`))}, ""},
		{"If-Match in a list", s3api.GetObjectInput{IfMatch: new(*other + ", " + *tag)}, ""},
		{"If-Match star", s3api.GetObjectInput{IfMatch: new("*")}, ""},
		{"If-Match other", s3api.GetObjectInput{IfMatch: other}, "PreconditionFailed"},
		{"If-None-Match", s3api.GetObjectInput{IfNoneMatch: tag}, "NotModified"},
		{"If-None-Match other", s3api.GetObjectInput{IfNoneMatch: other}, ""},
		{"modified since", s3api.GetObjectInput{IfModifiedSince: &before}, ""},
		{"not modified since", s3api.GetObjectInput{IfModifiedSince: &at}, "NotModified"},
		{"unmodified since", s3api.GetObjectInput{IfUnmodifiedSince: &after}, ""},
		{"not unmodified since", s3api.GetObjectInput{IfUnmodifiedSince: &before}, "PreconditionFailed"},
		{"If-Match beats the date", s3api.GetObjectInput{IfMatch: tag, IfUnmodifiedSince: &before}, ""},
		{"If-None-Match beats the date", s3api.GetObjectInput{IfNoneMatch: other, IfModifiedSince: &after}, ""},
		{"both match", s3api.GetObjectInput{IfNoneMatch: tag, IfModifiedSince: &before}, "NotModified"},
		{"version null", s3api.GetObjectInput{VersionId: new("null")}, ""},
		{"other version", s3api.GetObjectInput{VersionId: new("v1")}, "InvalidArgument"},
		{"SSE-C", s3api.GetObjectInput{SSECustomerAlgorithm: new("AES256")}, "InvalidRequest"},
		{"part 1", s3api.GetObjectInput{PartNumber: new(int32(1))}, ""},
		{"part 2", s3api.GetObjectInput{PartNumber: new(int32(2))}, "InvalidPartNumber"},
		{"part and range", s3api.GetObjectInput{PartNumber: new(int32(1)), Range: new("bytes=0-0")}, "InvalidRequest"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.in.Bucket, test.in.Key = "photos", "a"
			out, err := call(w, s3api.GetObject, &test.in)
			wantCode(t, err, test.code, 0)
			if err == nil {
				readBody(t, out)
			}
		})
	}
}

func TestMissingObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	w.allow("carol", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}`)
	for who, code := range map[string]string{"alice": "NoSuchKey", "carol": "AccessDenied"} {
		c := w.as(user(account, who))
		_, err := c.get("photos", "missing")
		wantCode(t, err, code, 0)
		_, err = call(c, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "photos", Key: "missing"})
		wantCode(t, err, code, 0)
	}
}

func TestEncryptionContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	arn := w.key()
	given := b64([]byte(`{"project":"apollo"}`))
	for _, bucketKey := range []bool{false, true} {
		put := must(w, s3api.PutObject, &s3api.PutObjectInput{
			Bucket: "photos", Key: "a", Body: strings.NewReader("x"), ServerSideEncryption: "aws:kms", SSEKMSKeyId: &arn,
			SSEKMSEncryptionContext: given, BucketKeyEnabled: &bucketKey,
		})
		if deref(put.SSEKMSEncryptionContext) != *given {
			t.Errorf("got context %q, want %q", deref(put.SSEKMSEncryptionContext), *given)
		}
		if got, err := w.get("photos", "a"); got != "x" {
			t.Fatal(err)
		}
	}
}

func TestExistingTagsInPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	must(w, s3api.PutObject, &s3api.PutObjectInput{Bucket: "photos", Key: "a", Body: strings.NewReader("x"), Tagging: new("class=open")})
	w.put("photos", "b", "x")
	w.allow("carol", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"StringEquals":{"s3:ExistingObjectTag/class":"open"}}}}`)
	carol := w.as(user(account, "carol"))
	if got, err := carol.get("photos", "a"); got != "x" {
		t.Error(err)
	}
	_, err := carol.get("photos", "b")
	wantCode(t, err, "AccessDenied", 403)
}
