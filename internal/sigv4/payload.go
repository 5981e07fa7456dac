package sigv4

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Payload is the decoded body of an S3 request. Reads fail with *Error
// (BodyHash, BadSignature, IncompleteBody, MalformedTrailer) when the body is
// not what the request promised, before its last byte is released; after an
// error every further Read returns it again. A Payload is for one goroutine.
type Payload struct {
	// DecodedLength is the number of bytes that Read will give, -1 when the
	// request does not say.
	DecodedLength int64

	src  payloadSource
	read int64
	err  error // sticky; io.EOF after success
}

// payloadSource decodes one form of body.
type payloadSource interface {
	// read gives decoded bytes. io.EOF means that the wire has ended.
	read(p []byte) (int, error)
	// finish checks what follows, or is promised about, the decoded bytes.
	finish() error
	// trailers returns what finish found.
	trailers() http.Header
}

// Read implements io.Reader.
func (p *Payload) Read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	if p.DecodedLength == 0 {
		return 0, p.end()
	}
	if len(b) == 0 {
		return 0, nil
	}
	if left := p.DecodedLength - p.read; p.DecodedLength > 0 && int64(len(b)) > left {
		b = b[:left]
	}
	n, err := p.src.read(b)
	p.read += int64(n)
	switch {
	case err != nil && err != io.EOF:
		p.err = bodyError(err)
	case p.DecodedLength > 0 && p.read == p.DecodedLength:
		// The last bytes stay back until all is proven.
		if p.end() == io.EOF {
			return n, nil
		}
	case err == nil:
		return n, nil
	case p.DecodedLength > 0:
		p.err = fail(IncompleteBody, "You did not provide the number of bytes specified by the Content-Length HTTP header")
	default:
		if p.end() == io.EOF {
			return n, io.EOF
		}
	}
	clear(b[:n])
	return 0, p.err
}

// end runs finish and returns io.EOF when the payload is proven.
func (p *Payload) end() error {
	if err := p.src.finish(); err != nil {
		p.err = bodyError(err)
	} else {
		p.err = io.EOF
	}
	return p.err
}

// bodyError keeps our own errors and what a size limit says, and turns an early
// end of the wire into IncompleteBody.
func bodyError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
		e := fail(IncompleteBody, "The request body terminated unexpectedly")
		e.cause = err
		return e
	}
	return err
}

// Trailer returns the trailing headers of an aws-chunked body, without the
// trailer's signature. It is nil until Read has returned the last byte.
func (p *Payload) Trailer() http.Header {
	if p.err != io.EOF {
		return nil
	}
	return p.src.trailers()
}

// Body returns the payload of an S3 request whose Auth was verified, or is
// anonymous. It reads nothing yet. Errors are *Error: InvalidRequest,
// InvalidArgument, MissingLength, UnsupportedAlgorithm, MissingAuth.
func (v *Verifier) Body(r *http.Request, a *Auth) (*Payload, error) {
	declared := a.PayloadHash
	if a.Anonymous {
		declared = UnsignedPayload
		if h := r.Header["X-Amz-Content-Sha256"]; len(h) > 0 {
			declared = h[0]
			if e := checkPayloadHash(declared); e != nil {
				return nil, e
			}
		}
	}
	body := r.Body
	if body == nil {
		body = http.NoBody
	}
	switch declared {
	case UnsignedPayload:
		return &Payload{DecodedLength: r.ContentLength, src: &plainBody{body: body}}, nil
	case StreamingPayload, StreamingPayloadTrailer, StreamingUnsignedTrailer:
		return chunkedBody(r, a, declared, body)
	case "":
		return nil, a.annotate(fail(MissingAuth, "The request has not been verified"))
	}
	return &Payload{
		DecodedLength: r.ContentLength,
		src:           &plainBody{body: body, hash: sha256.New(), want: declared},
	}, nil
}

func chunkedBody(r *http.Request, a *Auth, declared string, body io.Reader) (*Payload, error) {
	length := r.Header["X-Amz-Decoded-Content-Length"]
	if len(length) != 1 {
		return nil, a.annotate(fail(MissingLength, "You must provide the Content-Length HTTP header."))
	}
	n, err := strconv.ParseInt(length[0], 10, 64)
	if err != nil || n < 0 || length[0][0] == '+' {
		return nil, a.annotate(fail(InvalidArgument, "x-amz-decoded-content-length must be a non-negative number."))
	}
	c := &chunkReader{br: bufio.NewReaderSize(body, maxChunkLine), left: n}
	if declared != StreamingPayload {
		if c.declared, err = declaredTrailers(r.Header); err != nil {
			return nil, err
		}
		c.trailing = true
	}
	if declared != StreamingUnsignedTrailer {
		if a.key == nil {
			return nil, a.annotate(fail(MissingAuth, "A body with chunk signatures needs a signed request."))
		}
		c.chain = &chunkChain{key: a.key, date: a.amzDate, scope: a.Scope, previous: a.signature, hash: sha256.New()}
	}
	return &Payload{DecodedLength: n, src: c}, nil
}

// declaredTrailers returns the lower-case names in x-amz-trailer.
func declaredTrailers(h http.Header) ([]string, error) {
	var names []string
	for _, v := range h["X-Amz-Trailer"] {
		for name := range strings.SplitSeq(v, ",") {
			name = strings.ToLower(strings.Trim(name, " \t"))
			if !strings.HasPrefix(name, "x-amz-checksum-") || !validHeaderName(name) || len(names) == maxTrailers {
				return nil, fail(InvalidRequest, "The value specified in the x-amz-trailer header is not supported")
			}
			names = append(names, name)
		}
	}
	if names == nil {
		return nil, nil
	}
	for k := range h {
		k = strings.ToLower(k)
		switch k {
		case "x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode":
			continue
		}
		if strings.HasPrefix(k, "x-amz-checksum-") {
			return nil, fail(InvalidRequest, "Expecting a single x-amz-checksum- header")
		}
	}
	return names, nil
}

// ContentEncoding returns the Content-Encoding to store with an object: the
// request's without aws-chunked, which describes the transfer only.
func ContentEncoding(h http.Header) string {
	var kept []string
	for _, v := range h["Content-Encoding"] {
		for e := range strings.SplitSeq(v, ",") {
			if e = strings.TrimSpace(e); e != "" && !strings.EqualFold(e, "aws-chunked") {
				kept = append(kept, e)
			}
		}
	}
	return strings.Join(kept, ",")
}

// plainBody is a body without framing, held to a hash when there is one.
type plainBody struct {
	body io.Reader
	hash hash.Hash // nil: UNSIGNED-PAYLOAD
	want string
}

func (p *plainBody) read(b []byte) (int, error) {
	n, err := p.body.Read(b)
	if p.hash != nil {
		p.hash.Write(b[:n])
	}
	return n, err
}

func (p *plainBody) finish() error {
	if p.hash == nil {
		return nil
	}
	got := hex.EncodeToString(p.hash.Sum(nil))
	if strings.EqualFold(got, p.want) {
		return nil
	}
	return &Error{
		Kind: BodyHash, Message: "The provided 'x-amz-content-sha256' header does not match what was computed.",
		ClientSHA256: p.want, ComputedSHA256: got,
	}
}

func (*plainBody) trailers() http.Header { return nil }
