package engine_test

import (
	"math/bits"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/sim/load"
)

// work is what an event gives an engine to do: features that take it in unless other features have a say, pairs that are
// looked up for them, detectors that are asked, lines of records that are fetched.
type work struct{ takes, pairs, asks, lines float64 }

// budget is the most that an average event of a type may give to do, a little above what it does. A detector that does
// not fit wants a narrower `on` or `where`, or features that others have, too; what stands here is raised with a reason.
var budget = map[moat.EventType]work{
	moat.OrderAccess:   {35, 7, 14, 42},
	moat.HTTPRequest:   {5, 1, 2, 10},
	moat.AuthLogin:     {24, 11, 14, 21},
	moat.OrderTransmit: {23, 6, 7, 27},
	moat.DBQuery:       {19, 8, 2, 19},
	moat.HostProcess:   {10, 3, 6, 12},
}

// TestBudget counts the work of plausible events under all detectors that ship. It is the same on every machine.
func TestBudget(t *testing.T) {
	p := plan(t)
	sorter, frame := p.NewSorter(), p.NewFrame()
	frame.Look = net
	s := load.New(load.Config{Accounts: 10_000, Seed: 2})
	sittings := map[string]rule.Sitting{}
	var n [moat.EventTypes]float64
	var sum [moat.EventTypes]work
	for range 20_000 {
		ev := s.Next()
		frame.Begin(ev)
		who := ev.Partner + " " + ev.Actor
		sittings[who] = frame.Sitting(sittings[who], ev.Time)
		shape, w := sorter.Shape(&frame), &sum[ev.Type]
		n[ev.Type]++
		for _, run := range shape.Runs {
			if named(ev, run.Of) {
				w.takes += float64(len(run.Takes))
			}
		}
		w.pairs += float64(len(shape.Fetch) + len(shape.Lists))
		w.asks += float64(len(shape.Detectors))
		w.lines += float64(linesOf(ev, shape))
	}
	for typ, most := range budget {
		got := work{sum[typ].takes / n[typ], sum[typ].pairs / n[typ], sum[typ].asks / n[typ], sum[typ].lines / n[typ]}
		t.Logf("%s: %.1f", typ, got)
		if got.takes > most.takes || got.pairs > most.pairs || got.asks > most.asks || got.lines > most.lines {
			t.Errorf("%s: %.1f features take an average event in, with %.1f pairs and %.1f lines, and %.1f detectors are asked; the most are %.0f, %.0f, %.0f and %.0f",
				typ, got.takes, got.pairs, got.lines, got.asks, most.takes, most.pairs, most.lines, most.asks)
		}
	}
}

// named tells whether ev has an entity of kind k.
func named(ev *moat.Event, k moat.EntityKind) bool {
	return ev.EntityID(k) != ""
}

func linesOf(ev *moat.Event, s *rule.Shape) (n int) {
	for _, l := range s.Far {
		if named(ev, l.Of) {
			n += bits.OnesCount64(l.Bits)
		}
	}
	return n
}
