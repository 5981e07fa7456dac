package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/authz/catalog"
)

// variables reports whether the document has policy variables.
func (c *checker) variables() bool { return c.policy.version == authz.Version2012 }

// named is an entry of Resource, compiled.
type named struct {
	entry
	pattern pattern
	dead    bool
	fits    map[string]bool // by the template of an ARN
}

// maxWork bounds what one document costs: the pairs of places visited when
// resources are compared with templates. Beyond it nothing is reported.
const maxWork = 1 << 26

// fits reports whether a resource can have an ARN of that template.
func (c *checker) fits(n *named, arn string) bool {
	if fit, ok := n.fits[arn]; ok {
		return fit
	}
	fit := true
	if service := segment(n.text, 2); service != "" && !strings.ContainsAny(service, "*?$") && service != segment(arn, 2) {
		fit = false
	} else if t := template(arn); c.work < maxWork {
		c.work += len(t) * len(n.pattern)
		fit = overlap(n.pattern, t)
	}
	n.fits[arn] = fit
	return fit
}

// segment is a part of an ARN from 0, or "" when there are fewer.
func segment(arn string, i int) string {
	for range i {
		_, rest, ok := strings.Cut(arn, ":")
		if !ok {
			return ""
		}
		arn = rest
	}
	part, _, _ := strings.Cut(arn, ":")
	return part
}

// checkResources reports resources and actions that do not go together.
func (c *checker) checkResources(s *statement) {
	if c.kind == authz.KeyPolicy || c.kind == authz.TrustPolicy {
		return
	}
	var all []named
	alive := false
	for _, e := range s.resources {
		n := named{entry: e, pattern: compile(c.complete(e.text), true, c.variables()), fits: map[string]bool{}}
		n.dead = e.text != "*" && c.impossible(s, &n)
		alive = alive || !n.dead
		all = append(all, n)
	}
	if s.notResource || s.notAction || !alive {
		return
	}
	useful := make([]bool, len(all))
	certain := true // every action is known
	for i := range s.uses {
		u := &s.uses[i]
		certain = certain && (u.known || u.dead)
		if !u.known || u.dead {
			continue
		}
		fits := false
		for j := range all {
			if !all[j].dead && u.any(func(a *catalog.Action) bool { return c.fit(a, &all[j]) }) {
				fits, useful[j] = true, true
			}
		}
		if !fits {
			u.dead = true
			c.reportUnfit(s, u, all)
		}
	}
	if !certain || !slices.Contains(useful, true) {
		return
	}
	for j := range all {
		if !useful[j] && !all[j].dead && all[j].text != "*" {
			c.report(s, all[j].at, Warning, ResourceFitsNoAction, fmt.Sprintf("no action of the statement works on %s", all[j].text), "")
		}
	}
}

// complete adds what AWS adds to a short ARN of a policy without principals.
func (c *checker) complete(arn string) string {
	missing := 5 - strings.Count(arn, ":")
	if arn == "*" || missing <= 0 || strings.HasSuffix(arn, "*") || c.kind == authz.ResourcePolicy || c.kind == authz.RCP {
		return arn
	}
	return arn + strings.Repeat(":*", missing)
}

// fit reports whether the action works on a resource that the entry can name.
func (c *checker) fit(a *catalog.Action, n *named) bool {
	if n.text == "*" {
		return true
	}
	return slices.ContainsFunc(a.Resources, func(r catalog.ResourceType) bool { return c.fits(n, r.ARN) })
}

// reportUnfit reports an action that works on no resource of the statement.
func (c *checker) reportUnfit(s *statement, u *use, all []named) {
	if !u.any(func(a *catalog.Action) bool { return len(a.Resources) > 0 }) {
		severity := Error
		switch u.actions[0].Service {
		case "athena", "glue", "logs", "sagemaker":
			severity = Warning // the reference is known to have gaps there
		}
		c.report(s, u.at, severity, ActionTakesNoResource, fmt.Sprintf("%s is asked for on \"*\" alone, and no Resource of the statement is \"*\"", u.text),
			`put it into a statement of its own with "Resource": "*"`)
		return
	}
	var types []string
	for _, a := range u.actions {
		for _, r := range a.Resources {
			if t := r.Name + " (" + readable(r.ARN) + ")"; r.Name != "any" && !slices.Contains(types, t) {
				types = append(types, t)
			}
		}
	}
	c.report(s, u.at, Error, ActionFitsNoResource, fmt.Sprintf("%s works on %s, and no Resource of the statement is one", u.text, list(types, 3)), unfitHint(u, all))
}

