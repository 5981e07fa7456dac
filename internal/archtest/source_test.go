package archtest

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// maxLines is the length of a file that nobody wants to read any more.
const maxLines = 700

// long are the files that may be longer, each with its reason.
var long = map[string]string{
	"internal/authz/reference_test.go": "a second evaluator and its case generator, read as one piece against the User Guide",
}

func TestFilesStayShort(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.lines > maxLines && !s.generated && long[s.path] == "" {
			t.Errorf("%s has %d lines, more than %d: split it by noun", s.path, s.lines, maxLines)
		}
	}
	for name := range long {
		if !exists(t, name) {
			t.Errorf("%s may be long, but is not there", name)
		}
	}
}

func TestGeneratedFilesAreNamedSo(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if named := strings.HasSuffix(s.path, "_gen.go"); named != s.generated {
			t.Errorf("%s: generated code, and nothing else, lies in *_gen.go with the line that says so", s.path)
		}
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	t.Parallel()
	type pkg struct{ files, docs []string }
	packages := map[string]*pkg{}
	code := map[string]bool{} // folders with something besides tests
	for _, s := range sources(t) {
		if packages[s.dir] == nil {
			packages[s.dir] = &pkg{}
		}
		code[s.dir] = code[s.dir] || !s.test
		p := packages[s.dir]
		p.files = append(p.files, s.path)
		if s.syntax.Doc == nil {
			continue
		}
		want := "Package " + s.name() + " "
		if s.name() == "main" {
			want = "Command " + path.Base(s.dir) + " "
		}
		if !strings.HasPrefix(s.syntax.Doc.Text(), want) {
			t.Errorf("%s: the package comment begins with %q", s.path, want)
		}
		p.docs = append(p.docs, s.path)
	}
	for dir, p := range packages {
		if len(p.docs) != 1 && (code[dir] || len(p.docs) > 1) {
			t.Errorf("%s has %d package comments, want one: %v", dir, len(p.docs), p.docs)
		}
	}
}

// empty are package names that say nothing: put the function beside its user.
var empty = []string{"util", "utils", "common", "helper", "helpers", "base", "types", "model", "models", "misc", "shared", "lib"}

func TestPackageNames(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		name := strings.TrimSuffix(s.name(), "_test")
		if slices.Contains(empty, name) {
			t.Errorf("%s: package %s says nothing about what it provides", s.path, name)
		}
		if name != "main" && name != path.Base(s.dir) {
			t.Errorf("%s: package %s lies in a folder of another name", s.path, name)
		}
	}
}

func TestNoUnsafeNoCgo(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		for _, imp := range s.imports {
			if imp == "unsafe" || imp == "C" || imp == "plugin" {
				t.Errorf("%s imports %q (I8: one static binary, from plain Go)", s.path, imp)
			}
		}
		for _, g := range s.syntax.Comments {
			for _, c := range g.List {
				if strings.HasPrefix(c.Text, "//go:linkname") {
					t.Errorf("%s uses go:linkname", s.path)
				}
			}
		}
	}
}

func TestNoInit(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		for _, d := range s.syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function: wire it in internal/server", s.path)
			}
		}
	}
}

func TestNoLooseEnds(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.dir == "internal/archtest" {
			continue
		}
		for _, g := range s.syntax.Comments {
			for _, word := range []string{"TODO", "FIXME", "XXX", "HACK"} {
				if slices.Contains(strings.FieldsFunc(g.Text(), func(r rune) bool { return r < 'A' || r > 'Z' }), word) {
					t.Errorf("%s: a comment says %s: do it, or open an issue", s.path, word)
				}
			}
		}
	}
}

// readers are the packages that parse bytes which somebody else wrote. Each has
// a fuzz target; `make fuzz` runs them all.
var readers = []string{
	"internal/authz",            // policy documents, globs, lines to simulate
	"internal/authz/lint",       // policy documents, broken ones too
	"internal/envelope",         // tokens
	"internal/envelope/segment", // SGK1 segments
	"internal/geospatial",       // STAC items
	"internal/iam",              // session tokens, ARNs of identity providers
	"internal/kms",              // ciphertext blobs, key references
	"internal/oidc",             // ID tokens, key sets of issuers
	"internal/organizations",    // control policies
	"internal/protocol/wire",    // JSON, XML and query requests
	"internal/raster",           // GeoTIFF files, equations
	"internal/sigv4",            // Authorization headers, queries, chunked bodies
	"internal/sts",              // authorization messages
}

func TestReadersAreFuzzed(t *testing.T) {
	t.Parallel()
	targets := map[string]int{}
	for _, s := range sources(t) {
		for name := range functions(s) {
			if s.test && strings.HasPrefix(name, "Fuzz") {
				targets[s.dir]++
			}
		}
	}
	for _, dir := range readers {
		if targets[dir] == 0 {
			t.Errorf("%s parses foreign bytes and has no fuzz target", dir)
		}
	}
}

// functions are the names of the top-level functions of a file.
func functions(s *source) map[string]bool {
	out := map[string]bool{}
	for _, d := range s.syntax.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
			out[f.Name.Name] = true
		}
	}
	return out
}
