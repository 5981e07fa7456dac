package lint

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/internal/authz"
)

// doc wraps a statement into a document with policy variables.
func doc(statement string) string {
	return `{"Version":"2012-10-17","Statement":[{` + statement + `}]}`
}

// codes lists the findings as "severity code", without those in skip.
func codes(found []Finding, skip ...Code) []string {
	var all []string
	for _, f := range found {
		if !slices.Contains(skip, f.Code) {
			all = append(all, string(f.Severity)+" "+string(f.Code))
		}
	}
	return all
}

// rules are documents with what must be found in them, and nothing else but
// that they are refused: "error code" or "warning code", separated by commas.
var rules = []struct {
	name string
	kind authz.Kind
	doc  string
	want string
}{
	// Actions.
	{"operation instead of action", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:ListObjectsV2","Resource":"*"`), "error unknown-action"},
	{"misspelt action", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decript","Resource":"*"`), "error unknown-action"},
	{"case of an action", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":["KMS:decrypt","S3:getobject"],"Resource":"*"`), ""},
	{"misspelt exception", authz.IdentityPolicy, doc(`"Effect":"Allow","NotAction":"iam:CreateUsers","Resource":"*"`), "error unknown-action"},
	{"pattern", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":["kms:?ecrypt","kms:ReEncrypt*"],"Resource":"*"`), ""},
	{"pattern without action", authz.IdentityPolicy, doc(`"Effect":"Deny","Action":"kms:De?rip*","Resource":"*"`), "error pattern-matches-nothing"},
	{"unknown prefix", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kmss:Decrypt","Resource":"*"`), "warning unknown-service"},
	{"other service", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"ec2:Whatever","Resource":"arn:aws:ec2:::x"`), ""},

	// Resources.
	{"object action on a bucket", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b"`), "error action-fits-no-resource"},
	{"bucket action on objects", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::b/*"`), "error action-fits-no-resource"},
	{"bucket policy for the wrong type", authz.ResourcePolicy, doc(`"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b"`), "error action-fits-no-resource"},
	{"key action on a bucket", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"arn:aws:s3:::b/*"`), "error action-fits-no-resource"},
	{"Region in a bucket", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:us-west-2::b"`), "error impossible-arn"},
	{"Region in a role", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam:us-west-2:111122223333:role/R"`), "error impossible-arn"},
	{"no Region in a key", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"arn:aws:kms::111122223333:key/k"`), "error impossible-arn"},
	{"bad Region", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"arn:aws:kms:uswest2:111122223333:key/k"`), "error impossible-arn"},
	{"short account", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"arn:aws:kms:us-west-2:11112222333:key/k"`), "error impossible-arn"},
	{"no such type", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"arn:aws:kms:us-west-2:111122223333:keys/k"`), "error impossible-arn"},
	{"impossible exception", authz.IdentityPolicy, doc(`"Effect":"Deny","Action":"s3:*","NotResource":"arn:aws:s3:us-west-2::b"`), "error impossible-arn"},
	{"list action on a key", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:ListKeys","Resource":"arn:aws:kms:us-west-2:111122223333:key/*"`), "error action-takes-no-resource"},
	{"list pattern on a key", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:List*","Resource":"arn:aws:kms:us-west-2:111122223333:key/*"`), ""},
	{"short ARN", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:GetObject","Resource":["arn:aws:s3","arn:aws:s3:::*"]`), ""},
	{"stream without star", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"logs:PutLogEvents","Resource":"arn:aws:logs:us-west-2:111122223333:log-group:/g"`), "error action-fits-no-resource"},
	{"session name in a resource", authz.SessionPolicy, doc(`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/${aws:userid}/*"`), ""},

	// Conditions.
	{"unknown key", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"kms:ViaServices":"x"}}`), "error unknown-condition-key"},
	{"unknown global key", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"aws:SourceAcount":"x"}}`), "warning unknown-condition-key"},
	{"unknown prefix of a key", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"kmz:ViaService":"x"}}`), "warning unknown-condition-key"},
	{"unknown variable", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/${aws:usernme}/*"`), "warning unknown-condition-key"},
	{"key of another service", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"StringLike":{"kms:ViaService":"s3.*.amazonaws.com"}}`), "error key-not-in-request"},
	{"key of another action", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":"*","Condition":{"StringLike":{"s3:prefix":"a/*"}}`), "error key-not-in-request"},
	{"key nobody has, negated", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"StringNotLike":{"s3:prefix":"a/*"}}`), "warning key-not-in-request"},
	{"key nobody has, demanded", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"Null":{"s3:prefix":"false"}}`), "error key-not-in-request"},
	{"request tag on another action", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/a":"b"}}`), "warning key-not-in-request"},
	{"AWS resource on all actions", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:*","Resource":"*","Condition":{"Bool":{"kms:GrantIsForAWSResource":"true"}}`), ""},
	{"aliases without set operator", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"StringLike":{"kms:ResourceAliases":"alias/*"}}`), "error missing-set-operator"},
	{"set operator on one value", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"ForAnyValue:StringLike":{"kms:ViaService":"s3.*.amazonaws.com"}}`), "warning set-operator-on-single-value"},
	{"all values of one pair in a key policy", authz.KeyPolicy, doc(`"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*","Condition":{"ForAllValues:StringEquals":{"KMS:EncryptionContext:a":"b"}}`), "error set-operator-on-single-value"},
	{"all values of one tag in a key policy", authz.KeyPolicy, doc(`"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["kms:TagResource","kms:PutKeyPolicy"],"Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:RequestTag/a":"b"}}`), "error set-operator-on-single-value"},
	{"all values of one pair elsewhere", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"ForAllValues:StringEquals":{"kms:EncryptionContext:a":"b"}}`), "warning set-operator-on-single-value"},
	{"all values with Null", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:TagResource","Resource":"*","Condition":{"ForAllValues:StringLike":{"aws:TagKeys":"a"},"Null":{"aws:TagKeys":"false"}}`), ""},
	{"all values in a Deny", authz.IdentityPolicy, doc(`"Effect":"Deny","Action":"kms:TagResource","Resource":"*","Condition":{"ForAllValues:StringLike":{"aws:TagKeys":"a"}}`), ""},
	{"date operator on a number", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:ListBucket","Resource":"*","Condition":{"DateLessThan":{"s3:max-keys":"2026-01-01"}}`), "error operator-type"},
	{"Boolean operator on a string", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"Bool":{"kms:KeySpec":"true"}}`), "error operator-type"},
	{"address operator on a string", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"IpAddress":{"kms:KeySpec":"10.0.0.0/8"}}`), "error operator-type"},
	{"number operator on an account", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"NumericEquals":{"kms:CallerAccount":"111122223333"}}`), "warning operator-type"},
	{"tag compared as anything", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"NumericLessThan":{"aws:ResourceTag/level":"3"},"Bool":{"aws:PrincipalTag/x":"true"}}`), ""},
	{"ARN operator on a service", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"ArnLike":{"aws:SourceVpc":"arn:aws:ec2:*:*:vpc/*"}}`), "warning operator-type"},
	{"ARN with too few parts", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"ArnLike":{"aws:PrincipalArn":"*"}}`), "error value-never-matches"},
	{"session in PrincipalArn", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:sts::111122223333:assumed-role/R/*"}}`), "error value-never-matches"},
	{"short account in a condition", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"kms:CallerAccount":"1234"}}`), "error value-never-matches"},
	{"unknown grant operation", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:CreateGrant","Resource":"*","Condition":{"ForAnyValue:StringEquals":{"kms:GrantOperations":"ReEncrypt"}}`), "error value-never-matches"},
	{"unknown encryption", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:PutObject","Resource":"*","Condition":{"StringEquals":{"s3:x-amz-server-side-encryption":"aws-kms"}}`), "error value-never-matches"},
	{"Boolean as text", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"StringEquals":{"aws:SecureTransport":"yes"}}`), "error value-never-matches"},
	{"range as text", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"StringEquals":{"aws:SourceIp":"10.0.0.0/8"}}`), "error value-never-matches"},
	{"organization", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"r-ab12"}}`), "error value-never-matches"},
	{"star in a prefix", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:ListBucket","Resource":"*","Condition":{"StringEquals":{"s3:prefix":"home/*"}}`), "warning wildcard-without-like"},
	{"star in a user id", authz.IdentityPolicy, doc(`"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"aws:userid":"AROAEXAMPLEROLEID1234:*"}}`), "error wildcard-without-like"},
	{"bad address", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/40"}}`), "error unparsable-value"},
	{"bad date", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"22.11.2026"}}`), "error unparsable-value"},
	{"bad number", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:ListBucket","Resource":"*","Condition":{"NumericEquals":{"s3:max-keys":"ten"}}`), "error unparsable-value"},

	// kms:ViaService and service principals.
	{"via: no Region", authz.IdentityPolicy, doc(via("StringEquals", "sagemaker.amazonaws.com")), "error via-service"},
	{"via: bad Region", authz.IdentityPolicy, doc(via("StringEquals", "sagemaker.uswest.amazonaws.com")), "error via-service"},
	{"via: pattern", authz.IdentityPolicy, doc(via("StringLike", "sagemaker.*.amazonaws.com")), ""},
	{"via: wide pattern", authz.IdentityPolicy, doc(via("StringLike", "s*.us-*-2.amazonaws.com")), ""},
	{"via: any", authz.IdentityPolicy, doc(via("StringLike", "*")), ""},
	{"via: wrong pattern", authz.IdentityPolicy, doc(via("StringLike", "*.sagemaker.amazonaws.com")), "error via-service"},
	{"via: Feature Store", authz.IdentityPolicy, doc(via("StringEquals", "featurestore-runtime.sagemaker.us-west-2.amazonaws.com")), "error via-service"},
	{"via: geospatial", authz.IdentityPolicy, doc(via("StringLike", "sagemaker-geospatial.*.amazonaws.com")), "error via-service"},
	{"via: China", authz.IdentityPolicy, doc(via("StringEquals", "s3.cn-north-1.amazonaws.com.cn")), "error via-service"},
	{"via: service that does not call KMS", authz.IdentityPolicy, doc(via("StringEquals", "iam.us-west-2.amazonaws.com")), "warning via-service"},
	{"via: StringEquals with star", authz.IdentityPolicy, doc(via("StringEquals", "sagemaker.*.amazonaws.com")), "error wildcard-without-like"},
	{"via: variable", authz.IdentityPolicy, doc(via("StringEquals", "sagemaker.${aws:RequestedRegion}.amazonaws.com")), ""},
	{"passed: no suffix", authz.IdentityPolicy, doc(passed("StringEquals", "sagemaker")), "error passed-to-service"},
	{"passed: unknown", authz.IdentityPolicy, doc(passed("StringEquals", "sagemakerr.amazonaws.com")), "warning passed-to-service"},
	{"passed: Region", authz.IdentityPolicy, doc(passed("StringEquals", "ec2.us-west-2.amazonaws.com")), "error passed-to-service"},
	{"passed: pattern", authz.IdentityPolicy, doc(passed("StringLike", "*.amazonaws.com")), ""},
	{"passed: impossible pattern", authz.IdentityPolicy, doc(passed("StringLike", "sagemaker.aws*.org")), "error passed-to-service"},

	// Contradictions.
	{"equal and not equal", authz.IdentityPolicy, doc(both(`"StringEquals":{"kms:KeySpec":"RSA_2048"},"StringNotEquals":{"kms:KeySpec":"RSA_2048"}`)), "error contradicting-conditions"},
	{"equal and not like", authz.IdentityPolicy, doc(both(`"StringEquals":{"kms:KeySpec":["RSA_2048","RSA_4096"]},"StringNotLike":{"kms:KeySpec":"RSA*"}`)), "error contradicting-conditions"},
	{"equal and partly not equal", authz.IdentityPolicy, doc(both(`"StringEquals":{"kms:KeySpec":["RSA_2048","RSA_4096"]},"StringNotEquals":{"kms:KeySpec":"RSA_2048"}`)), ""},
	{"equal and like", authz.IdentityPolicy, doc(both(`"StringEquals":{"kms:KeySpec":"SYMMETRIC_DEFAULT"},"StringLike":{"kms:KeySpec":"RSA_*"}`)), "error contradicting-conditions"},
	{"like and like", authz.IdentityPolicy, doc(both(`"StringLike":{"kms:KeySpec":"RSA_*"},"StringLikeIfExists":{"kms:KeySpec":"ECC_*"}`)), ""},
	{"absent and compared", authz.IdentityPolicy, doc(both(`"Null":{"kms:ViaService":"true"},"StringLike":{"kms:ViaService":"s3.*.amazonaws.com"}`)), "error contradicting-conditions"},
	{"present and compared", authz.IdentityPolicy, doc(both(`"Null":{"kms:ViaService":"false"},"StringLike":{"kms:ViaService":"s3.*.amazonaws.com"}`)), ""},
	{"absent and present", authz.IdentityPolicy, doc(both(`"Null":{"kms:ViaService":"true","kms:viaservice":"false"}`)), "error contradicting-conditions"},
	{"numbers", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:EnableKeyRotation","Resource":"*","Condition":{"NumericGreaterThan":{"kms:RotationPeriodInDays":"365"},"NumericLessThan":{"kms:RotationPeriodInDays":"365"}}`), "error contradicting-conditions"},
	{"one number", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:EnableKeyRotation","Resource":"*","Condition":{"NumericGreaterThanEquals":{"kms:RotationPeriodInDays":"365"},"NumericLessThanEquals":{"kms:RotationPeriodInDays":"365"}}`), ""},
	{"dates", authz.IdentityPolicy, doc(both(`"DateGreaterThan":{"aws:CurrentTime":"2027-01-01T00:00:00Z"},"DateLessThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"}`)), "error contradicting-conditions"},
	{"addresses", authz.IdentityPolicy, doc(both(`"IpAddress":{"aws:SourceIp":"10.1.0.0/16"},"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}`)), "error contradicting-conditions"},
	{"addresses left over", authz.IdentityPolicy, doc(both(`"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},"NotIpAddress":{"aws:SourceIp":"10.1.0.0/16"}`)), ""},
	{"via and source account", authz.IdentityPolicy, doc(both(`"StringLike":{"kms:ViaService":"s3.*.amazonaws.com"},"StringEquals":{"aws:SourceAccount":"111122223333"}`)), "error contradicting-conditions"},
	{"via and address", authz.IdentityPolicy, doc(both(`"StringLike":{"kms:ViaService":"s3.*.amazonaws.com"},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}`)), "warning contradicting-conditions"},
	{"grant operations of two kinds", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"kms:CreateGrant","Resource":"*","Condition":{"ForAnyValue:StringEquals":{"kms:GrantOperations":"Decrypt"},"ForAnyValue:StringLike":{"kms:GrantOperations":"Encrypt"}}`), ""},

	// Absent keys.
	{"deny outside a network", authz.IdentityPolicy, doc(`"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), "warning deny-without-key"},
	{"deny outside a network but for services", authz.IdentityPolicy, doc(`"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"},"Bool":{"aws:ViaAWSService":"false"}}`), ""},
	{"deny without MFA", authz.IdentityPolicy, doc(`"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"false"}}`), "warning mfa-key-absent"},
	{"allow with MFA if exists", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"BoolIfExists":{"aws:MultiFactorAuthPresent":"true"}}`), "warning mfa-key-absent"},

	// Key policies.
	{"key: list keys", authz.KeyPolicy, key(`"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["kms:ListKeys","kms:CreateKey","kms:GenerateRandom","kms:ListRetirableGrants","kms:DescribeCustomKeyStores"],"Resource":"*"`), strings.TrimSuffix(strings.Repeat("error action-without-key,", 5), ",")},
	{"key: aliases", authz.KeyPolicy, key(`"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["kms:CreateAlias","kms:List*"],"Resource":"*"`), ""},
	{"key: deny retiring", authz.KeyPolicy, key(`"Effect":"Deny","Principal":{"AWS":"111122223333"},"Action":"kms:RetireGrant","Resource":"*"`), ""},
	{"key: another key", authz.KeyPolicy, key(`"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:Decrypt","Resource":"arn:aws:kms:us-west-2:111122223333:key/1"`), "warning key-policy-resource"},
	{"key: bucket", authz.KeyPolicy, key(`"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:Decrypt","Resource":"arn:aws:s3:::b"`), "error key-policy-resource"},
	{"key: all keys", authz.KeyPolicy, key(`"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:Decrypt","Resource":"arn:aws:kms:*:*:key/*"`), ""},
	{"key: resource aliases", authz.KeyPolicy, key(`"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:Decrypt","Resource":"*","Condition":{"ForAnyValue:StringEquals":{"kms:ResourceAliases":"alias/a"}}`), "warning key-not-in-request"},
	{"key: everybody", authz.KeyPolicy, key(`"Effect":"Allow","Principal":"*","Action":"kms:DescribeKey","Resource":"*"`), "warning allows-everybody"},
	{"key: managed through a service only", authz.KeyPolicy, doc(`"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*","Condition":{"StringLike":{"kms:ViaService":"s3.*.amazonaws.com"}}`), "warning key-policy-lockout"},
	{"key: an administrator", authz.KeyPolicy, doc(`"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/Admin"},"Action":"kms:Put*","Resource":"*"`), ""},
	{"key: a service only", authz.KeyPolicy, doc(`"Effect":"Allow","Principal":{"Service":"sagemaker.amazonaws.com"},"Action":"kms:*","Resource":"*"`), "warning key-policy-lockout"},
	{"key: all but", authz.KeyPolicy, doc(`"Effect":"Allow","Principal":{"AWS":"111122223333"},"NotAction":"kms:Decrypt","Resource":"*"`), ""},
	{"key: geospatial by its regional name", authz.KeyPolicy, key(`"Effect":"Allow","Principal":{"Service":"sagemaker-geospatial.us-west-2.amazonaws.com"},"Action":"kms:Decrypt","Resource":"*"`), ""},

	// Principals.
	{"wildcard in a session", authz.KeyPolicy, key(`"Effect":"Allow","Principal":{"AWS":"arn:aws:sts::111122223333:assumed-role/R/*"},"Action":"kms:Decrypt","Resource":"*"`), "error principal-never-matches"},
	{"group", authz.KeyPolicy, key(`"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:group/g"},"Action":"kms:Decrypt","Resource":"*"`), "error principal-never-matches"},
	{"session with a path", authz.KeyPolicy, key(`"Effect":"Allow","Principal":{"AWS":"arn:aws:sts::111122223333:assumed-role/service-role/R/s"},"Action":"kms:Decrypt","Resource":"*"`), "error principal-never-matches"},
	{"nine digits", authz.KeyPolicy, key(`"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789:role/R"},"Action":"kms:Decrypt","Resource":"*"`), "error principal-never-matches"},
	{"canonical user of a key", authz.KeyPolicy, key(`"Effect":"Allow","Principal":{"CanonicalUser":"79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"},"Action":"kms:Decrypt","Resource":"*"`), "error principal-never-matches"},
	{"provider of a bucket", authz.ResourcePolicy, doc(`"Effect":"Allow","Principal":{"Federated":"accounts.google.com"},"Action":"s3:GetObject","Resource":"*"`), "warning principal-never-matches"},
	{"unknown service", authz.TrustPolicy, doc(`"Effect":"Allow","Principal":{"Service":"sagemeker.amazonaws.com"},"Action":"sts:AssumeRole"`), "warning service-principal"},
	{"no name of a service", authz.TrustPolicy, doc(`"Effect":"Allow","Principal":{"Service":"sagemaker.example.com"},"Action":"sts:AssumeRole"`), "warning service-principal"},
	{"NotPrincipal with account", authz.ResourcePolicy, doc(`"Effect":"Deny","NotPrincipal":{"AWS":["111122223333","arn:aws:iam::111122223333:user/bob"]},"Action":"s3:*","Resource":"*"`), ""},

	// Trust and control policies.
	{"trust: provider by AssumeRole", authz.TrustPolicy, doc(`"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:saml-provider/p"},"Action":"sts:AssumeRole"`), "error trust-principal"},
	{"trust: keys of a provider without a dot", authz.TrustPolicy, doc(`"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/localhost:39037"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"localhost:39037:aud":"a","LOCALHOST:39037:sub":"s"}}`), ""},
	{"trust: keys of another provider", authz.TrustPolicy, doc(`"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/localhost:39037"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"keycloak:8443:sub":"s"}}`), "warning unknown-condition-key"},
	{"trust: service by web identity", authz.TrustPolicy, doc(`"Effect":"Allow","Principal":{"Service":"sagemaker.amazonaws.com"},"Action":"sts:AssumeRoleWithWebIdentity"`), "error trust-principal"},
	{"trust: patterns", authz.TrustPolicy, doc(`"Effect":"Allow","Principal":{"Federated":"accounts.google.com"},"Action":"sts:AssumeRole*"`), ""},
	{"trust: everything", authz.TrustPolicy, doc(`"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:*"`), "warning allows-everybody"},
	{"SCP: deny all", authz.SCP, doc(`"Effect":"Deny","Action":"*","Resource":"*"`), "warning control-policy"},
	{"RCP: allow", authz.RCP, doc(`"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"`), "error control-policy"},
	{"RCP: retiring", authz.RCP, doc(`"Effect":"Deny","Principal":"*","Action":"kms:RetireGrant","Resource":"*"`), "error control-policy"},
	{"RCP: NotAction", authz.RCP, doc(`"Effect":"Deny","Principal":"*","NotAction":"s3:*","Resource":"*"`), "error control-policy"},
	{"RCP: bare star", authz.RCP, doc(`"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"`), "warning control-policy"},

	// Overlaps.
	{"shadowed by a later deny", authz.IdentityPolicy, `{"Version":"2012-10-17","Statement":[{"Sid":"A","Effect":"Allow","Action":"kms:Decrypt","Resource":"arn:aws:kms:*:*:key/k"},{"Sid":"D","Effect":"Deny","Action":"kms:*","Resource":"*"}]}`, "error shadowed-by-deny"},
	{"deny with a condition", authz.IdentityPolicy, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"},{"Effect":"Deny","Action":"kms:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`, ""},
	{"deny with the same condition", authz.IdentityPolicy, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}},{"Effect":"Deny","Action":"kms:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`, "error shadowed-by-deny"},
	{"deny for somebody else", authz.KeyPolicy, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"},{"Effect":"Deny","Principal":{"AWS":"444455556666"},"Action":"kms:*","Resource":"*"}]}`, ""},
	{"deny all but", authz.IdentityPolicy, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":["iam:*","kms:*"],"Resource":"*"},{"Effect":"Deny","NotAction":"iam:*","Resource":"*"}]}`, "error shadowed-by-deny"},
}

func via(operator, v string) string {
	return fmt.Sprintf(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{%q:{"kms:ViaService":%q}}`, operator, v)
}

func passed(operator, v string) string {
	return fmt.Sprintf(`"Effect":"Allow","Action":"iam:PassRole","Resource":"*","Condition":{%q:{"iam:PassedToService":%q}}`, operator, v)
}

func both(conditions string) string {
	return `"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{` + conditions + `}`
}

// key wraps a statement into a key policy whose account keeps the key.
func key(statement string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"},{` + statement + `}]}`
}

func TestRules(t *testing.T) {
	t.Parallel()
	for _, tt := range rules {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			found := Check([]byte(tt.doc), tt.kind, Options{})
			if got := strings.Join(codes(found, MalformedPolicy), ","); got != tt.want {
				t.Errorf("%s\nfound %q, want %q: %+v", tt.doc, got, tt.want, found)
			}
		})
	}
}

// TestMalformed: what authz refuses is an error with AWS's text, and what can be
// read of it is checked.
func TestMalformed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		kind    authz.Kind
		doc     string
		message string // part of it
		besides string
	}{
		{"no JSON", authz.IdentityPolicy, `{"Version":`, "Syntax errors in policy", ""},
		{"no kind", 0, doc(`"Effect":"Allow","Action":"s3:*","Resource":"*"`), "no known kind", ""},
		{"no object", authz.KeyPolicy, `[]`, "Syntax errors in policy", ""},
		{"deep", authz.KeyPolicy, strings.Repeat("[", 40) + strings.Repeat("]", 40), "Syntax errors in policy", ""},
		{"unknown operator", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":"s3:ListBucket","Resource":"*","Condition":{"StringMatches":{"s3:prefix":"ten"}}`), "Syntax errors in policy", ""},
		{"wildcard in a principal", authz.KeyPolicy, key(`"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/*"},"Action":"kms:Decrypt","Resource":"*"`), "invalid principals", "error principal-never-matches"},
		{"findings besides", authz.IdentityPolicy, doc(`"Effect":"Allow","Action":["kms:ReEncrypt","kms:Decrypt"],"Resource":"*","Id":"x"`), "Syntax errors in policy", "error unknown-action"},
	} {
		found := Check([]byte(tt.doc), tt.kind, Options{})
		i := slices.IndexFunc(found, func(f Finding) bool { return f.Code == MalformedPolicy })
		if i < 0 || !strings.Contains(found[i].Message, tt.message) || found[i].Severity != Error {
			t.Errorf("%s: %+v", tt.name, found)
		}
		if got := strings.Join(codes(found, MalformedPolicy), ","); got != tt.besides {
			t.Errorf("%s: besides %q, want %q", tt.name, got, tt.besides)
		}
	}
}

func TestHints(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ statement, hint string }{
		{`"Effect":"Allow","Action":"kms:ReEncrypt","Resource":"*"`, "the operation ReEncrypt asks for kms:ReEncryptFrom and kms:ReEncryptTo; kms:ReEncrypt* names them all"},
		{`"Effect":"Allow","Action":"s3:ListObjectsV2","Resource":"*"`, "the operation ListObjectsV2 asks for s3:ListBucket"},
		{`"Effect":"Allow","Action":"kms:Decript","Resource":"*"`, "did you mean kms:Decrypt?"},
		{`"Effect":"Allow","Action":"kms:GetObject","Resource":"*"`, "did you mean s3:GetObject?"},
		{`"Effect":"Allow","Action":"sagemakr:CreateApp","Resource":"*"`, "did you mean sagemaker:CreateApp?"},
		{`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b"`, "objects are arn:aws:s3:::b/*"},
		{`"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::b/*"`, "the bucket is arn:aws:s3:::b"},
		{`"Effect":"Allow","Action":"kms:Decrypt","Resource":"arn:aws:kms:us-west-2:111122223333:alias/a"`, "KMS decides on the key's ARN, also when a request names an alias: name the key, or compare kms:RequestAlias or kms:ResourceAliases"},
		{`"Effect":"Allow","Action":"kms:ListKeys","Resource":"arn:aws:kms:us-west-2:111122223333:key/*"`, `put it into a statement of its own with "Resource": "*"`},
		{via("StringLike", "sagemaker-featurestore.*.amazonaws.com"), "did you mean sagemaker.*.amazonaws.com?"},
		{via("StringEquals", "dynamo.us-west-2.amazonaws.com"), "did you mean dynamodb.us-west-2.amazonaws.com?"},
		{via("StringEquals", "sagemaker.amazonaws.com"), "write sagemaker.REGION.amazonaws.com, or compare sagemaker.*.amazonaws.com with StringLike"},
		{via("StringEquals", "sagemaker.*.amazonaws.com"), "use StringLike"},
		{passed("StringEquals", "ec2.us-west-2.amazonaws.com"), "use ec2.amazonaws.com"},
		{both(`"StringEquals":{"kms:ViaServices":"x"}`), "did you mean kms:ViaService?"},
		{both(`"StringEquals":{"kms:ResourceAliases":"alias/a"}`), "use ForAnyValue:StringEquals, or ForAllValues:StringEquals with a Null condition"},
	} {
		found := slices.DeleteFunc(Check([]byte(doc(tt.statement)), authz.IdentityPolicy, Options{}), func(f Finding) bool { return f.Code == MalformedPolicy })
		if len(found) != 1 || found[0].Hint != tt.hint {
			t.Errorf("%s\nhint %+v, want %q", tt.statement, found, tt.hint)
		}
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	const text = "{\"Version\": \"2012-10-17\",\n \"Statement\": [{\"Sid\": \"é\", \"Effect\": \"Allow\",\n  \"Action\": [\"s3:GetObject\",\n    \"kms:ReEncrypt\"],\n  \"Resource\": \"*\"}]}\n"
	found := slices.DeleteFunc(Check([]byte(text), authz.IdentityPolicy, Options{}), func(f Finding) bool { return f.Code == MalformedPolicy })
	want := []Finding{
		{
			Severity: Error, Code: UnknownAction, Statement: "é", Line: 4, Column: 5, Message: "kms has no action ReEncrypt, so the entry matches nothing",
			Hint: "the operation ReEncrypt asks for kms:ReEncryptFrom and kms:ReEncryptTo; kms:ReEncrypt* names them all",
		},
	}
	if !slices.Equal(found, want) {
		t.Errorf("found %+v\nwant  %+v", found, want)
	}
	found = Check([]byte("{\n\"Version\": \"2012-10-17\",\n\"Statement\": [{]}"), authz.IdentityPolicy, Options{})
	if len(found) != 1 || found[0].Line != 3 || found[0].Column != 16 {
		t.Errorf("broken JSON: %+v", found)
	}
	found = Check([]byte(`{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"},`+"\n"+`{"Sid":"B","Effect":"Allow","Action":"s3:*","Resource":"b"}]}`), authz.IdentityPolicy, Options{})
	if len(found) == 0 || found[0].Code != MalformedPolicy {
		t.Errorf("bad resource: %+v", found)
	}
	found = Check([]byte(`{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"},`+"\n"+`{"Sid":"B","Effect":"Permit","Action":"s3:Get*","Resource":"*"}]}`), authz.IdentityPolicy, Options{})
	if len(found) != 1 || found[0].Line != 2 || found[0].Statement != "B" {
		t.Errorf("bad effect: %+v", found)
	}
	if found := Check(make([]byte, authz.MaxDocument+1), authz.IdentityPolicy, Options{}); len(found) != 1 || found[0].Code != MalformedPolicy {
		t.Errorf("a long document: %+v", found)
	}
}

func TestKnownKey(t *testing.T) {
	t.Parallel()
	const this, other = "arn:aws:kms:us-west-2:111122223333:key/1", "arn:aws:kms:us-west-2:111122223333:key/2"
	text := key(`"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:Decrypt","Resource":"` + this + `"`)
	if found := Check([]byte(text), authz.KeyPolicy, Options{Resource: this}); len(found) != 0 {
		t.Errorf("the key itself: %+v", found)
	}
	if got := codes(Check([]byte(text), authz.KeyPolicy, Options{Resource: other})); !slices.Equal(got, []string{"error key-policy-resource"}) {
		t.Errorf("another key: %v", got)
	}
}

func TestGuessKind(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		doc  string
		want authz.Kind
	}{
		{doc(`"Effect":"Allow","Action":"kms:*","Resource":"*"`), authz.IdentityPolicy},
		{doc(`"Effect":"Allow","Principal":"*","Action":["kms:*","KMS:Decrypt"],"Resource":"*"`), authz.KeyPolicy},
		{doc(`"Effect":"Allow","NotPrincipal":"*","Action":"sts:AssumeRole"`), authz.TrustPolicy},
		{doc(`"Effect":"Allow","Principal":"*","Action":["kms:*","s3:*"],"Resource":"*"`), authz.ResourcePolicy},
		{doc(`"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"`), authz.ResourcePolicy},
		{`nonsense`, authz.IdentityPolicy},
		{strings.Repeat(" ", authz.MaxDocument+1), authz.IdentityPolicy},
	} {
		if got := GuessKind([]byte(tt.doc)); got != tt.want {
			t.Errorf("GuessKind(%.80s) = %s, want %s", tt.doc, got, tt.want)
		}
	}
}
