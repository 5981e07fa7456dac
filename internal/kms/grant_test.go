package kms

import (
	"strings"
	"testing"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
)

// grant makes a grant as the home account's root.
func (f *fixture) grant(in *kmsapi.CreateGrantInput) *kmsapi.CreateGrantOutput {
	f.Helper()
	return must(f.admin(), f, kmsapi.CreateGrant, in)
}

func ops(names string) (out []kmsapi.GrantOperation) {
	for n := range strings.FieldsSeq(names) {
		out = append(out, kmsapi.GrantOperation(n))
	}
	return out
}

func TestGrantConstraints(t *testing.T) {
	t.Parallel()
	ab := map[string]string{"a": "1", "b": "2"}
	for _, c := range []struct {
		name        string
		operations  string
		constraints *kmsapi.GrantConstraints
		ec          map[string]string
		want        string
	}{
		{"operation listed", "Encrypt", nil, ab, ""},
		{"operation not listed", "Decrypt", nil, ab, denied},
		{"equals", "Encrypt", &kmsapi.GrantConstraints{EncryptionContextEquals: ab}, ab, ""},
		{"equals with less", "Encrypt", &kmsapi.GrantConstraints{EncryptionContextEquals: ab}, map[string]string{"a": "1"}, denied},
		{"equals with more", "Encrypt", &kmsapi.GrantConstraints{EncryptionContextEquals: ab}, map[string]string{"a": "1", "b": "2", "c": "3"}, denied},
		{"equals, key case", "Encrypt", &kmsapi.GrantConstraints{EncryptionContextEquals: ab}, map[string]string{"A": "1", "b": "2"}, denied},
		{"empty equals", "Encrypt", &kmsapi.GrantConstraints{EncryptionContextEquals: map[string]string{}}, ab, denied},
		{"subset", "Encrypt", &kmsapi.GrantConstraints{EncryptionContextSubset: map[string]string{"a": "1"}}, ab, ""},
		{"subset missing", "Encrypt", &kmsapi.GrantConstraints{EncryptionContextSubset: map[string]string{"a": "1"}}, map[string]string{"b": "2"}, denied},
		{"subset, other value", "Encrypt", &kmsapi.GrantConstraints{EncryptionContextSubset: map[string]string{"a": "1"}}, map[string]string{"a": "2"}, denied},
		{"no context", "Encrypt", &kmsapi.GrantConstraints{EncryptionContextSubset: map[string]string{"a": "1"}}, nil, denied},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			alice := f.user(home, "alice", "")
			id := f.key("")
			f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice.ARN, Operations: ops(c.operations), Constraints: c.constraints})
			_, err := try(f.by(alice), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte("p"), EncryptionContext: c.ec})
			wantError(t, "Encrypt", err, c.want, "")
		})
	}
}

func TestGrantees(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := arnOf(f.key(""))
	encrypt := func(c *identity.Caller) error {
		_, err := try(f.by(c), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte("p")})
		return err
	}
	give := func(arn string) {
		f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &arn, Operations: ops("Encrypt")})
	}
	session := f.role(home, "worker", "")
	give(session.RoleARN)
	wantError(t, "a session of the granted role", encrypt(session), "", "")
	limited := f.session(home, "worker", "limited", doc(allow("s3:*")))
	wantError(t, "a session that its policy limits", encrypt(limited), denied, "")

	f.role(home, "other", "")
	one, two := f.session(home, "other", "one"), f.session(home, "other", "two")
	give(one.ARN)
	wantError(t, "the granted session", encrypt(one), "", "")
	wantError(t, "another session", encrypt(two), denied, "")

	bob := f.user(abroad, "bob", "")
	give(bob.ARN)
	wantError(t, "a user of another account", encrypt(bob), "", "")

	carol, dave := f.user(abroad, "carol", ""), f.user(abroad, "dave", doc(allow("kms:Encrypt")))
	give(rootARN(abroad))
	wantError(t, "the account without IAM", encrypt(carol), denied, "")
	wantError(t, "the account with IAM", encrypt(dave), "", "")
	f.putUserPolicy(bob, doc(deny("kms:*")))
	wantError(t, "an explicit deny", encrypt(bob), denied, "")

	// A role made again under the same name is somebody else.
	must(f.admin(), f, iamapi.DeleteRole, &iamapi.DeleteRoleInput{RoleName: f.bareRole("worker")})
	wantError(t, "a role made again", encrypt(f.role(home, "worker", "")), denied, "")
}

