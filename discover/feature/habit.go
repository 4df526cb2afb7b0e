package feature

import (
	"math"
	"unsafe"

	"github.com/moat-platform/moat"
)

// habitKind tells how far the level at which a period ends lies from the entity's own, and
// whether that adds up. A level is set, not summed: of several in a period the last one counts.
//
// State: six words, 24 bytes. Cost: 12 ns.
//
// Formula: mean and variance are exponential averages (weight 1/n at first, then 1/14) of closed
// periods' levels, each taken as at most 2.5 deviations from the mean of its time, so that what is
// unusual does not soon become usual. z = (level − mean) / max(deviation, floor). The drift is
// Page's CUSUM (1954), S = max(0, S + z − k), with z between −4 and 4, so that one day
// alone does not look like a drift; it counts the running period as if it ended now.
var habitKind = Kind{
	Name:  "habit",
	Doc:   "How far the level at which a period ends lies from the entity's own habit, and how that adds up. Good for shares and ratios: what an account does compared with its peers on the same day.",
	Value: Number,
	Blind: true,
	Params: []Param{periodParam,
		{Name: "k", Unit: "scales", Default: 0.5, Min: 0, Max: 10, Doc: "Slack: how far above the habit a period may lie without adding to the drift."},
		{Name: "floor", Unit: "of the level", Default: 0.3, Min: 0.000001, Max: 1e12, Doc: "Smallest deviation; differences below it are taken to be chance. 0.3 suits natural logarithms of counts."}},
	Outputs: []Output{
		{"z", "scales", "How far the level is above the habit now, in its own deviations; 0 while fewer than 4 periods are closed."},
		{"s", "scales", "Accumulated drift, the running period included; 5 is the usual cut. 0 while fewer than 4 periods are closed."},
		{"mean", "of the level", "Moving average of the levels of closed periods."},
		{"dev", "of the level", "Moving deviation of these, at least floor."},
		{"n", "periods", "Closed periods with any level, ever."},
	},
	CostNS: 12,
	Size:   func(Params) int { return int(unsafe.Sizeof(habitState{})) },
	New: func(p Params) Stat {
		return &habit{width: spanOf(uint64(p["period"] * float64(moat.Second))), k: p["k"], floor: p["floor"]}
	},
}

const (
	habitual = 4   // closed periods before a habit is judged by
	habitCut = 2.5 // deviations from the mean that a level may count as
	habitMax = 4   // scales that one period may add to the drift
)

type habitState struct {
	open  uint32 // number of the running period + 1; 0 when empty
	n     uint32 // closed periods
	level float32
	mean  float32
	own   float32 // deviation, which may be below the floor
	drift float32
}

type habit struct {
	width    span
	k, floor float64
}

func (h *habit) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	s := (*habitState)(state)
	p := h.width.number(in.Now) + 1
	if p > s.open {
		h.close(s)
		s.open = p
	}
	if p == s.open {
		s.level = float32(bounded(finite(in.Num)))
	}
	h.write(s, out)
}

func (h *habit) Read(state unsafe.Pointer, in *Input, out *Outputs) {
	s := *(*habitState)(state)
	if s.open != 0 && h.width.number(in.Now)+1 > s.open {
		h.close(&s)
		s.level = s.mean // nothing is known of the period that runs now
	}
	h.write(&s, out)
}

// dev is the deviation of closed levels, which is never below the floor.
func (h *habit) dev(s *habitState) float64 { return max(float64(s.own), h.floor) }

// judge returns how far the level lies above the habit, and the drift when the running period ends at it.
func (h *habit) judge(s *habitState) (z, drift float64) {
	if s.n < habitual {
		return 0, 0
	}
	z = (float64(s.level) - float64(s.mean)) / h.dev(s)
	return z, max(0, float64(s.drift)+min(max(z, -habitMax), habitMax)-h.k)
}

// close ends the running period, if one runs.
func (h *habit) close(s *habitState) {
	if s.open == 0 {
		return
	}
	_, drift := h.judge(s)
	s.drift = float32(drift)
	v, mean, dev := float64(s.level), float64(s.mean), h.dev(s)
	if s.n >= habitual {
		v = min(max(v, mean-habitCut*dev), mean+habitCut*dev)
	}
	if s.n != math.MaxUint32 {
		s.n++
	}
	if s.n == 1 {
		s.mean, s.own = float32(v), float32(math.Sqrt2*h.floor)
		return
	}
	w, d, own := max(1/float64(s.n), 1.0/history), v-mean, float64(s.own)
	s.mean = float32(mean + w*d)
	s.own = float32(min(math.Sqrt((1-w)*(own*own+w*d*d)), math.MaxFloat32))
}

func (h *habit) write(s *habitState, out *Outputs) {
	_ = out[4]
	out[0], out[1] = h.judge(s)
	out[2], out[3], out[4] = float64(s.mean), h.dev(s), float64(s.n)
	if s.open == 0 {
		out[3] = 0
	}
}
