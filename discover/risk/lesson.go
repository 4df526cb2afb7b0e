package risk

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/moat-platform/moat"
)

// Lesson is something that people said and that changes what findings are worth or what comes of them. Lessons are
// numbered from 1; they are learned in that order, each at one place among the findings.
type Lesson struct {
	Seq     uint64     `json:"-"`
	Time    moat.Time  `json:"time"` // when it was said
	Partner string     `json:"partner,omitempty"`
	Kind    LessonKind `json:"-"`
	// Object is the case that was judged, the snooze, or the detector.
	Object string `json:"-"`
	// Own tells that the partner said it of itself: then it teaches nothing about others.
	Own bool `json:"own,omitempty"`

	// Of a verdict: what the case was when it was judged. The cases of one campaign that have the same verdict count once: it is one
	// judgement, however many partners the attacker came to.
	Campaign  string        `json:"campaign,omitempty"`
	Verdict   moat.Verdict  `json:"verdict,omitempty"`
	Score     float64       `json:"score,omitempty"` // 0..100
	Rank      moat.Rank     `json:"rank,omitzero"`
	Updated   moat.Time     `json:"updated,omitzero"`
	Detectors []string      `json:"detectors,omitempty"`
	Families  []string      `json:"families,omitempty"`
	Entities  []moat.Entity `json:"entities,omitempty"` // that its findings are about

	// Of a snooze: whose findings, of which detector ("" = any), until when by the time of the findings.
	Entity   moat.Entity `json:"entity,omitzero"`
	Detector string      `json:"detector,omitempty"`
	Until    moat.Time   `json:"until,omitzero"`

	Reason string `json:"reason,omitempty"`
}

// LessonKind says what a lesson is about.
type LessonKind string

// The kinds of lessons.
const (
	Judged  LessonKind = "verdict"
	Snoozed LessonKind = "snooze"
	Woken   LessonKind = "wake" // a snooze ended before its time
	Demoted LessonKind = "demote"
	// Promoted undoes Demoted: the detector's false alarms are counted from here on.
	Promoted LessonKind = "promote"
)

// What verdicts may do.
const (
	// Teach is how many judged cases of a detector count as much as what was known of it before.
	Teach = 10
	// Settled is how long activity that was judged a false alarm, or accepted, opens no other case.
	Settled = 14 * moat.Day
	// MaxSettled bounds the entities of which a [Keeper] knows that.
	MaxSettled = 1 << 16
)

// Tally counts the verdicts on the cases in which a detector took part. Accepted cases are true to what the detector
// saw but no theft: they say nothing about its precision.
type Tally struct {
	Confirmed int `json:"confirmed"`
	False     int `json:"false_alarms"`
	Accepted  int `json:"accepted"`
}

// N is how many cases say something about precision.
func (t Tally) N() int { return t.Confirmed + t.False }

// Low and High are the bounds of the precision: Wilson, 95 %. Without cases they are 0 and 1.
func (t Tally) Low() float64 { return Wilson(t.Confirmed, t.N()) }

// High is the upper bound; see [Tally.Low].
func (t Tally) High() float64 { return 1 - Wilson(t.False, t.N()) }

func (t *Tally) count(v moat.Verdict, n int) {
	switch v {
	case moat.Confirmed:
		t.Confirmed += n
	case moat.FalseAlarm:
		t.False += n
	case moat.Accepted:
		t.Accepted += n
	}
}

// Budget says when a detector has raised too many false alarms to bring decisions: when at least Judged of its
// cases were judged and the upper bound of its precision is below Precision. A Precision of 0 never is.
type Budget struct {
	Judged    int     `yaml:"judged"`
	Precision float64 `yaml:"precision"`
}

// DefaultBudget is spent by nine false alarms in a row.
func DefaultBudget() Budget { return Budget{Judged: 5, Precision: 0.3} }

// Spent tells whether t is more than the budget allows.
func (b Budget) Spent(t Tally) bool { return t.N() >= max(b.Judged, 1) && t.High() < b.Precision }

// sums is what verdicts say of a detector beside what was expected: each case counts 1/k for each of its k detectors.
type sums struct{ n, was, expected float64 }

func (s *sums) add(l *Lesson, sign float64) {
	w := sign / float64(len(l.Detectors)) // add is called for one of them
	s.n += w
	s.expected += w * min(max(l.Score/100, Prior), 1-Prior)
	if l.Verdict == moat.Confirmed {
		s.was += w
	}
}

// shift is how much the log-odds of what came true differ from those of what was expected.
func (s *sums) shift() float64 {
	const half = 0.5 // so that a few cases of one kind do not make a certainty
	return math.Log((s.was+half)/(max(s.n-s.was, 0)+half)) - math.Log((s.expected+half)/(max(s.n-s.expected, 0)+half))
}

func (s *sums) weight() float64 { return max(s.n, 0) / (max(s.n, 0) + Teach) }

