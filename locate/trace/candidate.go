package trace

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/moat-platform/moat"
)

// candidate is an entity that touched orders.
type candidate struct {
	Owner
	partners []located // where it was seen with leaked orders; of those that may be at many
	hits     []hit     // leaked orders, by place, as far as they are not taken
	every    []hit     // with those that are; nil if none is
	service  bool      // it is the account of a program
	sampled  []float64 // by bin: what the controls that it touched showed it, summed
	controls []int32   // that it touched, by number
	bins     []uint8   // of each of these
	sights   []span    // and when it had each in hand
	anytime  float64   // what all orders of the sample that it touched showed it, whenever they were born or leaked

	exposed   float64         // orders that it had in hand, each weighed by what was shown
	touched   float64         // orders that it had in hand
	exact     bool            // both were counted, not estimated
	uncounted bool            // it was tried, and there is too much
	guessed   float64         // exposed before it was counted
	when      []span          // when it had each in hand, of those that were looked at
	odds      *[slots]float64 // that what was in hand in a slot is to be compared; nil means that all of when is
	alone     float64         // log of the Bayes factor of it being the only source, against none
	full      float64         // the same if it leaked all of the time
	inWindow  float64         // and if it leaked in some window only
	window    span            // the likeliest of them
	prior     float64         // log of its prior odds
	p         float64
	adjusted  float64
}

// located is how many touches of leaked orders were at a partner.
type located struct {
	partner string
	touches int
}

// hit is a leaked order that a candidate touched before it leaked.
type hit struct {
	order int
	shown float64
	when  span
	times []moat.Time // the first of them
}

const (
	kinds       = int(moat.EntityKinds) + 2
	destination = int(moat.EntityKinds)     // its slot
	version     = int(moat.EntityKinds) + 1 // and that of a version
	maxTimes    = 16                        // of one hit
)

// Version is the kind of a version of an app; its id is that of the app, a space and the version. It is no entity of the
// event contract and has no diary.
const Version moat.EntityKind = 254

// counted tells whether what is of a kind can be counted in a diary.
func counted(k moat.EntityKind) bool { return k != moat.Partner && k != Version }

// slot is the place of a kind in tables.
func slot(k moat.EntityKind) int {
	if k == moat.Destination {
		return destination
	}
	if k == Version {
		return version
	}
	return int(k)
}

// kindStats counts how many entities of a kind there are.
type kindStats struct {
	seen, once, twice float64
	inside            map[string]float64 // those that were seen, by partner
}

// all estimates how many there are, with those not seen (Chao 1984).
func (k *kindStats) all() float64 {
	return max(1, k.seen+k.once*(k.once-1)/(2*(k.twice+1)))
}

// shares is the prior probability that a source is of a kind: people steal more often than servers are broken into.
var shares = [kinds]float64{moat.Account: 0.35, moat.Device: 0.15, moat.IP: 0.10, moat.App: 0.13, version: 0.02, moat.Host: 0.08,
	moat.Outlet: 0.05, destination: 0.07, moat.Partner: 0.05}

// serviceShare is that of the account of a program, which is as likely as a server.
const serviceShare = 0.08

// of returns the candidates that a touch points at.
func (c *trial) of(t *Touch) (bySource, byAct []int) {
	s := t.Source
	bySource, ok := c.bySource[s]
	if !ok {
		add := func(kind moat.EntityKind, partner, id string) {
			if id != "" {
				bySource = append(bySource, c.candidate(Owner{kind, partner, id}))
			}
		}
		if s.ActorKind != moat.ActorSystem {
			add(moat.Account, s.Partner, s.Actor)
			if s.ActorKind == moat.ActorService && s.Actor != "" {
				c.cands[bySource[0]].service = true
			}
		}
		add(moat.App, s.Partner, s.App)
		if s.App != "" && s.Version != "" {
			add(Version, s.Partner, s.App+" "+s.Version)
		}
		add(moat.Outlet, s.Partner, s.Outlet)
		add(moat.IP, "", s.IP)
		if strings.Trim(s.Device, "0") != "" { // a device of zeroes only means none
			add(moat.Device, "", s.Device)
		}
		add(moat.Partner, s.Partner, s.Partner)
		c.bySource[s] = bySource
	}
	key := actOf{t.Act, s.Partner}
	byAct, ok = c.byAct[key]
	if !ok {
		if t.Act.Host != "" {
			byAct = append(byAct, c.candidate(Owner{moat.Host, s.Partner, t.Act.Host}))
		}
		if t.Act.Destination != "" {
			byAct = append(byAct, c.candidate(Owner{moat.Destination, "", t.Act.Destination}))
		}
		c.byAct[key] = byAct
	}
	return bySource, byAct
}

