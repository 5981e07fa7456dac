package s3_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
)

func TestCopyObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	w.bucket("backup")
	arn, second := w.key(), w.key()
	must(w, s3api.PutBucketEncryption, &s3api.PutBucketEncryptionInput{Bucket: "backup", ServerSideEncryptionConfiguration: rule("aws:kms", &second, false)})
	for _, n := range []int{5, 100_000} {
		body := pattern(n)
		must(w, s3api.PutObject, &s3api.PutObjectInput{
			Bucket: "photos", Key: "dir/a b", Body: bytes.NewReader(body), ServerSideEncryption: "aws:kms", SSEKMSKeyId: &arn,
			ContentType: new("image/png"), Metadata: map[string]string{"team": "blue"}, Tagging: new("a=1"),
		})
		out := must(w, s3api.CopyObject, &s3api.CopyObjectInput{Bucket: "backup", Key: "b", CopySource: "photos/dir/a%20b"})
		if *out.SSEKMSKeyId != second {
			t.Errorf("got key %s, want the destination's default", *out.SSEKMSKeyId)
		}
		if got, err := w.get("backup", "b"); got != string(body) {
			t.Fatalf("the copy of %d bytes differs: %v", n, err)
		}
		head := must(w, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "backup", Key: "b"})
		if *head.ContentType != "image/png" || head.Metadata["team"] != "blue" || *head.TagCount != 1 {
			t.Errorf("got headers %+v", head)
		}
		must(w, s3api.CopyObject, &s3api.CopyObjectInput{
			Bucket: "backup", Key: "c", CopySource: "/photos/dir/a%20b", MetadataDirective: "REPLACE", Metadata: map[string]string{"x": "y"},
			ServerSideEncryption: "AES256",
		})
		head = must(w, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "backup", Key: "c"})
		if head.Metadata["team"] != "" || head.Metadata["x"] != "y" || head.ServerSideEncryption != "AES256" {
			t.Errorf("got headers %+v", head)
		}
	}
	tag := must(w, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "photos", Key: "dir/a b"}).ETag
	for _, test := range []struct {
		name string
		in   s3api.CopyObjectInput
		code string
	}{
		{"nothing changes", s3api.CopyObjectInput{Bucket: "backup", Key: "b", CopySource: "backup/b"}, "InvalidRequest"},
		{"onto itself with a header", s3api.CopyObjectInput{Bucket: "backup", Key: "b", CopySource: "backup/b", ServerSideEncryption: "AES256"}, ""},
		{"no such source", s3api.CopyObjectInput{Bucket: "backup", Key: "b", CopySource: "photos/missing"}, "NoSuchKey"},
		{"no such bucket", s3api.CopyObjectInput{Bucket: "backup", Key: "b", CopySource: "nowhere/a"}, "NoSuchBucket"},
		{"no key", s3api.CopyObjectInput{Bucket: "backup", Key: "b", CopySource: "photos"}, "InvalidArgument"},
		{"source condition holds", s3api.CopyObjectInput{Bucket: "backup", Key: "b", CopySource: "photos/dir/a%20b", CopySourceIfMatch: tag}, ""},
		{"source condition fails", s3api.CopyObjectInput{Bucket: "backup", Key: "b", CopySource: "photos/dir/a%20b", CopySourceIfNoneMatch: tag}, "PreconditionFailed"},
		{"destination condition", s3api.CopyObjectInput{Bucket: "backup", Key: "b", CopySource: "photos/dir/a%20b", IfNoneMatch: new("*")}, "PreconditionFailed"},
		{"directive", s3api.CopyObjectInput{Bucket: "backup", Key: "b", CopySource: "photos/dir/a%20b", MetadataDirective: "MIX"}, "InvalidArgument"},
	} {
		_, err := call(w, s3api.CopyObject, &test.in)
		t.Log(test.name)
		wantCode(t, err, test.code, 0)
	}
	w.allow("carol", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:PutObject","kms:*"],"Resource":"*"},{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::backup/*"}]}`)
	_, err := call(w.as(user(account, "carol")), s3api.CopyObject, &s3api.CopyObjectInput{Bucket: "backup", Key: "b", CopySource: "photos/dir/a%20b"})
	wantCode(t, err, "AccessDenied", 403)
	if !strings.Contains(err.Error(), "s3:GetObject") {
		t.Errorf("got %v, want the source's action named", err)
	}
	must(w, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: arn})
	_, err = call(w, s3api.CopyObject, &s3api.CopyObjectInput{Bucket: "backup", Key: "b", CopySource: "photos/dir/a%20b"})
	wantCode(t, err, "KMS.DisabledException", 400)
}

// What a write says about redirection comes back with the object; a copy takes
// it from its own request alone.
func TestWebsiteRedirectLocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	want := func(key, location string) {
		t.Helper()
		head := must(w, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "photos", Key: key})
		got := ""
		if head.WebsiteRedirectLocation != nil {
			got = *head.WebsiteRedirectLocation
		}
		if got != location {
			t.Errorf("%s redirects to %q, want %q", key, got, location)
		}
	}
	must(w, s3api.PutObject, &s3api.PutObjectInput{Bucket: "photos", Key: "a", Body: strings.NewReader("x"), WebsiteRedirectLocation: new("/b")})
	want("a", "/b")
	must(w, s3api.CopyObject, &s3api.CopyObjectInput{Bucket: "photos", Key: "plain", CopySource: "photos/a"})
	want("plain", "")
	must(w, s3api.CopyObject, &s3api.CopyObjectInput{Bucket: "photos", Key: "copied", CopySource: "photos/a", WebsiteRedirectLocation: new("https://example.com/")})
	want("copied", "https://example.com/")
	up := must(w, s3api.CreateMultipartUpload, &s3api.CreateMultipartUploadInput{Bucket: "photos", Key: "parts", WebsiteRedirectLocation: new("http://example.com/")})
	part := must(w, s3api.UploadPart, &s3api.UploadPartInput{Bucket: "photos", Key: "parts", UploadId: *up.UploadId, PartNumber: 1, Body: strings.NewReader("x")})
	must(w, s3api.CompleteMultipartUpload, &s3api.CompleteMultipartUploadInput{
		Bucket: "photos", Key: "parts", UploadId: *up.UploadId,
		MultipartUpload: &s3api.CompletedMultipartUpload{Parts: []s3api.CompletedPart{{PartNumber: new(int32(1)), ETag: part.ETag}}},
	})
	want("parts", "http://example.com/")
	_, err := call(w, s3api.PutObject, &s3api.PutObjectInput{Bucket: "photos", Key: "a", Body: strings.NewReader("x"), WebsiteRedirectLocation: new("b")})
	wantCode(t, err, "InvalidRedirectLocation", 400)
}

func TestTaggingDirective(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	must(w, s3api.PutObject, &s3api.PutObjectInput{Bucket: "photos", Key: "a", Body: strings.NewReader("x"), Tagging: new("a=1&b=2")})
	both := []s3api.Tag{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}}
	for _, test := range []struct {
		name string
		in   s3api.CopyObjectInput
		want []s3api.Tag
		code string
	}{
		{name: "none", want: both},
		{name: "copy", in: s3api.CopyObjectInput{TaggingDirective: "COPY"}, want: both},
		{name: "copy although there are new ones", in: s3api.CopyObjectInput{TaggingDirective: "COPY", Tagging: new("c=3")}, want: both},
		{name: "replace", in: s3api.CopyObjectInput{TaggingDirective: "REPLACE", Tagging: new("c=3")}, want: []s3api.Tag{{Key: "c", Value: "3"}}},
		{name: "replace by none", in: s3api.CopyObjectInput{TaggingDirective: "REPLACE"}},
		{name: "replace with the metadata", in: s3api.CopyObjectInput{TaggingDirective: "REPLACE", MetadataDirective: "REPLACE", Tagging: new("c=3")}, want: []s3api.Tag{{Key: "c", Value: "3"}}},
		{name: "replace the metadata alone", in: s3api.CopyObjectInput{MetadataDirective: "REPLACE"}, want: both},
		{name: "unknown", in: s3api.CopyObjectInput{TaggingDirective: "MIX"}, code: "InvalidArgument"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.in.Bucket, test.in.Key, test.in.CopySource = "photos", "b", "photos/a"
			_, err := call(w, s3api.CopyObject, &test.in)
			wantCode(t, err, test.code, 0)
			if err != nil {
				return
			}
			if got := must(w, s3api.GetObjectTagging, &s3api.GetObjectTaggingInput{Bucket: "photos", Key: "b"}).TagSet; !slices.Equal(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}
