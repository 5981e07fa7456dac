// Command sagekeep-hsm lets Sagekeep use keys in an HSM through PKCS#11: as an
// external key store proxy for its KMS, and as the holder of the root key that opens
// its data directory. It is a program and a Go module of its own, because it loads
// the vendor's library into its process. docs/hsm.md is its manual.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	if err := protectProcess(); err != nil {
		fmt.Fprintf(os.Stderr, "sagekeep-hsm: %s\n", err)
		os.Exit(exitFailed)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], stdio{os.Stdout, os.Stderr}))
}

// protectProcess keeps files and sockets of the process for its user, and its memory,
// with PIN and keys, for itself.
func protectProcess() error {
	syscall.Umask(0o077)
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("turn core dumps off: %w", err)
	}
	return keepMemory()
}

// stdio is what a command writes to.
type stdio struct{ out, err io.Writer }

func (s stdio) log() *slog.Logger { return slog.New(slog.NewTextHandler(s.err, nil)) }

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// errUsage marks a wrong command line.
var errUsage = errors.New("usage")

func usagef(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

// run runs one command line and returns the exit code.
func run(ctx context.Context, args []string, std stdio) int {
	err := dispatch(ctx, args, std)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(std.err, "sagekeep-hsm: %s\n", strings.Join(strings.Fields(err.Error()), " "))
	if errors.Is(err, errUsage) {
		return exitUsage
	}
	return exitFailed
}