func (c *trial) candidate(o Owner) int {
	i, ok := c.index[o]
	if !ok {
		i = len(c.cands)
		c.index[o] = i
		if len(c.spare) == 0 {
			c.spare = make([]candidate, 256)
		}
		x := &c.spare[0]
		c.spare, x.Owner = c.spare[1:], o
		c.cands = append(c.cands, x)
	}
	return i
}

// admit turns the touches of the leaked orders into hits of candidates.
func (c *trial) admit() {
	var lags []moat.Time
	for i := range c.orders {
		o := &c.orders[i]
		slices.SortFunc(o.touch, func(a, b Touch) int { return cmp.Compare(a.Time, b.Time) })
		for k := range o.touch {
			t := &o.touch[k]
			if c.counts(t, o.At) > 0 {
				o.late = o.late || o.At != 0 && t.Time > o.At
				lags = append(lags, t.Time-o.birth)
			}
		}
	}
	slices.Sort(lags)
	if n := len(lags); n > 0 {
		c.lag = lags[n*95/100]
	}
	c.weigh()
	c.strata()
	for i := range c.orders {
		o := &c.orders[i]
		for k := range o.touch {
			t := &o.touch[k]
			shown := c.counts(t, o.At)
			if shown == 0 {
				continue
			}
			when := slotOf(t.Time, c.from, c.to)
			a, b := c.of(t)
			for _, list := range [2][]int{a, b} {
				for _, x := range list {
					if c.cands[x].hit(i, shown, when, t) {
						o.holders[slot(c.cands[x].Kind)]++
					}
				}
			}
		}
	}
}

// counts tells how much a touch counts for an order that leaked at a time: nothing after it, half
// within what clocks may be apart.
func (c *trial) counts(t *Touch, leak moat.Time) float64 {
	shown := Shown(t.Act)
	switch {
	case leak == 0 || t.Time <= leak:
		return shown
	case t.Time <= leak+c.q.Skew:
		return shown / 2
	}
	return 0
}

// hit notes a touch of a leaked order and tells whether it is the first of that order.
func (x *candidate) hit(order int, shown float64, when span, t *Touch) (first bool) {
	if n := len(x.hits); n == 0 || x.hits[n-1].order != order {
		x.hits = append(x.hits, hit{order: order})
		first = true
	}
	h := &x.hits[len(x.hits)-1]
	h.shown, h.when = max(h.shown, shown), h.when|when
	if len(h.times) < maxTimes {
		h.times = append(h.times, t.Time)
	}
	if x.Partner == "" {
		x.at(t.Source.Partner)
	}
	return first
}

// at notes that x was met at a partner.
func (x *candidate) at(partner string) {
	for i := range x.partners {
		if x.partners[i].partner == partner {
			x.partners[i].touches++
			return
		}
	}
	if len(x.partners) < 64 {
		x.partners = append(x.partners, located{partner, 1})
	}
}

// owners returns the partners at which x is: of one that was met at several, those of a fifth of its touches or more.
func (x *candidate) owners() (list []string) {
	if x.Partner != "" {
		return []string{x.Partner}
	}
	all := 0
	for _, p := range x.partners {
		all += p.touches
	}
	for _, p := range x.partners {
		if 5*p.touches >= all && p.partner != "" {
			list = append(list, p.partner)
		}
	}
	slices.Sort(list)
	return list
}

// weigh sets how much each order counts: what one reporter names of many counts less, so that
// nobody makes a source by naming its orders again and again.
func (c *trial) weigh() {
	by, all := map[string]float64{}, 0.0
	for i := range c.orders {
		o := &c.orders[i]
		all += o.Weight
		if o.By != "" {
			by[o.By] += o.Weight
		}
	}
	for i := range c.orders {
		o := &c.orders[i]
		o.weight = o.Weight
		if sum := by[o.By]; len(by) > 1 && sum > 0 {
			if most := max(3, all/5); sum > most {
				o.weight *= most / sum
			}
		}
	}
}

