package kms

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// TestMac compares every MAC with crypto/hmac on a key that the test knows.
func TestMac(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec      kmsapi.KeySpec
		algorithm kmsapi.MacAlgorithmSpec
		hash      func() hash.Hash
	}{
		{"HMAC_224", "HMAC_SHA_224", sha256.New224},
		{"HMAC_256", "HMAC_SHA_256", sha256.New},
		{"HMAC_384", "HMAC_SHA_384", sha512.New384},
		{"HMAC_512", "HMAC_SHA_512", sha512.New},
	} {
		t.Run(string(c.spec), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			key := private(t, c.spec).(macKey)
			id := f.keyWith(c.spec, usageMAC, key)
			for _, size := range []int{1, 200, 4096} {
				m := bytes.Repeat([]byte{byte(size)}, size)
				x := hmac.New(c.hash, key)
				x.Write(m)
				want := x.Sum(nil)
				got := must(f.admin(), f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: id, Message: m, MacAlgorithm: c.algorithm})
				if !bytes.Equal(got.Mac, want) || *got.KeyId != arnOf(id) || got.MacAlgorithm != c.algorithm {
					t.Errorf("%d bytes: %+v, want the MAC %x", size, got, want)
				}
				v := must(f.admin(), f, kmsapi.VerifyMac, &kmsapi.VerifyMacInput{KeyId: id, Message: m, MacAlgorithm: c.algorithm, Mac: want})
				if !*v.MacValid || *v.KeyId != arnOf(id) || v.MacAlgorithm != c.algorithm {
					t.Errorf("VerifyMac: %+v", v)
				}
				for name, bad := range map[string][]byte{"changed": append([]byte{want[0] ^ 1}, want[1:]...), "short": want[:len(want)-1], "long": append(bytes.Clone(want), 0)} {
					_, err := try(f.admin(), f, kmsapi.VerifyMac, &kmsapi.VerifyMacInput{KeyId: id, Message: m, MacAlgorithm: c.algorithm, Mac: bad})
					wantInvalid(t, "a MAC that is "+name, err, "KMSInvalidMacException")
				}
				_, err := try(f.admin(), f, kmsapi.VerifyMac, &kmsapi.VerifyMacInput{KeyId: id, Message: append(m[:size-1:size-1], 0xff), MacAlgorithm: c.algorithm, Mac: want})
				if size <= 4096 {
					wantInvalid(t, "the MAC of another message", err, "KMSInvalidMacException")
				}
			}
			// A key that KMS made gives the same MAC each time, and no other key does.
			one, two := f.newKey(c.spec, usageMAC), f.newKey(c.spec, usageMAC)
			mac := func(id string) []byte {
				return must(f.admin(), f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: id, Message: []byte("m"), MacAlgorithm: c.algorithm}).Mac
			}
			if !bytes.Equal(mac(one), mac(one)) || bytes.Equal(mac(one), mac(two)) {
				t.Error("MACs do not belong to their keys")
			}
		})
	}
}

func TestMacErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id, sign, plain := f.newKey("HMAC_256", usageMAC), f.newKey("ECC_NIST_P256", usageSign), f.key("")
	const length = "1 validation error detected: Value at 'message' failed to satisfy constraint: Member must have length "
	for _, c := range []struct {
		name, key     string
		algorithm     kmsapi.MacAlgorithmSpec
		size          int
		dry           bool
		code, message string
	}{
		{"another algorithm", id, "HMAC_SHA_512", 1, false, "InvalidKeyUsageException", "Algorithm HMAC_SHA_512 is incompatible with key spec HMAC_256."},
		{"unknown algorithm", id, "HMAC_MD5", 1, false, "ValidationException", "1 validation error detected: Value 'HMAC_MD5' at 'macAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: [*"},
		{"4097 bytes", id, "HMAC_SHA_256", 4097, false, "ValidationException", length + "less than or equal to 4096"},
		{"no bytes", id, "HMAC_SHA_256", 0, false, "ValidationException", length + "greater than or equal to 1"},
		{"signing key", sign, "HMAC_SHA_256", 1, false, "InvalidKeyUsageException", arnOf(sign) + " key usage is SIGN_VERIFY which is not valid for "},
		{"symmetric key", plain, "HMAC_SHA_256", 1, false, "InvalidKeyUsageException", arnOf(plain) + " key usage is ENCRYPT_DECRYPT which is not valid for "},
		{"dry run", id, "HMAC_SHA_256", 1, true, "DryRunOperationException", "The request would have succeeded, but the DryRun option is set."},
		{"no key id", "key_id", "HMAC_SHA_256", 1, false, "NotFoundException", "Invalid keyId 'key_id'"},
	} {
		text := func(operation string) string {
			if c.message[len(c.message)-1] == ' ' {
				return c.message + operation + "."
			}
			return c.message
		}
		m := make([]byte, c.size)
		_, err := try(f.admin(), f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: c.key, Message: m, MacAlgorithm: c.algorithm, DryRun: &c.dry})
		wantError(t, "GenerateMac: "+c.name, err, c.code, text("GenerateMac"))
		mac := []byte("mac")
		if c.dry {
			mac = must(f.admin(), f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: c.key, Message: m, MacAlgorithm: c.algorithm}).Mac
		}
		_, err = try(f.admin(), f, kmsapi.VerifyMac, &kmsapi.VerifyMacInput{KeyId: c.key, Message: m, MacAlgorithm: c.algorithm, Mac: mac, DryRun: &c.dry})
		wantError(t, "VerifyMac: "+c.name, err, c.code, text("VerifyMac"))
	}
	_, err := try(f.admin(), f, kmsapi.VerifyMac, &kmsapi.VerifyMacInput{KeyId: id, Message: []byte("m"), MacAlgorithm: "HMAC_SHA_256", Mac: []byte("x"), DryRun: new(true)})
	wantError(t, "dry run of a bad MAC", err, "KMSInvalidMacException", "")
}
