package lint

import (
	"fmt"
	"slices"
	"strings"
)

// maxPairs bounds how many pairs of statements, and of their entries, are
// compared.
const maxPairs = 20000

// checkOverlaps reports statements that another one makes superfluous.
func (c *checker) checkOverlaps() {
	all := c.policy.statements
	if len(all)*len(all) > maxPairs {
		return
	}
	for i := range all {
		s := &all[i]
		if len(s.actions) == 0 {
			continue
		}
		for j := range all {
			o := &all[j]
			switch {
			case j == i || len(o.actions) == 0:
			case !s.deny && o.deny && c.within(s, o):
				c.report(s, s.at, Error, ShadowedByDeny, fmt.Sprintf("statement %s denies everything that this statement allows", o.label()), "")
			case j < i && s.deny == o.deny && c.within(s, o) && c.within(o, s):
				c.report(s, s.at, Warning, DuplicateStatement, fmt.Sprintf("statement %s says the same", o.label()), "")
			}
		}
	}
}

// within reports whether whatever s applies to, o applies to as well. It may say
// no although it is so.
func (c *checker) within(s, o *statement) bool {
	if s.notAction != o.notAction || s.notResource != o.notResource || s.notPrincipal != o.notPrincipal || s.hasResource != o.hasResource {
		return false
	}
	vars := c.variables()
	lower := func(e entry) entry { return entry{text: strings.ToLower(e.text)} }
	actions := func(list []entry) []entry {
		out := make([]entry, len(list))
		for i, e := range list {
			out[i] = lower(e)
		}
		return out
	}
	return inside(actions(s.actions), actions(o.actions), s.notAction, false) &&
		inside(s.resources, o.resources, s.notResource, vars) &&
		principalsInside(s, o) && conditionsInside(s, o)
}

// inside reports whether every entry of a is covered by one of b; for Not
// elements the other way round.
func inside(a, b []entry, not, vars bool) bool {
	if len(a)*len(b) > maxPairs {
		return false
	}
	if not {
		a, b = b, a
	}
	for _, x := range a {
		inner := compile(x.text, true, vars)
		if !slices.ContainsFunc(b, func(y entry) bool {
			if x.text == y.text {
				return true
			}
			return !(vars && strings.Contains(y.text, "${")) && covers(compile(y.text, true, false), inner)
		}) {
			return false
		}
	}
	return true
}

func principalsInside(s, o *statement) bool {
	if s.notPrincipal {
		return slices.EqualFunc(s.principals, o.principals, samePrincipal)
	}
	if o.everybody() {
		return true
	}
	for _, p := range s.principals {
		if !slices.ContainsFunc(o.principals, func(q principal) bool { return samePrincipal(p, q) }) {
			return false
		}
	}
	return s.hasPrincipal == o.hasPrincipal
}

func samePrincipal(p, q principal) bool { return p.typ == q.typ && p.text == q.text }

// conditionsInside reports whether every condition of o stands in s too.
func conditionsInside(s, o *statement) bool {
	for i := range o.conditions {
		d := &o.conditions[i]
		if !slices.ContainsFunc(s.conditions, func(e condition) bool {
			return e.opText == d.opText && e.is(d.key) && slices.EqualFunc(e.values, d.values, func(v, w entry) bool { return v.text == w.text })
		}) {
			return false
		}
	}
	return true
}
