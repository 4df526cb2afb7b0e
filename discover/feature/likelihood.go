package feature

import (
	"math"
	"unsafe"
)

// MaxLevels bounds the levels of a value.
const MaxLevels = 4

// Level is one level of a value that is given finely and ever more coarsely, such as address,
// network, country.
type Level struct {
	Key    uint64         // 0: unknown
	Pair   unsafe.Pointer // to the Pair of this entity and Key
	Common unsafe.Pointer // to the Pair of the partner and Key
}

// likelihoodKind tells how much better a stranger explains a value than the entity itself.
//
// State: a count, 4 bytes, 32 for the partner, and a Pair of 16 bytes for each value of each level,
// for the entity and for the partner. Cost: 65 ns and six pairs to find.
//
// Formula: the login risk of Freeman et al. (NDSS 2016) without attack data, as
// Wiefling et al. (2022) implement it,
//
//	score = ln p(x)/p(x|u),   user = ln p(u|attack)/p(u|legit) = ln (1/U)/(n/N)
//
// for n observations of this entity and N of all U entities of the partner. With weights wᵢ of the levels,
// finest first, and cᵢ, Cᵢ the times that the level's value was seen with the entity and with all,
//
//	p(x|u) = Σ wᵢ·cᵢ/n,   p(x) = w₁·max(C₁, 1)/(N + M) + Σ_{i>1} wᵢ·Cᵢ/N
//
// where M, one more than the different values of the coarser levels, leaves room for values that were never seen. If
// no level of the value was ever seen with the entity, p(x|u) := p(x)/4: smoothing both would
// make the strangest login look harmless. (Their code has one more factor,
// how often a value occurs among the logins that have it; it is 1.) The sums of weights need not be 1,
// since only ratios are used; a level without a value is left out of both.
var likelihoodKind = Kind{
	Name:  "likelihood",
	Doc:   "How much better a stranger explains a value than this entity does, from fine to coarse (address, network, country). Good for the risk of a login: the scores of several values and `user` add up to log-odds.",
	Value: Levels,
	Pairs: true,
	Params: []Param{
		{Name: "w1", Unit: "weight", Default: 0.6, Min: 0.001, Max: 1, Doc: "Weight of the first, finest level."},
		{Name: "w2", Unit: "weight", Default: 0.3, Min: 0, Max: 1, Doc: "Weight of the second."},
		{Name: "w3", Unit: "weight", Default: 0.1, Min: 0, Max: 1, Doc: "Weight of the third."},
		{Name: "w4", Unit: "weight", Default: 0.01, Min: 0, Max: 1, Doc: "Weight of the fourth."},
	},
	Outputs: []Output{
		{"score", "ln of a ratio", "Above 0 the value is more usual for others than for the entity, ln 4 = 1.39 if it was never seen with it; below 0 it is the entity's own. 0 when the entity or the value is unknown."},
		{"user", "ln of a ratio", "Above 0 for entities that come less often than the partner's average one; 0 for one that is unknown."},
		{"n", "events", "Observations of the entity before this one: ask for some before you trust the score."},
		{"local", "probability", "p(x|u): how often the entity had the value, before this event; 0 when it never had."},
		{"global", "probability", "p(x): the same for all entities of the partner."},
	},
	CostNS: 65,
	Size:   func(Params) int { return 4 },
	Common: func(Params) int { return int(unsafe.Sizeof(everybody{})) },
	New: func(p Params) Stat {
		return &likelihood{weight: [MaxLevels]float64{p["w1"], p["w2"], p["w3"], p["w4"]}}
	},
}

// everybody is what is known of all entities of a partner.
type everybody struct {
	n      uint64
	users  uint32
	values [MaxLevels]uint32 // different ones of each level
	_      uint32
}

type likelihood struct{ weight [MaxLevels]float64 }

func (l *likelihood) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	l.Read(state, in, out)
	n, all, now := (*uint32)(state), (*everybody)(in.Common), seconds(in.Now)
	if all == nil {
		return
	}
	if *n == 0 {
		all.users++
	}
	*n = min(*n, math.MaxUint32-1) + 1
	all.n++
	for i := range in.Level {
		v := &in.Level[i]
		if v.Key == 0 {
			continue
		}
		if p := (*Pair)(v.Pair); p != nil {
			p.add(now)
		}
		p := (*Pair)(v.Common)
		if p == nil || p.N == 0 {
			all.values[i] = min(all.values[i], math.MaxUint32-1) + 1
		}
		if p != nil {
			p.add(now)
		}
	}
}

func (l *likelihood) Read(state unsafe.Pointer, in *Input, out *Outputs) {
	_ = out[4]
	n, all := float64(*(*uint32)(state)), (*everybody)(in.Common)
	clear(out[:5])
	if out[2] = n; all == nil || n == 0 || all.n == 0 {
		return
	}
	total := float64(all.n)
	out[1] = math.Log(total / (float64(all.users) * n))
	if in.Value != Levels {
		return
	}
	local, global := 0.0, 0.0
	for i := range in.Level {
		v := &in.Level[i]
		if v.Key == 0 {
			continue
		}
		c, of := times(v.Common), total
		if i == 0 {
			c, of = max(c, 1), total+all.room()
		}
		global += float64(l.weight[i] * c / of)
		local += float64(l.weight[i] * times(v.Pair) / n)
	}
	out[3], out[4] = local, global
	switch {
	case global == 0: // only coarse levels are given, and nobody ever had them
	case local == 0:
		out[0] = math.Log(4)
	default:
		out[0] = math.Log(global / local)
	}
}

// room is how many values that were never seen are reckoned with.
func (a *everybody) room() float64 {
	m := 1.0
	for _, v := range a.values[1:] {
		m += float64(v)
	}
	return m
}

// times returns how often a pair was seen.
func times(pair unsafe.Pointer) float64 {
	if p := (*Pair)(pair); p != nil {
		return float64(p.N)
	}
	return 0
}
