package segment_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sagekeep/sagekeep/internal/envelope/segment"
	"github.com/sagekeep/sagekeep/internal/secret"
)

const chunk = segment.ChunkSize

var bucket = []byte("111122223333|b-1|object")

func oneLayer() segment.Keys { return segment.Keys{Service: secret.Random()} }
func twoLayers() segment.Keys {
	return segment.Keys{Service: secret.Random(), Customer: secret.Random()}
}

// layering runs test with keys for one layer and for two.
func layering(t *testing.T, test func(t *testing.T, keys segment.Keys)) {
	t.Helper()
	for _, keys := range []segment.Keys{oneLayer(), twoLayers()} {
		t.Run(fmt.Sprintf("%d layers", keys.Layers()), func(t *testing.T) {
			t.Parallel()
			test(t, keys)
		})
	}
}

// pattern returns n bytes that differ from chunk to chunk.
func pattern(n int64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

func seal(t testing.TB, id segment.ID, keys segment.Keys, context, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := segment.NewWriter(&out, id, keys, context)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// open reads a whole segment in all three ways, which must agree.
func open(sealed []byte, id segment.ID, keys segment.Keys, context []byte) ([]byte, error) {
	r, err := segment.OpenReader(bytes.NewReader(sealed), int64(len(sealed)), id, keys, context)
	if err != nil {
		return nil, err
	}
	var viaWriteTo bytes.Buffer
	if _, err := io.Copy(&viaWriteTo, r.Section(0, r.Size())); err != nil {
		return nil, err
	}
	viaRead, err := io.ReadAll(struct{ io.Reader }{r.Section(0, r.Size())})
	if err != nil {
		return nil, fmt.Errorf("Read fails where WriteTo works: %w", err)
	}
	viaReadAt := make([]byte, r.Size())
	if n, err := r.ReadAt(viaReadAt, 0); int64(n) != r.Size() || (err != nil && err != io.EOF) {
		return nil, fmt.Errorf("ReadAt fails where WriteTo works: %d, %w", n, err)
	}
	if !bytes.Equal(viaRead, viaReadAt) || !bytes.Equal(viaRead, viaWriteTo.Bytes()) {
		return nil, errors.New("Read, ReadAt and WriteTo differ")
	}
	return viaRead, nil
}

var lengths = []int64{0, 1, 15, 16, chunk - 1, chunk, chunk + 1, 2*chunk - 1, 2 * chunk, 2*chunk + 1, 5*chunk + 77}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	layering(t, func(t *testing.T, keys segment.Keys) {
		for _, n := range lengths {
			plain := pattern(n)
			id := segment.NewID(time.Now())
			sealed := seal(t, id, keys, bucket, plain)
			if want := segment.SealedSize(n, keys.Layers()); int64(len(sealed)) != want {
				t.Errorf("%d bytes: sealed length %d, SealedSize says %d", n, len(sealed), want)
			}
			got, err := open(sealed, id, keys, bucket)
			if err != nil {
				t.Fatalf("%d bytes: %v", n, err)
			}
			if !bytes.Equal(got, plain) {
				t.Errorf("%d bytes: other bytes came back", n)
			}
		}
	})
}

func TestWriterTakesAnyPieces(t *testing.T) {
	t.Parallel()
	layering(t, func(t *testing.T, keys segment.Keys) {
		for _, n := range lengths {
			plain := pattern(n)
			for name, feed := range map[string]func(*segment.Writer) error{
				"odd writes": func(w *segment.Writer) error {
					for rest := plain; len(rest) > 0; {
						k := min(len(rest), 12_345)
						if _, err := w.Write(rest[:k]); err != nil {
							return err
						}
						rest = rest[k:]
					}
					return nil
				},
				"a byte, then all": func(w *segment.Writer) error {
					k := min(1, len(plain))
					w.Write(plain[:k])
					_, err := w.Write(plain[k:])
					return err
				},
				"ReadFrom": func(w *segment.Writer) error {
					_, err := w.ReadFrom(bytes.NewReader(plain))
					return err
				},
				"ReadFrom half reads": func(w *segment.Writer) error {
					_, err := w.ReadFrom(iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(plain))))
					return err
				},
				"Write then ReadFrom": func(w *segment.Writer) error {
					k := min(chunk, len(plain))
					w.Write(plain[:k])
					_, err := w.ReadFrom(bytes.NewReader(plain[k:]))
					return err
				},
			} {
				var out bytes.Buffer
				id := segment.NewID(time.Now())
				w, err := segment.NewWriter(&out, id, keys, bucket)
				if err != nil {
					t.Fatal(err)
				}
				if err := feed(w); err != nil {
					t.Fatalf("%s, %d bytes: %v", name, n, err)
				}
				if w.Size() != n {
					t.Errorf("%s, %d bytes: Size() = %d", name, n, w.Size())
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				if err := w.Close(); err != nil {
					t.Errorf("second Close: %v", err)
				}
				if got, err := open(out.Bytes(), id, keys, bucket); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%s, %d bytes: %d came back, %v", name, n, len(got), err)
				}
			}
		}
	})
}

