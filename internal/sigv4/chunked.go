package sigv4

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"slices"
	"strings"
)

const (
	maxChunkLine   = 4 << 10  // bytes of a chunk header or trailer line
	maxSignedChunk = 16 << 20 // bytes of a signed chunk, which is held until verified
	maxTrailers    = 16
	chunkStep      = 64 << 10 // a signed chunk's buffer grows by what has arrived

	trailerSignature = "x-amz-trailer-signature"
)

// chunkReader decodes aws-chunked framing:
//
//	HEX-SIZE[;chunk-signature=SIGNATURE]CRLF DATA CRLF ... 0[;chunk-signature=SIGNATURE]CRLF
//	[NAME:VALUE CRLF ... [x-amz-trailer-signature:SIGNATURE CRLF]] CRLF
//
// Unsigned chunks stream through; a signed chunk is held until its signature is
// proven.
//
// Source: Amazon S3 API Reference, "Signature Calculations for the Authorization
// Header: Transferring Payload in Multiple Chunks" and "... Including Trailing
// Headers (Chunked Upload)".
type chunkReader struct {
	br       *bufio.Reader
	left     int64       // decoded bytes that no chunk header has announced yet
	chain    *chunkChain // nil: unsigned chunks
	trailing bool        // a trailer may follow
	declared []string    // its lower-case names
	trailer  http.Header

	open int64  // unsigned: bytes of the current chunk not yet read
	buf  []byte // signed: the verified chunk
	off  int    // bytes of buf already given out
}

// chunkChain is the running signature of chunks: each one signs its
// predecessor's, the first one that of the request.
type chunkChain struct {
	key      *signingKey
	date     string
	scope    Scope
	previous string
	hash     hash.Hash
	scratch  []byte
}

// next proves the signature of chunk data, or of a trailer, and moves on.
func (c *chunkChain) next(algorithm string, data []byte, signature string) error {
	b := append(c.scratch[:0], algorithm+"\n"...)
	b = appendDateScope(b, c.date, c.scope)
	b = append(b, c.previous...)
	if algorithm == chunkAlgorithm {
		b = append(b, "\n"+EmptySHA256...)
	}
	b = append(b, '\n')
	var sum [sha256.Size]byte
	c.hash.Reset()
	c.hash.Write(data)
	b = hex.AppendEncode(b, c.hash.Sum(sum[:0]))
	c.scratch = b
	want := c.key.sign(b)
	if subtle.ConstantTimeCompare(want[:], []byte(signature)) != 1 {
		return &Error{
			Kind: BadSignature, Message: mismatchText(true),
			SignatureProvided: signature, StringToSign: string(b),
		}
	}
	c.previous = signature
	return nil
}

const (
	chunkAlgorithm   = Algorithm + "-PAYLOAD"
	trailerAlgorithm = Algorithm + "-TRAILER"
)

func framing(message string) *Error { return fail(IncompleteBody, message) }

func (c *chunkReader) read(p []byte) (int, error) {
	if c.chain != nil {
		if c.off == len(c.buf) {
			if err := c.nextSigned(); err != nil {
				return 0, err
			}
		}
		n := copy(p, c.buf[c.off:])
		c.off += n
		return n, nil
	}
	if c.open == 0 {
		size, _, err := c.header()
		if err != nil {
			return 0, err
		}
		if size == 0 {
			return 0, framing("The body has fewer bytes than x-amz-decoded-content-length")
		}
		c.open = size
	}
	n, err := c.br.Read(p[:min(int64(len(p)), c.open)])
	c.open -= int64(n)
	if err == io.EOF {
		return n, io.ErrUnexpectedEOF
	}
	if err == nil && c.open == 0 {
		err = c.crlf()
	}
	return n, err
}

// header reads a chunk header and takes its size off what is left.
func (c *chunkReader) header() (size int64, signature string, err error) {
	line, err := c.line()
	if err != nil {
		return 0, "", err
	}
	digits, ext, hasExt := bytes.Cut(line, []byte{';'})
	if len(digits) == 0 || len(digits) > 16 {
		return 0, "", framing("A chunk header has no valid size")
	}
	for _, d := range digits {
		x, ok := unhex(d)
		if !ok || size>>59 != 0 {
			return 0, "", framing("A chunk header has no valid size")
		}
		size = size<<4 | int64(x)
	}
	if size > c.left {
		return 0, "", framing("The body has more bytes than x-amz-decoded-content-length")
	}
	c.left -= size
	switch {
	case c.chain == nil && hasExt:
		return 0, "", framing("A chunk of an unsigned body has an extension")
	case c.chain == nil:
		return size, "", nil
	}
	sig, ok := bytes.CutPrefix(ext, []byte("chunk-signature="))
	if !ok || len(sig) != 2*sha256.Size {
		return 0, "", framing("A chunk header has no valid chunk-signature")
	}
	return size, string(sig), nil
}

