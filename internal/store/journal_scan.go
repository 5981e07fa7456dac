package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/sagekeep/sagekeep/internal/store/driver"
)

// JournalScan narrows a scan of the journal. The zero value yields everything.
type JournalScan struct {
	Reverse bool      // newest first
	Since   time.Time // records committed at this instant or later
	Until   time.Time // records committed before this instant
	After   []byte    // go on behind the record with this cursor, in the scan's direction
}

// JournalRecord is one entry of the journal.
type JournalRecord struct {
	Node   [8]byte   // the node that committed it
	Seq    uint64    // its block; rises in commit order on one node
	Index  int       // its place in the block
	Time   time.Time // commit time, UTC, µs; never falls along Seq
	Data   []byte    // the entry; the receiver may keep it
	Cursor []byte
}

// Scan yields the records of all nodes, ordered by commit time, node and
// sequence. It reads one snapshot and yields durable records only. After an
// error nothing more is yielded.
func (j *Journal) Scan(ctx context.Context, opt JournalScan) iter.Seq2[JournalRecord, error] {
	return func(yield func(JournalRecord, error) bool) {
		err := j.s.d.View(ctx, func(r driver.Reader) error {
			if err := j.s.d.WaitDurable(ctx, r.Position()); err != nil {
				return err
			}
			return j.scan(ctx, r, opt, yield)
		})
		if err != nil && !errors.Is(err, errStopScan) {
			yield(JournalRecord{}, fmt.Errorf("scan journal: %w", err))
		}
	}
}

var errStopScan = errors.New("store: scan stopped")

func (j *Journal) scan(ctx context.Context, r driver.Reader, opt JournalScan, yield func(JournalRecord, error) bool) error {
	from, err := parseCursor(opt.After)
	if err != nil {
		return err
	}
	nodes, err := journalNodes(r)
	if err != nil {
		return err
	}
	var lanes []*lane
	defer func() {
		for _, l := range lanes {
			l.stop()
		}
	}()
	for _, node := range nodes {
		rng, err := laneRange(r, node, opt, from)
		if err != nil {
			return err
		}
		l := &lane{}
		l.next, l.stop = iter.Pull2(r.Scan(rng))
		lanes = append(lanes, l)
		if err := l.advance(); err != nil {
			return err
		}
	}
	for {
		l := first(lanes, opt.Reverse)
		if l == nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := j.emit(l, opt, from, yield); err != nil {
			return err
		}
		if err := l.advance(); err != nil {
			return err
		}
	}
}

// emit yields the records of the block at the head of l.
func (j *Journal) emit(l *lane, opt JournalScan, from *cursor, yield func(JournalRecord, error) bool) error {
	h, entries, err := openBlock(j.s.sealer, l.pair.Key, l.pair.Value)
	if err != nil {
		return err
	}
	for i := range entries {
		if opt.Reverse {
			i = len(entries) - 1 - i
		}
		at := cursor{time: h.time, node: h.node, seq: h.seq, index: uint32(i)}
		if from != nil && from.node == at.node && from.seq == at.seq {
			if !opt.Reverse && at.index <= from.index || opt.Reverse && at.index >= from.index {
				continue
			}
		}
		rec := JournalRecord{
			Node: h.node, Seq: h.seq, Index: i, Time: time.UnixMicro(h.time).UTC(),
			Data: entries[i], Cursor: at.encode(),
		}
		if !yield(rec, nil) {
			return errStopScan
		}
	}
	return nil
}

// lane walks the blocks of one node.
type lane struct {
	next func() (driver.Pair, error, bool)
	stop func()
	pair driver.Pair
	head blockHead
	live bool
}

func (l *lane) advance() error {
	pair, err, ok := l.next()
	l.live = ok
	if !ok || err != nil {
		return err
	}
	l.pair = pair
	l.head, err = parseHead(pair.Key, pair.Value)
	return err
}

// first returns the lane whose block comes next, or nil.
func first(lanes []*lane, reverse bool) *lane {
	var best *lane
	for _, l := range lanes {
		if !l.live {
			continue
		}
		if best == nil {
			best = l
			continue
		}
		c := cmp.Or(cmp.Compare(l.head.time, best.head.time), bytes.Compare(l.head.node[:], best.head.node[:]))
		if c < 0 != reverse {
			best = l
		}
	}
	return best
}

