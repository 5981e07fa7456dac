package kms

import (
	"fmt"
	"runtime"
	"testing"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/identity"
)

// TestRevokedWhileRSAKeyIsMade (I3): what was taken away while a data key pair was
// waited for lets nobody have it.
func TestRevokedWhileRSAKeyIsMade(t *testing.T) {
	t.Parallel()
	const pairs = "kms:GenerateDataKeyPair kms:GenerateDataKeyPairWithoutPlaintext"
	f := newFixture(t)
	id := f.key("")
	must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/app", TargetKeyId: id})
	ec := map[string]string{"a": "1"}
	grant := func(who *identity.Caller) string {
		return *f.grant(&kmsapi.CreateGrantInput{
			KeyId: id, GranteePrincipal: &who.ARN, Operations: ops("GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext"),
			Constraints: &kmsapi.GrantConstraints{EncryptionContextEquals: ec},
		}).GrantId
	}
	for _, c := range []struct {
		name   string
		policy string
		key    string
		take   func(who *identity.Caller, grant string)
		want   string
	}{
		{"RevokeGrant", "", arnOf(id), func(_ *identity.Caller, grant string) {
			must(f.admin(), f, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: id, GrantId: grant})
		}, denied},
		{"DeleteUserPolicy", doc(allow(pairs)), arnOf(id), func(who *identity.Caller, _ string) {
			must(f.admin(), f, iamapi.DeleteUserPolicy, &iamapi.DeleteUserPolicyInput{UserName: who.UserName, PolicyName: "p"})
		}, denied},
		{"PutKeyPolicy", doc(allow(pairs)), "alias/app", func(who *identity.Caller, _ string) {
			must(f.admin(), f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: doc(to(rootARN(home), "kms:*"), not(who.ARN, pairs))})
		}, denied},
		{"nothing of a grant", "", arnOf(id), nil, ""},
		{"nothing of an alias", doc(allow(pairs, when("StringEquals", "kms:RequestAlias", "alias/app"))), "alias/app", nil, ""},
	} {
		who := f.user(home, "user-"+c.name[:2]+c.name[len(c.name)-2:], c.policy)
		granted := ""
		if c.policy == "" {
			granted = grant(who)
		}
		leave := f.makeRSA()
		results := make(chan error)
		go func() {
			_, err := try(f.by(who), f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: c.key, KeyPairSpec: "RSA_2048", EncryptionContext: ec})
			results <- err
		}()
		go func() {
			_, err := try(f.by(who), f, kmsapi.GenerateDataKeyPairWithoutPlaintext, &kmsapi.GenerateDataKeyPairWithoutPlaintextInput{KeyId: c.key, KeyPairSpec: "RSA_2048", EncryptionContext: ec})
			results <- err
		}()
		for f.waitingRSA() < 2 {
			runtime.Gosched()
		}
		if c.take != nil {
			c.take(who, granted)
		}
		leave()
		for range 2 {
			wantError(t, c.name, <-results, c.want, "")
		}
		if got := f.last("GenerateDataKeyPair")["errorCode"]; c.want != "" && got != "AccessDenied" {
			t.Errorf("%s: the record's errorCode is %v", c.name, got)
		}
	}
}

// TestRevokedWhileRSAKeyIsCreated: the same of keys and of wrapping keys.
func TestRevokedWhileRSAKeyIsCreated(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
	for _, taken := range []bool{true, false} {
		who := f.user(home, fmt.Sprint("user-", taken), doc(allow("kms:CreateKey kms:GetParametersForImport")))
		leave := f.makeRSA()
		results := make(chan error)
		go func() {
			_, err := try(f.by(who), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: "RSA_2048", KeyUsage: usageSign})
			results <- err
		}()
		go func() {
			_, err := try(f.by(who), f, kmsapi.GetParametersForImport, &kmsapi.GetParametersForImportInput{
				KeyId: id, WrappingAlgorithm: kmsapi.AlgorithmSpecRsaesOaepSha256, WrappingKeySpec: kmsapi.WrappingKeySpecRsa2048,
			})
			results <- err
		}()
		for f.waitingRSA() < 2 {
			runtime.Gosched()
		}
		want := ""
		if taken {
			must(f.admin(), f, iamapi.DeleteUserPolicy, &iamapi.DeleteUserPolicyInput{UserName: who.UserName, PolicyName: "p"})
			want = denied
		}
		leave()
		for range 2 {
			wantError(t, "after the wait", <-results, want, "")
		}
	}
	if n := len(must(f.admin(), f, kmsapi.ListKeys, &kmsapi.ListKeysInput{}).Keys); n != 2 {
		t.Errorf("%d keys, want the one of before and one that was allowed", n)
	}
}

// TestPredefinedAliasOfNoRegion: a Region that AWS does not have gets no AWS managed
// key for being looked at.
func TestPredefinedAliasOfNoRegion(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for region, want := range map[string]string{
		"us-west-2": "", "ap-southeast-7": "", "eu-north-1": "", "ap-northeast-1": "",
		"moon-base-1": "NotFoundException", "ap-southeast-8": "NotFoundException", "ap-west-1": "NotFoundException", "ap-east-": "NotFoundException", "ap-": "NotFoundException",
	} {
		_, err := try(f.in(region, root(home)), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: "alias/aws/s3"})
		wantError(t, region, err, want, "")
	}
}
