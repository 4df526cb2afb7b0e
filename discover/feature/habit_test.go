package feature

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/moat-platform/moat"
)

// diary remembers the last level of every period, and computes all from the list.
type diary struct {
	period   moat.Time
	k, floor float64
	levels   map[moat.Time]float64
	newest   moat.Time
}

func newDiary(p Params) model {
	return &diary{period: moat.Time(p["period"]) * moat.Second, k: p["k"], floor: p["floor"], levels: map[moat.Time]float64{}}
}

func (m *diary) observe(in Input) []float64 {
	if p := in.Now / m.period; len(m.levels) == 0 || p >= m.newest {
		m.newest = p
		m.levels[p] = in.Num
	}
	return m.outputs(m.levels, m.newest)
}

func (m *diary) read(in Input) []float64 {
	now := in.Now / m.period
	if len(m.levels) == 0 || now <= m.newest {
		return m.outputs(m.levels, m.newest)
	}
	levels := maps.Clone(m.levels)
	levels[now] = m.outputs(levels, now)[2]
	return m.outputs(levels, now)
}

// outputs goes through all periods up to the running one.
func (m *diary) outputs(levels map[moat.Time]float64, running moat.Time) []float64 {
	if len(levels) == 0 {
		return []float64{0, 0, 0, 0, 0}
	}
	var n, mean, variance, drift float64
	dev := func() float64 { return math.Max(math.Sqrt(variance), m.floor) }
	add := func(v float64) (z, s float64) {
		if n < 4 {
			return 0, 0
		}
		z = (v - mean) / dev()
		return z, math.Max(0, drift+math.Min(math.Max(z, -4), 4)-m.k)
	}
	for _, p := range slices.Sorted(maps.Keys(levels)) {
		if p >= running {
			break
		}
		v := levels[p]
		_, drift = add(v)
		if n >= 4 {
			v = math.Min(math.Max(v, mean-2.5*dev()), mean+2.5*dev())
		}
		if n++; n == 1 {
			mean, variance = v, 2*m.floor*m.floor
			continue
		}
		w := math.Max(1/n, 1.0/14)
		variance = (1 - w) * (variance + w*(v-mean)*(v-mean))
		mean += w * (v - mean)
	}
	z, s := 0.0, 0.0
	if v, ok := levels[running]; ok {
		z, s = add(v)
	}
	return []float64{z, s, mean, dev(), n}
}

var habitChoices = []Params{nil, {"period": 3600, "floor": 5}, {"period": 60, "k": 0.1, "floor": 20}}

func FuzzHabit(f *testing.F) { compare(f, "habit", Number, habitChoices, newDiary) }

func TestHabit(t *testing.T) {
	s := newSubject(t, "habit", Params{"floor": 0.5})
	day := func(d int, num float64) []float64 {
		t.Helper()
		return s.observe(Input{Now: start + moat.Time(d)*moat.Day, Value: Number, Num: num})
	}
	s.expect("empty", s.read(Input{Now: start}), 0, 0, 0, 0, 0)
	s.expect("first day", day(0, 2), 0, 0, 0, 0.5, 0)
	s.expect("the last level counts", day(0, 1), 0, 0, 0, 0.5, 0)
	for d := range 3 {
		day(d+1, 1)
	}
	s.expect("fourth day", day(3, 1), 0, 0, 1)
	s.expect("fifth day", day(4, 2), 2, 1.5, 1, 0.5, 4)
	s.expect("late, closed day", day(3, 9), 2, 1.5, 1, 0.5, 4)
	s.expect("sixth day", day(5, 2), 0.8/math.Sqrt(0.26), 1+0.8/math.Sqrt(0.26), 1.2, math.Sqrt(0.26), 5)
	s.expect("read the next day", s.read(Input{Now: start + 6*moat.Day}), 0)
	s.expect("reading closed nothing", day(5, 2), 0.8/math.Sqrt(0.26), 1+0.8/math.Sqrt(0.26), 1.2, math.Sqrt(0.26), 5)
}

// TestHabitDrift: a level half as large again as the habit is found within a week although each
// day lies within what a day may be; chance is not, and neither is one wild day.
func TestHabitDrift(t *testing.T) {
	run := func(drift, wild float64) (s float64) {
		c := newSubject(t, "habit", nil)
		for d := range 60 {
			num := 0.1 * float64(d*7%11-5)
			if d >= 20 && d < 27 {
				num += drift
			}
			if d == 40 {
				num += wild
			}
			s = max(s, c.observe(Input{Now: start + moat.Time(d)*moat.Day, Value: Number, Num: num})[1])
		}
		return s
	}
	if s := run(0, 0); s > 3 {
		t.Errorf("without drift: %v", s)
	}
	if s := run(math.Log(1.5), 0); s < 3.5 {
		t.Errorf("half as much again: %v", s)
	}
	if s := run(math.Log(3), 0); s < 8 {
		t.Errorf("three times as much: %v", s)
	}
	if s := run(0, 10); s > 5 {
		t.Errorf("one wild day: %v", s)
	}
}

func BenchmarkHabit(b *testing.B) {
	measure(b, "habit", nil, Number, func(i int, in *Input) { in.Num = float64(i & 7) })
}
