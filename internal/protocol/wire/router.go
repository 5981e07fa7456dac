package wire

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sagekeep/sagekeep/api/schema"
)

// Router finds the operation of a REST request. It is immutable and may be
// used concurrently.
type Router struct{ paths []pathRoutes }

// pathRoutes are the operations that share one path template.
type pathRoutes struct {
	template string
	segments []segment
	literals int
	ops      []route
}

type segment struct {
	text   string // the literal, or the label's name
	label  bool
	greedy bool
}

// route is one operation: what besides the path a request must show.
type route struct {
	op      *schema.Operation
	query   []queryLiteral
	params  []string // required query members
	headers []string // required header members
	known   map[string]bool
}

// copySource makes a PUT without a body a copy.
const copySource = "X-Amz-Copy-Source"

type queryLiteral struct{ name, value string }

// NewRouter builds the table for the operations of restJson1 and restXml
// services. It panics on a template it cannot read: operations are generated.
func NewRouter(ops []*schema.Operation) *Router {
	rt := &Router{}
	// Where two operations cannot be told apart the first name wins, whatever
	// the order of ops.
	ops = slices.SortedFunc(slices.Values(ops), func(a, b *schema.Operation) int { return strings.Compare(a.Name, b.Name) })
	for _, op := range ops {
		path, query, _ := strings.Cut(op.Path, "?")
		i := slices.IndexFunc(rt.paths, func(p pathRoutes) bool { return p.template == path })
		if i < 0 {
			i = len(rt.paths)
			rt.paths = append(rt.paths, newPath(path))
		}
		rt.paths[i].ops = append(rt.paths[i].ops, newRoute(op, query))
	}
	// More literal segments first, then more segments, then no greedy label.
	slices.SortStableFunc(rt.paths, func(a, b pathRoutes) int {
		if a.literals != b.literals {
			return b.literals - a.literals
		}
		if len(a.segments) != len(b.segments) {
			return len(b.segments) - len(a.segments)
		}
		switch {
		case a.greedy() == b.greedy():
			return 0
		case a.greedy():
			return 1
		}
		return -1
	})
	return rt
}

func (p *pathRoutes) greedy() bool {
	return len(p.segments) > 0 && p.segments[len(p.segments)-1].greedy
}

func newPath(template string) pathRoutes {
	p := pathRoutes{template: template}
	if !strings.HasPrefix(template, "/") {
		panic("wire: path template " + template + " does not begin with a slash")
	}
	if template == "/" {
		return p
	}
	for part := range strings.SplitSeq(template[1:], "/") {
		s := segment{text: part}
		if name, ok := strings.CutPrefix(part, "{"); ok {
			name = strings.TrimSuffix(name, "}")
			s.text, s.greedy = strings.CutSuffix(name, "+")
			s.label = true
		} else {
			p.literals++
		}
		if p.greedy() {
			panic("wire: path template " + template + " goes on after a greedy label")
		}
		p.segments = append(p.segments, s)
	}
	return p
}

func newRoute(op *schema.Operation, query string) route {
	r := route{op: op, known: make(map[string]bool)}
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		r.query = append(r.query, queryLiteral{name, value})
		r.known[name] = true
	}
	if op.Input == nil {
		return r
	}
	for i := range op.Input.Members {
		switch m := &op.Input.Members[i]; {
		case m.In == schema.InQuery:
			r.known[m.Wire()] = true
			if m.Required {
				r.params = append(r.params, m.Wire())
			}
		case m.In == schema.InHeader && m.Required:
			r.headers = append(r.headers, http.CanonicalHeaderKey(m.Wire()))
		}
	}
	return r
}

// Match finds the operation for a request without looking at headers; see
// MatchHeader.
func (rt *Router) Match(method, escapedPath string, query url.Values) (op *schema.Operation, labels map[string]string, pathKnown bool) {
	return rt.MatchHeader(method, escapedPath, query, nil)
}

// MatchHeader finds the operation for a request. escapedPath is the path as
// sent: templates are matched before percent-decoding, so an ARN with %2F stays
// one label; the labels returned are decoded. Among operations of one template
// the one that needs more of what the request shows wins: query literals, then
// required query members (uploadId and partNumber make it UploadPart) and
// required headers (x-amz-copy-source makes it CopyObject). pathKnown tells,
// when op is nil, that the path exists but not with this method or query. In
// restXml a query that names an S3 subresource never falls through to an
// operation that ignores it: a PUT of ?retention must not overwrite the object.
func (rt *Router) MatchHeader(method, escapedPath string, query url.Values, header http.Header) (op *schema.Operation, labels map[string]string, pathKnown bool) {
	if !strings.HasPrefix(escapedPath, "/") {
		return nil, nil, false
	}
	for i := range rt.paths {
		p := &rt.paths[i]
		labels, ok := p.match(escapedPath)
		if !ok {
			continue
		}
		pathKnown = true
		if r := p.best(method, query, header); r != nil {
			return r.op, labels, true
		}
	}
	return nil, nil, pathKnown
}

// match reads the labels of a path.
func (p *pathRoutes) match(path string) (map[string]string, bool) {
	rest := path[1:]
	if len(p.segments) == 0 {
		return nil, rest == ""
	}
	restXML := p.ops[0].op.Service.Protocol == schema.RESTXML
	var labels map[string]string
	for i, s := range p.segments {
		last := i == len(p.segments)-1
		part, after, more := rest, "", false
		if !s.greedy {
			part, after, more = strings.Cut(rest, "/")
		}
		if !s.label {
			if part != s.text {
				return nil, false
			}
		} else {
			text, err := url.PathUnescape(part)
			// An empty label reaches the decoder of restJson1, which names it;
			// S3 has no empty bucket or key.
			if err != nil || part == "" && restXML {
				return nil, false
			}
			if labels == nil {
				labels = make(map[string]string, len(p.segments))
			}
			labels[s.text] = text
		}
		switch {
		case last:
			// S3 takes a bucket with a slash behind it for the bucket.
			return labels, !more || restXML && s.label && after == ""
		case !more:
			return nil, false
		}
		rest = after
	}
	return nil, false
}

func (p *pathRoutes) best(method string, query url.Values, header http.Header) *route {
	var (
		best      *route
		bestScore = -1
	)
	for i := range p.ops {
		r := &p.ops[i]
		if r.op.Method != method {
			continue
		}
		if score := r.score(query, header); score > bestScore {
			best, bestScore = r, score
		}
	}
	return best
}

// score says how well a request fits: -1 not at all, otherwise more for each
// thing the operation requires and the request shows.
func (r *route) score(query url.Values, header http.Header) int {
	for _, q := range r.query {
		v, ok := query[q.name]
		if !ok || q.value != "" && !slices.Contains(v, q.value) {
			return -1
		}
	}
	restXML := r.op.Service.Protocol == schema.RESTXML
	if restXML {
		for name := range query {
			if s3Subresources(name) && !r.known[name] {
				return -1
			}
		}
		// A part that is to be copied must not become an empty part.
		if len(header[copySource]) > 0 && !slices.Contains(r.headers, copySource) {
			return -1
		}
	}
	score, missing := 1000*len(r.query), 0
	for _, name := range r.params {
		if query.Has(name) {
			score += 10
		} else {
			missing++
		}
	}
	for _, name := range r.headers {
		if len(header[name]) > 0 {
			score += 10
		} else {
			missing++
		}
	}
	if missing == 0 {
		return score + 1
	}
	// Something required is missing. The decoder says what, unless the
	// operation is only recognised by it.
	if restXML && len(r.query) == 0 {
		return -1
	}
	return max(score-missing, 0)
}
