package store

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"github.com/sagekeep/sagekeep/internal/store/driver"
)

// Row is one row of a scan.
type Row[T any] struct {
	Value T

	// Cursor continues the scan behind this row when given as ScanOptions.After.
	// It may hold names in the clear: seal it before a client gets it.
	Cursor []byte
}

// ScanOptions narrows a scan. The zero value yields every row below the prefix.
type ScanOptions struct {
	After   []byte // go on behind the row with this cursor, in the scan's direction
	Limit   int    // most rows to yield; 0 means all
	Reverse bool   // highest key first

	// From starts at this key or the next one in the scan's direction. Only for
	// ordered tables.
	From Key

	// StartsWith keeps rows whose component after the prefix begins with this
	// string. Only for ordered tables.
	StartsWith string
}

// Scan yields the rows whose key begins with the components of prefix, in key
// order. In an Update it shows the writes made before the loop began. After an
// error nothing more is yielded.
func (t *Table[T]) Scan(tx *Tx, prefix Key, opt ScanOptions) iter.Seq2[Row[T], error] {
	base := func(k Key) []byte { return t.raw(tx.s, k) }
	return t.scan(tx, len(t.prefix), base, prefix, opt, func(p driver.Pair) (T, bool, error) {
		v, err := t.open(tx, p.Key, p.Value)
		return v, true, err
	})
}

// Page is a limited part of a scan.
type Page[T any] struct {
	Values []T
	Next   []byte // cursor for ScanOptions.After, nil when there is no more
}

// Page collects the rows of Scan up to opt.Limit, and where to go on.
func (t *Table[T]) Page(tx *Tx, prefix Key, opt ScanOptions) (Page[T], error) {
	return page(opt, func(o ScanOptions) iter.Seq2[Row[T], error] { return t.Scan(tx, prefix, o) })
}

// PageByIndex collects the rows of ByIndex up to opt.Limit, and where to go on.
func (t *Table[T]) PageByIndex(tx *Tx, name string, prefix Key, opt ScanOptions) (Page[T], error) {
	return page(opt, func(o ScanOptions) iter.Seq2[Row[T], error] { return t.ByIndex(tx, name, prefix, o) })
}

func page[T any](opt ScanOptions, scan func(ScanOptions) iter.Seq2[Row[T], error]) (Page[T], error) {
	limit := opt.Limit
	if limit > 0 {
		opt.Limit++ // one more, to know whether there is a next page
	}
	var p Page[T]
	var last []byte
	for row, err := range scan(opt) {
		if err != nil {
			return Page[T]{}, err
		}
		if limit > 0 && len(p.Values) == limit {
			p.Next = last
			break
		}
		p.Values = append(p.Values, row.Value)
		last = row.Cursor
	}
	return p, nil
}

// scan walks the raw keys below prefix. base encodes a tuple behind the first
// head bytes, which are the table's or the index's own.
func (t *Table[T]) scan(tx *Tx, head int, base func(Key) []byte, prefix Key, opt ScanOptions,
	open func(driver.Pair) (T, bool, error),
) iter.Seq2[Row[T], error] {
	return func(yield func(Row[T], error) bool) {
		if tx.done {
			yield(Row[T]{}, errTxDone)
			return
		}
		r, err := t.bounds(head, base, prefix, opt)
		if err != nil {
			yield(Row[T]{}, fmt.Errorf("scan %s: %w", t.class, err))
			return
		}
		if r.Upper != nil && bytes.Compare(r.Lower, r.Upper) >= 0 {
			return
		}
		n := 0
		for p, err := range tx.r.Scan(r) {
			var v T
			ok := false
			if err == nil {
				v, ok, err = open(p)
			}
			if err != nil {
				yield(Row[T]{}, fmt.Errorf("scan %s: %w", t.class, err))
				return
			}
			if !ok {
				continue
			}
			n++
			if !yield(Row[T]{Value: v, Cursor: bytes.Clone(p.Key)}, nil) || n == opt.Limit {
				return
			}
		}
	}
}

func (t *Table[T]) bounds(head int, base func(Key) []byte, prefix Key, opt ScanOptions) (driver.Range, error) {
	if t.hashed && (opt.From != nil || opt.StartsWith != "") {
		return driver.Range{}, errors.New("store: From and StartsWith need an ordered table")
	}
	lower := base(prefix)
	lower = appendEscaped(lower, opt.StartsWith)
	r := driver.Range{Lower: lower, Upper: after(lower), Reverse: opt.Reverse}
	if opt.From != nil {
		from := base(opt.From)
		if opt.Reverse {
			r.Upper = lesser(r.Upper, after(from))
		} else {
			r.Lower = greater(r.Lower, from)
		}
	}
	if opt.After != nil {
		if len(opt.After) < head || !bytes.Equal(opt.After[:head], lower[:head]) {
			return driver.Range{}, ErrBadCursor
		}
		if opt.Reverse {
			r.Upper = lesser(r.Upper, opt.After)
		} else {
			r.Lower = greater(r.Lower, append(bytes.Clone(opt.After), 0))
		}
	}
	return r, nil
}

func lesser(a, b []byte) []byte {
	if bytes.Compare(a, b) < 0 {
		return a
	}
	return b
}

func greater(a, b []byte) []byte {
	if bytes.Compare(a, b) > 0 {
		return a
	}
	return b
}

func failed[T any](err error) iter.Seq2[Row[T], error] {
	return func(yield func(Row[T], error) bool) { yield(Row[T]{}, err) }
}