// strata finds the time of birth of the orders that the leaked ones are compared with.
func (c *trial) strata() {
	births := make([]moat.Time, len(c.orders))
	for i := range c.orders {
		births[i] = c.orders[i].birth
	}
	slices.Sort(births)
	n := len(births)
	if n == 0 {
		return
	}
	pad := max(moat.Hour, (births[n-1]-births[0])/20)
	c.born = [2]moat.Time{births[0] - pad, births[n-1] + pad}
	c.edges = []moat.Time{c.born[0]}
	c.from = max(0, c.born[0], c.q.Since)
	c.to = c.born[1] + c.lag + moat.Hour
	if c.q.Until != 0 {
		c.to = min(c.to, c.q.Until)
	}
}

// bin returns the bin of a birth, or -1 if no leaked order was born about then.
func (c *trial) bin(birth moat.Time) int {
	if birth < c.born[0] || birth > c.born[1] {
		return -1
	}
	i, ok := slices.BinarySearch(c.edges, birth)
	if !ok {
		i--
	}
	return i
}

// compare reads a sample of other orders of the same time, the controls: what touched them tells how
// often each candidate would be met by chance.
func (c *trial) compare(ctx context.Context, tenant moat.Tenant, rows Rows) error {
	if len(c.orders) == 0 {
		return nil
	}
	found := map[uint64][]Touch{}
	back, n := max(3*moat.Day, c.lag), controls
	if born := c.born[1] - c.born[0]; born > back { // some of those that are found will be too old or too young
		n = int(min(2*controls, controls*float64(c.to-c.from+back)/float64(born)))
	}
	for {
		share, err := rows.Sample(ctx, tenant, n, max(0, c.from-back), c.to, func(order uint64, t *Touch) error {
			if t.Act.Type == moat.Complaint || t.Act.Type == moat.CanaryTouch || len(found[order]) >= maxPerID {
				return nil
			}
			found[order] = append(found[order], *t)
			return nil
		})
		if err != nil {
			return err
		}
		c.population.share = share
		of := c.usable(found)
		if of >= 3*controls/4 || share >= 1 || n == 2*controls {
			break
		}
		n = min(2*controls, (n+1)*controls/max(1, of))
		clear(found) // the same ones will come again, with others
	}
	c.divide(found)
	c.sample(found)
	c.density()
	return nil
}

// usable counts the orders that were born when the leaked ones were.
func (c *trial) usable(found map[uint64][]Touch) (n int) {
	for _, touches := range found {
		if c.bin(born(touches)) >= 0 {
			n++
		}
	}
	return n
}

// born is when an order was first seen.
func born(touches []Touch) moat.Time {
	first := touches[0].Time
	for i := range touches {
		first = min(first, touches[i].Time)
	}
	return first
}

// sample takes in the controls.
func (c *trial) sample(found map[uint64][]Touch) {
	order := make([]uint64, 0, len(found))
	for k := range found {
		order = append(order, k)
	}
	slices.Sort(order)
	shown := &c.tally[0]
	var met, all [slots]float64
	for _, k := range order {
		touches := found[k]
		birth := born(touches)
		bin, leak := c.bin(birth), moat.Time(0)
		if bin >= 0 {
			c.population.found++
			c.population.bins[bin]++
			leak = c.cutoff(bin, birth, k)
			c.usual(bin, touches, leak)
		}
		c.anytime(touches, bin >= 0, leak, &met, &all)
		if bin < 0 {
			continue
		}
		shown.clear()
		for i := range touches {
			w := c.counts(&touches[i], leak)
			if w == 0 {
				continue
			}
			a, b := c.of(&touches[i])
			at := slotOf(touches[i].Time, c.from, c.to)
			for _, list := range [2][]int{a, b} {
				for _, x := range list {
					shown.note(x, w, at)
				}
			}
		}
		for _, x := range shown.met {
			s := c.cands[x]
			if s.sampled == nil {
				s.sampled = make([]float64, len(c.edges))
			}
			s.sampled[bin] += shown.most[x]
			s.bins, s.sights = append(s.bins, uint8(bin)), append(s.sights, shown.when[x])
			s.controls = append(s.controls, int32(c.population.found))
			s.when = append(s.when, shown.when[x])
		}
	}
	sum, of := 1.0, 1.0
	for i := range met {
		sum, of = sum+met[i], of+all[i]
	}
	for i := range met {
		c.population.inside[i] = (met[i] + 5*sum/of) / (all[i] + 5)
	}
}

