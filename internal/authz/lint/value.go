package lint

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sagekeep/sagekeep/internal/authz/catalog"
)

// checkText checks the values of a condition; k is nil when the key is not
// known.
func (c *checker) checkText(s *statement, d *condition, k *catalog.Key) {
	for _, v := range d.values {
		if c.variables() && strings.Contains(v.text, "${") {
			continue
		}
		switch {
		case c.refused && !parses(d.name, v.text):
			c.report(s, v.at, Error, UnparsableValue, fmt.Sprintf("%q is not a value that %s can compare", v.text, d.opText), example(d.name))
		case strings.HasPrefix(d.name, "Arn") && strings.Count(v.text, ":") < 5:
			c.report(s, v.at, Error, ValueNeverMatches, fmt.Sprintf("%q has not the six parts of an ARN, so %s never matches it", v.text, d.opText),
				`write all parts, with "*" for any: "arn:aws:s3:::*", "arn:*:*:*:*:*"`)
		case d.name == "Null" || k == nil:
		case c.checkWildcard(s, d, k, v):
		default:
			c.checkDomain(s, d, k, v)
		}
	}
}

// number is what authz takes for a number.
var number = regexp.MustCompile(`^\s*[+-]?(\d+(\.\d+)?|\.\d+)([eE][+-]?\d+)?\s*$`)

// parses reports whether an operator can read a value.
func parses(operator, v string) bool {
	switch {
	case operator == "Bool", operator == "Null":
		return strings.EqualFold(v, "true") || strings.EqualFold(v, "false")
	case strings.HasPrefix(operator, "Numeric"):
		return number.MatchString(v)
	case strings.HasPrefix(operator, "Date"):
		_, ok := instant(v)
		return ok
	case strings.HasSuffix(operator, "IpAddress"):
		_, ok := network(v)
		return ok
	case operator == "BinaryEquals":
		_, err := base64.StdEncoding.DecodeString(v)
		return err == nil
	}
	return true
}

// example shows a value that the operator can read.
func example(operator string) string {
	switch {
	case operator == "Bool", operator == "Null":
		return `write "true" or "false"`
	case strings.HasPrefix(operator, "Numeric"):
		return `write a number: "3600"`
	case strings.HasPrefix(operator, "Date"):
		return `write a date of ISO 8601 or seconds since 1970: "2026-11-22T00:00:00Z"`
	case strings.HasSuffix(operator, "IpAddress"):
		return `write an address or a range: "203.0.113.0/24"`
	case operator == "BinaryEquals":
		return "write base64"
	}
	return ""
}

// instant reads a date as seconds since 1970.
func instant(v string) (float64, bool) {
	v = strings.TrimSpace(v)
	if number.MatchString(v) && len(v) != 4 {
		return decimal(v), true
	}
	for _, layout := range []string{
		"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04",
		"2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z0700", "2006-01-02", "2006-01", "2006",
	} {
		if t, err := time.Parse(layout, v); err == nil {
			return float64(t.Unix()), true
		}
	}
	return 0, false
}

