package authz

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The evaluator below is the second opinion: written for being read beside the
// User Guide, slow, on plain documents instead of compiled ones, sharing no
// code with the package. The test compares both on random cases.

type refDoc struct {
	Version   string `json:",omitempty"`
	Statement []refStmt
}

type refStmt struct {
	Effect       string
	Principal    map[string][]string            `json:",omitempty"`
	NotPrincipal map[string][]string            `json:",omitempty"`
	Action       []string                       `json:",omitempty"`
	NotAction    []string                       `json:",omitempty"`
	Resource     []string                       `json:",omitempty"`
	NotResource  []string                       `json:",omitempty"`
	Condition    map[string]map[string][]string `json:",omitempty"`
}

type refCase struct {
	p        Principal
	action   string
	resource string
	owner    string
	key      bool
	trust    bool
	grantID  string
	ctx      map[string][]string // lists of one are single-valued but for "x:set"
	ec       map[string]string
	ident    []refDoc
	res      *refDoc
	bound    []refDoc
	sess     []refDoc
	scp, rcp [][]refDoc
	grants   []Grant
}

type refEval struct{ cache map[string]*regexp.Regexp }

// glob matches with a regular expression; toks is pattern text in which a
// literal character follows a NUL.
func (r refEval) glob(toks, s string) bool {
	re := r.cache[toks]
	if re == nil {
		var b strings.Builder
		b.WriteString("(?s)^")
		for i := 0; i < len(toks); i++ {
			switch toks[i] {
			case 0:
				i++
				b.WriteString(regexp.QuoteMeta(toks[i : i+1]))
			case '*':
				b.WriteString(".*")
			case '?':
				b.WriteString(".")
			default:
				b.WriteString(regexp.QuoteMeta(toks[i : i+1]))
			}
		}
		b.WriteString("$")
		re = regexp.MustCompile(b.String())
		r.cache[toks] = re
	}
	return re.MatchString(s)
}

var refVar = regexp.MustCompile(`\$\{([^}]*)\}`)

// fill puts variables in; ok is false when one has no value.
func (c *refCase) fill(version, s string) (out string, ok bool) {
	if version != "2012-10-17" {
		return s, true
	}
	ok = true
	out = refVar.ReplaceAllStringFunc(s, func(m string) string {
		name := m[2 : len(m)-1]
		val := ""
		switch {
		case name == "*" || name == "?" || name == "$":
			val = name
		default:
			key, fallback, has := strings.Cut(name, ", ")
			v := c.ctx[strings.ToLower(key)]
			switch {
			case strings.ToLower(key) == "x:set" && len(v) > 0:
				ok = false
			case len(v) == 1:
				val = v[0]
			case has:
				val = strings.Trim(fallback, "'")
			default:
				ok = false
			}
		}
		var lit strings.Builder
		for _, ch := range []byte(val) {
			lit.WriteString("\x00" + string(ch))
		}
		return lit.String()
	})
	return out, ok
}

func unmark(s string) string { return strings.ReplaceAll(s, "\x00", "") }

func (r refEval) condition(c *refCase, version, op, key string, want []string) bool {
	set, op := "", op
	for _, s := range []string{"ForAllValues:", "ForAnyValue:"} {
		if strings.HasPrefix(op, s) {
			set, op = s, op[len(s):]
		}
	}
	ifExists := strings.HasSuffix(op, "IfExists")
	op = strings.TrimSuffix(op, "IfExists")
	got := c.ctx[strings.ToLower(key)]
	present := len(got) > 0
	if op == "Null" {
		return slices.Contains(want, "true") && !present || slices.Contains(want, "false") && present
	}
	negated := strings.Contains(op, "Not")
	if set != "" && len(got) == 1 && got[0] == "" {
		present = false
	}
	if !present {
		return ifExists || set == "ForAllValues:" || set == "" && negated
	}
	one := func(v string) bool {
		for _, w := range want {
			if r.compare(c, version, strings.Replace(op, "Not", "", 1), v, w) {
				return !negated
			}
		}
		return negated
	}
	switch set {
	case "ForAllValues:":
		for _, v := range got {
			if !one(v) {
				return false
			}
		}
		return true
	case "ForAnyValue:":
		return slices.ContainsFunc(got, one)
	}
	return strings.ToLower(key) != "x:set" && one(got[0])
}