// fair is the share of what x had in hand in the window that is to be compared with the leaked orders: born
// when they were, and touched before it would have leaked. It is first what is usual at the times of x; what the sample says
// of x itself counts more, the more of it there is.
func (c *trial) fair(x *candidate) float64 {
	met := 0.0
	for _, m := range x.when {
		met += c.population.inside[m.first()]
	}
	met *= 5 / float64(max(1, len(x.when)))
	for _, s := range x.sampled {
		met += s
	}
	return min(1, met/(5+x.anytime))
}

// anytime notes what an order of the sample showed to whom in the window, and of how much of that in each slot it is to be
// compared with the leaked orders.
func (c *trial) anytime(touches []Touch, born bool, leak moat.Time, met, all *[slots]float64) {
	shown := &c.tally[1]
	shown.clear()
	for i := range touches {
		if t := &touches[i]; t.Time >= c.from && t.Time < c.to {
			if w := Shown(t.Act); w > 0 {
				at := slotOf(t.Time, c.from, c.to).first()
				if all[at] += w; born {
					met[at] += c.counts(t, leak)
				}
				a, b := c.of(t)
				for _, list := range [2][]int{a, b} {
					for _, x := range list {
						shown.note(x, w, 0)
					}
				}
			}
		}
	}
	for _, x := range shown.met {
		c.cands[x].anytime += shown.most[x]
	}
}

// showing is what one order showed to candidates, by their number, and when. For each of thousands of orders it is cleared and filled again,
// which takes a map ten times as long.
type showing struct {
	met  []int // whom, in the order in which they were met
	most []float64
	when []span
}

// note notes that something was shown: above 0.
func (s *showing) note(x int, shown float64, when span) {
	if x >= len(s.most) {
		n := x + 1 + len(s.most)
		s.most, s.when = append(s.most, make([]float64, n-len(s.most))...), append(s.when, make([]span, n-len(s.when))...)
	}
	if s.most[x] == 0 {
		s.met = append(s.met, x)
	}
	s.most[x], s.when[x] = max(s.most[x], shown), s.when[x]|when
}

func (s *showing) clear() {
	for _, x := range s.met {
		s.most[x], s.when[x] = 0, 0
	}
	s.met = s.met[:0]
}

// cutoff returns when a control would have leaked: as long after its birth as one of the leaked orders of its bin, each as likely. Whoever
// takes the next in a list that is sorted by when complaints came takes those of the impatient.
func (c *trial) cutoff(bin int, birth moat.Time, order uint64) moat.Time {
	list := c.byBin[bin]
	if len(list) == 0 {
		return 0
	}
	o := &c.orders[list[order*0x9e3779b97f4a7c15>>32%uint64(len(list))]]
	if o.At == 0 {
		return 0
	}
	return birth + o.At - o.birth
}

// density finds how many orders there were of each bin, and how many entities of each kind there are.
func (c *trial) density() {
	leaks := make([]float64, len(c.edges))
	for i := range c.orders {
		leaks[c.orders[i].bin]++
	}
	for b, n := range leaks {
		c.sizes = append(c.sizes, max(float64(c.population.bins[b])/c.population.share, n))
		c.population.orders += c.sizes[b]
	}
	c.left = len(c.orders)
	c.noise()
	for _, x := range c.cands {
		k := &c.kinds[slot(x.Kind)]
		k.seen++
		if k.inside == nil {
			k.inside = map[string]float64{}
		}
		if p := x.owners(); len(p) == 1 {
			k.inside[p[0]]++
		}
		switch len(x.hits) + len(x.controls) {
		case 1:
			k.once++
		case 2:
			k.twice++
		}
	}
}

// noise finds how likely noise picks one certain order, by bin, of those that are left.
func (c *trial) noise() {
	c.background, c.leaks = make([]float64, len(c.edges)), make([]float64, len(c.edges))
	for i := range c.orders {
		if !c.orders[i].taken {
			c.leaks[c.orders[i].bin]++
		}
	}
	for b, n := range c.leaks {
		c.background[b] = (n + 1) / float64(c.left+len(c.edges)) / c.sizes[b]
	}
}

