package pebblestore

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const category = vfs.WriteCategoryUnspecified

func testFS() (*encryptedFS, *vfs.MemFS) {
	mem := vfs.NewCrashableMem()
	return newEncryptedFS(mem, SingleKey(bytes.Repeat([]byte{9}, keySize))), mem
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestFileLooksPlain(t *testing.T) {
	t.Parallel()
	e, mem := testFS()
	rng := rand.New(rand.NewPCG(1, 2))
	want := make([]byte, 200_000)
	for i := range want {
		want[i] = byte(rng.Uint32())
	}
	f := must[vfs.File](t)(e.Create("a", category))
	for at := 0; at < len(want); {
		n := min(1+rng.IntN(90_000), len(want)-at)
		piece := bytes.Clone(want[at : at+n])
		if m, err := f.Write(piece); m != n || err != nil {
			t.Fatalf("Write = %d, %v", m, err)
		}
		if !bytes.Equal(piece, want[at:at+n]) {
			t.Fatal("Write changed its argument")
		}
		at += n
	}
	if info := must[vfs.FileInfo](t)(f.Stat()); info.Size() != int64(len(want)) {
		t.Errorf("Stat of the open file: %d bytes, want %d", info.Size(), len(want))
	}
	if err := errors.Join(f.Preallocate(0, 10), f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if info := must[vfs.FileInfo](t)(e.Stat("a")); info.Size() != int64(len(want)) {
		t.Errorf("Stat by name: %d bytes, want %d", info.Size(), len(want))
	}
	if info := must[vfs.FileInfo](t)(mem.Stat("a")); info.Size() != int64(len(want))+headerSize {
		t.Errorf("on the disk: %d bytes, want %d", info.Size(), len(want)+headerSize)
	}
	f = must[vfs.File](t)(e.Open("a"))
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want) {
		t.Errorf("ReadAll: %d bytes, %v", len(got), err)
	}
	for range 200 {
		at := rng.IntN(len(want))
		p := make([]byte, 1+rng.IntN(len(want)-at))
		if n, err := f.ReadAt(p, int64(at)); n != len(p) || err != nil || !bytes.Equal(p, want[at:at+n]) {
			t.Fatalf("ReadAt %d bytes at %d: %d, %v", len(p), at, n, err)
		}
	}
	if _, err := f.ReadAt(make([]byte, 10), int64(len(want))-5); !errors.Is(err, io.EOF) {
		t.Errorf("ReadAt over the end: %v, want EOF", err)
	}
}

func TestOpenReadWrite(t *testing.T) {
	t.Parallel()
	e, _ := testFS()
	f := must[vfs.File](t)(e.OpenReadWrite("a", category))
	if _, err := f.WriteAt([]byte("0123456789"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = must[vfs.File](t)(e.OpenReadWrite("a", category))
	if _, err := f.WriteAt([]byte("ab"), 4); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 10)
	if _, err := f.ReadAt(got, 0); err != nil || string(got) != "0123ab6789" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRecycledFileIsUnreadable: what a recycled file held is gone, and the
// same plaintext at the same place gives other bytes.
func TestRecycledFileIsUnreadable(t *testing.T) {
	t.Parallel()
	e, mem := testFS()
	text := bytes.Repeat([]byte("first contents. "), 1000)
	f := must[vfs.File](t)(e.Create("1.log", category))
	if _, err := f.Write(bytes.Clone(text)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(must[[]byte](t)(mem.UnsafeGetFileDataBuffer("1.log")))
	f = must[vfs.File](t)(e.ReuseForWrite("1.log", "2.log", category))
	if _, err := f.Write(bytes.Clone(text[:4096])); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = must[vfs.File](t)(e.Open("2.log"))
	defer f.Close()
	got := must[[]byte](t)(io.ReadAll(f))
	if len(got) > 4096 && bytes.Contains(got[4096:], []byte("contents")) {
		t.Error("old contents of a recycled file can be read")
	}
	if !bytes.Equal(got[:4096], text[:4096]) {
		t.Error("new contents of a recycled file cannot be read")
	}
	now := must[[]byte](t)(mem.UnsafeGetFileDataBuffer("2.log"))
	if bytes.Equal(before[headerSize:headerSize+4096], now[headerSize:headerSize+4096]) {
		t.Error("the recycled file uses the key stream again")
	}
}

func TestUnsyncedFileIsEmpty(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string][]byte{
		"nothing":          {},
		"part of a header": []byte("SGKF\x00\x01"),
		"zeros":            make([]byte, 5000),
	} {
		e, mem := testFS()
		f := must[vfs.File](t)(mem.Create("a", category))
		if _, err := f.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		f = must[vfs.File](t)(e.Open("a"))
		if got, err := io.ReadAll(f); err != nil || len(got) != 0 {
			t.Errorf("%s: read %d bytes, %v, want none", name, len(got), err)
		}
		if info := must[vfs.FileInfo](t)(f.Stat()); info.Size() != 0 {
			t.Errorf("%s: size %d, want 0", name, info.Size())
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzOpenHeader(f *testing.F) {
	keys := SingleKey(bytes.Repeat([]byte{9}, keySize))
	h, _, err := newHeader(keys)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(h)
	f.Add(make([]byte, headerSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 2*headerSize {
			return
		}
		if _, err := openHeader(keys, b); err != nil {
			return
		}
		// A header that opens does not open with any byte changed.
		for i := range b {
			b[i] ^= 1 << (i % 8)
			if _, err := openHeader(keys, b); err == nil {
				t.Fatalf("the header opens with byte %d changed", i)
			}
			b[i] ^= 1 << (i % 8)
		}
	})
}
