package main

import (
	"context"
	"errors"
	"flag"
	"io/fs"

	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/server"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

func accountCommand() *command {
	return &command{name: "account", short: "Manage accounts", subs: []*command{{
		name: "create", short: "Add an account and print its root credentials",
		example: "sagekeep account create --data-dir ./data --id 444455556666",
		flags: func(f *flag.FlagSet) {
			f.String("data-dir", "", "`DIR` of the server")
			f.String("id", "", "12-digit `ID` of the account")
			f.String("seal", "", "who holds the root key, when no server runs")
			f.String("format", "sh", "sh, powershell, profile or json")
			f.Bool("json", false, "the same as --format json")
		},
		run: createAccount,
	}}}
}

func createAccount(ctx context.Context, f *flag.FlagSet, std stdio) error {
	dir, id := value(f, "data-dir"), value(f, "id")
	if dir == "" || id == "" {
		return usagef("--data-dir and --id are needed")
	}
	if err := checkFormat(formatOf(f)); err != nil {
		return err
	}
	var key server.AccessKey
	c, err := operator(dir)
	switch {
	case err == nil:
		err = c.Operator(ctx, "CreateAccount", map[string]string{"id": id}, &key)
	case errors.Is(err, fs.ErrNotExist):
		cfg := server.Config{DataDir: dir, Seal: value(f, "seal")}
		key, err = server.CreateAccount(ctx, cfg, id)
		err = explain(err, cfg)
	}
	if err != nil {
		return err
	}
	return printEnv(std.out, formatOf(f), key, endpoint(dir))
}

// operator returns a client of the operator endpoint of the server that has dir
// open; fs.ErrNotExist when none runs.
func operator(dir string) (*client.Client, error) {
	r, err := server.ReadRunning(dir)
	if err != nil {
		return nil, err
	}
	if !r.Alive() {
		return nil, fs.ErrNotExist // left behind by a process that was killed
	}
	creds, err := server.ReadCredentials(dir)
	if err != nil {
		return nil, err
	}
	h, err := client.Trusting(r.CA)
	if err != nil {
		return nil, err
	}
	return &client.Client{
		Endpoint: r.URL, Region: server.DefaultRegion, HTTP: h,
		Credential: sigv4.Credential{AccessKeyID: creds.Operator.AccessKeyID, Secret: creds.Operator.SecretAccessKey},
	}, nil
}
