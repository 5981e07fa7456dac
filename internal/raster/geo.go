package raster

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// Affine maps pixel to map coordinates in GDAL's order:
//
//	X = t[0] + column*t[1] + row*t[2]
//	Y = t[3] + column*t[4] + row*t[5]
//
// Column 0, row 0 is the upper left corner of the upper left pixel.
type Affine [6]float64

// Apply returns the map coordinates of a position in pixels.
func (t Affine) Apply(col, row float64) (x, y float64) {
	return t[0] + col*t[1] + row*t[2], t[3] + col*t[4] + row*t[5]
}

// Inverse returns the transform from map coordinates to pixels. It fails when
// the transform maps the plane to a line.
func (t Affine) Inverse() (Affine, error) {
	det := t[1]*t[5] - t[2]*t[4]
	if det == 0 || math.IsNaN(det) || math.IsInf(det, 0) {
		return Affine{}, errors.New("geotransform cannot be inverted")
	}
	a, b, c, d := t[5]/det, -t[2]/det, -t[4]/det, t[1]/det
	return Affine{-(t[0]*a + t[3]*b), a, b, -(t[0]*c + t[3]*d), c, d}, nil
}

// axisAligned reports whether columns run along X and rows along Y.
func (t Affine) axisAligned() bool { return t[2] == 0 && t[4] == 0 }

// scaled returns the transform of the same area with pixels sx by sy times as
// large.
func (t Affine) scaled(sx, sy float64) Affine {
	return Affine{t[0], t[1] * sx, t[2] * sy, t[3], t[4] * sx, t[5] * sy}
}

func (t Affine) finite() bool {
	for _, v := range t {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}

// GeoKeys are the three GeoTIFF tags (34735, 34736, 34737) exactly as stored,
// so that an output can carry its input's coordinate system unchanged.
type GeoKeys struct {
	Directory []uint16
	Doubles   []float64
	ASCII     string // without the terminating NUL
}

// Key numbers and codes of OGC GeoTIFF 1.1, section 7.
const (
	keyModelType      = 1024
	keyRasterType     = 1025
	keyGeographicType = 2048
	keyProjectedType  = 3072

	modelProjected    = 1
	modelGeographic   = 2
	rasterPixelIsArea = 1
	rasterPixelPoint  = 2
	codeUserDefined   = 32767
)

// short returns the value of a key stored in the directory itself.
func (k GeoKeys) short(key uint16) (uint16, bool) {
	for i := 4; i+4 <= len(k.Directory); i += 4 {
		if e := k.Directory[i : i+4]; e[0] == key && e[1] == 0 {
			return e[3], true
		}
	}
	return 0, false
}

// EPSG returns the code of the projected, else of the geographic coordinate
// system, and 0 when there is none or it is user-defined.
func (k GeoKeys) EPSG() int {
	model, _ := k.short(keyModelType)
	if v, ok := k.short(keyProjectedType); ok && model != modelGeographic {
		if v == codeUserDefined {
			return 0
		}
		return int(v)
	}
	if v, ok := k.short(keyGeographicType); ok && v != codeUserDefined && model != modelProjected {
		return int(v)
	}
	return 0
}

// GeoKeysFor returns the keys that name an EPSG code: geographic for 4001–4999,
// projected for any other. Code 0 gives no keys.
func GeoKeysFor(epsg int) (GeoKeys, error) {
	switch {
	case epsg == 0:
		return GeoKeys{}, nil
	case epsg < 0 || epsg >= codeUserDefined:
		return GeoKeys{}, fmt.Errorf("EPSG code %d does not fit a GeoKey", epsg)
	}
	model, key := uint16(modelProjected), uint16(keyProjectedType)
	if epsg > 4000 && epsg < 5000 {
		model, key = modelGeographic, keyGeographicType
	}
	return GeoKeys{Directory: []uint16{
		1, 1, 0, 3,
		keyModelType, 0, 1, model,
		keyRasterType, 0, 1, rasterPixelIsArea,
		key, 0, 1, uint16(epsg),
	}}, nil
}

// pixelIsArea returns the keys with GTRasterType set to area, the convention of
// Affine; everything else is kept.
func (k GeoKeys) pixelIsArea() GeoKeys {
	dir := make([]uint16, len(k.Directory))
	copy(dir, k.Directory)
	for i := 4; i+4 <= len(dir); i += 4 {
		if dir[i] == keyRasterType && dir[i+1] == 0 {
			dir[i+3] = rasterPixelIsArea
		}
	}
	return GeoKeys{Directory: dir, Doubles: k.Doubles, ASCII: k.ASCII}
}

// geotransform derives the transform from the model tags. ok is false when the
// file is not georeferenced; the transform is then the identity.
func geotransform(scale, tie, matrix []float64, keys GeoKeys) (t Affine, ok bool, err error) {
	switch {
	case len(matrix) >= 16:
		t = Affine{matrix[3], matrix[0], matrix[1], matrix[7], matrix[4], matrix[5]}
	case len(scale) >= 2 && len(tie) >= 6:
		t[1], t[5] = scale[0], -scale[1]
		t[0] = tie[3] - tie[0]*t[1]
		t[3] = tie[4] - tie[1]*t[5]
	default:
		return Affine{0, 1, 0, 0, 0, 1}, false, nil
	}
	if r, _ := keys.short(keyRasterType); r == rasterPixelPoint {
		// The model tags place pixel centres; Affine places corners.
		t[0], t[3] = t.Apply(-0.5, -0.5)
	}
	if !t.finite() {
		return Affine{}, false, fmt.Errorf("%w: geotransform is not finite", ErrMalformed)
	}
	return t, true, nil
}

// clean drops what cannot be written back into an ASCII tag.
func cleanASCII(s string) string {
	s = strings.TrimRight(s, "\x00")
	return strings.ReplaceAll(s, "\x00", "|")
}
