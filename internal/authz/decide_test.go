package authz

import (
	"fmt"
	"strings"
	"testing"
)

const (
	allowAll = `"Effect":"Allow","Action":"*","Resource":"*"`
	denyAll  = `"Effect":"Deny","Action":"*","Resource":"*"`
	allowKMS = `"Effect":"Allow","Action":"kms:*","Resource":"*"`
)

// allowTo is an Allow of everything to an AWS principal.
func allowTo(principal string) string { return allowAll + `,"Principal":{"AWS":"` + principal + `"}` }

// scene is a question in which documents are written as statements, "" for no
// document. A leading ! makes the document unreadable, a leading "2008 " gives it
// the old version of the language.
type scene struct {
	name      string
	p         Principal
	key       bool   // kms:Decrypt on keyARN instead of s3:GetObject on objARN
	trust     bool   // sts:AssumeRole on a role
	action    string // instead of that
	on        string // and its resource
	owner     string // accA when empty
	identity  string
	resource  string
	boundary  string
	session   string
	scp, rcp  [][]string
	grants    []Grant
	grantID   string
	ec        map[string]string
	context   map[string]string
	sets      map[string][]string // multi-valued keys
	want      Effect
	layer     string
	statement string
}

func (s *scene) decide(t *testing.T) Decision {
	t.Helper()
	req, pols := s.question(t)
	return Decide(req, pols, s.grants)
}

// question is what the scene asks Decide, grants aside.
func (s *scene) question(t *testing.T) (*Request, *Policies) {
	t.Helper()
	req := &Request{
		Principal: s.p, Action: "s3:GetObject", Resource: objARN, ResourceAccount: s.owner, Context: NewContext(),
		KMSKey: s.key, Trust: s.trust, EncryptionContext: s.ec, GrantID: s.grantID,
	}
	if req.ResourceAccount == "" {
		req.ResourceAccount = accA
	}
	kind := ResourcePolicy
	switch {
	case s.key:
		req.Action, req.Resource, kind = "kms:Decrypt", keyARN, KeyPolicy
	case s.trust:
		req.Action, req.Resource, kind = "sts:AssumeRole", "arn:aws:iam::111122223333:role/T", TrustPolicy
	}
	if s.action != "" {
		req.Action, req.Resource = s.action, s.on
	}
	for k, v := range s.context {
		req.Context.Set(k, v)
	}
	for k, v := range s.sets {
		req.Context.SetMulti(k, v...)
	}
	doc := func(kind Kind, statement string) *Policy {
		if rest, bad := strings.CutPrefix(statement, "!"); bad {
			return Unreadable(rest)
		}
		if rest, old := strings.CutPrefix(statement, "2008 "); old {
			return compile(t, kind, `{"Statement":{`+rest+`}}`)
		}
		if kind == TrustPolicy {
			statement = strings.NewReplacer(`"Action":"*"`, `"Action":"sts:AssumeRole"`, `,"Resource":"*"`, "").Replace(statement)
		}
		if kind == RCP { // saved, but for the Allow that only AWS's own has
			p, err := ParseStored(kind, []byte(one(statement)))
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		return compile(t, kind, one(statement))
	}
	docs := func(kind Kind, statement string) []*Policy {
		if statement == "" {
			return nil
		}
		return []*Policy{doc(kind, statement)}
	}
	levels := func(kind Kind, in [][]string) (out [][]*Policy) {
		for _, level := range in {
			var ps []*Policy
			for _, st := range level {
				ps = append(ps, doc(kind, st))
			}
			out = append(out, ps)
		}
		return out
	}
	pols := &Policies{
		Identity: docs(IdentityPolicy, s.identity), Boundary: docs(BoundaryPolicy, s.boundary), Session: docs(SessionPolicy, s.session),
		SCP: levels(SCP, s.scp), RCP: levels(RCP, s.rcp),
	}
	if s.resource != "" {
		pols.Resource = doc(kind, s.resource)
	}
	return req, pols
}

func runScenes(t *testing.T, scenes []scene) {
	t.Helper()
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			d := s.decide(t)
			if d.Effect != s.want || d.Layer != s.layer {
				t.Errorf("Decide = %+v, want %v by %s", d, s.want, s.layer)
			}
			if s.statement != "" && d.Statement != s.statement {
				t.Errorf("statement %q, want %q", d.Statement, s.statement)
			}
			if d.Reason == "" {
				t.Error("no reason")
			}
		})
	}
}

