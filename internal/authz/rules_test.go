package authz

import (
	"fmt"
	"strings"
	"testing"
)

// IAM User Guide, "How AWS enforcement code logic evaluates requests": what a
// resource-based policy dispenses with depends on how it names the principal.
func TestPrincipalForms(t *testing.T) {
	t.Parallel()
	const bypassed = "bypassed"
	forms := []struct {
		name, principal string
		p               Principal
		identity        string // what an implicit deny there leads to
		boundary        string
		session         string // "" where no session policy can be
	}{
		{"user, by ARN", userAnn, pAnn, bypassed, bypassed, ""},
		{"user, by unique id", pAnn.UserID, pAnn, bypassed, bypassed, ""},
		{"role, by ARN", roleR, pSession, bypassed, LayerBoundary, LayerSession},
		{"role, by unique id", pSession.RoleID, pSession, bypassed, LayerBoundary, LayerSession},
		{"role session, by ARN", sessR, pSession, bypassed, bypassed, bypassed},
		{"user of a federated session, by ARN", userAnn, pFed, bypassed, LayerBoundary, LayerSession},
		{"user of a federated session, by unique id", pFed.UserID, pFed, bypassed, LayerBoundary, LayerSession},
		{"federated session, by ARN", pFed.ARN, pFed, bypassed, bypassed, bypassed},
		{"account of a user, by ARN", rootA, pAnn, LayerIdentity, LayerBoundary, ""},
		{"account of a user, by number", accA, pAnn, LayerIdentity, LayerBoundary, ""},
		{"account of a role session", accA, pSession, LayerIdentity, LayerBoundary, LayerSession},
		{"account of a federated session", accA, pFed, LayerIdentity, LayerBoundary, LayerSession},
		{"everybody, to a user", "*", pAnn, bypassed, bypassed, ""},
		{"everybody, to a role session", "*", pSession, bypassed, bypassed, bypassed},
		{"everybody, to a federated session", "*", pFed, bypassed, bypassed, bypassed},
	}
	for _, key := range []bool{false, true} {
		for _, f := range forms {
			none := `"Effect":"Allow","Action":"logs:*","Resource":"*"` // allows nothing that is asked
			s := scene{key: key, p: f.p, resource: allowTo(f.principal), identity: allowAll, want: Allowed}
			if f.p.Type == FederatedUser {
				s.session = allowAll // without one such a session can do nothing
			}
			check := func(layer, lacks string, s scene) {
				t.Run(fmt.Sprintf("%s, key %v, %s does not allow", f.name, key, layer), func(t *testing.T) {
					t.Parallel()
					d := s.decide(t)
					if got := d.Effect == Allowed; got != (lacks == bypassed) || !got && (d.Layer != lacks || d.Effect != ImplicitlyDenied) {
						t.Errorf("Decide = %+v, want %s", d, lacks)
					}
				})
			}
			lacking := s
			lacking.identity = ""
			check("identity", f.identity, lacking)
			lacking.identity = none
			check("another identity policy", f.identity, lacking)
			lacking = s
			lacking.boundary = none
			check("boundary", f.boundary, lacking)
			if f.session != "" {
				lacking = s
				lacking.session = none
				check("session", f.session, lacking)
			}
		}
	}
}