func (r refEval) compare(c *refCase, version, op, v, w string) bool {
	switch {
	case strings.HasPrefix(op, "String") || strings.HasPrefix(op, "Arn") || op == "Bool":
		w, ok := c.fill(version, w)
		if !ok {
			return false
		}
		switch op {
		case "StringEquals":
			return v == unmark(w)
		case "StringEqualsIgnoreCase", "Bool":
			return strings.EqualFold(v, unmark(w))
		case "StringLike":
			return r.glob(w, v)
		default:
			ws, vs := strings.SplitN(strings.ReplaceAll(w, "\x00:", "\x01"), ":", 6), strings.SplitN(v, ":", 6)
			for i := range ws {
				if !r.glob(strings.ReplaceAll(ws[i], "\x01", "\x00:"), vs[i]) {
					return false
				}
			}
			return true
		}
	case strings.HasPrefix(op, "Numeric"):
		a, _ := new(big.Rat).SetString(v)
		b, _ := new(big.Rat).SetString(w)
		return refRelation(strings.TrimPrefix(op, "Numeric"), a.Cmp(b))
	case strings.HasPrefix(op, "Date"):
		return refRelation(strings.TrimPrefix(op, "Date"), refTime(v).Compare(refTime(w)))
	case op == "IpAddress":
		if !strings.Contains(w, "/") {
			return netip.MustParseAddr(v) == netip.MustParseAddr(w)
		}
		return netip.MustParsePrefix(w).Contains(netip.MustParseAddr(v))
	case op == "BinaryEquals":
		a, _ := base64.StdEncoding.DecodeString(v)
		b, _ := base64.StdEncoding.DecodeString(w)
		return bytes.Equal(a, b)
	}
	panic(op)
}

func refRelation(name string, cmp int) bool {
	return map[string]bool{
		"Equals": cmp == 0, "LessThan": cmp < 0, "LessThanEquals": cmp <= 0,
		"GreaterThan": cmp > 0, "GreaterThanEquals": cmp >= 0,
	}[name]
}

func refTime(s string) time.Time {
	var epoch int64
	if _, err := fmt.Sscanf(s, "%d", &epoch); err == nil && !strings.Contains(s, "-") {
		return time.Unix(epoch, 0)
	}
	for _, l := range []string{time.RFC3339, "2006-01-02"} {
		if t, err := time.Parse(l, s); err == nil {
			return t
		}
	}
	panic(s)
}

// applies: action, resource and conditions.
func (r refEval) applies(c *refCase, version string, s *refStmt) bool {
	action := func(list []string) bool {
		return slices.ContainsFunc(list, func(a string) bool { return r.glob(strings.ToLower(a), strings.ToLower(c.action)) })
	}
	if s.Action != nil && !action(s.Action) || s.NotAction != nil && action(s.NotAction) {
		return false
	}
	hit, lost := false, false
	for _, p := range append(slices.Clone(s.Resource), s.NotResource...) {
		p, ok := c.fill(version, p)
		lost = lost || !ok
		hit = hit || ok && r.glob(p, c.resource)
	}
	if s.Resource != nil && !hit || s.NotResource != nil && (hit || lost) {
		return false
	}
	for op, keys := range s.Condition {
		for key, want := range keys {
			if !r.condition(c, version, op, key, want) {
				return false
			}
		}
	}
	return true
}

