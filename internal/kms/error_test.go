package kms

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/store"
)

const (
	unknownKey = "1234abcd-12ab-34cd-56ef-1234567890ab"
	hidden     = "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access."
)

func TestKeyIdentifiers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/app", TargetKeyId: id})
	for _, c := range []struct{ name, key, code, message string }{
		{"id", id, "", ""},
		{"ARN", arnOf(id), "", ""},
		{"alias", "alias/app", "", ""},
		{"alias ARN", aliasARN(region, home, "alias/app"), "", ""},
		{"unknown id", unknownKey, "NotFoundException", "Key '" + arnOf(unknownKey) + "' does not exist"},
		{"unknown mrk", "mrk-1234abcd12ab34cd56ef1234567890ab", "NotFoundException", "Key 'arn:aws:kms:us-west-2:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab' does not exist"},
		{"no id", "nonsense", "NotFoundException", "Invalid keyId 'nonsense'"},
		{"upper case", strings.ToUpper(unknownKey), "NotFoundException", "Invalid keyId '" + strings.ToUpper(unknownKey) + "'"},
		{"short mrk", "mrk-1234", "NotFoundException", "Invalid keyId 'mrk-1234'"},
		{"unknown alias", "alias/none", "NotFoundException", "Alias arn:aws:kms:us-west-2:111122223333:alias/none is not found."},
		{"ARN of another region", keyARN(elsewhere, home, id), "NotFoundException", "Invalid arn " + elsewhere},
		{"alias ARN of another region", aliasARN(elsewhere, home, "alias/app"), "NotFoundException", "Invalid arn " + elsewhere},
		{"ARN of another partition", strings.Replace(arnOf(id), "aws", "aws-cn", 1), "NotFoundException", "Invalid arn " + strings.Replace(arnOf(id), "aws", "aws-cn", 1)},
		{"ARN of another service", "arn:aws:s3:us-west-2:111122223333:key/" + id, "NotFoundException", "Invalid arn *"},
		{"alias behind key/", "arn:aws:kms:us-west-2:111122223333:key/alias/app", "NotFoundException", "Invalid arn *"},
		{"empty alias", "alias/", "NotFoundException", "Alias *"},
		{"empty", "", "ValidationException", "1 validation error detected: Value '' at 'keyId' failed to satisfy constraint: Member must have length greater than or equal to 1"},
	} {
		_, err := try(f.admin(), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: c.key})
		wantError(t, c.name, err, c.code, c.message)
	}
	for _, name := range []string{"alias/app", aliasARN(region, home, "alias/app")} {
		_, err := try(f.admin(), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: name})
		wantError(t, "an alias in a management operation", err, "NotFoundException", "Invalid keyId '"+name+"'")
	}
}

func TestCryptographicErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	one, two := f.key(""), f.key("")
	sign := must(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: kmsapi.KeySpecEccNistP256, KeyUsage: kmsapi.KeyUsageTypeSignVerify}).KeyMetadata.KeyId
	ec := map[string]string{"a": "1"}
	blob := f.encrypted(f.admin(), one, ec)
	const wrongKey = "The key ID in the request does not identify a CMK that can perform this operation."
	damaged := bytes.Clone(blob)
	damaged[len(damaged)-1] ^= 1
	ghost := bytes.Clone(blob)
	ghost[5] ^= 1
	for _, c := range []struct {
		name          string
		in            kmsapi.DecryptInput
		code, message string
	}{
		{"right", kmsapi.DecryptInput{CiphertextBlob: blob, EncryptionContext: ec}, "", ""},
		{"right key named", kmsapi.DecryptInput{CiphertextBlob: blob, EncryptionContext: ec, KeyId: &one}, "", ""},
		{"wrong key", kmsapi.DecryptInput{CiphertextBlob: blob, EncryptionContext: ec, KeyId: &two}, "IncorrectKeyException", wrongKey},
		{"key of another usage", kmsapi.DecryptInput{CiphertextBlob: blob, EncryptionContext: ec, KeyId: &sign}, "IncorrectKeyException", wrongKey},
		{"key of another usage and no blob", kmsapi.DecryptInput{CiphertextBlob: []byte("x"), KeyId: &sign}, "InvalidKeyUsageException", arnOf(sign) + " key usage is SIGN_VERIFY which is not valid for Decrypt."},
		{"wrong context", kmsapi.DecryptInput{CiphertextBlob: blob}, "InvalidCiphertextException", ""},
		{"damaged", kmsapi.DecryptInput{CiphertextBlob: damaged, EncryptionContext: ec}, "InvalidCiphertextException", ""},
		{"no blob of ours", kmsapi.DecryptInput{CiphertextBlob: []byte("x")}, "InvalidCiphertextException", ""},
		{"unknown key in the blob", kmsapi.DecryptInput{CiphertextBlob: ghost, EncryptionContext: ec}, denied, hidden},
		{"wrong algorithm", kmsapi.DecryptInput{KeyId: &one, CiphertextBlob: blob, EncryptionContext: ec, EncryptionAlgorithm: kmsapi.EncryptionAlgorithmSpecRsaesOaepSha1}, "InvalidKeyUsageException", "Algorithm RSAES_OAEP_SHA_1 is incompatible with key spec SYMMETRIC_DEFAULT."},
		{"no ciphertext", kmsapi.DecryptInput{}, "ValidationException", "1 validation error detected: Value null at 'ciphertextBlob' *"},
		{"dry run", kmsapi.DecryptInput{CiphertextBlob: blob, EncryptionContext: ec, DryRun: new(true)}, "DryRunOperationException", "The request would have succeeded, but the DryRun option is set."},
		{"dry run of a damaged blob", kmsapi.DecryptInput{CiphertextBlob: damaged, EncryptionContext: ec, DryRun: new(true)}, "InvalidCiphertextException", ""},
		{"dry run without ciphertext", kmsapi.DecryptInput{KeyId: &one, DryRun: new(true), DryRunModifiers: []kmsapi.DryRunModifierType{kmsapi.DryRunModifierTypeIgnoreCiphertext}}, "DryRunOperationException", ""},
		{"dry run without anything", kmsapi.DecryptInput{DryRun: new(true), DryRunModifiers: []kmsapi.DryRunModifierType{kmsapi.DryRunModifierTypeIgnoreCiphertext}}, "ValidationException", ""},
	} {
		_, err := try(f.admin(), f, kmsapi.Decrypt, &c.in)
		wantError(t, c.name, err, c.code, c.message)
		if strings.HasPrefix(c.code, "InvalidCiphertext") && err != nil && err.Error() != "InvalidCiphertextException" {
			t.Errorf("%s: %q, want an empty message", c.name, err)
		}
	}
	_, err := try(f.in(elsewhere, root(home)), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob, EncryptionContext: ec})
	wantError(t, "a blob of another region", err, denied, hidden)
	_, err = try(f.admin(), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: sign, Plaintext: []byte("p")})
	wantError(t, "Encrypt under a signing key", err, "InvalidKeyUsageException", arnOf(sign)+" key usage is SIGN_VERIFY which is not valid for Encrypt.")
	_, err = try(f.admin(), f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{CiphertextBlob: blob, SourceEncryptionContext: ec, SourceKeyId: &two, DestinationKeyId: two})
	wantError(t, "ReEncrypt with the wrong source", err, "IncorrectKeyException", wrongKey)
	must(f.admin(), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: two})
	_, err = try(f.admin(), f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{
		SourceKeyId: &one, DestinationKeyId: two, DryRun: new(true), DryRunModifiers: []kmsapi.DryRunModifierType{kmsapi.DryRunModifierTypeIgnoreCiphertext},
	})
	wantError(t, "dry ReEncrypt to a disabled key", err, "DisabledException", "")
}

func TestLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	many := make([]kmsapi.Tag, 51)
	for i := range many {
		many[i] = kmsapi.Tag{TagKey: fmt.Sprintf("k%d", i), TagValue: "v"}
	}
	big := doc(to(rootARN(home), "kms:*"))
	big = big[:1] + strings.Repeat(" ", maxPolicy-len(big)+1) + big[1:]
	for _, c := range []struct {
		name, code, message string
		run                 func() error
	}{
		{"4096 bytes", "", "", func() error {
			_, err := try(f.admin(), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: make([]byte, 4096)})
			return err
		}},
		{"4097 bytes", "ValidationException", "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096", func() error {
			_, err := try(f.admin(), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: make([]byte, 4097)})
			return err
		}},
		{"no bytes", "ValidationException", "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length greater than or equal to 1", func() error {
			_, err := try(f.admin(), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte{}})
			return err
		}},
		{"ciphertext of 6145 bytes", "ValidationException", "", func() error {
			_, err := try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: make([]byte, 6145)})
			return err
		}},
		{"1025 random bytes", "ValidationException", "", func() error {
			_, err := try(f.admin(), f, kmsapi.GenerateRandom, &kmsapi.GenerateRandomInput{NumberOfBytes: new(int32(1025))})
			return err
		}},
		{"no number of random bytes", "ValidationException", "NumberOfBytes is required.", func() error {
			_, err := try(f.admin(), f, kmsapi.GenerateRandom, &kmsapi.GenerateRandomInput{})
			return err
		}},
		{"data key without size", "ValidationException", "", func() error {
			_, err := try(f.admin(), f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: id})
			return err
		}},
		{"data key with two sizes", "ValidationException", "", func() error {
			_, err := try(f.admin(), f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: id, KeySpec: kmsapi.DataKeySpecAes128, NumberOfBytes: new(int32(16))})
			return err
		}},
		{"window of 6 days", "ValidationException", "", func() error {
			_, err := try(f.admin(), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: new(int32(6))})
			return err
		}},
		{"window of 31 days", "ValidationException", "", func() error {
			_, err := try(f.admin(), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: new(int32(31))})
			return err
		}},
		{"rotation every 89 days", "ValidationException", "", func() error {
			_, err := try(f.admin(), f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: id, RotationPeriodInDays: new(int32(89))})
			return err
		}},
		{"rotation every 2561 days", "ValidationException", "", func() error {
			_, err := try(f.admin(), f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: id, RotationPeriodInDays: new(int32(2561))})
			return err
		}},
		{"51 tags", "TagException", "Too many tags", func() error {
			_, err := try(f.admin(), f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: id, Tags: many})
			return err
		}},
		{"a tag twice", "TagException", "Duplicate tag keys", func() error {
			_, err := try(f.admin(), f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: id, Tags: []kmsapi.Tag{{TagKey: "a"}, {TagKey: "a"}}})
			return err
		}},
		{"tags that differ in case", "TagException", "", func() error {
			_, err := try(f.admin(), f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: id, Tags: []kmsapi.Tag{{TagKey: "Team"}, {TagKey: "TEAM"}}})
			return err
		}},
		{"reserved tag", "TagException", "Tags beginning with aws: are reserved", func() error {
			_, err := try(f.admin(), f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: id, Tags: []kmsapi.Tag{{TagKey: "AWS:x"}}})
			return err
		}},
		{"tag key of 129", "ValidationException", "1 validation error detected: Value '*", func() error {
			_, err := try(f.admin(), f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: id, Tags: []kmsapi.Tag{{TagKey: strings.Repeat("k", 129)}}})
			return err
		}},
		{"policy over 32 KiB", "LimitExceededException", "", func() error {
			_, err := try(f.admin(), f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: big})
			return err
		}},
		{"policy of 32 KiB", "", "", func() error {
			_, err := try(f.admin(), f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: strings.Replace(big, " ", "", 1)})
			return err
		}},
		{"ListAliases by 101", "ValidationException", "", func() error {
			_, err := try(f.admin(), f, kmsapi.ListAliases, &kmsapi.ListAliasesInput{Limit: new(int32(101))})
			return err
		}},
		{"ListGrants by 0", "ValidationException", "", func() error {
			_, err := try(f.admin(), f, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: id, Limit: new(int32(0))})
			return err
		}},
		{"ListResourceTags by 51", "ValidationException", "", func() error {
			_, err := try(f.admin(), f, kmsapi.ListResourceTags, &kmsapi.ListResourceTagsInput{KeyId: id, Limit: new(int32(51))})
			return err
		}},
	} {
		wantError(t, c.name, c.run(), c.code, c.message)
	}
	for i := range maxAliases {
		must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: fmt.Sprintf("alias/n%d", i), TargetKeyId: id})
	}
	_, err := try(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/more", TargetKeyId: id})
	wantError(t, "the 51st alias", err, "LimitExceededException", "")
	_, err = try(f.admin(), f, kmsapi.UpdateAlias, &kmsapi.UpdateAliasInput{AliasName: "alias/n1", TargetKeyId: id})
	wantError(t, "an alias that stays", err, "", "")
	_, err = try(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/n1", TargetKeyId: id})
	wantError(t, "an alias that is there", err, "AlreadyExistsException", "")
	for range maxOnDemand {
		must(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id})
	}
	_, err = try(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id})
	wantError(t, "the 26th rotation on demand", err, "LimitExceededException", "")
}

func TestPutKeyPolicyRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	alice := f.by(f.user(home, "alice", doc(allow("kms:PutKeyPolicy"))))
	const lockedOut = "The new key policy will not allow you to update the key policy in the future."
	for _, c := range []struct {
		name, policy  string
		bypass        bool
		code, message string
	}{
		{"delegation", doc(to(rootARN(home), "kms:*")), false, "", ""},
		{"lock-out", doc(to(rootARN(home), "kms:Describe*")), false, "MalformedPolicyDocumentException", lockedOut},
		{"lock-out of the caller by a deny", doc(to(rootARN(home), "kms:*"), not("arn:aws:iam::111122223333:user/alice", "kms:PutKeyPolicy")), false, "MalformedPolicyDocumentException", lockedOut},
		{"unknown user", doc(to(rootARN(home), "kms:*"), to("arn:aws:iam::111122223333:user/none", "kms:*")), false, "MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals."},
		{"unknown role and bypass", doc(to("arn:aws:iam::111122223333:role/none", "kms:*")), true, "MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals."},
		{"no JSON", "{", false, "MalformedPolicyDocumentException", ""},
		{"no principal", doc(allow("kms:*")), false, "MalformedPolicyDocumentException", ""},
		{"unknown element", `{"Version":"2012-10-17","Statement":[],"Evil":1}`, false, "MalformedPolicyDocumentException", ""},
		{"doubled member", `{"Version":"2012-10-17","Statement":[` + to("*", "kms:*") + `],"Statement":[]}`, false, "MalformedPolicyDocumentException", ""},
		{"lock-out and bypass", doc(to(rootARN(home), "kms:Describe* kms:Put*")), true, "", ""},
	} {
		before := f.row(id).Policy
		_, err := try(alice, f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: c.policy, BypassPolicyLockoutSafetyCheck: &c.bypass})
		wantError(t, c.name, err, c.code, c.message)
		want := before
		if c.code == "" {
			want = c.policy
		}
		if got := f.row(id).Policy; got != want {
			t.Errorf("%s left the policy %s", c.name, got)
		}
	}
	_, err := try(alice, f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, PolicyName: new("other"), Policy: defaultPolicy(home)})
	wantError(t, "another policy name", err, "NotFoundException", "")
	_, err = try(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{Policy: new(doc(to(rootARN(home), "kms:Describe*")))})
	wantError(t, "CreateKey that locks out", err, "MalformedPolicyDocumentException", lockedOut)
}

