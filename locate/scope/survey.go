package scope

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strings"
	"unsafe"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run"
)

// Bounds of an answer.
const (
	maxMask  = 32      // words that a mask of 32 bits tells apart, "other" among them
	maxWide  = 64      // and one of 64
	maxWords = 1 << 16 // shops and outlets that are told apart
	maxDays  = 1 << 12
	maxGroup = 100 // lines of a breakdown
)

// pass is a part of all orders: those whose key has n in its lowest bits. Its ids are kept.
type pass struct {
	ids  bool
	bits uint
	n    uint64
}

// survey is what was seen of a source, by several workers at a time.
type survey struct {
	f      *Finder
	tenant moat.Tenant
	pass   pass
	orders *orders

	partners, countries, outlets, shops, fields, how, to *words

	events, refused, unnamed, largest int64
	first, last                       moat.Time
	days                              map[moat.Time]*Day
	hands                             [maxWide]Hand // what the source itself handed on, by word of the destination
	damaged                           int
}

func newSurvey(f *Finder, p pass, tenant moat.Tenant) *survey {
	s := &survey{f: f, tenant: tenant, pass: p, partners: newWords(maxMask), countries: newWords(maxWide), outlets: newWords(maxWords), shops: newWords(maxWords),
		fields: newWords(maxMask), how: newWords(maxMask), to: newWords(maxWide), first: math.MaxInt64, days: map[moat.Time]*Day{}}
	s.orders = newOrders(f.cfg.MaxOrders)
	if p.bits > 0 {
		s.orders.most = math.MaxInt // a part is small enough
	}
	return s
}

// worker is one of those who read. What it counts goes to the survey at the end.
type worker struct {
	*survey
	sources run.Memo[origin]
	acts    run.Memo[did]
	lists   run.Memo[list]
	touch   run.Touch // of which a part is read
	one     sight
	named   int64
	batches [shards]batch
	mine    survey // only its figures
	day     *Day
}

func newWorker(s *survey) *worker {
	return &worker{survey: s, mine: survey{first: math.MaxInt64, days: map[moat.Time]*Day{}}}
}

// did is what an act means for its orders, origin a source, list a list of shops; see [sight].
type (
	did struct {
		counts, refused, masked bool
		fields                  uint32
		how, to                 uint8
		kind                    string
	}
	origin struct {
		outlet           uint32
		country, partner uint8
	}
	list struct {
		word uint32
		wide uint16
	}
)

// see takes one event in.
func (w *worker) see(r *run.Row) error {
	act, ok := w.acts.Get(r.Ref(run.PartAct))
	if !ok {
		var err error
		if act, err = w.did(r); err != nil {
			return err
		}
	}
	if !act.counts {
		return nil
	}
	m := &w.mine
	if act.refused {
		m.refused += r.Count
		return nil
	}
	from, err := w.from(r)
	if err != nil {
		return err
	}
	shops, err := w.list(r)
	if err != nil {
		return err
	}
	w.one = sight{at: r.Time, fields: act.fields, masked: act.masked, how: act.how, to: act.to, shops: shops.word, wide: shops.wide,
		country: from.country, partner: from.partner, outlet: from.outlet}
	w.named = 0
	if err := r.Orders(w.order); err != nil {
		return err
	}
	m.events++
	m.unnamed += max(r.Count-w.named, 0)
	m.largest = max(m.largest, r.Count)
	m.first, m.last = min(m.first, r.Time), max(m.last, r.Time)
	if day := r.Time - r.Time%moat.Day; w.day == nil || w.day.Day != day {
		w.day = m.dayOf(day)
	}
	w.day.Events++
	w.day.Records += r.Count
	if act.to != 0 {
		m.hands[act.to-1].merge(&Hand{Kind: act.kind, Events: 1, Records: r.Count, First: r.Time, Last: r.Time})
	}
	return nil
}

// order takes one id of an event in.
func (w *worker) order(id []byte) {
	if len(id) == 0 {
		return
	}
	w.named++
	name := unsafe.String(unsafe.SliceData(id), len(id))
	w.one.key = w.f.cfg.Ledger.Key(name)
	w.one.planted = w.f.cfg.Planted != nil && w.f.cfg.Planted(w.tenant, name)
	switch p := &w.pass; {
	case !p.ids:
		w.orders.add(&w.batches, &w.one, nil)
	case lowBits(w.one.key)&(1<<p.bits-1) == p.n:
		w.orders.add(&w.batches, &w.one, id[:min(len(id), 255)])
	}
}