var (
	pRoot    = refPrincipals[0]
	pAnn     = refPrincipals[1]
	pSession = refPrincipals[2]
	pLinked  = refPrincipals[3]
	pFed     = refPrincipals[4]
	pService = refPrincipals[5]
	pNobody  = refPrincipals[6]
	pBob     = refPrincipals[7] // of account B
	pQ       = refPrincipals[8] // of account B
	pRootB   = refPrincipals[9]
)

const (
	rootA   = "arn:aws:iam::111122223333:root"
	kmsOnly = allowKMS // allows nothing on S3
	s3Put   = `"Effect":"Allow","Action":"s3:PutObject","Resource":"*"`
)

// IAM User Guide, "Policy evaluation logic": within one account.
func TestSameAccount(t *testing.T) {
	t.Parallel()
	runScenes(t, []scene{
		{name: "no policy", p: pAnn, want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "identity allows", p: pAnn, identity: `"Sid":"A",` + allowAll, want: Allowed, layer: LayerIdentity, statement: "A"},
		{name: "identity allows, index", p: pAnn, identity: allowAll, want: Allowed, layer: LayerIdentity, statement: "0"},
		{name: "identity denies", p: pAnn, identity: denyAll, resource: allowTo(userAnn), want: ExplicitlyDenied, layer: LayerIdentity},
		{name: "resource denies", p: pAnn, identity: allowAll, resource: denyAll + `,"Principal":"*"`, want: ExplicitlyDenied, layer: LayerResource},
		{name: "boundary denies", p: pAnn, identity: allowAll, boundary: denyAll, want: ExplicitlyDenied, layer: LayerBoundary},
		{name: "session denies", p: pSession, identity: allowAll, session: denyAll, resource: allowTo(sessR), want: ExplicitlyDenied, layer: LayerSession},
		{name: "boundary does not grant", p: pAnn, boundary: allowAll, want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "boundary limits", p: pAnn, identity: allowAll, boundary: kmsOnly, want: ImplicitlyDenied, layer: LayerBoundary},
		{name: "boundary and identity", p: pAnn, identity: allowAll, boundary: allowAll, want: Allowed, layer: LayerIdentity},
		{name: "session does not grant", p: pSession, session: allowAll, want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "session limits", p: pSession, identity: allowAll, session: kmsOnly, want: ImplicitlyDenied, layer: LayerSession},
		{name: "deny in both: identity is named", p: pAnn, identity: denyAll, resource: denyAll + `,"Principal":"*"`, want: ExplicitlyDenied, layer: LayerIdentity},

		{name: "names the user: no identity", p: pAnn, resource: allowTo(userAnn), want: Allowed, layer: LayerResource},
		{name: "names the user: boundary", p: pAnn, resource: allowTo(userAnn), boundary: kmsOnly, want: Allowed, layer: LayerResource},
		{name: "names the user by id", p: pAnn, resource: allowTo(pAnn.UserID), want: Allowed, layer: LayerResource},
		{name: "names the role: no identity", p: pSession, resource: allowTo(roleR), want: Allowed, layer: LayerResource},
		{name: "names the role by id", p: pSession, resource: allowTo(pSession.RoleID), want: Allowed, layer: LayerResource},
		{name: "names the role: boundary limits", p: pSession, resource: allowTo(roleR), boundary: kmsOnly, want: ImplicitlyDenied, layer: LayerBoundary},
		{name: "names the role: session limits", p: pSession, resource: allowTo(roleR), session: kmsOnly, want: ImplicitlyDenied, layer: LayerSession},
		{name: "names the role without its path", p: pSession, resource: allowTo("arn:aws:iam::111122223333:role/R"), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "names the session: boundary and session", p: pSession, resource: allowTo(sessR), boundary: kmsOnly, session: kmsOnly, want: Allowed, layer: LayerResource},
		{name: "names another session", p: pSession, resource: allowTo(sessR + "x"), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "user of a federated session", p: pFed, resource: allowTo(userAnn), session: allowAll, want: Allowed, layer: LayerResource},
		{name: "user of a federated session: boundary limits", p: pFed, resource: allowTo(userAnn), boundary: kmsOnly, session: allowAll, want: ImplicitlyDenied, layer: LayerBoundary},
		{name: "user of a federated session: session limits", p: pFed, resource: allowTo(userAnn), session: kmsOnly, want: ImplicitlyDenied, layer: LayerSession},
		{name: "federated session without policy", p: pFed, identity: allowAll, want: ImplicitlyDenied, layer: LayerSession},
		{name: "names the federated session", p: pFed, resource: allowTo(pFed.ARN), boundary: kmsOnly, want: Allowed, layer: LayerResource},
		{name: "names the account only", p: pAnn, resource: allowTo(rootA), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "names the account by number", p: pAnn, resource: allowTo(accA), identity: allowAll, boundary: kmsOnly, want: ImplicitlyDenied, layer: LayerBoundary},
		{name: "star", p: pSession, resource: allowTo("*"), boundary: kmsOnly, session: kmsOnly, want: Allowed, layer: LayerResource},
		{name: "root user", p: pRoot, want: Allowed, layer: LayerNone},
		{name: "root user, resource denies", p: pRoot, resource: denyAll + `,"Principal":{"AWS":"` + rootA + `"}`, want: ExplicitlyDenied, layer: LayerResource},
		{name: "account in a Deny is everybody of it", p: pAnn, identity: allowAll, resource: denyAll + `,"Principal":{"AWS":"` + accA + `"}`, want: ExplicitlyDenied, layer: LayerResource},
		{name: "nobody at all", want: ImplicitlyDenied, layer: LayerNone},
	})
}