// bareRole removes the inline policies of a role.
func (f *fixture) bareRole(name string) string {
	f.Helper()
	for _, p := range must(f.admin(), f, iamapi.ListRolePolicies, &iamapi.ListRolePoliciesInput{RoleName: name}).PolicyNames {
		must(f.admin(), f, iamapi.DeleteRolePolicy, &iamapi.DeleteRolePolicyInput{RoleName: name, PolicyName: p})
	}
	return name
}

// A service acts under one grant, for the account and resource that it was made for.
func TestServicePrincipal(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	name := service(home, "").ServiceName
	source := service(home, "").SourceARN
	issue := func(ctx *identity.Caller, key string, c *kmsapi.GrantConstraints) string {
		f.Helper()
		return *must(f.by(ctx), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
			KeyId: key, GranteePrincipal: &name, RetiringPrincipal: &name, Operations: ops("Decrypt GenerateDataKey"), Constraints: c,
		}).GrantId
	}
	owner := via(root(home), "sagemaker-geospatial", region)
	job1 := issue(owner, id, &kmsapi.GrantConstraints{EncryptionContextSubset: map[string]string{"job": "1"}})
	job2 := issue(owner, id, &kmsapi.GrantConstraints{EncryptionContextSubset: map[string]string{"job": "2"}})
	stray := issue(owner, f.key(""), nil)
	blob := f.encrypted(f.admin(), id, map[string]string{"job": "1"})
	decrypt := func(c *identity.Caller) error {
		_, err := try(f.by(c), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob, EncryptionContext: map[string]string{"job": "1"}})
		return err
	}
	other := service(home, job1)
	other.ServiceName = "sagemaker." + region + ".amazonaws.com"
	for _, c := range []struct {
		name string
		by   *identity.Caller
		want string
	}{
		{"the job's own grant", service(home, job1), ""},
		{"another job's grant", service(home, job2), denied},
		{"a grant on another key", service(home, stray), denied},
		{"no grant", service(home, ""), denied},
		{"an unknown grant", service(home, strings.Repeat("0", 64)), denied},
		{"for another account", service(abroad, job1), denied},
		{"for no account", service("", job1), denied},
		{"another service", other, denied},
	} {
		wantError(t, c.name, decrypt(c.by), c.want, "")
	}
	r := f.last("Decrypt")
	if who, _ := r["userIdentity"].(map[string]any); who["type"] != "AWSService" || who["invokedBy"] != "sagemaker.amazonaws.com" {
		t.Errorf("userIdentity %v", r["userIdentity"])
	}

	// A job of one account under the key of another: the grant is its maker's.
	shared := f.key(doc(to(rootARN(home), "kms:*"), to(rootARN(abroad), "kms:CreateGrant kms:Encrypt")))
	foreign := via(f.user(abroad, "bob", doc(allow("kms:*"))), "sagemaker-geospatial", region)
	job3 := issue(foreign, arnOf(shared), nil)
	wantError(t, "a grant of the job's account on a shared key", f.decryptAs(service(abroad, job3), shared), "", "")
	wantError(t, "the same grant for the key's owner", f.decryptAs(service(home, job3), shared), denied, "")

	// The newer form needs aws:SourceArn.
	in := &kmsapi.CreateGrantInput{KeyId: id, GranteeServicePrincipal: &name, RetiringServicePrincipal: &name, Operations: ops("Decrypt")}
	_, err := try(f.admin(), f, kmsapi.CreateGrant, in)
	wantError(t, "a service principal without SourceArn", err, "ValidationException", "A grant to a service principal needs a SourceArn constraint and a retiring principal.")
	in.Constraints = &kmsapi.GrantConstraints{SourceArn: &source}
	job4 := *must(f.admin(), f, kmsapi.CreateGrant, in).GrantId
	wantError(t, "SourceArn of the resource", decrypt(service(home, job4)), "", "")
	elsewhere := service(home, job4)
	elsewhere.SourceARN += "2"
	wantError(t, "SourceArn of another resource", decrypt(elsewhere), denied, "")

	// The service retires its own grants, and no other account's.
	retire := func(c *identity.Caller, grant string) error {
		_, err := try(f.by(c), f, kmsapi.RetireGrant, &kmsapi.RetireGrantInput{KeyId: new(arnOf(id)), GrantId: &grant})
		return err
	}
	wantError(t, "retire for another account", retire(service(abroad, job1), job1), denied, "")
	wantError(t, "retire another job's grant", retire(service(home, job2), job1), denied, "")
	wantError(t, "retire", retire(service(home, job1), job1), "", "")
	wantError(t, "after RetireGrant", decrypt(service(home, job1)), denied, "")
}

