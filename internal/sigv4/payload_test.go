package sigv4

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

const testTrailer = "x-amz-checksum-crc32"

// upload is one S3 PUT as a server sees it.
type upload struct {
	mode     string
	data     []byte
	chunk    int
	trailer  []string // name, value pairs
	announce string   // x-amz-trailer
	header   http.Header
	edit     func(body []byte) []byte
	length   string // x-amz-decoded-content-length instead of len(data); "-" for none
}

// open signs the upload, sends it and returns the payload.
func (u upload) open(t testing.TB) (*Payload, error) {
	t.Helper()
	now := at(t, "20260102T120000Z")
	r, _ := http.NewRequest(http.MethodPut, "http://host.test/b/k", nil)
	r.Header.Set("X-Amz-Content-Sha256", u.mode)
	if u.mode != UnsignedPayload && !isSHA256(u.mode) {
		r.Header.Set("Content-Encoding", "aws-chunked")
		if u.length == "" {
			u.length = strconv.Itoa(len(u.data))
		}
		if u.length != "-" {
			r.Header.Set("X-Amz-Decoded-Content-Length", u.length)
		}
	}
	if u.announce != "" {
		r.Header.Set("X-Amz-Trailer", u.announce)
	}
	maps.Copy(r.Header, u.header)
	if err := Sign(r, nil, testCred, "us-west-2", "s3", now); err != nil {
		t.Fatal(err)
	}
	a, err := Inspect(r)
	if err != nil {
		t.Fatal(err)
	}
	body := u.data
	switch u.mode {
	case StreamingPayload, StreamingPayloadTrailer:
		body = newChunkEncoder(testCred, a).body(u.data, u.chunk, u.trailer...)
	case StreamingUnsignedTrailer:
		body = newChunkEncoder(testCred, nil).body(u.data, u.chunk, u.trailer...)
	}
	if u.edit != nil {
		body = u.edit(slices.Clone(body))
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if r.ContentLength = int64(len(body)); len(body) == 0 {
		r.Body = http.NoBody
	}
	r = overTheWire(t, r)
	v := verifierAt(now, testCred)
	a, err = verify(t, v, r, Options{S3: true, Service: "s3"})
	if err != nil {
		return nil, err
	}
	return v.Body(r, a)
}

func replace(from, to string) func([]byte) []byte {
	return func(b []byte) []byte {
		if !bytes.Contains(b, []byte(from)) {
			panic("sigv4: the test body has no " + from)
		}
		return bytes.Replace(b, []byte(from), []byte(to), 1)
	}
}

func add(s string) func([]byte) []byte { return func(b []byte) []byte { return append(b, s...) } }

func cut(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:len(b)-n] } }

