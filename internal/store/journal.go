package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/s2"

	"github.com/sagekeep/sagekeep/internal/store/driver"
)

const (
	journalClass   = "store.journal"
	journalVersion = 1
	journalHeader  = 14 // bytes before the sealed part of a block

	codecPlain = 0
	codecS2    = 1

	// MaxEntry is the size limit, in bytes, of the entries of one Append or one
	// Update together.
	MaxEntry = 16 << 20

	// A block is closed to further entries when its payload is this long.
	blockBytes = 1 << 20
	maxPayload = blockBytes + MaxEntry
)

// Entry is one encoded audit record. The journal does not look into it.
type Entry = []byte

// Journal is the append-only list of audit records of one node. Its order is
// the order of commits, together with those of Update (see WithPending).
type Journal struct {
	s    *Store
	node [8]byte

	// token is held by the one caller that commits a block; while it waits for
	// the sync, the next block gathers.
	token sync.Mutex
	room  []byte // memory to compress in; under token

	mu      sync.Mutex
	filling *group
	spare   []byte // payload memory of a block that is done

	loaded atomic.Bool
	load   sync.Mutex

	// Under the driver's commit order: touched inside Update and Apply only.
	at struct {
		sync.Mutex
		next uint64 // sequence of the next block
		last int64  // commit time of the last block, µs
	}
}

// group is the block that waiting callers of Append share.
type group struct {
	block block
	done  chan struct{}
	err   error
}

func newJournal(s *Store, node [8]byte) *Journal { return &Journal{s: s, node: node} }