// IAM User Guide, "Cross-account policy evaluation logic"; the layers are those
// AWS reports.
func TestCrossAccount(t *testing.T) {
	t.Parallel()
	roleQ := pQ.RoleARN
	runScenes(t, []scene{
		{name: "identity alone", p: pBob, identity: allowAll, want: ImplicitlyDenied, layer: LayerResource},
		{name: "neither", p: pBob, want: ImplicitlyDenied, layer: LayerResource},
		{name: "resource names the user, identity missing", p: pBob, resource: allowTo(pBob.ARN), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "resource names the account, identity missing", p: pBob, resource: allowTo(accB), want: ImplicitlyDenied, layer: LayerResource},
		{name: "star, identity missing", p: pBob, resource: allowTo("*"), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "both, user", p: pBob, identity: allowAll, resource: allowTo(pBob.ARN), want: Allowed, layer: LayerIdentity},
		{name: "both, account", p: pBob, identity: allowAll, resource: allowTo(accB), want: Allowed, layer: LayerIdentity},
		{name: "both, star", p: pBob, identity: allowAll, resource: allowTo("*"), want: Allowed, layer: LayerIdentity},
		{name: "boundary limits whatever is named", p: pQ, identity: allowAll, resource: allowTo(pQ.ARN), boundary: kmsOnly, want: ImplicitlyDenied, layer: LayerBoundary},
		{name: "session limits whatever is named", p: pQ, identity: allowAll, resource: allowTo(roleQ), session: kmsOnly, want: ImplicitlyDenied, layer: LayerSession},
		{name: "root of the other account", p: pRootB, resource: allowTo(accB), want: Allowed, layer: LayerResource},
		{name: "root of the other account, not named", p: pRootB, resource: allowTo(accA), want: ImplicitlyDenied, layer: LayerResource},
		{name: "denies in the other account", p: pBob, identity: denyAll, resource: allowTo(pBob.ARN), want: ExplicitlyDenied, layer: LayerIdentity},
		{name: "control policy of the caller's account", p: pBob, identity: allowAll, resource: allowTo(accB), scp: [][]string{{kmsOnly}}, want: ImplicitlyDenied, layer: LayerSCP},
	})
	d := Decide(&Request{Principal: pAnn, Action: "s3:GetObject", Resource: objARN}, &Policies{Identity: []*Policy{compile(t, IdentityPolicy, one(allowAll))}}, nil)
	if d.Effect != ImplicitlyDenied {
		t.Errorf("a resource of an unknown account: %+v", d)
	}
}

