package authz

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

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

// TestPrintedPolicies: a policy that is printed and read again is printed the
// same, and decides the same.
func TestPrintedPolicies(t *testing.T) {
	t.Parallel()
	g := refGen{rand.New(rand.NewPCG(15, 16))}
	ps := newPools(t, g)
	again := func(kind Kind, list []*Policy) []*Policy {
		out := make([]*Policy, len(list))
		for i, p := range list {
			q, err := ParseStored(kind, p.JSON())
			if err != nil || !bytes.Equal(q.JSON(), p.JSON()) {
				t.Fatalf("printed %s, then %s, %v", p.JSON(), q.JSON(), err)
			}
			out[i] = q
		}
		return out
	}
	for i := range 2_000 {
		c, req, pols := g.newCase(ps)
		read := &Policies{Identity: again(IdentityPolicy, pols.Identity), Boundary: again(BoundaryPolicy, pols.Boundary), Session: again(SessionPolicy, pols.Session)}
		for _, level := range pols.SCP {
			read.SCP = append(read.SCP, again(SCP, level))
		}
		for _, level := range pols.RCP {
			read.RCP = append(read.RCP, again(RCP, level))
		}
		if pols.Resource != nil {
			read.Resource = again(pols.Resource.kind, []*Policy{pols.Resource})[0]
		}
		if x, y := Decide(req, pols, c.grants), Decide(req, read, c.grants); x != y {
			t.Fatalf("case %d: %+v, printed %+v", i, x, y)
		}
	}
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
			switch g.IntN(6) {
			case 0:
				more.Identity = append(slices.Clone(pols.Identity), with(&Policy{kind: IdentityPolicy}, pick(g, ps.ident...).pol, deny))
			case 1:
				pool := ps.res
				if req.KMSKey {
					pool = ps.key
				} else if req.Trust {
					pool = ps.trust
				}
				before := pols.Resource
				if before == nil {
					before = &Policy{kind: kindIn(req, pols, LayerResource)}
				}
				more.Resource = with(before, pick(g, pool...).pol, deny)
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
			case 5:
				if len(pols.RCP) > 0 {
					more.RCP = slices.Clone(pols.RCP)
					more.RCP[0] = append(slices.Clone(pols.RCP[0]), with(&Policy{kind: RCP}, pick(g, ps.rcp...).pol, deny))
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
