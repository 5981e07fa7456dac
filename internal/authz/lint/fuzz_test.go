package lint

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sagekeep/sagekeep/internal/authz"
)

// FuzzCheck: every finding has a documented code and a place in the document,
// the same document gives the same findings, and exactly those that authz
// refuses are malformed.
func FuzzCheck(f *testing.F) {
	names, err := filepath.Glob(filepath.Join("testdata", "*", "*.json"))
	if err != nil || len(names) == 0 {
		f.Fatalf("found %d documents: %v", len(names), err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint8(GuessKind(b)))
	}
	for _, tt := range rules {
		f.Add([]byte(tt.doc), uint8(tt.kind))
	}
	known := Codes()
	f.Fuzz(func(t *testing.T, doc []byte, kind uint8) {
		if len(doc) > 1<<12 {
			return // longer documents hold nothing else
		}
		k := authz.Kind(kind)
		found := Check(doc, k, Options{})
		if again := Check(doc, k, Options{}); !slices.Equal(found, again) {
			t.Fatalf("found %+v, then %+v", found, again)
		}
		lines := bytes.Count(doc, []byte("\n")) + 1
		malformed := false
		for _, x := range found {
			malformed = malformed || x.Code == MalformedPolicy
			if !slices.Contains(known, x.Code) || x.Severity != Error && x.Severity != Warning || x.Message == "" {
				t.Errorf("%+v", x)
			}
			if x.Line < 1 || x.Line > lines || x.Column < 1 || x.Column > len(doc)+1 {
				t.Errorf("%+v is not in a document of %d lines", x, lines)
			}
		}
		if _, err := authz.Parse(k, doc); (err != nil) != malformed {
			t.Errorf("refused by authz: %v, found malformed: %v", err, malformed)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	doc, err := os.ReadFile(filepath.Join("testdata", "clean", "s3.identity.json"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		Check(doc, authz.IdentityPolicy, Options{})
	}
}
