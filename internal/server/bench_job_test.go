package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/raster"
	"github.com/sagekeep/sagekeep/internal/sample"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// fullTile is the side of a Sentinel-2 tile at 10 m, in pixels.
const fullTile = 10980

// BenchmarkEarthObservationJob runs NDVI and MSAVI of a full Sentinel-2 tile pair
// under a customer key in a server process of its own and reports that process's
// CPU seconds and its peak memory.
func BenchmarkEarthObservationJob(b *testing.B) {
	dir := b.TempDir()
	for band, name := range map[string]string{"nir": "B08", "red": "B04"} {
		if err := fullBand(b.Context(), filepath.Join(dir, band+".tif"), name); err != nil {
			b.Fatal(err)
		}
	}
	item := filepath.Join(dir, "item.json")
	if err := fullItem(item); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		data := filepath.Join(dir, "data")
		v := startVictim(b, data)
		cpu, err := v.runFullJob(b.Context(), data, item)
		peak := procStatus(v.cmd.Process.Pid, "VmHWM")
		v.end(syscall.SIGTERM)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(cpu, "cpu-s")
		b.ReportMetric(peak/1024, "peak-MiB")
		if err := os.RemoveAll(data); err != nil {
			b.Fatal(err)
		}
	}
}

// runFullJob imports the item, runs the job and returns the CPU seconds that the
// job cost the server.
func (v *victim) runFullJob(ctx context.Context, data, item string) (float64, error) {
	creds, err := ReadCredentials(data)
	if err != nil {
		return 0, err
	}
	operator := v.c.As(sigv4.Credential{AccessKeyID: creds.Operator.AccessKeyID, Secret: creds.Operator.SecretAccessKey})
	var coll ImportOutput
	if err := operator.Operator(ctx, "ImportCollection", ImportInput{Name: "full", Paths: []string{item}}, &coll); err != nil {
		return 0, err
	}
	role, err := client.Call(ctx, v.c, iamapi.CreateRole, &iamapi.CreateRoleInput{
		RoleName:                 "job",
		AssumeRolePolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sagemaker-geospatial.amazonaws.com"},"Action":"sts:AssumeRole"}]}`,
	})
	if err != nil {
		return 0, err
	}
	_, err = client.Call(ctx, v.c, iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{
		RoleName: "job", PolicyName: "keys", PolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`,
	})
	if err != nil {
		return 0, err
	}
	key, err := client.Call(ctx, v.c, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
	if err != nil {
		return 0, err
	}
	before := procCPU(v.cmd.Process.Pid)
	job, err := client.Call(ctx, v.c, geoapi.StartEarthObservationJob, &geoapi.StartEarthObservationJobInput{
		Name: "full", ExecutionRoleArn: role.Role.Arn, KmsKeyId: key.KeyMetadata.Arn,
		InputConfig: &geoapi.InputConfigInput{RasterDataCollectionQuery: &geoapi.RasterDataCollectionQueryInput{
			RasterDataCollectionArn: coll.ARN,
			TimeRangeFilter:         &geoapi.TimeRangeFilterInput{StartTime: time.Unix(0, 0), EndTime: time.Now()},
		}},
		JobConfig: &geoapi.JobConfigInput{BandMathConfig: &geoapi.BandMathConfigInput{PredefinedIndices: []string{"NDVI", "MSAVI"}}},
	})
	if err != nil {
		return 0, err
	}
	for {
		got, err := client.Call(ctx, v.c, geoapi.GetEarthObservationJob, &geoapi.GetEarthObservationJobInput{Arn: job.Arn})
		if err != nil {
			return 0, err
		}
		switch got.Status {
		case geoapi.EarthObservationJobStatusCompleted:
			return procCPU(v.cmd.Process.Pid) - before, nil
		case geoapi.EarthObservationJobStatusFailed:
			return 0, fmt.Errorf("the job failed: %s", *got.ErrorDetails.Message)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// fullBand writes a band of the sample scene, enlarged to a full tile by
// repetition, with seeded sensor noise of 25 DN so that it compresses like one.
func fullBand(ctx context.Context, path, band string) error {
	b, err := fs.ReadFile(sample.FS(), sample.Scene+"/T33UUU_20170216T102101_"+band+".tif")
	if err != nil {
		return err
	}
	small, err := raster.Open(strings.NewReader(string(b)), int64(len(b)))
	if err != nil {
		return err
	}
	w, h := small.Width(), small.Height()
	pix := make([]float32, w*h)
	if err := small.ReadWindow(ctx, 0, 0, 0, w, h, pix); err != nil {
		return err
	}
	t, _ := small.GeoTransform()
	layout, err := raster.NewLayout(raster.Spec{
		Width: fullTile, Height: fullTile, SampleType: small.SampleType(), Transform: t, EPSG: small.EPSG(), HasNoData: true, DeflateLevel: 6,
	})
	if err != nil {
		return err
	}
	tiles := raster.MemoryTiles{}
	out := raster.NewWriter[float32](layout, raster.Nearest, &tiles)
	noise := rand.New(rand.NewPCG(1, 1))
	const rows = 512
	strip := make([]float32, fullTile*rows)
	for y0 := 0; y0 < fullTile; y0 += rows {
		n := min(rows, fullTile-y0)
		for y := range n {
			for x := range fullTile {
				v := pix[(y0+y)*h/fullTile*w+x*w/fullTile]
				strip[y*fullTile+x] = min(max(v+25*float32(noise.NormFloat64()), 1), 16000)
			}
		}
		if err := out.WriteWindow(0, raster.Window{Y: y0, Width: fullTile, Height: n}, strip[:n*fullTile]); err != nil {
			return err
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w2 := bufio.NewWriterSize(f, 1<<20)
	if _, err := out.Finish(ctx, w2); err != nil {
		return err
	}
	if err := w2.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// fullItem writes the sample's STAC item with the two bands as its assets.
func fullItem(path string) error {
	b, err := fs.ReadFile(sample.FS(), sample.Item)
	if err != nil {
		return err
	}
	var item map[string]any
	if err := json.Unmarshal(b, &item); err != nil {
		return err
	}
	assets := map[string]any{}
	for _, band := range []string{"nir", "red"} {
		assets[band] = map[string]any{"href": band + ".tif", "raster:bands": []any{map[string]any{"scale": 1e-4, "offset": 0, "nodata": 0}}}
	}
	item["assets"] = assets
	if b, err = json.Marshal(item); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// procStatus reads a figure of /proc/PID/status in kB, 0 where there is none.
func procStatus(pid int, name string) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return n
		}
	}
	return 0
}

// procCPU is the CPU time of a process in seconds, 0 where /proc is not there.
func procCPU(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) / 100 // ticks; 100 a second on every Linux that Go runs on
}
