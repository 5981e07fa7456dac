package geospatial

import (
	"errors"
	"fmt"
	"strings"
	"time"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/store"
)

// ref names a resource: every row key begins with it.
type ref struct{ Region, Account, ID string }

// key is the row key of something that belongs to the resource.
func (r ref) key(more ...int) store.Key {
	k := store.Key{r.Region, r.Account, r.ID}
	for _, n := range more {
		k = append(k, fmt.Sprintf("%08d", n))
	}
	return k
}

// collectionRow is one raster data collection.
type collectionRow struct {
	Ref     ref
	Name    string
	Created time.Time
	Items   int
	Bands   []string // asset names of all items
	Filters []string // names of SupportedFilters
	Tags    map[string]string
}

// itemRow is one STAC item. Items are numbered in the order of their time.
type itemRow struct {
	ID       string
	Tile     string
	Time     time.Time // what results are named by
	From, To time.Time // the range that searches compare; equal to Time unless the item has one
	Area     multiPolygon
	Props    itemProperties
	Assets   []assetRow
}

// itemProperties are the properties that can be searched by.
type itemProperties struct {
	EoCloudCover, LandsatCloudCoverLand, ViewOffNadir, ViewSunAzimuth, ViewSunElevation *float64
	Platform                                                                            string
}

// assetRow is one GeoTIFF of an item.
type assetRow struct {
	Name     string
	File     string // base name of its href
	Bands    []bandInfo
	Segment  segmentRow
	Size     int64 // bytes of the file
	EPSG     int
	Width    int
	Height   int
	DataType string
}

// bandInfo is what the item says about one band of an asset.
type bandInfo struct {
	Names         []string // name and common name
	Scale, Offset float64
	NoData        *float64
	NoDataNaN     bool // JSON has no NaN
}

// segmentRow is where bytes lie and the service-owned key they are under.
type segmentRow struct {
	ID   blob.ID
	Size int64 // sealed bytes
	Key  []byte
}

// jobRow is one Earth Observation job.
type jobRow struct {
	Ref      ref
	Name     string
	Role     string
	Created  time.Time
	Ended    time.Time
	Status   geoapi.EarthObservationJobStatus
	Error    *failure
	KmsKeyID string // as given
	KeyARN   string // "" without a customer managed key
	GrantID  string
	Input    *geoapi.InputConfigOutput
	Config   *geoapi.JobConfigInput
	Bands    []bandRow
	Tags     map[string]string
	Export   *exportRow
	Tokens   []store.Key // the client tokens that stand for the job
}

// bandRow is one band that a job computes.
type bandRow struct {
	Name     string // as given
	Equation string
	Type     geoapi.OutputType
}

// suffix is the band's part of file names.
func (b *bandRow) suffix() string { return strings.ToLower(b.Name) }

// failure is why a job or an export failed.
type failure struct {
	Server  bool // SERVER_ERROR, else CLIENT_ERROR
	Message string
}

// exportRow is the newest export of a job.
type exportRow struct {
	Started      time.Time
	Role         string
	S3URI        string
	KmsKeyID     string
	SourceImages bool
	Status       geoapi.EarthObservationJobExportStatus
	ResultsError *failure
	SourcesError *failure
	SourcesPhase bool // results are written, source images are next
	Done         int  // objects written in this phase
}

// progressRow counts what a job has done. It is apart from jobRow, which would
// be rewritten for every block.
type progressRow struct {
	Scenes, Next, ScenesDone int // Next is the first scene that was not begun
	Planned                  int // scenes whose blocks are known
	Units, Done              int // blocks and files, of the scenes that were planned
}

// sceneRow is one scene of a job.
type sceneRow struct {
	At         []int // its number, as in the row's key
	Source     int   // number of the item, or of the previous job's scene
	ID, Tile   string
	Time       time.Time
	Plan       *blockPlan // nil until planned
	BlocksLeft int
	FilesLeft  int
}

// outputRow is one file that a job makes.
type outputRow struct {
	At      []int // scene and band, as in the row's key
	Band    int
	Object  string // name below the service bucket's account and job
	Key     []byte // service-owned data key
	Wrapped []byte // customer managed data key, encrypted by KMS; nil without one
	Segment segmentRow
	Size    int64 // bytes of the file; 0 until it is made
}

// partRow is one encoded block of one output.
type partRow struct {
	At      []int // scene, band and block, as in the row's key
	Segment segmentRow
	Tiles   []tileRef // in the order of their bytes
}

// tileRef is one encoded tile of a part.
type tileRef struct{ Level, Index, Len int }

// tokenRow remembers the request that a client token was used for.
type tokenRow struct {
	Request []byte // hash of the parameters
	Job     string
	Created time.Time
}

func bySegment(ids ...segmentRow) []store.Key {
	var keys []store.Key
	for _, s := range ids {
		if s.ID != (blob.ID{}) {
			keys = append(keys, store.Key{s.ID.String()})
		}
	}
	return keys
}

var (
	collections = store.Ordered[collectionRow]("geospatial.collection")
	items       = store.Ordered("geospatial.item", store.WithIndex("segment", func(r itemRow) []store.Key {
		var all []segmentRow
		for _, a := range r.Assets {
			all = append(all, a.Segment)
		}
		return bySegment(all...)
	}))
	jobsTable = store.Ordered("geospatial.job", store.WithIndex("time", func(r jobRow) []store.Key {
		return []store.Key{{r.Ref.Region, r.Ref.Account, fmt.Sprintf("%020d", r.Created.UnixMicro()), r.Ref.ID}}
	}))
	progresses = store.Ordered[progressRow]("geospatial.progress")
	scenes     = store.Ordered[sceneRow]("geospatial.scene")
	outputs    = store.Ordered("geospatial.output", store.WithIndex("segment", func(r outputRow) []store.Key { return bySegment(r.Segment) }))
	parts      = store.Ordered("geospatial.part", store.WithIndex("segment", func(r partRow) []store.Key { return bySegment(r.Segment) }))
	tokens     = store.Hashed[tokenRow]("geospatial.token")
)

// OwnsSegment reports whether a row of the service names the segment. The
// sweeper of orphans asks it about segments older than any running write.
func (s *Service) OwnsSegment(tx *store.Tx, id blob.ID) (bool, error) {
	key := store.Key{id.String()}
	one := store.ScanOptions{Limit: 1}
	for _, err := range items.ByIndex(tx, "segment", key, one) {
		return err == nil, err
	}
	for _, err := range outputs.ByIndex(tx, "segment", key, one) {
		return err == nil, err
	}
	for _, err := range parts.ByIndex(tx, "segment", key, one) {
		return err == nil, err
	}
	return false, nil
}

// readJob returns a job, or ResourceNotFoundException.
func readJob(tx *store.Tx, r ref) (jobRow, error) {
	job, err := jobsTable.Get(tx, r.key()...)
	if errors.Is(err, store.ErrNotFound) {
		return job, geoapi.ResourceNotFoundException("The Earth Observation job %s does not exist.", r.jobARN())
	}
	return job, err
}

func putJob(tx *store.Tx, job jobRow) error { return jobsTable.Put(tx, job, job.Ref.key()...) }

// readCollection returns a collection, or ResourceNotFoundException.
func readCollection(tx *store.Tx, r ref) (collectionRow, error) {
	c, err := collections.Get(tx, r.key()...)
	if errors.Is(err, store.ErrNotFound) {
		return c, geoapi.ResourceNotFoundException("The raster data collection %s does not exist.", r.collectionARN())
	}
	return c, err
}
