package s3

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"hash/crc64"
	"maps"
	"net/url"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/internal/store"
)

// A range that is accepted lies in the body, and its text names the same range.
func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"bytes=0-3", "bytes=3-", "bytes=-4", "bytes=-0", "bytes=5-4", "bytes=0-1,2-3", "bytes=", "lines=1-2", "bytes=9223372036854775808-"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 || len(header) > 4096 {
			return
		}
		r, partial, err := parseRange(header, size)
		if err != nil {
			return
		}
		if r.offset < 0 || r.length < 0 || r.offset > size || r.length > size-r.offset {
			t.Fatalf("%q of %d bytes: got %+v", header, size, r)
		}
		if !partial {
			if r.offset != 0 || r.length != size {
				t.Fatalf("%q is no range, but got %+v of %d", header, r, size)
			}
			return
		}
		if r.length == 0 {
			t.Fatalf("%q: an empty range was accepted", header)
		}
		text, _, _ := strings.Cut(strings.TrimPrefix(r.contentRange(size), "bytes "), "/")
		if again, ok, err := parseRange("bytes="+text, size); err != nil || !ok || again != r {
			t.Fatalf("%q: got %+v, its own text %q gives %+v %v", header, r, text, again, err)
		}
	})
}

// Tags that are accepted survive being encoded again.
func FuzzParseTags(f *testing.F) {
	for _, s := range []string{"", "a=1", "a=1&b=2", "a", "a=%20+", "a=1&a=2", "aws:x=1", "%zz=1", "&"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		tags, err := parseTags(header)
		if err != nil {
			return
		}
		if len(tags) > maxTags {
			t.Fatalf("%q: %d tags", header, len(tags))
		}
		var pairs []string
		for _, tag := range tags {
			pairs = append(pairs, url.QueryEscape(tag.Key)+"="+url.QueryEscape(tag.Value))
		}
		again, err := parseTags(strings.Join(pairs, "&"))
		if err != nil && len(strings.Join(pairs, "&")) <= 16<<10 {
			t.Fatalf("%q: %v does not parse again: %v", header, tags, err)
		}
		for i := range again {
			if again[i] != tags[i] {
				t.Fatalf("%q: got %v, then %v", header, tags, again)
			}
		}
	})
}

// A range to copy that is accepted lies in the source and is what Range means
// by the same text.
func FuzzParseCopyRange(f *testing.F) {
	for _, s := range []string{"bytes=0-9", "bytes=5242879-5242879", "bytes=0-5242880", "bytes=-5", "bytes=5-", "bytes=0-1,2-3", "bytes=00-09", "0-9", ""} {
		f.Add(s, int64(minRangeSource))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if len(header) > 1<<10 || size < 0 {
			return
		}
		r, err := parseCopyRange(header, size)
		if err != nil {
			return
		}
		if r.offset < 0 || r.length < 1 || r.length > size-r.offset {
			t.Fatalf("%q of %d: got %+v", header, size, r)
		}
		if same, partial, err := parseRange(header, size); err != nil || !partial || same != r {
			t.Fatalf("%q of %d: got %+v, as a Range %+v %v", header, size, r, same, err)
		}
	})
}

// A source that is accepted names the same object when written again.
func FuzzParseCopySource(f *testing.F) {
	for _, s := range []string{"photos/a", "/photos/a%20b", "photos/a?versionId=null", "photos", "/", "%2Fphotos/a", "photos//a", "arn:aws:s3:::x/y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		c, err := parseCopySource(header)
		if err != nil {
			return
		}
		if c.bucket == "" || c.key == "" || strings.Contains(c.bucket, "/") {
			t.Fatalf("%q: got %+v", header, c)
		}
		text := "/" + url.PathEscape(c.bucket) + "/" + url.PathEscape(c.key)
		if c.version != "" {
			text += "?versionId=" + c.version
		}
		if again, err := parseCopySource(text); len(text) <= 8<<10 && (err != nil || again != c) {
			t.Fatalf("%q: got %+v, written again %+v %v", header, c, again, err)
		}
	})
}

// A context that is accepted is a map of strings without our own pair.
func FuzzParseContext(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":"b"}`, `{"aws:s3:arn":"x"}`, `{"a":1}`, `{"a":null}`, `null`, `[]`, `{"a":"b"}x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > maxContext {
			return
		}
		m, err := parseContext(base64.StdEncoding.EncodeToString(text))
		if err != nil {
			return
		}
		if _, ok := m[arnContext]; ok || !json.Valid(text) {
			t.Fatalf("%q: accepted as %v", text, m)
		}
		if header := contextText(m); header != nil && len(*header) <= maxContext {
			if again, err := parseContext(*header); err != nil || !maps.Equal(again, m) {
				t.Fatalf("%q: got %v, then %v %v", text, m, again, err)
			}
		}
	})
}

