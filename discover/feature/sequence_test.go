package feature

import (
	"slices"
	"testing"

	"github.com/moat-platform/moat"
)

// chain keeps the first steps that count as a list, and walks it.
type chain struct {
	steps, times int
	within       int64
	first        []int64 // seconds
	step         int
	last         int64
}

func newChain(p Params) model {
	return &chain{steps: int(p["steps"]), times: int(p["times"]), within: int64(p["within"])}
}

// begun returns when the attempt began: the first of the newest first steps, if they are enough and near.
func (c *chain) begun(now int64) (int64, bool) {
	if len(c.first) < c.times {
		return 0, false
	}
	begin := c.first[len(c.first)-c.times]
	return begin, now-begin <= c.within
}

func (c *chain) read(in Input) []float64 {
	begin, ok := c.begun(in.Now.Seconds())
	if !ok || c.step == 0 {
		return []float64{0, 0, 0}
	}
	return []float64{0, float64(c.step), float64(max(0, in.Now.Seconds()-begin))}
}

func (c *chain) observe(in Input) []float64 {
	now := in.Now.Seconds()
	if now < c.last {
		return c.read(in)
	}
	var matches []int
	for i := range 8 {
		if in.Steps&(1<<i) != 0 {
			matches = append(matches, i)
		}
	}
	if _, ok := c.begun(now); !ok {
		c.step = 0
	}
	if c.step > 0 && slices.Contains(matches, c.step) {
		c.step++
		c.last = now
	} else if c.step <= 1 && slices.Contains(matches, 0) {
		c.first = append(c.first, now)
		c.last = now
		if _, ok := c.begun(now); ok {
			c.step = 1
		}
	}
	out := c.read(in)
	if c.step == c.steps {
		out[0] = 1
		c.step, c.first = 0, nil
	}
	return out
}

func FuzzSequence(f *testing.F) {
	compare(f, "sequence", Steps, []Params{nil, {"times": 3}, {"steps": 4, "within": 3600}, {"steps": 1, "times": 20, "within": 86400}, {"steps": 8, "times": 2, "within": 90 * 86400}}, newChain)
}

func TestSequence(t *testing.T) {
	type event struct {
		at    moat.Time // s
		steps uint32
		want  [3]float64
	}
	f := func(what string, given Params, events ...event) {
		t.Helper()
		s := newSubject(t, "sequence", given)
		for i, e := range events {
			s.expect(what+" event "+string(rune('0'+i)), s.observe(Input{Now: start + e.at*moat.Second, Steps: e.steps}), e.want[:]...)
		}
	}
	const a, b, c = 1, 2, 4
	two := Params{"within": 10}
	f("in order", two, event{0, a, [3]float64{0, 1, 0}}, event{10, b, [3]float64{1, 2, 10}}, event{11, b, [3]float64{}})
	f("wrong order", two, event{0, b, [3]float64{}}, event{1, a, [3]float64{0, 1, 0}})
	f("too slow", two, event{0, a, [3]float64{0, 1, 0}}, event{11, b, [3]float64{}})
	f("others in between", two, event{0, a, [3]float64{0, 1, 0}}, event{1, 0, [3]float64{0, 1, 1}}, event{2, b, [3]float64{1, 2, 2}})
	f("a newer first step restarts", two, event{0, a, [3]float64{0, 1, 0}}, event{8, a, [3]float64{0, 1, 0}}, event{15, b, [3]float64{1, 2, 7}})
	f("one event, one step", two, event{0, a | b, [3]float64{0, 1, 0}}, event{0, a | b, [3]float64{1, 2, 0}})
	f("late", two, event{5, a, [3]float64{0, 1, 0}}, event{4, b, [3]float64{0, 1, 0}}, event{5, b, [3]float64{1, 2, 0}})
	three := Params{"within": 10, "steps": 3}
	f("the clock stands after the second step", three, event{0, a, [3]float64{0, 1, 0}}, event{5, b, [3]float64{0, 2, 5}},
		event{6, a, [3]float64{0, 2, 6}}, event{10, c, [3]float64{1, 3, 10}})
	f("and runs out", three, event{0, a, [3]float64{0, 1, 0}}, event{5, b, [3]float64{0, 2, 5}}, event{11, a, [3]float64{0, 1, 0}}, event{12, c, [3]float64{0, 1, 1}})
	fails := Params{"within": 10, "times": 3}
	f("three failures, then success", fails, event{0, a, [3]float64{}}, event{1, a, [3]float64{}}, event{2, a, [3]float64{0, 1, 2}}, event{3, b, [3]float64{1, 2, 3}})
	f("two failures do not do", fails, event{0, a, [3]float64{}}, event{1, a, [3]float64{}}, event{3, b, [3]float64{}})
	f("the newest three count", fails, event{0, a, [3]float64{}}, event{8, a, [3]float64{}}, event{12, a, [3]float64{}}, event{13, a, [3]float64{0, 1, 5}}, event{17, b, [3]float64{1, 2, 9}})
	f("one step, many times", Params{"within": 10, "times": 2, "steps": 1}, event{0, a, [3]float64{}}, event{9, a, [3]float64{1, 1, 9}}, event{10, a, [3]float64{}})
}

func BenchmarkSequence(b *testing.B) {
	measure(b, "sequence", nil, Steps, func(i int, in *Input) { in.Steps = uint32(i) & 7 })
}