func TestRanges(t *testing.T) {
	t.Parallel()
	layering(t, func(t *testing.T, keys segment.Keys) {
		const size = 3*chunk + 100
		plain := pattern(size)
		id := segment.NewID(time.Now())
		sealed := seal(t, id, keys, bucket, plain)
		r, err := segment.OpenReader(bytes.NewReader(sealed), int64(len(sealed)), id, keys, bucket)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		edges := []int64{0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 3*chunk - 1, 3 * chunk, size - 1, size}
		for _, from := range edges {
			for _, to := range edges {
				if to < from {
					continue
				}
				wg.Go(func() {
					got, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(r.Section(from, to-from), 3)))
					if want := plain[from:min(to, from+3)]; err != nil || !bytes.Equal(got, want) {
						t.Errorf("Section(%d, %d) byte by byte: %x, want %x, %v", from, to-from, got, want, err)
					}
					got, err = io.ReadAll(r.Section(from, to-from))
					if err != nil || !bytes.Equal(got, plain[from:to]) {
						t.Errorf("Section(%d, %d): %d bytes, %v", from, to-from, len(got), err)
					}
					p := make([]byte, to-from)
					if n, err := r.ReadAt(p, from); from < size && (n != len(p) || err != nil || !bytes.Equal(p, plain[from:to])) {
						t.Errorf("ReadAt(%d, %d): %d, %v", len(p), from, n, err)
					}
				})
			}
		}
		p := make([]byte, 10)
		if n, err := r.ReadAt(p, size-4); n != 4 || err != io.EOF {
			t.Errorf("ReadAt over the end: %d, %v, want 4, EOF", n, err)
		}
		if n, err := r.ReadAt(p, size); n != 0 || err != io.EOF {
			t.Errorf("ReadAt at the end: %d, %v, want 0, EOF", n, err)
		}
		if _, err := r.ReadAt(p, -1); err == nil || err == io.EOF {
			t.Errorf("ReadAt(-1): %v", err)
		}
		for _, bad := range [][2]int64{{-1, 1}, {0, -1}, {0, size + 1}, {size, 1}, {1, 1<<63 - 1}} {
			if got, err := io.ReadAll(r.Section(bad[0], bad[1])); err == nil || len(got) != 0 {
				t.Errorf("Section(%d, %d): %d bytes, %v, want an error", bad[0], bad[1], len(got), err)
			}
		}
		if r.Size() != size || r.ID() != id {
			t.Errorf("Size() = %d, ID() = %s", r.Size(), r.ID())
		}
	})
}

