package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// knowledge is everything the tables hold, read once and never changed.
type knowledge struct {
	services map[string]*Entry
	order    []string // the prefixes of services, sorted
	prefixes map[string]bool
	global   []*Key
}

// index reads the tables when they are first needed.
var index = sync.OnceValue(func() *knowledge {
	k, err := load(tables())
	if err != nil {
		panic("catalog: " + err.Error()) // generated text; a test reads it
	}
	return k
})

func load(tables map[string]string) (*knowledge, error) {
	k := &knowledge{services: map[string]*Entry{}, prefixes: set(prefixes)}
	for prefix, text := range tables {
		e, err := parse(prefix, text)
		if err != nil {
			return nil, fmt.Errorf("table of %s: %w", prefix, err)
		}
		k.services[prefix] = e
	}
	k.order = slices.Sorted(maps.Keys(k.services))
	for _, c := range corrections() {
		if err := c.apply(k.services[c.service]); err != nil {
			return nil, fmt.Errorf("correction of %s: %w", c.service, err)
		}
	}
	global, err := parse("", globalKeys)
	if err != nil {
		return nil, fmt.Errorf("global keys: %w", err)
	}
	k.global = global.Keys
	return k, nil
}

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}

// parser reads one table. Lists of keys that are the same are shared.
type parser struct {
	entry *Entry
	types map[string]ResourceType
	lists map[string][]*Key
}

// parse reads the lines of one table.
func parse(prefix, text string) (*Entry, error) {
	p := parser{entry: &Entry{Prefix: prefix}, types: map[string]ResourceType{}, lists: map[string][]*Key{"-": nil}}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		var err error
		switch {
		case f[0] == "k" && len(f) == 3:
			err = p.key(f[1], f[2])
		case f[0] == "r" && len(f) == 4:
			err = p.resource(f[1], f[2], f[3])
		case f[0] == "a" && len(f) >= 4 && len(f[2]) == 1:
			err = p.action(f[1], Level(f[2][0]), f[3], f[4:])
		default:
			err = fmt.Errorf("unknown line")
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", strings.TrimSpace(line), err)
		}
	}
	slices.SortFunc(p.entry.Actions, byName)
	return p.entry, nil
}

func byName(a, b *Action) int {
	return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
}

func (p *parser) key(letter, name string) error {
	types := map[string]KeyType{"s": String, "a": ARN, "b": Bool, "n": Number, "d": Date, "i": IP}
	t := types[strings.ToLower(letter)]
	if t == 0 {
		return fmt.Errorf("unknown type %q", letter)
	}
	p.entry.Keys = append(p.entry.Keys, newKey(name, t, letter == strings.ToUpper(letter)))
	return nil
}

func (p *parser) resource(name, arn, keys string) error {
	list, err := p.list(keys)
	if err != nil {
		return err
	}
	r := ResourceType{Name: name, ARN: "arn:${Partition}:" + arn, Keys: list}
	p.types[name] = r
	p.entry.Resources = append(p.entry.Resources, r)
	return nil
}

func (p *parser) action(name string, level Level, keys string, uses []string) error {
	list, err := p.list(keys)
	if err != nil {
		return err
	}
	a := &Action{Service: p.entry.Prefix, Name: name, Level: level, Keys: list}
	for _, u := range uses {
		u, own, _ := strings.Cut(u, "=")
		u, required := strings.CutSuffix(u, "!")
		r, ok := p.types[u]
		if !ok {
			return fmt.Errorf("unknown resource type %q", u)
		}
		r.Required = required
		if own != "" {
			more, err := p.list(own)
			if err != nil {
				return err
			}
			r.Keys = slices.Concat(r.Keys, more)
		}
		a.Resources = append(a.Resources, r)
	}
	p.entry.Actions = append(p.entry.Actions, a)
	return nil
}

// list reads places in the list of keys.
func (p *parser) list(text string) ([]*Key, error) {
	if l, ok := p.lists[text]; ok {
		return l, nil
	}
	var l []*Key
	for n := range strings.SplitSeq(text, ",") {
		i, err := strconv.Atoi(n)
		if err != nil || i < 0 || i >= len(p.entry.Keys) {
			return nil, fmt.Errorf("no key has the place %q", n)
		}
		l = append(l, p.entry.Keys[i])
	}
	p.lists[text] = l
	return l, nil
}
