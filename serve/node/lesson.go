package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/store/book"
)

// What people say reaches the risks as lessons. The book numbers them; each partition learns them between two messages and
// writes down, before it does, between which: a replay learns them at the same place.

// budgetFile says how many false alarms a detector may raise.
const budgetFile = "verdicts.yaml"

// loadBudget reads the budget of false alarms of a data folder, or gives the default.
func loadBudget(dir string) (risk.Budget, error) {
	b := risk.DefaultBudget()
	path := filepath.Join(dir, budgetFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return b, fmt.Errorf("cannot read budget of false alarms: %w", err)
	}
	defer f.Close()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(&b); err != nil {
		return b, fmt.Errorf("cannot read budget of false alarms in %s: %w", path, err)
	}
	if b.Judged < 1 || !(b.Precision >= 0 && b.Precision <= 1) {
		return b, fmt.Errorf("cannot read budget of false alarms in %s: judged must be 1 or more, precision 0 to 1", path)
	}
	return b, nil
}

// school is what a node learned, for those who ask.
type school struct {
	mu      sync.Mutex
	learned *risk.Learned
	budget  risk.Budget
}

// Judge is [book.Book.Judge], of which the node learns at once.
func (n *Node) Judge(ctx context.Context, t moat.Tenant, id string, v moat.Verdict, by string) error {
	return n.taught(ctx, n.Book.Judge(ctx, t, id, v, by))
}

// Snooze is [book.Book.Snooze], of which the node learns at once.
func (n *Node) Snooze(ctx context.Context, t moat.Tenant, s book.Snooze, by string) (book.Snooze, error) {
	s, err := n.Book.Snooze(ctx, t, s, by)
	return s, n.taught(ctx, err)
}

// Wake is [book.Book.Wake], of which the node learns at once.
func (n *Node) Wake(ctx context.Context, t moat.Tenant, id, by string) (book.Snooze, error) {
	s, err := n.Book.Wake(ctx, t, id, by)
	return s, n.taught(ctx, err)
}

// Promote lets a detector that was demoted bring decisions again.
func (n *Node) Promote(ctx context.Context, t moat.Tenant, detector, by string) error {
	_, err := n.Book.Promote(ctx, t, detector, by)
	return n.taught(ctx, err)
}

// taught learns after something was said. What was said is in the book: if it cannot be learned now, it will be soon.
func (n *Node) taught(ctx context.Context, err error) error {
	if err == nil {
		if err := n.learn(ctx); err != nil {
			n.log.Warn("what was said is not learned yet", "error", err)
		}
	}
	return err
}

// Verdicts tells what people said of each detector's cases that t sees, and why those that were demoted are.
func (n *Node) Verdicts(t moat.Tenant) (tallies map[string]risk.Tally, demotions map[string]string) {
	n.school.mu.Lock()
	defer n.school.mu.Unlock()
	demotions = map[string]string{}
	for _, d := range n.Plan.Detectors {
		if reason := n.school.learned.Demotion(d.ID); reason != "" {
			demotions[d.ID] = reason
		}
	}
	return n.school.learned.Tallies(t), demotions
}

// learn takes up what was said, demotes detectors that spent their budget by it, and has the partitions learn.
func (n *Node) learn(ctx context.Context) error {
	if err := n.study(ctx); err != nil {
		return err
	}
	for _, p := range n.parts {
		var err error
		if e := p.do(ctx, func() { err = p.learn(ctx) }); e != nil || err != nil {
			return errors.Join(e, err)
		}
	}
	return nil
}

func (n *Node) study(ctx context.Context) error {
	s := &n.school
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := n.Book.LearnInto(ctx, s.learned); err != nil {
		return err
	}
	for id, reason := range s.learned.Spent(s.budget) {
		turned, err := n.Book.Demote(ctx, id, reason)
		if err != nil {
			return err
		}
		if turned {
			n.log.Warn("a detector was demoted: it brings no decisions until it is promoted", "detector", id, "reason", reason)
		}
	}
	return n.Book.LearnInto(ctx, s.learned)
}

