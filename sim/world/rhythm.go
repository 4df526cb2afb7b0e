package world

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/moat-platform/moat"
)

// bear makes the orders of a day, in all shops, and gives them their numbers.
func (w *World) bear(day int) {
	var born []*order
	sale := slices.Contains(w.sales, day)
	for _, s := range w.shops {
		s.fresh = s.fresh[:0]
		if p := s.home(); day >= 0 || p.phase > 0 {
			s.bear(w, day, sale)
			born = append(born, s.fresh...)
		}
	}
	if sale {
		w.note(saleDay)
	}
	slices.SortStableFunc(born, func(a, b *order) int { return cmp.Compare(a.at, b.at) })
	r := chance(w.cfg.Seed, "numbers", day)
	for _, o := range born {
		if o.shop.last > 0 {
			o.shop.last++
			o.id = strconv.FormatUint(o.shop.last, 10)
			continue
		}
		w.number += 1 + uint64(r.IntN(3)) // others sell, too
		o.id = strconv.FormatUint(w.number, 10)
	}
}

// home is whose clock the buyers of a shop live by.
func (s *shop) home() *partner { return s.system }

// bear makes the orders of a day, by time.
func (s *shop) bear(w *World, day int, sale bool) {
	p := s.home()
	r := chance(s.seed, "orders", day)
	week := p.weekday(day)
	total, mean := 0, 0
	for d := range w.rhythm {
		for _, n := range w.rhythm[d] {
			mean += n
			if d == week {
				total += n
			}
		}
	}
	factor := 7 * float64(total) / float64(mean)
	hours := &w.rhythm[week]
	if week == 5 { // the real shop was closed; others are not
		factor, hours = s.weekend, &w.rhythm[6]
	}
	factor *= math.Exp(0.15*r.NormFloat64() + s.drift*float64(min(day, 120)))
	if sale && s.sales {
		factor *= between(r, 10, 30)
	}
	n := count(r, s.rate*factor)
	for range n {
		hour := float64(weightedHour(r, hours)) + r.Float64() + s.shift
		if yes(r, s.evening) {
			hour = between(r, 18.5, 23.5)
		}
		o := &order{shop: s, at: p.at(day, 60*min(23.99, max(0, hour))), lines: uint8(min(60, 1+spread(r, 2, 0.9))), buyer: r.Uint32N(s.buyers)}
		o.canary = r.IntN(400) == 0
		s.fresh = append(s.fresh, o)
	}
	slices.SortStableFunc(s.fresh, func(a, b *order) int { return cmp.Compare(a.at, b.at) })
	s.recent = append(s.recent, s.fresh...)
	if over := len(s.recent) - s.keep - len(s.fresh); over > 0 {
		s.recent = slices.Clone(s.recent[over:])
	}
}

func weightedHour(r *rand.Rand, hours *[24]int) int {
	sum := 0
	for _, n := range hours {
		sum += n
	}
	at := r.IntN(sum)
	for h, n := range hours {
		if at -= n; at < 0 {
			return h
		}
	}
	return 12
}

// complain is what customers say of a day without anything behind it, or that nobody knows of.
func (w *World) complain(day int) {
	r := chance(w.cfg.Seed, "complaints", day)
	for range count(r, float64(len(w.shops))/40) {
		s := pick(r, w.shops)
		at := w.at(day) + moat.Time(between(r, 8, 22)*float64(moat.Hour))
		if list := until(s.recent, at-moat.Day, 200); len(list) > 0 {
			w.complaint(at, pick(r, list), pick(r, []string{"spam", "scam_sms", "other", "scam_call"}))
		}
	}
}

// complaint is a customer's, told by the platform, which knows whose app took the order.
func (w *World) complaint(at moat.Time, o *order, kind string) *moat.Event {
	e := w.mail.new()
	e.Time, e.Type, e.Orders, e.Shops, e.Kind, e.ContactedAt = at, moat.Complaint, []string{o.id}, []string{o.shop.id}, kind, at-moat.Time(o.buyer%7+1)*moat.Hour
	return w.mail.post(o.shop.system, e, nil)
}
