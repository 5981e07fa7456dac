package main

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"time"

	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/sealer"
	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/token"
)

func sealCommand() command {
	return command{
		name: "seal", short: "hold the root key of a data directory, for `sagekeep serve --seal pkcs11:SOCKET`",
		example: "  sagekeep-hsm seal --module M.so --token-label prod --pin-file pin --key-label root --socket /run/sagekeep/hsm.sock",
		flags: func(fs *flag.FlagSet) func(context.Context, stdio) error {
			var f tokenFlags
			f.add(fs)
			f.addSessions(fs)
			label := fs.String("key-label", "", "the `LABEL` of the key that wraps root keys; required")
			socket := fs.String("socket", "", "listen on the Unix socket `PATH`; required")
			fips := fs.Bool("fips", false, "say that the token is in its FIPS-approved mode, which PKCS#11 cannot tell")
			timeout := fs.Duration("timeout", 20*time.Second, "give a request up after this time; Sagekeep waits for 30 seconds")
			return func(ctx context.Context, std stdio) error {
				if err := token.CheckLabel(*label); err != nil {
					return usagef("--key-label: %s", err)
				}
				if *socket == "" {
					return usagef("--socket is missing")
				}
				if *timeout <= 0 {
					return usagef("--timeout is not positive")
				}
				t, err := f.open(std)
				if err != nil {
					return err
				}
				defer t.Close()
				path, err := filepath.Abs(*socket)
				if err != nil {
					return fmt.Errorf("path of the socket: %w", err)
				}
				s := sealer.New(sealer.Config{Token: t, Label: *label, FIPS: *fips, Timeout: *timeout, Log: std.log()})
				if err := firstKey(ctx, t, *label); err != nil {
					return err
				}
				l, err := sealer.Listen(path)
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintf(std.out, "ready unix:%s\n", path); err != nil {
					return fmt.Errorf("print the ready line: %w", err)
				}
				return s.Serve(ctx, l)
			}
		},
	}
}

// firstKey fails when there is no such key, so that a mistyped label shows at once.
func firstKey(ctx context.Context, t *token.Token, label string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	_, err := t.Versions(ctx, label)
	return err
}
