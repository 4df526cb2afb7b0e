package engine_test

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/rule"
)

const quietBody = `
on: [heartbeat]
subject: host
every: 1s
after: "event.seq > 0 ? event.seq : 0"
when: "true"
reason: "{event.host} is silent"
`

// TestSilence tells what silence is, beside the tests of the detectors that ship.
func TestSilence(t *testing.T) {
	scripted(t, quietBody, `
event heartbeat host=a seq=100
event auth.login actor=x times=5 every=20s
expect none
event auth.login actor=x
expect finding host a
event auth.login actor=x times=60 every=20s
expect none
`, `
event heartbeat host=a seq=100
wait 60s
event heartbeat host=a seq=100
wait 60s
event auth.login actor=x
event heartbeat host=a seq=0
wait 60s
event auth.login actor=x times=20 every=1m
event heartbeat seq=5
wait 60s
event auth.login actor=x times=20 every=1m
expect none
`)
	// The time may become shorter, and every heartbeat of its own entity counts.
	scripted(t, quietBody, `
event heartbeat host=a seq=9000
event heartbeat host=b seq=9000
event heartbeat host=a seq=60
event auth.login actor=x times=4 every=20s
expect finding host a
`, `
event heartbeat host=a seq=9000
event heartbeat host=b seq=60 partner=other
event auth.login actor=x times=4 every=20s
expect none
`)
	// A condition that says no is asked again after twice the time: 10, 20, 40 minutes.
	scripted(t, `
on: [heartbeat, auth.login]
subject: host
features:
  age: {kind: age}
after: 10m
when: age.idle_s >= 1800 && event.host != ""
reason: "{event.host} {age.idle_s | duration}"
`, `
event heartbeat host=a
wait 1m
event order.access actor=x operation=view count=1 times=29 every=1m
expect none
event order.access actor=x operation=view count=1 times=15 every=1m
expect finding host a
`, `
event heartbeat host=a
wait 1m
event order.access actor=x operation=view count=1 times=27 every=1m
expect none
`)
}

// waiting is one host of the reference, due when it was heard last plus the time.
type waiting struct {
	host       string
	due, after int64
	event      string
}

// quietly is what silence is, in plain words: at every event that is newer than all before, whoever is due is
// found, in the order of their deadlines.
func quietly(events []*moat.Event) (found []string) {
	hosts := map[string]*waiting{}
	newest, leapt, leap := int64(0), int64(0), int64(0)
	for _, ev := range events {
		now := int64(ev.Time / moat.Second)
		if now > newest {
			if now-newest >= 30 {
				leapt, leap = now, now-newest
			}
			for {
				var due []*waiting
				for _, w := range hosts {
					if w.due <= now {
						due = append(due, w)
					}
				}
				if len(due) == 0 {
					break
				}
				w := slices.MinFunc(due, func(a, b *waiting) int {
					return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.host, b.host))
				})
				if half := w.after / 2; leap > half && w.due < leapt+half {
					w.due = leapt + half
					continue
				}
				found = append(found, fmt.Sprintf("%s %d %s", w.host, w.due, w.event))
				delete(hosts, w.host)
			}
			newest = now
		}
		if ev.Type == moat.Heartbeat {
			if delete(hosts, ev.Host); ev.Seq > 0 {
				hosts[ev.Host] = &waiting{ev.Host, newest + ev.Seq, ev.Seq, ev.ID}
			}
		}
	}
	return found
}

