package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/foresee"
	"github.com/moat-platform/moat/locate/trace"
)

// Complaints are traced by themselves. When is decided by the fold over all partners, so that it depends on the log alone; what was
// found goes into the log, so that a replay has it without tracing again. A question that waits is a part of the fold's state:
// after a crash it is asked again, and its answer counts once.

// lookForQuestions is how often a node looks whether complaints are to be traced.
const lookForQuestions = time.Second

// inquire answers the questions of the fold, one after the other, beside the engines.
func (n *Node) inquire(ctx context.Context) {
	tick := time.NewTicker(lookForQuestions)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for {
			more, err := n.answerOne(ctx)
			if err != nil && ctx.Err() == nil {
				n.log.Warn("complaints cannot be traced now", "error", err)
			}
			if !more || err != nil {
				break
			}
		}
	}
}

// watcher is the partition that watches all partners.
func (n *Node) watcher() *partition { return n.parts[n.River.PartitionOf(foresee.Everyone)] }

// answerOne answers the oldest question and tells whether there was one.
func (n *Node) answerOne(ctx context.Context) (more bool, err error) {
	n.inquiring.Lock()
	defer n.inquiring.Unlock()
	p := n.watcher()
	var q foresee.Question
	if err := p.do(ctx, func() { q, more = p.across.Asked() }); !more || err != nil {
		return false, err
	}
	if q.Number == n.answered { // its answer is on its way through the log
		return false, nil
	}
	named, err := n.traceComplaints(ctx, q)
	if errors.Is(err, trace.ErrInvalid) { // it will never be answered: it holds up no other
		n.log.Warn("complaints cannot be traced", "heard_up_to", q.At, "error", err)
	} else if err != nil {
		return true, err
	}
	var w moat.BatchWriter
	if err := p.do(ctx, func() {
		for _, e := range p.across.Answer(q, named) {
			w.Append(e)
		}
	}); err != nil {
		return true, err
	}
	if _, err := n.River.Append(ctx, p.id, w.Bytes()); err != nil {
		return true, fmt.Errorf("cannot write down what a trace named: %w", err)
	}
	n.answered = q.Number
	return true, nil
}

// traceComplaints traces the complaints of a question as of its time.
func (n *Node) traceComplaints(ctx context.Context, q foresee.Question) ([]foresee.Named, error) {
	if len(q.Complaints) == 0 {
		return nil, nil
	}
	t := trace.Question{Until: q.At}
	if !manyComplain(q.Complaints) {
		return nil, nil
	}
	for _, c := range q.Complaints {
		t.Orders = append(t.Orders, trace.Leaked{ID: c.Order, At: c.At, By: c.Reporter})
	}
	tr := n.Tracer()
	tr.Findings, tr.Complaints, tr.Blind = nil, nil, nil
	a, err := tr.Trace(ctx, moat.Everyone(), t)
	if err != nil {
		return nil, err
	}
	var out []foresee.Named
	for i := range a.Sources {
		if s := &a.Sources[i]; s.Named && s.P <= namedP && s.Posterior >= namedPosterior && s.Margin >= namedMargin {
			if f, ok := namedFinding(s, a.Orders.Known); ok {
				out = append(out, foresee.Named{Posterior: min(1, s.Posterior), Finding: f})
			}
		}
	}
	return out, nil
}

// reportersMin is how many different people must complain before anybody is accused unasked: fewer may be one who means harm.
const reportersMin = 3

// manyComplain tells whether there are so many. A complaint that names nobody is another person's.
func manyComplain(list []foresee.Complaint) bool {
	by := map[string]bool{}
	for i := range list {
		by[cmp.Or(list[i].Reporter, "buyer of "+list[i].Order)] = true
	}
	return len(by) >= reportersMin
}

// namedP is how surely no chance a source is that is told unasked: within four weeks 28 looks share the hundredth that one may err by.
const namedP = 0.01 / 28

// namedPosterior is how likely a source is at least that is told unasked: among many leaks who worked beside a thief is often likelier than not.
const namedPosterior = 0.9

