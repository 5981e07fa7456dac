package sealer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/token"
)

// Token is what a side program needs of a token; [token.Token] says what the methods
// do.
type Token interface {
	Versions(ctx context.Context, label string) ([]token.Key, error)
	Encrypt(ctx context.Context, label string, id, plaintext, aad []byte) (token.Sealed, error)
	Decrypt(ctx context.Context, label string, id []byte, s token.Sealed, aad []byte) ([]byte, error)
}

// Config is what a side program is made of. Token and Label must be set.
type Config struct {
	Token Token
	// Label is that of the key that wraps root keys.
	Label string
	// FIPS is what the operator says of the token, and info repeats.
	FIPS bool
	// Timeout bounds the work of one request; 0 means 20 seconds.
	Timeout time.Duration
	// Log takes one line for each request; nil drops them.
	Log *slog.Logger
}

const (
	maxMessage     = 64 << 10
	maxConnections = 16
	defaultTimeout = 20 * time.Second // the other side gives up after 30
	idleTime       = time.Minute      // between two requests
	messageTime    = 10 * time.Second // to read or write a message
	probeTime      = time.Second
)

// Server answers the requests of Sagekeep.
type Server struct{ cfg Config }

// New returns a side program.
func New(cfg Config) *Server {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg}
}

// Listen makes the socket, which its owner alone may use. A socket that nobody
// serves any more is replaced. It changes nothing when the directory of the socket
// is writable for everybody, somebody serves the socket, or something else lies there.
//
// The caller has set a umask that takes all rights from others: between its making
// and the change of its mode a socket has what the umask leaves.
func Listen(path string) (net.Listener, error) {
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("directory of the socket: %w", err)
	}
	if dir.Mode().Perm()&0o002 != 0 {
		return nil, fmt.Errorf("everybody may write %s: put the socket into a directory of its own", filepath.Dir(path))
	}
	if err := clearStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("make the socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protect the socket: %w", err), l.Close())
	}
	return l, nil
}

func clearStale(path string) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at the socket: %w", err)
	case fi.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there, and is no socket", path)
	}
	if c, err := net.DialTimeout("unix", path, probeTime); err == nil {
		c.Close()
		return fmt.Errorf("another process serves %s", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the socket of a process that ended: %w", err)
	}
	return nil
}

// Serve answers on l until ctx ends; then it finishes what is under way and returns
// nil. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	places := make(chan struct{}, maxConnections)
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept a connection: %w", err)
		}
		wg.Go(func() {
			defer func() { <-places }()
			s.connection(ctx, c)
		})
	}
}

func (s *Server) connection(ctx context.Context, c net.Conn) {
	defer c.Close()
	if err := checkPeer(c); err != nil {
		s.cfg.Log.Warn("turned a connection away", "error", err)
		return
	}
	// Once ctx ends no further request is read; one that was read is answered.
	stop := context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		c.SetReadDeadline(time.Now().Add(idleTime))
		if ctx.Err() != nil {
			return
		}
		message, err := read(c)
		if err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				s.cfg.Log.Warn("closed a connection", "error", err)
			}
			return
		}
		reply := s.answer(context.WithoutCancel(ctx), message)
		clear(message)
		c.SetWriteDeadline(time.Now().Add(messageTime))
		err = write(c, reply)
		clear(reply)
		if err != nil {
			s.cfg.Log.Warn("could not answer", "error", err)
			return
		}
	}
}

// read reads a message: its length in 4 bytes, big endian, and so many bytes. The
// error is io.EOF when the other side has closed between messages.
func read(c net.Conn) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n == 0 || n > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes: want 1 to %d", n, maxMessage)
	}
	c.SetReadDeadline(time.Now().Add(messageTime))
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		clear(b)
		return nil, fmt.Errorf("read a message: %w", io.ErrUnexpectedEOF)
	}
	return b, nil
}

func write(w io.Writer, b []byte) error {
	msg := append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...)
	defer clear(msg)
	_, err := w.Write(msg)
	return err
}