func TestPayload(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789abcde\n"), 1000) // 16,000 bytes
	crc := []string{testTrailer, "AAAAAA=="}
	tests := []struct {
		name string
		u    upload
		open Kind // error of Body
		kind Kind // error of Read
	}{
		{name: "plain unsigned", u: upload{mode: UnsignedPayload, data: data}},
		{name: "plain", u: upload{mode: sha256Hex(data), data: data}},
		{name: "plain, capital hash", u: upload{mode: strings.ToUpper(sha256Hex(data)), data: data}},
		{name: "plain empty", u: upload{mode: EmptySHA256}},
		{name: "plain, another body", u: upload{mode: sha256Hex([]byte("x")), data: data}, kind: BodyHash},
		{name: "plain, unexpected body", u: upload{mode: EmptySHA256, data: data}, kind: BodyHash},
		{name: "plain, missing body", u: upload{mode: sha256Hex(data)}, kind: BodyHash},

		{name: "signed chunks", u: upload{mode: StreamingPayload, data: data, chunk: 7000}},
		{name: "signed, one chunk", u: upload{mode: StreamingPayload, data: data, chunk: 16000}},
		{name: "signed, empty", u: upload{mode: StreamingPayload, chunk: 1}},
		{name: "signed, flipped byte", u: upload{mode: StreamingPayload, data: data, chunk: 7000, edit: replace("abcde", "abcdf")}, kind: BadSignature},
		{name: "signed, flipped last byte", u: upload{mode: StreamingPayload, data: append(slices.Clone(data), 'Q'), chunk: 7000, edit: replace("Q", "R")}, kind: BadSignature},
		{name: "signed, last chunk not signed", u: upload{mode: StreamingPayload, data: data, chunk: 7000, edit: replace("\r\n0;chunk-signature=", "\r\n0;chunk-signature=0")}, kind: IncompleteBody},
		{name: "signed, unsigned last chunk", u: upload{mode: StreamingPayload, data: data, chunk: 7000, edit: func(b []byte) []byte {
			return append(b[:bytes.LastIndex(b, []byte("0;chunk"))], "0\r\n\r\n"...)
		}}, kind: IncompleteBody},
		{name: "signed, last signature forged", u: upload{mode: StreamingPayload, data: data, chunk: 7000, edit: func(b []byte) []byte {
			b[len(b)-5] ^= 1
			return b
		}}, kind: BadSignature},
		{name: "signed, chunks swapped", u: upload{mode: StreamingPayload, data: data, chunk: 8000, edit: func(b []byte) []byte {
			n := len("1f40;chunk-signature=") + 64 + 2 + 8000 + 2
			return slices.Concat(b[n:2*n], b[:n], b[2*n:])
		}}, kind: BadSignature},
		{name: "signed, chunk dropped", u: upload{mode: StreamingPayload, data: data, chunk: 8000, length: "8000", edit: func(b []byte) []byte {
			n := len("1f40;chunk-signature=") + 64 + 2 + 8000 + 2
			return slices.Concat(b[:n], b[2*n:])
		}}, kind: BadSignature},
		{name: "signed, tail missing", u: upload{mode: StreamingPayload, data: data, chunk: 8000, edit: cut(100)}, kind: IncompleteBody},
		{name: "signed, final CRLF missing", u: upload{mode: StreamingPayload, data: data, chunk: 8000, edit: cut(2)}, kind: IncompleteBody},
		{name: "signed, more after the end", u: upload{mode: StreamingPayload, data: data, chunk: 8000, edit: add("x")}, kind: IncompleteBody},
		{name: "signed, line after the end", u: upload{mode: StreamingPayload, data: data, chunk: 8000, edit: add("x:y\r\n")}, kind: MalformedTrailer},
		{name: "signed, decoded length too small", u: upload{mode: StreamingPayload, data: data, chunk: 8000, length: "15999"}, kind: IncompleteBody},
		{name: "signed, decoded length too large", u: upload{mode: StreamingPayload, data: data, chunk: 8000, length: "16001"}, kind: IncompleteBody},
		{name: "signed, decoded length missing", u: upload{mode: StreamingPayload, data: data, chunk: 8000, length: "-"}, open: MissingLength},
		{name: "signed, decoded length no number", u: upload{mode: StreamingPayload, data: data, chunk: 8000, length: "1e3"}, open: InvalidArgument},
		{name: "signed, decoded length negative", u: upload{mode: StreamingPayload, data: data, chunk: 8000, length: "-5"}, open: InvalidArgument},
		{name: "signed, huge chunk", u: upload{mode: StreamingPayload, length: "99999999999", edit: replace("0;", "10000001;")}, kind: InvalidRequest},
		{name: "signed, size overflow", u: upload{mode: StreamingPayload, length: "99999999999", edit: replace("0;", "8000000000000000;")}, kind: IncompleteBody},

		{name: "signed trailer", u: upload{mode: StreamingPayloadTrailer, data: data, chunk: 7000, trailer: crc, announce: testTrailer}},
		{name: "signed trailer, none", u: upload{mode: StreamingPayloadTrailer, data: data, chunk: 7000}},
		{name: "signed trailer, changed", u: upload{mode: StreamingPayloadTrailer, data: data, chunk: 7000, trailer: crc, announce: testTrailer, edit: replace("AAAAAA==", "AAAAAB==")}, kind: BadSignature},
		{name: "signed trailer, signature forged", u: upload{mode: StreamingPayloadTrailer, data: data, chunk: 7000, trailer: crc, announce: testTrailer, edit: func(b []byte) []byte {
			b[len(b)-5] ^= 1
			return b
		}}, kind: BadSignature},
		{name: "signed trailer, signature cut off", u: upload{mode: StreamingPayloadTrailer, data: data, chunk: 7000, trailer: crc, announce: testTrailer, edit: func(b []byte) []byte {
			return append(b[:bytes.Index(b, []byte(trailerSignature))], "\r\n"...)
		}}, kind: MalformedTrailer},
		{name: "signed trailer, dropped", u: upload{mode: StreamingPayloadTrailer, data: data, chunk: 7000, trailer: crc, announce: testTrailer, edit: func(b []byte) []byte {
			return append(b[:bytes.Index(b, []byte(testTrailer))], "\r\n"...)
		}}, kind: MalformedTrailer},
		{name: "signed trailer, not announced", u: upload{mode: StreamingPayloadTrailer, data: data, chunk: 7000, trailer: crc}, kind: MalformedTrailer},
		{name: "signed trailer, line after its signature", u: upload{mode: StreamingPayloadTrailer, data: data, chunk: 7000, trailer: crc, announce: testTrailer, edit: add("x-amz-checksum-sha1:x\r\n")}, kind: MalformedTrailer},

		{name: "unsigned trailer", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 7000, trailer: crc, announce: testTrailer}},
		{name: "unsigned trailer, none", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 7000}},
		{name: "unsigned trailer, empty", u: upload{mode: StreamingUnsignedTrailer, chunk: 7000, trailer: crc, announce: testTrailer}},
		{name: "unsigned trailer, final CRLF missing", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 7000, trailer: crc, announce: testTrailer, edit: cut(2)}},
		{name: "unsigned trailer, half a line", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 7000, trailer: crc, announce: testTrailer, edit: cut(6)}, kind: IncompleteBody},
		{name: "unsigned trailer, announced but missing", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 7000, announce: testTrailer}, kind: MalformedTrailer},
		{name: "unsigned trailer, another", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 7000, trailer: crc, announce: "x-amz-checksum-sha256"}, kind: MalformedTrailer},
		{name: "unsigned trailer, twice", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 7000, trailer: slices.Concat(crc, crc), announce: testTrailer}, kind: MalformedTrailer},
		{name: "unsigned trailer with signature", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 7000, trailer: append(crc[:2:2], trailerSignature, "00"), announce: testTrailer}, kind: MalformedTrailer},
		{name: "unsigned trailer, no colon", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 7000, trailer: crc, announce: testTrailer, edit: replace("crc32:", "crc32 ")}, kind: MalformedTrailer},
		{name: "unsigned trailer, endless line", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 7000, trailer: []string{testTrailer, strings.Repeat("A", 5000)}, announce: testTrailer}, kind: MalformedTrailer},
		{name: "unsigned trailer, data after chunk", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 16000, trailer: crc, announce: testTrailer, edit: replace("\r\n0\r\n", "XY\r\n0\r\n")}, kind: IncompleteBody},
		{name: "unsigned trailer, bare LF", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 16000, trailer: crc, announce: testTrailer, edit: replace("3e80\r\n", "3e80\n")}, kind: IncompleteBody},
		{name: "unsigned trailer, extension", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 16000, trailer: crc, announce: testTrailer, edit: replace("3e80\r\n", "3e80;x\r\n")}, kind: IncompleteBody},
		{name: "unsigned trailer, sign", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 16000, trailer: crc, announce: testTrailer, edit: replace("3e80\r\n", "+3e80\r\n")}, kind: IncompleteBody},
		{name: "unsigned trailer, no size", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 16000, trailer: crc, announce: testTrailer, edit: replace("3e80\r\n", "\r\n")}, kind: IncompleteBody},
		{name: "unsigned trailer, early end", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 8000, trailer: crc, announce: testTrailer, length: "20000"}, kind: IncompleteBody},
		{name: "unsigned trailer, endless chunk header", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 16000, edit: func([]byte) []byte { return bytes.Repeat([]byte{'0'}, 10000) }}, kind: IncompleteBody},
		{name: "unsupported trailer", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 16000, announce: "x-amz-meta-a"}, open: InvalidRequest},
		{name: "trailer and checksum header", u: upload{mode: StreamingUnsignedTrailer, data: data, chunk: 16000, announce: testTrailer, header: http.Header{"X-Amz-Checksum-Sha1": {"x"}}}, open: InvalidRequest},
		{
			name: "trailer and checksum algorithm",
			u:    upload{mode: StreamingUnsignedTrailer, data: data, chunk: 16000, trailer: crc, announce: testTrailer, header: http.Header{"X-Amz-Checksum-Algorithm": {"CRC32"}}},
		},
	}
	readers := map[string]func(*Payload) ([]byte, error){
		"ReadAll": func(p *Payload) ([]byte, error) { return io.ReadAll(p) },
		"bytes":   func(p *Payload) ([]byte, error) { return io.ReadAll(iotest.OneByteReader(p)) },
		// A reader that takes exactly the announced length must see the error too.
		"exact": func(p *Payload) ([]byte, error) {
			b := make([]byte, p.DecodedLength)
			n, err := io.ReadFull(p, b)
			if p.DecodedLength == 0 {
				_, err = io.ReadAll(p)
			}
			return b[:n], err
		},
	}
	for _, tt := range tests {
		for how, read := range readers {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				t.Parallel()
				if how == "exact" && len(tt.u.length) > 8 {
					t.Skip("the announced length is too large for a buffer")
				}
				p, err := tt.u.open(t)
				wantKind(t, err, tt.open)
				if tt.open != 0 {
					return
				}
				got, err := read(p)
				wantKind(t, err, tt.kind)
				if tt.kind == 0 {
					if !bytes.Equal(got, tt.u.data) || p.DecodedLength != int64(len(tt.u.data)) {
						t.Fatalf("got %d bytes, DecodedLength %d, want %d", len(got), p.DecodedLength, len(tt.u.data))
					}
					if len(tt.u.trailer) > 0 && p.Trailer().Get(tt.u.trailer[0]) != tt.u.trailer[1] {
						t.Fatalf("got trailer %v", p.Trailer())
					}
					return
				}
				if int64(len(got)) >= p.DecodedLength && p.DecodedLength > 0 {
					t.Fatalf("%d of %d bytes of a bad body were released", len(got), p.DecodedLength)
				}
				if p.Trailer() != nil {
					t.Fatal("a bad body has a trailer")
				}
				if _, again := p.Read(make([]byte, 1)); again != p.err || again == io.EOF {
					t.Fatalf("the next read gives %v after %v", again, err)
				}
			})
		}
	}
}

