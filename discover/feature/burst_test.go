package feature

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/moat-platform/moat"
)

// edges keeps the tick in which each event counted.
type edges struct {
	width int64
	ticks map[uint64][]int64 // every event's tick
	fresh map[uint64][]int64 // of those that were not late
}

func newEdges(p Params) model {
	return &edges{width: int64(p["tick"]), ticks: map[uint64][]int64{}, fresh: map[uint64][]int64{}}
}

func (e *edges) observe(in Input) []float64 {
	tick := in.Now.Seconds() / e.width
	newest := int64(-1)
	for _, t := range e.ticks[in.Key] {
		newest = max(newest, t)
	}
	e.ticks[in.Key] = append(e.ticks[in.Key], tick)
	if tick >= newest {
		e.fresh[in.Key] = append(e.fresh[in.Key], tick)
	}
	return e.read(in)
}

func (e *edges) read(in Input) []float64 {
	first, last := in.Born.Seconds()/e.width, in.Now.Seconds()/e.width
	for _, t := range e.ticks[in.Key] {
		first, last = min(first, t), max(last, t)
	}
	a, s, t := 0.0, float64(len(e.ticks[in.Key])), float64(last-first+1)
	for _, tick := range e.fresh[in.Key] {
		if tick == last {
			a++
		}
	}
	score := 0.0
	if s > 0 && t > 1 && a > s/t {
		score = (a - s/t) * (a - s/t) * t * t / (s * (t - 1))
	}
	return []float64{score, a, s}
}

func FuzzBurst(f *testing.F) {
	compare(f, "burst", Key, []Params{nil, {"tick": 60}, {"tick": 86400}}, newEdges)
}

func TestBurst(t *testing.T) {
	s := newSubject(t, "burst", nil)
	at := func(tick moat.Time, key uint64) []float64 {
		return s.observe(Input{Now: start + tick*moat.Hour, Value: Key, Key: key})
	}
	s.expect("first tick", at(0, 1), 0, 1, 1)
	s.expect("second tick, as often", at(1, 1), 0, 1, 2)
	// a = 2, s = 3, t = 2: (2 − 1.5)² · 4 / 3.
	s.expect("more often", at(1, 1), 1.0/3, 2, 3)
	s.expect("late", at(0, 1), 0, 2, 4)
	// A value that is new after 100 ticks and comes five times at once.
	for range 4 {
		at(99, 2)
	}
	s.expect("new and many", at(99, 2), 4.95*4.95*100*100/(5*99), 5, 5)
	s.expect("a tick later", s.read(Input{Now: start + 100*moat.Hour, Value: Key, Key: 2}), 0, 0, 5)
}

func BenchmarkBurst(b *testing.B) { measure(b, "burst", nil, Key, func(int, *Input) {}) }

// TestSingle: what is kept in a word gives what a pair gives, as long as nothing is older than the entity.
func TestSingle(t *testing.T) {
	kind := Find("burst")
	r := rand.New(rand.NewPCG(1, 2))
	for _, tick := range []float64{300, 3600, 86400, 604800} {
		p, err := kind.Fill(Params{"tick": tick})
		if err != nil {
			t.Fatal(err)
		}
		whole, word := kind.New(p), kind.Single(p)
		for range 200 {
			var pair Pair
			var state uint64
			in := Input{Value: Key, Now: start, Born: start}
			for i := range 300 {
				in.Now += moat.Time(r.Int64N(int64(tick))) * moat.Second * moat.Time(r.IntN(8)) / 5
				if r.IntN(10) == 0 {
					in.Now = max(start, in.Now-moat.Time(r.Int64N(int64(2*tick)))*moat.Second)
				}
				var a, b Outputs
				whole, word, put := whole, word, Stat.Observe
				if r.IntN(3) == 0 {
					put = Stat.Read
				}
				in.Pair = unsafe.Pointer(&pair)
				put(whole, nil, &in, &a)
				in.Pair = unsafe.Pointer(&state)
				put(word, nil, &in, &b)
				if a != b {
					t.Fatalf("tick %v, event %d: a pair says %v, a word %v", tick, i, a, b)
				}
			}
		}
	}
	word := kind.Single(Params{"tick": 86400})
	state := uint64(20_000)<<40 | (singleMost-1)<<20 | (singleMost - 1)
	var out Outputs
	for range 3 {
		word.Observe(nil, &Input{Now: 20_000 * moat.Day, Born: start, Pair: unsafe.Pointer(&state)}, &out)
	}
	if out[1] != singleMost || out[2] != singleMost || state>>40 != 20_000 {
		t.Errorf("full: %v, tick %d", out[:3], state>>40)
	}
	if kind.Single(Params{"tick": 60}) != nil {
		t.Error("a tick of a minute has too many numbers for a word")
	}
}
