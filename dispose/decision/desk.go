package decision

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/book"
)

// Desk is where decisions are asked for and worked with. It holds those in
// force in memory and follows the book, so that it also sees what another
// process changed. Its methods may be called at the same time.
type Desk struct {
	book *book.Book
	log  *slog.Logger

	follow sync.Mutex // one Refresh at a time
	seq    uint64     // record of the audit trail up to which the index is
	swept  moat.Time

	mu      sync.RWMutex
	index   index
	changed chan struct{}
}

// Open loads the decisions that are in force at now or will be.
func Open(ctx context.Context, b *book.Book, now moat.Time, log *slog.Logger) (*Desk, error) {
	d := &Desk{book: b, log: log, index: newIndex(), changed: make(chan struct{}), swept: now}
	seq, _, err := b.AuditHead(ctx) // first: what changes while we read comes again by Refresh
	if err != nil {
		return nil, fmt.Errorf("cannot load decisions: %w", err)
	}
	d.seq = seq
	for _, q := range []book.Query{{Active: now}, {Since: now}} {
		for v, err := range b.AllDecisions(ctx, moat.Everyone(), q) {
			if err != nil {
				return nil, fmt.Errorf("cannot load decisions: %w", err)
			}
			d.index.put(&v)
		}
	}
	if err := d.Refresh(ctx, now); err != nil {
		return nil, err
	}
	return d, nil
}

// Refresh takes in what has changed in the book. Call it after each commit of
// decisions, and every few seconds for what other processes do; it costs one
// small read when nothing has changed.
func (d *Desk) Refresh(ctx context.Context, now moat.Time) error {
	d.follow.Lock()
	defer d.follow.Unlock()
	for {
		list, seq, err := d.book.Changed(ctx, moat.Everyone(), d.seq)
		if err != nil {
			return fmt.Errorf("cannot refresh decisions: %w", err)
		}
		if seq == d.seq {
			return nil
		}
		d.take(list, now)
		d.seq = seq
	}
}

// take puts the decisions into the index as they are now.
func (d *Desk) take(list []moat.Decision, now moat.Time) {
	if len(list) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range list {
		d.index.put(&list[i])
	}
	if now >= d.swept+moat.Minute {
		d.index.sweep(now)
		d.swept = now
	}
	close(d.changed)
	d.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next change of decisions.
// Decisions that end by time close nothing.
func (d *Desk) Changed() <-chan struct{} {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.changed
}

// Strongest returns the most severe decision that is in force at now for any
// of the targets; an ip is also met by ranges. It allocates nothing.
func (d *Desk) Strongest(now moat.Time, partner string, targets ...Target) (moat.Decision, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var best *moat.Decision
	for _, t := range targets {
		for list := range d.index.lists(partner, t) {
			for _, v := range list { // the most severe first
				if v.Active(now) {
					if best == nil || stronger(v, best) < 0 {
						best = v
					}
					break
				}
			}
		}
	}
	if best == nil {
		return moat.Decision{}, false
	}
	return *best, true
}

// At returns all decisions in force at now for a target, the most severe first.
func (d *Desk) At(now moat.Time, partner string, t Target) []moat.Decision {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var all []moat.Decision
	for list := range d.index.lists(partner, t) {
		for _, v := range list {
			if v.Active(now) {
				all = append(all, *v)
			}
		}
	}
	slices.SortFunc(all, func(a, b moat.Decision) int { return stronger(&a, &b) })
	return all
}

// All returns every decision that the tenant sees and that is in force at now,
// in the order of From.
func (d *Desk) All(t moat.Tenant, now moat.Time) []moat.Decision {
	d.mu.RLock()
	var all []moat.Decision
	for _, v := range d.index.byID {
		if t.Sees(v.Partner) && v.Active(now) {
			all = append(all, *v)
		}
	}
	d.mu.RUnlock()
	slices.SortFunc(all, func(a, b moat.Decision) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.ID, b.ID)) })
	return all
}

// Undo ends a decision now. Undoing it again changes nothing.
func (d *Desk) Undo(ctx context.Context, t moat.Tenant, now moat.Time, id, by string) (moat.Decision, error) {
	v, err := d.book.Undo(ctx, t, id, by)
	return d.done(ctx, now, v, err)
}

// UndoCase ends all decisions of a case now and returns them.
func (d *Desk) UndoCase(ctx context.Context, t moat.Tenant, now moat.Time, caseID, by string) ([]moat.Decision, error) {
	var undone []moat.Decision
	for v, err := range d.book.AllDecisions(ctx, t, book.Query{Case: caseID}) {
		if err != nil {
			return undone, err
		}
		if v.Undone != 0 || v.Until <= now {
			continue
		}
		if v, err = d.Undo(ctx, t, now, v.ID, by); err != nil {
			return undone, err
		}
		undone = append(undone, v)
	}
	return undone, nil
}

// Approve adds a person's approval to a decision that waits for it, and puts it
// in force when [Approvers] different people have approved.
func (d *Desk) Approve(ctx context.Context, t moat.Tenant, now moat.Time, id, by string) (moat.Decision, error) {
	v, err := d.book.Decision(ctx, t, id)
	if err != nil {
		return moat.Decision{}, err
	}
	v, err = d.book.Approve(ctx, t, id, Approvers(&v), by)
	return d.done(ctx, now, v, err)
}

// Decide makes a decision by hand. A wide one waits for a second person; the
// harm budget does not bind people.
func (d *Desk) Decide(ctx context.Context, t moat.Tenant, now moat.Time, v moat.Decision, by string) (moat.Decision, error) {
	v.Approval = ""
	if Wide(&v) {
		v.Approval = wideReason(&v)
	}
	v, err := d.book.Decide(ctx, t, v, by)
	return d.done(ctx, now, v, err)
}

// done refreshes the index after a person's act. The act stands even if that
// fails; the next Refresh makes up for it.
func (d *Desk) done(ctx context.Context, now moat.Time, v moat.Decision, err error) (moat.Decision, error) {
	if err != nil {
		return moat.Decision{}, err
	}
	if err := d.Refresh(ctx, now); err != nil {
		d.log.ErrorContext(ctx, "decision: index is behind the book", "error", err)
	}
	return v, nil
}