// settle adds what was not added yet.
func (w *worker) settle() {
	for i := range w.batches {
		if b := &w.batches[i]; len(b.sights) > 0 {
			w.orders.addAll(&w.orders.shards[i], b)
		}
	}
}

// did tells what the act of an event means.
func (w *worker) did(r *run.Row) (d did, err error) {
	a, err := r.Act()
	if err != nil {
		return d, err
	}
	defer func() { w.acts.Set(r.Ref(run.PartAct), d) }()
	if !exposes[a.Type] {
		return d, nil
	}
	d.counts, d.refused, d.kind = true, a.Outcome != moat.Success, a.DestinationKind
	for _, f := range a.Fields {
		d.fields |= 1 << w.fields.of(f)
	}
	if d.fields == 0 {
		d.fields = 1 << w.fields.of("unspecified")
	}
	d.masked = a.Encrypted
	d.how = uint8(w.how.of(cmp.Or(a.Operation, a.Type.String())))
	if a.Type == moat.OrderTransmit {
		d.to = uint8(w.to.of(destinationOf(a)) + 1)
	}
	return d, nil
}

// from tells what the source of an event means.
func (w *worker) from(r *run.Row) (o origin, err error) {
	ref := r.Ref(run.PartSource)
	if o, ok := w.sources.Get(ref); ok {
		return o, nil
	}
	t := &w.touch
	if err = r.Part(run.PartSource, t); err != nil {
		return o, err
	}
	o.partner = uint8(w.partners.of(t.Partner))
	if t.IP != "" {
		o.country = uint8(w.countries.of(cmp.Or(w.f.cfg.Country(t.IP), "unknown")) + 1)
	}
	if t.Outlet != "" {
		o.outlet = w.outlets.of(t.Outlet) + 1
	}
	w.sources.Set(ref, o)
	return o, nil
}

// list gives the shops of an event a word.
func (w *worker) list(r *run.Row) (l list, err error) {
	ref := r.Ref(run.PartShops)
	if l, ok := w.lists.Get(ref); ok {
		return l, nil
	}
	if err = r.Part(run.PartShops, &w.touch); err != nil {
		return l, err
	}
	if shops := w.touch.Shops; len(shops) > 0 {
		l = list{w.shops.of(strings.Join(shops, "\x00")), uint16(len(shops))}
	}
	w.lists.Set(ref, l)
	return l, nil
}

func destinationOf(a *run.Act) string { return cmp.Or(a.Destination, "unnamed") }

// dayOf returns the line of a day; the days beyond the bound share the last one.
func (s *survey) dayOf(day moat.Time) *Day {
	d := s.days[day]
	if d == nil {
		if len(s.days) >= maxDays {
			day = 0
		}
		if d = s.days[day]; d == nil {
			d = &Day{Day: day}
			s.days[day] = d
		}
	}
	return d
}

// add adds what a worker counted.
func (s *survey) add(w *worker) {
	w.settle()
	m := &w.mine
	s.events, s.refused, s.unnamed = s.events+m.events, plus(s.refused, m.refused), plus(s.unnamed, m.unnamed)
	s.largest, s.first, s.last = max(s.largest, m.largest), min(s.first, m.first), max(s.last, m.last)
	for day, d := range m.days {
		t := s.dayOf(day)
		t.Events, t.Records = t.Events+d.Events, t.Records+d.Records
	}
	for i := range m.hands {
		s.hands[i].merge(&m.hands[i])
	}
}

