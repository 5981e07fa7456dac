package server

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	stsapi "github.com/sagekeep/sagekeep/api/sts"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/evaluator"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

const (
	memberAccount  = "222233334444"
	outsideAccount = "333344445555"
)

// organization is a server whose first account manages an organization that
// memberAccount has joined and outsideAccount has not, with both types of
// control policies in force.
type organization struct {
	*testing.T
	s                       *Server
	manager, member, nobody *client.Client // root users
	id, root, unit          string
}

func newOrganization(t *testing.T) *organization {
	t.Helper()
	s, c := startServer(t)
	o := &organization{T: t, s: s, manager: c}
	for account, to := range map[string]**client.Client{memberAccount: &o.member, outsideAccount: &o.nobody} {
		k, err := s.createAccount(t.Context(), account)
		must(t, err)
		*to = c.As(sigv4.Credential{AccessKeyID: k.AccessKeyID, Secret: k.SecretAccessKey})
	}
	o.id = *do(t, c, orgapi.CreateOrganization, &orgapi.CreateOrganizationInput{}).Organization.Id
	o.root = *do(t, c, orgapi.ListRoots, &orgapi.ListRootsInput{}).Roots[0].Id
	for _, typ := range []orgapi.PolicyType{orgapi.PolicyTypeServiceControlPolicy, orgapi.PolicyTypeResourceControlPolicy} {
		do(t, c, orgapi.EnablePolicyType, &orgapi.EnablePolicyTypeInput{RootId: o.root, PolicyType: typ})
	}
	o.unit = *do(t, c, orgapi.CreateOrganizationalUnit, &orgapi.CreateOrganizationalUnitInput{ParentId: o.root, Name: "fields"}).OrganizationalUnit.Id
	h := do(t, c, orgapi.InviteAccountToOrganization, &orgapi.InviteAccountToOrganizationInput{
		Target: &orgapi.HandshakeParty{Id: memberAccount, Type: orgapi.HandshakePartyTypeAccount},
	}).Handshake
	do(t, o.member, orgapi.AcceptHandshake, &orgapi.AcceptHandshakeInput{HandshakeId: *h.Id})
	do(t, c, orgapi.MoveAccount, &orgapi.MoveAccountInput{AccountId: memberAccount, SourceParentId: o.root, DestinationParentId: o.unit})
	return o
}

// do calls an operation that must succeed.
func do[In, Out any](t testing.TB, c *client.Client, op schema.Op[In, Out], in *In) *Out {
	t.Helper()
	out, err := client.Call(context.Background(), c, op, in)
	if err != nil {
		t.Fatalf("%s: %v", op.Name, err)
	}
	return out
}

// control makes a policy of one statement and attaches it.
func (o *organization) control(typ orgapi.PolicyType, name, statement, target string) string {
	o.Helper()
	p := do(o.T, o.manager, orgapi.CreatePolicy, &orgapi.CreatePolicyInput{
		Name: name, Type: typ, Content: `{"Version":"2012-10-17","Statement":[` + statement + `]}`,
	}).Policy
	do(o.T, o.manager, orgapi.AttachPolicy, &orgapi.AttachPolicyInput{PolicyId: *p.PolicySummary.Id, TargetId: target})
	return *p.PolicySummary.Id
}

func (o *organization) detach(policy, target string) {
	o.Helper()
	do(o.T, o.manager, orgapi.DetachPolicy, &orgapi.DetachPolicyInput{PolicyId: policy, TargetId: target})
}

// administrator makes a user of an account who may do everything.
func administrator(t *testing.T, root *client.Client) *client.Client {
	t.Helper()
	do(t, root, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "admin"})
	do(t, root, iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "admin", PolicyArn: "arn:aws:iam::aws:policy/AdministratorAccess"})
	k := do(t, root, iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: new("admin")}).AccessKey
	return root.As(sigv4.Credential{AccessKeyID: k.AccessKeyId, Secret: k.SecretAccessKey})
}

