package node

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/dispose/decision"
)

// Answer is what Moat says of an act that is about to happen.
type Answer struct {
	Risk    float64     `json:"risk"`  // 0..1, never exactly 0.5: callers compare with it either way
	Level   string      `json:"level"` // low, medium, high, extreme
	Action  moat.Action `json:"action"`
	Reasons []Reason    `json:"reasons"`
	Event   string      `json:"event"` // id under which the act is logged
}

// Reason is one finding about the act, an earlier one about the riskiest entity of it that still counts, or
// a decision in force.
type Reason struct {
	Detector string `json:"detector,omitempty"`
	Decision string `json:"decision,omitempty"`
	Text     string `json:"text"`
}

// Ask answers from memory how risky an act is, given all that was taken in before, and
// logs the act as an event without waiting for the disk. The event must be complete and normal,
// as ingest makes it; it is not kept.
func (n *Node) Ask(ctx context.Context, ev *moat.Event) (Answer, error) {
	q := &question{event: ev.Clone(), done: make(chan struct{}, 1)}
	err := n.parts[n.River.PartitionOf(ev.Partner)].ask(ctx, q)
	if err != nil {
		return Answer{}, err
	}
	n.notes.add(q.event)
	return q.answer, nil
}

// question waits for who has the turn.
type question struct {
	event  *moat.Event
	answer Answer
	done   chan struct{}
}

// maxQuestions is how many may wait for one partition.
const maxQuestions = 1 << 12

// ask has a question answered, by its own goroutine if nobody has the turn. If it gives up, the question may still be answered.
func (p *partition) ask(ctx context.Context, q *question) error {
	select {
	case p.questions <- q:
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ended:
		return ErrClosed
	}
	if p.try() {
		p.leave()
	}
	select {
	case <-q.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ended:
		return ErrClosed
	}
}

// answer is for who has the turn.
func (p *partition) answer(ev *moat.Event) Answer {
	found := p.askCanaries(ev, p.engine.Ask(ev))
	for i := range found {
		p.risks.Learned().Treat(&found[i])
	}
	a := Answer{Event: ev.ID, Reasons: []Reason{}}
	seen := map[moat.Entity]bool{}
	var worst moat.Risk
	consider := func(e moat.Entity) {
		if e.ID == "" || seen[e] {
			return
		}
		seen[e] = true
		if r := p.risks.With(ev.Partner, e, found, ev.Time); r.Score > worst.Score {
			worst = r
		}
	}
	for _, k := range [...]moat.EntityKind{moat.Account, moat.Device, moat.IP, moat.Host, moat.App} {
		consider(moat.Entity{Kind: k, ID: ev.EntityID(k)})
	}
	for i := range found {
		consider(found[i].Entity)
		if found[i].Mode != moat.Shadow {
			a.Reasons = append(a.Reasons, Reason{Detector: found[i].Detector, Text: found[i].Reason})
		}
	}
	for _, s := range worst.Shares {
		if !slices.ContainsFunc(a.Reasons, func(r Reason) bool { return r.Detector == s.Detector }) {
			a.Reasons = append(a.Reasons, Reason{Detector: s.Detector, Text: "found before on " + worst.Entity.String() + ": " + p.n.titles[s.Detector]})
		}
	}
	if a.Risk = math.Round(100*worst.Score) / 1e4; a.Risk == 0.5 { // four digits are more than is known
		a.Risk = 0.5001
	}
	a.Level, a.Action = level(a.Risk)
	if d, ok := p.n.inForce(ev); ok {
		a.Action = max(a.Action, d.Action)
		a.Reasons = append(a.Reasons, Reason{Decision: d.ID, Text: d.Reason})
	}
	return a
}