// TestSignedChunkIsHeld: no byte of a signed chunk is seen before its signature
// was proven.
func TestSignedChunkIsHeld(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("z"), 200000)
	p, err := upload{mode: StreamingPayload, data: data, chunk: 100000, edit: func(b []byte) []byte {
		b[len(b)-200] ^= 1 // in the second chunk
		return b
	}}.open(t)
	wantKind(t, err, 0)
	got, err := io.ReadAll(p)
	wantKind(t, err, BadSignature)
	if len(got) != 100000 {
		t.Fatalf("got %d bytes, want the first chunk alone", len(got))
	}
}

func TestAnonymousBody(t *testing.T) {
	t.Parallel()
	v := new(Verifier)
	open := func(sha, body string) (*Payload, error) {
		r := &http.Request{Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
		if sha != "" {
			r.Header.Set("X-Amz-Content-Sha256", sha)
			r.Header.Set("X-Amz-Decoded-Content-Length", "1")
		}
		return v.Body(r, &Auth{Anonymous: true})
	}
	for _, tt := range []struct {
		name, sha, body string
		open, kind      Kind
	}{
		{"no hash", "", "x", 0, 0},
		{"hash", sha256Hex([]byte("x")), "x", 0, 0},
		{"wrong hash", EmptySHA256, "x", 0, BodyHash},
		{"unsigned chunks", StreamingUnsignedTrailer, "1\r\nx\r\n0\r\n\r\n", 0, 0},
		{"signed chunks", StreamingPayload, "", MissingAuth, 0},
		{"nonsense", "nonsense", "", InvalidArgument, 0},
	} {
		p, err := open(tt.sha, tt.body)
		if KindOf(err) != tt.open {
			t.Errorf("%s: got %v", tt.name, err)
		}
		if err != nil {
			continue
		}
		if b, err := io.ReadAll(p); KindOf(err) != tt.kind || err == nil && string(b) != "x" {
			t.Errorf("%s: read %q, %v", tt.name, b, err)
		}
	}
	if _, err := v.Body(&http.Request{}, &Auth{}); KindOf(err) != MissingAuth {
		t.Errorf("an Auth that was not verified: %v", err)
	}
}

// TestUnknownLength: a body without Content-Length is judged at its end.
func TestUnknownLength(t *testing.T) {
	t.Parallel()
	for want, kind := range map[string]Kind{sha256Hex([]byte("body")): 0, EmptySHA256: BodyHash} {
		r := &http.Request{Body: io.NopCloser(iotest.DataErrReader(strings.NewReader("body"))), ContentLength: -1}
		p, err := new(Verifier).Body(r, &Auth{PayloadHash: want})
		wantKind(t, err, 0)
		_, err = io.ReadAll(p)
		wantKind(t, err, kind)
	}
}

// TestBodyErrors: a broken connection is IncompleteBody, other errors pass.
func TestBodyErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		kind Kind
	}{{io.ErrUnexpectedEOF, IncompleteBody}, {context.Canceled, 0}, {&http.MaxBytesError{Limit: 1}, 0}} {
		for _, mode := range []string{UnsignedPayload, StreamingUnsignedTrailer} {
			r := &http.Request{
				ContentLength: 10, Header: http.Header{"X-Amz-Decoded-Content-Length": {"10"}},
				Body: io.NopCloser(iotest.ErrReader(tt.err)),
			}
			p, err := new(Verifier).Body(r, &Auth{PayloadHash: mode})
			wantKind(t, err, 0)
			if _, err = io.ReadAll(p); !errors.Is(err, tt.err) || KindOf(err) != tt.kind {
				t.Errorf("%s: %v became %v", mode, tt.err, err)
			}
		}
	}
}

