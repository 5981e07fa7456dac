package authz

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"
)

// statement is a compiled statement.
type statement struct {
	index int
	// start and end are where the statement stands in its document.
	start, end position
	sid        string
	deny       bool

	principals   []principalEntry
	notPrincipal bool

	actions   []glob // lower case
	notAction bool

	resources   []text
	notResource bool
	anyResource bool // no Resource because the kind has none
	noResource  bool // no Resource although the kind needs one: no effect

	conditions []condition

	hasSid       bool
	hasCondition bool
	actionText   []string
	resourceText []string
}

// label names the statement: its Sid, or its index from 0.
func (s *statement) label() (name string, isIndex bool) {
	if s.sid != "" {
		return s.sid, false
	}
	return strconv.Itoa(s.index), true
}

// title is label as it stands in a sentence.
func (s *statement) title() string {
	name, isIndex := s.label()
	if isIndex {
		return "statement " + name
	}
	return "statement " + strconv.Quote(name)
}

// truth is the outcome of a condition. unknown means that it could not be
// evaluated; an Allow takes it for no, a Deny for yes.
type truth uint8

const (
	no truth = iota
	unknown
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// not turns yes into no and back.
func (t truth) not() truth { return yes - t }

// applies reports whether the statement applies to the request, principals
// aside. One that costs too much to tell is taken for what denies.
func (s *statement) applies(req *Request, w *Work) bool {
	w.Spend(1)
	applies := s.matchAction(req.Action, w) && s.matchResource(req, w) && s.meets(req.Context, w)
	if w.Spent() {
		return s.deny
	}
	return applies
}

// meets reports whether the conditions hold, as far as the effect asks.
func (s *statement) meets(ctx Context, w *Work) bool {
	all := yes
	for i := range s.conditions {
		all = min(all, s.conditions[i].eval(ctx, w))
		if all == no {
			return false
		}
	}
	return all == yes || s.deny
}

func (s *statement) matchAction(action string, w *Work) bool {
	w.Spend(len(s.actions))
	for i := range s.actions {
		if s.actions[i].matchFold(action, w) {
			return !s.notAction
		}
	}
	return s.notAction
}

// matchResource evaluates Resource and NotResource. A policy variable without
// a value makes its entry of Resource match nothing, and the whole of
// NotResource not apply. Source: IAM User Guide, "Policy variables".
func (s *statement) matchResource(req *Request, w *Work) bool {
	if s.anyResource || s.noResource {
		return s.anyResource
	}
	found := false
	w.Spend(len(s.resources))
	for i := range s.resources {
		match, ok := s.resources[i].matchGlob(req.Resource, req.Context, w)
		if match && !s.notResource {
			return true
		}
		if !ok && s.notResource {
			return false
		}
		found = found || match
	}
	return s.notResource && !found
}

// eval evaluates the condition.
//
// A missing key makes a positive operator fail and a negated one hold; with
// IfExists it holds, ForAllValues holds and ForAnyValue fails. A key that holds
// a set needs a set operator. Source: IAM User Guide, "Condition operators",
// "Multivalued context keys".
func (c *condition) eval(ctx Context, w *Work) truth {
	v, present := ctx.lookup(c.key)
	switch {
	case c.operand == operandUnknown:
		return unknown
	case c.operand == operandNull:
		return c.evalNull(present && !v.Defaulted)
	case v.Ambiguous:
		return unknown
	case c.set != noSet && present && len(v.Vals) == 1 && v.Vals[0] == "":
		present = false // the empty data set
	}
	if !present {
		switch {
		case c.ifExists || c.set == forAllValues:
			return yes
		case c.set == forAnyValue:
			return no
		default:
			return truthOf(c.negated)
		}
	}
	switch c.set {
	case forAllValues:
		all := yes
		for _, val := range v.Vals {
			all = min(all, c.test(val, ctx, w))
		}
		return all
	case forAnyValue:
		some := no
		for _, val := range v.Vals {
			some = max(some, c.test(val, ctx, w))
		}
		return some
	default:
		if v.Multi || len(v.Vals) != 1 {
			return no
		}
		return c.test(v.Vals[0], ctx, w)
	}
}

func (c *condition) evalNull(present bool) truth {
	for _, wantAbsent := range c.bools {
		if wantAbsent != present {
			return yes
		}
	}
	return no
}

// test compares one value of the request with all of the policy's: one must
// match, or none if the operator is negated.
func (c *condition) test(v string, ctx Context, w *Work) truth {
	w.Spend(1 + len(c.values))
	t := c.matchAny(v, ctx, w)
	if c.negated {
		return t.not()
	}
	return t
}

func (c *condition) matchAny(v string, ctx Context, w *Work) truth {
	switch c.operand {
	case operandString, operandBool:
		for i := range c.texts {
			if c.matchText(&c.texts[i], v, ctx, w) {
				return yes
			}
		}
	case operandARN:
		return c.matchARN(v, ctx, w)
	case operandNumber:
		d, ok := parseDecimal(v)
		if !ok {
			return unknown
		}
		for i := range c.numbers {
			if c.relation.holds(d.compare(c.numbers[i])) {
				return yes
			}
		}
	case operandDate:
		at, ok := parseInstant(v)
		if !ok {
			return unknown
		}
		for i := range c.dates {
			if c.relation.holds(at.compare(c.dates[i])) {
				return yes
			}
		}
	case operandIP:
		a, err := netip.ParseAddr(v)
		if err != nil || a.Zone() != "" {
			return unknown
		}
		for i := range c.nets {
			if c.nets[i].Contains(a) {
				return yes
			}
		}
	case operandBinary:
		b, err := base64.StdEncoding.DecodeString(v)
		if err != nil {
			return unknown
		}
		for i := range c.blobs {
			if bytes.Equal(b, c.blobs[i]) {
				return yes
			}
		}
	default:
		return unknown
	}
	return no
}

// matchText compares with one text; a variable without a value matches nothing.
func (c *condition) matchText(t *text, v string, ctx Context, w *Work) bool {
	if c.like {
		match, ok := t.matchGlob(v, ctx, w)
		return match && ok
	}
	want, ok := t.resolve(ctx, false, w)
	if !ok {
		return false
	}
	if c.fold {
		return strings.EqualFold(want, v)
	}
	return want == v
}

// matchARN compares component by component, so that no wildcard passes a colon
// but in the last of the six. What is no ARN cannot be compared.
// Source: IAM User Guide, "Amazon Resource Name (ARN) condition operators".
func (c *condition) matchARN(v string, ctx Context, w *Work) truth {
	if strings.Count(v, ":") < 5 {
		return unknown
	}
	result := no
	for i := range c.texts {
		pat, ok := c.texts[i].resolve(ctx, true, w)
		if !ok {
			continue
		}
		if strings.Count(pat, ":") < 5 {
			result = unknown
			continue
		}
		if matchComponents(pat, v, w) {
			return yes
		}
	}
	return result
}

func matchComponents(pat, v string, w *Work) bool {
	for range 5 {
		p, restP, _ := strings.Cut(pat, ":")
		s, restS, _ := strings.Cut(v, ":")
		if !globMatch(p, s, false, w) {
			return false
		}
		pat, v = restP, restS
	}
	return globMatch(pat, v, false, w)
}