// laneRange finds the part of a node's blocks that opt asks for.
func laneRange(r driver.Reader, node [8]byte, opt JournalScan, from *cursor) (driver.Range, error) {
	rng := driver.Range{Lower: blockKey(node, 0), Upper: after(blockKey(node, math.MaxUint64)), Reverse: opt.Reverse}
	cut := func(t int64, low bool) error {
		seq, err := bisect(r, node, t)
		if err != nil {
			return err
		}
		if low {
			rng.Lower = greater(rng.Lower, blockKey(node, seq))
		} else {
			rng.Upper = lesser(rng.Upper, blockKey(node, seq))
		}
		return nil
	}
	if !opt.Since.IsZero() {
		if err := cut(ceilMicro(opt.Since), true); err != nil {
			return rng, err
		}
	}
	if !opt.Until.IsZero() {
		if err := cut(ceilMicro(opt.Until), false); err != nil {
			return rng, err
		}
	}
	if from == nil {
		return rng, nil
	}
	if c := bytes.Compare(node[:], from.node[:]); c != 0 {
		// At the cursor's own instant, lower nodes come before it.
		t := from.time
		if c < 0 {
			t++
		}
		return rng, cut(t, !opt.Reverse)
	}
	if opt.Reverse {
		rng.Upper = lesser(rng.Upper, append(blockKey(node, from.seq), 0))
	} else {
		rng.Lower = greater(rng.Lower, blockKey(node, from.seq))
	}
	return rng, nil
}

func ceilMicro(t time.Time) int64 {
	return t.Add(time.Microsecond - time.Nanosecond).UnixMicro()
}

// bisect returns a sequence that divides the node's blocks into those committed
// before t and the others. Commit times never fall along the sequence.
func bisect(r driver.Reader, node [8]byte, t int64) (uint64, error) {
	low, ok, err := edge(r, node, false)
	if err != nil || !ok {
		return 0, err
	}
	high, _, err := edge(r, node, true)
	if err != nil {
		return 0, err
	}
	lo, hi := low.seq, high.seq+1
	for lo < hi {
		mid := lo + (hi-lo)/2
		h, ok, err := head(r, driver.Range{Lower: blockKey(node, mid), Upper: blockKey(node, hi)})
		if err != nil {
			return 0, err
		}
		if !ok || h.time >= t {
			hi = mid
		} else {
			lo = h.seq + 1
		}
	}
	return lo, nil
}

// edge returns the first or last block of node.
func edge(r driver.Reader, node [8]byte, last bool) (blockHead, bool, error) {
	prefix := append([]byte{spaceJournal}, node[:]...)
	return head(r, driver.Range{Lower: prefix, Upper: after(prefix), Reverse: last})
}

func head(r driver.Reader, rng driver.Range) (blockHead, bool, error) {
	rng.Limit = 1
	for p, err := range r.Scan(rng) {
		if err != nil {
			return blockHead{}, false, err
		}
		h, err := parseHead(p.Key, p.Value)
		return h, err == nil, err
	}
	return blockHead{}, false, nil
}

// journalNodes lists the nodes that have blocks, by seeking from one to the next.
func journalNodes(r driver.Reader) ([][8]byte, error) {
	var nodes [][8]byte
	end := []byte{spaceJournal + 1}
	for lower := []byte{spaceJournal}; bytes.Compare(lower, end) < 0; {
		h, ok, err := head(r, driver.Range{Lower: lower, Upper: end})
		if err != nil || !ok {
			return nodes, err
		}
		nodes = append(nodes, h.node)
		lower = after(append([]byte{spaceJournal}, h.node[:]...))
	}
	return nodes, nil
}

// cursor is the place of a record in the order of Scan.
type cursor struct {
	time  int64
	node  [8]byte
	seq   uint64
	index uint32
}

const cursorSize = 28

func (c cursor) encode() []byte {
	b := make([]byte, 0, cursorSize)
	b = binary.BigEndian.AppendUint64(b, uint64(c.time))
	b = append(b, c.node[:]...)
	b = binary.BigEndian.AppendUint64(b, c.seq)
	return binary.BigEndian.AppendUint32(b, c.index)
}

func parseCursor(b []byte) (*cursor, error) {
	if b == nil {
		return nil, nil
	}
	if len(b) != cursorSize {
		return nil, ErrBadCursor
	}
	c := &cursor{
		time:  int64(binary.BigEndian.Uint64(b)),
		seq:   binary.BigEndian.Uint64(b[16:]),
		index: binary.BigEndian.Uint32(b[24:]),
	}
	copy(c.node[:], b[8:16])
	return c, nil
}