// AWS KMS Developer Guide, "Default key policy", "Troubleshooting key access".
func TestKeyPolicies(t *testing.T) {
	t.Parallel()
	decryptTo := func(p string) string {
		return `"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Principal":{"AWS":"` + p + `"}`
	}
	runScenes(t, []scene{
		{name: "IAM alone", key: true, p: pAnn, identity: allowAll, resource: decryptTo(pBob.ARN), want: ImplicitlyDenied, layer: LayerResource},
		{name: "IAM alone, key without policy", key: true, p: pAnn, identity: allowAll, want: ImplicitlyDenied, layer: LayerResource},
		{name: "account statement and IAM", key: true, p: pAnn, identity: allowKMS, resource: decryptTo(rootA), want: Allowed, layer: LayerIdentity},
		{name: "account statement without IAM", key: true, p: pAnn, resource: decryptTo(rootA), want: ImplicitlyDenied, layer: LayerIdentity},
		{
			name: "partial delegation", key: true, p: pAnn, identity: allowAll,
			resource: `"Effect":"Allow","Action":"kms:DescribeKey","Resource":"*","Principal":{"AWS":"` + rootA + `"}`, want: ImplicitlyDenied, layer: LayerResource,
		},
		{
			name: "conditional delegation", key: true, p: pAnn, identity: allowAll,
			resource: decryptTo(rootA) + `,"Condition":{"StringEquals":{"kms:ViaService":"s3.us-west-2.amazonaws.com"}}`, want: ImplicitlyDenied, layer: LayerResource,
		},
		{name: "user", key: true, p: pAnn, resource: decryptTo(userAnn), want: Allowed, layer: LayerResource},
		{name: "role", key: true, p: pSession, resource: decryptTo(roleR), want: Allowed, layer: LayerResource},
		{name: "session", key: true, p: pSession, resource: decryptTo(sessR), boundary: s3Put, want: Allowed, layer: LayerResource},
		{name: "star", key: true, p: pSession, resource: decryptTo("*"), want: Allowed, layer: LayerResource},
		{
			name: "star with a condition that fails", key: true, p: pSession, identity: allowAll,
			resource: decryptTo("*") + `,"Condition":{"StringEquals":{"kms:CallerAccount":"111122223333"}}`, want: ImplicitlyDenied, layer: LayerResource,
		},
		{
			name: "star with a condition that holds", key: true, p: pSession, context: map[string]string{"kms:CallerAccount": accA},
			resource: decryptTo("*") + `,"Condition":{"StringEquals":{"kms:CallerAccount":"111122223333"}}`, want: Allowed, layer: LayerResource,
		},
		{name: "root user with an account statement", key: true, p: pRoot, resource: decryptTo(rootA), want: Allowed, layer: LayerResource},
		{name: "root user locked out", key: true, p: pRoot, resource: decryptTo(userAnn), want: ImplicitlyDenied, layer: LayerResource},
		{name: "IAM denies without an account statement", key: true, p: pAnn, identity: denyAll, resource: decryptTo(userAnn), want: ExplicitlyDenied, layer: LayerIdentity},
		{name: "cross-account, key policy and IAM", key: true, p: pBob, identity: allowKMS, resource: decryptTo(accB), want: Allowed, layer: LayerIdentity},
		{name: "cross-account, key policy alone", key: true, p: pBob, resource: decryptTo(pBob.ARN), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "statement without Resource", key: true, p: pAnn, resource: `"Effect":"Allow","Action":"kms:*","Principal":"*"`, want: ImplicitlyDenied, layer: LayerResource},
		{name: "deny without Resource", key: true, p: pAnn, identity: allowAll, resource: `"Effect":"Deny","Action":"kms:*","Principal":"*"`, want: ImplicitlyDenied, layer: LayerResource},
		{name: "Resource of another key", key: true, p: pAnn, resource: `"Effect":"Allow","Action":"kms:*","Principal":"*","Resource":"` + keyARN + `x"`, want: ImplicitlyDenied, layer: LayerResource},
		{name: "service", key: true, p: pService, resource: `"Effect":"Allow","Action":"kms:*","Resource":"*","Principal":{"Service":"` + geo + `"}`, want: Allowed, layer: LayerResource},
		{name: "service by its other name", key: true, p: pService, resource: `"Effect":"Allow","Action":"kms:*","Resource":"*","Principal":{"Service":"sagemaker-geospatial.amazonaws.com"}`, want: Allowed, layer: LayerResource},
		{name: "another service", key: true, p: pService, identity: allowAll, resource: `"Effect":"Allow","Action":"kms:*","Resource":"*","Principal":{"Service":"s3.amazonaws.com"}`, want: ImplicitlyDenied, layer: LayerResource},
	})
	// A key policy makes the resource a key even if the request does not say so.
	d := Decide(&Request{Principal: pAnn, Action: "kms:Decrypt", Resource: keyARN}, &Policies{
		Identity: []*Policy{compile(t, IdentityPolicy, one(allowAll))}, Resource: compile(t, KeyPolicy, one(decryptTo(pBob.ARN))),
	}, nil)
	if d.Effect != ImplicitlyDenied {
		t.Errorf("key policy without KMSKey: %+v", d)
	}
}

