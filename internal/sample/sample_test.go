package sample_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"path"
	"testing"

	"github.com/sagekeep/sagekeep/internal/raster"
	"github.com/sagekeep/sagekeep/internal/sample"
)

type item struct {
	ID         string    `json:"id"`
	BBox       []float64 `json:"bbox"`
	Properties struct {
		Datetime string `json:"datetime"`
		Grid     string `json:"grid:code"`
		EPSG     int    `json:"proj:epsg"`
	} `json:"properties"`
	Assets map[string]struct {
		Href      string    `json:"href"`
		Shape     []int     `json:"proj:shape"`
		Transform []float64 `json:"proj:transform"`
		Raster    []struct {
			DataType   string   `json:"data_type"`
			Scale      float64  `json:"scale"`
			NoData     *float64 `json:"nodata"`
			Resolution float64  `json:"spatial_resolution"`
		} `json:"raster:bands"`
	} `json:"assets"`
}

// TestItemDescribesItsFiles opens every asset and compares what the item says of
// it with what the file says of itself.
func TestItemDescribesItsFiles(t *testing.T) {
	t.Parallel()
	text, err := fs.ReadFile(sample.FS(), sample.Item)
	if err != nil {
		t.Fatal(err)
	}
	var it item
	if err := json.Unmarshal(text, &it); err != nil {
		t.Fatal(err)
	}
	if it.ID != "S2A_33UUU_20170216_0_L1C" || it.Properties.Grid != "MGRS-33UUU" || it.Properties.Datetime != "2017-02-16T10:21:01Z" {
		t.Errorf("item is %q, %+v", it.ID, it.Properties)
	}
	if b := it.BBox; len(b) != 4 || b[0] >= b[2] || b[1] >= b[3] {
		t.Errorf("bbox %v", b)
	}
	if len(it.Assets) != 4 {
		t.Errorf("item has %d assets, want 4", len(it.Assets))
	}
	for name, a := range it.Assets {
		data, err := fs.ReadFile(sample.FS(), path.Join(sample.Scene, a.Href))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		im, err := raster.Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		tr, ok := im.GeoTransform()
		stac := raster.Affine{a.Transform[2], a.Transform[0], a.Transform[1], a.Transform[5], a.Transform[3], a.Transform[4]}
		if !ok || tr != stac || im.EPSG() != it.Properties.EPSG {
			t.Errorf("%s: file has transform %v and EPSG %d, item says %v and %d", name, tr, im.EPSG(), stac, it.Properties.EPSG)
		}
		if im.Width() != a.Shape[1] || im.Height() != a.Shape[0] || im.SampleType().String() != a.Raster[0].DataType || tr[1] != a.Raster[0].Resolution {
			t.Errorf("%s: file is %dx%d of %v, item says %v and %+v", name, im.Width(), im.Height(), im.SampleType(), a.Shape, a.Raster[0])
		}
	}
}
