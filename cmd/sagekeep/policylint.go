package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/authz/lint"
)

// lintFinding is one line of --json; docs/policy-lint.md lists the fields.
type lintFinding struct {
	File      string        `json:"file"`
	Kind      string        `json:"kind"`
	Line      int           `json:"line"`
	Column    int           `json:"column"`
	Severity  lint.Severity `json:"severity"`
	Code      lint.Code     `json:"code"`
	Statement string        `json:"statement,omitempty"`
	Message   string        `json:"message"`
	Hint      string        `json:"hint,omitempty"`
}

func lintCommand() *command {
	return &command{
		name: "lint", args: "[FILE ...]", short: "Find what never takes effect in policy documents; docs/policy-lint.md explains",
		example: "sagekeep policy lint key-policy.json\nsagekeep policy lint --kind trust --json - < trust.json\nsagekeep policy lint --strict policies/*.json",
		maxArgs: -1,
		flags: func(f *flag.FlagSet) {
			f.String("kind", "", "identity, resource, key, trust, boundary, session, scp or rcp; guessed when empty")
			f.String("resource", "", "`ARN` of the resource that the documents belong to")
			f.Bool("strict", false, "count warnings as errors")
			f.Bool("json", false, "one JSON object a line")
		},
		run: func(_ context.Context, f *flag.FlagSet, std stdio) error {
			kind, err := lintKind(value(f, "kind"))
			if err != nil {
				return err
			}
			l := linter{std: std, kind: kind, resource: value(f, "resource"), strict: boolValue(f, "strict"), json: boolValue(f, "json")}
			names := f.Args()
			if len(names) == 0 {
				names = []string{"-"}
			}
			var failed []error
			for _, name := range names {
				failed = append(failed, l.file(name))
			}
			if err := errors.Join(failed...); err != nil {
				return err
			}
			if l.found {
				return errFound
			}
			return nil
		},
	}
}

// lintKinds are the values of --kind, in the order of authz's kinds.
func lintKinds() []string {
	return []string{"identity", "resource", "key", "trust", "boundary", "session", "scp", "rcp"}
}

// lintKind reads --kind; zero means that each document's is guessed.
func lintKind(name string) (authz.Kind, error) {
	if name == "" {
		return 0, nil
	}
	for i, n := range lintKinds() {
		if n == name {
			return authz.IdentityPolicy + authz.Kind(i), nil
		}
	}
	return 0, usagef("--kind %q: want %s", name, strings.Join(lintKinds(), ", "))
}

// linter checks files and prints what it finds.
type linter struct {
	std      stdio
	kind     authz.Kind
	resource string
	strict   bool
	json     bool
	found    bool // something that makes the command fail
}

// file checks one file; "-" is standard input.
func (l *linter) file(name string) error {
	in := l.std.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("read policy: %w", err)
		}
		defer f.Close() //nolint:errcheck // read only
		in = f
	}
	doc, err := io.ReadAll(io.LimitReader(in, authz.MaxDocument+1))
	if err != nil {
		return fmt.Errorf("read policy %s: %w", name, err)
	}
	kind := l.kind
	if kind == 0 {
		kind = lint.GuessKind(doc)
	}
	for _, x := range lint.Check(doc, kind, lint.Options{Resource: l.resource}) {
		l.found = l.found || x.Severity == lint.Error || l.strict
		if err := l.print(name, kind, x); err != nil {
			return err
		}
	}
	return nil
}

func (l *linter) print(name string, kind authz.Kind, x lint.Finding) error {
	if l.json {
		enc := json.NewEncoder(l.std.out)
		enc.SetEscapeHTML(false)
		return enc.Encode(lintFinding{
			File: name, Kind: lintKinds()[kind-authz.IdentityPolicy], Line: x.Line, Column: x.Column,
			Severity: x.Severity, Code: x.Code, Statement: x.Statement, Message: x.Message, Hint: x.Hint,
		})
	}
	text := fmt.Sprintf("%s:%d: %s %s: %s", name, x.Line, x.Severity, x.Code, printable(x.Message))
	if x.Statement != "" {
		text += " (statement " + printable(x.Statement) + ")"
	}
	if x.Hint != "" {
		text += "\n    " + printable(x.Hint)
	}
	_, err := fmt.Fprintln(l.std.out, text)
	return err
}

// printable keeps a document's control characters away from the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
