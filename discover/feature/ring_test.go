package feature

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/moat-platform/moat"
)

// windowed remembers all numbers; fold makes one of those in the window.
type windowed struct {
	width  moat.Time // of a bucket; 0 for ever
	newest moat.Time // newest bucket
	times  []moat.Time
	nums   []float64
	num    func(in Input) float64
	fold   func(nums []float64) float64
	in     map[moat.Time]float64 // what fold made of each bucket
	most   float64               // largest of these so far
	parts  bool                  // numbers were not all whole
	moved  float64               // what late numbers may have left in the newest bucket
}

func newWindowed(num func(Input) float64, fold func([]float64) float64) func(Params) model {
	return func(p Params) model {
		w := &windowed{num: num, fold: fold, in: map[moat.Time]float64{}}
		if p["window"] > 0 {
			w.width = max(moat.Second, moat.Time(p["window"]*float64(moat.Second))/8)
		}
		return w
	}
}

func (w *windowed) observe(in Input) []float64 {
	w.times, w.nums = append(w.times, in.Now), append(w.nums, w.num(in))
	if w.width > 0 {
		w.newest = max(w.newest, in.Now/w.width)
		b, v := in.Now/w.width, w.num(in)
		w.in[b] = w.fold([]float64{w.in[b], v})
		w.most, w.parts = max(w.most, w.in[b]), w.parts || v != math.Trunc(v)
		if b < w.newest {
			w.moved += min(math.Abs(v), w.most/512)
		}
	}
	return w.read(in)
}

func (w *windowed) read(in Input) []float64 {
	var inside []float64
	for i, t := range w.times {
		if w.width == 0 || t/w.width > max(w.newest, in.Now/w.width)-8 {
			inside = append(inside, w.nums[i])
		}
	}
	return []float64{w.fold(inside)}
}

// by is nothing while buckets have whole numbers up to 1,024. Beyond, each of the eight may be wrong by half of the last place
// of a short, and what did not fit an old one may be in the newest.
func (w *windowed) by() float64 {
	if w.most <= 1024 && !w.parts {
		return 0
	}
	return w.most*8/1024 + w.moved
}

func total(nums []float64) (sum float64) {
	for _, n := range nums {
		sum += n
	}
	return sum
}

func largestOf(nums []float64) (m float64) {
	for _, n := range nums {
		m = max(m, n)
	}
	return m
}

var windows = []Params{nil, {"window": 0}, {"window": 60}, {"window": 3}, {"window": 7 * 86400}}

func FuzzCount(f *testing.F) {
	compare(f, "count", NoValue, windows, newWindowed(func(Input) float64 { return 1 }, total))
}

func FuzzSum(f *testing.F) {
	compare(f, "sum", Number, windows, newWindowed(func(in Input) float64 { return in.Num }, total))
}

func FuzzSumKeys(f *testing.F) {
	compare(f, "sum", Keys, windows, newWindowed(func(in Input) float64 { return float64(len(in.Keys)) }, total))
}

func FuzzMax(f *testing.F) {
	compare(f, "max", Number, windows, newWindowed(func(in Input) float64 { return in.Num }, largestOf))
}

func TestCount(t *testing.T) {
	s := newSubject(t, "count", Params{"window": 80}) // buckets of 10 s
	f := func(at moat.Time, want float64) {
		t.Helper()
		s.expect("", s.observe(Input{Now: start + at*moat.Second}), want)
	}
	f(0, 1)
	f(9, 2)
	f(10, 3)
	f(79, 4)
	f(79, 5)  // equal times
	f(80, 4)  // the first bucket has left
	f(60, 5)  // late, inside
	f(9, 5)   // late, outside
	f(89, 6)  // the second bucket is still there
	f(90, 6)  // and leaves
	f(1e6, 1) // all have left
	s.expect("read later", s.read(Input{Now: start + (1e6+70)*moat.Second}), 1)
	s.expect("read much later", s.read(Input{Now: start + (1e6+90)*moat.Second}), 0)
	s.expect("read earlier", s.read(Input{Now: start}), 1)
}

func TestCountIsFull(t *testing.T) {
	s := newSubject(t, "count", nil)
	(*ring)(s.state()).add(number(start, 450*1e6), shortMost)
	s.expect("full", s.observe(Input{Now: start}), shortMost)
}

func TestSum(t *testing.T) {
	s := newSubject(t, "sum", nil)
	s.expect("first", s.observe(Input{Now: start, Value: Number, Num: 2.5}), 2.5)
	s.expect("negative", s.observe(Input{Now: start, Value: Number, Num: -1}), 1.5)
	s.expect("not a number", s.observe(Input{Now: start, Value: Number, Num: math.NaN()}), 1.5)
	s.expect("infinite", s.observe(Input{Now: start, Value: Number, Num: math.Inf(1)}), 1.5)
	s.expect("list", s.observe(Input{Now: start, Value: Keys, Keys: []uint64{1, 2}}), 3.5)
	s.expect("gone", s.observe(Input{Now: start + moat.Hour, Value: Number, Num: 1}), 1)
}

// TestSumOfOnes: a float32 alone would stand still at 2²⁴.
func TestSumOfOnes(t *testing.T) {
	s := newSubject(t, "sum", nil)
	in := Input{Now: start, Value: Number, Num: 1 << 24}
	s.observe(in)
	in.Num = 1
	for range 1000 {
		s.stat.Observe(s.state(), &in, s.outs())
	}
	if want := float64(1<<24 + 1000); s.out[0] != want {
		t.Errorf("%v, want %v", s.out[0], want)
	}
}

func TestMax(t *testing.T) {
	s := newSubject(t, "max", Params{"window": 80})
	s.expect("empty", s.read(Input{Now: start}), 0)
	s.expect("first", s.observe(Input{Now: start, Num: 7}), 7)
	s.expect("smaller", s.observe(Input{Now: start + 10*moat.Second, Num: 5}), 7)
	s.expect("late", s.observe(Input{Now: start, Num: 9}), 9)
	s.expect("left", s.observe(Input{Now: start + 80*moat.Second, Num: -3}), 5)
}

func BenchmarkCount(b *testing.B) { measure(b, "count", nil, NoValue, func(int, *Input) {}) }

func BenchmarkCountEver(b *testing.B) {
	measure(b, "count", Params{"window": 0}, NoValue, func(int, *Input) {})
}

func BenchmarkSum(b *testing.B) {
	measure(b, "sum", nil, Number, func(i int, in *Input) { in.Num = float64(i & 63) })
}

func BenchmarkMax(b *testing.B) {
	measure(b, "max", nil, Number, func(i int, in *Input) { in.Num = float64(i & 63) })
}

func TestSpan(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	widths := []uint64{2, 3, 7, 8, 1e6, 60e6, 3600e6, 86400e6, 1 << 62, 1<<63 - 1, 1 << 63, 1<<63 + 1, math.MaxUint64}
	for range 2000 {
		widths = append(widths, max(2, r.Uint64()>>r.IntN(63)))
	}
	for _, width := range widths {
		s := spanOf(width)
		for _, n := range []uint64{0, 1, width - 1, width, width + 1, 1<<63 - 1, (1<<63 - 1) / width * width, (1<<63-1)/width*width - 1, r.Uint64() >> (1 + r.IntN(63))} {
			if n &^= 1 << 63; s.of(n) != n/width {
				t.Fatalf("%d / %d is %d, not %d", n, width, n/width, s.of(n))
			}
		}
	}
}
