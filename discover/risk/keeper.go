package risk

import (
	"cmp"
	"slices"
	"strings"

	"github.com/moat-platform/moat"
)

// Keeper holds the risks of entities and the cases that are still open to more findings.
type Keeper struct {
	odds     Calibration
	entities map[subject]*evidence
	cases    map[string]*open
	links    map[subject]string   // which case a subject belongs to
	rolls    map[string]string    // the case of each partner that takes in background findings
	newest   map[string]moat.Time // the clock of each partner: its newest finding
	learned  *Learned
	settled  map[subject]*settlement
	swept    [2]int // entities and cases after the last sweep
	Lost     uint64 // entities and cases forgotten because there were too many
}

type subject struct {
	partner string
	entity  moat.Entity
}

// open is a case with what is needed to go on with it.
type open struct {
	Case     moat.Case
	Channel  string `json:",omitempty"` // that something planted in it leaked by, the first
	Evidence evidence
	Links    []moat.Entity
	Weight   float64
	Egress   bool
	Stake    int64
	// Enforcers are the detectors that took part and may bring decisions unless they were demoted since.
	Enforcers []string
	// Exposed is the most orders that each subject was seen with, of the [MaxEntities] with the most.
	Exposed map[string]int64
	Times   []moat.Time          // of Case.Findings
	Since   map[string]moat.Time // when each basis first took part
}

// Change is what one finding led to.
type Change struct {
	Risk moat.Risk
	// Cases holds the case that the finding went into, and before it those that were merged into it.
	Cases []moat.Case
	// Subject is the finding's entity; decisions are about it and the case's others. Reason is what was found of it, the strongest first.
	Subject moat.Entity
	Reason  string
	// Rank is how bad Subject is by what was found of it alone, never worse than the case; the case may be about
	// somebody else, whom it was only seen with.
	Rank moat.Rank
	// Enforce tells whether a detector that may bring decisions took part in the case.
	Enforce bool
}

// NewKeeper returns a keeper that knows nothing. It takes findings for what the calibration says; the
// zero value believes what detectors state.
func NewKeeper(odds Calibration) *Keeper {
	return &Keeper{odds: odds, entities: map[subject]*evidence{}, cases: map[string]*open{}, links: map[subject]string{}, rolls: map[string]string{},
		newest: map[string]moat.Time{}, learned: NewLearned(), settled: map[subject]*settlement{}}
}

// Fold takes in one finding. One in shadow mode changes nothing and gives an empty Change.
func (k *Keeper) Fold(f *moat.Finding) Change {
	if f.Mode == moat.Shadow {
		return Change{}
	}
	s := subject{f.Partner, f.Entity}
	k.newest[f.Partner] = max(k.newest[f.Partner], f.Time)
	ev := k.entities[s]
	if ev == nil {
		k.sweepEntities(f.Partner)
		ev = &evidence{}
		k.entities[s] = ev
	}
	x := k.share(f)
	ev.keep(x, f.Time)
	c := Change{Risk: k.risk(s, *ev, f.Time), Subject: f.Entity}
	score := c.Risk.Score
	if own := thread(f); own != f.Entity {
		s.entity = own
		if ev = k.entities[s]; ev == nil {
			ev = &evidence{}
			k.entities[s] = ev
		}
		ev.keep(x, f.Time)
		score = 100 * ev.score(f.Time)
	}
	var o *open
	var merged []*open
	if f.Background {
		o = k.rolling(f)
	} else {
		o, merged = k.find(f)
	}
	opensAt := k.odds.OpensAt()
	switch {
	case f.Background: // what everybody lives with is worth a look only if it is more likely than not
		opensAt = max(opensAt, OpenAt)
	case f.Policy:
		opensAt = 0
	}
	news, follows := ev.news(o), ""
	if o != nil && o.hadItsDay(f) && len(news) > 0 && 100*news.score(f.Time) >= opensAt {
		follows, o, merged = o.Case.ID, nil, nil
	}
	if (o == nil || o.Case.Background) && (f.Joins || 100*news.score(f.Time) < opensAt || k.quiet(s, *ev, f, score)) {
		return c
	}
	if o == nil {
		k.sweepCases()
		o = k.open(f, news)
		o.Case.Follows = follows
	}
	for i := range merged {
		o.absorb(merged[i], f.Time)
	}
	o.take(f, x)
	o.update(f, score, k.odds.OpensAt())
	// Whoever is under no suspicion of its own is seen in the case, perhaps as a victim: what is found of it later is not
	// the case's, nor what is found of the address that it came from. A server is: who came in by it goes on from it.
	if !o.Case.Background && (score >= k.odds.OpensAt() || f.Policy || f.Entity.Kind == moat.Host) {
		k.register(o, s)
		ev.tell(o)
		for _, e := range f.Strange {
			k.register(o, subject{f.Partner, e})
		}
	}
	for _, m := range merged {
		for _, e := range m.Links {
			s := subject{f.Partner, e}
			if k.register(o, s); k.links[s] == m.Case.ID {
				delete(k.links, s)
			}
		}
		m.Case.Merged, m.Case.Updated = o.Case.ID, f.Time
		c.Cases = append(c.Cases, clone(&m.Case))
		delete(k.cases, m.Case.ID)
	}
	c.Rank, c.Reason = o.rankOf(f, *ev, score), ev.reason(f.Time)
	c.Cases = append(c.Cases, clone(&o.Case))
	c.Enforce = !f.Joins && slices.ContainsFunc(o.Enforcers, func(d string) bool { return k.learned.demoted[d] == nil })
	return c
}

