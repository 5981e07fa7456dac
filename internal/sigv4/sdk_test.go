package sigv4

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestSDKUploads lets the unmodified S3 client upload over HTTP (hash in a
// header), over TLS (unsigned chunks and a trailer) and by a presigned URL.
func TestSDKUploads(t *testing.T) {
	t.Parallel()
	cred := Credential{AccessKeyID: "ASIATEST", Secret: "secret", SessionToken: "to/ken+=="}
	type upload struct {
		mode, body, trailer, path string
		err                       error
	}
	got := make(chan upload, 1)
	v := verifierAt(time.Time{}, cred)
	v.Now = nil
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := upload{path: r.RequestURI}
		defer func() { got <- u }()
		a, err := Inspect(r)
		if err == nil {
			err = v.Verify(r.Context(), r, a, Options{S3: true, Service: "s3"})
		}
		if err != nil {
			u.err = err
			w.WriteHeader(http.StatusForbidden)
			return
		}
		u.mode = a.PayloadHash
		p, err := v.Body(r, a)
		if err != nil {
			u.err = err
			return
		}
		b, err := io.ReadAll(p)
		u.body, u.err = string(b), err
		u.trailer = p.Trailer().Get("X-Amz-Checksum-Crc32")
	})
	plain, tls := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(tls.Close)
	client := func(s *httptest.Server) *s3.Client {
		return s3.New(s3.Options{
			BaseEndpoint: aws.String(s.URL), Region: "us-west-2", UsePathStyle: true, RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported, HTTPClient: s.Client(), RetryMaxAttempts: 1,
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: cred.AccessKeyID, SecretAccessKey: cred.Secret, SessionToken: cred.SessionToken}, nil
			}),
		})
	}
	data := strings.Repeat("feature ", 20000)
	for _, key := range []string{"a b/ü+%2F/../x//y", "plain.txt"} {
		in := func(body io.Reader) *s3.PutObjectInput {
			return &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key), Body: body, ContentLength: aws.Int64(int64(len(data))), Metadata: map[string]string{"k": "two  spaces"}}
		}
		if _, err := client(plain).PutObject(t.Context(), in(strings.NewReader(data))); err != nil {
			t.Logf("%q over HTTP: %v", key, err)
		}
		if u := <-got; u.err != nil || u.body != data || u.mode != sha256Hex([]byte(data)) {
			t.Errorf("%q over HTTP: mode %s, %d bytes, %v%s", key, u.mode, len(u.body), u.err, details(u.err))
		}
		// A stream that cannot seek; its length is known, or AWS refuses it as we do.
		if _, err := client(tls).PutObject(t.Context(), in(io.MultiReader(strings.NewReader(data)))); err != nil {
			t.Logf("%q over TLS: %v", key, err)
		}
		if u := <-got; u.err != nil || u.body != data || u.mode != StreamingUnsignedTrailer || u.trailer == "" {
			t.Errorf("%q over TLS: mode %s, %d bytes, trailer %q, %v%s", key, u.mode, len(u.body), u.trailer, u.err, details(u.err))
		}
		signed, err := s3.NewPresignClient(client(plain)).PresignPutObject(t.Context(), in(nil))
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), signed.Method, signed.URL, bytes.NewReader([]byte(data)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = signed.SignedHeader
		answer, err := plain.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if u := <-got; u.err != nil || u.body != data || u.mode != UnsignedPayload {
			t.Errorf("%q presigned: mode %s, %d bytes, %v%s", key, u.mode, len(u.body), u.err, details(u.err))
		}
	}
}
