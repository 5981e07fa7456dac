package main

import (
	"context"
	"flag"

	"github.com/sagekeep/sagekeep/internal/authz"
)

func policyCommand() *command {
	return &command{name: "policy", short: "Try, check and explain policies", subs: []*command{{
		name: "simulate", short: "Decide requests against policies: JSON lines in, verdicts out",
		example: "sagekeep policy simulate < cases.jsonl",
		run: func(_ context.Context, _ *flag.FlagSet, io stdio) error {
			bad, err := authz.Simulate(io.in, io.out)
			if err == nil && bad > 0 {
				return errFound
			}
			return err
		},
	}, explainCommand(), lintCommand()}}
}
