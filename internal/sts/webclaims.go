package sts

import (
	"slices"
	"strconv"
	"strings"

	stsapi "github.com/sagekeep/sagekeep/api/sts"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/oidc"
	"github.com/sagekeep/sagekeep/internal/protocol/wire"
)

// Claims by which a token says what the session is to be. The tags stand in
// one claim, or flattened in a claim for each.
//
// Source: IAM User Guide, "Pass session tags in AWS STS", "Monitor and control
// actions taken with assumed roles"; Service Authorization Reference, AWS
// Security Token Service, sts:RoleAuthorizedByIdp.
const (
	tagsClaim           = "https://aws.amazon.com/tags"
	flatTagClaim        = tagsClaim + "/principal_tags/"
	flatTransitiveClaim = tagsClaim + "/transitive_tag_keys"
	sourceIdentityClaim = "https://aws.amazon.com/source_identity"
	rolesClaim          = "https://aws.amazon.com/roles"
)

// askedSession is what a token asks for.
type askedSession struct {
	tags           []stsapi.Tag // by key
	transitive     []string
	sourceIdentity string
	roles          []string // nil when the token limits it to none
}

// readClaims reads what the token asks for.
//
// Errors: InvalidIdentityToken.
func readClaims(id *oidc.Identity) (askedSession, error) {
	var a askedSession
	var nested struct {
		Tags       map[string]any `json:"principal_tags"`
		Transitive any            `json:"transitive_tag_keys"`
	}
	if _, err := id.Claim(tagsClaim, &nested); err != nil {
		return a, unreadableClaim(tagsClaim)
	}
	for key, v := range nested.Tags {
		value, ok := single(v)
		if !ok {
			return a, unreadableClaim(tagsClaim)
		}
		a.tags = append(a.tags, stsapi.Tag{Key: key, Value: value})
	}
	for _, name := range id.Claims() {
		key, flat := strings.CutPrefix(name, flatTagClaim)
		if !flat {
			continue
		}
		value, ok := single(claim(id, name))
		if !ok {
			return a, unreadableClaim(name)
		}
		a.tags = append(a.tags, stsapi.Tag{Key: key, Value: value})
	}
	slices.SortFunc(a.tags, func(x, y stsapi.Tag) int { return strings.Compare(x.Key, y.Key) })
	for name, v := range map[string]any{tagsClaim: nested.Transitive, flatTransitiveClaim: claim(id, flatTransitiveClaim)} {
		keys, ok := several(v)
		if v != nil && !ok {
			return a, unreadableClaim(name)
		}
		a.transitive = append(a.transitive, keys...)
	}
	var ok bool
	if v := claim(id, sourceIdentityClaim); v != nil {
		if a.sourceIdentity, ok = single(v); !ok || a.sourceIdentity == "" {
			return a, unreadableClaim(sourceIdentityClaim)
		}
	}
	if v := claim(id, rolesClaim); v != nil {
		if a.roles, ok = several(v); !ok {
			return a, unreadableClaim(rolesClaim)
		}
	}
	return a, nil
}

func unreadableClaim(name string) error {
	return stsapi.InvalidIdentityTokenException("The claim %s of the identity token has not the form that it must have", name)
}

// claim returns a claim as JSON values, nil for none.
func claim(id *oidc.Identity, name string) any {
	var v any
	if has, err := id.Claim(name, &v); !has || err != nil {
		return nil
	}
	if v == nil {
		return false // null is a value, and no claim's form
	}
	return v
}

// single reads a string, alone or as the only one of a list.
func single(v any) (string, bool) {
	list, ok := several(v)
	if !ok || len(list) != 1 {
		return "", false
	}
	return list[0], true
}

// several reads a string or a list of strings. The list is never nil.
func several(v any) ([]string, bool) {
	switch v := v.(type) {
	case string:
		return []string{v}, true
	case []any:
		list := make([]string, len(v))
		for i := range v {
			s, ok := v[i].(string)
			if !ok {
				return nil, false
			}
			list[i] = s
		}
		return list, true
	}
	return nil, false
}

