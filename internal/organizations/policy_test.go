package organizations

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/internal/authz"
)

func TestPolicyDocuments(t *testing.T) {
	t.Parallel()
	padded := func(n int) string {
		head, tail := `{"Version":"2012-10-17","Statement":[{"Sid":"`, `","Effect":"Deny","Action":"s3:*","Resource":"*"}]}`
		return head + strings.Repeat("é", n-len(head)-len(tail)) + tail
	}
	const bad, much = "MalformedPolicyDocumentException", "ConstraintViolationException"
	for _, tc := range []struct {
		name    string
		typ     orgapi.PolicyType
		content string
		code    string
	}{
		{"deny", scp, denyLeaving, ""},
		{"allow", scp, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`, ""},
		{"allow with condition and NotResource", scp, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":"s3:*","NotResource":"arn:aws:s3:::x","Condition":{"Bool":{"aws:SecureTransport":"true"}}}}`, ""},
		{"not JSON", scp, `{`, bad},
		{"no statement", scp, `{"Version":"2012-10-17","Statement":[]}`, bad},
		{"no version", scp, `{"Statement":{"Effect":"Deny","Action":"s3:*","Resource":"*"}}`, bad},
		{"old version", scp, `{"Version":"2008-10-17","Statement":{"Effect":"Deny","Action":"s3:*","Resource":"*"}}`, bad},
		{"principal", scp, denyS3, bad},
		{"unknown operator", scp, `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"StringIs":{"a:b":"c"}}}}`, bad},
		{"5,120 characters", scp, padded(5120), ""},
		{"5,121 characters", scp, padded(5121), much},
		{"deny", rcp, denyS3, ""},
		{"deny in a list", rcp, `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":{"AWS":"*"},"Action":["kms:*"],"NotResource":"*"}]}`, ""},
		{"allow", rcp, strings.Replace(denyS3, "Deny", "Allow", 1), bad},
		{"the allow of RCPFullAWSAccess", rcp, builtin(fullRCP).Content, bad},
		{"one allow among denies", rcp, `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"},{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}]}`, bad},
		{"NotAction", rcp, strings.Replace(denyS3, "Action", "NotAction", 1), bad},
		{"no principal", rcp, strings.Replace(denyS3, `"Principal":"*",`, "", 1), bad},
		{"a principal", rcp, strings.Replace(denyS3, `"Principal":"*"`, `"Principal":{"AWS":"111122223333"}`, 1), bad},
		{"NotPrincipal", rcp, strings.Replace(denyS3, "Principal", "NotPrincipal", 1), bad},
	} {
		t.Run(string(tc.typ[:1])+" "+tc.name, func(t *testing.T) {
			t.Parallel()
			wantError(t, tc.content, checkContent(tc.typ, tc.content), tc.code, "")
		})
	}
}