// forms lists how a Principal element names the caller.
func refForms(p *Principal, el map[string][]string) (forms []string) {
	for typ, values := range el {
		for _, v := range values {
			switch {
			case v == "*":
				forms = append(forms, "everybody")
			case typ == "Service" && p.Type == Service && (v == p.Service || slices.Contains(p.ServiceNames, v)):
				forms = append(forms, "service")
			case typ == "Federated" && p.Type == Federated && v == p.ARN:
				forms = append(forms, "provider")
			case p.Type == Service || p.Type == Anonymous || p.Type == Federated:
			case v == p.Account || v == "arn:aws:iam::"+p.Account+":root":
				forms = append(forms, "account")
			case p.Type == User && (v == p.ARN || v == p.UserID):
				forms = append(forms, "user")
			case p.Type == FederatedUser && v == p.ARN:
				forms = append(forms, "federated")
			case p.Type == FederatedUser && (v == p.UserARN || v == p.UserID):
				forms = append(forms, "userOfFederated")
			case p.Type == AssumedRole && v == p.ARN:
				forms = append(forms, "session")
			case p.Type == AssumedRole && (v == p.RoleARN || v == p.RoleID):
				forms = append(forms, "role")
			}
		}
	}
	return forms
}

func (c *refCase) principal(s *refStmt) []string {
	if s.Principal != nil {
		return refForms(&c.p, s.Principal)
	}
	forms := refForms(&c.p, s.NotPrincipal)
	if s.Effect == "Allow" {
		if len(forms) == 0 {
			return []string{"everybody"}
		}
		return nil
	}
	person := c.p.Type == User || c.p.Type == AssumedRole || c.p.Type == FederatedUser
	if person && len(c.bound) > 0 {
		return []string{"everybody"}
	}
	account := slices.Contains(forms, "account")
	own := slices.ContainsFunc(forms, func(f string) bool { return f != "account" })
	switch {
	case slices.Contains(forms, "everybody"),
		person && account && own,
		c.p.Type == Root && account,
		(c.p.Type == Service || c.p.Type == Federated) && own:
		return nil
	}
	return []string{"everybody"}
}

// layer returns whether a set of documents denies, and whether it allows.
func (r refEval) layer(c *refCase, docs []refDoc) (deny, allow bool) {
	for i := range docs {
		for j := range docs[i].Statement {
			s := &docs[i].Statement[j]
			if r.applies(c, docs[i].Version, s) {
				deny, allow = deny || s.Effect == "Deny", allow || s.Effect == "Allow"
			}
		}
	}
	return deny, allow
}

func (r refEval) decide(c *refCase) Effect {
	identDeny, ident := r.layer(c, c.ident)
	boundDeny, bound := r.layer(c, c.bound)
	sessDeny, sess := r.layer(c, c.sess)
	bound = bound || len(c.bound) == 0
	sess = sess || len(c.sess) == 0 && c.p.Type != FederatedUser
	denied := identDeny || boundDeny || sessDeny
	slr := c.p.Type == AssumedRole && strings.Contains(c.p.RoleARN, ":role/aws-service-role/")
	hasAccount := c.p.Type != Service && c.p.Type != Anonymous && c.p.Type != Federated

	var forms []string
	if c.res != nil {
		for i := range c.res.Statement {
			s := &c.res.Statement[i]
			f := c.principal(s)
			if len(f) == 0 || !r.applies(c, c.res.Version, s) {
				continue
			}
			if s.Effect == "Deny" {
				denied = true
			} else {
				forms = append(forms, f...)
			}
		}
	}
	controls := true
	if hasAccount && !slr {
		for _, level := range c.scp {
			d, a := r.layer(c, level)
			denied, controls = denied || d, controls && a
		}
	}
	if !slr {
		for _, level := range c.rcp {
			d, a := r.layer(c, level) // their principal is everybody
			denied, controls = denied || d, controls && a
		}
	}
	if denied {
		return ExplicitlyDenied
	}
	if !controls {
		return ImplicitlyDenied
	}
	if c.p.Type == Root {
		ident = true
	}
	grantSelf, grantAccount := false, false
	if c.key {
		for _, g := range c.grants {
			if !refGrant(c, &g) || c.grantID != "" && g.ID != c.grantID {
				continue
			}
			if g.GranteeIsService {
				if g.Account != "" && (len(c.ctx["aws:sourceaccount"]) == 0 || c.ctx["aws:sourceaccount"][0] != g.Account) {
					continue
				}
				grantSelf = grantSelf || c.p.Type == Service && (g.Grantee == c.p.Service || slices.Contains(c.p.ServiceNames, g.Grantee))
				continue
			}
			if g.GranteeID != "" && g.GranteeID != c.p.UserID && g.GranteeID != c.p.RoleID {
				continue
			}
			f := refForms(&c.p, map[string][]string{"AWS": {g.Grantee}})
			grantAccount = grantAccount || slices.Contains(f, "account")
			grantSelf = grantSelf || len(f) > 0 && f[0] != "account"
		}
	}
	ok := false
	switch {
	case c.p.Type == Service && c.grantID != "":
		ok = grantSelf
	case !hasAccount:
		ok = len(forms) > 0 || grantSelf
	case c.p.Account == c.owner:
		for _, f := range forms {
			switch f {
			case "everybody", "user", "session", "federated":
				ok = true
			case "role", "userOfFederated":
				ok = ok || bound && sess
			case "account":
				ok = ok || ident && bound && sess
			}
		}
		ok = ok || !c.key && !c.trust && ident && bound && sess
		ok = ok || grantAccount && ident && bound && sess || grantSelf && bound && sess
	default:
		ok = len(forms) > 0 && ident && bound && sess
		ok = ok || grantAccount && ident && bound && sess || grantSelf && bound && sess
	}
	if ok {
		return Allowed
	}
	return ImplicitlyDenied
}

