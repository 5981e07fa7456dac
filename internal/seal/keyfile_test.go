package seal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/internal/secret"
)

func TestKeyFileRotation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "root.key")
	s := open(t, "file:"+path, true)
	before, _ := s.Info(t.Context())
	key := secret.Random()
	old, err := s.Wrap(t.Context(), key, where())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.(Rotator).Renew(); err != nil {
		t.Fatal(err)
	}
	// The file holds both: whoever starts now opens copies under either.
	s = open(t, "file:"+path, false)
	after, err := s.Info(t.Context())
	if err != nil || after.KeyID == before.KeyID || len(after.Former) != 1 || after.Former[0] != before.KeyID {
		t.Fatalf("after Renew: %+v, %v; before: %+v", after, err, before)
	}
	if got, err := s.Unwrap(t.Context(), old, where()); err != nil || !got.Equal(key) {
		t.Fatalf("the former copy: %v", err)
	}
	fresh, err := s.Wrap(t.Context(), key, where())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.(Rotator).Settle(); err != nil {
		t.Fatal(err)
	}
	s = open(t, "file:"+path, false)
	if got, err := s.Unwrap(t.Context(), fresh, where()); err != nil || !got.Equal(key) {
		t.Errorf("the new copy after Settle: %v", err)
	}
	if _, err := s.Unwrap(t.Context(), old, where()); !errors.Is(err, ErrWrong) || !strings.Contains(err.Error(), before.KeyID) {
		t.Errorf("the former copy after Settle: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(b), keyFileHeader1+"\n") || strings.Count(string(b), "\n") != 2 {
		t.Errorf("the file after Settle: %d bytes, %v", len(b), err)
	}
	for range maxKeysInFile - 1 {
		if err := s.(Rotator).Renew(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.(Rotator).Renew(); err == nil || !strings.Contains(err.Error(), "8 keys already") {
		t.Errorf("a ninth key: %v", err)
	}
}

func TestKeyFileThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gone", "root.key")
	s := open(t, "file:"+path, true)
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	before, _ := s.Info(t.Context())
	if err := s.(Rotator).Renew(); err == nil {
		t.Error("Renew without a folder succeeded")
	}
	if after, _ := s.Info(t.Context()); after.KeyID != before.KeyID || len(after.Former) != 0 {
		t.Errorf("after a failed Renew the seal wraps under a key that is nowhere: %+v", after)
	}
}

func TestKeyFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	digits, other := strings.Repeat("0f", 32), strings.Repeat("1e", 32)
	ids := func(d string) string {
		k, err := parseFileKey([]byte(d))
		if err != nil {
			t.Fatal(err)
		}
		return k.id
	}
	good := "sagekeep-root-key-2\ncurrent " + ids(digits) + " " + digits + "\nprevious " + ids(other) + " " + other + "\n"
	if keys, err := parseKeyFile([]byte(strings.ReplaceAll(good, "\n", "\r\n"))); err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for name, bad := range map[string]string{
		"empty":              "",
		"no header":          digits,
		"newer":              "sagekeep-root-key-3\n" + digits,
		"63 digits":          "sagekeep-root-key-1\n" + digits[1:],
		"not hex":            "sagekeep-root-key-1\n" + digits[1:] + "x",
		"two lines too many": "sagekeep-root-key-1\n" + digits + "\n" + digits,
		"no keys":            "sagekeep-root-key-2\n",
		"two current":        strings.Replace(good, "previous", "current", 1),
		"previous in front":  strings.Replace(good, "current", "previous", 1),
		"twice the same":     "sagekeep-root-key-2\ncurrent " + ids(digits) + " " + digits + "\nprevious " + ids(digits) + " " + digits,
		"another id":         strings.Replace(good, ids(digits), ids(other), 1),
		"an altered digit":   strings.Replace(good, "0f", "0e", 1),
	} {
		_, err := parseKeyFile([]byte(bad))
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), digits[:16]) {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
	path := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), maxKeyFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	spec, _ := Parse("file:"+path, "d")
	if _, err := spec.Open(Options{}); err == nil || !strings.Contains(err.Error(), "more than 4096 bytes") {
		t.Errorf("a large file: %v", err)
	}
}

// FuzzParseKeyFile: what parses is written back to a file of the same keys.
func FuzzParseKeyFile(f *testing.F) {
	k1, _ := newFileKey(secret.Random())
	k2, _ := newFileKey(secret.Random())
	f.Add(keyFileText([]fileKey{k1}))
	f.Add(keyFileText([]fileKey{k1, k2}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxKeyFile {
			return
		}
		keys, err := parseKeyFile(b)
		if err != nil {
			return
		}
		text := keyFileText(keys)
		again, err := parseKeyFile(text)
		if err != nil || len(again) != len(keys) || !bytes.Equal(keyFileText(again), text) {
			t.Fatalf("written back: %v", err)
		}
		for i := range keys {
			if !keys[i].key.Equal(again[i].key) {
				t.Fatalf("key %d is another", i)
			}
		}
	})
}

// FuzzParseWrapped: a copy has one encoding, and describing it does not panic.
func FuzzParseWrapped(f *testing.F) {
	d := derivation{algorithm: byPBKDF2, iterations: pbkdf2Iterations}
	for _, w := range []wrapped{
		{kind: File, keyID: "0123456789abcdef", body: make([]byte, 60)},
		{kind: Passphrase, keyID: "0123456789abcdef", params: d.bytes(), body: make([]byte, 60)},
		{kind: AWSKMS, keyID: "arn:aws:kms:us-west-2:111122223333:key/1", body: []byte("x")},
	} {
		f.Add(w.bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxBody+1024 {
			return
		}
		w, err := parseWrapped(b)
		if err != nil {
			return
		}
		if got := w.bytes(); !bytes.Equal(got, b) {
			t.Fatalf("re-encoded %x, read %x", got, b)
		}
		if kind, info, err := Describe(b); err == nil && (kind != w.kind || info.KeyID != w.keyID) {
			t.Fatalf("described as %s, %+v", kind, info)
		}
	})
}