// IAM User Guide, "Cross-account policy evaluation logic" and "Troubleshoot
// access denied error messages": both accounts must allow, and which policy the
// message names.
func TestCrossAccountMatrix(t *testing.T) {
	t.Parallel()
	const yes = "Allowed identity"
	identities := []struct{ name, statement string }{{"none", ""}, {"allows", allowAll}, {"denies", denyAll}}
	resources := []struct {
		name string
		of   func(Principal) string
		want [3]string // by identity
	}{
		{"none", func(Principal) string { return "" }, [3]string{"ImplicitlyDenied resource", "ImplicitlyDenied resource", "ExplicitlyDenied identity"}},
		{"names another", func(Principal) string { return allowTo(userAnn) }, [3]string{"ImplicitlyDenied resource", "ImplicitlyDenied resource", "ExplicitlyDenied identity"}},
		{"names the account", func(Principal) string { return allowTo(accB) }, [3]string{"ImplicitlyDenied resource", yes, "ExplicitlyDenied identity"}},
		{"names the entity", func(p Principal) string { _, name := p.element(); return allowTo(name) }, [3]string{"ImplicitlyDenied identity", yes, "ExplicitlyDenied identity"}},
		{"names the session", func(p Principal) string { return allowTo(p.ARN) }, [3]string{"ImplicitlyDenied identity", yes, "ExplicitlyDenied identity"}},
		{"names everybody", func(Principal) string { return allowTo("*") }, [3]string{"ImplicitlyDenied identity", yes, "ExplicitlyDenied identity"}},
		{"denies", func(Principal) string { return denyAll + `,"Principal":"*"` }, [3]string{"ExplicitlyDenied resource", "ExplicitlyDenied resource", "ExplicitlyDenied identity"}},
	}
	for _, p := range []Principal{pBob, pQ} {
		for _, key := range []bool{false, true} {
			for _, r := range resources {
				for i, id := range identities {
					t.Run(fmt.Sprintf("%s, key %v, resource %s, identity %s", p.ARN, key, r.name, id.name), func(t *testing.T) {
						t.Parallel()
						s := scene{p: p, key: key, identity: id.statement, resource: r.of(p)}
						d := s.decide(t)
						if got := d.Effect.String() + " " + d.Layer; got != r.want[i] {
							t.Errorf("Decide = %+v, want %s", d, r.want[i])
						}
					})
				}
			}
		}
	}
}

// AWS Organizations User Guide, "SCP effects on permissions" and "Resource
// control policies": whom they bind.
func TestControlPoliciesBind(t *testing.T) {
	t.Parallel()
	provided := Principal{Type: Federated, ARN: provider}
	for _, who := range []struct {
		name     string
		p        Principal
		scp, rcp bool // binds
	}{
		{"root user", pRoot, true, true},
		{"user", pAnn, true, true},
		{"role session", pSession, true, true},
		{"federated session", pFed, true, true},
		{"user of another account", pBob, true, true},
		{"root user of another account", pRootB, true, true},
		{"service-linked role", pLinked, false, false},
		{"service", pService, false, true},
		{"anonymous", pNobody, false, true},
		{"web identity", provided, false, true},
	} {
		everybody := `,"Principal":"*"`
		all := [][]string{{allowAll}, {allowAll}, {allowAll}}
		allRCP := [][]string{{allowAll + everybody}, {allowAll + everybody}, {allowAll + everybody}}
		base := scene{p: who.p, identity: allowAll, session: allowAll, resource: allowAll + `,"Principal":{"AWS":"*","Service":"` + geo + `","Federated":"` + provider + `"}`}
		for level, name := range []string{"root", "unit", "account"} {
			for _, lack := range []struct {
				name       string
				statements []string
				effect     Effect
			}{
				{"nothing attached", nil, ImplicitlyDenied},
				{"allows something else", []string{s3Put}, ImplicitlyDenied},
				{"denies", []string{allowAll, denyAll}, ExplicitlyDenied},
			} {
				for _, layer := range []string{LayerSCP, LayerRCP} {
					t.Run(fmt.Sprintf("%s, %s of the %s: %s", who.name, layer, name, lack.name), func(t *testing.T) {
						t.Parallel()
						s, binds := base, who.scp
						statements := lack.statements
						if layer == LayerSCP {
							s.scp = append([][]string(nil), all...)
							s.scp[level] = statements
						} else {
							binds = who.rcp
							var named []string
							for _, st := range statements {
								named = append(named, st+everybody)
							}
							s.rcp = append([][]string(nil), allRCP...)
							s.rcp[level] = named
						}
						d := s.decide(t)
						if !binds && d.Effect != Allowed || binds && (d.Effect != lack.effect || d.Layer != layer) {
							t.Errorf("Decide = %+v, want bound: %v, %v", d, binds, lack.effect)
						}
					})
				}
			}
		}
		// The management account's principals come without any.
		if d := base.decide(t); d.Effect != Allowed {
			t.Errorf("%s without control policies: %+v", who.name, d)
		}
	}
}

