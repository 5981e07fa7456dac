package iam

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/evaluator"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// TestAuthorization: what a user with one policy may do.
func TestAuthorization(t *testing.T) {
	t.Parallel()
	const me = "arn:aws:iam::111122223333:user/bob"
	allow := func(action, resource, condition string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `","Condition":{` + condition + `}}]}`
	}
	createTagged := func(value string) func(*fixture, context.Context) error {
		return func(f *fixture, ctx context.Context) error {
			_, err := try(ctx, f, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "new", Tags: []iamapi.Tag{{Key: "team", Value: value}}})
			return err
		}
	}
	attach := func(arn string) func(*fixture, context.Context) error {
		return func(f *fixture, ctx context.Context) error {
			_, err := try(ctx, f, iamapi.AttachRolePolicy, &iamapi.AttachRolePolicyInput{RoleName: "target", PolicyArn: arn})
			return err
		}
	}
	get := func(role string) func(*fixture, context.Context) error {
		return func(f *fixture, ctx context.Context) error {
			_, err := try(ctx, f, iamapi.GetRole, &iamapi.GetRoleInput{RoleName: role})
			return err
		}
	}
	for _, test := range []struct {
		name, policy string
		run          func(*fixture, context.Context) error
		message      string // "" = allowed
	}{
		{
			"nothing", allow("s3:*", "*", ""), get("target"),
			"User: " + me + " is not authorized to perform: iam:GetRole on resource: arn:aws:iam::111122223333:role/svc/target because no identity-based policy allows the iam:GetRole action",
		},
		{"role by its path", allow("iam:GetRole", "arn:aws:iam::111122223333:role/svc/*", ""), get("target"), ""},
		{
			"role that is not there", allow("iam:GetRole", "arn:aws:iam::111122223333:role/svc/*", ""), get("none"),
			"User: " + me + " is not authorized to perform: iam:GetRole on resource: arn:aws:iam::111122223333:role/none because no identity-based policy allows the iam:GetRole action",
		},
		{"role with a tag", allow("iam:GetRole", "*", `"StringEquals":{"aws:ResourceTag/team":"geo"}`), get("target"), ""},
		{"role with another tag", allow("iam:GetRole", "*", `"StringEquals":{"iam:ResourceTag/team":"ml"}`), get("target"), "*"},
		{"list roles", allow("iam:ListRoles", "arn:aws:iam::111122223333:role/*", ""), func(f *fixture, ctx context.Context) error {
			_, err := try(ctx, f, iamapi.ListRoles, &iamapi.ListRolesInput{})
			return err
		}, ""},
		{"list users", allow("iam:ListRoles", "*", ""), func(f *fixture, ctx context.Context) error {
			_, err := try(ctx, f, iamapi.ListUsers, &iamapi.ListUsersInput{})
			return err
		}, "User: " + me + " is not authorized to perform: iam:ListUsers on resource: arn:aws:iam::111122223333:user/ because no identity-based policy allows the iam:ListUsers action"},
		{"attach the one policy", allow("iam:AttachRolePolicy", "*", `"ArnEquals":{"iam:PolicyARN":"`+s3Policy+`"}`), attach(s3Policy), ""},
		{"attach another", allow("iam:AttachRolePolicy", "*", `"ArnEquals":{"iam:PolicyARN":"`+s3Policy+`"}`), attach("arn:aws:iam::aws:policy/AdministratorAccess"), "*"},
		{"bounded only, bounded", allow("iam:AttachRolePolicy", "*", `"StringEquals":{"iam:PermissionsBoundary":"`+s3Policy+`"}`), attach(s3Policy), ""},
		{"bounded only, by another", allow("iam:AttachRolePolicy", "*", `"StringNotEquals":{"iam:PermissionsBoundary":"`+s3Policy+`"}`), attach(s3Policy), "*"},
		{"create with the tag", allow("iam:*User", "*", `"StringEquals":{"aws:RequestTag/team":"geo"},"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}`), createTagged("geo"), ""},
		{"create with another value", allow("iam:*User", "*", `"StringEquals":{"aws:RequestTag/team":"geo"}`), createTagged("ml"), "*"},
		{"create with tags needs to tag", allow("iam:CreateUser", "*", ""), createTagged("geo"), "User: " + me + " is not authorized to perform: iam:TagUser on resource: arn:aws:iam::111122223333:user/new because no identity-based policy allows the iam:TagUser action"},
		{"own key", allow("iam:ListAccessKeys", me, ""), func(f *fixture, ctx context.Context) error {
			_, err := try(ctx, f, iamapi.ListAccessKeys, &iamapi.ListAccessKeysInput{})
			return err
		}, ""},
		{"policy of AWS", allow("iam:GetPolicy", "arn:aws:iam::aws:policy/*", ""), func(f *fixture, ctx context.Context) error {
			_, err := try(ctx, f, iamapi.GetPolicy, &iamapi.GetPolicyInput{PolicyArn: s3Policy})
			return err
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			_, k := f.newUser("bob")
			must(f.asRoot(), f, iamapi.CreateRole, &iamapi.CreateRoleInput{
				RoleName: "target", Path: new("/svc/"), AssumeRolePolicyDocument: trustAccount,
				PermissionsBoundary: new(s3Policy), Tags: []iamapi.Tag{{Key: "team", Value: "geo"}},
			})
			must(f.asRoot(), f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "p", PolicyDocument: strings.Replace(test.policy, `,"Condition":{}`, "", 1)})
			err := test.run(f, f.as(k.AccessKeyId, ""))
			switch test.message {
			case "":
				wantError(t, "call", err, "", "")
			case "*":
				wantError(t, "call", err, "AccessDenied", "")
			default:
				wantError(t, "call", err, "AccessDenied", test.message)
			}
		})
	}
}

