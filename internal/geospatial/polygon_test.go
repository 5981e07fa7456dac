package geospatial

import (
	"math"
	"testing"
)

func square(x, y, side float64) ring {
	return ring{{x, y}, {x + side, y}, {x + side, y + side}, {x, y + side}, {x, y}}
}

func TestIntersects(t *testing.T) {
	t.Parallel()
	big := multiPolygon{{square(0, 0, 10)}}
	holed := multiPolygon{{square(0, 0, 10), square(2, 2, 6)}}
	cross := multiPolygon{{{{4, -5}, {6, -5}, {6, 15}, {4, 15}, {4, -5}}}}
	star := multiPolygon{{{{0, 0}, {10, 0}, {10, 1}, {1, 1}, {1, 9}, {10, 9}, {10, 10}, {0, 10}, {0, 0}}}} // a C
	for _, tc := range []struct {
		name string
		a, b multiPolygon
		want bool
	}{
		{"same", big, big, true},
		{"overlap", big, multiPolygon{{square(5, 5, 10)}}, true},
		{"apart", big, multiPolygon{{square(20, 0, 5)}}, false},
		{"apart with boxes that meet", multiPolygon{{{{0, 0}, {10, 0}, {0, 10}, {0, 0}}}}, multiPolygon{{square(8, 8, 2)}}, false},
		{"inside", big, multiPolygon{{square(4, 4, 1)}}, true},
		{"inside a hole", holed, multiPolygon{{square(4, 4, 1)}}, false},
		{"fills the hole", holed, multiPolygon{{square(2, 2, 6)}}, true},
		{"around everything", holed, multiPolygon{{square(-5, -5, 30)}}, true},
		{"a cross without vertices inside", big, cross, true},
		{"shared edge", big, multiPolygon{{square(10, 0, 5)}}, true},
		{"shared corner", big, multiPolygon{{square(10, 10, 5)}}, true},
		{"in the mouth of a C", star, multiPolygon{{square(4, 4, 2)}}, false},
		{"second polygon", multiPolygon{{square(50, 50, 1)}, {square(0, 0, 1)}}, big, true},
		{"island in the hole", multiPolygon{{square(0, 0, 10), square(2, 2, 6)}, {square(4, 4, 1)}}, multiPolygon{{square(4.2, 4.2, .1)}}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := tc.a.intersects(tc.b); got != tc.want {
				t.Errorf("intersects: %v, want %v", got, tc.want)
			}
			if got := tc.b.intersects(tc.a); got != tc.want {
				t.Errorf("the other way round: %v, want %v", got, tc.want)
			}
		})
	}
}

func TestToPolygonRefuses(t *testing.T) {
	t.Parallel()
	for name, in := range map[string][][][]float64{
		"nothing":        {},
		"three points":   {{{0, 0}, {1, 0}, {0, 0}}},
		"open":           {{{0, 0}, {1, 0}, {1, 1}, {0, 1}}},
		"one number":     {{{0}, {1, 0}, {1, 1}, {0}}},
		"not a number":   {{{math.NaN(), 0}, {1, 0}, {1, 1}, {math.NaN(), 0}}},
		"latitude 91":    {{{0, 91}, {1, 0}, {1, 1}, {0, 91}}},
		"longitude -181": {{{-181, 0}, {1, 0}, {1, 1}, {-181, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if p, err := toPolygon(in); err == nil {
				t.Errorf("accepted: %v", p)
			}
		})
	}
}

func TestLargest(t *testing.T) {
	t.Parallel()
	m := multiPolygon{{square(0, 0, 1)}, {square(5, 5, 3)}, {square(9, 9, 2)}}
	if got := m.largest()[0].area(); got != 9 {
		t.Errorf("area %g, want 9", got)
	}
}