// Learned is what lessons add up to. It is a pure fold: the same lessons in the same order give the same. The zero
// value is not ready, see [NewLearned]. It is not safe for concurrent use.
type Learned struct {
	last     uint64
	cases    map[string]*Lesson  // the verdict that holds, by case
	voices   map[voice][]*Lesson // those of a campaign that say the same, of which the first counts
	all      map[string]*sums    // by detector
	own      map[partnerDetector]*sums
	snoozes  map[string]*Lesson // by id
	asleep   map[subject][]*Lesson
	demoted  map[string]*Lesson
	promoted map[string]uint64 // number of the lesson
}

type partnerDetector struct{ partner, detector string }

// voice is what was said of a campaign.
type voice struct {
	campaign string
	verdict  moat.Verdict
	own      bool
}

func (l *Lesson) voice() voice { return voice{cmp.Or(l.Campaign, l.Object), l.Verdict, l.Own} }

// NewLearned returns what is known without lessons.
func NewLearned() *Learned {
	return &Learned{cases: map[string]*Lesson{}, voices: map[voice][]*Lesson{}, all: map[string]*sums{}, own: map[partnerDetector]*sums{}, snoozes: map[string]*Lesson{},
		asleep: map[subject][]*Lesson{}, demoted: map[string]*Lesson{}, promoted: map[string]uint64{}}
}

// Last is the number of the last lesson that was learned.
func (x *Learned) Last() uint64 { return x.last }

// Learn takes in the next lesson; one that was learned already changes nothing. The lesson must not change afterwards.
func (x *Learned) Learn(l *Lesson) {
	if l.Seq <= x.last {
		return
	}
	x.last = l.Seq
	switch l.Kind {
	case Judged:
		x.judge(l)
	case Snoozed:
		x.snooze(l)
	case Woken:
		x.wake(l.Object)
	case Demoted:
		x.demoted[l.Object] = l
	case Promoted:
		delete(x.demoted, l.Object)
		x.promoted[l.Object] = l.Seq
	}
}

func (x *Learned) judge(l *Lesson) {
	if old := x.cases[l.Object]; old != nil {
		if l.Own && !old.Own {
			return // a partner does not overrule the operator
		}
		x.unsay(old)
		delete(x.cases, l.Object)
	}
	if l.Verdict != moat.NoVerdict {
		x.cases[l.Object] = l
		v := l.voice()
		if x.voices[v] = append(x.voices[v], l); len(x.voices[v]) == 1 {
			x.count(l, 1)
		}
	}
}

// unsay takes a verdict back. If it counted, the next one of its campaign does.
func (x *Learned) unsay(l *Lesson) {
	v := l.voice()
	list := x.voices[v]
	counted := list[0] == l
	list = slices.DeleteFunc(list, func(o *Lesson) bool { return o == l })
	if x.voices[v] = list; len(list) == 0 {
		delete(x.voices, v)
	}
	if counted {
		x.count(l, -1)
		if len(list) > 0 {
			x.count(list[0], 1)
		}
	}
}

func (x *Learned) count(l *Lesson, sign float64) {
	if l.Verdict == moat.Accepted {
		return
	}
	for _, d := range l.Detectors {
		k := partnerDetector{l.Partner, d}
		if x.own[k] == nil {
			x.own[k] = &sums{}
		}
		x.own[k].add(l, sign)
		if l.Own {
			continue
		}
		if x.all[d] == nil {
			x.all[d] = &sums{}
		}
		x.all[d].add(l, sign)
	}
}

func (x *Learned) snooze(l *Lesson) {
	s := subject{l.Partner, l.Entity}
	for _, old := range slices.Clone(x.asleep[s]) {
		if old.Until <= l.Time {
			x.wake(old.Object)
		}
	}
	x.snoozes[l.Object] = l
	x.asleep[s] = append(x.asleep[s], l)
}

func (x *Learned) wake(id string) {
	l := x.snoozes[id]
	if l == nil {
		return
	}
	delete(x.snoozes, id)
	s := subject{l.Partner, l.Entity}
	if x.asleep[s] = slices.DeleteFunc(x.asleep[s], func(o *Lesson) bool { return o == l }); len(x.asleep[s]) == 0 {
		delete(x.asleep, s)
	}
}

// Shift is how much verdicts move the log-odds of a detector's findings at a partner. What all verdicts say weighs
// n/(n+[Teach]); what those on the partner's own cases say beyond that weighs the same way in their number. It is at most [MaxShift].
func (x *Learned) Shift(partner, detector string) float64 {
	shift := 0.0
	if s := x.all[detector]; s != nil {
		shift = s.weight() * s.shift()
	}
	if s := x.own[partnerDetector{partner, detector}]; s != nil {
		shift += s.weight() * (s.shift() - shift)
	}
	return min(max(shift, -MaxShift), MaxShift)
}