// What decodes as an object row encodes to a row that decodes to the same.
func FuzzDecodeObject(f *testing.F) {
	b, err := encodeObject(objectRow{Key: "a", Size: 3, Inline: []byte("xyz")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		o, err := decodeObject(b)
		if err != nil {
			return
		}
		again, err := encodeObject(o)
		if err != nil {
			t.Skip() // times that JSON reads but does not write
		}
		o2, err := decodeObject(again)
		if err != nil || o2.Key != o.Key || o2.Size != o.Size || string(o2.Inline) != string(o.Inline) {
			t.Fatalf("got %+v, then %+v %v", o, o2, err)
		}
	})
}

// Rows that were ever written stay readable; newer ones are refused.
func TestObjectRowSamples(t *testing.T) {
	t.Parallel()
	head := `{"Key":"dir/a","Version":"00112233445566778899aabbccddeeff","Size":3,"ETag":"900150983cd24fb0d6963f7d28e17f72",` +
		`"Modified":"2026-05-01T12:00:00.000001Z","Headers":{"ContentType":"text/plain","Metadata":{"team":"blue"},"Tags":[{"Key":"a","Value":"1"}]},` +
		`"Encryption":{"Algorithm":"aws:kms","KeyARN":"arn:aws:kms:us-west-2:111122223333:key/k","Context":{"p":"q"},"Wrapped":"AQID"},` +
		`"Checksum":{"Algorithm":"CRC32","Type":"FULL_OBJECT","Value":"BAUG"},` +
		`"Segments":[{"ID":"0123456789abcdef0123456789abcdef","Size":3,"Key":"BwgJ"}],"Multipart":true}`
	version1 := append([]byte{1}, binary.AppendUvarint(nil, uint64(len(head)))...)
	version1 = append(append(version1, head...), "abc"...)
	o, err := decodeObject(version1)
	if err != nil {
		t.Fatal(err)
	}
	if o.Key != "dir/a" || o.Size != 3 || o.Modified.Nanosecond() != 1000 || o.Headers.Tags[0].Value != "1" || o.Encryption.Context["p"] != "q" ||
		string(o.Encryption.Wrapped) != "\x01\x02\x03" || o.Segments[0].ID.String() != "0123456789abcdef0123456789abcdef" ||
		!o.Multipart || string(o.Inline) != "abc" || string(o.Checksum.Value) != "\x04\x05\x06" {
		t.Errorf("got %+v", o)
	}
	if again, err := encodeObject(o); err != nil || string(again) != string(version1) {
		t.Errorf("written again: %q %v", again, err)
	}
	if _, err := decodeObject(append([]byte{2}, version1[1:]...)); !errors.Is(err, store.ErrNewerFormat) {
		t.Errorf("a newer row: got %v", err)
	}
	for _, b := range [][]byte{nil, {0}, {1}, {1, 0x80}, {1, 9, 'x'}, {1, 2, 'x', 'y'}} {
		if _, err := decodeObject(b); err == nil {
			t.Errorf("%x was read", b)
		}
	}
}

func TestJoinedChecksums(t *testing.T) {
	t.Parallel()
	body := []byte(strings.Repeat("The quick brown fox jumps over the lazy dog. ", 300))
	sum := map[int]func([]byte) uint64{
		0: func(b []byte) uint64 { return uint64(crc32.ChecksumIEEE(b)) },
		1: func(b []byte) uint64 { return uint64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))) },
		2: func(b []byte) uint64 { return crc64.Checksum(b, crc64.MakeTable(crc64NVME)) },
	}
	for i, a := range algorithms()[:3] {
		for _, cut := range []int{0, 1, 7, 8, 4096, len(body) - 1, len(body)} {
			got := a.combine(sum[i](body[:cut]), sum[i](body[cut:]), int64(len(body)-cut))
			if want := sum[i](body); got != want {
				t.Errorf("%s cut at %d: got %x, want %x", a.name, cut, got, want)
			}
			if v, ok := a.crcValue(a.crcText(got)); !ok || v != got {
				t.Errorf("%s: text %q reads as %x", a.name, a.crcText(got), v)
			}
		}
	}
}

// Every algorithm gives its published check value for "123456789".
func TestCheckValues(t *testing.T) {
	t.Parallel()
	for _, a := range algorithms()[:3] {
		h := a.make()
		h.Write([]byte("123456789"))
		want := map[int]map[string]string{
			4: {"CRC32": "y/Q5Jg==", "CRC32C": "4waSgw=="}, 8: {"CRC64NVME": "rosUhgp5mIg="},
		}[a.size][string(a.name)]
		if got := base64Of(h.Sum(nil)); got != want {
			t.Errorf("%s: got %s, want %s", a.name, got, want)
		}
	}
}
