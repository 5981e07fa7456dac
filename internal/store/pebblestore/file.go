package pebblestore

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// file is an encrypted file: a header, then AES-256-CTR of the contents. To
// the engine it looks headerSize bytes shorter than it is, beginning behind the
// header.
type file struct {
	vfs.File
	block cipher.Block // nil for a file whose header never reached the disk: it is empty
	pool  *sync.Pool   // of *[chunk]byte
	read  int64        // offset of the next Read
	wrote int64        // offset of the next Write
}

var _ vfs.File = (*file)(nil)

// openFile reads the header of f. A file that is shorter than a header, or
// whose header is all zero, was created just before a crash and never synced:
// nothing in it was ever acknowledged, so it counts as empty.
func openFile(f vfs.File, keys Keys, pool *sync.Pool) (*file, error) {
	h := make([]byte, headerSize)
	n, err := f.ReadAt(h, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read file header: %w", err)
	}
	if n < headerSize || bytes.Equal(h, make([]byte, headerSize)) {
		return &file{File: f, pool: pool}, nil
	}
	block, err := openHeader(keys, h)
	if err != nil {
		return nil, err
	}
	return &file{File: f, block: block, pool: pool}, nil
}

// xor encrypts or decrypts src, which lies at offset, into dst.
func xor(block cipher.Block, dst, src []byte, offset int64) {
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[8:], uint64(offset)/aes.BlockSize)
	stream := cipher.NewCTR(block, iv[:])
	if skip := offset % aes.BlockSize; skip > 0 {
		var waste [aes.BlockSize]byte
		stream.XORKeyStream(waste[:skip], waste[:skip])
	}
	stream.XORKeyStream(dst, src)
}

func (f *file) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.read)
	f.read += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (f *file) ReadAt(p []byte, offset int64) (int, error) {
	if f.block == nil {
		return 0, io.EOF
	}
	n, err := f.File.ReadAt(p, offset+headerSize)
	xor(f.block, p[:n], p[:n], offset)
	return n, err
}

// chunk is how much is encrypted at a time on its way to the disk.
const chunk = 64 << 10

func newChunk() any { return new([chunk]byte) }

func (f *file) Write(p []byte) (int, error) {
	return f.sealed(p, f.wrote, func(q []byte, _ int64) (int, error) {
		n, err := f.File.Write(q)
		f.wrote += int64(n)
		return n, err
	})
}

func (f *file) WriteAt(p []byte, offset int64) (int, error) {
	return f.sealed(p, offset, func(q []byte, at int64) (int, error) {
		return f.File.WriteAt(q, at+headerSize)
	})
}

func (f *file) sealed(p []byte, offset int64, write func([]byte, int64) (int, error)) (int, error) {
	if f.block == nil {
		return 0, ErrBadHeader
	}
	pooled := f.pool.Get().(*[chunk]byte)
	defer f.pool.Put(pooled)
	done := 0
	for done < len(p) {
		q := pooled[:min(chunk, len(p)-done)]
		at := offset + int64(done)
		xor(f.block, q, p[done:done+len(q)], at)
		n, err := write(q, at)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (f *file) Preallocate(offset, length int64) error {
	if offset == 0 {
		return f.File.Preallocate(0, length+headerSize)
	}
	return f.File.Preallocate(offset+headerSize, length)
}

func (f *file) Stat() (vfs.FileInfo, error) {
	info, err := f.File.Stat()
	if err != nil {
		return nil, err
	}
	if f.block == nil {
		return fileInfo{FileInfo: info}, nil
	}
	return shorten(info), nil
}

func (f *file) SyncTo(length int64) (bool, error) { return f.File.SyncTo(length + headerSize) }

func (f *file) Prefetch(offset, length int64) error {
	return f.File.Prefetch(offset+headerSize, length)
}

// fileInfo shows the size of the contents.
type fileInfo struct {
	vfs.FileInfo
	size int64
}

func (i fileInfo) Size() int64 { return i.size }

func shorten(info vfs.FileInfo) vfs.FileInfo {
	if info.Mode()&fs.ModeType != 0 {
		return info
	}
	return fileInfo{FileInfo: info, size: max(0, info.Size()-headerSize)}
}
