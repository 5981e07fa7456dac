package sts_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	stsapi "github.com/sagekeep/sagekeep/api/sts"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/evaluator"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// nobody is a user of ours without any policy.
func (f *fixture) nobody(name string) context.Context {
	f.t.Helper()
	must(f.root, f, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: name})
	return f.as(must(f.root, f, iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: &name}).AccessKey.AccessKeyId, "")
}

// policy gives a user of ours an inline policy.
func (f *fixture) policy(user, statements string) {
	f.t.Helper()
	must(f.root, f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{
		UserName: user, PolicyName: "p", PolicyDocument: `{"Version":"2012-10-17","Statement":[` + statements + `]}`,
	})
}

// own is a session that the caller asks for itself.
func (f *fixture) own(ctx context.Context) context.Context {
	f.t.Helper()
	return f.session(must(ctx, f, stsapi.GetSessionToken, &stsapi.GetSessionTokenInput{}).Credentials)
}

// federated is a session of GetFederationToken.
func (f *fixture) federated(ctx context.Context, in *stsapi.GetFederationTokenInput) context.Context {
	f.t.Helper()
	return f.session(must(ctx, f, stsapi.GetFederationToken, in).Credentials)
}

func (f *fixture) lastRecord() map[string]any {
	f.t.Helper()
	return f.records[len(f.records)-1]
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestOwnDurations: AWS STS API Reference, GetSessionToken and
// GetFederationToken, DurationSeconds.
func TestOwnDurations(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, test := range []struct {
		name       string
		seconds    *int32
		user, root time.Duration
		code       string
	}{
		{name: "default", user: 12 * time.Hour, root: time.Hour},
		{name: "shortest", seconds: new(int32(900)), user: 15 * time.Minute, root: 15 * time.Minute},
		{name: "an hour", seconds: new(int32(3600)), user: time.Hour, root: time.Hour},
		{name: "cut for the root user", seconds: new(int32(3601)), user: 3601 * time.Second, root: time.Hour},
		{name: "longest", seconds: new(int32(129600)), user: 36 * time.Hour, root: time.Hour},
		{name: "too short", seconds: new(int32(899)), code: "ValidationError"},
		{name: "too long", seconds: new(int32(129601)), code: "ValidationError"},
	} {
		for who, ctx := range map[string]context.Context{"user": f.bob, "root": f.root} {
			want := test.user
			if who == "root" {
				want = test.root
			}
			s, err := protocol.Call(ctx, f.r, stsapi.GetSessionToken, &stsapi.GetSessionTokenInput{DurationSeconds: test.seconds})
			wantError(t, err, test.code, "")
			if err == nil && !s.Credentials.Expiration.Equal(f.clock.Add(want)) {
				t.Errorf("%s, %s: GetSessionToken until %s", test.name, who, s.Credentials.Expiration)
			}
			g, err := protocol.Call(ctx, f.r, stsapi.GetFederationToken, &stsapi.GetFederationTokenInput{Name: "sue", DurationSeconds: test.seconds})
			wantError(t, err, test.code, "")
			if err == nil && !g.Credentials.Expiration.Equal(f.clock.Add(want)) {
				t.Errorf("%s, %s: GetFederationToken until %s", test.name, who, g.Credentials.Expiration)
			}
		}
	}
}

// TestGetSessionTokenNeedsNoPermission: IAM User Guide, "Permissions for
// GetSessionToken": a policy neither allows nor denies it.
func TestGetSessionTokenNeedsNoPermission(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	eve := f.nobody("eve")
	f.own(eve)
	f.policy("eve", `{"Effect":"Deny","Action":"*","Resource":"*"}`)
	session := f.own(eve)
	out := must(session, f, stsapi.GetCallerIdentity, &stsapi.GetCallerIdentityInput{})
	if *out.Arn != "arn:aws:iam::111122223333:user/eve" || !strings.HasPrefix(*out.UserId, "AIDA") {
		t.Errorf("the session is %s %s", *out.Arn, *out.UserId)
	}
	_, err := protocol.Call(f.bob, f.r, stsapi.GetSessionToken, &stsapi.GetSessionTokenInput{SerialNumber: new("arn:aws:iam::111122223333:mfa/bob"), TokenCode: new("123456")})
	wantError(t, err, "AccessDenied", "MultiFactorAuthentication failed, unable to validate MFA code. There are no MFA devices here.")
}

// TestSessionsCannotMakeSessions: IAM User Guide, "Compare AWS STS credentials".
func TestSessionsCannotMakeSessions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	arn := f.role("reader", account, assume, "")
	for name, ctx := range map[string]context.Context{
		"user":      f.own(f.bob),
		"root":      f.own(f.root),
		"federated": f.federated(f.bob, &stsapi.GetFederationTokenInput{Name: "sue", Policy: new(allowAll)}),
		"role":      f.session(f.mustAssume(f.bob, &stsapi.AssumeRoleInput{RoleArn: arn}).Credentials),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := protocol.Call(ctx, f.r, stsapi.GetSessionToken, &stsapi.GetSessionTokenInput{})
			wantError(t, err, "AccessDenied", "Cannot call GetSessionToken with session credentials")
			_, err = protocol.Call(ctx, f.r, stsapi.GetFederationToken, &stsapi.GetFederationTokenInput{Name: "tom"})
			wantError(t, err, "AccessDenied", "Cannot call GetFederationToken with session credentials")
		})
	}
}

