package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/client"
)

// TestNoPlaintextAtRest is I1: nothing that a customer sent can be found by a
// byte search of the data directory, in any common encoding.
func TestNoPlaintextAtRest(t *testing.T) {
	t.Parallel()
	s, c := startServer(t)
	ctx := context.Background()
	mark := func(what string) string { return "Zq7-" + what + "-Kp3vXw9" }
	key, err := client.Call(ctx, c, kmsapi.CreateKey, &kmsapi.CreateKeyInput{
		Description: new(mark("description")), Tags: []kmsapi.Tag{{TagKey: mark("tagkey"), TagValue: mark("tagvalue")}},
	})
	must(t, err)
	id := key.KeyMetadata.KeyId
	_, err = client.Call(ctx, c, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/" + mark("alias"), TargetKeyId: id})
	must(t, err)
	_, err = client.Call(ctx, c, kmsapi.Encrypt, &kmsapi.EncryptInput{
		KeyId: id, Plaintext: []byte(mark("plaintext")), EncryptionContext: map[string]string{mark("eckey"): mark("ecvalue")},
	})
	must(t, err)
	_, err = client.Call(ctx, c, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: mark("user")})
	must(t, err)
	_, err = client.Call(ctx, c, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{
		UserName: mark("user"), PolicyName: mark("policy"),
		PolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::` + mark("resource") + `"}]}`,
	})
	must(t, err)
	access, err := client.Call(ctx, c, iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: new(mark("user"))})
	must(t, err)
	bucket := strings.ToLower(mark("bucket"))
	_, err = client.Call(ctx, c, s3api.CreateBucket, &s3api.CreateBucketInput{
		Bucket: bucket, CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: DefaultRegion},
	})
	must(t, err)
	for _, sse := range []s3api.ServerSideEncryption{"", s3api.ServerSideEncryptionAwsKms} {
		for _, size := range []int{1, 200_000} { // inside the row, and a segment
			_, err = client.Call(ctx, c, s3api.PutObject, &s3api.PutObjectInput{
				Bucket: bucket, Key: mark("object") + string(sse), ServerSideEncryption: sse, Metadata: map[string]string{"m": mark("metadata")},
				Body: strings.NewReader(strings.Repeat(mark("body"), size)),
			})
			must(t, err)
		}
	}
	// The journal and the rows reach the disk as they are; nothing is flushed on close only.
	forbidden := map[string]string{"secret access key": access.AccessKey.SecretAccessKey}
	for _, what := range []string{
		"description", "tagkey", "tagvalue", "alias", "plaintext", "eckey", "ecvalue", "user", "policy", "resource", "object", "metadata", "body",
	} {
		forbidden[what] = mark(what)
	}
	forbidden["bucket"] = bucket
	found := search(t, s.dir.path, forbidden)
	for what, where := range found {
		t.Errorf("%s stands readable in %s", what, where)
	}
	// The search itself works: it finds what is written on purpose.
	if err := os.WriteFile(filepath.Join(s.dir.path, tmpName, "probe"), utf16le(mark("probe")), 0o600); err != nil {
		t.Fatal(err)
	}
	if len(search(t, s.dir.path, map[string]string{"probe": mark("probe")})) != 1 {
		t.Error("the byte search does not find a marked value")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// search looks for the texts in UTF-8, UTF-16, base64 in every alignment, and hex.
func search(t *testing.T, dir string, texts map[string]string) map[string]string {
	t.Helper()
	forms := map[string][][]byte{}
	for what, text := range texts {
		forms[what] = [][]byte{
			[]byte(text), utf16le(text), utf16be(text), []byte(hex.EncodeToString([]byte(text))),
			[]byte(strings.ToUpper(hex.EncodeToString([]byte(text)))),
		}
		for shift := range 3 {
			b := base64.StdEncoding.EncodeToString(append(make([]byte, shift), text...))
			forms[what] = append(forms[what], []byte(b[4:len(b)-4])) // the ends depend on the neighbours
		}
	}
	found := map[string]string{}
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Base(path) == credentialsName {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for what, list := range forms {
			for _, f := range list {
				if bytes.Contains(b, f) || strings.Contains(path, string(f)) {
					found[what] = path
				}
			}
		}
		return nil
	})
	if err != nil || files < 5 {
		t.Fatalf("searched %d files: %v", files, err)
	}
	return found
}

func utf16le(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func utf16be(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.BigEndian.AppendUint16(b, u)
	}
	return b
}
