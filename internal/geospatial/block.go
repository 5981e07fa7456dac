package geospatial

import (
	"context"
	"errors"
	"fmt"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/jobs"
	"github.com/sagekeep/sagekeep/internal/raster"
	"github.com/sagekeep/sagekeep/internal/store"
)

// blockPlan is how a scene is divided. All sizes but Width and Height are in
// tiles of the output.
type blockPlan struct {
	Width, Height int // pixels
	TilesX        int
	TilesY        int
	BlockX        int // of one block
	BlockY        int
	WindowX       int // of one step within a block: what is in memory at a time
	WindowY       int
	Levels        int // overview levels that a block makes whole by itself
}

func (p *blockPlan) across() int { return ceil(p.TilesX, p.BlockX) }

// count is the number of blocks.
func (p *blockPlan) count() int { return p.across() * ceil(p.TilesY, p.BlockY) }

func ceil(n, by int) int { return (n + by - 1) / by }

// planBlocks divides the calculator's grid. Squares of BlockSide are right for
// tiled inputs; images in strips are read in whole rows.
func (s *Service) planBlocks(c *raster.Calculator) *blockPlan {
	g := c.Grid()
	p := &blockPlan{Width: g.Width, Height: g.Height, TilesX: ceil(g.Width, tileSide), TilesY: ceil(g.Height, tileSide)}
	w, h := c.WindowSize(tileSide)
	p.WindowX, p.WindowY = min(w/tileSide, p.TilesX), min(h/tileSide, p.TilesY)
	side := s.cfg.BlockSide / tileSide
	p.BlockX, p.BlockY = min(side, p.TilesX), min(side, p.TilesY)
	if p.WindowX > p.BlockX {
		p.BlockX, p.BlockY = p.WindowX, p.WindowY
	}
	// A level is whole when blocks begin at multiples of its tiles.
	for n := 2; (p.BlockX%n == 0 || p.BlockX == p.TilesX) && (p.BlockY%n == 0 || p.BlockY == p.TilesY) && n <= 2*max(p.BlockX, p.BlockY); n *= 2 {
		p.Levels++
	}
	return p
}

// block returns the tiles of a block: [x0, x1) by [y0, y1).
func (p *blockPlan) block(i int) (x0, y0, x1, y1 int) {
	x0, y0 = i%p.across()*p.BlockX, i/p.across()*p.BlockY
	return x0, y0, min(x0+p.BlockX, p.TilesX), min(y0+p.BlockY, p.TilesY)
}

// window is the rectangle of pixels of tiles [x0, x1) by [y0, y1).
func (p *blockPlan) window(x0, y0, x1, y1 int) raster.Window {
	return raster.Window{
		X: x0 * tileSide, Y: y0 * tileSide,
		Width: min(x1*tileSide, p.Width) - x0*tileSide, Height: min(y1*tileSide, p.Height) - y0*tileSide,
	}
}

// layoutOf fixes the file of one band.
func layoutOf(c *raster.Calculator, b *bandRow) (*raster.Layout, error) {
	typ, err := raster.ParseSampleType(string(b.Type))
	if err != nil {
		return nil, fmt.Errorf("geospatial: band %s: %w", b.Name, err)
	}
	g := c.Grid()
	return raster.NewLayout(raster.Spec{
		Width: g.Width, Height: g.Height, SampleType: typ, TileSize: tileSide, Transform: g.Transform,
		GeoKeys: c.GeoKeys(), EPSG: g.EPSG, NoData: typ.DefaultNoData(), HasNoData: true, BandNames: []string{b.suffix()},
	})
}

// runBlock computes one block of every band of a scene and keeps the encoded
// tiles as parts, sealed under the keys of their files.
func (s *Service) runBlock(ctx context.Context, t *jobs.Task, p task) (err error) {
	job, ok, err := s.activeJob(ctx, p.Job)
	if err != nil || !ok {
		return err
	}
	sc, err := s.scene(ctx, p)
	if err != nil {
		return err
	}
	outs, err := s.outputsOf(ctx, p.Job, p.Scene)
	if err != nil {
		return err
	}
	in, err := s.openScene(ctx, &job, &sc)
	if err != nil {
		return err
	}
	defer in.close()
	bs := make([]*bandPart, len(outs))
	defer func() {
		if err != nil {
			s.dropParts(ctx, bs)
		}
	}()
	for i := range outs {
		if bs[i], err = s.newPart(ctx, &job, &outs[i], p.Block, in.calc); err != nil {
			return err
		}
	}
	if wide(job.Bands) {
		err = computeBlock(ctx, sc.Plan, p.Block, bs, in.calc.Worker().Compute64, (*raster.TileCodec).Encode64)
	} else {
		err = computeBlock(ctx, sc.Plan, p.Block, bs, in.calc.Worker().Compute, (*raster.TileCodec).Encode)
	}
	if err != nil {
		if errors.Is(err, raster.ErrMalformed) || errors.Is(err, raster.ErrUnsupported) {
			err = clientError(err, "The scene %s cannot be computed: %s.", sc.ID, err)
		}
		return err
	}
	for _, b := range bs {
		if b.row.Segment, _, err = b.w.commit(b.out.Key); err != nil {
			return err
		}
	}
	// What was taken away while the block was computed ends the job now.
	for i := range outs {
		if _, err = s.dataKey(ctx, &job, &outs[i], holder(p.Job, "run")); err != nil {
			return err
		}
	}
	if err = s.recheck(ctx, p.Job, in); err != nil {
		return err
	}
	err = t.Finish(ctx, func(tx *store.Tx) error { return s.blockComputed(tx, p, bs) })
	if err == nil && s.blockDone != nil {
		s.blockDone(p)
	}
	return err
}

