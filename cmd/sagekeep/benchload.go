package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/protocol/wire"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// load is the outcome of one turn.
type load struct {
	rate     float64 // requests a second
	p50, p99 time.Duration
}

// hammer sends signed requests over conns connections, each as soon as the one
// before it is answered.
func hammer(ctx context.Context, c *client.Client, conns, requests int, op *schema.Operation, in any) (load, error) {
	var mu sync.Mutex
	var all []time.Duration
	var errs []error
	next := make(chan struct{}, requests)
	for range requests {
		next <- struct{}{}
	}
	close(next)
	start := time.Now()
	var wg sync.WaitGroup
	for range conns {
		wg.Go(func() {
			mine := make([]time.Duration, 0, requests/conns*2)
			var err error
			for range next {
				t := time.Now()
				if err = send(ctx, c, op, in); err != nil {
					break
				}
				mine = append(mine, time.Since(t))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	if len(errs) > 0 {
		return load{}, errs[0]
	}
	slices.Sort(all)
	return load{rate: float64(requests) / took.Seconds(), p50: all[len(all)/2], p99: all[len(all)*99/100]}, nil
}

// send makes one signed call and reads the answer to its end, decoding nothing,
// so that the client costs the same for every server.
func send(ctx context.Context, c *client.Client, op *schema.Operation, in any) error {
	req, body, err := wire.EncodeInput(op, c.Endpoint, in)
	if err != nil {
		return err
	}
	if err := sigv4.Sign(req, body, c.Credential, c.Region, op.Service.SigningName, time.Now()); err != nil {
		return err
	}
	resp, err := c.HTTP.Do(req.WithContext(ctx))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var sink bytes.Buffer
	if _, err := sink.ReadFrom(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", op.Name, resp.Status, sink.String())
	}
	return nil
}

// echo is the baseline: what net/http and encoding/json cost by themselves.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		return
	}
	var v map[string]any
	if json.Unmarshal(body, &v) != nil {
		http.Error(w, "not JSON", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(v) // the client sees a cut answer
}

func drain(r io.Reader) { _, _ = io.Copy(io.Discard, r) }

// child is a process of our own binary that serves.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	log   *os.File
	url   string
}

// startChild starts `sagekeep ARGS` and waits for its ready line.
func startChild(ctx context.Context, logPath string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Cancel = func() error { return interrupt(cmd.Process) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	c := &child{cmd: cmd, stdin: stdin, log: log}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		text, rerr := os.ReadFile(logPath)
		return nil, errors.Join(fmt.Errorf("sagekeep %s did not start: %s", args[0], strings.TrimSpace(string(text))), rerr, c.stop())
	}
	c.url = url
	return c, nil
}

// stop ends the process and waits for it.
func (c *child) stop() error {
	err := errors.Join(c.stdin.Close(), interrupt(c.cmd.Process))
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	werr := c.cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](werr); ok {
		werr = nil // by our own signal, or told by its log
	}
	return errors.Join(err, werr, c.log.Close())
}

// interrupt asks a process to end; where there are no signals it is ended.
func interrupt(p *os.Process) error {
	if runtime.GOOS == "windows" {
		return p.Kill()
	}
	return p.Signal(os.Interrupt)
}

// clockTick is Linux's USER_HZ, which is 100 on every architecture Go runs on.
const clockTick = 10 * time.Millisecond

// cpu is the processor time that the process has used; 0 where it cannot be
// known.
func (c *child) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// The name in parentheses may hold anything; utime and stime are fields 14
	// and 15, the 12th and 13th behind it. Source: proc_pid_stat(5).
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0
	}
	return time.Duration(user+system) * clockTick
}

// rss is the resident memory of the process in bytes; 0 where it cannot be
// known.
func (c *child) rss() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
