package decision

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"

	"github.com/moat-platform/moat"
)

// index finds decisions by target. It is not safe for concurrent use.
type index struct {
	byID    map[string]*moat.Decision
	targets map[place][]*moat.Decision // the most severe first
	ranges  map[network][]*moat.Decision
	lengths map[string][]uint16 // partner → lengths of its ranges, see length
}

// ipv6 is what [length] adds to an IPv6 prefix length.
const ipv6 = 1000

type place struct{ partner, scope, value string }

type network struct {
	partner string
	prefix  netip.Prefix
}

func newIndex() index {
	return index{byID: map[string]*moat.Decision{}, targets: map[place][]*moat.Decision{},
		ranges: map[network][]*moat.Decision{}, lengths: map[string][]uint16{}}
}

// stronger orders decisions by severity, then the longer first, then by id.
func stronger(a, b *moat.Decision) int {
	return cmp.Or(cmp.Compare(b.Action, a.Action), cmp.Compare(b.Until, a.Until), cmp.Compare(a.ID, b.ID))
}

// put takes in a decision as it is now: in, or out when it is undone or waits.
func (x *index) put(d *moat.Decision) {
	if old, ok := x.byID[d.ID]; ok {
		x.remove(old)
	}
	if d.Undone != 0 || d.Approval != "" {
		return
	}
	v := *d
	x.byID[v.ID] = &v
	if p, ok := rangeOf(&v); ok {
		n := network{v.Partner, p}
		x.ranges[n] = insert(x.ranges[n], &v)
		if l := length(p); !slices.Contains(x.lengths[v.Partner], l) {
			x.lengths[v.Partner] = append(x.lengths[v.Partner], l)
		}
		return
	}
	at := place{v.Partner, v.Scope, v.Value}
	x.targets[at] = insert(x.targets[at], &v)
}

func (x *index) remove(d *moat.Decision) {
	delete(x.byID, d.ID)
	if p, ok := rangeOf(d); ok {
		drop(x.ranges, network{d.Partner, p}, d)
		return
	}
	drop(x.targets, place{d.Partner, d.Scope, d.Value}, d)
}

func insert(list []*moat.Decision, d *moat.Decision) []*moat.Decision {
	i, _ := slices.BinarySearchFunc(list, d, stronger)
	return slices.Insert(list, i, d)
}

func drop[K comparable](m map[K][]*moat.Decision, key K, d *moat.Decision) {
	list := slices.DeleteFunc(m[key], func(v *moat.Decision) bool { return v == d })
	if len(list) == 0 {
		delete(m, key)
	} else {
		m[key] = list
	}
}

// sweep forgets what is over, and prefix lengths that nothing has any more.
func (x *index) sweep(now moat.Time) {
	for _, d := range x.byID {
		if d.Until <= now {
			x.remove(d)
		}
	}
	clear(x.lengths)
	for n := range x.ranges {
		if l := length(n.prefix); !slices.Contains(x.lengths[n.partner], l) {
			x.lengths[n.partner] = append(x.lengths[n.partner], l)
		}
	}
}

// lists yields the decisions for a target, and for an ip those for the ranges
// that it lies in.
func (x *index) lists(partner string, t Target) iter.Seq[[]*moat.Decision] {
	return func(yield func([]*moat.Decision) bool) {
		if list := x.targets[place{partner, t.Scope, t.Value}]; len(list) > 0 && !yield(list) {
			return
		}
		if t.Scope != "ip" || len(x.lengths[partner]) == 0 {
			return
		}
		addr, err := netip.ParseAddr(t.Value)
		if err != nil {
			return
		}
		addr = addr.Unmap().WithZone("")
		for _, l := range x.lengths[partner] {
			if (l >= ipv6) != addr.Is6() {
				continue
			}
			p, err := addr.Prefix(int(l % ipv6))
			if err != nil {
				continue
			}
			if list := x.ranges[network{partner, p}]; len(list) > 0 && !yield(list) {
				return
			}
		}
	}
}

// length is a prefix length that also tells IPv6 from IPv4: 0 to 32 or, from
// ipv6 on, 0 to 128.
func length(p netip.Prefix) uint16 {
	if p.Addr().Is4() {
		return uint16(p.Bits())
	}
	return ipv6 + uint16(p.Bits())
}

func rangeOf(d *moat.Decision) (netip.Prefix, bool) {
	if d.Scope != "range" {
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(d.Value)
	return p.Masked(), err == nil
}
