package kms

import (
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
)

// TestAliasNames: what AWS answers for names that an alias cannot have and for
// targets that are no keys. The pattern of the model comes first.
func TestAliasNames(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/there", TargetKeyId: id})
	const (
		invalid    = "ValidationException"
		prefix     = `Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`
		notAliases = "Aliases must refer to keys. Not aliases"
	)
	for _, c := range []struct{ name, alias, target, code, message string }{
		{"no prefix", "there", id, invalid, prefix},
		{"another prefix", "wrongprefix/there", id, invalid, prefix},
		{"prefix in capitals", "ALIAS/there", id, invalid, prefix},
		{"prefix alone", "alias/", id, invalid, "alias/ has no name behind its prefix"},
		{"colon", "alias/a:b", id, invalid, "alias/a:b contains invalid characters for an alias"},
		{"outside the pattern", "alias/a!", id, invalid, "1 validation error detected: Value 'alias/a!' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"},
		{"reserved", "alias/aws/mine", id, "NotAuthorizedException", ""},
		{"of a service", "alias/aws/s3", id, "NotAuthorizedException", ""},
		{"target is the alias", "alias/there", "alias/there", invalid, notAliases},
		{"target is another alias", "alias/other", "alias/there", invalid, notAliases},
		{"target is an alias that is not there", "alias/other", "alias/none", invalid, notAliases},
		{"target is the ARN of an alias", "alias/other", aliasARN(region, home, "alias/there"), invalid, notAliases},
	} {
		check := func(op string, err error) {
			t.Helper()
			wantError(t, op+", "+c.name, err, c.code, c.message)
			if err != nil && schema.AsError(err).Message != c.message {
				t.Errorf("%s, %s: message %q, want %q", op, c.name, schema.AsError(err).Message, c.message)
			}
		}
		check("CreateAlias", second(try(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: c.alias, TargetKeyId: c.target})))
		check("UpdateAlias", second(try(f.admin(), f, kmsapi.UpdateAlias, &kmsapi.UpdateAliasInput{AliasName: c.alias, TargetKeyId: c.target})))
		if c.target == id {
			check("DeleteAlias", second(try(f.admin(), f, kmsapi.DeleteAlias, &kmsapi.DeleteAliasInput{AliasName: c.alias})))
		}
	}
	must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/aws", TargetKeyId: id}) // is not reserved
	must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/a_/b-/", TargetKeyId: id})
}
