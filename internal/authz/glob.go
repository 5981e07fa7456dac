package authz

import (
	"strings"
	"unicode/utf8"
)

// A compiled pattern is a string in which these bytes, none of which occurs in
// UTF-8 text, stand for wildcards. Everything else stands for itself, so text
// that a policy variable brings in can never act as a wildcard.
const (
	opStar     = 0xFF // any run of characters
	opQuery    = 0xFE // any one character
	opStarSeg  = 0xFD // any run without a colon
	opQuerySeg = 0xFC // any one character but a colon
	opColon    = 0xFB // a colon that separates nothing
	opFirst    = opColon
)

// glob is a compiled pattern with its shape, so that the common ones need no
// general matching.
type glob struct {
	pat    string
	prefix int // bytes before the first wildcard
	shape  globShape
}

type globShape uint8

const (
	globGeneral globShape = iota
	globLiteral
	globAny
	globPrefix // literal, then one opStar at the end
)

func newGlob(pat string) glob {
	g := glob{pat: pat, prefix: len(pat)}
	for i := range len(pat) {
		if pat[i] >= opFirst {
			g.prefix = i
			break
		}
	}
	switch {
	case g.prefix == len(pat):
		g.shape = globLiteral
	case pat[g.prefix] == opStar && g.prefix == len(pat)-1 && g.prefix == 0:
		g.shape = globAny
	case pat[g.prefix] == opStar && g.prefix == len(pat)-1:
		g.shape = globPrefix
	}
	return g
}

// match reports whether s matches, case-sensitively. What it costs is taken from
// w; when that is spent the answer is no.
func (g *glob) match(s string, w *Work) bool {
	switch g.shape {
	case globLiteral:
		return s == g.pat
	case globAny:
		return true
	case globPrefix:
		return strings.HasPrefix(s, g.pat[:g.prefix])
	}
	if !strings.HasPrefix(s, g.pat[:g.prefix]) {
		return false
	}
	return globMatch(g.pat[g.prefix:], s[g.prefix:], false, w)
}

// matchFold is match with ASCII letters of s folded; the pattern is lower case
// already.
func (g *glob) matchFold(s string, w *Work) bool {
	if len(s) < g.prefix || !equalLower(s[:g.prefix], g.pat[:g.prefix]) {
		return false
	}
	switch g.shape {
	case globLiteral:
		return len(s) == len(g.pat)
	case globAny, globPrefix:
		return true
	}
	return globMatch(g.pat[g.prefix:], s[g.prefix:], true, w)
}

func equalLower(s, lower string) bool {
	for i := len(s) - 1; i >= 0; i-- { // names differ at the end more than at the start
		if lowerByte(s[i]) != lower[i] {
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// globMatch matches greedily and goes back to one place only: the last opStar,
// or, while it can still grow, the last opStarSeg after it. Going back further
// is never needed: an earlier star has been given the shortest run that lets
// what follows match, and a longer run could not help, because the later star
// takes up any slack; for opStarSeg that holds up to the next colon, at which
// neither of two such stars may pass. So the time is at most the product of
// the lengths, never exponential.
func globMatch(p, s string, fold bool, w *Work) bool {
	most := w.most()
	match, steps := globSteps(p, s, fold, most)
	w.Spend(steps)
	return match && steps <= most
}

// globSteps is globMatch, and counts its steps. It gives up beyond the most that
// it may take.
func globSteps(p, s string, fold bool, most int) (match bool, steps int) {
	pi, si := 0, 0
	starP, starS, segP, segS := -1, 0, -1, 0
	for ; steps <= most; steps++ {
		switch {
		case pi == len(p):
			if si == len(s) {
				return true, steps
			}
		case p[pi] == opStar:
			starP, starS, segP = pi, si, -1
			pi++
			if pi == len(p) {
				return true, steps
			}
			continue
		case p[pi] == opStarSeg:
			segP, segS = pi, si
			pi++
			continue
		case si == len(s):
			if segP < 0 {
				return false, steps // a longer run would leave even less
			}
		case p[pi] == opQuery || p[pi] == opQuerySeg && s[si] != ':':
			si += charLen(s[si:])
			pi++
			continue
		case p[pi] == opQuerySeg:
		case p[pi] == opColon && s[si] == ':',
			p[pi] < opFirst && (p[pi] == s[si] || fold && p[pi] == lowerByte(s[si])):
			pi++
			si++
			continue
		}
		switch {
		case segP >= 0 && segS < len(s) && s[segS] != ':':
			segS += charLen(s[segS:])
			si, pi = segS, segP+1
		case starP >= 0 && starS < len(s):
			segP = -1
			starS += charLen(s[starS:])
			si, pi = starS, starP+1
		default:
			return false, steps
		}
	}
	return false, steps
}

func charLen(s string) int {
	if s[0] < utf8.RuneSelf {
		return 1
	}
	_, n := utf8.DecodeRuneInString(s)
	return n
}
