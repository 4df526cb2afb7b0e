package foresee_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/foresee"
)

func plan(t testing.TB) *rule.Plan {
	t.Helper()
	list, sources, err := detectors.All()
	if err != nil {
		t.Fatal(err)
	}
	p, err := rule.Compile(list, rule.Options{Sources: sources})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// part is one part of a log with its owner.
type part struct {
	engine *engine.Engine
	across *foresee.Across
}

func limits() engine.Limits {
	l := engine.Limits{Pairs: 1 << 17, PairQuota: 1 << 17, IDs: 1 << 18, Partners: 64}
	for k := range l.Records {
		l.Records[k], l.Quota[k] = 1<<12, 1<<12
	}
	return l
}

func open(t testing.TB, p *rule.Plan) part { return openPart(t, p, 0, 0) }

func openPart(t testing.TB, p *rule.Plan, i, parts int) part {
	t.Helper()
	a := foresee.New(foresee.Config{Plan: p, Key: foresee.Key{1}, Limits: limits(), Part: i, Parts: parts})
	e, err := engine.New(engine.Config{Plan: p, After: a.See, Limits: limits()})
	if err != nil {
		t.Fatal(err)
	}
	return part{e, a}
}

// again is p after a snapshot and a restart.
func (p part) again(t *testing.T, plan *rule.Plan) part {
	t.Helper()
	var b bytes.Buffer
	if err := p.engine.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	if err := p.across.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	q := open(t, plan)
	if err := q.engine.Restore(&b); err != nil {
		t.Fatal(err)
	}
	if err := q.across.Restore(&b); err != nil {
		t.Fatal(err)
	}
	if b.Len() != 0 {
		t.Fatalf("%d bytes of the snapshot were not read", b.Len())
	}
	return q
}

// days is a stream of seven partners at work with a thief who goes from one to the next.
func days() []*moat.Event {
	r := rand.New(rand.NewPCG(5, 7))
	start, _ := moat.ParseTime("2026-03-02T00:00:00Z")
	var out []*moat.Event
	add := func(at moat.Time, partner int, e moat.Event) {
		e.Partner, e.ID, e.Time, e.Received, e.App = fmt.Sprintf("house%d", partner), fmt.Sprintf("e%06d", len(out)), at, at, "erp"
		e.MarkAll()
		out = append(out, &e)
	}
	for day := range 3 {
		for minute := 0; minute < 1440; minute += 2 {
			at := start + moat.Time(day)*moat.Day + moat.Time(minute)*moat.Minute
			p := r.IntN(7)
			who := r.IntN(9)
			add(at, p, moat.Event{Type: moat.OrderAccess, Actor: fmt.Sprintf("u%d", who), IP: fmt.Sprintf("9.%d.7.%d", p, who), Device: fmt.Sprintf("d%d-%d", p, who), Operation: "view", Orders: []string{fmt.Sprintf("o%d", minute)}})
			if day == 2 && minute >= 600 && minute < 720 { // the thief
				for k := range 12 {
					add(at+moat.Time(k)*moat.Second, minute/2%7, moat.Event{Type: moat.AuthLogin, Outcome: moat.Failure, Actor: fmt.Sprintf("u%d", k), IP: "45.9.1.2", Device: "burner"})
				}
			}
		}
	}
	return out
}

// run folds the stream through parts of a log: sightings go to the part of [foresee.Everyone], warnings to those of their
// partners, in the order of time. Every batch is offered twice when twice is set, as after a crash.
func run(t *testing.T, p *rule.Plan, parts, batch, restart int, twice bool) (all []moat.Finding, wire []byte) {
	t.Helper()
	list := make([]part, parts)
	for i := range list {
		list[i] = open(t, p)
	}
	home := func(partner string) int { return int(rule.HashSeed(9).Text(partner) % uint64(parts)) }
	var feed func(i int, b []byte)
	feed = func(i int, b []byte) {
		r, err := list[i].engine.Step(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		out, err := list[i].across.Step()
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, r.Findings...), out.Given...)
		if out.Sightings != nil {
			wire = append(wire, out.Sightings...)
			feed(home(foresee.Everyone), out.Sightings)
			if twice {
				feed(home(foresee.Everyone), out.Sightings)
			}
		}
		for _, e := range out.Warnings {
			var w moat.BatchWriter
			w.Append(e)
			feed(home(e.Partner), w.Bytes())
			if twice {
				feed(home(e.Partner), w.Bytes())
			}
		}
	}
	n := 0
	for chunk := range slices.Chunk(days(), batch) {
		// A batch of the log is of one part: cut where the partner changes, so that sightings keep the order of time.
		for len(chunk) > 0 {
			k := 1
			for parts > 1 && k < len(chunk) && home(chunk[k].Partner) == home(chunk[0].Partner) || parts == 1 && k < len(chunk) {
				k++
			}
			var w moat.BatchWriter
			for _, e := range chunk[:k] {
				w.Append(e)
			}
			feed(home(chunk[0].Partner), w.Bytes())
			chunk = chunk[k:]
		}
		if n++; restart > 0 && n%restart == 0 {
			for i := range list {
				list[i] = list[i].again(t, p)
			}
		}
	}
	return all, wire
}

