package authz

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// benchCase is ten policies of twenty statements, of which the last allows.
func benchCase(tb testing.TB) (*Request, *Policies) {
	pols := &Policies{}
	for i := range 10 {
		var b strings.Builder
		for j := range 20 {
			action, resource := fmt.Sprintf(`["s3:Get%d*","s3:PutObject","kms:Describe%d"]`, j, j), "arn:aws:s3:::bucket-*/*"
			if i == 9 && j == 19 {
				action, resource = `["kms:Decrypt","kms:GenerateDataKey*"]`, "arn:aws:kms:*:111122223333:key/*"
			}
			fmt.Fprintf(&b, `{"Effect":"Allow","Action":%s,"Resource":"%s","Condition":{"StringLike":{"kms:ViaService":"sagemaker.*.amazonaws.com"}}},`, action, resource)
		}
		pols.Identity = append(pols.Identity, compile(tb, IdentityPolicy, `{"Version":"2012-10-17","Statement":[`+strings.TrimSuffix(b.String(), ",")+`]}`))
	}
	pols.Resource = compile(tb, KeyPolicy, one(allowKMS+`,"Principal":{"AWS":"`+rootA+`"}`))
	ctx := NewContext()
	ctx.Set("kms:ViaService", "sagemaker.us-west-2.amazonaws.com")
	return &Request{Principal: pSession, Action: "kms:GenerateDataKey", Resource: keyARN, ResourceAccount: accA, Context: ctx, KMSKey: true}, pols
}

func BenchmarkDecide(b *testing.B) {
	req, pols := benchCase(b)
	if d := Decide(req, pols, nil); d.Effect != Allowed {
		b.Fatalf("Decide = %+v", d)
	}
	b.ReportAllocs()
	for b.Loop() {
		Decide(req, pols, nil)
	}
}

func BenchmarkDecideByGrant(b *testing.B) {
	req := &Request{Principal: pService, Action: "kms:Decrypt", Resource: keyARN, ResourceAccount: accA, Context: NewContext(), KMSKey: true, GrantID: "g99"}
	pols := &Policies{Resource: compile(b, KeyPolicy, seedFeatureStore)}
	var grants []Grant
	for i := range 100 {
		grants = append(grants, Grant{ID: fmt.Sprintf("g%d", i), Grantee: geo, GranteeIsService: true, Operations: []string{"Decrypt", "GenerateDataKey"}})
	}
	b.ReportAllocs()
	for b.Loop() {
		Decide(req, pols, grants)
	}
}

func BenchmarkParse(b *testing.B) {
	doc := []byte(seedFeatureStore)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(KeyPolicy, doc); err != nil {
			b.Fatal(err)
		}
	}
}

