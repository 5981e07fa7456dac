package kms

import (
	"strings"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/identity"
)

const denied = "AccessDeniedException"

func via(c *identity.Caller, service, region string) *identity.Caller {
	return c.Forward(identity.Hop{Service: service, Region: region})
}

// TestWhoMayEncrypt has one case per rule of the evaluation of a key policy with
// IAM policies. ALICE is an IAM user of the home account, or of the other one.
func TestWhoMayEncrypt(t *testing.T) {
	t.Parallel()
	const (
		crypto = "kms:Encrypt kms:Decrypt"
		alice  = "arn:aws:iam::111122223333:user/alice"
		bob    = "arn:aws:iam::444455556666:user/bob"
	)
	mine, theirs := rootARN(home), rootARN(abroad)
	keepAdmin := to(mine, "kms:Put* kms:Create* kms:Describe* kms:ScheduleKeyDeletion")
	for _, c := range []struct {
		name      string
		keyPolicy string // "" = the default one
		identity  string
		foreign   bool // bob of the other account calls
		via       *identity.Hop
		ec        map[string]string
		alias     bool   // the key is named by its alias
		want      string // "" = allowed
		text      string
	}{
		{name: "delegation and IAM", identity: doc(allow(crypto))},
		{name: "delegation without IAM", want: denied, text: "User: " + alice + " is not authorized to perform: kms:Encrypt on resource: KEY because no identity-based policy allows the kms:Encrypt action"},
		{name: "IAM without delegation", keyPolicy: doc(keepAdmin), identity: doc(allow("kms:*")), want: denied, text: "User: " + alice + " is not authorized to perform: kms:Encrypt on resource: KEY because no resource-based policy allows the kms:Encrypt action"},
		{name: "direct principal needs no IAM", keyPolicy: doc(to(alice, crypto))},
		{name: "direct principal, deny in IAM", keyPolicy: doc(to(alice, crypto)), identity: doc(deny("kms:Encrypt")), want: denied, text: "User: " + alice + " is not authorized to perform: kms:Encrypt on resource: KEY with an explicit deny in an identity-based policy"},
		{name: "deny in the key policy wins", keyPolicy: doc(to(mine, "kms:*"), not(alice, "kms:Encrypt")), identity: doc(allow("kms:*")), want: denied, text: "*with an explicit deny in a resource-based policy"},
		{name: "deny for everyone wins over a direct allow", keyPolicy: doc(to(alice, crypto), not("*", "kms:Encrypt")), want: denied},
		{name: "star is direct", keyPolicy: doc(to("*", crypto))},
		{name: "star with another account's condition", keyPolicy: doc(to("*", crypto, when("StringEquals", "kms:CallerAccount", abroad))), want: denied},
		{name: "star with the caller's account", keyPolicy: doc(to("*", crypto, when("StringEquals", "kms:CallerAccount", home)))},
		{name: "another user's statement", keyPolicy: doc(to(bob, crypto)), want: denied},
		{name: "other action", keyPolicy: doc(to(alice, "kms:Decrypt")), want: denied},

		{name: "ViaService, direct call", keyPolicy: doc(to("*", crypto, when("StringLike", "kms:ViaService", "s3.*.amazonaws.com"))), want: denied},
		{name: "ViaService, forwarded", keyPolicy: doc(to("*", crypto, when("StringLike", "kms:ViaService", "s3.*.amazonaws.com"))), via: &identity.Hop{Service: "s3", Region: region}},
		{name: "ViaService, other region", keyPolicy: doc(to("*", crypto, when("StringEquals", "kms:ViaService", "s3."+region+".amazonaws.com"))), via: &identity.Hop{Service: "s3", Region: elsewhere}, want: denied},
		{name: "ViaService, other service", keyPolicy: doc(to("*", crypto, when("StringLike", "kms:ViaService", "sagemaker.*.amazonaws.com"))), via: &identity.Hop{Service: "s3", Region: region}, want: denied},
		{name: "forwarding lends nothing", identity: doc(allow("s3:*")), via: &identity.Hop{Service: "s3", Region: region}, want: denied},

		{name: "encryption context", keyPolicy: doc(to(alice, crypto, when("StringEquals", "kms:EncryptionContext:App", "geo"))), ec: map[string]string{"App": "geo", "x": "y"}},
		{name: "encryption context, key case is ignored", keyPolicy: doc(to(alice, crypto, when("StringEquals", "kms:EncryptionContext:App", "geo"))), ec: map[string]string{"aPP": "geo"}},
		{name: "encryption context, value case is not", keyPolicy: doc(to(alice, crypto, when("StringEquals", "kms:EncryptionContext:App", "geo"))), ec: map[string]string{"App": "Geo"}, want: denied},
		{name: "encryption context absent", keyPolicy: doc(to(alice, crypto, when("StringEquals", "kms:EncryptionContext:App", "geo"))), want: denied},
		{name: "encryption context with ambiguous names", keyPolicy: doc(to(alice, crypto, when("StringEquals", "kms:EncryptionContext:App", "geo"))), ec: map[string]string{"App": "evil", "app": "geo"}, want: "ValidationException"},
		{name: "encryption context keys", keyPolicy: doc(to(alice, crypto, `"Condition":{"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["App"]},"Null":{"kms:EncryptionContextKeys":"false"}}`)), ec: map[string]string{"App": "v"}},
		{name: "encryption context keys, other case", keyPolicy: doc(to(alice, crypto, `"Condition":{"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["App"]},"Null":{"kms:EncryptionContextKeys":"false"}}`)), ec: map[string]string{"app": "v"}, want: denied},
		{name: "algorithm", keyPolicy: doc(to(alice, crypto, when("StringEquals", "kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT")))},
		{name: "key spec", keyPolicy: doc(to(alice, crypto, when("StringEquals", "kms:KeySpec", "RSA_2048"))), want: denied},
		{name: "resource tag", identity: doc(allow(crypto, when("StringEquals", "aws:ResourceTag/team", "geo")))},
		{name: "resource tag of another value", identity: doc(allow(crypto, when("StringEquals", "aws:ResourceTag/team", "ml"))), want: denied},

		{name: "RequestAlias by alias", identity: doc(allow(crypto, when("StringEquals", "kms:RequestAlias", "alias/app"))), alias: true},
		{name: "RequestAlias by id", identity: doc(allow(crypto, when("StringEquals", "kms:RequestAlias", "alias/app"))), want: denied},
		{name: "ResourceAliases by id", identity: doc(allow(crypto, when("ForAnyValue:StringLike", "kms:ResourceAliases", "alias/a*")))},
		{name: "ResourceAliases of another name", identity: doc(allow(crypto, when("ForAnyValue:StringLike", "kms:ResourceAliases", "alias/b*"))), want: denied},
		{name: "IAM names the alias as resource", identity: doc(strings.Replace(allow(crypto), `"*"`, `"arn:aws:kms:us-west-2:111122223333:alias/app"`, 1)), alias: true, want: denied},

		{name: "both sides across accounts", keyPolicy: doc(to(theirs, crypto)), identity: doc(allow(crypto)), foreign: true},
		{name: "key policy alone across accounts", keyPolicy: doc(to(theirs, crypto)), foreign: true, want: denied},
		{name: "user named across accounts without IAM", keyPolicy: doc(to(bob, crypto)), foreign: true, want: denied},
		{name: "user named across accounts with IAM", keyPolicy: doc(to(bob, crypto)), identity: doc(allow(crypto)), foreign: true},
		{name: "IAM alone across accounts", identity: doc(allow("kms:*")), foreign: true, want: denied, text: "User: " + bob + " is not authorized to perform: kms:Encrypt on resource: KEY because no resource-based policy allows the kms:Encrypt action"},
		{name: "star across accounts without IAM", keyPolicy: doc(to("*", crypto)), foreign: true, want: denied},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			id := f.key("")
			must(f.admin(), f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: id, Tags: []kmsapi.Tag{{TagKey: "team", TagValue: "geo"}}})
			must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/app", TargetKeyId: id})
			caller := f.user(home, "alice", "")
			stranger := f.user(abroad, "bob", "")
			if c.foreign {
				caller = stranger
			}
			if c.identity != "" {
				f.putUserPolicy(caller, c.identity)
			}
			if c.keyPolicy != "" {
				must(f.admin(), f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: c.keyPolicy, BypassPolicyLockoutSafetyCheck: new(true)})
			}
			if c.via != nil {
				caller = caller.Forward(*c.via)
			}
			name := arnOf(id)
			if c.alias {
				name = "alias/app"
			}
			_, err := try(f.by(caller), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: name, Plaintext: []byte("p"), EncryptionContext: c.ec})
			wantError(t, "Encrypt", err, c.want, "")
			if want, tail := strings.CutPrefix(c.text, "*"); c.text != "" && err != nil {
				got := strings.ReplaceAll(err.Error(), arnOf(id), "KEY")
				if tail && !strings.HasSuffix(got, want) || !tail && !strings.HasSuffix(got, ": "+want) {
					t.Errorf("text %q, want %q", got, want)
				}
			}
			if c.want == denied && f.last("Encrypt")["errorCode"] != "AccessDenied" {
				t.Errorf("the record's errorCode is %v, want AccessDenied", f.last("Encrypt")["errorCode"])
			}
		})
	}
}