// IAM User Guide, "Evaluating identity-based policies": inline and managed
// policies of a user and its groups are one set.
func TestIdentityPoliciesAreOneSet(t *testing.T) {
	t.Parallel()
	parse := func(name, statement string) *Policy {
		p := compile(t, IdentityPolicy, one(statement))
		p.Name = name
		return p
	}
	set := func(inline, managed, group string) *Policies {
		return &Policies{Identity: []*Policy{parse("inline", inline), parse("managed", managed), parse("group", group)}}
	}
	req := &Request{Principal: pAnn, Action: "s3:GetObject", Resource: objARN, ResourceAccount: accA, Context: NewContext()}
	for _, tt := range []struct {
		name string
		pols *Policies
		want Effect
		by   string
	}{
		{"inline allows", set(allowAll, s3Put, kmsOnly), Allowed, "inline"},
		{"managed allows", set(s3Put, allowAll, kmsOnly), Allowed, "managed"},
		{"group allows", set(s3Put, kmsOnly, allowAll), Allowed, "group"},
		{"none allows", set(s3Put, kmsOnly, s3Put), ImplicitlyDenied, ""},
		{"group denies", set(allowAll, allowAll, denyAll), ExplicitlyDenied, "group"},
		{"inline denies", set(denyAll, allowAll, allowAll), ExplicitlyDenied, "inline"},
	} {
		if d := Decide(req, tt.pols, nil); d.Effect != tt.want || d.Policy != tt.by {
			t.Errorf("%s: %+v, want %v by %q", tt.name, d, tt.want, tt.by)
		}
	}
}

// AWS KMS Developer Guide, "Default key policy": the account statement passes
// the key on to IAM policies, as far as it goes and no further.
func TestKeyDelegation(t *testing.T) {
	t.Parallel()
	account := func(rest string) string {
		return `"Effect":"Allow","Principal":{"AWS":"` + rootA + `"},"Resource":"*",` + rest
	}
	viaS3 := account(`"Action":"kms:*","Condition":{"StringEquals":{"kms:ViaService":"s3.us-west-2.amazonaws.com"}}`)
	decrypt := account(`"Action":["kms:Decrypt","kms:Describe*"]`)
	const delete1 = "kms:ScheduleKeyDeletion"
	runScenes(t, []scene{
		{name: "everything", key: true, p: pAnn, identity: allowKMS, resource: account(`"Action":"kms:*"`), want: Allowed, layer: LayerIdentity},
		{name: "everything, IAM allows less", key: true, p: pAnn, identity: `"Effect":"Allow","Action":"kms:Encrypt","Resource":"*"`, resource: account(`"Action":"kms:*"`), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "IAM names another key", key: true, p: pAnn, identity: `"Effect":"Allow","Action":"kms:*","Resource":"` + keyARN + `0"`, resource: account(`"Action":"kms:*"`), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "some actions, one of them", key: true, p: pAnn, identity: allowKMS, resource: decrypt, want: Allowed, layer: LayerIdentity},
		{name: "some actions, another", key: true, p: pAnn, identity: allowKMS, resource: decrypt, action: delete1, on: keyARN, want: ImplicitlyDenied, layer: LayerResource},
		{name: "a condition that holds", key: true, p: pAnn, identity: allowKMS, resource: viaS3, context: map[string]string{"kms:ViaService": "s3.us-west-2.amazonaws.com"}, want: Allowed, layer: LayerIdentity},
		{name: "a condition that fails", key: true, p: pAnn, identity: allowKMS, resource: viaS3, context: map[string]string{"kms:ViaService": "ec2.us-west-2.amazonaws.com"}, want: ImplicitlyDenied, layer: LayerResource},
		{name: "a condition on a key that is absent", key: true, p: pAnn, identity: allowKMS, resource: viaS3, want: ImplicitlyDenied, layer: LayerResource},
		{name: "a deny in IAM stays effective without it", key: true, p: pAnn, identity: denyAll, resource: allowTo(userAnn), want: ExplicitlyDenied, layer: LayerIdentity},
		{name: "another account's statement", key: true, p: pAnn, identity: allowKMS, resource: allowTo(accB), want: ImplicitlyDenied, layer: LayerResource},
		{name: "root user, delegated something else", key: true, p: pRoot, resource: decrypt, action: delete1, on: keyARN, want: ImplicitlyDenied, layer: LayerResource},
		{name: "root user, delegated that", key: true, p: pRoot, resource: decrypt, want: Allowed, layer: LayerResource},
		{name: "no key: IAM alone", p: pAnn, identity: allowKMS, action: "kms:ListKeys", on: "*", want: Allowed, layer: LayerIdentity},
		{name: "no key: root user", p: pRoot, action: "kms:CreateKey", on: "*", want: Allowed, layer: LayerNone},
		{name: "Resource in a key policy is this key", key: true, p: pAnn, resource: `"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"` + keyARN + `"`, want: Allowed, layer: LayerResource},
	})
}