func TestContentEncoding(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"aws-chunked": "", "gzip": "gzip", "aws-chunked,gzip": "gzip", "gzip, AWS-Chunked , br": "gzip,br", "": ""} {
		if got := ContentEncoding(http.Header{"Content-Encoding": {in}}); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// fuzzChain is a fixed chain for the chunk fuzz target.
func fuzzChain() *chunkChain {
	return &chunkChain{key: deriveKey("s", Scope{}), date: "20260102T120000Z", previous: "seed"}
}

// FuzzChunkedSigned: whatever is done to a signed body, either it is refused or
// data and trailer are those that were signed; and how it is read in pieces
// changes nothing.
func FuzzChunkedSigned(f *testing.F) {
	data := []byte("some data in chunks")
	enc := &chunkEncoder{chain: fuzzChain()}
	valid := slices.Clone(enc.body(data, 7, testTrailer, "AAAAAA=="))
	f.Add(valid)
	f.Add(bytes.Replace(valid, []byte("AAAA"), []byte(" AAAA"), 1))
	f.Add(valid[:len(valid)-2])
	f.Add(append(slices.Clone(valid), "\r\n"...))
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 4096 {
			return
		}
		got, trailer, err := decodeChunks(body, fuzzChain(), len(data), false)
		slow, _, slowErr := decodeChunks(body, fuzzChain(), len(data), true)
		// How much comes out before an error depends on the size of the reads.
		if KindOf(err) != KindOf(slowErr) || err == nil && !bytes.Equal(got, slow) {
			t.Fatalf("%q, %v by pieces %q, %v", got, err, slow, slowErr)
		}
		if !bytes.HasPrefix(data, got) || !bytes.HasPrefix(data, slow) {
			t.Fatalf("released %q and %q, which nobody signed", got, slow)
		}
		if err == nil && (!bytes.Equal(got, data) || len(trailer) != 1 || trailer.Get(testTrailer) != "AAAAAA==") {
			t.Fatalf("accepted %q with %v", got, trailer)
		}
	})
}

