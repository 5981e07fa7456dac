package kms

import (
	"fmt"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/identity"
)

// TestConditionEffects: with a condition an allow covers the requests that match it
// and no others, and a deny the other way about.
func TestConditionEffects(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id, mac := f.key(""), f.newKey("HMAC_256", usageMAC)
	friend, other := f.user(home, "friend", "").ARN, f.user(home, "stranger", "").ARN
	type call func(by *identity.Caller) error
	grant := func(change func(*kmsapi.CreateGrantInput)) call {
		return func(by *identity.Caller) error {
			in := &kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &friend, Operations: ops("Decrypt")}
			change(in)
			return second(try(f.by(by), f, kmsapi.CreateGrant, in))
		}
	}
	constrained := func(c *kmsapi.GrantConstraints) call {
		return grant(func(in *kmsapi.CreateGrantInput) { in.Constraints = c })
	}
	operations := func(names string) call {
		return grant(func(in *kmsapi.CreateGrantInput) { in.Operations = ops(names) })
	}
	const queueARN, table = "arn:aws:sqs:us-west-2:111122223333:queue", "arn:aws:dynamodb:us-west-2:111122223333:table/t"
	db, queue := "dynamodb."+region+".amazonaws.com", "sqs."+region+".amazonaws.com"
	services := func(grantee, retirer, source string) call {
		return grant(func(in *kmsapi.CreateGrantInput) {
			in.GranteePrincipal, in.GranteeServicePrincipal, in.RetiringServicePrincipal = nil, &grantee, &retirer
			in.Constraints = &kmsapi.GrantConstraints{SourceArn: &source}
		})
	}
	retirer := func(arn *string) call {
		return grant(func(in *kmsapi.CreateGrantInput) { in.RetiringPrincipal = arn })
	}
	plain := grant(func(*kmsapi.CreateGrantInput) {})
	made := func(bypass *bool) call {
		return func(by *identity.Caller) error {
			return second(try(f.by(by), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{BypassPolicyLockoutSafetyCheck: bypass}))
		}
	}
	put := func(bypass *bool) call {
		return func(by *identity.Caller) error {
			in := &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: defaultPolicy(home), BypassPolicyLockoutSafetyCheck: bypass}
			return second(try(f.by(by), f, kmsapi.PutKeyPolicy, in))
		}
	}
	described := func(id string) call {
		return func(by *identity.Caller) error {
			return second(try(f.by(by), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id}))
		}
	}
	create := func(spec kmsapi.KeySpec, usage kmsapi.KeyUsageType) call {
		return func(by *identity.Caller) error {
			return second(try(f.by(by), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: spec, KeyUsage: usage}))
		}
	}
	ec := map[string]string{"job": "1"}
	equals := constrained(&kmsapi.GrantConstraints{EncryptionContextEquals: ec})
	subset := constrained(&kmsapi.GrantConstraints{EncryptionContextSubset: ec})
	list := func(through bool) call {
		return func(by *identity.Caller) error {
			if through {
				by = via(by, "s3", region)
			}
			return second(try(f.by(by), f, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: id}))
		}
	}
	through := func(c call) call {
		return func(by *identity.Caller) error { return c(via(by, "s3", region)) }
	}
	for i, c := range []struct {
		name, action  string
		condition     string
		match, differ call
	}{
		{"source ARN", "kms:CreateGrant", when("ArnLike", "kms:GrantConstraintSourceArn", "arn:aws:sqs:*:111122223333:*"), services(db, db, queueARN), services(db, db, table)},
		{"source ARN and none", "kms:CreateGrant", when("ArnEquals", "kms:GrantConstraintSourceArn", queueARN), services(db, db, queueARN), plain},
		{"grantee service", "kms:CreateGrant", when("StringEquals", "kms:GranteeServicePrincipal", db), services(db, queue, queueARN), services(queue, db, queueARN)},
		{"grantee service and a user", "kms:CreateGrant", when("StringEquals", "kms:GranteeServicePrincipal", db), services(db, queue, queueARN), plain},
		{"retiring service", "kms:CreateGrant", when("StringEquals", "kms:RetiringServicePrincipal", db), services(queue, db, queueARN), services(db, queue, queueARN)},
		{"retiring principal", "kms:CreateGrant", when("StringEquals", "kms:RetiringPrincipal", friend), retirer(&friend), retirer(&other)},
		{"retiring principal and none", "kms:CreateGrant", when("StringEquals", "kms:RetiringPrincipal", friend), retirer(&friend), retirer(nil)},
		{"constraint type", "kms:CreateGrant", when("StringEquals", "kms:GrantConstraintType", "EncryptionContextEquals"), equals, subset},
		{"constraint type, subset", "kms:CreateGrant", when("StringEquals", "kms:GrantConstraintType", "EncryptionContextSubset"), subset, equals},
		{"constraint type and none", "kms:CreateGrant", when("StringLike", "kms:GrantConstraintType", "EncryptionContext*"), equals, plain},
		{"all operations", "kms:CreateGrant", when("ForAllValues:StringEquals", "kms:GrantOperations", "Decrypt"), operations("Decrypt"), operations("Decrypt Encrypt")},
		{"any operation", "kms:CreateGrant", when("ForAnyValue:StringEquals", "kms:GrantOperations", "Encrypt"), operations("Decrypt Encrypt"), operations("Decrypt")},
		{"for a resource", "kms:CreateGrant", when("Bool", "kms:GrantIsForAWSResource", "true"), through(plain), plain},
		{"not for a resource", "kms:CreateGrant", when("Bool", "kms:GrantIsForAWSResource", "false"), plain, through(plain)},
		{"list for a resource", "kms:ListGrants", when("Bool", "kms:GrantIsForAWSResource", "true"), list(true), list(false)},
		{"bypass in CreateKey", "kms:CreateKey", when("Bool", "kms:BypassPolicyLockoutSafetyCheck", "true"), made(new(true)), made(nil)},
		{"no bypass in CreateKey", "kms:CreateKey", when("Bool", "kms:BypassPolicyLockoutSafetyCheck", "false"), made(new(false)), made(new(true))},
		{"no bypass in CreateKey, by default", "kms:CreateKey", when("Bool", "kms:BypassPolicyLockoutSafetyCheck", "false"), made(nil), made(new(true))},
		{"no parameter in CreateKey", "kms:CreateKey", when("Null", "kms:BypassPolicyLockoutSafetyCheck", "true"), made(nil), made(new(true))},
		{"no parameter in PutKeyPolicy", "kms:PutKeyPolicy", when("Null", "kms:BypassPolicyLockoutSafetyCheck", "true"), put(nil), put(new(true))},
		{"bypass in PutKeyPolicy", "kms:PutKeyPolicy", when("Bool", "kms:BypassPolicyLockoutSafetyCheck", "true"), put(new(true)), put(nil)},
		{"spec, by its old name", "kms:DescribeKey", when("StringEquals", "kms:CustomerMasterKeySpec", "SYMMETRIC_DEFAULT"), described(id), described(mac)},
		{"usage, by its old name", "kms:DescribeKey", when("StringEquals", "kms:CustomerMasterKeyUsage", "GENERATE_VERIFY_MAC"), described(mac), described(id)},
		{"spec of a new key, by its old name", "kms:CreateKey", when("StringEquals", "kms:CustomerMasterKeySpec", "SYMMETRIC_DEFAULT"), create("", ""), create("HMAC_256", usageMAC)},
		{"usage of a new key, by its old name", "kms:CreateKey", when("StringEquals", "kms:CustomerMasterKeyUsage", "GENERATE_VERIFY_MAC"), create("HMAC_256", usageMAC), create("", "")},
	} {
		allowed := f.user(home, fmt.Sprintf("allowed-%d", i), doc(allow(c.action, c.condition)))
		refused := f.user(home, fmt.Sprintf("refused-%d", i), doc(allow(c.action), deny(c.action, c.condition)))
		wantError(t, c.name+": an allow for what matches", c.match(allowed), "", "")
		wantError(t, c.name+": an allow for what differs", c.differ(allowed), denied, "")
		wantError(t, c.name+": a deny for what matches", c.match(refused), denied, "")
		wantError(t, c.name+": a deny for what differs", c.differ(refused), "", "")
	}
}
