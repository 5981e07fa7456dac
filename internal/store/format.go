package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	formatClass = "store.format"

	// layoutVersion covers what docs/formats/rows.md describes as a whole: the
	// spaces of raw keys and the forms within them.
	layoutVersion = 1
)

// Prepare reads the format row, and writes it into an empty store. Call it
// once at start, before anything else.
//
// Errors: ErrNewerFormat when a newer program wrote the rows; ErrDamaged when
// they were sealed under another keyring.
func (s *Store) Prepare(ctx context.Context) error {
	raw := append([]byte{spaceMeta}, "format"...)
	check := func(tx *Tx) error {
		value, err := tx.get(raw)
		if err != nil {
			return err
		}
		b, err := s.openRow(formatClass, raw, value)
		if err != nil {
			return err
		}
		if len(b) != 4 {
			return ErrDamaged
		}
		if v := binary.BigEndian.Uint32(b); v > layoutVersion {
			return fmt.Errorf("%w: rows have layout %d, this program knows %d", ErrNewerFormat, v, layoutVersion)
		}
		return nil
	}
	err := s.View(ctx, check)
	if errors.Is(err, ErrNotFound) {
		err = s.Update(ctx, func(tx *Tx) error {
			if err := check(tx); !errors.Is(err, ErrNotFound) {
				return err
			}
			value, err := s.sealRow(formatClass, raw, binary.BigEndian.AppendUint32(nil, layoutVersion))
			if err != nil {
				return err
			}
			return tx.set(raw, value)
		})
	}
	if err != nil {
		return fmt.Errorf("check the format of the rows: %w", err)
	}
	return nil
}
