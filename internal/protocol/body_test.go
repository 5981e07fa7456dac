package protocol

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// oneConn is a listener with one connection.
type oneConn struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error { close(l.done); return nil }

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// overPipe serves h on an in-memory connection and returns the client's end.
func overPipe(t *testing.T, h http.Handler) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	l := &oneConn{conns: make(chan net.Conn, 1), done: make(chan struct{})}
	l.conns <- server
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go srv.Serve(l)
	t.Cleanup(func() { client.Close(); srv.Close() })
	return client
}

func TestSlowBodiesEnd(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, head string
		every      time.Duration // between two bytes; 0 = none comes
		within     time.Duration
	}{
		{"stalled", "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: TrentService.DescribeKey\r\nContent-Length: 5000\r\n\r\n", 0, wholeTimeout + 2*lingerTimeout},
		{"dripping", "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: TrentService.DescribeKey\r\nContent-Length: 5000\r\n\r\n", time.Second, wholeTimeout + 2*lingerTimeout},
		{"dripping chunks", "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: TrentService.DescribeKey\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n", time.Second, wholeTimeout + 2*lingerTimeout},
		{"refused before it is read", "PUT /bucket/key HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n", time.Second, 2 * lingerTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := overPipe(t, newRig(t, rule{}, nil).h)
				begun := time.Now()
				sent := make(chan struct{})
				defer func() { c.Close(); <-sent }()
				go func() {
					defer close(sent)
					io.WriteString(c, tc.head)
					for tc.every > 0 {
						time.Sleep(tc.every)
						if _, err := io.WriteString(c, "x"); err != nil {
							return
						}
					}
				}()
				b, _ := io.ReadAll(c) // until the server closes
				if took := time.Since(begun); took > tc.within {
					t.Errorf("the connection was held for %s, want %s", took, tc.within)
				}
				if !strings.HasPrefix(string(b), "HTTP/1.1 4") {
					t.Errorf("answered %q", b)
				}
			})
		})
	}
}

// TestConnectionsOutliveBodies: the deadline of a body is not one of the
// connection, nor of a method that takes its time.
func TestConnectionsOutliveBodies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rule{}, nil)
		c := overPipe(t, r.h)
		in := bufio.NewReader(c)
		for range 3 {
			const body = `{"KeyId":"slow"}`
			req, err := http.NewRequest(http.MethodPost, "http://h/", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Amz-Target", "TrentService.DescribeKey")
			if err := sigv4.Sign(req, []byte(body), r.cred, "us-west-2", "kms", time.Now()); err != nil {
				t.Fatal(err)
			}
			if err := req.Write(c); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(in, req)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(fmt.Sprint(resp.Status), string(b), err)
			}
			time.Sleep(2 * stallTimeout) // idle
		}
	})
}
