package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sagekeep/sagekeep/internal/seal"
)

func completionCommand() *command {
	return &command{
		name: "completion", args: "bash|zsh|fish|powershell", short: "Print a shell completion script",
		example: "source <(sagekeep completion bash)\nsagekeep completion fish > ~/.config/fish/completions/sagekeep.fish",
		values:  []string{"bash", "zsh", "fish", "powershell"},
		minArgs: 1, maxArgs: 1,
		run: func(_ context.Context, f *flag.FlagSet, std stdio) error {
			switch f.Arg(0) {
			case "bash":
				return bashCompletion(std.out)
			case "zsh":
				if _, err := fmt.Fprint(std.out, "#compdef sagekeep\nautoload -U +X bashcompinit && bashcompinit\n"); err != nil {
					return err
				}
				return bashCompletion(std.out)
			case "fish":
				return fishCompletion(std.out)
			case "powershell":
				return powershellCompletion(std.out)
			}
			return usagef("%q: want bash, zsh, fish or powershell", f.Arg(0))
		},
	}
}

// flagValues are the values of flags that have a few.
func flagValues() []flagValue {
	return []flagValue{
		{"format", []string{"sh", "powershell", "profile", "json"}},
		{"kind", lintKinds()},
	}
}

// directoryFlags are the flags that name a directory.
func directoryFlags() []string { return []string{"data-dir"} }

// sealFlags are the flags that name a seal.
func sealFlags() []string { return []string{"seal", "to"} }

// sealForms are how the values of those begin, and whether a path follows.
func sealForms() (all, paths []string) {
	for form := range strings.SplitSeq(strings.ReplaceAll(seal.Forms, " or ", ", "), ", ") {
		kind, rest, _ := strings.Cut(form, ":")
		if !slices.Contains(all, kind+":") {
			all = append(all, kind+":")
		}
		if rest == "PATH" || rest == "SOCKET" {
			paths = append(paths, kind)
		}
	}
	return all, paths
}

type flagValue struct {
	flag   string
	values []string
}

// walk visits every command with its path.
func walk(path []string, table []*command, visit func(path []string, c *command, words []string)) {
	for _, c := range table {
		p := append(append([]string(nil), path...), c.name)
		words := slices.Clone(c.values)
		for _, s := range c.subs {
			words = append(words, s.name)
		}
		c.visit(c.flagSet(p), func(f *flag.Flag) { words = append(words, "--"+f.Name) })
		visit(p, c, append(words, "--help"))
		walk(p, c.subs, visit)
	}
}

// bashValues completes the values of flags. A colon ends a word for bash unless
// COMP_WORDBREAKS says otherwise, and never for zsh.
const bashValues = `_sagekeep_paths() {
  local IFS=$'\n'
  compopt -o filenames +o default 2>/dev/null
  COMPREPLY=($(compgen "$1" -- "$2"))
}
_sagekeep_seal() {
  local kind="$1" value="$2" prefix=""
  if [[ -z $kind && $value == *:* ]]; then
    kind="${value%%%%:*}" value="${value#*:}"
    prefix="$kind:"
  fi
  compopt -o nospace +o default 2>/dev/null
  case "$kind" in
    "") COMPREPLY=($(compgen -W %[1]q -- "$value")) ;;
    %[2]s)
      _sagekeep_paths -f "$value"
      COMPREPLY=("${COMPREPLY[@]/#/$prefix}")
      ;;
  esac
}
_sagekeep() {
  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" path="" w kind="" back=0
  COMPREPLY=()
  if [[ $cur == : ]]; then
    kind="$prev" cur="" back=2
  elif [[ $prev == : ]]; then
    kind="${COMP_WORDS[COMP_CWORD-2]}" back=3
  fi
  if (( back && COMP_CWORD > back )); then
    case "${COMP_WORDS[COMP_CWORD-back]}" in
      %[3]s) _sagekeep_seal "$kind" "$cur"; return ;;
    esac
  fi
  case "$prev" in
    %[3]s) _sagekeep_seal "" "$cur"; return ;;
    %[4]s) _sagekeep_paths -d "$cur"; return ;;
`

