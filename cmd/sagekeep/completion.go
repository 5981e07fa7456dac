package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

func completionCommand() *command {
	return &command{
		name: "completion", args: "bash|zsh|fish|powershell", short: "Print a shell completion script",
		example: "source <(sagekeep completion bash)\nsagekeep completion fish > ~/.config/fish/completions/sagekeep.fish",
		values:  []string{"bash", "zsh", "fish", "powershell"},
		minArgs: 1, maxArgs: 1,
		run: func(_ context.Context, f *flag.FlagSet, io stdio) error {
			switch f.Arg(0) {
			case "bash":
				return bashCompletion(io.out)
			case "zsh":
				if _, err := fmt.Fprint(io.out, "#compdef sagekeep\nautoload -U +X bashcompinit && bashcompinit\n"); err != nil {
					return err
				}
				return bashCompletion(io.out)
			case "fish":
				return fishCompletion(io.out)
			case "powershell":
				return powershellCompletion(io.out)
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
		c.flagSet(p).VisitAll(func(f *flag.Flag) { words = append(words, "--"+f.Name) })
		visit(p, c, append(words, "--help"))
		walk(p, c.subs, visit)
	}
}

func bashCompletion(w io.Writer) error {
	var b strings.Builder
	b.WriteString("_sagekeep() {\n  local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" path=\"\" w\n  case \"$prev\" in\n")
	for _, v := range flagValues() {
		fmt.Fprintf(&b, "    --%s) COMPREPLY=($(compgen -W %q -- \"$cur\")); return ;;\n", v.flag, strings.Join(v.values, " "))
	}
	b.WriteString("  esac\n" +
		"  for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do [[ $w == -* ]] || path=\"${path:+$path }$w\"; done\n  case \"$path\" in\n")
	var top []string
	walk(nil, commands(), func(path []string, c *command, words []string) {
		if len(path) == 1 {
			top = append(top, path[0])
		}
		files := "-f "
		if c.values != nil {
			files = ""
		}
		fmt.Fprintf(&b, "    %q*) COMPREPLY=($(compgen "+files+"-W %q -- \"$cur\")) ;;\n", strings.Join(path, " "), strings.Join(words, " "))
	})
	fmt.Fprintf(&b, "    *) COMPREPLY=($(compgen -W %q -- \"$cur\")) ;;\n  esac\n}\ncomplete -o default -F _sagekeep sagekeep\n", strings.Join(append(top, "--help"), " "))
	_, err := io.WriteString(w, reorderBash(b.String()))
	return err
}

// reorderBash puts longer patterns first, since bash takes the first that fits.
func reorderBash(script string) string {
	lines := strings.Split(script, "\n")
	var groups, subs []string
	var out []string
	for _, l := range lines {
		if strings.HasPrefix(l, `    "`) {
			if strings.Contains(strings.SplitN(l, `"`, 3)[1], " ") {
				subs = append(subs, l)
			} else {
				groups = append(groups, l)
			}
			continue
		}
		if strings.HasPrefix(l, "    *)") {
			out = append(append(out, subs...), groups...)
		}
		out = append(out, l)
	}
	return strings.Join(out, "\n")
}

func fishCompletion(w io.Writer) error {
	var b strings.Builder
	b.WriteString("complete -c sagekeep -f\ncomplete -c sagekeep -l help -d 'Show flags and examples'\n")
	for _, v := range flagValues() {
		fmt.Fprintf(&b, "complete -c sagekeep -l %s -x -a %q\n", v.flag, strings.Join(v.values, " "))
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
		c.flagSet(path).VisitAll(func(f *flag.Flag) {
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
	fmt.Fprintf(&b, "    '' = '%s'\n  }\n  $values = @{\n%s  }\n", strings.Join(append(top, "--help"), " "), values.String())
	b.WriteString(`  $before = @($ast.CommandElements | Where-Object { $_.Extent.EndOffset -lt $cursor } | ForEach-Object { $_.ToString() })
  $path = ''
  foreach ($w in @($before | Select-Object -Skip 1)) {
    $longer = "$path $w".Trim()
    if ($words.ContainsKey($longer)) { $path = $longer }
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