// blockComputed stores the parts of a block; after the last block the files come.
func (s *Service) blockComputed(tx *store.Tx, p task, bs []*bandPart) error {
	sc, err := scenes.Get(tx, p.Job.key(p.Scene)...)
	if err != nil {
		return err
	}
	for i, b := range bs {
		b.row.At = []int{p.Scene, i, p.Block}
		if err := parts.Put(tx, b.row, p.Job.key(b.row.At...)...); err != nil {
			return err
		}
	}
	sc.BlocksLeft--
	if sc.BlocksLeft == 0 {
		for i := range bs {
			if _, err := s.cfg.Jobs.Submit(tx, task{Job: p.Job, Scene: p.Scene, Band: i}.spec(kindFile)); err != nil {
				return err
			}
		}
	}
	if err := scenes.Put(tx, sc, p.Job.key(p.Scene)...); err != nil {
		return err
	}
	return s.count(tx, p.Job, func(pr *progressRow) { pr.Done++ })
}

// wide reports whether a band needs float64 arithmetic up to its pixels.
func wide(bands []bandRow) bool {
	for _, b := range bands {
		if b.Type != geoapi.OutputTypeFloat32 {
			return true
		}
	}
	return false
}

// bandPart is one band of a block while it is made.
type bandPart struct {
	out    *outputRow
	layout *raster.Layout
	codec  *raster.TileCodec
	w      *segmentWriter
	row    partRow
	buf    []byte
}

func (s *Service) newPart(ctx context.Context, job *jobRow, out *outputRow, block int, c *raster.Calculator) (*bandPart, error) {
	customer, err := s.dataKey(ctx, job, out, holder(job.Ref, "run"))
	if err != nil {
		return nil, err
	}
	keys, err := segmentKeys(out.Key, customer)
	if err != nil {
		return nil, err
	}
	b := &bandPart{out: out}
	if b.layout, err = layoutOf(c, &job.Bands[out.Band]); err != nil {
		return nil, err
	}
	b.codec = raster.NewTileCodec(b.layout)
	b.w, err = s.newSegment(ctx, keys, partContext(job.Ref, out.Object, block))
	return b, err
}

// dropParts gives up what a failed block has written.
func (s *Service) dropParts(ctx context.Context, bs []*bandPart) {
	for _, b := range bs {
		switch {
		case b == nil || b.w == nil:
		case b.row.Segment.ID != (blob.ID{}):
			s.deleteSegments(context.WithoutCancel(ctx), b.row.Segment.ID)
		default:
			b.w.blob.Abort()
		}
	}
}

// addTile encodes one tile and appends it to the part.
func addTile[T raster.Float](b *bandPart, encode func(*raster.TileCodec, []byte, []T) ([]byte, error), level, tx, ty int, pix []T) error {
	data, err := encode(b.codec, b.buf[:0], pix)
	if err != nil {
		return fmt.Errorf("geospatial: encode a tile: %w", err)
	}
	b.buf = data
	if _, err := b.w.Write(data); err != nil {
		return err
	}
	b.row.Tiles = append(b.row.Tiles, tileRef{level, b.layout.Index(level, 0, tx, ty), len(data)})
	return nil
}

// computeBlock evaluates the equations window by window and encodes the tiles,
// with the overview tiles that the block makes whole.
func computeBlock[T raster.Float](ctx context.Context, p *blockPlan, block int, bs []*bandPart,
	compute func(context.Context, raster.Window, ...[]T) error,
	encode func(*raster.TileCodec, []byte, []T) ([]byte, error),
) error {
	pyramids := make([]*raster.Pyramid[T], len(bs))
	for i, b := range bs {
		pyramids[i] = raster.NewPyramid(b.layout, raster.Average, func(level, _, tx, ty int, pix []T) error {
			if level > p.Levels {
				return nil // the file's task makes it
			}
			return addTile(b, encode, level, tx, ty, pix)
		})
	}
	dst := make([][]T, len(bs))
	tile := make([]T, tileSide*tileSide)
	x0, y0, x1, y1 := p.block(block)
	for wy := y0; wy < y1; wy += p.WindowY {
		for wx := x0; wx < x1; wx += p.WindowX {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			ex, ey := min(wx+p.WindowX, x1), min(wy+p.WindowY, y1)
			win := p.window(wx, wy, ex, ey)
			for i := range dst {
				if cap(dst[i]) < win.Pixels() {
					dst[i] = make([]T, win.Pixels())
				}
				dst[i] = dst[i][:win.Pixels()]
			}
			if err := compute(ctx, win, dst...); err != nil {
				return err
			}
			for i, b := range bs {
				for ty := wy; ty < ey; ty++ {
					for tx := wx; tx < ex; tx++ {
						raster.ExtractTile(tile, tileSide, dst[i], win, tx, ty)
						if err := addTile(b, encode, 0, tx, ty, tile); err != nil {
							return err
						}
						if err := pyramids[i].Add(0, 0, tx, ty, tile); err != nil {
							return err
						}
					}
				}
			}
		}
	}
	return nil
}
