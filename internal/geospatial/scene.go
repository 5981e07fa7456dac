package geospatial

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/raster"
	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/store"
)

// openedScene is a scene open for computing; close it.
type openedScene struct {
	calc  *raster.Calculator
	files []*openedSegment
	// keys are what the files were opened with, to ask again whether they may be
	// used.
	previous *jobRow
	used     []*outputRow
}

func (o *openedScene) close() {
	for _, f := range o.files {
		_ = f.Close() // only read from
	}
}

// source is one band that a scene offers.
type source struct {
	asset, band int // numbers within the scene
	info        bandInfo
}

// sceneSource is where a scene's bytes lie, whatever it comes from.
type sceneSource struct {
	files  []sourceFile
	byName map[string]source
}

type sourceFile struct {
	segment  segmentRow
	size     int64
	context  []byte
	name     string     // of the file, for exports
	previous *jobRow    // the job that made it, nil for imported files
	output   *outputRow // its output there
}

func newServiceKey() []byte { return secret.Random().Bytes() }

// sourceOf reads what a scene offers: the assets of an item, or the results of
// the previous job under the names of its bands.
func (s *Service) sourceOf(ctx context.Context, job *jobRow, sc *sceneRow) (*sceneSource, error) {
	src := &sceneSource{byName: map[string]source{}}
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		src.files, src.byName = nil, map[string]source{}
		if arn := job.Input.PreviousEarthObservationJobArn; arn != nil {
			previous, err := s.previousJob(tx, *arn)
			if err != nil {
				return err
			}
			outs, err := readOutputs(tx, previous.Ref, sc.Source)
			if err != nil {
				return err
			}
			for i := range outs {
				src.addOutput(&previous, &outs[i])
			}
			return nil
		}
		c, _ := parseARN(job.Input.RasterDataCollectionQuery.RasterDataCollectionArn)
		item, err := items.Get(tx, c.key(sc.Source)...)
		if err != nil {
			return err
		}
		src.addItem(c, &item)
		return nil
	})
	return src, err
}

func (src *sceneSource) addOutput(previous *jobRow, o *outputRow) {
	i := len(src.files)
	src.files = append(src.files, sourceFile{
		segment: o.Segment, size: o.Size, context: outputContext(previous.Ref, o.Object), previous: previous, output: o,
	})
	b := &previous.Bands[o.Band]
	for _, name := range []string{b.Name, b.suffix()} {
		src.byName[name] = source{asset: i, info: bandInfo{Scale: 1}}
	}
}

// addItem names an item's bands: by the asset for its first band, and by the
// names of the bands themselves where only one band has the name.
func (src *sceneSource) addItem(c ref, item *itemRow) {
	count := map[string]int{}
	for _, a := range item.Assets {
		for _, b := range a.Bands {
			for _, name := range b.Names {
				count[name]++
			}
		}
	}
	for i, a := range item.Assets {
		src.files = append(src.files, sourceFile{
			segment: a.Segment, size: a.Size, context: assetContext(c, item.ID, a.Name), name: a.Name,
		})
		for j, b := range a.Bands {
			for _, name := range b.Names {
				if count[name] == 1 {
					src.byName[name] = source{i, j, b}
				}
			}
		}
	}
	for i, a := range item.Assets { // assets win over bands of the same name
		src.byName[a.Name] = source{i, 0, a.Bands[0]}
	}
}

// needed returns the numbers of the files that the job's equations read.
func (src *sceneSource) needed(exprs []*raster.Expr) ([]int, error) {
	var list []int
	for _, x := range exprs {
		for _, name := range x.Vars() {
			b, ok := src.byName[name]
			if !ok {
				return nil, clientError(nil, "The equation %s needs the asset %q, which the scene does not have.", x, name)
			}
			if !slices.Contains(list, b.asset) {
				list = append(list, b.asset)
			}
		}
	}
	return list, nil
}

// compile compiles the equations of a job's bands.
func compile(bands []bandRow) ([]*raster.Expr, error) {
	var exprs []*raster.Expr
	for _, b := range bands {
		x, err := raster.Compile(b.Equation)
		if err != nil {
			return nil, clientError(err, "The equation of %s cannot be read: %s.", b.Name, err)
		}
		exprs = append(exprs, x)
	}
	return exprs, nil
}

// openScene opens what the job's equations read of a scene. Files of a previous
// job under a customer managed key are opened under that job's grant.
func (s *Service) openScene(ctx context.Context, job *jobRow, sc *sceneRow) (*openedScene, error) {
	exprs, err := compile(job.Bands)
	if err != nil {
		return nil, err
	}
	src, err := s.sourceOf(ctx, job, sc)
	if err != nil {
		return nil, err
	}
	need, err := src.needed(exprs)
	if err != nil {
		return nil, err
	}
	o := &openedScene{}
	images := make([]*raster.Image, len(src.files))
	for _, i := range need {
		if images[i], err = s.openImage(ctx, job, &src.files[i], o); err != nil {
			o.close()
			return nil, err
		}
	}
	inputs := map[string]raster.Input{}
	for name, b := range src.byName {
		if images[b.asset] == nil {
			continue
		}
		in := raster.Input{Image: images[b.asset], Band: b.band, Scale: b.info.Scale, Offset: b.info.Offset}
		switch {
		case b.info.NoData != nil:
			in.NoData, in.HasNoData = *b.info.NoData, true
		case b.info.NoDataNaN:
			in.NoData, in.HasNoData = math.NaN(), true
		}
		inputs[name] = in
	}
	if o.calc, err = raster.NewCalculator(inputs, exprs...); err != nil {
		o.close()
		return nil, clientError(err, "The scene %s cannot be computed: %s.", sc.ID, err)
	}
	return o, nil
}

func (s *Service) openImage(ctx context.Context, job *jobRow, f *sourceFile, o *openedScene) (*raster.Image, error) {
	file, err := s.openSource(ctx, job.Ref, f, "run")
	if err != nil {
		return nil, err
	}
	o.files = append(o.files, file)
	if f.previous != nil {
		o.previous, o.used = f.previous, append(o.used, f.output)
	}
	im, err := raster.Open(file, file.Size())
	if errors.Is(err, raster.ErrMalformed) || errors.Is(err, raster.ErrUnsupported) {
		return nil, clientError(err, "An input file cannot be read: %s.", err)
	}
	return im, err
}

// openSource opens a file for a job and a purpose, with the customer's data key
// if it has one.
func (s *Service) openSource(ctx context.Context, user ref, f *sourceFile, purpose string) (*openedSegment, error) {
	var customer secret.Key
	var err error
	if f.previous != nil {
		if customer, err = s.dataKey(ctx, f.previous, f.output, holder(user, purpose)); err != nil {
			return nil, err
		}
	}
	keys, err := segmentKeys(f.segment.Key, customer)
	if err != nil {
		return nil, err
	}
	r, err := s.openSegment(ctx, f.segment, keys, f.context)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, clientError(err, "An input file was deleted.")
	}
	return r, err
}

// recheck asks again whether the keys of the opened files may be used.
func (s *Service) recheck(ctx context.Context, user ref, o *openedScene) error {
	for _, out := range o.used {
		if _, err := s.dataKey(ctx, o.previous, out, holder(user, "run")); err != nil {
			return err
		}
	}
	return nil
}
