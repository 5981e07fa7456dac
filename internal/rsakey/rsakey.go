// Package rsakey makes RSA keys in a process of their own, which runs when the
// processors have nothing else to do.
//
// A key of 4,096 bits takes half a second of one processor, and up to several.
// Inside the server that second is taken from requests: a thread of lower
// priority there could hold up the runtime's pauses, and with them everything.
package rsakey

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"
)

// Argument is the first argument of a program that makes a key with Main. The
// second is the size in bits.
const Argument = "make-rsa-key"

// patience is how long a key may wait for idle processors. From then on a second
// one is made at ordinary priority, and the first that is ready counts: a thread
// that may not run cannot be told to, and only privileged processes may raise it.
const patience = 3 * time.Second

// limit is how long Make waits for a process. The slowest key takes some seconds.
const limit = 30 * time.Second

// maxEncoded bounds what a key process writes: a key of 4,096 bits takes 2,376
// bytes.
const maxEncoded = 8 << 10

// maxReport bounds what a key process may say of a failure, in bytes.
const maxReport = 1 << 10

// Maker makes keys with a program.
type Maker struct {
	// Program begins with Main.
	Program string
}

// New returns a maker whose key processes are this program.
func New() (*Maker, error) {
	// What runs is meant, also when an upgrade has replaced the file since.
	if runtime.GOOS == "linux" {
		if _, err := os.Stat("/proc/self/exe"); err == nil {
			return &Maker{Program: "/proc/self/exe"}, nil
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("rsakey: %w", err)
	}
	return &Maker{Program: self}, nil
}

// Make returns a new key of a size, one of 2,048, 3,072 and 4,096 bits. The end
// of ctx ends the process, and so does half a minute without a key.
func (m *Maker) Make(ctx context.Context, bits int) (*rsa.PrivateKey, error) {
	within, stop := context.WithTimeout(ctx, limit)
	defer stop()
	cmd := exec.CommandContext(within, m.Program, Argument, strconv.Itoa(bits))
	cmd.Args[0] = "sagekeep" // what ps shows
	cmd.SysProcAttr = apart()
	// Nothing else of the environment is a key's business.
	cmd.Env = []string{"GODEBUG=" + os.Getenv("GODEBUG")}
	stdin, err := cmd.StdinPipe() // its end tells the process that nobody waits
	if err != nil {
		return nil, fmt.Errorf("rsakey: %w", err)
	}
	defer stdin.Close()
	out := &bounded{b: make([]byte, 0, maxEncoded)}
	defer clear(out.b[:cap(out.b)])
	cmd.Stdout = out
	report := &bounded{b: make([]byte, 0, maxReport)}
	cmd.Stderr = report
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("rsakey: key process: %w", ctx.Err())
		}
		return nil, fmt.Errorf("rsakey: key process: %w: %q", err, report.b)
	}
	return decode(out.b, bits)
}

// decode checks what a key process has written.
func decode(der []byte, bits int) (*rsa.PrivateKey, error) {
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("rsakey: the key process wrote no key") // err may quote it
	}
	key, ok := k.(*rsa.PrivateKey)
	if !ok || key.N.BitLen() != bits {
		return nil, errors.New("rsakey: the key process wrote another kind of key")
	}
	return key, nil
}

// bounded keeps what is written to it, in place.
type bounded struct{ b []byte }

// ReadFrom reads into place: io.Copy would leave a copy in a buffer of its own.
func (w *bounded) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.ReadFull(r, w.b[len(w.b):cap(w.b)])
	w.b = w.b[:len(w.b)+n]
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return int64(n), nil
	case err != nil:
		return int64(n), err
	}
	return int64(n), errLong
}

var errLong = errors.New("a key process writes without end")

func (w *bounded) Write(p []byte) (int, error) {
	if len(p) > cap(w.b)-len(w.b) {
		return 0, errLong
	}
	w.b = append(w.b, p...)
	return len(p), nil
}

// Main is the key process when the program was started as one, which it ends; it
// returns otherwise. The process writes one key, as PKCS #8 DER, and ends without
// it when its standard input does.
func Main() {
	if len(os.Args) != 3 || os.Args[1] != Argument {
		return
	}
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		os.Exit(1)
	}()
	// A thread that waits for an idle processor must hold up nothing here: neither
	// the only goroutine that may run, nor a garbage collection.
	runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0)))
	debug.SetGCPercent(-1)
	if err := serve(os.Stdout, os.Args[2], patience); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve writes one key. A second one is begun after patience.
func serve(out io.Writer, bits string, patience time.Duration) error {
	n, err := strconv.Atoi(bits)
	if err != nil || n != 2048 && n != 3072 && n != 4096 {
		return fmt.Errorf("rsakey: a key of %q bits", bits)
	}
	type result struct {
		key *rsa.PrivateKey
		err error
	}
	made := make(chan result, 2)
	generate := func() {
		key, err := rsa.GenerateKey(rand.Reader, n)
		made <- result{key, err}
	}
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		whenIdle()
		generate()
	}()
	var first result
	select {
	case first = <-made:
	case <-time.After(patience):
		go generate()
		first = <-made
	}
	if first.err != nil {
		return fmt.Errorf("rsakey: %w", first.err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(first.key)
	if err != nil {
		return fmt.Errorf("rsakey: %w", err)
	}
	defer clear(der)
	if _, err := out.Write(der); err != nil {
		return fmt.Errorf("rsakey: %w", err)
	}
	return nil
}
