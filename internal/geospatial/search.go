package geospatial

import (
	"context"
	"slices"
	"strings"
	"time"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/internal/store"
)

// platformFilter is the one filter on text.
const platformFilter = "Platform"

// filterProperty is one numeric property that can be searched by.
type filterProperty struct {
	name        string
	least, most float32 // what SupportedFilters reports
	of          func(*itemProperties) *float64
	in          func(*geoapi.Property) (lower, upper float32, ok bool)
}

// filterProperties are the numeric properties, by their names in the API.
var filterProperties = []filterProperty{
	{
		"EoCloudCover", 0, 100, func(p *itemProperties) *float64 { return p.EoCloudCover },
		func(p *geoapi.Property) (float32, float32, bool) {
			if p.EoCloudCover == nil {
				return 0, 0, false
			}
			return p.EoCloudCover.LowerBound, p.EoCloudCover.UpperBound, true
		},
	},
	{
		"LandsatCloudCoverLand", 0, 100, func(p *itemProperties) *float64 { return p.LandsatCloudCoverLand },
		func(p *geoapi.Property) (float32, float32, bool) {
			if p.LandsatCloudCoverLand == nil {
				return 0, 0, false
			}
			return p.LandsatCloudCoverLand.LowerBound, p.LandsatCloudCoverLand.UpperBound, true
		},
	},
	{
		"ViewOffNadir", 0, 90, func(p *itemProperties) *float64 { return p.ViewOffNadir },
		func(p *geoapi.Property) (float32, float32, bool) {
			if p.ViewOffNadir == nil {
				return 0, 0, false
			}
			return p.ViewOffNadir.LowerBound, p.ViewOffNadir.UpperBound, true
		},
	},
	{
		"ViewSunAzimuth", 0, 360, func(p *itemProperties) *float64 { return p.ViewSunAzimuth },
		func(p *geoapi.Property) (float32, float32, bool) {
			if p.ViewSunAzimuth == nil {
				return 0, 0, false
			}
			return p.ViewSunAzimuth.LowerBound, p.ViewSunAzimuth.UpperBound, true
		},
	},
	{
		"ViewSunElevation", -90, 90, func(p *itemProperties) *float64 { return p.ViewSunElevation },
		func(p *geoapi.Property) (float32, float32, bool) {
			if p.ViewSunElevation == nil {
				return 0, 0, false
			}
			return p.ViewSunElevation.LowerBound, p.ViewSunElevation.UpperBound, true
		},
	},
}

// query is a checked search.
type query struct {
	from, to time.Time
	area     multiPolygon // nil: anywhere
	bounds   []bound
	platform []geoapi.PlatformInput
}

type bound struct {
	of           func(*itemProperties) *float64
	lower, upper float64
}

// newQuery checks the parts of a search that the model does not.
//
// Errors: ValidationException.
func newQuery(times *geoapi.TimeRangeFilterInput, aoi *geoapi.AreaOfInterest, props *geoapi.PropertyFilters) (*query, error) {
	if times == nil {
		return nil, geoapi.ValidationException("TimeRangeFilter is required.")
	}
	q := &query{from: times.StartTime.UTC(), to: times.EndTime.UTC()}
	if q.to.Before(q.from) {
		return nil, geoapi.ValidationException("TimeRangeFilter: EndTime lies before StartTime.")
	}
	if err := q.setArea(aoi); err != nil {
		return nil, geoapi.ValidationException("AreaOfInterest: %s.", err)
	}
	if props == nil {
		return q, nil
	}
	for _, f := range props.Properties {
		if f.Property == nil {
			return nil, geoapi.ValidationException("PropertyFilters: Property is required.")
		}
		if f.Property.Platform != nil {
			q.platform = append(q.platform, *f.Property.Platform)
			continue
		}
		for _, p := range filterProperties {
			lower, upper, ok := p.in(f.Property)
			if !ok {
				continue
			}
			if !(lower <= upper) {
				return nil, geoapi.ValidationException("PropertyFilters: LowerBound of %s exceeds UpperBound.", p.name)
			}
			q.bounds = append(q.bounds, bound{p.of, float64(lower), float64(upper)})
		}
	}
	return q, nil
}

func (q *query) setArea(aoi *geoapi.AreaOfInterest) error {
	if aoi == nil || aoi.AreaOfInterestGeometry == nil {
		return nil
	}
	g := aoi.AreaOfInterestGeometry
	var err error
	switch {
	case g.PolygonGeometry != nil:
		var p polygon
		p, err = toPolygon(g.PolygonGeometry.Coordinates)
		q.area = multiPolygon{p}
	case g.MultiPolygonGeometry != nil:
		q.area, err = toMultiPolygon(g.MultiPolygonGeometry.Coordinates)
	}
	return err
}

