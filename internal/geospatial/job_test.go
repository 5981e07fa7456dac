package geospatial

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/raster"
	"github.com/sagekeep/sagekeep/internal/store"
)

// stats are the reference numbers of one index.
type stats struct {
	Count          int     `json:"count"`
	Min, Max, Mean float64 `json:",omitempty"`
}

// output opens a result of a job; it is closed with the test.
func (w *world) output(arn, band string) *raster.Image {
	w.t.Helper()
	r, _ := parseARN(arn)
	var job jobRow
	var out outputRow
	err := w.store.View(w.t.Context(), func(tx *store.Tx) error {
		var err error
		if job, err = readJob(tx, r); err != nil {
			return err
		}
		outs, err := readOutputs(tx, r, 0)
		for _, o := range outs {
			if job.Bands[o.Band].suffix() == band {
				out = o
			}
		}
		return err
	})
	if err != nil || out.Size == 0 {
		w.t.Fatalf("no output %s: %v", band, err)
	}
	f := sourceFile{segment: out.Segment, size: out.Size, context: outputContext(r, out.Object), previous: &job, output: &out}
	file, err := w.geo.openSource(w.t.Context(), r, &f, "test")
	if err != nil {
		w.t.Fatalf("open output %s: %v", band, err)
	}
	w.t.Cleanup(func() { file.Close() })
	im, err := raster.Open(file, file.Size())
	if err != nil {
		w.t.Fatalf("read output %s: %v", band, err)
	}
	return im
}

func measure(t *testing.T, im *raster.Image) stats {
	t.Helper()
	pix := make([]float64, im.Width()*im.Height())
	if err := im.ReadWindow64(t.Context(), 0, 0, 0, im.Width(), im.Height(), pix); err != nil {
		t.Fatal(err)
	}
	s := stats{Min: math.Inf(1), Max: math.Inf(-1)}
	sum := 0.0
	for _, v := range pix {
		if !math.IsNaN(v) {
			s.Count++
			s.Min, s.Max, sum = min(s.Min, v), max(s.Max, v), sum+v
		}
	}
	s.Mean = sum / float64(s.Count)
	return s
}

// TestResults compares every predefined index of the sample with numbers made by
// other software, for several ways to divide the scene.
func TestResults(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]stats
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	names, sides := raster.PredefinedNames(), map[string]int{"one block": 0, "a block for each tile": 512, "blocks of two by two tiles": 1024}
	if raceDetector {
		names, sides = []string{"NDVI"}, map[string]int{"blocks of two by two tiles": 1024}
	}
	for name, side := range sides {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, side)
			w.start()
			in := ndvi(w.scene(), "")
			in.JobConfig.BandMathConfig.PredefinedIndices = names
			arn := w.startJob(in)
			w.wait(arn, geoapi.EarthObservationJobStatusCompleted)
			for _, name := range names {
				band := strings.ToLower(name)
				ref := want[band]
				im := w.output(arn, band)
				if len(im.Overviews()) != 2 || !im.Tiled() || im.BlockWidth() != 512 || im.EPSG() != 32633 {
					t.Errorf("%s: %d overviews, tiles of %d, EPSG:%d; want 2, 512, 32633", band, len(im.Overviews()), im.BlockWidth(), im.EPSG())
				}
				got := measure(t, im)
				if got.Count != ref.Count || math.Abs(got.Mean-ref.Mean) > 1e-6 || math.Abs(got.Min-ref.Min) > 1e-5 || math.Abs(got.Max-ref.Max) > 1e-5 {
					t.Errorf("%s: got %+v, want %+v", band, got, ref)
				}
			}
			done, total := w.geo.Progress(t.Context(), arn)
			if done != total || done == 0 {
				t.Errorf("progress %d of %d at the end", done, total)
			}
		})
	}
}

