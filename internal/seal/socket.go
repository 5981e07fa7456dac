package seal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
)

// socket is the transport of pkcs11:SOCKET: length-prefixed messages to a side
// program.
type socket struct {
	path    string
	timeout time.Duration
}

func (t *socket) call(ctx context.Context, req []byte) ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", t.path)
	if err != nil {
		return nil, fmt.Errorf("reach the side program: %w", err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	reply, err := exchange(c, req)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, fmt.Errorf("no answer within %s", t.timeout)
	}
	return reply, err
}

// check refuses a socket that anybody could have put there.
func (t *socket) check() error {
	fi, err := os.Stat(filepath.Dir(t.path))
	if err != nil {
		return fmt.Errorf("find the side program: %w", err)
	}
	if writableByAll(fi) {
		return fmt.Errorf("everybody may write %s: put the socket into a directory of its own", filepath.Dir(t.path))
	}
	return nil
}

// exchange writes one message and reads one: length (4, big endian) | JSON.
func exchange(c io.ReadWriter, req []byte) ([]byte, error) {
	msg := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(req)), uint32(len(req)))
	msg = append(msg, req...)
	defer clear(msg)
	if _, err := c.Write(msg); err != nil {
		return nil, fmt.Errorf("write to the side program: %w", err)
	}
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, fmt.Errorf("read from the side program: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n == 0 || n > maxAnswer {
		return nil, fmt.Errorf("%w: it has %d bytes, want 1 to %d", errGarbage, n, maxAnswer)
	}
	reply := make([]byte, n)
	if _, err := io.ReadFull(c, reply); err != nil {
		clear(reply)
		return nil, fmt.Errorf("read from the side program: %w", err)
	}
	return reply, nil
}