// inForce returns the strongest decision about anything that the event concerns.
func (n *Node) inForce(ev *moat.Event) (moat.Decision, bool) {
	var targets [10]decision.Target
	i := 0
	for _, k := range [...]moat.EntityKind{moat.Account, moat.Device, moat.IP, moat.Host, moat.App, moat.Outlet, moat.Partner} {
		if id := ev.EntityID(k); id != "" {
			targets[i] = decision.Target{Scope: k.String(), Value: id}
			i++
		}
	}
	if ev.Session != "" {
		targets[i] = decision.Target{Scope: "session", Value: ev.Session}
		i++
	}
	if ev.KeyID != "" {
		targets[i] = decision.Target{Scope: "api_key", Value: ev.KeyID}
		i++
	}
	return n.Desk.Strongest(max(ev.Time, ev.Received), ev.Partner, targets[:i]...)
}

// level maps a risk to a word and to what the caller should do if no decision says more. The cut
// at 0.5 is where existing callers ask for a second factor.
func level(risk float64) (string, moat.Action) {
	switch {
	case risk > 0.9:
		return "extreme", moat.Deny
	case risk > 0.5:
		return "high", moat.Verify
	case risk > 0.2:
		return "medium", moat.ObserveOnly
	}
	return "low", moat.Allow
}

// notes carries the events of questions into the river, many at a time, behind the
// answers.
type notes struct {
	n       *Node
	queue   chan *moat.Event
	waiting atomic.Int64  // notes that the river does not have yet
	hurry   chan struct{} // somebody waits for them
	quit    chan struct{} // closed when no more will be added
	done    chan struct{}
	once    sync.Once
}

// noteEvery is how long the events of questions wait for each other. Each batch costs the river a sync: at 5 ms a
// quarter of a processor went into syncs of a few events each.
const noteEvery = 40 * time.Millisecond

// maxNotes bounds the questions that wait for the river; it is a second's worth at 64,000/s.
const maxNotes = 1 << 16

func (w *notes) open(n *Node) {
	w.n, w.queue, w.hurry = n, make(chan *moat.Event, maxNotes), make(chan struct{}, 1)
	w.quit, w.done = make(chan struct{}), make(chan struct{})
	go w.run()
}

// add queues an event, which is its own now. A river that has been full for so long that the queue is full too loses the
// note of the question, never the answer.
func (w *notes) add(ev *moat.Event) {
	ev.Flags |= moat.FlagQuestion
	w.waiting.Add(1)
	select {
	case w.queue <- ev:
	default:
		w.waiting.Add(-1)
		w.n.log.Warn("a question could not be logged: the river is full")
	}
}

// drain returns when the river has every note that was added.
func (w *notes) drain(ctx context.Context) {
	for w.waiting.Load() > 0 && ctx.Err() == nil {
		select {
		case w.hurry <- struct{}{}:
		default:
		}
		wait(ctx, time.Millisecond)
	}
}

func (w *notes) close() {
	if w.queue != nil {
		w.once.Do(func() { close(w.quit) })
		<-w.done
	}
}

// next waits for a note; it returns nil when there are no more.
func (w *notes) next() *moat.Event {
	select {
	case ev := <-w.queue:
		return ev
	case <-w.quit:
	}
	select {
	case ev := <-w.queue:
		return ev
	default:
		return nil
	}
}

func (w *notes) run() {
	defer close(w.done)
	batches := make([]moat.BatchWriter, w.n.River.Partitions())
	for ev := w.next(); ev != nil; ev = w.next() {
		deadline := time.NewTimer(noteEvery)
		for n := 0; ev != nil && n < 4096; n++ {
			batches[w.n.River.PartitionOf(ev.Partner)].Append(ev)
			ev = nil
			select {
			case ev = <-w.queue:
			case <-deadline.C:
			case <-w.hurry:
			}
		}
		deadline.Stop()
		if ev != nil {
			batches[w.n.River.PartitionOf(ev.Partner)].Append(ev)
		}
		w.send(batches)
	}
}

// send appends what is in the batches and empties them.
func (w *notes) send(batches []moat.BatchWriter) {
	for i := range batches {
		if batches[i].Len() == 0 {
			continue
		}
		if _, err := w.n.River.Append(context.Background(), i, batches[i].Bytes()); err != nil {
			w.n.log.Warn("questions could not be logged", "count", batches[i].Len(), "error", err)
		}
		w.waiting.Add(-int64(batches[i].Len()))
		batches[i].Reset()
	}
}