// TestOverviewsDoNotDependOnBlocks: whoever divides a scene otherwise gets the
// same file.
func TestOverviewsDoNotDependOnBlocks(t *testing.T) {
	t.Parallel()
	var first [][]float32
	for _, side := range []int{0, 512} {
		w := newWorld(t, side)
		w.start()
		arn := w.startJob(ndvi(w.small(), ""))
		w.wait(arn, geoapi.EarthObservationJobStatusCompleted)
		for i, im := range w.output(arn, "ndvi").Overviews() {
			pix := make([]float32, im.Width()*im.Height())
			if err := im.ReadWindow(t.Context(), 0, 0, 0, im.Width(), im.Height(), pix); err != nil {
				t.Fatal(err)
			}
			if side == 0 {
				first = append(first, pix)
				continue
			}
			for j := range pix {
				if pix[j] != first[i][j] && (pix[j] == pix[j] || first[i][j] == first[i][j]) {
					t.Fatalf("overview %d, pixel %d: %g and %g", i, j, first[i][j], pix[j])
				}
			}
		}
	}
}

func TestCustomIndices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 512)
	w.start()
	in := ndvi(w.small(), "")
	in.JobConfig.BandMathConfig = &geoapi.BandMathConfigInput{CustomIndices: &geoapi.CustomIndicesInput{Operations: []geoapi.Operation{
		{Name: "Scaled", Equation: "10000 * (nir - red) / (nir + red)", OutputType: geoapi.OutputTypeInt16},
		{Name: "wide", Equation: "red / 3", OutputType: geoapi.OutputTypeFloat64},
	}}}
	arn := w.startJob(in)
	got := w.wait(arn, geoapi.EarthObservationJobStatusCompleted)
	if len(got.OutputBands) != 2 || got.OutputBands[0].BandName != "scaled" || got.OutputBands[0].OutputDataType != geoapi.OutputTypeInt16 {
		t.Errorf("OutputBands %+v", got.OutputBands)
	}
	im := w.output(arn, "scaled")
	if im.SampleType() != raster.Int16 {
		t.Errorf("type %v, want int16", im.SampleType())
	}
	if s := measure(t, im); math.Abs(s.Mean-10000*smallMean()) > 0.1 {
		t.Errorf("mean %g, want about %g", s.Mean, 10000*smallMean())
	}
	im = w.output(arn, "wide")
	if s := measure(t, im); im.SampleType() != raster.Float64 || s.Min != 1000.0/3 {
		t.Errorf("type %v, minimum %g; want float64, %g", im.SampleType(), s.Min, 1000.0/3)
	}
}

// TestChain computes over the results of another job, under that job's grant.
func TestChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 512)
	w.start()
	key := w.key(keyActions()...)
	first := w.startJob(ndvi(w.small(), key))
	w.wait(first, geoapi.EarthObservationJobStatusCompleted)
	in := ndvi("", "")
	in.InputConfig = &geoapi.InputConfigInput{PreviousEarthObservationJobArn: &first}
	in.JobConfig.BandMathConfig = &geoapi.BandMathConfigInput{CustomIndices: &geoapi.CustomIndicesInput{
		Operations: []geoapi.Operation{{Name: "double", Equation: "2 * ndvi"}},
	}}
	second := w.startJob(in)
	w.wait(second, geoapi.EarthObservationJobStatusCompleted)
	if s := measure(t, w.output(second, "double")); math.Abs(s.Mean-2*smallMean()) > 1e-6 {
		t.Errorf("mean %g, want twice that of NDVI", s.Mean)
	}
	// With the first job's grant gone its results cannot be read any more.
	w.revoke(first, key)
	third := w.startJob(in)
	got := w.wait(third, geoapi.EarthObservationJobStatusFailed)
	if m := *got.ErrorDetails.Message; !strings.Contains(m, "kms:Decrypt") || got.ErrorDetails.Type != geoapi.EarthObservationJobErrorTypeClientError {
		t.Errorf("ErrorDetails %s %q, want a CLIENT_ERROR that names kms:Decrypt", got.ErrorDetails.Type, m)
	}
}

