//go:build !race

package geospatial

// raceDetector says that pixels cost twenty times as much.
const raceDetector = false
