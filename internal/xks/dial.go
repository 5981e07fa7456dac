package xks

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sagekeep/sagekeep/internal/netguard"
)

var (
	errNotHTTPS  = errors.New("xks: not an https endpoint")
	errHandshake = errors.New("xks: TLS handshake")
)

// phase is how far a try has come.
type phase = int32

const (
	dialing phase = iota
	handshaking
	connected
)

// progress tells the failures of a connection from those behind it, also when
// the time is up while the connection is made in the background.
type progress struct{ at atomic.Int32 }

type progressKey struct{}

func (p *progress) within(ctx context.Context) context.Context {
	return context.WithValue(ctx, progressKey{}, p)
}

func (p *progress) to(at phase) {
	if p != nil {
		p.at.Store(at)
	}
}

// failure names what ended a try.
func (p *progress) failure(err error) *Error {
	timeout := errors.Is(err, context.DeadlineExceeded)
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
		timeout = true
	}
	at := p.at.Load()
	switch {
	case errors.Is(err, errHandshake) && !timeout:
		return &Error{Name: TLSFailed, cause: err}
	case at != dialing && timeout:
		return &Error{Name: TimedOut, cause: err}
	case at == connected && !cut(err):
		return &Error{Name: InvalidResponse, cause: err}
	}
	return &Error{Name: Unreachable, cause: err}
}

// cut reports whether a connection ended, other than by what came over it.
func cut(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled) {
		return true
	}
	_, ok := errors.AsType[*net.OpError](err)
	return ok
}

// dialer makes the connections of a client.
type dialer struct {
	connectTo map[string]string
	timeout   time.Duration
	tls       *tls.Config
}

// refuse is how plain HTTP is dialled.
func refuse(context.Context, string, string) (net.Conn, error) { return nil, errNotHTTPS }

// dial connects to a proxy and proves it. The addresses are judged after the
// name was resolved, so that no name leads to a forbidden one.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	at, _ := ctx.Value(progressKey{}).(*progress)
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if other, ok := d.connectTo[strings.ToLower(host)]; ok {
		address = other
	}
	n := net.Dialer{Timeout: d.timeout, Control: netguard.Control}
	plain, err := n.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	at.to(handshaking)
	config := d.tls.Clone()
	config.ServerName = strings.TrimSuffix(host, ".")
	conn := tls.Client(plain, config)
	ctx, cancel := context.WithTimeout(ctx, d.timeout) // the request's own end does not reach us
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(errHandshake, err, plain.Close())
	}
	return conn, nil
}
