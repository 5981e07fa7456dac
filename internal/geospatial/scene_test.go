package geospatial

import (
	"bytes"
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/sagekeep/sagekeep/internal/raster"
)

// smallSide is the side of made-up scenes: four tiles, two of them narrow.
const smallSide = 520

// small are the stored values of the made-up bands.
func smallRed(x, y int) float32 { return float32(1000 + x%7*10 + y%5) }
func smallNIR(x, y int) float32 { return float32(3000 + x%3*100 + y%11) }

// smallMean is the mean NDVI of made-up scenes.
func smallMean() float64 {
	sum := 0.0
	for y := range smallSide {
		for x := range smallSide {
			n, r := float64(smallNIR(x, y)), float64(smallRed(x, y))
			sum += (n - r) / (n + r)
		}
	}
	return sum / (smallSide * smallSide)
}

// tiff writes a GeoTIFF in UTM zone 33 with the given pixels.
func tiff(t testing.TB, side int, pix func(x, y int) float32) []byte {
	t.Helper()
	l, err := raster.NewLayout(raster.Spec{
		Width: side, Height: side, SampleType: raster.Uint16, TileSize: 256,
		Transform: raster.Affine{330000, 10, 0, 5822040, 0, -10}, EPSG: 32633,
	})
	if err != nil {
		t.Fatal(err)
	}
	w := raster.NewWriter[float32](l, raster.Average, &raster.MemoryTiles{})
	all := make([]float32, side*side)
	for i := range all {
		all[i] = pix(i%side, i/side)
	}
	if err := w.WriteWindow(0, raster.Window{Width: side, Height: side}, all); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := w.Finish(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// itemText is a STAC item with the bands red and nir.
func itemText(id, datetime, more string) string {
	return fmt.Sprintf(`{"type":"Feature","stac_version":"1.0.0","id":%q,
		"geometry":{"type":"Polygon","coordinates":[[[12,52],[13,52],[13,53],[12,53],[12,52]]]},
		"properties":{"datetime":%q,"grid:code":"MGRS-33UUU","platform":"sentinel-2a"%s},"links":[],
		"assets":{"red":{"href":"./data/red.tif","type":"image/tiff; application=geotiff"},
		"nir":{"href":"data/nir.tif"},"preview":{"href":"./p.png","type":"image/png"}}}`, id, datetime, more)
}

// smallFiles is a folder with one made-up scene for each of the items.
func smallFiles(t testing.TB, items map[string]string) fstest.MapFS {
	t.Helper()
	return sceneFiles(items, tiff(t, smallSide, smallRed), tiff(t, smallSide, smallNIR))
}

func sceneFiles(items map[string]string, red, nir []byte) fstest.MapFS {
	fsys := fstest.MapFS{
		"scenes/data/red.tif": {Data: red},
		"scenes/data/nir.tif": {Data: nir},
		"scenes/catalog.json": {Data: []byte(`{"type":"Catalog","id":"c","stac_version":"1.0.0"}`)},
		"scenes/notes.txt":    {Data: []byte("not JSON")},
	}
	for name, text := range items {
		fsys["scenes/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

// small imports one made-up scene and returns the collection's ARN.
func (w *world) small() string {
	w.t.Helper()
	fsys := smallFiles(w.t, map[string]string{"item.json": itemText("S2A_33UUU_20170216_0_L2A", "2017-02-16T10:21:01Z", "")})
	arn, err := w.geo.Import(w.t.Context(), account, region, "small", fsys, []string{"scenes"}, nil)
	if err != nil {
		w.t.Fatalf("Import: %v", err)
	}
	return arn
}