// estimate sets how many orders a candidate had in hand from the controls that it touched.
func (c *trial) estimate(x *candidate) {
	mean := 0.0
	for _, h := range x.hits {
		mean += h.shown / float64(len(x.hits))
	}
	if !x.exact {
		x.exposed = 0
		sum := 0.0
		for b, s := range x.sampled {
			sum += s
			x.exposed += s / float64(max(1, c.population.bins[b])) * max(float64(c.population.bins[b])/c.population.share, 1)
		}
		// One more, as if the next control were touched: nothing is ever quite unlikely.
		x.exposed += mean / c.population.share
		if len(x.controls) > 0 {
			mean = sum / float64(len(x.controls))
		}
		x.touched = max(x.exposed/max(mean, 1e-9), float64(len(x.hits)))
	}
	c.floor(x)
}

// floor sees to it that a candidate had in hand at least what leaked of it.
func (c *trial) floor(x *candidate) {
	sum := 0.0
	for _, h := range x.hits {
		sum += h.shown
	}
	x.exposed = max(x.exposed, sum)
	x.touched = max(x.touched, float64(len(x.hits)))
}

// ratios returns how much likelier each hit is if x is the source than if it is noise.
func (c *trial) ratio(x view, h *hit) float64 {
	if h.when&x.when == 0 {
		return 0
	}
	o := &c.orders[h.order]
	r := h.shown / x.exposed / c.background[o.bin]
	if o.canary != nil {
		r /= plantedNoise
	}
	if c.mix != nil {
		r /= c.mix[h.order]
	}
	return r
}

// plantedNoise is how much less likely than any other order a canary is among leaked ones without a leak of its
// channel: nobody buys under its id, but somebody may mistype one.
const plantedNoise = 1e-3

// measure counts what the most likely candidates really had in hand, where the sample is too coarse to tell.
func (c *trial) measure(ctx context.Context, tenant moat.Tenant, rows Rows) error {
	if len(c.orders) == 0 {
		return nil
	}
	least := 2
	if len(c.orders) < 4 {
		least = 1
	}
	for _, x := range c.cands {
		if len(x.hits) >= least {
			c.estimate(x)
			c.weighAlone(x, false)
			c.top = append(c.top, x)
		}
	}
	c.likelyFirst()
	c.pool = slices.Clone(c.top)
	c.top = c.top[:min(len(c.top), maxCandidates)]
	var coarse []*candidate
	for _, x := range c.top {
		if len(x.controls) < sureControls && counted(x.Kind) && len(coarse) < maxMeasured && c.hopeful(x) {
			coarse = append(coarse, x)
		}
	}
	if err := c.count(ctx, tenant, rows, coarse); err != nil {
		return err
	}
	c.even()
	for i, x := range c.top {
		c.weighAlone(x, i < maxWatched)
	}
	c.likelyFirst()
	// What is estimated well in all is not in a window: the likeliest of those are counted, too.
	coarse = coarse[:0]
	for _, x := range c.top[:min(len(c.top), maxUnits)] {
		if !x.exact && counted(x.Kind) && x.inWindow > x.full-windowLog && len(coarse) < maxMeasured/4 {
			coarse = append(coarse, x)
		}
	}
	if err := c.count(ctx, tenant, rows, coarse); err != nil {
		return err
	}
	for _, x := range coarse {
		c.weighAlone(x, true)
	}
	c.likelyFirst()
	c.correct(c.top)
	return nil
}

// hopeful tells whether x may be a source at all if it had as little in hand as the controls allow. Of who is not, nothing needs to
// be counted.
func (c *trial) hopeful(x *candidate) bool {
	was := *x
	x.exposed *= least(len(x.controls)) / float64(len(x.controls)+1)
	c.floor(x)
	c.weighAlone(x, true)
	ok := x.alone+x.prior > -hopeLog
	*x = was
	return ok
}

// least is below what n events of chance come from in all but 2.5 % of cases (Wilson and Hilferty 1931).
func least(n int) float64 {
	if n == 0 {
		return 0
	}
	f := float64(n)
	return f * math.Pow(max(0, 1-1/(9*f)-1.96/(3*math.Sqrt(f))), 3)
}

// most is above what n events of chance come from in all but 2.5 % of cases.
func most(n int) float64 {
	f := float64(n + 1)
	return f * math.Pow(1-1/(9*f)+1.96/(3*math.Sqrt(f)), 3)
}

