package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/envelope/segment"
	"github.com/sagekeep/sagekeep/internal/secret"
)

const (
	// inlineLimit is the longest body that lies in the object's row.
	inlineLimit = 16 << 10
	// maxPut is the largest body of one request.
	maxPut = 5 << 30
	// segmentClass is the keyring class of segments' service keys.
	segmentClass = "s3.segment.key"
)

// segmentContext says whose and what the bytes of a segment are.
func segmentContext(b *bucketState) []byte {
	return []byte(b.Account + "|" + b.ID + "|object")
}

// sealedAAD binds what is sealed in a row to its place.
func sealedAAD(what string, b *bucketState, version, key string) []byte {
	return []byte("s3 " + what + "|" + b.ID + "|" + version + "|" + key)
}

func segmentKeyAAD(b *bucketState, id blob.ID) []byte {
	return []byte(b.ID + "|" + id.String())
}

// body is a received body that is not part of any object yet. Its segment is
// durable.
type body struct {
	inline   []byte
	segment  *segmentRow
	size     int64
	md5      []byte // nil unless asked for
	checksum s3api.ChecksumAlgorithm
	sum      string
}

// place says where a body belongs.
type place struct {
	b            *bucketState
	key, version string
	dek          secret.Key // zero without KMS
	inline       bool       // a short body goes into the row
}

// receive reads a body to its end and proves it before anything depends on it.
//
// Errors: those of the body and of what the request promised about it;
// ServiceUnavailable when the disk is full.
func (s *Service) receive(ctx context.Context, in *intake, at place) (*body, error) {
	buf := make([]byte, inlineLimit+1)
	n, err := io.ReadFull(in, buf)
	if in.err != nil {
		return nil, in.failure()
	}
	short := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !short {
		return nil, err
	}
	if short && at.inline {
		return s.receiveInline(in, buf[:n], at)
	}
	return s.receiveSegment(ctx, in, buf[:n], at)
}

func (s *Service) receiveInline(in *intake, plain []byte, at place) (*body, error) {
	name, sum, err := in.finish(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(plain)), nil })
	if err != nil {
		return nil, err
	}
	out := in.result(name, sum)
	if at.dek.IsZero() {
		out.inline = plain
		return out, nil
	}
	out.inline, err = sealUnder(at.dek, sealedAAD("body", at.b, at.version, at.key), plain)
	clear(plain)
	return out, err
}

func (in *intake) result(name s3api.ChecksumAlgorithm, sum string) *body {
	out := &body{size: in.n, checksum: name, sum: sum}
	if in.hashes[s3api.ChecksumAlgorithmMd5] != nil {
		out.md5 = in.sum(s3api.ChecksumAlgorithmMd5)
	}
	return out
}

// failure words why the body could not be read.
func (in *intake) failure() error {
	if in.promise.internal {
		return fmt.Errorf("s3: read the source: %w", in.err)
	}
	return bodyError(in.err)
}

func (s *Service) receiveSegment(ctx context.Context, in *intake, start []byte, at place) (_ *body, err error) {
	w, err := s.cfg.Blobs.Create(ctx)
	if err != nil {
		return nil, storageError(err)
	}
	committed := false
	commit := func() error {
		if committed {
			return nil
		}
		if _, err := w.Commit(); err != nil {
			return storageError(err)
		}
		committed = true
		return nil
	}
	defer func() {
		if err == nil {
			return
		}
		if !committed {
			w.Abort()
			return
		}
		s.drop(ctx, w.ID())
	}()
	keys := segment.Keys{Service: secret.Random(), Customer: at.dek}
	sealed, err := s.cfg.Keyring.Seal(segmentClass, segmentKeyAAD(at.b, w.ID()), keys.Service.Bytes())
	if err != nil {
		return nil, err
	}
	sw, err := segment.NewWriter(w, w.ID(), keys, segmentContext(at.b))
	if err != nil {
		return nil, err
	}
	_, err = sw.Write(start)
	clear(start)
	if err == nil {
		_, err = sw.ReadFrom(in)
	}
	cerr := sw.Close() // gives its buffers back, whatever happened
	if in.err != nil {
		return nil, in.failure()
	}
	if err = errors.Join(err, cerr); err != nil {
		return nil, storageError(err)
	}
	row := &segmentRow{ID: w.ID(), Size: in.n, Key: sealed}
	name, sum, err := in.finish(func() (io.ReadCloser, error) {
		if err := commit(); err != nil {
			return nil, err
		}
		return s.openBody(ctx, at.b, []segmentRow{*row}, at.dek, byteRange{length: row.Size})
	})
	if err != nil {
		return nil, err
	}
	if err = commit(); err != nil {
		return nil, err
	}
	out := in.result(name, sum)
	out.segment = row
	return out, nil
}

