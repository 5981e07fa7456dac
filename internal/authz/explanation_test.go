package authz

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// explained is a case whose policies have names, so that changes can be made to
// the documents they name.
type explained struct {
	c    *refCase
	req  *Request
	bad  map[string]bool // names of policies that cannot be read
	pols *Policies
}

// docs returns the documents of a layer by the names of its policies.
func (e *explained) docs(layer string, level int) []*refDoc {
	list := map[string]*[]refDoc{LayerIdentity: &e.c.ident, LayerBoundary: &e.c.bound, LayerSession: &e.c.sess}[layer]
	switch layer {
	case LayerResource:
		if e.c.res == nil {
			return nil
		}
		return []*refDoc{e.c.res}
	case LayerSCP:
		list = &e.c.scp[level]
	case LayerRCP:
		list = &e.c.rcp[level]
	}
	out := make([]*refDoc, len(*list))
	for i := range *list {
		out[i] = &(*list)[i]
	}
	return out
}

// compile parses the document at a site again.
func (e *explained) compile(t *testing.T, at site) *Policy {
	t.Helper()
	name := fmt.Sprintf("%s/%d/%d", at.layer, at.level, at.index)
	if e.bad[name] {
		return Unreadable(name)
	}
	b, err := json.Marshal(e.docs(at.layer, at.level)[at.index])
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParseStored(kindIn(e.req, &Policies{}, at.layer), b)
	if err != nil {
		t.Fatalf("ParseStored(%s): %v", b, err)
	}
	p.Name = name
	return p
}

// name gives the policies of the case names, and puts the unreadable ones in.
func (e *explained) name(pols *Policies) {
	n := *pols
	e.pols = &n
	each := func(layer string, level int, list []*Policy) []*Policy {
		list = slices.Clone(list)
		for i := range list {
			p := *list[i]
			if p.Name = fmt.Sprintf("%s/%d/%d", layer, level, i); e.bad[p.Name] {
				p = *Unreadable(p.Name)
			}
			list[i] = &p
		}
		return list
	}
	n.Identity, n.Boundary, n.Session = each(LayerIdentity, 0, n.Identity), each(LayerBoundary, 0, n.Boundary), each(LayerSession, 0, n.Session)
	n.SCP, n.RCP = slices.Clone(n.SCP), slices.Clone(n.RCP)
	for i := range n.SCP {
		n.SCP[i] = each(LayerSCP, i, n.SCP[i])
	}
	for i := range n.RCP {
		n.RCP[i] = each(LayerRCP, i, n.RCP[i])
	}
	if n.Resource != nil {
		n.Resource = each(LayerResource, 0, []*Policy{n.Resource})[0]
	}
}

// unreadable lists the names of policies that cannot be read.
func (e *explained) unreadable() (names []string) {
	all := slices.Concat(e.pols.Identity, e.pols.Boundary, e.pols.Session, slices.Concat(e.pols.SCP...), slices.Concat(e.pols.RCP...))
	if e.pols.Resource != nil {
		all = append(all, e.pols.Resource)
	}
	for _, p := range all {
		if p.unreadable {
			names = append(names, p.Name)
		}
	}
	return names
}

