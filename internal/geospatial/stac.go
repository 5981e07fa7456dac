package geospatial

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxItemFile bounds a STAC item, in bytes, and maxItemAssets its assets.
const (
	maxItemFile   = 4 << 20
	maxItemAssets = 200
)

// stacItem is what an item file says, checked.
type stacItem struct {
	itemRow
	hrefs []stacAsset // the GeoTIFFs, by asset name
	epsg  int         // proj:epsg or proj:code of the item, 0 when absent
}

// stacAsset is one GeoTIFF of an item, before it is read.
type stacAsset struct {
	name  string
	href  string // slash-separated path relative to the item, or absolute
	bands []bandInfo
}

// errNotItem says that a JSON file is something else, such as a catalog.
var errNotItem = errors.New("not a STAC item")

// itemJSON and its parts are the members of STAC items that we read.
//
// Sources: STAC specification 1.0 and 1.1, item-spec; extensions eo, grid,
// mgrs, landsat, projection, raster, view.
type itemJSON struct {
	Type        string               `json:"type"`
	StacVersion string               `json:"stac_version"`
	ID          string               `json:"id"`
	BBox        []float64            `json:"bbox"`
	Geometry    *geometryJSON        `json:"geometry"`
	Properties  propertiesJSON       `json:"properties"`
	Assets      map[string]assetJSON `json:"assets"`
}

type geometryJSON struct {
	Type        string          `json:"type"`
	Coordinates json.RawMessage `json:"coordinates"`
}

type propertiesJSON struct {
	DateTime      *string  `json:"datetime"`
	StartDateTime *string  `json:"start_datetime"`
	EndDateTime   *string  `json:"end_datetime"`
	Platform      string   `json:"platform"`
	CloudCover    *float64 `json:"eo:cloud_cover"`
	LandCover     *float64 `json:"landsat:cloud_cover_land"`
	OffNadir      *float64 `json:"view:off_nadir"`
	SunAzimuth    *float64 `json:"view:sun_azimuth"`
	SunElevation  *float64 `json:"view:sun_elevation"`
	GridCode      string   `json:"grid:code"`
	UTMZone       *int     `json:"mgrs:utm_zone"`
	LatitudeBand  string   `json:"mgrs:latitude_band"`
	GridSquare    string   `json:"mgrs:grid_square"`
	EPSG          *int     `json:"proj:epsg"`
	Code          *string  `json:"proj:code"`
}

type assetJSON struct {
	Href        string     `json:"href"`
	Type        string     `json:"type"`
	EOBands     []bandJSON `json:"eo:bands"`
	RasterBands []bandJSON `json:"raster:bands"`
	Bands       []bandJSON `json:"bands"` // STAC 1.1
	// STAC 1.1 allows what all bands share beside the asset's href.
	Scale      *float64        `json:"raster:scale"`
	Offset     *float64        `json:"raster:offset"`
	NoData     json.RawMessage `json:"nodata"`
	CommonName string          `json:"eo:common_name"`
}

type bandJSON struct {
	Name         string          `json:"name"`
	CommonName   string          `json:"common_name"`
	EOCommonName string          `json:"eo:common_name"`
	Scale        *float64        `json:"scale"`
	Offset       *float64        `json:"offset"`
	RasterScale  *float64        `json:"raster:scale"`
	RasterOffset *float64        `json:"raster:offset"`
	NoData       json.RawMessage `json:"nodata"`
}

