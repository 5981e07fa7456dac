package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/token"
)

// line runs a command line and returns what it printed.
func line(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, stdio{&o, &e})
	return code, o.String(), e.String()
}

func secretFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestUsage(t *testing.T) {
	t.Parallel()
	good := secretFile(t, strings.Repeat("s", 43), 0o600)
	xks := func(more ...string) []string {
		return append([]string{"xks", "--listen", "127.0.0.1:0", "--access-key-id", "ABCDEFGHIJKLMNOPQRST", "--secret-file", good}, more...)
	}
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"no command", nil, "name a command"},
		{"unknown command", []string{"sign"}, "is not a command"},
		{"unknown flag", []string{"keys", "--pin", "1234"}, "not defined: -pin"},
		{"an argument", []string{"keys", "more"}, "too much"},
		{"no library", []string{"keys"}, "--module is missing"},
		{"no token", []string{"keys", "--module", "m"}, "--token-label is missing"},
		{"no PIN", []string{"keys", "--module", "m", "--token-label", "l"}, "--pin-file and --pin-env"},
		{"two PINs", []string{"keys", "--module", "m", "--token-label", "l", "--pin-file", "f", "--pin-env", "E"}, "--pin-file and --pin-env"},
		{"no label", []string{"keygen"}, "--key-label"},
		{"no socket", []string{"seal", "--key-label", "root"}, "--socket is missing"},
		{"no time", []string{"seal", "--key-label", "root", "--socket", "s", "--timeout", "0s"}, "--timeout"},
		{"no address", []string{"xks"}, "--listen is missing"},
		{"no credential", []string{"xks", "--listen", "127.0.0.1:0"}, "--access-key-id"},
		{"more ids than secrets", xks("--access-key-id", "BCDEFGHIJKLMNOPQRSTU"), "one of each"},
		{"one id twice", xks("--access-key-id", "ABCDEFGHIJKLMNOPQRST", "--secret-file", good), "given twice"},
		{"every address, in clear", xks("--listen", ":8080"), "not a loopback address"},
		{"a certificate without key", xks("--tls-cert", "c"), "go together"},
		{"a client name without authority", xks("--tls-cert", "c", "--tls-key", "k", "--client-name", "n"), "go together"},
		{"a prefix", xks("--uri-path-prefix", "/p/"), "--uri-path-prefix"},
		{"a label", xks("--key-label", "a/b"), "--key-label"},
		{"too many sessions", xks("--module", "m", "--token-label", "l", "--pin-env", "E", "--sessions", "1025"), "--sessions"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := line(t, tc.args...)
			if code != exitUsage || out != "" || !strings.Contains(errs, tc.want) {
				t.Errorf("exit %d, %q, %q, want 2 and %q", code, out, errs, tc.want)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	code, out, errs := line(t, "--help")
	if code != exitOK || errs != "" {
		t.Errorf("exit %d, %q", code, errs)
	}
	for _, c := range commands() {
		if !strings.Contains(out, "  "+c.name+" ") {
			t.Errorf("help does not name %s", c.name)
		}
		code, out, errs := line(t, c.name, "--help")
		if code != exitOK || errs != "" || !strings.Contains(out, "Examples:\n  sagekeep-hsm "+c.name) {
			t.Errorf("%s --help: exit %d, %q, %q", c.name, code, out, errs)
		}
		// Secrets never stand in an argument.
		fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
		c.flags(fs)
		fs.VisitAll(func(f *flag.Flag) {
			if f.Name == "pin" || f.Name == "secret" {
				t.Errorf("%s has a flag --%s", c.name, f.Name)
			}
		})
	}
	if code, out, _ := line(t, "--version"); code != exitOK || !strings.HasPrefix(out, "sagekeep-hsm ") {
		t.Errorf("--version: exit %d, %q", code, out)
	}
}

func TestReadSecret(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		mode       os.FileMode
		want, err  string
	}{
		{"a line", "1234\n", 0o600, "1234", ""},
		{"no line end", "1234", 0o400, "1234", ""},
		{"Windows", "1234\r\n", 0o600, "1234", ""},
		{"spaces count", " 12 34 \n", 0o640, " 12 34 ", ""},
		{"empty", "\n", 0o600, "", "one line"},
		{"two lines", "1234\n5678\n", 0o600, "", "one line"},
		{"long", strings.Repeat("1", 4097), 0o600, "", "one line"},
		{"readable for others", "1234", 0o644, "", "chmod 600"},
		{"writable for the group", "1234", 0o660, "", "chmod 600"},
	} {
		got, err := readSecret(secretFile(t, tc.text, tc.mode))
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %q, %v, want %q, %q", tc.name, got, err, tc.want, tc.err)
		}
	}
	if _, err := readSecret(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("read a file that is not there")
	}
}

func TestPrintKeys(t *testing.T) {
	t.Parallel()
	lines := linesOf([]token.Key{
		{Label: "a", ID: []byte{1}, Bits: 256, Encrypt: true, Decrypt: true, Sensitive: true, Local: true},
		{Label: "a", ID: []byte{2}, Bits: 256, Sensitive: true, Local: true},
		{Label: "b\x1b", ID: nil, Bits: 128, Decrypt: true, Extractable: true},
	})
	var out bytes.Buffer
	if err := printKeys(stdio{out: &out}, lines, false); err != nil {
		t.Fatal(err)
	}
	const want = `LABEL    VERSION  CURRENT  SPEC     STATUS    USAGE            EXTRACTABLE
"a"      01       false    AES_256  ENABLED   ENCRYPT,DECRYPT  false
"a"      02       true     AES_256  DISABLED                   false
"b\x1b"           true     AES_128  ENABLED   DECRYPT          true
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	if err := printKeys(stdio{out: &out}, lines[1:2], true); err != nil {
		t.Fatal(err)
	}
	const wantJSON = `[
  {
    "label": "a",
    "version": "02",
    "current": true,
    "keySpec": "AES_256",
    "keyUsage": [],
    "keyStatus": "DISABLED",
    "sensitive": true,
    "extractable": false,
    "local": true
  }
]
`
	if out.String() != wantJSON {
		t.Errorf("got\n%s\nwant\n%s", out.String(), wantJSON)
	}
	out.Reset()
	if err := printKeys(stdio{out: &out}, linesOf(nil), true); err != nil || out.String() != "[]\n" {
		t.Errorf("no keys: %q, %v", out.String(), err)
	}
}
