package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestMain lets the test binary stand in for sagekeep where a command starts
// itself as a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv("SAGEKEEP_TEST_AS_COMMAND") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestBench(t *testing.T) {
	t.Setenv("SAGEKEEP_TEST_AS_COMMAND", "1")
	dir := t.TempDir()
	code, out, errs := runCommand(t, "bench", "--connections", "3", "--turns", "2", "--requests", "40", "--dir", dir, "--json")
	if code != 0 {
		t.Fatalf("bench ended with %d: %s", code, errs)
	}
	var seen []string
	for line := range strings.Lines(out) {
		var r benchResult
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		seen = append(seen, r.Operation)
		if r.Connections != 3 || r.Turns != 2 || r.Rate <= 0 || r.EchoRate <= 0 || r.Ratio <= 0 || r.RatioMin > r.Ratio || r.RatioMax < r.Ratio || r.P50 <= 0 || r.P99 < r.P50 {
			t.Errorf("result %+v", r)
		}
	}
	if got := strings.Join(seen, " "); got != "GenerateDataKey Decrypt" {
		t.Errorf("operations %q", got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%d things are left in the folder (%v)", len(left), err)
	}
}

func TestBenchUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--connections", "x"}, {"--connections", "0"}, {"--turns", "0"}, {"--requests", "-1"}, {"--turns", "x"}} {
		if code, _, errs := runCommand(t, append([]string{"bench"}, args...)...); code != 2 || errs == "" {
			t.Errorf("bench %v ended with %d, %q", args, code, errs)
		}
	}
}