// TestClosedToSessions: without MFA nothing of IAM, and of STS AssumeRole and
// GetCallerIdentity alone; for federated users GetCallerIdentity alone.
// Source: AWS STS API Reference, GetSessionToken and GetFederationToken.
func TestClosedToSessions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	arn := f.role("reader", account, assume, "")
	const closed, text = "InvalidClientTokenId", "The security token included in the request is invalid"
	for _, test := range []struct {
		name   string
		ctx    context.Context
		assume string // error code, and its text
		text   string
	}{
		{"user", f.own(f.bob), "", ""},
		{"root", f.own(f.root), "AccessDenied", "Roles may not be assumed by root accounts."},
		{"federated", f.federated(f.bob, &stsapi.GetFederationTokenInput{Name: "sue", Policy: new(allowAll)}), closed, text},
		{"federated by root", f.federated(f.root, &stsapi.GetFederationTokenInput{Name: "sue", Policy: new(allowAll)}), closed, text},
	} {
		t.Run(test.name, func(t *testing.T) {
			must(test.ctx, f, stsapi.GetCallerIdentity, &stsapi.GetCallerIdentityInput{})
			_, err := protocol.Call(test.ctx, f.r, iamapi.GetUser, &iamapi.GetUserInput{UserName: new("bob")})
			wantError(t, err, closed, text)
			if rec := f.lastRecord(); rec["eventName"] != "GetUser" || rec["errorCode"] != closed {
				t.Errorf("record = %v", rec)
			}
			_, err = protocol.Call(test.ctx, f.r, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "new"})
			wantError(t, err, closed, text)
			_, err = protocol.Call(test.ctx, f.r, stsapi.GetAccessKeyInfo, &stsapi.GetAccessKeyInfoInput{AccessKeyId: identity.From(f.bob).Caller.AccessKeyID})
			wantError(t, err, closed, text)
			_, err = protocol.Call(test.ctx, f.r, stsapi.DecodeAuthorizationMessage, &stsapi.DecodeAuthorizationMessageInput{EncodedMessage: "x"})
			wantError(t, err, closed, text)
			_, err = f.assume(test.ctx, &stsapi.AssumeRoleInput{RoleArn: arn})
			wantError(t, err, test.assume, test.text)
		})
	}
	_, err := protocol.Call(f.root, f.r, iamapi.GetUser, &iamapi.GetUserInput{UserName: new("new")})
	wantError(t, err, "NoSuchEntity", "")
}

