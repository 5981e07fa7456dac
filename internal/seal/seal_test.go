package seal

import (
	"bytes"
	"context"
	"crypto/fips140"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/internal/secret"
)

// where is the context of tests.
func where() Context { return Context{Store: strings.Repeat("5f", 16), Purpose: RootKey} }

// open opens a seal by its --seal value.
func open(t *testing.T, text string, create bool) Seal {
	t.Helper()
	spec, err := Parse(text, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := spec.Open(Options{Create: create})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func passphraseFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// contract checks what holds for every seal. other is a seal of the same kind
// with another key.
func contract(t *testing.T, s, other Seal) {
	t.Helper()
	key := secret.Random()
	w, err := s.Wrap(t.Context(), key, where())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(w, key.Bytes()) {
		t.Fatal("the copy holds the key in clear")
	}
	got, err := s.Unwrap(t.Context(), w, where())
	if err != nil || !got.Equal(key) {
		t.Fatalf("Unwrap of what it has wrapped: %v", err)
	}
	kind, about, err := Describe(w)
	info, ierr := s.Info(t.Context())
	if err != nil || ierr != nil || kind != s.Kind() || about.KeyID != info.KeyID || about.KeyID == "" {
		t.Errorf("Describe = %s, %+v, %v; Info = %+v, %v", kind, about, err, info, ierr)
	}
	if _, err := other.Unwrap(t.Context(), w, where()); !errors.Is(err, ErrWrong) {
		t.Errorf("another key: %v", err)
	}
	for name, at := range map[string]Context{
		"another data directory": {Store: strings.Repeat("60", 16), Purpose: RootKey}, "another purpose": {Store: where().Store, Purpose: "x"},
	} {
		if _, err := s.Unwrap(t.Context(), w, at); !errors.Is(err, ErrWrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	bodies := len(w) - 1
	for _, i := range []int{bodies, bodies - 10, bodies - 20} {
		bad := bytes.Clone(w)
		bad[i] ^= 1
		if k, err := s.Unwrap(t.Context(), bad, where()); err == nil && k.Equal(key) || err != nil && !errors.Is(err, ErrWrong) {
			t.Errorf("byte %d of %d altered: %v", i, len(w), err)
		}
	}
	for _, n := range []int{0, 1, 2, len(w) / 2} {
		if _, err := s.Unwrap(t.Context(), w[:n], where()); !errors.Is(err, ErrWrong) {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
	foreign := bytes.Clone(w)
	foreign[1] = foreign[1]%byte(len(kinds())-1) + 1
	if _, err := s.Unwrap(t.Context(), foreign, where()); !errors.Is(err, ErrWrong) || !strings.Contains(err.Error(), "held by a seal of the kind") {
		t.Errorf("a copy of another kind of seal: %v", err)
	}
	newer := bytes.Clone(w)
	newer[0]++
	if _, err := s.Unwrap(t.Context(), newer, where()); !errors.Is(err, ErrNewerCopy) {
		t.Errorf("a newer version: %v", err)
	}
	keys, ok := s.(Rotator)
	if ok != (s.Kind() == File) {
		t.Errorf("a seal of the kind %s rotates its keys: %v", s.Kind(), ok)
	}
	if !ok {
		return
	}
	if err := keys.Renew(); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Unwrap(t.Context(), w, where()); err != nil || !got.Equal(key) {
		t.Errorf("a former copy after Renew: %v", err)
	}
	if w, err = s.Wrap(t.Context(), key, where()); err != nil {
		t.Fatal(err)
	}
	if err := keys.Settle(); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Unwrap(t.Context(), w, where()); err != nil || !got.Equal(key) {
		t.Errorf("after Settle: %v", err)
	}
}

func TestFileContract(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	contract(t, open(t, "file:"+filepath.Join(dir, "a"), true), open(t, "file:"+filepath.Join(dir, "b"), true))
}

func TestPassphraseContract(t *testing.T) {
	t.Parallel()
	contract(t, open(t, "passphrase-file:"+passphraseFile(t, "correct horse battery\r\n"), false),
		open(t, "passphrase-file:"+passphraseFile(t, "correct horse battery!"), false))
}

// TestPassphraseFromTheEnvironment: it is the same kind as one from a file.
func TestPassphraseFromTheEnvironment(t *testing.T) {
	t.Setenv("SAGEKEEP_TEST_PASSPHRASE", "correct horse battery")
	key := secret.Random()
	w, err := open(t, "passphrase-env:SAGEKEEP_TEST_PASSPHRASE", false).Wrap(t.Context(), key, where())
	if err != nil {
		t.Fatal(err)
	}
	got, err := open(t, "passphrase-file:"+passphraseFile(t, "correct horse battery\n"), false).Unwrap(t.Context(), w, where())
	if err != nil || !got.Equal(key) {
		t.Error(err)
	}
	for text, want := range map[string]string{"short": "fewer than 12", "": "not set"} {
		t.Setenv("SAGEKEEP_TEST_PASSPHRASE", text)
		if text == "" {
			os.Unsetenv("SAGEKEEP_TEST_PASSPHRASE")
		}
		spec, _ := Parse("passphrase-env:SAGEKEEP_TEST_PASSPHRASE", "d")
		if _, err := spec.Open(Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("passphrase %q: %v", text, err)
		}
	}
}

// The derivation of new copies depends on the mode; copies of either open where
// their algorithm is allowed.
func TestDerivations(t *testing.T) {
	t.Parallel()
	if d := newDerivation(); (d.algorithm == byPBKDF2) != fips140.Enabled() {
		t.Errorf("FIPS mode %t: %s", fips140.Enabled(), d.String())
	}
	// Kept copies of the key 00 01 … 1f under "correct horse battery".
	for name, hexes := range map[string]string{"argon2id": keptArgon2id, "pbkdf2": keptPBKDF2} {
		s := open(t, "passphrase-file:"+passphraseFile(t, "correct horse battery"), false)
		b, err := hex.DecodeString(hexes)
		if err != nil {
			t.Fatal(err)
		}
		key, err := s.Unwrap(t.Context(), b, where())
		if name == "argon2id" && fips140.Enforced() {
			if !errors.Is(err, ErrNotAllowed) || !strings.Contains(err.Error(), "fips140=on") {
				t.Errorf("%s where only FIPS algorithms are allowed: %v", name, err)
			}
			continue
		}
		if err != nil || hex.EncodeToString(key.Bytes()) != "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" {
			t.Errorf("kept copy of %s: %v", name, err)
		}
	}
}

func TestDerivationBounds(t *testing.T) {
	t.Parallel()
	salt := make([]byte, saltSize)
	for name, b := range map[string][]byte{
		"no iterations":       append([]byte{1, 0, 0, 0, 1}, salt...),
		"endless iterations":  append([]byte{1, 255, 255, 255, 255}, salt...),
		"argon2id, no passes": append([]byte{2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 4}, salt...),
		"too little memory":   append([]byte{2, 0, 0, 0, 3, 0, 0, 4, 0, 0, 0, 0, 4}, salt...),
		"all memory":          append([]byte{2, 0, 0, 0, 3, 255, 255, 255, 255, 0, 0, 0, 4}, salt...),
		"256 lanes":           append([]byte{2, 0, 0, 0, 3, 0, 1, 0, 0, 0, 0, 1, 0}, salt...),
		"unknown algorithm":   append([]byte{3, 0, 9, 39, 192}, salt...),
		"no salt":             {1, 0, 9, 39, 192},
		"empty":               nil,
	} {
		if _, err := parseDerivation(b); !errors.Is(err, ErrWrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, d := range []derivation{
		{algorithm: byPBKDF2, iterations: pbkdf2Iterations, salt: [16]byte{1}},
		{algorithm: byArgon2id, iterations: argonPasses, memory: argonMemory, lanes: argonLanes, salt: [16]byte{2}},
	} {
		if got, err := parseDerivation(d.bytes()); err != nil || got != d {
			t.Errorf("%s comes back as %s, %v", d.String(), got.String(), err)
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
	if _, err := s.Open(Options{}); !errors.Is(err, ErrNoKeyFile) || !strings.Contains(err.Error(), s.Path()) {
		t.Fatalf("without Create: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "seal")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("something was made: %v", err)
	}
	if _, err := s.Open(Options{Create: true}); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(filepath.Join(dir, "seal", "root.key"))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", fi.Mode(), err)
	}
}

func TestClosedSealsHoldNothing(t *testing.T) {
	t.Parallel()
	for _, s := range []Seal{
		open(t, "file:"+filepath.Join(t.TempDir(), "k"), true), open(t, "passphrase-file:"+passphraseFile(t, "correct horse battery"), false),
	} {
		s.Close()
		if _, err := s.Wrap(context.Background(), secret.Random(), where()); err == nil {
			t.Errorf("%s: wraps after Close", s.Kind())
		}
	}
}
