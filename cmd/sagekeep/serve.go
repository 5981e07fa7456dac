package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sagekeep/sagekeep/internal/kms"
	"github.com/sagekeep/sagekeep/internal/rsakey"
	"github.com/sagekeep/sagekeep/internal/seal"
	"github.com/sagekeep/sagekeep/internal/server"
	"github.com/sagekeep/sagekeep/internal/xks"
)

func serveCommand() *command {
	return &command{
		name: "serve", short: "Run the server",
		example: "sagekeep serve --data-dir ./data\n" +
			"sagekeep serve --data-dir ./data --listen 0.0.0.0:4566 --tls-self-signed --seal passphrase-file:/etc/sagekeep/passphrase",
		flags: serveFlags, hidden: notBuilt(), run: serve,
	}
}

// notBuilt are the flags of what is not there yet: they are known, and refused.
func notBuilt() []string {
	return []string{"store", "objects", "inmemory", "console-listen", "portal-listen", "metrics-listen"}
}

func serveFlags(f *flag.FlagSet) {
	f.String("data-dir", "", "`DIR` that holds all data; made when missing")
	f.String("listen", server.DefaultListen, "`ADDRESS` of the API; port 0 picks a free one")
	f.String("account", server.DefaultAccount, "12-digit `ID` of the first account, made on the first start")
	f.String("seal", "", "who holds the root key: "+seal.Forms+" (default file:DIR/seal/root.key)")
	f.String("tls-cert", "", "PEM `FILE` with the certificate")
	f.String("tls-key", "", "PEM `FILE` with its key")
	f.Bool("tls-self-signed", false, "make a certificate at each start")
	f.String("trusted-proxy", "", "`CIDR` of proxies whose X-Forwarded-For is believed, comma-separated")
	f.String("kms-quotas", string(kms.ThrottleFair), "how fast an account may call KMS: default binds only accounts that compete for a busy server, aws enforces AWS's request quotas, off nothing")
	f.String("xks-connect", "", "`NAME=HOST:PORT` where the proxy of an external key store is reached instead of port 443 of its name; comma-separated")
	f.Duration("xks-timeout", xks.Timeout, "how long such a proxy has for one answer; it is tried twice")
	for _, name := range notBuilt() {
		f.String(name, "", "not built yet")
	}
	f.String("config", "", "JSON `FILE` with flags as members; flags on the command line win")
}

func serve(ctx context.Context, f *flag.FlagSet, std stdio) error {
	cfg, err := serveConfig(f)
	if err != nil {
		return err
	}
	cfg.Log = slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelInfo}))
	makers, err := rsakey.New()
	if err != nil {
		return err
	}
	cfg.MakeRSA = makers.Make
	defer server.HoldHeap()()
	err = server.Run(ctx, cfg, func(url string) { fmt.Fprintf(std.out, "ready %s\n", url) })
	return explain(err, cfg)
}

// serveConfig reads the config file, then the flags.
func serveConfig(f *flag.FlagSet) (server.Config, error) {
	if path := value(f, "config"); path != "" {
		if err := readConfig(f, path); err != nil {
			return server.Config{}, err
		}
	}
	for _, name := range notBuilt() {
		v := value(f, name)
		if v == "" {
			continue
		}
		if strings.Contains(v, "@") {
			return server.Config{}, usagef("--%s: an address with a password is refused on the command line: it shows in process lists", name)
		}
		return server.Config{}, usagef("--%s is not built yet", name)
	}
	cfg := server.Config{
		DataDir: value(f, "data-dir"), Listen: value(f, "listen"), Account: value(f, "account"), Seal: value(f, "seal"),
		TLSCert: value(f, "tls-cert"), TLSKey: value(f, "tls-key"), TLSSelfSigned: boolValue(f, "tls-self-signed"),
		KMSQuotas: value(f, "kms-quotas"),
	}
	if list := value(f, "trusted-proxy"); list != "" {
		for text := range strings.SplitSeq(list, ",") {
			p, err := netip.ParsePrefix(strings.TrimSpace(text))
			if err != nil {
				return cfg, usagef("--trusted-proxy: %q is not a CIDR", text)
			}
			cfg.TrustedProxies = append(cfg.TrustedProxies, p.Masked())
		}
	}
	cfg.KeyProxies.Timeout = typed[time.Duration](f, "xks-timeout")
	if list := value(f, "xks-connect"); list != "" {
		cfg.KeyProxies.ConnectTo = map[string]string{}
		for text := range strings.SplitSeq(list, ",") {
			name, address, ok := strings.Cut(strings.TrimSpace(text), "=")
			if !ok {
				return cfg, usagef("--xks-connect: %q is not NAME=HOST:PORT", text)
			}
			cfg.KeyProxies.ConnectTo[strings.ToLower(name)] = address
		}
	}
	return cfg, nil
}

// maxConfig bounds the config file, in bytes.
const maxConfig = 1 << 20

// readConfig sets every flag that the file names and the command line does not.
func readConfig(f *flag.FlagSet, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return usagef("--config: %s", err)
	}
	if len(b) > maxConfig {
		return usagef("--config: %s is too large", path)
	}
	var values map[string]any
	if err := json.Unmarshal(b, &values); err != nil {
		return usagef("--config: %s is not a JSON object: %s", path, err)
	}
	given := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	var problems []string
	for name, v := range values {
		if f.Lookup(name) == nil || name == "config" {
			problems = append(problems, fmt.Sprintf("%s: no such setting", name))
			continue
		}
		if given[name] {
			continue
		}
		if err := f.Set(name, fmt.Sprint(v)); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %s", name, err))
		}
	}
	if len(problems) > 0 {
		return usagef("--config %s: %s", path, strings.Join(problems, "; "))
	}
	return nil
}

// explain turns the common failures of a start into advice.
func explain(err error, cfg server.Config) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		_, port, _ := net.SplitHostPort(cfg.Listen)
		return fmt.Errorf("port %s is taken (%s): stop what uses it, or name another with --listen", port, cfg.Listen)
	case errors.Is(err, server.ErrInUse):
		if r, rerr := server.ReadRunning(cfg.DataDir); rerr == nil {
			return fmt.Errorf("%s is in use by the server %s (pid %d)", cfg.DataDir, r.URL, r.PID)
		}
		return fmt.Errorf("%s is in use by another process", cfg.DataDir)
	case errors.Is(err, seal.ErrNoKeyFile):
		if kind := otherHolder(cfg.DataDir); kind != "" {
			return fmt.Errorf("%s: its root key is held by a seal of the kind %s: name that seal with --seal", cfg.DataDir, kind)
		}
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("permission denied: %w", err)
	}
	return err
}

// otherHolder returns the kind of the seal that holds the root key of a directory,
// or "" when that is a key file or cannot be told.
func otherHolder(dir string) string {
	// With no seal named, this reads files and asks nobody.
	st, err := server.ReadSealStatus(context.Background(), dir, "")
	if err != nil || st.Seal == string(seal.File) || slices.ContainsFunc(st.Others, func(c server.SealCopy) bool { return c.Seal == string(seal.File) }) {
		return ""
	}
	return st.Seal
}