func TestRolesSessionsAndBoundaries(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	session := f.role(home, "worker", "")
	limited := f.session(home, "worker", "limited", doc(allow("s3:*")))
	byRole := f.key(doc(to("arn:aws:iam::"+home+":role/worker", "kms:Encrypt")))
	bySession := f.key(doc(to(session.ARN, "kms:Encrypt")))
	for _, c := range []struct {
		name, key string
		by        *identity.Caller
		want      string
	}{
		{"session of the role", byRole, session, ""},
		{"session policy limits the role", byRole, limited, denied},
		{"session named itself", bySession, session, ""},
		{"another session", bySession, limited, denied},
	} {
		_, err := try(f.by(c.by), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: c.key, Plaintext: []byte("p")})
		wantError(t, c.name, err, c.want, "")
	}
}

// Whatever a key policy says, the operations that manage a key stay in its account.
func TestManagementStaysInTheAccount(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := arnOf(f.key(doc(to(rootARN(home), "kms:*"), to(rootARN(abroad), "kms:*"))))
	bob := f.by(f.user(abroad, "bob", doc(allow("kms:*"))))
	for name, run := range map[string]func() error{
		"PutKeyPolicy": func() error {
			_, err := try(bob, f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: defaultPolicy(abroad)})
			return err
		},
		"GetKeyLastUsage": func() error {
			_, err := try(bob, f, kmsapi.GetKeyLastUsage, &kmsapi.GetKeyLastUsageInput{KeyId: id})
			return err
		},
		"GetKeyPolicy": func() error {
			_, err := try(bob, f, kmsapi.GetKeyPolicy, &kmsapi.GetKeyPolicyInput{KeyId: id})
			return err
		},
		"DisableKey": func() error { _, err := try(bob, f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id}); return err },
		"EnableKey":  func() error { _, err := try(bob, f, kmsapi.EnableKey, &kmsapi.EnableKeyInput{KeyId: id}); return err },
		"ScheduleKeyDeletion": func() error {
			_, err := try(bob, f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id})
			return err
		},
		"CancelKeyDeletion": func() error {
			_, err := try(bob, f, kmsapi.CancelKeyDeletion, &kmsapi.CancelKeyDeletionInput{KeyId: id})
			return err
		},
		"RotateKeyOnDemand": func() error {
			_, err := try(bob, f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id})
			return err
		},
		"TagResource": func() error {
			_, err := try(bob, f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: id, Tags: []kmsapi.Tag{{TagKey: "a"}}})
			return err
		},
		"ListResourceTags": func() error {
			_, err := try(bob, f, kmsapi.ListResourceTags, &kmsapi.ListResourceTagsInput{KeyId: id})
			return err
		},
		"UpdateKeyDescription": func() error {
			_, err := try(bob, f, kmsapi.UpdateKeyDescription, &kmsapi.UpdateKeyDescriptionInput{KeyId: id})
			return err
		},
		"ListKeyRotations": func() error {
			_, err := try(bob, f, kmsapi.ListKeyRotations, &kmsapi.ListKeyRotationsInput{KeyId: id})
			return err
		},
	} {
		wantError(t, name, run(), denied, "")
	}
	_, err := try(bob, f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/x", TargetKeyId: id})
	wantError(t, "CreateAlias", err, "NotFoundException", "")
	for name, run := range map[string]func() error{
		"DescribeKey": func() error {
			_, err := try(bob, f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id})
			return err
		},
		"GetKeyRotationStatus": func() error {
			_, err := try(bob, f, kmsapi.GetKeyRotationStatus, &kmsapi.GetKeyRotationStatusInput{KeyId: id})
			return err
		},
		"GenerateDataKey": func() error {
			_, err := try(bob, f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: id, KeySpec: kmsapi.DataKeySpecAes128})
			return err
		},
		"ListGrants": func() error { _, err := try(bob, f, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: id}); return err },
	} {
		wantError(t, name+" across accounts", run(), "", "")
	}
}

