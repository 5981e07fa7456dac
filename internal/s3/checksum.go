package s3

import (
	"crypto/fips140"
	"crypto/md5"  //nolint:gosec // ETags and Content-MD5 are MD5
	"crypto/sha1" //nolint:gosec // one of the protocol's checksums
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/crc64nvme"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// crc64NVME is the reversed polynomial of CRC-64/NVME.
//
// Source: NVM Express NVM Command Set Specification, 64b CRC.
const crc64NVME = 0x9a6c9329ac4bc9b5

// defaultChecksum is what S3 computes when the client names none.
const defaultChecksum = s3api.ChecksumAlgorithmCrc64nvme

// algorithm is one checksum algorithm of the protocol.
type algorithm struct {
	name s3api.ChecksumAlgorithm
	size int // bytes of the sum
	make func() hash.Hash
	// poly and width are set for CRCs, whose sums can be joined.
	poly  uint64
	width int
}

// algorithms lists what we compute, in the protocol's order.
func algorithms() []algorithm {
	return []algorithm{
		{name: s3api.ChecksumAlgorithmCrc32, size: 4, make: func() hash.Hash { return crc32.NewIEEE() }, poly: crc32.IEEE, width: 32},
		{name: s3api.ChecksumAlgorithmCrc32c, size: 4, make: func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }, poly: crc32.Castagnoli, width: 32},
		{name: s3api.ChecksumAlgorithmCrc64nvme, size: 8, make: func() hash.Hash { return crc64nvme.New() }, poly: crc64NVME, width: 64},
		{name: s3api.ChecksumAlgorithmSha1, size: sha1.Size, make: func() hash.Hash { return unenforced(sha1.New) }},
		{name: s3api.ChecksumAlgorithmSha256, size: sha256.Size, make: sha256.New},
		{name: s3api.ChecksumAlgorithmSha512, size: sha512.Size, make: sha512.New},
		{name: s3api.ChecksumAlgorithmMd5, size: md5.Size, make: func() hash.Hash { return unenforced(md5.New) }},
	}
}

func algorithmOf(name s3api.ChecksumAlgorithm) (algorithm, bool) {
	all := algorithms()
	i := slices.IndexFunc(all, func(a algorithm) bool { return a.name == name })
	if i < 0 {
		return algorithm{}, false
	}
	return all[i], true
}

// newHash returns the hash of an algorithm that exists.
func newHash(name s3api.ChecksumAlgorithm) hash.Hash {
	a, ok := algorithmOf(name)
	if !ok {
		panic("s3: no checksum algorithm " + string(name))
	}
	return a.make()
}

// legacyHash is MD5 or SHA-1 as the protocol uses them, not for security: also
// where FIPS 140 is enforced.
type legacyHash struct{ h hash.Hash }

func unenforced(make func() hash.Hash) hash.Hash {
	var l legacyHash
	fips140.WithoutEnforcement(func() { l.h = make() })
	return &l
}

func (l *legacyHash) Write(p []byte) (n int, err error) {
	fips140.WithoutEnforcement(func() { n, err = l.h.Write(p) })
	return n, err
}

func (l *legacyHash) Sum(b []byte) (out []byte) {
	fips140.WithoutEnforcement(func() { out = l.h.Sum(b) })
	return out
}
func (l *legacyHash) Reset()         { l.h.Reset() }
func (l *legacyHash) Size() int      { return l.h.Size() }
func (l *legacyHash) BlockSize() int { return l.h.BlockSize() }

// checksumHeaders are the x-amz-checksum-* members of an input or output.
type checksumHeaders struct {
	crc32, crc32c, crc64nvme, sha1, sha256, sha512, md5 *string
	xxhash64, xxhash3, xxhash128                        *string
}

// each yields the algorithms with their values, nil ones too.
func (h *checksumHeaders) each() []struct {
	name  s3api.ChecksumAlgorithm
	value **string
} {
	type pair = struct {
		name  s3api.ChecksumAlgorithm
		value **string
	}
	return []pair{
		{s3api.ChecksumAlgorithmCrc32, &h.crc32},
		{s3api.ChecksumAlgorithmCrc32c, &h.crc32c},
		{s3api.ChecksumAlgorithmCrc64nvme, &h.crc64nvme},
		{s3api.ChecksumAlgorithmSha1, &h.sha1},
		{s3api.ChecksumAlgorithmSha256, &h.sha256},
		{s3api.ChecksumAlgorithmSha512, &h.sha512},
		{s3api.ChecksumAlgorithmMd5, &h.md5},
		{s3api.ChecksumAlgorithmXxhash64, &h.xxhash64},
		{s3api.ChecksumAlgorithmXxhash3, &h.xxhash3},
		{s3api.ChecksumAlgorithmXxhash128, &h.xxhash128},
	}
}

// set gives the member of one algorithm its value.
func (h *checksumHeaders) set(name s3api.ChecksumAlgorithm, value string) {
	for _, p := range h.each() {
		if p.name == name {
			*p.value = new(value)
		}
	}
}