func refGrant(c *refCase, g *Grant) bool {
	op := strings.TrimPrefix(c.action, "kms:")
	if !slices.Contains(g.Operations, op) {
		return false
	}
	if g.Constraints.SourceARN != "" && op != "RetireGrant" && (len(c.ctx["aws:sourcearn"]) == 0 || c.ctx["aws:sourcearn"][0] != g.Constraints.SourceARN) {
		return false
	}
	if op == "RetireGrant" || op == "DescribeKey" {
		return true
	}
	if eq := g.Constraints.EncryptionContextEquals; eq != nil && fmt.Sprint(eq) != fmt.Sprint(c.ec) {
		return false
	}
	for k, v := range g.Constraints.EncryptionContextSubset {
		if c.ec[k] != v {
			return false
		}
	}
	return true
}

// --- random cases ---

type refGen struct{ *rand.Rand }

func pick[T any](g refGen, list ...T) T { return list[g.IntN(len(list))] }

func some[T any](g refGen, list ...T) []T {
	out := []T{pick(g, list...)}
	for g.IntN(3) == 0 {
		out = append(out, pick(g, list...))
	}
	return out
}

const (
	accA     = "111122223333"
	accB     = "444455556666"
	keyARN   = "arn:aws:kms:us-west-2:111122223333:key/1234abcd"
	objARN   = "arn:aws:s3:::b/ann/x1z"
	userAnn  = "arn:aws:iam::111122223333:user/ann"
	roleR    = "arn:aws:iam::111122223333:role/svc/R"
	sessR    = "arn:aws:sts::111122223333:assumed-role/R/s1"
	provider = "arn:aws:iam::111122223333:oidc-provider/idp.example.com"
	geo      = "sagemaker-geospatial.us-west-2.amazonaws.com"
)

var refPrincipals = []Principal{
	{Type: Root, ARN: "arn:aws:iam::111122223333:root", Account: accA},
	{Type: User, ARN: userAnn, Account: accA, UserID: "AIDAANNANNANNANNANN1"},
	{Type: AssumedRole, ARN: sessR, RoleARN: roleR, Account: accA, RoleID: "AROARRRRRRRRRRRRRRR1"},
	{Type: AssumedRole, ARN: "arn:aws:sts::111122223333:assumed-role/Linked/s", RoleARN: "arn:aws:iam::111122223333:role/aws-service-role/x/Linked", Account: accA, RoleID: "AROALINKEDLINKEDLINK"},
	{Type: FederatedUser, ARN: "arn:aws:sts::111122223333:federated-user/fed", UserARN: userAnn, Account: accA, UserID: "AIDAANNANNANNANNANN1"},
	{Type: Service, Service: geo, ServiceNames: []string{"sagemaker-geospatial.amazonaws.com"}},
	{Type: Anonymous},
	{Type: User, ARN: "arn:aws:iam::444455556666:user/bob", Account: accB, UserID: "AIDABOBBOBBOBBOBBOB1"},
	{Type: AssumedRole, ARN: "arn:aws:sts::444455556666:assumed-role/Q/s", RoleARN: "arn:aws:iam::444455556666:role/Q", Account: accB, RoleID: "AROAQQQQQQQQQQQQQQQ1"},
	{Type: Root, ARN: "arn:aws:iam::444455556666:root", Account: accB},
	{Type: Federated, ARN: provider},
}

