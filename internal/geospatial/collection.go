package geospatial

import (
	"context"
	"maps"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/internal/store"
)

const collectionDescription = "Imported imagery of this account."

// ListRasterDataCollections lists the caller's collections.
//
// Errors: ValidationException.
func (s *Service) ListRasterDataCollections(ctx context.Context, in *geoapi.ListRasterDataCollectionsInput) (*geoapi.ListRasterDataCollectionsOutput, error) {
	p, err := s.page(ctx, "ListRasterDataCollections", nil, in.MaxResults, maxPage, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &geoapi.ListRasterDataCollectionsOutput{RasterDataCollectionSummaries: []geoapi.RasterDataCollectionMetadata{}}
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		rows, err := collections.Page(tx, store.Key{p.region, p.account}, p.options)
		if err != nil {
			return err
		}
		for i := range rows.Values {
			c := &rows.Values[i]
			out.RasterDataCollectionSummaries = append(out.RasterDataCollectionSummaries, geoapi.RasterDataCollectionMetadata{
				Arn: c.Ref.collectionARN(), Name: c.Name, Description: collectionDescription,
				SupportedFilters: c.filters(), Tags: maps.Clone(c.Tags), Type: geoapi.DataCollectionTypeUser,
			})
		}
		out.NextToken, err = p.next(rows.Next)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// GetRasterDataCollection describes a collection.
//
// Errors: ResourceNotFoundException.
func (s *Service) GetRasterDataCollection(ctx context.Context, in *geoapi.GetRasterDataCollectionInput) (*geoapi.GetRasterDataCollectionOutput, error) {
	var c collectionRow
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		c, err = s.ownCollection(ctx, tx, in.Arn)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &geoapi.GetRasterDataCollectionOutput{
		Arn: c.Ref.collectionARN(), Name: c.Name, Description: collectionDescription, ImageSourceBands: c.Bands,
		SupportedFilters: c.filters(), Tags: c.Tags, Type: geoapi.DataCollectionTypeUser,
	}, nil
}

// filters renders SupportedFilters.
func (c *collectionRow) filters() []geoapi.Filter {
	out := []geoapi.Filter{}
	for _, name := range c.Filters {
		f := geoapi.Filter{Name: name, Type: "number"}
		if name == platformFilter {
			f.Type = "string"
		}
		for _, p := range filterProperties {
			if p.name == name {
				f.Minimum, f.Maximum = new(p.least), new(p.most)
			}
		}
		out = append(out, f)
	}
	return out
}