func (f *fixture) decryptAs(c *identity.Caller, key string) error {
	f.Helper()
	blob := f.encrypted(f.admin(), key, nil)
	_, err := try(f.by(c), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob, KeyId: new(arnOf(key))})
	return err
}

func TestCreateGrantRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	alice := f.user(home, "alice", "").ARN
	mac := must(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: kmsapi.KeySpecHmac256, KeyUsage: kmsapi.KeyUsageTypeGenerateVerifyMac}).KeyMetadata.KeyId
	nine := map[string]string{}
	for _, n := range "123456789" {
		nine[string(n)] = ""
	}
	svc := "dynamodb." + region + ".amazonaws.com"
	for _, c := range []struct {
		name, want string
		in         kmsapi.CreateGrantInput
	}{
		{"no grantee", "ValidationException", kmsapi.CreateGrantInput{KeyId: id, Operations: ops("Decrypt")}},
		{"two grantees", "ValidationException", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice, GranteeServicePrincipal: &svc, Operations: ops("Decrypt")}},
		{"two retirers", "ValidationException", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice, RetiringPrincipal: &alice, RetiringServicePrincipal: &svc, Operations: ops("Decrypt")}},
		{"no operation", "ValidationException", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice, Operations: []kmsapi.GrantOperation{}}},
		{"an operation of another usage", "ValidationException", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice, Operations: ops("Sign")}},
		{"an ungrantable operation", "ValidationException", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice, Operations: ops("PutKeyPolicy")}},
		{"a service as a customer's grantee", "ValidationException", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &svc, Operations: ops("Decrypt")}},
		{"an unknown user", "InvalidArnException", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: new("arn:aws:iam::111122223333:user/nobody"), Operations: ops("Decrypt")}},
		{"a bare account", "InvalidArnException", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: new(home), Operations: ops("Decrypt")}},
		{"an unknown retirer", "InvalidArnException", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice, RetiringPrincipal: new("arn:aws:iam::111122223333:role/none"), Operations: ops("Decrypt")}},
		{"a false service", "ValidationException", kmsapi.CreateGrantInput{KeyId: id, GranteeServicePrincipal: new("svc.example.com"), RetiringPrincipal: &alice, Operations: ops("Decrypt"), Constraints: &kmsapi.GrantConstraints{SourceArn: new("arn:aws:s3:us-west-2:111122223333:bucket")}}},
		{"both constraints", "ValidationException", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice, Operations: ops("Decrypt"), Constraints: &kmsapi.GrantConstraints{EncryptionContextEquals: nine, EncryptionContextSubset: nine}}},
		{"nine pairs", "ValidationException", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice, Operations: ops("Decrypt"), Constraints: &kmsapi.GrantConstraints{EncryptionContextEquals: nine}}},
		{"a long value", "ValidationException", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice, Operations: ops("Decrypt"), Constraints: &kmsapi.GrantConstraints{EncryptionContextSubset: map[string]string{"a": strings.Repeat("é", 385)}}}},
		{"384 characters", "", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice, Operations: ops("Decrypt"), Constraints: &kmsapi.GrantConstraints{EncryptionContextSubset: map[string]string{"a": strings.Repeat("é", 384)}}}},
		{"a context on a MAC key", "ValidationException", kmsapi.CreateGrantInput{KeyId: mac, GranteePrincipal: &alice, Operations: ops("GenerateMac"), Constraints: &kmsapi.GrantConstraints{EncryptionContextSubset: map[string]string{"a": "b"}}}},
		{"an alias", "NotFoundException", kmsapi.CreateGrantInput{KeyId: "alias/x", GranteePrincipal: &alice, Operations: ops("Decrypt")}},
		{"a forged token", "InvalidGrantTokenException", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice, Operations: ops("Decrypt"), GrantTokens: []string{"AAAA"}}},
		{"eleven tokens", "ValidationException", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice, Operations: ops("Decrypt"), GrantTokens: strings.Split("aaaaaaaaaaa", "")}},
		{"a name with a blank", "ValidationException", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice, Operations: ops("Decrypt"), Name: new("a b")}},
		{"dry run", "DryRunOperationException", kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice, Operations: ops("Decrypt"), DryRun: new(true)}},
	} {
		_, err := try(f.admin(), f, kmsapi.CreateGrant, &c.in)
		wantError(t, c.name, err, c.want, "")
	}
	f.plant(id, func(k *keyRow) { k.GrantCount = maxGrants })
	_, err := try(f.admin(), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice, Operations: ops("Decrypt")})
	wantError(t, "one grant too many", err, "LimitExceededException", "")
}

func TestGrantNameIsIdempotencyKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id, other := f.key(""), f.key("")
	alice := f.user(home, "alice", "").ARN
	named := func(key, name, operations string) *kmsapi.CreateGrantOutput {
		return f.grant(&kmsapi.CreateGrantInput{KeyId: key, GranteePrincipal: &alice, Operations: ops(operations), Name: optional(name)})
	}
	first := named(id, "n", "Encrypt Decrypt")
	again := named(id, "n", "Decrypt Encrypt")
	if *first.GrantId != *again.GrantId || *first.GrantToken == *again.GrantToken {
		t.Error("the same name and parameters did not give the same grant with a new token")
	}
	for name, g := range map[string]*kmsapi.CreateGrantOutput{
		"other operations": named(id, "n", "Decrypt"), "other key": named(other, "n", "Encrypt Decrypt"),
		"other name": named(id, "m", "Encrypt Decrypt"), "no name": named(id, "", "Encrypt Decrypt"), "no name again": named(id, "", "Encrypt Decrypt"),
	} {
		if *g.GrantId == *first.GrantId {
			t.Errorf("%s gave the same grant", name)
		}
	}
	if n := f.row(id).GrantCount; n != 5 {
		t.Errorf("the key counts %d grants, want 5", n)
	}
	f.plant(id, func(k *keyRow) { k.GrantCount = maxGrants })
	if g := named(id, "n", "Encrypt Decrypt"); *g.GrantId != *first.GrantId {
		t.Error("at the quota, an existing grant was not found by its name")
	}
	must(f.admin(), f, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: id, GrantId: *first.GrantId})
	if g := named(id, "n", "Encrypt Decrypt"); *g.GrantId == *first.GrantId {
		t.Error("a revoked grant came back under its id")
	}
}

func TestChildGrants(t *testing.T) {
	t.Parallel()
	one := map[string]string{"a": "1"}
	both := map[string]string{"a": "1", "b": "2"}
	equals := func(m map[string]string) *kmsapi.GrantConstraints {
		return &kmsapi.GrantConstraints{EncryptionContextEquals: m}
	}
	subset := func(m map[string]string) *kmsapi.GrantConstraints {
		return &kmsapi.GrantConstraints{EncryptionContextSubset: m}
	}
	for _, c := range []struct {
		name          string
		parent, child *kmsapi.GrantConstraints
		operations    string
		identity      string
		want          string
	}{
		{"fewer operations", nil, nil, "Decrypt", "", ""},
		{"an operation more", nil, nil, "Decrypt Encrypt", "", denied},
		{"stricter subset", subset(one), subset(both), "Decrypt", "", ""},
		{"subset to equals", subset(one), equals(both), "Decrypt", "", ""},
		{"equals to subset", equals(one), subset(one), "Decrypt", "", denied},
		{"the same equals", equals(one), equals(one), "Decrypt", "", ""},
		{"other equals", equals(one), equals(both), "Decrypt", "", denied},
		{"no constraint", subset(one), nil, "Decrypt", "", denied},
		{"wider subset", subset(both), subset(one), "Decrypt", "", denied},
		{"IAM is not narrowed", subset(both), nil, "Decrypt Encrypt", doc(allow("kms:CreateGrant")), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			id := f.key("")
			alice, bob := f.user(home, "alice", c.identity), f.user(home, "bob", "")
			f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice.ARN, Operations: ops("CreateGrant Decrypt"), Constraints: c.parent})
			_, err := try(f.by(alice), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
				KeyId: id, GranteePrincipal: &bob.ARN, Operations: ops(c.operations), Constraints: c.child,
			})
			wantError(t, "CreateGrant by the grantee", err, c.want, "")
		})
	}
}