// figures counts the orders under all that was seen of them.
func (s *survey) figures() *Scope {
	out := &Scope{Events: s.events, Refused: s.refused, Unnamed: s.unnamed, Last: s.last,
		Fields: []Field{}, Days: []Day{}, Deadlines: []Deadline{}}
	if s.events > 0 {
		out.First = s.first
	}
	level := s.orders.level.Load()
	if out.Estimated = level > 0; out.Estimated {
		out.Error = 1.2 / math.Sqrt(float64(s.f.cfg.MaxOrders))
	}
	one := int64(1) << level // what each order in the set stands for
	var fields, masked, partners, how [maxMask]int64
	var countries, to [maxWide]int64
	shops, outlets := make([]int64, len(s.shops.list)), make([]int64, len(s.outlets.list)+1)
	var day *Day
	s.orders.each(func(o *order) {
		if o.planted {
			out.Planted += one
			return
		}
		count(masked[:], uint64(o.masked&^o.plain), one)
		if !o.exposed() {
			out.Masked += one
			return
		}
		out.Orders += one
		if o.complained {
			out.Complained.Orders += one
		}
		count(fields[:], uint64(o.plain), one)
		count(partners[:], uint64(o.partners), one)
		count(how[:], uint64(o.how), one)
		count(to[:], o.to, one)
		count(countries[:], o.countries, one)
		if o.wide > 0 {
			shops[o.shops] += one
		}
		outlets[o.outlet] += one
		if at := o.first - o.first%moat.Day; day == nil || day.Day != at {
			day = s.dayOf(at)
		}
		day.Orders += one
	})
	out.Complained.Quiet = out.Orders - out.Complained.Orders
	out.People = People{Least: max(out.Orders, min(s.largest, plus(out.Orders, s.unnamed))), Most: plus(out.Orders, s.unnamed)}
	for i, name := range s.fields.list {
		if fields[i]+masked[i] > 0 {
			out.Fields = append(out.Fields, Field{name, fields[i], masked[i]})
		}
	}
	slices.SortFunc(out.Fields, func(a, b Field) int {
		return cmp.Or(cmp.Compare(b.Orders, a.Orders), cmp.Compare(b.Masked, a.Masked), cmp.Compare(a.Name, b.Name))
	})
	out.Partners, out.Operations, out.Countries = groupsOf(s.partners, partners[:]), groupsOf(s.how, how[:]), groupsOf(s.countries, countries[:])
	out.Shops, out.Outlets = s.shopGroups(shops), s.outletGroups(outlets)
	for i, name := range s.to.list {
		s.hands[i].Destination, s.hands[i].Source, s.hands[i].Orders = name, true, to[i]
	}
	for _, d := range s.days {
		out.Days = append(out.Days, *d)
	}
	slices.SortFunc(out.Days, func(a, b Day) int { return cmp.Compare(a.Day, b.Day) })
	return out
}

// count adds n to each figure whose bit is set.
func count(figures []int64, mask uint64, n int64) {
	for ; mask != 0; mask &= mask - 1 {
		figures[bits.TrailingZeros64(mask)] += n
	}
}

// groupsOf makes lines of the figures of words.
func groupsOf(w *words, figures []int64) []Group {
	counts := map[string]int64{}
	for i, n := range figures {
		if n > 0 {
			counts[w.list[i]] += n
		}
	}
	return sorted(counts)
}

// sorted returns the largest groups, the others as one.
func sorted(counts map[string]int64) []Group {
	out := []Group{}
	for name, n := range counts {
		out = append(out, Group{name, n})
	}
	slices.SortFunc(out, func(a, b Group) int { return cmp.Or(cmp.Compare(b.Orders, a.Orders), cmp.Compare(a.Name, b.Name)) })
	if len(out) <= maxGroup {
		return out
	}
	rest := Group{Name: other}
	for _, g := range out[maxGroup-1:] {
		rest.Orders = plus(rest.Orders, g.Orders)
	}
	return append(out[:maxGroup-1], rest)
}

// shopGroups counts an order under each shop of its narrowest event: which of them it is of, nobody says.
func (s *survey) shopGroups(lists []int64) []Group {
	counts := map[string]int64{}
	for word, n := range lists {
		if n == 0 {
			continue
		}
		for _, shop := range s.shopsOf(word) { // word 0, "other", stands for lists beyond the bound
			counts[shop] += n
		}
	}
	return sorted(counts)
}

// shopsOf returns the shops of a list.
func (s *survey) shopsOf(word int) []string {
	return strings.Split(s.shops.list[word], "\x00")
}

func (s *survey) outletGroups(outlets []int64) []Group {
	counts := map[string]int64{}
	for word, n := range outlets {
		if word > 0 && n > 0 {
			counts[s.outlets.list[word-1]] += n
		}
	}
	return sorted(counts)
}

// own tells whether a touch is the source's.
func own(q *Question, t *run.Source, a *run.Act) bool {
	switch q.Source.Kind {
	case moat.Account:
		return t.Actor == q.Source.ID && t.ActorKind != moat.ActorSystem
	case moat.App:
		return t.App == q.Source.ID
	case moat.Device:
		return t.Device == q.Source.ID
	case moat.IP:
		return t.IP == q.Source.ID
	case moat.Outlet:
		return t.Outlet == q.Source.ID
	case moat.Host:
		return a.Host == q.Source.ID
	case moat.Partner:
		return t.Partner == q.Source.ID
	case moat.Destination:
		return a.Destination == q.Source.ID
	}
	return false
}
