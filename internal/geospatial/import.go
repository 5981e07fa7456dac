package geospatial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/envelope/segment"
	"github.com/sagekeep/sagekeep/internal/raster"
	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/store"
)

// ImportRegion is where ImportCollection makes collections: the one region that
// has the service.
const ImportRegion = "us-west-2"

// maxItems bounds one import: its rows are one commit.
const maxItems = 5000

// ImportCollection makes a collection of Config.Account in ImportRegion out of
// STAC items on this machine; see Import. Paths are files and folders of the
// operating system.
func (s *Service) ImportCollection(ctx context.Context, name string, paths ...string) (arn string, err error) {
	root := ""
	var rel []string
	for _, p := range paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return "", fmt.Errorf("import %s: %w", p, err)
		}
		top := filepath.VolumeName(abs) + string(filepath.Separator)
		if root != "" && top != root {
			return "", fmt.Errorf("import %s: all paths must lie on one volume", p)
		}
		root = top
		r := filepath.ToSlash(strings.TrimPrefix(abs, top))
		if r == "" {
			r = "."
		}
		rel = append(rel, r)
	}
	if root == "" {
		return "", errors.New("import: name at least one STAC item or folder")
	}
	return s.Import(ctx, s.cfg.Account(), ImportRegion, name, os.DirFS(root), rel, nil)
}

// Import makes a raster data collection of the account out of STAC 1.x items in
// fsys, and returns its ARN. Each path is an item file or a folder, which is
// searched for items in *.json. Relative hrefs lead to GeoTIFFs, which are
// checked and copied into segments. Nothing is imported unless everything can
// be. progress, when not nil, is told how many of the files are copied.
func (s *Service) Import(ctx context.Context, account, region, name string, fsys fs.FS, paths []string, progress func(done, total int)) (arn string, err error) {
	if name == "" || len(name) > 200 {
		return "", errors.New("import: the collection's name must have 1 to 200 characters")
	}
	found, err := readItems(fsys, paths)
	if err != nil {
		return "", fmt.Errorf("import: %w", err)
	}
	total := 0
	for _, f := range found {
		total += len(f.item.hrefs)
	}
	col := collectionRow{
		Ref: ref{Region: region, Account: account, ID: newResourceID()}, Name: name,
		Created: s.timestamp(), Items: len(found), Tags: map[string]string{},
	}
	im := importer{s: s, fsys: fsys, col: &col}
	defer func() {
		if err != nil {
			s.deleteSegments(context.WithoutCancel(ctx), im.written...)
		}
	}()
	done := 0
	for _, f := range found {
		for i := range f.item.hrefs {
			if err := im.copyAsset(ctx, f, &f.item.hrefs[i]); err != nil {
				return "", fmt.Errorf("import %s, asset %q: %w", f.path, f.item.hrefs[i].name, err)
			}
			if done++; progress != nil {
				progress(done, total)
			}
		}
	}
	col.Bands, col.Filters = summary(found)
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		for i, f := range found {
			if err := items.Put(tx, f.item.itemRow, col.Ref.key(i)...); err != nil {
				return err
			}
		}
		return collections.Put(tx, col, col.Ref.key()...)
	})
	if err != nil {
		return "", fmt.Errorf("import: store the collection: %w", err)
	}
	return col.Ref.collectionARN(), nil
}

// foundItem is an item and where it was found.
type foundItem struct {
	path string
	item *stacItem
}

// readItems finds, reads and orders the items below paths.
func readItems(fsys fs.FS, paths []string) ([]foundItem, error) {
	var found []foundItem
	seen := map[string]bool{}
	add := func(p string, named bool) error {
		if seen[p] {
			return nil
		}
		seen[p] = true
		b, err := readSmall(fsys, p)
		if err != nil {
			return err
		}
		item, err := parseItem(b)
		if errors.Is(err, errNotItem) && !named {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		if found = append(found, foundItem{p, item}); len(found) > maxItems {
			return fmt.Errorf("more than %d items; import them as several collections", maxItems)
		}
		return nil
	}
	for _, p := range paths {
		p = path.Clean(p)
		info, err := fs.Stat(fsys, p)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			if err := add(p, true); err != nil {
				return nil, err
			}
			continue
		}
		err = fs.WalkDir(fsys, p, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.EqualFold(path.Ext(p), ".json") {
				return err
			}
			return add(p, false)
		})
		if err != nil {
			return nil, err
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no STAC item found: name item files, or folders with items in *.json")
	}
	slices.SortFunc(found, func(a, b foundItem) int {
		if c := a.item.Time.Compare(b.item.Time); c != 0 {
			return c
		}
		return strings.Compare(a.item.ID, b.item.ID)
	})
	byID := map[string]string{}
	for _, f := range found {
		if other, ok := byID[f.item.ID]; ok {
			return nil, fmt.Errorf("%s and %s have the same id %q", other, f.path, f.item.ID)
		}
		byID[f.item.ID] = f.path
	}
	return found, nil
}

