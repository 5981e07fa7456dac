package seal

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	// maxStderr bounds what of a program's standard error is logged, in bytes.
	maxStderr = 4 << 10
	// pipeDelay is how long the pipes of a program that has ended or was killed
	// may stay open, held by its children.
	pipeDelay = time.Second
	// privatePrefix begins the variables of ours that a program does not get.
	privatePrefix = "SAGEKEEP_"
)

// program is the transport of exec:PATH: a process for each request.
type program struct {
	path    string
	log     *slog.Logger
	timeout time.Duration
}

func (p *program) call(ctx context.Context, req []byte) ([]byte, error) {
	path, err := trusted(p.path)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = programEnv()
	cmd.Stdin = bytes.NewReader(req)
	// The buffer never grows: a growing one would leave copies of keys behind.
	out := &limited{b: make([]byte, 0, maxAnswer+1), full: cancel}
	errs := &limited{b: make([]byte, 0, maxStderr+1)}
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.WaitDelay = pipeDelay
	killGroup(cmd)
	err = cmd.Run()
	reply, over := out.take()
	text, _ := errs.take()
	p.logStderr(text, req, reply)
	switch {
	case over:
		clear(reply)
		return nil, fmt.Errorf("%w: it has more than %d bytes", errGarbage, maxAnswer)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		clear(reply)
		return nil, fmt.Errorf("no answer within %s", p.timeout)
	case errors.Is(err, exec.ErrWaitDelay):
		// It exited with 0; a child that it left behind does not matter.
		return reply, nil
	case err != nil:
		return reply, fmt.Errorf("run the program: %w", err)
	}
	return reply, nil
}

// programEnv is the environment without what is ours: tokens and passphrases
// live there.
func programEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, privatePrefix) {
			env = append(env, v)
		}
	}
	return env
}

// limited is a buffer of fixed capacity; what does not fit is dropped.
type limited struct {
	full func() // called once something did not fit; may be nil

	mu   sync.Mutex
	b    []byte
	over bool
	done bool
}

// ReadFrom reads in pieces that are overwritten: io.Copy would leave them.
func (l *limited) ReadFrom(r io.Reader) (n int64, err error) {
	piece := make([]byte, 4<<10)
	defer clear(piece)
	for {
		m, err := r.Read(piece)
		n += int64(m)
		if _, werr := l.Write(piece[:m]); werr != nil {
			return n, werr
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return len(p), nil
	}
	n := min(len(p), cap(l.b)-len(l.b))
	l.b = append(l.b, p[:n]...)
	if n < len(p) || len(l.b) == cap(l.b) {
		l.over = true
		if l.full != nil {
			l.full()
		}
	}
	return len(p), nil
}

// take ends the writing and returns what came.
func (l *limited) take() ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = true
	return l.b, l.over
}

// logStderr logs what a program wrote, without the data of request and answer.
func (p *program) logStderr(text, req, reply []byte) {
	if len(bytes.TrimSpace(text)) == 0 {
		return
	}
	p.log.Warn("the seal program wrote to its standard error", "program", p.path, "text", printable(blot(string(text), req, reply), maxStderr))
	clear(text)
}

// blot replaces the data members of messages in text, in the encodings that a
// program is likely to print.
func blot(text string, messages ...[]byte) string {
	for _, m := range messages {
		var a struct {
			Data []byte `json:"data"`
		}
		if json.Unmarshal(m, &a) != nil || len(a.Data) == 0 {
			continue
		}
		for _, form := range []string{
			base64.StdEncoding.EncodeToString(a.Data), base64.RawURLEncoding.EncodeToString(a.Data),
			base64.RawStdEncoding.EncodeToString(a.Data), fmt.Sprintf("%x", a.Data), fmt.Sprintf("%X", a.Data), string(a.Data),
		} {
			text = strings.ReplaceAll(text, form, "[redacted]")
		}
		clear(a.Data)
	}
	return text
}