// IAM User Guide, "Forward access sessions": the caller's own policies decide,
// with keys that tell through whom the request came.
func TestForwardAccessSessions(t *testing.T) {
	t.Parallel()
	const via = "s3.us-west-2.amazonaws.com"
	through := map[string]string{
		"kms:ViaService": via, "aws:ViaAWSService": "true", "aws:CalledViaFirst": "sagemaker.amazonaws.com", "aws:CalledViaLast": "s3.amazonaws.com",
	}
	chain := map[string][]string{"aws:CalledVia": {"sagemaker.amazonaws.com", "s3.amazonaws.com"}}
	when := func(effect, condition string) string {
		return `"Effect":"` + effect + `","Action":"*","Resource":"*","Condition":{` + condition + `}`
	}
	direct := map[string]string{"aws:ViaAWSService": "false", "aws:SourceIp": "203.0.113.7"}
	outside := `"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"},"Bool":{"aws:ViaAWSService":"false"}`
	runScenes(t, []scene{
		{name: "ViaService", p: pAnn, identity: when("Allow", `"StringEquals":{"kms:ViaService":"`+via+`"}`), context: through, want: Allowed, layer: LayerIdentity},
		{name: "ViaService, direct", p: pAnn, identity: when("Allow", `"StringEquals":{"kms:ViaService":"`+via+`"}`), context: direct, want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "ViaService denied, direct", p: pAnn, identity: allowAll, resource: when("Deny", `"StringNotEquals":{"kms:ViaService":"`+via+`"}`) + `,"Principal":"*"`, context: direct, want: ExplicitlyDenied, layer: LayerResource},
		{name: "CalledVia holds the service", p: pAnn, identity: when("Allow", `"ForAnyValue:StringEquals":{"aws:CalledVia":"sagemaker.amazonaws.com"}`), sets: chain, want: Allowed, layer: LayerIdentity},
		{name: "CalledVia lacks the service", p: pAnn, identity: when("Allow", `"ForAnyValue:StringEquals":{"aws:CalledVia":"athena.amazonaws.com"}`), sets: chain, want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "CalledVia, direct", p: pAnn, identity: when("Allow", `"ForAnyValue:StringEquals":{"aws:CalledVia":"sagemaker.amazonaws.com"}`), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "CalledVia without a set operator", p: pAnn, identity: when("Allow", `"StringEquals":{"aws:CalledVia":"sagemaker.amazonaws.com"}`), sets: chain, want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "CalledViaFirst", p: pAnn, identity: when("Allow", `"StringEquals":{"aws:CalledViaFirst":"sagemaker.amazonaws.com"}`), context: through, want: Allowed, layer: LayerIdentity},
		{name: "CalledViaLast is another", p: pAnn, identity: when("Allow", `"StringEquals":{"aws:CalledViaLast":"sagemaker.amazonaws.com"}`), context: through, want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "an address range spares services", p: pAnn, identity: allowAll, boundary: allowAll, resource: when("Deny", outside) + `,"Principal":"*"`, context: through, want: Allowed, layer: LayerIdentity},
		{name: "an address range does not spare callers", p: pAnn, identity: allowAll, resource: when("Deny", outside) + `,"Principal":"*"`, context: direct, want: ExplicitlyDenied, layer: LayerResource},
		{name: "a deny of the caller bites through a service", p: pAnn, identity: denyAll, context: through, want: ExplicitlyDenied, layer: LayerIdentity},
	})
}

