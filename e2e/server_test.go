package e2e

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/server"
)

// started is a server that runs until the test ends, and the key of its root user.
type started struct {
	url, accessKeyID, secret string
}

// start runs a server on an empty folder: the binary that SAGEKEEP_BIN names,
// or one in this process when there is none.
func start(t *testing.T) started {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	var url string
	if binary := os.Getenv("SAGEKEEP_BIN"); binary != "" {
		url = startBinary(t, binary, dir)
	} else {
		url = startInside(t, dir)
	}
	creds, err := server.ReadCredentials(dir)
	if err != nil {
		t.Fatal(err)
	}
	return started{url: url, accessKeyID: creds.Accounts[0].AccessKeyID, secret: creds.Accounts[0].SecretAccessKey}
}

func startInside(t *testing.T, dir string) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	url, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- server.Run(ctx, server.Config{DataDir: dir, Listen: "127.0.0.1:0"}, func(u string) { url <- u })
	}()
	select {
	case u := <-url:
		t.Cleanup(func() {
			stop()
			if err := <-ended; err != nil {
				t.Errorf("serve: %v", err)
			}
		})
		return u
	case err := <-ended:
		stop()
		t.Fatalf("the server did not start: %v", err)
		return ""
	}
}

func startBinary(t *testing.T, binary, dir string) string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, "serve", "--data-dir", dir, "--listen", "127.0.0.1:0")
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "SAGEKEEP_")
	})
	var log bytes.Buffer
	cmd.Stderr, cmd.WaitDelay = &log, 10*time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	t.Cleanup(func() {
		late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("serve: %v\n%s", err, log.String())
		}
	})
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		t.Fatalf("the server did not start: %q, %v", line, err)
	}
	return url
}
