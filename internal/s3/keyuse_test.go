package s3_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/s3"
)

// keyUses asks until the end, budget objects at a time, and adds up what it is told.
func (w *world) keyUses(k s3.KeyNames, budget int) (uses map[string]s3.KeyUse, read, calls int) {
	w.t.Helper()
	uses = map[string]s3.KeyUse{}
	var cursor []byte
	for {
		found, next, n, err := w.svc.KeyUses(w.t.Context(), k, cursor, budget)
		if err != nil {
			w.t.Fatal(err)
		}
		read, calls = read+n, calls+1
		for _, u := range found {
			have := uses[u.Bucket]
			have.Bucket, have.Account = u.Bucket, u.Account
			have.Default, have.BucketKey, have.Policy = have.Default || u.Default, have.BucketKey || u.BucketKey, have.Policy || u.Policy
			have.Objects, have.Bytes, have.Uploads = have.Objects+u.Objects, have.Bytes+u.Bytes, have.Uploads+u.Uploads
			uses[u.Bucket] = have
		}
		if next == nil {
			return uses, read, calls
		}
		cursor = next
	}
}

func TestKeyUses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, unused := w.key(), w.key()
	id := key[strings.LastIndexByte(key, '/')+1:]
	names := s3.KeyNames{ARN: key, ID: id, Account: account, Region: region, Aliases: []string{"alias/reports"}}
	for _, b := range []string{"by-arn", "by-id", "by-alias", "by-alias-arn", "mixed", "plain", "another", "service-key", "empty"} {
		w.bucket(b)
	}
	encrypt := func(bucket, keyID string) {
		conf := rule("aws:kms", &keyID, true)
		if keyID == "" {
			conf = rule("aws:kms", nil, false)
		}
		must(w, s3api.PutBucketEncryption, &s3api.PutBucketEncryptionInput{Bucket: bucket, ServerSideEncryptionConfiguration: conf})
	}
	encrypt("by-arn", key)
	encrypt("by-id", id)
	encrypt("by-alias", "alias/reports")
	encrypt("by-alias-arn", "arn:aws:kms:"+region+":"+account+":alias/reports")
	encrypt("another", unused)
	encrypt("service-key", "")
	for i := range 5 {
		w.put("by-arn", fmt.Sprint("o", i), "12345678")
		w.put("plain", fmt.Sprint("o", i), "12345678")
	}
	for i := range 7 {
		in := &s3api.PutObjectInput{Bucket: "mixed", Key: fmt.Sprint("o", i), Body: strings.NewReader("abc")}
		if i%2 == 0 {
			in.ServerSideEncryption, in.SSEKMSKeyId = "aws:kms", &key
		}
		must(w, s3api.PutObject, in)
	}
	must(w, s3api.CreateMultipartUpload, &s3api.CreateMultipartUploadInput{Bucket: "mixed", Key: "long", ServerSideEncryption: "aws:kms", SSEKMSKeyId: &key})
	must(w, s3api.PutBucketPolicy, &s3api.PutBucketPolicyInput{
		Bucket: "plain",
		Policy: `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::plain/*","Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"` + key + `"}}}}`,
	})
	want := map[string]s3.KeyUse{
		"by-arn":       {Default: true, BucketKey: true, Objects: 5, Bytes: 40},
		"by-id":        {Default: true, BucketKey: true},
		"by-alias":     {Default: true, BucketKey: true},
		"by-alias-arn": {Default: true, BucketKey: true},
		"mixed":        {Objects: 4, Bytes: 12, Uploads: 1},
		"plain":        {Policy: true},
	}
	for _, budget := range []int{1, 2, 5, 17, 1000} {
		got, read, calls := w.keyUses(names, budget)
		if read != 17 {
			t.Errorf("by %d: %d objects were read, want 17", budget, read)
		}
		if budget == 2 && calls < 8 || budget == 1000 && calls != 1 {
			t.Errorf("by %d: %d calls", budget, calls)
		}
		for name, u := range want {
			u.Bucket, u.Account = name, account
			if got[name] != u {
				t.Errorf("by %d: %s: %+v, want %+v", budget, name, got[name], u)
			}
		}
		if len(got) != len(want) {
			t.Errorf("by %d: %d buckets, want %d: %+v", budget, len(got), len(want), got)
		}
	}
	// The key of the service, which no request names.
	managed, _, _ := w.keyUses(s3.KeyNames{ARN: "arn:aws:kms:us-west-2:" + account + ":key/x", ID: "x-y", Account: account, Region: region, Aliases: []string{"alias/aws/s3"}}, 100)
	if len(managed) != 1 || !managed["service-key"].Default {
		t.Errorf("of alias/aws/s3: %+v", managed)
	}
	// An id names a key of the bucket's own account alone.
	foreign := names
	foreign.Account, foreign.ARN = other, strings.Replace(key, account, other, 1)
	if got, _, _ := w.keyUses(foreign, 100); got["by-id"].Default || got["by-alias"].Default {
		t.Errorf("of another account's key: %+v", got)
	}
	if _, _, _, err := w.svc.KeyUses(t.Context(), names, []byte("no cursor"), 10); err == nil {
		t.Error("a false cursor is accepted")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, _, err := w.svc.KeyUses(gone, names, nil, 100); err == nil {
		t.Error("a search that was cancelled goes on")
	}
}
