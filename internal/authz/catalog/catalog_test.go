package catalog

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestServices(t *testing.T) {
	t.Parallel()
	want := []string{"athena", "cloudtrail", "glue", "iam", "kms", "logs", "organizations", "s3", "sagemaker", "sagemaker-geospatial", "sts"}
	if got := Services(); !slices.Equal(got, want) {
		t.Fatalf("services are %v, want %v", got, want)
	}
	for _, s := range Services() {
		e, ok := Service(strings.ToUpper(s))
		if !ok || e.Prefix != s || len(e.Actions) == 0 || len(e.Keys) == 0 || len(e.Resources) == 0 {
			t.Fatalf("%s: %+v", s, e)
		}
		if !IsPrefix(s) {
			t.Errorf("%s is no prefix of a service", s)
		}
		for i, a := range e.Actions {
			if got, ok := Lookup(a.String()); !ok || got != a {
				t.Errorf("Lookup(%s) = %v, %v", a, got, ok)
			}
			if i > 0 && byName(e.Actions[i-1], a) >= 0 {
				t.Errorf("%s stands behind %s", a, e.Actions[i-1])
			}
			if !strings.ContainsRune("RLWPT", rune(a.Level)) {
				t.Errorf("%s has the level %q", a, a.Level)
			}
			for _, r := range a.Resources {
				if strings.Count(r.ARN, ":") < 5 || !strings.HasPrefix(r.ARN, "arn:${Partition}:") {
					t.Errorf("%s works on %s with the ARN %q", a, r.Name, r.ARN)
				}
			}
		}
	}
	if _, ok := Service("ec2"); ok || !IsPrefix("ec2") || IsPrefix("ec3") {
		t.Error("ec2 is a service without an entry, ec3 is none")
	}
	if !ResourceControlled("kms") || ResourceControlled("iam") {
		t.Error("resource control policies bind kms and not iam")
	}
}

