package geospatial

import (
	"errors"
	"regexp"
	"strings"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/internal/raster"
)

// maxBands bounds the indices of one job; all are computed in one pass.
const maxBands = 32

// indexName is what a custom index may be called: it becomes part of file names.
var indexName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// bandsFor checks a job's configuration and returns the bands it makes.
//
// Errors: ValidationException.
func bandsFor(c *geoapi.JobConfigInput) ([]bandRow, error) {
	if c == nil || c.BandMathConfig == nil {
		name := configName(c)
		if name == "" {
			return nil, geoapi.ValidationException("JobConfig must name one kind of job.")
		}
		return nil, geoapi.ValidationException("%s is not implemented; docs/coverage.md lists what is.", name)
	}
	var bands []bandRow
	for _, name := range c.BandMathConfig.PredefinedIndices {
		ix, ok := raster.Predefined(name)
		if !ok {
			return nil, geoapi.ValidationException("PredefinedIndices: %q is unknown; there are %s.", name, strings.Join(raster.PredefinedNames(), ", "))
		}
		bands = append(bands, bandRow{Name: ix.Name, Equation: ix.Equation, Type: geoapi.OutputTypeFloat32})
	}
	if custom := c.BandMathConfig.CustomIndices; custom != nil {
		for _, op := range custom.Operations {
			band, err := customBand(op)
			if err != nil {
				return nil, err
			}
			bands = append(bands, band)
		}
	}
	switch {
	case len(bands) == 0:
		return nil, geoapi.ValidationException("BandMathConfig needs PredefinedIndices or CustomIndices.")
	case len(bands) > maxBands:
		return nil, geoapi.ValidationException("BandMathConfig names %d indices, the limit is %d.", len(bands), maxBands)
	}
	seen := map[string]bool{}
	for i := range bands {
		if n := bands[i].suffix(); seen[n] {
			return nil, geoapi.ValidationException("BandMathConfig names the index %q twice; case does not tell names apart.", bands[i].Name)
		}
		seen[bands[i].suffix()] = true
	}
	return bands, nil
}

func customBand(op geoapi.Operation) (bandRow, error) {
	b := bandRow{Name: op.Name, Equation: op.Equation, Type: op.OutputType}
	if !indexName.MatchString(op.Name) {
		return b, geoapi.ValidationException("CustomIndices: the name %q must have 1 to 64 letters, digits, - and _, and begin with a letter or digit.", op.Name)
	}
	if b.Type == "" {
		b.Type = geoapi.OutputTypeFloat32
	}
	if _, err := raster.ParseSampleType(string(b.Type)); err != nil {
		return b, geoapi.ValidationException("CustomIndices, %s: OutputType %s is unknown.", op.Name, op.OutputType)
	}
	x, err := raster.Compile(op.Equation)
	if syntax, ok := errors.AsType[*raster.SyntaxError](err); ok {
		return b, geoapi.ValidationException("CustomIndices, %s: %s.", op.Name, syntax)
	}
	if err != nil {
		return b, geoapi.ValidationException("CustomIndices, %s: %s.", op.Name, err)
	}
	if len(x.Vars()) == 0 {
		return b, geoapi.ValidationException("CustomIndices, %s: the equation names no asset.", op.Name)
	}
	return b, nil
}

// configName is the member of the union that is set, or "".
func configName(c *geoapi.JobConfigInput) string {
	switch {
	case c == nil:
		return ""
	case c.BandMathConfig != nil:
		return "BandMathConfig"
	case c.CloudMaskingConfig != nil:
		return "CloudMaskingConfig"
	case c.CloudRemovalConfig != nil:
		return "CloudRemovalConfig"
	case c.GeoMosaicConfig != nil:
		return "GeoMosaicConfig"
	case c.LandCoverSegmentationConfig != nil:
		return "LandCoverSegmentationConfig"
	case c.ResamplingConfig != nil:
		return "ResamplingConfig"
	case c.StackConfig != nil:
		return "StackConfig"
	case c.TemporalStatisticsConfig != nil:
		return "TemporalStatisticsConfig"
	case c.ZonalStatisticsConfig != nil:
		return "ZonalStatisticsConfig"
	}
	return ""
}

// operationType is the OperationType in lists, for example BAND_MATH.
func operationType(c *geoapi.JobConfigInput) string {
	var b strings.Builder
	for i, r := range strings.TrimSuffix(configName(c), "Config") {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToUpper(b.String())
}
