package lint

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/internal/authz"
)

var update = flag.Bool("update", false, "rewrite the golden file of the seeds")

// kinds are the kinds by the part of a file's name before .json.
func kindOfFile(t *testing.T, name string) authz.Kind {
	t.Helper()
	parts := strings.Split(filepath.Base(name), ".")
	kinds := map[string]authz.Kind{
		"identity": authz.IdentityPolicy, "resource": authz.ResourcePolicy, "key": authz.KeyPolicy, "trust": authz.TrustPolicy, "scp": authz.SCP, "rcp": authz.RCP,
	}
	k := kinds[parts[len(parts)-2]]
	if k == 0 {
		t.Fatalf("%s names no kind", name)
	}
	return k
}

func files(t *testing.T, pattern ...string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil || len(all) == 0 {
		t.Fatalf("%v holds %d files: %v", pattern, len(all), err)
	}
	return all
}

// TestSeeds holds the policies of AWS's pages on SageMaker and KMS to what is
// known of them: statements by themselves lock the key, ListAliases and
// RetireGrant have no effect in a key policy, and one account has nine digits.
func TestSeeds(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	for _, name := range files(t, "testdata", "seeds", "*.json") {
		doc, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		kind := kindOfFile(t, name)
		if guess := GuessKind(doc); guess != kind {
			t.Errorf("%s is taken for %s", name, guess)
		}
		for _, f := range Check(doc, kind, Options{}) {
			fmt.Fprintf(&got, "%s:%d:%d: %s %s: %s (%s)\n", filepath.Base(name), f.Line, f.Column, f.Severity, f.Code, f.Message, f.Statement)
		}
	}
	golden := filepath.Join("testdata", "seeds.golden")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.ReplaceAll(string(want), "\r\n", "\n"); got.String() != text {
		t.Errorf("found\n%s\nwant\n%s", got.String(), text)
	}
}

// TestCleanDocuments: documents as AWS's guides advise them have no finding.
func TestCleanDocuments(t *testing.T) {
	t.Parallel()
	for _, name := range files(t, "testdata", "clean", "*.json") {
		doc, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range Check(doc, kindOfFile(t, name), Options{Resource: "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"}) {
			t.Errorf("%s: %+v", filepath.Base(name), f)
		}
	}
}

// TestManagedPolicies: the AWS managed policies that IAM serves have none
// either.
func TestManagedPolicies(t *testing.T) {
	t.Parallel()
	for _, name := range files(t, "..", "..", "iam", "builtin", "*.json") {
		doc, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range Check(doc, authz.IdentityPolicy, Options{}) {
			t.Errorf("%s: %+v", filepath.Base(name), f)
		}
	}
}
