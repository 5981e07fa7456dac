package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/client"
)

// benchObject is the size of the benchmark's object, in bytes.
const benchObject = 256 << 20

// pattern is an endless body that costs the client next to nothing to make.
type pattern struct{ left int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(b)), p.left)
	p.left -= n
	return int(n), nil
}

// BenchmarkS3 compares PUT and GET of a 256 MiB object under a customer key with
// a bare net/http server that writes the body to a file with fsync, and serves
// it. Both take turns, because the disk of a shared machine stalls; what counts
// is the median of the ratios of their times.
func BenchmarkS3(b *testing.B) {
	defer HoldHeap()()
	_, c := startServer(b)
	ctx := context.Background()
	key, err := client.Call(ctx, c, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
	if err != nil {
		b.Fatal(err)
	}
	_, err = client.Call(ctx, c, s3api.CreateBucket, &s3api.CreateBucketInput{
		Bucket: "bench", CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: DefaultRegion},
	})
	if err != nil {
		b.Fatal(err)
	}
	bare := listen(b, bareFiles(b, b.TempDir()))
	n := 0
	barePut := func() error {
		n++ // a new file each time, as a new segment
		req, err := http.NewRequest(http.MethodPut, fmt.Sprintf("%s/%d", bare, n), &pattern{benchObject})
		if err != nil {
			return err
		}
		req.ContentLength = benchObject
		resp, err := c.HTTP.Do(req)
		if err != nil {
			return err
		}
		return drain(resp.Body)
	}
	put := func() error {
		_, err := client.Call(ctx, c, s3api.PutObject, &s3api.PutObjectInput{
			Bucket: "bench", Key: "k", Body: &pattern{benchObject}, ContentLength: new(int64(benchObject)),
			ServerSideEncryption: s3api.ServerSideEncryptionAwsKms, SSEKMSKeyId: key.KeyMetadata.Arn,
		})
		return err
	}
	bareGet := func() error {
		resp, err := c.HTTP.Get(bare + "/1")
		if err != nil {
			return err
		}
		return drain(resp.Body)
	}
	get := func() error {
		o, err := client.Call(ctx, c, s3api.GetObject, &s3api.GetObjectInput{Bucket: "bench", Key: "k"})
		if err != nil {
			return err
		}
		return drain(o.Body)
	}
	if err := errors.Join(barePut(), put()); err != nil {
		b.Fatal(err)
	}
	b.Run("Put", func(b *testing.B) { takeTurns(b, barePut, put) })
	b.Run("Get", func(b *testing.B) { takeTurns(b, bareGet, get) })
}

// takeTurns reports the medians of both and of their ratio: above 1 means that
// ours is faster than the baseline.
func takeTurns(b *testing.B, baseline, ours func() error) {
	var base, own, ratio []float64
	for i := 0; b.Loop(); i++ {
		var t [2]time.Duration
		for _, j := range []int{i % 2, 1 - i%2} { // who begins changes too
			start := time.Now()
			if err := []func() error{baseline, ours}[j](); err != nil {
				b.Fatal(err)
			}
			t[j] = time.Since(start)
		}
		base, own = append(base, mbps(t[0])), append(own, mbps(t[1]))
		ratio = append(ratio, t[0].Seconds()/t[1].Seconds())
	}
	b.ReportMetric(median(base), "bare-MB/s")
	b.ReportMetric(median(own), "MB/s")
	b.ReportMetric(median(ratio), "ratio")
}

func mbps(d time.Duration) float64 { return benchObject / 1e6 / d.Seconds() }

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func drain(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	if c, ok := r.(io.Closer); ok {
		c.Close()
	}
	return err
}

// bareFiles is the baseline: PUT writes a file and syncs it, GET serves it.
func bareFiles(b *testing.B, dir string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := filepath.Join(dir, filepath.Base(r.URL.Path))
		if r.Method == http.MethodGet {
			f, err := os.Open(path)
			if err != nil {
				http.Error(w, err.Error(), http.StatusNotFound)
				return
			}
			defer f.Close()
			// Not ServeFile: sendfile would compare a kernel with a cipher.
			io.Copy(struct{ io.Writer }{w}, f)
			return
		}
		f, err := os.Create(path + ".tmp")
		if err == nil {
			_, err = io.Copy(f, r.Body)
		}
		if err == nil {
			err = f.Sync()
		}
		if err == nil {
			err = f.Close()
		}
		if err == nil {
			err = os.Rename(path+".tmp", path)
		}
		if err != nil {
			b.Error(err)
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}