func network(v string) (netip.Prefix, bool) {
	if strings.Contains(v, "/") {
		p, err := netip.ParsePrefix(v)
		return p.Masked(), err == nil
	}
	a, err := netip.ParseAddr(v)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

// compiled is a value as its operator reads it.
func (d *condition) compiled(v string, vars bool) pattern {
	p := compile(v, strings.HasSuffix(d.name, "Like") || strings.HasPrefix(d.name, "Arn"), vars)
	if strings.HasSuffix(d.name, "IgnoreCase") || d.name == "Bool" {
		return p.fold()
	}
	return p
}

// plainKeys are keys whose values never hold a star.
func plainKeys(k *catalog.Key) bool {
	if k.Type != catalog.String {
		return true
	}
	switch k.Name {
	case "kms:ViaService", "iam:PassedToService", "iam:AWSServiceName", "sts:AWSServiceName", "aws:CalledVia", "aws:CalledViaFirst", "aws:CalledViaLast",
		"aws:PrincipalServiceName", "aws:PrincipalServiceNamesList", "aws:userid", "aws:username", "aws:RequestedRegion", "aws:PrincipalOrgID",
		"aws:PrincipalOrgPaths", "aws:SourceOrgID", "aws:SourceOrgPaths", "aws:ResourceOrgID", "aws:ResourceOrgPaths", "aws:SourceVpc", "aws:SourceVpce",
		"kms:RequestAlias", "kms:ResourceAliases", "kms:GranteePrincipal", "kms:RetiringPrincipal":
		return true
	}
	return digits(k.Name)
}

// checkWildcard reports stars in values that are compared letter by letter.
func (c *checker) checkWildcard(s *statement, d *condition, k *catalog.Key, v entry) bool {
	if !strings.HasPrefix(d.name, "String") || strings.HasSuffix(d.name, "Like") || !strings.Contains(v.text, "*") {
		return false
	}
	severity := Warning
	if plainKeys(k) {
		severity = Error
	}
	message := fmt.Sprintf("%s compares letter by letter, and no %s is %q", d.name, k.Name, v.text)
	if severity == Warning {
		message = fmt.Sprintf("%s compares letter by letter: the star of %q stands for itself", d.name, v.text)
	}
	like := "StringLike"
	if d.negated() {
		like = "StringNotLike"
	}
	c.report(s, v.at, severity, WildcardWithoutLike, message, "use "+strings.Replace(d.opText, d.name, like, 1))
	return true
}

// checkDomain reports values that a key never has.
func (c *checker) checkDomain(s *statement, d *condition, k *catalog.Key, v entry) {
	p := d.compiled(v.text, c.variables())
	switch k.Name {
	case "kms:ViaService":
		c.checkVia(s, p, v)
		return
	case "iam:PassedToService", "iam:AWSServiceName", "sts:AWSServiceName", "aws:CalledViaFirst", "aws:CalledViaLast", "aws:CalledVia":
		c.checkPassed(s, k, p, v)
		return
	}
	problem := ""
	switch {
	case !strings.HasPrefix(d.name, "String") && !strings.HasPrefix(d.name, "Arn"):
	case k.Type == catalog.String && digits(k.Name) && !p.wild() && !isAccount(v.text) && k.Name != "s3:DataAccessPointAccount":
		problem = "an account ID has 12 digits"
	case k.Name == "aws:PrincipalArn" && !overlap(p, literalPrefix("arn:")):
		problem = "it is not an ARN"
	case k.Name == "aws:PrincipalArn" && strings.HasPrefix(v.text, "arn:") && strings.Contains(v.text, ":assumed-role/"):
		problem = "for a session the key holds the ARN of its role, arn:aws:iam::ACCOUNT:role/ROLE"
	case slices.Contains([]string{"aws:SourceArn", "iam:PolicyARN", "iam:PermissionsBoundary", "kms:GrantConstraintSourceArn"}, k.Name) && !overlap(p, literalPrefix("arn:")):
		problem = "it is not an ARN"
	case (k.Name == "kms:RequestAlias" || k.Name == "kms:ResourceAliases") && !overlap(p, literalPrefix("alias/")):
		problem = "alias names begin with alias/"
	case strings.HasSuffix(k.Name, "OrgID") && !overlap(p, literalPrefix("o-")):
		problem = "organization IDs begin with o-"
	case k.Name == "aws:RequestedRegion" && !p.wild() && !catalog.IsRegion(v.text):
		problem = "it is no Region"
	case k.Type == catalog.Bool && !p.wild() && !parses("Bool", v.text):
		problem = `the key holds "true" or "false"`
	case k.Type == catalog.IP && strings.HasPrefix(d.name, "String") && strings.Contains(v.text, "/"):
		problem = "a range is compared by IpAddress"
	default:
		if all := enumerated(k.Name); all != nil && !slices.ContainsFunc(all, func(w string) bool { return overlap(p, d.compiled(w, false)) }) {
			problem = "the key holds " + list(all, 6)
			if n := nearest(v.text, all); n != "" {
				problem += ": " + n + ", perhaps"
			}
		}
	}
	if problem != "" {
		c.report(s, v.at, Error, ValueNeverMatches, fmt.Sprintf("%s is never %q: %s", k.Name, v.text, problem), "")
	}
}

// literalPrefix is the pattern of everything that begins with s.
func literalPrefix(s string) pattern { return append(compile(s, false, false), token{kind: run}) }

// enumerated are the values of keys that have few.
//
// Source: AWS KMS API Reference, CreateKey, CreateGrant; Amazon S3 API
// Reference, PutObject.
func enumerated(key string) []string {
	switch key {
	case "kms:KeyOrigin":
		return []string{"AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"}
	case "kms:MultiRegionKeyType":
		return []string{"PRIMARY", "REPLICA"}
	case "kms:GrantConstraintType":
		return []string{"EncryptionContextEquals", "EncryptionContextSubset"}
	case "kms:ExpirationModel":
		return []string{"KEY_MATERIAL_EXPIRES", "KEY_MATERIAL_DOES_NOT_EXPIRE"}
	case "kms:MessageType":
		return []string{"RAW", "DIGEST", "EXTERNAL_MU"}
	case "kms:GrantOperations":
		return []string{
			"Encrypt", "Decrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext",
			"ReEncryptFrom", "ReEncryptTo", "Sign", "Verify", "GetPublicKey", "GenerateMac", "VerifyMac", "DeriveSharedSecret", "Encapsulate", "Decapsulate",
			"DescribeKey", "CreateGrant", "RetireGrant",
		}
	case "s3:x-amz-server-side-encryption":
		return []string{"AES256", "aws:kms", "aws:kms:dsse", "aws:fsx"}
	}
	return nil
}

// checkVia checks a value of kms:ViaService.
//
// Source: AWS KMS Developer Guide, "kms:ViaService".
func (c *checker) checkVia(s *statement, p pattern, v entry) {
	region := token{kind: one, not: "."}
	more := token{kind: run, not: "."}
	suffix := compile(".amazonaws.com", false, false)
	endpoint := func(service string) pattern {
		return slices.Concat(compile(service+".", false, false), pattern{region, more}, suffix)
	}
	labels := strings.Split(strings.TrimSuffix(v.text, ".amazonaws.com"), ".")
	if slices.ContainsFunc(catalog.ViaServices(), func(service string) bool { return overlap(p, endpoint(service)) }) {
		if len(labels) == 2 && !strings.ContainsAny(labels[1], "*?$") && !catalog.IsRegion(labels[1]) {
			c.report(s, v.at, Error, ViaService, fmt.Sprintf("kms:ViaService is never %q: %q is no Region", v.text, labels[1]), "")
		}
		return
	}
	name := labels[0]
	hint := "write SERVICE.REGION.amazonaws.com"
	severity := Error
	var problem string
	switch {
	case !strings.HasSuffix(v.text, ".amazonaws.com") && strings.HasSuffix(v.text, ".amazonaws.com.cn"):
		problem = "the name ends with .amazonaws.com in every partition"
	case !strings.HasSuffix(v.text, ".amazonaws.com") && !strings.HasSuffix(v.text, "*"):
		problem = "the name ends with .amazonaws.com"
	case len(labels) == 1 && slices.Contains(catalog.ViaServices(), name):
		problem = "the Region is missing"
		hint = fmt.Sprintf("write %s.REGION.amazonaws.com, or compare %s.*.amazonaws.com with StringLike", name, name)
	case meant(name) != "":
		problem = "no service calls KMS under that name"
		hint = "did you mean " + strings.Replace(v.text, name, meant(name), 1) + "?"
	case name == "sagemaker-geospatial":
		problem = "SageMaker geospatial uses keys as the job's execution role and by a grant"
		hint = "allow the execution role without this condition"
	case catalog.IsPrefix(name):
		severity = Warning
		problem = fmt.Sprintf("%s is not among the services that are known to pass requests on to KMS", name)
		hint = ""
	default:
		problem = "no service calls KMS under that name"
		if n := nearest(name, catalog.ViaServices()); n != "" {
			hint = "did you mean " + strings.Replace(v.text, name, n, 1) + "?"
		}
	}
	if severity == Warning {
		c.report(s, v.at, severity, ViaService, v.text+": "+problem, hint)
		return
	}
	c.report(s, v.at, severity, ViaService, fmt.Sprintf("kms:ViaService is never %q: %s", v.text, problem), hint)
}

// meant is the service that is behind a name that does not call KMS.
func meant(name string) string {
	switch {
	case strings.HasPrefix(name, "sagemaker-featurestore"), name == "featurestore", name == "featurestore-runtime", name == "sagemaker-runtime", name == "sagemaker-canvas",
		name == "canvas", name == "groundtruth":
		return "sagemaker"
	case name == "ebs", name == "ec2-ebs":
		return "ec2"
	case name == "efs":
		return "elasticfilesystem"
	case name == "opensearch", name == "elasticsearch":
		return "es"
	case name == "msk":
		return "kafka"
	case name == "ds":
		return "directoryservice"
	case name == "mwaa":
		return "airflow"
	}
	return ""
}

// checkPassed checks a value that names a service principal.
//
// Source: IAM User Guide, "Grant a user permissions to pass a role to an AWS
// service".
func (c *checker) checkPassed(s *statement, k *catalog.Key, p pattern, v entry) {
	if p.wild() {
		if !overlap(p, append(pattern{{kind: one}, {kind: run}}, compile(".amazonaws.com", false, false)...)) &&
			!overlap(p, append(pattern{{kind: one}, {kind: run}}, compile(".amazonaws.com.cn", false, false)...)) {
			c.report(s, v.at, Error, PassedToService, fmt.Sprintf("%s is never like %q: names of services end with .amazonaws.com", k.Name, v.text), "")
		}
		return
	}
	form, global := catalog.ServicePrincipal(v.text)
	switch form {
	case catalog.PrincipalNoName:
		hint := ""
		if catalog.IsPrefix(v.text) {
			hint = "write " + v.text + ".amazonaws.com"
		}
		c.report(s, v.at, Error, PassedToService, fmt.Sprintf("%s is never %q: names of services end with .amazonaws.com", k.Name, v.text), hint)
	case catalog.PrincipalUnknown:
		hint := ""
		name, rest, _ := strings.Cut(v.text, ".")
		if n := nearest(name, append(catalog.Services(), "ec2", "lambda", "ecs-tasks", "states", "codebuild")); n != "" {
			hint = "did you mean " + n + "." + rest + "?"
		}
		c.report(s, v.at, Warning, PassedToService, "no service is known as "+v.text, hint)
	case catalog.PrincipalWrongRegional:
		c.report(s, v.at, Error, PassedToService, fmt.Sprintf("%s is never %q: the service's name has no Region", k.Name, v.text), "use "+global)
	}
}