// The wide grant of a role that is gone widens nothing for its successor.
func TestChildGrantIgnoresStaleParents(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	old := f.role(home, "worker", "")
	f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &old.RoleARN, Operations: ops("CreateGrant Decrypt Encrypt")})
	must(f.admin(), f, iamapi.DeleteRole, &iamapi.DeleteRoleInput{RoleName: "worker"})
	worker := f.role(home, "worker", "")
	f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &worker.RoleARN, Operations: ops("CreateGrant Encrypt")})
	_, err := try(f.by(worker), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &worker.RoleARN, Operations: ops("Decrypt")})
	wantError(t, "a child wider than the live parent", err, denied, "")
	_, err = try(f.by(worker), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &worker.RoleARN, Operations: ops("Encrypt")})
	wantError(t, "a child of the live parent", err, "", "")
}

func TestRetireGrant(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key(doc(to(rootARN(home), "kms:*"), to(rootARN(abroad), "kms:*")))
	grantee, retirer := f.user(home, "grantee", ""), f.user(abroad, "retirer", "")
	iamOnly, byPolicy := f.user(home, "iam-only", doc(allow("kms:RetireGrant"))), f.user(home, "by-policy", "")
	stranger := f.user(abroad, "stranger", doc(allow("kms:RetireGrant")))
	banned := f.user(home, "banned", doc(deny("kms:RetireGrant")))
	for _, c := range []struct {
		name       string
		by         *identity.Caller
		operations string
		retiring   *string
		policy     string
		token      bool
		want       string
	}{
		{name: "retiring principal", by: retirer, operations: "Decrypt", retiring: &retirer.ARN},
		{name: "retiring principal by token", by: retirer, operations: "Decrypt", retiring: &retirer.ARN, token: true},
		{name: "grantee without RetireGrant", by: grantee, operations: "Decrypt", want: denied},
		{name: "grantee with RetireGrant", by: grantee, operations: "Decrypt RetireGrant"},
		{name: "a token is not a right", by: grantee, operations: "Decrypt", token: true, want: denied},
		{name: "root of the issuing account", by: root(home), operations: "Decrypt"},
		{name: "IAM in the issuing account", by: iamOnly, operations: "Decrypt"},
		{name: "IAM in another account", by: stranger, operations: "Decrypt", want: denied},
		{name: "root of another account", by: root(abroad), operations: "Decrypt", want: denied},
		{name: "an allow in the key policy", by: byPolicy, operations: "Decrypt", policy: doc(to(rootARN(home), "kms:*"), to(byPolicy.ARN, "kms:RetireGrant")), want: denied},
		{name: "a deny in the key policy", by: retirer, operations: "Decrypt", retiring: &retirer.ARN, policy: doc(to(rootARN(home), "kms:*"), not(retirer.ARN, "kms:RetireGrant")), want: denied},
		{name: "a deny in IAM", by: banned, operations: "Decrypt RetireGrant", retiring: &banned.ARN, want: denied},
	} {
		policy := c.policy
		if policy == "" {
			policy = doc(to(rootARN(home), "kms:*"), to(rootARN(abroad), "kms:*"))
		}
		must(f.admin(), f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: policy})
		g := f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &grantee.ARN, RetiringPrincipal: c.retiring, Operations: ops(c.operations)})
		in := &kmsapi.RetireGrantInput{KeyId: new(arnOf(id)), GrantId: g.GrantId}
		if c.token {
			in = &kmsapi.RetireGrantInput{GrantToken: g.GrantToken}
		}
		dry := *in
		dry.DryRun = new(true)
		_, err := try(f.by(c.by), f, kmsapi.RetireGrant, &dry)
		if c.want == "" {
			wantError(t, c.name+", dry", err, "DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
		}
		_, err = try(f.by(c.by), f, kmsapi.RetireGrant, in)
		wantError(t, c.name, err, c.want, "")
		left := must(f.admin(), f, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: id, GrantId: g.GrantId}).Grants
		if (len(left) == 0) != (c.want == "") {
			t.Errorf("%s: %d grants are left", c.name, len(left))
		}
	}
	unknown := strings.Repeat("0", 64)
	for _, c := range []struct {
		name, want string
		in         kmsapi.RetireGrantInput
	}{
		{"nothing", "ValidationException", kmsapi.RetireGrantInput{}},
		{"key without grant", "ValidationException", kmsapi.RetireGrantInput{KeyId: new(arnOf(id))}},
		{"token and grant", "ValidationException", kmsapi.RetireGrantInput{GrantToken: new("x"), KeyId: new(arnOf(id)), GrantId: &unknown}},
		{"key id is no ARN", "InvalidArnException", kmsapi.RetireGrantInput{KeyId: &id, GrantId: &unknown}},
		{"unknown grant", "NotFoundException", kmsapi.RetireGrantInput{KeyId: new(arnOf(id)), GrantId: &unknown}},
		{"unknown grant of another account", denied, kmsapi.RetireGrantInput{KeyId: new(keyARN(region, abroad, testKeyID)), GrantId: &unknown}},
		{"forged token", "InvalidGrantTokenException", kmsapi.RetireGrantInput{GrantToken: new("x")}},
	} {
		_, err := try(f.admin(), f, kmsapi.RetireGrant, &c.in)
		wantError(t, c.name, err, c.want, "")
	}
}

