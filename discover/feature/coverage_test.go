package feature

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/moat-platform/moat"
)

// sampled is one value of the reference.
type sampled struct {
	key   uint64
	first uint32
	kind  uint32
}

// comparison keeps the sample in a list and counts all of it each time.
type comparison struct {
	grace, window  uint32
	keep           int
	clock, lowered uint32
	level, sure    int
	list           []sampled
}

func newComparison(p Params) model {
	return &comparison{grace: uint32(min(p["grace"], p["window"])), window: uint32(p["window"]), keep: int(p["keep"])}
}

func zerosIn(key uint64) int { return min(31, bits.TrailingZeros32(uint32(key))) }

func (c *comparison) observe(in Input) []float64 {
	now := seconds(in.Now)
	if c.clock == 0 {
		c.clock, c.lowered, c.sure = now, now, 32
	}
	if now > c.clock {
		if now-c.clock >= 1<<25-1-c.window {
			c.list, c.sure, c.lowered = nil, 32, now
		}
		c.clock = now
	}
	for len(c.list) > 0 && c.clock-c.list[0].first > c.window {
		c.list = c.list[1:]
	}
	if c.clock-c.lowered > c.window {
		if c.sure = c.level; c.level > 0 && len(c.list) < c.keep/4 {
			c.level--
			c.lowered = c.clock
		}
	}
	for _, key := range in.Keys {
		if in.Steps&3 != 0 {
			c.note(key, in.Steps&3)
		}
	}
	return c.read(in)
}

func (c *comparison) note(key uint64, kind uint32) {
	zeros := zerosIn(key)
	if zeros < c.level {
		return
	}
	for i := range c.list {
		if x := &c.list[i]; x.key>>32 == key>>32 && zerosIn(x.key) == zeros {
			x.kind |= kind
			return
		}
	}
	if kind == 2 && zeros < c.sure {
		return
	}
	for len(c.list) == c.keep && c.level < 31 {
		c.level++
		c.sure = max(c.sure, c.level)
		var left []sampled
		for _, x := range c.list {
			if zerosIn(x.key) >= c.level {
				left = append(left, x)
			}
		}
		c.list = left
	}
	if zeros >= c.level && len(c.list) < c.keep {
		c.list = append(c.list, sampled{key, c.clock, kind})
	}
}

func (c *comparison) read(Input) []float64 {
	served, reported, both := 0.0, 0.0, 0.0
	for _, x := range c.list {
		if c.clock-x.first < c.grace {
			continue
		}
		served += float64(x.kind & 1)
		reported += float64(x.kind >> 1)
		both += float64(x.kind & (x.kind >> 1) & 1)
	}
	out := []float64{1, served, 0, reported, float64(uint64(1) << c.level)}
	if served > 0 {
		out[0] = both / served
	}
	if reported > 0 {
		out[2] = 1 - both/reported
	}
	return out
}

func FuzzCoverage(f *testing.F) {
	compare(f, "coverage", Keys, []Params{{"keep": 16, "window": 3600, "grace": 60}, {"keep": 20, "window": 86400}, {"keep": 512, "window": 90 * 86400, "grace": 7 * 86400}}, newComparison)
}

func TestCoverage(t *testing.T) {
	s := newSubject(t, "coverage", nil)
	now := start
	at := func(step uint32, keys ...uint64) []float64 {
		in := Input{Now: now, Value: Keys, Steps: step}
		for _, k := range keys {
			in.Keys = append(in.Keys, mix(k))
		}
		return s.observe(in)
	}
	const handed, told, neither = 1, 2, 0
	s.expect("nothing", at(neither), 1, 0, 0, 0, 1)
	s.expect("within grace", at(handed, 1, 2, 3, 4), 1, 0, 0, 0, 1)
	at(told, 1, 2)
	now += moat.Hour
	s.expect("two of four after an hour", at(neither), 0.5, 4, 0, 2, 1)
	s.expect("one is told late", at(told, 3), 0.75, 4, 0, 3, 1)
	s.expect("and again", at(told, 3, 3), 0.75, 4, 0, 3, 1)
	at(told, 99)
	now += 2 * moat.Hour
	s.expect("nobody knows what was served before the beginning", at(neither), 0.75, 4, 0, 3, 1)
	now += moat.Day
	at(handed, 11, 12, 13)
	at(told, 11, 12, 13, 77)
	now += moat.Hour
	s.expect("a day later one is told that was never handed out", at(neither), 1, 3, 0.25, 4, 1)
	now += 400 * moat.Day
	s.expect("after a year", at(neither), 1, 0, 0, 0, 1)
}

// TestCoverageOfManyOrders: a share measured by a sample is within four standard errors of the truth, for any number of
// orders, and as many values are kept as promised.
func TestCoverageOfManyOrders(t *testing.T) {
	for _, orders := range []int{50, 1000, 50_000} {
		for _, share := range []float64{0.95, 0.5, 0} {
			r := rand.New(rand.NewPCG(uint64(orders), uint64(share*100)))
			s := newSubject(t, "coverage", Params{"window": 86400, "grace": 3600, "keep": 256})
			now, key := start, r.Uint64()
			var got []float64
			for day := range 3 {
				for range orders {
					key++
					now += moat.Day / moat.Time(orders)
					in := Input{Now: now, Value: Keys, Keys: []uint64{mix(key)}, Steps: 1}
					s.observe(in)
					if r.Float64() < share {
						in.Steps = 2
						s.observe(in)
					}
					if day > 0 && r.IntN(10) == 0 { // a tenth more is made up
						got = s.observe(Input{Now: now, Value: Keys, Keys: []uint64{mix(r.Uint64())}, Steps: 2})
					}
				}
			}
			check := func(what string, got, want, n float64) {
				t.Helper()
				if n < 25 {
					t.Errorf("%d orders: %s is a share of %v only", orders, what, n)
				}
				if bound := 4*math.Sqrt(want*(1-want)/n) + 1e-9; math.Abs(got-want) > bound {
					t.Errorf("%d orders: %s is %v, the truth is %v within %v", orders, what, got, want, bound)
				}
			}
			check("share", got[0], share, got[1])
			if share > 0 {
				check("unserved", got[2], 0.1/(share+0.1), got[3])
			}
		}
	}
}

func BenchmarkCoverage(b *testing.B) {
	keys := make([]uint64, 10)
	i := uint64(0)
	measure(b, "coverage", nil, Keys, func(n int, in *Input) {
		for k := range keys {
			i++
			keys[k] = mix(i - i%2) // each twice
		}
		in.Keys, in.Steps = keys, uint32(1+n%2)
	})
}
