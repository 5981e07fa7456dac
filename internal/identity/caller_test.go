package identity

import (
	"context"
	"testing"
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