// after returns the case as it is after the changes.
func (e *explained) after(t *testing.T, changes []Change) *explained {
	t.Helper()
	c := *e.c
	n := &explained{c: &c, req: e.req, bad: map[string]bool{}}
	n.pols, _ = amend(e.req, e.pols, nil, nil) // a copy
	changed := map[site]bool{}
	for name := range e.bad {
		n.bad[name] = true
	}
	cut := func(list []refDoc) []refDoc {
		list = slices.Clone(list)
		for i := range list {
			list[i].Statement = slices.Clone(list[i].Statement)
		}
		return list
	}
	c.ident, c.bound, c.sess = cut(c.ident), cut(c.bound), cut(c.sess)
	c.scp, c.rcp, c.grants = slices.Clone(c.scp), slices.Clone(c.rcp), slices.Clone(c.grants)
	for i := range c.scp {
		c.scp[i] = cut(c.scp[i])
	}
	for i := range c.rcp {
		c.rcp[i] = cut(c.rcp[i])
	}
	if c.res != nil {
		c.res = &cut([]refDoc{*c.res})[0]
	}
	gone := map[*refDoc][]int{}
	for _, ch := range changes {
		switch {
		case ch.Layer == LayerGrant:
			var add struct {
				GranteePrincipal string
				Operations       []string
			}
			if err := json.Unmarshal(ch.Add, &add); err != nil {
				t.Fatal(err)
			}
			c.grants = append(c.grants, Grant{ID: e.req.GrantID, Grantee: add.GranteePrincipal, GranteeIsService: true, Operations: add.Operations})
		case ch.Add == nil:
			var layer string
			var level, i int
			if _, err := fmt.Sscanf(strings.ReplaceAll(ch.Policy, "/", " "), "%s %d %d", &layer, &level, &i); err != nil || layer != ch.Layer || ch.Level > 0 && ch.Level != level+1 {
				t.Fatalf("change %+v: %v", ch, err)
			}
			doc := n.docs(layer, level)[i]
			changed[site{layer: layer, level: level, index: i}] = true
			if ch.Statement == "" {
				if !n.bad[ch.Policy] {
					t.Fatalf("change %+v of a policy that can be read", ch)
				}
				delete(n.bad, ch.Policy)
				*doc = refDoc{Version: "2012-10-17", Statement: []refStmt{}}
				continue
			}
			var index int
			if _, err := fmt.Sscan(ch.Statement, &index); err != nil || !ch.StatementIsIndex || doc.Statement[index].Effect != "Deny" {
				t.Fatalf("change %+v of %+v", ch, doc)
			}
			gone[doc] = append(gone[doc], index)
		}
	}
	for doc, indexes := range gone {
		slices.Sort(indexes)
		for _, i := range slices.Backward(indexes) {
			doc.Statement = slices.Delete(doc.Statement, i, i+1)
		}
	}
	for _, ch := range changes {
		if ch.Add != nil && ch.Layer != LayerGrant {
			changed[n.add(t, ch)] = true
		}
	}
	for at := range changed {
		p, list := n.compile(t, at), n.pols.layer(at)
		switch {
		case list == nil:
			n.pols.Resource = p
		case at.index == len(*list):
			*list = append(*list, p)
		default:
			(*list)[at.index] = p
		}
	}
	return n
}

// add puts the statement of a change into a document of its layer.
func (e *explained) add(t *testing.T, ch Change) site {
	t.Helper()
	if len(ch.Add) == 0 || !json.Valid(ch.Add) {
		t.Fatalf("change adds %s", ch.Add)
	}
	if _, err := Parse(kindIn(e.req, &Policies{}, ch.Layer), Document(ch.Add)); err != nil {
		t.Fatalf("%s cannot be saved: %v", Document(ch.Add), err)
	}
	var elements map[string]any
	if err := json.Unmarshal(ch.Add, &elements); err != nil {
		t.Fatal(err)
	}
	list := func(v any) []string {
		if v == nil {
			return nil
		}
		return []string{v.(string)}
	}
	s := refStmt{Effect: elements["Effect"].(string), Action: list(elements["Action"]), Resource: list(elements["Resource"])}
	switch p := elements["Principal"].(type) {
	case string:
		s.Principal = map[string][]string{"AWS": {p}}
	case map[string]any:
		s.Principal = map[string][]string{}
		for typ, v := range p {
			s.Principal[typ] = list(v)
		}
	}
	doc := refDoc{Version: "2012-10-17", Statement: []refStmt{s}}
	at := site{layer: ch.Layer, level: max(ch.Level-1, 0)}
	add := func(list *[]refDoc) {
		at.index = len(*list)
		*list = append(*list, doc)
	}
	switch ch.Layer {
	case LayerIdentity:
		add(&e.c.ident)
	case LayerBoundary:
		add(&e.c.bound)
	case LayerSession:
		add(&e.c.sess)
	case LayerSCP:
		add(&e.c.scp[at.level])
	case LayerRCP:
		add(&e.c.rcp[at.level])
	case LayerResource:
		if e.c.res == nil {
			e.c.res = &refDoc{Version: "2012-10-17"}
		}
		e.c.res.Statement = append(e.c.res.Statement, s)
	default:
		t.Fatalf("change in layer %q", ch.Layer)
	}
	return at
}