func bashCompletion(w io.Writer) error {
	var b, groups strings.Builder
	kinds, paths := sealForms()
	fmt.Fprintf(&b, bashValues, strings.Join(kinds, " "), strings.Join(paths, "|"),
		"--"+strings.Join(sealFlags(), "|--"), "--"+strings.Join(directoryFlags(), "|--"))
	for _, v := range flagValues() {
		fmt.Fprintf(&b, "    --%s) COMPREPLY=($(compgen -W %q -- \"$cur\")); return ;;\n", v.flag, strings.Join(v.values, " "))
	}
	b.WriteString("  esac\n" +
		"  for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do [[ $w == -* ]] || path=\"${path:+$path }$w\"; done\n  case \"$path\" in\n")
	var top []string
	walk(nil, commands(), func(path []string, c *command, words []string) {
		// Longer patterns stand first: bash takes the first that fits.
		to := &b
		if len(path) == 1 {
			top = append(top, path[0])
			to = &groups
		}
		files := "-f "
		if c.values != nil || c.subs != nil {
			files = ""
		}
		fmt.Fprintf(to, "    %q*) COMPREPLY=($(compgen "+files+"-W %q -- \"$cur\")) ;;\n", strings.Join(path, " "), strings.Join(words, " "))
	})
	b.WriteString(groups.String())
	fmt.Fprintf(&b, "    *) COMPREPLY=($(compgen -W %q -- \"$cur\")) ;;\n  esac\n}\ncomplete -o default -F _sagekeep sagekeep\n", strings.Join(append(top, "--help"), " "))
	_, err := io.WriteString(w, b.String())
	return err
}

func fishCompletion(w io.Writer) error {
	var b strings.Builder
	b.WriteString("complete -c sagekeep -f\ncomplete -c sagekeep -l help -d 'Show flags and examples'\n")
	for _, v := range flagValues() {
		fmt.Fprintf(&b, "complete -c sagekeep -l %s -x -a %q\n", v.flag, strings.Join(v.values, " "))
	}
	for _, name := range directoryFlags() {
		fmt.Fprintf(&b, "complete -c sagekeep -l %s -x -a '(__fish_complete_directories)'\n", name)
	}
	kinds, _ := sealForms()
	for _, name := range sealFlags() {
		fmt.Fprintf(&b, "complete -c sagekeep -l %s -x -a %q\n", name, strings.Join(kinds, " "))
	}
	walk(nil, commands(), func(path []string, c *command, _ []string) {
		parent := path[:len(path)-1]
		seen := "__fish_use_subcommand"
		if len(parent) > 0 {
			seen = "__fish_seen_subcommand_from " + strings.Join(parent, " ")
		}
		fmt.Fprintf(&b, "complete -c sagekeep -n %q -a %s -d %q\n", seen, c.name, c.short)
		if len(c.values) > 0 {
			fmt.Fprintf(&b, "complete -c sagekeep -n \"__fish_seen_subcommand_from %s\" -a %q\n", c.name, strings.Join(c.values, " "))
		}
		c.visit(c.flagSet(path), func(f *flag.Flag) {
			_, text := flag.UnquoteUsage(f)
			fmt.Fprintf(&b, "complete -c sagekeep -n \"__fish_seen_subcommand_from %s\" -l %s -d %q\n", c.name, f.Name, text)
		})
	})
	_, err := io.WriteString(w, b.String())
	return err
}

// powershellCompletion looks words up by the longest path of commands that
// stands before the cursor.
func powershellCompletion(w io.Writer) error {
	var b, values strings.Builder
	var top []string
	b.WriteString("Register-ArgumentCompleter -Native -CommandName sagekeep, sagekeep.exe -ScriptBlock {\n" +
		"  param($word, $ast, $cursor)\n  $words = @{\n")
	walk(nil, commands(), func(path []string, _ *command, words []string) {
		if len(path) == 1 {
			top = append(top, path[0])
		}
		fmt.Fprintf(&b, "    '%s' = '%s'\n", strings.Join(path, " "), strings.Join(words, " "))
	})
	for _, v := range flagValues() {
		fmt.Fprintf(&values, "    '--%s' = '%s'\n", v.flag, strings.Join(v.values, " "))
	}
	kinds, _ := sealForms()
	for _, name := range sealFlags() {
		fmt.Fprintf(&values, "    '--%s' = '%s'\n", name, strings.Join(kinds, " "))
	}
	fmt.Fprintf(&b, "    '' = '%s'\n  }\n  $directories = '--%s'\n  $values = @{\n%s  }\n", strings.Join(append(top, "--help"), " "), strings.Join(directoryFlags(), "', '--"), values.String())
	b.WriteString(`  $before = @($ast.CommandElements | Where-Object { $_.Extent.EndOffset -lt $cursor } | ForEach-Object { $_.ToString() })
  $path = ''
  foreach ($w in @($before | Select-Object -Skip 1)) {
    $longer = "$path $w".Trim()
    if ($words.ContainsKey($longer)) { $path = $longer }
  }
  if ($directories -contains $before[-1]) {
    return [System.Management.Automation.CompletionCompleters]::CompleteFilename($word) | Where-Object { $_.ResultType -eq 'ProviderContainer' }
  }
  $list = $words[$path]
  if ($values.ContainsKey($before[-1])) { $list = $values[$before[-1]] }
  $list -split ' ' | Where-Object { $_ -like "$word*" } | ForEach-Object {
    [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
  }
}
`)
	_, err := io.WriteString(w, b.String())
	return err
}