// Treat sets what comes of a finding before it is folded: one that is snoozed is kept in shadow, and one of a detector
// that was demoted brings no decision.
func (x *Learned) Treat(f *moat.Finding) {
	if f.Mode == moat.Enforce && x.demoted[f.Detector] != nil {
		f.Mode = moat.Observe
	}
	if f.Mode == moat.Shadow {
		return
	}
	for _, l := range x.asleep[subject{f.Partner, f.Entity}] {
		if (l.Detector == "" || l.Detector == f.Detector) && f.Time < l.Until {
			f.Mode, f.Snoozed = moat.Shadow, l.Object
			return
		}
	}
}

// Demotion is the reason why a detector brings no decisions now, "" if it may.
func (x *Learned) Demotion(detector string) string {
	if l := x.demoted[detector]; l != nil {
		return l.Reason
	}
	return ""
}

// Tallies counts the verdicts on the cases that t sees, by detector. A partner's own verdicts count for it alone.
func (x *Learned) Tallies(t moat.Tenant) map[string]Tally {
	partner, one := t.Partner()
	return x.tallies(func(l *Lesson, _ string) bool { return one && partner != "" && l.Partner == partner || !one && !l.Own })
}

// Spent lists, by id, the detectors that are not demoted and have spent the budget since they were promoted, with the reason.
func (x *Learned) Spent(b Budget) map[string]string {
	out := map[string]string{}
	for id, t := range x.tallies(func(l *Lesson, detector string) bool { return !l.Own && l.Seq > x.promoted[detector] }) {
		if x.demoted[id] == nil && b.Spent(t) {
			out[id] = fmt.Sprintf("%d of %d judged cases were false alarms: its precision is below %.0f %% (at most %.1f %%)", t.False, t.N(), 100*b.Precision, 100*t.High())
		}
	}
	return out
}

func (x *Learned) tallies(counts func(l *Lesson, detector string) bool) map[string]Tally {
	out := map[string]Tally{}
	type said struct {
		voice
		detector string
	}
	heard := map[said]bool{}
	for _, l := range x.cases {
		for _, d := range l.Detectors {
			if s := (said{l.voice(), d}); counts(l, d) && !heard[s] {
				heard[s] = true
				t := out[d]
				t.count(l.Verdict, 1)
				out[d] = t
			}
		}
	}
	return out
}

// settlement says what of an entity was judged and is not to open another case.
type settlement struct {
	Case     string
	Families []string
	Rank     moat.Rank
	Until    moat.Time
}

// Learned is what the keeper has been taught. Give it those lessons that were learned before a snapshot that was
// restored; all others belong into [Keeper.Learn].
func (k *Keeper) Learned() *Learned { return k.learned }

// Learn takes in the next lesson. From now on findings count for what it says, and the activity of a case that was
// judged a false alarm or accepted opens no other case for the time of [Settled], unless something new is found:
// another family, or a worse rank.
func (k *Keeper) Learn(l *Lesson) {
	if l.Seq <= k.learned.last {
		return
	}
	k.learned.Learn(l)
	if x := k.learned.cases[l.Object]; l.Kind != Judged || x != nil && x != l {
		return
	}
	for s, x := range k.settled {
		if x.Case == l.Object || x.Until < k.newest[s.partner] {
			delete(k.settled, s)
		}
	}
	if l.Verdict == moat.FalseAlarm || l.Verdict == moat.Accepted {
		k.settle(l)
	}
}

func (k *Keeper) settle(l *Lesson) {
	entities := l.Entities
	if o := k.cases[l.Object]; o != nil {
		if o.Case.Background {
			entities = append(slices.Clone(entities), house(l.Partner).entity)
		}
		for _, e := range o.Links {
			if e.Kind == moat.Partner && !slices.Contains(entities, e) { // a channel of its own
				entities = append(slices.Clip(entities), e)
			}
			if s := (subject{l.Partner, e}); k.links[s] == l.Object {
				delete(k.links, s)
			}
		}
		delete(k.cases, l.Object)
	}
	until := max(k.newest[l.Partner], l.Updated) + Settled
	for _, e := range entities {
		s := subject{l.Partner, e}
		if k.settled[s] == nil && len(k.settled) >= MaxSettled {
			k.Lost++
			continue
		}
		k.settled[s] = &settlement{l.Object, l.Families, l.Rank, until}
		if ev := k.entities[s]; ev != nil && l.Verdict == moat.FalseAlarm {
			*ev = slices.DeleteFunc(*ev, func(x share) bool { return slices.Contains(l.Families, x.Family) })
		}
	}
}

// quiet tells whether a finding, with what else was found of its entity, is nothing new since that was judged.
func (k *Keeper) quiet(s subject, ev evidence, f *moat.Finding, score float64) bool {
	if f.Background && k.settled[s] == nil {
		s = house(s.partner)
	}
	x := k.settled[s]
	if x == nil || f.Time >= x.Until {
		return false
	}
	for i := range ev {
		if ev[i].left(f.Time) > 0 && !slices.Contains(x.Families, ev[i].Family) {
			return false
		}
	}
	rank := RankOf(Damage(score/100, max(f.Orders, f.Stake), f.Weight, f.Egress))
	return rank >= x.Rank // P1 is the worst
}
