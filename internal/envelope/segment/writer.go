package segment

import (
	"errors"
	"fmt"
	"io"
)

var errClosed = errors.New("segment: write after Close")

// Writer seals a stream. It holds at most three chunks of memory and starts no
// goroutine. It is for one goroutine at a time.
type Writer struct {
	w      io.Writer
	layers *layers
	aad    *aad
	plain  *buffer // plaintext that is not sealed yet
	inner  *buffer // the customer layer's output, with two layers only
	out    *buffer // what is handed to w
	n      int     // bytes in plain
	index  int64   // of the next chunk
	sealed int64   // plaintext bytes sealed so far
	err    error
	closed bool
}

// NewWriter returns a Writer that seals what is written to it into w, as
// segment id under keys and context. The context says whose and what the data
// is (account, bucket, purpose); a reader must give the same one. The first
// bytes reach w no earlier than the first whole chunk.
//
// Whoever does not call Close has not written a segment: what w got does not
// open. The Writer never closes w.
func NewWriter(w io.Writer, id ID, keys Keys, context []byte) (*Writer, error) {
	l, err := keys.derive(id, context)
	if err != nil {
		return nil, err
	}
	h := header{layers: keys.Layers(), id: id, commitments: l.commitments}
	s := &Writer{w: w, layers: l, aad: newAAD(&h), plain: takeBuffer(), out: takeBuffer()}
	if l.customer != nil {
		s.inner = takeBuffer()
	}
	return s, nil
}

// Size returns how many plaintext bytes were accepted so far.
func (s *Writer) Size() int64 { return s.sealed + int64(s.n) }

// Write seals p. It keeps a whole last chunk back, because the final chunk is
// sealed in another way. An error of w is returned and stays.
func (s *Writer) Write(p []byte) (int, error) {
	if err := s.usable(); err != nil {
		return 0, err
	}
	total := len(p)
	for len(p) > 0 {
		if s.n == ChunkSize {
			if err := s.seal(s.plain[:ChunkSize], false); err != nil {
				return total - len(p), err
			}
			s.n = 0
		}
		// Whole chunks are sealed where they lie, without a copy.
		if s.n == 0 && len(p) > ChunkSize {
			if err := s.seal(p[:ChunkSize], false); err != nil {
				return total - len(p), err
			}
			p = p[ChunkSize:]
			continue
		}
		n := copy(s.plain[s.n:ChunkSize], p)
		s.n += n
		p = p[n:]
	}
	return total, nil
}

// ReadFrom seals r until its end. It reads into the chunk itself, so io.Copy
// needs no buffer.
func (s *Writer) ReadFrom(r io.Reader) (int64, error) {
	if err := s.usable(); err != nil {
		return 0, err
	}
	var total int64
	for idle := 0; ; {
		// One byte past the chunk tells that the chunk is not the final one.
		n, err := r.Read(s.plain[s.n : ChunkSize+1])
		total += int64(n)
		s.n += n
		if s.n > ChunkSize {
			s.n = ChunkSize // what Size counts if the seal fails
			next := s.plain[ChunkSize]
			if err := s.seal(s.plain[:ChunkSize], false); err != nil {
				return total, err
			}
			s.plain[0], s.n = next, 1
		}
		switch {
		case err == io.EOF: //nolint:errorlint // io.Reader returns it bare
			return total, nil
		case err != nil:
			return total, err
		case n > 0:
			idle = 0
		default:
			if idle++; idle == 100 {
				return total, io.ErrNoProgress
			}
		}
	}
}

// Close seals the final chunk. The segment is whole only when it returns nil.
// A second Close returns what the first one did.
func (s *Writer) Close() error {
	if s.closed {
		return s.err
	}
	if s.err == nil {
		s.err = s.seal(s.plain[:s.n], true)
		s.n = 0
	}
	s.closed = true
	s.free()
	return s.err
}

func (s *Writer) usable() error {
	switch {
	case s.err != nil:
		return s.err
	case s.closed:
		return errClosed
	}
	return nil
}

func (s *Writer) free() {
	release(&s.plain)
	release(&s.inner)
	release(&s.out)
}

// seal writes one chunk, after the header if it is the first one.
func (s *Writer) seal(plain []byte, final bool) error {
	if s.sealed+int64(len(plain)) > MaxSize {
		s.err = fmt.Errorf("%w: more than %d bytes", ErrTooLarge, int64(MaxSize))
		return s.err
	}
	ad := s.aad.chunk(s.index, final)
	out := s.out[:0]
	if s.index == 0 {
		out = append(out, ad[:s.aad.n]...)
	}
	chunk := plain
	if s.layers.customer != nil {
		chunk = s.layers.customer.Seal(s.inner[:0], nil, chunk, ad)
	}
	out = s.layers.service.Seal(out, nil, chunk, ad)
	n, err := s.w.Write(out)
	if err == nil && n != len(out) {
		err = io.ErrShortWrite
	}
	if err != nil {
		s.err = fmt.Errorf("segment: write chunk %d: %w", s.index, err)
		return s.err
	}
	s.index++
	s.sealed += int64(len(plain))
	return nil
}
