package geospatial

import (
	"errors"
	"fmt"
	"math"
)

// Areas are planar in degrees of longitude and latitude, as GeoJSON's are; one
// that crosses the antimeridian is given as two polygons (RFC 7946, 3.1.9).
type (
	position     [2]float64 // longitude, latitude
	ring         []position // closed: the last position is the first
	polygon      []ring     // the outline, then holes
	multiPolygon []polygon
)

// toRing checks a linear ring. Further coordinates of a position are ignored.
func toRing(in [][]float64) (ring, error) {
	if len(in) < 4 {
		return nil, fmt.Errorf("a linear ring has at least 4 positions, not %d", len(in))
	}
	out := make(ring, len(in))
	for i, p := range in {
		if len(p) < 2 {
			return nil, errors.New("a position has a longitude and a latitude")
		}
		// Not-a-number fails both comparisons.
		if !(math.Abs(p[0]) <= 180) || !(math.Abs(p[1]) <= 90) {
			return nil, fmt.Errorf("position %g, %g lies outside -180..180, -90..90", p[0], p[1])
		}
		out[i] = position{p[0], p[1]}
	}
	if out[0] != out[len(out)-1] {
		return nil, errors.New("a linear ring is closed: its last position equals its first")
	}
	return out, nil
}

// toPolygon checks a polygon: an outline and holes.
func toPolygon(in [][][]float64) (polygon, error) {
	if len(in) == 0 {
		return nil, errors.New("a polygon has at least one linear ring")
	}
	out := make(polygon, len(in))
	for i, r := range in {
		var err error
		if out[i], err = toRing(r); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// toMultiPolygon checks a list of polygons.
func toMultiPolygon(in [][][][]float64) (multiPolygon, error) {
	if len(in) == 0 {
		return nil, errors.New("a multipolygon has at least one polygon")
	}
	out := make(multiPolygon, len(in))
	for i, p := range in {
		var err error
		if out[i], err = toPolygon(p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// coordinates is the GeoJSON form of a polygon.
func (p polygon) coordinates() [][][]float64 {
	out := make([][][]float64, len(p))
	for i, r := range p {
		for _, at := range r {
			out[i] = append(out[i], []float64{at[0], at[1]})
		}
	}
	return out
}

// largest returns the polygon whose outline has the largest area.
func (m multiPolygon) largest() polygon {
	var best polygon
	most := -1.0
	for _, p := range m {
		if a := p[0].area(); a > most {
			best, most = p, a
		}
	}
	return best
}

// area is the ring's area in squared degrees.
func (r ring) area() float64 {
	sum := 0.0
	for i := 1; i < len(r); i++ {
		sum += r[i-1][0]*r[i][1] - r[i][0]*r[i-1][1]
	}
	return math.Abs(sum) / 2
}

type box struct{ minX, minY, maxX, maxY float64 }

func (p polygon) bounds() box {
	b := box{math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)}
	for _, at := range p[0] {
		b.minX, b.maxX = min(b.minX, at[0]), max(b.maxX, at[0])
		b.minY, b.maxY = min(b.minY, at[1]), max(b.maxY, at[1])
	}
	return b
}

func (b box) meets(o box) bool {
	return b.minX <= o.maxX && o.minX <= b.maxX && b.minY <= o.maxY && o.minY <= b.maxY
}

// intersects reports whether two areas share a point; a border belongs to its
// polygon, the inside of a hole does not.
func (m multiPolygon) intersects(o multiPolygon) bool {
	for _, p := range m {
		b := p.bounds()
		for _, q := range o {
			if b.meets(q.bounds()) && p.intersects(q) {
				return true
			}
		}
	}
	return false
}

func (p polygon) intersects(q polygon) bool {
	// Borders that do not meet leave three cases: apart, one inside the other,
	// or one inside a hole of the other. One point of each outline tells.
	if p.contains(q[0][0]) || q.contains(p[0][0]) {
		return true
	}
	for _, r := range p {
		for i := 1; i < len(r); i++ {
			for _, s := range q {
				for j := 1; j < len(s); j++ {
					if segmentsMeet(r[i-1], r[i], s[j-1], s[j]) {
						return true
					}
				}
			}
		}
	}
	return false
}

// contains reports whether a point lies in the polygon or on its border:
// crossings of a ray to the right are counted over all rings.
func (p polygon) contains(at position) bool {
	inside := false
	for _, r := range p {
		for i := 1; i < len(r); i++ {
			a, b := r[i-1], r[i]
			if turn(a, b, at) == 0 && between(a, b, at) {
				return true
			}
			if (a[1] > at[1]) != (b[1] > at[1]) && at[0] < (b[0]-a[0])*(at[1]-a[1])/(b[1]-a[1])+a[0] {
				inside = !inside
			}
		}
	}
	return inside
}

// turn is the sign of the turn from a over b to c: 1 left, -1 right, 0 straight.
func turn(a, b, c position) int {
	d := (b[0]-a[0])*(c[1]-a[1]) - (b[1]-a[1])*(c[0]-a[0])
	switch {
	case d > 0:
		return 1
	case d < 0:
		return -1
	}
	return 0
}

// between reports whether c, on the line through a and b, lies between them.
func between(a, b, c position) bool {
	return min(a[0], b[0]) <= c[0] && c[0] <= max(a[0], b[0]) && min(a[1], b[1]) <= c[1] && c[1] <= max(a[1], b[1])
}

// segmentsMeet reports whether two line segments share a point.
func segmentsMeet(a, b, c, d position) bool {
	abc, abd := turn(a, b, c), turn(a, b, d)
	cda, cdb := turn(c, d, a), turn(c, d, b)
	if abc != abd && cda != cdb {
		return true
	}
	return abc == 0 && between(a, b, c) || abd == 0 && between(a, b, d) ||
		cda == 0 && between(c, d, a) || cdb == 0 && between(c, d, b)
}
