package feature

import "unsafe"

// sequenceKind finds acts that follow one another in a given order.
//
// State: 8 bytes, and 4 for each time that the first step must match, rounded
// up to 8; 16 by default. Cost: 7 ns.
//
// Other events in between are fine. An event may match several steps and
// advances at most one, the next one needed. The first step is done when its
// newest `times` matches lie within `within`; while no further step is done,
// newer matches take the place of older ones and so restart the clock. Past
// that, the clock stands, and first steps are not looked at until the attempt is
// completed or too old. Times count in whole seconds. An event that is older than
// the last one that counted is ignored; of equal times, arrival decides.
var sequenceKind = Kind{
	Name:  "sequence",
	Doc:   "Steps that follow one another within a time. Good for chains: failures then success, new password then export.",
	Value: Steps,
	Blind: true,
	Params: []Param{
		{Name: "steps", Unit: "steps", Default: 2, Min: 1, Max: 8, Doc: "How many steps the sequence has."},
		{Name: "within", Unit: "duration", Default: 600, Min: 1, Max: 90 * 86400, Doc: "Longest time from the first step's first match to the last step."},
		{Name: "times", Unit: "times", Default: 1, Min: 1, Max: 20, Doc: "How often the first step must match."},
	},
	Outputs: []Output{
		{"done", "0 or 1", "1 when this event completes the sequence, which then starts anew."},
		{"step", "steps", "Steps done, this event's included."},
		{"since_s", "s", "Time since the first match of the attempt that runs or was just completed; 0 while no step is done."},
	},
	CostNS: 7,
	Size: func(p Params) int {
		return int(unsafe.Sizeof(sequenceState{})) + (int(p["times"])*4+7)&^7
	},
	New: func(p Params) Stat {
		return &sequence{within: uint32(p["within"]), steps: uint8(p["steps"]), times: uint8(p["times"])}
	},
}

// sequenceState is followed by a ring of the times of the newest first steps,
// in seconds; 0 is none.
type sequenceState struct {
	last uint32 // newest event that counted
	step uint8  // steps done
	next uint8  // where the next first step goes, and the oldest is
	_    [2]uint8
}

type sequence struct {
	within       uint32
	steps, times uint8
}

func (q *sequence) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	s, first := (*sequenceState)(state), q.ring(state)
	now := seconds(in.Now)
	if now < s.last {
		q.Read(state, in, out)
		return
	}
	if s.step > 0 && !q.ready(first[s.next], now) {
		s.step = 0
	}
	switch {
	case s.step > 0 && in.Steps>>s.step&1 == 1:
		s.step++
		s.last = now
	case s.step <= 1 && in.Steps&1 == 1:
		first[s.next] = now
		s.next = (s.next + 1) % q.times
		s.last = now
		if q.ready(first[s.next], now) {
			s.step = 1
		}
	}
	out[0] = 0
	s.write(first[s.next], now, out)
	if s.step == q.steps {
		out[0] = 1
		s.step = 0
		clear(first)
	}
}

func (q *sequence) Read(state unsafe.Pointer, in *Input, out *Outputs) {
	s, now := *(*sequenceState)(state), seconds(in.Now)
	start := q.ring(state)[s.next]
	if !q.ready(start, now) {
		s.step = 0
	}
	out[0] = 0
	s.write(start, now, out)
}

func (q *sequence) ring(state unsafe.Pointer) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Add(state, unsafe.Sizeof(sequenceState{}))), int(q.times))
}

// ready tells whether a first step that is done since start may still go on.
func (q *sequence) ready(start, now uint32) bool {
	return start != 0 && (now <= start || now-start <= q.within)
}

func (s *sequenceState) write(start, now uint32, out *Outputs) {
	out[1], out[2] = float64(s.step), 0
	if s.step > 0 {
		out[2] = elapsed(start, now)
	}
}
