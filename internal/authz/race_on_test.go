//go:build race

package authz

import (
	"os"
	"runtime/debug"
	"testing"
)

// raceShare divides the number of cases of the slowest test: the race detector
// makes it six times as slow, and nothing in it is concurrent.
const raceShare = 5

// TestMain collects garbage less often: random cases make much of it, and under
// the race detector a quarter of the time went there.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
