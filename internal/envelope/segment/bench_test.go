package segment_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/envelope/segment"
)

func BenchmarkSeal(b *testing.B) {
	for _, keys := range []segment.Keys{oneLayer(), twoLayers()} {
		for _, size := range []int64{20 << 10, 16 << 20} {
			b.Run(fmt.Sprintf("layers=%d/KiB=%d", keys.Layers(), size>>10), func(b *testing.B) {
				plain := pattern(size)
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					w, err := segment.NewWriter(io.Discard, segment.NewID(time.Now()), keys, bucket)
					if err != nil {
						b.Fatal(err)
					}
					w.Write(plain)
					if err := w.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, keys := range []segment.Keys{oneLayer(), twoLayers()} {
		for _, size := range []int64{20 << 10, 16 << 20} {
			b.Run(fmt.Sprintf("layers=%d/KiB=%d", keys.Layers(), size>>10), func(b *testing.B) {
				id := segment.NewID(time.Now())
				sealed := seal(b, id, keys, bucket, pattern(size))
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					r, err := segment.OpenReader(bytes.NewReader(sealed), int64(len(sealed)), id, keys, bucket)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := io.Copy(io.Discard, r.Section(0, size)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