// wantDenied checks that an error is a denial whose text has the words; want
// false is success.
func wantDenied(t *testing.T, what string, err error, want bool, words string) {
	t.Helper()
	if !want {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	e, ok := errors.AsType[*schema.Error](err)
	if !ok || !strings.HasPrefix(e.Code, "AccessDenied") || !strings.Contains(e.Message, words) {
		t.Errorf("%s: %v, want a denial with %q", what, err, words)
	}
}

func createKey(c *client.Client) error {
	_, err := client.Call(context.Background(), c, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
	return err
}

// TestServiceControlPolicies: they bind everybody in a member account, its root
// user too, and nobody in the management account.
func TestServiceControlPolicies(t *testing.T) {
	t.Parallel()
	o := newOrganization(t)
	admin := administrator(t, o.member)
	managers := administrator(t, o.manager)
	check := func(step string, denied bool, words string) {
		t.Helper()
		wantDenied(t, step+": the member's root user", createKey(o.member), denied, words)
		wantDenied(t, step+": the member's administrator", createKey(admin), denied, words)
		wantDenied(t, step+": the manager's root user", createKey(o.manager), false, "")
		wantDenied(t, step+": the manager's administrator", createKey(managers), false, "")
		wantDenied(t, step+": an account outside", createKey(o.nobody), false, "")
	}
	check("at first", false, "")
	const deny = `{"Effect":"Deny","Action":"kms:CreateKey","Resource":"*"}`
	const explicit = "with an explicit deny in a service control policy"
	p := o.control(orgapi.PolicyTypeServiceControlPolicy, "no keys", deny, o.root)
	check("at the root", true, explicit)
	o.detach(p, o.root)
	check("detached", false, "")
	do(t, o.manager, orgapi.AttachPolicy, &orgapi.AttachPolicyInput{PolicyId: p, TargetId: o.unit})
	check("at the unit", true, explicit)
	do(t, o.manager, orgapi.MoveAccount, &orgapi.MoveAccountInput{AccountId: memberAccount, SourceParentId: o.unit, DestinationParentId: o.root})
	check("moved out of the unit", false, "")
	do(t, o.manager, orgapi.MoveAccount, &orgapi.MoveAccountInput{AccountId: memberAccount, SourceParentId: o.root, DestinationParentId: o.unit})
	check("moved into the unit", true, explicit)
	do(t, o.manager, orgapi.UpdatePolicy, &orgapi.UpdatePolicyInput{
		PolicyId: p, Content: new(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`),
	})
	check("updated", false, "")
	// Every level must allow: without FullAWSAccess the unit allows S3 alone.
	o.detach("p-FullAWSAccess", o.unit)
	check("an allow list at one level", true, "because no service control policy allows the kms:CreateKey action")
	do(t, o.manager, orgapi.DisablePolicyType, &orgapi.DisablePolicyTypeInput{RootId: o.root, PolicyType: orgapi.PolicyTypeServiceControlPolicy})
	check("disabled", false, "")
}

// TestRegionGuard is the example of docs/organizations.md.
func TestRegionGuard(t *testing.T) {
	t.Parallel()
	o := newOrganization(t)
	o.control(orgapi.PolicyTypeServiceControlPolicy, "stay", `{"Effect":"Deny","NotAction":["iam:*","organizations:*","sts:*"],"Resource":"*",
		"Condition":{"StringNotEquals":{"aws:RequestedRegion":["us-west-2"]}}}`, o.root)
	away := *o.member
	away.Region = "eu-central-1"
	wantDenied(t, "in the region", createKey(o.member), false, "")
	wantDenied(t, "away", createKey(&away), true, "service control policy")
	if _, err := client.Call(t.Context(), &away, iamapi.ListUsers, &iamapi.ListUsersInput{}); err != nil {
		t.Errorf("a global service: %v", err)
	}
}

// perimeter lets nobody but the organization's principals and AWS services in.
func (o *organization) perimeter() string {
	return `{"Effect":"Deny","Principal":"*","Action":["s3:*","kms:*","sts:AssumeRole"],"Resource":"*","Condition":{
		"StringNotEqualsIfExists":{"aws:PrincipalOrgID":"` + o.id + `"},"BoolIfExists":{"aws:PrincipalIsAWSService":"false"}}}`
}

// TestResourceControlPolicies: what a member account shares with an account
// outside is no longer reached from there; the account itself and the
// management account still reach it.
func TestResourceControlPolicies(t *testing.T) {
	t.Parallel()
	o := newOrganization(t)
	outsider, insider := administrator(t, o.nobody), administrator(t, o.manager)
	const bucket = "shared-fields"
	do(t, o.member, s3api.CreateBucket, &s3api.CreateBucketInput{
		Bucket: bucket, CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: DefaultRegion},
	})
	do(t, o.member, s3api.PutObject, &s3api.PutObjectInput{Bucket: bucket, Key: "k", Body: strings.NewReader("x"), ContentLength: new(int64(1))})
	do(t, o.member, s3api.PutBucketPolicy, &s3api.PutBucketPolicyInput{
		Bucket: bucket,
		Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"CanonicalUser":"` + outsideAccount + `","AWS":"111122223333"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::shared-fields/*"}]}`,
	})
	key := *do(t, o.member, kmsapi.CreateKey, &kmsapi.CreateKeyInput{
		Policy: new(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::` + memberAccount + `:root","arn:aws:iam::` +
			outsideAccount + `:root","arn:aws:iam::111122223333:root"]},"Action":"kms:*","Resource":"*"}]}`),
	}).KeyMetadata.Arn
	get := func(c *client.Client) error {
		out, err := client.Call(t.Context(), c, s3api.GetObject, &s3api.GetObjectInput{Bucket: bucket, Key: "k"})
		if err == nil {
			err = drain(out.Body)
		}
		return err
	}
	encrypt := func(c *client.Client, key string) error {
		_, err := client.Call(t.Context(), c, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: key, Plaintext: []byte("x")})
		return err
	}
	check := func(step string, denied bool) {
		t.Helper()
		const words = "resource control policy"
		wantDenied(t, step+": an object from outside", get(outsider), denied, words)
		wantDenied(t, step+": a key from outside", encrypt(outsider, key), denied, words)
		wantDenied(t, step+": an object from the manager", get(insider), false, "")
		wantDenied(t, step+": a key from the manager", encrypt(insider, key), false, "")
		wantDenied(t, step+": an object of its own", get(o.member), false, "")
		wantDenied(t, step+": a key of its own", encrypt(o.member, key), false, "")
	}
	check("at first", false)
	p := o.control(orgapi.PolicyTypeResourceControlPolicy, "perimeter", o.perimeter(), o.root)
	check("with the perimeter", true)
	o.detach(p, o.root)
	check("without", false)

	// The management account's resources are never bound, nor are AWS managed keys.
	all := o.control(orgapi.PolicyTypeResourceControlPolicy, "no keys", `{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}`, o.root)
	wantDenied(t, "a customer managed key", encrypt(o.member, key), true, "resource control policy")
	own := do(t, o.manager, kmsapi.CreateKey, &kmsapi.CreateKeyInput{}).KeyMetadata.KeyId
	wantDenied(t, "a key of the manager", encrypt(o.manager, own), false, "")
	_, err := client.Call(t.Context(), o.member, s3api.PutObject, &s3api.PutObjectInput{
		Bucket: bucket, Key: "m", Body: strings.NewReader("x"), ContentLength: new(int64(1)), ServerSideEncryption: s3api.ServerSideEncryptionAwsKms,
	})
	wantDenied(t, "the AWS managed key of S3", err, false, "")
	o.detach(all, o.root)
}

// TestOrganizationConditions: key and bucket policies can name the
// organization.
func TestOrganizationConditions(t *testing.T) {
	t.Parallel()
	o := newOrganization(t)
	inside, outside := administrator(t, o.member), administrator(t, o.nobody)
	root := `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}`
	key := func(condition string) string {
		return *do(t, o.manager, kmsapi.CreateKey, &kmsapi.CreateKeyInput{
			Policy: new(`{"Version":"2012-10-17","Statement":[` + root + `,{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"kms:Encrypt","Resource":"*","Condition":` + condition + `}]}`),
		}).KeyMetadata.Arn
	}
	path := o.id + "/" + o.root + "/" + o.unit + "/"
	for name, tc := range map[string]struct {
		condition string
		denied    bool // to the member
	}{
		"the organization": {`{"StringEquals":{"aws:PrincipalOrgID":"` + o.id + `"}}`, false},
		"another one":      {`{"StringEquals":{"aws:PrincipalOrgID":"o-0000000000"}}`, true},
		"the unit's path":  {`{"ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":"` + path + `*"}}`, false},
		"another path":     {`{"ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":"` + o.id + `/r-0000/*"}}`, true},
	} {
		arn := key(tc.condition)
		encrypt := func(c *client.Client) error {
			_, err := client.Call(t.Context(), c, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: arn, Plaintext: []byte("x")})
			return err
		}
		wantDenied(t, name+": a member", encrypt(inside), tc.denied, "")
		wantDenied(t, name+": an outsider", encrypt(outside), true, "")
	}
	const bucket = "for-the-organization"
	do(t, o.manager, s3api.CreateBucket, &s3api.CreateBucketInput{
		Bucket: bucket, CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: DefaultRegion},
	})
	do(t, o.manager, s3api.PutBucketPolicy, &s3api.PutBucketPolicyInput{
		Bucket: bucket,
		Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::for-the-organization","Condition":{"StringEquals":{"aws:PrincipalOrgID":"` + o.id + `"}}}]}`,
	})
	for name, tc := range map[string]struct {
		c      *client.Client
		denied bool
	}{"a member": {inside, false}, "an outsider": {outside, true}} {
		_, err := client.Call(t.Context(), tc.c, s3api.ListObjectsV2, &s3api.ListObjectsV2Input{Bucket: bucket})
		wantDenied(t, "the bucket: "+name, err, tc.denied, "")
	}
}

// TestUnboundPrincipals: no control policy binds a service-linked role, and no
// service control policy a service principal.
func TestUnboundPrincipals(t *testing.T) {
	t.Parallel()
	o := newOrganization(t)
	all, err := authz.Parse(authz.IdentityPolicy, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`))
	must(t, err)
	shared, err := authz.Parse(authz.ResourcePolicy, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"logs.amazonaws.com"},"Action":"s3:PutObject","Resource":"*"}]}`))
	must(t, err)
	e := evaluator.New(everything{all}, o.s.organizations)
	role := func(path string) *identity.Caller {
		return &identity.Caller{
			Type: identity.AssumedRole, Account: memberAccount, ARN: "arn:aws:sts::" + memberAccount + ":assumed-role/r/s",
			PrincipalID: "AROAEXAMPLE:s", RoleARN: "arn:aws:iam::" + memberAccount + ":role" + path + "r", RoleID: "AROAEXAMPLE",
		}
	}
	service := &identity.Caller{Type: identity.Service, ServiceName: "logs.us-west-2.amazonaws.com", SourceAccount: memberAccount}
	stranger := &identity.Caller{Type: identity.Service, ServiceName: "logs.us-west-2.amazonaws.com", SourceAccount: outsideAccount}
	allowed := func(c *identity.Caller) bool {
		t.Helper()
		check := &protocol.Check{Action: "s3:PutObject", Resource: "arn:aws:s3:::b/k", Account: memberAccount}
		if c.Type == identity.Service {
			check.Policy = shared
		}
		d, err := e.Decide(identity.With(t.Context(), &identity.Call{Caller: c, Region: DefaultRegion, Time: time.Now()}), check)
		must(t, err)
		return d.Effect == authz.Allowed
	}
	want := func(step string, ordinary, linked, own, foreign bool) {
		t.Helper()
		for name, tc := range map[string]struct {
			c    *identity.Caller
			want bool
		}{
			"a role":                       {role("/"), ordinary},
			"a service-linked role":        {role("/aws-service-role/logs.amazonaws.com/"), linked},
			"a service for the account":    {service, own},
			"a service for another's sake": {stranger, foreign},
		} {
			if got := allowed(tc.c); got != tc.want {
				t.Errorf("%s: %s: allowed %v, want %v", step, name, got, tc.want)
			}
		}
	}
	want("at first", true, true, true, true)
	p := o.control(orgapi.PolicyTypeServiceControlPolicy, "nothing", `{"Effect":"Deny","Action":"*","Resource":"*"}`, o.root)
	want("under a service control policy", false, true, true, true)
	o.detach(p, o.root)
	p = o.control(orgapi.PolicyTypeResourceControlPolicy, "nothing", `{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}`, o.root)
	want("under a resource control policy", false, true, false, false)
	o.detach(p, o.root)
	o.control(orgapi.PolicyTypeResourceControlPolicy, "deputy", `{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*","Condition":{
		"StringNotEqualsIfExists":{"aws:SourceOrgID":"`+o.id+`"},"Null":{"aws:SourceAccount":"false"},"Bool":{"aws:PrincipalIsAWSService":"true"}}}`, o.root)
	want("against confused deputies", true, true, true, false)
}

