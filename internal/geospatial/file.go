package geospatial

import (
	"context"
	"errors"
	"fmt"
	"io"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/internal/envelope/segment"
	"github.com/sagekeep/sagekeep/internal/jobs"
	"github.com/sagekeep/sagekeep/internal/raster"
	"github.com/sagekeep/sagekeep/internal/store"
)

// makeFile assembles the parts of one band into a Cloud Optimized GeoTIFF.
func (s *Service) makeFile(ctx context.Context, t *jobs.Task, p task) error {
	job, ok, err := s.activeJob(ctx, p.Job)
	if err != nil || !ok {
		return err
	}
	sc, err := s.scene(ctx, p)
	if err != nil {
		return err
	}
	out, list, err := s.partsOf(ctx, p)
	if err != nil {
		return err
	}
	in, err := s.openScene(ctx, &job, &sc)
	if err != nil {
		return err
	}
	defer in.close()
	layout, err := layoutOf(in.calc, &job.Bands[p.Band])
	if err != nil {
		return err
	}
	customer, err := s.dataKey(ctx, &job, &out, holder(p.Job, "run"))
	if err != nil {
		return err
	}
	keys, err := segmentKeys(out.Key, customer)
	if err != nil {
		return err
	}
	a := &assembler{s: s, job: job.Ref, out: &out, keys: keys, layout: layout, plan: sc.Plan, parts: list}
	defer a.close(context.WithoutCancel(ctx))
	if wide(job.Bands[p.Band : p.Band+1]) {
		err = overviews(ctx, a, (*raster.TileCodec).Decode64, (*raster.TileCodec).Encode64)
	} else {
		err = overviews(ctx, a, (*raster.TileCodec).Decode, (*raster.TileCodec).Encode)
	}
	if err != nil {
		return err
	}
	row, size, err := s.writeSegment(ctx, out.Key, keys, outputContext(p.Job, out.Object), func(w *segment.Writer) error {
		_, err := raster.Assemble(ctx, w, layout, a.sizes, func(level, index int) ([]byte, error) { return a.tile(ctx, level, index) })
		return err
	})
	if err != nil {
		return err
	}
	if _, err = s.dataKey(ctx, &job, &out, holder(p.Job, "run")); err == nil {
		out.Segment, out.Size = row, size
		err = t.Finish(ctx, func(tx *store.Tx) error { return s.fileMade(tx, p, out, len(list)) })
	}
	if err != nil {
		s.deleteSegments(context.WithoutCancel(ctx), row.ID)
		return err
	}
	for _, part := range list {
		s.deleteSegments(context.WithoutCancel(ctx), part.Segment.ID)
	}
	return nil
}

// partsOf reads an output and its parts, by block.
func (s *Service) partsOf(ctx context.Context, p task) (out outputRow, list []partRow, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		list = nil
		if out, err = outputs.Get(tx, p.Job.key(p.Scene, p.Band)...); err != nil {
			return err
		}
		for row, err := range parts.Scan(tx, p.Job.key(p.Scene, p.Band), store.ScanOptions{}) {
			if err != nil {
				return err
			}
			list = append(list, row.Value)
		}
		return nil
	})
	return out, list, err
}

// fileMade stores a file in place of its parts; after the last file of a scene
// comes the next scene, and after the last scene the job is COMPLETED.
func (s *Service) fileMade(tx *store.Tx, p task, out outputRow, blocks int) error {
	for i := range blocks {
		if err := parts.Delete(tx, p.Job.key(p.Scene, p.Band, i)...); err != nil {
			return err
		}
	}
	if err := outputs.Put(tx, out, p.Job.key(p.Scene, p.Band)...); err != nil {
		return err
	}
	sc, err := scenes.Get(tx, p.Job.key(p.Scene)...)
	if err != nil {
		return err
	}
	sc.FilesLeft--
	if err := scenes.Put(tx, sc, p.Job.key(p.Scene)...); err != nil {
		return err
	}
	next, complete := -1, false
	err = s.count(tx, p.Job, func(pr *progressRow) {
		pr.Done++
		if sc.FilesLeft > 0 {
			return
		}
		pr.ScenesDone++
		if pr.Next < pr.Scenes {
			next = pr.Next
			pr.Next++
		}
		complete = pr.ScenesDone == pr.Scenes
	})
	if err != nil {
		return err
	}
	if next >= 0 {
		_, err := s.cfg.Jobs.Submit(tx, task{Job: p.Job, Scene: next}.spec(kindScene))
		return err
	}
	if !complete {
		return nil
	}
	job, err := readJob(tx, p.Job)
	if err != nil {
		return err
	}
	job.Status, job.Ended = geoapi.EarthObservationJobStatusCompleted, s.timestamp()
	s.keys.drop(holder(p.Job, "run"))
	return putJob(tx, job)
}

// tilePlace is where an encoded tile lies.
type tilePlace struct {
	part   int // number in parts; len(parts) for the overviews
	offset int64
	size   int
}

// assembler reads encoded tiles of one output out of its parts.
type assembler struct {
	s      *Service
	job    ref
	out    *outputRow
	keys   segment.Keys
	layout *raster.Layout
	plan   *blockPlan
	parts  []partRow

	extra    segmentRow // overviews above the parts
	hasExtra bool
	places   [][]tilePlace
	sizes    [][]int64
	open     map[int]*openedSegment
	order    []int // of open, oldest first
	buf      []byte
}

