// Command sagekeep is the server and every tool around it, in one binary.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sagekeep/sagekeep/internal/rsakey"
	"github.com/sagekeep/sagekeep/internal/server"
)

func main() {
	privateFiles()
	if err := noCoreDumps(); err != nil {
		fmt.Fprintf(os.Stderr, "sagekeep: core files stay possible: %s\n", err)
	}
	rsakey.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A later signal ends the process at once. One that comes together with the
	// first is the same wish: some tools signal the process and its group.
	context.AfterFunc(ctx, func() { time.Sleep(signalPause); stop() })
	os.Exit(run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// signalPause is how long further signals mean nothing more than the first.
const signalPause = time.Second

// stdio is what a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it failed, or found something
	exitUsage  = 2
)

// errFound makes a command end with exit code 1 without another message.
var errFound = errors.New("found something")

// run runs one command line and returns the exit code.
func run(ctx context.Context, args []string, std stdio) int {
	err := dispatch(ctx, args, std)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFound):
		return exitFailed
	}
	fmt.Fprintf(std.err, "sagekeep: %s\n", oneLine(err))
	if errors.Is(err, server.ErrUsage) {
		return exitUsage
	}
	return exitFailed
}