// line reads up to CRLF. What it returns is valid until the next read.
func (c *chunkReader) line() ([]byte, error) {
	line, err := c.br.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, framing("A line of the aws-chunked body is too long")
	case err == io.EOF:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	line, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok {
		return nil, framing("A line of the aws-chunked body does not end in CRLF")
	}
	return line, nil
}

func (c *chunkReader) crlf() error {
	line, err := c.line()
	if err == nil && len(line) != 0 {
		return framing("The data of a chunk is longer than its header says")
	}
	return err
}

// nextSigned reads one chunk into buf and proves it. The buffer grows with what
// arrives, not with what the header claims.
func (c *chunkReader) nextSigned() error {
	c.buf, c.off = c.buf[:0], 0
	size, signature, err := c.header()
	switch {
	case err != nil:
		return err
	case size > maxSignedChunk:
		return fail(InvalidRequest, "A signed chunk must not be larger than 16 MiB")
	}
	for n := int(size); len(c.buf) < n; {
		from := len(c.buf)
		c.buf = slices.Grow(c.buf, min(n-from, max(chunkStep, from)))
		c.buf = c.buf[:min(n, cap(c.buf))]
		if _, err := io.ReadFull(c.br, c.buf[from:]); err != nil {
			c.buf = c.buf[:0]
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	if size > 0 {
		err = c.crlf()
	}
	if err == nil {
		err = c.chain.next(chunkAlgorithm, c.buf, signature)
	}
	if err == nil && size == 0 {
		err = framing("The body has fewer bytes than x-amz-decoded-content-length")
	}
	if err != nil {
		c.buf = c.buf[:0] // never give out what is not proven
	}
	return err
}

// finish reads the last chunk, the trailer and the end of the wire.
func (c *chunkReader) finish() error {
	size, signature, err := c.header()
	if err != nil {
		return err
	}
	if size != 0 {
		return framing("The body has more bytes than x-amz-decoded-content-length")
	}
	if c.chain != nil {
		if err := c.chain.next(chunkAlgorithm, nil, signature); err != nil {
			return err
		}
	}
	return c.tail()
}

func badTrailer() *Error {
	return fail(MalformedTrailer, "The request contained trailing data that was not well-formed or did not conform to our published schema.")
}

// tail reads what follows the last chunk. Clients differ in the blank lines
// around a trailer, so those are skipped up to the end of the wire; at least
// one must be there when there is no trailer.
func (c *chunkReader) tail() error {
	c.trailer = http.Header{}
	var signed []byte // name:value LF, as the trailer's signature covers it
	signature, blanks := "", 0
	for {
		if _, err := c.br.Peek(1); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		line, err := c.trailerLine()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			if blanks++; blanks > 4 {
				return badTrailer()
			}
			continue
		}
		if !c.trailing || signature != "" || len(c.trailer) == maxTrailers {
			return badTrailer()
		}
		name, value, ok := strings.Cut(string(line), ":")
		name, value = strings.ToLower(name), strings.Trim(value, " \t")
		if !ok || value == "" || !validHeaderName(name) {
			return badTrailer()
		}
		if name == trailerSignature && c.chain != nil {
			signature = value
			continue
		}
		key := http.CanonicalHeaderKey(name)
		if !slices.Contains(c.declared, name) || c.trailer[key] != nil {
			return badTrailer()
		}
		c.trailer[key] = []string{value}
		signed = append(append(append(append(signed, name...), ':'), value...), '\n')
	}
	switch {
	case len(c.trailer) != len(c.declared):
		return badTrailer()
	case signature != "":
		return c.chain.next(trailerAlgorithm, signed, signature)
	case c.chain != nil && len(c.trailer) > 0:
		return badTrailer() // a signed body's trailer must be signed as well
	case len(c.trailer) == 0 && blanks == 0:
		return io.ErrUnexpectedEOF
	}
	return nil
}

// trailerLine reads a line that ends in CRLF or, as AWS's own examples have it,
// in LF alone.
func (c *chunkReader) trailerLine() ([]byte, error) {
	line, err := c.br.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, badTrailer()
	case err == io.EOF:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'}), nil
}

func (c *chunkReader) trailers() http.Header { return c.trailer }