// IAM User Guide, "Granting a user permissions to pass a role to an AWS
// service".
func TestPassRole(t *testing.T) {
	t.Parallel()
	const pass = `"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam::111122223333:role/svc/*","Condition":{"StringEquals":{"iam:PassedToService":"sagemaker.amazonaws.com"}}`
	const like = `"Effect":"Allow","Action":"iam:PassRole","Resource":"*","Condition":{"StringLike":{"iam:PassedToService":"sagemaker*.amazonaws.com"},"ArnLike":{"iam:AssociatedResourceArn":"arn:aws:sagemaker:*:111122223333:*"}}`
	to := func(service string) map[string]string { return map[string]string{"iam:PassedToService": service} }
	runScenes(t, []scene{
		{name: "that service", p: pAnn, action: "iam:PassRole", on: roleR, identity: pass, context: to("sagemaker.amazonaws.com"), want: Allowed, layer: LayerIdentity},
		{name: "another service", p: pAnn, action: "iam:PassRole", on: roleR, identity: pass, context: to("lambda.amazonaws.com"), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "no service told", p: pAnn, action: "iam:PassRole", on: roleR, identity: pass, want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "another role", p: pAnn, action: "iam:PassRole", on: "arn:aws:iam::111122223333:role/Admin", identity: pass, context: to("sagemaker.amazonaws.com"), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "a role of another account", p: pAnn, owner: accB, action: "iam:PassRole", on: "arn:aws:iam::444455556666:role/svc/R", identity: allowAll, context: to("sagemaker.amazonaws.com"), want: ImplicitlyDenied, layer: LayerResource},
		{name: "a pattern, and the resource it is for", p: pAnn, action: "iam:PassRole", on: roleR, identity: like, context: map[string]string{"iam:PassedToService": "sagemaker-geospatial.amazonaws.com", "iam:AssociatedResourceArn": "arn:aws:sagemaker:us-west-2:111122223333:domain/d"}, want: Allowed, layer: LayerIdentity},
		{name: "a pattern, another resource", p: pAnn, action: "iam:PassRole", on: roleR, identity: like, context: map[string]string{"iam:PassedToService": "sagemaker.amazonaws.com", "iam:AssociatedResourceArn": "arn:aws:ec2:us-west-2:111122223333:instance/i"}, want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "the boundary limits", p: pAnn, action: "iam:PassRole", on: roleR, identity: allowAll, boundary: pass, context: to("lambda.amazonaws.com"), want: ImplicitlyDenied, layer: LayerBoundary},
	})
}

