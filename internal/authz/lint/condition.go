package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/authz/catalog"
)

// checkConditions checks each condition of a statement by itself.
//
// Source: IAM User Guide, "Condition operators", "Multivalued context keys".
func (c *checker) checkConditions(s *statement) {
	for i := range s.conditions {
		d := &s.conditions[i]
		k := c.checkKey(s, d)
		if k == nil {
			c.checkText(s, d, nil)
			continue
		}
		c.checkPresence(s, d, k)
		if d.name != "Null" {
			c.checkSet(s, d, k)
			c.checkType(s, d, k)
			c.checkAbsence(s, d, k)
		}
		c.checkText(s, d, k)
	}
}

// ofProvider reports whether the key comes from an identity provider's token,
// which can hold anything.
func ofProvider(key string) bool {
	prefix, _, _ := strings.Cut(strings.ToLower(key), ":")
	return prefix == "saml" || strings.ContainsAny(prefix, "./")
}

// federates reports whether the key comes from the tokens of an identity
// provider that the statement names as its principal, whose host need not have a
// dot.
func (s *statement) federates(key string) bool {
	return slices.ContainsFunc(s.principals, func(p principal) bool {
		_, issuer, _ := strings.Cut(p.text, ":oidc-provider/")
		return p.typ == "Federated" && issuer != "" && strings.HasPrefix(strings.ToLower(key), strings.ToLower(issuer)+":")
	})
}

// checkKey returns the condition's key, or nil when it is not known; it reports
// keys that do not exist.
func (c *checker) checkKey(s *statement, d *condition) *catalog.Key {
	if k, ok := catalog.KeyNamed(d.key); ok {
		return k
	}
	prefix, name, colon := strings.Cut(d.key, ":")
	if !colon || ofProvider(d.key) || s.federates(d.key) {
		return nil
	}
	e, known := catalog.Service(prefix)
	var names []string
	severity, message := Warning, fmt.Sprintf("no AWS service has condition keys that begin with %q", prefix)
	switch {
	case strings.EqualFold(prefix, "aws"):
		message = "aws:" + name + " is no global condition key"
		for _, k := range catalog.GlobalKeys() {
			names = append(names, k.Name)
		}
	case known:
		severity, message = Error, fmt.Sprintf("%s has no condition key %s", e.Prefix, name)
		for _, k := range e.Keys {
			names = append(names, k.Name)
		}
	case catalog.IsPrefix(prefix):
		return nil // a service without a table
	}
	hint := ""
	if n := nearest(d.key, names); n != "" {
		hint = "did you mean " + n + "?"
	}
	c.report(s, d.keyAt, severity, UnknownConditionKey, message+": "+c.withoutKey(s, d), hint)
	return nil
}

// withoutKey says what a condition comes to when no request has its key.
func (c *checker) withoutKey(s *statement, d *condition) string {
	if d.needsKey() {
		return "the statement never applies"
	}
	return "the condition always holds"
}

// partly are the global keys that only some actions have.
func partly(key string) bool {
	key = strings.ToLower(key)
	return key == "aws:tagkeys" || strings.HasPrefix(key, "aws:requesttag/")
}

// checkPresence reports keys that requests of the actions never hold.
func (c *checker) checkPresence(s *statement, d *condition, k *catalog.Key) {
	severity := Error
	if _, global := catalog.GlobalKey(d.key); global {
		if !partly(d.key) {
			return
		}
		severity = Warning
	}
	if c.kind == authz.KeyPolicy && strings.EqualFold(d.key, "kms:ResourceAliases") {
		c.report(s, d.keyAt, Warning, KeyNotInRequest, "AWS takes kms:ResourceAliases in identity policies alone", "compare kms:RequestAlias")
	}
	if s.notAction {
		return
	}
	var without []string
	some := false
	for i := range s.uses {
		u := &s.uses[i]
		switch {
		case u.dead:
		case !u.known || u.any(func(a *catalog.Action) bool { return holds(a, d.key) }):
			some = true
		default:
			without = append(without, u.text)
		}
	}
	switch {
	case len(without) == 0:
	case d.needsKey():
		hint := ""
		if some {
			hint = "put them into a statement without this condition"
		}
		c.report(s, d.keyAt, severity, KeyNotInRequest,
			fmt.Sprintf("requests for %s never hold %s, so the statement never applies to them", list(without, 5), k.Name), hint)
	case !some:
		c.report(s, d.keyAt, Warning, KeyNotInRequest,
			fmt.Sprintf("requests for %s never hold %s, so the condition always holds", list(without, 5), k.Name), "")
	}
}

