package feature

import (
	"math"
	"slices"
	"testing"

	"github.com/moat-platform/moat"
)

// ledger remembers the total of every period, and computes all from the list. It rounds what is kept as a series does, since a
// total that is clipped could else lie on either side of the middle of two shorts.
type ledger struct {
	period moat.Time
	floor  float64
	k      float64
	cusum  bool
	totals map[moat.Time]float64 // of periods that had any observation
	newest moat.Time
	any    bool
}

func newLedger(cusum bool) func(Params) model {
	return func(p Params) model {
		return &ledger{period: moat.Time(p["period"]) * moat.Second, floor: p["floor"], k: p["k"], cusum: cusum, totals: map[moat.Time]float64{}}
	}
}

func (l *ledger) observe(in Input) []float64 {
	p := in.Now / l.period
	closed := 0.0
	if l.any && p > l.newest {
		closed = l.totals[l.newest]
	}
	if !l.any || p >= l.newest {
		v := 1.0
		if in.Value == Number {
			v = in.Num
		} else if in.Value == Keys {
			v = float64(len(in.Keys))
		}
		l.any, l.newest = true, p
		l.totals[p] += v
	}
	return l.outputs(l.newest, closed)
}

func (l *ledger) read(in Input) []float64 {
	if !l.any {
		return l.outputs(0, 0)
	}
	return l.outputs(max(l.newest, in.Now/l.period), 0)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// outputs goes through all periods before the running one.
func (l *ledger) outputs(running moat.Time, closed float64) []float64 {
	var periods []moat.Time
	for p := range l.totals {
		if p < running {
			periods = append(periods, p)
		}
	}
	slices.Sort(periods)
	var past []float64
	var mean, dev, med, mad, scale, drift float64
	n := 0.0
	for _, p := range periods {
		x := l.totals[p]
		if n >= 3 {
			x = math.Min(x, med+float64(float32(6*scale)))
			drift = math.Max(0, drift+(x-mean)/scale-l.k)
		}
		x = shorten(x, toNearest).value()
		n++
		if n == 1 {
			mean = x
		} else {
			w := math.Max(1/n, 0.1)
			dev = (1-w)*dev + w*math.Abs(x-mean)
			mean = (1-w)*mean + w*x
		}
		past = append(past, x)
		if len(past) > 14 {
			past = past[1:]
		}
		med = float64(float32(median(past)))
		var distances []float64
		for _, v := range past {
			distances = append(distances, float64(float32(math.Abs(v-med))))
		}
		mad = median(distances)
		scale = float64(float32(slices.Max([]float64{1.4826 * mad, 0.1 * math.Abs(med), math.Sqrt(math.Max(0, med)), l.floor})))
	}
	if l.cusum {
		return []float64{drift, n}
	}
	x, z := l.totals[running], 0.0
	if n >= 3 {
		z = (x - med) / scale
	}
	return []float64{z, x, med, shorten(mad, toNearest).value(), mean, dev, n, closed}
}

var (
	baselineChoices = []Params{nil, {"period": 3600, "floor": 5}, {"period": 60}}
	cusumChoices    = []Params{nil, {"period": 3600, "k": 0}, {"period": 60, "k": 0.1}}
)

func FuzzBaseline(f *testing.F) { compare(f, "baseline", Number, baselineChoices, newLedger(false)) }
func FuzzBaselineCount(f *testing.F) {
	compare(f, "baseline", NoValue, baselineChoices, newLedger(false))
}
func FuzzBaselineKeys(f *testing.F) { compare(f, "baseline", Keys, baselineChoices, newLedger(false)) }
func FuzzCusum(f *testing.F)        { compare(f, "cusum", Number, cusumChoices, newLedger(true)) }
func FuzzCusumCount(f *testing.F)   { compare(f, "cusum", NoValue, cusumChoices, newLedger(true)) }

func TestBaseline(t *testing.T) {
	s := newSubject(t, "baseline", nil)
	day := func(d int, num float64) []float64 {
		t.Helper()
		return s.observe(Input{Now: start + moat.Time(d)*moat.Day, Value: Number, Num: num})
	}
	s.expect("empty", s.read(Input{Now: start}), 0, 0, 0, 0, 0, 0, 0, 0)
	s.expect("first day", day(0, 100), 0, 100, 0, 0, 0, 0, 0, 0)
	s.expect("same day", day(0, 20), 0, 120, 0, 0, 0, 0, 0, 0)
	s.expect("second day", day(1, 100), 0, 100, 120, 0, 120, 0, 1, 120)
	s.expect("a weekend later", day(4, 80), 0, 80, 110, 10, 110, 10, 2, 100)
	// Past 120, 100, 80: median 100, MAD 20, scale 1.4826·20.
	s.expect("fourth day", day(5, 250), 150/29.652, 250, 100, 20, 100, (10*2+30)/3.0, 3, 80)
	s.expect("late, same day", day(5, 10), 160/29.652, 260)
	s.expect("late, closed day", day(4, 1000), 160/29.652, 260, 100, 20, 100, 50.0/3, 3, 0)
	s.expect("read the next day", s.read(Input{Now: start + 6*moat.Day}), -110/29.652, 0, 110, 20)
	s.expect("reading closed nothing", day(5, 0), 160/29.652, 260)
}

// TestBaselineIsRobust: a theft stands out though it would double the standard
// deviation, and cannot make itself normal.
func TestBaselineIsRobust(t *testing.T) {
	s := newSubject(t, "baseline", nil)
	in := Input{Value: Number}
	for d := range 14 {
		in.Now, in.Num = start+moat.Time(d)*moat.Day, float64(90+d%3*10)
		s.observe(in)
	}
	in.Now, in.Num = start+14*moat.Day, 1e6
	if z := s.observe(in)[0]; z < 1000 {
		t.Errorf("theft of 10,000 times the usual has z = %v", z)
	}
	// One poisoned day, clipped to median + 6 scales, leaves median and scale alone.
	in.Now, in.Num = start+15*moat.Day, 1e6
	got := s.observe(in)
	if got[0] < 1000 || got[2] != 100 || got[4] > 120 || got[7] != 1e6 {
		t.Errorf("after one poisoned day: %v", got)
	}
	// A thief who takes all that he can every day needs a week to move the median by 6 scales.
	moved := 0
	for d := 16; d < 60; d++ {
		in.Now = start + moat.Time(d)*moat.Day
		if s.observe(in)[2] > 160 {
			moved = d - 15
			break
		}
	}
	if moved < 6 {
		t.Errorf("median moved after %d poisoned days", moved)
	}
}

// TestCusum: a drift of two scales (of 10) stays below z = 3.5 on every single
// day, and is found in about ten; the same noise without drift is not.
func TestCusum(t *testing.T) {
	run := func(drift float64) (s float64) {
		c := newSubject(t, "cusum", nil)
		for d := range 60 {
			num := 100 + float64(d*7%11-5)
			if d >= 20 && d < 32 {
				num += drift
			}
			s = max(s, c.observe(Input{Now: start + moat.Time(d)*moat.Day, Value: Number, Num: num})[0])
		}
		return s
	}
	if s := run(0); s > 3 {
		t.Errorf("without drift: %v", s)
	}
	if s := run(20); s < 5 {
		t.Errorf("with drift: %v", s)
	}
}

func BenchmarkBaseline(b *testing.B) {
	measure(b, "baseline", nil, Number, func(i int, in *Input) { in.Num = 1 })
}

func BenchmarkBaselineClose(b *testing.B) {
	measure(b, "baseline", nil, Number, func(i int, in *Input) { in.Now += moat.Day; in.Num = float64(i & 63) })
}

func BenchmarkCusum(b *testing.B) {
	measure(b, "cusum", nil, Number, func(i int, in *Input) { in.Num = 1 })
}
