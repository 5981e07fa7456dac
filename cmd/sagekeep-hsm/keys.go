package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/token"
)

// commandTime bounds a command that is not a service.
const commandTime = time.Minute

func keygenCommand() command {
	return command{
		name: "keygen", short: "make an AES-256 key in the token that cannot leave it",
		example: "  sagekeep-hsm keygen --module M.so --token-label prod --pin-file pin --key-label root\n" +
			"  sagekeep-hsm keygen --module M.so --token-label prod --pin-file pin --key-label root --rotate",
		flags: func(fs *flag.FlagSet) func(context.Context, stdio) error {
			var f tokenFlags
			f.add(fs)
			label := fs.String("key-label", "", "the `LABEL` of the key, of a-z A-Z 0-9 _ . -; required")
			rotate := fs.Bool("rotate", false, "add a version to a key: it encrypts from now on, and the former ones still decrypt")
			return func(ctx context.Context, std stdio) error {
				if err := token.CheckLabel(*label); err != nil {
					return usagef("--key-label: %s", err)
				}
				return f.with(ctx, std, func(ctx context.Context, t *token.Token) error {
					k, err := t.Generate(ctx, *label, *rotate)
					if err != nil {
						return err
					}
					_, err = fmt.Fprintf(std.out, "%s/%s\n", k.Label, k.Version())
					return err
				})
			}
		},
	}
}

// with opens the token for one command.
func (f *tokenFlags) with(ctx context.Context, std stdio, fn func(context.Context, *token.Token) error) error {
	t, err := f.open(std)
	if err != nil {
		return err
	}
	defer t.Close()
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	return fn(ctx, t)
}

func enableCommand() command {
	return switchCommand("enable", "let a key be used again that was disabled", true)
}

func disableCommand() command {
	return switchCommand("disable", "make the token refuse every use of a key, within a second", false)
}

func switchCommand(name, short string, enabled bool) command {
	return command{
		name: name, short: short,
		example: "  sagekeep-hsm " + name + " --module M.so --token-label prod --pin-file pin --key-label customer-1",
		flags: func(fs *flag.FlagSet) func(context.Context, stdio) error {
			var f tokenFlags
			f.add(fs)
			label := fs.String("key-label", "", "the `LABEL` of the key, all versions; required")
			return func(ctx context.Context, std stdio) error {
				if *label == "" {
					return usagef("--key-label is missing")
				}
				return f.with(ctx, std, func(ctx context.Context, t *token.Token) error {
					return t.SetEnabled(ctx, *label, enabled)
				})
			}
		},
	}
}

// keyLine is a key in the output of keys --json.
type keyLine struct {
	Label       string   `json:"label"`
	Version     string   `json:"version"` // CKA_ID in hexadecimal
	Current     bool     `json:"current"` // encrypts
	KeySpec     string   `json:"keySpec"`
	KeyUsage    []string `json:"keyUsage"`
	KeyStatus   string   `json:"keyStatus"`
	Sensitive   bool     `json:"sensitive"`
	Extractable bool     `json:"extractable"`
	Local       bool     `json:"local"` // made in the token
}

func keysCommand() command {
	return command{
		name: "keys", short: "list the AES keys of the token",
		example: "  sagekeep-hsm keys --module M.so --token-label prod --pin-file pin\n" +
			"  sagekeep-hsm keys --module M.so --token-label prod --pin-file pin --json",
		flags: func(fs *flag.FlagSet) func(context.Context, stdio) error {
			var f tokenFlags
			f.add(fs)
			asJSON := fs.Bool("json", false, "print one JSON array; docs/hsm.md lists the members")
			return func(ctx context.Context, std stdio) error {
				return f.with(ctx, std, func(ctx context.Context, t *token.Token) error {
					all, err := t.List(ctx)
					if err != nil {
						return err
					}
					return printKeys(std, linesOf(all), *asJSON)
				})
			}
		},
	}
}

// linesOf expects the versions of a key beside each other, the newest last.
func linesOf(all []token.Key) []keyLine {
	lines := []keyLine{}
	for i, k := range all {
		l := keyLine{
			Label: k.Label, Version: k.Version(), Current: i == len(all)-1 || all[i+1].Label != k.Label,
			KeySpec: fmt.Sprintf("AES_%d", k.Bits), KeyUsage: []string{}, KeyStatus: "ENABLED",
			Sensitive: k.Sensitive, Extractable: k.Extractable, Local: k.Local,
		}
		if k.Encrypt {
			l.KeyUsage = append(l.KeyUsage, "ENCRYPT")
		}
		if k.Decrypt {
			l.KeyUsage = append(l.KeyUsage, "DECRYPT")
		}
		if k.Disabled() {
			l.KeyStatus = "DISABLED"
		}
		lines = append(lines, l)
	}
	return lines
}

func printKeys(std stdio, lines []keyLine, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(std.out)
		e.SetIndent("", "  ")
		return e.Encode(lines)
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LABEL\tVERSION\tCURRENT\tSPEC\tSTATUS\tUSAGE\tEXTRACTABLE")
	for _, l := range lines {
		fmt.Fprintf(w, "%q\t%s\t%t\t%s\t%s\t%s\t%t\n", l.Label, l.Version, l.Current, l.KeySpec, l.KeyStatus, strings.Join(l.KeyUsage, ","), l.Extractable)
	}
	return w.Flush()
}
