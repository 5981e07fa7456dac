package main

import (
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/server"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func testImpact() *server.Impact {
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	const key = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	return &server.Impact{
		Key: &server.ImpactKey{
			ARN: key, Description: "two\nlines", State: "PendingDeletion", Spec: "SYMMETRIC_DEFAULT", Usage: "ENCRYPT_DECRYPT", Origin: "AWS_KMS",
			Manager: "CUSTOMER", MultiRegion: true, Regions: []string{"us-west-2", "eu-central-1"}, Created: at, DeletionDate: new(at.AddDate(0, 0, 7)), Aliases: []string{"alias/a", "alias/b"}, GrantCount: 21,
			LastUsage: &server.ImpactLastUse{Operation: "Decrypt", Time: at, EventID: "e-1", RequestID: "r-1"},
		},
		Resources: []server.ImpactResource{
			{Service: "s3", Type: "bucket", Name: "reports", ARN: "arn:aws:s3:::reports", Default: true, Objects: 3, Bytes: 12_345_678, Uploads: 1},
			{
				Service: "sagemaker-geospatial", Type: "earth-observation-job", Name: "ndvi", ARN: "arn:job", Status: "COMPLETED", Objects: 1, Bytes: 999, GrantID: "g-1",
			},
		},
		Grants: []server.ImpactGrant{{
			ID: "g-1", Grantee: "sagemaker-geospatial.us-west-2.amazonaws.com", Service: true, Issuer: "111122223333", Operations: []string{"Decrypt", "GenerateDataKey"},
			Constraints: map[string]string{"EncryptionContextSubset:a": "b\x1b[2J", "SourceArn": "arn:job"}, Created: at,
		}},
		Policies: []server.ImpactPolicy{
			{Type: "key policy", Policy: "default", Holders: []string{"arn:aws:iam::111122223333:root"}},
			{Type: "identity policy", Policy: "p", Holders: []string{"arn:aws:iam::111122223333:user/alice"}},
			{Type: "identity policy", Policy: "arn:aws:iam::111122223333:policy/q", Holders: []string{}},
			{Type: "trust policy", Holders: []string{"arn:aws:iam::111122223333:role/r"}},
			{Type: "bucket policy", Policy: "arn:aws:s3:::reports", Holders: []string{}},
		},
		UsedBy: []server.ImpactUser{
			{Principal: "arn:aws:iam::111122223333:role/r", Via: "s3.amazonaws.com", Count: 3, Failed: 1, Operations: map[string]int64{"GenerateDataKey": 1, "Decrypt": 2}, First: at, Last: at, LastEvent: "e-1"},
			{Principal: "arn:aws:iam::111122223333:user/bob", Failed: 2, Operations: map[string]int64{}, First: at, Last: at, LastEvent: "e-2"},
		},
		Days: 90, ObjectsRead: 4, RecordsRead: 5,
	}
}

