package raster

import (
	"fmt"
	"math"
	"strings"
)

// SampleType is the stored type of one sample.
type SampleType uint8

// The sample types that can be read; all of them can be written too.
const (
	Uint8 SampleType = iota + 1
	Int8
	Uint16
	Int16
	Uint32
	Int32
	Float32
	Float64
)

// Float is the set of in-memory pixel types. NaN marks a missing pixel.
type Float interface{ float32 | float64 }

// ParseSampleType accepts the names AWS uses for band math outputs (INT16,
// FLOAT32 …) and those of the STAC raster extension (uint16, float32 …); case
// does not matter.
func ParseSampleType(name string) (SampleType, error) {
	for t := Uint8; t <= Float64; t++ {
		if strings.EqualFold(name, t.String()) {
			return t, nil
		}
	}
	return 0, fmt.Errorf("unknown sample type %q", name)
}

// String returns the STAC name of the type, for example "uint16".
func (t SampleType) String() string {
	switch t {
	case Uint8:
		return "uint8"
	case Int8:
		return "int8"
	case Uint16:
		return "uint16"
	case Int16:
		return "int16"
	case Uint32:
		return "uint32"
	case Int32:
		return "int32"
	case Float32:
		return "float32"
	case Float64:
		return "float64"
	}
	return fmt.Sprintf("SampleType(%d)", uint8(t))
}

// Size is the length of one sample in bytes, 0 for an invalid type.
func (t SampleType) Size() int {
	switch t {
	case Uint8, Int8:
		return 1
	case Uint16, Int16:
		return 2
	case Uint32, Int32, Float32:
		return 4
	case Float64:
		return 8
	}
	return 0
}

// IsFloat reports whether samples are IEEE 754 numbers.
func (t SampleType) IsFloat() bool { return t == Float32 || t == Float64 }

// Range returns the smallest and largest value an integer type holds; for float
// types the largest finite magnitude.
func (t SampleType) Range() (lo, hi float64) {
	switch t {
	case Uint8:
		return 0, math.MaxUint8
	case Int8:
		return math.MinInt8, math.MaxInt8
	case Uint16:
		return 0, math.MaxUint16
	case Int16:
		return math.MinInt16, math.MaxInt16
	case Uint32:
		return 0, math.MaxUint32
	case Int32:
		return math.MinInt32, math.MaxInt32
	case Float32:
		return -math.MaxFloat32, math.MaxFloat32
	}
	return -math.MaxFloat64, math.MaxFloat64
}

// DefaultNoData is the nodata value an output of this type gets unless its
// owner chose another: NaN for floats, the lowest value for signed and the
// highest for unsigned integers.
func (t SampleType) DefaultNoData() float64 {
	lo, hi := t.Range()
	switch {
	case t.IsFloat():
		return math.NaN()
	case lo < 0:
		return lo
	}
	return hi
}

// sampleTypeOf maps TIFF BitsPerSample and SampleFormat to a SampleType.
func sampleTypeOf(bits, format uint64) (SampleType, error) {
	switch {
	case bits == 8 && format == formatUint:
		return Uint8, nil
	case bits == 8 && format == formatInt:
		return Int8, nil
	case bits == 16 && format == formatUint:
		return Uint16, nil
	case bits == 16 && format == formatInt:
		return Int16, nil
	case bits == 32 && format == formatUint:
		return Uint32, nil
	case bits == 32 && format == formatInt:
		return Int32, nil
	case bits == 32 && format == formatFloat:
		return Float32, nil
	case bits == 64 && format == formatFloat:
		return Float64, nil
	}
	return 0, fmt.Errorf("%w: samples of %d bits in format %d", ErrUnsupported, bits, format)
}

func (t SampleType) tiffFormat() uint16 {
	switch {
	case t.IsFloat():
		return formatFloat
	case t == Int8 || t == Int16 || t == Int32:
		return formatInt
	}
	return formatUint
}
