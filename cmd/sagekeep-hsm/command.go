package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"

	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/token"
)

// command is one subcommand. flags adds its flags to a set and returns what runs it
// when they are parsed.
type command struct {
	name, short, example string
	flags                func(*flag.FlagSet) func(context.Context, stdio) error
}

func commands() []command {
	return []command{
		xksCommand(), sealCommand(), keygenCommand(), keysCommand(), enableCommand(), disableCommand(), versionCommand(),
	}
}

func dispatch(ctx context.Context, args []string, std stdio) error {
	if len(args) == 0 {
		printCommands(std.err)
		return usagef("name a command")
	}
	switch args[0] {
	case "help", "--help", "-help", "-h":
		printCommands(std.out)
		return nil
	case "--version":
		args = []string{"version"}
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.exec(ctx, args[1:], std)
		}
	}
	return usagef("%q is not a command; `sagekeep-hsm --help` lists them", args[0])
}

func printCommands(w io.Writer) {
	fmt.Fprint(w, "Keys in an HSM for Sagekeep.\n\nUsage: sagekeep-hsm COMMAND [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.short)
	}
	fmt.Fprint(w, "\n`sagekeep-hsm COMMAND --help` shows flags and examples.\n")
}

func (c command) exec(ctx context.Context, args []string, std stdio) error {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	run := c.flags(fs)
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(std.out, "%s\n\nUsage: sagekeep-hsm %s [flags]\n\nFlags:\n", c.short, c.name)
		fs.SetOutput(std.out)
		fs.PrintDefaults()
		fmt.Fprintf(std.out, "\nExamples:\n%s\n", c.example)
		return nil
	case err != nil:
		return usagef("%s; `sagekeep-hsm %s --help` shows how", err, c.name)
	case fs.NArg() > 0:
		return usagef("%q is too much; `sagekeep-hsm %s --help` shows how", fs.Arg(0), c.name)
	}
	return run(ctx, std)
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(s string) error {
	*l = append(*l, s)
	return nil
}

// tokenFlags say which token, for every command.
type tokenFlags struct {
	module, label, pinFile, pinEnv string
	sessions                       int
}

func (f *tokenFlags) add(fs *flag.FlagSet) {
	fs.StringVar(&f.module, "module", "", "the PKCS#11 library, `FILE`; required")
	fs.StringVar(&f.label, "token-label", "", "the `LABEL` of the token; required")
	fs.StringVar(&f.pinFile, "pin-file", "", "read the user PIN from `FILE`, which others must not be able to read")
	fs.StringVar(&f.pinEnv, "pin-env", "", "read the user PIN from the environment variable `NAME`")
}

func (f *tokenFlags) addSessions(fs *flag.FlagSet) {
	fs.IntVar(&f.sessions, "sessions", 8, "calls that the token serves at the same time, 1 to 1024")
}

func (f *tokenFlags) open(std stdio) (*token.Token, error) {
	switch {
	case f.module == "":
		return nil, usagef("--module is missing")
	case f.label == "":
		return nil, usagef("--token-label is missing")
	case (f.pinFile == "") == (f.pinEnv == ""):
		return nil, usagef("want one of --pin-file and --pin-env")
	case f.sessions < 0 || f.sessions > 1024:
		return nil, usagef("--sessions is not between 1 and 1024")
	}
	return token.Open(token.Config{Module: f.module, Label: f.label, PIN: f.pin, Sessions: f.sessions, Log: std.log()})
}

// pin reads the PIN anew each time, so that it can be changed.
func (f *tokenFlags) pin() (string, error) {
	if f.pinFile != "" {
		return readSecret(f.pinFile)
	}
	v, ok := os.LookupEnv(f.pinEnv)
	if !ok || v == "" {
		return "", fmt.Errorf("the environment variable %s is not set", f.pinEnv)
	}
	return v, nil
}

// maxSecret is more than any PIN or secret has, in bytes.
const maxSecret = 4096

// readSecret reads the one line of a file that only its owner, and perhaps its group,
// can read.
func readSecret(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	if m := fi.Mode(); m.Type() != fs.ModeNamedPipe && m.Perm()&0o027 != 0 {
		return "", fmt.Errorf("%s has mode %04o: others could read it, or the group write it (chmod 600)", name, m.Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	defer clear(b)
	if err != nil {
		return "", err
	}
	line := bytes.TrimRight(b, "\r\n")
	if len(line) == 0 || len(line) > maxSecret || bytes.ContainsAny(line, "\r\n\x00") {
		return "", fmt.Errorf("%s does not hold one line", name)
	}
	return string(line), nil
}

func versionCommand() command {
	return command{
		name: "version", short: "print the version", example: "  sagekeep-hsm version",
		flags: func(*flag.FlagSet) func(context.Context, stdio) error {
			return func(_ context.Context, std stdio) error {
				_, err := fmt.Fprintf(std.out, "sagekeep-hsm %s\n", version())
				return err
			}
		},
	}
}

// version is the module's, or the commit that was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
