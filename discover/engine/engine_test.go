package engine_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/rule"
)

const seed = rule.HashSeed(42)

func plan(t testing.TB) *rule.Plan {
	t.Helper()
	list, _, err := detectors.All()
	if err != nil {
		t.Fatal(err)
	}
	p, err := rule.Compile(list, rule.Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newEngine(t testing.TB, p *rule.Plan) *engine.Engine {
	t.Helper()
	e, err := engine.New(engine.Config{Plan: p, Seed: seed, Net: net})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// net makes up facts about addresses that depend on the address alone.
func net(ip string) rule.Net {
	var n rule.Net
	if ip == "" {
		return n
	}
	c := ip[len(ip)-1]
	n.Hosting, n.Tor, n.Listed = c == '7', c == '8', c == '9'
	n.Spot.Known, n.Spot.Country = true, uint16('A'+c%3)<<8|uint16('A'+c%5)
	n.Spot.Lat, n.Spot.Lon, n.Spot.RadiusKM = float32(c%9)*10, float32(c%7)*20, 100
	return n
}

// stream makes n events of several partners over some days: people at work, and things
// that detectors look for. Some are late, some are sent twice, some have a wild clock.
func stream(n int, seed uint64) []*moat.Event {
	r := rand.New(rand.NewPCG(seed, 7))
	now, _ := moat.ParseTime("2026-03-02T00:00:00Z")
	types := []moat.EventType{moat.AuthLogin, moat.OrderAccess, moat.OrderAccess, moat.OrderAccess, moat.OrderTransmit, moat.APICall, moat.DBQuery,
		moat.HTTPRequest, moat.HostLogin, moat.AccountChange, moat.DataDecrypt, moat.AuthChallenge, moat.Heartbeat}
	ops := []string{"view", "view", "view_list", "print", "export", "download", "search", "api_pull"}
	var out []*moat.Event
	for i := range n {
		now += moat.Time(r.ExpFloat64() * 60e6)
		p := r.IntN(5)
		who := r.IntN(12)
		e := &moat.Event{Partner: fmt.Sprintf("p%d", p), ID: fmt.Sprintf("e%d", i), Time: now, Received: now + moat.Second, Type: types[r.IntN(len(types))]}
		e.Actor, e.Role = fmt.Sprintf("u%d", who), []string{"packer", "service"}[who%2]
		e.IP, e.Device = fmt.Sprintf("1.2.%d.%d", p, who), fmt.Sprintf("d%d", who)
		e.App, e.Host = fmt.Sprintf("app%d", p), fmt.Sprintf("h%d", r.IntN(3))
		if r.IntN(10) == 0 {
			e.IP, e.Device = fmt.Sprintf("9.9.9.%d", r.IntN(30)), fmt.Sprintf("x%d", r.IntN(30))
		}
		if r.IntN(4) == 0 {
			e.Outcome = moat.Failure
		}
		switch e.Type {
		case moat.OrderAccess, moat.OrderTransmit, moat.DataDecrypt, moat.APICall:
			e.Operation = ops[r.IntN(len(ops))]
			first := r.IntN(5000)
			for k := range r.IntN(20) + 1 {
				e.Orders = append(e.Orders, fmt.Sprintf("%d", 100000+first+k))
			}
			if r.IntN(50) == 0 {
				e.Count = 5000
			}
			e.Fields, e.Shops = []string{"name", "phone"}, []string{fmt.Sprintf("s%d", r.IntN(6))}
			e.Destination, e.Method = fmt.Sprintf("https://d%d.example", r.IntN(8)), fmt.Sprintf("m%d", r.IntN(5))
		case moat.DBQuery:
			e.Statement, e.Rows, e.Client = "SELECT * FROM orders", int64(r.IntN(20000)), []string{"app", "mysqldump"}[r.IntN(2)]
			e.Template, e.Tables = e.Statement, []string{"orders"}
		case moat.HTTPRequest:
			e.Method, e.Path, e.Status = "GET", "/x", int64(200+100*r.IntN(4))
		case moat.AccountChange:
			e.Object, e.Change = e.Actor, []string{"password", "phone", "role", "sub_account"}[r.IntN(4)]
		}
		if r.IntN(30) == 0 {
			e.Time -= moat.Time(r.IntN(100)) * moat.Minute
		}
		if r.IntN(500) == 0 {
			e.Time += 3650 * moat.Day
			e.Flags |= moat.FlagClock
		}
		e.MarkAll()
		out = append(out, e)
		if r.IntN(40) == 0 {
			out = append(out, e)
		}
	}
	return out
}

// batches cuts events into batches of the given size.
func batches(events []*moat.Event, size int) (out [][]byte) {
	for chunk := range slices.Chunk(events, size) {
		var w moat.BatchWriter
		for _, e := range chunk {
			w.Append(e)
		}
		out = append(out, bytes.Clone(w.Bytes()))
	}
	return out
}

func run(t testing.TB, e *engine.Engine, in [][]byte) (found []moat.Finding) {
	t.Helper()
	for _, b := range in {
		r, err := e.Step(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, r.Findings...)
	}
	return found
}

func byID(f []moat.Finding) []moat.Finding {
	f = slices.Clone(f)
	slices.SortStableFunc(f, func(a, b moat.Finding) int { return cmp.Compare(a.ID, b.ID) })
	return f
}

// TestMetamorphic runs the same events in every way that must not matter.
func TestMetamorphic(t *testing.T) {
	p := plan(t)
	events := stream(20000, 1)
	want := run(t, newEngine(t, p), batches(events, 512))
	if len(want) < 50 {
		t.Fatalf("only %d findings: the stream tests nothing", len(want))
	}
	fired := map[string]bool{}
	for _, f := range want {
		fired[f.Detector] = true
	}
	t.Logf("%d findings of %d detectors", len(want), len(fired))
	if !fired["host.silent"] {
		t.Error("nobody fell silent: the stream tests nothing of it")
	}
	check := func(name string, got []moat.Finding, ordered bool) {
		t.Helper()
		w := want
		if !ordered {
			got, w = byID(got), byID(want)
		}
		if !reflect.DeepEqual(got, w) {
			t.Errorf("%s: %d findings differ from the %d wanted", name, len(got), len(w))
			for i := range min(len(got), len(w)) {
				if !reflect.DeepEqual(got[i], w[i]) {
					t.Fatalf("first difference:\n got %+v\nwant %+v", got[i], w[i])
				}
			}
		}
	}
	for _, size := range []int{1, 64, 4096, len(events)} {
		check(fmt.Sprintf("batches of %d", size), run(t, newEngine(t, p), batches(events, size)), true)
	}
	for _, restart := range []int{1, 7, 100} {
		e := newEngine(t, p)
		var got []moat.Finding
		for i, b := range batches(events, 64) {
			if i%restart == restart-1 && (restart > 1 || i < 40) {
				var buf bytes.Buffer
				if err := e.Snapshot(&buf); err != nil {
					t.Fatal(err)
				}
				e = newEngine(t, p)
				if err := e.Restore(&buf); err != nil {
					t.Fatal(err)
				}
			}
			got = append(got, run(t, e, [][]byte{b})...)
		}
		check(fmt.Sprintf("restart every %d", restart), got, true)
	}
	parts := make([][]*moat.Event, 8)
	for _, e := range events {
		i := e.Partner[1] % 8
		parts[i] = append(parts[i], e)
	}
	var got []moat.Finding
	for _, part := range parts {
		got = append(got, run(t, newEngine(t, p), batches(part, 100))...)
	}
	check("8 partitions", got, false)
	e := newEngine(t, p)
	got = nil
	for i, b := range batches(events, 64) {
		for _, ev := range events[max(0, i*64-3):min(len(events), i*64+3)] {
			e.Ask(ev) // asking changes nothing
		}
		got = append(got, run(t, e, [][]byte{b})...)
	}
	check("with questions in between", got, true)
}

// TestAskIsStep checks that a question is answered with what Step then finds.
func TestAskIsStep(t *testing.T) {
	p := plan(t)
	e := newEngine(t, p)
	asked, found := 0, 0
	seen := map[string]bool{}
	for _, ev := range stream(5000, 3) {
		if seen[ev.ID] {
			continue
		}
		seen[ev.ID] = true
		got := e.Ask(ev)
		want := run(t, e, batches([]*moat.Event{ev}, 1))
		// That somebody else is silent is found when time goes on, which it does not by asking.
		want = slices.DeleteFunc(want, func(f moat.Finding) bool { return f.Events[0] != ev.ID })
		if len(want) == 0 {
			want = nil
		}
		if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("asked %+v\nfound %+v", got, want)
		}
		asked++
		found += len(want)
	}
	if found == 0 {
		t.Fatalf("nothing found in %d events", asked)
	}
}

// TestSnapshotCorrupt damages a snapshot everywhere; it must be refused, never half read.
func TestSnapshotCorrupt(t *testing.T) {
	p := plan(t)
	e := newEngine(t, p)
	run(t, e, batches(stream(300, 5), 64))
	var buf bytes.Buffer
	if err := e.Snapshot(&buf); err != nil {
		t.Fatal(err)
	}
	good := buf.Bytes()
	r := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		bad := bytes.Clone(good)
		bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
		if err := newEngine(t, p).Restore(bytes.NewReader(bad)); err == nil {
			t.Fatal("a snapshot with a flipped bit was accepted")
		}
		if err := newEngine(t, p).Restore(bytes.NewReader(good[:r.IntN(len(good))])); err == nil {
			t.Fatal("a cut snapshot was accepted")
		}
	}
}

// TestFlood sends a million accounts of one partner: memory stays within its quota, and the
// statistics of another partner are untouched.
func TestFlood(t *testing.T) {
	p := plan(t)
	l := engine.DefaultLimits()
	l.Quota[moat.Account], l.PairQuota, l.IDs = 10000, 10000, 1<<16
	e, err := engine.New(engine.Config{Plan: p, Seed: seed, Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	now, _ := moat.ParseTime("2026-03-02T00:00:00Z")
	failed := func(partner, actor, id string) *moat.Event {
		ev := &moat.Event{Partner: partner, Actor: actor, ID: id, Time: now, Received: now, Type: moat.AuthLogin, Outcome: moat.Failure, IP: "1.2.3.4"}
		ev.MarkAll()
		return ev
	}
	var w moat.BatchWriter
	var found []moat.Finding
	for i := range 1_000_000 {
		now += 60 * moat.Microsecond
		w.Append(failed("flooder", fmt.Sprintf("u%d", i), ""))
		if i%200_000 == 0 {
			w.Append(failed("honest", "alice", ""))
		}
		if w.Len() >= 4096 {
			found = append(found, run(t, e, [][]byte{w.Bytes()})...)
			w.Reset()
		}
	}
	w.Append(failed("honest", "alice", ""))
	w.Append(failed("honest", "alice", ""))
	found = append(found, run(t, e, [][]byte{w.Bytes()})...)
	if n := e.Entities()[moat.Account]; n > 10001 {
		t.Errorf("%d accounts are kept, more than the quota of 10,000 and one", n)
	}
	if !slices.ContainsFunc(found, func(f moat.Finding) bool {
		return f.Partner == "honest" && f.Detector == "account.login_failures"
	}) {
		t.Error("the flood made the honest partner's statistics forget")
	}
	if s := e.Stats(); s.Evicted < 900_000 {
		t.Errorf("only %d records were given up", s.Evicted)
	}
}

// A complaint has the time of the contact, and is not late for it.
func TestLate(t *testing.T) {
	e := newEngine(t, plan(t))
	start, _ := moat.ParseTime("2026-03-02T09:00:00Z")
	var w moat.BatchWriter
	for i, ev := range []moat.Event{
		{Type: moat.AuthLogin, Time: start + 5*moat.Hour}, {Type: moat.Complaint, Time: start, Orders: []string{"o1"}},
		{Type: moat.AuthLogin, Time: start + 4*moat.Hour}, {Type: moat.AuthLogin, Time: start + 4*moat.Hour - moat.Second},
	} {
		ev.Partner, ev.ID, ev.Received, ev.Actor = "acme", fmt.Sprint("e", i), start+5*moat.Hour, "bob"
		ev.MarkAll()
		w.Append(&ev)
	}
	if _, err := e.Step(w.Bytes(), nil); err != nil {
		t.Fatal(err)
	}
	if late := e.Stats().Late; late != 1 {
		t.Errorf("%d events are late, want 1", late)
	}
}

// TestOldComplaints files at once what customers complained of long ago: it is no surge of one day.
func TestOldComplaints(t *testing.T) {
	now, _ := moat.ParseTime("2026-03-02T00:00:00Z")
	surges := func(apart moat.Time) (n int) {
		var events []*moat.Event
		for i := range moat.Time(10) {
			e := &moat.Event{ID: fmt.Sprint(i), Partner: "acme", Type: moat.Complaint, App: "erp", Kind: "scam_call", Reporter: fmt.Sprint("r", i), Orders: []string{fmt.Sprint("A", i)},
				Received: now, Time: now - 60*moat.Day + i*apart}
			e.MarkAll()
			events = append(events, e)
		}
		for _, f := range run(t, newEngine(t, plan(t)), batches(events, 64)) {
			if f.Detector == "complaint.app_surge" {
				n++
			}
		}
		return n
	}
	if n := surges(moat.Minute); n != 1 {
		t.Errorf("%d findings of ten complaints of one day, want 1", n)
	}
	if n := surges(moat.Day); n != 0 {
		t.Errorf("%d findings of ten complaints of ten days, want none", n)
	}
}