func (g refGen) condition() (op, key string, values []string) {
	switch g.IntN(9) {
	case 0:
		return pick(g, "StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike"),
			pick(g, "aws:username", "AWS:UserName", "x:name"), some(g, "ann", "ANN", "a*", "?nn", "${aws:username}", "${x:name}", "${x:name, 'ann'}", "${*}nn", "${x:set}")
	case 1:
		return pick(g, "NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals"),
			"x:num", some(g, "10", "10.0", "9.5", "-3", "100", "0")
	case 2:
		return pick(g, "DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals"),
			"aws:CurrentTime", some(g, "2026-01-01T00:00:00Z", "1767225600", "2026-01-01", "2025-06-30T12:00:00+02:00")
	case 3:
		return "Bool", "aws:SecureTransport", some(g, "true", "false")
	case 4:
		return pick(g, "IpAddress", "NotIpAddress"), "aws:SourceIp", some(g, "10.0.0.0/8", "10.1.2.3", "0.0.0.0/0", "2001:db8::/32", "::/0")
	case 5:
		return pick(g, "ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"), "aws:SourceArn",
			some(g, "arn:aws:sagemaker:*:111122223333:*", "arn:aws:s3:::b", "arn:*:*:*:*:feature-group/?", "arn:aws:sagemaker:us-west-2:${x:name}:feature-group/g", "arn:aws:s*:::b")
	case 6:
		return "Null", pick(g, "aws:username", "x:num", "x:set"), []string{pick(g, "true", "false")}
	case 7:
		return "BinaryEquals", "x:bin", some(g, "AAEC", "AAED")
	default:
		return pick(g, "StringEquals", "StringNotEquals", "StringLike", "StringNotLike"), pick(g, "x:set", "x:set", "aws:username"), some(g, "a", "b", "ann", "c*")
	}
}

func (g refGen) doc(kind Kind) refDoc {
	resourceSide, rcp, trust := kind == ResourcePolicy || kind == KeyPolicy || kind == TrustPolicy, kind == RCP, kind == TrustPolicy
	d := refDoc{Version: pick(g, "2012-10-17", "2012-10-17", "2008-10-17", "")}
	for range 1 + g.IntN(3) {
		s := refStmt{Effect: pick(g, "Allow", "Allow", "Allow", "Deny")}
		principals := map[string][]string{"AWS": some(g, "*", accA, "arn:aws:iam::111122223333:root", userAnn, roleR, sessR,
			"arn:aws:sts::111122223333:federated-user/fed", "AIDAANNANNANNANNANN1", "AROARRRRRRRRRRRRRRR1", accB, "arn:aws:iam::444455556666:user/bob", "arn:aws:iam::444455556666:role/Q")}
		if g.IntN(4) == 0 {
			principals["Service"] = some(g, geo, "sagemaker-geospatial.amazonaws.com", "s3.amazonaws.com")
		}
		if trust && g.IntN(3) == 0 {
			principals["Federated"] = some(g, provider, "accounts.google.com")
		}
		switch {
		case rcp:
			s.Principal = map[string][]string{"AWS": {"*"}}
		case resourceSide && g.IntN(6) == 0:
			s.NotPrincipal = principals
		case resourceSide:
			s.Principal = principals
		}
		actions := some(g, "*", "kms:*", "KMS:dec*", "kms:Decrypt", "kms:DescribeKey", "s3:Get?bject", "s3:*", "*:*", "sts:*")
		if trust {
			actions = some(g, "sts:*", "STS:assume*", "sts:AssumeRole", "sts:AssumeRoleWithWebIdentity", "sts:TagSession")
		}
		if g.IntN(6) == 0 {
			s.NotAction = actions
		} else {
			s.Action = actions
		}
		resources := some(g, "*", "*", keyARN, objARN, "arn:aws:kms:*:111122223333:key/*", "arn:aws:s3:::b/*", "arn:aws:s3:::b/${aws:username}/x?z", "arn:aws:s3:::b/${x:name, 'ann'}/*", "arn:aws:s3:::${*}/*")
		switch {
		case trust:
		case g.IntN(6) == 0:
			s.NotResource = resources
		default:
			s.Resource = resources
		}
		for g.IntN(5) < 2 {
			op, key, values := g.condition()
			if op != "Null" {
				op = pick(g, "", "", "", "ForAllValues:", "ForAnyValue:") + op + pick(g, "", "", "", "IfExists")
			}
			s.Condition = map[string]map[string][]string{op: {key: values}}
		}
		d.Statement = append(d.Statement, s)
	}
	return d
}

