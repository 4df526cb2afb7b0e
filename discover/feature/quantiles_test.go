package feature

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// tally counts values by bucket in a map, with logarithms.
type tally struct {
	count map[int]int
	n     int
	max   float64
}

func newTally(Params) model { return &tally{count: map[int]int{}} }

// answer is the middle of a bucket: equally far, relatively, from both ends.
func (c *tally) answer(bucket int) float64 {
	if bucket == 0 {
		return 0
	}
	low := math.Pow(1.502, float64(bucket-1))
	return low * (1 + (1.502-1)/(1.502+1))
}

func (c *tally) quantile(q int) float64 {
	var sorted []int // buckets, one a value
	for b, n := range c.count {
		for range n {
			sorted = append(sorted, b)
		}
	}
	if len(sorted) == 0 {
		return 0
	}
	slices.Sort(sorted)
	rank := (q*len(sorted) + 99) / 100
	return c.answer(sorted[rank-1])
}

func (c *tally) read(Input) []float64 {
	return []float64{c.quantile(50), c.quantile(90), c.quantile(99), c.max, float64(c.n)}
}

func (c *tally) observe(in Input) []float64 {
	out := c.read(in)
	c.take(in.Num)
	out[4] = float64(c.n)
	return out
}

func (c *tally) take(v float64) {
	v = math.Max(0, math.Min(v, 1e9))
	bucket := 0
	if v >= 1 {
		bucket = 1 + int(math.Floor(math.Log(v)/math.Log(1.502)))
	}
	c.count[bucket]++
	c.n++
	if c.count[bucket] == 4096 {
		c.n = 0
		for b := range c.count {
			c.count[b] /= 2
			c.n += c.count[b]
		}
	}
	if v > c.max {
		c.max = v
	} else {
		c.max -= (c.max - v) / 256
	}
}

func FuzzQuantiles(f *testing.F) { compare(f, "quantiles", Number, []Params{nil}, newTally) }

// TestQuantilesError holds the promise of 20.1 % for numbers from 1 to 10⁹ of several shapes.
func TestQuantilesError(t *testing.T) {
	shapes := map[string]func(r *rand.Rand) float64{
		"uniform":     func(r *rand.Rand) float64 { return 1 + 999*r.Float64() },
		"whole":       func(r *rand.Rand) float64 { return float64(1 + r.IntN(20)) },
		"exponential": func(r *rand.Rand) float64 { return 1 + 5000*r.ExpFloat64() },
		"decades":     func(r *rand.Rand) float64 { return math.Pow(10, 9*r.Float64()) },
		"one value":   func(*rand.Rand) float64 { return 37 },
		"the limits":  func(r *rand.Rand) float64 { return []float64{1, 1e9}[r.IntN(2)] },
	}
	for name, draw := range shapes {
		r := rand.New(rand.NewPCG(3, 4))
		s := newSubject(t, "quantiles", nil)
		var all []float64
		for range 3000 {
			all = append(all, draw(r))
			s.observe(Input{Now: start, Value: Number, Num: all[len(all)-1]})
		}
		slices.Sort(all)
		got := s.read(Input{Now: start})
		for i, q := range []int{50, 90, 99} {
			want := all[(q*len(all)+99)/100-1]
			if e := math.Abs(got[i]/want - 1); e > 0.2007 {
				t.Errorf("%s: q%d is %v, want %v within 20.1 %%", name, q, got[i], want)
			}
		}
	}
}

func TestQuantiles(t *testing.T) {
	s := newSubject(t, "quantiles", nil)
	put := func(num float64) []float64 {
		t.Helper()
		return s.observe(Input{Now: start, Value: Number, Num: num})
	}
	s.expect("nothing before", put(100), 0, 0, 0, 0, 1)
	one := newTally(nil).(*tally).answer(1 + int(math.Log(100)/math.Log(1.502)))
	s.expect("itself is not before", put(1e8), one, one, one, 100, 2)
	if got := put(1); got[0] != s.read(Input{})[0] || got[3] != 1e8 {
		t.Errorf("of three: %v", got)
	}
	for range 180 {
		put(100)
	}
	if m := put(100)[3]; m < 0.4e8 || m > 0.6e8 {
		t.Errorf("maximum decayed to %v after 180 small values, want about half", m)
	}
}

// TestQuantilesFade: what the entity did long ago does not count for ever.
func TestQuantilesFade(t *testing.T) {
	s := newSubject(t, "quantiles", nil)
	in := Input{Now: start, Value: Number}
	for i := range 30_000 {
		in.Num = 1000
		if i >= 10_000 {
			in.Num = 10
		}
		s.stat.Observe(s.state(), &in, s.outs())
	}
	if got := s.read(in); got[1] > 13 || got[4] > 4096*2 {
		t.Errorf("q90 still remembers: %v", got)
	}
}

// TestQuantilesHalve compares with the model over several halvings, which fuzz cases are too short for.
func TestQuantilesHalve(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	s, m := newSubject(t, "quantiles", nil), newTally(nil).(*tally)
	in := Input{Now: start, Value: Number}
	for i := range 40_000 {
		in.Num = math.Floor(math.Exp(1 + r.NormFloat64()))
		if i%500 > 0 { // the model is slow in answering, not in taking in
			s.stat.Observe(s.state(), &in, s.outs())
			m.take(in.Num)
			continue
		}
		s.expect("", s.observe(in), m.observe(in)...)
	}
}

func TestQuantileBuckets(t *testing.T) {
	q := newQuantiles()
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 200_000 {
		v := math.Pow(10, 9*r.Float64())
		if i < buckets-1 {
			v = q.edge[i+1] // exactly at an edge
		}
		if b := q.bucket(v); b < 1 || b >= buckets || v < q.edge[b] || v >= q.edge[b+1] {
			t.Fatalf("%v fell into bucket %d", v, b)
		}
	}
	if b := q.bucket(valueLimit); b != buckets-1 {
		t.Errorf("10⁹ fell into bucket %d of %d", b, buckets)
	}
}

func BenchmarkQuantiles(b *testing.B) {
	measure(b, "quantiles", nil, Number, func(i int, in *Input) { in.Num = float64(i & 1023) })
}
