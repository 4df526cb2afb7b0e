package trace

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/moat-platform/moat"
)

// Warning says what to keep in mind when an answer is read.
type Warning struct {
	Code string `json:"code"` // stable, for programs
	Text string `json:"text"`
}

// The codes of warnings.
const (
	WarnFew        = "few_orders"        // so few that one more could change the answer
	WarnSampled    = "sampled"           // not all orders were looked at
	WarnCut        = "cut"               // there were more touches than are read
	WarnUnknown    = "unknown_orders"    // many orders were never seen
	WarnReporter   = "one_reporter"      // one reporter names most of the orders
	WarnFramed     = "framed"            // without one reporter's orders the first source would not be suspected: it is not named
	WarnFiler      = "reporter_had_them" // who reports the orders had them in hand, too
	WarnBurst      = "reported_at_once"  // many reports within minutes
	WarnShop       = "one_shop"          // all orders are of one shop
	WarnSkew       = "clock_skew"        // touches just after the leak were counted
	WarnMasked     = "masked_only"       // the first source saw no fields in clear
	WarnSmall      = "small_population"  // there is little to compare with
	WarnOwnOnly    = "own_touches_only"  // a partner sees only its own
	WarnNoLeakTime = "no_leak_time"      // touches after the leak may have counted
	WarnBlind      = "blind_hands"       // a partner tells how many orders were in hand, and not which
)

// warn adds the warnings to an answer.
func (c *trial) warn(a *Answer) {
	add := func(code, format string, args ...any) {
		a.Warnings = append(a.Warnings, Warning{code, fmt.Sprintf(format, args...)})
	}
	n := len(c.orders)
	if n > 0 && n < 10 {
		add(WarnFew, "only %d known orders: one complaint more or less could change the answer", n)
	}
	if c.unique > MaxLooked {
		add(WarnSampled, "%d of %d orders were looked at, chosen by chance: more would not make the answer better", MaxLooked, c.unique)
	}
	if c.cut {
		add(WarnCut, "some orders have more touches than are read: the oldest of each file were")
	}
	if u := len(c.unknown); u > 0 && 5*u >= u+n {
		add(WarnUnknown, "%d of %d orders were never seen here: they may have leaked elsewhere, or their touches are older than what is kept", u, u+n)
	}
	if n == 0 {
		return
	}
	c.warnTimes(add)
	c.warnReporters(a, add)
	c.warnPopulation(a, add)
}

// blindBack is how long before a leak hands are looked for if no order of it is known.
const blindBack = 28 * moat.Day

// seen is the window in which those who had the orders in hand had them: from their first day to the last complaint.
func (c *trial) seen() (from, to moat.Time) {
	for i := range c.q.Orders {
		if at := cmp.Or(c.q.Orders[i].At, c.q.At); at != 0 {
			if from == 0 || at < from {
				from = at
			}
			to = max(to, at)
		}
	}
	for i := range c.orders {
		to = max(to, c.orders[i].At)
	}
	if to = max(to, c.to); c.to != 0 {
		from = c.from
	} else {
		from = max(0, from-blindBack, c.q.Since)
	}
	if c.q.Until != 0 {
		to = min(to, c.q.Until)
	}
	return from, to
}

// Of which partners it is told in words that they do not name orders: the largest, if it is a tenth of what they tell of.
const (
	shownBlind = 3
	blindShare = 10
)

// warnBlind tells of hands that cannot be traced.
func warnBlind(a *Answer, from, to moat.Time) {
	when := ""
	if to != 0 {
		when = fmt.Sprintf(" from %s to %s", from.Std().Format(time.DateOnly), to.Std().Format(time.DateOnly))
	}
	told := 0
	for _, x := range a.Blind {
		if x.Records*blindShare < x.Of {
			continue
		}
		if told++; told > shownBlind {
			continue
		}
		least := ""
		if x.More {
			least = "at least "
		}
		a.Warnings = append(a.Warnings, Warning{WarnBlind, fmt.Sprintf("partner %s told of %s%d records that it had in hand%s without naming the orders: they cannot be traced, and nobody there is found by them",
			x.Partner, least, x.Records, when)})
	}
	if n := told - shownBlind; n > 0 {
		a.Warnings = append(a.Warnings, Warning{WarnBlind, fmt.Sprintf("%d more partners do not name orders, either", n)})
	}
}