func (g refGen) context() map[string][]string {
	ctx := map[string][]string{}
	set := func(key string, values ...string) {
		if v := pick(g, append(values, "")...); v != "" {
			ctx[key] = []string{v}
		}
	}
	set("aws:username", "ann", "ANN", "bob", "a*")
	set("x:name", "ann", "111122223333", "true", "x:*")
	set("x:num", "10", "9.50", "-4", "1e2")
	set("aws:currenttime", "2026-01-01T00:00:00Z", "1767225599", "2025-06-30T10:00:00Z", "2027-01-01T00:00:00Z")
	set("aws:securetransport", "true", "false", "TRUE")
	set("aws:sourceip", "10.1.2.3", "192.0.2.1", "2001:db8::1")
	set("aws:sourcearn", "arn:aws:sagemaker:us-west-2:111122223333:feature-group/g", "arn:aws:s3:::b", "arn:aws:s3:::b:c")
	set("aws:sourceaccount", accA, accB)
	set("x:bin", "AAEC", "AAE=")
	if g.IntN(2) == 0 {
		ctx["x:set"] = pick(g, []string{"a"}, []string{"a", "b"}, []string{"c1", "z"}, []string{})
	}
	return ctx
}

type pooled struct {
	ref refDoc
	pol *Policy
}

func newPool(t testing.TB, g refGen, kind Kind, n int) []pooled {
	pool := make([]pooled, n)
	for i := range pool {
		pool[i].ref = g.doc(kind)
		doc, err := json.Marshal(pool[i].ref)
		if err != nil {
			t.Fatal(err)
		}
		if pool[i].pol, err = ParseStored(kind, doc); err != nil {
			t.Fatalf("ParseStored(%s): %v", doc, err)
		}
	}
	return pool
}

type pools struct{ ident, res, key, trust, scp, rcp []pooled }

func (g refGen) docs(pool []pooled, ref *[]refDoc, pol *[]*Policy, most int) {
	for range g.IntN(most + 1) {
		d := pick(g, pool...)
		*ref, *pol = append(*ref, d.ref), append(*pol, d.pol)
	}
}

