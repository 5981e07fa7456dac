package geospatial

import (
	"testing"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
)

func TestKeyUses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 512)
	w.start()
	key, other := w.key(keyActions()...), w.key(keyActions()...)
	collection := w.small()
	arn, plain := w.startJob(ndvi(collection, key)), w.startJob(ndvi(collection, ""))
	w.wait(arn, geoapi.EarthObservationJobStatusCompleted)
	w.wait(plain, geoapi.EarthObservationJobStatusCompleted)
	var found []KeyUse
	var cursor []byte
	for calls := 1; ; calls++ {
		some, next, _, err := w.geo.KeyUses(t.Context(), key, cursor, 1)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, some...)
		if cursor = next; cursor == nil {
			if calls != 2 {
				t.Errorf("%d calls for two jobs", calls)
			}
			break
		}
	}
	if len(found) != 1 {
		t.Fatalf("found %+v, want one job", found)
	}
	u := found[0]
	if u.ARN != arn || u.Name != "vegetation" || u.Status != "COMPLETED" || u.Role != roleARN || len(u.GrantID) != 64 || u.Files != 1 || u.Bytes == 0 {
		t.Errorf("found %+v", u)
	}
	if some, _, _, err := w.geo.KeyUses(t.Context(), other, nil, 10); err != nil || len(some) != 0 {
		t.Errorf("another key: %+v, %v", some, err)
	}
}