func readSmall(fsys fs.FS, p string) ([]byte, error) {
	f, err := fsys.Open(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxItemFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", p, err)
	}
	return b, nil
}

// importer copies the assets of one collection.
type importer struct {
	s       *Service
	fsys    fs.FS
	col     *collectionRow
	written []blob.ID
}

// copyAsset seals one file and checks what was sealed.
func (im *importer) copyAsset(ctx context.Context, f foundItem, a *stacAsset) error {
	p := path.Join(path.Dir(f.path), a.href)
	if !fs.ValidPath(p) {
		return fmt.Errorf("href %q leaves the imported folder", a.href)
	}
	in, err := im.fsys.Open(p)
	if err != nil {
		return err
	}
	defer in.Close()
	row := assetRow{Name: a.name, File: safeName(path.Base(p)), Bands: a.bands}
	where := assetContext(im.col.Ref, f.item.ID, a.name)
	row.Segment.Key = secret.Random().Bytes()
	keys, err := segmentKeys(row.Segment.Key, secret.Key{})
	if err != nil {
		return err
	}
	row.Segment, row.Size, err = im.s.writeSegment(ctx, row.Segment.Key, keys, where, func(w *segment.Writer) error {
		_, err := io.Copy(w, &contextReader{ctx, in})
		return err
	})
	if err != nil {
		return err
	}
	im.written = append(im.written, row.Segment.ID)
	r, err := im.s.openSegment(ctx, row.Segment, keys, where)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := row.inspect(r, f.item.epsg); err != nil {
		return err
	}
	f.item.Assets = append(f.item.Assets, row)
	return nil
}

// inspect reads the raster's directory and checks that it can be used.
func (a *assetRow) inspect(r *openedSegment, epsg int) error {
	im, err := raster.Open(r, r.Size())
	switch {
	case errors.Is(err, raster.ErrMalformed) && looksLikeJP2(r):
		return errors.New("the file is JPEG 2000; convert it with: gdal_translate -of COG IN.jp2 OUT.tif")
	case err != nil:
		return err
	}
	if _, ok := im.GeoTransform(); !ok || im.EPSG() == 0 {
		return errors.New("the file has no georeference with an EPSG code; add one with: gdal_translate -a_srs EPSG:N -of COG IN.tif OUT.tif")
	}
	if epsg != 0 && im.EPSG() != epsg {
		return fmt.Errorf("the file is in EPSG:%d, the item says EPSG:%d", im.EPSG(), epsg)
	}
	if len(a.Bands) > im.Bands() {
		return fmt.Errorf("the item describes %d bands, the file has %d", len(a.Bands), im.Bands())
	}
	a.EPSG, a.Width, a.Height, a.DataType = im.EPSG(), im.Width(), im.Height(), im.SampleType().String()
	return nil
}

func looksLikeJP2(r io.ReaderAt) bool {
	var b [12]byte
	_, err := r.ReadAt(b[:], 0)
	return err == nil && (string(b[4:8]) == "jP  " || string(b[:4]) == "\xff\x4f\xff\x51")
}

// contextReader ends a copy when its context does.
type contextReader struct {
	ctx context.Context //nolint:containedctx // io.Reader has no other way in
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// summary lists the asset names and the filters that make sense for items.
func summary(found []foundItem) (bands, filters []string) {
	names, has := map[string]bool{}, map[string]bool{}
	for _, f := range found {
		for _, a := range f.item.Assets {
			names[a.Name] = true
		}
		for _, p := range filterProperties {
			if p.of(&f.item.Props) != nil {
				has[p.name] = true
			}
		}
		if f.item.Props.Platform != "" {
			has[platformFilter] = true
		}
	}
	return slices.Sorted(maps.Keys(names)), slices.Sorted(maps.Keys(has))
}
