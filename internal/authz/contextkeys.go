package authz

import (
	"slices"
	"strings"
)

// ContextKeys returns the condition keys that a document refers to, in
// conditions and in policy variables: sorted, as first written, each once
// whatever its case.
//
// Source: IAM API Reference, GetContextKeysForCustomPolicy.
func (p *Policy) ContextKeys() []string {
	return p.contextKeys(func(*statement) bool { return true })
}

// ContextKeysFor is ContextKeys of the statements that are about the action, by
// their Action or NotAction.
func (p *Policy) ContextKeysFor(action string) []string {
	return p.contextKeys(func(s *statement) bool { return s.matchAction(action, nil) })
}

func (p *Policy) contextKeys(of func(*statement) bool) []string {
	seen := map[string]struct{}{}
	var keys []string
	add := func(key string) {
		if _, dup := seen[lower(key)]; !dup {
			seen[lower(key)] = struct{}{}
			keys = append(keys, key)
		}
	}
	for i := range p.statements {
		s := &p.statements[i]
		if !of(s) {
			continue
		}
		if p.version == Version2012 {
			for _, r := range s.resourceText {
				variables(r, add)
			}
		}
		for j := range s.conditions {
			c := &s.conditions[j]
			if c.keyText != "" {
				add(c.keyText)
			}
			switch c.operand {
			case operandString, operandARN, operandBool:
				for k := range c.texts {
					if c.texts[k].parts != nil {
						variables(c.values[k], add)
					}
				}
			}
		}
	}
	slices.Sort(keys)
	return keys
}

// variables calls add with the key of every policy variable in a text that has
// been compiled.
func variables(text string, add func(key string)) {
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			return
		}
		v, n, err := readVariable(text[i:])
		if err != nil {
			return
		}
		if v.variable {
			add(v.key)
		}
		text = text[i+n:]
	}
}