// TestTamper changes whole segments. No change may open, not even in a part
// that is read alone.
func TestTamper(t *testing.T) {
	t.Parallel()
	layering(t, func(t *testing.T, keys segment.Keys) {
		id, other := segment.NewID(time.Now()), segment.NewID(time.Now())
		head := int(segment.SealedSize(0, keys.Layers())) - 28*keys.Layers()
		step := chunk + 28*keys.Layers()
		plain := pattern(3*chunk + 50)
		sealed := seal(t, id, keys, bucket, plain)
		sibling := seal(t, other, keys, bucket, plain) // same keys, another segment
		again := seal(t, id, keys, bucket, pattern(3*chunk+51))
		at := func(i int) []byte { return sealed[head+i*step : min(len(sealed), head+(i+1)*step)] }
		join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
		for _, tc := range []struct {
			name string
			b    []byte
			want error
		}{
			{"empty", nil, segment.ErrDamaged},
			{"half a header", sealed[:20], segment.ErrDamaged},
			{"header alone", sealed[:head], segment.ErrDamaged},
			{"cut by a byte", sealed[:len(sealed)-1], segment.ErrDamaged},
			{"cut inside the last nonce", sealed[:head+3*step+5], segment.ErrDamaged},
			{"last chunk cut to nothing", sealed[:head+3*step+28*keys.Layers()], segment.ErrDamaged},
			{"cut at a chunk", sealed[:head+3*step], segment.ErrDamaged},
			{"cut to one chunk", sealed[:head+step], segment.ErrDamaged},
			{"a byte more", join(sealed, []byte{0}), segment.ErrDamaged},
			{"last chunk twice", join(sealed, at(3)), segment.ErrDamaged},
			{"first chunk twice", join(sealed[:head], at(0), at(0), at(2), at(3)), segment.ErrDamaged},
			{"chunk repeated inside", join(sealed[:head], at(0), at(1), at(1), at(2), at(3)), segment.ErrDamaged},
			{"chunk dropped", join(sealed[:head], at(0), at(2), at(3)), segment.ErrDamaged},
			{"chunks exchanged", join(sealed[:head], at(1), at(0), at(2), at(3)), segment.ErrDamaged},
			{"final chunk first", join(sealed[:head], at(3), at(0), at(1), at(2)), segment.ErrDamaged},
			{"chunk of a sibling", join(sealed[:head+step], sibling[head+step:head+2*step], at(2), at(3)), segment.ErrDamaged},
			{"header of a sibling", join(sibling[:head], sealed[head:]), segment.ErrDamaged},
			{"the sibling whole", sibling, segment.ErrDamaged},
			{"tail of other contents under one ID", join(sealed[:head+3*step], again[head+3*step:len(again)-1]), segment.ErrDamaged},
			{"version 0", flip(sealed, 4, 1), segment.ErrDamaged},
			{"version 2", flip(sealed, 4, 3), segment.ErrUnsupported},
			{"another suite", flip(sealed, 5, 2), segment.ErrUnsupported},
			{"another chunk size", flip(sealed, 6, 1), segment.ErrUnsupported},
			{"no layers", flip(sealed, 7, byte(keys.Layers())), segment.ErrUnsupported},
			{"other number of layers", flip(sealed, 7, 3), segment.ErrWrongKey},
			{"reserved byte", flip(sealed, 9, 1), segment.ErrDamaged},
			{"service commitment", flip(sealed, 33, 1), segment.ErrWrongKey},
			{"last commitment", flip(sealed, head-1, 1), segment.ErrWrongKey},
		} {
			if got, err := open(tc.b, id, keys, bucket); !errors.Is(err, tc.want) {
				t.Errorf("%s: %d bytes, error %v, want %v", tc.name, len(got), err, tc.want)
			}
		}
	})
}

func flip(b []byte, at int, mask byte) []byte {
	b = bytes.Clone(b)
	b[at] ^= mask
	return b
}

func TestEveryBitCounts(t *testing.T) {
	t.Parallel()
	layering(t, func(t *testing.T, keys segment.Keys) {
		id := segment.NewID(time.Now())
		sealed := seal(t, id, keys, bucket, []byte("short"))
		for bit := range len(sealed) * 8 {
			if _, err := open(flip(sealed, bit/8, 1<<(bit%8)), id, keys, bucket); err == nil {
				t.Errorf("opens with bit %d of byte %d changed", bit%8, bit/8)
			}
		}
	})
}

// TestNothingUnverified reads a segment with one bad chunk: what lies before it
// comes, what lies in it does not.
func TestNothingUnverified(t *testing.T) {
	t.Parallel()
	layering(t, func(t *testing.T, keys segment.Keys) {
		plain := pattern(4 * chunk)
		id := segment.NewID(time.Now())
		step := chunk + 28*keys.Layers()
		sealed := seal(t, id, keys, bucket, plain)
		bad := flip(sealed, len(sealed)-3*step+1000, 1) // in chunk 1
		r, err := segment.OpenReader(bytes.NewReader(bad), int64(len(bad)), id, keys, bucket)
		if err != nil {
			t.Fatal(err)
		}
		check := func(how string, got []byte, err error) {
			t.Helper()
			if !errors.Is(err, segment.ErrDamaged) || !bytes.Equal(got, plain[:chunk]) {
				t.Errorf("%s: %d bytes, %v, want the first chunk and ErrDamaged", how, len(got), err)
			}
		}
		got, err := io.ReadAll(struct{ io.Reader }{r.Section(0, r.Size())})
		check("Read", got, err)
		var out bytes.Buffer
		_, err = io.Copy(&out, r.Section(0, r.Size()))
		check("WriteTo", out.Bytes(), err)
		p := make([]byte, 4*chunk)
		n, err := r.ReadAt(p, 0)
		check("ReadAt", p[:n], err)
		if !bytes.Equal(p[chunk:], make([]byte, 3*chunk)) {
			t.Error("ReadAt left unverified bytes in the buffer")
		}
		if _, err := r.ReadAt(p[:chunk], 2*chunk); err != nil {
			t.Errorf("the chunk after the bad one: %v", err)
		}
	})
}