// readable writes the template of an ARN for a reader.
func readable(arn string) string {
	arn = strings.ReplaceAll(arn, "${Partition}", "aws")
	return strings.ReplaceAll(strings.ReplaceAll(arn, "${", "<"), "}", ">")
}

// unfitHint explains the common mistakes.
func unfitHint(u *use, all []named) string {
	bucket, object := template("arn:${Partition}:s3:::${BucketName}"), template("arn:${Partition}:s3:::${BucketName}/${ObjectName}")
	alias := template("arn:${Partition}:kms:${Region}:${Account}:alias/${Alias}")
	works := func(name string) bool {
		return u.any(func(a *catalog.Action) bool {
			return slices.ContainsFunc(a.Resources, func(r catalog.ResourceType) bool { return r.Name == name })
		})
	}
	for i := range all {
		n := &all[i]
		switch {
		case works("key") && overlap(n.pattern, alias):
			return "KMS decides on the key's ARN, also when a request names an alias: name the key, or compare kms:RequestAlias or kms:ResourceAliases"
		case works("object") && overlap(n.pattern, bucket):
			return fmt.Sprintf("objects are %s/*", strings.TrimSuffix(n.text, "/"))
		case works("bucket") && overlap(n.pattern, object):
			name, _, _ := strings.Cut(n.text, "/")
			return "the bucket is " + name
		}
	}
	return ""
}

// impossible reports an ARN of a known service that none of its resources can
// have. Source: Service Authorization Reference, "Resource types".
func (c *checker) impossible(s *statement, n *named) bool {
	parts := strings.SplitN(n.text, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" || strings.ContainsAny(parts[2], "*?$") {
		return false
	}
	var types []string
	for _, prefix := range catalog.Services() {
		e, _ := catalog.Service(prefix)
		for _, r := range e.Resources {
			if strings.HasPrefix(r.ARN, "arn:${Partition}:"+parts[2]+":") {
				types = append(types, r.ARN)
			}
		}
	}
	if len(types) == 0 {
		return false // no service of the catalog
	}
	problem := fieldProblem(parts, types)
	if problem == "" && !slices.ContainsFunc(types, func(t string) bool { return c.fits(n, t) }) {
		problem = "no resource of " + parts[2] + " has such an ARN"
	}
	if problem == "" {
		return false
	}
	what := "it matches nothing"
	if s.notResource {
		what = "it exempts nothing"
	}
	c.report(s, n.at, Error, ImpossibleARN, fmt.Sprintf("%s: %s, so %s", n.text, problem, what), arnHint(types))
	return true
}

// fieldProblem says what is wrong with the region or the account of an ARN.
func fieldProblem(parts, types []string) string {
	region, account := parts[3], parts[4]
	has := func(i int, empty bool) bool {
		return slices.ContainsFunc(types, func(t string) bool { return (strings.Split(t, ":")[i] == "") == empty })
	}
	switch {
	case strings.ContainsAny(region+account, "*?$"):
	case region == "" && !has(3, true):
		return "the Region is missing"
	case region != "" && !has(3, false):
		return "ARNs of " + parts[2] + " have no Region"
	case region != "" && !catalog.IsRegion(region):
		return fmt.Sprintf("%q is no Region", region)
	case account == "" && !has(4, true):
		return "the account is missing"
	case account != "" && account != "aws" && account != "cloudfront" && !isAccount(account):
		return fmt.Sprintf("%q is no account ID of 12 digits", account)
	}
	return ""
}

func arnHint(types []string) string {
	var all []string
	for _, t := range types {
		all = append(all, readable(t))
	}
	return "resources are " + list(all, 3)
}

func isAccount(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }
