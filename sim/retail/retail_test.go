package retail_test

import (
	"fmt"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/indicator"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/sim/retail"
)

// monday is the start of the worlds of these tests.
const monday = moat.Time(1_775_433_600) * moat.Second // 2026-04-06

// judge runs a world through the engine and the risk keeper.
func judge(t *testing.T, seed uint64, days int) (retail.Verdict, *retail.World) {
	t.Helper()
	w, err := retail.New(retail.Config{Seed: seed, Start: monday, Days: days})
	if err != nil {
		t.Fatal(err)
	}
	list, sources, err := detectors.All()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := rule.Compile(list, rule.Options{Sources: sources})
	if err != nil {
		t.Fatal(err)
	}
	table, err := indicator.Default()
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Config{Plan: plan, Net: func(ip string) rule.Net { return rule.NetOf(table, ip) }})
	if err != nil {
		t.Fatal(err)
	}
	keeper, cases := risk.NewKeeper(), map[string]moat.Case{}
	var events int
	for {
		day, ok := w.Next()
		if !ok {
			break
		}
		var b moat.BatchWriter
		for _, ev := range day {
			ev.Received = ev.Time + 100*moat.Millisecond
			b.Append(ev)
		}
		events += len(day)
		r, err := e.Step(b.Bytes(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range r.Findings {
			f := &r.Findings[i]
			if testing.Verbose() && f.Score >= 0.1 {
				t.Logf("  %s %s %s %.2f %s", f.Time.Std().Format("Mon 01-02 15:04"), f.Detector, f.Entity, f.Score, f.Reason)
			}
			for _, c := range keeper.Fold(f).Cases {
				cases[c.ID] = c
			}
		}
	}
	if s := e.Stats(); s.Clock > 0 || s.Late > 0 || s.Duplicates > 0 || s.Events != uint64(events) {
		t.Errorf("of %d events the engine says %+v", events, s)
	}
	var all []moat.Case
	for _, c := range cases {
		all = append(all, c)
	}
	t.Logf("seed %d: %d events, %d staff-days", seed, events, w.Staff())
	return retail.Judge(w.Thefts(), all), w
}

// TestThievesAreFound is the promise of the product in small.
func TestThievesAreFound(t *testing.T) {
	for _, seed := range []uint64{1, 2} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			v, _ := judge(t, seed, 35)
			if report(t, v); v.Found() < 5 || len(v.False) > 4 {
				t.Errorf("found %d of %d thefts and suspected %d times wrongly; want at least 5, at most 4", v.Found(), len(v.Outcomes), len(v.False))
			}
		})
	}
}

func report(t *testing.T, v retail.Verdict) {
	t.Helper()
	for _, o := range v.Outcomes {
		if o.Case == nil {
			t.Logf("MISSED %s (%s, from %s, %d taken) %v", o.Theft.Name, o.Theft.Partner, o.Theft.From, o.All, o.Theft.Culprits)
			continue
		}
		t.Logf("found  %s after %s, %d of %d taken, %s, %v, %d others", o.Theft.Name, o.Delay().Std().Format("02 15:04:05"), o.Lost, o.All, o.Case.Rank, o.Case.Detectors, len(o.Others))
	}
	for _, c := range v.False {
		t.Logf("false  %s %s %s %s %v: %s", c.Opened, c.Partner, c.Rank, c.Entities[0], c.Detectors, c.Reason)
	}
}
