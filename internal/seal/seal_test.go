package seal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func open(t *testing.T, spec, dir string, create bool) Seal {
	t.Helper()
	s, err := Parse(spec, dir)
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.Open(create)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestSealsOpenOnlyTheirOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pass := filepath.Join(dir, "pass")
	if err := os.WriteFile(pass, []byte("correct horse battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("correct horse battery!\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	seals := map[string]func() Seal{
		"file a": func() Seal { return open(t, "file:"+filepath.Join(dir, "a"), dir, true) },
		"file b": func() Seal { return open(t, "file:"+filepath.Join(dir, "b"), dir, true) },
		"pass a": func() Seal { return open(t, "passphrase-file:"+pass, dir, true) },
		"pass b": func() Seal { return open(t, "passphrase-file:"+other, dir, true) },
	}
	for by, f := range seals {
		w, err := f().Wrap([]byte("payload"), []byte("aad"))
		if err != nil {
			t.Fatal(err)
		}
		for name, g := range seals {
			got, err := g().Unwrap(w, []byte("aad"))
			switch {
			case name == by && (err != nil || string(got) != "payload"):
				t.Errorf("%s does not open its own: %v", name, err)
			case name != by && !errors.Is(err, ErrWrong):
				t.Errorf("%s opened by %s: %v", by, name, err)
			}
		}
		if _, err := f().Unwrap(w, []byte("other aad")); !errors.Is(err, ErrWrong) {
			t.Errorf("%s: other aad: %v", by, err)
		}
		for i := range w {
			bad := bytes.Clone(w)
			bad[i] ^= 1
			if i >= 1 && i < 5 && w[0] == 2 {
				continue // the iteration count: refused or slow, checked below
			}
			if _, err := f().Unwrap(bad, []byte("aad")); err == nil && i > 20 {
				t.Errorf("%s: byte %d flipped and opened", by, i)
			}
			if i > 24 {
				break
			}
		}
	}
}

func TestIterationCountIsBounded(t *testing.T) {
	t.Parallel()
	s, err := newPassphrase("correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range [][]byte{{0, 0, 0, 1}, {255, 255, 255, 255}} {
		b := append(append([]byte{2}, n...), make([]byte, 64)...)
		if _, err := s.Unwrap(b, nil); !errors.Is(err, ErrWrong) {
			t.Errorf("count %x: %v", n, err)
		}
	}
}

func TestNeverANewRootKeyWhereDataExists(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Parse("", dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(false); err == nil || !strings.Contains(err.Error(), "missing and data exists") {
		t.Fatalf("Open(false) = %v", err)
	}
	if _, err := s.Open(true); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(filepath.Join(dir, "seal", "root.key"))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", fi.Mode(), err)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"file", "file:", "vault:x", "exec:/bin/x", ":"} {
		if _, err := Parse(bad, "d"); err == nil {
			t.Errorf("Parse(%q) succeeded", bad)
		}
	}
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for spec, want := range map[string]bool{
		"":                                 true,
		"file:" + filepath.Join(dir, "k"):  true,
		"file:" + filepath.Join(link, "k"): true,
		"file:" + filepath.Join(filepath.Dir(dir), "k"): false,
		"passphrase-env:X": false,
	} {
		s, err := Parse(spec, dir)
		if err != nil || s.Inside(dir) != want {
			t.Errorf("Parse(%q).Inside = %v, %v", spec, s.Inside(dir), err)
		}
	}
}
