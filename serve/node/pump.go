package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/dispose/decision"
	"github.com/moat-platform/moat/foresee"
	"github.com/moat-platform/moat/river"
	"github.com/moat-platform/moat/store/book"
)

// partition is the one owner of a part of the log: it alone steps the engine. Whoever has the turn may touch what stands above
// turn here; the owner has it while it works, and lets others have theirs between groups of events and while it waits.
type partition struct {
	n      *Node
	id     int
	engine *engine.Engine
	across *foresee.Across
	used   []*moat.Event // of canaries, by the events of the message at hand
	risks  *risk.Keeper
	budget *decision.Budget
	seq    uint64 // last message that the engine took in
	handed uint64 // last message that the keeper was given: while it has its hands full, one behind seq
	taking bool   // a message is on its way through the engine to the keeper
	saved  uint64 // seq of the newest snapshot
	older  uint64 // seq of the one before it, up to which the river may be trimmed
	due    []placed
	pauses uint // made

	turn      chan struct{}  // has something in it while somebody has the turn; those who wait get it in order
	questions chan *question // answered by whoever has the turn
	keep      chan work      // to the keeper; only who has the turn, or had it a moment ago, sends
	unkept    atomic.Int64   // bytes of batches that are on their way through it
	stored    chan struct{}  // has something in it when they have become less
	store     *keeper
	ended     chan struct{} // closed when the owner has gone
	kept      sync.WaitGroup
	warnings  sync.Map // what cannot be done → why, as text
	err       error    // why run ended, if not because it was told to
}

// run takes messages until ctx ends; then it makes everything durable.
func (p *partition) run(ctx context.Context) {
	p.kept.Go(p.store.run)
	feed := make(chan river.Message, 2)
	feeding, stop := context.WithCancel(ctx)
	defer stop()
	p.n.group.Go(func() { p.feed(feeding, feed, p.seq) })
	var snapshot <-chan time.Time
	if every := p.n.cfg.SnapshotEvery; every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		snapshot = t.C
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case m := <-feed:
			p.own()
			p.take(m)
			p.leave()
		case <-snapshot:
			p.own()
			p.warn("cannot write snapshot", p.snapshot())
			p.leave()
		}
	}
	stop()
	end := p.snapshot
	if snapshot == nil {
		end = func() error { return p.flush(context.Background()) }
	}
	p.own()
	p.err = end()
	p.keep <- work{last: true}
	p.kept.Wait()
	close(p.ended)
	p.leave()
}

// own waits for the turn.
func (p *partition) own() { p.turn <- struct{}{} }

// leave answers the questions that wait and gives the turn up. Questions take no turns of their own unless the turn is free: each
// would have to wait for a processor with it, and all others for that one.
func (p *partition) leave() {
	for {
		p.serve()
		<-p.turn
		if len(p.questions) == 0 || !p.try() {
			return
		}
	}
}

// try takes the turn if it is free.
func (p *partition) try() bool {
	select {
	case p.turn <- struct{}{}:
		return true
	default:
		return false
	}
}

// serve answers the questions that wait.
func (p *partition) serve() {
	for {
		select {
		case q := <-p.questions:
			q.answer = p.answer(q.event)
			q.done <- struct{}{}
		default:
			return
		}
	}
}

// feed reads the river ahead of the owner.
func (p *partition) feed(ctx context.Context, to chan<- river.Message, after uint64) {
	for ctx.Err() == nil {
		err := p.feedFrom(ctx, to, &after)
		if ctx.Err() != nil {
			return
		}
		p.warn("cannot read river", err)
		wait(ctx, time.Second)
	}
}