// everything is a policySource that allows all.
type everything struct{ p *authz.Policy }

func (e everything) PoliciesOf(context.Context, *identity.Caller) (authz.Policies, error) {
	return authz.Policies{Identity: []*authz.Policy{e.p}}, nil
}

// TestControlPoliciesBiteAtOnce is I3 for what is attached, changed and moved.
func TestControlPoliciesBiteAtOnce(t *testing.T) {
	t.Parallel()
	o := newOrganization(t)
	key := do(t, o.member, kmsapi.CreateKey, &kmsapi.CreateKeyInput{}).KeyMetadata.KeyId
	use := func() error {
		_, err := client.Call(context.Background(), o.member, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: key, Plaintext: []byte("x")})
		return err
	}
	const deny = `{"Effect":"Deny","Action":"kms:*","Resource":"*"}`
	policy := func(statement string) string { return `{"Version":"2012-10-17","Statement":[` + statement + `]}` }
	id := *do(t, o.manager, orgapi.CreatePolicy, &orgapi.CreatePolicyInput{Name: "p", Type: orgapi.PolicyTypeServiceControlPolicy, Content: policy(deny)}).Policy.PolicySummary.Id
	locked := *do(t, o.manager, orgapi.CreateOrganizationalUnit, &orgapi.CreateOrganizationalUnitInput{ParentId: o.root, Name: "locked"}).OrganizationalUnit.Id
	for _, tc := range []struct {
		name        string
		before      func()
		take, after func() error
	}{
		{"AttachPolicy", nil, func() error {
			_, err := client.Call(context.Background(), o.manager, orgapi.AttachPolicy, &orgapi.AttachPolicyInput{PolicyId: id, TargetId: o.root})
			return err
		}, func() error {
			_, err := client.Call(context.Background(), o.manager, orgapi.DetachPolicy, &orgapi.DetachPolicyInput{PolicyId: id, TargetId: o.root})
			return err
		}},
		{"MoveAccount", func() {
			do(t, o.manager, orgapi.AttachPolicy, &orgapi.AttachPolicyInput{PolicyId: id, TargetId: locked})
		}, func() error {
			_, err := client.Call(context.Background(), o.manager, orgapi.MoveAccount, &orgapi.MoveAccountInput{AccountId: memberAccount, SourceParentId: o.unit, DestinationParentId: locked})
			return err
		}, func() error {
			_, err := client.Call(context.Background(), o.manager, orgapi.MoveAccount, &orgapi.MoveAccountInput{AccountId: memberAccount, SourceParentId: locked, DestinationParentId: o.unit})
			return err
		}},
		{"UpdatePolicy", func() {
			do(t, o.manager, orgapi.UpdatePolicy, &orgapi.UpdatePolicyInput{PolicyId: id, Content: new(policy(`{"Effect":"Deny","Action":"s3:*","Resource":"*"}`))})
			do(t, o.manager, orgapi.AttachPolicy, &orgapi.AttachPolicyInput{PolicyId: id, TargetId: memberAccount})
		}, func() error {
			_, err := client.Call(context.Background(), o.manager, orgapi.UpdatePolicy, &orgapi.UpdatePolicyInput{PolicyId: id, Content: new(policy(deny))})
			return err
		}, nil},
	} {
		if tc.before != nil {
			tc.before()
		}
		late, during, err := raceAgainst(use, tc.take)
		if err != nil || late > 0 || during == 0 {
			t.Errorf("%s: %d requests succeeded after the answer, %d before, %v", tc.name, late, during, err)
		}
		if tc.after != nil {
			must(t, tc.after())
		}
	}
}