// IAM User Guide, "Role trust policies", "AssumeRole".
func TestTrustPolicies(t *testing.T) {
	t.Parallel()
	webID := Principal{Type: Federated, ARN: "arn:aws:iam::111122223333:oidc-provider/idp.example.com"}
	federated := `"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Federated":"` + webID.ARN + `"}`
	runScenes(t, []scene{
		{name: "identity alone", trust: true, p: pAnn, identity: allowAll, want: ImplicitlyDenied, layer: LayerResource},
		{name: "names the user", trust: true, p: pAnn, resource: allowTo(userAnn), want: Allowed, layer: LayerResource},
		{name: "names the role", trust: true, p: pSession, resource: allowTo(roleR), want: Allowed, layer: LayerResource},
		{name: "names the account", trust: true, p: pAnn, resource: allowTo(rootA), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "names the account, identity allows", trust: true, p: pAnn, identity: allowAll, resource: allowTo(rootA), want: Allowed, layer: LayerIdentity},
		{name: "cross-account", trust: true, p: pBob, resource: allowTo(pBob.ARN), want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "cross-account, both", trust: true, p: pBob, identity: allowAll, resource: allowTo(pBob.ARN), want: Allowed, layer: LayerIdentity},
		{name: "a role does not trust itself", trust: true, p: pSession, identity: allowAll, resource: allowTo(userAnn), want: ImplicitlyDenied, layer: LayerResource},
		{name: "service", trust: true, p: Principal{Type: Service, Service: "sagemaker.amazonaws.com"}, resource: allowAll + `,"Principal":{"Service":"sagemaker.amazonaws.com"}`, want: Allowed, layer: LayerResource},
		{name: "provider", trust: true, p: webID, resource: federated, want: Allowed, layer: LayerResource},
		{name: "another provider", trust: true, p: Principal{Type: Federated, ARN: webID.ARN + "x"}, resource: federated, want: ImplicitlyDenied, layer: LayerResource},
	})
}

// AWS Organizations User Guide, "SCP evaluation", "RCP evaluation".
func TestControlPolicies(t *testing.T) {
	t.Parallel()
	everyone := allowAll + `,"Principal":"*"`
	toService := allowAll + `,"Principal":{"Service":"` + geo + `"}`
	runScenes(t, []scene{
		{name: "every level allows", p: pAnn, identity: allowAll, scp: [][]string{{kmsOnly, allowAll}, {allowAll}}, want: Allowed, layer: LayerIdentity},
		{name: "one level does not", p: pAnn, identity: allowAll, scp: [][]string{{allowAll}, {kmsOnly}}, want: ImplicitlyDenied, layer: LayerSCP},
		{name: "a level without policies", p: pAnn, identity: allowAll, scp: [][]string{{allowAll}, {}}, want: ImplicitlyDenied, layer: LayerSCP},
		{name: "a level denies", p: pAnn, identity: allowAll, scp: [][]string{{kmsOnly}, {denyAll}}, want: ExplicitlyDenied, layer: LayerSCP},
		{name: "binds the root user", p: pRoot, scp: [][]string{{kmsOnly}}, want: ImplicitlyDenied, layer: LayerSCP},
		{name: "binds whom the resource policy names", p: pAnn, resource: allowTo(userAnn), scp: [][]string{{kmsOnly}}, want: ImplicitlyDenied, layer: LayerSCP},
		{name: "grants nothing", p: pAnn, scp: [][]string{{allowAll}}, want: ImplicitlyDenied, layer: LayerIdentity},
		{name: "does not bind services", p: pService, resource: toService, scp: [][]string{{denyAll}}, want: Allowed, layer: LayerResource},
		{name: "does not bind service-linked roles", p: pLinked, identity: allowAll, scp: [][]string{{denyAll}}, rcp: [][]string{{denyAll + `,"Principal":"*"`}}, want: Allowed, layer: LayerIdentity},
		{name: "does not bind the anonymous", p: pNobody, resource: everyone, scp: [][]string{{denyAll}}, want: Allowed, layer: LayerResource},
		{name: "RCP allows", p: pAnn, identity: allowAll, rcp: [][]string{{everyone}}, want: Allowed, layer: LayerIdentity},
		{name: "RCP does not allow", p: pAnn, identity: allowAll, rcp: [][]string{{everyone}, {kmsOnly + `,"Principal":"*"`}}, want: ImplicitlyDenied, layer: LayerRCP},
		{name: "RCP denies", p: pAnn, identity: allowAll, rcp: [][]string{{everyone, denyAll + `,"Principal":"*"`}}, want: ExplicitlyDenied, layer: LayerRCP},
		{name: "RCP binds services", p: pService, resource: toService, rcp: [][]string{{denyAll + `,"Principal":"*"`}}, want: ExplicitlyDenied, layer: LayerRCP},
		{name: "RCP binds other accounts", p: pBob, identity: allowAll, resource: allowTo(accB), rcp: [][]string{{everyone, denyAll + `,"Principal":"*","Condition":{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}}`}}, want: ExplicitlyDenied, layer: LayerRCP},
	})
}