func TestLifecycle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 512)
	collection := w.small()
	arn := w.startJob(ndvi(collection, ""))
	if got := w.get(arn); got.Status != geoapi.EarthObservationJobStatusInitializing || got.ErrorDetails != nil || got.ExportStatus != "" {
		t.Errorf("a new job: %+v", got)
	}
	ctx := w.root()
	_, err := w.geo.DeleteEarthObservationJob(ctx, &geoapi.DeleteEarthObservationJobInput{Arn: arn})
	wantCode(t, err, "ConflictException", "INITIALIZING")
	export := &geoapi.ExportEarthObservationJobInput{
		Arn: arn, ExecutionRoleArn: roleARN, OutputConfig: &geoapi.OutputConfigInput{S3Data: &geoapi.ExportS3DataInput{S3Uri: "s3://results/here"}},
	}
	_, err = w.geo.ExportEarthObservationJob(ctx, export)
	wantCode(t, err, "ConflictException", "COMPLETED")
	w.start()
	w.wait(arn, geoapi.EarthObservationJobStatusCompleted)
	_, err = w.geo.StopEarthObservationJob(ctx, &geoapi.StopEarthObservationJobInput{Arn: arn})
	wantCode(t, err, "ConflictException", "COMPLETED")
	if _, err = w.geo.DeleteEarthObservationJob(w.root(), &geoapi.DeleteEarthObservationJobInput{Arn: arn}); err != nil {
		t.Fatal(err)
	}
	w.gone(arn)
}

// gone waits until a job does not exist, and checks that nothing is left of it.
func (w *world) gone(arn string) {
	w.t.Helper()
	w.eventually("the job is gone", func() bool {
		out, err := w.geo.GetEarthObservationJob(w.root(), &geoapi.GetEarthObservationJobInput{Arn: arn})
		if err == nil && out.Status != geoapi.EarthObservationJobStatusDeleting {
			w.t.Fatalf("job is %s, want DELETING", out.Status)
		}
		if err != nil {
			wantCode(w.t, err, "ResourceNotFoundException", arn)
		}
		return err != nil
	})
	w.eventually("no segments but the imported ones are left", func() bool { return w.segments() == 2 })
}

func TestStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 512)
	block, release := make(chan task, 16), make(chan struct{})
	w.geo.blockDone = func(p task) { block <- p; <-release }
	w.start()
	arn := w.startJob(ndvi(w.small(), ""))
	<-block
	if _, err := w.geo.StopEarthObservationJob(w.root(), &geoapi.StopEarthObservationJobInput{Arn: arn}); err != nil {
		t.Fatal(err)
	}
	close(release)
	w.wait(arn, geoapi.EarthObservationJobStatusStopped)
	if n := len(block); n > 1 {
		t.Errorf("%d more blocks after the stop", n)
	}
	w.eventually("what was made is removed", func() bool { return w.segments() == 2 })
}

// TestKill kills the process in the middle of a job: the next start completes
// it, and no block that was finished is computed again.
func TestKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 512)
	key := w.key(keyActions()...)
	collection := w.small()
	first := make(chan task, 16)
	release := make(chan struct{})
	w.geo.blockDone = func(p task) {
		first <- p
		<-release
	}
	w.start()
	arn := w.startJob(ndvi(collection, key))
	seen := map[int]bool{(<-first).Block: true, (<-first).Block: true} // both workers
	ended := make(chan struct{})
	go func() { defer close(ended); w.kill() }()
	time.Sleep(50 * time.Millisecond) // from here on nothing is written
	close(release)
	<-ended
	for len(first) > 0 {
		seen[(<-first).Block] = true
	}
	second := make(chan task, 16)
	w.geo.blockDone = func(p task) { second <- p }
	w.start()
	w.wait(arn, geoapi.EarthObservationJobStatusCompleted)
	for len(second) > 0 {
		p := <-second
		if seen[p.Block] {
			t.Errorf("block %d was computed again", p.Block)
		}
		seen[p.Block] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d blocks, want 4", len(seen))
	}
	if s := measure(t, w.output(arn, "ndvi")); math.Abs(s.Mean-smallMean()) > 1e-6 {
		t.Errorf("mean %g after a kill", s.Mean)
	}
}

func TestClientToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	key := w.key(keyActions()...)
	in := ndvi(w.small(), key)
	in.ClientToken = new(strings.Repeat("token", 8))
	a, b := w.startJob(in), w.startJob(in)
	if a != b {
		t.Errorf("the same token gave %s and %s", a, b)
	}
	if n := len(w.records("CreateGrant")); n != 1 {
		t.Errorf("%d grants for one job", n)
	}
	in.Name = "other"
	_, err := protocol.Call(w.root(), w.reg, geoapi.StartEarthObservationJob, in)
	wantCode(t, err, "ConflictException", "ClientToken")
}