// Tokens of every other kind are refused; a good one that is about something
// else gives nothing.
func TestGrantTokens(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	alice := f.user(home, "alice", "")
	good := *f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice.ARN, Operations: ops("Encrypt")}).GrantToken
	other := *f.grant(&kmsapi.CreateGrantInput{KeyId: f.key(""), GranteePrincipal: &alice.ARN, Operations: ops("Encrypt Decrypt")}).GrantToken
	page, err := f.s.cfg.Keyring.SealToken(envelope.PageToken, envelope.Token{Account: home, Region: region, Payload: []byte(id + "|" + id)})
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := envelope.NewMemory().SealToken(envelope.GrantToken, envelope.Token{Account: home, Region: region, Payload: []byte(id + "|" + id)})
	if err != nil {
		t.Fatal(err)
	}
	encrypt := func(token string) error {
		_, err := try(f.by(alice), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte("p"), GrantTokens: []string{token}})
		return err
	}
	wantError(t, "a good token", encrypt(good), "", "")
	wantError(t, "a page token", encrypt(page), "InvalidGrantTokenException", "")
	wantError(t, "another store's token", encrypt(foreign), "InvalidGrantTokenException", "")
	wantError(t, "a cut token", encrypt(good[:len(good)-1]), "InvalidGrantTokenException", "")
	blob := f.encrypted(f.admin(), id, nil)
	_, err = try(f.by(alice), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob, GrantTokens: []string{other}})
	wantError(t, "the token of a grant on another key", err, denied, "")
	for _, r := range f.records() {
		for _, token := range []string{good, other, page, foreign} {
			if strings.Contains(string(r), token) {
				t.Fatalf("a record holds a token: %s", r)
			}
		}
	}
}

func TestGrantIsForAWSResource(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	alice := f.user(home, "alice", doc(allow("kms:CreateGrant kms:ListGrants kms:RevokeGrant", when("Bool", "kms:GrantIsForAWSResource", "true"))))
	in := func() *kmsapi.CreateGrantInput {
		return &kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice.ARN, Operations: ops("Decrypt")}
	}
	_, err := try(f.by(alice), f, kmsapi.CreateGrant, in())
	wantError(t, "a direct call", err, denied, "")
	_, err = try(f.by(via(alice, "sagemaker", region)), f, kmsapi.CreateGrant, in())
	wantError(t, "through a service", err, "", "")
	cond := f.user(home, "cond", doc(allow("kms:CreateGrant", `"Condition":{"ForAllValues:StringEquals":{"kms:GrantOperations":["Decrypt"]},"StringEquals":{"kms:GranteePrincipal":"`+alice.ARN+`","kms:EncryptionContext:a":"1","kms:GrantConstraintType":"EncryptionContextSubset"}}`)))
	narrow := in()
	narrow.Constraints = &kmsapi.GrantConstraints{EncryptionContextSubset: map[string]string{"a": "1"}}
	_, err = try(f.by(cond), f, kmsapi.CreateGrant, narrow)
	wantError(t, "what the conditions ask", err, "", "")
	wide := in()
	wide.Operations = ops("Decrypt Encrypt")
	wide.Constraints = narrow.Constraints
	_, err = try(f.by(cond), f, kmsapi.CreateGrant, wide)
	wantError(t, "an operation more", err, denied, "")
}