// FuzzChunkedUnsigned: what is accepted has the announced length and comes out
// of a fresh encoding the same; how it is read in pieces changes nothing.
func FuzzChunkedUnsigned(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n"), uint16(5))
	f.Add([]byte("1\r\nh\r\n4\r\nello\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n"), uint16(5))
	f.Add([]byte("0\r\n\r\n"), uint16(0))
	f.Fuzz(func(t *testing.T, body []byte, length uint16) {
		if len(body) > 4096 {
			return
		}
		got, trailer, err := decodeChunks(body, nil, int(length), false)
		slow, _, slowErr := decodeChunks(body, nil, int(length), true)
		if KindOf(err) != KindOf(slowErr) || err == nil && !bytes.Equal(got, slow) {
			t.Fatalf("%q, %v by pieces %q, %v", got, err, slow, slowErr)
		}
		if err != nil {
			if KindOf(err) == 0 {
				t.Fatalf("%v is no *Error", err)
			}
			return
		}
		if len(got) != int(length) || len(trailer) != 1 {
			t.Fatalf("got %d bytes of %d, trailer %v", len(got), length, trailer)
		}
		again := new(chunkEncoder).body(got, 3, testTrailer, trailer.Get(testTrailer))
		re, retrailer, err := decodeChunks(again, nil, int(length), false)
		if err != nil || !bytes.Equal(re, got) || retrailer.Get(testTrailer) != trailer.Get(testTrailer) {
			t.Fatalf("%q again %q, %v", got, re, err)
		}
	})
}