func TestNoScenes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.start()
	in := ndvi(w.small(), "")
	in.InputConfig.RasterDataCollectionQuery.TimeRangeFilter.EndTime = date("2017-01-02")
	got := w.wait(w.startJob(in), geoapi.EarthObservationJobStatusFailed)
	if !strings.Contains(*got.ErrorDetails.Message, "no item") || got.ErrorDetails.Type != geoapi.EarthObservationJobErrorTypeClientError {
		t.Errorf("ErrorDetails %+v", got.ErrorDetails)
	}
}

func TestMissingAsset(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.start()
	in := ndvi(w.small(), "")
	in.JobConfig.BandMathConfig = &geoapi.BandMathConfigInput{CustomIndices: &geoapi.CustomIndicesInput{
		Operations: []geoapi.Operation{{Name: "x", Equation: "coastal / red"}},
	}}
	got := w.wait(w.startJob(in), geoapi.EarthObservationJobStatusFailed)
	if !strings.Contains(*got.ErrorDetails.Message, "coastal") {
		t.Errorf("message %q does not name the asset", *got.ErrorDetails.Message)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	in := ndvi(w.small(), "")
	var want []string
	for range 5 {
		want = append(want, w.startJob(in))
	}
	var got []string
	req := &geoapi.ListEarthObservationJobsInput{MaxResults: new(int32(2)), SortOrder: geoapi.SortOrderAscending}
	for page := 0; ; page++ {
		out, err := w.geo.ListEarthObservationJobs(w.root(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range out.EarthObservationJobSummaries {
			got = append(got, j.Arn)
			if j.OperationType != "BAND_MATH" {
				t.Errorf("OperationType %q", j.OperationType)
			}
		}
		if req.NextToken = out.NextToken; out.NextToken == nil || page > 5 {
			break
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %v, want %v", got, want)
	}
	page, err := w.geo.ListEarthObservationJobs(w.root(), &geoapi.ListEarthObservationJobsInput{MaxResults: new(int32(2))})
	if err != nil || page.EarthObservationJobSummaries[0].Arn != want[4] {
		t.Errorf("newest first: %v, %v", page, err)
	}
	_, err = w.geo.ListEarthObservationJobs(w.root(), &geoapi.ListEarthObservationJobsInput{
		NextToken: page.NextToken, StatusEquals: geoapi.EarthObservationJobStatusFailed,
	})
	wantCode(t, err, "ValidationException", "NextToken")
}

// TestManyScenes: scenes follow each other until all are done, each under a data
// key of its own, and the job that is deleted takes everything along.
func TestManyScenes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.start()
	key := w.key(keyActions()...)
	in := ndvi(w.many(8), key)
	q := in.InputConfig.RasterDataCollectionQuery
	q.TimeRangeFilter = &geoapi.TimeRangeFilterInput{StartTime: date("2020-01-02"), EndTime: date("2020-01-07")}
	in.ClientToken = new(strings.Repeat("t", 36))
	before := w.segments()
	arn := w.startJob(in)
	w.wait(arn, geoapi.EarthObservationJobStatusCompleted)
	if n := len(w.records("GenerateDataKey")); n != 5 {
		t.Errorf("%d data keys for 5 scenes", n)
	}
	if n := w.segments() - before; n != 5 {
		t.Errorf("%d more segments, want 5 files", n)
	}
	if done, total := w.geo.Progress(t.Context(), arn); done != 10 || total != 10 {
		t.Errorf("progress %d of %d, want 10 of 10", done, total)
	}
	if got := w.export(exportTo(arn, "s3://results")); got.ExportStatus != geoapi.EarthObservationJobExportStatusSucceeded || len(w.s3.objects) != 5 {
		t.Errorf("export %s of %d objects", got.ExportStatus, len(w.s3.objects))
	}
	if _, err := protocol.Call(w.root(), w.reg, geoapi.DeleteEarthObservationJob, &geoapi.DeleteEarthObservationJobInput{Arn: arn}); err != nil {
		t.Fatal(err)
	}
	w.eventually("the results are gone", func() bool { return w.segments() == before })
	w.eventually("the token is free", func() bool {
		out, err := protocol.Call(w.root(), w.reg, geoapi.StartEarthObservationJob, in)
		return err == nil && out.Arn != arn
	})
}
