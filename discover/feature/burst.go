package feature

import (
	"math"
	"unsafe"
)

// burstKind tells whether an entity and a value meet more often just now.
//
// State: none but a Pair of 16 bytes a value, or a word where all events of an account have the same. Cost: 10 ns.
//
// Formula: the score of MIDAS (Bhatia 2020, arXiv:1911.04464), a chi-squared
// test of this tick against all ticks, (a − s/t)² · t² / (s · (t − 1)), with a
// the events of this tick, s all events, t the ticks that the entity has lived;
// 0 when a is not above the average. MIDAS estimates a and s by count-min
// sketches, here they are exact. An event from an older tick counts in s only.
var burstKind = Kind{
	Name:  "burst",
	Doc:   "Whether the entity and this value meet much more often now than before. Good for sudden edges: an account on one shop, an address on one account.",
	Value: Key,
	Pairs: true,
	Params: []Param{{Name: "tick", Unit: "duration", Default: 3600, Min: 1, Max: 31 * 86400,
		Doc: "Length of a tick."}},
	Outputs: []Output{
		{"score", "chi-squared", "How far this tick is above the average tick; 0 in the entity's first tick."},
		{"a", "events", "Events with this value in this tick, this one included."},
		{"n", "events", "Events with this value, ever, this one included."},
	},
	CostNS: 10,
	Size:   func(Params) int { return 0 },
	New:    func(p Params) Stat { return &burst{width: spanOf(2 * uint64(p["tick"]))} },
	Single: func(p Params) Stat {
		if p["tick"] < shortestTick {
			return nil
		}
		return &single{burst{width: spanOf(2 * uint64(p["tick"]))}}
	},
}

type burst struct{ width span } // half seconds, as a span of one would be none

func (b *burst) Observe(_ unsafe.Pointer, in *Input, out *Outputs) {
	now := seconds(in.Now)
	p := (*Pair)(in.Pair)
	if p == nil {
		p = &Pair{}
	}
	switch last := b.tick(p.Last); {
	case p.N == 0 || b.tick(now) > last:
		p.Tick = 1
	case b.tick(now) == last && p.Tick != math.MaxUint32:
		p.Tick++
	}
	p.add(now)
	b.write(p, seconds(in.Born), now, out)
}

func (b *burst) Read(_ unsafe.Pointer, in *Input, out *Outputs) {
	now := seconds(in.Now)
	var p Pair
	if in.Pair != nil {
		p = *(*Pair)(in.Pair)
	}
	if b.tick(now) > b.tick(p.Last) {
		p.Tick = 0
	}
	b.write(&p, seconds(in.Born), now, out)
}

func (b *burst) tick(s uint32) uint64 { return b.width.of(2 * uint64(s)) }

func (b *burst) write(p *Pair, born, now uint32, out *Outputs) {
	b.tell(p, b.tick(min(born, p.First)), b.tick(max(now, p.Last)), out)
}

// tell writes the outputs of an entity that lived from a first to a last tick.
func (b *burst) tell(p *Pair, first, last uint64, out *Outputs) {
	_ = out[2]
	a, s := float64(p.Tick), float64(p.N)
	out[0], out[1], out[2] = 0, a, s
	if p.N == 0 || last <= first {
		return
	}
	t := float64(last - first + 1)
	if over := a - s/t; over > 0 {
		out[0] = over * over * t * t / (s * (t - 1))
	}
}

// single is a burst of an entity with the one value that all its events have, in a word: the number of the newest tick, the events of
// that tick and all events. It counts up to a million, which one account does in years.
type single struct{ burst }

const (
	singleMost   = 1<<20 - 1 // events
	shortestTick = 300       // seconds: the number of the tick has 24 bits
)

// split returns what a word holds.
func split(word uint64) (tick uint64, p Pair) {
	return word >> 40, Pair{Tick: uint32(word>>20) & singleMost, N: uint32(word) & singleMost}
}

func (b *single) Observe(_ unsafe.Pointer, in *Input, out *Outputs) {
	now := b.tick(seconds(in.Now))
	word := (*uint64)(in.Pair)
	last, p := split(*word)
	switch {
	case p.N == 0 || now > last:
		last, p.Tick = now, 1
	case now == last:
		p.Tick = min(p.Tick+1, singleMost)
	}
	p.N = min(p.N+1, singleMost)
	*word = last<<40 | uint64(p.Tick)<<20 | uint64(p.N)
	b.tell(&p, min(b.tick(seconds(in.Born)), now), max(last, now), out)
}

func (b *single) Read(_ unsafe.Pointer, in *Input, out *Outputs) {
	now := b.tick(seconds(in.Now))
	var last uint64
	var p Pair
	if in.Pair != nil {
		last, p = split(*(*uint64)(in.Pair))
	}
	if now > last {
		p.Tick = 0
	}
	b.tell(&p, b.tick(seconds(in.Born)), max(last, now), out)
}