// A stored policy that cannot be read denies, root included.
func TestUnreadablePolicyDenies(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	f.plant(id, func(k *keyRow) { k.Policy = "{" })
	_, err := try(f.admin(), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id})
	wantError(t, "DescribeKey", err, denied, "")
}

// Nobody learns from another account's names which keys and aliases it has.
func TestNoExistenceOracle(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/there", TargetKeyId: id})
	blob := f.encrypted(f.admin(), id, nil)
	ghost := bytes.Clone(blob)
	ghost[9] ^= 0x40
	callers := map[string]string{"allowed by IAM": doc(allow("kms:*")), "denied by IAM": doc(deny("kms:*")), "without IAM": ""}
	for who, policy := range callers {
		ctx := f.by(f.user(abroad, strings.ReplaceAll(who, " ", "-"), policy))
		answers := func(key string, b []byte) []string {
			var out []string
			for _, err := range []error{
				second(try(ctx, f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: key})),
				second(try(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: b, KeyId: &key})),
				second(try(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: b})),
				second(try(ctx, f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{CiphertextBlob: b, DestinationKeyId: key})),
				second(try(ctx, f, kmsapi.GetKeyPolicy, &kmsapi.GetKeyPolicyInput{KeyId: key})),
				second(try(ctx, f, kmsapi.RetireGrant, &kmsapi.RetireGrantInput{KeyId: &key, GrantId: new(strings.Repeat("0", 64))})),
			} {
				text := strings.NewReplacer(key, "KEY", id, "ID", unknownKey, "ID").Replace(fmt.Sprint(err))
				out = append(out, text)
			}
			return out
		}
		for _, pair := range [][2]string{
			{arnOf(id), arnOf(unknownKey)},
			{aliasARN(region, home, "alias/there"), aliasARN(region, home, "alias/not-there")},
		} {
			a, b := answers(pair[0], blob), answers(pair[1], ghost)
			for i := range a {
				if a[i] != b[i] {
					t.Errorf("%s: %q for what is there, %q for what is not", who, a[i], b[i])
				}
			}
		}
		for _, r := range f.records() {
			if text := string(r); strings.Contains(text, `"recipientAccountId":"`+abroad) && strings.Contains(text, "alias/there") && strings.Contains(text, id) {
				t.Errorf("a record tells the key behind a foreign alias: %s", text)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

// What was authorised is what is used, even when the alias moves in between.
func TestAliasMovesAfterAuthorisation(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	mine, theirs := f.key(""), f.key("")
	must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/a", TargetKeyId: mine})
	move := func(to string) {
		err := f.store.Update(f.Context(), func(tx *store.Tx) error {
			a, err := aliases.Get(tx, region, home, "alias/a")
			if err != nil {
				return err
			}
			a.Target = to
			return aliases.Put(tx, a, region, home, "alias/a")
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	in := &kmsapi.EncryptInput{KeyId: "alias/a", Plaintext: []byte("p")}
	resolve := keyOf(f.s, kmsapi.Encrypt, byAlias|crossAccount, encryptCall)
	checks, err := resolve(f.admin(), in)
	if err != nil {
		t.Fatal(err)
	}
	move(theirs)
	out, err := f.s.Encrypt(f.admin(), in)
	if err != nil {
		t.Fatal(err)
	}
	if *out.KeyId != checks[0].Resource || checks[0].Resource != arnOf(mine) {
		t.Errorf("authorised on %s, used %s", checks[0].Resource, *out.KeyId)
	}
	// DeleteAlias reads the alias again: it must be the one that was authorised.
	if _, err := f.s.DeleteAlias(f.admin(), &kmsapi.DeleteAliasInput{AliasName: "alias/a"}); err == nil {
		t.Error("DeleteAlias acted on a key that its record does not name")
	}
}