// parseItem reads a STAC 1.x item. Assets that are no GeoTIFF by their media
// type or name are left out.
//
// Errors: errNotItem for well-formed JSON of another kind; else what is wrong
// with the item.
func parseItem(b []byte) (*stacItem, error) {
	if len(b) > maxItemFile {
		return nil, fmt.Errorf("larger than %d bytes", maxItemFile)
	}
	var head struct {
		Type        json.RawMessage `json:"type"`
		StacVersion json.RawMessage `json:"stac_version"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if string(head.Type) != `"Feature"` || head.StacVersion == nil {
		return nil, errNotItem
	}
	var in itemJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if !strings.HasPrefix(in.StacVersion, "1.") {
		return nil, fmt.Errorf("STAC version %q: 1.0 and 1.1 are read", in.StacVersion)
	}
	if in.ID == "" || len(in.ID) > 256 {
		return nil, errors.New("id must have 1 to 256 characters")
	}
	item := &stacItem{itemRow: itemRow{ID: in.ID}}
	if err := item.readTimes(&in.Properties); err != nil {
		return nil, err
	}
	if err := item.readArea(&in); err != nil {
		return nil, fmt.Errorf("geometry: %w", err)
	}
	p := &in.Properties
	for name, v := range map[string]*float64{
		"eo:cloud_cover": p.CloudCover, "landsat:cloud_cover_land": p.LandCover, "view:off_nadir": p.OffNadir,
		"view:sun_azimuth": p.SunAzimuth, "view:sun_elevation": p.SunElevation,
	} {
		if v != nil && math.Abs(*v) > 1e6 {
			return nil, fmt.Errorf("%s: %g is out of range", name, *v)
		}
	}
	item.Props = itemProperties{
		EoCloudCover: p.CloudCover, LandsatCloudCoverLand: p.LandCover, ViewOffNadir: p.OffNadir,
		ViewSunAzimuth: p.SunAzimuth, ViewSunElevation: p.SunElevation, Platform: p.Platform,
	}
	item.Tile = tileOf(p, in.ID)
	if p.EPSG != nil {
		item.epsg = *p.EPSG
	} else if p.Code != nil {
		fmt.Sscanf(strings.ToUpper(*p.Code), "EPSG:%d", &item.epsg)
	}
	return item, item.readAssets(in.Assets)
}

// readTimes reads datetime, or the range that stands in for it.
func (s *stacItem) readTimes(p *propertiesJSON) error {
	read := func(name string, text *string) (t time.Time, err error) {
		if text == nil {
			return t, nil
		}
		if t, err = time.Parse(time.RFC3339Nano, *text); err != nil {
			return t, fmt.Errorf("%s %q is no RFC 3339 time", name, *text)
		}
		if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
			return t, fmt.Errorf("%s %q is out of range", name, *text)
		}
		return t.Truncate(time.Microsecond), nil
	}
	var err error
	if s.Time, err = read("datetime", p.DateTime); err != nil {
		return err
	}
	if s.From, err = read("start_datetime", p.StartDateTime); err != nil {
		return err
	}
	if s.To, err = read("end_datetime", p.EndDateTime); err != nil {
		return err
	}
	switch {
	case p.DateTime == nil && (p.StartDateTime == nil || p.EndDateTime == nil):
		return errors.New("datetime is missing, and there is no start_datetime with end_datetime")
	case p.DateTime == nil:
		s.Time = s.From
	case p.StartDateTime == nil || p.EndDateTime == nil:
		s.From, s.To = s.Time, s.Time
	}
	if s.To.Before(s.From) {
		return errors.New("end_datetime lies before start_datetime")
	}
	return nil
}

func (s *stacItem) readArea(in *itemJSON) error {
	if in.Geometry == nil {
		b := in.BBox
		if len(b) == 6 {
			b = []float64{b[0], b[1], b[3], b[4]}
		}
		if len(b) != 4 {
			return errors.New("neither a geometry nor a bbox of 4 or 6 numbers")
		}
		p, err := toPolygon([][][]float64{{{b[0], b[1]}, {b[2], b[1]}, {b[2], b[3]}, {b[0], b[3]}, {b[0], b[1]}}})
		s.Area = multiPolygon{p}
		return err
	}
	var err error
	switch in.Geometry.Type {
	case "Polygon":
		var c [][][]float64
		if err := json.Unmarshal(in.Geometry.Coordinates, &c); err != nil {
			return fmt.Errorf("coordinates: %w", err)
		}
		var p polygon
		p, err = toPolygon(c)
		s.Area = multiPolygon{p}
	case "MultiPolygon":
		var c [][][][]float64
		if err := json.Unmarshal(in.Geometry.Coordinates, &c); err != nil {
			return fmt.Errorf("coordinates: %w", err)
		}
		s.Area, err = toMultiPolygon(c)
	default:
		return fmt.Errorf("type %q: Polygon and MultiPolygon are read", in.Geometry.Type)
	}
	return err
}

// safeName replaces what does not stand in the names of outputs.
func safeName(s string) string {
	ok := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
	}
	out := strings.Map(func(c rune) rune {
		if ok(c) {
			return c
		}
		return '_'
	}, s)
	if strings.Trim(out, ".") == "" {
		return "_" + strings.ReplaceAll(out, ".", "_")
	}
	return out
}

// tileOf names the tile: the part of grid:code behind the grid's name, the MGRS
// properties, or else the item.
func tileOf(p *propertiesJSON, id string) string {
	if _, code, ok := strings.Cut(p.GridCode, "-"); ok && code != "" {
		return safeName(code)
	}
	if p.UTMZone != nil && *p.UTMZone >= 1 && *p.UTMZone <= 60 && p.LatitudeBand != "" && p.GridSquare != "" {
		return safeName(fmt.Sprintf("%02d%s%s", *p.UTMZone, p.LatitudeBand, p.GridSquare))
	}
	return safeName(id)
}

// tiffName matches file names of TIFFs.
var tiffName = regexp.MustCompile(`(?i)\.tiff?$`)

func (s *stacItem) readAssets(assets map[string]assetJSON) error {
	if len(assets) > maxItemAssets {
		return fmt.Errorf("%d assets, the limit is %d", len(assets), maxItemAssets)
	}
	jp2 := false
	for _, name := range slices.Sorted(maps.Keys(assets)) {
		a := assets[name]
		u, err := url.Parse(a.Href)
		if err != nil {
			return fmt.Errorf("asset %q: href %q is no reference", name, a.Href)
		}
		lower := strings.ToLower(a.Type)
		jp2 = jp2 || strings.Contains(lower, "jp2") || strings.HasSuffix(strings.ToLower(u.Path), ".jp2")
		if a.Type != "" && !strings.Contains(lower, "tiff") || a.Type == "" && !tiffName.MatchString(u.Path) {
			continue
		}
		if name == "" || len(name) > 128 {
			return fmt.Errorf("asset %q: names have 1 to 128 characters", name)
		}
		if u.Scheme != "" || u.Host != "" || u.Path == "" || u.RawQuery != "" {
			return fmt.Errorf("asset %q: href %q is not a relative path; nothing is downloaded", name, a.Href)
		}
		bands, err := bandsOf(&a)
		if err != nil {
			return fmt.Errorf("asset %q: %w", name, err)
		}
		s.hrefs = append(s.hrefs, stacAsset{name: name, href: path.Clean(u.Path), bands: bands})
	}
	if len(s.hrefs) > 0 {
		return nil
	}
	if jp2 {
		return errors.New("no asset is a GeoTIFF; convert JPEG 2000 with: gdal_translate -of COG IN.jp2 OUT.tif")
	}
	return errors.New("no asset is a GeoTIFF")
}

// bandsOf joins what eo:bands, raster:bands and bands say. There is at least one.
func bandsOf(a *assetJSON) ([]bandInfo, error) {
	n := max(1, len(a.EOBands), len(a.RasterBands), len(a.Bands))
	if n > 1024 {
		return nil, fmt.Errorf("%d bands", n)
	}
	out := make([]bandInfo, n)
	for i := range out {
		b := &out[i]
		b.Scale = 1
		if err := b.add(&bandJSON{EOCommonName: a.CommonName, RasterScale: a.Scale, RasterOffset: a.Offset, NoData: a.NoData}); err != nil {
			return nil, err
		}
		for _, list := range [][]bandJSON{a.EOBands, a.RasterBands, a.Bands} {
			if i < len(list) {
				if err := b.add(&list[i]); err != nil {
					return nil, err
				}
			}
		}
	}
	return out, nil
}

func (b *bandInfo) add(j *bandJSON) error {
	for _, name := range []string{j.Name, j.CommonName, j.EOCommonName} {
		if name != "" && !slices.Contains(b.Names, name) {
			b.Names = append(b.Names, name)
		}
	}
	for _, v := range []*float64{j.Scale, j.RasterScale} {
		if v != nil {
			if *v == 0 {
				return errors.New("scale is 0")
			}
			b.Scale = *v
		}
	}
	for _, v := range []*float64{j.Offset, j.RasterOffset} {
		if v != nil {
			b.Offset = *v
		}
	}
	if len(j.NoData) == 0 || string(j.NoData) == "null" {
		return nil
	}
	var number float64
	if json.Unmarshal(j.NoData, &number) == nil {
		b.NoData, b.NoDataNaN = &number, false
		return nil
	}
	var word string
	if err := json.Unmarshal(j.NoData, &word); err != nil || !strings.EqualFold(word, "nan") {
		// Infinities never enter a result: a value that is not finite is missing.
		if !strings.EqualFold(word, "inf") && !strings.EqualFold(word, "-inf") {
			return fmt.Errorf("nodata %s is neither a number nor nan, inf or -inf", j.NoData)
		}
		return nil
	}
	b.NoData, b.NoDataNaN = nil, true
	return nil
}