// TestParseCosts: what is refused for its size costs next to nothing, and what
// is read costs in proportion to its length. It counts allocations, not time.
func TestParseCosts(t *testing.T) {
	allocs := func(doc string) float64 {
		return testing.AllocsPerRun(2, func() { _, _ = Parse(IdentityPolicy, []byte(doc)) })
	}
	const body = `"Effect":"Allow","Action":"s3:GetObject","Resource":"*"`
	for name, doc := range map[string]string{
		"10 MB":              one(body + `,"Sid":"` + strings.Repeat("a", 10<<20) + `"`),
		"10 MB of statement": `{"Statement":[` + strings.Repeat(`{`+body+`},`, 180_000) + `{}]}`,
		"100,000 deep":       strings.Repeat(`[`, 100_000) + strings.Repeat(`]`, 100_000),
		"100,000 open":       strings.Repeat(`{"a":`, 100_000),
		"not UTF-8":          strings.Repeat("\xff", 1<<20),
		"9,000 deep":         strings.Repeat(`[`, 9_000) + strings.Repeat(`]`, 9_000),
	} {
		if n := allocs(doc); n > 40 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	list := func(before, item, after string) func(n int) string {
		return func(n int) string {
			var b strings.Builder
			b.WriteString(before)
			for i := range n {
				if i > 0 {
					b.WriteByte(',')
				}
				b.WriteString(strings.ReplaceAll(item, "#", fmt.Sprint(i)))
			}
			return b.String() + after
		}
	}
	for name, doc := range map[string]func(n int) string{
		"statements":      list(`{"Statement":[`, `{`+body+`}`, `]}`),
		"too many":        list(`{"Statement":[`, `{`+body+`},{`+body+`},{`+body+`},{`+body+`}`, `]}`),
		"Sids":            list(`{"Statement":[`, `{"Sid":"S#",`+body+`}`, `]}`),
		"Sids, the same":  list(`{"Statement":[`, `{"Sid":"S",`+body+`}`, `]}`),
		"actions":         list(`{"Statement":{"Effect":"Allow","Resource":"*","Action":[`, `"s3:Get#*"`, `]}}`),
		"resources":       list(`{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":[`, `"arn:aws:s3:::b#/${aws:username}"`, `]}}`),
		"conditions":      list(`{"Statement":{`+body+`,"Condition":{"StringLike":{`, `"a:k#":["*","?"]`, `}}}}`),
		"values":          list(`{"Statement":{`+body+`,"Condition":{"IpAddress":{"aws:SourceIp":[`, `"10.0.0.#"`, `]}}}}`),
		"unknown members": list(`{`, `"member #":[{}]`, `}`),
		"lists":           list(`{"Statement":[`, `[[[]]]`, `]}`),
	} {
		if few, many := allocs(doc(200)), allocs(doc(800)); many > 6*few+50 {
			t.Errorf("%s: %v allocations for 200, %v for 800", name, few, many)
		}
	}
}

func TestDecideDoesNotAllocate(t *testing.T) {
	req, pols := benchCase(t)
	if n := testing.AllocsPerRun(100, func() { Decide(req, pols, nil) }); n != 0 {
		t.Errorf("%v allocations a decision", n)
	}
}

// BenchmarkSimulate reports cases a second: of random cases whose documents
// come from a pool, and of ones whose documents are all different.
func BenchmarkSimulate(b *testing.B) {
	for _, distinct := range []bool{false, true} {
		name := "documents come again"
		if distinct {
			name = "documents differ"
		}
		b.Run(name, func(b *testing.B) {
			const cases = 20_000
			var in bytes.Buffer
			g := refGen{rand.New(rand.NewPCG(9, 9))}
			ps := newPools(b, g)
			for i := range cases {
				c, req, _ := g.newCase(ps)
				note := ""
				if distinct {
					note = fmt.Sprint(i)
				}
				in.Write(caseLine(b, c, req, note))
			}
			b.SetBytes(int64(in.Len()))
			b.ReportAllocs()
			for b.Loop() {
				if bad, err := Simulate(bytes.NewReader(in.Bytes()), io.Discard); bad > 0 || err != nil {
					b.Fatalf("%d bad lines, %v", bad, err)
				}
			}
			b.ReportMetric(float64(cases)*float64(b.N)/b.Elapsed().Seconds(), "cases/s")
		})
	}
}

// caseLine writes a random case as the simulator reads it. A note makes its
// documents differ from those of other lines.
func caseLine(tb testing.TB, c *refCase, req *Request, note string) []byte {
	tb.Helper()
	doc := func(d refDoc) map[string]any {
		m := map[string]any{"Statement": d.Statement}
		if d.Version != "" {
			m["Version"] = d.Version
		}
		if note != "" {
			m["Id"] = note
		}
		return m
	}
	docs := func(list []refDoc) []any {
		out := []any{}
		for _, d := range list {
			out = append(out, doc(d))
		}
		return out
	}
	levels := func(list [][]refDoc) (out [][]any) {
		for _, l := range list {
			out = append(out, docs(l))
		}
		return out
	}
	ctx := map[string]any{}
	for k, v := range c.ctx {
		switch {
		case k == "x:set":
			ctx[k] = v
		case len(v) > 0:
			ctx[k] = v[0]
		}
	}
	for k, v := range c.ec {
		ctx["kms:EncryptionContext:"+k] = v
	}
	principal := req.Principal.ARN
	switch p := req.Principal; p.Type {
	case Service:
		principal = p.Service
		ctx["aws:PrincipalServiceNamesList"] = p.ServiceNames
	case Anonymous:
		principal = "anonymous"
	case AssumedRole:
		ctx["aws:PrincipalArn"], ctx["aws:userid"] = p.RoleARN, p.RoleID+":s"
	case FederatedUser:
		ctx["aws:PrincipalArn"], ctx["aws:userid"] = p.UserARN, p.UserID
	case User:
		ctx["aws:userid"] = p.UserID
	}
	var grants []any
	for _, g := range c.grants {
		constraints := map[string]any{}
		if g.Constraints.EncryptionContextEquals != nil {
			constraints["EncryptionContextEquals"] = g.Constraints.EncryptionContextEquals
		}
		if g.Constraints.EncryptionContextSubset != nil {
			constraints["EncryptionContextSubset"] = g.Constraints.EncryptionContextSubset
		}
		if g.Constraints.SourceARN != "" {
			constraints["SourceArn"] = g.Constraints.SourceARN
		}
		grants = append(grants, map[string]any{"id": g.ID, "grantee": g.Grantee, "operations": g.Operations, "constraints": constraints})
	}
	policies := map[string]any{"identity": docs(c.ident), "boundary": docs(c.bound), "session": docs(c.sess), "scp": levels(c.scp), "rcp": levels(c.rcp)}
	if c.res != nil {
		policies["resource"] = doc(*c.res)
	}
	line, err := json.Marshal(map[string]any{
		"id":       1,
		"request":  map[string]any{"principal": principal, "action": c.action, "resource": c.resource, "resourceAccount": c.owner, "context": ctx},
		"policies": policies, "grants": grants,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return append(line, '\n')
}