func TestPassRole(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	role := f.newRole("job")
	_, k := f.newUser("bob")
	must(f.asRoot(), f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "p", PolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:PassRole","Resource":"` + role.Arn + `","Condition":{"StringEquals":{"iam:PassedToService":"sagemaker-geospatial.amazonaws.com"}}}]}`})
	ctx := f.as(k.AccessKeyId, "")
	for _, test := range []struct {
		name, role, service string
		want                bool
	}{
		{"the service", role.Arn, "sagemaker-geospatial.amazonaws.com", true},
		{"another service", role.Arn, "sagemaker.amazonaws.com", false},
		{"another role", "arn:aws:iam::111122223333:role/other", "sagemaker-geospatial.amazonaws.com", false},
		{"another account's role", "arn:aws:iam::444455556666:role/job", "sagemaker-geospatial.amazonaws.com", false},
	} {
		check := PassRoleCheck(test.role, test.service)
		if err := f.r.Authorize(ctx, iamapi.Service, &check); (err == nil) != test.want {
			t.Errorf("%s: %v, want allowed %t", test.name, err, test.want)
		}
	}
}

func TestAssumeForService(t *testing.T) {
	t.Parallel()
	const geospatial = "sagemaker-geospatial.amazonaws.com"
	f := newFixture(t)
	create := func(name, condition string) string {
		return must(f.asRoot(), f, iamapi.CreateRole, &iamapi.CreateRoleInput{
			RoleName: name, Path: new("/service-role/"),
			AssumeRolePolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + geospatial + `"},"Action":"sts:AssumeRole"` + condition + `}]}`,
		}).Role.Arn
	}
	plain := create("plain", "")
	ours := create("ours", `,"Condition":{"StringEquals":{"aws:SourceAccount":"111122223333"},"ArnLike":{"aws:SourceArn":"arn:aws:sagemaker-geospatial:*:111122223333:*"}}`)
	people := f.newRole("people").Arn
	for _, test := range []struct {
		name, role, service string
		source              Source
		want                error // in the tree
		ok                  bool
	}{
		{name: "trusted", role: plain, service: geospatial, ok: true},
		{name: "another service", role: plain, service: "sagemaker.amazonaws.com"},
		{name: "no service in the trust policy", role: people, service: geospatial},
		{name: "source", role: ours, service: geospatial, source: Source{ARN: "arn:aws:sagemaker-geospatial:us-west-2:111122223333:earth-observation-job/x"}, ok: true},
		{name: "no source", role: ours, service: geospatial},
		{name: "another account's source", role: ours, service: geospatial, source: Source{Account: otherAccount, ARN: "arn:aws:sagemaker-geospatial:us-west-2:111122223333:x"}},
		{name: "no such role", role: plain + "x", service: geospatial, want: ErrNoSuchRole},
		{name: "no path", role: strings.Replace(plain, "service-role/", "", 1), service: geospatial, want: ErrNoSuchRole},
	} {
		c, err := f.s.AssumeForSource(f.asRoot(), test.role, "SageMaker", test.service, test.source)
		if (err == nil) != test.ok || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want success %t", test.name, err, test.ok)
		}
		if err != nil {
			wantError(t, test.name, err, "AccessDenied", "")
			continue
		}
		if c.Type != identity.AssumedRole || !strings.HasPrefix(c.ARN, "arn:aws:sts::111122223333:assumed-role/") || strings.Contains(c.ARN, "service-role") ||
			c.RoleARN != test.role || c.PrincipalID != c.RoleID+":SageMaker" || !strings.HasPrefix(c.AccessKeyID, "ASIA") || c.IssuedAt.IsZero() {
			t.Errorf("%s: caller %+v", test.name, c)
		}
	}
	c, err := f.s.AssumeForService(f.asRoot(), plain, "SageMaker", geospatial)
	if err != nil {
		t.Fatal(err)
	}
	if f.may(c, "kms:Decrypt", "*") {
		t.Error("the session may what its role may not")
	}
	must(f.asRoot(), f, iamapi.AttachRolePolicy, &iamapi.AttachRolePolicyInput{RoleName: "plain", PolicyArn: "arn:aws:iam::aws:policy/AdministratorAccess"})
	if !f.may(c, "kms:Decrypt", "*") {
		t.Error("the session may not what its role may")
	}
	must(f.asRoot(), f, iamapi.UpdateAssumeRolePolicy, &iamapi.UpdateAssumeRolePolicyInput{RoleName: "plain", PolicyDocument: trustAccount})
	if _, err := f.s.AssumeForService(f.asRoot(), plain, "SageMaker", geospatial); err == nil {
		t.Error("the old trust policy is in force")
	}
}

