package segment

import (
	"errors"
	"fmt"
	"io"
)

// Reader opens ranges of a segment. Many goroutines may use one.
type Reader struct {
	r      io.ReaderAt
	layers *layers
	header header
	size   int64  // of the plaintext
	chunks int64  // how many there are
	final  []byte // plaintext of the last chunk, never changed
}

// OpenReader opens the segment that lies in the first size bytes of r. id,
// keys and context are those it was written with. It checks the header, the
// key commitments, that size is a possible length and, by authenticating the
// final chunk, that nothing was cut off or added.
//
// Errors: ErrWrongKey for another key, another context, or a customer key
// given or missing against the header; ErrUnsupported for a newer format;
// ErrDamaged for all else that is wrong with the bytes; or the error of r.
func OpenReader(r io.ReaderAt, size int64, id ID, keys Keys, context []byte) (*Reader, error) {
	if keys.Service.IsZero() {
		return nil, errNoServiceKey
	}
	var start [maxHeader]byte
	head := start[:max(0, min(size, maxHeader))]
	if err := readFull(r, head, 0); err != nil {
		return nil, fmt.Errorf("segment: read header: %w", err)
	}
	h, err := parseHeader(head)
	if err != nil {
		return nil, err
	}
	if h.id != id {
		return nil, fmt.Errorf("%w: holds segment %s, not %s", ErrDamaged, h.id, id)
	}
	if h.layers != keys.Layers() {
		return nil, fmt.Errorf("%w: %d layers, keys for %d", ErrWrongKey, h.layers, keys.Layers())
	}
	l, err := keys.derive(id, context)
	if err != nil {
		return nil, err
	}
	if !l.committed(&h) {
		return nil, ErrWrongKey
	}
	plain, err := PlainSize(size, h.layers)
	if err != nil {
		return nil, err
	}
	s := &Reader{r: r, layers: l, header: h, size: plain, chunks: chunks(plain)}
	last := s.chunks - 1
	o := s.newOpener()
	defer o.free()
	// Kept, so that a read of the end does not open it again.
	if s.final, err = o.openAt(last, make([]byte, 0, s.chunkLen(last))); err != nil {
		return nil, err
	}
	return s, nil
}

// Size returns the length of the plaintext in bytes. It is authenticated.
func (s *Reader) Size() int64 { return s.size }

// ID returns the segment's identifier.
func (s *Reader) ID() ID { return s.header.id }

