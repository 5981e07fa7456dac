package archtest

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// section returns the text below a level-two heading, up to the next one.
func section(text, heading string) (string, bool) {
	_, rest, ok := strings.Cut("\n"+text, "\n## "+heading+"\n")
	if !ok {
		return "", false
	}
	body, _, _ := strings.Cut(rest, "\n## ")
	return body, true
}

var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

func TestQuickStart(t *testing.T) {
	t.Parallel()
	body, ok := section(readRepo(t, "README.md"), "Quick start")
	if !ok {
		t.Fatal("README.md has no section Quick start")
	}
	blocks := fence.FindAllStringSubmatch(body, -1)
	if len(blocks) != 1 {
		t.Fatalf("Quick start has %d code blocks, want one", len(blocks))
	}
	const want = "go run ./cmd/sagekeep demo\ngo test ./...\n"
	if got := blocks[0][2]; got != want {
		t.Errorf("Quick start is %q, want %q", got, want)
	}
}

// TestGoExample: what README shows is what e2e runs.
func TestGoExample(t *testing.T) {
	t.Parallel()
	body, ok := section(readRepo(t, "README.md"), "Go")
	if !ok {
		t.Fatal("README.md has no section Go")
	}
	block := fence.FindStringSubmatch(body)
	if block == nil || block[1] != "go" {
		t.Fatal("the section Go has no Go code")
	}
	_, rest, _ := strings.Cut(readRepo(t, "e2e/readme_test.go"), "// README begins\n")
	code, _, ok := strings.Cut(rest, "// README ends\n")
	if !ok {
		t.Fatal("e2e/readme_test.go has no example between its marks")
	}
	if got, want := strings.TrimSpace(block[2]), strings.TrimSpace(code); got != want {
		t.Errorf("README shows\n%s\n\nbut e2e/readme_test.go runs\n%s", got, want)
	}
}

// documents are the Markdown files of the repository.
func documents(t *testing.T) []string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	err = fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && skipped(d.Name()) {
			return fs.SkipDir
		}
		if strings.HasSuffix(name, ".md") {
			all = append(all, name)
		}
		return nil
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("found %d documents: %v", len(all), err)
	}
	return all
}

var link = regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, name := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(readRepo(t, name), ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			if target := path.Join(path.Dir(name), m[1]); !exists(t, target) {
				t.Errorf("%s links to %s, which is not there", name, target)
			}
		}
	}
}

var page = regexp.MustCompile(`docs/[a-z0-9/_-]+\.md`)

// TestNamedPagesExist: code that sends its reader to a page sends it to one.
func TestNamedPagesExist(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		for _, g := range s.syntax.Comments {
			for _, name := range page.FindAllString(g.Text(), -1) {
				if !exists(t, name) {
					t.Errorf("%s names %s, which is not there", s.path, name)
				}
			}
		}
	}
}

func TestDecisionRecords(t *testing.T) {
	t.Parallel()
	var records []string
	for _, name := range documents(t) {
		if path.Dir(name) == "docs/adr" && path.Base(name) != "README.md" {
			records = append(records, name)
		}
	}
	slices.Sort(records)
	if len(records) == 0 {
		t.Fatal("docs/adr is empty")
	}
	for i, name := range records {
		if want := fmt.Sprintf("%04d-", i+1); !strings.HasPrefix(path.Base(name), want) {
			t.Errorf("%s: the number after the one before is %s", name, want)
		}
		text := readRepo(t, name)
		for _, line := range []string{"Status: ", "Date: "} {
			if !strings.Contains(text, "\n"+line) {
				t.Errorf("%s has no line %q", name, line)
			}
		}
		for _, heading := range []string{"Context", "Options", "Decision", "Consequences"} {
			if body, ok := section(text, heading); !ok || strings.TrimSpace(body) == "" {
				t.Errorf("%s has nothing under %s", name, heading)
			}
		}
	}
}

// TestArchitectureIsCurrent: the page names every package, and every test that
// it calls a proof is there.
func TestArchitectureIsCurrent(t *testing.T) {
	t.Parallel()
	text := readRepo(t, "docs/architecture.md")
	tests := map[string]bool{}
	packages := map[string]bool{}
	for _, s := range sources(t) {
		packages[s.dir] = true
		for name := range functions(s) {
			if s.test {
				tests[s.dir+"."+name] = true
			}
		}
	}
	for dir := range packages {
		_, entry := place(dir)
		if !strings.Contains(text, "`"+dir+"`") && !strings.Contains(text, "`"+entry+"`") {
			t.Errorf("docs/architecture.md does not name %s", dir)
		}
	}
	for _, m := range regexp.MustCompile("`([a-z0-9/]+\\.(?:Test|Fuzz|Example)[A-Za-z0-9_]*)`").FindAllStringSubmatch(text, -1) {
		if !tests[m[1]] {
			t.Errorf("docs/architecture.md names the test %s, which is not there", m[1])
		}
	}
}
