package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/blob/blobtest"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
)

func (w *world) sweep() {
	w.t.Helper()
	if err := w.svc.Sweep(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func TestSweepWaitsForReaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	body := string(pattern(300_000))
	w.put("photos", "a", body)
	w.put("photos", "b", body)
	reading := must(w, s3api.GetObject, &s3api.GetObjectInput{Bucket: "photos", Key: "a"})
	w.put("photos", "a", "short")
	must(w, s3api.DeleteObject, &s3api.DeleteObjectInput{Bucket: "photos", Key: "b"})
	w.sweep()
	if n := w.segments(); n != 2 {
		t.Fatalf("within the grace %d segments are left, want 2", n)
	}
	if got := readBody(t, reading); got != body {
		t.Error("an object that was replaced while it was read came back damaged")
	}
	w.advance(2 * time.Hour)
	w.sweep()
	if n := w.segments(); n != 0 {
		t.Errorf("after the grace %d segments are left", n)
	}
	w.sweep()
	if got, err := w.get("photos", "a"); got != "short" {
		t.Error(err)
	}
}

func TestSweepFindsOrphans(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	body := string(pattern(100_000))
	w.put("photos", "kept", body)
	id := w.upload(&s3api.CreateMultipartUploadInput{Bucket: "photos", Key: "a"})
	done := w.part(id, 1, []byte(body))
	orphan, err := w.blobs.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := orphan.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := orphan.Commit(); err != nil {
		t.Fatal(err)
	}
	w.sweep()
	if n := w.segments(); n != 3 {
		t.Fatalf("%d segments are left, want 3: a young one may be an upload", n)
	}
	// The files' own times are the machine's, so the clock goes far ahead.
	w.advance(100 * 365 * 24 * time.Hour)
	w.sweep()
	if n := w.segments(); n != 2 {
		t.Errorf("%d segments are left, want the object's and the part's", n)
	}
	must(w, s3api.CompleteMultipartUpload, &s3api.CompleteMultipartUploadInput{Bucket: "photos", Key: "a", UploadId: id, MultipartUpload: completed(done)})
	must(w, s3api.DeleteObject, &s3api.DeleteObjectInput{Bucket: "photos", Key: "kept"})
	w.sweep()
	if n := w.segments(); n != 2 {
		t.Errorf("%d segments are left: garbage within its grace was taken for an orphan", n)
	}
	if got, err := w.get("photos", "a"); got != body {
		t.Error(err)
	}
}

func TestAbortedUploadsAreSwept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	id := w.upload(&s3api.CreateMultipartUploadInput{Bucket: "photos", Key: "a"})
	w.part(id, 1, pattern(50_000))
	w.part(id, 1, pattern(60_000))
	must(w, s3api.AbortMultipartUpload, &s3api.AbortMultipartUploadInput{Bucket: "photos", Key: "a", UploadId: id})
	w.advance(2 * time.Hour)
	w.sweep()
	if n := w.segments(); n != 0 {
		t.Errorf("%d segments of an aborted upload are left", n)
	}
}

// A power loss at any instant leaves rows whose segments are whole, and every
// object whose PutObject was answered.
func TestCrashLeavesWholeObjects(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rows, files, ring := vfs.NewCrashableMem(), blobtest.NewCrashFS("data"), envelope.NewMemory()
			w := crashWorld(t, rows, files, ring)
			w.bucket("photos")
			var mu sync.Mutex
			answered := map[string]int{}
			stop := make(chan struct{})
			var writers sync.WaitGroup
			for n := range 3 {
				writers.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						key, size := fmt.Sprintf("%d/%d", n, i), 10_000*(i%4)+n
						_, err := call(w, s3api.PutObject, &s3api.PutObjectInput{Bucket: "photos", Key: key, Body: bytes.NewReader(pattern(size))})
						if err != nil {
							t.Errorf("put: %v", err)
							return
						}
						mu.Lock()
						answered[key] = size
						mu.Unlock()
					}
				})
			}
			time.Sleep(time.Duration(20+7*seed) * time.Millisecond)
			mu.Lock()
			want := make(map[string]int, len(answered))
			maps.Copy(want, answered)
			mu.Unlock()
			// Rows first: a later row could name a segment that this copy of the
			// files does not have yet.
			rowsLeft := rows.CrashClone(vfs.CrashCloneCfg{})
			filesLeft := files.CrashClone(seed)
			close(stop)
			writers.Wait()

			after := crashWorld(t, rowsLeft, filesLeft, ring)
			for key, size := range want {
				if got, err := after.get("photos", key); got != string(pattern(size)) {
					t.Errorf("%s was answered, but came back with %d bytes of %d: %v", key, len(got), size, err)
				}
			}
			listed := after.walkV2("", "", "", "", 1000)
			for _, key := range listed {
				if _, err := after.get("photos", key); err != nil {
					t.Errorf("%s is listed, but: %v", key, err)
				}
			}
			if len(listed) < len(want) {
				t.Errorf("%d objects are listed of %d answered", len(listed), len(want))
			}
		})
	}
}

func crashWorld(t *testing.T, rows vfs.FS, files *blobtest.CrashFS, ring *envelope.Keyring) *world {
	t.Helper()
	d, err := memstore.OpenFS(rows, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	b, err := blob.Local("data/objects", "data/tmp", blob.LocalOptions{FS: files})
	if err != nil {
		t.Fatal(err)
	}
	return newWorldWith(t, setup{driver: d, blobs: b, ring: ring})
}

func TestDamagedSegmentIsNeverServed(t *testing.T) {
	t.Parallel()
	files := blobtest.NewCrashFS("data")
	w := crashWorld(t, vfs.NewMem(), files, envelope.NewMemory())
	w.bucket("photos")
	w.put("photos", "a", string(pattern(200_000)))
	for info, err := range w.blobs.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if err := w.blobs.Delete(t.Context(), info.ID); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.get("photos", "a")
	if e := schema.AsError(err); e.Status != 500 || strings.Contains(e.Message, "segment") {
		t.Errorf("got %v, want a bare 500", err)
	}
}

func TestBodyFailsAfterClose(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	w.put("photos", "a", string(pattern(200_000)))
	out := must(w, s3api.GetObject, &s3api.GetObjectInput{Bucket: "photos", Key: "a"})
	if err := out.Body.(io.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(out.Body); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("reading a closed body: got %v", err)
	}
}