// Append adds entries, in their order, and returns when they are durable. Any
// number of callers share one block and one sync. The slices may be reused
// when it has returned. When ctx ends first the entries may or may not be kept.
//
// Errors: ErrFull before anything is written, when even the space kept for
// records is used up; ErrClosed. Inside a transaction it fails at once: its own
// commit would wait for the transaction that waits for it.
func (j *Journal) Append(ctx context.Context, entries ...Entry) error {
	if len(entries) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if j.s.joined(ctx) != nil {
		return errInsideTx
	}
	if err := j.s.space.checkRecord(); err != nil {
		return err
	}
	if err := j.ready(ctx); err != nil {
		return err
	}
	size := 0
	for _, e := range entries {
		if size += binary.MaxVarintLen32 + len(e); size > MaxEntry {
			return errEntryTooLong
		}
	}
	g, first := j.join(entries)
	if first {
		j.commit(g)
		return g.err
	}
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join copies entries into the block that is gathering. The caller that opens
// a block must commit it.
func (j *Journal) join(entries []Entry) (g *group, first bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	g = j.filling
	if g == nil || len(g.block.payload) >= blockBytes {
		g = &group{done: make(chan struct{})}
		g.block.payload, j.spare = j.spare, nil
		j.filling = g
		first = true
	}
	for _, e := range entries {
		g.block.add(e)
	}
	return g, first
}

func (j *Journal) commit(g *group) {
	j.token.Lock()
	defer j.token.Unlock()
	j.mu.Lock()
	if j.filling == g {
		j.filling = nil
	}
	j.mu.Unlock()
	defer close(g.done)
	g.err = errors.New("store: journal commit did not finish") // stands if Apply panics
	if j.room = g.block.compress(j.room); cap(j.room) > 2*blockBytes {
		defer func() { j.room = nil }()
	}
	// The other callers' records must not depend on this caller's context.
	g.err = j.s.d.Apply(context.Background(), func(w driver.Writer) error {
		return j.write(w, &g.block)
	})
	if cap(g.block.payload) <= 2*blockBytes {
		j.mu.Lock()
		j.spare = g.block.payload[:0]
		j.mu.Unlock()
	}
}

// write puts b at the next sequence. It runs inside Update or Apply.
func (j *Journal) write(w driver.Writer, b *block) error {
	j.at.Lock()
	defer j.at.Unlock()
	t := max(j.s.now().UnixMicro(), j.at.last)
	key := blockKey(j.node, j.at.next)
	value, err := b.seal(j.s.sealer, key, t)
	if err != nil {
		return err
	}
	if err := w.Set(key, value); err != nil {
		return fmt.Errorf("append to journal: %w", err)
	}
	j.at.next++
	j.at.last = t
	return nil
}

// ready finds the end of the journal, once.
func (j *Journal) ready(ctx context.Context) error {
	if j.loaded.Load() {
		return nil
	}
	j.load.Lock()
	defer j.load.Unlock()
	if j.loaded.Load() {
		return nil
	}
	err := j.s.d.View(ctx, func(r driver.Reader) error {
		last, ok, err := edge(r, j.node, true)
		if err != nil || !ok {
			return err
		}
		j.at.Lock()
		defer j.at.Unlock()
		j.at.next, j.at.last = last.seq+1, last.time
		return nil
	})
	if err != nil {
		return fmt.Errorf("find the end of the journal: %w", err)
	}
	j.loaded.Store(true)
	return nil
}

var errEntryTooLong = fmt.Errorf("store: journal entries of one commit are longer than %d bytes", MaxEntry)

// block is the unit of the journal: entries that were committed together.
type block struct {
	payload []byte // each entry after its length
	count   uint32
	codec   byte
	packed  []byte // payload as codec has it
}

// errInsideTx is returned where waiting would never end.
var errInsideTx = errors.New("store: journal append inside a transaction; give the entries to its commit (WithPending)")

// blockStart is the first size of a block's payload: a few records.
const blockStart = 8 << 10

func (b *block) add(e Entry) {
	if b.payload == nil {
		b.payload = make([]byte, 0, max(blockStart, len(e)+binary.MaxVarintLen32))
	}
	b.payload = binary.AppendUvarint(b.payload, uint64(len(e)))
	b.payload = append(b.payload, e...)
	b.count++
}

// compress uses room, or new memory when that is too small, and returns what it
// used: not to be written to while b.packed is needed.
func (b *block) compress(room []byte) []byte {
	b.codec, b.packed = codecPlain, b.payload
	if len(b.payload) < 256 {
		return room
	}
	p := s2.Encode(room, b.payload)
	if len(p) < len(b.payload) {
		b.codec, b.packed = codecS2, p
	}
	return p[:0]
}

func (b *block) seal(s Sealer, key []byte, t int64) ([]byte, error) {
	header := make([]byte, 0, journalHeader)
	header = append(header, journalVersion, b.codec)
	header = binary.BigEndian.AppendUint64(header, uint64(t))
	header = binary.BigEndian.AppendUint32(header, b.count)
	sealed, err := s.Seal(journalClass, blockAAD(key, header), b.packed)
	if err != nil {
		return nil, fmt.Errorf("seal journal block: %w", err)
	}
	return append(header[:journalHeader:journalHeader], sealed...), nil
}

func blockAAD(key, header []byte) []byte {
	return append(rowAAD(journalVersion, journalClass, key), header...)
}

func blockKey(node [8]byte, seq uint64) []byte {
	b := make([]byte, 0, 17)
	b = append(b, spaceJournal)
	b = append(b, node[:]...)
	return binary.BigEndian.AppendUint64(b, seq)
}

// blockHead is what can be known of a block without opening it.
type blockHead struct {
	node  [8]byte
	seq   uint64
	time  int64 // commit time, µs
	codec byte
	count uint32
}

func parseHead(key, value []byte) (blockHead, error) {
	var h blockHead
	if len(key) != 17 || key[0] != spaceJournal || len(value) == 0 {
		return h, fmt.Errorf("journal block: %w", ErrDamaged)
	}
	if value[0] > journalVersion {
		return h, fmt.Errorf("journal block, version %d: %w", value[0], ErrNewerFormat)
	}
	if value[0] != journalVersion || len(value) < journalHeader || value[1] > codecS2 {
		return h, fmt.Errorf("journal block: %w", ErrDamaged)
	}
	copy(h.node[:], key[1:9])
	h.seq = binary.BigEndian.Uint64(key[9:])
	h.codec = value[1]
	h.time = int64(binary.BigEndian.Uint64(value[2:]))
	h.count = binary.BigEndian.Uint32(value[10:])
	return h, nil
}

// openBlock returns the entries of a stored block.
func openBlock(s Sealer, key, value []byte) (blockHead, []Entry, error) {
	h, err := parseHead(key, value)
	if err != nil {
		return h, nil, err
	}
	packed, err := s.Open(journalClass, blockAAD(key, value[:journalHeader]), value[journalHeader:])
	if err != nil {
		return h, nil, fmt.Errorf("open journal block %d: %w: %w", h.seq, ErrDamaged, err)
	}
	entries, err := unpack(h.codec, packed, h.count)
	if err != nil {
		return h, nil, fmt.Errorf("open journal block %d: %w", h.seq, err)
	}
	return h, entries, nil
}

func unpack(codec byte, packed []byte, count uint32) ([]Entry, error) {
	payload := packed
	if codec == codecS2 {
		n, err := s2.DecodedLen(packed)
		if err != nil || n > maxPayload {
			return nil, ErrDamaged
		}
		if payload, err = s2.Decode(nil, packed); err != nil {
			return nil, ErrDamaged
		}
	}
	var entries []Entry
	for len(payload) > 0 {
		size, n := binary.Uvarint(payload)
		if n <= 0 || size > uint64(len(payload)-n) {
			return nil, ErrDamaged
		}
		end := n + int(size)
		entries = append(entries, payload[n:end:end])
		payload = payload[end:]
	}
	if uint64(len(entries)) != uint64(count) {
		return nil, ErrDamaged
	}
	return entries, nil
}
