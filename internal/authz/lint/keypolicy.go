package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/authz/catalog"
)

// checkKeyAction reports actions that a key policy cannot give: a key policy
// speaks of one key.
//
// Source: AWS KMS Developer Guide, "AWS KMS permissions".
func (c *checker) checkKeyAction(s *statement, u *use, prefix string) {
	switch {
	case u.dead:
	case !strings.EqualFold(prefix, "kms"):
		u.dead = true
		c.report(s, u.at, Error, ActionOfOtherService, fmt.Sprintf("%s is no action of KMS, and a key policy decides about its key alone", u.text),
			"put it into an identity policy")
	case u.known && !u.any(onKey):
		u.dead = true
		c.report(s, u.at, Error, ActionWithoutKey, fmt.Sprintf("%s works on no key, so a key policy never decides about it", u.text),
			"allow it in an identity policy, with the Resource \"*\"")
	case !s.deny && strings.EqualFold(u.text, "kms:RetireGrant"):
		c.report(s, u.at, Warning, NotInKeyPolicy, "kms:RetireGrant is decided by the grant: an Allow in a key policy has no effect",
			"name the retiring principal, or list RetireGrant among the grant's operations, when the grant is made")
	}
}

// onKey reports whether the action works on a key.
func onKey(a *catalog.Action) bool {
	return slices.ContainsFunc(a.Resources, func(r catalog.ResourceType) bool { return r.Name == "key" })
}

// checkKeyStatement checks what only statements of key policies have to keep.
func (c *checker) checkKeyStatement(s *statement) {
	if !s.hasResource {
		c.report(s, s.at, Error, StatementWithoutResource, "a statement without Resource has no effect", `add "Resource": "*", which means this key`)
	}
	keys := template("arn:${Partition}:kms:${Region}:${Account}:key/${KeyId}")
	for _, r := range s.resources {
		p := compile(r.text, true, c.variables())
		switch {
		case r.text == "*":
		case !overlap(p, keys):
			c.report(s, r.at, Error, KeyPolicyResource, fmt.Sprintf("a key policy decides about its key, and %s is no ARN of a key", r.text),
				`use "*", which means this key`)
		case c.opts.Resource != "" && !covers(p, compile(c.opts.Resource, false, false)):
			c.report(s, r.at, Error, KeyPolicyResource, fmt.Sprintf("a key policy decides about its key, and %s is another one", r.text),
				`use "*", which means this key`)
		case c.opts.Resource == "" && !p.wild():
			c.report(s, r.at, Warning, KeyPolicyResource, fmt.Sprintf("the statement has an effect only if this key is %s", r.text),
				`use "*", which means this key`)
		}
	}
	if !s.deny && s.everybody() && len(s.conditions) == 0 {
		c.report(s, s.principalAt, Warning, AllowsEverybody, "everybody, in every account and without a signature, is allowed",
			"name principals, or add a condition such as kms:CallerAccount")
	}
}

// checkLockout reports a key policy by which nobody may change the key policy.
//
// Source: AWS KMS Developer Guide, "Default key policy".
func (c *checker) checkLockout() {
	if c.refused && len(c.policy.statements) == 0 {
		return
	}
	put := compile("kms:putkeypolicy", false, false)
	for i := range c.policy.statements {
		s := &c.policy.statements[i]
		named := slices.ContainsFunc(s.actions, func(e entry) bool { return covers(compile(strings.ToLower(e.text), true, false), put) })
		if s.deny || !s.hasResource || named == s.notAction {
			continue
		}
		if s.notPrincipal || slices.ContainsFunc(s.principals, canManage) {
			if !slices.ContainsFunc(s.conditions, func(d condition) bool { return d.is("kms:ViaService") && d.needsKey() }) {
				return
			}
		}
	}
	at := 0
	if len(c.policy.statements) > 0 {
		at = c.policy.statements[0].at
	}
	c.report(nil, at, Warning, KeyPolicyLockout, "no statement lets anybody change the key policy, not even the account: the key cannot be managed",
		`allow kms:* to "arn:aws:iam::ACCOUNT:root", or kms:PutKeyPolicy to an administrator`)
}

// canManage reports whether the principal can be a user, a role or an account.
func canManage(p principal) bool {
	if p.text == "*" {
		return true
	}
	return p.typ == "AWS" && principalProblem(p) == "" && !orphaned(p.text)
}