// TestFacts holds the tables to what the guides say of single actions.
func TestFacts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		action    string
		resources string // names
		has       string // condition keys
		lacks     string
	}{
		{"kms:Decrypt", "key", "kms:ViaService kms:EncryptionContext:aws:s3:arn kms:encryptioncontextkeys kms:KeySpec kms:RequestAlias", "kms:GrantIsForAWSResource aws:RequestTag/x s3:prefix"},
		{"kms:ListAliases", "", "", "kms:ViaService"},
		{"kms:ListKeys", "", "", "kms:ViaService"},
		{"kms:CreateKey", "", "kms:KeySpec aws:RequestTag/team aws:TagKeys kms:BypassPolicyLockoutSafetyCheck", "kms:RequestAlias"},
		{"kms:CreateAlias", "alias key", "kms:ViaService", "kms:RequestAlias"},
		{"kms:CreateGrant", "key", "kms:GrantIsForAWSResource kms:GrantOperations kms:GranteeServicePrincipal", "kms:RequestAlias"},
		{"kms:ListRetirableGrants", "", "", "kms:GrantIsForAWSResource"},
		{"kms:Encapsulate", "key", "kms:ViaService kms:RequestAlias", "kms:EncryptionContextKeys"},
		{"s3:GetObject", "accesspointobject object", "s3:ExistingObjectTag/team s3:signatureversion", "s3:prefix"},
		{"s3:ListBucket", "accesspoint bucket", "s3:prefix s3:max-keys", "s3:x-amz-acl"},
		{"s3:ListAllMyBuckets", "any", "", "s3:prefix"},
		{"iam:PassRole", "role", "iam:PassedToService iam:AssociatedResourceArn", "iam:PolicyARN"},
		{"iam:ListRoles", "role", "", "iam:PolicyARN"},
		{"sts:AssumeRole", "role", "sts:ExternalId sts:RoleSessionName", "sts:DurationSeconds"},
		{"cloudtrail:LookupEvents", "", "", ""},
		{"sagemaker:CreateFeatureGroup", "feature-group", "sagemaker:FeatureGroupOnlineStoreKmsKeyArn", "kms:ViaService"},
		{"sagemaker-geospatial:StartEarthObservationJob", "EarthObservationJob", "aws:TagKeys", ""},
	} {
		a, ok := Lookup(tt.action)
		if !ok {
			t.Errorf("%s is missing", tt.action)
			continue
		}
		var names []string
		for _, r := range a.Resources {
			names = append(names, r.Name)
		}
		if got := strings.Join(names, " "); got != tt.resources {
			t.Errorf("%s works on %q, want %q", tt.action, got, tt.resources)
		}
		for key := range strings.FieldsSeq(tt.has) {
			if !a.Has(key) {
				t.Errorf("%s lacks %s", tt.action, key)
			}
		}
		for key := range strings.FieldsSeq(tt.lacks) {
			if a.Has(key) {
				t.Errorf("%s has %s", tt.action, key)
			}
		}
	}
	if _, ok := Lookup("kms:ReEncrypt"); ok {
		t.Error("kms:ReEncrypt is an operation and no action")
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		typ   KeyType
		multi bool
		open  bool
	}{
		{"aws:sourceip", IP, false, false},
		{"aws:PrincipalTag/a/b", String, false, true},
		{"aws:TagKeys", String, true, false},
		{"aws:CalledVia", String, true, false},
		{"aws:MultiFactorAuthPresent", Bool, false, false},
		{"aws:CurrentTime", Date, false, false},
		{"kms:EncryptionContext:aws:s3:arn", String, false, true},
		{"kms:ResourceAliases", String, true, false},
		{"kms:RotationPeriodInDays", Number, false, false},
		{"kms:GrantConstraintSourceArn", ARN, false, false},
		{"kms:ValidTo", Date, false, false},
		{"s3:ExistingObjectTag/k", String, false, true},
		{"s3:RequestObjectTagKeys", String, true, false},
		{"sagemaker:ResourceTag/k", String, false, true},
		{"lambda:SourceFunctionArn", ARN, false, false},
	} {
		k, ok := KeyNamed(tt.name)
		if !ok || k.Type != tt.typ || k.Multi != tt.multi || k.Open() != tt.open {
			t.Errorf("KeyNamed(%s) = %+v, %v", tt.name, k, ok)
		}
	}
	for _, name := range []string{"aws:PrincipalTag/", "aws:Nonsense", "kms:ViaServices", "kms:EncryptionContext:", "ec2:Vpc", ""} {
		if k, ok := KeyNamed(name); ok {
			t.Errorf("KeyNamed(%s) = %+v", name, k)
		}
	}
	for _, k := range GlobalKeys() {
		if got, ok := GlobalKey(strings.ReplaceAll(k.Name, "${TagKey}", "x")); !ok || got != k {
			t.Errorf("GlobalKey(%s) = %v, %v", k.Name, got, ok)
		}
		if k.Type.String() == "unknown type" {
			t.Errorf("%s has no type", k.Name)
		}
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	all := 0
	for _, s := range Services() {
		e, _ := Service(s)
		all += len(e.Actions)
	}
	for _, tt := range []struct {
		pattern string
		want    string // first few, or a count below
		n       int
	}{
		{"kms:ReEncrypt*", "kms:ReEncryptFrom kms:ReEncryptTo", 2},
		{"KMS:reencrypt*", "kms:ReEncryptFrom kms:ReEncryptTo", 2},
		{"kms:Decrypt", "kms:Decrypt", 1},
		{"kms:?ecrypt", "kms:Decrypt", 1},
		{"kms:GenerateDataKey*Plaintext", "kms:GenerateDataKeyPairWithoutPlaintext kms:GenerateDataKeyWithoutPlaintext", 2},
		{"kms:Foo*", "", 0},
		{"ec2:*", "", 0},
		{"kms:ReEncrypt", "", 0},
		{"*", "", all},
	} {
		got := Match(tt.pattern)
		names := make([]string, len(got))
		for i, a := range got {
			names[i] = a.String()
		}
		if len(got) != tt.n || tt.want != "" && strings.Join(names, " ") != tt.want {
			t.Errorf("Match(%s) = %v", tt.pattern, names)
		}
	}
}

var (
	serviceName = regexp.MustCompile(`(?m)^\s*Name:\s+"([^"]+)",$`)
	signingName = regexp.MustCompile(`(?m)^\s*SigningName:\s+"([^"]+)",$`)
)

