package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sagekeep/sagekeep/internal/server"
)

// command is one subcommand. A command with subs only groups them.
type command struct {
	name    string
	args    string   // behind the flags, for the usage line
	short   string   // one line
	example string   // command lines, one a line
	note    string   // a paragraph of the help, of whole lines
	values  []string // what its argument can be, for completion
	hidden  []string // flags that help and completion leave out
	subs    []*command
	flags   func(*flag.FlagSet)
	run     func(ctx context.Context, fs *flag.FlagSet, std stdio) error
	maxArgs int // most positional arguments; -1 = any number
	minArgs int
}

// commands is the table of everything that the binary can do.
func commands() []*command {
	return []*command{
		serveCommand(), envCommand(), accountCommand(), collectionCommand(), demoCommand(),
		policyCommand(), keyCommand(), sealCommand(), benchCommand(), doctorCommand(), completionCommand(), versionCommand(),
	}
}

func usagef(format string, args ...any) error {
	return fmt.Errorf("%w: %s", server.ErrUsage, fmt.Sprintf(format, args...))
}

// dispatch finds the command and runs it.
func dispatch(ctx context.Context, args []string, std stdio) error {
	path, table := []string{"sagekeep"}, commands()
	if len(args) == 1 && args[0] == "--version" {
		args = []string{"version"}
	}
	for {
		if len(args) == 0 || isHelp(args[0]) {
			w := std.out
			if len(args) == 0 {
				w = std.err
			}
			printTable(w, path, table)
			if len(args) == 0 {
				return usagef("name a command")
			}
			return nil
		}
		i := slices.IndexFunc(table, func(c *command) bool { return c.name == args[0] })
		if i < 0 {
			return usagef("%q is not a command of `%s`; `%s --help` lists them", args[0], strings.Join(path, " "), strings.Join(path, " "))
		}
		c := table[i]
		path, args = append(path, c.name), args[1:]
		if c.subs == nil {
			return c.exec(ctx, path, args, std)
		}
		table = c.subs
	}
}

func isHelp(s string) bool { return s == "--help" || s == "-h" || s == "-help" || s == "help" }

func (c *command) exec(ctx context.Context, path, args []string, std stdio) error {
	fs := c.flagSet(path)
	if err := parseFlags(fs, args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			c.help(std.out, path, fs)
			return nil
		}
		return usagef("%s; `%s --help` shows how", err, strings.Join(path, " "))
	}
	if n := fs.NArg(); n < c.minArgs || c.maxArgs >= 0 && n > c.maxArgs {
		return usagef("wrong number of arguments; usage: %s", c.usage(path))
	}
	return c.run(ctx, fs, std)
}

func (c *command) flagSet(path []string) *flag.FlagSet {
	fs := flag.NewFlagSet(strings.Join(path, " "), flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	if c.flags != nil {
		c.flags(fs)
	}
	return fs
}

// parseFlags parses flags that may stand before, between and behind arguments.
func parseFlags(fs *flag.FlagSet, args []string) error {
	var positional []string
	for {
		if err := fs.Parse(args); err != nil {
			return err
		}
		rest := fs.Args()
		if len(rest) == 0 {
			break
		}
		if i := len(args) - len(rest); i > 0 && args[i-1] == "--" {
			positional = append(positional, rest...)
			break
		}
		positional, args = append(positional, rest[0]), rest[1:]
	}
	return fs.Parse(append([]string{"--"}, positional...))
}

// value returns a flag's text.
func value(f *flag.FlagSet, name string) string { return f.Lookup(name).Value.String() }

func boolValue(f *flag.FlagSet, name string) bool { return typed[bool](f, name) }
func intValue(f *flag.FlagSet, name string) int   { return typed[int](f, name) }

// typed returns the value of a flag that was made for a T.
func typed[T any](f *flag.FlagSet, name string) T {
	return f.Lookup(name).Value.(flag.Getter).Get().(T)
}

func (c *command) usage(path []string) string {
	s := strings.Join(path, " ") + " [flags]"
	if c.args != "" {
		s += " " + c.args
	}
	return s
}

// visit calls fn with the flags that help and completion show.
func (c *command) visit(fs *flag.FlagSet, fn func(*flag.Flag)) {
	fs.VisitAll(func(f *flag.Flag) {
		if !slices.Contains(c.hidden, f.Name) {
			fn(f)
		}
	})
}

func (c *command) help(w io.Writer, path []string, fs *flag.FlagSet) {
	fmt.Fprintf(w, "%s\n\nUsage:\n  %s\n", c.short, c.usage(path))
	var rows [][2]string
	c.visit(fs, func(f *flag.Flag) {
		name, text := flag.UnquoteUsage(f)
		if name != "" {
			name = " " + name
		}
		if f.DefValue != "" && f.DefValue != "false" {
			text += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		rows = append(rows, [2]string{"--" + f.Name + name, text})
	})
	if len(rows) > 0 {
		fmt.Fprint(w, "\nFlags:\n")
		printColumns(w, 28, rows)
	}
	if c.note != "" {
		fmt.Fprintf(w, "\n%s\n", c.note)
	}
	if c.example != "" {
		fmt.Fprintf(w, "\nExamples:\n  %s\n", strings.ReplaceAll(c.example, "\n", "\n  "))
	}
}

func printTable(w io.Writer, path []string, table []*command) {
	fmt.Fprintf(w, "Usage:\n  %s COMMAND [flags]\n\nCommands:\n", strings.Join(path, " "))
	var rows [][2]string
	for _, c := range table {
		rows = append(rows, [2]string{c.name, c.short})
	}
	printColumns(w, 12, rows)
	fmt.Fprintf(w, "\n`%s COMMAND --help` shows flags and examples.\n", strings.Join(path, " "))
}

// printColumns prints two columns, the first as wide as its longest text and at
// least width.
func printColumns(w io.Writer, width int, rows [][2]string) {
	for _, r := range rows {
		width = max(width, len(r[0]))
	}
	for _, r := range rows {
		fmt.Fprintf(w, "  %-*s %s\n", width, r[0], r[1])
	}
}

// oneLine renders an error for the terminal.
func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}