// checkTrustStatement checks statements of trust policies.
//
// Source: IAM User Guide, "Role trust policies"; AWS STS API Reference,
// AssumeRole, AssumeRoleWithSAML, AssumeRoleWithWebIdentity.
func (c *checker) checkTrustStatement(s *statement) {
	if s.notAction {
		return
	}
	trusts := map[string]bool{}
	for i := range s.uses {
		u := &s.uses[i]
		if u.text == "*" {
			return
		}
		prefix, _, _ := strings.Cut(u.text, ":")
		if !u.dead && (!strings.EqualFold(prefix, "sts") || !u.any(inTrust)) {
			u.dead = true
			c.report(s, u.at, Error, TrustAction, fmt.Sprintf("%s is never asked of a trust policy", u.text),
				"a trust policy is asked for sts:AssumeRole, sts:AssumeRoleWithSAML, sts:AssumeRoleWithWebIdentity, sts:TagSession, sts:SetSourceIdentity and sts:SetContext")
		}
		for _, a := range u.actions {
			trusts[a.Name] = true
		}
	}
	if !s.deny && s.everybody() && len(s.conditions) == 0 {
		c.report(s, s.principalAt, Warning, AllowsEverybody, "everybody, in every account, may assume the role", "name principals, or add a condition")
	}
	if s.notPrincipal || trusts["TagSession"] || trusts["SetSourceIdentity"] || trusts["SetContext"] {
		return // these go along with whichever way the role is assumed
	}
	for _, p := range s.principals {
		want := "AssumeRole"
		switch {
		case p.typ == "Federated" && strings.Contains(p.text, ":saml-provider/"):
			want = "AssumeRoleWithSAML"
		case p.typ == "Federated":
			want = "AssumeRoleWithWebIdentity"
		case p.typ != "AWS" && p.typ != "Service" || p.text == "*":
			continue
		}
		if len(trusts) > 0 && !trusts[want] {
			c.report(s, p.at, Error, TrustPrincipal, fmt.Sprintf("%s assumes a role by sts:%s, which the statement does not name", p.text, want),
				"add sts:"+want)
		}
	}
}

func inTrust(a *catalog.Action) bool {
	switch a.Name {
	case "AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "TagSession", "SetSourceIdentity", "SetContext":
		return true
	}
	return false
}

// checkControlStatement checks statements of service and resource control
// policies.
//
// Source: AWS Organizations User Guide, "SCP syntax", "RCP syntax", "List of AWS
// services that support RCPs".
func (c *checker) checkControlStatement(s *statement) {
	if c.kind == authz.SCP {
		everything := !s.notAction && slices.ContainsFunc(s.actions, func(e entry) bool { return e.text == "*" }) &&
			!s.notResource && slices.ContainsFunc(s.resources, func(e entry) bool { return e.text == "*" })
		if s.deny && everything && len(s.conditions) == 0 {
			c.report(s, s.at, Warning, ControlPolicy, "the statement denies everything to the accounts that the policy is attached to", "")
		}
		return
	}
	if !s.deny {
		c.report(s, s.at, Error, ControlPolicy, "a resource control policy of one's own can only deny; RCPFullAWSAccess allows", `use "Effect": "Deny"`)
		return
	}
	if s.notAction {
		c.report(s, s.actionAt, Error, ControlPolicy, "a resource control policy has no NotAction", "name the actions to deny")
		return
	}
	for i := range s.uses {
		u := &s.uses[i]
		prefix, _, colon := strings.Cut(u.text, ":")
		switch {
		case u.dead:
		case u.text == "*":
			c.report(s, u.at, Warning, ControlPolicy, `AWS takes no bare "*" as the action of a resource control policy`, `name services: "s3:*", "kms:*"`)
		case colon && catalog.IsPrefix(prefix) && !catalog.ResourceControlled(prefix):
			c.report(s, u.at, Error, ControlPolicy, fmt.Sprintf("resource control policies do not bind %s, so %s is never denied by one", strings.ToLower(prefix), u.text),
				"deny it by a service control policy")
		case strings.EqualFold(u.text, "kms:RetireGrant"):
			c.report(s, u.at, Error, ControlPolicy, "resource control policies do not bind kms:RetireGrant", "")
		}
	}
}