func TestAliasOperationsNeedAliasAndKey(t *testing.T) {
	t.Parallel()
	onKey, onAlias := `"arn:aws:kms:*:*:key/*"`, `"arn:aws:kms:*:*:alias/*"`
	grant := func(resource string) string {
		return strings.Replace(allow("kms:CreateAlias kms:UpdateAlias kms:DeleteAlias"), `"*"`, resource, 1)
	}
	f := newFixture(t)
	one, two := f.key(""), f.key("")
	must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/there", TargetKeyId: one})
	for _, c := range []struct{ name, policy, want string }{
		{"key-only", doc(grant(onKey)), denied},
		{"alias-only", doc(grant(onAlias)), denied},
		{"one-key-only", doc(grant(onAlias), grant(`"`+arnOf(two)+`"`)), denied},
		{"both", doc(grant(onKey), grant(onAlias)), ""},
	} {
		ctx := f.by(f.user(home, c.name, c.policy))
		_, err := try(ctx, f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/" + c.name, TargetKeyId: one})
		wantError(t, "CreateAlias with "+c.name, err, c.want, "")
		_, err = try(ctx, f, kmsapi.UpdateAlias, &kmsapi.UpdateAliasInput{AliasName: "alias/there", TargetKeyId: two})
		wantError(t, "UpdateAlias with "+c.name, err, c.want, "")
		must(f.admin(), f, kmsapi.UpdateAlias, &kmsapi.UpdateAliasInput{AliasName: "alias/there", TargetKeyId: one})
		_, err = try(ctx, f, kmsapi.DeleteAlias, &kmsapi.DeleteAliasInput{AliasName: "alias/there"})
		wantError(t, "DeleteAlias with "+c.name, err, c.want, "")
	}
}

func TestReEncryptNeedsBothSides(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	from, to_ := f.key(""), f.key("")
	blob := f.encrypted(f.admin(), from, map[string]string{"a": "1"})
	on := func(action, key string, more ...string) string {
		return strings.Replace(allow(action, more...), `"*"`, `"`+arnOf(key)+`"`, 1)
	}
	for _, c := range []struct{ name, policy, want string }{
		{"from alone", doc(on("kms:ReEncryptFrom", from)), denied},
		{"to alone", doc(on("kms:ReEncryptTo", to_)), denied},
		{"swapped", doc(on("kms:ReEncryptFrom", to_), on("kms:ReEncryptTo", from)), denied},
		{"both", doc(on("kms:ReEncryptFrom", from), on("kms:ReEncryptTo", to_)), ""},
		{"Decrypt and Encrypt are not it", doc(on("kms:Decrypt", from), on("kms:Encrypt", to_)), denied},
		{"contexts of each side", doc(on("kms:ReEncryptFrom", from, when("StringEquals", "kms:EncryptionContext:a", "1")), on("kms:ReEncryptTo", to_, when("StringEquals", "kms:EncryptionContext:b", "2"))), ""},
		{"contexts of the wrong side", doc(on("kms:ReEncryptFrom", from, when("StringEquals", "kms:EncryptionContext:b", "2")), on("kms:ReEncryptTo", to_)), denied},
		{"same key only", doc(allow("kms:ReEncrypt*", when("Bool", "kms:ReEncryptOnSameKey", "true"))), denied},
	} {
		ctx := f.by(f.user(home, strings.ReplaceAll(c.name, " ", "-"), c.policy))
		_, err := try(ctx, f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{
			CiphertextBlob: blob, DestinationKeyId: to_,
			SourceEncryptionContext: map[string]string{"a": "1"}, DestinationEncryptionContext: map[string]string{"b": "2"},
		})
		wantError(t, c.name, err, c.want, "")
	}
}

func TestConditionsOfManagement(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	user := f.user(home, "ops", doc(
		allow("kms:CreateKey", when("StringEquals", "kms:KeySpec", "SYMMETRIC_DEFAULT")),
		allow("kms:ScheduleKeyDeletion", when("NumericGreaterThanEquals", "kms:ScheduleKeyDeletionPendingWindowInDays", "14")),
		allow("kms:EnableKeyRotation", when("NumericLessThan", "kms:RotationPeriodInDays", "200")),
		allow("kms:TagResource", when("StringEquals", "aws:RequestTag/team", "geo")),
		allow("kms:GenerateRandom", when("StringEquals", "kms:CallerAccount", home)),
	))
	ctx := f.by(user)
	id := f.key("")
	_, err := try(ctx, f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
	wantError(t, "CreateKey", err, "", "")
	_, err = try(ctx, f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: kmsapi.KeySpecHmac256, KeyUsage: kmsapi.KeyUsageTypeGenerateVerifyMac})
	wantError(t, "CreateKey of another spec", err, denied, "")
	_, err = try(ctx, f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{Tags: []kmsapi.Tag{{TagKey: "team", TagValue: "ml"}}})
	wantError(t, "CreateKey with a tag that may not be given", err, denied, "")
	_, err = try(ctx, f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: id, RotationPeriodInDays: new(int32(200))})
	wantError(t, "EnableKeyRotation for too long", err, denied, "")
	_, err = try(ctx, f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: id, RotationPeriodInDays: new(int32(100))})
	wantError(t, "EnableKeyRotation", err, "", "")
	_, err = try(ctx, f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: id, Tags: []kmsapi.Tag{{TagKey: "team", TagValue: "geo"}}})
	wantError(t, "TagResource", err, "", "")
	_, err = try(ctx, f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: new(int32(13))})
	wantError(t, "ScheduleKeyDeletion too soon", err, denied, "")
	_, err = try(ctx, f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: new(int32(14))})
	wantError(t, "ScheduleKeyDeletion", err, "", "")
	_, err = try(ctx, f, kmsapi.GenerateRandom, &kmsapi.GenerateRandomInput{NumberOfBytes: new(int32(1))})
	wantError(t, "GenerateRandom", err, "", "")
	_, err = try(ctx, f, kmsapi.ListKeys, &kmsapi.ListKeysInput{})
	wantError(t, "ListKeys", err, denied, "")
}

func TestManagedKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.user(home, "alice", "")
	viaS3 := f.by(via(alice, "s3", region))
	in := &kmsapi.GenerateDataKeyInput{KeyId: "alias/aws/s3", KeySpec: kmsapi.DataKeySpecAes256}
	_, err := try(f.by(alice), f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: "alias/aws/s3", KeySpec: kmsapi.DataKeySpecAes256})
	wantError(t, "before the service needs it", err, "NotFoundException", "Alias arn:aws:kms:us-west-2:111122223333:alias/aws/s3 is not found.")
	_, err = try(f.by(via(alice, "sagemaker", region)), f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: "alias/aws/s3", KeySpec: kmsapi.DataKeySpecAes256})
	wantError(t, "through another service", err, "NotFoundException", "")
	out := must(viaS3, f, kmsapi.GenerateDataKey, in)
	if r := f.last("CreateKey"); r["eventType"] != "AwsServiceEvent" {
		t.Errorf("the record of the managed key is %v", r)
	}
	id := (*out.KeyId)[strings.LastIndex(*out.KeyId, "/")+1:]
	_, err = try(f.by(alice), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: out.CiphertextBlob})
	wantError(t, "direct use", err, denied, "")
	for name, run := range map[string]func() error{
		"DisableKey": func() error {
			_, err := try(f.admin(), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id})
			return err
		},
		"PutKeyPolicy": func() error {
			_, err := try(f.admin(), f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: defaultPolicy(home)})
			return err
		},
		"ScheduleKeyDeletion": func() error {
			_, err := try(f.admin(), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id})
			return err
		},
		"CreateAlias": func() error {
			_, err := try(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/mine", TargetKeyId: id})
			return err
		},
	} {
		wantError(t, name+" of a managed key", run(), denied, "")
	}
	own := f.key("")
	must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/own", TargetKeyId: own})
	_, err = try(f.admin(), f, kmsapi.UpdateAlias, &kmsapi.UpdateAliasInput{AliasName: "alias/own", TargetKeyId: id})
	wantError(t, "UpdateAlias to a managed key", err, denied, "")
	_, err = try(f.admin(), f, kmsapi.DeleteAlias, &kmsapi.DeleteAliasInput{AliasName: "alias/aws/s3"})
	wantError(t, "DeleteAlias of a managed key", err, "NotAuthorizedException", "")
}
