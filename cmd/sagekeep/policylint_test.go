package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var updateLint = flag.Bool("update-lint", false, "rewrite the golden files of policy lint")

// lintFile is a document of testdata by the path that the output shows.
func lintFile(name string) string { return filepath.Join("testdata", "lint", name) }

func TestPolicyLint(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		golden string
		args   []string
		code   int
	}{
		{"all.golden", []string{lintFile("key.json"), lintFile("role.json"), lintFile("fine.json")}, 1},
		{"json.golden", []string{"--json", lintFile("key.json"), lintFile("role.json")}, 1},
	} {
		code, out, errs := runCommand(t, append([]string{"policy", "lint"}, tt.args...)...)
		out = strings.ReplaceAll(strings.ReplaceAll(out, `\\`, `\`), `testdata\lint\`, "testdata/lint/") // Windows
		if code != tt.code || errs != "" {
			t.Errorf("%v = %d, %q", tt.args, code, errs)
		}
		golden := lintFile(tt.golden)
		if *updateLint {
			if err := os.WriteFile(golden, []byte(out), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.ReplaceAll(string(want), "\r\n", "\n"); out != text {
			t.Errorf("%v prints\n%s\nwant\n%s", tt.args, out, text)
		}
	}
}

// TestPolicyLintExitCodes: errors fail, warnings with --strict alone.
func TestPolicyLintExitCodes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		code int
	}{
		{[]string{lintFile("fine.json")}, 0},
		{[]string{lintFile("role.json")}, 0},
		{[]string{"--strict", lintFile("role.json")}, 1},
		{[]string{"--kind", "trust", lintFile("fine.json")}, 1},
		{[]string{lintFile("broken.json")}, 1},
		{[]string{"--kind", "recipe", lintFile("fine.json")}, 2},
		{[]string{lintFile("missing.json"), lintFile("role.json")}, 1},
	} {
		code, out, errs := runCommand(t, append([]string{"policy", "lint"}, tt.args...)...)
		if code != tt.code || (errs != "") != (code == 2 || strings.Contains(strings.Join(tt.args, " "), "missing")) {
			t.Errorf("%v = %d, %q, %q, want %d", tt.args, code, out, errs, tt.code)
		}
		if tt.args[0] == lintFile("broken.json") && !strings.Contains(out, "broken.json:3: error malformed-policy: Syntax errors in policy") {
			t.Errorf("%v prints %q", tt.args, out)
		}
		if strings.Contains(strings.Join(tt.args, " "), "missing") && !strings.Contains(out, "role.json") {
			t.Errorf("%v did not check the other file", tt.args)
		}
	}
}

// TestPolicyLintReadsStandardInput also shows that a name from the document
// cannot reach the terminal's controls.
func TestPolicyLintReadsStandardInput(t *testing.T) {
	t.Parallel()
	const policy = `{"Statement":[{"Sid":"a\u001b[31m","Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["kms:*","kms:ListKeys"],"Resource":"*"}]}`
	for _, args := range [][]string{{"policy", "lint", "--json"}, {"policy", "lint", "-"}} {
		var out, errs output
		code := run(t.Context(), args, stdio{strings.NewReader(policy), &out, &errs})
		if code != 1 || errs.String() != "" || strings.ContainsRune(out.String(), 0x1b) {
			t.Errorf("%v = %d, %q, %q", args, code, out.String(), errs.String())
		}
		if args[2] == "-" {
			if !strings.HasPrefix(out.String(), "-:1: error action-without-key: kms:ListKeys works on no key") {
				t.Errorf("%v prints %q", args, out.String())
			}
			continue
		}
		var x lintFinding
		if err := json.Unmarshal([]byte(out.String()), &x); err != nil || x.File != "-" || x.Kind != "key" || x.Code != "action-without-key" || x.Line != 1 || x.Statement != "a\x1b[31m" {
			t.Errorf("%v prints %q: %+v, %v", args, out.String(), x, err)
		}
	}
}