func TestWrongKeys(t *testing.T) {
	t.Parallel()
	two, one := twoLayers(), oneLayer()
	id := segment.NewID(time.Now())
	sealed := map[int][]byte{1: seal(t, id, one, bucket, pattern(10)), 2: seal(t, id, two, bucket, pattern(10))}
	for _, tc := range []struct {
		name    string
		layers  int
		keys    segment.Keys
		context string
	}{
		{"another service key", 1, oneLayer(), string(bucket)},
		{"another service key below a customer key", 2, segment.Keys{Service: secret.Random(), Customer: two.Customer}, string(bucket)},
		{"another customer key", 2, segment.Keys{Service: two.Service, Customer: secret.Random()}, string(bucket)},
		{"keys exchanged", 2, segment.Keys{Service: two.Customer, Customer: two.Service}, string(bucket)},
		{"customer key missing", 2, segment.Keys{Service: two.Service}, string(bucket)},
		{"customer key where none was used", 1, segment.Keys{Service: one.Service, Customer: secret.Random()}, string(bucket)},
		{"another context, one layer", 1, one, "111122223333|b-2|object"},
		{"another context, two layers", 2, two, "111122223333|b-2|object"},
		{"no context", 1, one, ""},
		{"longer context", 1, one, string(bucket) + "x"},
	} {
		if _, err := open(sealed[tc.layers], id, tc.keys, []byte(tc.context)); !errors.Is(err, segment.ErrWrongKey) {
			t.Errorf("%s: %v, want ErrWrongKey", tc.name, err)
		}
	}
	if _, err := open(sealed[1], id, segment.Keys{}, bucket); err == nil {
		t.Error("opens without a service key")
	}
	if _, err := segment.NewWriter(io.Discard, id, segment.Keys{Customer: secret.Random()}, bucket); err == nil {
		t.Error("a customer key alone made a writer: it never replaces the service layer")
	}
}

// TestEqualKeysStayApart gives one key to both layers: the layers still differ.
func TestEqualKeysStayApart(t *testing.T) {
	t.Parallel()
	k := secret.Random()
	id := segment.NewID(time.Now())
	b := seal(t, id, segment.Keys{Service: k, Customer: k}, bucket, []byte("x"))
	if bytes.Equal(b[32:64], b[64:96]) {
		t.Error("both layers have the same commitment")
	}
}

func TestNoPlaintextInSegment(t *testing.T) {
	t.Parallel()
	layering(t, func(t *testing.T, keys segment.Keys) {
		marker := []byte("patient record 4711")
		plain := bytes.Repeat(marker, 8000)
		a := seal(t, segment.NewID(time.Now()), keys, bucket, plain)
		id := segment.NewID(time.Now())
		b, c := seal(t, id, keys, bucket, plain), seal(t, id, keys, bucket, plain)
		if bytes.Contains(a, marker[:8]) || bytes.Contains(a, bucket[:12]) {
			t.Error("plaintext or context stands in the segment")
		}
		if bytes.Equal(b, c) {
			t.Error("sealing twice gave the same bytes: nonces repeat")
		}
	})
}

type failAfter struct{ n int }

var errDisk = errors.New("disk gone")