// FuzzSilence compares the queue with plain looking at everybody, also over a restart.
func FuzzSilence(f *testing.F) {
	for seed := range 12 {
		var data []byte
		for i := range 400 {
			data = append(data, byte((i*i*(seed+3)+i*seed)>>2))
		}
		f.Add(data)
	}
	list, err := rule.Parse("quiet.yaml", []byte("id: test.quiet\ndimension: F6\ntitle: t\ndoc: d\nconfidence: 0.5\nfalse_positives: [f]\nevasions: [e]\n"+quietBody+
		"tests:\n  - name: a\n    script: |\n      expect none\n      expect finding host a\n"))
	if err != nil {
		f.Fatal(err)
	}
	p, err := rule.Compile(list, rule.Options{Seed: seed})
	if err != nil {
		f.Fatal(err)
	}
	limits := engine.Limits{Pairs: 1 << 10, PairQuota: 1 << 10, IDs: 1 << 12, Partners: 4}
	for k := range limits.Records {
		limits.Records[k], limits.Quota[k] = 1<<8, 1<<8
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		now, _ := moat.ParseTime("2026-03-02T00:00:00Z")
		var events []*moat.Event
		for i := 0; len(data) >= 3 && i < 300; i, data = i+1, data[3:] {
			step := moat.Time(data[0]) * moat.Second
			if data[0]%7 == 0 {
				step *= 20
			}
			if now += step; data[0]%5 == 0 {
				now -= 2 * step // late
			}
			e := &moat.Event{Partner: "p", ID: fmt.Sprintf("e%d", i), Time: now, Received: now + moat.Day, Type: moat.Heartbeat, Host: fmt.Sprintf("h%d", data[1]%5), Seq: int64(data[2]) * 4}
			if data[1]%3 == 0 {
				e.Type = moat.AuthLogout
			}
			e.MarkAll()
			events = append(events, e)
		}
		e, err := engine.New(engine.Config{Plan: p, Seed: seed, Limits: limits})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, b := range batches(events, 7) {
			for _, f := range run(t, e, [][]byte{b}) {
				got = append(got, fmt.Sprintf("%s %d %s", f.Entity.ID, f.Time/moat.Second, f.Events[0]))
			}
			if i == 20 {
				var buf bytes.Buffer
				if err := e.Snapshot(&buf); err != nil {
					t.Fatal(err)
				}
				if e, err = engine.New(engine.Config{Plan: p, Seed: seed, Limits: limits}); err != nil {
					t.Fatal(err)
				}
				if err := e.Restore(&buf); err != nil {
					t.Fatal(err)
				}
			}
		}
		want := quietly(events)
		// Of those that are due in the same second, a hash decides.
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("found\n%q\nwant\n%q", got, want)
		}
	})
}

// TestSilenceQuota: a partner that makes up hosts is watched no further than its quota, and says so.
func TestSilenceQuota(t *testing.T) {
	l := engine.DefaultLimits()
	l.WatchQuota = 100
	e, err := engine.New(engine.Config{Plan: plan(t), Seed: seed, Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	now, _ := moat.ParseTime("2026-03-02T00:00:00Z")
	var w moat.BatchWriter
	for beat := range 10 {
		for host := range 150 {
			ev := &moat.Event{Partner: "p", ID: fmt.Sprintf("e%d-%d", beat, host), Time: now, Received: now, Type: moat.Heartbeat, Host: fmt.Sprintf("h%d", host)}
			ev.MarkAll()
			w.Append(ev)
		}
		now += moat.Minute
	}
	run(t, e, [][]byte{w.Bytes()})
	// From the ninth heartbeat on a host has a rhythm: that one and the tenth of fifty hosts.
	if s := e.Stats(); s.Overflow != 100 {
		t.Errorf("%d times a host was not watched, want 100", s.Overflow)
	}
}

// heartbeats are batches of a minute each from 1000 hosts, after which all are watched.
func heartbeats(tb testing.TB, e *engine.Engine, minutes int) (next func() []byte) {
	tb.Helper()
	now, _ := moat.ParseTime("2026-03-02T00:00:00Z")
	var w moat.BatchWriter
	n := 0
	hosts := make([]string, 1000)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("h%d", i)
	}
	next = func() []byte {
		w.Reset()
		for _, h := range hosts {
			n++
			now += 60 * moat.Millisecond
			ev := moat.Event{Partner: "p", ID: fmt.Sprintf("e%d", n), Time: now, Received: now, Type: moat.Heartbeat, Host: h}
			ev.MarkAll()
			w.Append(&ev)
		}
		return w.Bytes()
	}
	for range minutes {
		run(tb, e, [][]byte{next()})
	}
	return next
}

func BenchmarkHeartbeat(b *testing.B) {
	e := newEngine(b, plan(b))
	next := heartbeats(b, e, 20)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += 1000 {
		b.StopTimer()
		in := next()
		b.StartTimer()
		run(b, e, [][]byte{in})
	}
}

// TestSilenceAllocations: to be heard of again costs no allocation.
func TestSilenceAllocations(t *testing.T) {
	e := newEngine(t, plan(t))
	next := heartbeats(t, e, 20)
	in := [][]byte{nil, nil, nil}
	for i := range in {
		in[i] = bytes.Clone(next())
	}
	i := -1
	n := testing.AllocsPerRun(2, func() { // and one run before
		i++
		if _, err := e.Step(in[i], nil); err != nil {
			t.Fatal(err)
		}
	})
	if n > 20 { // of 1000 events; tables of ids grow now and then
		t.Errorf("%v allocations for 1000 heartbeats", n)
	}
}