// IAM User Guide, "NotAction", "NotResource", "Action", "Resource".
func TestActionAndResourceElements(t *testing.T) {
	t.Parallel()
	allow := func(rest string) string { return `"Effect":"Allow",` + rest }
	deny := func(rest string) string { return `"Effect":"Deny",` + rest + `` }
	ann := map[string]string{"aws:username": "ann"}
	runScenes(t, []scene{
		{name: "action, in another case", p: pAnn, identity: allow(`"Action":"S3:GETOBJECT","Resource":"*"`), want: Allowed, layer: LayerIdentity},
		{name: "action, one character", p: pAnn, identity: allow(`"Action":"s3:Get?bject","Resource":"*"`), want: Allowed, layer: LayerIdentity},
		{name: "action, a character too many", p: pAnn, identity: allow(`"Action":"s3:GetObject?","Resource":"*"`), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "action, middle", p: pAnn, identity: allow(`"Action":"s3:*Obj*","Resource":"*"`), want: Allowed, layer: LayerIdentity},
		{name: "action of every service", p: pAnn, identity: allow(`"Action":"*:GetObject","Resource":"*"`), want: Allowed, layer: LayerIdentity},
		{name: "NotAction of another", p: pAnn, identity: allow(`"NotAction":["iam:*","s3:Put*"],"Resource":"*"`), want: Allowed, layer: LayerIdentity},
		{name: "NotAction of this", p: pAnn, identity: allow(`"NotAction":["iam:*","s3:Get*"],"Resource":"*"`), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "Deny with NotAction of another", p: pAnn, identity: allowAll, boundary: deny(`"NotAction":"iam:*","Resource":"*"`), want: ExplicitlyDenied, layer: LayerBoundary},
		{name: "Deny with NotAction of this", p: pAnn, identity: allowAll, scp: [][]string{{allowAll, deny(`"NotAction":"s3:*","Resource":"*"`)}}, want: Allowed, layer: LayerIdentity},
		{name: "resource, in another case", p: pAnn, identity: allow(`"Action":"s3:*","Resource":"arn:aws:s3:::B/*"`), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "NotResource of another", p: pAnn, identity: allow(`"Action":"s3:*","NotResource":"arn:aws:s3:::c/*"`), want: Allowed, layer: LayerIdentity},
		{name: "NotResource of this", p: pAnn, identity: allow(`"Action":"s3:*","NotResource":["arn:aws:s3:::c/*","arn:aws:s3:::b/ann/*"]`), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "Deny with NotResource", p: pAnn, identity: allowAll, boundary: deny(`"Action":"s3:*","NotResource":"arn:aws:s3:::c/*"`), want: ExplicitlyDenied, layer: LayerBoundary},

		// "Policy variables".
		{name: "variable", p: pAnn, identity: allow(`"Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username}/*"`), context: ann, want: Allowed, layer: LayerIdentity},
		{name: "variable, another user's", p: pAnn, identity: allow(`"Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username}/*"`), context: map[string]string{"aws:username": "bob"}, want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "variable without a value", p: pAnn, identity: allow(`"Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username}/*"`), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "variable without a value beside a resource that matches", p: pAnn, identity: allow(`"Action":"s3:*","Resource":["arn:aws:s3:::b/${aws:username}/*","arn:aws:s3:::b/*"]`), want: Allowed, layer: LayerIdentity},
		{name: "variable with a default", p: pAnn, identity: allow(`"Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:PrincipalTag/team, 'ann'}/*"`), want: Allowed, layer: LayerIdentity},
		{name: "NotResource, variable without a value", p: pAnn, identity: allow(`"Action":"s3:*","NotResource":"arn:aws:s3:::c/${aws:username}/*"`), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "a star in a user's name is no wildcard", p: pAnn, identity: allow(`"Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username}"`), context: map[string]string{"aws:username": "*"}, want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "version 2008-10-17: a variable is text", p: pAnn, identity: "2008 " + allow(`"Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username}/*"`), context: ann, want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "version 2008-10-17: that very text", p: pAnn, action: "s3:GetObject", on: "arn:aws:s3:::b/${aws:username}/x", identity: "2008 " + allow(`"Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username}/*"`), context: ann, want: Allowed, layer: LayerIdentity},
		{name: "version 2008-10-17: in a condition too", p: pAnn, identity: "2008 " + allowAll + `,"Condition":{"StringEquals":{"aws:username":"${aws:username}"}}`, context: ann, want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "version 2012-10-17: in a condition", p: pAnn, identity: allowAll + `,"Condition":{"StringEquals":{"aws:username":"${aws:username}"}}`, context: ann, want: Allowed, layer: LayerIdentity},
	})
}