// thread is whom a finding is kept under where cases are told apart: a partner for each of the channels that something was planted in, since they leak by
// different hands; else who the finding is about.
func thread(f *moat.Finding) moat.Entity {
	e := f.Entity
	if f.Channel != "" && e.Kind == moat.Partner {
		e.ID += " " + f.Channel
	}
	return e
}

// rankOf is how bad the subject of f is for what may be decided about it. What only one witness says and is more likely
// wrong than right takes nothing away from anybody: such a one is asked who he is.
func (o *open) rankOf(f *moat.Finding, ev evidence, score float64) moat.Rank {
	if score < likely && !o.Evidence.corroborated(f.Time) {
		return max(o.Case.Rank, moat.P3)
	}
	if f.Entity == o.Case.Entities[0] {
		return o.Case.Rank
	}
	return max(o.Case.Rank, ev.rank(Damage(score/100, max(o.Exposed[f.Entity.String()], o.Stake), o.Weight, o.Egress), score, f.Time))
}

// Size returns how many entities and open cases are held.
func (k *Keeper) Size() (entities, cases int) { return len(k.entities), len(k.cases) }

// Risk returns the risk of an entity at a time.
func (k *Keeper) Risk(partner string, e moat.Entity, now moat.Time) moat.Risk {
	s := subject{partner, e}
	if ev := k.entities[s]; ev != nil {
		return k.risk(s, *ev, now)
	}
	return k.risk(s, nil, now)
}

// With returns what the risk would be if the findings about the entity came true now; it changes nothing.
func (k *Keeper) With(partner string, e moat.Entity, found []moat.Finding, now moat.Time) moat.Risk {
	s := subject{partner, e}
	var ev evidence
	if old := k.entities[s]; old != nil {
		ev = slices.Clone(*old)
	}
	for i := range found {
		if f := &found[i]; f.Entity == e && f.Mode != moat.Shadow {
			ev.keep(k.share(f), f.Time)
		}
	}
	return k.risk(s, ev, now)
}

func (k *Keeper) risk(s subject, ev evidence, now moat.Time) moat.Risk {
	return moat.Risk{Entity: s.entity, Partner: s.partner, Time: now, Score: 100 * ev.score(now), Shares: ev.shares(now)}
}

// find returns the case that f belongs to, and others that it shows to be the same.
func (k *Keeper) find(f *moat.Finding) (first *open, others []*open) {
	wait := moat.Time(Quiet)
	if f.Basis == echo {
		wait = EchoWait
	}
	add := func(o *open) {
		switch {
		case o == nil || o == first || slices.Contains(others, o) || first != nil && k.follows(first, o):
		case first != nil && k.follows(o, first):
			first = o
		case first == nil:
			first = o
		case o.Case.Opened < first.Case.Opened || o.Case.Opened == first.Case.Opened && o.Case.ID < first.Case.ID:
			first, others = o, append(others, first)
		default:
			others = append(others, o)
		}
	}
	own := thread(f)
	try := func(e moat.Entity) {
		o := k.cases[k.links[subject{f.Partner, e}]]
		if o != nil && f.Time-o.Case.Updated <= wait && (e == own || ties(f, e, &o.Case)) {
			add(o)
		}
	}
	try(own)
	if first == nil && f.Basis == echo && f.Entity.Kind == moat.Partner {
		first = k.lead(f)
	}
	for _, e := range f.Related {
		try(e)
	}
	if f.Basis == dump {
		add(k.otherEnd(f))
	}
	return first, others
}

// sameDump is how far apart the two ends of a dump may tell of it: a server when its program starts, a database when its statement ends.
const sameDump = 30 * moat.Minute

