package s3

import (
	"context"
	"strings"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// maxListed is the most entries of one page of any listing.
const maxListed = 1000

// listing is one page of keys and common prefixes, each in UTF-8 binary order.
type listing struct {
	entries   []listed
	truncated bool
}

// listed is a key (object not nil) or a common prefix.
type listed struct {
	name   string
	object *objectRow
}

// listQuery is what a page is asked for.
type listQuery struct {
	prefix, delimiter string
	after             string // only what sorts behind this key, or behind all keys of this common prefix
	limit             int
}

// successor is the first string that sorts behind every string with prefix p,
// or "" when there is none.
func successor(p string) string {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] != 0xFF {
			return p[:i] + string([]byte{p[i] + 1})
		}
	}
	return ""
}

// group returns the common prefix that a key belongs to, "" when it stands for
// itself.
func (q *listQuery) group(key string) string {
	if q.delimiter == "" {
		return ""
	}
	i := strings.Index(key[len(q.prefix):], q.delimiter)
	if i < 0 {
		return ""
	}
	return key[:len(q.prefix)+i+len(q.delimiter)]
}

// start is the first key that can be listed; ok is false when there is none.
func (q *listQuery) start() (from string, ok bool) {
	if q.after < q.prefix {
		return q.prefix, true
	}
	if strings.HasPrefix(q.after, q.prefix) {
		// Behind a common prefix, all of its keys were told already.
		if g := q.group(q.after); g == q.after && g != "" {
			from = successor(g)
			return from, from != ""
		}
	}
	return q.after + "\x00", true
}

// list collects one page. A common prefix costs one seek, however many keys it
// stands for.
func list(tx *store.Tx, bucketID string, q listQuery) (listing, error) {
	var out listing
	from, ok := q.start()
	for ok {
		again, err := out.scan(tx, bucketID, &q, from)
		if err != nil {
			return listing{}, err
		}
		from, ok = again, again != ""
	}
	return out, nil
}

// scan lists from a key on until the page is full, the keys end, or a common
// prefix is found; then it returns where to go on.
func (out *listing) scan(tx *store.Tx, bucketID string, q *listQuery, from string) (string, error) {
	opt := store.ScanOptions{From: store.Key{bucketID, from}, StartsWith: q.prefix}
	for row, err := range objects.Scan(tx, store.Key{bucketID}, opt) {
		if err != nil {
			return "", err
		}
		if len(out.entries) == q.limit {
			out.truncated = true
			return "", nil
		}
		key := row.Value.Key
		if g := q.group(key); g != "" {
			out.entries = append(out.entries, listed{name: g})
			return successor(g), nil
		}
		o := row.Value
		o.Inline = nil
		out.entries = append(out.entries, listed{name: key, object: &o})
	}
	return "", nil
}

// pageSize reads max-keys and its like.
func pageSize(name string, n *int32) (int, error) {
	if n == nil {
		return maxListed, nil
	}
	if *n < 0 {
		return 0, invalidArgument(name, count(int64(*n)), "Argument %s must be an integer between 0 and 2147483647", name)
	}
	return min(int(*n), maxListed), nil
}

// encoder writes names as the request's encoding-type wants them.
//
// Errors: InvalidArgument for an encoding that is not url.
func encoder(t s3api.EncodingType) (func(string) *string, error) {
	switch t {
	case "":
		return func(s string) *string { return &s }, nil
	case s3api.EncodingTypeUrl:
		return func(s string) *string { return new(urlEncode(s)) }, nil
	}
	return nil, invalidArgument("encoding-type", string(t), "Invalid Encoding Method specified in Request")
}

