package leak

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/sim/truth"
)

// Plan says how a leak goes.
type Plan struct {
	Seed       uint64
	Complaints int
	Noise      float64 // share of the complaints that are about something else
	Sources    int     // 0 is a leak that nobody here is the source of: all complaints are noise
	Kind       string  // of the sources; "" chooses as [Kinds] says
	// Theft, if there is one, is what leaks: orders that the thief saw or took. Sources is then 1.
	Theft *truth.Theft
}

// Complaint is a customer who says that the order's data was misused.
type Complaint struct {
	Order  string
	At     moat.Time
	Source int // place in Sources; -1 is noise
}

// Leak is complaints with their truth.
type Leak struct {
	Sources    []Source
	Size       []int     // orders that each source had in hand
	Overlap    []float64 // of each: the largest share of what leaked from it that one other account had in hand, too
	Complaints []Complaint
}

// Kinds is how often a source is of a kind.
var Kinds = []struct {
	Kind  string
	Share float64
}{{"account", 0.5}, {"device", 0.1}, {"app", 0.1}, {"outlet", 0.1}, {"host", 0.08}, {"ip", 0.05}, {"destination", 0.07}}

// Leak makes a leak. A source leaks from some day on, or what it had in hand on one day only; of each
// order some time after a touch. Who was robbed complains days later.
func (w *World) Leak(p Plan) Leak {
	r := rand.New(rand.NewPCG(p.Seed, 13))
	var l Leak
	taken := map[int32]bool{}
	real := p.Complaints
	if p.Sources == 0 {
		real = 0
	} else {
		real -= int(math.Round(p.Noise * float64(p.Complaints)))
	}
	lo, hi := len(w.orders), 0
	for i := range p.Sources {
		n := real*(i+1)/p.Sources - real*i/p.Sources
		s, pool := w.choose(r, p, n, l.Sources)
		before := len(l.Complaints)
		for _, j := range r.Perm(len(pool)) {
			o := pool[j].order
			if taken[o] || len(l.Complaints)-before == n {
				continue
			}
			taken[o] = true
			lo, hi = min(lo, int(o)), max(hi, int(o)+1)
			stolen := pool[j].at + moat.Time(r.ExpFloat64()*float64(6*moat.Hour))
			l.Complaints = append(l.Complaints, Complaint{w.orders[o].id, stolen + moat.Hour + moat.Time(r.ExpFloat64()*float64(4*moat.Day)), i})
		}
		l.Sources, l.Size = append(l.Sources, s), append(l.Size, distinct(w.had[s]))
		l.Overlap = append(l.Overlap, w.overlap(s, pool))
	}
	// Noise is about orders of the same weeks.
	if lo >= hi {
		lo, hi = 0, len(w.orders)
	}
	margin := len(w.orders) / 10
	lo, hi = max(0, lo-margin), min(len(w.orders), hi+margin)
	for len(l.Complaints) < p.Complaints {
		i := lo + r.IntN(hi-lo)
		if o := w.orders[i]; !taken[int32(i)] {
			taken[int32(i)] = true
			l.Complaints = append(l.Complaints, Complaint{o.id, o.at + moat.Day + moat.Time(r.ExpFloat64()*float64(5*moat.Day)), -1})
		}
	}
	r.Shuffle(len(l.Complaints), func(i, j int) { l.Complaints[i], l.Complaints[j] = l.Complaints[j], l.Complaints[i] })
	return l
}

func kind(r *rand.Rand) string {
	x := r.Float64()
	for _, k := range Kinds {
		if x -= k.Share; x < 0 {
			return k.Kind
		}
	}
	return Kinds[0].Kind
}

// choose returns a source and one touch of each order that may leak of it.
func (w *World) choose(r *rand.Rand, p Plan, n int, not []Source) (Source, []had) {
	if p.Theft == nil {
		return w.source(r, cmp.Or(p.Kind, kind(r)), n, not)
	}
	var pool []had
	for _, a := range p.Theft.Acts {
		for _, o := range a.Orders {
			if i, ok := w.place[o]; ok && !slices.ContainsFunc(pool, func(h had) bool { return h.order == i }) {
				pool = append(pool, had{i, a.Time})
			}
		}
	}
	c := p.Theft.Culprits[0]
	return Source{c.Kind.String(), p.Theft.Partner, c.ID}, pool
}

// distinct counts the orders of a list.
func distinct(list []had) (n int) {
	for i := range list {
		if i == 0 || list[i].order != list[i-1].order {
			n++
		}
	}
	return n
}

// source chooses a source of a kind that had enough in hand, and one touch of each order of what may leak.
func (w *World) source(r *rand.Rand, kind string, n int, not []Source) (Source, []had) {
	var list []Source
	for s, had := range w.had {
		if s.Kind == kind && distinct(had) >= max(40, 3*n) && !slices.Contains(not, s) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b Source) int { return cmp.Or(cmp.Compare(a.Partner, b.Partner), cmp.Compare(a.ID, b.ID)) })
	if len(list) == 0 { // nobody of this kind had as many
		return w.source(r, "account", n/2, not)
	}
	s := list[r.IntN(len(list))]
	for {
		from, to := w.start+moat.Time(r.Int64N(int64(w.end-w.start)*2/3)), w.end+1
		if r.IntN(4) == 0 {
			to = from + moat.Time(1+r.IntN(5))*moat.Day // a thief who comes and goes
		}
		var pool []had
		times := 0.0
		for _, h := range w.had[s] {
			if h.at < from || h.at >= to {
				continue
			}
			if k := len(pool); k == 0 || pool[k-1].order != h.order {
				pool, times = append(pool, h), 1
			} else if times++; r.Float64() < 1/times {
				pool[k-1] = h // any of its touches, each as likely
			}
		}
		if len(pool) >= 2*n {
			return s, pool
		}
	}
}

// overlap is how much of a pool the account that had most of it, besides s, had in hand.
func (w *World) overlap(s Source, pool []had) (most float64) {
	for x, list := range w.had {
		if x.Kind != "account" || x == s {
			continue
		}
		n, i := 0, 0
		for _, h := range pool {
			for i < len(list) && list[i].order < h.order {
				i++
			}
			if i < len(list) && list[i].order == h.order {
				n++
			}
		}
		most = max(most, float64(n)/float64(max(1, len(pool))))
	}
	return most
}
