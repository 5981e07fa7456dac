package authz

import (
	"strings"
	"testing"
)

// The policies of the SageMaker pages that this system implements.

// "Use AWS KMS Permissions for Amazon SageMaker geospatial capabilities"; the
// page leaves the role open and ends the statement with a comma.
const seedGeospatial = `{"Statement" : [ { "Sid" : "Allow access to Amazon SageMaker geospatial capabilities", "Effect" : "Allow",
	"Principal" : { "AWS" : "arn:aws:iam::111122223333:role/SageMakerGeospatialCustomerRole" }, "Action" : [ "kms:CreateGrant", "kms:Decrypt",
	"kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext" ], "Resource" : "*" } ]}`

const seedGeospatialRole = `{ "Version": "2012-10-17", "Statement": [ { "Action": [ "kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKey",
	"kms:GenerateDataKeyWithoutPlaintext" ], "Resource": [ "` + keyARN + `" ], "Effect": "Allow" } ] }`

// "Security and access control" (Feature Store).
const seedFeatureStore = `{"Id": "key-policy-feature-store", "Version":"2012-10-17", "Statement": [ {"Sid" : "Allow access through Amazon SageMaker Feature Store for all principals in the account that are authorized to use Amazon SageMaker Feature Store",
	"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/featurestore-user"}, "Action": [ "kms:Encrypt", "kms:Decrypt", "kms:DescribeKey", "kms:CreateGrant",
	"kms:RetireGrant", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:ListAliases", "kms:ListGrants" ], "Resource": "*",
	"Condition": {"StringLike": {"kms:ViaService" : "sagemaker.*.amazonaws.com" } } },
	{"Sid": "Allow administrators to view the customer managed key and revoke grants", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:role/featurestore-admin" },
	"Action": [ "kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant" ], "Resource": "*" },
	{"Sid": "Enable IAM User Permissions", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789:root" }, "Action": "kms:*", "Resource": "*" } ] }`

// "Encrypt output data and storage volume with AWS KMS" (Ground Truth).
const seedGroundTruth = `{"Statement":[{ "Sid": "AllowUseOfKmsKey", "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::111122223333:role/service-role/example-role" },
	"Action": [ "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey" ], "Resource": "*" }]}`

const seedGroundTruthRole = `{ "Version": "2012-10-17", "Statement": [ { "Effect": "Allow", "Action": [ "kms:CreateGrant" ], "Resource": "*" } ] }`

// "Set up permissions for Canvas": the key of encrypted data for import.
const seedCanvas = `{"Statement":[{ "Sid": "ExampleStmt", "Action": [ "kms:Decrypt", "kms:GenerateDataKey" ], "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::111122223333:role/Jane" }, "Resource": "*" }]}`

func seedSession(rolePath, role, session string) Principal {
	return Principal{
		Type: AssumedRole, Account: accA, ARN: "arn:aws:sts::111122223333:assumed-role/" + role + "/" + session,
		RoleARN: "arn:aws:iam::111122223333:role/" + rolePath + role,
	}
}

func TestSeedPolicies(t *testing.T) {
	t.Parallel()
	geoRole := seedSession("", "SageMakerGeospatialCustomerRole", "SageMaker-Geospatial-StartEOJ-KMSAccess")
	storeUser := Principal{Type: User, Account: accA, ARN: "arn:aws:iam::111122223333:user/featurestore-user"}
	admin := seedSession("", "featurestore-admin", "x")
	labeler := seedSession("service-role/", "example-role", "SageMaker")
	tests := []struct {
		name     string
		key      string
		identity string
		p        Principal
		via      string
		actions  string
		want     Effect
		layer    string
	}{
		{"geospatial: the execution role", seedGeospatial, "", geoRole, "", "CreateGrant GenerateDataKey Decrypt GenerateDataKeyWithoutPlaintext", Allowed, LayerResource},
		{"geospatial: nothing else", seedGeospatial, "", geoRole, "", "Encrypt ScheduleKeyDeletion DescribeKey", ImplicitlyDenied, LayerResource},
		{"geospatial: another role with an IAM policy", seedGeospatial, seedGeospatialRole, labeler, "", "Decrypt", ImplicitlyDenied, LayerResource},
		{"feature store: through SageMaker", seedFeatureStore, "", storeUser, "sagemaker.us-west-2.amazonaws.com", "Encrypt Decrypt DescribeKey CreateGrant RetireGrant ReEncryptFrom ReEncryptTo GenerateDataKey ListGrants", Allowed, LayerResource},
		{"feature store: directly", seedFeatureStore, "", storeUser, "", "Encrypt Decrypt GenerateDataKey", ImplicitlyDenied, LayerResource},
		{"feature store: offline store through S3", seedFeatureStore, "", storeUser, "s3.us-west-2.amazonaws.com", "GenerateDataKey", ImplicitlyDenied, LayerResource},
		{"feature store: the user may not revoke", seedFeatureStore, "", storeUser, "sagemaker.us-west-2.amazonaws.com", "RevokeGrant", ImplicitlyDenied, LayerResource},
		{"feature store: administrators", seedFeatureStore, "", admin, "", "DescribeKey GetKeyPolicy ListGrants RevokeGrant", Allowed, LayerResource},
		{"feature store: administrators do not decrypt", seedFeatureStore, "", admin, "", "Decrypt CreateGrant", ImplicitlyDenied, LayerResource},
		{"ground truth: session without the path", seedGroundTruth, "", labeler, "", "Encrypt Decrypt ReEncryptFrom ReEncryptTo GenerateDataKey GenerateDataKeyWithoutPlaintext DescribeKey", Allowed, LayerResource},
		{"ground truth: CreateGrant needs the account statement", seedGroundTruth, seedGroundTruthRole, labeler, "", "CreateGrant", ImplicitlyDenied, LayerResource},
		{"ground truth: same name on another path", seedGroundTruth, "", seedSession("", "example-role", "SageMaker"), "", "Decrypt", ImplicitlyDenied, LayerResource},
		{"canvas", seedCanvas, "", seedSession("", "Jane", "Canvas"), "", "Decrypt GenerateDataKey", Allowed, LayerResource},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pols := &Policies{Resource: compile(t, KeyPolicy, tt.key)}
			if tt.identity != "" {
				pols.Identity = []*Policy{compile(t, IdentityPolicy, tt.identity)}
			}
			ctx := NewContext()
			if tt.via != "" {
				ctx.Set("kms:ViaService", tt.via)
			}
			for action := range strings.FieldsSeq(tt.actions) {
				req := &Request{Principal: tt.p, Action: "kms:" + action, Resource: keyARN, Context: ctx, KMSKey: true}
				if d := Decide(req, pols, nil); d.Effect != tt.want || d.Layer != tt.layer {
					t.Errorf("%s: %+v, want %v by %s", action, d, tt.want, tt.layer)
				}
			}
		})
	}
	// The page's account has nine digits: it names no principal of ours.
	for _, ref := range compile(t, KeyPolicy, seedFeatureStore).Principals() {
		if ref.Statement == 2 && (ref.Form != FormAccount || ref.Account != "123456789") {
			t.Errorf("third statement names %+v", ref)
		}
	}
}
