package geospatial

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/sample"
)

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	good, tiny := itemText("a", "2020-01-01T00:00:00Z", ""), tiff(t, 16, smallRed)
	for _, tc := range []struct {
		name  string
		files map[string]string
		paths []string
		text  string
	}{
		{"no items", map[string]string{}, []string{"scenes"}, "no STAC item"},
		{"no path", map[string]string{"i.json": good}, nil, "no STAC item"},
		{"a path that is not there", map[string]string{"i.json": good}, []string{"elsewhere"}, "elsewhere"},
		{"a named file that is no item", map[string]string{"i.json": good}, []string{"scenes/catalog.json"}, "not a STAC item"},
		{"a missing file", map[string]string{"i.json": strings.ReplaceAll(good, "nir.tif", "none.tif")}, []string{"scenes"}, "none.tif"},
		{"a file outside", map[string]string{"i.json": strings.ReplaceAll(good, "data/nir.tif", "../../nir.tif")}, []string{"scenes"}, "leaves"},
		{"a file that is no TIFF", map[string]string{"i.json": strings.ReplaceAll(good, "data/nir.tif", "notes.tif"), "notes.tif": "text"}, []string{"scenes"}, "nir"},
		{"JPEG 2000 by its bytes", map[string]string{"i.json": strings.ReplaceAll(good, "data/nir.tif", "x.tif"), "x.tif": "\x00\x00\x00\x0cjP  \r\n\x87\n"}, []string{"scenes"}, "gdal_translate"},
		{"another coordinate system", map[string]string{"i.json": itemText("a", "2020-01-01T00:00:00Z", `,"proj:epsg":32632`)}, []string{"scenes"}, "EPSG:32632"},
		{"the same id twice", map[string]string{"i.json": good, "j.json": good}, []string{"scenes"}, "same id"},
		{"a broken item beside a good one", map[string]string{"i.json": good, "j.json": strings.Replace(good, `"id":"a"`, `"id":""`, 1)}, []string{"scenes"}, "j.json"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 0)
			arn, err := w.geo.Import(t.Context(), account, region, "c", sceneFiles(tc.files, tiny, tiny), tc.paths, nil)
			if err == nil || !strings.Contains(err.Error(), tc.text) {
				t.Fatalf("got %q, %v; want an error with %q", arn, err, tc.text)
			}
			list, err := w.geo.ListRasterDataCollections(w.root(), &geoapi.ListRasterDataCollectionsInput{})
			if err != nil || len(list.RasterDataCollectionSummaries) != 0 || w.segments() != 0 {
				t.Errorf("half imported: %v, %v, %d segments", list, err, w.segments())
			}
		})
	}
}

func TestImportCollectionFromDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	dir := t.TempDir()
	if err := os.CopyFS(dir, sample.FS()); err != nil {
		t.Fatal(err)
	}
	arn, err := w.geo.ImportCollection(t.Context(), "berlin", filepath.Join(dir, sample.Scene))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(arn, "arn:aws:sagemaker-geospatial:us-west-2:111122223333:raster-data-collection/user/") {
		t.Errorf("ARN %q", arn)
	}
	got, err := protocol.Call(w.root(), w.reg, geoapi.GetRasterDataCollection, &geoapi.GetRasterDataCollectionInput{Arn: arn})
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "berlin" || got.Type != geoapi.DataCollectionTypeUser || !slices.Equal(got.ImageSourceBands, []string{"green", "nir", "red", "swir16"}) {
		t.Errorf("collection %+v", got)
	}
	if len(got.SupportedFilters) != 1 || got.SupportedFilters[0].Name != "Platform" {
		t.Errorf("SupportedFilters %+v", got.SupportedFilters)
	}
}