// otherEnd returns the case in which a dump was seen from the other end, if f is about a dump: by the server if f is what
// the database says, and the other way round.
func (k *Keeper) otherEnd(f *moat.Finding) (found *open) {
	for _, o := range k.cases {
		if o.Case.Partner != f.Partner || found != nil && o.Case.ID > found.Case.ID {
			continue
		}
		for i := range o.Evidence {
			if s := &o.Evidence[i]; s.Basis == dump && s.Family != f.Family && max(s.At-f.Time, f.Time-s.At) <= sameDump {
				found = o
			}
		}
	}
	return found
}

// ties tells whether f, about another entity, belongs to case c because e, a suspect of the case, took part in it.
func ties(f *moat.Finding, e moat.Entity, c *moat.Case) bool {
	switch f.Entity.Kind {
	case moat.Account, moat.Device:
	case moat.IP, moat.Host:
		// The accounts that an address tries are its victims: it belongs to the case of one of them only if it
		// was seen there before, or if it is a thief's own.
		if !slices.Contains(c.Entities, f.Entity) && !slices.Contains(f.Strange, f.Entity) {
			return false
		}
	default: // what an app or a partner does is done for many
		return false
	}
	switch e.Kind {
	case moat.Account, moat.Device, moat.IP:
		return true
	case moat.Host: // ties what is done on it, not the people whom its pages serve
		return f.Family == "host" || f.Family == "database"
	default: // an app or an outlet is shared by too many
		return false
	}
}

// by tells whether what was planted in a channel may have left in the course of a case: in that of another channel it did not, nor where nobody used the channel.
func (o *open) by(channel string) bool {
	return channel == "" || o.Channel == channel || o.Channel == "" && slices.ContainsFunc(o.Case.Entities, func(e moat.Entity) bool { return e.String() == channel })
}

// lead returns the worst case of which f, which heard something outside and names nobody, may be the consequence: one that is
// more likely right than not.
func (k *Keeper) lead(f *moat.Finding) (best *open) {
	for _, o := range k.cases {
		if o.Case.Partner != f.Partner || o.Case.Score < likely || o.Case.Opened > f.Time || f.Time-o.Case.Updated > EchoWait || o.Case.Entities[0].Kind == moat.Partner || !o.by(f.Channel) {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(o.Case.Damage, best.Case.Damage), cmp.Compare(best.Case.ID, o.Case.ID)) > 0 {
			best = o
		}
	}
	return best
}

func (k *Keeper) register(o *open, s subject) {
	if len(o.Links) < MaxEntities {
		if !slices.Contains(o.Links, s.entity) {
			o.Links = append(o.Links, s.entity)
		}
		k.links[s] = o.Case.ID
	}
}

func (k *Keeper) open(f *moat.Finding, ev evidence) *open {
	o := &open{Case: moat.Case{ID: moat.CaseID(f.ID), Partner: f.Partner, Opened: f.Time, State: moat.CaseOpen}, Exposed: map[string]int64{}, Since: map[string]moat.Time{}}
	// What was found before and did not suffice alone belongs to the story.
	earlier := slices.Clone(ev)
	slices.SortStableFunc(earlier, func(a, b share) int { return cmp.Compare(a.At, b.At) })
	for _, s := range earlier {
		if s.told(f.Time) && s.Finding != f.ID {
			o.Evidence.keep(s, f.Time)
			o.heard(s.Basis, s.At)
			o.note(s.Finding, s.At)
			o.Case.Detectors = appendNew(o.Case.Detectors, MaxFindings, s.Detector)
			if s.Enforce {
				o.Enforcers = appendNew(o.Enforcers, MaxFindings, s.Detector)
			}
		}
	}
	o.Case.Entities = []moat.Entity{f.Entity}
	k.cases[o.Case.ID] = o
	if f.Background {
		o.Case.Background = true
		k.rolls[f.Partner] = o.Case.ID
	}
	return o
}

// take adds a finding, and what it is worth, to the case.
func (o *open) take(f *moat.Finding, x share) {
	o.Evidence.keep(x, f.Time)
	o.heard(x.Basis, f.Time)
	if !f.Joins {
		o.weigh(f)
	}
	c := &o.Case
	o.Channel = cmp.Or(o.Channel, f.Channel)
	o.note(f.ID, f.Time)
	c.Detectors = appendNew(c.Detectors, MaxFindings, f.Detector)
	c.Strange = appendNew(c.Strange, MaxEntities, f.Strange...)
	c.Entities = appendNew(c.Entities, MaxEntities, f.Entity)
	if !f.Background { // else they are accounts that were tried, which have nothing to do with each other
		c.Entities = appendNew(c.Entities, MaxEntities, f.Related...)
	}
}