func TestPrintImpact(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := printImpact(&b, testImpact()); err != nil {
		t.Fatal(err)
	}
	const want = `key        arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
state      PendingDeletion until 2026-11-30T10:00:00Z, SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT, origin AWS_KMS
regions    us-west-2 (primary), eu-central-1: a key with the same material in each
about      two lines
created    2026-11-23T10:00:00Z
last used  2026-11-23T10:00:00Z, Decrypt, event e-1
aliases    alias/a, alias/b

under it (4 objects looked at):
  s3 bucket reports: 3 objects, 12.3 MB, 1 upload under way, and whatever is added without saying so
  sagemaker-geospatial earth-observation-job ndvi (arn:job): 1 file, 999 bytes, COMPLETED, grant g-1

grants: 21
  g-1  service sagemaker-geospatial.us-west-2.amazonaws.com: Decrypt, GenerateDataKey, EncryptionContextSubset:a=b [2J, SourceArn=arn:job
  and 1 more

policies that name it:
  its key policy names arn:aws:iam::111122223333:root
  p, of arn:aws:iam::111122223333:user/alice
  arn:aws:iam::111122223333:policy/q, of none
  the trust policy of arn:aws:iam::111122223333:role/r
  the bucket policy of arn:aws:s3:::reports

used by, in the last 90 days (5 records looked at):
  arn:aws:iam::111122223333:role/r via s3.amazonaws.com: 3 requests and 1 that failed, last 2026-11-23T10:00:00Z (2 Decrypt, 1 GenerateDataKey)
  arn:aws:iam::111122223333:user/bob: 0 requests and 2 that failed, last 2026-11-23T10:00:00Z
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	bare := &server.Impact{Key: &server.ImpactKey{ARN: "arn"}, Days: 1}
	if err := printImpact(&b, bare); err != nil || !containsAll(b.String(), "last used  never", "aliases    none", "nothing that this server knows of", "  nobody") {
		t.Errorf("an unused key: %v\n%s", err, b.String())
	}
}

// TestImpactJSON keeps the fields of --json.
func TestImpactJSON(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := printJSON(&b, testImpact()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "key-impact.json")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("--json differs from %s:\n%s", path, b.String())
	}
}

func containsAll(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

func TestByteSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0 bytes", 1: "1 byte", 999: "999 bytes", 1000: "1 kB", 1234: "1.23 kB", 999_499: "999 kB", 999_500: "1 MB", 56_700_000: "56.7 MB", 3_000_000_000: "3 GB", 7e15: "7e+03 TB",
	} {
		if got := byteSize(n); got != want {
			t.Errorf("byteSize(%d) = %q, want %q", n, got, want)
		}
	}
}

// TestKeyCommands runs each command beside a server, and those that only look
// without one.
func TestKeyCommands(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	url, stop := startServe(t, dir)
	creds, err := server.ReadCredentials(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := &client.Client{
		Endpoint: url, Region: server.DefaultRegion,
		Credential: sigv4.Credential{AccessKeyID: creds.Accounts[0].AccessKeyID, Secret: creds.Accounts[0].SecretAccessKey},
	}
	made, err := client.Call(t.Context(), c, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	id, arn := made.KeyMetadata.KeyId, *made.KeyMetadata.Arn
	if _, err := client.Call(t.Context(), c, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/reports", TargetKeyId: id}); err != nil {
		t.Fatal(err)
	}
	state := func() kmsapi.KeyState {
		t.Helper()
		out, err := client.Call(t.Context(), c, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id})
		if err != nil {
			t.Fatal(err)
		}
		return out.KeyMetadata.KeyState
	}
	for _, name := range []string{id, arn, "alias/reports", "arn:aws:kms:us-west-2:111122223333:alias/reports"} {
		code, out, errs := runCommand(t, "key", "impact", "--data-dir", dir, name)
		if code != 0 || !strings.Contains(out, arn) {
			t.Errorf("key impact %s ended with %d: %s%s", name, code, out, errs)
		}
	}
	code, out, errs := runCommand(t, "key", "impact", id, "--data-dir", dir, "--json")
	var impact server.Impact
	if err := json.Unmarshal([]byte(out), &impact); err != nil || code != 0 || impact.Key.ARN != arn {
		t.Errorf("key impact --json ended with %d: %v %s%s", code, err, out, errs)
	}
	code, out, _ = runCommand(t, "key", "list", "--data-dir", dir)
	if code != 0 || !containsAll(out, id, "alias/reports", "never", "Enabled") {
		t.Errorf("key list ended with %d: %s", code, out)
	}
	code, out, _ = runCommand(t, "key", "list", "--data-dir", dir, "--json")
	var listed server.ImpactKey
	if err := json.Unmarshal([]byte(out), &listed); err != nil || code != 0 || listed.ARN != arn {
		t.Errorf("key list --json ended with %d: %s", code, out)
	}

	for name, args := range map[string][]string{
		"no directory":       {"key", "impact", id},
		"no key":             {"key", "impact", "--data-dir", dir},
		"two keys":           {"key", "impact", "--data-dir", dir, id, id},
		"days":               {"key", "impact", "--data-dir", dir, id, "--days", "0"},
		"a short window":     {"key", "schedule-deletion", "--data-dir", dir, id, "--days", "6", "--yes"},
		"nobody to ask":      {"key", "disable", "--data-dir", dir, id},
		"list without dir":   {"key", "list"},
		"nobody to ask (2)":  {"key", "schedule-deletion", "--data-dir", dir, id},
		"an unknown command": {"key", "destroy", "--data-dir", dir, id},
		"no account":         {"key", "list", "--data-dir", dir, "--account", "abc"},
		"no account (2)":     {"key", "impact", "--data-dir", dir, id, "--account", "12345678901x"},
		"no account (3)":     {"key", "disable", "--data-dir", dir, id, "--account", "abc", "--yes"},
	} {
		if code, out, errs := runCommand(t, args...); code != 2 || out != "" || errs == "" {
			t.Errorf("%s: ended with %d, %q, %q", name, code, out, errs)
		}
	}
	wantUnknownAccount := func() {
		t.Helper()
		for name, args := range map[string][]string{"list": {"key", "list"}, "impact": {"key", "impact", arn}} {
			code, out, errs := runCommand(t, append(args, "--data-dir", dir, "--account", "999999999999")...)
			if code != 1 || out != "" || !strings.Contains(errs, "no such account: 999999999999") {
				t.Errorf("key %s of an unknown account = %d, %q, %q", name, code, out, errs)
			}
		}
	}
	wantUnknownAccount()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, args := range [][]string{{"disable"}, {"schedule-deletion"}} {
		var out, errs output
		code := run(t.Context(), append(append([]string{"key"}, args...), "--data-dir", dir, id), stdio{null, &out, &errs})
		if code != 2 || out.String() != "" || !strings.Contains(errs.String(), "there is no terminal to ask on") {
			t.Errorf("key %s </dev/null = %d, %q, %q", args[0], code, out.String(), errs.String())
		}
	}
	if code, _, errs := runCommand(t, "key", "impact", "--data-dir", dir, "alias/none"); code != 1 || !strings.Contains(errs, "alias/none is not found") {
		t.Errorf("an unknown alias: %d, %q", code, errs)
	}
	if state() != "Enabled" {
		t.Fatalf("the key is %s after questions", state())
	}

	code, out, errs = runCommand(t, "key", "disable", "--data-dir", dir, "alias/reports", "--yes")
	if code != 0 || !containsAll(out, "aliases    alias/reports", arn+" is disabled") || state() != "Disabled" {
		t.Errorf("key disable ended with %d, the key is %s: %s%s", code, state(), out, errs)
	}
	code, out, errs = runCommand(t, "key", "schedule-deletion", "--data-dir", dir, id, "--days", "7", "--yes")
	if code != 0 || !strings.Contains(out, arn+" is pending deletion until ") || state() != "PendingDeletion" {
		t.Errorf("key schedule-deletion ended with %d, the key is %s: %s%s", code, state(), out, errs)
	}
	code, _, errs = runCommand(t, "key", "disable", "--data-dir", dir, id, "--yes")
	if code != 1 || !strings.Contains(errs, "pending deletion") {
		t.Errorf("key disable of a key pending deletion: %d, %q", code, errs)
	}
	if code := stop(); code != 0 {
		t.Fatalf("serve ended with %d", code)
	}
	code, out, errs = runCommand(t, "key", "impact", "--data-dir", dir, "alias/reports")
	if code != 0 || !containsAll(out, arn, "PendingDeletion until ", "DisableKey") {
		t.Errorf("key impact without a server ended with %d: %s%s", code, out, errs)
	}
	if code, out, _ := runCommand(t, "key", "list", "--data-dir", dir); code != 0 || !strings.Contains(out, id) {
		t.Errorf("key list without a server ended with %d: %s", code, out)
	}
	wantUnknownAccount()
	if code, _, errs := runCommand(t, "key", "disable", "--data-dir", dir, id, "--yes"); code != 1 || !containsAll(errs, "no server runs", "`sagekeep serve --data-dir "+dir+"`") {
		t.Errorf("key disable without a server: %d, %q", code, errs)
	}
	// A list that fails prints no heading.
	for name, args := range map[string][]string{"no directory": {"--data-dir", t.TempDir()}, "another seal": {"--data-dir", dir, "--seal", "file:" + filepath.Join(t.TempDir(), "none")}} {
		if code, out, errs := runCommand(t, append([]string{"key", "list"}, args...)...); code != 1 || out != "" || errs == "" {
			t.Errorf("key list, %s = %d, %q, %q", name, code, out, errs)
		}
	}
	// One that finds nothing has one.
	if code, out, errs := runCommand(t, "key", "list", "--data-dir", dir, "--region", "eu-central-1"); code != 0 || !strings.HasPrefix(out, "KEY") || strings.Count(out, "\n") != 1 {
		t.Errorf("key list of an empty Region = %d, %q, %q", code, out, errs)
	}
}

// TestIsTerminal: a device is not yet a terminal.
func TestIsTerminal(t *testing.T) {
	t.Parallel()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if isTerminal(null) || isTerminal(strings.NewReader("yes\n")) {
		t.Error("what nobody sits at is taken for a terminal")
	}
	if runtime.GOOS != "linux" {
		return
	}
	pty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	defer pty.Close()
	if !isTerminal(pty) {
		t.Error("a terminal is not taken for one")
	}
}

func TestCounted(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 objects", 1: "1 object", 2: "2 objects"} {
		if got := counted(n, "object"); got != want {
			t.Errorf("counted(%d) = %q, want %q", n, got, want)
		}
	}
	var b strings.Builder
	i := testImpact()
	i.ObjectsRead, i.RecordsRead, i.Days = 1, 1, 1
	i.Resources[0].Objects, i.Resources[0].Bytes, i.UsedBy[1].Count = 1, 1, 1
	if err := printImpact(&b, i); err != nil || !containsAll(b.String(), "(1 object looked at)", "reports: 1 object, 1 byte, 1 upload under way", "last 1 day (1 record looked at)", "user/bob: 1 request and 2 that failed") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// A no, a typing error and the end of the input change nothing.
func TestConfirm(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]bool{"yes\n": true, " YES \n": true, "y\n": false, "no\n": false, "\n": false, "": false, "yes": false} {
		err := confirm(stdio{in: strings.NewReader(answer), out: io.Discard}, "Sure?")
		if (err == nil) != want {
			t.Errorf("%q: %v", answer, err)
		}
	}
}
