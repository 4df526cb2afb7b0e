package feature

import (
	"unsafe"

	"github.com/moat-platform/moat"
)

// ageKind tells how long the entity is known and how long it was quiet.
//
// State: none, since every record holds both times. Cost: 4 ns.
var ageKind = Kind{
	Name:  "age",
	Doc:   "How long the entity is known, and how long it was quiet. Good for new and for dormant accounts.",
	Value: NoValue,
	Blind: true,
	Outputs: []Output{
		{"s", "s", "Time since the entity was first seen; 0 for a new one."},
		{"idle_s", "s", "Time since the entity was last seen before this event; 0 for a new one and for late events."},
	},
	CostNS: 4,
	Size:   func(Params) int { return 0 },
	New:    func(Params) Stat { return age{} },
}

type age struct{}

func (age) Observe(_ unsafe.Pointer, in *Input, out *Outputs) {
	out[1] = 0
	if in.Seen != 0 {
		out[1] = since(in.Seen, in.Now)
	}
	out[0] = since(in.Born, in.Now)
}

func (a age) Read(state unsafe.Pointer, in *Input, out *Outputs) { a.Observe(state, in, out) }

// since returns the seconds from one time to another, 0 when they go backwards.
func since(from, to moat.Time) float64 { return float64(max(0, to-from)) / float64(moat.Second) }

// seconds returns t in whole seconds since 1970, within what 32 bits hold. It
// never returns 0, which marks times that are not set.
func seconds(t moat.Time) uint32 { return max(1, number(t, uint64(moat.Second))) }

// elapsed is since for times in whole seconds.
func elapsed(from, to uint32) float64 {
	if to <= from {
		return 0
	}
	return float64(to - from)
}
