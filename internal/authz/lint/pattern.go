package lint

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// token is one step of a pattern: a character, any one character, or any run.
type token struct {
	kind tokenKind
	char rune
	not  string // characters that one or run do not stand for
}

type tokenKind uint8

const (
	literal tokenKind = iota
	one
	run
)

// pattern is a text with wildcards.
type pattern []token

// maxCompare bounds the work of comparing two patterns; beyond it the answer is
// the one that reports nothing.
const maxCompare = 1 << 16

// compile reads a text. wild says that * and ? are wildcards; vars that ${…} is
// a policy variable, which can hold any text.
func compile(s string, wild, vars bool) pattern {
	p := make(pattern, 0, len(s))
	for s != "" {
		if vars && strings.HasPrefix(s, "${") {
			body, after, closed := strings.Cut(s[2:], "}")
			if closed {
				s = after
				if len(body) == 1 && strings.Contains("*?$", body) { // an escape
					p = append(p, token{char: rune(body[0])})
				} else {
					p = append(p, token{kind: run})
				}
				continue
			}
		}
		r, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		switch {
		case wild && r == '*':
			p = append(p, token{kind: run})
		case wild && r == '?':
			p = append(p, token{kind: one})
		default:
			p = append(p, token{char: r})
		}
	}
	return p
}

// narrow are the variables of ARN templates that hold no slash.
func narrow(variable string) string {
	switch variable {
	case "BucketName", "KeyId", "AccessPointName":
		return "/:"
	case "Partition", "Region", "Account":
		return ":"
	default:
		return ""
	}
}

// template compiles the template of an ARN: each ${…} is some text, but none.
func template(arn string) pattern {
	var p pattern
	for arn != "" {
		if rest, ok := strings.CutPrefix(arn, "${"); ok {
			name, after, _ := strings.Cut(rest, "}")
			p = append(p, token{kind: one, not: narrow(name)}, token{kind: run, not: narrow(name)})
			arn = after
			continue
		}
		r, size := utf8.DecodeRuneInString(arn)
		p = append(p, token{char: r})
		arn = arn[size:]
	}
	return p
}

func (p pattern) fold() pattern {
	q := make(pattern, len(p))
	for i, t := range p {
		t.char = unicode.ToLower(t.char)
		q[i] = t
	}
	return q
}

// wild reports whether the pattern stands for more than one text.
func (p pattern) wild() bool {
	for _, t := range p {
		if t.kind != literal {
			return true
		}
	}
	return false
}

// pairs walks two patterns side by side and visits no pair of places twice.
type pairs struct {
	width int
	seen  []bool
	todo  [][2]int
}

func (w *pairs) push(i, j int) {
	if at := i*w.width + j; !w.seen[at] {
		w.seen[at] = true
		w.todo = append(w.todo, [2]int{i, j})
	}
}

// walk starts at the beginning of a and b, asks step for what follows each
// pair, and reports whether both ends are reached together.
func walk(a, b pattern, step func(w *pairs, i, j int)) bool {
	w := &pairs{width: len(b) + 1, seen: make([]bool, (len(a)+1)*(len(b)+1))}
	w.push(0, 0)
	for len(w.todo) > 0 {
		at := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		if at[0] == len(a) && at[1] == len(b) {
			return true
		}
		step(w, at[0], at[1])
	}
	return false
}

// overlap reports whether some text matches both patterns.
func overlap(a, b pattern) bool {
	for len(a) > 0 && len(b) > 0 && a[0].kind == literal && b[0].kind == literal {
		if a[0].char != b[0].char {
			return false
		}
		a, b = a[1:], b[1:]
	}
	if len(a)*len(b) > maxCompare {
		return true
	}
	return walk(a, b, func(w *pairs, i, j int) {
		moreA, moreB := i < len(a), j < len(b)
		if moreA && a[i].kind == run {
			w.push(i+1, j)
		}
		if moreB && b[j].kind == run {
			w.push(i, j+1)
		}
		if moreA && moreB && meet(a[i], b[j]) {
			w.push(after(a[i], i), after(b[j], j))
		}
	})
}

// after is the place behind a token that has taken a character.
func after(t token, i int) int {
	if t.kind == run {
		return i
	}
	return i + 1
}

// meet reports whether some character suits both tokens.
func meet(x, y token) bool {
	switch {
	case x.kind == literal && y.kind == literal:
		return x.char == y.char
	case x.kind == literal:
		return !strings.ContainsRune(y.not, x.char)
	case y.kind == literal:
		return !strings.ContainsRune(x.not, y.char)
	default:
		return true
	}
}

// covers reports whether every text that matches inner matches outer; it may
// say no although it is so.
func covers(outer, inner pattern) bool {
	if len(outer)*len(inner) > maxCompare {
		return false
	}
	return walk(outer, inner, func(w *pairs, i, j int) {
		if i == len(outer) {
			return
		}
		o := outer[i]
		if o.kind == run {
			w.push(i+1, j)
		}
		if j == len(inner) {
			return
		}
		n := inner[j]
		switch {
		case o.kind == run:
			w.push(i, j+1)
		case n.kind == run:
		case o.kind == one || n.kind == literal && n.char == o.char:
			w.push(i+1, j+1)
		}
	})
}

// distance is the number of letters to change, add or leave out.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// nearest returns the name that is spelt most like s, or "" when none is close.
func nearest(s string, names []string) string {
	best, found := max(2, len(s)/4)+1, ""
	if len(s) > 128 {
		return ""
	}
	s = strings.ToLower(s)
	for _, n := range names {
		if d := distance(s, strings.ToLower(n)); d < best {
			best, found = d, n
		}
	}
	return found
}
