package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/authz/catalog"
)

// checkPrincipals reports principals that nobody is.
//
// Source: IAM User Guide, "Principal", "NotPrincipal".
func (c *checker) checkPrincipals(s *statement) {
	accounts := false
	for _, p := range s.principals {
		accounts = accounts || isAccount(p.text) || strings.HasSuffix(p.text, ":root")
		if problem := principalProblem(p); problem != "" {
			hint := ""
			if strings.ContainsAny(p.text, "*?") {
				hint = `name the account and compare aws:PrincipalArn with ArnLike`
			}
			c.report(s, p.at, Error, PrincipalNeverMatches, p.text+": "+problem, hint)
			continue
		}
		if orphaned(p.text) && p.typ == "AWS" {
			c.report(s, p.at, Warning, OrphanedPrincipal, p.text+" is the unique ID of a user or role, which AWS shows when the user or role is gone",
				"name the principal by its ARN again, or remove it")
		}
		switch p.typ {
		case "Service":
			c.checkService(s, p)
		case "Federated":
			if c.kind != authz.TrustPolicy {
				c.report(s, p.at, Warning, PrincipalNeverMatches, p.text+": an identity provider asks for roles alone, so only a trust policy can name it",
					"name the role that its identities assume")
			}
		case "CanonicalUser":
			if c.kind != authz.ResourcePolicy {
				c.report(s, p.at, Error, PrincipalNeverMatches, p.text+": only Amazon S3 knows canonical user IDs", "name the account")
			}
		}
	}
	switch {
	case !s.notPrincipal:
	case !s.deny:
		c.report(s, s.principalAt, Warning, NotPrincipalAllow, "NotPrincipal with Allow allows everybody else, in every account and without a signature", "use Principal")
	case !accounts && slices.ContainsFunc(s.principals, func(p principal) bool { return p.typ == "AWS" && p.text != "*" }):
		c.report(s, s.principalAt, Warning, NotPrincipalAlone, "NotPrincipal with Deny spares a user or role only when its account is named as well: this denies everybody",
			`add "arn:aws:iam::ACCOUNT:root", or use Principal "*" and compare aws:PrincipalArn with ArnNotEquals`)
	}
}

// principalProblem says why an entry names nobody, or "".
func principalProblem(p principal) string {
	v := p.text
	switch {
	case v == "*":
		return ""
	case strings.ContainsAny(v, "*?"):
		return "a principal has no wildcards but the whole \"*\""
	case p.typ != "AWS":
		return ""
	case strings.Trim(v, "0123456789") == "":
		if !isAccount(v) {
			return "an account ID has 12 digits"
		}
		return ""
	case orphaned(v):
		return ""
	}
	parts := strings.SplitN(v, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" {
		return "not an ARN, an account ID or \"*\""
	}
	kind, rest, _ := strings.Cut(parts[5], "/")
	switch {
	case parts[4] == "cloudfront":
		return ""
	case !isAccount(parts[4]):
		return fmt.Sprintf("an account ID has 12 digits, %q has not", parts[4])
	case parts[3] != "":
		return "ARNs of principals have no Region"
	case kind == "group":
		return "a group is no principal"
	case parts[2] == "iam" && kind == "assumed-role":
		return "sessions have ARNs of sts, not of iam"
	case parts[2] == "iam" && kind == "root" && rest == "":
		return ""
	case parts[2] == "iam" && (kind == "user" || kind == "role") && rest != "" && !strings.HasSuffix(rest, "/"):
		return ""
	case parts[2] == "sts" && kind == "assumed-role" && strings.Count(rest, "/") == 1:
		return ""
	case parts[2] == "sts" && kind == "assumed-role":
		return "a session is assumed-role/ROLE/SESSION, without the path of the role"
	case parts[2] == "sts" && kind == "federated-user" && rest != "":
		return ""
	}
	return "not the ARN of an account, a user, a role or a session"
}

// orphaned reports whether v is a unique ID of a user or role.
func orphaned(v string) bool {
	return len(v) >= 16 && (strings.HasPrefix(v, "AIDA") || strings.HasPrefix(v, "AROA"))
}

// checkService checks the name of a service principal.
func (c *checker) checkService(s *statement, p principal) {
	form, global := catalog.ServicePrincipal(p.text)
	// SageMaker geospatial uses keys under its regional name.
	if form == catalog.PrincipalWrongRegional && global == "sagemaker-geospatial.amazonaws.com" && c.kind != authz.TrustPolicy {
		return
	}
	switch form {
	case catalog.PrincipalNoName:
		c.report(s, p.at, Warning, ServicePrincipal, p.text+" is not the name of a service, which ends with .amazonaws.com", "")
	case catalog.PrincipalUnknown:
		hint := ""
		name, rest, _ := strings.Cut(p.text, ".")
		if n := nearest(name, catalog.Services()); n != "" {
			hint = "did you mean " + n + "." + rest + "?"
		}
		c.report(s, p.at, Warning, ServicePrincipal, "no service is known as "+p.text, hint)
	case catalog.PrincipalWrongRegional:
		c.report(s, p.at, Warning, ServicePrincipal, p.text+" names a Region, and the service acts under its global name", "use "+global)
	}
}