// holds reports whether requests of the action can hold the key. What goes along
// with assuming a role is asked for in the same request.
func holds(a *catalog.Action, key string) bool {
	if a.Service != "sts" || !inTrust(a) {
		return a.Has(key)
	}
	return slices.ContainsFunc(catalog.Match("sts:*"), func(b *catalog.Action) bool { return inTrust(b) && b.Has(key) })
}

// checkSet checks set operators against keys with one value or several.
func (c *checker) checkSet(s *statement, d *condition, k *catalog.Key) {
	switch {
	case k.Multi && d.set == "":
		c.report(s, d.keyAt, Error, MissingSetOperator, fmt.Sprintf("%s holds a set, and %s compares one value: it never matches a request that has the key", k.Name, d.opText),
			fmt.Sprintf("use ForAnyValue:%s, or ForAllValues:%s with a Null condition", d.opText, d.opText))
	case !k.Multi && d.set != "" && !ofProvider(d.key):
		message, severity := fmt.Sprintf("%s holds one value, so %s makes no difference", k.Name, d.set), Warning
		if d.set == "ForAllValues" {
			message = fmt.Sprintf("%s holds one value; with ForAllValues the condition also holds when the key is absent", k.Name)
			if key := strings.ToLower(d.key); c.kind == authz.KeyPolicy && (strings.HasPrefix(key, "kms:encryptioncontext:") || strings.HasPrefix(key, "aws:requesttag/")) {
				message, severity = message+": KMS refuses that", Error
			}
		}
		c.report(s, d.keyAt, severity, SetOperatorOnSingleValue, message, "use "+strings.TrimPrefix(d.opText, d.set+":"))
	case d.set == "ForAllValues" && !s.deny && !s.requires(d.key):
		c.report(s, d.keyAt, Warning, ForAllValuesAllow, fmt.Sprintf("ForAllValues holds when %s is absent or empty: the statement allows that too", k.Name),
			fmt.Sprintf(`add "Null": {%q: "false"}`, d.key))
	}
}

// digits are keys of type string that hold digits alone.
func digits(key string) bool { return strings.HasSuffix(strings.ToLower(key), "account") }

// checkType checks the operator against the type of the key. Texts can be
// compared with any key; what cannot be read as the operator's type never
// matches.
func (c *checker) checkType(s *statement, d *condition, k *catalog.Key) {
	if k.Open() || ofProvider(d.key) || strings.HasPrefix(d.name, "String") {
		return
	}
	ok := true
	severity := Error
	switch {
	case strings.HasPrefix(d.name, "Arn"):
		ok = k.Type == catalog.ARN || k.Type == catalog.String && strings.HasSuffix(strings.ToLower(d.key), "principal")
		if k.Type == catalog.String {
			severity = Warning // a string may be an ARN
		}
	case strings.HasPrefix(d.name, "Numeric"):
		ok = k.Type == catalog.Number || k.Type == catalog.Date
		if digits(d.key) {
			severity = Warning
		}
	case strings.HasPrefix(d.name, "Date"):
		ok = k.Type == catalog.Date
	case d.name == "Bool":
		ok = k.Type == catalog.Bool
	case strings.HasSuffix(d.name, "IpAddress"):
		ok = k.Type == catalog.IP
	case d.name == "BinaryEquals":
		ok = false
	}
	if ok {
		return
	}
	use := map[catalog.KeyType]string{
		catalog.String: "StringEquals or StringLike", catalog.ARN: "ArnEquals or ArnLike", catalog.Bool: "Bool",
		catalog.Number: "a Numeric operator", catalog.Date: "a Date operator", catalog.IP: "IpAddress or NotIpAddress",
	}[k.Type]
	message := fmt.Sprintf("%s is a %s, and %s compares something else", k.Name, k.Type, d.name)
	if k.Type == catalog.ARN || k.Type == catalog.IP {
		message = strings.Replace(message, " is a ", " is an ", 1)
	}
	c.report(s, d.keyAt, severity, OperatorType, message, "use "+use)
}

// checkAbsence reports conditions that turn around when the key is absent.
func (c *checker) checkAbsence(s *statement, d *condition, k *catalog.Key) {
	mfa := strings.EqualFold(d.key, "aws:MultiFactorAuthPresent") && d.name == "Bool" && len(d.values) == 1
	switch {
	case mfa && s.deny && !d.ifExists && strings.EqualFold(d.values[0].text, "false"):
		c.report(s, d.keyAt, Warning, MFAKeyAbsent, "requests with long-term keys do not hold aws:MultiFactorAuthPresent, so they are not denied", "use BoolIfExists")
	case mfa && !s.deny && d.ifExists && strings.EqualFold(d.values[0].text, "true"):
		c.report(s, d.keyAt, Warning, MFAKeyAbsent, "requests with long-term keys do not hold aws:MultiFactorAuthPresent, so they are allowed without MFA", "use Bool")
	case s.deny && d.negated() && d.set == "" && !d.ifExists && c.mayBeAbsent(k) && !guarded(s, d.key):
		c.report(s, d.keyAt, Warning, DenyWithoutKey, fmt.Sprintf("requests without %s are denied too%s", k.Name, whoLacks(k.Name)),
			fmt.Sprintf("use %sIfExists, or exempt them by another condition, if that is not meant", d.name))
	}
}