func decodeChunks(body []byte, chain *chunkChain, length int, byBytes bool) ([]byte, http.Header, error) {
	a := &Auth{PayloadHash: StreamingUnsignedTrailer}
	if chain != nil {
		a = &Auth{PayloadHash: StreamingPayloadTrailer, key: chain.key, amzDate: chain.date, signature: chain.previous, Scope: chain.scope}
	}
	src := io.Reader(bytes.NewReader(body))
	if byBytes {
		src = iotest.OneByteReader(src)
	}
	p, err := new(Verifier).Body(&http.Request{
		Body:   io.NopCloser(src),
		Header: http.Header{"X-Amz-Decoded-Content-Length": {strconv.Itoa(length)}, "X-Amz-Trailer": {testTrailer}},
	}, a)
	if err != nil {
		return nil, nil, err
	}
	var r io.Reader = p
	if byBytes {
		r = iotest.OneByteReader(p)
	}
	got, err := io.ReadAll(r)
	return got, p.Trailer(), err
}

func BenchmarkPayload(b *testing.B) {
	data := make([]byte, 4<<20)
	for _, mode := range []string{sha256Hex(data), StreamingPayload, StreamingUnsignedTrailer} {
		name := mode
		if isSHA256(mode) {
			name = "SHA256"
		}
		b.Run(name, func(b *testing.B) {
			a := &Auth{PayloadHash: mode, key: deriveKey("s", Scope{}), amzDate: "20260102T120000Z", signature: "seed"}
			body := data
			if mode == StreamingPayload {
				body = (&chunkEncoder{chain: fuzzChain()}).body(data, 64<<10)
			} else if mode == StreamingUnsignedTrailer {
				body = new(chunkEncoder).body(data, 64<<10)
			}
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			buf := make([]byte, 64<<10)
			for b.Loop() {
				p, err := new(Verifier).Body(&http.Request{
					Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
					Header: http.Header{"X-Amz-Decoded-Content-Length": {strconv.Itoa(len(data))}},
				}, a)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, p, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
