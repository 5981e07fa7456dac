package seal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	for _, bad := range []struct{ text, want string }{
		{"file", "want file:PATH"},
		{"file:", "want file:PATH"},
		{":", "want file:PATH"},
		{"vault:x", "unknown seal kind"},
		{"passphrase-env:A=B", "environment variable"},
		{"exec:http://example.com/seal", "https"},
		{"exec:https://", "URL"},
		{"exec:https://user:hunter2@example.com/seal", "credentials in the URL"},
		{"exec:https://example.com/seal#x", "URL"},
		{"awskms:key/1", "ARN"},
		{"awskms:arn:aws:kms:us-west-2:1111:key/1", "ARN"},
		{"awskms:arn:aws:s3:us-west-2:111122223333:key/1", "ARN"},
		{"awskms:" + arn + "?endpoint=http://example.com", "https"},
		{"awskms:" + arn + "?endpoint=https://a:hunter2@example.com", "credentials in the URL"},
		{"awskms:" + arn + "?secret=hunter2", "nothing else"},
		{"awskms:" + arn + "?endpoint=http://127.0.0.1&endpoint=http://127.0.0.1", "once"},
	} {
		if _, err := Parse(bad.text, "d"); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("Parse(%q): %v, want %q", bad.text, err, bad.want)
		} else if strings.Contains(err.Error(), "hunter2") && !strings.Contains(bad.text, "secret=") {
			t.Errorf("Parse(%q) shows the password: %v", bad.text, err)
		}
	}
	dir := t.TempDir()
	for _, good := range []struct {
		text, want string
		kind       Kind
	}{
		{"", "file:" + filepath.Join(dir, "seal", "root.key"), File},
		{"file:/k", "file:/k", File},
		{"passphrase-file:/p", "passphrase-file:/p", Passphrase},
		{"passphrase-env:P", "passphrase-env:P", Passphrase},
		{"exec:/bin/x", "exec:/bin/x", Plugin},
		{"exec:https://example.com/seal?tenant=1", "exec:https://example.com/seal?tenant=1", Plugin},
		{"exec:http://127.0.0.1:99/", "exec:http://127.0.0.1:99/", Plugin},
		{"pkcs11:/run/hsm/socket", "pkcs11:/run/hsm/socket", PKCS11},
		{"awskms:" + arn, "awskms:" + arn, AWSKMS},
		{"awskms:" + arn + "?endpoint=http://[::1]:4566", "awskms:" + arn + "?endpoint=http%3A%2F%2F%5B%3A%3A1%5D%3A4566", AWSKMS},
		{"awskms:arn:aws:kms:us-west-2:111122223333:alias/seal", "awskms:arn:aws:kms:us-west-2:111122223333:alias/seal", AWSKMS},
	} {
		s, err := Parse(good.text, dir)
		if err != nil || s.String() != good.want || s.Kind() != good.kind {
			t.Errorf("Parse(%q) = %s, %s, %v", good.text, s, s.Kind(), err)
			continue
		}
		if again, err := Parse(s.String(), dir); err != nil || again.String() != s.String() {
			t.Errorf("Parse(%q) = %s, %v", s, again, err)
		}
	}
}

func TestInside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"":                                 true,
		"file:" + filepath.Join(dir, "k"):  true,
		"file:" + filepath.Join(link, "k"): true,
		"passphrase-file:" + filepath.Join(dir, "k"):    true,
		"file:" + filepath.Join(filepath.Dir(dir), "k"): false,
		"passphrase-env:X":                  false,
		"exec:" + filepath.Join(dir, "x"):   false,
		"exec:https://example.com" + dir:    false,
		"pkcs11:" + filepath.Join(dir, "s"): false,
	} {
		s, err := Parse(text, dir)
		if err != nil || s.Inside(dir) != want {
			t.Errorf("Parse(%q).Inside = %v, %v", text, s.Inside(dir), err)
		}
	}
}