// TestOwnSessionsAssumeWithoutChaining: a session of a user is no role session,
// so that the role's own longest session counts.
func TestOwnSessionsAssumeWithoutChaining(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	arn := f.role("reader", account, assume, "")
	out := f.mustAssume(f.own(f.bob), &stsapi.AssumeRoleInput{RoleArn: arn, DurationSeconds: new(int32(7200))})
	if !out.Credentials.Expiration.Equal(f.clock.Add(2 * time.Hour)) {
		t.Errorf("session until %s", out.Credentials.Expiration)
	}
}

// TestGetFederationToken: permissions, parameters and what comes of them.
// Source: AWS STS API Reference, GetFederationToken.
func TestGetFederationToken(t *testing.T) {
	t.Parallel()
	const sue = "arn:aws:sts::111122223333:federated-user/sue"
	allow := func(action, resource, condition string) string {
		return `{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"` + condition + `}`
	}
	federate := allow("sts:GetFederationToken", sue, "")
	tag := []stsapi.Tag{{Key: "team", Value: "geo"}}
	long := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::` + strings.Repeat("x", 2048) + `"}]}`
	for _, test := range []struct {
		name, statements string
		in               stsapi.GetFederationTokenInput
		code, message    string
	}{
		{name: "no permission", statements: allow("sts:AssumeRole", "*", ""), code: "AccessDenied", message: "User: arn:aws:iam::111122223333:user/eve is not authorized to perform: sts:GetFederationToken on resource: " + sue + " because no identity-based policy allows the sts:GetFederationToken action"},
		{name: "permission", statements: federate},
		{name: "another name", statements: federate, in: stsapi.GetFederationTokenInput{Name: "tom"}, code: "AccessDenied"},
		{name: "tags without TagSession", statements: federate, in: stsapi.GetFederationTokenInput{Tags: tag}, code: "AccessDenied", message: "User: arn:aws:iam::111122223333:user/eve is not authorized to perform: sts:TagSession on resource: " + sue + " because no identity-based policy allows the sts:TagSession action"},
		{name: "tags", statements: federate + "," + allow("sts:TagSession", sue, ""), in: stsapi.GetFederationTokenInput{Tags: tag}},
		{name: "tags as asked for", statements: federate + "," + allow("sts:TagSession", "*", `,"Condition":{"StringEquals":{"aws:RequestTag/team":"geo"},"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}}`), in: stsapi.GetFederationTokenInput{Tags: tag}},
		{name: "other tags than asked for", statements: federate + "," + allow("sts:TagSession", "*", `,"Condition":{"StringEquals":{"aws:RequestTag/team":"ml"}}`), in: stsapi.GetFederationTokenInput{Tags: tag}, code: "AccessDenied"},
		{name: "reserved tag", statements: allow("sts:*", "*", ""), in: stsapi.GetFederationTokenInput{Tags: []stsapi.Tag{{Key: "AWS:x", Value: "1"}}}, code: "ValidationError"},
		{name: "tag twice", statements: allow("sts:*", "*", ""), in: stsapi.GetFederationTokenInput{Tags: []stsapi.Tag{{Key: "a", Value: "1"}, {Key: "A", Value: "2"}}}, code: "ValidationError", message: "Duplicate tag keys found. Please note that Tag keys are case insensitive."},
		{name: "no JSON", statements: federate, in: stsapi.GetFederationTokenInput{Policy: new("{")}, code: "MalformedPolicyDocument"},
		{name: "with a principal", statements: federate, in: stsapi.GetFederationTokenInput{Policy: new(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`)}, code: "MalformedPolicyDocument"},
		{name: "too long", statements: federate, in: stsapi.GetFederationTokenInput{Policy: &long}, code: "PackedPolicyTooLarge"},
		{name: "managed policy that is none", statements: federate, in: stsapi.GetFederationTokenInput{PolicyArns: []stsapi.PolicyDescriptorType{{Arn: new("arn:aws:iam::111122223333:policy/none")}}}, code: "ValidationError"},
		{name: "managed policy of another account", statements: federate, in: stsapi.GetFederationTokenInput{PolicyArns: []stsapi.PolicyDescriptorType{{Arn: new("arn:aws:iam::444455556666:policy/p")}}}, code: "ValidationError"},
		{name: "managed policy", statements: federate, in: stsapi.GetFederationTokenInput{PolicyArns: []stsapi.PolicyDescriptorType{{Arn: new("arn:aws:iam::aws:policy/AmazonS3FullAccess")}}}},
		{name: "eleven managed policies", statements: federate, in: stsapi.GetFederationTokenInput{PolicyArns: make([]stsapi.PolicyDescriptorType, 11)}, code: "ValidationError"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			eve := f.nobody("eve")
			f.policy("eve", test.statements)
			if test.in.Name == "" {
				test.in.Name = "sue"
			}
			out, err := protocol.Call(eve, f.r, stsapi.GetFederationToken, &test.in)
			wantError(t, err, test.code, test.message)
			if rec := f.lastRecord(); rec["eventName"] != "GetFederationToken" || (err != nil) != (rec["errorCode"] != nil) {
				t.Errorf("record = %v", rec)
			}
			if out == nil {
				return
			}
			if passed := len(test.in.Tags) + len(test.in.PolicyArns); (out.PackedPolicySize != nil) != (passed > 0) {
				t.Errorf("PackedPolicySize = %v", out.PackedPolicySize)
			}
			c := identity.From(f.session(out.Credentials)).Caller
			if c.ARN != sue || c.PrincipalID != "111122223333:sue" || out.FederatedUser.Arn != c.ARN || out.FederatedUser.FederatedUserId != c.PrincipalID || len(c.SessionTags) != len(test.in.Tags) {
				t.Errorf("federated user %+v, caller %+v", out.FederatedUser, c)
			}
		})
	}
}

// TestUserSessionRecords: the records as AWS writes them, without the token.
func TestUserSessionRecords(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := must(f.bob, f, stsapi.GetSessionToken, &stsapi.GetSessionTokenInput{DurationSeconds: new(int32(3600))})
	rec := f.lastRecord()
	if got, want := jsonOf(t, rec["requestParameters"]), `{"durationSeconds":3600}`; got != want {
		t.Errorf("requestParameters of GetSessionToken = %s, want %s", got, want)
	}
	if got, want := jsonOf(t, rec["responseElements"]), `{"credentials":{"accessKeyId":"`+s.Credentials.AccessKeyId+`","expiration":"Nov 21, 2026, 11:00:00 AM"}}`; got != want {
		t.Errorf("responseElements of GetSessionToken = %s, want %s", got, want)
	}
	g := must(f.bob, f, stsapi.GetFederationToken, &stsapi.GetFederationTokenInput{Name: "sue", Policy: new(allowAll), Tags: []stsapi.Tag{{Key: "team", Value: "geo"}}})
	rec = f.lastRecord()
	if got, want := jsonOf(t, rec["requestParameters"]), `{"name":"sue","policy":`+jsonOf(t, allowAll)+`,"tags":[{"key":"team","value":"geo"}]}`; got != want {
		t.Errorf("requestParameters of GetFederationToken = %s, want %s", got, want)
	}
	want := `{"credentials":{"accessKeyId":"` + g.Credentials.AccessKeyId + `","expiration":"Nov 21, 2026, 10:00:00 PM"},` +
		`"federatedUser":{"arn":"arn:aws:sts::111122223333:federated-user/sue","federatedUserId":"111122223333:sue"},"packedPolicySize":` + fmt.Sprint(*g.PackedPolicySize) + `}`
	if got := jsonOf(t, rec["responseElements"]); got != want {
		t.Errorf("responseElements of GetFederationToken = %s, want %s", got, want)
	}
	must(f.session(g.Credentials), f, stsapi.GetCallerIdentity, &stsapi.GetCallerIdentityInput{})
	who := f.lastRecord()["userIdentity"].(map[string]any)
	if who["type"] != "FederatedUser" || who["principalId"] != "111122223333:sue" || !strings.Contains(jsonOf(t, who), `"sessionIssuer":{"accountId":"111122223333","arn":"arn:aws:iam::111122223333:user/bob"`) {
		t.Errorf("userIdentity = %v", who)
	}
	for _, text := range f.text {
		for _, c := range []*stsapi.Credentials{s.Credentials, g.Credentials} {
			if strings.Contains(text, c.SecretAccessKey) || strings.Contains(text, c.SessionToken) {
				t.Errorf("a record holds secret or token: %s", text)
			}
		}
	}
}

// TestRevokeOlderSessions is the policy that "Revoke active sessions" attaches:
// sessions made before the instant are refused, later ones are not.
// Source: IAM User Guide, "Revoke IAM role temporary security credentials".
func TestRevokeOlderSessions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	arn := f.role("reader", account, assume, "")
	deny := func() string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["*"],"Resource":["*"],"Condition":{"DateLessThan":{"aws:TokenIssueTime":"` + f.clock.Format(time.RFC3339) + `"}}}]}`
	}
	may := func(ctx context.Context) bool {
		d, err := evaluator.New(f.iam, nil).Decide(ctx, &protocol.Check{Action: "kms:ListKeys", Resource: "*"})
		return err == nil && d.Effect == authz.Allowed
	}
	sessions := func() map[string]context.Context {
		return map[string]context.Context{
			"role":      f.session(f.mustAssume(f.bob, &stsapi.AssumeRoleInput{RoleArn: arn}).Credentials),
			"user":      f.own(f.bob),
			"federated": f.federated(f.bob, &stsapi.GetFederationTokenInput{Name: "sue", Policy: new(allowAll)}),
		}
	}
	old := sessions()
	for name, ctx := range old {
		if !may(ctx) {
			t.Errorf("%s: the old session may nothing before", name)
		}
	}
	f.clock = f.clock.Add(time.Second)
	must(f.root, f, iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{RoleName: "reader", PolicyName: "AWSRevokeOlderSessions", PolicyDocument: deny()})
	must(f.root, f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "AWSRevokeOlderSessions", PolicyDocument: deny()})
	for name, ctx := range old {
		if may(ctx) {
			t.Errorf("%s: the old session is not revoked", name)
		}
	}
	for name, ctx := range sessions() {
		if !may(ctx) {
			t.Errorf("%s: the new session is revoked", name)
		}
	}
	if !may(f.bob) {
		t.Error("the long-term key is revoked")
	}
}

// TestDeletedUserEndsEverything: sessions end with their user, roles that were
// assumed live on.
func TestDeletedUserEndsEverything(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	eve := f.nobody("eve")
	f.policy("eve", `{"Effect":"Allow","Action":"sts:*","Resource":"*"}`)
	own := must(eve, f, stsapi.GetSessionToken, &stsapi.GetSessionTokenInput{}).Credentials
	sue := must(eve, f, stsapi.GetFederationToken, &stsapi.GetFederationTokenInput{Name: "sue"}).Credentials
	must(f.root, f, iamapi.DeleteUserPolicy, &iamapi.DeleteUserPolicyInput{UserName: "eve", PolicyName: "p"})
	must(f.root, f, iamapi.DeleteAccessKey, &iamapi.DeleteAccessKeyInput{UserName: new("eve"), AccessKeyId: identity.From(eve).Caller.AccessKeyID})
	must(f.root, f, iamapi.DeleteUser, &iamapi.DeleteUserInput{UserName: "eve"})
	for _, c := range []*stsapi.Credentials{own, sue} {
		if got, err := f.iam.Lookup(t.Context(), c.AccessKeyId, c.SessionToken); err == nil || !strings.Contains(err.Error(), sigv4.ErrTokenInvalid.Error()) {
			t.Errorf("Lookup = %v, %v", got, err)
		}
	}
}

// TestSelfAssumption: a role assumes itself only when its trust policy says so.
// Source: IAM User Guide, "AWS JSON policy elements: Principal", role session
// principals; "Update a role trust policy".
func TestSelfAssumption(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	arn := f.role("closed", `{"AWS":"arn:aws:iam::111122223333:user/bob"}`, assume, "")
	session := f.session(f.mustAssume(f.bob, &stsapi.AssumeRoleInput{RoleArn: arn}).Credentials)
	_, err := f.assume(session, &stsapi.AssumeRoleInput{RoleArn: arn})
	wantError(t, err, "AccessDenied", "")
	must(f.root, f, iamapi.UpdateAssumeRolePolicy, &iamapi.UpdateAssumeRolePolicyInput{
		RoleName: "closed", PolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + arn + `"},"Action":"sts:AssumeRole"}]}`,
	})
	_, err = f.assume(session, &stsapi.AssumeRoleInput{RoleArn: arn})
	wantError(t, err, "", "")
}

// TestChainedRecord: the tags that a session brings along are in the record.
// Source: IAM User Guide, "Logging IAM and AWS STS API calls with AWS
// CloudTrail", the example of a chained role.
func TestChainedRecord(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first, second := f.role("first", account, all, ""), f.role("second", account, all, "")
	one := f.session(f.mustAssume(f.bob, &stsapi.AssumeRoleInput{
		RoleArn: first, SourceIdentity: new("bob"), Tags: []stsapi.Tag{{Key: "team", Value: "geo"}}, TransitiveTagKeys: []string{"team"},
	}).Credentials)
	if got, want := jsonOf(t, f.lastRecord()["requestParameters"]), `{"roleArn":"`+first+`","roleSessionName":"s","sourceIdentity":"bob","tags":[{"key":"team","value":"geo"}],"transitiveTagKeys":["team"]}`; got != want {
		t.Errorf("requestParameters = %s, want %s", got, want)
	}
	if got := jsonOf(t, f.lastRecord()["responseElements"]); !strings.Contains(got, `"sourceIdentity":"bob"`) {
		t.Errorf("responseElements = %s", got)
	}
	f.mustAssume(one, &stsapi.AssumeRoleInput{RoleArn: second, ExternalId: new("x1")})
	rec := f.lastRecord()
	if got, want := jsonOf(t, rec["requestParameters"]), `{"externalId":"x1","incomingTransitiveTags":{"team":"geo"},"roleArn":"`+second+`","roleSessionName":"s"}`; got != want {
		t.Errorf("requestParameters of the chained session = %s, want %s", got, want)
	}
	if got := jsonOf(t, rec["userIdentity"]); !strings.Contains(got, `"sourceIdentity":"bob"`) {
		t.Errorf("userIdentity of the chained request = %s", got)
	}
}

// TestSourceIdentityIsAKey: aws:SourceIdentity is in later requests, and only
// who may set it sets it.
// Source: IAM User Guide, "Monitor and control actions taken with assumed roles".
func TestSourceIdentityIsAKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	plain := f.role("plain", account, `["sts:AssumeRole","sts:TagSession"]`, "")
	_, err := f.assume(f.bob, &stsapi.AssumeRoleInput{RoleArn: plain, SourceIdentity: new("bob")})
	wantError(t, err, "AccessDenied", "User: arn:aws:iam::111122223333:user/bob is not authorized to perform: sts:SetSourceIdentity on resource: "+plain+" because no resource-based policy allows the sts:SetSourceIdentity action")
	arn := f.role("reader", account, all, `{"StringLike":{"sts:SourceIdentity":"b*"}}`)
	_, err = f.assume(f.bob, &stsapi.AssumeRoleInput{RoleArn: arn, SourceIdentity: new("ann")})
	wantError(t, err, "AccessDenied", "")
	session := f.session(f.mustAssume(f.bob, &stsapi.AssumeRoleInput{RoleArn: arn, SourceIdentity: new("bob")}).Credentials)
	guarded := f.role("guarded", account, all, `{"StringEquals":{"aws:SourceIdentity":"bob"}}`)
	f.mustAssume(session, &stsapi.AssumeRoleInput{RoleArn: guarded})
	_, err = f.assume(f.bob, &stsapi.AssumeRoleInput{RoleArn: guarded})
	wantError(t, err, "AccessDenied", "")
}

// TestGetAccessKeyInfoOfSessions: temporary keys name their account, too.
func TestGetAccessKeyInfoOfSessions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := must(f.bob, f, stsapi.GetSessionToken, &stsapi.GetSessionTokenInput{}).Credentials
	info := must(f.ann, f, stsapi.GetAccessKeyInfo, &stsapi.GetAccessKeyInfoInput{AccessKeyId: c.AccessKeyId})
	if *info.Account != ours {
		t.Errorf("the session's key belongs to %s", *info.Account)
	}
}

// TestCallersOfEveryKind: AWS STS API Reference, GetCallerIdentity.
func TestCallersOfEveryKind(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	role := f.role("reader", account, assume, "")
	got := map[string]string{}
	for name, ctx := range map[string]context.Context{
		"root": f.root, "root session": f.own(f.root), "session": f.own(f.bob),
		"federated": f.federated(f.bob, &stsapi.GetFederationTokenInput{Name: "sue"}),
		"role":      f.session(f.mustAssume(f.bob, &stsapi.AssumeRoleInput{RoleArn: role}).Credentials),
	} {
		out := must(ctx, f, stsapi.GetCallerIdentity, &stsapi.GetCallerIdentityInput{})
		id := *out.UserId
		if rest, ok := strings.CutPrefix(id, "A"); ok {
			id = "A" + rest[:3] + id[min(len(id), 21):]
		}
		got[name] = *out.Account + " " + id + " " + *out.Arn
	}
	want := map[string]string{
		"root":         "111122223333 111122223333 arn:aws:iam::111122223333:root",
		"root session": "111122223333 111122223333 arn:aws:iam::111122223333:root",
		"session":      "111122223333 AIDA arn:aws:iam::111122223333:user/bob",
		"federated":    "111122223333 111122223333:sue arn:aws:sts::111122223333:federated-user/sue",
		"role":         "111122223333 AROA:s arn:aws:sts::111122223333:assumed-role/reader/s",
	}
	if !maps.Equal(got, want) {
		t.Errorf("callers = %v, want %v", got, want)
	}
}

// TestTokenSizes: a token is as long as was asked for, and its length is told.
func TestTokenSizes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	size := int32(3000)
	own := must(f.bob, f, stsapi.GetSessionToken, &stsapi.GetSessionTokenInput{MinimumSessionTokenSize: &size})
	sue := must(f.bob, f, stsapi.GetFederationToken, &stsapi.GetFederationTokenInput{Name: "sue", MinimumSessionTokenSize: &size})
	for what, got := range map[*stsapi.Credentials]*int32{own.Credentials: own.SessionTokenSize, sue.Credentials: sue.SessionTokenSize} {
		if n := len(what.SessionToken); n < int(size) || got == nil || int(*got) != n {
			t.Errorf("a token of %d characters, told %v", n, got)
		}
		f.session(what)
	}
	if out := must(f.bob, f, stsapi.GetSessionToken, &stsapi.GetSessionTokenInput{}); out.SessionTokenSize != nil {
		t.Errorf("a size nobody asked for: %d", *out.SessionTokenSize)
	}
}