// maxOpenParts bounds the files that an assembly has open.
const maxOpenParts = 64

// extraBlock is the number of the part that holds the upper overviews.
const extraBlock = -1

func (a *assembler) close(ctx context.Context) {
	for _, r := range a.open {
		_ = r.Close() // only read from
	}
	if a.hasExtra {
		a.s.deleteSegments(ctx, a.extra.ID)
	}
}

func (a *assembler) index() error {
	if len(a.parts) != a.plan.count() {
		return fmt.Errorf("geospatial: %d parts of %d", len(a.parts), a.plan.count())
	}
	a.open = map[int]*openedSegment{}
	for level := range a.layout.Levels() {
		a.places = append(a.places, make([]tilePlace, a.layout.Tiles(level)))
		a.sizes = append(a.sizes, make([]int64, a.layout.Tiles(level)))
	}
	for i, p := range a.parts {
		if err := a.add(i, p.Tiles); err != nil {
			return err
		}
	}
	return nil
}

func (a *assembler) add(part int, tiles []tileRef) error {
	at := int64(0)
	for _, t := range tiles {
		if t.Level >= len(a.places) || t.Index >= len(a.places[t.Level]) || a.sizes[t.Level][t.Index] != 0 {
			return fmt.Errorf("geospatial: part %d has an unexpected tile %d of level %d", part, t.Index, t.Level)
		}
		a.places[t.Level][t.Index] = tilePlace{part, at, t.Len}
		a.sizes[t.Level][t.Index] = int64(t.Len)
		at += int64(t.Len)
	}
	return nil
}

// tile returns the bytes of an encoded tile, valid until the next call.
func (a *assembler) tile(ctx context.Context, level, index int) ([]byte, error) {
	at := a.places[level][index]
	if at.size == 0 {
		return nil, fmt.Errorf("geospatial: tile %d of level %d is missing", index, level)
	}
	r, err := a.part(ctx, at.part)
	if err != nil {
		return nil, err
	}
	if cap(a.buf) < at.size {
		a.buf = make([]byte, at.size)
	}
	a.buf = a.buf[:at.size]
	if _, err := r.ReadAt(a.buf, at.offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("geospatial: read a part: %w", err)
	}
	return a.buf, nil
}

// part opens a part; the one opened first is closed when there are too many.
func (a *assembler) part(ctx context.Context, i int) (*openedSegment, error) {
	if r := a.open[i]; r != nil {
		return r, nil
	}
	row, block := a.extra, extraBlock
	if i < len(a.parts) {
		row, block = a.parts[i].Segment, i
	}
	if len(a.order) >= maxOpenParts {
		_ = a.open[a.order[0]].Close()
		delete(a.open, a.order[0])
		a.order = a.order[1:]
	}
	r, err := a.s.openSegment(ctx, row, a.keys, partContext(a.job, a.out.Object, block))
	if err != nil {
		return nil, err
	}
	a.open[i] = r
	a.order = append(a.order, i)
	return r, nil
}

// overviews makes the levels above those that the blocks made, out of the
// highest of those, and keeps them in a segment of their own meanwhile.
func overviews[T raster.Float](ctx context.Context, a *assembler,
	decode func(*raster.TileCodec, []T, []byte) error,
	encode func(*raster.TileCodec, []byte, []T) ([]byte, error),
) error {
	if err := a.index(); err != nil {
		return err
	}
	from := min(a.plan.Levels, len(a.layout.Levels())-1)
	if from == len(a.layout.Levels())-1 {
		return nil
	}
	w, err := a.s.newSegment(ctx, a.keys, partContext(a.job, a.out.Object, extraBlock))
	if err != nil {
		return err
	}
	b := &bandPart{out: a.out, layout: a.layout, codec: raster.NewTileCodec(a.layout), w: w}
	pyramid := raster.NewPyramid(a.layout, raster.Average, func(level, _, tx, ty int, pix []T) error {
		return addTile(b, encode, level, tx, ty, pix)
	})
	if err := a.fill(ctx, from, func(tx, ty int, data []byte) error {
		pix := make([]T, tileSide*tileSide)
		if err := decode(b.codec, pix, data); err != nil {
			return fmt.Errorf("geospatial: decode a tile: %w", err)
		}
		return pyramid.Add(from, 0, tx, ty, pix)
	}); err != nil {
		w.blob.Abort()
		return err
	}
	if a.extra, _, err = w.commit(a.out.Key); err != nil {
		return err
	}
	a.hasExtra = true
	return a.add(len(a.parts), b.row.Tiles)
}

func (a *assembler) fill(ctx context.Context, level int, add func(tx, ty int, data []byte) error) error {
	l := a.layout.Levels()[level]
	for ty := range l.TilesY {
		for tx := range l.TilesX {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			data, err := a.tile(ctx, level, a.layout.Index(level, 0, tx, ty))
			if err != nil {
				return err
			}
			if err := add(tx, ty, data); err != nil {
				return err
			}
		}
	}
	return nil
}