// IAM User Guide, "Permissions boundaries for IAM entities": a boundary and a
// session policy limit and never grant; the effective permissions are what all
// allow.
func TestPermissionsAreAnIntersection(t *testing.T) {
	t.Parallel()
	statements := map[bool]string{true: allowAll, false: s3Put}
	for i := range 16 {
		identity, boundary, session, scp := i&1 > 0, i&2 > 0, i&4 > 0, i&8 > 0
		s := scene{p: pSession, identity: statements[identity], boundary: statements[boundary], session: statements[session], scp: [][]string{{statements[scp]}}}
		want := LayerIdentity
		switch {
		case !scp:
			want = LayerSCP
		case !identity:
		case !boundary:
			want = LayerBoundary
		case !session:
			want = LayerSession
		}
		t.Run(fmt.Sprint(identity, boundary, session, scp), func(t *testing.T) {
			t.Parallel()
			d := s.decide(t)
			if (d.Effect == Allowed) != (i == 15) || d.Layer != want {
				t.Errorf("Decide = %+v, want %s", d, want)
			}
		})
	}
}

// IAM User Guide, "AWS account root user" and "Evaluating policies within a
// single account": what limits the root user.
func TestRootUser(t *testing.T) {
	t.Parallel()
	runScenes(t, []scene{
		{name: "needs no policy", p: pRoot, want: Allowed, layer: LayerNone},
		{name: "a resource policy that names others does not bind", p: pRoot, resource: allowTo(userAnn), want: Allowed, layer: LayerNone},
		{name: "a deny in the resource policy does", p: pRoot, resource: denyAll + `,"Principal":"*"`, want: ExplicitlyDenied, layer: LayerResource},
		{name: "a control policy does", p: pRoot, scp: [][]string{{denyAll}}, want: ExplicitlyDenied, layer: LayerSCP},
		{name: "trust policy that names the account", trust: true, p: pRoot, resource: allowTo(rootA), want: Allowed, layer: LayerResource},
		{name: "trust policy that does not", trust: true, p: pRoot, resource: allowTo(userAnn), want: ImplicitlyDenied, layer: LayerResource},
		{name: "in another account", p: pRootB, want: ImplicitlyDenied, layer: LayerResource},
		{name: "in another account that names it", p: pRootB, resource: allowTo(pRootB.ARN), want: Allowed, layer: LayerResource},
	})
}