// check holds what the token asks for to the limits of AssumeRole's parameters.
func (a *askedSession) check(in *stsapi.AssumeRoleWithWebIdentityInput) error {
	as := &stsapi.AssumeRoleInput{
		RoleArn: in.RoleArn, RoleSessionName: in.RoleSessionName, Tags: a.tags, TransitiveTagKeys: a.transitive,
	}
	if a.sourceIdentity != "" {
		as.SourceIdentity = &a.sourceIdentity
	}
	if v := wire.Validate(stsapi.AssumeRole.Input, as); v != nil {
		return stsapi.InvalidIdentityTokenException("What the claims of the identity token ask for is not valid: %s", v.Error())
	}
	return nil
}

// sessionKeys are the condition keys of the issuer that requests of the session
// have; the others bear on the trust policy alone.
//
// Source: IAM User Guide, "Available keys for AWS OIDC federation".
func sessionKeys(address string, id *oidc.Identity) map[string][]string {
	keys := map[string][]string{address + ":aud": {id.Audience}, address + ":sub": {id.Subject}}
	if len(id.Methods) > 0 {
		keys[address+":amr"] = id.Methods
	}
	return keys
}

// issuerConditions sets the condition keys of an issuer, which begin with its
// URL without https://.
//
// Source: IAM User Guide, "Available keys for AWS OIDC federation"; Service
// Authorization Reference, AWS Security Token Service.
func issuerConditions(c authz.Context, address string, id *oidc.Identity) {
	c.Set(address+":aud", id.Audience)
	c.Set(address+":sub", id.Subject)
	if len(id.Audiences) == 1 {
		c.Set(address+":oaud", id.Audiences[0])
	}
	if len(id.Methods) > 0 {
		c.SetMulti(address+":amr", id.Methods...)
	}
	for _, name := range issuerClaims(address) {
		switch v := claim(id, name).(type) {
		case string:
			c.Set(address+":"+name, v)
		case bool:
			c.SetBool(address+":"+name, v)
		case float64:
			var n int64
			if _, err := id.Claim(name, &n); err == nil {
				c.Set(address+":"+name, strconv.FormatInt(n, 10))
			}
		}
	}
}

// issuerClaims are the further claims that AWS makes condition keys of, for
// the issuers it knows.
func issuerClaims(address string) []string {
	host, path, _ := strings.Cut(address, "/")
	between := func(prefix string, suffixes ...string) bool {
		rest, ok := strings.CutPrefix(host, prefix)
		return ok && slices.ContainsFunc(suffixes, func(s string) bool { return len(rest) > len(s) && strings.HasSuffix(rest, s) })
	}
	switch {
	case host == "token.actions.githubusercontent.com", between("token.actions.", ".ghe.com"),
		host == "github.com" && strings.HasPrefix(path, "enterprises/"):
		return []string{
			"actor", "actor_id", "enterprise_id", "environment", "job_workflow_ref", "ref", "repository", "repository_id",
			"repository_owner_id", "workflow",
		}
	case host == "gitlab.com":
		return []string{
			"namespace_id", "pipeline_source", "project_id", "ref_protected", "runner_environment", "user_access_level",
			"user_email", "user_id", "user_login",
		}
	case host == "agent.buildkite.com", between("agent.", ".buildkite.dev", ".buildkite.site"):
		return []string{
			"build_branch", "cluster_id", "cluster_name", "organization_id", "organization_slug", "pipeline_id", "pipeline_slug",
		}
	case host == "oidc.circleci.com" && strings.HasPrefix(path, "org/"):
		return []string{"oidc.circleci.com/project-id"}
	case between("idcs-", ".identity.oraclecloud.com"):
		return []string{"rpst_id"}
	}
	return nil
}
