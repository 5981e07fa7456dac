package blobtest

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sagekeep/sagekeep/internal/blob"
)

// crashPage is the unit in which unsynced bytes get lost.
const crashPage = 4096

// CrashFS is a file system in memory that knows what a power loss would leave:
// bytes are durable after File.Sync, names after SyncDir of their folder, and
// nothing else is. It is harsher than real ones: a rename can lose its new name
// and keep the loss of the old one.
type CrashFS struct {
	mu   sync.Mutex
	root *crashDir
}

type crashDir struct {
	now, durable map[string]crashNode
	mod          time.Time
}

type crashFile struct {
	data   []byte // only ever appended to
	synced int    // durable prefix
	mod    time.Time
}

// crashNode is *crashDir or *crashFile.
type crashNode interface{ info(name string) fs.FileInfo }

func newCrashDir() *crashDir {
	return &crashDir{now: map[string]crashNode{}, durable: map[string]crashNode{}, mod: time.Now()}
}

// NewCrashFS returns a file system that holds the one folder dir, durably.
func NewCrashFS(dir string) *CrashFS {
	c := &CrashFS{root: newCrashDir()}
	d := c.root
	for _, name := range parts(dir) {
		sub := newCrashDir()
		d.now[name], d.durable[name] = sub, sub
		d = sub
	}
	return c
}

// CrashClone returns what is left after a power loss at this instant; the
// original goes on. With seed 0 all that is not durable is lost; any other seed
// loses a random part of it: names one by one, bytes page by page (a lost page
// reads as zeros), and the end of files.
func (c *CrashFS) CrashClone(seed uint64) *CrashFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &cloner{files: map[*crashFile]*crashFile{}}
	if seed != 0 {
		k.rng = rand.New(rand.NewPCG(seed, 0))
	}
	return &CrashFS{root: k.dir(c.root)}
}

type cloner struct {
	rng   *rand.Rand // nil: lose everything
	files map[*crashFile]*crashFile
}

// kept decides about one thing that is not durable.
func (k *cloner) kept() bool { return k.rng != nil && k.rng.IntN(2) == 0 }

func (k *cloner) dir(d *crashDir) *crashDir {
	left := maps.Clone(d.durable)
	names := slices.Collect(maps.Keys(d.now))
	names = slices.AppendSeq(names, maps.Keys(d.durable))
	slices.Sort(names) // so that a seed always loses the same
	for _, name := range slices.Compact(names) {
		if d.now[name] == d.durable[name] || !k.kept() {
			continue
		}
		if n, ok := d.now[name]; ok {
			left[name] = n
		} else {
			delete(left, name)
		}
	}
	out := newCrashDir()
	for _, name := range slices.Sorted(maps.Keys(left)) {
		switch n := left[name].(type) {
		case *crashDir:
			out.now[name] = k.dir(n)
		case *crashFile:
			out.now[name] = k.file(n)
		}
	}
	out.durable = maps.Clone(out.now)
	return out
}

func (k *cloner) file(f *crashFile) *crashFile {
	if done, ok := k.files[f]; ok {
		return done
	}
	data := slices.Clone(f.data[:f.synced])
	if rest := f.data[f.synced:]; k.rng != nil && len(rest) > 0 {
		for page := range slices.Chunk(rest[:k.rng.IntN(len(rest)+1)], crashPage) {
			if k.kept() {
				data = append(data, page...)
			} else {
				data = append(data, make([]byte, len(page))...)
			}
		}
	}
	out := &crashFile{data: data, synced: len(data), mod: f.mod}
	k.files[f] = out
	return out
}

func parts(name string) []string {
	return strings.FieldsFunc(filepath.ToSlash(filepath.Clean(name)), func(r rune) bool { return r == '/' })
}

// dir finds a folder. c.mu is held.
func (c *CrashFS) dir(name string) (*crashDir, error) {
	d := c.root
	for _, p := range parts(name) {
		n, ok := d.now[p]
		if !ok {
			return nil, fs.ErrNotExist
		}
		if d, ok = n.(*crashDir); !ok {
			return nil, fmt.Errorf("%s is no folder", p)
		}
	}
	return d, nil
}

// in calls do with the folder that holds name and the last part of name.
func (c *CrashFS) in(op Op, name string, do func(d *crashDir, base string) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := c.dir(filepath.Dir(name))
	if err == nil {
		err = do(d, filepath.Base(name))
	}
	if err != nil {
		return &fs.PathError{Op: string(op), Path: name, Err: err}
	}
	return nil
}