// IAM User Guide, "NotPrincipal", "Permissions boundaries for IAM entities".
func TestNotPrincipal(t *testing.T) {
	t.Parallel()
	except := func(arns ...string) string {
		return denyAll + `,"NotPrincipal":{"AWS":["` + strings.Join(arns, `","`) + `"]}`
	}
	runScenes(t, []scene{
		{name: "user and account", p: pAnn, identity: allowAll, resource: except(userAnn, rootA), want: Allowed, layer: LayerIdentity},
		{name: "user without account", p: pAnn, identity: allowAll, resource: except(userAnn), want: ExplicitlyDenied, layer: LayerResource},
		{name: "the account exempts nobody else", p: pSession, identity: allowAll, resource: except(userAnn, rootA), want: ExplicitlyDenied, layer: LayerResource},
		{name: "the account exempts its root user", p: pRoot, resource: except(userAnn, rootA), want: Allowed, layer: LayerNone},
		{name: "role and account", p: pSession, identity: allowAll, resource: except(roleR, accA), want: Allowed, layer: LayerIdentity},
		{name: "session, role and account", p: pSession, identity: allowAll, resource: except(sessR, roleR, rootA), want: Allowed, layer: LayerIdentity},
		{name: "another session, role not listed", p: pSession, identity: allowAll, resource: except(sessR+"x", rootA), want: ExplicitlyDenied, layer: LayerResource},
		{name: "with a boundary always", p: pAnn, identity: allowAll, boundary: allowAll, resource: except(userAnn, rootA), want: ExplicitlyDenied, layer: LayerResource},
		{name: "anonymous", p: pNobody, resource: except(userAnn, rootA), want: ExplicitlyDenied, layer: LayerResource},
		{name: "service listed", p: pService, resource: denyAll + `,"NotPrincipal":{"Service":"` + geo + `"}`, want: ImplicitlyDenied, layer: LayerResource},
		{name: "everybody", p: pAnn, identity: allowAll, resource: denyAll + `,"NotPrincipal":"*"`, want: Allowed, layer: LayerIdentity},
		{name: "Allow reaches the rest", p: pBob, identity: allowAll, resource: allowAll + `,"NotPrincipal":{"AWS":"` + accA + `"}`, want: Allowed, layer: LayerIdentity},
		{name: "Allow does not reach the listed account", p: pAnn, resource: allowAll + `,"NotPrincipal":{"AWS":"` + accA + `"}`, want: ImplicitlyDenied, layer: LayerIdentity},
	})
}

func TestServicesAndAnonymous(t *testing.T) {
	t.Parallel()
	runScenes(t, []scene{
		{name: "anonymous, star", p: pNobody, resource: allowTo("*"), want: Allowed, layer: LayerResource},
		{name: "anonymous, account", p: pNobody, resource: allowTo(accA), want: ImplicitlyDenied, layer: LayerResource},
		{name: "anonymous, no policy", p: pNobody, want: ImplicitlyDenied, layer: LayerResource},
		{name: "anonymous has no identity policies", p: pNobody, identity: allowAll, want: ImplicitlyDenied, layer: LayerResource},
		{name: "service, no policy", p: pService, want: ImplicitlyDenied, layer: LayerResource},
		{name: "service has no identity policies", p: pService, identity: allowAll, want: ImplicitlyDenied, layer: LayerResource},
		{name: "service, denied", p: pService, resource: denyAll + `,"Principal":"*"`, want: ExplicitlyDenied, layer: LayerResource},
	})
}

