package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/sagekeep/sagekeep/internal/store/driver"
)

// index is a secondary index: a row's index keys, each followed by the row's
// own key. Entries hold no secret: whoever forges one gains nothing, because a
// row found through it must name the entry's key itself.
type index[T any] struct {
	name   string
	class  string // of the MACs: class of the table, a slash, name of the index
	prefix []byte
	keys   func(T) []Key
}

// WithIndex keeps a secondary index in the same transaction. keys returns the
// index keys of a row, none when it is not to be found; it must depend on its
// argument alone. Index keys are hashed or ordered as the table is. It panics
// when name is not made of a-z 0-9 . - _ or is taken.
func WithIndex[T any](name string, keys func(T) []Key) TableOption[T] {
	checkName(name)
	return func(t *Table[T]) {
		if t.index(name) != nil {
			panic(fmt.Sprintf("store: second index %q of %s", name, t.class))
		}
		kind := byte(spaceOrdered)
		if t.hashed {
			kind = spaceHashed
		}
		prefix := append([]byte{spaceIndex, kind}, t.class...)
		prefix = append(append(append(prefix, 0), name...), 0)
		t.indexes = append(t.indexes, &index[T]{name: name, class: t.class + "/" + name, prefix: prefix, keys: keys})
	}
}

func (t *Table[T]) index(name string) *index[T] {
	for _, x := range t.indexes {
		if x.name == name {
			return x
		}
	}
	return nil
}

// rawEntry returns the raw index key, or raw prefix, of k.
func (t *Table[T]) rawEntry(s *Store, x *index[T], k Key) []byte {
	b := make([]byte, 0, 128)
	b = append(b, x.prefix...)
	if t.hashed {
		return s.appendHashed(b, x.class, k...)
	}
	return appendTuple(b, k...)
}

// entries returns the index entries of v, each once.
func (t *Table[T]) entries(s *Store, x *index[T], raw []byte, v *T) map[string]struct{} {
	if v == nil {
		return nil
	}
	m := make(map[string]struct{})
	for _, k := range x.keys(*v) {
		entry := append(t.rawEntry(s, x, k), raw[len(t.prefix):]...)
		m[string(entry)] = struct{}{}
	}
	return m
}

func (t *Table[T]) reindex(tx *Tx, raw []byte, was, is *T) error {
	value := binary.AppendUvarint([]byte{rowVersion}, uint64(len(raw)-len(t.prefix)))
	for _, x := range t.indexes {
		gone := t.entries(tx.s, x, raw, was)
		for entry := range t.entries(tx.s, x, raw, is) {
			if _, ok := gone[entry]; ok {
				delete(gone, entry)
				continue
			}
			if err := tx.set([]byte(entry), value); err != nil {
				return fmt.Errorf("index %s: %w", x.name, err)
			}
		}
		for entry := range gone {
			if err := tx.remove([]byte(entry)); err != nil {
				return fmt.Errorf("index %s: %w", x.name, err)
			}
		}
	}
	return nil
}

// ByIndex yields the rows that index name has under prefix, in the order of
// the index. A row with several matching index keys comes once for each.
// Cursors belong to this index.
func (t *Table[T]) ByIndex(tx *Tx, name string, prefix Key, opt ScanOptions) iter.Seq2[Row[T], error] {
	x := t.index(name)
	if x == nil {
		return failed[T](fmt.Errorf("store: %s has no index %q", t.class, name))
	}
	base := func(k Key) []byte { return t.rawEntry(tx.s, x, k) }
	return t.scan(tx, len(x.prefix), base, prefix, opt, func(p driver.Pair) (T, bool, error) {
		return t.follow(tx, x, p)
	})
}

// follow returns the row that an index entry stands for. ok is false when this
// transaction itself took the entry away after the scan began.
func (t *Table[T]) follow(tx *Tx, x *index[T], p driver.Pair) (v T, ok bool, err error) {
	size, err := parseEntry(p.Value)
	if err != nil || size > uint64(len(p.Key)-len(x.prefix)) {
		return v, false, errors.Join(fmt.Errorf("index %s of %s: %w", x.name, t.class, ErrDamaged), err)
	}
	raw := append(bytes.Clone(t.prefix), p.Key[uint64(len(p.Key))-size:]...)
	v, err = t.read(tx, raw)
	if err == nil {
		if _, found := t.entries(tx.s, x, raw, &v)[string(p.Key)]; found {
			return v, true, nil
		}
	} else if !errors.Is(err, ErrNotFound) {
		return v, false, err
	}
	var zero T
	if tx.w != nil {
		if _, err := tx.get(p.Key); errors.Is(err, ErrNotFound) {
			return zero, false, nil
		}
	}
	return zero, false, fmt.Errorf("index %s of %s points to another row: %w", x.name, t.class, ErrDamaged)
}

func parseEntry(value []byte) (uint64, error) {
	if len(value) > 0 && value[0] > rowVersion {
		return 0, ErrNewerFormat
	}
	if len(value) < 2 || value[0] != rowVersion {
		return 0, ErrDamaged
	}
	size, n := binary.Uvarint(value[1:])
	if n != len(value)-1 {
		return 0, ErrDamaged
	}
	return size, nil
}