// TestCreatedAccount: an account that Organizations makes is entered through its
// role, and bound like any other.
func TestCreatedAccount(t *testing.T) {
	t.Parallel()
	o := newOrganization(t)
	began := do(t, o.manager, orgapi.CreateAccount, &orgapi.CreateAccountInput{Email: "fields@example.com", AccountName: "Fields"}).CreateAccountStatus
	var account string
	for deadline := time.Now().Add(30 * time.Second); account == ""; time.Sleep(10 * time.Millisecond) {
		st := do(t, o.manager, orgapi.DescribeCreateAccountStatus, &orgapi.DescribeCreateAccountStatusInput{CreateAccountRequestId: *began.Id}).CreateAccountStatus
		if st.AccountId != nil {
			account = *st.AccountId
		}
		if st.State == orgapi.CreateAccountStateFailed || time.Now().After(deadline) {
			t.Fatalf("%+v", st)
		}
	}
	admin := administrator(t, o.manager)
	role := "arn:aws:iam::" + account + ":role/OrganizationAccountAccessRole"
	c := do(t, admin, stsapi.AssumeRole, &stsapi.AssumeRoleInput{RoleArn: role, RoleSessionName: "enter"}).Credentials
	inside := o.manager.As(sigv4.Credential{AccessKeyID: c.AccessKeyId, Secret: c.SecretAccessKey, SessionToken: c.SessionToken})
	if arn := *do(t, inside, kmsapi.CreateKey, &kmsapi.CreateKeyInput{}).KeyMetadata.Arn; !strings.Contains(arn, ":"+account+":key/") {
		t.Errorf("the key is %s", arn)
	}
	_, err := client.Call(t.Context(), administrator(t, o.nobody), stsapi.AssumeRole, &stsapi.AssumeRoleInput{RoleArn: role, RoleSessionName: "enter"})
	wantDenied(t, "from outside", err, true, "")
	o.control(orgapi.PolicyTypeServiceControlPolicy, "no keys", `{"Effect":"Deny","Action":"kms:CreateKey","Resource":"*"}`, account)
	wantDenied(t, "under a policy of its own", createKey(inside), true, "service control policy")
	// The perimeter does not lock the manager out.
	o.control(orgapi.PolicyTypeResourceControlPolicy, "perimeter", o.perimeter(), o.root)
	do(t, admin, stsapi.AssumeRole, &stsapi.AssumeRoleInput{RoleArn: role, RoleSessionName: "again"})
}