// many imports n items, one a day; every second one lies elsewhere.
func (w *world) many(n int) string {
	w.t.Helper()
	texts := map[string]string{}
	for i := range n {
		text := itemText(fmt.Sprintf("item-%03d", i), fmt.Sprintf("2020-%02d-%02dT12:00:00Z", 1+i/28, 1+i%28), fmt.Sprintf(`,"eo:cloud_cover":%d`, i))
		if i%2 == 1 {
			text = strings.NewReplacer("[12,", "[22,", "[13,", "[23,").Replace(text)
		}
		texts[fmt.Sprintf("i%03d.json", i)] = text
	}
	tiny := tiff(w.t, 16, smallRed)
	var calls int
	arn, err := w.geo.Import(w.t.Context(), account, region, "many", sceneFiles(texts, tiny, tiny), []string{"scenes"}, func(done, total int) {
		calls++
		if done != calls || total != 2*n {
			w.t.Errorf("progress %d of %d at call %d", done, total, calls)
		}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return arn
}

func TestSearch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	arn := w.many(60)
	year := &geoapi.TimeRangeFilterInput{StartTime: date("2020-01-01"), EndTime: date("2021-01-01")}
	area := func(x float64) *geoapi.AreaOfInterest {
		return &geoapi.AreaOfInterest{AreaOfInterestGeometry: &geoapi.AreaOfInterestGeometry{
			PolygonGeometry: &geoapi.PolygonGeometryInput{Coordinates: polygon{square(x, 52.5, .1)}.coordinates()},
		}}
	}
	props := func(p ...geoapi.Property) *geoapi.PropertyFilters {
		f := &geoapi.PropertyFilters{}
		for i := range p {
			f.Properties = append(f.Properties, geoapi.PropertyFilter{Property: &p[i]})
		}
		return f
	}
	cloud := geoapi.Property{EoCloudCover: &geoapi.EoCloudCoverInput{LowerBound: 10, UpperBound: 19}}
	for _, tc := range []struct {
		name  string
		q     geoapi.RasterDataCollectionQueryWithBandFilterInput
		want  int
		first string
	}{
		{"all", geoapi.RasterDataCollectionQueryWithBandFilterInput{TimeRangeFilter: year}, 60, "item-059"},
		{"three days", geoapi.RasterDataCollectionQueryWithBandFilterInput{TimeRangeFilter: &geoapi.TimeRangeFilterInput{
			StartTime: date("2020-01-02"), EndTime: date("2020-01-05"),
		}}, 3, "item-003"},
		{"an instant", geoapi.RasterDataCollectionQueryWithBandFilterInput{TimeRangeFilter: &geoapi.TimeRangeFilterInput{
			StartTime: date("2020-01-02").Add(12 * time.Hour), EndTime: date("2020-01-02").Add(12 * time.Hour),
		}}, 1, "item-001"},
		{"an area", geoapi.RasterDataCollectionQueryWithBandFilterInput{TimeRangeFilter: year, AreaOfInterest: area(12.5)}, 30, "item-058"},
		{"nowhere", geoapi.RasterDataCollectionQueryWithBandFilterInput{TimeRangeFilter: year, AreaOfInterest: area(50)}, 0, ""},
		{"cloud cover", geoapi.RasterDataCollectionQueryWithBandFilterInput{TimeRangeFilter: year, PropertyFilters: props(cloud)}, 10, "item-019"},
		{"cloud cover and platform", geoapi.RasterDataCollectionQueryWithBandFilterInput{TimeRangeFilter: year, PropertyFilters: props(cloud, geoapi.Property{
			Platform: &geoapi.PlatformInput{Value: "Sentinel-2", ComparisonOperator: geoapi.ComparisonOperatorStartsWith},
		})}, 10, "item-019"},
		{"another platform", geoapi.RasterDataCollectionQueryWithBandFilterInput{TimeRangeFilter: year, PropertyFilters: props(geoapi.Property{
			Platform: &geoapi.PlatformInput{Value: "sentinel-2a", ComparisonOperator: geoapi.ComparisonOperatorNotEquals},
		})}, 0, ""},
		{"a property that no item has", geoapi.RasterDataCollectionQueryWithBandFilterInput{TimeRangeFilter: year, PropertyFilters: props(geoapi.Property{
			ViewOffNadir: &geoapi.ViewOffNadirInput{UpperBound: 90},
		})}, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			in := &geoapi.SearchRasterDataCollectionInput{Arn: arn, RasterDataCollectionQuery: &tc.q}
			var ids []string
			for {
				out, err := w.geo.SearchRasterDataCollection(w.root(), in)
				if err != nil {
					t.Fatal(err)
				}
				if out.ApproximateResultCount != int32(tc.want) {
					t.Errorf("ApproximateResultCount %d, want %d", out.ApproximateResultCount, tc.want)
				}
				for _, i := range out.Items {
					ids = append(ids, i.Id)
				}
				if in.NextToken = out.NextToken; in.NextToken == nil {
					break
				}
			}
			if len(ids) != tc.want || tc.want > 0 && ids[0] != tc.first {
				t.Errorf("%d items %v, want %d from %s", len(ids), ids, tc.want, tc.first)
			}
			if slices.Sort(ids); len(slices.Compact(ids)) != tc.want {
				t.Errorf("items twice: %v", ids)
			}
		})
	}
}

