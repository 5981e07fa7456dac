package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/authz/catalog"
)

// use is an entry of Action with what it names.
type use struct {
	entry
	// known says that the catalog has the service; then actions is all that the
	// entry names.
	known   bool
	actions []*catalog.Action
	// dead entries have been reported as never taking effect.
	dead bool
}

// any reports whether one of the actions is as asked.
func (u *use) any(is func(*catalog.Action) bool) bool { return slices.ContainsFunc(u.actions, is) }

// checkActions fills s.uses and reports names that name nothing.
func (c *checker) checkActions(s *statement) {
	for _, e := range s.actions {
		u := use{entry: e}
		prefix, name, colon := strings.Cut(e.text, ":")
		if entry, ok := catalog.Service(prefix); ok && colon {
			u.known, u.actions = true, catalog.Match(e.text)
			c.checkName(s, &u, entry, name)
		} else if colon && !strings.ContainsAny(prefix, "*?") && !catalog.IsPrefix(prefix) {
			hint := ""
			if n := nearest(prefix, catalog.Services()); n != "" {
				hint = "did you mean " + n + ":" + name + "?"
			}
			c.report(s, e.at, Warning, UnknownService, fmt.Sprintf("no AWS service has the action prefix %q", prefix), hint)
		}
		if c.kind == authz.KeyPolicy && !s.notAction && colon {
			c.checkKeyAction(s, &u, prefix)
		}
		s.uses = append(s.uses, u)
	}
}

// checkName reports an entry of a known service that names no action.
func (c *checker) checkName(s *statement, u *use, entry *catalog.Entry, name string) {
	switch {
	case len(u.actions) > 0:
		if s.deny && !s.notAction && len(u.actions) == 1 && u.actions[0].String() == "sts:GetCallerIdentity" {
			c.report(s, u.at, Warning, NeedsNoPermission, "sts:GetCallerIdentity needs no permission, so denying it has no effect", "")
		}
		return
	case strings.ContainsAny(name, "*?"):
		u.dead = true
		c.report(s, u.at, Error, PatternMatchesNothing, fmt.Sprintf("no action of %s matches %q", entry.Prefix, u.text), c.nameHint(entry, strings.Trim(name, "*?")))
	default:
		u.dead = true
		what := "so the entry matches nothing"
		if s.notAction {
			what = "so the entry exempts nothing"
		}
		c.report(s, u.at, Error, UnknownAction, fmt.Sprintf("%s has no action %s, %s", entry.Prefix, name, what), c.nameHint(entry, name))
	}
}

// maxHints bounds how many misspelt actions are looked for.
const maxHints = 200

// nameHint says what an unknown action was meant to be.
func (c *checker) nameHint(entry *catalog.Entry, name string) string {
	if c.hints++; c.hints > maxHints {
		return ""
	}
	var names, longer []string
	for _, a := range entry.Actions {
		names = append(names, a.Name)
		if len(name) > 3 && len(a.Name) > len(name) && strings.EqualFold(a.Name[:len(name)], name) {
			longer = append(longer, a.String())
		}
	}
	if asked := catalog.Operation(entry.Prefix, name); len(asked) > 0 && asked[0] != entry.Prefix+":"+name {
		hint := fmt.Sprintf("the operation %s asks for %s", name, strings.Join(asked, " and "))
		if len(longer) > 1 {
			hint += "; " + entry.Prefix + ":" + name + "* names them all"
		}
		return hint
	}
	if n := nearest(name, names); n != "" {
		return "did you mean " + entry.Prefix + ":" + n + "?"
	}
	if len(longer) > 0 && len(longer) <= 4 {
		return "did you mean " + strings.Join(longer, ", ") + "?"
	}
	var elsewhere []string
	for _, prefix := range catalog.Services() {
		if a, ok := catalog.Lookup(prefix + ":" + name); ok {
			elsewhere = append(elsewhere, a.String())
		}
	}
	if len(elsewhere) > 0 && len(elsewhere) <= 2 {
		return "did you mean " + strings.Join(elsewhere, " or ") + "?"
	}
	return ""
}

// list joins names, and says how many more there are.
func list(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