// across keeps what detectors over sightings found, as sorted lines.
func lines(found []moat.Finding) string {
	var out []string
	for _, f := range found {
		if f.Family == "across" {
			out = append(out, fmt.Sprintf("%s %s %s %s %s %.3f %s", f.ID, f.Partner, f.Detector, f.Entity, f.Time, f.Score, f.Reason))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// However the log is cut into parts and batches, wherever it was stopped, and whatever came twice: the same findings.
func TestSameFindings(t *testing.T) {
	p := plan(t)
	all, _ := run(t, p, 1, 64, 0, false)
	want := lines(all)
	for _, detector := range []string{"across.lockstep", "across.shared_device"} {
		if strings.Count(want, detector) < 4 {
			t.Errorf("%s is given to fewer than 4 partners: the test shows little\n%s", detector, want)
		}
	}
	for _, c := range []struct {
		parts, batch, restart int
		twice                 bool
	}{{1, 1, 0, false}, {1, 4096, 0, false}, {8, 64, 0, false}, {1, 64, 5, false}, {8, 257, 3, false}, {8, 64, 0, true}, {3, 64, 7, true}} {
		all, _ := run(t, p, c.parts, c.batch, c.restart, c.twice)
		if got := lines(all); got != want {
			t.Errorf("%+v: other findings:\n%s\nwant\n%s", c, got, want)
		}
	}
}

// The parts of the log are worked on one after the other, to their ends, and their sightings come in that order: the same findings, also
// when the part that watches is stopped in between.
func TestPartsAhead(t *testing.T) {
	p := plan(t)
	all, _ := run(t, p, 1, 64, 0, false)
	want := lines(all)
	for _, parts := range []int{1, 2, 8} {
		t.Run(strconv.Itoa(parts), func(t *testing.T) {
			home := func(partner string) int { return int(rule.HashSeed(9).Text(partner) % uint64(parts)) }
			streams, told := make([][]*moat.Event, parts), make([][][]byte, parts)
			for _, e := range days() {
				streams[home(e.Partner)] = append(streams[home(e.Partner)], e)
			}
			last := days()[len(days())-1].Time
			list := make([]part, parts)
			for i := range list {
				list[i] = openPart(t, p, i, parts)
				step := func(chunk []*moat.Event) {
					var w moat.BatchWriter
					for _, e := range chunk {
						w.Append(e)
					}
					if _, err := list[i].engine.Step(w.Bytes(), nil); err != nil {
						t.Fatal(err)
					}
					out, err := list[i].across.Step()
					if err != nil {
						t.Fatal(err)
					}
					if out.Sightings != nil {
						told[i] = append(told[i], out.Sightings)
					}
				}
				for chunk := range slices.Chunk(streams[i], 100) {
					step(chunk)
				}
				list[i].across.Vouch(last + moat.Hour)
				step(nil)
			}
			var warnings []*moat.Event
			watch := openPart(t, p, 0, parts)
			for _, sent := range told {
				for k, b := range sent {
					if _, err := watch.engine.Step(b, nil); err != nil {
						t.Fatal(err)
					}
					out, err := watch.across.Step()
					if err != nil {
						t.Fatal(err)
					}
					warnings = append(warnings, out.Warnings...)
					if k%7 == 3 {
						watch = watch.again(t, p)
					}
				}
			}
			var found []moat.Finding
			for _, w := range warnings {
				f, ok := foresee.Given(w)
				if !ok {
					t.Fatal("a warning carries no finding")
				}
				if !slices.ContainsFunc(found, func(g moat.Finding) bool { return g.ID == f.ID }) { // surer of the same event: one
					found = append(found, f)
				}
			}
			if got := lines(found); got != want {
				t.Errorf("other findings:\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// What crosses partners names nobody, and what one is given names no other.
func TestNamesNobody(t *testing.T) {
	all, wire := run(t, plan(t), 4, 64, 0, false)
	for _, secret := range []string{"house", "45.9.1.2", "burner", "9.1.7.", "u3"} {
		if secret != "u3" && bytes.Contains(wire, []byte(secret)) {
			t.Errorf("%q is in the clear in a sighting", secret)
		}
	}
	events := map[string]string{} // of partners
	for _, e := range days() {
		events[e.ID] = e.Partner
	}
	given := 0
	for _, f := range all {
		if f.Family != "across" {
			continue
		}
		given++
		text := fmt.Sprint(f)
		for i := range 7 {
			if other := fmt.Sprintf("house%d", i); other != f.Partner && strings.Contains(text, other) {
				t.Errorf("%s is given a finding that names %s: %s", f.Partner, other, text)
			}
		}
		if f.Entity.Kind == moat.IP && f.Entity.ID != "45.9.1.2" || f.Entity.Kind == moat.Device && f.Entity.ID != "burner" {
			t.Errorf("%s is given %s", f.Partner, f.Entity)
		}
		if len(f.Events) != 1 || events[f.Events[0]] != f.Partner {
			t.Errorf("%s is given events %v", f.Partner, f.Events)
		}
	}
	if given == 0 {
		t.Error("nothing was given")
	}
}

// A partner cannot make itself a warning, or one for another.
func TestForged(t *testing.T) {
	for _, extra := range []string{"", "{", `{"partner":"b"}`, `[]`} {
		if f, ok := foresee.Given(&moat.Event{Partner: "a", Type: moat.Sighting, Kind: "warning", Extra: extra}); ok {
			t.Errorf("%q is taken for %+v", extra, f)
		}
	}
}

// A damaged snapshot is refused and does not bring anything down.
func FuzzRestore(f *testing.F) {
	p := plan(f)
	a := open(f, p)
	var w moat.BatchWriter
	for _, e := range days()[:50] {
		w.Append(e)
	}
	if _, err := a.across.Run(a.engine, w.Bytes()); err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	if err := a.across.Snapshot(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()/2])
	f.Add([]byte("MOATACR1\x01\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		_ = open(t, p).across.Restore(bytes.NewReader(text))
	})
}

// crowd are n events of people who come to a partner, with an address and a device each.
func crowd(n int) []*moat.Event {
	list := make([]*moat.Event, n)
	for i := range list {
		list[i] = &moat.Event{Partner: "p1", Time: moat.Time(i) * moat.Second / 100, Type: moat.AuthLogin, Actor: fmt.Sprint("user", i),
			IP: fmt.Sprintf("62.%d.%d.1", i>>8, i&255), Device: fmt.Sprint("dev-", i*7)}
	}
	return list
}

// Thousands of pairs are told once each: they do not displace one another from the table.
func TestToldOnce(t *testing.T) {
	a, list := open(t, plan(t)).across, crowd(5000)
	told := func() (n int) {
		for _, e := range list {
			a.See(e, e.Time, true, nil)
		}
		out, err := a.Step()
		if err != nil {
			t.Fatal(err)
		}
		var r moat.BatchReader
		if out.Sightings == nil {
			return 0
		}
		if err := r.Open(out.Sightings); err != nil {
			t.Fatal(err)
		}
		return r.Len()
	}
	if n := told(); n < 15_000 {
		t.Errorf("%d sightings of 15,000 pairs", n)
	}
	if n := told(); n > 50 {
		t.Errorf("%d of 15,000 pairs were told again", n)
	}
}

// However many come in a second, it makes few sightings.
func TestFlood(t *testing.T) {
	a, list := open(t, plan(t)).across, crowd(5000)
	for _, e := range list {
		a.See(e, 0, true, nil)
	}
	out, err := a.Step()
	if err != nil {
		t.Fatal(err)
	}
	var r moat.BatchReader
	if err := r.Open(out.Sightings); err != nil {
		t.Fatal(err)
	}
	if r.Len() > 1100 {
		t.Errorf("%d sightings in a second", r.Len())
	}
}

// What an event costs when its pairs are known in the hour: those of a few events, and those of more than fit into the
// processor's nearest cache.
func BenchmarkSee(b *testing.B) {
	for _, n := range []int{30, 4_000} {
		b.Run(fmt.Sprintf("events=%d", n), func(b *testing.B) {
			a, list := open(b, plan(b)).across, crowd(n)
			for _, e := range list {
				a.See(e, e.Time, true, nil)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e := list[i%n]
				a.See(e, e.Time, true, nil)
			}
		})
	}
}

// What partners meet of one destination is told to each as the destination that it knows, not as the server that sightings take it for.
func TestDestination(t *testing.T) {
	d, err := rule.Parse("met.yaml", []byte(`id: across.met
dimension: K5
title: A destination that somebody else meets
doc: It is met.
on: [sighting]
subject: host
features: {places: {kind: distinct, window: 1d, value: event.outlet}}
when: event.kind == "met" && places >= 2
confidence: "0.3"
reason: "{places} partners"
false_positives: [couriers]
evasions: [another]
tests:
  - name: two
    script: |
      event sighting kind=met host=x outlet=p{i} times=3 every=1m
      expect finding host x
  - name: one
    script: |
      event sighting kind=met host=x outlet=p
      expect none
`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := rule.Compile(d, rule.Options{})
	if err != nil {
		t.Fatal(err)
	}
	start, _ := moat.ParseTime("2026-03-02T00:00:00Z")
	var w moat.BatchWriter
	for i := range 2 {
		at := start + moat.Time(i)*moat.Minute
		e := &moat.Event{ID: fmt.Sprint("e", i), Partner: fmt.Sprint("house", i), Time: at, Received: at, Type: moat.OrderTransmit, Destination: fmt.Sprintf("https://in.evil.example/%d", i), Count: 1}
		e.MarkAll()
		w.Append(e)
	}
	a := open(t, p)
	found, err := a.across.Run(a.engine, w.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, f := range found {
		told[f.Partner] = f.Entity.String()
	}
	for i := range 2 {
		if got, want := told[fmt.Sprint("house", i)], fmt.Sprintf("destination:https://in.evil.example/%d", i); got != want {
			t.Errorf("house%d is told of %q, want %q", i, got, want)
		}
	}
}
