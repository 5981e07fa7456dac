package envelope

import (
	"bytes"
	"context"
	"crypto/fips140"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/internal/seal"
	"github.com/sagekeep/sagekeep/internal/secret"
)

func newFiles(t *testing.T) Files {
	t.Helper()
	return filesIn(t.TempDir())
}

func filesIn(dir string) Files {
	return Files{Keyring: filepath.Join(dir, "keyring"), Epochs: filepath.Join(dir, "epoch.json")}
}

// opener opens a seal like a start would, as often as it is called.
func opener(text string) func() (seal.Seal, error) {
	return func() (seal.Seal, error) {
		spec, err := seal.Parse(text, "")
		if err != nil {
			return nil, err
		}
		return spec.Open(seal.Options{Create: true})
	}
}

func fileText(dir string) string { return "file:" + filepath.Join(dir, "root.key") }

func fileSeal(t *testing.T, dir string) seal.Seal {
	t.Helper()
	s, err := opener(fileText(dir))()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// kept is a seal that outlives its closing.
type kept struct{ seal.Seal }

func (kept) Close() {}

// reopening hands out the seal again.
func reopening(s seal.Seal) func() (seal.Seal, error) {
	return func() (seal.Seal, error) { return kept{s}, nil }
}

func openKeys(t *testing.T, files Files, s seal.Seal) *Keys {
	t.Helper()
	k, err := OpenKeys(t.Context(), files, s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// probe is a value and a backing key that prove which keys were opened.
type probe struct {
	value, backing []byte
	key            secret.Key
}

func newProbe(t *testing.T, k *Keys) probe {
	t.Helper()
	v, err := k.Keyring.Seal("probe", []byte("aad"), []byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	p := probe{value: v, key: secret.Random()}
	p.backing = k.Epochs.Wrap([]byte("aad"), p.key)
	return p
}

func (p *probe) check(k *Keys) error {
	if got, err := k.Keyring.Open("probe", []byte("aad"), p.value); err != nil || string(got) != "value" {
		return fmt.Errorf("value: %w", err)
	}
	if got, err := k.Epochs.Unwrap([]byte("aad"), p.backing); err != nil || !got.Equal(p.key) {
		return fmt.Errorf("backing key: %w", err)
	}
	return nil
}

func TestKeysReopen(t *testing.T) {
	t.Parallel()
	files, s := newFiles(t), fileSeal(t, t.TempDir())
	k, err := CreateKeys(t.Context(), files, s, reopening(s))
	if err != nil {
		t.Fatal(err)
	}
	p := newProbe(t, k)
	again := openKeys(t, files, s)
	if err := p.check(again); err != nil {
		t.Fatal(err)
	}
	a, b := k.Keyring, again.Keyring
	if a.MAC("c", []byte("x")) != b.MAC("c", []byte("x")) || a.MAC("c", []byte("x")) == a.MAC("d", []byte("x")) {
		t.Error("MACs are not stable, or not separated by class")
	}
	if !a.Derive("files").Equal(b.Derive("files")) || a.Derive("files").Equal(a.Derive("other")) {
		t.Error("derived keys are not stable, or not separated by purpose")
	}
	st, err := ReadStatus(files)
	about, aerr := again.Active()
	if err != nil || aerr != nil || len(st.Copies) != 1 || !reflect.DeepEqual(st.Copies[0], about) || about.Kind != seal.File || about.Info.KeyID == "" ||
		about.Since.IsZero() || st.Leftovers != 0 || st.ID != a.ID() {
		t.Errorf("status %+v, %v; active %+v, %v", st, err, about, aerr)
	}
	for name, path := range map[string]string{"keyring": files.Keyring, "epochs": files.Epochs} {
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenKeys(t.Context(), files, s); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without the %s: %v", name, err)
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
}

// mixedUp unwraps another key than it wrapped.
type mixedUp struct{ kept }

func (mixedUp) Unwrap(context.Context, []byte, seal.Context) (secret.Key, error) {
	return secret.Random(), nil
}

// TestFirstStartTriesTheSeal: a seal that does not open what it has sealed makes no
// data directory.
func TestFirstStartTriesTheSeal(t *testing.T) {
	t.Parallel()
	s, refused := fileSeal(t, t.TempDir()), errors.New("access denied")
	for name, c := range map[string]struct {
		reopen func() (seal.Seal, error)
		want   error
	}{
		"it opens another key":      {reopening(mixedUp{kept{s}}), seal.ErrWrong},
		"its holder refuses":        {reopening(fakeSeal{Seal: kept{s}, kind: seal.File, unwrap: refused}), refused},
		"it cannot be opened":       {func() (seal.Seal, error) { return nil, refused }, refused},
		"it is another of its kind": {opener(fileText(t.TempDir())), seal.ErrWrong},
	} {
		files := newFiles(t)
		if _, err := CreateKeys(t.Context(), files, s, c.reopen); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		for _, path := range []string{files.Keyring, files.Epochs} {
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s is there: %v", name, filepath.Base(path), err)
			}
		}
	}
}

// TestWrongSeals: what opens nothing says so and changes nothing.
func TestWrongSeals(t *testing.T) {
	t.Parallel()
	files, s := newFiles(t), fileSeal(t, t.TempDir())
	if _, err := CreateKeys(t.Context(), files, s, reopening(s)); err != nil {
		t.Fatal(err)
	}
	before := read(t, files.Keyring)
	if _, err := OpenKeys(t.Context(), files, fileSeal(t, t.TempDir())); !errors.Is(err, seal.ErrWrong) {
		t.Errorf("another root key: %v", err)
	}
	if _, err := OpenKeys(t.Context(), files, fakeSeal{kind: seal.AWSKMS}); !errors.Is(err, seal.ErrWrong) || !strings.Contains(err.Error(), "kind file, not awskms") {
		t.Errorf("another kind: %v", err)
	}
	if !bytes.Equal(read(t, files.Keyring), before) {
		t.Error("the keyring was written")
	}
	// A copy of another data directory under the same seal.
	other := newFiles(t)
	if _, err := CreateKeys(t.Context(), other, s, reopening(s)); err != nil {
		t.Fatal(err)
	}
	var mine, theirs keyringFile
	if json.Unmarshal(before, &mine) != nil || json.Unmarshal(read(t, other.Keyring), &theirs) != nil {
		t.Fatal("the files are no JSON")
	}
	swapped := mine
	swapped.Copies = theirs.Copies
	for name, c := range map[string]struct {
		file keyringFile
		want error
	}{
		"its copies":           {swapped, seal.ErrWrong},
		"its keyring":          {with(mine, func(c *sealedCopy) { c.Keyring = theirs.Copies[0].Keyring }), ErrSealed},
		"its canary":           {with(mine, func(c *sealedCopy) { c.Canary = theirs.Copies[0].Canary }), seal.ErrWrong},
		"no canary":            {with(mine, func(c *sealedCopy) { c.Canary = nil }), seal.ErrWrong},
		"canary as keyring":    {with(mine, func(c *sealedCopy) { c.Keyring = c.Canary }), ErrSealed},
		"a later generation":   {with(mine, func(c *sealedCopy) { c.Generation++ }), seal.ErrWrong},
		"an altered keyring":   {with(mine, func(c *sealedCopy) { c.Keyring[20] ^= 1 }), ErrSealed},
		"an altered root key":  {with(mine, func(c *sealedCopy) { c.Root[len(c.Root)-1] ^= 1 }), seal.ErrWrong},
		"a garbled root key":   {with(mine, func(c *sealedCopy) { c.Root = []byte{0} }), seal.ErrWrong},
		"another kind of seal": {with(mine, func(c *sealedCopy) { c.Seal = seal.AWSKMS }), seal.ErrWrong},
	} {
		b, err := encodeFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, files.Keyring, b)
		if _, err := OpenKeys(t.Context(), files, s); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	write(t, files.Keyring, before)
	write(t, files.Epochs, read(t, other.Epochs))
	if _, err := OpenKeys(t.Context(), files, s); !errors.Is(err, ErrSealed) {
		t.Errorf("the epochs of another directory: %v", err)
	}
}

// with returns a copy of f whose only copy is changed.
func with(f keyringFile, change func(*sealedCopy)) keyringFile {
	c := f.Copies[0]
	c.Root, c.Canary, c.Keyring = bytes.Clone(c.Root), bytes.Clone(c.Canary), bytes.Clone(c.Keyring)
	change(&c)
	f.Copies = []sealedCopy{c}
	return f
}

func TestNewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	files, s := newFiles(t), fileSeal(t, t.TempDir())
	if _, err := CreateKeys(t.Context(), files, s, reopening(s)); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"keyring": files.Keyring, "epochs": files.Epochs} {
		before := read(t, path)
		newer := bytes.Replace(before, []byte(`"format": 2`), []byte(`"format": 3`), 1)
		for _, text := range [][]byte{newer, []byte(`{"format":3,"copies":"of another form"}`)} {
			write(t, path, text)
			if _, err := OpenKeys(t.Context(), files, s); !errors.Is(err, ErrNewer) && (name == "keyring" || bytes.Equal(text, newer)) {
				t.Errorf("%s: %v", name, err)
			}
		}
		write(t, path, before)
	}
}

// TestKeptSamples opens what every version has written, and brings it to today's
// form.
func TestKeptSamples(t *testing.T) {
	t.Parallel()
	samples, err := filepath.Glob("testdata/v*-*")
	if err != nil || len(samples) < 5 {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	key, err := secret.New([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range samples {
		t.Run(filepath.Base(from), func(t *testing.T) {
			t.Parallel()
			if strings.HasSuffix(from, "argon2id") && fips140.Enforced() {
				return // seal.TestDerivations wants the refusal
			}
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
			text := fileText(dir)
			if _, err := os.Stat(filepath.Join(dir, "passphrase")); err == nil {
				text = "passphrase-file:" + filepath.Join(dir, "passphrase")
			}
			files := filesIn(dir)
			p := probe{value: read(t, filepath.Join(dir, "value")), backing: read(t, filepath.Join(dir, "backing")), key: key}
			check := func(k *Keys) {
				t.Helper()
				got, err := k.Keyring.Open("sample", []byte("aad"), p.value)
				if err != nil || string(got) != "sample value" {
					t.Errorf("value: %q, %v", got, err)
				}
				if b, err := k.Epochs.Unwrap([]byte("aad"), p.backing); err != nil || !b.Equal(key) {
					t.Errorf("backing key: %v", err)
				}
			}
			s, err := opener(text)()
			if err != nil {
				t.Fatal(err)
			}
			k := openKeys(t, files, s)
			check(k)
			if k.OldFormat() != strings.Contains(from, "v1-") {
				t.Errorf("OldFormat = %t", k.OldFormat())
			}
			if _, err := ReadStatus(files); err != nil {
				t.Errorf("status: %v", err)
			}
			if _, err := k.Reseal(t.Context(), opener(text), nil); err != nil {
				t.Fatal(err)
			}
			s.Close()
			if s, err = opener(text)(); err != nil {
				t.Fatal(err)
			}
			k = openKeys(t, files, s)
			check(k)
			if k.OldFormat() {
				t.Error("the format is the old one still")
			}
		})
	}
}

// FuzzKeyFiles: what parses can be described and written, and says the same then.
func FuzzKeyFiles(f *testing.F) {
	for _, name := range []string{"keyring", "epoch.json"} {
		samples, err := filepath.Glob("testdata/v*-*/" + name)
		if err != nil || len(samples) == 0 {
			f.Fatal("no samples")
		}
		for _, path := range samples {
			b, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxKeyringFile {
			return
		}
		if k, err := parseKeyringFile(b); err == nil {
			for i := range k.Copies {
				_, _ = k.Copies[i].describe()
			}
			again := k
			again.Format = Format
			text, err := encodeFile(again)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := parseKeyringFile(text); err != nil || fmt.Sprint(back) != fmt.Sprint(again) {
				t.Fatalf("written back: %v", err)
			}
		}
		if e, err := parseEpochFile(b); err == nil {
			again := e
			again.Format = Format
			text, err := encodeFile(again)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := parseEpochFile(text); err != nil || fmt.Sprint(back) != fmt.Sprint(again) {
				t.Fatalf("written back: %v", err)
			}
		}
	})
}
