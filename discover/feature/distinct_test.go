package feature

import (
	"math"
	"slices"
	"testing"

	"github.com/moat-platform/moat"
)

// crowd remembers every value by generation, and counts them exactly while
// both generations are few, else by HyperLogLog in floating point.
type crowd struct {
	half   moat.Time // of the window; 0 for ever
	newest moat.Time
	values map[moat.Time][]uint64 // by generation: different values in order of arrival
}

func newCrowd(p Params) model {
	c := &crowd{values: map[moat.Time][]uint64{}}
	if p["window"] > 0 {
		c.half = max(moat.Second, moat.Time(p["window"]*float64(moat.Second))/2)
	}
	return c
}

func (c *crowd) generation(now moat.Time) moat.Time {
	if c.half == 0 {
		return 0
	}
	return now / c.half
}

func (c *crowd) observe(in Input) []float64 {
	g := c.generation(in.Now)
	c.newest = max(c.newest, g)
	keys := in.Keys
	if in.Value == Key {
		keys = []uint64{in.Key}
	}
	for _, k := range keys {
		if !slices.Contains(c.values[g], k) {
			c.values[g] = append(c.values[g], k)
		}
	}
	return c.read(in)
}

func (c *crowd) read(in Input) []float64 {
	newest := max(c.newest, c.generation(in.Now))
	a, b := c.values[newest], c.values[newest-1]
	union := map[uint64]bool{}
	for _, k := range append(slices.Clone(a), b...) {
		union[k] = true
	}
	if len(a) <= 12 && len(b) <= 12 {
		return []float64{float64(len(union))}
	}
	var highest [64]float64
	for k := range union {
		zeros := 0.0
		for bit := 57; bit >= 0 && k>>bit&1 == 0; bit-- {
			zeros++
		}
		highest[k>>58] = max(highest[k>>58], zeros+1)
	}
	sum, empty := 0.0, 0.0
	for _, r := range highest {
		if r == 0 {
			empty++
		} else {
			sum += math.Pow(2, -r)
		}
	}
	sigma := empty / 64
	for k := range 30 {
		sigma += math.Pow(empty/64, math.Pow(2, float64(k+1))) * math.Pow(2, float64(k))
	}
	return []float64{max(13, 64*64/(2*math.Ln2)/(sum+64*sigma))}
}

var crowdWindows = []Params{nil, {"window": 0}, {"window": 60}, {"window": 14 * 86400}}

func FuzzDistinct(f *testing.F)     { compare(f, "distinct", Key, crowdWindows, newCrowd) }
func FuzzDistinctKeys(f *testing.F) { compare(f, "distinct", Keys, crowdWindows, newCrowd) }

func TestDistinct(t *testing.T) {
	s := newSubject(t, "distinct", Params{"window": 200}) // generations of 100 s
	f := func(what string, at moat.Time, key uint64, want float64) {
		t.Helper()
		s.expect(what, s.observe(Input{Now: start + at*moat.Second, Value: Key, Key: mix(key)}), want)
	}
	f("first", 0, 1, 1)
	f("again", 1, 1, 1)
	f("second", 50, 2, 2)
	f("next generation, old value", 100, 1, 2)
	f("next generation, new value", 199, 3, 3)
	f("late into the old generation", 99, 4, 4)
	f("the first generation leaves", 200, 3, 2)
	f("late and too old", 99, 5, 2)
	f("all leave", 1000, 9, 1)
	s.expect("read later", s.read(Input{Now: start + 1100*moat.Second}), 1)
	s.expect("read much later", s.read(Input{Now: start + 1200*moat.Second}), 0)
}

// TestDistinctError measures the error against the promise: exact up to 12,
// then 13 % as root mean square, and without bias.
func TestDistinctError(t *testing.T) {
	const trials = 300
	for _, n := range []int{1, 12, 13, 20, 50, 100, 160, 300, 1000, 10000} {
		square, bias := 0.0, 0.0
		for trial := range trials {
			s := newSubject(t, "distinct", Params{"window": 0})
			in := Input{Now: start, Value: Key}
			for i := range n {
				in.Key = mix(uint64(trial)<<32 + uint64(i))
				s.stat.Observe(s.state(), &in, s.outs())
			}
			e := s.out[0]/float64(n) - 1
			square, bias = square+e*e/trials, bias+e/trials
		}
		rms := math.Sqrt(square)
		t.Logf("%6d values: error %5.1f %%, bias %+.1f %%", n, 100*rms, 100*bias)
		if n <= 12 && rms > 0 || rms > 0.13*1.12 || math.Abs(bias) > 0.05 {
			t.Errorf("%d values: error %.3f, bias %.3f", n, rms, bias)
		}
	}
}

func BenchmarkDistinctFew(b *testing.B) {
	measure(b, "distinct", nil, Key, func(i int, in *Input) { in.Key = mix(uint64(i) % 6) })
}

func BenchmarkDistinctMany(b *testing.B) {
	measure(b, "distinct", nil, Key, func(i int, in *Input) { in.Key = mix(uint64(i) % 1000) })
}

func BenchmarkDistinctGrowing(b *testing.B) {
	measure(b, "distinct", nil, Key, func(i int, in *Input) { in.Key = mix(uint64(i)) })
}

// BenchmarkDistinctTurn begins a new generation every time, and so estimates anew.
func BenchmarkDistinctTurn(b *testing.B) {
	var keys []uint64
	for i := range 100 {
		keys = append(keys, mix(uint64(i)))
	}
	measure(b, "distinct", nil, Keys, func(i int, in *Input) {
		in.Now += 30 * moat.Minute
		in.Keys = keys[:100-99*(i&1)]
	})
}