// Create implements blob.FS.
func (c *CrashFS) Create(name string) (blob.File, error) {
	f := &crashFile{mod: time.Now()}
	err := c.in(OpCreate, name, func(d *crashDir, base string) error {
		if _, ok := d.now[base]; ok {
			return fs.ErrExist
		}
		d.now[base] = f
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &crashWriter{c: c, f: f}, nil
}

// Open implements blob.FS.
func (c *CrashFS) Open(name string) (blob.Reader, error) {
	var r *crashReader
	err := c.in(OpOpen, name, func(d *crashDir, base string) error {
		f, ok := d.now[base].(*crashFile)
		if !ok {
			return fs.ErrNotExist
		}
		r = &crashReader{c: c, f: f}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Rename implements blob.FS.
func (c *CrashFS) Rename(from, to string) error {
	return c.in(OpRename, from, func(d *crashDir, base string) error {
		n, ok := d.now[base]
		if !ok {
			return fs.ErrNotExist
		}
		into, err := c.dir(filepath.Dir(to))
		if err != nil {
			return err
		}
		delete(d.now, base)
		into.now[filepath.Base(to)] = n
		return nil
	})
}

// Remove implements blob.FS.
func (c *CrashFS) Remove(name string) error {
	return c.in(OpRemove, name, func(d *crashDir, base string) error {
		if _, ok := d.now[base].(*crashFile); !ok {
			return fs.ErrNotExist
		}
		delete(d.now, base)
		return nil
	})
}

// Mkdir implements blob.FS.
func (c *CrashFS) Mkdir(name string) error {
	return c.in(OpMkdir, name, func(d *crashDir, base string) error {
		if _, ok := d.now[base]; ok {
			return fs.ErrExist
		}
		d.now[base] = newCrashDir()
		return nil
	})
}

// SyncDir implements blob.FS.
func (c *CrashFS) SyncDir(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := c.dir(name)
	if err != nil {
		return &fs.PathError{Op: string(OpSyncDir), Path: name, Err: err}
	}
	d.durable = maps.Clone(d.now)
	return nil
}

// ReadDir implements blob.FS.
func (c *CrashFS) ReadDir(name string) ([]fs.DirEntry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := c.dir(name)
	if err != nil {
		return nil, &fs.PathError{Op: string(OpReadDir), Path: name, Err: err}
	}
	var out []fs.DirEntry
	for _, base := range slices.Sorted(maps.Keys(d.now)) {
		out = append(out, fs.FileInfoToDirEntry(d.now[base].info(base)))
	}
	return out, nil
}

// Space implements blob.FS: there is always plenty.
func (c *CrashFS) Space(string) (free, total uint64, err error) { return 1 << 40, 1 << 40, nil }

type crashWriter struct {
	c      *CrashFS
	f      *crashFile
	closed bool
}

func (w *crashWriter) do(f func()) error {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if w.closed {
		return fs.ErrClosed
	}
	f()
	return nil
}

func (w *crashWriter) Write(p []byte) (int, error) {
	err := w.do(func() { w.f.data, w.f.mod = append(w.f.data, p...), time.Now() })
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *crashWriter) StartWriteback(int64, int64) {} // promises nothing
func (w *crashWriter) Sync() error                 { return w.do(func() { w.f.synced = len(w.f.data) }) }
func (w *crashWriter) Close() error                { return w.do(func() { w.closed = true }) }

type crashReader struct {
	c *CrashFS
	f *crashFile
}

func (r *crashReader) ReadAt(p []byte, off int64) (int, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	if off >= int64(len(r.f.data)) {
		return 0, io.EOF
	}
	n := copy(p, r.f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r *crashReader) Size() int64 {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return int64(len(r.f.data))
}

func (r *crashReader) Close() error { return nil }

// crashInfo describes a node.
type crashInfo struct {
	name string
	size int64
	mode fs.FileMode
	mod  time.Time
}

func (d *crashDir) info(name string) fs.FileInfo {
	return crashInfo{name, 0, fs.ModeDir | 0o700, d.mod}
}

func (f *crashFile) info(name string) fs.FileInfo {
	return crashInfo{name, int64(len(f.data)), 0o600, f.mod}
}

func (i crashInfo) Name() string       { return i.name }
func (i crashInfo) Size() int64        { return i.size }
func (i crashInfo) Mode() fs.FileMode  { return i.mode }
func (i crashInfo) ModTime() time.Time { return i.mod }
func (i crashInfo) IsDir() bool        { return i.mode.IsDir() }
func (i crashInfo) Sys() any           { return nil }
