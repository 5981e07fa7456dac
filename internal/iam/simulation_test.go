package iam

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
)

const (
	bobARN     = "arn:aws:iam::111122223333:user/bob"
	strangeARN = "arn:aws:iam::444455556666:user/eve"
	cropsKey   = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
)

// doc makes a document of statements written as Effect, Action and Resource,
// and what else the statement has.
func doc(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func says(effect, action, resource string, more ...string) string {
	return fmt.Sprintf(`{"Effect":%q,"Action":%q,"Resource":%q%s}`, effect, action, resource, strings.Join(more, ""))
}

func when(operator, key, value string) string {
	return fmt.Sprintf(`,"Condition":{%q:{%q:%q}}`, operator, key, value)
}

func by(principalARN string) string { return fmt.Sprintf(`,"Principal":{"AWS":%q}`, principalARN) }

func entry(name string, typ iamapi.ContextKeyTypeEnum, values ...string) iamapi.ContextEntry {
	return iamapi.ContextEntry{ContextKeyName: &name, ContextKeyType: typ, ContextKeyValues: values}
}

// summary shows the decision and the policies whose statements determine it.
func summary(r *iamapi.EvaluationResult) string {
	parts := []string{string(r.EvalDecision)}
	for _, m := range r.MatchedStatements {
		parts = append(parts, *m.SourcePolicyId)
	}
	if len(r.MissingContextValues) > 0 {
		parts = append(parts, "missing "+strings.Join(r.MissingContextValues, ","))
	}
	if o := r.OrganizationsDecisionDetail; o != nil {
		parts = append(parts, fmt.Sprintf("organization=%t", *o.AllowedByOrganizations))
	}
	if b := r.PermissionsBoundaryDecisionDetail; b != nil {
		parts = append(parts, fmt.Sprintf("boundary=%t", *b.AllowedByPermissionsBoundary))
	}
	for _, source := range []string{sourceIdentity, sourceBoundary, sourceResource} {
		if d, ok := r.EvalDecisionDetails[source]; ok {
			parts = append(parts, fmt.Sprintf("%s=%s", source, d))
		}
	}
	return strings.Join(parts, " ")
}

func TestSimulateCustomPolicy(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	readAll := doc(says("Allow", "s3:GetObject", "*"))
	object := "arn:aws:s3:::data/x"
	rootOf := func(account string) string { return "arn:aws:iam::" + account + ":root" }
	tests := []struct {
		name string
		in   iamapi.SimulateCustomPolicyInput
		want string
	}{
		{"no policy", iamapi.SimulateCustomPolicyInput{}, "implicitDeny"},
		{"allowed", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{readAll}}, "allowed PolicyInputList.1"},
		{"allowed twice", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{readAll, readAll}}, "allowed PolicyInputList.1 PolicyInputList.2"},
		{"denied", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{readAll, doc(says("Deny", "s3:*", "*"))}}, "explicitDeny PolicyInputList.2"},
		{"another action", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{doc(says("Allow", "s3:PutObject", "*"))}}, "implicitDeny"},
		{"another resource", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{doc(says("Allow", "s3:GetObject", "arn:aws:s3:::other/*"))}, ResourceArns: []string{object}}, "implicitDeny"},
		{"this resource", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{doc(says("Allow", "s3:GetObject", "arn:aws:s3:::data/*"))}, ResourceArns: []string{object}}, "allowed PolicyInputList.1"},
		{"ResourceHandlingOption changes nothing", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{readAll}, ResourceHandlingOption: new("EC2-VPC-InstanceStore")}, "allowed PolicyInputList.1"},

		{"no value for a condition", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{doc(says("Allow", "s3:GetObject", "*", when("StringEquals", "aws:RequestedRegion", "us-west-2")))}}, "implicitDeny missing aws:RequestedRegion"},
		{"the right value", iamapi.SimulateCustomPolicyInput{
			PolicyInputList: []string{doc(says("Allow", "s3:GetObject", "*", when("StringEquals", "aws:RequestedRegion", "us-west-2")))},
			ContextEntries:  []iamapi.ContextEntry{entry("AWS:requestedregion", "string", "us-west-2")},
		}, "allowed PolicyInputList.1"},
		{"the wrong value", iamapi.SimulateCustomPolicyInput{
			PolicyInputList: []string{doc(says("Allow", "s3:GetObject", "*", when("StringEquals", "aws:RequestedRegion", "us-west-2")))},
			ContextEntries:  []iamapi.ContextEntry{entry("aws:RequestedRegion", "", "us-east-1")},
		}, "implicitDeny"},
		{"a policy variable without a value", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{doc(says("Allow", "s3:GetObject", "arn:aws:s3:::data/${aws:PrincipalTag/team}/*"))}, ResourceArns: []string{"arn:aws:s3:::data/crops/x"}}, "implicitDeny missing aws:PrincipalTag/team"},
		{"a policy variable with a value", iamapi.SimulateCustomPolicyInput{
			PolicyInputList: []string{doc(says("Allow", "s3:GetObject", "arn:aws:s3:::data/${aws:PrincipalTag/team}/*"))}, ResourceArns: []string{"arn:aws:s3:::data/crops/x"},
			ContextEntries: []iamapi.ContextEntry{entry("aws:PrincipalTag/team", "string", "crops")},
		}, "allowed PolicyInputList.1"},
		{"the caller's name", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{doc(says("Allow", "s3:GetObject", "arn:aws:s3:::data/${aws:username}/*"))}, ResourceArns: []string{"arn:aws:s3:::data/bob/x"}, CallerArn: new(bobARN)}, "allowed PolicyInputList.1"},
		{"a set", iamapi.SimulateCustomPolicyInput{
			PolicyInputList: []string{doc(says("Allow", "s3:GetObject", "*", when("ForAllValues:StringEquals", "aws:TagKeys", "team")))},
			ContextEntries:  []iamapi.ContextEntry{entry("aws:TagKeys", "stringList", "team", "stage")},
		}, "implicitDeny"},
		{"any of a set", iamapi.SimulateCustomPolicyInput{
			PolicyInputList: []string{doc(says("Allow", "s3:GetObject", "*", when("ForAnyValue:StringEquals", "aws:TagKeys", "team")))},
			ContextEntries:  []iamapi.ContextEntry{entry("aws:TagKeys", "stringList", "team", "stage")},
		}, "allowed PolicyInputList.1"},
		{"numbers", iamapi.SimulateCustomPolicyInput{
			PolicyInputList: []string{doc(says("Allow", "s3:GetObject", "*", when("NumericLessThan", "s3:max-keys", "10")))},
			ContextEntries:  []iamapi.ContextEntry{entry("s3:max-keys", "numeric", "9.5")},
		}, "allowed PolicyInputList.1"},
		{"Booleans", iamapi.SimulateCustomPolicyInput{
			PolicyInputList: []string{doc(says("Allow", "s3:GetObject", "*", when("Bool", "aws:SecureTransport", "true")))},
			ContextEntries:  []iamapi.ContextEntry{entry("aws:SecureTransport", "boolean", "True")},
		}, "allowed PolicyInputList.1"},
		{"addresses", iamapi.SimulateCustomPolicyInput{
			PolicyInputList: []string{doc(says("Allow", "s3:GetObject", "*", when("IpAddress", "aws:SourceIp", "203.0.113.0/24")))},
			ContextEntries:  []iamapi.ContextEntry{entry("aws:SourceIp", "ip", "203.0.113.7")},
		}, "allowed PolicyInputList.1"},
		{"dates", iamapi.SimulateCustomPolicyInput{
			PolicyInputList: []string{doc(says("Allow", "s3:GetObject", "*", when("DateGreaterThan", "aws:CurrentTime", "2018-08-16T12:00:00Z")))},
			ContextEntries:  []iamapi.ContextEntry{entry("aws:CurrentTime", "date", "2019-04-25T11:00:00Z")},
		}, "allowed PolicyInputList.1"},
		{"bytes", iamapi.SimulateCustomPolicyInput{
			PolicyInputList: []string{doc(says("Allow", "s3:GetObject", "*", when("BinaryEquals", "x:key", "QmluYXJ5")))},
			ContextEntries:  []iamapi.ContextEntry{entry("x:key", "binary", "QmluYXJ5")},
		}, "allowed PolicyInputList.1"},

		{"within the boundary", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{readAll}, PermissionsBoundaryPolicyInputList: []string{readAll}}, "allowed PolicyInputList.1 boundary=true"},
		{"beyond the boundary", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{readAll}, PermissionsBoundaryPolicyInputList: []string{doc(says("Allow", "s3:Put*", "*"))}}, "implicitDeny boundary=false"},
		{"denied by the boundary", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{readAll}, PermissionsBoundaryPolicyInputList: []string{doc(says("Deny", "s3:*", "*"))}}, "explicitDeny PermissionsBoundaryPolicyInputList.1 boundary=false"},
		{"a boundary allows nothing", iamapi.SimulateCustomPolicyInput{PermissionsBoundaryPolicyInputList: []string{readAll}}, "implicitDeny boundary=true"},

		{"within control policies", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{readAll}, OrderedOrganizationPolicyInputList: []iamapi.OrderedOrganizationPolicyType{
			{ServiceControlPolicyInputList: []string{allowAll}}, {ServiceControlPolicyInputList: []string{readAll, doc(says("Allow", "kms:*", "*"))}},
		}}, "allowed PolicyInputList.1 organization=true"},
		{"a level without an allow", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{readAll}, OrderedOrganizationPolicyInputList: []iamapi.OrderedOrganizationPolicyType{
			{ServiceControlPolicyInputList: []string{allowAll}}, {ServiceControlPolicyInputList: []string{doc(says("Allow", "kms:*", "*"))}},
		}}, "implicitDeny organization=false"},
		{"denied by a control policy", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{readAll}, OrderedOrganizationPolicyInputList: []iamapi.OrderedOrganizationPolicyType{
			{ServiceControlPolicyInputList: []string{allowAll, doc(says("Deny", "s3:GetObject", "*"))}},
		}}, "explicitDeny organization=false"},

		{"the resource's policy names the user", iamapi.SimulateCustomPolicyInput{CallerArn: new(bobARN), ResourceArns: []string{object}, ResourcePolicy: new(doc(says("Allow", "s3:GetObject", "arn:aws:s3:::data/*", by(bobARN))))}, "allowed ResourcePolicy"},
		{"it names another user", iamapi.SimulateCustomPolicyInput{CallerArn: new(bobARN), ResourceArns: []string{object}, ResourcePolicy: new(doc(says("Allow", "s3:GetObject", "arn:aws:s3:::data/*", by("arn:aws:iam::111122223333:user/ann"))))}, "implicitDeny"},
		{"it denies", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{readAll}, CallerArn: new(bobARN), ResourceArns: []string{object}, ResourcePolicy: new(doc(says("Deny", "s3:GetObject", "arn:aws:s3:::data/*", by(bobARN))))}, "explicitDeny ResourcePolicy"},
		{"both allow", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{readAll}, CallerArn: new(bobARN), ResourceArns: []string{object}, ResourcePolicy: new(doc(says("Allow", "s3:GetObject", "arn:aws:s3:::data/*", by(bobARN))))}, "allowed PolicyInputList.1 ResourcePolicy"},

		{
			"another account's, neither",
			iamapi.SimulateCustomPolicyInput{CallerArn: new(bobARN), ResourceArns: []string{object}, ResourceOwner: new(rootOf(otherAccount)), ResourcePolicy: new(doc(says("Allow", "s3:PutObject", "arn:aws:s3:::data/*", by(bobARN))))},
			"implicitDeny IAM Policy=implicitDeny Resource Policy=implicitDeny",
		},
		{
			"another account's, identity alone",
			iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{readAll}, CallerArn: new(bobARN), ResourceArns: []string{object}, ResourceOwner: new(rootOf(otherAccount))},
			"implicitDeny IAM Policy=allowed Resource Policy=implicitDeny",
		},
		{
			"another account's, resource alone",
			iamapi.SimulateCustomPolicyInput{CallerArn: new(bobARN), ResourceArns: []string{object}, ResourceOwner: new(rootOf(otherAccount)), ResourcePolicy: new(doc(says("Allow", "s3:GetObject", "arn:aws:s3:::data/*", by(bobARN))))},
			"implicitDeny IAM Policy=implicitDeny Resource Policy=allowed",
		},
		{
			"another account's, both",
			iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{readAll}, CallerArn: new(bobARN), ResourceArns: []string{object}, ResourceOwner: new(rootOf(otherAccount)), ResourcePolicy: new(doc(says("Allow", "s3:GetObject", "arn:aws:s3:::data/*", by(rootOf(testAccount)))))},
			"allowed PolicyInputList.1 ResourcePolicy IAM Policy=allowed Resource Policy=allowed",
		},
		{"another account's, beyond the boundary", iamapi.SimulateCustomPolicyInput{
			PolicyInputList: []string{readAll}, PermissionsBoundaryPolicyInputList: []string{doc(says("Allow", "kms:*", "*"))}, CallerArn: new(bobARN), ResourceArns: []string{object}, ResourceOwner: new(rootOf(otherAccount)),
			ResourcePolicy: new(doc(says("Allow", "s3:GetObject", "arn:aws:s3:::data/*", by(rootOf(testAccount))))),
		}, "implicitDeny boundary=false IAM Policy=allowed Permissions Boundary Policy=implicitDeny Resource Policy=allowed"},
		{"another account's, beyond control policies", iamapi.SimulateCustomPolicyInput{
			PolicyInputList: []string{readAll}, CallerArn: new(bobARN), ResourceArns: []string{object}, ResourceOwner: new(rootOf(otherAccount)),
			OrderedOrganizationPolicyInputList: []iamapi.OrderedOrganizationPolicyType{{ServiceControlPolicyInputList: []string{doc(says("Allow", "kms:*", "*"))}}},
		}, "implicitDeny organization=false"},
		{"a caller of another account on its own", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{readAll}, CallerArn: new(strangeARN), ResourceArns: []string{object}}, "allowed PolicyInputList.1"},
		{"the ARN tells the owner", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{allowAll}, CallerArn: new(strangeARN), ResourceArns: []string{cropsKey}}, "implicitDeny IAM Policy=allowed Resource Policy=implicitDeny"},

		{"a key without its policy", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{allowAll}, ActionNames: []string{"kms:Decrypt"}, ResourceArns: []string{cropsKey}}, "allowed PolicyInputList.1"},
		{"a key that leaves it to IAM", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{allowAll}, ActionNames: []string{"kms:Decrypt"}, ResourceArns: []string{cropsKey}, CallerArn: new(bobARN), ResourcePolicy: new(doc(says("Allow", "kms:*", "*", by(rootOf(testAccount)))))}, "allowed PolicyInputList.1 ResourcePolicy"},
		{"a key that does not", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{allowAll}, ActionNames: []string{"kms:Decrypt"}, ResourceArns: []string{cropsKey}, CallerArn: new(bobARN), ResourcePolicy: new(doc(says("Allow", "kms:*", "*", by("arn:aws:iam::111122223333:user/ann"))))}, "implicitDeny"},
		{"a key that names a role", iamapi.SimulateCustomPolicyInput{ActionNames: []string{"kms:Decrypt"}, ResourceArns: []string{cropsKey}, CallerArn: new("arn:aws:iam::111122223333:role/service-role/geo"), ResourcePolicy: new(doc(says("Allow", "kms:Decrypt", "*", by("arn:aws:iam::111122223333:role/service-role/geo"))))}, "allowed ResourcePolicy"},
		{"a role that does not trust", iamapi.SimulateCustomPolicyInput{
			PolicyInputList: []string{allowAll}, ActionNames: []string{"sts:AssumeRole"}, ResourceArns: []string{"arn:aws:iam::111122223333:role/geo"}, CallerArn: new(bobARN),
			ResourcePolicy: new(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"sagemaker.amazonaws.com"}}]}`),
		}, "implicitDeny"},
		{"a role that trusts the account", iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{allowAll}, ActionNames: []string{"sts:AssumeRole"}, ResourceArns: []string{"arn:aws:iam::111122223333:role/geo"}, CallerArn: new(bobARN), ResourcePolicy: new(trustAccount)}, "allowed PolicyInputList.1 ResourcePolicy"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.in.ActionNames == nil {
				test.in.ActionNames = []string{"s3:GetObject"}
			}
			if test.in.PolicyInputList == nil {
				test.in.PolicyInputList = []string{}
			}
			out, err := try(f.asRoot(), f, iamapi.SimulateCustomPolicy, &test.in)
			if err != nil {
				t.Fatal(err)
			}
			if len(out.EvaluationResults) != 1 {
				t.Fatalf("%d results", len(out.EvaluationResults))
			}
			r := &out.EvaluationResults[0]
			if got := summary(r); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if named := len(test.in.ResourceArns) > 0; named != (len(r.ResourceSpecificResults) == 1) {
				t.Errorf("%d results of resources", len(r.ResourceSpecificResults))
			} else if named {
				one := r.ResourceSpecificResults[0]
				if one.EvalResourceDecision != r.EvalDecision || one.EvalResourceName != *r.EvalResourceName || len(one.MatchedStatements) != len(r.MatchedStatements) {
					t.Errorf("the resource's own result is %s on %s", one.EvalResourceDecision, one.EvalResourceName)
				}
			} else if *r.EvalResourceName != "*" || r.EvalDecisionDetails != nil {
				t.Errorf("on %s with details %v", *r.EvalResourceName, r.EvalDecisionDetails)
			}
		})
	}
}

func TestSimulatedStatements(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	policy := "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n    {\"Sid\": \"Other\", \"Effect\": \"Allow\", \"Action\": \"s3:Put*\", \"Resource\": \"*\"},\n" +
		"    {\n      \"Sid\": \"This\", \"Effect\": \"Allow\", \"Action\": \"s3:Get*\", \"Resource\": \"*\"\n    }\n  ]\n}"
	out := must(f.asRoot(), f, iamapi.SimulateCustomPolicy, &iamapi.SimulateCustomPolicyInput{
		PolicyInputList: []string{doc(says("Deny", "kms:*", "*")), policy}, ActionNames: []string{"s3:GetObject"},
	})
	m := out.EvaluationResults[0].MatchedStatements
	if len(m) != 1 || *m[0].SourcePolicyId != "PolicyInputList.2" || m[0].SourcePolicyType != sourceIdentity {
		t.Fatalf("matched %+v", m)
	}
	got := []int32{*m[0].StartPosition.Line, *m[0].StartPosition.Column, *m[0].EndPosition.Line, *m[0].EndPosition.Column}
	if want := []int32{5, 5, 7, 6}; !slices.Equal(got, want) {
		t.Errorf("the statement stands at %v, want %v", got, want)
	}
}

// TestSimulatedTogether: the result of several resources has each statement
// once, and asks for keys of the statements about its action alone.
func TestSimulatedTogether(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	out := must(f.asRoot(), f, iamapi.SimulateCustomPolicy, &iamapi.SimulateCustomPolicyInput{
		PolicyInputList: []string{
			doc(says("Allow", "s3:GetObject", "*"), says("Allow", "s3:Get*", "*"), says("Allow", "kms:Decrypt", "*", when("StringEquals", "kms:ViaService", "s3.us-west-2.amazonaws.com"))),
		},
		ActionNames: []string{"s3:GetObject", "kms:Decrypt"}, ResourceArns: []string{"arn:aws:s3:::data/x", "arn:aws:s3:::data/y"},
	})
	for i, want := range []struct{ statements, missing int }{{2, 0}, {0, 1}} {
		r := out.EvaluationResults[i]
		if len(r.MatchedStatements) != want.statements || r.MissingContextValues == nil || len(r.MissingContextValues) != want.missing {
			t.Errorf("%s: %d statements, missing %v", r.EvalActionName, len(r.MatchedStatements), r.MissingContextValues)
		}
		for _, one := range r.ResourceSpecificResults {
			if len(one.MatchedStatements) != want.statements || len(one.MissingContextValues) != want.missing {
				t.Errorf("%s on %s: %d statements, missing %v", r.EvalActionName, one.EvalResourceName, len(one.MatchedStatements), one.MissingContextValues)
			}
		}
	}
}

func TestSimulateSeveral(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	in := &iamapi.SimulateCustomPolicyInput{
		PolicyInputList: []string{doc(says("Allow", "s3:*", "arn:aws:s3:::data/*"), says("Deny", "s3:PutObject", "arn:aws:s3:::data/kept/*"))},
		ActionNames:     []string{"s3:GetObject", "s3:PutObject"},
		ResourceArns:    []string{"arn:aws:s3:::data/x", "arn:aws:s3:::data/kept/x", "arn:aws:s3:::other/x"},
	}
	out := must(f.asRoot(), f, iamapi.SimulateCustomPolicy, in)
	want := map[string][]iamapi.PolicyEvaluationDecisionType{
		"s3:GetObject": {"implicitDeny", "allowed", "allowed", "implicitDeny"},
		"s3:PutObject": {"explicitDeny", "allowed", "explicitDeny", "implicitDeny"},
	}
	for _, r := range out.EvaluationResults {
		got := []iamapi.PolicyEvaluationDecisionType{r.EvalDecision}
		for i, one := range r.ResourceSpecificResults {
			if one.EvalResourceName != in.ResourceArns[i] {
				t.Errorf("result %d is of %s", i, one.EvalResourceName)
			}
			got = append(got, one.EvalResourceDecision)
		}
		if !slices.Equal(got, want[r.EvalActionName]) {
			t.Errorf("%s: %v, want %v", r.EvalActionName, got, want[r.EvalActionName])
		}
		if r.EvalResourceName == nil || *r.EvalResourceName != "arn:${Partition}:s3:::${BucketName}/${ObjectName}" || r.EvalDecisionDetails != nil {
			t.Errorf("%s on %v, details %v", r.EvalActionName, r.EvalResourceName, r.EvalDecisionDetails)
		}
	}
	if len(out.EvaluationResults) != 2 || *out.IsTruncated {
		t.Errorf("%d results", len(out.EvaluationResults))
	}
}

func TestSimulationPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	in := &iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{doc(says("Allow", "s3:Get*", "*"))}, MaxItems: new(int32(2))}
	for i := range 5 {
		in.ActionNames = append(in.ActionNames, fmt.Sprintf("s3:Get%d", i))
	}
	var seen []string
	var first *string
	for {
		out := must(f.asRoot(), f, iamapi.SimulateCustomPolicy, in)
		for _, r := range out.EvaluationResults {
			seen = append(seen, r.EvalActionName)
		}
		if !*out.IsTruncated {
			break
		}
		if first == nil {
			first = out.Marker
		}
		in.Marker = out.Marker
	}
	if !slices.Equal(seen, in.ActionNames) {
		t.Errorf("pages hold %v", seen)
	}
	other := *in
	other.Marker, other.ActionNames = first, append(slices.Clone(in.ActionNames), "s3:PutObject")
	_, err := try(f.asRoot(), f, iamapi.SimulateCustomPolicy, &other)
	wantError(t, "marker of another simulation", err, "ValidationError", "Invalid Marker.")

	// A page is never so large that it takes long.
	in.Marker, in.MaxItems = nil, new(int32(1000))
	for i := range 600 {
		in.ResourceArns = append(in.ResourceArns, fmt.Sprintf("arn:aws:s3:::data/%d", i))
		in.ActionNames = append(in.ActionNames[:min(len(in.ActionNames), 900)], fmt.Sprintf("s3:Put%d", i))
	}
	out := must(f.asRoot(), f, iamapi.SimulateCustomPolicy, in)
	if n := len(out.EvaluationResults); n < 1 || n*len(in.ResourceArns)*2 > simulatedWork || !*out.IsTruncated {
		t.Errorf("a page of %d actions on %d resources", n, len(in.ResourceArns))
	}
}

// TestSimulationIsBounded: no request buys more than a moment, and pages go on
// where the bound ended one.
func TestSimulationIsBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	many := func(n int, resource func(int) string) (all []string) {
		for i := range n {
			all = append(all, resource(i))
		}
		return all
	}
	short := func(i int) string { return fmt.Sprintf("arn:aws:s3:::data/%d", i) }
	long := func(i int) string { return fmt.Sprintf("arn:aws:s3:::%s%d", strings.Repeat("a", 1000), i) }
	statements := doc(slices.Repeat([]string{says("Deny", "*", "*")}, 1000)...)
	patterns, err := json.Marshal(slices.Repeat([]string{"arn:aws:s3:::*" + strings.Repeat("a", 500) + "b"}, 120))
	if err != nil {
		t.Fatal(err)
	}
	keys := `{"StringEquals":{` + strings.Join(many(1000, func(i int) string { return fmt.Sprintf(`"aws:PrincipalTag/%d":"x"`, i) }), ",") + `}}`
	for name, in := range map[string]iamapi.SimulateCustomPolicyInput{
		"statements that match": {PolicyInputList: slices.Repeat([]string{statements}, 10), ResourceArns: many(200, short)},
		"patterns":              {PolicyInputList: []string{doc(`{"Effect":"Allow","Action":"*","Resource":` + string(patterns) + `}`)}, ResourceArns: many(60, long)},
		"keys without values":   {PolicyInputList: []string{doc(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":` + keys + `}`)}, ResourceArns: many(1000, short)},
	} {
		in.ActionNames = []string{"s3:GetObject"}
		began := time.Now()
		_, err := try(f.asRoot(), f, iamapi.SimulateCustomPolicy, &in)
		wantError(t, name, err, "InvalidInput", "The simulation is too large. Ask about fewer resources or policies at a time.")
		if took := time.Since(began); took > 20*time.Second { // minutes without a bound
			t.Errorf("%s: %v", name, took)
		}
	}

	in := &iamapi.SimulateCustomPolicyInput{
		PolicyInputList: []string{doc(says("Allow", "s3:*", "*"))}, ResourceArns: many(200, long), MaxItems: new(int32(1000)),
		ActionNames: many(200, func(i int) string { return fmt.Sprintf("s3:Get%d", i) }),
	}
	var seen []string
	pages := 0
	for more := true; more; pages++ {
		out := must(f.asRoot(), f, iamapi.SimulateCustomPolicy, in)
		for _, r := range out.EvaluationResults {
			seen = append(seen, r.EvalActionName)
			if len(r.ResourceSpecificResults) != len(in.ResourceArns) || r.EvalDecision != iamapi.PolicyEvaluationDecisionTypeAllowed {
				t.Fatalf("%s: %s with %d results", r.EvalActionName, r.EvalDecision, len(r.ResourceSpecificResults))
			}
		}
		in.Marker, more = out.Marker, *out.IsTruncated
	}
	if !slices.Equal(seen, in.ActionNames) || pages < 2 {
		t.Errorf("%d pages of %d actions", pages, len(seen))
	}
}

func TestSimulationErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	tests := []struct {
		name    string
		change  func(*iamapi.SimulateCustomPolicyInput)
		message string
	}{
		{"policy", func(in *iamapi.SimulateCustomPolicyInput) { in.PolicyInputList = []string{"{}"} }, "Syntax errors in policy."},
		{"policy with a principal", func(in *iamapi.SimulateCustomPolicyInput) {
			in.PolicyInputList = []string{doc(says("Allow", "s3:*", "*", by(bobARN)))}
		}, "Has prohibited field Principal"},
		{"too many policies", func(in *iamapi.SimulateCustomPolicyInput) {
			in.PolicyInputList = slices.Repeat([]string{allowAll}, simulatedItems+1)
		}, "PolicyInputList cannot exceed 1000 items."},
		{"boundary", func(in *iamapi.SimulateCustomPolicyInput) {
			in.PermissionsBoundaryPolicyInputList = []string{"x"}
		}, "Syntax errors in policy."},
		{"two boundaries", func(in *iamapi.SimulateCustomPolicyInput) {
			in.PermissionsBoundaryPolicyInputList = []string{allowAll, allowAll}
		}, "PermissionsBoundaryPolicyInputList cannot exceed 1 items."},
		{"control policy", func(in *iamapi.SimulateCustomPolicyInput) {
			in.OrderedOrganizationPolicyInputList = []iamapi.OrderedOrganizationPolicyType{{ServiceControlPolicyInputList: []string{"[]"}}}
		}, "Syntax errors in policy."},
		{"empty level", func(in *iamapi.SimulateCustomPolicyInput) {
			in.OrderedOrganizationPolicyInputList = []iamapi.OrderedOrganizationPolicyType{{}}
		}, "Organization policy at index 1 must contain at least one service control policy"},
		{"no action", func(in *iamapi.SimulateCustomPolicyInput) { in.ActionNames = []string{} }, "ActionNames must not be empty."},
		{"action without a service", func(in *iamapi.SimulateCustomPolicyInput) { in.ActionNames = []string{"GetObject"} }, "Invalid Input Actions: GetObject is not the name of an action."},
		{"action with a wildcard", func(in *iamapi.SimulateCustomPolicyInput) { in.ActionNames = []string{"s3:Get*"} }, "Invalid Input Actions: s3:Get* is not the name of an action."},
		{"resource", func(in *iamapi.SimulateCustomPolicyInput) { in.ResourceArns = []string{"data"} }, "ResourceNames are not in a valid ARN format: data."},
		{"resource of five parts", func(in *iamapi.SimulateCustomPolicyInput) { in.ResourceArns = []string{"arn:aws:s3:::"} }, "ResourceNames are not in a valid ARN format: arn:aws:s3:::."},
		{"all resources and one", func(in *iamapi.SimulateCustomPolicyInput) { in.ResourceArns = []string{"*", "arn:aws:s3:::data"} }, "ResourceNames are not in a valid ARN format: *."},
		{"owner", func(in *iamapi.SimulateCustomPolicyInput) { in.ResourceOwner = new("me") }, "Invalid Resource Owner."},
		{"caller", func(in *iamapi.SimulateCustomPolicyInput) { in.CallerArn = new("arn:aws:iam::111122223333:group/all") }, "Invalid caller - Caller must be an IAM user or role in this context."},
		{"caller that is a session", func(in *iamapi.SimulateCustomPolicyInput) {
			in.CallerArn = new("arn:aws:sts::111122223333:assumed-role/geo/x")
		}, "Invalid caller - Caller must be an IAM user or role in this context."},
		{"resource policy without a caller", func(in *iamapi.SimulateCustomPolicyInput) {
			in.ResourcePolicy, in.ResourceArns = new(doc(says("Allow", "s3:*", "*", by(bobARN)))), []string{"arn:aws:s3:::data"}
		}, "Invalid caller - Caller cannot be null or empty."},
		{"resource policy of all resources", func(in *iamapi.SimulateCustomPolicyInput) {
			in.ResourcePolicy, in.CallerArn = new(doc(says("Allow", "s3:*", "*", by(bobARN)))), new(bobARN)
		}, "Invalid Entity Arn: * does not clearly define entity type and name."},
		{"resource policy without a principal", func(in *iamapi.SimulateCustomPolicyInput) {
			in.ResourcePolicy, in.CallerArn, in.ResourceArns = new(allowAll), new(bobARN), []string{"arn:aws:s3:::data"}
		}, ""},
		{"key given twice", func(in *iamapi.SimulateCustomPolicyInput) {
			in.ContextEntries = []iamapi.ContextEntry{entry("aws:username", "string", "a"), entry("AWS:UserName", "string", "b")}
		}, "Invalid Context Entry: AWS:UserName is given twice."},
		{"key without a name", func(in *iamapi.SimulateCustomPolicyInput) {
			in.ContextEntries = []iamapi.ContextEntry{{ContextKeyValues: []string{"a"}}}
		}, "Invalid Context Entry: a context key has no name."},
		{"two values of one", func(in *iamapi.SimulateCustomPolicyInput) {
			in.ContextEntries = []iamapi.ContextEntry{entry("aws:username", "string", "a", "b")}
		}, "Invalid Context Entry: aws:username of type string must have one value."},
		{"number", func(in *iamapi.SimulateCustomPolicyInput) {
			in.ContextEntries = []iamapi.ContextEntry{entry("s3:max-keys", "numericList", "1", "ten")}
		}, "Invalid Context Entry: s3:max-keys has a value that is not of type numeric."},
		{"Boolean", func(in *iamapi.SimulateCustomPolicyInput) {
			in.ContextEntries = []iamapi.ContextEntry{entry("aws:SecureTransport", "boolean", "yes")}
		}, "Invalid Context Entry: aws:SecureTransport has a value that is not of type boolean."},
		{"address", func(in *iamapi.SimulateCustomPolicyInput) {
			in.ContextEntries = []iamapi.ContextEntry{entry("aws:SourceIp", "ip", "203.0.113.0/24")}
		}, "Invalid Context Entry: aws:SourceIp has a value that is not of type ip."},
		{"date", func(in *iamapi.SimulateCustomPolicyInput) {
			in.ContextEntries = []iamapi.ContextEntry{entry("aws:CurrentTime", "dateList", "2026-01-01", "today")}
		}, "Invalid Context Entry: aws:CurrentTime has a value that is not of type date."},
		{"bytes", func(in *iamapi.SimulateCustomPolicyInput) {
			in.ContextEntries = []iamapi.ContextEntry{entry("x:key", "binary", "*")}
		}, "Invalid Context Entry: x:key has a value that is not of type binary."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			in := &iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{allowAll}, ActionNames: []string{"s3:GetObject"}}
			test.change(in)
			_, err := try(f.asRoot(), f, iamapi.SimulateCustomPolicy, in)
			wantError(t, test.name, err, "InvalidInput", test.message)
		})
	}
}

