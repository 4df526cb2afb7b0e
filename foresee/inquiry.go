package foresee

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/moat-platform/moat"
)

// The kinds of sighting by which complaints come to be traced.
const (
	complained = "complained" // somebody complained about an order; name "surge": a detector found that there are many
	traced     = "traced"     // a source that a trace names; count = thousandths of its posterior
	answered   = "answered"   // the trace of a question is done
	settle     = "settle"     // nothing more comes for now: complaints that were not traced yet are
)

// When complaints are traced, in the time of receipt.
const (
	// traceEvery is how long complaints wait at most for being traced, traceSoon how long at least if they rise.
	traceEvery = moat.Day
	traceSoon  = 6 * moat.Hour
	// traceBack is how old complaints may be that are traced with new ones.
	traceBack = 28 * moat.Day
	// leastTraced is how few complaints are traced at all.
	leastTraced = 3
	maxAsked    = 64      // questions that wait for an answer
	maxHeard    = 1 << 12 // complaints that are remembered, the newest
)

// A Complaint is what a question says of an order.
type Complaint struct {
	Order    string    `json:"order"`
	At       moat.Time `json:"at"` // when the customer was contacted, else when the complaint was made
	Reporter string    `json:"reporter,omitempty"`
	Heard    moat.Time `json:"heard"` // receipt
}

// Question asks for the sources of complaints, as of a time of receipt. Its number, from 1, tells it from others, also where time was set
// right in between and comes a second time.
type Question struct {
	Number     int64
	At         moat.Time
	Complaints []Complaint
}

// Named is a source that a trace names. Finding says what is to be told to its partner; what the detector says about itself is filled in.
type Named struct {
	Posterior float64
	Finding   moat.Finding
}

// inquiry decides when complaints are traced. It is a part of the fold: the same log asks the same.
type inquiry struct {
	Heard []Complaint `json:"heard"` // in order of receipt
	Asked []moat.Time `json:"asked"` // questions without an answer, oldest first
	Count int64       `json:"count"` // of questions so far
	Last  moat.Time   `json:"last"`  // question
	Fresh int         `json:"fresh"` // complaints since then
	Surge bool        `json:"surge"` // and one of them made a detector find that there are many

	index map[string]int // of Heard
}

// hear takes in a complaint. One order counts once, as of the first contact.
func (q *inquiry) hear(c Complaint, surge bool) {
	if q.index == nil {
		q.index = make(map[string]int, len(q.Heard))
		for i := range q.Heard {
			q.index[q.Heard[i].Order] = i
		}
	}
	q.Surge = q.Surge || surge
	if i, ok := q.index[c.Order]; ok {
		old := &q.Heard[i]
		old.At, old.Heard = min(old.At, c.At), min(old.Heard, c.Heard)
		return
	}
	q.index[c.Order] = len(q.Heard)
	q.Heard = append(q.Heard, c)
	q.Fresh++
	if len(q.Heard) > maxHeard+maxHeard/4 {
		q.forget(len(q.Heard) - maxHeard)
	}
}

// forget drops the oldest n complaints.
func (q *inquiry) forget(n int) {
	q.Heard, q.index = slices.Clone(q.Heard[n:]), nil
}

// due asks if it is time to. All: also if there is little new.
func (q *inquiry) due(now moat.Time, all bool) {
	if q.Last == 0 || now == 0 || now < q.Last-backStep { // the last was ahead of time: a file said so
		q.Last = now
	}
	since := now - q.Last
	rise := q.Surge || q.Fresh >= max(10, len(q.Heard)/4)
	if q.Fresh == 0 || !all && since < traceEvery && !(rise && since >= traceSoon) || len(q.Asked) >= maxAsked {
		return
	}
	if len(q.Asked) == 0 {
		if kept := slices.DeleteFunc(q.Heard, func(c Complaint) bool { return c.Heard < now-traceBack }); len(kept) < len(q.Heard) {
			q.Heard, q.index = kept, nil
		}
	}
	q.Last, q.Fresh, q.Surge = now, 0, false
	if len(q.Heard) >= leastTraced {
		q.Asked = append(q.Asked, q.Last)
		q.Count++
	}
}

// question returns the oldest question that waits for an answer.
func (q *inquiry) question() (Question, bool) {
	if len(q.Asked) == 0 {
		return Question{}, false
	}
	out := Question{Number: q.Count - int64(len(q.Asked)) + 1, At: q.Asked[0]}
	for _, c := range q.Heard {
		if c.Heard <= out.At && c.Heard >= out.At-traceBack {
			out.Complaints = append(out.Complaints, c)
		}
	}
	return out, true
}