func TestSearchItem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	in := &geoapi.SearchRasterDataCollectionInput{Arn: w.small(), RasterDataCollectionQuery: &geoapi.RasterDataCollectionQueryWithBandFilterInput{
		TimeRangeFilter: &geoapi.TimeRangeFilterInput{StartTime: date("2017-01-01"), EndTime: date("2018-01-01")}, BandFilter: []string{"nir", "none"},
	}}
	out, err := protocol.Call(w.root(), w.reg, geoapi.SearchRasterDataCollection, in)
	if err != nil {
		t.Fatal(err)
	}
	i := out.Items[0]
	if len(i.Assets) != 1 || !strings.HasSuffix(*i.Assets["nir"].Href, "/S2A_33UUU_20170216_0_L2A/nir.tif") || i.Geometry.Type != "Polygon" ||
		len(i.Geometry.Coordinates[0]) != 5 || *i.Properties.Platform != "sentinel-2a" || i.Properties.EoCloudCover != nil {
		t.Errorf("item %+v", i)
	}
	in.RasterDataCollectionQuery.TimeRangeFilter.EndTime = date("2016-01-01")
	_, err = w.geo.SearchRasterDataCollection(w.root(), in)
	wantCode(t, err, "ValidationException", "EndTime")
}

// TestAccountsAreApart: nothing of one account can be reached from another, and
// what does not exist looks like what may not be seen.
func TestAccountsAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	const other = "444455556666"
	if _, err := w.iam.CreateAccount(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	collection := w.small()
	job := w.startJob(ndvi(collection, ""))
	ctx := w.as(&identity.Caller{Type: identity.Root, Account: other, ARN: "arn:aws:iam::" + other + ":root", PrincipalID: other})
	for _, arn := range []string{job, strings.Replace(job, "job/", "job/none", 1)} {
		_, err := protocol.Call(ctx, w.reg, geoapi.GetEarthObservationJob, &geoapi.GetEarthObservationJobInput{Arn: arn})
		wantCode(t, err, "AccessDeniedException", "")
	}
	_, err := protocol.Call(ctx, w.reg, geoapi.SearchRasterDataCollection, &geoapi.SearchRasterDataCollectionInput{Arn: collection})
	wantCode(t, err, "AccessDeniedException", "")
	_, err = protocol.Call(w.root(), w.reg, geoapi.GetEarthObservationJob, &geoapi.GetEarthObservationJobInput{Arn: strings.Replace(job, "job/", "job/none", 1)})
	wantCode(t, err, "ResourceNotFoundException", "")
	list, err := protocol.Call(ctx, w.reg, geoapi.ListRasterDataCollections, &geoapi.ListRasterDataCollectionsInput{})
	if err != nil || len(list.RasterDataCollectionSummaries) != 0 {
		t.Errorf("collections of another account: %v, %v", list, err)
	}
	// A collection of another account is no input.
	in := ndvi(strings.Replace(collection, account, other, 1), "")
	_, err = protocol.Call(w.root(), w.reg, geoapi.StartEarthObservationJob, in)
	wantCode(t, err, "ResourceNotFoundException", "")
}

func TestTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	collection := w.small()
	in := ndvi(collection, "")
	in.Tags = map[string]string{"team": "forest"}
	for _, arn := range []string{w.startJob(in), collection} {
		ctx := w.root()
		if _, err := protocol.Call(ctx, w.reg, geoapi.TagResource, &geoapi.TagResourceInput{ResourceArn: arn, Tags: map[string]string{"a": "1", "b": "2"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := protocol.Call(ctx, w.reg, geoapi.UntagResource, &geoapi.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"b", "none"}}); err != nil {
			t.Fatal(err)
		}
		out, err := protocol.Call(ctx, w.reg, geoapi.ListTagsForResource, &geoapi.ListTagsForResourceInput{ResourceArn: arn})
		if err != nil || out.Tags["a"] != "1" || out.Tags["b"] != "" {
			t.Errorf("tags %v, %v", out, err)
		}
		_, err = w.geo.TagResource(ctx, &geoapi.TagResourceInput{ResourceArn: arn, Tags: map[string]string{"aws:x": "1"}})
		wantCode(t, err, "ValidationException", "reserved")
		many := map[string]string{}
		for i := range maxTags {
			many[fmt.Sprint("k", i)] = ""
		}
		_, err = w.geo.TagResource(ctx, &geoapi.TagResourceInput{ResourceArn: arn, Tags: many})
		wantCode(t, err, "ValidationException", "limit")
	}
}

func TestBandsFor(t *testing.T) {
	t.Parallel()
	custom := func(ops ...geoapi.Operation) *geoapi.JobConfigInput {
		return &geoapi.JobConfigInput{BandMathConfig: &geoapi.BandMathConfigInput{CustomIndices: &geoapi.CustomIndicesInput{Operations: ops}}}
	}
	for _, tc := range []struct {
		name string
		in   *geoapi.JobConfigInput
		text string
	}{
		{"nothing", nil, "one kind"},
		{"another kind", &geoapi.JobConfigInput{StackConfig: &geoapi.StackConfigInput{}}, "StackConfig is not implemented"},
		{"no index", &geoapi.JobConfigInput{BandMathConfig: &geoapi.BandMathConfigInput{}}, "PredefinedIndices"},
		{"unknown index", &geoapi.JobConfigInput{BandMathConfig: &geoapi.BandMathConfigInput{PredefinedIndices: []string{"ndvi"}}}, "unknown"},
		{"twice", &geoapi.JobConfigInput{BandMathConfig: &geoapi.BandMathConfigInput{PredefinedIndices: []string{"NDVI", "NDVI"}}}, "twice"},
		{"twice but for case", custom(geoapi.Operation{Name: "x", Equation: "a"}, geoapi.Operation{Name: "X", Equation: "b"}), "twice"},
		{"a path", custom(geoapi.Operation{Name: "../x", Equation: "a"}), "name"},
		{"syntax", custom(geoapi.Operation{Name: "x", Equation: "a +"}), "position"},
		{"a constant", custom(geoapi.Operation{Name: "x", Equation: "1 + 1"}), "no asset"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := bandsFor(tc.in)
			wantCode(t, err, "ValidationException", tc.text)
		})
	}
}

func TestPlanBlocks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		p          blockPlan
		count      int
		x0, x1, y1 int // of the last block
	}{
		{"full tile", blockPlan{Width: 10980, Height: 10980, TilesX: 22, TilesY: 22, BlockX: 4, BlockY: 4}, 36, 20, 22, 22},
		{"strips", blockPlan{Width: 10980, Height: 10980, TilesX: 22, TilesY: 22, BlockX: 22, BlockY: 1}, 22, 0, 22, 22},
		{"one tile", blockPlan{Width: 24, Height: 42, TilesX: 1, TilesY: 1, BlockX: 1, BlockY: 1}, 1, 0, 1, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if n := tc.p.count(); n != tc.count {
				t.Errorf("%d blocks, want %d", n, tc.count)
			}
			x0, y0, x1, y1 := tc.p.block(tc.count - 1)
			if x0 != tc.x0 || x1 != tc.x1 || y1 != tc.y1 {
				t.Errorf("last block %d..%d, ..%d", x0, x1, y1)
			}
			if win := tc.p.window(x0, y0, x1, y1); win.X+win.Width != tc.p.Width || win.Y+win.Height != tc.p.Height {
				t.Errorf("last window %+v", win)
			}
		})
	}
}