func TestPrincipalExists(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	u, _ := f.newUser("bob")
	r := must(f.asRoot(), f, iamapi.CreateRole, &iamapi.CreateRoleInput{RoleName: "r", Path: new("/p/"), AssumeRolePolicyDocument: trustAccount}).Role
	for arn, want := range map[string]string{
		testAccount: "", "arn:aws:iam::111122223333:root": "", "arn:aws:iam::999999999999:root": "", "999999999999": "",
		u.Arn: u.UserId, r.Arn: r.RoleId, "arn:aws:sts::111122223333:assumed-role/r/session": r.RoleId,
	} {
		if id, ok := f.s.PrincipalExists(t.Context(), arn); !ok || id != want {
			t.Errorf("PrincipalExists(%s) = %q, %t, want %q", arn, id, ok, want)
		}
	}
	for _, arn := range []string{
		"", "*", "bob", "arn:aws:iam::111122223333:user/BOB", "arn:aws:iam::111122223333:user/x/bob", "arn:aws:iam::111122223333:role/r",
		"arn:aws:iam::999999999999:user/bob", "arn:aws:sts::111122223333:assumed-role/p/r/session", "arn:aws:sts::111122223333:assumed-role/r",
		"arn:aws:sts::111122223333:assumed-role/R/s", "arn:aws:iam::111122223333:group/g", "arn:aws:s3:::bob", "arn:aws:iam::11:root",
	} {
		if id, ok := f.s.PrincipalExists(t.Context(), arn); ok {
			t.Errorf("PrincipalExists(%q) = %q", arn, id)
		}
	}
}

