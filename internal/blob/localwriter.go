package blob

import (
	"fmt"
	"sync/atomic"
)

const (
	// bufferSize is the length of one write to the file. A Writer has one such
	// buffer, two once the segment is longer than one.
	bufferSize = 256 << 10
	// writebackEvery is how many bytes are handed to the device at a time while
	// the rest is still being written, so that the last sync is short.
	writebackEvery = 8 << 20
	// spaceEvery is how many bytes may be written between two looks at the free
	// space: an upload of any length must not use up the reserve.
	spaceEvery = 64 << 20
)

// localWriter fills one buffer while a goroutine writes the other one to the
// file: sealing a chunk and copying it to the page cache cost about the same.
// Short segments never start the goroutine.
type localWriter struct {
	l    *local
	id   ID
	f    File // nil when ended
	name string
	buf  []byte // being filled
	size int64
	err  error
	pump *pump
}

// pump writes buffers in a goroutine. Its file belongs to the goroutine until
// stop has returned.
type pump struct {
	out   *output
	work  chan []byte
	spare chan []byte
	done  chan struct{}
	err   atomic.Pointer[error]
}

// output counts what was written to a file.
type output struct {
	l       *local
	f       File
	written int64
	started int64 // bytes handed to the device
	checked int64 // bytes at the last look at the free space
}

func (w *localWriter) ID() ID { return w.id }

func (w *localWriter) Write(p []byte) (int, error) {
	if err := w.usable(); err != nil {
		return 0, err
	}
	total := len(p)
	for len(p) > 0 {
		n := copy(w.buf[len(w.buf):cap(w.buf)], p)
		w.buf = w.buf[:len(w.buf)+n]
		w.size += int64(n)
		p = p[n:]
		if len(w.buf) == cap(w.buf) {
			if err := w.flush(); err != nil {
				return total - len(p), err
			}
		}
	}
	return total, nil
}

func (w *localWriter) usable() error {
	if w.f == nil {
		return ErrClosed
	}
	return w.err
}

// flush hands the full buffer over and takes the other one.
func (w *localWriter) flush() error {
	if w.pump == nil {
		w.pump = &pump{
			out:  &output{l: w.l, f: w.f},
			work: make(chan []byte), spare: make(chan []byte, 2), done: make(chan struct{}),
		}
		w.pump.spare <- w.l.takeBuffer()
		go w.pump.run()
	}
	w.pump.work <- w.buf
	w.buf = <-w.pump.spare
	if err := w.pump.err.Load(); err != nil {
		w.err = fmt.Errorf("write segment %s: %w", w.id, *err)
	}
	return w.err
}

func (p *pump) run() {
	defer close(p.done)
	for b := range p.work {
		if p.err.Load() == nil {
			if err := p.out.write(b); err != nil {
				p.err.Store(&err)
			}
		}
		p.spare <- b[:0]
	}
}

// stop waits until all that was handed over is written, and gives the buffers
// back.
func (p *pump) stop() error {
	close(p.work)
	<-p.done
	close(p.spare)
	for b := range p.spare {
		p.out.l.giveBuffer(b)
	}
	if err := p.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (o *output) write(b []byte) error {
	if o.written-o.checked >= spaceEvery {
		o.checked = o.written
		if err := o.l.checkSpace(); err != nil {
			return err
		}
	}
	n, err := o.f.Write(b)
	o.written += int64(n)
	if err != nil {
		return full(err)
	}
	if n := o.written - o.started; n >= writebackEvery {
		o.f.StartWriteback(o.started, n)
		o.started = o.written
	}
	return nil
}

// finish writes what is still in buffers. It reports the first write error.
func (w *localWriter) finish() error {
	out := &output{l: w.l, f: w.f}
	if w.pump != nil {
		err := w.pump.stop()
		out, w.pump = w.pump.out, nil
		if err != nil {
			return err
		}
	}
	if w.err != nil {
		return w.err
	}
	if len(w.buf) == 0 {
		return nil
	}
	return out.write(w.buf)
}

// Commit implements Writer: file sync, rename, sync of both folders.
func (w *localWriter) Commit() (int64, error) {
	if w.f == nil {
		return 0, ErrClosed
	}
	if w.err != nil {
		err := w.err
		w.Abort()
		return 0, err
	}
	if err := w.commit(); err != nil {
		return 0, fmt.Errorf("commit segment %s: %w", w.id, err)
	}
	return w.size, nil
}

func (w *localWriter) commit() error {
	l := w.l
	if err := w.finish(); err != nil {
		w.discard()
		return err
	}
	// One sync, never a second: see File.Sync.
	if err := w.f.Sync(); err != nil {
		w.discard()
		return fmt.Errorf("sync: %w", full(err))
	}
	if err := w.closeFile(); err != nil {
		_ = l.fs.Remove(w.name)
		return fmt.Errorf("close: %w", full(err))
	}
	if l.broken.Load() {
		_ = l.fs.Remove(w.name)
		return ErrBroken
	}
	outer, shard, name := l.path(w.id)
	if err := l.prepareShard(outer, shard); err != nil {
		_ = l.fs.Remove(w.name)
		return full(err)
	}
	if err := l.fs.Rename(w.name, name); err != nil {
		_ = l.fs.Remove(w.name)
		return full(err)
	}
	for _, d := range []string{shard, l.tmp} {
		if err := l.syncDir(d); err != nil {
			_ = l.fs.Remove(name)
			return full(err)
		}
	}
	return nil
}

// Abort implements Writer.
func (w *localWriter) Abort() {
	if w.f == nil {
		return
	}
	if w.pump != nil {
		_ = w.pump.stop()
		w.pump = nil
	}
	w.discard()
}

// discard closes and removes the file; a file that stays is removed at the
// next start.
func (w *localWriter) discard() {
	_ = w.closeFile()
	_ = w.l.fs.Remove(w.name)
}

// closeFile ends the Writer and gives its buffer back.
func (w *localWriter) closeFile() error {
	err := w.f.Close()
	w.f = nil
	w.l.giveBuffer(w.buf)
	w.buf = nil
	return err
}
