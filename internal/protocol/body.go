package protocol

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/sagekeep/sagekeep/api/schema"
)

// How long a client may keep a request waiting for its body: nobody has to be
// known here to open a connection, so none may hold one for nothing.
const (
	// stallTimeout is between two reads of a body that is streamed.
	stallTimeout = time.Minute
	// wholeTimeout is for a body that is read whole.
	wholeTimeout = time.Minute
	// lingerTimeout is for the rest of a body that nobody wants any more; the
	// server reads some of it, so that the client sees the answer.
	lingerTimeout = 5 * time.Second
)

// timedBody is a request body whose reads end. Its deadlines are the
// connection's; the server sets them anew for the next request.
type timedBody struct {
	io.ReadCloser
	deadline func(time.Time) error
	until    time.Time // of the whole body; zero = reads alone are timed
	ended    bool
}

// newTimedBody returns the body of r under deadlines; one that cannot have any,
// as in tests, is left as it is.
func newTimedBody(w http.ResponseWriter, r *http.Request) *timedBody {
	if r.Body == nil || r.Body == http.NoBody {
		return &timedBody{ReadCloser: http.NoBody, ended: true}
	}
	return &timedBody{ReadCloser: r.Body, deadline: http.NewResponseController(w).SetReadDeadline}
}

// whole bounds the time for all of the body.
func (b *timedBody) whole() { b.until = time.Now().Add(wholeTimeout) }

// Read implements io.Reader. Its error after a stall is RequestTimeout.
func (b *timedBody) Read(p []byte) (int, error) {
	if b.ended {
		return b.ReadCloser.Read(p)
	}
	at := b.until
	if at.IsZero() {
		at = time.Now().Add(stallTimeout)
	}
	b.set(at)
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		// The server watches the connection from now on, for as long as it takes.
		b.ended = true
		b.set(time.Time{})
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = schema.NewError("RequestTimeout", 400, "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.").Because(err)
	}
	return n, err
}

// linger bounds what the server reads of the body behind the answer.
func (b *timedBody) linger() {
	if !b.ended {
		b.set(time.Now().Add(lingerTimeout))
	}
}

func (b *timedBody) set(at time.Time) {
	if b.deadline != nil {
		_ = b.deadline(at) // not supported, or the connection is gone
	}
}
