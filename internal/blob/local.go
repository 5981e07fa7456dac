package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sagekeep/sagekeep/internal/envelope/segment"
)

// tmpSuffix marks the unfinished segments in the folder for temporary files,
// which others use too.
const tmpSuffix = ".segment"

// LocalOptions change how Local works. The zero value is right for production.
type LocalOptions struct {
	FS  FS               // OS() when nil
	Now func() time.Time // time.Now when nil
	// Space returns the free and total bytes of the device that holds a
	// folder; FS.Space when nil.
	Space func(dir string) (free, total uint64, err error)
}

// Local returns a Store that keeps each segment in a file of its own, named
// dir/ab/cd/ID. It makes dir and tmpDir if they are missing, but not their
// parents; both must be on one device. Unfinished segments lie in tmpDir, and
// those a former process left there are removed now, so only one process may
// have a Store on the folders.
//
// ab is the second byte of the identifier, which changes every 49.7 days, and
// cd its last one, which is random: a folder is new about 257 times in 50 days,
// so that the syncs a new folder costs are rare, and none grows for ever.
func Local(dir, tmpDir string, opt LocalOptions) (Store, error) {
	l := &local{dir: dir, tmp: tmpDir, fs: opt.FS, now: opt.Now, space: opt.Space, shards: map[string]bool{}}
	if l.fs == nil {
		l.fs = OS()
	}
	if l.now == nil {
		l.now = time.Now
	}
	if l.space == nil {
		l.space = l.fs.Space
	}
	l.buffers.New = func() any { b := make([]byte, 0, bufferSize); return &b }
	for _, d := range []string{dir, tmpDir} {
		if err := l.mkdir(d); err != nil {
			return nil, fmt.Errorf("blob: open %s: %w", dir, err)
		}
	}
	if err := l.removeStale(); err != nil {
		return nil, fmt.Errorf("blob: open %s: %w", dir, err)
	}
	return l, nil
}

type local struct {
	dir, tmp string
	fs       FS
	now      func() time.Time
	space    func(string) (free, total uint64, err error)
	buffers  sync.Pool // of *[]byte, empty, capacity bufferSize
	closed   atomic.Bool
	broken   atomic.Bool

	mu     sync.Mutex
	shards map[string]bool // folders that this process has made durable
}

// mkdir makes one folder durably. A folder that is there already is synced as
// well: the process that made it may have been killed before it could.
func (l *local) mkdir(d string) error {
	if err := l.fs.Mkdir(d); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return l.syncDir(filepath.Dir(d))
}

func (l *local) syncDir(d string) error {
	if err := l.fs.SyncDir(d); err != nil {
		l.broken.Store(true)
		return fmt.Errorf("sync %s: %w", d, err)
	}
	return nil
}

func (l *local) removeStale() error {
	entries, err := l.fs.ReadDir(l.tmp)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), tmpSuffix)
		if !ok {
			continue
		}
		if _, err := segment.ParseID(name); err != nil {
			continue
		}
		if err := l.fs.Remove(filepath.Join(l.tmp, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// path returns the folder above a segment's folder, that folder, and the file.
func (l *local) path(id ID) (outer, shard, file string) {
	name := id.String()
	outer = filepath.Join(l.dir, name[2:4])
	shard = filepath.Join(outer, name[30:])
	return outer, shard, filepath.Join(shard, name)
}

// prepareShard makes a segment's folder durable, once in a process's life.
func (l *local) prepareShard(outer, shard string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range []string{outer, shard} {
		if l.shards[d] {
			continue
		}
		if err := l.mkdir(d); err != nil {
			return err
		}
		l.shards[d] = true
	}
	return nil
}

// checkSpace fails with ErrFull when writing on would use the reserve.
func (l *local) checkSpace() error {
	free, total, err := l.space(l.tmp)
	if err != nil {
		return fmt.Errorf("read free space: %w", err)
	}
	if need := Reserve(total); free < need {
		return fmt.Errorf("%w: %d bytes are free, %d must stay so", ErrFull, free, need)
	}
	return nil
}

func (l *local) ready(ctx context.Context) error {
	if l.closed.Load() {
		return ErrClosed
	}
	return ctx.Err()
}

// Create implements Store.
func (l *local) Create(ctx context.Context) (Writer, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	if l.broken.Load() {
		return nil, ErrBroken
	}
	if err := l.checkSpace(); err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	id := segment.NewID(l.now())
	name := filepath.Join(l.tmp, id.String()+tmpSuffix)
	f, err := l.fs.Create(name)
	if err != nil {
		return nil, fmt.Errorf("create segment %s: %w", id, full(err))
	}
	return &localWriter{l: l, id: id, f: f, name: name, buf: l.takeBuffer()}, nil
}

// Open implements Store.
func (l *local) Open(ctx context.Context, id ID) (Reader, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	_, _, name := l.path(id)
	r, err := l.fs.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open segment %s: %w", id, missing(err))
	}
	return r, nil
}

// Delete implements Store. The name's removal is not synced: a segment that
// comes back is an orphan like any other.
func (l *local) Delete(ctx context.Context, id ID) error {
	if err := l.ready(ctx); err != nil {
		return err
	}
	_, _, name := l.path(id)
	if err := l.fs.Remove(name); err != nil {
		return fmt.Errorf("delete segment %s: %w", id, missing(err))
	}
	return nil
}

// List implements Store.
func (l *local) List(ctx context.Context) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := l.ready(ctx); err != nil {
			yield(Info{}, err)
			return
		}
		l.walk(ctx, l.dir, 2, yield)
	}
}

// walk lists the segments that lie depth folders below d, and reports whether
// to go on. What has no segment's name in its proper place is not ours.
func (l *local) walk(ctx context.Context, d string, depth int, yield func(Info, error) bool) bool {
	entries, err := l.fs.ReadDir(d)
	if err != nil {
		yield(Info{}, fmt.Errorf("list segments: %w", err))
		return false
	}
	for _, e := range entries {
		if err := l.ready(ctx); err != nil {
			yield(Info{}, err)
			return false
		}
		name := filepath.Join(d, e.Name())
		if depth > 0 {
			if e.IsDir() && len(e.Name()) == 2 && !l.walk(ctx, name, depth-1, yield) {
				return false
			}
			continue
		}
		id, err := segment.ParseID(e.Name())
		if err != nil {
			continue
		}
		if _, _, want := l.path(id); want != name {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			yield(Info{}, fmt.Errorf("list segment %s: %w", id, err))
			return false
		}
		if !yield(Info{ID: id, Size: info.Size(), ModTime: info.ModTime().UTC()}, nil) {
			return false
		}
	}
	return true
}

// Close implements Store.
func (l *local) Close() error {
	l.closed.Store(true)
	return nil
}

func (l *local) takeBuffer() []byte { return (*l.buffers.Get().(*[]byte))[:0] }

func (l *local) giveBuffer(b []byte) {
	if b != nil {
		b = b[:0]
		l.buffers.Put(&b)
	}
}

// missing and full add our sentinel to the file system's error.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}

func full(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
