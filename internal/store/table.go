package store

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Table is a typed view of the rows of one class. It holds no rows itself: one
// value serves every Store and may be used concurrently.
type Table[T any] struct {
	class   string
	hashed  bool
	prefix  []byte
	indexes []*index[T]
	encode  func(T) ([]byte, error)
	decode  func([]byte) (T, error)
}

// TableOption changes a table while it is made.
type TableOption[T any] func(*Table[T])

// Hashed returns the table of class whose key components are stored as MACs:
// nothing of a key can be read from the engine. Scans by leading components
// work; the order of the rows is arbitrary but stable. It panics when class is
// not made of a-z 0-9 . - _.
func Hashed[T any](class string, opts ...TableOption[T]) *Table[T] {
	return newTable(class, true, opts)
}

// Ordered returns the table of class whose rows sort by their key, component
// by component, bytewise. It panics as Hashed does.
func Ordered[T any](class string, opts ...TableOption[T]) *Table[T] {
	return newTable(class, false, opts)
}

func newTable[T any](class string, hashed bool, opts []TableOption[T]) *Table[T] {
	checkName(class)
	space := byte(spaceOrdered)
	if hashed {
		space = spaceHashed
	}
	t := &Table[T]{
		class:  class,
		hashed: hashed,
		prefix: append(append([]byte{space}, class...), 0),
		encode: func(v T) ([]byte, error) { return json.Marshal(v) },
		decode: func(b []byte) (v T, err error) { return v, json.Unmarshal(b, &v) },
	}
	for _, opt := range opts {
		opt(t)
	}
	return t
}

// WithCodec replaces JSON as the form in which values are sealed. decode may
// keep its argument.
func WithCodec[T any](encode func(T) ([]byte, error), decode func([]byte) (T, error)) TableOption[T] {
	return func(t *Table[T]) { t.encode, t.decode = encode, decode }
}

// Class returns the class that the table was made with.
func (t *Table[T]) Class() string { return t.class }

// Get returns the row under k, or an error that is ErrNotFound.
func (t *Table[T]) Get(tx *Tx, k ...string) (T, error) {
	raw := t.raw(tx.s, k)
	v, err := t.read(tx, raw)
	if err != nil {
		var zero T
		return zero, fmt.Errorf("get %s: %w", t.class, err)
	}
	return v, nil
}

// Exists reports whether there is a row under k, without opening it.
func (t *Table[T]) Exists(tx *Tx, k ...string) (bool, error) {
	_, err := tx.get(t.raw(tx.s, k))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", t.class, err)
	}
	return true, nil
}

// Put stores v under k, in place of any row there, and keeps the indexes.
func (t *Table[T]) Put(tx *Tx, v T, k ...string) error {
	if err := t.put(tx, v, k); err != nil {
		return fmt.Errorf("put %s: %w", t.class, err)
	}
	return nil
}

func (t *Table[T]) put(tx *Tx, v T, k []string) error {
	if len(k) == 0 {
		return errors.New("empty key")
	}
	if err := tx.writable(); err != nil {
		return err
	}
	raw := t.raw(tx.s, k)
	plaintext, err := t.encode(v)
	if err != nil {
		return err
	}
	value, err := tx.s.sealRow(t.class, raw, plaintext)
	if err != nil {
		return err
	}
	if len(t.indexes) > 0 {
		old, err := t.read(tx, raw)
		switch {
		case errors.Is(err, ErrNotFound):
			err = t.reindex(tx, raw, nil, &v)
		case err == nil:
			err = t.reindex(tx, raw, &old, &v)
		}
		if err != nil {
			return err
		}
	}
	return tx.set(raw, value)
}

// Delete removes the row under k and its index entries. A missing row is no
// error.
func (t *Table[T]) Delete(tx *Tx, k ...string) error {
	if err := t.remove(tx, k); err != nil {
		return fmt.Errorf("delete %s: %w", t.class, err)
	}
	return nil
}

func (t *Table[T]) remove(tx *Tx, k []string) error {
	if err := tx.writable(); err != nil {
		return err
	}
	raw := t.raw(tx.s, k)
	if len(t.indexes) > 0 {
		old, err := t.read(tx, raw)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := t.reindex(tx, raw, &old, nil); err != nil {
			return err
		}
	}
	return tx.remove(raw)
}

func (t *Table[T]) read(tx *Tx, raw []byte) (T, error) {
	value, err := tx.get(raw)
	if err != nil {
		var zero T
		return zero, err
	}
	return t.open(tx, raw, value)
}

func (t *Table[T]) open(tx *Tx, raw, value []byte) (T, error) {
	var zero T
	plaintext, err := tx.s.openRow(t.class, raw, value)
	if err != nil {
		return zero, err
	}
	v, err := t.decode(plaintext)
	if err != nil {
		return zero, fmt.Errorf("decode row of %s: %w: %w", t.class, ErrDamaged, err)
	}
	return v, nil
}

// raw returns the raw key, or the raw prefix, of k.
func (t *Table[T]) raw(s *Store, k []string) []byte {
	b := make([]byte, 0, 96)
	b = append(b, t.prefix...)
	if t.hashed {
		return s.appendHashed(b, t.class, k...)
	}
	return appendTuple(b, k...)
}
