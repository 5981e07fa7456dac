package lint

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/internal/authz"
)

var (
	docSection = regexp.MustCompile("(?m)^### ([a-z-]+)$")
	docExample = regexp.MustCompile("(?s)\nExample \\(([a-z ]+)\\):\n\n```json\n(.*?)```")
)

// kindNamed is the kind with that name.
func kindNamed(t *testing.T, name string) authz.Kind {
	t.Helper()
	for k := authz.IdentityPolicy; k <= authz.RCP; k++ {
		if k.String() == name {
			return k
		}
	}
	t.Fatalf("no kind of policy is called %q", name)
	return 0
}

// TestDocumentedExamples: docs/policy-lint.md has a section for every code, and
// the example there has that finding and none of another code.
func TestDocumentedExamples(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "policy-lint.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), "\r\n", "\n")
	at := docSection.FindAllStringSubmatchIndex(text, -1)
	var codes []Code
	for i, m := range at {
		code := Code(text[m[2]:m[3]])
		codes = append(codes, code)
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		example := docExample.FindStringSubmatch(text[m[1]:end])
		if example == nil {
			t.Errorf("%s has no example", code)
			continue
		}
		found := false
		for _, f := range Check([]byte(example[2]), kindNamed(t, example[1]), Options{}) {
			if f.Code != code && f.Code != MalformedPolicy { // what never matches is often refused as well
				t.Errorf("%s: the example has %+v", code, f)
			}
			found = found || f.Code == code
		}
		if !found {
			t.Errorf("%s: the example does not have it", code)
		}
	}
	want := Codes()
	slices.Sort(want)
	slices.Sort(codes)
	if !slices.Equal(codes, want) {
		t.Errorf("documented are\n%v\nthere are\n%v", codes, want)
	}
}
