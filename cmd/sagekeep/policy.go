package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/sagekeep/sagekeep/internal/authz"
)

// simulateExample is a line that simulate reads.
const simulateExample = `{"id":1,"request":{"principal":"arn:aws:iam::111122223333:user/ana","action":"s3:GetObject","resource":"arn:aws:s3:::labels/boxes.json"},` +
	`"policies":{"identity":[{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}]}}`

func policyCommand() *command {
	return &command{name: "policy", short: "Try, check and explain policies", subs: []*command{{
		name: "simulate", short: "Decide requests against policies: JSON lines in, verdicts out",
		args: "[FILE ...]", maxArgs: -1,
		example: "sagekeep policy simulate < cases.jsonl\nsagekeep policy simulate cases.jsonl",
		note: "Without files, or for -, standard input is read. One line of it, for example:\n  " + simulateExample +
			"\ndocs/policies.md has all members.",
		run: simulate,
	}, explainCommand(), lintCommand()}}
}

// simulate decides the cases of standard input or of files.
func simulate(_ context.Context, f *flag.FlagSet, std stdio) error {
	names := f.Args()
	if len(names) == 0 {
		names = []string{"-"}
	}
	found := false
	for _, name := range names {
		bad, err := simulateFile(name, std)
		if err != nil {
			return err
		}
		found = found || bad > 0
	}
	if found {
		return errFound
	}
	return nil
}

func simulateFile(name string, std stdio) (bad int, err error) {
	if name == "-" {
		return authz.Simulate(std.in, std.out)
	}
	in, err := os.Open(name)
	if err != nil {
		return 0, fmt.Errorf("read cases: %w", err)
	}
	defer in.Close()
	return authz.Simulate(in, std.out)
}
