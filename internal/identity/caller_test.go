package identity

import (
	"context"
	"maps"
	"testing"
	"time"
)

func TestForwardCopies(t *testing.T) {
	t.Parallel()
	a := &Caller{ARN: "arn:aws:iam::111122223333:root"}
	s3 := Hop{"s3", "us-west-2"}
	b := a.Forward(s3)
	c, d := b.Forward(Hop{"sagemaker", "us-west-2"}), b.Forward(Hop{"kms", "us-west-2"})
	if len(a.Via) != 0 || len(b.Via) != 1 || c.Via[1].Service != "sagemaker" || d.Via[1].Service != "kms" {
		t.Fatalf("chains share memory: %v %v %v %v", a.Via, b.Via, c.Via, d.Via)
	}
	if got := s3.Endpoint(); got != "s3.us-west-2.amazonaws.com" {
		t.Errorf("Endpoint = %q", got)
	}
}

func TestGlobalServiceName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"sagemaker-geospatial.us-west-2.amazonaws.com": "sagemaker-geospatial.amazonaws.com",
		"s3.amazonaws.com": "s3.amazonaws.com",
	} {
		if got := (&Caller{ServiceName: in}).GlobalServiceName(); got != want {
			t.Errorf("GlobalServiceName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAsKeepsTheRequest(t *testing.T) {
	t.Parallel()
	ctx := With(context.Background(), &Call{Caller: &Caller{ARN: "a"}, Region: "us-west-2", RequestID: "r"})
	got := From(As(ctx, &Caller{ARN: "b"}))
	if got.Caller.ARN != "b" || got.Region != "us-west-2" || got.RequestID != "r" || From(ctx).Caller.ARN != "a" {
		t.Fatalf("As = %+v", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("From without a call did not panic")
		}
	}()
	From(context.Background())
}

// TestMayCall is the table of IAM User Guide, "Compare AWS STS credentials".
func TestMayCall(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	callers := map[string]*Caller{
		"user":                 {Type: User},
		"root user":            {Type: Root},
		"session of a user":    {Type: User, IssuedAt: now},
		"session of the root":  {Type: Root, IssuedAt: now},
		"federated user":       {Type: FederatedUser, IssuedAt: now},
		"federated, no time":   {Type: FederatedUser},
		"role":                 {Type: AssumedRole, IssuedAt: now},
		"service":              {Type: Service},
		"anonymous":            {Type: Anonymous},
		"user through service": {Type: User, IssuedAt: now, Via: []Hop{{"s3", "us-west-2"}}},
	}
	everywhere := map[string]bool{"user": true, "root user": true, "role": true, "service": true, "anonymous": true}
	own := map[string]bool{"session of a user": true, "session of the root": true, "user through service": true}
	for _, tc := range []struct {
		service, operation string
		own, federated     bool
	}{
		{"kms", "Decrypt", true, true},
		{"s3", "GetObject", true, true},
		{"organizations", "ListAccounts", true, true},
		{"iam", "GetUser", false, false},
		{"iam", "AssumeRole", false, false},
		{"sts", "GetCallerIdentity", true, true},
		{"sts", "AssumeRole", true, false},
		{"sts", "GetSessionToken", true, true},
		{"sts", "GetFederationToken", true, true},
		{"sts", "GetAccessKeyInfo", false, false},
		{"sts", "DecodeAuthorizationMessage", false, false},
		{"sts", "AssumeRoleWithWebIdentity", false, false},
		{"sts", "SomethingNew", false, false},
	} {
		for name, c := range callers {
			want := everywhere[name] || own[name] && tc.own || !everywhere[name] && !own[name] && tc.federated
			if got := c.MayCall(tc.service, tc.operation); got != want {
				t.Errorf("%s may call %s:%s = %t, want %t", name, tc.service, tc.operation, got, want)
			}
		}
	}
}

func TestTransitive(t *testing.T) {
	t.Parallel()
	c := &Caller{SessionTags: map[string]string{"Team": "geo", "stage": "test", "none": ""}, TransitiveTagKeys: []string{"team", "none", "gone"}}
	if got := c.Transitive(); !maps.Equal(got, map[string]string{"Team": "geo", "none": ""}) {
		t.Errorf("Transitive = %v", got)
	}
	if got := (&Caller{SessionTags: map[string]string{"a": "b"}}).Transitive(); got != nil {
		t.Errorf("Transitive without keys = %v", got)
	}
}