// TestEveryOperationHasItsActions: what the API packages list maps to actions
// that exist.
func TestEveryOperationHasItsActions(t *testing.T) {
	t.Parallel()
	lists, err := filepath.Glob(filepath.Join("..", "..", "..", "api", "*", "operations.txt"))
	if err != nil || len(lists) == 0 {
		t.Fatalf("found %d lists of operations: %v", len(lists), err)
	}
	for _, list := range lists {
		code, err := os.ReadFile(filepath.Join(filepath.Dir(list), "operations_gen.go"))
		if err != nil {
			t.Fatal(err)
		}
		name, signing := serviceName.FindSubmatch(code), signingName.FindSubmatch(code)
		if name == nil || signing == nil {
			t.Fatalf("%s names no service", list)
		}
		prefix := string(name[1]) // sagemaker-runtime and its like act under the prefix that they sign with
		if _, ok := Service(prefix); !ok {
			prefix = string(signing[1])
		}
		text, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			line, _, _ := strings.Cut(line, "#")
			operation := strings.TrimSpace(line)
			if operation == "" {
				continue
			}
			actions := Operation(prefix, operation)
			if len(actions) == 0 {
				t.Errorf("%s: the operation %s of %s asks for no known action; see operation.go", list, operation, prefix)
			}
			for _, a := range actions {
				if _, ok := Lookup(a); !ok {
					t.Errorf("%s of %s asks for %s, which is no action", operation, prefix, a)
				}
			}
		}
	}
}

// TestOtherNamesAreNeeded: an exception names real actions, and is none when the
// operation has an action of its own name.
func TestOtherNamesAreNeeded(t *testing.T) {
	t.Parallel()
	for _, s := range Services() {
		for operation, actions := range otherNames(s) {
			if a, ok := Lookup(s + ":" + operation); ok {
				t.Errorf("%s is an action itself", a)
			}
			for _, name := range actions {
				if _, ok := Lookup(s + ":" + name); !ok {
					t.Errorf("%s of %s asks for %s, which is no action", operation, s, name)
				}
			}
		}
	}
}

func TestServicePrincipal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		form   PrincipalForm
		global string
	}{
		{"sagemaker.amazonaws.com", PrincipalGlobal, "sagemaker.amazonaws.com"},
		{"sagemaker.us-west-2.amazonaws.com", PrincipalWrongRegional, "sagemaker.amazonaws.com"},
		{"logs.us-west-2.amazonaws.com", PrincipalRegional, "logs.amazonaws.com"},
		{"vpc-flow-logs.amazonaws.com", PrincipalGlobal, "vpc-flow-logs.amazonaws.com"},
		{"delivery.logs.amazonaws.com", PrincipalGlobal, "delivery.logs.amazonaws.com"},
		{"ec2.amazonaws.com.cn", PrincipalGlobal, "ec2.amazonaws.com.cn"},
		{"lambda.us-gov-west-1.amazonaws.com", PrincipalWrongRegional, "lambda.amazonaws.com"},
		{"featurestore.amazonaws.com", PrincipalUnknown, ""},
		{"featurestore.us-west-2.amazonaws.com", PrincipalUnknown, "featurestore.amazonaws.com"},
		{"sagemaker", PrincipalNoName, ""},
		{"sagemaker.*.amazonaws.com", PrincipalNoName, ""},
		{".amazonaws.com", PrincipalNoName, ""},
	} {
		if form, global := ServicePrincipal(tt.name); form != tt.form || global != tt.global {
			t.Errorf("ServicePrincipal(%s) = %v, %q, want %v, %q", tt.name, form, global, tt.form, tt.global)
		}
	}
	via := ViaServices()
	if !slices.Contains(via, "sagemaker") || !slices.Contains(via, "s3") || slices.Contains(via, "sagemaker-geospatial") || !slices.IsSorted(via) {
		t.Errorf("services behind kms:ViaService: %v", via)
	}
}

// TestBrokenTables: a table that is not as the package comment says is refused.
func TestBrokenTables(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"x y z", "k q aws:x", "r key kms:x 0", "k s a:b\nr key kms:x 1", "k s a:b\na Do R 1", "a Do R - key!", "a Do Read -", "k s a:b\nr key x -\na Do R - key=4",
	} {
		if e, err := parse("x", text); err == nil {
			t.Errorf("parse(%q) = %+v", text, e)
		}
	}
	if _, err := load(map[string]string{"kms": "x"}); err == nil {
		t.Error("load took a broken table")
	}
	if _, err := load(map[string]string{"kms": "k s kms:CallerAccount\n"}); err == nil {
		t.Error("load corrected a table that lacks the keys")
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := load(tables()); err != nil {
			b.Fatal(err)
		}
	}
}