// drop deletes a segment that no row names; one that stays is an orphan, which
// Sweep finds.
func (s *Service) drop(ctx context.Context, id blob.ID) {
	_ = s.cfg.Blobs.Delete(context.WithoutCancel(ctx), id)
}

// refused drops the segment of a body whose commit was refused. When it is
// unknown whether the commit took place, the segment stays.
func (s *Service) refused(ctx context.Context, in *body, err error) error {
	if _, ok := errors.AsType[*schema.Error](err); ok && in.segment != nil {
		s.drop(ctx, in.segment.ID)
	}
	return storageError(err)
}

// openSegment opens one segment of an object for reading.
func (s *Service) openSegment(ctx context.Context, b *bucketState, row *segmentRow, dek secret.Key) (*segment.Reader, blob.Reader, error) {
	plain, err := s.cfg.Keyring.Open(segmentClass, segmentKeyAAD(b, row.ID), row.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("s3: open the key of segment %s: %w", row.ID, err)
	}
	defer clear(plain)
	key, err := secret.New(plain)
	if err != nil {
		return nil, nil, err
	}
	f, err := s.cfg.Blobs.Open(ctx, row.ID)
	if err != nil {
		return nil, nil, fmt.Errorf("s3: %w", err)
	}
	r, err := segment.OpenReader(f, f.Size(), row.ID, segment.Keys{Service: key, Customer: dek}, segmentContext(b))
	if err == nil && r.Size() != row.Size {
		err = fmt.Errorf("segment %s has %d bytes, its row says %d: %w", row.ID, r.Size(), row.Size, segment.ErrDamaged)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("s3: open object data: %w", err), f.Close())
	}
	return r, f, nil
}

// openBody returns a range of the bytes in a list of segments. The first one is
// open when it returns, the others are opened when they are reached.
func (s *Service) openBody(ctx context.Context, b *bucketState, list []segmentRow, dek secret.Key, r byteRange) (io.ReadCloser, error) {
	for len(list) > 0 && r.offset >= list[0].Size && r.length > 0 {
		r.offset -= list[0].Size
		list = list[1:]
	}
	out := &segmentsBody{list: list, r: r, open: func(row *segmentRow) (*segment.Reader, blob.Reader, error) {
		return s.openSegment(ctx, b, row, dek)
	}}
	if err := out.next(); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return out, nil
}

// segmentsBody streams a range over several segments.
type segmentsBody struct {
	list []segmentRow // not opened yet
	r    byteRange    // what is still to come from list
	open func(*segmentRow) (*segment.Reader, blob.Reader, error)
	cur  io.Reader
	file blob.Reader
	err  error
	done func() // called once, at Close
}

// next opens the next segment. io.EOF: there is none.
func (b *segmentsBody) next() error {
	if b.err != nil {
		return b.err
	}
	if b.file != nil {
		err := b.file.Close()
		b.file, b.cur = nil, nil
		if err != nil {
			return b.fail(err)
		}
	}
	if b.r.length <= 0 {
		return b.fail(io.EOF)
	}
	if len(b.list) == 0 {
		return b.fail(io.ErrUnexpectedEOF)
	}
	r, f, err := b.open(&b.list[0])
	if err != nil {
		return b.fail(err)
	}
	n := min(b.r.length, b.list[0].Size-b.r.offset)
	b.file, b.cur = f, r.Section(b.r.offset, n)
	b.list, b.r = b.list[1:], byteRange{length: b.r.length - n}
	return nil
}

func (b *segmentsBody) fail(err error) error {
	b.err = err
	return err
}

// Read implements io.Reader.
func (b *segmentsBody) Read(p []byte) (int, error) {
	for {
		if b.cur == nil {
			if err := b.next(); err != nil {
				return 0, err
			}
		}
		n, err := b.cur.Read(p)
		if errors.Is(err, io.EOF) {
			b.cur, err = nil, nil
			if n == 0 {
				continue
			}
		}
		if err != nil {
			b.err = err
		}
		return n, err
	}
}

// WriteTo implements io.WriterTo: chunks go from their buffer to w.
func (b *segmentsBody) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if b.cur == nil {
			if err := b.next(); err != nil {
				if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					err = nil
				}
				return total, err
			}
		}
		n, err := io.Copy(w, b.cur)
		total += n
		if err != nil {
			return total, b.fail(err)
		}
		b.cur = nil
	}
}

// Close implements io.Closer.
func (b *segmentsBody) Close() error {
	if b.err == nil {
		b.err = errClosedBody
	}
	b.cur = nil
	if b.done != nil {
		b.done()
		b.done = nil
	}
	if b.file == nil {
		return nil
	}
	f := b.file
	b.file = nil
	return f.Close()
}

var errClosedBody = errors.New("s3: read of a closed body")

// memoryBody is a body from a row.
type memoryBody struct{ *bytes.Reader }

// Close implements io.Closer.
func (memoryBody) Close() error { return nil }
