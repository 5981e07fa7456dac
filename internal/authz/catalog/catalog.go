package catalog

import (
	"slices"
	"strings"
	"sync"
)

// KeyType is the type of a condition key's values.
type KeyType uint8

// The types of condition keys.
const (
	String KeyType = iota + 1
	ARN
	Bool
	Number
	Date
	IP
)

// String returns the type as it stands in a sentence.
func (t KeyType) String() string {
	switch t {
	case String:
		return "string"
	case ARN:
		return "ARN"
	case Bool:
		return "Boolean"
	case Number:
		return "number"
	case Date:
		return "date"
	case IP:
		return "IP address"
	default:
		return "unknown type"
	}
}

// Key is a condition key.
type Key struct {
	// Name as AWS writes it; a variable part stands as ${…}, for example in
	// "aws:ResourceTag/${TagKey}".
	Name string
	Type KeyType
	// Multi keys hold a set, whatever the number of its members.
	Multi bool

	lower string // Name in lower case, with ${} for what varies at its end
	open  bool
}

func newKey(name string, t KeyType, multi bool) *Key {
	k := &Key{Name: name, Type: t, Multi: multi, lower: strings.ToLower(name)}
	if strings.HasSuffix(name, "/") { // the reference has one such name
		k.lower += "${}"
	}
	k.open = strings.Contains(k.lower, "${")
	return k
}

// Open reports whether the name has a variable part.
func (k *Key) Open() bool { return k.open }

// matches reports whether name, in lower case, is this key.
func (k *Key) matches(name string) bool {
	if !k.open {
		return k.lower == name
	}
	return matchTemplate(k.lower, name)
}

// matchTemplate matches with every ${…} standing for any text but none.
func matchTemplate(pattern, s string) bool {
	lit, rest, open := strings.Cut(pattern, "${")
	if !strings.HasPrefix(s, lit) {
		return false
	}
	s = s[len(lit):]
	if !open {
		return s == ""
	}
	if _, rest, _ = strings.Cut(rest, "}"); rest == "" {
		return s != ""
	}
	for i := 1; i <= len(s); i++ {
		if matchTemplate(rest, s[i:]) {
			return true
		}
	}
	return false
}

// ResourceType is a kind of resource that an action works on.
type ResourceType struct {
	Name string
	// ARN is the template of its ARNs, with ${…} for what varies.
	ARN string
	// Required resource types are asked for in every request of the action.
	Required bool
	// Keys are there when the action works on this type.
	Keys []*Key
}

// Level is what an action does, roughly.
type Level byte

// The access levels of the Service Authorization Reference.
const (
	Read        Level = 'R'
	List        Level = 'L'
	Write       Level = 'W'
	Permissions Level = 'P' // permissions management
	Tagging     Level = 'T'
)

// Action is one action of a service. It is shared and must not be changed.
type Action struct {
	Service string // the IAM prefix
	Name    string
	Level   Level
	// Resources is empty for actions that are asked for on "*" alone.
	Resources []ResourceType
	// Keys are the condition keys of the action, without those that come with a
	// resource type and without global ones.
	Keys []*Key
}

// String returns the action as a policy names it, for example "kms:Decrypt".
func (a *Action) String() string { return a.Service + ":" + a.Name }

// Has reports whether requests of the action can hold a condition key. Keys of
// every service (aws:…) are left to [GlobalKey], but aws:RequestTag/… and
// aws:TagKeys, which only some actions have, are told apart.
func (a *Action) Has(key string) bool {
	name := strings.ToLower(key)
	is := func(k *Key) bool { return k.matches(name) }
	return slices.ContainsFunc(a.Keys, is) ||
		slices.ContainsFunc(a.Resources, func(r ResourceType) bool { return slices.ContainsFunc(r.Keys, is) })
}

// Entry is what the catalog knows of one service.
type Entry struct {
	Prefix    string
	Actions   []*Action // by name
	Resources []ResourceType
	Keys      []*Key
}

// Key returns a condition key of the service; name is case-insensitive.
func (e *Entry) Key(name string) (*Key, bool) {
	name = strings.ToLower(name)
	i := slices.IndexFunc(e.Keys, func(k *Key) bool { return k.matches(name) })
	if i < 0 {
		return nil, false
	}
	return e.Keys[i], true
}

// Action returns an action of the service; name is case-insensitive.
func (e *Entry) Action(name string) (*Action, bool) {
	i, ok := slices.BinarySearchFunc(e.Actions, strings.ToLower(name), func(a *Action, n string) int {
		return strings.Compare(strings.ToLower(a.Name), n)
	})
	if !ok {
		return nil, false
	}
	return e.Actions[i], true
}

// Service returns the entry of an IAM prefix such as "kms", in any case.
func Service(prefix string) (*Entry, bool) {
	e, ok := index().services[strings.ToLower(prefix)]
	return e, ok
}

// Services lists the prefixes that have an entry, sorted.
func Services() []string { return slices.Clone(index().order) }

// Lookup returns an action by its name in a policy, such as "kms:Decrypt", in
// any case.
func Lookup(name string) (*Action, bool) {
	prefix, action, _ := strings.Cut(name, ":")
	e, ok := Service(prefix)
	if !ok {
		return nil, false
	}
	return e.Action(action)
}

// Match returns the actions that an entry of Action names, such as "s3:Get*" or
// "*", among the services of the catalog.
func Match(pattern string) []*Action {
	var all []*Action
	prefix, name, colon := strings.Cut(strings.ToLower(pattern), ":")
	for _, s := range index().order {
		if colon && s != prefix {
			continue
		}
		e := index().services[s]
		if !strings.ContainsAny(name, "*?") && colon {
			if a, ok := e.Action(name); ok {
				all = append(all, a)
			}
			continue
		}
		for _, a := range e.Actions {
			if !colon && pattern == "*" || colon && matchWild(name, strings.ToLower(a.Name)) {
				all = append(all, a)
			}
		}
	}
	return all
}

// matchWild matches * and ?.
func matchWild(p, s string) bool {
	star, back := -1, 0
	pi, si := 0, 0
	for si < len(s) {
		switch {
		case pi < len(p) && p[pi] == '*':
			star, back = pi, si
			pi++
		case pi < len(p) && (p[pi] == '?' || p[pi] == s[si]):
			pi++
			si++
		case star >= 0:
			back++
			pi, si = star+1, back
		default:
			return false
		}
	}
	return strings.Trim(p[pi:], "*") == ""
}

// KeyNamed returns a condition key by its name in a policy: a global key, or a
// key of the service whose prefix the name begins with.
func KeyNamed(name string) (*Key, bool) {
	if k, ok := GlobalKey(name); ok {
		return k, true
	}
	prefix, _, _ := strings.Cut(name, ":")
	if e, ok := Service(prefix); ok {
		return e.Key(name)
	}
	return nil, false
}

// IsPrefix reports whether any AWS service has that IAM prefix, with or without
// an entry here.
func IsPrefix(prefix string) bool { return index().prefixes[strings.ToLower(prefix)] }

// ResourceControlled reports whether resource control policies bind the service
// with that IAM prefix. Source: AWS Organizations User Guide, "List of AWS
// services that support RCPs".
//
// Decisions on requests ask it: it reads none of the tables.
func ResourceControlled(prefix string) bool { return controlled()[strings.ToLower(prefix)] }

var controlled = sync.OnceValue(func() map[string]bool { return set(resourceControlled) })
