package s3_test

import (
	"encoding/json"
	"strings"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/store"
)

func TestRevocationReachesBucketKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	first, second := w.key(), w.key()
	must(w, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/photos", TargetKeyId: first})
	must(w, s3api.PutBucketEncryption, &s3api.PutBucketEncryptionInput{Bucket: "photos", ServerSideEncryptionConfiguration: rule("aws:kms", new("alias/photos"), true)})
	for range 3 {
		if out := w.put("photos", "a", "x"); *out.SSEKMSKeyId != first {
			t.Fatalf("got key %s", *out.SSEKMSKeyId)
		}
		if _, err := w.get("photos", "a"); err != nil {
			t.Fatal(err)
		}
	}
	must(w, kmsapi.UpdateAlias, &kmsapi.UpdateAliasInput{AliasName: "alias/photos", TargetKeyId: second})
	if out := w.put("photos", "b", "x"); *out.SSEKMSKeyId != second {
		t.Errorf("after UpdateAlias: got key %s, want the new target", *out.SSEKMSKeyId)
	}
	if _, err := w.get("photos", "a"); err != nil {
		t.Errorf("an object under the old target: %v", err)
	}
	must(w, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: first, Policy: `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"},
		{"Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"kms:ViaService":"s3.us-west-2.amazonaws.com"}}}]}`})
	_, err := w.get("photos", "a")
	wantCode(t, err, "AccessDenied", 403)
}

func TestRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	arn := w.key()
	mark := len(w.records())
	must(w, s3api.PutObject, &s3api.PutObjectInput{Bucket: "photos", Key: "dir/a", Body: strings.NewReader("x"), ServerSideEncryption: "aws:kms", SSEKMSKeyId: &arn})
	if _, err := w.get("photos", "dir/a"); err != nil {
		t.Fatal(err)
	}
	w.put("photos", "b", "x")
	must(w, s3api.DeleteBucketEncryption, &s3api.DeleteBucketEncryptionInput{Bucket: "photos"})
	var got []string
	for _, r := range w.records()[mark:] {
		got = append(got, r.EventName)
		if r.EventSource != "kms.amazonaws.com" {
			continue
		}
		if r.UserIdentity.InvokedBy != "s3.amazonaws.com" || r.UserIdentity.ARN != w.caller.ARN {
			t.Errorf("%s: got identity %+v", r.EventName, r.UserIdentity)
		}
		if !strings.Contains(string(r.RequestParameters), `"aws:s3:arn":"arn:aws:s3:::photos/dir/a"`) {
			t.Errorf("%s: got parameters %s", r.EventName, r.RequestParameters)
		}
	}
	if text := strings.Join(got, " "); text != "GenerateDataKey Decrypt DeleteBucketEncryption" {
		t.Errorf("got the records %q: objects leave none of their own", text)
	}
}

func (w *world) records() []audit.Record {
	w.t.Helper()
	var out []audit.Record
	for e, err := range w.store.Journal().Scan(w.t.Context(), store.JournalScan{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		var r audit.Record
		if err := json.Unmarshal(e.Data, &r); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}
