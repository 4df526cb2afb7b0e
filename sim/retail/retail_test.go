package retail_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/indicator"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/sim/retail"
	"github.com/moat-platform/moat/sim/truth"
)

// monday is the start of the worlds of these tests.
const monday = moat.Time(1_775_433_600) * moat.Second // 2026-04-06

// judge runs a world through the engine and the risk keeper.
func judge(t *testing.T, seed uint64, days int) (truth.Verdict, *retail.World) {
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
	keeper, cases := risk.NewKeeper(risk.Calibration{}), map[string]moat.Case{}
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
	return truth.Judge(w.Thefts(), all, nil, nil), w
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

func report(t *testing.T, v truth.Verdict) {
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

// TestSameSeed: the same seed gives the same events, another seed others.
func TestSameSeed(t *testing.T) {
	hash := func(seed uint64) [32]byte {
		w, err := retail.New(retail.Config{Seed: seed, Start: monday, Days: retail.MinDays})
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		var b []byte
		for {
			day, ok := w.Next()
			if !ok {
				return [32]byte(h.Sum(nil))
			}
			for _, e := range day {
				b = moat.AppendJSON(b[:0], e)
				h.Write(b)
			}
		}
	}
	if a := hash(4); a != hash(4) || a == hash(5) {
		t.Error("the seed does not decide which events there are")
	}
}

// TestContract: every event is one that a partner may send, in order, within the world's time; the
// truth names events that there are.
func TestContract(t *testing.T) {
	w, err := retail.New(retail.Config{Seed: 6, Start: monday, Days: retail.MaxDays})
	if err != nil {
		t.Fatal(err)
	}
	var d moat.Decoder
	var back moat.Event
	var last moat.Time
	ids, types := map[string]moat.Time{}, map[moat.EventType]int{}
	there := map[string]bool{} // orders that the platform has handed out
	for {
		day, ok := w.Next()
		if !ok {
			break
		}
		for _, e := range day {
			if e.Time < last || e.Time < w.Start() || e.Time >= w.End()+moat.Day {
				t.Fatalf("event at %s after %s, of a world from %s to %s", e.Time, last, w.Start(), w.End())
			}
			last = e.Time
			if ids[e.ID] != 0 {
				t.Fatalf("two events have the id %s", e.ID)
			}
			ids[e.ID] = e.Time
			for _, o := range e.Orders {
				if e.Method == "orders.list" {
					there[o] = true
				} else if !there[o] && e.Outcome == moat.Success {
					t.Fatalf("%s of %s touches order %s at %s, before anyone has it", e.Type, e.Actor, o, e.Time)
				}
			}
			types[e.Type]++
			partner := e.Partner
			e.Partner = ""
			text := moat.AppendJSON(nil, e)
			if err := d.Decode(text, &back); err != nil {
				t.Fatalf("event of %s: %v\n%s", partner, err, text)
			}
		}
	}
	if len(types) < 10 || len(ids) < 70_000 {
		t.Errorf("%d events of %d types", len(ids), len(types))
	}
	thefts := w.Thefts()
	if len(thefts) != 6 {
		t.Fatalf("%d thefts", len(thefts))
	}
	for _, theft := range thefts {
		if theft.From < w.Start()+14*moat.Day || theft.To < theft.From || len(theft.Acts) < 10 || len(theft.Culprits) < 2 {
			t.Errorf("theft %q from %s to %s with %d acts by %v", theft.Name, theft.From, theft.To, len(theft.Acts), theft.Culprits)
		}
		for _, a := range theft.Acts {
			if ids[a.Event] != a.Time {
				t.Errorf("theft %q has an act %+v that is no event", theft.Name, a)
			}
		}
	}
}

// TestBounds refuses what there are no orders for.
func TestBounds(t *testing.T) {
	for _, c := range []retail.Config{{Start: monday, Days: retail.MinDays - 1}, {Start: monday, Days: retail.MaxDays + 1}, {Start: monday + moat.Day}, {Start: monday + 1}, {}} {
		if _, err := retail.New(c); err == nil {
			t.Errorf("%+v makes a world", c)
		}
	}
}