// matches reports whether an item is part of the result. An item without a
// property that is asked for is not.
func (q *query) matches(r *itemRow) bool {
	if r.To.Before(q.from) || r.From.After(q.to) {
		return false
	}
	for _, b := range q.bounds {
		v := b.of(&r.Props)
		if v == nil || *v < b.lower || *v > b.upper {
			return false
		}
	}
	for _, p := range q.platform {
		have := strings.ToLower(r.Props.Platform)
		want := strings.ToLower(p.Value)
		ok := have == want
		switch p.ComparisonOperator {
		case geoapi.ComparisonOperatorNotEquals:
			ok = !ok
		case geoapi.ComparisonOperatorStartsWith:
			ok = strings.HasPrefix(have, want)
		}
		if !ok || have == "" {
			return false
		}
	}
	return q.area == nil || q.area.intersects(r.Area)
}

// SearchRasterDataCollection returns the items of a collection that a query
// selects, newest first. BandFilter narrows the assets that are shown.
//
// Errors: ResourceNotFoundException, ValidationException.
func (s *Service) SearchRasterDataCollection(ctx context.Context, in *geoapi.SearchRasterDataCollectionInput) (*geoapi.SearchRasterDataCollectionOutput, error) {
	rq := in.RasterDataCollectionQuery
	if rq == nil {
		return nil, geoapi.ValidationException("RasterDataCollectionQuery is required.")
	}
	q, err := newQuery(rq.TimeRangeFilter, rq.AreaOfInterest, rq.PropertyFilters)
	if err != nil {
		return nil, err
	}
	p, err := s.page(ctx, "SearchRasterDataCollection", []any{in.Arn, rq}, nil, searchPage, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &geoapi.SearchRasterDataCollectionOutput{Items: []geoapi.ItemSource{}}
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		c, err := s.ownCollection(ctx, tx, in.Arn)
		if err != nil {
			return err
		}
		behind := p.options.After == nil // whether the rows of this page were reached
		var last, next []byte
		for row, err := range items.Scan(tx, c.Ref.key(), store.ScanOptions{Reverse: true}) {
			if err != nil {
				return err
			}
			fresh := behind
			behind = behind || string(row.Cursor) == string(p.options.After)
			if !q.matches(&row.Value) {
				continue
			}
			out.ApproximateResultCount++
			switch {
			case !fresh:
			case len(out.Items) < p.options.Limit:
				out.Items = append(out.Items, row.Value.source(c.Ref, rq.BandFilter))
				last = row.Cursor
			default:
				next = last
			}
		}
		out.NextToken, err = p.next(next)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// source renders an item.
func (r *itemRow) source(c ref, bands []string) geoapi.ItemSource {
	out := geoapi.ItemSource{
		Id: r.ID, DateTime: r.Time, Assets: map[string]geoapi.AssetValue{},
		Geometry: &geoapi.Geometry{Type: "Polygon", Coordinates: r.Area.largest().coordinates()},
	}
	for _, a := range r.Assets {
		if len(bands) == 0 || slices.Contains(bands, a.Name) {
			out.Assets[a.Name] = geoapi.AssetValue{Href: new(r.href(c, &a))}
		}
	}
	p := &r.Props
	out.Properties = &geoapi.Properties{
		EoCloudCover: single(p.EoCloudCover), LandsatCloudCoverLand: single(p.LandsatCloudCoverLand),
		ViewOffNadir: single(p.ViewOffNadir), ViewSunAzimuth: single(p.ViewSunAzimuth), ViewSunElevation: single(p.ViewSunElevation),
	}
	if p.Platform != "" {
		out.Properties.Platform = new(p.Platform)
	}
	return out
}

// collectionBucket is the service's own bucket for collections; its prefix is
// reserved, so nobody else's bucket has the name.
const collectionBucket = "axis-raster-data-collection-378778860802"

// href names an asset. The bytes are reached by jobs and GetTile alone.
func (r *itemRow) href(c ref, a *assetRow) string {
	return "s3://" + collectionBucket + "/" + c.Account + "/" + c.ID + "/" + safeName(r.ID) + "/" + a.File
}

func single(v *float64) *float32 {
	if v == nil {
		return nil
	}
	return new(float32(*v))
}
