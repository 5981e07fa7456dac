package kms

import (
	"bytes"
	"errors"
	"maps"
	"testing"

	"github.com/sagekeep/sagekeep/internal/secret"
)

const (
	testKeyID    = "1234abcd-12ab-34cd-56ef-1234567890ab"
	testMaterial = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
)

func TestBlobRoundTrip(t *testing.T) {
	t.Parallel()
	hbk := secret.Random()
	for _, id := range []string{testKeyID, "mrk-1234abcd12ab34cd56ef1234567890ab"} {
		for _, n := range []int{0, 1, maxPlaintext} {
			ec := map[string]string{"aws:s3:arn": "arn:aws:s3:::b/k", "x": ""}
			sealed, err := sealBlob(hbk, id, testMaterial, ec, make([]byte, n))
			if err != nil {
				t.Fatal(err)
			}
			if len(sealed) > maxBlob {
				t.Fatalf("%d bytes make a blob of %d", n, len(sealed))
			}
			b, err := parseBlob(sealed)
			if err != nil || b.keyID != id {
				t.Fatalf("parse: %v, key %q", err, b.keyID)
			}
			if p, err := b.open(hbk, maps.Clone(ec)); err != nil || len(p) != n {
				t.Fatalf("open: %d bytes, %v", len(p), err)
			}
		}
	}
}

func TestBlobIsBoundToItsContext(t *testing.T) {
	t.Parallel()
	hbk := secret.Random()
	sealed, err := sealBlob(hbk, testKeyID, testMaterial, map[string]string{"a": "bc", "d": "e"}, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := parseBlob(sealed)
	if err != nil {
		t.Fatal(err)
	}
	for name, ec := range map[string]map[string]string{
		"none":         nil,
		"fewer":        {"a": "bc"},
		"more":         {"a": "bc", "d": "e", "f": ""},
		"other value":  {"a": "bc", "d": "E"},
		"moved border": {"ab": "c", "d": "e"},
		"joined":       {"a": "bcde"},
	} {
		if _, err := b.open(hbk, ec); !errors.Is(err, errBlob) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.open(secret.Random(), map[string]string{"a": "bc", "d": "e"}); !errors.Is(err, errBlob) {
		t.Errorf("other key: %v", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		p, err := parseBlob(bad)
		if err == nil {
			_, err = p.open(hbk, map[string]string{"a": "bc", "d": "e"})
		}
		if !errors.Is(err, errBlob) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
}

func FuzzParseBlob(f *testing.F) {
	hbk := secret.Random()
	good, _ := sealBlob(hbk, testKeyID, testMaterial, nil, []byte("p"))
	f.Add(good)
	f.Add([]byte{1, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := parseBlob(in)
		if err != nil {
			return
		}
		// One encoding per header, and nothing but what was sealed opens.
		id, mrk, ok := keyIDBytes(b.keyID)
		if !ok || !bytes.Equal(id[:], in[2:18]) || mrk != (in[1] == blobMRK) {
			t.Fatalf("key id %q of %x", b.keyID, in[:18])
		}
		if _, err := b.open(hbk, nil); err == nil && !bytes.Equal(in, good) {
			t.Fatalf("forged %x", in)
		}
	})
}

func FuzzParseKeyRef(f *testing.F) {
	f.Add("arn:aws:kms:us-west-2:111122223333:key/" + testKeyID)
	f.Add("alias/a")
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := parseKeyRef(s, "111122223333", "us-west-2", byAlias)
		if err != nil {
			return
		}
		if (ref.id == "") == (ref.alias == "") || ref.region != "us-west-2" || len(ref.account) != 12 {
			t.Fatalf("parseKeyRef(%q) = %+v", s, ref)
		}
		if ref.id != "" && !validKeyID(ref.id) {
			t.Fatalf("id %q", ref.id)
		}
	})
}