// weigh notes how much is at risk by a finding.
func (o *open) weigh(f *moat.Finding) {
	o.Weight, o.Egress = max(o.Weight, f.Weight), o.Egress || f.Egress
	o.Stake = max(o.Stake, f.Stake)
	if f.Mode == moat.Enforce {
		o.Enforcers = appendNew(o.Enforcers, MaxFindings, f.Detector)
	}
	if f.Entity.Kind != moat.Partner && f.Entity.Kind != moat.Peers { // all that a partner handles is not what a thief got
		o.exposed(f.Entity.String(), f.Orders)
	}
}

// exposed notes how many orders a subject was seen with. What is kept in the end does not depend on the order in which they are noted.
func (o *open) exposed(entity string, orders int64) {
	if orders == 0 {
		return
	}
	o.Exposed[entity] = max(o.Exposed[entity], orders)
	if len(o.Exposed) <= MaxEntities {
		return
	}
	least := entity
	for e, n := range o.Exposed {
		if cmp.Or(cmp.Compare(n, o.Exposed[least]), cmp.Compare(e, least)) < 0 {
			least = e
		}
	}
	delete(o.Exposed, least)
}

// absorb takes over another case that turned out to be the same.
func (o *open) absorb(m *open, now moat.Time) {
	for _, s := range m.Evidence {
		o.Evidence.keep(s, now)
	}
	o.Weight, o.Egress = max(o.Weight, m.Weight), o.Egress || m.Egress
	o.Stake = max(o.Stake, m.Stake)
	o.Enforcers = appendNew(o.Enforcers, MaxFindings, m.Enforcers...)
	for e, n := range m.Exposed {
		o.exposed(e, n)
	}
	for i, id := range m.Case.Findings {
		o.note(id, m.Times[i])
	}
	for basis, at := range m.Since {
		o.heard(basis, at)
	}
	o.Case.Detectors = appendNew(o.Case.Detectors, MaxFindings, m.Case.Detectors...)
	o.Case.Strange = appendNew(o.Case.Strange, MaxEntities, m.Case.Strange...)
	o.Case.Entities = appendNew(o.Case.Entities, MaxEntities, m.Case.Entities...)
}

// update computes what the case says of itself after a finding. One whose score would not have opened it is of the lowest rank.
func (o *open) update(f *moat.Finding, score, opensAt float64) {
	c := &o.Case
	c.Updated = max(c.Updated, f.Time)
	c.Score = max(c.Score, score, 100*o.Evidence.score(f.Time))
	c.Orders = 0
	for _, n := range o.Exposed {
		c.Orders = max(c.Orders, n)
	}
	c.Damage = max(c.Damage, Damage(c.Score/100, max(c.Orders, o.Stake), o.Weight, o.Egress))
	switch r := o.Evidence.rank(c.Damage, c.Score, f.Time); {
	case c.Background, c.Score < opensAt:
		c.Rank = moat.P4
	case c.Rank == moat.NoRank || r < c.Rank:
		c.Rank = r
	}
	if s := o.Evidence.telling(f.Time); s != nil {
		if c.Title = s.Title; s.Channel != "" {
			c.Title += " (" + s.Channel + ")"
		}
	}
	c.Reason = o.Evidence.reason(f.Time)
}

// reason joins what the strongest three bases say.
func (ev evidence) reason(now moat.Time) string {
	ranked := slices.Clone(ev)
	slices.SortStableFunc(ranked, func(a, b share) int { return cmp.Compare(b.left(now), a.left(now)) })
	var parts []string
	for i := range min(3, len(ranked)) {
		parts = append(parts, ranked[i].Reason)
	}
	return strings.Join(parts, "; ")
}

// note lists a finding in its place in time, and drops the oldest beyond the limit.
func (o *open) note(id string, at moat.Time) {
	c := &o.Case
	if slices.Contains(c.Findings, id) {
		return
	}
	i := len(o.Times)
	for i > 0 && o.Times[i-1] > at {
		i--
	}
	o.Times, c.Findings = slices.Insert(o.Times, i, at), slices.Insert(c.Findings, i, id)
	if n := len(o.Times) - MaxFindings; n > 0 {
		o.Times, c.Findings = slices.Delete(o.Times, 0, n), slices.Delete(c.Findings, 0, n)
	}
}

// appendNew appends those of add that list lacks, while it has less than most.
func appendNew[T comparable](list []T, most int, add ...T) []T {
	for _, x := range add {
		if !slices.Contains(list, x) && len(list) < most {
			list = append(list, x)
		}
	}
	return list
}

func clone(c *moat.Case) moat.Case {
	out := *c
	out.Strange = slices.Clone(c.Strange)
	out.Entities, out.Detectors, out.Findings = slices.Clone(c.Entities), slices.Clone(c.Detectors), slices.Clone(c.Findings)
	return out
}