// TestChangesAllow: making the changes to the documents allows the request, in
// the opinion of the second evaluator too, and leaving any one out does not.
func TestChangesAllow(t *testing.T) {
	t.Parallel()
	for shard := range uint64(2) {
		t.Run(fmt.Sprint("shard ", shard), func(t *testing.T) {
			t.Parallel()
			checkChanges(t, refGen{rand.New(rand.NewPCG(5, shard))}, 10_500/raceShare)
		})
	}
}

func checkChanges(t *testing.T, g refGen, cases int) {
	t.Helper()
	ps := newPools(t, g)
	ref := refEval{cache: map[string]*regexp.Regexp{}}
	kinds := map[string]int{}
	for done := 0; done < cases; {
		c, req, pols := g.newCase(ps)
		if !c.key && !c.trust && g.IntN(3) == 0 {
			c.resource = pick(g, `arn:aws:s3:::b/ann/x*z`, `arn:aws:s3:::b/a?${aws:username}$`, `arn:aws:s3:::b/"\é<${`, "*", "name", "arn:aws:s3:::b/\xff")
			req.Resource = c.resource
			if c.res != nil { // a statement with escapes needs a document of the new version
				c.res = &refDoc{Version: "2012-10-17", Statement: c.res.Statement}
				n := *pols
				n.Resource = (&explained{c: c, req: req}).compile(t, site{layer: LayerResource})
				pols = &n
			}
		}
		e := &explained{c: c, req: req, bad: map[string]bool{}}
		if g.IntN(12) == 0 {
			e.bad[pick(g, "identity/0/0", "boundary/0/0", "session/0/0", "scp/0/0", "rcp/0/0", "resource/0/0")] = true
		}
		e.name(pols)
		if len(e.unreadable()) == 0 {
			clear(e.bad) // the policy is not there
		}
		d := Decide(req, e.pols, c.grants)
		x := Explain(req, e.pols, c.grants, d)
		if d.Effect == Allowed {
			if len(x.Facts)+len(x.Changes) > 0 {
				t.Fatalf("an allowed request is explained by %+v", x)
			}
			continue
		}
		done++
		fail := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("%s\ndecision %+v\nrequest %+v\npolicies %s\nchanges %s", fmt.Sprintf(format, args...), d, req, showPolicies(e.pols, c.grants), showChanges(x.Changes))
		}
		if len(x.Facts) > maxFacts || d.Effect == ExplicitlyDenied && len(x.Facts) > 0 {
			fail("facts %+v", x.Facts)
		}
		if len(x.Changes) == 0 {
			if req.GrantID == "" || c.key && grantable(strings.TrimPrefix(req.Action, "kms:")) {
				fail("no changes")
			}
			kinds["none"]++
			continue
		}
		after := e.after(t, x.Changes)
		if got := Decide(req, after.pols, after.c.grants); got.Effect != Allowed {
			fail("after the changes: %+v %s", got, showPolicies(after.pols, after.c.grants))
		}
		if want := ref.decide(after.c); len(after.bad) == 0 && want != Allowed {
			fail("after the changes the second evaluator says %v %s", want, showPolicies(after.pols, after.c.grants))
		}
		for i, ch := range x.Changes {
			kinds[fmt.Sprint(ch.Layer, ch.Add != nil)]++
			fewer := e.after(t, slices.Delete(slices.Clone(x.Changes), i, i+1))
			if got := Decide(req, fewer.pols, fewer.c.grants); got.Effect == Allowed {
				fail("without change %d the request is allowed too", i)
			}
		}
	}
	for _, layer := range []string{LayerIdentity, LayerResource, LayerBoundary, LayerSession, LayerSCP, LayerRCP} {
		for _, adds := range []bool{true, false} {
			if n := kinds[fmt.Sprint(layer, adds)]; n < cases/1000 {
				t.Errorf("only %d changes in layer %s that add (%v): the generator is lopsided", n, layer, adds)
			}
		}
	}
	if kinds["granttrue"] == 0 || kinds["none"] == 0 {
		t.Errorf("no grant, or nothing impossible, among %v", kinds)
	}
}