// Asked returns the oldest question that waits for an answer, of the part that [Everyone] lives in.
func (a *Across) Asked() (Question, bool) {
	if a.fold == nil {
		return Question{}, false
	}
	return a.fold.inquiry.question()
}

// Untraced returns how many complaints were heard since the last question.
func (a *Across) Untraced() int {
	if a.fold == nil {
		return 0
	}
	return a.fold.inquiry.Fresh
}

// Settle returns an event for the part that [Everyone] lives in, after which complaints that were heard so far are asked for. It is told
// from others by the position in the log at which it is made.
func (a *Across) Settle(position uint64) *moat.Event {
	return a.note(settle, a.fold.inquiry.newest(), "", strconv.FormatUint(position, 10))
}

// newest returns when the newest fresh complaint was heard. A minority that is weeks ahead of the others does not count: its clock is wrong.
func (q *inquiry) newest() (at moat.Time) {
	var heard []moat.Time
	for _, c := range q.Heard[max(0, len(q.Heard)-q.Fresh):] {
		heard = append(heard, c.Heard)
	}
	slices.Sort(heard)
	for _, t := range heard {
		if t <= heard[len(heard)/2]+traceBack {
			at = t
		}
	}
	return at
}

// note makes an event of the inquiry; number tells it from others of its kind, time and name. It waits for no part that is behind, since it has no place in the time of receipt: what the
// inquiry does with it depends on its place in the log.
func (a *Across) note(kind string, at moat.Time, name, number string) *moat.Event {
	e := &moat.Event{Partner: Everyone, Type: moat.Sighting, Kind: kind, Name: name, Time: at, Received: at, Flags: moat.FlagHistory,
		ID: a.look.seal.name(kind, strconv.FormatInt(int64(at), 10), name, number)}
	e.MarkAll()
	return e
}

// Answer returns the events that answer a question, for the part that [Everyone] lives in. What they name comes to its partner as a
// finding, as long as the detector of such sightings does not say that it was told before.
func (a *Across) Answer(q Question, named []Named) []*moat.Event {
	var out []*moat.Event
	number := strconv.FormatInt(q.Number, 10)
	for _, n := range named {
		text, err := json.Marshal(&n.Finding)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		f := &n.Finding
		e := a.note(traced, q.At, a.look.seal.name("source", f.Partner, f.Entity.Kind.String(), f.Entity.ID), number)
		e.Host, e.Count, e.Token = e.Name, int64(1000*n.Posterior), a.look.seal.close(string(text), "", "")
		e.MarkAll()
		out = append(out, e)
	}
	return append(out, a.note(answered, q.At, "", number))
}

// inquire takes in what the inquiry is told, and asks when it is time.
func (f *fold) inquire(ev *moat.Event, found []moat.Finding) {
	q, now := &f.inquiry, max(moat.Time(ev.Seq), ev.Received)
	switch ev.Kind {
	case complained:
		if _, order, _, ok := f.seal.open(ev.Token); ok {
			q.hear(Complaint{order, cmp.Or(ev.ContactedAt, ev.Time), string(append([]byte(nil), ev.Reporter...)), now}, ev.Name != "")
		}
	case answered:
		if i := slices.Index(q.Asked, ev.Time); i >= 0 {
			q.Asked = slices.Delete(q.Asked, i, i+1)
		}
	case traced:
		for i := range found {
			if own, ok := f.told(&found[i], ev); ok {
				f.out = append(f.out, warn(&own, ev.Received, ev.Flags))
			}
		}
		return
	}
	q.due(now, ev.Kind == settle)
}

// told makes of a finding about a traced source what its partner is told.
func (f *fold) told(found *moat.Finding, ev *moat.Event) (moat.Finding, bool) {
	text, _, _, ok := f.seal.open(ev.Token)
	own := *found
	var said moat.Finding
	if !ok || json.Unmarshal([]byte(text), &said) != nil || !f.may(said.Partner, found.Time) {
		return own, false
	}
	own.Partner, own.Entity, own.Related, own.Strange = said.Partner, said.Entity, said.Related, nil
	own.Reason, own.Evidence, own.Orders, own.Stake, own.Weight, own.Egress = said.Reason, said.Evidence, said.Orders, said.Stake, said.Weight, said.Egress
	own.Time = ev.Time
	own.ID = moat.FindingID(own.Partner, own.Detector, own.Entity, ev.ID)
	own.Events = []string{own.ID}
	return own, true
}