// TestControlPoliciesEndBucketKeys: data keys that are held go with the right to
// use them.
func TestControlPoliciesEndBucketKeys(t *testing.T) {
	t.Parallel()
	o := newOrganization(t)
	const bucket = "bucket-keys"
	do(t, o.member, s3api.CreateBucket, &s3api.CreateBucketInput{
		Bucket: bucket, CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: DefaultRegion},
	})
	key := do(t, o.member, kmsapi.CreateKey, &kmsapi.CreateKeyInput{}).KeyMetadata.Arn
	do(t, o.member, s3api.PutObject, &s3api.PutObjectInput{
		Bucket: bucket, Key: "k", Body: strings.NewReader("x"), ContentLength: new(int64(1)),
		ServerSideEncryption: s3api.ServerSideEncryptionAwsKms, SSEKMSKeyId: key, BucketKeyEnabled: new(true),
	})
	get := func() error {
		out, err := client.Call(t.Context(), o.member, s3api.GetObject, &s3api.GetObjectInput{Bucket: bucket, Key: "k"})
		if err == nil {
			err = drain(out.Body)
		}
		return err
	}
	for typ, principal := range map[orgapi.PolicyType]string{
		orgapi.PolicyTypeServiceControlPolicy:  "",
		orgapi.PolicyTypeResourceControlPolicy: `"Principal":"*",`,
	} {
		for range 2 {
			wantDenied(t, string(typ)+": before", get(), false, "")
		}
		p := o.control(typ, "no decryption", `{"Effect":"Deny",`+principal+`"Action":"kms:Decrypt","Resource":"*"}`, o.root)
		wantDenied(t, string(typ)+": after", get(), true, "")
		o.detach(p, o.root)
	}
}