// urlEncode escapes all bytes but those that S3 leaves alone.
func urlEncode(s string) string {
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.~*/", c) >= 0:
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

func (s *Service) listV2Checks(ctx context.Context, in *s3api.ListObjectsV2Input) ([]protocol.Check, error) {
	b, err := s.locate(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return []protocol.Check{listCheck(b, in.Prefix, in.Delimiter, in.MaxKeys)}, nil
}

// ListObjectsV2 lists keys in UTF-8 binary order, 1,000 at most; keys that
// share the text up to the delimiter are told as one common prefix.
//
// Errors: InvalidArgument.
//
// Source: S3 API Reference, ListObjectsV2.
func (s *Service) ListObjectsV2(ctx context.Context, in *s3api.ListObjectsV2Input) (*s3api.ListObjectsV2Output, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("max-keys", in.MaxKeys)
	if err != nil {
		return nil, err
	}
	encode, err := encoder(in.EncodingType)
	if err != nil {
		return nil, err
	}
	q := listQuery{prefix: text(in.Prefix), delimiter: text(in.Delimiter), after: text(in.StartAfter), limit: limit}
	if in.ContinuationToken != nil {
		if q.after, err = s.openPage("ListObjectsV2", b.ID, *in.ContinuationToken); err != nil {
			return nil, err
		}
	}
	page, err := s.listPage(ctx, b, q)
	if err != nil {
		return nil, err
	}
	out := &s3api.ListObjectsV2Output{
		Name: new(b.Name), Prefix: encode(q.prefix), MaxKeys: new(int32(limit)), KeyCount: new(int32(len(page.entries))),
		IsTruncated: new(page.truncated), ContinuationToken: in.ContinuationToken, EncodingType: in.EncodingType,
	}
	if q.delimiter != "" {
		out.Delimiter = encode(q.delimiter)
	}
	if in.StartAfter != nil {
		out.StartAfter = encode(*in.StartAfter)
	}
	out.Contents, out.CommonPrefixes = page.render(encode, ownerIf(b, in.FetchOwner != nil && *in.FetchOwner))
	if page.truncated {
		token, err := s.sealPage("ListObjectsV2", b.ID, page.last())
		if err != nil {
			return nil, err
		}
		out.NextContinuationToken = &token
	}
	return out, nil
}

func ownerIf(b *bucketState, wanted bool) *s3api.Owner {
	if !wanted {
		return nil
	}
	return owner(b.Account)
}

// listPage runs a query on one snapshot. A page of no entries is never
// truncated.
func (s *Service) listPage(ctx context.Context, b *bucketState, q listQuery) (page listing, err error) {
	if q.limit == 0 {
		return listing{}, nil
	}
	err = s.cfg.Store.ViewEarly(ctx, func(tx *store.Tx) error {
		page, err = list(tx, b.ID, q)
		return err
	})
	return page, err
}

func (p *listing) last() string { return p.entries[len(p.entries)-1].name }

func (p *listing) render(encode func(string) *string, owner *s3api.Owner) (contents []s3api.Object, prefixes []s3api.CommonPrefix) {
	for _, e := range p.entries {
		if e.object == nil {
			prefixes = append(prefixes, s3api.CommonPrefix{Prefix: encode(e.name)})
			continue
		}
		o := e.object
		c := s3api.Object{
			Key: encode(e.name), LastModified: new(o.Modified), ETag: quoted(o.ETag), Size: new(o.Size),
			StorageClass: "STANDARD", Owner: owner, ChecksumType: o.Checksum.Type,
		}
		if o.Checksum.Algorithm != "" {
			c.ChecksumAlgorithm = []s3api.ChecksumAlgorithm{o.Checksum.Algorithm}
		}
		contents = append(contents, c)
	}
	return contents, prefixes
}

func (s *Service) listV1Checks(ctx context.Context, in *s3api.ListObjectsInput) ([]protocol.Check, error) {
	b, err := s.locate(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return []protocol.Check{listCheck(b, in.Prefix, in.Delimiter, in.MaxKeys)}, nil
}

// ListObjects is the older form of ListObjectsV2: pages go on behind a marker.
//
// Errors: InvalidArgument.
func (s *Service) ListObjects(ctx context.Context, in *s3api.ListObjectsInput) (*s3api.ListObjectsOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("max-keys", in.MaxKeys)
	if err != nil {
		return nil, err
	}
	encode, err := encoder(in.EncodingType)
	if err != nil {
		return nil, err
	}
	q := listQuery{prefix: text(in.Prefix), delimiter: text(in.Delimiter), after: text(in.Marker), limit: limit}
	page, err := s.listPage(ctx, b, q)
	if err != nil {
		return nil, err
	}
	out := &s3api.ListObjectsOutput{
		Name: new(b.Name), Prefix: encode(q.prefix), Marker: encode(q.after), MaxKeys: new(int32(limit)),
		IsTruncated: new(page.truncated), EncodingType: in.EncodingType,
	}
	out.Contents, out.CommonPrefixes = page.render(encode, owner(b.Account))
	if q.delimiter != "" {
		out.Delimiter = encode(q.delimiter)
		if page.truncated {
			out.NextMarker = encode(page.last())
		}
	}
	return out, nil
}