// namedMargin is the same for the orders alone: as many times better they are explained with it than without it. What is usual of a kind tells a
// person from the program beside it where the orders hardly do.
const namedMargin = namedPosterior / (1 - namedPosterior)

// namedFinding says of a source what its partner is told. A destination, a version of an app, or as whom a program signs in, is told of the
// app through which the orders went, and listed beside it.
func namedFinding(s *trace.Source, known int) (f moat.Finding, ok bool) {
	steps := map[string]string{}
	for _, p := range s.Path {
		steps[p.Kind] = p.ID
	}
	f.Partner = cmp.Or(s.Partner, steps["partner"])
	kind, id := s.Kind, s.ID
	for _, m := range s.Members[1:] {
		if m.Kind == "app" && (kind == "ip" || kind == "host") { // where only the app is
			kind, id = m.Kind, m.ID
		}
	}
	if s.Members[0].Program && steps["app"] != "" {
		kind, id = "app", steps["app"]
	}
	k, err := moat.ParseEntityKind(kind)
	if err != nil || k == moat.Destination {
		if kind, id = "app", steps["app"]; id == "" {
			kind, id = "partner", f.Partner
		}
	}
	k, err = moat.ParseEntityKind(kind)
	if err != nil || f.Partner == "" || id == "" {
		return f, false
	}
	f.Entity = moat.Entity{Kind: k, ID: id}
	for _, m := range s.Members {
		switch k, _ := moat.ParseEntityKind(m.Kind); k {
		case moat.Account, moat.Device, moat.IP, moat.Host, moat.Destination:
			if e := (moat.Entity{Kind: k, ID: m.ID}); e != f.Entity && len(f.Related) < maxRelated {
				f.Related = append(f.Related, e)
			}
		}
	}
	f.Reason = fmt.Sprintf("%s had %d of the %d orders in hand that customers complained about within four weeks, %.2g times what chance would give; %s",
		strings.TrimSuffix(s.Name, "."), s.Leaked, known, s.Lift, ownedBy(s))
	f.Evidence = []moat.Evidence{{Name: "explains", Value: float64(s.Explains)}, {Name: "leaked", Value: float64(s.Leaked)}, {Name: "touched", Value: s.Touched},
		{Name: "lift", Value: s.Lift}, {Name: "p", Value: s.P}, {Name: "posterior", Value: s.Posterior}, {Name: "known", Value: float64(known)},
		{Name: "reporters", Value: float64(s.Reports.By)}, {Name: "first_touch", Value: seconds(s.First)}, {Name: "since", Value: seconds(s.Since)}, {Name: "until", Value: seconds(s.Until)},
		{Name: "first_report", Value: seconds(s.Reports.First)}, {Name: "last_report", Value: seconds(s.Reports.Last)}}
	f.Orders, f.Stake, f.Weight, f.Egress = int64(s.Explains), int64(s.Leaked), s.Shown, true
	return f, true
}

// seconds is a time as evidence has it: since 1970.
func seconds(t moat.Time) float64 { return float64(t / moat.Second) }

// ownedBy says how many orders nobody explains better than a source.
func ownedBy(s *trace.Source) string {
	if s.Explains >= s.Leaked {
		return "nobody explains them better"
	}
	return fmt.Sprintf("nobody explains %d of them better, others explain the rest", s.Explains)
}

// maxRelated bounds what a finding names besides its entity: the places of a person, a server, a destination.
const maxRelated = 4

// settleComplaints has complaints traced that were heard and not asked for yet, and waits for the answers; it tells whether there was any.
func (n *Node) settleComplaints(ctx context.Context) (more bool, err error) {
	p := n.watcher()
	var ask *moat.Event
	if err := p.do(ctx, func() {
		if _, waits := p.across.Asked(); waits {
			more = true
		} else if p.across.Untraced() > 0 {
			ask = p.across.Settle(p.handed)
		}
	}); err != nil {
		return false, err
	}
	if ask != nil {
		var w moat.BatchWriter
		w.Append(ask)
		_, err := n.River.Append(ctx, p.id, w.Bytes())
		return true, err
	}
	if more {
		_, err = n.answerOne(ctx)
	}
	return more, err
}