// Invariant I5: what cannot be read denies, in every layer, above any allow.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	grants := []Grant{{ID: "g", Grantee: userAnn, Operations: []string{"Decrypt"}}}
	scenes := []scene{
		{name: "identity", p: pAnn, identity: "!x", resource: allowTo(userAnn), layer: LayerIdentity},
		{name: "resource", p: pAnn, identity: allowAll, resource: "!x", layer: LayerResource},
		{name: "boundary", p: pAnn, identity: allowAll, boundary: "!x", layer: LayerBoundary},
		{name: "session", p: pSession, identity: allowAll, session: "!x", layer: LayerSession},
		{name: "scp", p: pAnn, identity: allowAll, scp: [][]string{{allowAll, "!x"}}, layer: LayerSCP},
		{name: "rcp", p: pAnn, identity: allowAll, rcp: [][]string{{"!x"}}, layer: LayerRCP},
		{name: "key policy against a grant", key: true, p: pAnn, resource: "!x", grants: grants, layer: LayerResource},
	}
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			d := s.decide(t)
			if d.Effect != ExplicitlyDenied || d.Layer != s.layer || d.Reason != "malformed policy" || d.Statement != "" || d.Policy != "x" {
				t.Errorf("Decide = %+v", d)
			}
		})
	}
	// A policy in the wrong layer is no better than none that can be read.
	identity, resource := compile(t, IdentityPolicy, one(allowAll)), compile(t, ResourcePolicy, one(allowTo("*")))
	req := &Request{Principal: pAnn, Action: "s3:GetObject", Resource: objARN, ResourceAccount: accA}
	for _, pols := range []*Policies{
		{Identity: []*Policy{resource}},
		{Identity: []*Policy{identity}, Resource: identity},
		{Identity: []*Policy{identity, nil}},
		{Identity: []*Policy{identity}, RCP: [][]*Policy{{nil}}},
		{Identity: []*Policy{identity}, SCP: [][]*Policy{{resource}}},
	} {
		if d := Decide(req, pols, nil); d.Effect != ExplicitlyDenied {
			t.Errorf("misplaced policy: %+v", d)
		}
	}
	if d := Decide(req, nil, nil); d.Effect != ImplicitlyDenied {
		t.Errorf("no policies: %+v", d)
	}
}

// IAM User Guide, "Principal": saving ties ARNs to unique ids.
func TestBind(t *testing.T) {
	t.Parallel()
	again := pSession
	again.RoleID = "AROARRRRRRRRRRRRRRR2"
	unknown := pSession
	unknown.RoleID = ""
	ids := map[string]string{roleR: pSession.RoleID, sessR: pSession.RoleID, userAnn: pAnn.UserID}
	for _, tt := range []struct {
		name      string
		statement string
		p         Principal
		want      Effect
	}{
		{"role", allowTo(roleR), pSession, Allowed},
		{"role made again", allowTo(roleR), again, ImplicitlyDenied},
		{"role of unknown id", allowTo(roleR), unknown, ImplicitlyDenied},
		{"session", allowTo(sessR), pSession, Allowed},
		{"session of a role made again", allowTo(sessR), again, ImplicitlyDenied},
		{"user", allowTo(userAnn), pAnn, Allowed},
		{"deny does not reach a role made again", denyAll + `,"Principal":{"AWS":"` + roleR + `"}`, again, ImplicitlyDenied},
		{"deny reaches a role of unknown id", denyAll + `,"Principal":{"AWS":"` + roleR + `"}`, unknown, ExplicitlyDenied},
		{"not exempt: made again", denyAll + `,"NotPrincipal":{"AWS":["` + roleR + `","` + rootA + `"]}`, again, ExplicitlyDenied},
	} {
		p := compile(t, ResourcePolicy, one(tt.statement)).Bind(ids)
		d := Decide(&Request{Principal: tt.p, Action: "s3:GetObject", Resource: objARN, ResourceAccount: accA}, &Policies{Resource: p}, nil)
		if d.Effect != tt.want {
			t.Errorf("%s: %+v, want %v", tt.name, d, tt.want)
		}
	}
}