// newCase makes a case in both forms.
func (g refGen) newCase(ps *pools) (*refCase, *Request, *Policies) {
	c := &refCase{p: pick(g, refPrincipals...), ctx: g.context(), owner: accA}
	c.key = g.IntN(2) == 0
	c.trust = !c.key && g.IntN(4) == 0
	c.resource, c.action = objARN, pick(g, "s3:GetObject", "s3:PutObject")
	if c.key {
		c.resource, c.action = keyARN, pick(g, "kms:Decrypt", "kms:Decrypt", "kms:DescribeKey", "kms:RetireGrant")
	}
	if c.trust {
		c.resource, c.action = "arn:aws:iam::111122223333:role/T", pick(g, "sts:AssumeRole", "sts:AssumeRoleWithWebIdentity")
	}
	if g.IntN(8) == 0 {
		c.owner = accB
	}
	c.ec = pick(g, nil, map[string]string{"a": "1"}, map[string]string{"a": "1", "b": "2"})
	pols := &Policies{}
	g.docs(ps.ident, &c.ident, &pols.Identity, 3)
	if g.IntN(3) > 0 {
		d := pick(g, ps.res...)
		switch {
		case c.key:
			d = pick(g, ps.key...)
		case c.trust:
			d = pick(g, ps.trust...)
		}
		c.res, pols.Resource = &d.ref, d.pol
	}
	if g.IntN(3) == 0 {
		g.docs(ps.ident, &c.bound, &pols.Boundary, 1)
	}
	if g.IntN(3) == 0 {
		g.docs(ps.ident, &c.sess, &pols.Session, 2)
	}
	for range g.IntN(5) / 3 {
		var ref []refDoc
		var pol []*Policy
		g.docs(ps.scp, &ref, &pol, 3)
		c.scp, pols.SCP = append(c.scp, ref), append(pols.SCP, pol)
	}
	for range g.IntN(5) / 4 {
		var ref []refDoc
		var pol []*Policy
		g.docs(ps.rcp, &ref, &pol, 3)
		c.rcp, pols.RCP = append(c.rcp, ref), append(pols.RCP, pol)
	}
	for range g.IntN(4) / 2 {
		gr := Grant{ID: pick(g, "g", "h"), Operations: some(g, "Decrypt", "DescribeKey", "RetireGrant", "Encrypt")}
		gr.Grantee = pick(g, userAnn, roleR, sessR, "arn:aws:iam::111122223333:root", geo, "arn:aws:iam::444455556666:role/Q", "arn:aws:iam::444455556666:root")
		gr.GranteeIsService = gr.Grantee == geo
		gr.GranteeID = pick(g, "", "", "", "AIDAANNANNANNANNANN1", "AROARRRRRRRRRRRRRRR1", "AROAQQQQQQQQQQQQQQQ1")
		if gr.Grantee == geo || strings.HasSuffix(gr.Grantee, ":root") {
			gr.GranteeID = ""
		}
		if gr.Grantee == geo {
			gr.Account = pick(g, "", accA)
		}
		switch g.IntN(5) {
		case 0:
			gr.Constraints.EncryptionContextEquals = map[string]string{"a": "1"}
		case 1:
			gr.Constraints.EncryptionContextSubset = map[string]string{"b": "2"}
		case 2:
			gr.Constraints.SourceARN = "arn:aws:s3:::b"
		}
		c.grants = append(c.grants, gr)
	}
	c.grantID = pick(g, "", "", "", "g")
	req := &Request{
		Principal: c.p, Action: c.action, Resource: c.resource, ResourceAccount: c.owner, Context: NewContext(), KMSKey: c.key, Trust: c.trust,
		EncryptionContext: c.ec, GrantID: c.grantID,
	}
	for k, v := range c.ctx {
		if k == "x:set" {
			req.Context.SetMulti(k, v...)
		} else {
			req.Context.Set(k, v[0])
		}
	}
	return c, req, pols
}

func newPools(t testing.TB, g refGen) *pools {
	return &pools{
		ident: newPool(t, g, IdentityPolicy, 600), res: newPool(t, g, ResourcePolicy, 600), key: newPool(t, g, KeyPolicy, 600),
		trust: newPool(t, g, TrustPolicy, 300),
		scp:   newPool(t, g, SCP, 200), rcp: newPool(t, g, RCP, 200),
	}
}

func TestAgainstReferenceEvaluator(t *testing.T) {
	t.Parallel()
	for shard := range uint64(4) {
		t.Run(fmt.Sprint("shard ", shard), func(t *testing.T) {
			t.Parallel()
			compareWithReference(t, refGen{rand.New(rand.NewPCG(1, shard))}, 26_000)
		})
	}
}