func (p *partition) feedFrom(ctx context.Context, to chan<- river.Message, after *uint64) error {
	r, err := p.n.River.Read(ctx, p.id, *after)
	var trimmed *river.TrimmedError
	if errors.As(err, &trimmed) {
		p.n.log.Error("events are missing from the river", "partition", p.id, "error", err)
		*after = trimmed.First - 1
		r, err = p.n.River.Read(ctx, p.id, *after)
	}
	if err != nil {
		return err
	}
	defer r.Close()
	p.warn("cannot read river", nil)
	for {
		m, err := r.Next(ctx)
		var corrupt *river.CorruptError
		if errors.As(err, &corrupt) {
			p.n.log.Error("a batch in the river is damaged and was passed over", "partition", p.id, "error", err)
			continue
		}
		if err != nil {
			return err
		}
		select {
		case to <- m:
			*after = m.Seq
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take runs one message through the engine and hands it to the store.
func (p *partition) take(m river.Message) {
	p.taking = true
	defer func() { p.taking = false }()
	r, err := p.engine.Step(m.Data, p.pause)
	if err != nil {
		p.n.log.Error("a batch cannot be read to its end", "partition", p.id, "seq", m.Seq, "error", err)
		m.Data = readable(m.Data) // the store would refuse it for ever
	}
	out, err := p.tell()
	p.warn("cannot watch across partners", err)
	p.seq = m.Seq
	p.hand(work{seq: m.Seq, batch: m.Data, skip: r.Skip, changes: p.digest(&r, &out), out: out})
	p.handed = m.Seq
}

// see looks at an event that the engine took in for what others must be told of.
func (p *partition) see(ev *moat.Event, now moat.Time, begins bool, found []moat.Finding) {
	p.across.See(ev, now, begins, found)
	p.n.touches(ev, func(t *moat.Event) { p.used = append(p.used, t.Clone()) })
}

// tell returns what the events since the last call are to be told to others.
func (p *partition) tell() (foresee.Out, error) {
	out, err := p.across.Step()
	out.Warnings = append(out.Warnings, p.used...)
	p.used = nil
	return out, err
}

// readable returns a batch of the events of one that can be read, as far as the first that cannot.
func readable(batch []byte) []byte {
	var (
		r moat.BatchReader
		e moat.Event
		w moat.BatchWriter
	)
	for err := r.Open(batch); err == nil && r.Next(&e); {
		w.Append(&e)
	}
	return w.Bytes()
}

// digest is what came of the message p.seq.
func (p *partition) digest(r *engine.Result, out *foresee.Out) book.Changes {
	c := p.fold(append(r.Findings, out.Given...))
	c.Complaints = complaintsOf(r.Complaints)
	p.learnUpTo(p.seq)
	return c
}

// What may wait for the keeper: for as long as it flushes, events are to be looked at, and large batches are not to fill the memory.
const (
	maxWorks  = 256
	maxUnkept = 16 << 20
)

// hand gives work to the keeper. Others have their turns while the keeper has its hands full.
func (p *partition) hand(w work) {
	p.unkept.Add(int64(len(w.batch)))
	if p.unkept.Load() <= maxUnkept {
		select {
		case p.keep <- w:
			return
		default:
		}
	}
	p.leave()
	defer p.own()
	for len(w.batch) > 0 && p.unkept.Load() > max(maxUnkept, int64(len(w.batch))) {
		select {
		case <-p.stored:
		case <-p.ended:
			return
		}
	}
	select {
	case p.keep <- w:
	case <-p.ended:
	}
}

// fold turns findings into cases and decisions.
func (p *partition) fold(found []moat.Finding) book.Changes {
	c := book.Changes{Findings: found}
	for i := range found {
		p.risks.Learned().Treat(&found[i])
		ch := p.risks.Fold(&found[i])
		c.Cases = append(c.Cases, ch.Cases...)
		if len(ch.Cases) == 0 || !ch.Enforce {
			continue
		}
		worst := ch.Cases[len(ch.Cases)-1]
		if _, veiled := moat.Unveiled(worst.Partner); veiled { // what is decided would tell the partner: that is for the operator to weigh
			continue
		}
		wanted := p.n.play.Decide(worst, ch.Subject, ch.Reason, ch.Rank, found[i].Time)
		c.Decisions = append(c.Decisions, p.budget.Rule(wanted, p.engine.Accounts(worst.Partner))...)
	}
	c.Cases = lastOf(c.Cases)
	return c
}

// lastOf keeps the last state of each case.
func lastOf(cases []moat.Case) []moat.Case {
	at := map[string]int{}
	out := cases[:0]
	for _, c := range cases {
		if i, ok := at[c.ID]; ok {
			out[i] = c
			continue
		}
		at[c.ID] = len(out)
		out = append(out, c)
	}
	return out
}

// pause has the questions that wait answered, and now and then lets others on to the processor: without it they wait until the
// runtime interrupts the engine, 10 ms, and at every pause it would spoil the processor's caches. The engine calls it between groups of events.
func (p *partition) pause() {
	p.leave()
	if p.pauses++; p.pauses%pausesEach == 0 {
		p.n.breathe()
	} else if p.pauses%looksEach == 0 {
		p.n.Look()
	}
	p.own()
}

// looksEach is after how many pauses it is seen whether questions have come, and pausesEach after how many others may have the
// processor: a tenth of a millisecond, and a few.
const (
	looksEach  = 2
	pausesEach = 8
)

// do runs f in a turn of the caller's own, between two groups of events of the owner's.
func (p *partition) do(ctx context.Context, f func()) error {
	select {
	case p.turn <- struct{}{}:
		defer p.leave()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-p.ended:
		return ErrClosed
	default:
		f()
		return nil
	}
}

func (p *partition) stats(ctx context.Context) (s PartitionStats, err error) {
	err = p.do(ctx, func() {
		s = PartitionStats{Engine: p.engine.Stats(), Entities: map[string]int{}, Pairs: p.engine.Pairs(), Position: p.seq}
		for k, n := range p.engine.Entities() {
			if n > 0 {
				s.Entities[moat.EntityKind(k).String()] = n
			}
		}
	})
	s.GivenUp, s.Warning = p.store.letters.givenUp.Load(), p.warning()
	return s, err
}

// drain returns when the partition is as far as the river is now, and flushed, and says how far that is. What it
// told other partitions up to there is in the river, if there was room.
func (p *partition) drain(ctx context.Context) (upTo uint64, err error) {
	_, last, err := p.n.River.Bounds(ctx, p.id)
	if err != nil {
		return 0, err
	}
	for {
		var seq uint64
		if err := p.do(ctx, func() { seq = p.handed }); err != nil {
			return 0, err
		}
		if seq >= last {
			break
		}
		wait(ctx, 5*time.Millisecond)
	}
	var flushed error
	if err := p.do(ctx, func() { upTo = p.handed; flushed = p.flush(ctx) }); err != nil {
		return 0, err
	}
	return upTo, flushed
}

// flush makes all that the keeper was given durable in the store and the book. Others have their turns meanwhile. If ctx ends first, it
// happens all the same, later.
func (p *partition) flush(ctx context.Context) error {
	w := work{seq: p.handed, flushed: make(chan error, 1)}
	p.leave()
	defer p.own()
	select {
	case p.keep <- w:
	case <-p.ended:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-w.flushed:
		return err
	case <-p.ended:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// warn keeps what cannot be done until it can be done again, and logs each new reason once.
func (p *partition) warn(what string, err error) {
	if err == nil {
		p.warnings.Delete(what)
		return
	}
	if old, _ := p.warnings.Swap(what, err.Error()); old != err.Error() {
		p.n.log.Error(what, "partition", p.id, "error", err)
	}
}

// warning says what cannot be done now, or "".
func (p *partition) warning() string {
	var list []string
	p.warnings.Range(func(what, why any) bool {
		list = append(list, fmt.Sprintf("%s: %s", what, why))
		return true
	})
	slices.Sort(list)
	return strings.Join(list, "; ")
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