// AWS KMS Developer Guide, "Grants in AWS KMS", "Best practices for IAM
// policies": a grant is an allow among others, and less than a deny.
func TestGrantsAmongPolicies(t *testing.T) {
	t.Parallel()
	to := func(grantee string) []Grant {
		return []Grant{{ID: "g", Grantee: grantee, GranteeIsService: grantee == geo, Operations: []string{"Decrypt"}}}
	}
	rootB := "arn:aws:iam::444455556666:root"
	everybody := `,"Principal":"*"`
	var scenes []scene
	for _, deny := range []scene{
		{name: "identity", identity: denyAll, layer: LayerIdentity},
		{name: "key policy", resource: denyAll + everybody, layer: LayerResource},
		{name: "boundary", boundary: denyAll, layer: LayerBoundary},
		{name: "session", session: denyAll, layer: LayerSession},
		{name: "scp", scp: [][]string{{allowAll, denyAll}}, layer: LayerSCP},
		{name: "rcp", rcp: [][]string{{allowAll + everybody, denyAll + everybody}}, layer: LayerRCP},
		{name: "unreadable key policy", resource: "!x", layer: LayerResource},
	} {
		deny.name = "denied by " + deny.name
		deny.key, deny.p, deny.grants, deny.want = true, pSession, to(roleR), ExplicitlyDenied
		scenes = append(scenes, deny)
	}
	runScenes(t, append(scenes, []scene{
		{name: "federated session by name", key: true, p: pFed, grants: to(pFed.ARN), session: allowAll, want: Allowed, layer: LayerGrant},
		{name: "federated session by its user", key: true, p: pFed, grants: to(userAnn), session: allowAll, want: Allowed, layer: LayerGrant},
		{name: "federated session without session policy", key: true, p: pFed, grants: to(pFed.ARN), want: ImplicitlyDenied, layer: LayerSession},
		{name: "account root: boundary limits", key: true, p: pAnn, grants: to(rootA), identity: allowAll, boundary: s3Put, want: ImplicitlyDenied, layer: LayerBoundary},
		{name: "account root: session policy limits", key: true, p: pSession, grants: to(rootA), identity: allowAll, session: s3Put, want: ImplicitlyDenied, layer: LayerSession},
		{name: "other account's root user", key: true, p: pRootB, grants: to(rootB), want: Allowed, layer: LayerGrant},
		{name: "other account's role, its boundary limits", key: true, p: pQ, grants: to(pQ.RoleARN), boundary: s3Put, want: ImplicitlyDenied, layer: LayerBoundary},
		{name: "the key policy delegates, the grant names", key: true, p: pAnn, resource: allowTo(rootA), grants: to(userAnn), want: Allowed, layer: LayerGrant},
		{name: "a service in another account's name", key: true, p: pAnn, grants: to(geo), want: ImplicitlyDenied, layer: LayerResource},
		{name: "a service-linked role", key: true, p: pLinked, grants: to(pLinked.RoleARN), scp: [][]string{{denyAll}}, want: Allowed, layer: LayerGrant},
	}...))
}

// IAM User Guide, "AWS JSON policy elements: Principal", on services: exact
// names, also by the list of names a service answers to.
func TestServicePrincipals(t *testing.T) {
	t.Parallel()
	to := func(service string) string {
		return allowAll + `,"Principal":{"Service":"` + service + `"}`
	}
	source := `,"Condition":{"StringEquals":{"aws:SourceAccount":"` + accA + `"},"ArnLike":{"aws:SourceArn":"arn:aws:sagemaker:*:` + accA + `:*"}}`
	from := func(account string) map[string]string {
		return map[string]string{"aws:SourceAccount": account, "aws:SourceArn": "arn:aws:sagemaker:us-west-2:" + account + ":feature-group/g"}
	}
	runScenes(t, []scene{
		{name: "regional name", p: pService, resource: to(geo), want: Allowed, layer: LayerResource},
		{name: "name without region", p: pService, resource: to("sagemaker-geospatial.amazonaws.com"), want: Allowed, layer: LayerResource},
		{name: "in another case", p: pService, resource: to(strings.ToUpper(geo)), want: ImplicitlyDenied, layer: LayerResource},
		{name: "another service", p: pService, resource: to("sagemaker.amazonaws.com"), want: ImplicitlyDenied, layer: LayerResource},
		{name: "everybody", p: pService, resource: allowTo("*"), want: Allowed, layer: LayerResource},
		{name: "an account is no service", p: pService, resource: allowTo(accA), want: ImplicitlyDenied, layer: LayerResource},
		{name: "for that account", p: pService, resource: to(geo) + source, context: from(accA), want: Allowed, layer: LayerResource},
		{name: "for another account", p: pService, resource: to(geo) + source, context: from(accB), want: ImplicitlyDenied, layer: LayerResource},
		{name: "for nobody", p: pService, resource: to(geo) + source, want: ImplicitlyDenied, layer: LayerResource},
		{name: "a user is no service", p: pAnn, identity: s3Put, resource: to(geo), want: ImplicitlyDenied, layer: LayerIdentity},
	})
}
