package authz

import (
	"strings"
	"testing"
)

// AWS KMS Developer Guide, "Grants in AWS KMS".
func TestGrants(t *testing.T) {
	t.Parallel()
	to := func(grantee string) []Grant {
		return []Grant{{ID: "g", Grantee: grantee, GranteeIsService: !strings.HasPrefix(grantee, "arn:"), Operations: []string{"Encrypt", "Decrypt"}}}
	}
	with := func(grantee string, c GrantConstraints) []Grant {
		g := to(grantee)
		g[0].Constraints = c
		return g
	}
	everyone := denyAll + `,"Principal":"*"`
	equals := GrantConstraints{EncryptionContextEquals: map[string]string{"a": "1"}}
	subset := GrantConstraints{EncryptionContextSubset: map[string]string{"a": "1"}}
	two := map[string]string{"a": "1", "b": "2"}
	runScenes(t, []scene{
		{name: "user", key: true, p: pAnn, grants: to(userAnn), want: Allowed, layer: LayerGrant},
		{name: "another user", key: true, p: pAnn, identity: allowAll, grants: to(pBob.ARN), want: ImplicitlyDenied, layer: LayerResource},
		{name: "role reaches its sessions", key: true, p: pSession, grants: to(roleR), want: Allowed, layer: LayerGrant},
		{name: "session", key: true, p: pSession, grants: to(sessR), want: Allowed, layer: LayerGrant},
		{name: "another session", key: true, p: pSession, grants: to(sessR + "x"), want: ImplicitlyDenied, layer: LayerResource},
		{name: "in another account, without identity", key: true, p: pQ, grants: to(pQ.RoleARN), want: Allowed, layer: LayerGrant},
		{name: "account without identity", key: true, p: pAnn, grants: to(rootA), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "account with identity", key: true, p: pAnn, identity: allowAll, grants: to(rootA), want: Allowed, layer: LayerIdentity},
		{name: "account, root user", key: true, p: pRoot, grants: to(rootA), want: Allowed, layer: LayerGrant},
		{name: "other account with identity", key: true, p: pBob, identity: allowAll, grants: to("arn:aws:iam::444455556666:root"), want: Allowed, layer: LayerIdentity},
		{name: "other account without identity", key: true, p: pBob, grants: to("arn:aws:iam::444455556666:root"), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "boundary limits", key: true, p: pAnn, grants: to(userAnn), boundary: s3Put, want: ImplicitlyDenied, layer: LayerBoundary},
		{name: "session policy limits", key: true, p: pSession, grants: to(sessR), session: s3Put, want: ImplicitlyDenied, layer: LayerSession},
		{name: "control policy limits", key: true, p: pAnn, grants: to(userAnn), scp: [][]string{{s3Put}}, want: ImplicitlyDenied, layer: LayerSCP},
		{name: "key policy denies", key: true, p: pAnn, grants: to(userAnn), resource: everyone, want: ExplicitlyDenied, layer: LayerResource},
		{name: "identity denies", key: true, p: pAnn, grants: to(userAnn), identity: denyAll, want: ExplicitlyDenied, layer: LayerIdentity},
		{name: "not for other resources", p: pBob, identity: allowAll, grants: to(pBob.ARN), want: ImplicitlyDenied, layer: LayerResource},
		{name: "star is no grantee", key: true, p: pAnn, identity: allowAll, grants: []Grant{{Grantee: "*", Operations: []string{"Decrypt"}}}, want: ImplicitlyDenied, layer: LayerResource},

		{name: "service", key: true, p: pService, grants: to(geo), want: Allowed, layer: LayerGrant},
		{name: "service by its other name", key: true, p: pService, grants: to("sagemaker-geospatial.amazonaws.com"), want: Allowed, layer: LayerGrant},
		{name: "another service", key: true, p: pService, grants: to("s3.amazonaws.com"), want: ImplicitlyDenied, layer: LayerResource},
		{name: "a user named like a service", key: true, p: Principal{Type: User, Account: accA, ARN: geo}, grants: to(geo), want: ImplicitlyDenied, layer: LayerResource},
		{name: "that one grant", key: true, p: pService, grants: to(geo), grantID: "g", want: Allowed, layer: LayerGrant},
		{name: "not another grant", key: true, p: pService, grants: to(geo), grantID: "h", want: ImplicitlyDenied, layer: LayerGrant},
		{
			name: "not the key policy instead of that grant", key: true, p: pService, grantID: "h",
			resource: allowAll + `,"Principal":{"Service":"` + geo + `"}`, want: ImplicitlyDenied, layer: LayerGrant,
		},
		{
			name: "row of another account", key: true, p: pService, grantID: "g", context: map[string]string{"aws:SourceAccount": accB},
			grants: []Grant{{ID: "g", Grantee: geo, GranteeIsService: true, Account: accA, Operations: []string{"Decrypt"}}}, want: ImplicitlyDenied, layer: LayerGrant,
		},
		{
			name: "row of its account", key: true, p: pService, grantID: "g", context: map[string]string{"aws:SourceAccount": accA},
			grants: []Grant{{ID: "g", Grantee: geo, GranteeIsService: true, Account: accA, Operations: []string{"Decrypt"}}}, want: Allowed, layer: LayerGrant,
		},

		{name: "context equal", key: true, p: pAnn, grants: with(userAnn, equals), ec: map[string]string{"a": "1"}, want: Allowed, layer: LayerGrant},
		{name: "context larger than equal", key: true, p: pAnn, grants: with(userAnn, equals), ec: two, want: ImplicitlyDenied, layer: LayerResource},
		{name: "context in another case", key: true, p: pAnn, grants: with(userAnn, equals), ec: map[string]string{"A": "1"}, want: ImplicitlyDenied, layer: LayerResource},
		{name: "context missing", key: true, p: pAnn, grants: with(userAnn, equals), want: ImplicitlyDenied, layer: LayerResource},
		{name: "context has the subset", key: true, p: pAnn, grants: with(userAnn, subset), ec: two, want: Allowed, layer: LayerGrant},
		{name: "context lacks the subset", key: true, p: pAnn, grants: with(userAnn, subset), ec: map[string]string{"b": "2"}, want: ImplicitlyDenied, layer: LayerResource},
		{name: "source", key: true, p: pService, grants: with(geo, GrantConstraints{SourceARN: "arn:x"}), context: map[string]string{"aws:SourceArn": "arn:x"}, want: Allowed, layer: LayerGrant},
		{name: "another source", key: true, p: pService, grants: with(geo, GrantConstraints{SourceARN: "arn:x"}), context: map[string]string{"aws:SourceArn": "arn:y"}, want: ImplicitlyDenied, layer: LayerResource},
		{name: "no source", key: true, p: pService, grants: with(geo, GrantConstraints{SourceARN: "arn:x"}), want: ImplicitlyDenied, layer: LayerResource},
		{name: "unknown constraint", key: true, p: pAnn, grants: with(userAnn, GrantConstraints{Unknown: true}), want: ImplicitlyDenied, layer: LayerResource},
	})
}

