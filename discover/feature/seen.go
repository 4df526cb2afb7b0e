package feature

import (
	"math"
	"math/bits"
	"unsafe"
)

// seenKind tells whether this value was ever seen with this entity.
//
// State: how many values it has had, 4 bytes, and a Pair of 16 bytes a value.
// Cost: 9 ns, and 3 ns a key of a list.
// It is exact, not a filter, so that there is no false "first".
var seenKind = Kind{
	Name:  "seen",
	Doc:   "Whether this value was ever seen with this entity, exactly. Good for first times: device, country, shop, destination.",
	Value: Key,
	Also:  []Value{Keys},
	Pairs: true,
	Params: []Param{
		{Name: "ttl", Unit: "duration", Default: 90 * 86400, Min: 60, Max: 3650 * 86400,
			Doc: "A value not seen for longer counts as new again."},
		{Name: "sample", Unit: "values", Default: 1, Min: 1, Max: 1024,
			Doc: "Only one of so many values is looked at, by its hash, rounded up to a power of two; an event with none of them has no value. For values that are too many to keep, such as orders: the age of a sixteenth of them says as much."},
	},
	Outputs: []Output{
		{"new", "values", "1 when this value is new to this entity; of a list, how many are new."},
		{"n", "times", "How often the value was seen before; of a list, that of the most frequent one."},
		{"age_s", "s", "Time since the value was first seen; of a list, that of the oldest one."},
		{"gap_s", "s", "Time since the value was last seen, 0 for a new one; of a list, that of the most recent one that is not new."},
		{"values", "values", "How many values the entity has had, this event included; one that comes back after ttl counts again."},
		{"mean_s", "s", "Time since the value was first seen, 0 for a new one; of a list, the mean of those that are not new."},
	},
	CostNS: 9,
	Sample: func(p Params) int { return 1 << bits.Len(uint(p["sample"])-1) },
	Size:   func(Params) int { return 4 },
	Vacant: func(state unsafe.Pointer) bool { return *(*uint32)(state) == 0 },
	New:    func(p Params) Stat { return &seen{ttl: uint32(min(p["ttl"], math.MaxUint32))} },
}

type seen struct{ ttl uint32 }

// sight is what the outputs say of one value or the whole list.
type sight struct {
	fresh, known, n uint32
	age, sum, gap   float64
}

func (s *seen) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	now, values := seconds(in.Now), (*uint32)(state)
	if p := (*Pair)(in.Pair); in.Value == Key && !s.unknown(p, now) { // nearly always
		_ = out[5]
		age := elapsed(p.First, now)
		out[0], out[1], out[2], out[3], out[4], out[5] = 0, float64(p.N), age, elapsed(p.Last, now), float64(*values), age
		p.again(now)
		return
	}
	v := sight{gap: math.Inf(1)}
	if in.Value == Keys {
		for i := range in.Keys {
			p := pairAt(in.Pairs, i)
			s.look(p, now, &v)
			s.mark(p, now)
		}
	} else {
		s.look((*Pair)(in.Pair), now, &v)
		s.mark((*Pair)(in.Pair), now)
	}
	*values += min(v.fresh, math.MaxUint32-*values)
	v.write(*values, out)
}

func (s *seen) Read(state unsafe.Pointer, in *Input, out *Outputs) {
	now := seconds(in.Now)
	v := sight{gap: math.Inf(1)}
	if in.Value == Keys {
		for i := range in.Keys {
			s.look(pairAt(in.Pairs, i), now, &v)
		}
	} else if !in.none() {
		s.look((*Pair)(in.Pair), now, &v)
	}
	v.write(*(*uint32)(state), out)
}

// pairAt returns the i-th pair, nil when it is not kept.
func pairAt(pairs []unsafe.Pointer, i int) *Pair {
	if i < len(pairs) {
		return (*Pair)(pairs[i])
	}
	return nil
}

// look adds to v what is known of one value at that time.
func (s *seen) look(p *Pair, now uint32, v *sight) {
	if s.unknown(p, now) {
		v.fresh++
		return
	}
	age := elapsed(p.First, now)
	v.known++
	v.n, v.age, v.sum = max(v.n, p.N), max(v.age, age), v.sum+age
	v.gap = min(v.gap, elapsed(p.Last, now))
}

func (s *seen) unknown(p *Pair, now uint32) bool {
	return p == nil || p.N == 0 || now > p.Last && now-p.Last > s.ttl
}

func (s *seen) mark(p *Pair, now uint32) {
	if p == nil {
		return
	}
	if s.unknown(p, now) {
		*p = Pair{}
	}
	p.add(now)
}

func (v *sight) write(values uint32, out *Outputs) {
	_ = out[5]
	if v.gap > math.MaxFloat64 {
		v.gap = 0
	}
	out[0], out[1], out[2], out[3], out[4] = float64(v.fresh), float64(v.n), v.age, v.gap, float64(values)
	out[5] = v.sum / float64(max(v.known, 1))
}

// add counts one more sight of the pair; the count stays at 2³²−1 when it is full.
func (p *Pair) add(now uint32) {
	if p.N == 0 {
		p.First, p.Last = now, now
	}
	p.again(now)
}

// again is add for a pair that was seen before.
func (p *Pair) again(now uint32) {
	p.First, p.Last = min(p.First, now), max(p.Last, now)
	if p.N != math.MaxUint32 {
		p.N++
	}
}
