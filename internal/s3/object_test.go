package s3_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
)

func TestObjectComesBack(t *testing.T) {
	t.Parallel()
	sizes := map[string]int{"empty": 0, "one byte": 1, "longest inline": 16 << 10, "shortest segment": 16<<10 + 1, "two chunks": 64<<10 + 5, "a megabyte": 1<<20 + 3}
	w := newWorld(t)
	w.bucket("photos")
	arn := w.key()
	headers := map[string]s3api.PutObjectInput{
		"SSE-S3":     {},
		"SSE-KMS":    {ServerSideEncryption: "aws:kms", SSEKMSKeyId: &arn},
		"DSSE":       {ServerSideEncryption: "aws:kms:dsse", SSEKMSKeyId: &arn},
		"Bucket Key": {ServerSideEncryption: "aws:kms", SSEKMSKeyId: &arn, BucketKeyEnabled: new(true)},
		"aws/s3":     {ServerSideEncryption: "aws:kms"},
	}
	for size, n := range sizes {
		for kind, in := range headers {
			key := kind + "/" + size
			body := pattern(n)
			in.Bucket, in.Key, in.Body, in.ContentLength = "photos", key, bytes.NewReader(body), new(int64(n))
			put := must(w, s3api.PutObject, &in)
			out := must(w, s3api.GetObject, &s3api.GetObjectInput{Bucket: "photos", Key: key})
			if *out.ContentLength != int64(n) || *out.ETag != *put.ETag {
				t.Errorf("%s: got length %d and tag %s, want %d and %s", key, *out.ContentLength, *out.ETag, n, *put.ETag)
			}
			if got := readBody(t, out); got != string(body) {
				t.Errorf("%s: got %d bytes back that differ from the %d put", key, len(got), n)
			}
			wantAlgorithm := in.ServerSideEncryption
			if wantAlgorithm == "" {
				wantAlgorithm = "AES256"
			}
			if out.ServerSideEncryption != wantAlgorithm {
				t.Errorf("%s: got encryption %s, want %s", key, out.ServerSideEncryption, wantAlgorithm)
			}
			if in.SSEKMSKeyId != nil && (out.SSEKMSKeyId == nil || *out.SSEKMSKeyId != arn) {
				t.Errorf("%s: got key %v, want %s", key, out.SSEKMSKeyId, arn)
			}
			if (out.BucketKeyEnabled != nil) != (kind == "Bucket Key") {
				t.Errorf("%s: got bucket key header %v", key, out.BucketKeyEnabled)
			}
			if n > 0 {
				part := must(w, s3api.GetObject, &s3api.GetObjectInput{Bucket: "photos", Key: key, Range: new("bytes=-1")})
				if got := readBody(t, part); got != string(body[n-1:]) {
					t.Errorf("%s: the last byte came back as %q", key, got)
				}
			}
		}
	}
}

func TestNoPlaintextInSegments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	arn := w.key()
	marker := "the patient's name is Ada Lovelace"
	body := strings.Repeat(marker, 4096)
	must(w, s3api.PutObject, &s3api.PutObjectInput{Bucket: "photos", Key: "plain", Body: strings.NewReader(body)})
	must(w, s3api.PutObject, &s3api.PutObjectInput{Bucket: "photos", Key: "kms", Body: strings.NewReader(body), ServerSideEncryption: "aws:kms", SSEKMSKeyId: &arn})
	files := 0
	err := filepath.WalkDir(w.objects, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte("Ada")) || bytes.Contains(b, []byte("photos")) {
			t.Errorf("%s holds plaintext", path)
		}
		return err
	})
	if err != nil || files != 2 {
		t.Fatalf("got %d segments and %v, want 2", files, err)
	}
}

func TestDisabledKeyClosesObjects(t *testing.T) {
	t.Parallel()
	for _, bucketKey := range []bool{false, true} {
		w := newWorld(t)
		w.bucket("photos")
		arn := w.key()
		put := func(key string) error {
			_, err := call(w, s3api.PutObject, &s3api.PutObjectInput{
				Bucket: "photos", Key: key, Body: strings.NewReader("secret"), ServerSideEncryption: "aws:kms", SSEKMSKeyId: &arn, BucketKeyEnabled: &bucketKey,
			})
			return err
		}
		for range 3 {
			wantCode(t, put("a"), "", 0)
			if got, err := w.get("photos", "a"); got != "secret" {
				t.Fatalf("got %q and %v", got, err)
			}
		}
		must(w, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: arn})
		_, err := w.get("photos", "a")
		wantCode(t, err, "KMS.DisabledException", 400)
		if err.Error() != "KMS.DisabledException: "+arn+" is disabled." {
			t.Errorf("got %q", err)
		}
		wantCode(t, put("b"), "KMS.DisabledException", 400)
		_, err = call(w, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "photos", Key: "a", ChecksumMode: "ENABLED"})
		wantCode(t, err, "KMS.DisabledException", 400)
		must(w, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "photos", Key: "a"})
		must(w, kmsapi.EnableKey, &kmsapi.EnableKeyInput{KeyId: arn})
		if got, err := w.get("photos", "a"); got != "secret" {
			t.Fatalf("after EnableKey: got %q and %v", got, err)
		}
		must(w, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: arn})
		_, err = w.get("photos", "a")
		wantCode(t, err, "KMS.KMSInvalidStateException", 400)
	}
}

func TestBucketKeysSaveCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	arn := w.key()
	must(w, s3api.PutBucketEncryption, &s3api.PutBucketEncryptionInput{Bucket: "photos", ServerSideEncryptionConfiguration: rule("aws:kms", &arn, true)})
	for i := range 200 {
		key := string(rune('a'+i%26)) + "/" + string(rune('a'+i/26))
		w.put("photos", key, "x")
		if got, err := w.get("photos", key); got != "x" {
			t.Fatal(got, err)
		}
	}
	if w.kms.calls > 4 {
		t.Errorf("200 PUT and GET made %d KMS calls, want at most 4", w.kms.calls)
	}
	before := w.kms.calls
	w.as(user(account, "bob")).put("photos", "bob", "x")
	if w.kms.calls == before {
		t.Error("another principal used a bucket key without KMS being asked")
	}
	// Who may only write must not read through the writer's key.
	w.allow("carol", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["s3:*","kms:GenerateDataKey"],"Resource":"*"}}`)
	carol := w.as(user(account, "carol"))
	carol.put("photos", "carol", "x")
	_, err := carol.get("photos", "carol")
	wantCode(t, err, "AccessDenied", 403)
	if !strings.Contains(err.Error(), "kms:Decrypt") {
		t.Errorf("the refusal does not name kms:Decrypt: %v", err)
	}
	// IAM changes count as well.
	before = w.kms.calls
	w.mu.Lock()
	w.iamEpoch++
	w.mu.Unlock()
	w.put("photos", "again", "x")
	if w.kms.calls == before {
		t.Error("a bucket key was used after IAM had changed")
	}
}

func rule(algorithm s3api.ServerSideEncryption, key *string, bucketKey bool) *s3api.ServerSideEncryptionConfiguration {
	return &s3api.ServerSideEncryptionConfiguration{Rules: []s3api.ServerSideEncryptionRule{{
		ApplyServerSideEncryptionByDefault: &s3api.ServerSideEncryptionByDefault{SSEAlgorithm: algorithm, KMSMasterKeyID: key},
		BucketKeyEnabled:                   &bucketKey,
	}}}
}