// FuzzContent: a document that may be saved compiles as stored, and a resource
// control policy never allows anything by itself.
func FuzzContent(f *testing.F) {
	f.Add(denyLeaving)
	f.Add(denyS3)
	f.Add(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`)
	f.Fuzz(func(t *testing.T, doc string) {
		if len(doc) > 8192 {
			return
		}
		for _, typ := range []orgapi.PolicyType{scp, rcp} {
			if checkContent(typ, doc) != nil {
				continue
			}
			p, err := authz.ParseStored(kindOf(typ), []byte(doc))
			if err != nil {
				t.Fatalf("%s accepted but unreadable: %v", typ, err)
			}
			if typ != rcp {
				continue
			}
			d := authz.Decide(&authz.Request{
				Principal: authz.Principal{Type: authz.Root, Account: manager, ARN: "arn:aws:iam::" + manager + ":root"},
				Action:    "s3:GetObject", Resource: "arn:aws:s3:::b/k", ResourceAccount: manager, Context: authz.NewContext(),
			}, &authz.Policies{RCP: [][]*authz.Policy{{p}}}, nil)
			if d.Effect == authz.Allowed {
				t.Fatalf("allowed by %s", doc)
			}
		}
	})
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f, ctx := w.fixture, w.as(manager)
	create := func(typ orgapi.PolicyType, name, content string) func() error {
		return call(ctx, f, orgapi.CreatePolicy, &orgapi.CreatePolicyInput{Name: name, Type: typ, Content: content, Description: "d"})
	}
	id := w.newPolicy(scp, "p", denyLeaving)
	other := w.newPolicy(scp, "other", denyLeaving)
	update := func(in orgapi.UpdatePolicyInput) func() error { return call(ctx, f, orgapi.UpdatePolicy, &in) }
	remove := func(id string) func() error {
		return call(ctx, f, orgapi.DeletePolicy, &orgapi.DeletePolicyInput{PolicyId: id})
	}
	attach := func(id, target string) func() error {
		return call(ctx, f, orgapi.AttachPolicy, &orgapi.AttachPolicyInput{PolicyId: id, TargetId: target})
	}
	detach := func(id, target string) func() error {
		return call(ctx, f, orgapi.DetachPolicy, &orgapi.DetachPolicyInput{PolicyId: id, TargetId: target})
	}
	const nothing = "p-0000000000"
	runSteps(t, []step{
		{"name taken", create(scp, "p", denyLeaving), "DuplicatePolicyException", ""},
		{name: "name of another type", run: create(rcp, "p", denyS3)},
		{"AWS's name", create(scp, "FullAWSAccess", denyLeaving), "DuplicatePolicyException", ""},
		{"another type", create(orgapi.PolicyTypeBackupPolicy, "b", `{}`), "PolicyTypeNotAvailableForOrganizationException", ""},
		{"malformed", create(scp, "q", denyS3), "MalformedPolicyDocumentException", ""},
		{"describe nothing", call(ctx, f, orgapi.DescribePolicy, &orgapi.DescribePolicyInput{PolicyId: nothing}), "PolicyNotFoundException", ""},
		{"update nothing", update(orgapi.UpdatePolicyInput{PolicyId: nothing}), "PolicyNotFoundException", ""},
		{"update AWS's", update(orgapi.UpdatePolicyInput{PolicyId: fullSCP, Name: new("x")}), "InvalidInputException", "IMMUTABLE_POLICY"},
		{"update to a taken name", update(orgapi.UpdatePolicyInput{PolicyId: id, Name: new("other")}), "DuplicatePolicyException", ""},
		{"update malformed", update(orgapi.UpdatePolicyInput{PolicyId: id, Content: new(`{}`)}), "MalformedPolicyDocumentException", ""},
		{name: "update", run: update(orgapi.UpdatePolicyInput{PolicyId: id, Name: new("p2"), Description: new("e")})},
		{"delete nothing", remove(nothing), "PolicyNotFoundException", ""},
		{"delete AWS's", remove(fullRCP), "InvalidInputException", "IMMUTABLE_POLICY"},

		{"attach nothing", attach(nothing, w.a), "PolicyNotFoundException", ""},
		{"attach to a stranger", attach(id, loner), "TargetNotFoundException", ""},
		{"attach to nothing", attach(id, "ou-0000-00000000"), "TargetNotFoundException", ""},
		{name: "attach", run: attach(id, w.a)},
		{"attach again", attach(id, w.a), "DuplicatePolicyAttachmentException", ""},
		{"delete in use", remove(id), "PolicyInUseException", ""},
		{"detach nothing", detach(nothing, w.a), "PolicyNotFoundException", ""},
		{"detach what is not attached", detach(other, w.a), "PolicyNotAttachedException", ""},
		{"detach AWS's RCP", detach(fullRCP, w.a), "InvalidInputException", "NON_DETACHABLE_POLICY"},
		{name: "detach AWS's SCP", run: detach(fullSCP, w.a)},
		{"detach the last SCP", detach(id, w.a), "ConstraintViolationException", "MIN_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED"},
		{name: "attach AWS's SCP", run: attach(fullSCP, w.a)},
		{name: "detach", run: detach(id, w.a)},
		{name: "delete", run: remove(id)},
	})
	for i := range 4 {
		w.attach(w.newPolicy(scp, fmt.Sprint("n", i), denyLeaving), member)
	}
	sixth := attach(other, member)
	runSteps(t, []step{{"a sixth", sixth, "ConstraintViolationException", "MAX_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED"}})
	of := must(ctx, f, orgapi.ListPoliciesForTarget, &orgapi.ListPoliciesForTargetInput{TargetId: member, Filter: scp}).Policies
	if len(of) != 5 || *of[0].Id != fullSCP || !*of[0].AwsManaged || *of[0].Arn != "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess" {
		t.Errorf("policies of the member: %+v", of)
	}
	if got := must(ctx, f, orgapi.ListPolicies, &orgapi.ListPoliciesInput{Filter: orgapi.PolicyTypeTagPolicy}).Policies; len(got) != 0 {
		t.Errorf("tag policies: %v", got)
	}
	p := must(ctx, f, orgapi.DescribePolicy, &orgapi.DescribePolicyInput{PolicyId: other}).Policy
	if *p.Content != denyLeaving || *p.PolicySummary.AwsManaged || *p.PolicySummary.Arn != "arn:aws:organizations::"+manager+":policy/"+w.id+"/service_control_policy/"+other {
		t.Errorf("%+v", p.PolicySummary)
	}

	// What is disabled forgets every attachment.
	root := &orgapi.DisablePolicyTypeInput{RootId: w.root, PolicyType: scp}
	if got := must(ctx, f, orgapi.DisablePolicyType, root).Root.PolicyTypes; len(got) != 1 || got[0].Type != rcp {
		t.Errorf("types after disabling: %v", got)
	}
	runSteps(t, []step{
		{"attach when disabled", sixth, "PolicyTypeNotEnabledException", ""},
		{"detach when disabled", detach(other, member), "PolicyTypeNotEnabledException", ""},
	})
	if got := must(ctx, f, orgapi.ListTargetsForPolicy, &orgapi.ListTargetsForPolicyInput{PolicyId: fullSCP}).Targets; len(got) != 0 {
		t.Errorf("targets when disabled: %v", got)
	}
	must(ctx, f, orgapi.EnablePolicyType, &orgapi.EnablePolicyTypeInput{RootId: w.root, PolicyType: scp})
	of = must(ctx, f, orgapi.ListPoliciesForTarget, &orgapi.ListPoliciesForTargetInput{TargetId: member, Filter: scp}).Policies
	if len(of) != 1 || *of[0].Id != fullSCP {
		t.Errorf("policies after enabling again: %v", of)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f, ctx := w.fixture, w.as(manager)
	p := w.newPolicy(scp, "p", denyLeaving)
	for _, id := range []string{w.root, w.a, member, p} {
		must(ctx, f, orgapi.TagResource, &orgapi.TagResourceInput{ResourceId: id, Tags: []orgapi.Tag{{Key: "a", Value: "1"}, {Key: "A", Value: "2"}}})
		must(ctx, f, orgapi.TagResource, &orgapi.TagResourceInput{ResourceId: id, Tags: []orgapi.Tag{{Key: "a", Value: "3"}}})
		must(ctx, f, orgapi.UntagResource, &orgapi.UntagResourceInput{ResourceId: id, TagKeys: []string{"A", "zzz"}})
		got := must(ctx, f, orgapi.ListTagsForResource, &orgapi.ListTagsForResourceInput{ResourceId: id}).Tags
		if !slices.Equal(got, []orgapi.Tag{{Key: "a", Value: "3"}}) {
			t.Errorf("tags of %s: %v", id, got)
		}
	}
	var many []orgapi.Tag
	for i := range 51 {
		many = append(many, orgapi.Tag{Key: fmt.Sprint("k", i)})
	}
	tag := func(id string, tags ...orgapi.Tag) func() error {
		return call(ctx, f, orgapi.TagResource, &orgapi.TagResourceInput{ResourceId: id, Tags: tags})
	}
	runSteps(t, []step{
		{"51 tags", tag(w.root, many...), "ConstraintViolationException", "MAX_TAG_LIMIT_EXCEEDED"},
		{"a stranger", tag(loner, many[0]), "TargetNotFoundException", ""},
		{"no policy", tag("p-0000000000", many[0]), "TargetNotFoundException", ""},
		{"AWS's policy", tag(fullSCP, many[0]), "InvalidInputException", "IMMUTABLE_POLICY"},
		{"a system tag", tag(w.root, orgapi.Tag{Key: "aws:x"}), "InvalidInputException", "INVALID_SYSTEM_TAGS_PARAMETER"},
		{name: "50 tags", run: tag(w.b, many[:50]...)},
	})
	first := must(ctx, f, orgapi.ListTagsForResource, &orgapi.ListTagsForResourceInput{ResourceId: w.b})
	if len(first.Tags) != maxResults || first.NextToken == nil {
		t.Errorf("the first page has %d tags", len(first.Tags))
	}
}
