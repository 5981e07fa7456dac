package lint

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sagekeep/sagekeep/internal/authz"
)

// Severity is how bad a finding is.
type Severity string

// The severities.
const (
	// Error: the document is refused, or what is found never takes effect.
	Error Severity = "error"
	// Warning: it takes effect, though perhaps not as meant.
	Warning Severity = "warning"
)

// Finding is one thing found in a document.
type Finding struct {
	Severity Severity
	Code     Code
	// Statement is the Sid of the statement, or its index from 0; "" when the
	// finding is about the document.
	Statement string
	// Line and Column say where, from 1; columns count characters.
	Line, Column int
	Message      string
	// Hint says what to do, or is "".
	Hint string
}

// Options are what is known besides the document.
type Options struct {
	// Resource is the ARN of the resource that a resource policy or key policy
	// belongs to; "" when it is not known.
	Resource string
}

// Check returns the findings of a document of the given kind, in document
// order. It is safe for concurrent use. A kind that authz does not know is one
// malformed-policy finding.
func Check(doc []byte, kind authz.Kind, opts Options) []Finding {
	c := &checker{kind: kind, opts: opts, doc: doc}
	if len(doc) > authz.MaxDocument {
		c.report(nil, 0, Error, MalformedPolicy, fmt.Sprintf("Syntax errors in policy: longer than %d bytes", authz.MaxDocument), "")
		return c.placed()
	}
	root, offset, readErr := readTree(doc)
	if root != nil {
		c.policy = readPolicy(root)
	}
	if _, err := authz.Parse(kind, doc); err != nil {
		c.refused = true
		c.malformed(err, offset, readErr != nil)
	}
	if c.policy != nil {
		c.checkPolicy()
	}
	return c.placed()
}

// located is a finding with its offset.
type located struct {
	Finding

	at int
}

// placed returns the findings in document order, with line and column.
func (c *checker) placed() []Finding {
	slices.SortStableFunc(c.found, func(a, b located) int { return cmp.Compare(a.at, b.at) })
	all := make([]Finding, 0, len(c.found))
	line, column, at := 1, 1, 0
	for _, f := range c.found {
		passed := c.doc[at:f.at]
		if n := bytes.Count(passed, []byte("\n")); n > 0 {
			line += n
			column = 1
			passed = passed[bytes.LastIndexByte(passed, '\n')+1:]
		}
		column += utf8.RuneCount(passed)
		at = f.at
		f.Line, f.Column = line, column
		all = append(all, f.Finding)
	}
	return slices.Compact(all)
}

// checker is one run of [Check].
type checker struct {
	kind    authz.Kind
	opts    Options
	doc     []byte
	policy  *policy
	refused bool // authz.Parse gave an error
	work    int  // see maxWork
	hints   int  // see maxHints
	found   []located
}

// report adds a finding at a byte offset.
func (c *checker) report(s *statement, at int, severity Severity, code Code, message, hint string) {
	f := Finding{Severity: severity, Code: code, Message: message, Hint: hint}
	if s != nil {
		f.Statement = s.label()
	}
	c.found = append(c.found, located{f, min(at, len(c.doc))})
}

// inStatement finds the statement in the detail of a malformed document.
var inStatement = regexp.MustCompile(`^statement (\d+): `)

// malformed reports a document that is refused, with AWS's text. offset is
// where reading ended when it is no JSON.
func (c *checker) malformed(err error, offset int, unread bool) {
	text := err.Error()
	var s *statement
	at := 0
	if unread {
		at = offset
	}
	if e, ok := errors.AsType[*authz.MalformedError](err); ok && c.policy != nil {
		if m := inStatement.FindStringSubmatch(e.Detail); m != nil {
			if i, err := strconv.Atoi(m[1]); err == nil && i < len(c.policy.statements) {
				s = &c.policy.statements[i]
				at = s.at
				text = strings.Replace(text, m[0], "", 1)
			}
		}
	}
	c.report(s, at, Error, MalformedPolicy, text, "")
}

// checkPolicy runs every rule.
func (c *checker) checkPolicy() {
	p := c.policy
	for i := range p.statements {
		s := &p.statements[i]
		c.checkActions(s)
		c.checkResources(s)
		c.checkPrincipals(s)
		c.checkConditions(s)
		c.checkContradictions(s)
		c.checkVariables(s)
		switch c.kind {
		case authz.KeyPolicy:
			c.checkKeyStatement(s)
		case authz.TrustPolicy:
			c.checkTrustStatement(s)
		case authz.SCP, authz.RCP:
			c.checkControlStatement(s)
		}
	}
	c.checkOverlaps()
	if c.kind == authz.KeyPolicy {
		c.checkLockout()
	}
}
