package authz

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strings"
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
