package authz

import (
	"fmt"
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

func TestDecideDoesNotAllocate(t *testing.T) {
	req, pols := benchCase(t)
	if n := testing.AllocsPerRun(100, func() { Decide(req, pols, nil) }); n != 0 {
		t.Errorf("%v allocations a decision", n)
	}
}