// TestTrustIsBoundToUniqueIDs: a principal that is made again is another one,
// and the policy shows the id of the one that is gone. An account's id becomes
// its ARN.
func TestTrustIsBoundToUniqueIDs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	u, _ := f.newUser("bob")
	doc := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["` + u.Arn + `","arn:aws:iam::111122223333:root"]},"Action":"sts:AssumeRole"}]}`
	made := must(f.asRoot(), f, iamapi.CreateRole, &iamapi.CreateRoleInput{RoleName: "r", AssumeRolePolicyDocument: strings.Replace(doc, "arn:aws:iam::111122223333:root", "111122223333", 1)})
	if got := *made.Role.AssumeRolePolicyDocument; got != encodeDocument(doc) {
		t.Errorf("the account stands in the answer as %s", got)
	}
	shown := func() string {
		out := must(f.asRoot(), f, iamapi.GetRole, &iamapi.GetRoleInput{RoleName: "r"})
		plain, err := url.QueryUnescape(*out.Role.AssumeRolePolicyDocument)
		if err != nil {
			t.Fatal(err)
		}
		return plain
	}
	if got := shown(); got != doc {
		t.Errorf("trust policy = %s", got)
	}
	for _, k := range must(f.asRoot(), f, iamapi.ListAccessKeys, &iamapi.ListAccessKeysInput{UserName: new("bob")}).AccessKeyMetadata {
		must(f.asRoot(), f, iamapi.DeleteAccessKey, &iamapi.DeleteAccessKeyInput{UserName: new("bob"), AccessKeyId: *k.AccessKeyId})
	}
	must(f.asRoot(), f, iamapi.DeleteUser, &iamapi.DeleteUserInput{UserName: "bob"})
	_, again := f.newUser("bob")
	got := shown()
	if !json.Valid([]byte(got)) || strings.Contains(got, u.Arn) || !strings.Contains(got, `"AWS":["`+u.UserId+`","arn:aws:iam::111122223333:root"]`) {
		t.Errorf("trust policy after the user was made again = %s", got)
	}
	role, err := f.s.RoleByARN(t.Context(), "arn:aws:iam::111122223333:role/r")
	if err != nil {
		t.Fatal(err)
	}
	d, err := evaluator.New(f.s, nil).Decide(f.as(again.AccessKeyId, ""), &protocol.Check{
		Action: "sts:AssumeRole", Resource: role.ARN, Account: testAccount, Policy: role.Trust, Kind: protocol.RoleTrust,
	})
	if err != nil || d.Effect == authz.Allowed {
		t.Errorf("the trust policy lets the new user of the name in: %+v, %v", d, err)
	}
	_, err = try(f.asRoot(), f, iamapi.UpdateAssumeRolePolicy, &iamapi.UpdateAssumeRolePolicyInput{RoleName: "r", PolicyDocument: got})
	wantError(t, "save the id of a user that is gone", err, "MalformedPolicyDocument", "")
}

// TestRecords: a change and its record are one commit, without secrets.
func TestRecords(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.newUser("bob")
	ctx, pending := audit.WithPending(f.asRoot())
	ctx = store.WithPending(ctx, pending)
	k := must(ctx, f, iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: new("bob")}).AccessKey
	if rest, err := pending.Rest(); err != nil || len(rest) != 0 {
		t.Errorf("%d records were left out of the commit, %v", len(rest), err)
	}
	var found bool
	f.eachRecord(func(r map[string]any, text string) {
		if strings.Contains(text, k.SecretAccessKey) {
			t.Errorf("a record holds a secret: %s", text)
		}
		if r["eventName"] == "CreateAccessKey" && strings.Contains(text, k.AccessKeyId) {
			found = true
		}
	})
	if !found {
		t.Error("no record of CreateAccessKey with the key's id")
	}
	if _, err := try(f.asRoot(), f, iamapi.GetUser, &iamapi.GetUserInput{UserName: new("none")}); err == nil {
		t.Fatal("GetUser found nobody")
	}
	last := f.records[len(f.records)-1]
	if last["eventName"] != "GetUser" || last["errorCode"] != "NoSuchEntity" || last["eventSource"] != "iam.amazonaws.com" {
		t.Errorf("record of a failed read = %v", last)
	}
}