// placed is a lesson and the message after which it is learned.
type placed struct {
	lesson *risk.Lesson
	after  uint64
}

// learn takes up the lessons that are new. Those that come while the engine still folds again what it had before wait
// for the place of the last that is due. It runs on the owner's goroutine, perhaps within a message, whose findings are then folded with them.
func (p *partition) learn(ctx context.Context) error {
	last, at := p.risks.Learned().Last(), p.seq
	if n := len(p.due); n > 0 {
		last, at = p.due[n-1].lesson.Seq, max(at, p.due[n-1].after)
	}
	for {
		list, err := p.n.Book.Lessons(ctx, last)
		if err != nil || len(list) == 0 {
			return err
		}
		if err := p.place(ctx, list, at); err != nil {
			return err
		}
		last = list[len(list)-1].Seq
		p.learnUpTo(p.seq)
	}
}

// place writes down that lessons are learned after the message at, and lines them up.
func (p *partition) place(ctx context.Context, list []*risk.Lesson, at uint64) error {
	places := make([]book.Place, len(list))
	for i, l := range list {
		places[i] = book.Place{Lesson: l.Seq, After: at}
	}
	if err := p.n.Book.PutPlaces(ctx, p.id, places); err != nil {
		return err
	}
	for _, l := range list {
		p.due = append(p.due, placed{l, at})
	}
	return nil
}

// learnUpTo learns what is due after the message seq.
func (p *partition) learnUpTo(seq uint64) {
	for len(p.due) > 0 && p.due[0].after <= seq {
		p.risks.Learn(p.due[0].lesson)
		p.due = p.due[1:]
	}
}

// recall brings the lessons up to the one that a snapshot knew back to mind, and lines up the others. Those that have no
// place, because nobody was at work when they were given, are learned when all that the log holds now is folded.
func (p *partition) recall(ctx context.Context, known uint64) error {
	learned, due, err := recall(ctx, p.n.Book, p.id, known, p.risks)
	if err != nil {
		return err
	}
	if learned < known {
		p.n.log.Warn("the book has lost lessons: what verdicts taught is forgotten", "partition", p.id, "lessons", learned, "known", known)
	}
	p.due = nil
	for i, x := range due {
		if x.after != noPlace {
			p.due = append(p.due, x)
			continue
		}
		_, last, err := p.n.River.Bounds(ctx, p.id)
		if err != nil {
			return err
		}
		if n := len(p.due); n > 0 {
			last = max(last, p.due[n-1].after)
		}
		var rest []*risk.Lesson
		for _, x := range due[i:] {
			rest = append(rest, x.lesson)
		}
		if err := p.place(ctx, rest, max(last, p.seq)); err != nil {
			return err
		}
		break
	}
	p.learnUpTo(p.seq)
	return nil
}

// noPlace is that of a lesson that a partition has not learned yet.
const noPlace = ^uint64(0)

// recall teaches a keeper the lessons up to known, and returns the last of them and the others with their places. Places
// never go back, and after one that has none no lesson has one.
func recall(ctx context.Context, b *book.Book, partition int, known uint64, k *risk.Keeper) (last uint64, due []placed, err error) {
	places, err := b.Places(ctx, partition, known)
	if err != nil {
		return 0, nil, err
	}
	after := map[uint64]uint64{}
	for _, p := range places {
		after[p.Lesson] = p.After
	}
	var at uint64
	for seen := uint64(0); ; {
		list, err := b.Lessons(ctx, seen)
		if err != nil || len(list) == 0 {
			return k.Learned().Last(), due, err
		}
		for _, l := range list {
			if seen = l.Seq; seen <= known {
				k.Learned().Learn(l)
				continue
			}
			x, ok := after[seen]
			if !ok {
				x = noPlace
			}
			at = max(at, x)
			due = append(due, placed{l, at})
		}
	}
}
