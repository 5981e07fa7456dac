package s3_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/store/driver"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
)

// counterReads is an engine that counts the first reads of epoch counters: each
// is a counter that stays in memory from then on.
type counterReads struct {
	driver.Store
	n atomic.Int64
}

func (c *counterReads) View(ctx context.Context, fn func(driver.Reader) error) error {
	return c.Store.View(ctx, func(r driver.Reader) error { return fn(countingReader{r, &c.n}) })
}

type countingReader struct {
	driver.Reader
	n *atomic.Int64
}

// epochSpace is the first byte of the keys of counters. See docs/formats.
const epochSpace = 0x30

func (c countingReader) Get(key []byte) ([]byte, error) {
	if key[0] == epochSpace {
		c.n.Add(1)
	}
	return c.Reader.Get(key)
}

func TestUnknownNamesLeaveNoCounters(t *testing.T) {
	t.Parallel()
	d := &counterReads{Store: memstore.New(t)}
	w := newWorldWith(t, setup{driver: d})
	w.bucket("photos")
	key := w.key()
	w.put("photos", "a", "x")
	if _, err := call(w, s3api.PutObject, &s3api.PutObjectInput{
		Bucket: "photos", Key: "k", Body: strings.NewReader("x"), ServerSideEncryption: "aws:kms", SSEKMSKeyId: &key, BucketKeyEnabled: new(true),
	}); err != nil {
		t.Fatal(err)
	}
	for name, ask := range map[string]func(i int) error{
		"unknown buckets, anonymous": func(i int) error {
			_, err := w.as(&identity.Caller{Type: identity.Anonymous}).get(fmt.Sprintf("nothing-%d", i), "a")
			return err
		},
		"names that are none": func(i int) error {
			_, err := w.get(fmt.Sprintf("Nothing_%d", i), "a")
			return err
		},
		"names that are too long": func(i int) error {
			_, err := w.get(strings.Repeat("a", 64+i), "a")
			return err
		},
		"unknown keys": func(i int) error {
			arn := fmt.Sprintf("arn:aws:kms:%s:%s:key/00000000-0000-4000-8000-%012d", region, account, i)
			_, err := call(w, s3api.PutObject, &s3api.PutObjectInput{
				Bucket: "photos", Key: "k", Body: strings.NewReader("x"), ServerSideEncryption: "aws:kms", SSEKMSKeyId: &arn, BucketKeyEnabled: new(true),
			})
			return err
		},
		"keys that are none": func(i int) error {
			arn := fmt.Sprintf("arn:aws:kms:%s:%s:key/none-%d", region, account, i)
			_, err := call(w, s3api.PutObject, &s3api.PutObjectInput{
				Bucket: "photos", Key: "k", Body: strings.NewReader("x"), ServerSideEncryption: "aws:kms", SSEKMSKeyId: &arn, BucketKeyEnabled: new(true),
			})
			return err
		},
	} {
		before := d.n.Load()
		for i := range 20 {
			if err := ask(i); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if n := d.n.Load() - before; n != 0 {
			t.Errorf("%s: %d counters were made", name, n)
		}
	}
}
