package protocol

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/sigv4"
	"github.com/sagekeep/sagekeep/internal/store"
)

// withStorePending lets the request's Update take the records along.
func withStorePending(ctx context.Context, p *audit.Pending) context.Context {
	return store.WithPending(ctx, p)
}

// queryOf parses the URL's query as the signature saw it.
func queryOf(r *http.Request) url.Values {
	q, err := sigv4.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return url.Values{}
	}
	return q
}

// Trailer returns a trailing header of a streamed request body, once the body
// has been read to its end.
func Trailer(body io.Reader, name string) (string, bool) {
	t, ok := body.(interface{ Trailer() http.Header })
	if !ok {
		return "", false
	}
	v := t.Trailer().Values(name)
	if len(v) == 0 {
		return "", false
	}
	return v[0], true
}