func (f *failAfter) Write(p []byte) (int, error) {
	if f.n--; f.n < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

func TestWriteErrorStays(t *testing.T) {
	t.Parallel()
	for _, after := range []int{0, 1, 2} {
		w, err := segment.NewWriter(&failAfter{after}, segment.NewID(time.Now()), twoLayers(), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write(pattern(3*chunk + 1))
		if after < 3 && !errors.Is(err, errDisk) {
			t.Errorf("after %d: Write: %v", after, err)
		}
		if _, err := w.Write([]byte{1}); !errors.Is(err, errDisk) {
			t.Errorf("after %d: second Write: %v", after, err)
		}
		if err := w.Close(); !errors.Is(err, errDisk) {
			t.Errorf("after %d: Close: %v", after, err)
		}
		if err := w.Close(); !errors.Is(err, errDisk) {
			t.Errorf("after %d: second Close: %v", after, err)
		}
	}
	w, _ := segment.NewWriter(io.Discard, segment.NewID(time.Now()), oneLayer(), nil)
	if n, err := w.ReadFrom(io.MultiReader(bytes.NewReader(pattern(10)), iotest.ErrReader(errDisk))); n != 10 || err != errDisk {
		t.Errorf("ReadFrom of a failing source: %d, %v", n, err)
	}
	w.Close()
	if _, err := w.Write([]byte{1}); err == nil {
		t.Error("Write after Close worked")
	}
}

func TestReadErrorIsNotDamage(t *testing.T) {
	t.Parallel()
	id, keys := segment.NewID(time.Now()), oneLayer()
	size := int64(len(seal(t, id, keys, bucket, nil)))
	_, err := segment.OpenReader(failingReaderAt{}, size, id, keys, bucket)
	if !errors.Is(err, errDisk) || errors.Is(err, segment.ErrDamaged) {
		t.Errorf("OpenReader over a failing source: %v", err)
	}
}

type failingReaderAt struct{}

func (failingReaderAt) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

func TestSizes(t *testing.T) {
	t.Parallel()
	for _, layers := range []int{1, 2} {
		for _, n := range append([]int64{segment.MaxSize - 1, segment.MaxSize}, lengths...) {
			if got, err := segment.PlainSize(segment.SealedSize(n, layers), layers); got != n || err != nil {
				t.Errorf("PlainSize(SealedSize(%d, %d)) = %d, %v", n, layers, got, err)
			}
		}
		if _, err := segment.PlainSize(segment.SealedSize(segment.MaxSize, layers)+1, layers); err == nil {
			t.Error("a segment longer than the greatest has a length")
		}
	}
	for _, layers := range []int{-1, 0, 3} {
		if _, err := segment.PlainSize(1000, layers); err == nil {
			t.Errorf("PlainSize of %d layers works", layers)
		}
	}
	if got := segment.SealedSize(0, 1); got != 64+28 {
		t.Errorf("SealedSize(0, 1) = %d, want 92", got)
	}
	if got := segment.SealedSize(chunk+1, 2); got != 96+chunk+1+4*28 {
		t.Errorf("SealedSize(chunk+1, 2) = %d", got)
	}
}

func TestID(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 891e6, time.UTC)
	id := segment.NewID(now)
	if !id.Time().Equal(now) {
		t.Errorf("Time() = %s, want %s", id.Time(), now)
	}
	if later := segment.NewID(now.Add(time.Millisecond)); later.String() <= id.String() {
		t.Errorf("%s does not sort before %s", id, later)
	}
	if segment.NewID(now) == id {
		t.Error("two identifiers are equal")
	}
	got, err := segment.ParseID(id.String())
	if err != nil || got != id {
		t.Errorf("ParseID(%s) = %s, %v", id, got, err)
	}
	b, _ := id.MarshalText()
	if err := got.UnmarshalText(b); err != nil || got != id {
		t.Errorf("UnmarshalText(%s) = %s, %v", b, got, err)
	}
	for _, bad := range []string{"", "00", "0g000000000000000000000000000000", "0A000000000000000000000000000000", id.String() + "0"} {
		if _, err := segment.ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) works", bad)
		}
	}
}

// The kept samples of version 1. Never write them anew: they stand for what
// lies on disks.
var samples = []struct {
	file string
	id   string
	keys func() segment.Keys
	size int64
}{
	{"v1-one-layer.sgk1", "019c0000000000000000000000000001", func() segment.Keys {
		return segment.Keys{Service: fixedKey('s')}
	}, 300},
	{"v1-two-layers.sgk1", "019c0000000000000000000000000002", func() segment.Keys {
		return segment.Keys{Service: fixedKey('s'), Customer: fixedKey('c')}
	}, chunk + 300},
	{"v1-empty.sgk1", "019c0000000000000000000000000003", func() segment.Keys {
		return segment.Keys{Service: fixedKey('s'), Customer: fixedKey('c')}
	}, 0},
}

func fixedKey(c byte) secret.Key {
	k, err := secret.New(bytes.Repeat([]byte{c}, secret.Size))
	if err != nil {
		panic(err)
	}
	return k
}

// sampleText is what the samples hold: byte i is i mod 251.
func sampleText(n int64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func TestKeptSamplesOpen(t *testing.T) {
	t.Parallel()
	for _, s := range samples {
		b, err := os.ReadFile(filepath.Join("testdata", s.file))
		if err != nil {
			t.Fatal(err)
		}
		id, err := segment.ParseID(s.id)
		if err != nil {
			t.Fatal(err)
		}
		got, err := open(b, id, s.keys(), []byte("111122223333|sample|object"))
		if err != nil {
			t.Errorf("%s: %v", s.file, err)
		} else if !bytes.Equal(got, sampleText(s.size)) {
			t.Errorf("%s holds other bytes", s.file)
		}
	}
}