func (c *trial) warnTimes(add func(string, string, ...any)) {
	late, without := 0, 0
	times := make([]moat.Time, 0, len(c.orders))
	for i := range c.orders {
		if c.orders[i].late {
			late++
		}
		if c.orders[i].At == 0 {
			without++
		} else {
			times = append(times, c.orders[i].At)
		}
	}
	if 2*without > len(c.orders) {
		add(WarnNoLeakTime, "%d orders came without the time of their leak: touches after it may have counted", without)
	}
	if 5*late >= len(c.orders) {
		add(WarnSkew, "%d orders were touched up to %d s after they leaked, which counted half: clocks of partners may differ", late, c.q.Skew/moat.Second)
	}
	slices.Sort(times)
	if n := len(times); n >= 10 {
		// Nine tenths of the reports in ten minutes; a list that was found has one time for all.
		if m := n * 9 / 10; times[m-1]-times[0] < 10*moat.Minute && times[0] != times[n-1] {
			add(WarnBurst, "%d of %d reports were made within ten minutes: customers do not complain like this", m, n)
		}
	}
}

// mostBy returns who reports most of the orders, how many, how many reporters there are, and how many orders they report.
func (c *trial) mostBy() (first string, most, reporters, named int) {
	by := map[string]int{}
	for i := range c.orders {
		if r := c.orders[i].By; r != "" {
			named++
			if by[r]++; by[r] > by[first] || by[r] == by[first] && r < first {
				first = r
			}
		}
	}
	return first, by[first], len(by), named
}

// unframe takes back the name of the only source that is named if it would not be suspected without what one of several reporters says.
func (c *trial) unframe() {
	first, most, reporters, _ := c.mostBy()
	at := -1
	for i := range c.sources {
		if c.sources[i].Named && at >= 0 {
			return
		} else if c.sources[i].Named {
			at = i
		}
	}
	if at < 0 || most < namedHits || reporters < 2 {
		return
	}
	s := &c.sources[at]
	if x := s.lead; x.prior+c.without(x, first) < 0 {
		s.Named, s.Explains, c.framer = false, 0, first
		s.Unnamed = fmt.Sprintf("without the %d orders that %q alone reports nothing would lead to it: others must confirm it", most, first)
		c.settleOrders(nil)
	}
}

// warnReporters looks for somebody who names orders to frame somebody else.
func (c *trial) warnReporters(a *Answer, add func(string, string, ...any)) {
	first, most, reporters, named := c.mostBy()
	if most < namedHits {
		return
	}
	switch {
	case reporters > 1 && 3*most > named:
		add(WarnReporter, "%d of %d reported orders come from one reporter, %q: they count less, and deserve a look before anybody is accused", most, named, first)
	case reporters == 1 && most == len(c.orders):
		add(WarnReporter, "all %d orders come from one reporter, %q: have others confirm them before anybody is accused", most, first)
	}
	filer := 0
	for i := range c.orders {
		if o := &c.orders[i]; o.By == first && slices.ContainsFunc(o.touch, func(t Touch) bool { return t.Source.Partner == first || t.Source.Actor == first }) {
			filer++
		}
	}
	if 10*filer >= 9*most {
		add(WarnFiler, "%q, who reports %d of the orders, had nearly all of them in hand, too", first, most)
	}
	if c.framer != "" {
		add(WarnFramed, "without the orders that %q reports, %s would not be suspected", first, a.Sources[0].Name)
	}
}

// without returns the evidence against x without the orders of a reporter.
func (c *trial) without(x *candidate, reporter string) float64 {
	var list []pattern
	at := 0
	for i := range c.orders {
		p := pattern{weight: c.orders[i].Weight, ratio: []float64{0}}
		for at < len(x.hits) && x.hits[at].order < i {
			at++
		}
		if at < len(x.hits) && x.hits[at].order == i {
			p.ratio[0] = c.ratio(x.whole(), &x.hits[at])
		}
		if c.orders[i].By != reporter {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return -1
	}
	return logEvidence(list, 1).log
}

func (c *trial) warnPopulation(a *Answer, add func(string, string, ...any)) {
	shops := map[string]int{}
	for i := range c.orders {
		for _, s := range c.orders[i].shops {
			shops[s]++
		}
	}
	var all []string
	for s, n := range shops {
		if n == len(c.orders) && n >= 5 {
			all = append(all, s)
		}
	}
	if len(all) == 1 {
		add(WarnShop, "all orders are of shop %s: if only its customers were heard, who works for it stands out by that alone", all[0])
	}
	if c.population.orders < 10*float64(len(c.orders)) {
		add(WarnSmall, "only about %.0f orders of that time are known, and %d of them leaked: chance is hard to tell from cause", c.population.orders, len(c.orders))
	}
	if len(a.Sources) > 0 && a.Sources[0].Shown < 0.2 && a.Sources[0].Named {
		add(WarnMasked, "the first source saw these orders masked or by their ids only: look for who can unmask them beside it")
	}
	if c.own != "" {
		add(WarnOwnOnly, "only touches of partner %s were looked at: a source elsewhere would not be seen", c.own)
	}
}
