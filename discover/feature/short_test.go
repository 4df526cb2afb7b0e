package feature

import (
	"math"
	"testing"
)

// TestShort goes through all of them: they are in order, and each is what it is rounded to.
func TestShort(t *testing.T) {
	if short(0).value() != 0 || shorten(0, toNearest) != 0 || short(math.MaxInt16).value() != shortMost {
		t.Fatalf("from %v to %v", short(0).value(), short(math.MaxInt16).value())
	}
	for s := short(1); s <= math.MaxInt16; s++ {
		v, before := s.value(), (s - 1).value()
		if v <= before || (s|0x8000).value() != -v {
			t.Fatalf("%d is %v, after %v; its negative is %v", s, v, before, (s | 0x8000).value())
		}
		for _, way := range []uint32{toZero, toNearest, awayFrom0} {
			if shorten(v, way) != s || shorten(-v, way) != s|0x8000 {
				t.Fatalf("%v is not itself when it is rounded", v)
			}
		}
		gap := v - before
		for _, c := range []struct {
			by   float64
			way  uint32
			want short
		}{{0.4, toZero, s - 1}, {0.6, toZero, s - 1}, {0.4, toNearest, s - 1}, {0.6, toNearest, s}, {0.4, awayFrom0, s}, {0.6, awayFrom0, s}} {
			if got := shorten(before+c.by*gap, c.way); got != c.want {
				t.Fatalf("%v between %v and %v becomes %v", before+c.by*gap, before, v, got.value())
			}
		}
	}
	for n := range 1025 {
		if got := shorten(float64(n), toZero).value(); got != float64(n) {
			t.Fatalf("%d becomes %v", n, got)
		}
	}
}

// FuzzShort holds the promise of a part in a thousand, in either direction.
func FuzzShort(f *testing.F) {
	for _, v := range []float64{0, 1, 3001, 1e-3, 1e15, 1e300, -7.5} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v float64) {
		v = bounded(finite(v))
		near, low, high := shorten(v, toNearest).value(), shorten(v, toZero).value(), shorten(v, awayFrom0).value()
		const tiny = 1e-6
		if math.Abs(near-v) > math.Abs(v)/1024+tiny || math.Abs(low) > math.Abs(v)*(1+tiny)+tiny || math.Abs(high) < math.Abs(v)*(1-tiny)-tiny ||
			math.Abs(high-low) > math.Abs(v)/500+tiny {
			t.Fatalf("%v becomes %v, %v toward zero, %v away from it", v, near, low, high)
		}
	})
}
