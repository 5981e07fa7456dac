package main

import (
	"flag"
	"strings"
	"testing"
	"time"
)

func TestServeFlagsOfKeyProxies(t *testing.T) {
	t.Parallel()
	parse := func(args ...string) (*flag.FlagSet, error) {
		f := flag.NewFlagSet("serve", flag.ContinueOnError)
		serveFlags(f)
		return f, f.Parse(args)
	}
	f, err := parse("--xks-connect", "HSM.example.com=10.0.0.7:8443, other=127.0.0.1:9000", "--xks-timeout", "2s")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := serveConfig(f)
	if err != nil {
		t.Fatal(err)
	}
	to := cfg.KeyProxies.ConnectTo
	if cfg.KeyProxies.Timeout != 2*time.Second || len(to) != 2 || to["hsm.example.com"] != "10.0.0.7:8443" || to["other"] != "127.0.0.1:9000" {
		t.Errorf("%+v", cfg.KeyProxies)
	}
	if f, err = parse("--xks-connect", "10.0.0.7:8443"); err != nil {
		t.Fatal(err)
	}
	if _, err := serveConfig(f); err == nil || !strings.Contains(err.Error(), "--xks-connect") {
		t.Errorf("an address without a name: %v", err)
	}
}
