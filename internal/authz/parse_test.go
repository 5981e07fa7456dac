package authz

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// compile is Parse for documents that a test takes for correct.
func compile(t testing.TB, kind Kind, doc string) *Policy {
	t.Helper()
	p, err := Parse(kind, []byte(doc))
	if err != nil {
		t.Fatalf("Parse(%s, %s): %v", kind, doc, err)
	}
	return p
}

// one wraps a statement into a document of version 2012-10-17.
func one(statement string) string {
	return `{"Version":"2012-10-17","Statement":[{` + statement + `}]}`
}

// IAM User Guide, "Grammar of the IAM JSON policy language"; the texts are those
// that IAM, KMS and S3 were seen to give.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const body = `"Effect":"Allow","Action":"s3:GetObject","Resource":"*"`
	const bucket = `"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"`
	const everybody = `,"Principal":"*"`
	resource := func(r string) string { return one(`"Effect":"Allow","Action":"s3:*","Resource":"` + r + `"`) }
	condition := func(c string) string { return one(body + `,"Condition":{` + c + `}`) }
	tests := []struct {
		name    string
		kind    Kind
		doc     string
		message string // prefix
	}{
		// The document.
		{"empty", IdentityPolicy, ``, msgSyntax},
		{"no object", IdentityPolicy, `[]`, msgSyntax},
		{"null", IdentityPolicy, `null`, msgSyntax},
		{"a string", IdentityPolicy, `"x"`, msgSyntax},
		{"trailing text", IdentityPolicy, one(body) + `x`, msgSyntax},
		{"trailing NUL", IdentityPolicy, one(body) + "\x00", msgSyntax},
		{"NUL in a string", IdentityPolicy, one("\"Sid\":\"a\x00\"," + body), msgSyntax},
		{"byte order mark", IdentityPolicy, "\ufeff" + one(body), msgSyntax},
		{"trailing comma", KeyPolicy, `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*",}]}`, msgSyntax},
		{"not UTF-8", IdentityPolicy, one("\"Sid\":\"\xff\"," + body), msgSyntax},
		{"unknown element", IdentityPolicy, `{"Versoin":"2012-10-17","Statement":[]}`, msgSyntax},
		{"unknown version", IdentityPolicy, `{"Version":"2012-10-18","Statement":[{` + body + `}]}`, msgSyntax},
		{"version is a number", IdentityPolicy, `{"Version":2012,"Statement":[{` + body + `}]}`, msgSyntax},
		{"no statement", IdentityPolicy, `{"Version":"2012-10-17"}`, msgSyntax},
		{"empty statement list", IdentityPolicy, `{"Version":"2012-10-17","Statement":[]}`, msgSyntax},
		{"statement is a string", IdentityPolicy, `{"Statement":["afd"]}`, msgSyntax},
		{"statement is null", IdentityPolicy, `{"Statement":null}`, msgSyntax},
		{"Id in identity policy", IdentityPolicy, `{"Id":"x","Statement":[{` + body + `}]}`, "Has prohibited field Id"},
		{"Id is a list", KeyPolicy, `{"Id":["x"],"Statement":[{` + body + everybody + `}]}`, msgSyntax},

		// Names that occur twice, at every level.
		{"version twice", IdentityPolicy, `{"Version":"2012-10-17","Version":"2008-10-17","Statement":[{` + body + `}]}`, msgSyntax},
		{"statement twice", IdentityPolicy, `{"Statement":[{` + body + `}],"Statement":[{` + body + `}]}`, msgSyntax},
		{"effect twice", IdentityPolicy, one(`"Effect":"Deny",` + body), msgSyntax},
		{"effect twice, escaped", IdentityPolicy, one(`"\u0045ffect":"Deny",` + body), msgSyntax},
		{"principal type twice", ResourcePolicy, one(bucket + `,"Principal":{"AWS":"*","AWS":"111122223333"}`), msgSyntaxS3},
		{"operator twice", IdentityPolicy, condition(`"StringEquals":{"a:b":"c"},"StringEquals":{"a:c":"d"}`), msgSyntax},
		{"condition key twice", IdentityPolicy, condition(`"StringEquals":{"a:b":"c","a:b":"d"}`), msgSyntax},
		{"Sid twice", IdentityPolicy, `{"Statement":[{"Sid":"A",` + body + `},{"Sid":"A",` + body + `}]}`, msgSidUnique},

		// Statements.
		{"unknown statement element", IdentityPolicy, one(body + `,"Note":"x"`), msgSyntax},
		{"lower-case element", IdentityPolicy, one(`"effect":"Allow","Action":"s3:GetObject","Resource":"*"`), msgSyntax},
		{"no effect", IdentityPolicy, one(`"Action":"s3:GetObject","Resource":"*"`), msgSyntax},
		{"unknown effect", IdentityPolicy, one(`"Effect":"invalid","Action":"s3:GetObject","Resource":"*"`), msgSyntax},
		{"effect in another case", IdentityPolicy, one(`"Effect":"allow","Action":"s3:GetObject","Resource":"*"`), msgLegacy},
		{"effect is a list", IdentityPolicy, one(`"Effect":["Allow"],"Action":"s3:GetObject","Resource":"*"`), msgSyntax},
		{"Sid text", IdentityPolicy, one(`"Sid":"a b",` + body), msgSidText},
		{"Sid is an object", IdentityPolicy, one(`"Sid":{},` + body), msgSyntax},
		{"Action and NotAction", IdentityPolicy, one(body + `,"NotAction":"s3:*"`), msgSyntax},
		{"Action and empty NotAction", IdentityPolicy, one(body + `,"NotAction":[]`), msgSyntax},
		{"Resource and NotResource", IdentityPolicy, one(body + `,"NotResource":"*"`), msgSyntax},
		{"Principal and NotPrincipal", ResourcePolicy, one(bucket + `,"Principal":"*","NotPrincipal":{"AWS":"111122223333"}`), msgSyntaxS3},

		// Actions.
		{"no action", IdentityPolicy, one(`"Effect":"Allow","Resource":"*"`), msgNoActions},
		{"nothing but an effect", IdentityPolicy, one(`"Effect":"Allow"`), msgNoActions},
		{"empty actions", IdentityPolicy, one(`"Effect":"Allow","Action":[],"Resource":"*"`), msgNoActions},
		{"action is a number", IdentityPolicy, one(`"Effect":"Allow","Action":1,"Resource":"*"`), msgSyntax},
		{"action is an object", IdentityPolicy, one(`"Effect":"Allow","Action":{},"Resource":"*"`), msgSyntax},
		{"list in a list of actions", IdentityPolicy, one(`"Effect":"Allow","Action":[[]],"Resource":"*"`), msgSyntax},
		{"no vendor", IdentityPolicy, one(`"Effect":"Allow","Action":"GetObject","Resource":"*"`), msgVendor},
		{"empty action", IdentityPolicy, one(`"Effect":"Allow","NotAction":"","Resource":"*"`), msgVendor},
		{"two colons", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:Get:Object","Resource":"*"`), msgOneColon},
		{"vendor wildcard", IdentityPolicy, one(`"Effect":"Allow","Action":"s*:GetObject","Resource":"*"`), "Vendor s* is not valid"},
		{"space in the vendor", IdentityPolicy, one(`"Effect":"Allow","Action":"a a:GetObject","Resource":"*"`), "Vendor a a is not valid"},

		// Resources.
		{"no resource", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*"`), msgNoResources},
		{"empty resources", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*","Resource":[]`), msgNoResources},
		{"resource is an object", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*","Resource":{"a":"*"}`), msgSyntax},
		{"resource is no ARN", IdentityPolicy, resource("bucket"), `Resource bucket must be in ARN format or "*".`},
		{"empty resource", IdentityPolicy, resource(""), `Resource  must be in ARN format or "*".`},
		{"unknown partition", IdentityPolicy, resource("arn:error:s3:::b"), `Partition "error" is not valid for resource "arn:error:s3:::b".`},
		{"another scheme", IdentityPolicy, resource("a:b:c:d:e:f:g:h"), `Partition "b" is not valid for resource "arn:b:c:d:e:f:g:h".`},
		{"another scheme, short", IdentityPolicy, resource("aws:s3:::b"), `Partition "s3" is not valid for resource "arn:s3:::b:*".`},
		{"no scheme", IdentityPolicy, resource("s3::b/*"), `Partition "" is not valid for resource "arn::b/*:*:*:*".`},
		{"no service", IdentityPolicy, resource("arn:aws"), msgResVendor},
		{"wild service", IdentityPolicy, resource("arn:aws:s*:::b"), msgResVendor},
		{"empty service", IdentityPolicy, resource("arn:aws::::b"), msgLegacy},
		{"a colon too few for S3", IdentityPolicy, resource("arn:aws:s3::b"), msgLegacy},
		{"region of S3", IdentityPolicy, resource("arn:aws:s3:us-east-1::b"), "Resource arn:aws:s3:us-east-1::b can not contain region information."},
		{"region of IAM", IdentityPolicy, resource("arn:aws:iam:us-east-1::user/b"), "IAM resource arn:aws:iam:us-east-1::user/b cannot contain region information."},
		{"path of IAM", IdentityPolicy, resource("arn:aws:iam:::b"), `IAM resource path must either be "*" or start with user/, federated-user/,`},
		{"variable before the fifth colon", IdentityPolicy, resource("arn:aws:s3::${aws:PrincipalAccount}:b"), msgLegacy},
		{"open variable", IdentityPolicy, resource("arn:aws:s3:::${aws:username"), msgLegacy},
		{"nested variable", IdentityPolicy, resource("arn:aws:s3:::${a:b${c:d}}"), msgLegacy},

		// Conditions.
		{"condition is a list", IdentityPolicy, one(body + `,"Condition":[]`), msgSyntax},
		{"condition is a string", IdentityPolicy, one(body + `,"Condition":"a"`), msgSyntax},
		{"operator is a string", IdentityPolicy, condition(`"StringEquals":"b"`), msgSyntax},
		{"unknown operator", IdentityPolicy, condition(`"StringEqual":{"a:b":"c"}`), msgSyntax},
		{"operator case", IdentityPolicy, condition(`"stringequals":{"a:b":"c"}`), msgSyntax},
		{"unknown set operator", IdentityPolicy, condition(`"ForSomeValues:StringEquals":{"a:b":"c"}`), msgSyntax},
		{"set operator with two colons", IdentityPolicy, condition(`"ForAnyValue::StringEquals":{"a:b":"c"}`), msgSyntax},
		{"NullIfExists", IdentityPolicy, condition(`"NullIfExists":{"a:b":"true"}`), msgSyntax},
		{"BinaryNotEquals", IdentityPolicy, condition(`"BinaryNotEquals":{"a:b":"AA=="}`), msgSyntax},
		{"condition key without vendor", IdentityPolicy, condition(`"StringEquals":{"username":"c"}`), msgVendor},
		{"condition value null", IdentityPolicy, condition(`"StringEquals":{"a:b":null}`), msgSyntax},
		{"condition value object", IdentityPolicy, condition(`"StringEquals":{"a:b":{}}`), msgSyntax},
		{"bad number", IdentityPolicy, condition(`"NumericEquals":{"a:b":"ten"}`), msgSyntax},
		{"huge exponent", IdentityPolicy, condition(`"NumericEquals":{"a:b":1e999999999}`), msgSyntax},
		{"huge number", IdentityPolicy, condition(`"NumericEquals":{"a:b":` + strings.Repeat("9", 100_000) + `}`), msgSyntax},
		{"bad date", IdentityPolicy, condition(`"DateEquals":{"a:b":"yesterday"}`), msgLegacy},
		{"date beyond reason", IdentityPolicy, condition(`"DateEquals":{"a:b":"9223372036854775808"}`), msgLegacy},
		{"bad address", IdentityPolicy, condition(`"IpAddress":{"aws:SourceIp":"10.0.0.0/33"}`), msgSyntax},
		{"bad base64", IdentityPolicy, condition(`"BinaryEquals":{"a:b":"%%"}`), msgSyntax},
		{"bad bool", IdentityPolicy, condition(`"Bool":{"a:b":"yes"}`), msgSyntax},
		{"bad null", IdentityPolicy, condition(`"Null":{"a:b":"yes"}`), msgSyntax},

		// Of several faults IAM tells one.
		{"syntax before everything", IdentityPolicy, `{"Statement":[{"Effect":"Allow","Action":"x","Resource":"y"},{"Effect":"x"}]}`, msgSyntax},
		{"legacy before missing actions", IdentityPolicy, one(`"Effect":"Allow","Resource":"arn:aws:s3::b"`), msgLegacy},
		{"legacy before a partition", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*","Resource":"arn:error:s3:::b","Condition":{"DateEquals":{"a:b":"x"}}`), msgLegacy},
		{"Sids before missing actions", IdentityPolicy, `{"Statement":[{"Sid":"A",` + body + `},{"Sid":"A","Effect":"Allow"}]}`, msgSidUnique},
		{"missing resources before the action's text", IdentityPolicy, one(`"Effect":"Allow","Action":"invalid"`), msgNoResources},
		{"the resource before the action's colons", IdentityPolicy, one(`"Effect":"Allow","Action":"s:3:List","Resource":"b"`), `Resource b must be in ARN format or "*".`},

		// Kinds without principals.
		{"Principal in identity policy", IdentityPolicy, one(body + everybody), "Has prohibited field Principal"},
		{"NotPrincipal in boundary", BoundaryPolicy, one(body + `,"NotPrincipal":"*"`), "Has prohibited field NotPrincipal"},
		{"Principal in session policy", SessionPolicy, one(body + everybody), "Has prohibited field Principal"},
		{"Principal in control policy", SCP, one(body + everybody), "Has prohibited field Principal"},

		// Trust policies.
		{"trust: broken JSON", TrustPolicy, `{"Statement":}`, msgJSON},
		{"trust: no JSON", TrustPolicy, `file://trust.json`, msgJSON},
		{"trust: principal", TrustPolicy, one(`"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"bob"}`), `Invalid principal in policy: "AWS":"bob"`},
		{"trust: no principal", TrustPolicy, one(`"Effect":"Allow","Action":"sts:AssumeRole"`), msgNoPrincipal},
		{"trust: resource", TrustPolicy, one(`"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*","Resource":"*"`), "Has prohibited field Resource"},
		{"trust: other service", TrustPolicy, one(`"Effect":"Allow","Action":"s3:GetObject","Principal":"*"`), msgTrustActions},
		{"trust: star", TrustPolicy, one(`"Effect":"Allow","Action":"*","Principal":"*"`), msgTrustActions},

		// Key policies.
		{"key: no principal", KeyPolicy, one(`"Effect":"Allow","Action":"kms:*","Resource":"*"`), msgNoPrincipalKMS},
		{"key: empty principal list", KeyPolicy, one(body + `,"Principal":{"AWS":[]}`), msgNoPrincipalKMS},
		{"key: wildcard in a principal", KeyPolicy, one(body + `,"Principal":{"AWS":"arn:aws:iam::111122223333:role/*"}`), msgPrincipalKMS},
		{"key: all sessions", KeyPolicy, one(body + `,"Principal":{"AWS":"arn:aws:sts::111122223333:assumed-role/R/*"}`), msgPrincipalKMS},
		{"key: group", KeyPolicy, one(body + `,"Principal":{"AWS":"arn:aws:iam::111122223333:group/g"}`), msgPrincipalKMS},
		{"key: name of a user", KeyPolicy, one(body + `,"Principal":{"AWS":"ann"}`), msgPrincipalKMS},
		{"key: no action", KeyPolicy, one(`"Effect":"Allow","Resource":"*"` + everybody), msgNoActions},
		{"key: no JSON", KeyPolicy, `{`, msgSyntax},

		// Bucket policies.
		{"bucket: no JSON", ResourcePolicy, `x`, msgFirstByteS3},
		{"bucket: empty", ResourcePolicy, ``, msgFirstByteS3},
		{"bucket: white space first", ResourcePolicy, ` {`, msgFirstByteS3},
		{"bucket: a list", ResourcePolicy, `[]`, msgFirstByteS3},
		{"bucket: broken JSON", ResourcePolicy, `{"Statement":}`, msgJSON},
		{"bucket: version", ResourcePolicy, `{"Version":"2020-01-01","Statement":[{` + bucket + everybody + `}]}`, msgVersionS3},
		{"bucket: no statement", ResourcePolicy, `{"Version":"2012-10-17"}`, "Missing required field Statement"},
		{"bucket: empty statement", ResourcePolicy, `{"Statement":[]}`, msgEmptyStatementS3},
		{"bucket: unknown field", ResourcePolicy, `{"Statements":[]}`, "Unknown field Statements"},
		{"bucket: unknown field of a statement", ResourcePolicy, one(bucket + everybody + `,"Principals":"*"`), "Unknown field Principals"},
		{"bucket: no effect", ResourcePolicy, one(`"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"` + everybody), "Missing required field Effect"},
		{"bucket: effect", ResourcePolicy, one(`"Effect":"allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"` + everybody), "Invalid effect: allow"},
		{"bucket: no principal", ResourcePolicy, one(bucket), "Missing required field Principal"},
		{"bucket: empty principal", ResourcePolicy, one(bucket + `,"Principal":{}`), msgEmptyPrincipalS3},
		{"bucket: no action", ResourcePolicy, one(`"Effect":"Allow","Resource":"arn:aws:s3:::b/*"` + everybody), "Missing required field Action"},
		{"bucket: no resource", ResourcePolicy, one(`"Effect":"Allow","Action":"s3:GetObject"` + everybody), "Missing required field Resource"},
		{"bucket: principal", ResourcePolicy, one(bucket + `,"Principal":{"AWS":"bob"}`), msgPrincipalS3},
		{"bucket: principal type", ResourcePolicy, one(bucket + `,"Principal":{"Aws":"111122223333"}`), msgPrincipalS3},
		{"bucket: principal string", ResourcePolicy, one(bucket + `,"Principal":"111122223333"`), msgPrincipalS3},
		{"bucket: action", ResourcePolicy, one(`"Effect":"Allow","Action":"GetObject","Resource":"arn:aws:s3:::b/*"` + everybody), msgActionS3},
		{"bucket: resource", ResourcePolicy, one(`"Effect":"Allow","Action":"s3:GetObject","Resource":"b"` + everybody), msgResourceS3},
		{"bucket: operator", ResourcePolicy, one(bucket + everybody + `,"Condition":{"StringAlmost":{"s3:prefix":"x"}}`), "Invalid Condition type : StringAlmost"},
		{"bucket: address", ResourcePolicy, one(bucket + everybody + `,"Condition":{"IpAddress":{"aws:SourceIp":"x"}}`), msgAddressS3},
		{"bucket: Sids", ResourcePolicy, `{"Statement":[{"Sid":"A",` + bucket + everybody + `},{"Sid":"A",` + bucket + everybody + `}]}`, msgSidUniqueS3},
		{"bucket: object action on the bucket", ResourcePolicy, one(`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b"` + everybody), msgScopeS3},
		{"bucket: bucket action on objects", ResourcePolicy, one(`"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":"arn:aws:s3:::b/*"` + everybody), msgScopeS3},
		{"bucket: object pattern on the bucket", ResourcePolicy, one(`"Effect":"Allow","Action":"s3:GetObject*","Resource":"arn:aws:s3:::b"` + everybody), msgScopeS3},

		// Resource control policies.
		{"RCP: named principal", RCP, one(`"Effect":"Deny","Action":"s3:*","Resource":"*","Principal":{"AWS":"111122223333"}`), `Invalid principal in policy: "AWS":"111122223333"`},
		{"RCP: NotPrincipal", RCP, one(`"Effect":"Deny","Action":"s3:*","Resource":"*","NotPrincipal":"*"`), "Has prohibited field NotPrincipal"},
		{"RCP: no principal", RCP, one(`"Effect":"Deny","Action":"s3:*","Resource":"*"`), msgNoPrincipal},
		{"RCP: NotAction", RCP, one(`"Effect":"Deny","NotAction":"s3:*","Resource":"*"` + everybody), "A resource control policy cannot have NotAction."},
		{"RCP: Allow", RCP, one(`"Effect":"Allow","Action":"s3:*","Resource":"*"` + everybody), "Only the policy RCPFullAWSAccess can have an Allow."},
		{"RCP: Allow with a condition", RCP, one(allowAll + everybody + `,"Condition":{"Bool":{"a:b":"true"}}`), "Only the policy RCPFullAWSAccess can have an Allow."},
		{"RCP: every action", RCP, one(denyAll + everybody), "Actions of a resource control policy must have the prefix of a service."},

		// Size.
		{"deep nesting", IdentityPolicy, condition(strings.TrimSuffix(strings.Repeat(`"a":{`, 5000), "{") + `1` + strings.Repeat(`}`, 4999)), msgSyntax},
		{"100,000 deep", IdentityPolicy, strings.Repeat(`[`, 100_000) + strings.Repeat(`]`, 100_000), msgSyntax},
		{"100,000 deep, open", IdentityPolicy, strings.Repeat(`{"Statement":`, 100_000), msgSyntax},
		{"10 MB", IdentityPolicy, one(body + `,"Sid":"` + strings.Repeat("a", 10<<20) + `"`), msgSyntax},
		{"10,000 statements", IdentityPolicy, `{"Statement":[` + strings.TrimSuffix(strings.Repeat(`{`+body+`},`, 10_000), ",") + `]}`, msgSyntax},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := Parse(tt.kind, []byte(tt.doc))
			m, ok := errors.AsType[*MalformedError](err)
			if !ok {
				t.Fatalf("Parse = %v, %v, want a MalformedError", p, err)
			}
			if !strings.HasPrefix(m.Message, tt.message) {
				t.Errorf("message %q, want %q (detail %q)", m.Message, tt.message, m.Detail)
			}
			if len(err.Error()) > 4096 && tt.name != "10 MB" {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		})
	}
	if _, err := Parse(0, []byte(one(body))); err == nil {
		t.Error("Parse of no kind succeeded")
	}
}

func TestParseAccepts(t *testing.T) {
	t.Parallel()
	const body = `"Effect":"Allow","Action":"s3:GetObject","Resource":"*"`
	tests := []struct {
		name string
		kind Kind
		doc  string
	}{
		{"single statement object", IdentityPolicy, `{"Statement":{` + body + `}}`},
		{"star actions", IdentityPolicy, one(`"Effect":"Allow","Action":["*","*:*"],"Resource":"*"`)},
		{"short ARN", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:sqs"`)},
		{"wild partition", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*","Resource":"arn:*:s3:::b"`)},
		{"GovCloud", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws-us-gov:s3:::b"`)},
		{"key policy Sid with spaces", KeyPolicy, one(`"Sid":"Allow use",` + body + `,"Principal":"*"`)},
		{"key policy without Resource", KeyPolicy, one(`"Effect":"Allow","Action":"kms:*","Principal":"*"`)},
		{"booleans and numbers", IdentityPolicy, one(body + `,"Condition":{"Bool":{"a:b":true},"NumericEquals":{"a:c":[1,2.5e1]}}`)},
		{"empty condition", IdentityPolicy, one(body + `,"Condition":{}`)},
		{"empty Sids", IdentityPolicy, `{"Statement":[{"Sid":"",` + body + `},{"Sid":"",` + body + `}]}`},
		{"variables are text in 2008", IdentityPolicy, `{"Version":"2008-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${aws:username"}}`},
		{"every principal form", ResourcePolicy, one(body + `,"Principal":{"AWS":["*","111122223333","arn:aws:iam::111122223333:root","arn:aws:iam::111122223333:user/p/u",
			"arn:aws:iam::111122223333:role/r","arn:aws:sts::111122223333:assumed-role/r/s","arn:aws:sts::111122223333:federated-user/f","AIDACKCEVSQ6C2EXAMPLE","AROACKCEVSQ6C2EXAMPLE",
			"arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1"],"Service":"kms.amazonaws.com","Federated":"cognito-identity.amazonaws.com","CanonicalUser":"79a59df900b949e5"}`)},
		{"trust", TrustPolicy, one(`"Effect":"Allow","Action":["sts:AssumeRole","sts:TagSession"],"Principal":{"Service":"sagemaker.amazonaws.com"}`)},
		{"RCP", RCP, one(`"Effect":"Deny","Action":["s3:*","sts:Assume*"],"NotResource":"arn:aws:s3:::b","Principal":{"AWS":"*"},"Condition":{"Bool":{"aws:SecureTransport":"false"}}`)},
		{"RCPFullAWSAccess", RCP, one(allowAll + `,"Principal":"*"`)},
		{"SCP with the whole language", SCP, one(`"Effect":"Allow","NotAction":["iam:*","*:De?ete*"],"NotResource":"arn:aws:s3:::b","Condition":{"Bool":{"aws:SecureTransport":"true"}}`)},
		{"bucket and objects", ResourcePolicy, one(`"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket","s3:Get*","s3:NewOperation"],"Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"],"Principal":"*"`)},
		{"star reaches bucket and objects", ResourcePolicy, one(`"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket","s3:*"],"Resource":"arn:aws:s3:::b*","Principal":"*"`)},
		{"action of another service on a bucket", ResourcePolicy, one(`"Effect":"Allow","Action":"sns:Publish","Resource":"arn:aws:s3:::b","Principal":"*"`)},
		{"action with blanks", IdentityPolicy, one(`"Effect":"Allow","Action":"iam: a b ","Resource":"*"`)},
		{"own paths of IAM", IdentityPolicy, one(`"Effect":"Allow","Action":"iam:*","Resource":["arn:aws:iam::*:user/${aws:username}","arn:aws:iam::111122223333:oidc-provider/x","arn:aws:iam::111122223333:*"]`)},
		{"access point of S3", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:us-west-2:111122223333:accesspoint/a"`)},
		{"short ARN of S3", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3","arn:aws:s3:*"]`)},
		{"no condition values", IdentityPolicy, one(body + `,"Condition":{"DateGreaterThan":{"a:b":[]},"StringEquals":{}}`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := compile(t, tt.kind, tt.doc)
			again := compile(t, tt.kind, string(p.JSON()))
			if !bytes.Equal(p.JSON(), again.JSON()) {
				t.Errorf("printed %s, then %s", p.JSON(), again.JSON())
			}
		})
	}
}

func TestPolicyJSON(t *testing.T) {
	t.Parallel()
	p := compile(t, KeyPolicy, `{"Statement":{"Resource":"*","Condition":{"StringLike":{"z:y":"<b>","a:b":["1",2]},"Bool":{"c:d":true}},
		"Action":["kms:Decrypt"],"NotPrincipal":{"Service":"x.amazonaws.com","AWS":["111122223333"]},"Effect":"Deny","Sid":"S 1"},"Id":"i","Version":"2012-10-17"}`)
	const want = `{"Version":"2012-10-17","Id":"i","Statement":[{"Sid":"S 1","Effect":"Deny","NotPrincipal":{"Service":["x.amazonaws.com"],"AWS":["111122223333"]},` +
		`"Action":["kms:Decrypt"],"Resource":["*"],"Condition":{"Bool":{"c:d":["true"]},"StringLike":{"a:b":["1","2"],"z:y":["<b>"]}}}]}`
	if got := string(p.JSON()); got != want {
		t.Errorf("JSON = %s\nwant   %s", got, want)
	}
	refs := p.Principals()
	if len(refs) != 2 || refs[1] != (PrincipalRef{Type: "AWS", Value: "111122223333", Form: FormAccount, Account: "111122223333", Not: true}) {
		t.Errorf("Principals = %+v", refs)
	}
	if c := p.Conditions(); len(c) != 3 || c[2] != (ConditionUse{Deny: true, Operator: "Bool", Key: "c:d"}) {
		t.Errorf("Conditions = %+v", c)
	}
	if a, r := p.Actions(), p.Resources(); len(a) != 1 || a[0].Pattern != "kms:Decrypt" || len(r) != 1 || r[0].Pattern != "*" {
		t.Errorf("Actions = %+v, Resources = %+v", a, r)
	}
	if p.ID() != "i" || p.Version() != Version2012 || p.Kind() != KeyPolicy || p.Len() != 1 {
		t.Errorf("ID %q, Version %q, Kind %v, Len %d", p.ID(), p.Version(), p.Kind(), p.Len())
	}
	if Unreadable("x").JSON() != nil {
		t.Error("an unreadable policy prints")
	}
}

func TestSizeWithoutWhitespace(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]int{
		"":                         0,
		" { } \n":                  2,
		`{"a b" : "c\" d"}`:        len(`{"a b":"c\" d"}`),
		"{\t\"é\":\r\n[ 1 , 2 ] }": 11,
	} {
		if got := SizeWithoutWhitespace([]byte(doc)); got != want {
			t.Errorf("SizeWithoutWhitespace(%q) = %d, want %d", doc, got, want)
		}
	}
}

// A document that was stored under other rules fails closed, statement by
// statement (invariant I5).
func TestStoredUnknownOperator(t *testing.T) {
	t.Parallel()
	req := &Request{Principal: refPrincipals[1], Action: "s3:GetObject", Resource: objARN, ResourceAccount: accA, Context: NewContext()}
	tests := []struct {
		name  string
		extra string // statement beside an Allow of everything
		want  Effect
	}{
		{"Deny counts as matching", `"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEqual":{"a:b":"c"}}`, ExplicitlyDenied},
		{"Deny with an empty block", `"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEqual":{}}`, ExplicitlyDenied},
		{"Deny of something else", `"Effect":"Deny","Action":"kms:*","Resource":"*","Condition":{"StringEqual":{"a:b":"c"}}`, Allowed},
		{"Deny that cannot match anyway", `"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEqual":{"a:b":"c"},"StringEquals":{"a:b":"c"}}`, Allowed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			doc := `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{` + tt.extra + `}]}`
			if _, err := Parse(IdentityPolicy, []byte(doc)); err == nil {
				t.Fatal("Parse accepts the unknown operator")
			}
			p, err := ParseStored(IdentityPolicy, []byte(doc))
			if err != nil {
				t.Fatal(err)
			}
			if d := Decide(req, &Policies{Identity: []*Policy{p}}, nil); d.Effect != tt.want {
				t.Errorf("Decide = %+v, want %v", d, tt.want)
			}
		})
	}
	p, err := ParseStored(IdentityPolicy, []byte(one(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEqual":{"a:b":"c"}}`)))
	if err != nil {
		t.Fatal(err)
	}
	d := Decide(req, &Policies{Identity: []*Policy{p}}, nil)
	if d.Effect != ImplicitlyDenied || !strings.Contains(d.Reason, "unknown condition operator") {
		t.Errorf("Allow with an unknown operator: %+v", d)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		one(`"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::${aws:username, 'x'}/*"],"Condition":{"ForAllValues:StringLikeIfExists":{"aws:TagKeys":["a*",1,true]}}`),
		one(`"Sid":"x","Effect":"Deny","NotPrincipal":{"AWS":["111122223333"]},"NotAction":"kms:Dec?ypt","NotResource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},"DateLessThan":{"aws:CurrentTime":"2026"},"NumericEquals":{"a:b":"1e5"}}`),
		seedFeatureStore, seedGroundTruth, `{"Statement":[`,
	} {
		f.Add(uint8(KeyPolicy), []byte(s))
		f.Add(uint8(IdentityPolicy), []byte(s))
	}
	f.Fuzz(func(t *testing.T, kind uint8, doc []byte) {
		if len(doc) > 16<<10 {
			return
		}
		k := Kind(kind%8) + 1
		p, err := Parse(k, doc)
		if err != nil {
			if _, ok := errors.AsType[*MalformedError](err); !ok {
				t.Fatalf("error %v is no MalformedError", err)
			}
			return
		}
		// What parses must print, and what is printed must read as the same.
		printed := p.JSON()
		q, err := Parse(k, printed)
		if err != nil {
			t.Fatalf("printed policy %s does not parse: %v", printed, err)
		}
		if !bytes.Equal(q.JSON(), printed) {
			t.Fatalf("printed %s, then %s", printed, q.JSON())
		}
		if _, err := ParseStored(k, doc); err != nil {
			t.Fatalf("stored policy does not parse: %v", err)
		}
		// And it must decide the same.
		for i := range refPrincipals {
			req := &Request{Principal: refPrincipals[i], Action: "kms:Decrypt", Resource: keyARN, Context: NewContext(), KMSKey: true}
			a, b := &Policies{Identity: []*Policy{p}}, &Policies{Identity: []*Policy{q}}
			if k.namesPrincipals() {
				a, b = &Policies{Resource: p}, &Policies{Resource: q}
			}
			x, y := Decide(req, a, nil), Decide(req, b, nil)
			if x != y {
				t.Fatalf("policy decides %+v, printed %+v", x, y)
			}
			// What an explanation proposes can be saved.
			for _, c := range Explain(req, a, nil, x).Changes {
				if c.Add == nil {
					continue
				}
				if _, err := Parse(kindIn(req, a, c.Layer), Document(c.Add)); err != nil {
					t.Fatalf("%s cannot be saved: %v", c.Add, err)
				}
			}
		}
	})
}

func ExampleParse() {
	_, err := Parse(IdentityPolicy, []byte(`{"Statement":[{"Effect":"Allow","Action":"GetObject","Resource":"*"}]}`))
	fmt.Println(err)
	// Output: Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc: statement 0: Action "GetObject"
}
