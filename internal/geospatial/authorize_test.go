package geospatial

import (
	"slices"
	"testing"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// TestChainedReadIsAsked: a job over the results of another asks for permission
// on that other, whose own grant opens them.
func TestChainedReadIsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 512)
	w.start()
	earlier := ref{Region: "us-west-2", Account: "111122223333", ID: "abcdefghijkl"}.jobARN()
	in := ndvi(w.small(), "")
	asks := func() bool {
		checks, err := w.geo.startChecks(w.root(), in)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(checks, func(c protocol.Check) bool {
			return c.Action == "sagemaker-geospatial:GetEarthObservationJob" && c.Resource == earlier
		})
	}
	if asks() {
		t.Error("a job over a collection asks about a job")
	}
	in.InputConfig = &geoapi.InputConfigInput{PreviousEarthObservationJobArn: &earlier}
	if !asks() {
		t.Error("nothing asks whether the caller may see the earlier job")
	}
}