// Encryption-context constraints do not bind DescribeKey and RetireGrant, the
// source binds DescribeKey but not RetireGrant.
func TestGrantConstraintsByOperation(t *testing.T) {
	t.Parallel()
	all := []string{"Decrypt", "DescribeKey", "RetireGrant", "ReEncryptFrom", "GenerateDataKey"}
	for _, tt := range []struct {
		name  string
		c     GrantConstraints
		works string
	}{
		{"equals", GrantConstraints{EncryptionContextEquals: map[string]string{"a": "1"}}, "DescribeKey RetireGrant"},
		{"subset", GrantConstraints{EncryptionContextSubset: map[string]string{"a": "1"}}, "DescribeKey RetireGrant"},
		{"source", GrantConstraints{SourceARN: "arn:x"}, "RetireGrant"},
		{"none", GrantConstraints{}, strings.Join(all, " ")},
	} {
		for _, op := range all {
			req := &Request{Principal: pAnn, Action: "kms:" + op, Resource: keyARN, KMSKey: true}
			d := Decide(req, &Policies{}, []Grant{{ID: "g", Grantee: userAnn, Operations: all, Constraints: tt.c}})
			if got, want := d.Effect == Allowed, strings.Contains(tt.works, op); got != want {
				t.Errorf("%s, %s: %+v", tt.name, op, d)
			}
		}
	}
	// A grant never reaches an action that is no operation of it.
	for _, action := range []string{"kms:PutKeyPolicy", "s3:Decrypt", "kms:", "Decrypt"} {
		d := Decide(&Request{Principal: pAnn, Action: action, Resource: keyARN, KMSKey: true}, nil, []Grant{{Grantee: userAnn, Operations: all}})
		if d.Effect == Allowed {
			t.Errorf("%s: %+v", action, d)
		}
	}
}

// A grant to a role that was deleted and made again allows nothing.
func TestGrantBoundToUniqueID(t *testing.T) {
	t.Parallel()
	g := []Grant{{ID: "g", Grantee: roleR, GranteeID: "AROAOLDOLDOLDOLDOLD1", Operations: []string{"Decrypt"}}}
	d := Decide(&Request{Principal: pSession, Action: "kms:Decrypt", Resource: keyARN, KMSKey: true}, nil, g)
	if d.Effect == Allowed {
		t.Errorf("Decide = %+v", d)
	}
}
