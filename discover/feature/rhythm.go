package feature

import (
	"math"
	"unsafe"

	"github.com/moat-platform/moat"
)

// rhythmKind tells how regular the time between events is.
//
// State: last time, mean and variance, 24 bytes. Cost: 11 ns.
//
// Formula: coefficient of variation, standard deviation / mean, of the gaps.
// Mean and variance forget exponentially (West 1979): the first 64 gaps weigh
// the same, then each new one a 64th. People make gaps with a cv around 1 and
// above; a timer makes one near 0, and one with ±20 % of jitter 0.12.
// Events at the very same microsecond are one beat; late ones are ignored.
var rhythmKind = Kind{
	Name:  "rhythm",
	Doc:   "How regular the time between events is. Good for scrapers, scripts and beacons.",
	Value: NoValue,
	Blind: true,
	Params: []Param{{Name: "reset", Unit: "duration", Default: 600, Min: 1, Max: 7 * 86400,
		Doc: "A longer gap starts a new stretch."}},
	Outputs: []Output{
		{"cv", "ratio", "Standard deviation of the gaps divided by their mean, of about the last 64; 1 while there are fewer than 8. Below 0.2 is a machine."},
		{"n", "gaps", "Gaps in the running stretch."},
		{"mean_s", "s", "Mean gap."},
	},
	CostNS: 11,
	Size:   func(Params) int { return int(unsafe.Sizeof(rhythmState{})) },
	New:    func(p Params) Stat { return &rhythm{reset: moat.Time(p["reset"] * float64(moat.Second))} },
}

const (
	beats    = 64 // gaps that are remembered, about
	beatsMin = 8  // gaps that make a rhythm
)

type rhythmState struct {
	last     moat.Time // 0: none
	n        uint32
	mean     float32 // s
	variance float32 // s²
	_        uint32
}

type rhythm struct{ reset moat.Time }

func (r *rhythm) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	s := (*rhythmState)(state)
	if now := max(1, in.Now); now > s.last {
		if gap := now - s.last; s.last == 0 || gap > r.reset {
			*s = rhythmState{}
		} else {
			s.add(float64(gap) / float64(moat.Second))
		}
		s.last = now
	}
	s.write(out)
}

func (r *rhythm) Read(state unsafe.Pointer, in *Input, out *Outputs) {
	s := (*rhythmState)(state)
	if s.last != 0 && in.Now-s.last > r.reset {
		s = &rhythmState{}
	}
	s.write(out)
}

func (s *rhythmState) add(gap float64) {
	if s.n != math.MaxUint32 {
		s.n++
	}
	weight := 1 / float64(min(s.n, beats))
	diff := gap - float64(s.mean)
	step := float64(weight * diff)
	s.mean = float32(float64(s.mean) + step)
	s.variance = float32((1 - weight) * (float64(s.variance) + float64(diff*step)))
}

func (s *rhythmState) write(out *Outputs) {
	_ = out[2]
	out[0], out[1], out[2] = 1, float64(s.n), float64(s.mean)
	if s.n >= beatsMin {
		out[0] = math.Sqrt(float64(s.variance)) / float64(s.mean)
	}
}
