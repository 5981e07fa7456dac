package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// operatorOf is a client of the operator endpoint.
func operatorOf(s *Server, c *client.Client) *client.Client {
	return c.As(sigv4.Credential{AccessKeyID: s.creds.Operator.AccessKeyID, Secret: s.creds.Operator.SecretAccessKey})
}

func bucketWithKey(tb testing.TB, c *client.Client, name, key string) {
	tb.Helper()
	ctx := tb.Context()
	_, err := client.Call(ctx, c, s3api.CreateBucket, &s3api.CreateBucketInput{
		Bucket: name, CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: DefaultRegion},
	})
	if err == nil {
		_, err = client.Call(ctx, c, s3api.PutBucketEncryption, &s3api.PutBucketEncryptionInput{
			Bucket: name, ServerSideEncryptionConfiguration: &s3api.ServerSideEncryptionConfiguration{Rules: []s3api.ServerSideEncryptionRule{{
				ApplyServerSideEncryptionByDefault: &s3api.ServerSideEncryptionByDefault{SSEAlgorithm: "aws:kms", KMSMasterKeyID: &key},
				BucketKeyEnabled:                   new(true),
			}}},
		})
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// TestKeyImpact: beside the server and without it the same is found, and each part
// leaves a record.
func TestKeyImpact(t *testing.T) {
	t.Parallel()
	cfg := Config{DataDir: filepath.Join(t.TempDir(), "data")}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	c := &client.Client{Endpoint: listen(t, s.Handler()), Region: DefaultRegion, HTTP: newHTTP(t), Credential: rootOf(s, 0)}
	if _, err := s.createAccount(ctx, "444455556666"); err != nil {
		t.Fatal(err)
	}
	abroad := c.As(rootOf(s, 1))
	key := makeKey(t, s)
	arn := "arn:aws:kms:us-west-2:" + s.firstAccount() + ":key/" + key
	must(t, second(client.Call(ctx, c, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/reports", TargetKeyId: key})))
	must(t, second(client.Call(ctx, c, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: key, Policy: fmt.Sprintf(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["%s","444455556666"]},"Action":"kms:*","Resource":"*"}]}`, s.firstAccount())})))
	bucketWithKey(t, c, "reports", "alias/reports")
	for i := range 3 {
		must(t, second(client.Call(ctx, c, s3api.PutObject, &s3api.PutObjectInput{
			Bucket: "reports", Key: fmt.Sprint("o", i), Body: strings.NewReader("12345"), ContentLength: new(int64(5)),
		})))
	}
	must(t, second(client.Call(ctx, c, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "alice"})))
	must(t, second(client.Call(ctx, c, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{
		UserName: "alice", PolicyName: "p", PolicyDocument: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:*","Resource":"` + arn + `"}}`,
	})))
	must(t, second(client.Call(ctx, c, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
		KeyId: key, GranteePrincipal: new("arn:aws:iam::" + s.firstAccount() + ":user/alice"), Operations: []kmsapi.GrantOperation{"Decrypt"},
		Constraints: &kmsapi.GrantConstraints{EncryptionContextEquals: map[string]string{"a": "b"}},
	})))
	for range 2 {
		must(t, second(client.Call(ctx, abroad, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: arn, Plaintext: []byte("p")})))
	}
	if err := second(client.Call(ctx, abroad, kmsapi.Decrypt, &kmsapi.DecryptInput{KeyId: &arn, CiphertextBlob: []byte("no ciphertext")})); err == nil {
		t.Fatal("Decrypt of nothing succeeded")
	}

	check := func(what string, i *Impact, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		k := i.Key
		if k.ARN != arn || k.State != "Enabled" || len(k.Aliases) != 1 || k.GrantCount != 1 || k.LastUsage == nil || k.LastUsage.Operation != "Encrypt" {
			t.Errorf("%s: key %+v", what, k)
		}
		if len(i.Resources) != 1 || i.Resources[0].ARN != "arn:aws:s3:::reports" || i.Resources[0].Objects != 3 || i.Resources[0].Bytes != 15 || !i.Resources[0].Default || i.ObjectsRead != 3 {
			t.Errorf("%s: resources %+v, %d objects", what, i.Resources, i.ObjectsRead)
		}
		if len(i.Grants) != 1 || i.Grants[0].Constraints["EncryptionContextEquals:a"] != "b" || i.Grants[0].Operations[0] != "Decrypt" || i.Grants[0].Service {
			t.Errorf("%s: grants %+v", what, i.Grants)
		}
		if len(i.Policies) != 2 || i.Policies[0].Type != "key policy" || len(i.Policies[0].Holders) != 2 || i.Policies[1].Policy != "p" || i.Policies[1].Holders[0] != "arn:aws:iam::"+s.firstAccount()+":user/alice" {
			t.Errorf("%s: policies %+v", what, i.Policies)
		}
		users := map[string]ImpactUser{}
		for _, u := range i.UsedBy {
			users[u.Principal+"|"+u.Via] = u
		}
		root := "arn:aws:iam::" + s.firstAccount() + ":root"
		if u := users[root+"|s3.amazonaws.com"]; u.Operations["GenerateDataKey"] == 0 {
			t.Errorf("%s: users %+v", what, i.UsedBy)
		}
		if u := users["arn:aws:iam::444455556666:root|"]; u.Count != 2 || u.Failed != 1 || u.Operations["Encrypt"] != 2 || u.LastEvent == "" || u.Last.Before(u.First) {
			t.Errorf("%s: the other account's root: %+v", what, u)
		}
		if i.Next != "" || i.Days != DefaultImpactDays || i.RecordsRead == 0 {
			t.Errorf("%s: next %q, %d days, %d records", what, i.Next, i.Days, i.RecordsRead)
		}
	}
	o := operatorOf(s, c)
	progress := 0
	beside, err := WholeImpact(ctx, ImpactInput{Key: "alias/reports"}, func(ctx context.Context, in ImpactInput) (*Impact, error) {
		var part Impact
		return &part, o.Operator(ctx, "KeyImpact", in, &part)
	}, func(*Impact) { progress++ })
	check("beside the server", beside, err)
	if progress != len(s.impactParts()) {
		t.Errorf("progress was told %d times", progress)
	}
	for name, in := range map[string]ImpactInput{
		"no key": {}, "an unknown key": {Key: "alias/none"}, "a false next": {Key: "alias/reports", Next: "other:"}, "a bad next": {Key: "alias/reports", Next: "s3:!"},
	} {
		var part Impact
		e, ok := errors.AsType[*schema.Error](o.Operator(ctx, "KeyImpact", in, &part))
		if !ok || e.Status != 400 {
			t.Errorf("%s: %v", name, e)
		}
	}
	gone, cancel := context.WithCancel(ctx)
	_, err = WholeImpact(gone, ImpactInput{Key: key}, func(ctx context.Context, in ImpactInput) (*Impact, error) {
		cancel()
		return s.keyImpact(ctx, in)
	}, nil)
	if err == nil {
		t.Error("a search that was cancelled went on")
	}
	var keys KeyListOutput
	must(t, o.Operator(ctx, "ListKeys", KeyListInput{}, &keys))
	if len(keys.Keys) != 1 || keys.Keys[0].ARN != arn || keys.Keys[0].LastUsage == nil || keys.Next != "" {
		t.Errorf("ListKeys: %+v", keys)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	offline, err := KeyImpact(ctx, cfg, ImpactInput{Key: key}, nil)
	check("without a server", offline, err)
	if _, err := KeyImpact(ctx, cfg, ImpactInput{Key: "alias/none"}, nil); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("an unknown alias: %v", err)
	}
	n := 0
	err = ListKeys(ctx, cfg, KeyListInput{}, func(p KeyListOutput) error { n += len(p.Keys); return nil })
	if err != nil || n != 1 {
		t.Errorf("ListKeys without a server: %d keys, %v", n, err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestKeyUsers: whom a record of each kind of caller is counted for.
func TestKeyUsers(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:kms:us-west-2:111122223333:key/k"
	record := func(identity, more string) string {
		return `{"userIdentity":` + identity + `,"eventTime":"2026-11-23T10:00:00Z","eventSource":"kms.amazonaws.com","eventName":"Decrypt","eventID":"e","eventType":"AwsApiCall",` +
			`"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"` + arn + `"}]` + more + `}`
	}
	for _, c := range []struct {
		name, record, who, via string // who "": not counted
		failed                 bool
	}{
		{name: "user", record: record(`{"type":"IAMUser","arn":"arn:aws:iam::1:user/a"}`, ""), who: "arn:aws:iam::1:user/a"},
		{name: "through S3", record: record(`{"type":"IAMUser","arn":"arn:aws:iam::1:user/a","invokedBy":"s3.amazonaws.com"}`, ""), who: "arn:aws:iam::1:user/a", via: "s3.amazonaws.com"},
		{
			name:   "session",
			record: record(`{"type":"AssumedRole","arn":"arn:aws:sts::1:assumed-role/r/s","sessionContext":{"sessionIssuer":{"type":"Role","arn":"x","accountId":"1","userName":"r"}}}`, ""),
			who:    "arn:aws:iam::1:role/r",
		},
		{
			name:   "federated session",
			record: record(`{"type":"FederatedUser","arn":"f","sessionContext":{"sessionIssuer":{"type":"IAMUser","arn":"arn:aws:iam::1:user/a"}}}`, ""), who: "arn:aws:iam::1:user/a",
		},
		{name: "service", record: record(`{"type":"AWSService","invokedBy":"sagemaker-geospatial.amazonaws.com"}`, ""), who: "sagemaker-geospatial.amazonaws.com"},
		{name: "denied", record: record(`{"type":"IAMUser","arn":"u"}`, `,"errorCode":"AccessDenied"`), who: "u", failed: true},
		{name: "dry run", record: record(`{"type":"IAMUser","arn":"u"}`, `,"errorCode":"DryRunOperationException"`)},
		{name: "the owner's copy", record: record(`{"type":"AWSAccount","accountId":"2","principalId":"P"}`, `,"sharedEventID":"s"`)},
		{name: "another key", record: strings.ReplaceAll(record(`{"type":"IAMUser","arn":"u"}`, `,"requestParameters":{"a":"`+"ARN"+`"}`), arn, arn+"2")},
		{name: "another service", record: strings.Replace(record(`{"type":"IAMUser","arn":"u"}`, ""), "kms.amazonaws.com", "s3.amazonaws.com", 1)},
		{name: "an event of KMS itself", record: strings.Replace(record(`{"invokedBy":"AWS Internal"}`, ""), "AwsApiCall", "AwsServiceEvent", 1)},
		{name: "no JSON", record: arn},
	} {
		users := map[[2]string]*ImpactUser{}
		noteKeyUser(users, []byte(c.record), arn)
		u := users[[2]string{c.who, c.via}]
		switch {
		case c.who == "" && len(users) > 0:
			t.Errorf("%s is counted: %v", c.name, users)
		case c.who == "":
		case u == nil || len(users) != 1:
			t.Errorf("%s: %v", c.name, users)
		case (u.Failed == 1) != c.failed || (u.Count == 1) == c.failed || u.LastEvent != "e":
			t.Errorf("%s: %+v", c.name, u)
		}
	}
}

// BenchmarkKeyImpact searches 100,000 objects, half of them under the key, and as
// many records.
func BenchmarkKeyImpact(b *testing.B) {
	s, c := startServerWith(b, Config{DataDir: filepath.Join(b.TempDir(), "data"), KMSQuotas: "off"})
	key := makeKey(b, s)
	bucketWithKey(b, c, "reports", key)
	const n = 100_000
	inParallel(b, n, func(i int) error {
		in := &s3api.PutObjectInput{Bucket: "reports", Key: fmt.Sprintf("folder/%08d", i), Body: strings.NewReader("123456789 123456789 "), ContentLength: new(int64(20))}
		if i%2 == 0 {
			in.ServerSideEncryption = "AES256"
		}
		_, err := protocol.Call(asRoot(s), s.registry, s3api.PutObject, in)
		return err
	})
	inParallel(b, n, func(int) error {
		_, err := protocol.Call(asRoot(s), s.registry, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: key, KeySpec: "AES_256"})
		return err
	})
	o := operatorOf(s, c)
	for b.Loop() {
		i, err := WholeImpact(context.Background(), ImpactInput{Key: key}, func(ctx context.Context, in ImpactInput) (*Impact, error) {
			var part Impact
			return &part, o.Operator(ctx, "KeyImpact", in, &part)
		}, nil)
		if err != nil || i.ObjectsRead != n || i.Resources[0].Objects != n/2 || i.RecordsRead < n {
			text, _ := json.Marshal(i)
			b.Fatalf("%v, %s", err, text)
		}
	}
	for name, part := range map[string]string{"s3": "s3:", "uses": "uses:"} {
		start, in := time.Now(), ImpactInput{Key: key, Next: part}
		for strings.HasPrefix(in.Next, part) {
			p, err := s.keyImpact(context.Background(), in)
			if err != nil {
				b.Fatal(err)
			}
			in.Next = p.Next
		}
		b.ReportMetric(time.Since(start).Seconds(), name+"-s")
	}
}