func showChanges(changes []Change) string {
	b, err := json.MarshalIndent(changes, "  ", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// TestChanges: the text of the changes, layer by layer.
func TestChanges(t *testing.T) {
	t.Parallel()
	const getObj = `"Action":"s3:GetObject","Resource":"` + objARN + `"}`
	const decrypt = `"Action":"kms:Decrypt","Resource":"*"}`
	tests := []struct {
		name string
		s    scene
		want []string // layer, then what is added or denies
	}{
		{"identity", scene{p: pAnn}, []string{`identity {"Effect":"Allow",` + getObj}},
		{"boundary and session", scene{p: pSession, identity: allowAll, boundary: kmsOnly, session: kmsOnly}, []string{`boundary {"Effect":"Allow",` + getObj, `session {"Effect":"Allow",` + getObj}},
		{"federated user without session policy", scene{p: pFed, identity: allowAll}, []string{`session {"Effect":"Allow",` + getObj}},
		{"cross-account, nothing", scene{p: pBob}, []string{`resource {"Effect":"Allow","Principal":{"AWS":"` + pBob.ARN + `"},` + getObj, `identity {"Effect":"Allow",` + getObj}},
		{"cross-account, account named", scene{p: pBob, resource: allowTo(accB)}, []string{`identity {"Effect":"Allow",` + getObj}},
		{"cross-account, role", scene{p: pQ, identity: allowAll}, []string{`resource {"Effect":"Allow","Principal":{"AWS":"` + pQ.RoleARN + `"},` + getObj}},
		{"key policy, user", scene{key: true, p: pAnn, identity: allowAll}, []string{`resource {"Effect":"Allow","Principal":{"AWS":"` + userAnn + `"},` + decrypt}},
		{"key policy, role with boundary", scene{key: true, p: pSession, boundary: s3Put}, []string{`resource {"Effect":"Allow","Principal":{"AWS":"` + roleR + `"},` + decrypt, `boundary {"Effect":"Allow","Action":"kms:Decrypt","Resource":"` + keyARN + `"}`}},
		{"key policy, root user", scene{key: true, p: pRoot}, []string{`resource {"Effect":"Allow","Principal":{"AWS":"` + rootA + `"},` + decrypt}},
		{"key policy, delegated", scene{key: true, p: pAnn, resource: allowTo(rootA)}, []string{`identity {"Effect":"Allow","Action":"kms:Decrypt","Resource":"` + keyARN + `"}`}},
		{"key policy, service", scene{key: true, p: pService}, []string{`resource {"Effect":"Allow","Principal":{"Service":"` + geo + `"},` + decrypt}},
		{"trust policy", scene{trust: true, p: pAnn, identity: allowAll}, []string{`resource {"Effect":"Allow","Principal":{"AWS":"` + userAnn + `"},"Action":"sts:AssumeRole"}`}},
		{"trust policy, provider", scene{trust: true, p: Principal{Type: Federated, ARN: "accounts.google.com"}}, []string{`resource {"Effect":"Allow","Principal":{"Federated":"accounts.google.com"},"Action":"sts:AssumeRole"}`}},
		{"anonymous", scene{p: pNobody}, []string{`resource {"Effect":"Allow","Principal":"*",` + getObj}},
		{"control policies", scene{p: pAnn, identity: allowAll, scp: [][]string{{allowAll}, {kmsOnly}, {}}, rcp: [][]string{{}}}, []string{
			`rcp 1 {"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`, `scp 2 {"Effect":"Allow",` + getObj, `scp 3 {"Effect":"Allow",` + getObj,
		}},
		{"denies", scene{p: pAnn, identity: `"Sid":"No",` + denyAll, boundary: denyAll, scp: [][]string{{allowAll, denyAll}}}, []string{
			"identity - No", "boundary - 0", "scp 1 - 0", `identity {"Effect":"Allow",` + getObj, `boundary {"Effect":"Allow",` + getObj,
		}},
		{"unreadable", scene{p: pAnn, identity: allowAll, boundary: "!broken"}, []string{"boundary broken -", `boundary {"Effect":"Allow",` + getObj}},
		{"one grant", scene{key: true, p: pService, grantID: "g", grants: []Grant{{ID: "g", Grantee: geo, GranteeIsService: true, Operations: []string{"Encrypt"}}}}, []string{`grant {"GranteePrincipal":"` + geo + `","Operations":["Decrypt"]}`}},
		{"one grant of no key", scene{p: pService, grantID: "g"}, nil},
		{"nobody", scene{}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req, pols := tt.s.question(t)
			var got []string
			for _, c := range Explain(req, pols, tt.s.grants, Decide(req, pols, tt.s.grants)).Changes {
				text := c.Layer
				if c.Level > 0 {
					text += fmt.Sprint(" ", c.Level)
				}
				if c.Policy != "" {
					text += " " + c.Policy
				}
				if c.Add != nil {
					text += " " + string(c.Add)
				} else {
					text = strings.TrimSpace(text + " - " + c.Statement)
				}
				got = append(got, text)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("changes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// TestFacts: what kept the nearest statements from allowing.
func TestFacts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		s    scene
		want []Fact
	}{
		{"nothing attached", scene{p: pAnn}, nil},
		{"explicit deny", scene{p: pAnn, identity: denyAll}, nil},
		{"action", scene{p: pAnn, identity: s3Put}, []Fact{{Layer: LayerIdentity, Statement: "0", Element: "Action", Wanted: []string{"s3:PutObject"}, Found: []string{"s3:GetObject"}}}},
		{"not action", scene{p: pAnn, identity: `"Effect":"Allow","NotAction":"s3:*","Resource":"*"`}, []Fact{{Layer: LayerIdentity, Statement: "0", Element: "NotAction", Wanted: []string{"s3:*"}, Found: []string{"s3:GetObject"}}}},
		{"resource", scene{p: pAnn, identity: `"Sid":"R","Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::c/*","arn:aws:s3:::d"]`}, []Fact{{Layer: LayerIdentity, Statement: "R", Element: "Resource", Wanted: []string{"arn:aws:s3:::c/*", "arn:aws:s3:::d"}, Found: []string{objARN}}}},
		{"conditions", scene{
			p: pAnn, identity: allowAll + `,"Condition":{"StringEquals":{"aws:UserName":["bob","eve"]},"Bool":{"aws:SecureTransport":"true"},"Null":{"aws:username":"false"}}`,
			context: map[string]string{"aws:username": "ann"},
		}, []Fact{
			{Layer: LayerIdentity, Statement: "0", Element: "Condition", Operator: "StringEquals", Key: "aws:UserName", Wanted: []string{"bob", "eve"}, Found: []string{"ann"}},
			{Layer: LayerIdentity, Statement: "0", Element: "Condition", Operator: "Bool", Key: "aws:SecureTransport", Wanted: []string{"true"}},
		}},
		{"principal", scene{p: pBob, identity: allowAll, resource: allowTo(userAnn)}, []Fact{{Layer: LayerResource, Statement: "0", Element: "Principal", Wanted: []string{userAnn}, Found: []string{pBob.ARN}}}},
		{"not principal", scene{p: pBob, identity: allowAll, resource: allowAll + `,"NotPrincipal":{"AWS":"` + accB + `"}`}, []Fact{{Layer: LayerResource, Statement: "0", Element: "NotPrincipal", Wanted: []string{accB}, Found: []string{pBob.ARN}}}},
		{"the other account's side", scene{p: pBob, identity: s3Put, resource: allowTo(accB)}, []Fact{{Layer: LayerIdentity, Statement: "0", Element: "Action", Wanted: []string{"s3:PutObject"}, Found: []string{"s3:GetObject"}}}},
		{"level", scene{p: pAnn, identity: allowAll, scp: [][]string{{allowAll}, {s3Put}}}, []Fact{{Layer: LayerSCP, Level: 2, Statement: "0", Element: "Action", Wanted: []string{"s3:PutObject"}, Found: []string{"s3:GetObject"}}}},
		{"boundary", scene{p: pAnn, identity: allowAll, boundary: s3Put}, []Fact{{Layer: LayerBoundary, Statement: "0", Element: "Action", Wanted: []string{"s3:PutObject"}, Found: []string{"s3:GetObject"}}}},
		{"grant operations", scene{p: pAnn, key: true, grants: []Grant{{ID: "g", Grantee: userAnn, Operations: []string{"Encrypt"}}}}, []Fact{{Layer: LayerGrant, Grant: "g", Element: "Operations", Wanted: []string{"Encrypt"}, Found: []string{"kms:Decrypt"}}}},
		{"grant constraint", scene{p: pAnn, key: true, ec: map[string]string{"b": "2", "a": "9"}, grants: []Grant{{ID: "g", Grantee: userAnn, Operations: []string{"Decrypt"}, Constraints: GrantConstraints{EncryptionContextSubset: map[string]string{"a": "1"}}}}}, []Fact{{Layer: LayerGrant, Grant: "g", Element: "Constraint", Operator: "EncryptionContextSubset", Wanted: []string{"a=1"}, Found: []string{"a=9", "b=2"}}}},
		{"grant source", scene{p: pService, key: true, grantID: "g", grants: []Grant{{ID: "g", Grantee: geo, GranteeIsService: true, Operations: []string{"Decrypt"}, Constraints: GrantConstraints{SourceARN: "arn:x"}}}}, []Fact{{Layer: LayerGrant, Grant: "g", Element: "Constraint", Operator: "SourceArn", Wanted: []string{"arn:x"}}}},
		{"grant of another", scene{p: pAnn, key: true, grants: []Grant{{ID: "g", Grantee: pBob.ARN, Operations: []string{"Decrypt"}}}}, []Fact{{Layer: LayerGrant, Grant: "g", Element: "GranteePrincipal", Wanted: []string{pBob.ARN}, Found: []string{userAnn}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req, pols := tt.s.question(t)
			x := Explain(req, pols, tt.s.grants, Decide(req, pols, tt.s.grants))
			if !reflect.DeepEqual(x.Facts, tt.want) {
				t.Errorf("facts\n%+v\nwant\n%+v", x.Facts, tt.want)
			}
		})
	}
}

// TestFactsAreNearAndFew: of many statements the nearest are told, cut to a
// size that a record can hold.
func TestFactsAreNearAndFew(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 50 {
		fmt.Fprintf(&b, `{"Effect":"Allow","Action":"kms:A%d","Resource":"*"},`, i)
	}
	long := strings.Repeat("é", 300)
	fmt.Fprintf(&b, `{"Sid":"near","Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::%s"%s]}`, long, strings.Repeat(`,"arn:aws:s3:::x"`, 30))
	pols := &Policies{Identity: []*Policy{compile(t, IdentityPolicy, `{"Statement":[`+b.String()+`]}`)}}
	req := &Request{Principal: pAnn, Action: "s3:GetObject", Resource: objARN, ResourceAccount: accA, Context: NewContext()}
	x := Explain(req, pols, nil, Decide(req, pols, nil))
	if len(x.Facts) != maxFacts || x.Facts[0].Statement != "near" || x.Facts[1].Statement != "0" {
		t.Fatalf("facts %+v", x.Facts)
	}
	if w := x.Facts[0].Wanted; len(w) != maxFactValues || len(w[0]) > maxFactValue+3 || !strings.HasSuffix(w[0], "é…") {
		t.Errorf("wanted %q", w)
	}
	// A user made again under the name: the statement is bound to the old one's id.
	p := compile(t, ResourcePolicy, one(allowTo(roleR))).Bind(map[string]string{roleR: "AROAOLDOLDOLDOLDOLD1"})
	req = &Request{Principal: pSession, Action: "s3:GetObject", Resource: objARN, ResourceAccount: accB, Context: NewContext()}
	pols = &Policies{Resource: p}
	x = Explain(req, pols, nil, Decide(req, pols, nil))
	if f := x.Facts[0]; f.Wanted[0] != "AROAOLDOLDOLDOLDOLD1" || !slices.Contains(f.Found, pSession.RoleID) {
		t.Errorf("fact %+v", f)
	}
}

// TestEscapeResource: an escaped resource matches itself and nothing else.
func TestEscapeResource(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"*", "?", "${aws:username}", "$", "$$", "${", "${*}", "$*", "a${$}{", "${?", "}${", "\x00", `"},"Effect":"Deny"`} {
		arn := "arn:aws:s3:::b/" + name
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := compileText(escapeResource(arn), true, wildResource)
			if err != nil {
				t.Fatal(err)
			}
			if text.parts != nil || text.glob.shape != globLiteral || text.glob.pat != arn {
				t.Errorf("%q compiles to %q", escapeResource(arn), text.glob.pat)
			}
		})
	}
}

func TestExplainUnusualRequests(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		req  Request
		want string // of the only change; "" for none
	}{
		{"wildcards in the action", Request{Principal: pAnn, Action: "s3:Get*", Resource: "*"}, `{"Effect":"Allow","Action":"s3:Get?","Resource":"*"}`},
		{"action without vendor", Request{Principal: pAnn, Action: "Get", Resource: "*"}, ""},
		{"no resource", Request{Principal: pAnn, Action: "kms:ListKeys", Resource: "*"}, `{"Effect":"Allow","Action":"kms:ListKeys","Resource":"*"}`},
		{"partition that Resource cannot hold", Request{Principal: pAnn, Action: "s3:GetObject", Resource: "arn:x:s3:::b", ResourceAccount: accA}, `{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}`},
		{"quotes", Request{Principal: pAnn, Action: "s3:GetObject", Resource: `arn:aws:s3:::b/","Effect":"Deny`, ResourceAccount: accA}, `{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/\",\"Effect\":\"Deny"}`},
		{"principal that no policy can name", Request{Principal: Principal{Type: Service, Service: "x"}, Action: "s3:GetObject", Resource: objARN}, ""},
		{"trust policy for another service's action", Request{Principal: pAnn, Action: "s3:GetObject", Resource: roleR, Trust: true}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := Explain(&tt.req, nil, nil, Decide(&tt.req, nil, nil))
			var got strings.Builder
			for _, c := range x.Changes {
				got.Write(c.Add)
			}
			if got.String() != tt.want {
				t.Errorf("changes %s, want %s", got.String(), tt.want)
			}
		})
	}
}

func ExampleExplain() {
	req := &Request{
		Principal: Principal{Type: User, ARN: "arn:aws:iam::111122223333:user/ann", Account: "111122223333"},
		Action:    "s3:GetObject", Resource: "arn:aws:s3:::photos/a*", ResourceAccount: "111122223333",
	}
	d := Decide(req, nil, nil)
	for _, c := range Explain(req, nil, nil, d).Changes {
		fmt.Printf("%s: %s\n", c.Layer, Document(c.Add))
	}
	// Output:
	// identity: {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/a${*}"}]}
}

func BenchmarkExplain(b *testing.B) {
	req, pols := benchCase(b)
	req.Action = "kms:Encrypt"
	d := Decide(req, pols, nil)
	b.ReportAllocs()
	for b.Loop() {
		if x := Explain(req, pols, nil, d); len(x.Changes) != 1 {
			b.Fatalf("%+v", x)
		}
	}
}
