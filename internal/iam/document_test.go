package iam

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/store"
)

// TestWhiteSpaceIsBounded: quotas do not count white space, and rows do not hold
// more of it than they allow text; what has less is kept as it was sent.
func TestWhiteSpaceIsBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.newRole("reader")
	must(f.asRoot(), f, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "ann"})
	must(f.asRoot(), f, iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: "all"})
	padded := func(doc string) string {
		return strings.Replace(doc, `"Statement"`, `"Statement"`+strings.Repeat(" ", 100_000), 1)
	}
	indented := strings.Replace(allowAll, `"Statement"`, "\n\t\"Statement\"", 1)
	const trusting = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}`
	for i := range 20 {
		name := fmt.Sprintf("p%d", i)
		doc := padded(strings.Replace(allowAll, `"Allow"`, `"Deny"`, 1))
		must(f.asRoot(), f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "ann", PolicyName: name, PolicyDocument: doc})
		must(f.asRoot(), f, iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{RoleName: "reader", PolicyName: name, PolicyDocument: doc})
		must(f.asRoot(), f, iamapi.PutGroupPolicy, &iamapi.PutGroupPolicyInput{GroupName: "all", PolicyName: name, PolicyDocument: doc})
	}
	must(f.asRoot(), f, iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{RoleName: "reader", PolicyName: "indented", PolicyDocument: indented})
	must(f.asRoot(), f, iamapi.UpdateAssumeRolePolicy, &iamapi.UpdateAssumeRolePolicyInput{RoleName: "reader", PolicyDocument: padded(trusting)})
	p := must(f.asRoot(), f, iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "padded", PolicyDocument: padded(allowAll)}).Policy
	must(f.asRoot(), f, iamapi.CreatePolicyVersion, &iamapi.CreatePolicyVersionInput{PolicyArn: *p.Arn, PolicyDocument: padded(allowAll)})
	err := f.s.view(t.Context(), func(tx *store.Tx) error {
		for _, k := range []struct {
			kind *kind
			name string
		}{{f.s.users, "ann"}, {f.s.roles, "reader"}, {f.s.groups, "all"}} {
			e, err := k.kind.get(tx, testAccount, k.name)
			if err != nil {
				return err
			}
			n := len(e.Trust)
			for _, doc := range e.Inline {
				n += len(doc)
			}
			if n > 3*k.kind.inlineQuota {
				t.Errorf("%s %s holds %d bytes of policies", k.kind.noun, k.name, n)
			}
		}
		row, err := f.s.existing(tx, testAccount, *p.Arn)
		for _, v := range row.Versions {
			if v.Document != allowAll {
				t.Errorf("version %s holds %d bytes", v.ID, len(v.Document))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got := must(f.asRoot(), f, iamapi.GetRolePolicy, &iamapi.GetRolePolicyInput{RoleName: "reader", PolicyName: "indented"}).PolicyDocument
	if plain, err := url.PathUnescape(got); err != nil || plain != indented {
		t.Errorf("an indented document is told as %q, %v", plain, err)
	}
	trust := must(f.asRoot(), f, iamapi.GetRole, &iamapi.GetRoleInput{RoleName: "reader"}).Role.AssumeRolePolicyDocument
	if plain, err := url.PathUnescape(*trust); err != nil || plain != trusting {
		t.Errorf("a padded trust policy is told as %.300q, %v", plain, err)
	}
	// The details of the account have what its lists leave out.
	out := must(f.asRoot(), f, iamapi.GetAccountAuthorizationDetails, &iamapi.GetAccountAuthorizationDetailsInput{MaxItems: new(int32(1000))})
	if len(out.UserDetailList[0].UserPolicyList) != 20 || len(out.GroupDetailList[0].GroupPolicyList) != 20 || len(out.RoleDetailList[0].RolePolicyList) != 21 {
		t.Errorf("details %+v", out)
	}
	if v := out.Policies[len(out.Policies)-1].PolicyVersionList; len(v) != 2 || v[0].Document == nil || *v[0].Document == "" {
		t.Errorf("versions %+v", v)
	}
}
