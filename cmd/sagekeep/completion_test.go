package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestBashCompletion asks the script as bash does: words end at blanks and colons.
func TestBashCompletion(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil || runtime.GOOS == "windows" {
		t.Skipf("bash completion is not tested: no bash here, %v", err)
	}
	dir := t.TempDir()
	for _, name := range []string{"data", "my data"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "deploy.key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	script := mustRun(t, "completion", "bash") + `
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_sagekeep
[[ ${#COMPREPLY[@]} == 0 ]] || printf '%s\n' "${COMPREPLY[@]}"
`
	kinds := []string{"file:", "passphrase-file:", "passphrase-env:", "exec:", "awskms:", "pkcs11:"}
	for _, c := range []struct {
		name  string
		words []string
		want  []string
	}{
		{"directories alone", []string{"serve", "--data-dir", ""}, []string{"data", "my data"}},
		{"a directory begun", []string{"key", "list", "--data-dir", "d"}, []string{"data"}},
		{"no directory", []string{"seal", "status", "--data-dir", "deploy"}, nil},
		{"kinds of seals", []string{"serve", "--seal", ""}, kinds},
		{"a kind begun", []string{"key", "impact", "--seal", "pass"}, []string{"passphrase-file:", "passphrase-env:"}},
		{"the next seal", []string{"seal", "migrate", "--to", ""}, kinds},
		{"behind the kind", []string{"seal", "migrate", "--to", "file", ":"}, []string{"data", "deploy.key", "my data"}},
		{"a path begun", []string{"seal", "migrate", "--to", "file", ":", "de"}, []string{"deploy.key"}},
		{"a path begun, words with colons", []string{"seal", "migrate", "--to", "file:de"}, []string{"file:deploy.key"}},
		{"no path", []string{"serve", "--seal", "passphrase-env", ":", "d"}, nil},
		{"what is not built", []string{"serve", "--st"}, nil},
		{"subcommands, no files", []string{"key", "d"}, []string{"disable"}},
		{"a file", []string{"policy", "lint", "deploy"}, []string{"deploy.key"}},
		{"a flag", []string{"serve", "--data"}, []string{"--data-dir"}},
		{"a subcommand before its group", []string{"key", "list", "--a"}, []string{"--account"}},
		{"values of a flag", []string{"env", "--format", "p"}, []string{"powershell", "profile"}},
		{"a command", []string{"ser"}, []string{"serve"}},
	} {
		cmd := exec.CommandContext(t.Context(), bash, append([]string{"--noprofile", "--norc", "-c", script, "bash", "sagekeep"}, c.words...)...)
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var got []string
		for line := range strings.Lines(string(out)) {
			got = append(got, strings.TrimSuffix(line, "\n"))
		}
		want := slices.Clone(c.want)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q gives %q, want %q", c.name, c.words, got, want)
		}
	}
}

// TestCompletionValues: the other shells know directories and seals, too.
func TestCompletionValues(t *testing.T) {
	t.Parallel()
	for shell, wants := range map[string][]string{
		"zsh":        {"--data-dir) _sagekeep_paths -d", "--seal|--to) _sagekeep_seal"},
		"fish":       {"-l data-dir -x -a '(__fish_complete_directories)'", `-l seal -x -a "file: passphrase-file:`, `-l to -x -a "file: passphrase-file:`},
		"powershell": {"$directories = '--data-dir'", "'--seal' = 'file: passphrase-file:", "'--to' = 'file: passphrase-file:"},
	} {
		if out := mustRun(t, "completion", shell); !containsAll(out, wants...) {
			t.Errorf("completion %s lacks one of %q:\n%s", shell, wants, out)
		}
	}
	all, paths := sealForms()
	if len(all) != 6 || !slices.Equal(paths, []string{"file", "passphrase-file", "exec", "pkcs11"}) {
		t.Errorf("forms of seals: %q, paths in %q", all, paths)
	}
}

// TestHiddenFlags: what is not built is accepted and refused as before, and neither
// help nor completion offers it.
func TestHiddenFlags(t *testing.T) {
	t.Parallel()
	help := mustRun(t, "serve", "--help")
	for _, name := range notBuilt() {
		if strings.Contains(help, "--"+name+" ") {
			t.Errorf("serve --help offers --%s", name)
		}
		for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
			if out := mustRun(t, "completion", shell); strings.Contains(out, "--"+name) || strings.Contains(out, "-l "+name+" ") {
				t.Errorf("completion %s offers --%s", shell, name)
			}
		}
		code, _, errs := runCommand(t, "serve", "--data-dir", filepath.Join(t.TempDir(), "d"), "--"+name, "x")
		if code != 2 || !strings.Contains(errs, "--"+name+" is not built yet") {
			t.Errorf("--%s = %d, %q", name, code, errs)
		}
	}
	if strings.Contains(help, "not built") {
		t.Errorf("serve --help speaks of what is not built:\n%s", help)
	}
}

// TestHelpColumns: the texts of a table begin in one column.
func TestHelpColumns(t *testing.T) {
	t.Parallel()
	column := func(what string, out, line, text string) int {
		t.Helper()
		for l := range strings.Lines(out) {
			if strings.HasPrefix(l, "  "+line) {
				return strings.Index(l, text)
			}
		}
		t.Errorf("%s has no line %q:\n%s", what, line, out)
		return -1
	}
	tables := 0
	for _, group := range commands() {
		if group.subs == nil {
			continue
		}
		tables++
		out := mustRun(t, group.name, "--help")
		first := column(group.name, out, group.subs[0].name, group.subs[0].short)
		for _, c := range group.subs {
			if got := column(group.name, out, c.name, c.short); got != first {
				t.Errorf("%s --help: the text of %s begins in column %d, that of %s in %d", group.name, c.name, got, group.subs[0].name, first)
			}
		}
	}
	if tables == 0 {
		t.Error("no command has subcommands")
	}
	walk(nil, commands(), func(path []string, c *command, _ []string) {
		if c.flags == nil {
			return
		}
		out, columns := mustRun(t, append(slices.Clone(path), "--help")...), map[int]bool{}
		c.visit(c.flagSet(path), func(f *flag.Flag) {
			_, text := flag.UnquoteUsage(f)
			columns[column(strings.Join(path, " "), out, "--"+f.Name+" ", text)] = true
		})
		if len(columns) != 1 {
			t.Errorf("%v --help has texts in %d columns:\n%s", path, len(columns), out)
		}
	})
	if out := mustRun(t, "key", "list", "--help"); strings.Contains(out, "KEY") {
		t.Errorf("key list takes no KEY:\n%s", out)
	}
}
