package segment

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// ID names one segment for ever. It is 48 bits of Unix milliseconds, big
// endian, and 80 random bits, so that identifiers sort by age and a sweeper can
// tell how old an orphan is. It is also the salt of the segment's keys: never
// write two segments under one ID.
type ID [16]byte

// NewID returns a fresh identifier made at the given instant.
func NewID(now time.Time) ID {
	var id ID
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(now.UnixMilli(), 0)))
	copy(id[:6], ms[2:])
	rand.Read(id[6:]) // never fails: crypto/rand ends the process instead
	return id
}

// ParseID reads what String writes: 32 lower-case hexadecimal digits, and
// nothing else.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return ID{}, fmt.Errorf("segment: an ID has %d hexadecimal digits, not %d", 2*len(id), len(s))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("segment: read ID: %w", err)
	}
	if id.String() != s {
		return ID{}, fmt.Errorf("segment: an ID is written in lower case")
	}
	return id, nil
}

// String returns the 32 lower-case hexadecimal digits of id.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Time returns the instant id was made at, in UTC, to the millisecond.
func (id ID) Time() time.Time {
	var ms [8]byte
	copy(ms[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))).UTC()
}

// MarshalText returns what String returns.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(b []byte) error {
	got, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = got
	return nil
}
