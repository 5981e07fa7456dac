package store

import (
	"encoding/binary"
	"fmt"
)

// rowVersion is the version of row values, index entries and epochs.
const rowVersion = 1

// rowAAD binds a value to its class, its raw key and its format version.
func rowAAD(version byte, class string, raw []byte) []byte {
	b := make([]byte, 0, 1+2+len(class)+len(raw))
	b = append(b, version)
	b = binary.BigEndian.AppendUint16(b, uint16(len(class)))
	b = append(b, class...)
	return append(b, raw...)
}

func (s *Store) sealRow(class string, raw, plaintext []byte) ([]byte, error) {
	sealed, err := s.sealer.Seal(class, rowAAD(rowVersion, class, raw), plaintext)
	if err != nil {
		return nil, fmt.Errorf("seal row of %s: %w", class, err)
	}
	value := make([]byte, 0, 1+len(sealed))
	return append(append(value, rowVersion), sealed...), nil
}

func (s *Store) openRow(class string, raw, value []byte) ([]byte, error) {
	switch {
	case len(value) == 0:
		return nil, fmt.Errorf("open row of %s: %w", class, ErrDamaged)
	case value[0] > rowVersion:
		return nil, fmt.Errorf("open row of %s, version %d: %w", class, value[0], ErrNewerFormat)
	case value[0] != rowVersion:
		return nil, fmt.Errorf("open row of %s, version %d: %w", class, value[0], ErrDamaged)
	}
	plaintext, err := s.sealer.Open(class, rowAAD(rowVersion, class, raw), value[1:])
	if err != nil {
		return nil, fmt.Errorf("open row of %s: %w: %w", class, ErrDamaged, err)
	}
	return plaintext, nil
}
