package server

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

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
// it. The figure that counts is the ratio of MB/s in one run.
func BenchmarkS3(b *testing.B) {
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
	put := func() error {
		_, err := client.Call(ctx, c, s3api.PutObject, &s3api.PutObjectInput{
			Bucket: "bench", Key: "k", Body: &pattern{benchObject}, ContentLength: new(int64(benchObject)),
			ServerSideEncryption: s3api.ServerSideEncryptionAwsKms, SSEKMSKeyId: key.KeyMetadata.Arn,
		})
		return err
	}
	get := func() error {
		o, err := client.Call(ctx, c, s3api.GetObject, &s3api.GetObjectInput{Bucket: "bench", Key: "k"})
		if err != nil {
			return err
		}
		return drain(o.Body)
	}
	if err := put(); err != nil {
		b.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		run  func() error
	}{
		{"Put/bare", func() error {
			req, err := http.NewRequest(http.MethodPut, bare+"/k", &pattern{benchObject})
			if err != nil {
				return err
			}
			req.ContentLength = benchObject
			resp, err := c.HTTP.Do(req)
			if err != nil {
				return err
			}
			return drain(resp.Body)
		}},
		{"Put/SSE-KMS", put},
		{"Get/bare", func() error {
			resp, err := c.HTTP.Get(bare + "/k")
			if err != nil {
				return err
			}
			return drain(resp.Body)
		}},
		{"Get/SSE-KMS", get},
	} {
		b.Run(tc.name, func(b *testing.B) {
			b.SetBytes(benchObject)
			for b.Loop() {
				if err := tc.run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
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