// TestSimulationIsTheEngine compares random simulations with what authz.Decide
// says of the same request.
func TestSimulationIsTheEngine(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	random := rand.New(rand.NewPCG(7, 11))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	statement := func(principals bool) string {
		more := ""
		switch random.IntN(6) {
		case 0:
			more = when("Null", pick("aws:RequestedRegion", "aws:username", "s3:prefix"), pick("true", "false"))
		case 1:
			more = when(pick("StringEquals", "StringNotEquals", "StringLikeIfExists"), pick("aws:RequestedRegion", "aws:username", "aws:PrincipalAccount", "s3:prefix"), pick("us-west-2", "bob", testAccount, "*"))
		}
		if principals {
			more += by(pick(bobARN, strangeARN, "arn:aws:iam::111122223333:root", "444455556666", "*"))
		}
		return says(pick("Allow", "Allow", "Deny"), pick("*", "s3:*", "s3:Get*", "s3:GetObject", "kms:Decrypt", "kms:*"), pick("*", "arn:aws:s3:::data/*", "arn:aws:s3:::data/${aws:username}/*", cropsKey), more)
	}
	document := func(principals bool) string {
		all := make([]string, 1+random.IntN(3))
		for i := range all {
			all[i] = statement(principals)
		}
		return doc(all...)
	}
	list := func(most int) []string {
		all := make([]string, random.IntN(most+1))
		for i := range all {
			all[i] = document(false)
		}
		return all
	}
	parse := func(k authz.Kind, docs ...string) []*authz.Policy {
		var all []*authz.Policy
		for _, d := range docs {
			p, err := authz.Parse(k, []byte(d))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
		return all
	}
	counts := map[iamapi.PolicyEvaluationDecisionType]int{}
	ctx := f.asRoot()
	for range 1500 {
		in := &iamapi.SimulateCustomPolicyInput{
			PolicyInputList: list(3), PermissionsBoundaryPolicyInputList: list(1),
			ActionNames: []string{pick("s3:GetObject", "s3:PutObject", "kms:Decrypt")}, ResourceArns: []string{pick("arn:aws:s3:::data/bob/x", "arn:aws:s3:::other/x", cropsKey)},
			CallerArn: new(pick(bobARN, strangeARN)),
		}
		caller, _ := parseARN(*in.CallerArn)
		req := authz.Request{
			Principal: authz.Principal{Type: authz.User, ARN: *in.CallerArn, Account: caller.account},
			Action:    in.ActionNames[0], Resource: in.ResourceArns[0], ResourceAccount: caller.account, Context: authz.NewContext(),
		}
		if random.IntN(3) == 0 {
			owner := pick(testAccount, otherAccount)
			in.ResourceOwner, req.ResourceAccount = new("arn:aws:iam::"+owner+":root"), owner
		}
		if req.Resource == cropsKey {
			req.ResourceAccount = testAccount
		}
		for k, v := range map[string]string{"aws:PrincipalArn": *in.CallerArn, "aws:PrincipalAccount": caller.account, "aws:PrincipalType": "User", "aws:username": strings.TrimPrefix(caller.resource, "user/")} {
			req.Context.Set(k, v)
		}
		if random.IntN(2) == 0 {
			in.ContextEntries = []iamapi.ContextEntry{entry("aws:RequestedRegion", "string", "us-west-2")}
			req.Context.Set("aws:RequestedRegion", "us-west-2")
		}
		policies := authz.Policies{Identity: parse(authz.IdentityPolicy, in.PolicyInputList...), Boundary: parse(authz.BoundaryPolicy, in.PermissionsBoundaryPolicyInputList...)}
		if random.IntN(2) == 0 {
			in.ResourcePolicy = new(document(true))
			k := authz.ResourcePolicy
			if req.Resource == cropsKey {
				k = authz.KeyPolicy
			}
			policies.Resource = parse(k, *in.ResourcePolicy)[0]
		}
		for _, level := range list(2) {
			in.OrderedOrganizationPolicyInputList = append(in.OrderedOrganizationPolicyInputList, iamapi.OrderedOrganizationPolicyType{ServiceControlPolicyInputList: []string{level, doc(says("Allow", "*", "*"))}})
			policies.SCP = append(policies.SCP, parse(authz.SCP, level, doc(says("Allow", "*", "*"))))
		}
		want := simulatedDecision(authz.Decide(&req, &policies, nil))
		r := must(ctx, f, iamapi.SimulateCustomPolicy, in).EvaluationResults[0]
		if r.EvalDecision != want {
			t.Fatalf("got %s, want %s for %+v", r.EvalDecision, want, in)
		}
		counts[want]++
		if (want == iamapi.PolicyEvaluationDecisionTypeAllowed) && len(r.MatchedStatements) == 0 || want == iamapi.PolicyEvaluationDecisionTypeImplicitDeny && len(r.MatchedStatements) > 0 {
			t.Fatalf("%s by %d statements for %+v", want, len(r.MatchedStatements), in)
		}
		if o := r.OrganizationsDecisionDetail; (o != nil) != (len(policies.SCP) > 0) || o != nil && want == iamapi.PolicyEvaluationDecisionTypeAllowed && !*o.AllowedByOrganizations {
			t.Fatalf("organizations say %v, decision %s for %+v", o, want, in)
		}
	}
	if len(counts) != 3 || counts[iamapi.PolicyEvaluationDecisionTypeAllowed] < 100 {
		t.Errorf("decisions are %v", counts)
	}
}
