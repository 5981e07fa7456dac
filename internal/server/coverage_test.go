package server

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/api/schema"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestCoveragePage keeps docs/coverage.md equal to what is registered.
func TestCoveragePage(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t)
	notes, err := os.ReadFile("../../docs/deviations.md")
	if err != nil {
		t.Fatal(err)
	}
	want := coveragePage(s.registry.Operations(), string(notes))
	const path = "../../docs/coverage.md"
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/coverage.md is stale: go test ./internal/server -run TestCoveragePage -update")
	}
}

func coveragePage(ops map[string][]*schema.Operation, notes string) string {
	var b strings.Builder
	b.WriteString("# Coverage\n\nGenerated from what the server registers, by `go test ./internal/server -run TestCoveragePage -update`.\n" +
		"An operation that AWS has and this list has not answers NotImplementedException (HTTP 501); in Amazon S3 NotImplemented.\n\n")
	b.WriteString("| service | implemented | of AWS's |\n|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(ops)) {
		fmt.Fprintf(&b, "| %s | %d | %d |\n", name, len(ops[name]), len(ops[name][0].Service.Known))
	}
	for _, name := range slices.Sorted(maps.Keys(ops)) {
		svc := ops[name][0].Service
		have := map[string]bool{}
		var yes, no []string
		for _, op := range ops[name] {
			have[op.Name] = true
			yes = append(yes, op.Name)
		}
		for _, known := range svc.Known {
			if !have[known] {
				no = append(no, known)
			}
		}
		fmt.Fprintf(&b, "\n## %s\n\nAPI version %s. Implemented: %s.\n", svc.ID, svc.APIVersion, strings.Join(yes, ", "))
		if len(no) > 0 {
			fmt.Fprintf(&b, "\nNot yet: %s.\n", strings.Join(no, ", "))
		}
	}
	return b.String() + "\n" + notes
}