// sent returns the one checksum that the headers hold, "" for none.
//
// Errors: InvalidRequest for several, for an algorithm we do not compute, and
// for a value that is no such sum.
func (h *checksumHeaders) sent() (name s3api.ChecksumAlgorithm, value string, err error) {
	for _, p := range h.each() {
		if *p.value == nil {
			continue
		}
		if name != "" {
			return "", "", s3api.InvalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		name, value = p.name, **p.value
		if err := validChecksum(name, value); err != nil {
			return "", "", err
		}
	}
	return name, value, nil
}

func headerOf(name s3api.ChecksumAlgorithm) string {
	return "x-amz-checksum-" + strings.ToLower(string(name))
}

func validChecksum(name s3api.ChecksumAlgorithm, value string) error {
	a, ok := algorithmOf(name)
	if !ok {
		return notImplemented(headerOf(name))
	}
	if b, err := base64.StdEncoding.DecodeString(value); err != nil || len(b) != a.size {
		return s3api.InvalidRequest("Value for %s header is invalid.", headerOf(name))
	}
	return nil
}

// promise is what a request says about its body.
type promise struct {
	body      io.Reader // nil: empty
	length    *int64
	md5       *string
	algorithm s3api.ChecksumAlgorithm // x-amz-sdk-checksum-algorithm
	headers   checksumHeaders
	// internal: the body is another object, not a request.
	internal bool
	// want is the algorithm that an upload fixed for its parts, "" = none.
	want s3api.ChecksumAlgorithm
}

// intake reads a body, counts and hashes it.
type intake struct {
	r        io.Reader
	n        int64
	limit    int64
	err      error // of the body, io.EOF excepted
	hashes   map[s3api.ChecksumAlgorithm]hash.Hash
	promise  promise
	name     s3api.ChecksumAlgorithm // the one to store, unless a trailer names another
	value    string                  // promised in a header
	wantMD5  []byte
	trailing bool // a trailer may name the checksum
}

// newIntake prepares to read a body of at most limit bytes; etag says that the
// MD5 is needed.
//
// Errors: InvalidDigest, InvalidRequest, EntityTooLarge, NotImplemented.
func newIntake(p promise, limit int64, etag bool) (*intake, error) {
	in := &intake{r: p.body, limit: limit, promise: p, hashes: map[s3api.ChecksumAlgorithm]hash.Hash{}}
	if in.r == nil {
		in.r = strings.NewReader("")
	}
	if p.length != nil && *p.length > limit {
		return nil, tooLarge(limit)
	}
	if p.md5 != nil {
		b, err := base64.StdEncoding.DecodeString(*p.md5)
		if err != nil || len(b) != md5.Size {
			return nil, s3api.InvalidDigest("The Content-MD5 you specified was invalid.")
		}
		in.wantMD5 = b
	}
	var err error
	if in.name, in.value, err = p.headers.sent(); err != nil {
		return nil, err
	}
	if p.algorithm != "" {
		if _, ok := algorithmOf(p.algorithm); !ok {
			return nil, s3api.InvalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
		}
		if in.name != "" && in.name != p.algorithm {
			return nil, s3api.InvalidRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.")
		}
	}
	in.trailing = in.name == ""
	if in.name == "" {
		in.name = p.algorithm
	}
	if in.name == "" {
		in.name = p.want
	}
	if in.name == "" {
		in.name = defaultChecksum
	}
	if p.want != "" && in.name != p.want {
		return nil, checksumMismatch(p.want, in.name)
	}
	in.add(in.name)
	if etag || in.wantMD5 != nil {
		in.add(s3api.ChecksumAlgorithmMd5)
	}
	return in, nil
}

func checksumMismatch(want, got s3api.ChecksumAlgorithm) error {
	return s3api.InvalidRequest("Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s",
		strings.ToLower(string(want)), strings.ToLower(string(got)))
}

func tooLarge(limit int64) error {
	return s3api.EntityTooLarge("Your proposed upload exceeds the maximum allowed size").With("MaxSizeAllowed", strconv.FormatInt(limit, 10))
}

func (in *intake) add(name s3api.ChecksumAlgorithm) {
	if in.hashes[name] == nil {
		in.hashes[name] = newHash(name)
	}
}

// Read implements io.Reader.
func (in *intake) Read(p []byte) (int, error) {
	n, err := in.r.Read(p)
	for _, h := range in.hashes {
		h.Write(p[:n])
	}
	in.n += int64(n)
	if in.n > in.limit && (err == nil || err == io.EOF) { //nolint:errorlint // io.Reader returns it bare
		err = tooLarge(in.limit)
	}
	if err != nil && err != io.EOF { //nolint:errorlint // see above
		in.err = err
	}
	return n, err
}

// finish compares the body, read to its end, with what was promised, and
// returns its checksum. again gives the body once more, for a trailer that
// names an algorithm nobody announced.
//
// Errors: IncompleteBody, BadDigest, InvalidRequest.
func (in *intake) finish(again func() (io.ReadCloser, error)) (name s3api.ChecksumAlgorithm, sum string, err error) {
	if l := in.promise.length; l != nil && *l != in.n {
		return "", "", s3api.IncompleteBody("You did not provide the number of bytes specified by the Content-Length HTTP header")
	}
	if in.wantMD5 != nil && string(in.sum(s3api.ChecksumAlgorithmMd5)) != string(in.wantMD5) {
		return "", "", s3api.BadDigest("The Content-MD5 you specified did not match what we received.")
	}
	if in.trailing {
		if err := in.readTrailer(again); err != nil {
			return "", "", err
		}
	}
	sum = base64.StdEncoding.EncodeToString(in.sum(in.name))
	if in.value != "" && in.value != sum {
		return "", "", s3api.BadDigest("The %s you specified did not match the calculated checksum.", in.name)
	}
	return in.name, sum, nil
}

func (in *intake) sum(name s3api.ChecksumAlgorithm) []byte { return in.hashes[name].Sum(nil) }

// readTrailer takes the checksum from the trailing headers, if there is one.
func (in *intake) readTrailer(again func() (io.ReadCloser, error)) error {
	found := false
	for _, p := range new(checksumHeaders).each() {
		value, ok := protocol.Trailer(in.r, headerOf(p.name))
		if !ok {
			continue
		}
		if found {
			return s3api.InvalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		found = true
		if err := validChecksum(p.name, value); err != nil {
			return err
		}
		if in.promise.want != "" && p.name != in.promise.want {
			return checksumMismatch(in.promise.want, p.name)
		}
		if in.hashes[p.name] == nil {
			if err := in.rehash(p.name, again); err != nil {
				return err
			}
		}
		in.name, in.value = p.name, value
	}
	if !found && in.promise.algorithm != "" {
		return s3api.InvalidRequest("x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")
	}
	return nil
}

func (in *intake) rehash(name s3api.ChecksumAlgorithm, again func() (io.ReadCloser, error)) error {
	r, err := again()
	if err != nil {
		return err
	}
	defer r.Close()
	h := newHash(name)
	if _, err := io.Copy(h, r); err != nil {
		return err
	}
	in.hashes[name] = h
	return nil
}

// combine returns the CRC of two bodies of which the second has len2 bytes,
// from their CRCs: multiplication by a power of x modulo the polynomial, as
// matrices over GF(2).
func (a *algorithm) combine(crc1, crc2 uint64, len2 int64) uint64 {
	if len2 <= 0 {
		return crc1
	}
	var even, odd [64]uint64
	odd[0] = a.poly
	for i := 1; i < a.width; i++ {
		odd[i] = 1 << (i - 1)
	}
	square(&even, &odd, a.width) // two zero bits
	square(&odd, &even, a.width) // four
	for {
		square(&even, &odd, a.width)
		if len2&1 != 0 {
			crc1 = times(&even, crc1)
		}
		if len2 >>= 1; len2 == 0 {
			break
		}
		even, odd = odd, even
	}
	return crc1 ^ crc2
}

func times(m *[64]uint64, v uint64) uint64 {
	var sum uint64
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 != 0 {
			sum ^= m[i]
		}
	}
	return sum
}

func square(dst, m *[64]uint64, width int) {
	for i := range width {
		dst[i] = times(m, m[i])
	}
}

// crcValue and crcText convert between a CRC and its text on the wire.
func (a *algorithm) crcValue(text string) (uint64, bool) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != a.size {
		return 0, false
	}
	if a.size == 4 {
		return uint64(binary.BigEndian.Uint32(b)), true
	}
	return binary.BigEndian.Uint64(b), true
}

func (a *algorithm) crcText(v uint64) string {
	if a.size == 4 {
		return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, uint32(v)))
	}
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, v))
}

// checkedType returns the checksum type of an upload.
//
// Source: S3 User Guide, "Checking object integrity", multipart uploads.
func checkedType(name s3api.ChecksumAlgorithm, want s3api.ChecksumType) (s3api.ChecksumType, error) {
	a, ok := algorithmOf(name)
	if !ok {
		return "", s3api.InvalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
	}
	switch want {
	case "":
		if name == s3api.ChecksumAlgorithmCrc64nvme {
			return s3api.ChecksumTypeFullObject, nil
		}
		return s3api.ChecksumTypeComposite, nil
	case s3api.ChecksumTypeFullObject:
		if a.poly != 0 {
			return want, nil
		}
	case s3api.ChecksumTypeComposite:
		if name != s3api.ChecksumAlgorithmCrc64nvme {
			return want, nil
		}
	default:
		return "", schema.NewError("InvalidRequest", 400, "Value for x-amz-checksum-type header is invalid.")
	}
	return "", s3api.InvalidRequest("The %s checksum type cannot be used with the %s checksum algorithm.", want, strings.ToLower(string(name)))
}