// IAM User Guide, "Troubleshoot access denied error messages".
func TestDeniedMessage(t *testing.T) {
	t.Parallel()
	const head = "User: " + userAnn + " is not authorized to perform: s3:GetObject on resource: " + objARN
	for _, tt := range []struct {
		d    Decision
		want string
	}{
		{Decision{Layer: LayerIdentity}, " because no identity-based policy allows the s3:GetObject action"},
		{Decision{Layer: LayerResource}, " because no resource-based policy allows the s3:GetObject action"},
		{Decision{Layer: LayerGrant}, " because no resource-based policy allows the s3:GetObject action"},
		{Decision{Layer: LayerBoundary}, " because no permissions boundary allows the s3:GetObject action"},
		{Decision{Layer: LayerSession}, " because no session policy allows the s3:GetObject action"},
		{Decision{Layer: LayerSCP}, " because no service control policy allows the s3:GetObject action"},
		{Decision{Layer: LayerRCP}, " because no resource control policy allows the s3:GetObject action"},
		{Decision{Layer: LayerIdentity, Effect: ExplicitlyDenied}, " with an explicit deny in an identity-based policy"},
		{Decision{Layer: LayerResource, Effect: ExplicitlyDenied}, " with an explicit deny in a resource-based policy"},
		{Decision{Layer: LayerBoundary, Effect: ExplicitlyDenied}, " with an explicit deny in a permissions boundary"},
		{Decision{Layer: LayerSCP, Effect: ExplicitlyDenied}, " with an explicit deny in a service control policy"},
		{Decision{Layer: LayerNone}, ""},
	} {
		if got := DeniedMessage(userAnn, "s3:GetObject", objARN, tt.d); got != head+tt.want {
			t.Errorf("%+v: %q, want %q", tt.d, got, head+tt.want)
		}
	}
	if got := DeniedMessage(userAnn, "s3:GetObject", "", Decision{}); strings.Contains(got, "resource") {
		t.Errorf("without a resource: %q", got)
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		s    scene
		want string
	}{
		{"nothing attached", scene{p: pAnn}, "no identity policy allows the action: none is attached"},
		{"other action", scene{p: pAnn, identity: s3Put}, "no statement allows s3:GetObject"},
		{"other resource", scene{p: pAnn, identity: `"Sid":"R","Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::c/*"`}, `statement "R" allows the action on other resources`},
		{"other principal", scene{p: pBob, resource: allowTo(userAnn)}, "statement 0 allows the action to other principals"},
		{"absent key", scene{p: pAnn, identity: allowAll + `,"Condition":{"Bool":{"aws:SecureTransport":"true"}}`}, "condition Bool on aws:SecureTransport of statement 0 is not met: the request has no such key"},
		{"other value", scene{p: pAnn, identity: allowAll + `,"Condition":{"Bool":{"aws:SecureTransport":"true"}}`, context: map[string]string{"aws:SecureTransport": "false"}}, "condition Bool on aws:SecureTransport of statement 0 is not met"},
		{"no Resource", scene{p: pAnn, key: true, resource: `"Effect":"Allow","Action":"kms:*","Principal":"*"`}, "statement 0 has no Resource and so no effect"},
		{"explicit deny", scene{p: pAnn, identity: `"Sid":"No",` + denyAll}, `explicit deny by statement "No"`},
		{"grant", scene{p: pAnn, key: true, grants: []Grant{{ID: "g1", Grantee: userAnn, Operations: []string{"Encrypt"}}}}, `grant "g1" does not list the operation`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if d := tt.s.decide(t); !strings.Contains(d.Reason, tt.want) {
				t.Errorf("reason %q, want %q", d.Reason, tt.want)
			}
		})
	}
}

func ExampleDecide() {
	keyPolicy, err := Parse(KeyPolicy, []byte(`{"Version":"2012-10-17","Statement":[{"Sid":"Enable IAM","Effect":"Allow",
		"Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}]}`))
	if err != nil {
		panic(err)
	}
	ann := Principal{Type: User, ARN: "arn:aws:iam::111122223333:user/ann", Account: "111122223333"}
	req := &Request{
		Principal: ann, Action: "kms:Decrypt", Resource: "arn:aws:kms:us-west-2:111122223333:key/1234abcd",
		ResourceAccount: "111122223333", Context: NewContext(), KMSKey: true,
	}
	d := Decide(req, &Policies{Resource: keyPolicy}, nil)
	fmt.Println(d.Effect, d.Layer)
	fmt.Println(DeniedMessage(ann.ARN, req.Action, req.Resource, d))
	d = Decide(req, &Policies{Resource: keyPolicy}, []Grant{{ID: "g", Grantee: ann.ARN, Operations: []string{"Decrypt"}}})
	fmt.Println(d.Effect, d.Layer)
	// Output:
	// ImplicitlyDenied identity
	// User: arn:aws:iam::111122223333:user/ann is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:us-west-2:111122223333:key/1234abcd because no identity-based policy allows the kms:Decrypt action
	// Allowed grant
}
