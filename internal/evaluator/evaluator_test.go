package evaluator

import (
	"context"
	"errors"
	"testing"

	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

type everybody struct{ document string }

func (e everybody) PoliciesOf(context.Context, *identity.Caller) (authz.Policies, error) {
	p, err := authz.Parse(authz.IdentityPolicy, []byte(e.document))
	return authz.Policies{Identity: []*authz.Policy{p}}, err
}

// TestFailedLookups: a decision for which a value could not be looked up is none.
func TestFailedLookups(t *testing.T) {
	t.Parallel()
	const all = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}`
	for name, c := range map[string]struct {
		document string
		asked    bool
	}{
		"not asked":       {all + `]}`, false},
		"a condition":     {all + `,{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"kms:Later":"x"}}}]}`, true},
		"a variable":      {all + `,{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:username":"${kms:Later}"}}}]}`, true},
		"in the resource": {all + `,{"Effect":"Deny","Action":"*","Resource":"arn:aws:kms:*:*:key/${kms:Later}"}]}`, true},
	} {
		ctx := identity.With(t.Context(), &identity.Call{Caller: &identity.Caller{
			Type: identity.User, Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/u", UserName: "u",
		}})
		check := &protocol.Check{Action: "kms:DisableKey", Resource: "arn:aws:kms:us-west-2:111122223333:key/k", Account: "111122223333", Context: authz.NewContext()}
		broken := errors.New("the journal is unreadable")
		check.Context.SetLater("kms:Later", func() (string, error) { return "", broken })
		d, err := New(everybody{c.document}, nil).Decide(ctx, check)
		if c.asked && !errors.Is(err, broken) || !c.asked && (err != nil || d.Effect != authz.Allowed) {
			t.Errorf("%s: %v, %v", name, d.Effect, err)
		}
	}
}

func TestControlsResource(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		action, resource string
		want             bool
	}{
		{"s3:GetObject", "arn:aws:s3:::b/k", true},
		{"S3:GetObject", "arn:aws:s3:::b/k", true},
		{"kms:Decrypt", "arn:aws:kms:us-west-2:222233334444:key/x", true},
		{"kms:RetireGrant", "arn:aws:kms:us-west-2:222233334444:key/x", false},
		{"sts:AssumeRole", "arn:aws:iam::222233334444:role/r", true},
		{"sts:AssumeRole", "arn:aws:iam::222233334444:role/aws-service-role/x.amazonaws.com/r", false},
		{"secretsmanager:GetSecretValue", "*", true},
		{"sqs:SendMessage", "*", true},
		{"xray:PutTraceSegments", "*", true},
		{"iam:GetRole", "arn:aws:iam::222233334444:role/r", false},
		{"organizations:DescribeOrganization", "*", false},
		{"sagemaker-geospatial:GetEarthObservationJob", "*", false},
	} {
		if got := ControlsResource(tc.action, tc.resource); got != tc.want {
			t.Errorf("ControlsResource(%s, %s) = %v", tc.action, tc.resource, got)
		}
	}
}