// ReadAt reads len(p) bytes of plaintext at off as io.ReaderAt says. The n
// bytes it reports are authentic; the rest of p may have been overwritten.
func (s *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("segment: read at negative offset %d", off)
	}
	if off >= s.size {
		return 0, io.EOF
	}
	o := s.newOpener()
	defer o.free()
	n := 0
	for n < len(p) && off < s.size {
		got, err := o.read(p[n:], off)
		n += got
		off += int64(got)
		if err != nil {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Section returns a stream of the n bytes of plaintext at off. A range that
// does not lie within the segment gives a stream that fails at once. The
// stream releases a chunk after it was authenticated, is for one goroutine, and
// implements io.WriterTo.
func (s *Reader) Section(off, n int64) io.Reader {
	x := &section{r: s, off: off, end: off + n}
	if off < 0 || n < 0 || n > s.size-off {
		x.err = fmt.Errorf("segment: range of %d bytes at %d in %d", n, off, s.size)
	}
	return x
}

// chunkLen returns the plaintext length of chunk i.
func (s *Reader) chunkLen(i int64) int {
	return int(min(ChunkSize, s.size-i*ChunkSize))
}

// opener opens chunks with two buffers of scratch.
type opener struct {
	s      *Reader
	aad    *aad
	sealed *buffer
	inner  *buffer
}

func (s *Reader) newOpener() *opener { return &opener{s: s} }

func (o *opener) free() {
	release(&o.sealed)
	release(&o.inner)
}

// read copies plaintext of the chunk that holds off to p: as much as both have.
func (o *opener) read(p []byte, off int64) (int, error) {
	i, skip := off/ChunkSize, int(off%ChunkSize)
	if size := o.s.chunkLen(i); skip == 0 && len(p) >= size && i < o.s.chunks-1 {
		plain, err := o.openAt(i, p[:0:size]) // where the caller wants it
		return len(plain), err
	}
	plain, err := o.chunk(i)
	if err != nil {
		return 0, err
	}
	return copy(p, plain[skip:]), nil
}

// chunk returns the plaintext of chunk i, valid until the opener's next use.
func (o *opener) chunk(i int64) ([]byte, error) {
	if i == o.s.chunks-1 && o.s.final != nil {
		return o.s.final, nil
	}
	return o.openAt(i, nil)
}

// openAt reads and opens chunk i into dst[:0], whose capacity is the chunk's
// length, or into scratch when dst is nil. On error it returns nil, and what it
// wrote to dst is zeros.
func (o *opener) openAt(i int64, dst []byte) ([]byte, error) {
	s := o.s
	if o.sealed == nil {
		o.aad, o.sealed, o.inner = newAAD(&s.header), takeBuffer(), takeBuffer()
	}
	overhead := s.header.layers * layerOverhead
	in := o.sealed[:s.chunkLen(i)+overhead]
	at := headerSize(s.header.layers) + i*int64(ChunkSize+overhead)
	if err := readFull(s.r, in, at); err != nil {
		return nil, fmt.Errorf("segment: read chunk %d: %w", i, err)
	}
	ad := o.aad.chunk(i, i == s.chunks-1)
	aead, spare := s.layers.service, o.inner
	if s.layers.customer != nil {
		inner, err := s.layers.service.Open(o.inner[:0], nil, in, ad)
		if err != nil {
			return nil, fmt.Errorf("%w: chunk %d, service layer", ErrDamaged, i)
		}
		in, aead, spare = inner, s.layers.customer, o.sealed
	}
	if dst == nil {
		dst = spare[:0]
	}
	plain, err := aead.Open(dst, nil, in, ad)
	if err != nil {
		return nil, fmt.Errorf("%w: chunk %d", ErrDamaged, i)
	}
	return plain, nil
}

// section streams a range.
type section struct {
	r        *Reader
	o        *opener
	off, end int64
	pending  []byte // authenticated plaintext before off, not yet handed out
	err      error
}

// fill opens the next chunk into pending. It returns io.EOF after the last one.
func (x *section) fill() error {
	if x.err != nil {
		return x.err
	}
	if x.off >= x.end {
		return x.fail(io.EOF)
	}
	if x.o == nil {
		x.o = x.r.newOpener()
	}
	plain, err := x.o.chunk(x.off / ChunkSize)
	if err != nil {
		return x.fail(err)
	}
	skip := x.off % ChunkSize
	x.pending = plain[skip:min(int64(len(plain)), skip+x.end-x.off)]
	x.off += int64(len(x.pending))
	return nil
}

// fail ends the stream and gives its buffers back.
func (x *section) fail(err error) error {
	x.err, x.pending = err, nil
	if x.o != nil {
		x.o.free()
		x.o = nil
	}
	return err
}

// Read implements io.Reader.
func (x *section) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(x.pending) == 0 {
		if x.err == nil && x.off < x.end && x.off%ChunkSize == 0 && min(int64(len(p)), x.end-x.off) >= ChunkSize {
			if x.o == nil {
				x.o = x.r.newOpener()
			}
			n, err := x.o.read(p[:ChunkSize], x.off)
			x.off += int64(n)
			if err != nil {
				return n, x.fail(err)
			}
			return n, nil
		}
		if err := x.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, x.pending)
	x.pending = x.pending[n:]
	return n, nil
}

// WriteTo implements io.WriterTo: one write for each chunk.
func (x *section) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		for len(x.pending) > 0 {
			n, err := w.Write(x.pending)
			total += int64(n)
			x.pending = x.pending[n:]
			if err != nil {
				return total, err
			}
			if n == 0 {
				return total, io.ErrShortWrite
			}
		}
		if err := x.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				return total, nil
			}
			return total, err
		}
	}
}

// readFull fills p from r at off. A file that ends before is damaged, because
// the caller told its length.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it ends early", ErrDamaged)
	}
	return err
}
