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

// IAM User Guide, "Grammar of the IAM JSON policy language".
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const body = `"Effect":"Allow","Action":"s3:GetObject","Resource":"*"`
	tests := []struct {
		name    string
		kind    Kind
		doc     string
		message string // prefix
	}{
		{"empty", IdentityPolicy, ``, msgSyntax},
		{"no object", IdentityPolicy, `[]`, msgSyntax},
		{"trailing text", IdentityPolicy, one(body) + `x`, msgSyntax},
		{"trailing comma", KeyPolicy, `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*",}]}`, msgSyntax},
		{"not UTF-8", IdentityPolicy, one("\"Sid\":\"\xff\"," + body), msgSyntax},
		{"unknown element", IdentityPolicy, `{"Versoin":"2012-10-17","Statement":[]}`, msgSyntax},
		{"unknown version", IdentityPolicy, `{"Version":"2012-10-18","Statement":[{` + body + `}]}`, msgSyntax},
		{"version twice", IdentityPolicy, `{"Version":"2012-10-17","Version":"2008-10-17","Statement":[{` + body + `}]}`, msgSyntax},
		{"no statement", IdentityPolicy, `{"Version":"2012-10-17"}`, msgSyntax},
		{"empty statement list", IdentityPolicy, `{"Version":"2012-10-17","Statement":[]}`, msgSyntax},
		{"statement is a string", IdentityPolicy, `{"Statement":["afd"]}`, msgSyntax},
		{"Id in identity policy", IdentityPolicy, `{"Id":"x","Statement":[{` + body + `}]}`, "Has prohibited field Id"},
		{"unknown statement element", IdentityPolicy, one(body + `,"Note":"x"`), msgSyntax},
		{"lower-case element", IdentityPolicy, one(`"effect":"Allow","Action":"s3:GetObject","Resource":"*"`), msgSyntax},
		{"lower-case effect", IdentityPolicy, one(`"Effect":"allow","Action":"s3:GetObject","Resource":"*"`), msgSyntax},
		{"no effect", IdentityPolicy, one(`"Action":"s3:GetObject","Resource":"*"`), msgSyntax},
		{"effect twice", IdentityPolicy, one(`"Effect":"Deny",` + body), msgSyntax},
		{"Action and NotAction", IdentityPolicy, one(body + `,"NotAction":"s3:*"`), msgSyntax},
		{"Resource and NotResource", IdentityPolicy, one(body + `,"NotResource":"*"`), msgSyntax},
		{"Principal and NotPrincipal", ResourcePolicy, one(body + `,"Principal":"*","NotPrincipal":{"AWS":"111122223333"}`), msgSyntax},
		{"no action", IdentityPolicy, one(`"Effect":"Allow","Resource":"*"`), msgNoActions},
		{"empty actions", IdentityPolicy, one(`"Effect":"Allow","Action":[],"Resource":"*"`), msgNoActions},
		{"action is a number", IdentityPolicy, one(`"Effect":"Allow","Action":1,"Resource":"*"`), msgSyntax},
		{"no vendor", IdentityPolicy, one(`"Effect":"Allow","Action":"GetObject","Resource":"*"`), msgVendor},
		{"two colons", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:Get:Object","Resource":"*"`), msgOneColon},
		{"vendor wildcard", IdentityPolicy, one(`"Effect":"Allow","Action":"s*:GetObject","Resource":"*"`), "Vendor s* is not valid"},
		{"no resource", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*"`), msgNoResources},
		{"empty resources", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*","Resource":[]`), msgNoResources},
		{"resource is no ARN", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*","Resource":"bucket"`), `Resource bucket must be in ARN format or "*".`},
		{"unknown partition", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*","Resource":"arn:xyz:s3:::b"`), `Partition "xyz" is not valid`},
		{"wild service", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s*:::b"`), msgResVendor},
		{"variable before the fifth colon", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3::${aws:PrincipalAccount}:b"`), msgLegacy},
		{"open variable", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${aws:username"`), msgLegacy},
		{"nested variable", IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${a:b${c:d}}"`), msgLegacy},
		{"Principal in identity policy", IdentityPolicy, one(body + `,"Principal":"*"`), "Has prohibited field Principal"},
		{"Principal in control policy", SCP, one(body + `,"Principal":"*"`), "Has prohibited field Principal"},
		{"named principal in RCP", RCP, one(body + `,"Principal":{"AWS":"111122223333"}`), msgPrincipalS3},
		{"NotPrincipal in RCP", RCP, one(body + `,"NotPrincipal":"*"`), "Has prohibited field NotPrincipal"},
		{"no principal", ResourcePolicy, one(body), msgNoPrincipal},
		{"empty principal", ResourcePolicy, one(body + `,"Principal":{}`), msgNoPrincipal},
		{"empty principal list", KeyPolicy, one(body + `,"Principal":{"AWS":[]}`), msgNoPrincipal},
		{"principal type", ResourcePolicy, one(body + `,"Principal":{"Aws":"111122223333"}`), msgPrincipalS3},
		{"wildcard in a principal", KeyPolicy, one(body + `,"Principal":{"AWS":"arn:aws:iam::111122223333:role/*"}`), msgPrincipalKMS},
		{"all sessions", KeyPolicy, one(body + `,"Principal":{"AWS":"arn:aws:sts::111122223333:assumed-role/R/*"}`), msgPrincipalKMS},
		{"group as principal", KeyPolicy, one(body + `,"Principal":{"AWS":"arn:aws:iam::111122223333:group/g"}`), msgPrincipalKMS},
		{"principal string", ResourcePolicy, one(body + `,"Principal":"111122223333"`), msgPrincipalS3},
		{"trust: principal", TrustPolicy, one(`"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"bob"}`), `Invalid principal in policy: "AWS":"bob"`},
		{"trust: resource", TrustPolicy, one(`"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*","Resource":"*"`), "Has prohibited field Resource"},
		{"trust: other service", TrustPolicy, one(`"Effect":"Allow","Action":"s3:GetObject","Principal":"*"`), msgTrustActions},
		{"trust: star", TrustPolicy, one(`"Effect":"Allow","Action":"*","Principal":"*"`), msgTrustActions},
		{"Sid twice", IdentityPolicy, `{"Statement":[{"Sid":"A",` + body + `},{"Sid":"A",` + body + `}]}`, msgSidUnique},
		{"Sid text", IdentityPolicy, one(`"Sid":"a b",` + body), msgSidText},
		{"unknown operator", IdentityPolicy, one(body + `,"Condition":{"StringEqual":{"a:b":"c"}}`), msgSyntax},
		{"operator case", IdentityPolicy, one(body + `,"Condition":{"stringequals":{"a:b":"c"}}`), msgSyntax},
		{"unknown set operator", IdentityPolicy, one(body + `,"Condition":{"ForSomeValues:StringEquals":{"a:b":"c"}}`), msgSyntax},
		{"NullIfExists", IdentityPolicy, one(body + `,"Condition":{"NullIfExists":{"a:b":"true"}}`), msgSyntax},
		{"BinaryLike", IdentityPolicy, one(body + `,"Condition":{"BinaryNotEquals":{"a:b":"AA=="}}`), msgSyntax},
		{"condition key without vendor", IdentityPolicy, one(body + `,"Condition":{"StringEquals":{"username":"c"}}`), msgVendor},
		{"condition key twice", IdentityPolicy, one(body + `,"Condition":{"StringEquals":{"a:b":"c","a:b":"d"}}`), msgSyntax},
		{"operator twice", IdentityPolicy, one(body + `,"Condition":{"StringEquals":{"a:b":"c"},"StringEquals":{"a:c":"d"}}`), msgSyntax},
		{"condition value null", IdentityPolicy, one(body + `,"Condition":{"StringEquals":{"a:b":null}}`), msgSyntax},
		{"condition value object", IdentityPolicy, one(body + `,"Condition":{"StringEquals":{"a:b":{}}}`), msgSyntax},
		{"bad number", IdentityPolicy, one(body + `,"Condition":{"NumericEquals":{"a:b":"ten"}}`), msgSyntax},
		{"bad date", IdentityPolicy, one(body + `,"Condition":{"DateEquals":{"a:b":"yesterday"}}`), msgSyntax},
		{"bad address", IdentityPolicy, one(body + `,"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/33"}}`), msgSyntax},
		{"bad base64", IdentityPolicy, one(body + `,"Condition":{"BinaryEquals":{"a:b":"%%"}}`), msgSyntax},
		{"bad bool", IdentityPolicy, one(body + `,"Condition":{"Bool":{"a:b":"yes"}}`), msgSyntax},
		{"bad null", IdentityPolicy, one(body + `,"Condition":{"Null":{"a:b":"yes"}}`), msgSyntax},
		{"deep nesting", IdentityPolicy, one(body + `,"Condition":` + strings.Repeat(`{"a":`, 5000) + `1` + strings.Repeat(`}`, 5000)), msgSyntax},
		{"deeper nesting", IdentityPolicy, strings.Repeat(`[`, 500_000), msgSyntax},
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
		{"RCP", RCP, one(body + `,"Principal":"*"`)},
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
			if x, y := Decide(req, a, nil), Decide(req, b, nil); x != y {
				t.Fatalf("policy decides %+v, printed %+v", x, y)
			}
		}
	})
}

func ExampleParse() {
	_, err := Parse(IdentityPolicy, []byte(`{"Statement":[{"Effect":"Allow","Action":"GetObject","Resource":"*"}]}`))
	fmt.Println(err)
	// Output: Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc: statement 0: Action "GetObject"
}
