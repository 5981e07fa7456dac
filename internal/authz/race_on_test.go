//go:build race

package authz

// raceShare divides the number of cases of the slowest test: the race detector
// makes it six times as slow, and nothing in it is concurrent.
const raceShare = 5