// hopeLog is how much likelier noise alone must be (e^2) than a candidate that is given up.
const hopeLog = 2

// count finds out what candidates really had in hand.
func (c *trial) count(ctx context.Context, tenant moat.Tenant, rows Rows, list []*candidate) error {
	owners := make([]Owner, len(list))
	for i, x := range list {
		owners[i] = x.Owner
	}
	had, err := rows.Exposures(ctx, tenant, owners, c.from, c.to)
	if err != nil {
		return err
	}
	for i, x := range list {
		if e := &had[i]; e.Known && e.Orders > 0 {
			x.guessed = x.exposed
			x.exact, x.when, x.odds = true, make([]span, len(e.When)), &c.population.inside
			for i, m := range e.When {
				x.when[i] = span(m)
			}
			x.touched, x.exposed = float64(e.Orders)*c.fair(x), e.Weight*c.fair(x)
			c.estimate(x)
		}
	}
	return nil
}

// even scales the estimates of candidates that had nearly the same orders in hand as one that was
// counted by what the sample was wrong there: a partner with one app is as large as the app.
func (c *trial) even() {
	for _, x := range c.top {
		if x.exact || len(x.controls) > 4*sureControls {
			continue
		}
		best, like := 1.0, 0.7
		for _, y := range c.top {
			if !y.exact || y.guessed == 0 {
				continue
			}
			if both := common(x.controls, y.controls); float64(both) >= like*float64(len(x.controls)+len(y.controls)-both) && both > 0 {
				like = float64(both) / float64(len(x.controls)+len(y.controls)-both)
				best = min(2, max(0.5, y.exposed/y.guessed))
			}
		}
		x.exposed, x.touched = x.exposed*best, x.touched*best
		c.floor(x)
	}
	for _, x := range c.top {
		if x.exact {
			continue
		}
		for _, y := range c.top { // who had all that another had in hand had not less
			if y.exact && y.exposed > x.exposed && len(x.hits) >= len(y.hits) && alike(x, y) == len(y.hits)+len(y.controls) {
				x.exposed, x.touched = y.exposed, max(x.touched, y.touched)
			}
		}
	}
}

// common counts the numbers that two rising lists share.
func common(a, b []int32) (n int) {
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] < b[j]:
			i++
		case a[i] > b[j]:
			j++
		default:
			i, j, n = i+1, j+1, n+1
		}
	}
	return n
}

const (
	maxCandidates = 512
	maxMeasured   = 64
	maxWatched    = 192 // whose windows are looked for
	sureControls  = 60  // touched controls from which their number is exact enough: within a seventh
)

// likelyFirst sorts the candidates by how well each alone explains the leak.
func (c *trial) likelyFirst() {
	slices.SortStableFunc(c.top, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(b.alone+b.prior, a.alone+a.prior), cmp.Compare(len(b.hits), len(a.hits)), compareOwners(a.Owner, b.Owner))
	})
}

func compareOwners(a, b Owner) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Partner, b.Partner), cmp.Compare(a.ID, b.ID))
}

// weighAlone finds how well x alone explains the leak, in a window too if it is watched.
func (c *trial) weighAlone(x *candidate, watched bool) {
	mean := 0.0
	for i := range x.hits {
		mean += x.hits[i].shown
	}
	mean /= float64(max(1, len(x.hits)))
	k := slot(x.Kind)
	// Who saw masked data only is an unlikely source, however well it fits.
	share := shares[k]
	if x.service {
		share = serviceShare
	}
	x.prior = math.Log(max(share, 1e-3)) + math.Log(c.chosen(x)) + 1.5*math.Log(max(mean, 1e-3))
	c.watch(x, watched)
}

// chosen is the prior probability that the source is x if it is of x's kind: half of it as likely as any other, half as likely as any other
// of a partner that is as likely as any other. Else a partner of one clerk would be likelier than the clerk, since there are fewer partners than clerks.
func (c *trial) chosen(x *candidate) float64 {
	k := &c.kinds[slot(x.Kind)]
	any := 1 / k.all()
	p := x.owners()
	if len(p) != 1 || x.Kind == moat.Partner {
		return any
	}
	return (any + 1/c.kinds[moat.Partner].all()/max(1, k.inside[p[0]])) / 2
}
