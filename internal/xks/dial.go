package xks

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	errForbidden = errors.New("xks: an address of the local link or of a cloud's metadata")
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
	n := net.Dialer{Timeout: d.timeout, Control: func(_, resolved string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(resolved)
		if err != nil || forbidden(a.Addr()) {
			return errForbidden
		}
		return nil
	}}
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

// forbidden addresses give machines their cloud's credentials, or reach what is
// on the same link only. Loopback and private networks are allowed: that is
// where a team's own key manager stands.
func forbidden(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if nat64 := netip.MustParsePrefix("64:ff9b::/96"); nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	switch a {
	case netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16"):
		return true
	}
	return a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified()
}
