package geospatial

import (
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/sample"
)

func TestParseItem(t *testing.T) {
	t.Parallel()
	b, err := readSmall(sample.FS(), sample.Item)
	if err != nil {
		t.Fatal(err)
	}
	item, err := parseItem(b)
	if err != nil {
		t.Fatal(err)
	}
	if item.ID != "S2A_33UUU_20170216_0_L1C" || item.Tile != "33UUU" || item.epsg != 32633 || len(item.hrefs) != 4 ||
		!item.Time.Equal(time.Date(2017, 2, 16, 10, 21, 1, 0, time.UTC)) || item.Props.Platform != "sentinel-2a" {
		t.Errorf("item %+v", item)
	}
	red := item.hrefs[2]
	if red.name != "red" || red.href != "T33UUU_20170216T102101_B04.tif" || red.bands[0].Scale != 0.0001 || *red.bands[0].NoData != 0 {
		t.Errorf("asset %+v", red)
	}
}

func TestTileOf(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		p    propertiesJSON
		want string
	}{
		{"grid:code", propertiesJSON{GridCode: "MGRS-33UUU"}, "33UUU"},
		{"Landsat grid", propertiesJSON{GridCode: "WRS2-034032"}, "034032"},
		{"MGRS properties", propertiesJSON{UTMZone: new(7), LatitudeBand: "U", GridSquare: "UU"}, "07UUU"},
		{"neither", propertiesJSON{}, "LC08_x"},
		{"a path is no tile", propertiesJSON{GridCode: "MGRS-../../x"}, ".._.._x"},
		{"dots are no tile", propertiesJSON{GridCode: "MGRS-.."}, "___"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := tileOf(&tc.p, "LC08/x"); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestParseItemDetails(t *testing.T) {
	t.Parallel()
	text := `{"type":"Feature","stac_version":"1.1.0","id":"a","bbox":[12,52,0,13,53,100],"geometry":null,
		"properties":{"datetime":null,"start_datetime":"2020-01-01T00:00:00Z","end_datetime":"2020-12-31T00:00:00+02:00","proj:code":"EPSG:32633","eo:cloud_cover":12.5},
		"assets":{"all":{"href":"a%20b.tif","type":"image/tiff","raster:offset":-0.1,"bands":[
			{"name":"B1","eo:common_name":"blue","nodata":"nan"},{"name":"B2","raster:scale":2,"nodata":-9999}]}}}`
	item, err := parseItem([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []bandInfo{
		{Names: []string{"B1", "blue"}, Scale: 1, Offset: -0.1, NoDataNaN: true},
		{Names: []string{"B2"}, Scale: 2, Offset: -0.1, NoData: new(-9999.0)},
	}
	if got := item.hrefs[0]; got.href != "a b.tif" || !reflect.DeepEqual(got.bands, want) {
		t.Errorf("asset %+v", got)
	}
	if item.epsg != 32633 || item.Time.Year() != 2020 || item.To.Hour() != 22 || *item.Props.EoCloudCover != 12.5 {
		t.Errorf("item %+v", item)
	}
}

func TestParseItemRefuses(t *testing.T) {
	t.Parallel()
	good := itemText("a", "2020-01-01T00:00:00Z", "")
	for _, tc := range []struct{ name, from, to, text string }{
		{"no JSON", "{", "", "JSON"},
		{"version 0.9", "1.0.0", "0.9.0", "STAC version"},
		{"no id", `"id":"a"`, `"id":""`, "id"},
		{"no time", `"datetime":"2020-01-01T00:00:00Z"`, `"x":1`, "datetime"},
		{"bad time", "2020-01-01T00:00:00Z", "yesterday", "RFC 3339"},
		{"open ring", "[12,52]]]", "[12,51]]]", "closed"},
		{"a point", `"Polygon"`, `"Point"`, "Point"},
		{"absolute href", "./data/red.tif", "https://example.com/red.tif", "relative"},
		{"no GeoTIFF", "tif", "xyz", "GeoTIFF"},
		{"scale 0", `"href":"./data/red.tif"`, `"raster:scale":0,"href":"./data/red.tif"`, "scale"},
		{"bad nodata", `"href":"./data/red.tif"`, `"nodata":"x","href":"./data/red.tif"`, "nodata"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := parseItem([]byte(strings.Replace(good, tc.from, tc.to, -1)))
			if err == nil || errors.Is(err, errNotItem) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want an error with %q", err, tc.text)
			}
		})
	}
	for _, text := range []string{`{"type":"Catalog","stac_version":"1.0.0"}`, `{"type":"Feature"}`, `[]`, `{"type":"FeatureCollection","stac_version":"1.0.0"}`} {
		if _, err := parseItem([]byte(text)); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
	jp2 := strings.NewReplacer(".tif", ".jp2", "image/tiff; application=geotiff", "image/jp2").Replace(good)
	if _, err := parseItem([]byte(jp2)); err == nil || !strings.Contains(err.Error(), "gdal_translate") {
		t.Errorf("JPEG 2000: got %v, want the advice to convert", err)
	}
}

// FuzzParseItem states what the rest of the service relies on: an item that is
// accepted has times in order, closed rings, relative paths and names that
// cannot leave their folder.
func FuzzParseItem(f *testing.F) {
	b, err := readSmall(sample.FS(), sample.Item)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(itemText("a", "2020-01-01T00:00:00Z", "")))
	safe := regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		item, err := parseItem(b)
		if err != nil {
			return
		}
		if item.ID == "" || item.To.Before(item.From) || item.Time.Location() != time.UTC {
			t.Fatalf("id %q, %v, %v to %v", item.ID, item.Time, item.From, item.To)
		}
		sc := sceneRow{ID: item.ID, Tile: item.Tile, Time: item.Time}
		for _, name := range []string{item.Tile, safeName(item.ID)} {
			if !safe.MatchString(name) || name == "." || name == ".." {
				t.Fatalf("name %q", name)
			}
		}
		if o := sc.object(&bandRow{Name: "NDVI"}); strings.Count(o, "/") != 4 {
			t.Fatalf("object %q", o)
		}
		for _, p := range item.Area {
			for _, r := range p {
				if len(r) < 4 || r[0] != r[len(r)-1] {
					t.Fatalf("ring %v", r)
				}
			}
		}
		if !item.Area.intersects(item.Area) {
			t.Fatalf("the area %v does not meet itself", item.Area)
		}
		if len(item.hrefs) == 0 {
			t.Fatal("no asset")
		}
		for _, a := range item.hrefs {
			if a.href == "" || strings.Contains(a.href, "://") || len(a.bands) == 0 {
				t.Fatalf("asset %+v", a)
			}
		}
	})
}