func compareWithReference(t *testing.T, g refGen, cases int) {
	t.Helper()
	ps := newPools(t, g)
	ref := refEval{cache: map[string]*regexp.Regexp{}}
	seen := map[Effect]int{}
	for i := range cases {
		c, req, pols := g.newCase(ps)
		got, want := Decide(req, pols, c.grants), ref.decide(c)
		if got.Effect != want {
			t.Fatalf("case %d: Decide = %+v, reference says %v\nrequest %+v\npolicies %s", i, got, want, req, showPolicies(pols, c.grants))
		}
		seen[want]++
	}
	for _, e := range []Effect{Allowed, ImplicitlyDenied, ExplicitlyDenied} {
		if seen[e] < cases/20 {
			t.Errorf("only %d cases are %v: the generator is lopsided", seen[e], e)
		}
	}
}

func showPolicies(pols *Policies, grants []Grant) string {
	var b strings.Builder
	show := func(name string, ps ...*Policy) {
		for _, p := range ps {
			if p != nil {
				fmt.Fprintf(&b, "\n  %s %s", name, p.JSON())
			}
		}
	}
	show("identity", pols.Identity...)
	show("resource", pols.Resource)
	show("boundary", pols.Boundary...)
	show("session", pols.Session...)
	for _, l := range pols.SCP {
		show("scp", l...)
	}
	for _, l := range pols.RCP {
		show("rcp", l...)
	}
	fmt.Fprintf(&b, "\n  grants %+v", grants)
	return b.String()
}

// TestMonotone: a further Deny never lets more through, a further Allow never
// less, and what passes does so by an Allow or a grant.
func TestMonotone(t *testing.T) {
	t.Parallel()
	g := refGen{rand.New(rand.NewPCG(3, 4))}
	ps := newPools(t, g)
	with := func(p *Policy, more *Policy, deny bool) *Policy {
		n := *p
		for _, s := range more.statements {
			if s.deny == deny {
				n.statements = append(slices.Clone(n.statements), s)
			}
		}
		return &n
	}
	for i := range 20_000 {
		c, req, pols := g.newCase(ps)
		before := Decide(req, pols, c.grants)
		for _, deny := range []bool{true, false} {
			more := *pols
			switch g.IntN(5) {
			case 0:
				more.Identity = append(slices.Clone(pols.Identity), with(&Policy{kind: IdentityPolicy}, pick(g, ps.ident...).pol, deny))
			case 1:
				if pols.Resource != nil {
					more.Resource = with(pols.Resource, pick(g, ps.key...).pol, deny)
				}
			case 2:
				if len(pols.Boundary) > 0 {
					more.Boundary = []*Policy{with(pols.Boundary[0], pick(g, ps.ident...).pol, deny)}
				}
			case 3:
				if len(pols.SCP) > 0 {
					more.SCP = slices.Clone(pols.SCP)
					more.SCP[0] = append(slices.Clone(pols.SCP[0]), with(&Policy{kind: SCP}, pick(g, ps.scp...).pol, deny))
				}
			case 4:
				if len(pols.Session) > 0 {
					more.Session = append(slices.Clone(pols.Session), with(&Policy{kind: SessionPolicy}, pick(g, ps.ident...).pol, deny))
				}
			}
			after := Decide(req, &more, c.grants)
			if deny && before.Effect != Allowed && after.Effect == Allowed {
				t.Fatalf("case %d: a Deny turned %+v into %+v", i, before, after)
			}
			if !deny && before.Effect == Allowed && after.Effect != Allowed {
				t.Fatalf("case %d: an Allow turned %+v into %+v%s", i, before, after, showPolicies(&more, c.grants))
			}
		}
		if before.Effect == Allowed && before.Layer == LayerNone && req.Principal.Type != Root {
			t.Fatalf("case %d: allowed by nothing: %+v", i, before)
		}
		none := Decide(req, &Policies{Boundary: pols.Boundary, Session: pols.Session, SCP: pols.SCP, RCP: pols.RCP}, nil)
		if none.Effect == Allowed && (req.Principal.Type != Root || req.Principal.Account != req.ResourceAccount || req.KMSKey || req.Trust) {
			t.Fatalf("case %d: allowed without an identity policy, a resource policy and a grant: %+v", i, none)
		}
	}
}
