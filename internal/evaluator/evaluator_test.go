package evaluator

import "testing"

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
