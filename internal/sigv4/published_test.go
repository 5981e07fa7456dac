package sigv4

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestPublishedExamples verifies the worked examples of AWS's documentation and
// of its Signature Version 4 test suite.
func TestPublishedExamples(t *testing.T) {
	t.Parallel()
	const s3Auth = "Authorization: AWS4-HMAC-SHA256 Credential=" + exampleKey + "/20130524/us-east-1/s3/aws4_request,"
	const suiteSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	suite := func(line, signature string) string {
		return line + " HTTP/1.1\nHost: example.amazonaws.com\nX-Amz-Date: 20150830T123600Z\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + signature
	}
	tests := []struct {
		name, head, body string
		key, secret, now string
		opts             Options
	}{
		{
			name: "S3 get object", key: exampleKey, secret: exampleSecret, now: "20130524T000000Z", opts: Options{S3: true, Service: "s3"},
			head: "GET /test.txt HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\nRange: bytes=0-9\n" +
				"x-amz-content-sha256: " + EmptySHA256 + "\nx-amz-date: 20130524T000000Z\n" + s3Auth +
				"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
		},
		{
			name: "S3 put object with Date", key: exampleKey, secret: exampleSecret, now: "20130524T000000Z", opts: Options{S3: true},
			body: "Welcome to Amazon S3.",
			head: "PUT /test$file.text HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\nDate: Fri, 24 May 2013 00:00:00 GMT\n" +
				"x-amz-date: 20130524T000000Z\nx-amz-storage-class: REDUCED_REDUNDANCY\nContent-Length: 21\n" +
				"x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072\n" + s3Auth +
				"SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
		},
		{
			name: "S3 query without value", key: exampleKey, secret: exampleSecret, now: "20130524T000000Z", opts: Options{S3: true},
			head: "GET /?lifecycle HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\nx-amz-date: 20130524T000000Z\n" +
				"x-amz-content-sha256: " + EmptySHA256 + "\n" + s3Auth +
				"SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
		},
		{
			name: "S3 list", key: exampleKey, secret: exampleSecret, now: "20130524T000000Z", opts: Options{S3: true},
			head: "GET /?max-keys=2&prefix=J HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\nx-amz-date: 20130524T000000Z\n" +
				"x-amz-content-sha256: " + EmptySHA256 + "\n" + s3Auth +
				"SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
		},
		{
			name: "S3 presigned", key: exampleKey, secret: exampleSecret, now: "20130524T120000Z", opts: Options{S3: true},
			head: "GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + exampleKey + "%2F20130524%2Fus-east-1%2Fs3%2Faws4_request" +
				"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host" +
				"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404 HTTP/1.1\nHost: examplebucket.s3.amazonaws.com",
		},
		{
			name: "IAM list users", key: "AKIDEXAMPLE", secret: suiteSecret, now: "20150830T123600Z", opts: Options{Service: "iam"},
			head: "GET /?Action=ListUsers&Version=2010-05-08 HTTP/1.1\nHost: iam.amazonaws.com\nX-Amz-Date: 20150830T123600Z\n" +
				"Content-Type: application/x-www-form-urlencoded; charset=utf-8\n" +
				"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, " +
				"Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
		},
		{name: "suite vanilla", head: suite("GET /", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")},
		{name: "suite dot segments", head: suite("GET /example1/example2/../..", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")},
		{name: "suite double slash", head: suite("GET //", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")},
		{name: "suite slash dot slash", head: suite("GET /./", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")},
		{name: "suite slashes", head: suite("GET //example//", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84")},
		{name: "suite unreserved", head: suite("GET /-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f")},
		{name: "suite raw UTF-8", head: suite("GET /\u1234", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85")},
		{name: "suite query", head: suite("GET /?Param1=value1", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb")},
		{name: "suite query order", head: suite("GET /?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.key == "" {
				tt.key, tt.secret, tt.now = "AKIDEXAMPLE", suiteSecret, "20150830T123600Z"
			}
			v := verifierAt(at(t, tt.now), Credential{AccessKeyID: tt.key, Secret: tt.secret})
			r := parseRequest(t, tt.head, []byte(tt.body))
			a, err := verify(t, v, r, tt.opts)
			wantKind(t, err, 0)
			if a.Credential == nil || a.AccessKeyID != tt.key {
				t.Fatalf("got %v", a)
			}
			if tt.opts.S3 {
				p, err := v.Body(r, a)
				wantKind(t, err, 0)
				got, err := io.ReadAll(p)
				wantKind(t, err, 0)
				if string(got) != tt.body {
					t.Fatalf("got body %q, want %q", got, tt.body)
				}
			}
			// The same verifier, now from the key cache.
			_, err = verify(t, v, r, tt.opts)
			wantKind(t, err, 0)
			if n := v.keys.len(); n != 1 {
				t.Fatalf("%d cached keys, want 1", n)
			}
		})
	}
}

// TestChunkedUploadExample is AWS's example of 66,560 bytes in chunks of 64 KiB.
func TestChunkedUploadExample(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte{'a'}, 66560)
	var body bytes.Buffer
	body.WriteString("10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n")
	body.Write(data[:65536])
	body.WriteString("\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n")
	body.Write(data[65536:])
	body.WriteString("\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n")
	head := "PUT /examplebucket/chunkObject.txt HTTP/1.1\nHost: s3.amazonaws.com\nx-amz-date: 20130524T000000Z\n" +
		"x-amz-storage-class: REDUCED_REDUNDANCY\nx-amz-content-sha256: " + StreamingPayload + "\nContent-Encoding: aws-chunked\n" +
		"x-amz-decoded-content-length: 66560\nContent-Length: 66824\n" +
		"Authorization: AWS4-HMAC-SHA256 Credential=" + exampleKey + "/20130524/us-east-1/s3/aws4_request," +
		"SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class," +
		"Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
	if body.Len() != 66824 {
		t.Fatalf("example has %d bytes", body.Len())
	}
	v := verifierAt(at(t, "20130524T000000Z"), Credential{AccessKeyID: exampleKey, Secret: exampleSecret})
	r := parseRequest(t, head, body.Bytes())
	a, err := verify(t, v, r, Options{S3: true})
	wantKind(t, err, 0)
	p, err := v.Body(r, a)
	wantKind(t, err, 0)
	got, err := io.ReadAll(p)
	wantKind(t, err, 0)
	if !bytes.Equal(got, data) || p.DecodedLength != 66560 {
		t.Fatalf("got %d bytes, DecodedLength %d", len(got), p.DecodedLength)
	}
}

// TestChunkedTrailerExample is AWS's example of the same body with a trailer.
func TestChunkedTrailerExample(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte{'a'}, 66560)
	build := func(lineEnd string) []byte {
		var body bytes.Buffer
		body.WriteString("10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n")
		body.Write(data[:65536])
		body.WriteString("\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n")
		body.Write(data[65536:])
		body.WriteString("\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n")
		body.WriteString("x-amz-checksum-crc32c:sOO8/Q==" + lineEnd)
		body.WriteString("x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n")
		return body.Bytes()
	}
	for name, end := range map[string]string{"CRLF": "\r\n", "LF and CRLF": "\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			head := "PUT /examplebucket/chunkObject.txt HTTP/1.1\nHost: s3.amazonaws.com\nx-amz-date: 20130524T000000Z\n" +
				"x-amz-storage-class: REDUCED_REDUNDANCY\nx-amz-content-sha256: " + StreamingPayloadTrailer + "\nContent-Encoding: aws-chunked\n" +
				"x-amz-decoded-content-length: 66560\nx-amz-trailer: x-amz-checksum-crc32c\n" +
				"Authorization: AWS4-HMAC-SHA256 Credential=" + exampleKey + "/20130524/us-east-1/s3/aws4_request," +
				"SignedHeaders=content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer," +
				"Signature=106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
			v := verifierAt(at(t, "20130524T000000Z"), Credential{AccessKeyID: exampleKey, Secret: exampleSecret})
			r := parseRequest(t, head, nil)
			r.Body = io.NopCloser(bytes.NewReader(build(end)))
			a, err := verify(t, v, r, Options{S3: true})
			wantKind(t, err, 0)
			p, err := v.Body(r, a)
			wantKind(t, err, 0)
			if p.Trailer() != nil {
				t.Fatal("trailer before the end")
			}
			got, err := io.ReadAll(p)
			wantKind(t, err, 0)
			if !bytes.Equal(got, data) || p.Trailer().Get("X-Amz-Checksum-Crc32c") != "sOO8/Q==" || len(p.Trailer()) != 1 {
				t.Fatalf("got %d bytes, trailer %v", len(got), p.Trailer())
			}
		})
	}
}

// TestSignMatchesPublishedExamples signs what AWS's examples sign.
func TestSignMatchesPublishedExamples(t *testing.T) {
	t.Parallel()
	cred := Credential{AccessKeyID: exampleKey, Secret: exampleSecret}
	now := at(t, "20130524T000000Z")
	r, err := http.NewRequest(http.MethodGet, "https://examplebucket.s3.amazonaws.com/test.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	url, err := Presign(r, cred, "us-east-1", "s3", 24*time.Hour, now)
	if err != nil || !strings.HasSuffix(url, "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404") {
		t.Errorf("Presign: %s, %v", url, err)
	}
	r.Header.Set("Range", "bytes=0-9")
	if err := Sign(r, nil, cred, "us-east-1", "s3", now); err != nil {
		t.Fatal(err)
	}
	if got := r.Header.Get("Authorization"); !strings.HasSuffix(got, "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41") {
		t.Errorf("Sign: %s", got)
	}
}