// mayBeAbsent reports whether a key is missing from requests for a reason that
// is easily forgotten: who calls, and what the resource carries. What a caller
// chooses to send, such as S3's headers, is not meant. Policies without
// principals are about users and roles, who always have an ARN and an account.
func (c *checker) mayBeAbsent(k *catalog.Key) bool {
	named := c.kind == authz.KeyPolicy || c.kind == authz.ResourcePolicy || c.kind == authz.TrustPolicy || c.kind == authz.RCP
	if !named && (k.Name == "aws:PrincipalArn" || k.Name == "aws:PrincipalAccount" || k.Name == "aws:PrincipalOrgID") {
		return false
	}
	for _, name := range []string{
		"aws:SourceIp", "aws:SourceVpc", "aws:SourceVpce", "aws:SourceVpcArn", "aws:VpcSourceIp", "aws:VpceAccount", "aws:VpceOrgID",
		"aws:PrincipalOrgID", "aws:PrincipalTag/", "aws:PrincipalArn", "aws:PrincipalAccount", "aws:SourceArn", "aws:SourceAccount", "aws:SourceOrgID",
		"aws:ResourceTag/", "aws:CalledViaFirst", "aws:CalledViaLast", "kms:ViaService", "kms:EncryptionContext:", "kms:RequestAlias",
	} {
		if k.Name == name || strings.HasPrefix(k.Name, name) && strings.HasSuffix(k.Name, "}") {
			return true
		}
	}
	return false
}

func whoLacks(key string) string {
	switch key {
	case "aws:SourceIp", "aws:SourceVpc", "aws:SourceVpce", "aws:SourceVpcArn", "aws:VpcSourceIp":
		return ": those that a service makes on somebody's behalf, for example"
	case "aws:PrincipalOrgID", "aws:PrincipalArn", "aws:PrincipalAccount":
		return ": those of AWS services, for example"
	case "aws:SourceArn", "aws:SourceAccount", "aws:SourceOrgID":
		return ": everything that is not called by an AWS service"
	case "kms:ViaService":
		return ": everything that does not come through a service"
	}
	return ""
}

// guarded reports whether the statement says what shall be with requests that
// lack the key.
func guarded(s *statement, key string) bool {
	return slices.ContainsFunc(s.conditions, func(d condition) bool {
		switch {
		case d.name == "Null" && d.is(key):
			return true
		case d.is("aws:ViaAWSService"), d.is("aws:PrincipalIsAWSService"), d.is("aws:PrincipalServiceName"), d.is("aws:CalledVia"), d.is("kms:GrantIsForAWSResource"):
			return true
		}
		return false
	})
}

// checkVariables reports policy variables in a document whose version has none.
//
// Source: IAM User Guide, "Policy variables", on versions.
func (c *checker) checkVariables(s *statement) {
	known := func(v string) bool {
		key, _, _ := strings.Cut(v, ",")
		_, ok := catalog.KeyNamed(strings.TrimSpace(key))
		return ok || ofProvider(key) || s.federates(strings.TrimSpace(key))
	}
	look := func(e entry) {
		_, body, open := strings.Cut(e.text, "${")
		body, _, closed := strings.Cut(body, "}")
		switch {
		case !open || !closed || !strings.Contains(body, ":"):
		case !c.variables():
			c.report(s, e.at, Error, VariableWithoutVersion, fmt.Sprintf("${%s} is literal text in a document without \"Version\": \"2012-10-17\"", body),
				`add "Version": "2012-10-17"`)
		case !known(body):
			prefix, _, _ := strings.Cut(body, ":")
			if _, table := catalog.Service(prefix); table || strings.EqualFold(prefix, "aws") {
				c.report(s, e.at, Warning, UnknownConditionKey, fmt.Sprintf("${%s} names no condition key, so it never has a value", body), "")
			}
		}
	}
	for _, e := range s.resources {
		look(e)
	}
	for i := range s.conditions {
		for _, e := range s.conditions[i].values {
			look(e)
		}
	}
}
