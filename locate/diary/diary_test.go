package diary

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	moat "github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run"
	"github.com/moat-platform/moat/store/run/runtest"
)

var small = run.Tuning{FlushEvents: runtest.SmallFlush, FanIn: runtest.SmallFanIn, FlushEvery: runtest.SmallEvery}

// kept is a diary in a set of its own.
type kept struct {
	*Diary
	*run.Set
}

func open(t testing.TB, dir string, tuning run.Tuning) *kept {
	t.Helper()
	key := [16]byte{7}
	set, err := run.Open(run.Config{Dir: dir, Index: run.Index{Part: Keys(key), Orders: true}, Tuning: tuning})
	if err != nil {
		t.Fatal(err)
	}
	return &kept{New(set, key), set}
}

func appendBatch(t *testing.T, d *kept, partition int, seq uint64, events ...*moat.Event) {
	t.Helper()
	w, err := d.Writer(partition)
	if err != nil {
		t.Fatal(err)
	}
	runtest.Append(t, w, seq, events...)
}

// concerns tells whether e concerns an entity, in plain words.
func concerns(e *moat.Event, x moat.Entity) bool {
	switch x.Kind {
	case moat.Account:
		return e.Actor == x.ID && e.ActorKind != moat.ActorSystem
	case moat.Shop:
		return slices.Contains(e.Shops, x.ID)
	case moat.Destination:
		return e.Destination == x.ID
	case moat.Device:
		return e.Device == x.ID && strings.Trim(x.ID, "0") != ""
	}
	return e.EntityID(x.Kind) == x.ID
}

// oracle returns the events of an entity, the newest first.
func oracle(events []*moat.Event, tenant moat.Tenant, q Query) (l []*moat.Event) {
	for _, e := range events {
		asked := tenant.Sees(e.Partner) && (q.Partner == "" || q.Partner == e.Partner) && concerns(e, q.Entity)
		if asked && e.Time >= q.From && (q.To == 0 || e.Time < q.To) {
			l = append(l, e)
		}
	}
	slices.SortStableFunc(l, func(a, b *moat.Event) int { return int(b.Time - a.Time) })
	return l
}

func checkPages(t *testing.T, d *kept, tenant moat.Tenant, q Query, want []*moat.Event) {
	t.Helper()
	cursor, got := "", []string(nil)
	for {
		p, err := d.Entity(t.Context(), tenant, q, 50, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range p.Touches {
			got = append(got, fmt.Sprint(x.Time, x.Partner, x.Event, x.Orders))
		}
		if cursor = p.Next; cursor == "" {
			break
		}
		if len(p.Touches) != 50 {
			t.Fatalf("a page of %d with another behind it", len(p.Touches))
		}
	}
	var w []string
	for _, e := range want {
		w = append(w, fmt.Sprint(e.Time, e.Partner, e.ID, e.Orders))
	}
	slices.Sort(got)
	slices.Sort(w)
	if !slices.Equal(got, w) {
		t.Fatalf("%s of %q: %d touches, want %d", q.Entity, q.Partner, len(got), len(w))
	}
}

func checkFigures(t *testing.T, d *kept, tenant moat.Tenant, q Query, want []*moat.Event) {
	t.Helper()
	s, err := d.Summary(t.Context(), tenant, q)
	if err != nil {
		t.Fatal(err)
	}
	days, devices, ips, accounts, dests := map[string][2]int64{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	orders, records, unnamed := map[string]Order{}, int64(0), int64(0)
	for _, e := range want {
		k := fmt.Sprint(e.Time-e.Time%moat.Day, e.Type, e.Operation)
		days[k] = [2]int64{days[k][0] + 1, days[k][1] + e.Touched()}
		devices[e.Device], ips[e.IP], accounts[e.Actor], dests[e.Destination] = true, true, true, true
		records += e.Touched()
		unnamed += e.Touched() - int64(len(e.Orders))
		for _, o := range e.Orders {
			x := orders[o]
			if x.Touches == 0 || e.Time < x.First {
				x.First = e.Time
			}
			orders[o] = Order{o, x.Touches + 1, x.First, max(x.Last, e.Time)}
		}
	}
	for _, m := range []map[string]bool{devices, ips, accounts, dests} {
		delete(m, "")
	}
	if int(s.Events) != len(want) || s.Records != records || s.Devices != len(devices) || s.IPs != len(ips) || s.Accounts != len(accounts) || s.Destinations != len(dests) {
		t.Fatalf("%s: %+v, want %d events, %d records, %d devices", q.Entity, s, len(want), records, len(devices))
	}
	if len(want) > 0 && (s.First != want[len(want)-1].Time || s.Last != want[0].Time) {
		t.Fatalf("from %s to %s, want %s to %s", s.First, s.Last, want[len(want)-1].Time, want[0].Time)
	}
	if len(s.Days) != len(days) {
		t.Fatalf("%d lines, want %d", len(s.Days), len(days))
	}
	for _, x := range s.Days {
		if got := [2]int64{x.Events, x.Records}; got != days[fmt.Sprint(x.Day, x.Type, x.Operation)] {
			t.Fatalf("%+v, want %v", x, days[fmt.Sprint(x.Day, x.Type, x.Operation)])
		}
	}
	touched, err := d.Orders(t.Context(), tenant, q)
	if err != nil {
		t.Fatal(err)
	}
	if len(touched.Orders) != len(orders) || touched.Cut || touched.Unnamed != unnamed {
		t.Fatalf("%d orders, want %d; %d unnamed, want %d", len(touched.Orders), len(orders), touched.Unnamed, unnamed)
	}
	for _, o := range touched.Orders {
		if o != orders[o.ID] {
			t.Fatalf("%+v, want %+v", o, orders[o.ID])
		}
	}
}

// TestAgainstOracle asks for entities of all kinds while batches arrive, runs
// are merged and the diary is opened again.
func TestAgainstOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	dir := t.TempDir()
	d := open(t, dir, small)
	loads := []*runtest.Workload{runtest.New(1, 30, 1), runtest.New(2, 300, 1)}
	var events []*moat.Event
	for step := range 30 {
		var batch []*moat.Event
		for range 1 + r.IntN(300) {
			var e moat.Event
			loads[step%2].Event(&e)
			if r.IntN(4) == 0 {
				e.Partner = fmt.Sprintf("partner-%03d", r.IntN(3)) // ids that several partners have
			}
			switch r.IntN(20) {
			case 0:
				e.ActorKind = moat.ActorSystem
			case 1:
				e.Device = "0000000000"
			case 2:
				e.Shops = []string{"x", "shop-000001", "x"}
			case 3:
				e.Count = e.Touched() + 5
			}
			batch = append(batch, e.Clone())
		}
		appendBatch(t, d, step%2, uint64(step+1), batch...)
		events = append(events, batch...)
		if step%11 == 5 {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			d = open(t, dir, small)
		}
		if step%5 != 4 {
			continue
		}
		for range 20 {
			e := events[r.IntN(len(events))]
			for _, q := range []Query{
				{Entity: moat.Entity{Kind: moat.Account, ID: e.Actor}}, {Entity: moat.Entity{Kind: moat.App, ID: e.App}},
				{Entity: moat.Entity{Kind: moat.Host, ID: e.Host}}, {Entity: moat.Entity{Kind: moat.Device, ID: e.Device}},
				{Entity: moat.Entity{Kind: moat.IP, ID: e.IP}}, {Entity: moat.Entity{Kind: moat.Shop, ID: e.Shops[0]}},
				{Entity: moat.Entity{Kind: moat.Outlet, ID: e.Outlet}}, {Entity: moat.Entity{Kind: moat.Destination, ID: "courier-07"}},
				{Entity: moat.Entity{Kind: moat.Account, ID: "nobody"}},
			} {
				if q.Entity.ID == "" {
					continue
				}
				tenant := moat.Everyone()
				switch r.IntN(3) {
				case 0:
					q.Partner = e.Partner
				case 1:
					tenant = moat.Only(e.Partner)
				}
				if r.IntN(2) == 0 {
					q.From, q.To = runtest.Start+moat.Time(r.IntN(3000))*moat.Second, runtest.Start+moat.Time(r.IntN(3000))*moat.Second
				}
				want := oracle(events, tenant, q)
				checkPages(t, d, tenant, q, want)
				checkFigures(t, d, tenant, q, want)
			}
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestManyAtOnce compares the questions about many entities with those about one.
func TestManyAtOnce(t *testing.T) {
	d := open(t, t.TempDir(), small)
	defer d.Close()
	load := runtest.New(3, 200, 1)
	var list []Owned
	for seq := range uint64(20) {
		var batch []*moat.Event
		for range 200 {
			var e moat.Event
			load.Event(&e)
			batch = append(batch, e.Clone())
		}
		appendBatch(t, d, 0, seq+1, batch...)
		e := batch[0]
		list = append(list, Owned{e.Partner, moat.Entity{Kind: moat.Account, ID: e.Actor}}, Owned{"", moat.Entity{Kind: moat.App, ID: e.App}},
			Owned{e.Partner, moat.Entity{Kind: moat.Account, ID: e.Actor}}, Owned{e.Partner, moat.Entity{Kind: moat.IP, ID: "none"}})
	}
	counts, err := d.Counts(t.Context(), moat.Everyone(), list)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]int64, len(list))
	if _, err := d.EachOf(t.Context(), moat.Everyone(), list, 0, 0, func(i int, _ *run.Row) error { got[i]++; return nil }); err != nil {
		t.Fatal(err)
	}
	for i, o := range list {
		want := int64(0)
		if _, err := d.Each(t.Context(), moat.Everyone(), Query{Partner: o.Partner, Entity: o.Entity}, func(*run.Row) error { want++; return nil }); err != nil {
			t.Fatal(err)
		}
		if counts[i] != want || got[i] != want {
			t.Fatalf("%v: counted %d, read %d, want %d", o, counts[i], got[i], want)
		}
	}
	if _, err := d.Counts(t.Context(), moat.Only("another"), list); !errors.Is(err, ErrTenant) {
		t.Errorf("another partner may count: %v", err)
	}
	for _, tenant := range []moat.Tenant{moat.Only("another"), {}} {
		counts, err := d.Counts(t.Context(), tenant, []Owned{{"", list[0].Entity}})
		if err != nil || counts[0] != 0 {
			t.Errorf("%v counts %v, %v", tenant, counts, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	d := open(t, t.TempDir(), small)
	defer d.Close()
	appendBatch(t, d, 0, 1, &moat.Event{Type: moat.AuthLogin, ID: "e", Time: 9, Partner: "p", Actor: "u", App: "a"})
	account := moat.Entity{Kind: moat.Account, ID: "u"}
	for _, c := range []struct {
		name   string
		tenant moat.Tenant
		q      Query
		cursor string
		want   error
	}{
		{"another partner", moat.Only("q"), Query{Partner: "p", Entity: account}, "", ErrTenant},
		{"no tenant", moat.Tenant{}, Query{Partner: "p", Entity: account}, "", ErrTenant},
		{"an order", moat.Everyone(), Query{Entity: moat.Entity{Kind: moat.Order, ID: "1"}}, "", ErrKind},
		{"no kind", moat.Everyone(), Query{}, "", ErrKind},
		{"half a cursor", moat.Everyone(), Query{Entity: account}, "AAAA", ErrCursor},
		{"no cursor", moat.Everyone(), Query{Entity: account}, "%%%", ErrCursor},
		{"a cursor before time", moat.Everyone(), Query{Entity: account}, "gAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", ErrCursor},
		{"a long cursor", moat.Everyone(), Query{Entity: account}, fmt.Sprintf("%0100d", 0), ErrCursor},
	} {
		if _, err := d.Entity(t.Context(), c.tenant, c.q, 0, c.cursor); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	for _, tenant := range []moat.Tenant{moat.Only("q"), {}} {
		p, err := d.Entity(t.Context(), tenant, Query{Entity: account}, 0, "")
		if err != nil || len(p.Touches) != 0 {
			t.Errorf("%v sees %+v, %v", tenant, p, err)
		}
	}
	if p, err := d.Entity(t.Context(), moat.Everyone(), Query{Entity: account}, 0, ""); err != nil || len(p.Touches) != 1 || p.Next != "" {
		t.Errorf("the operator sees %+v, %v", p, err)
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(cursorOf(&Touch{Time: 5, At: run.At{Partition: 3, Seq: 1 << 60, Row: 7}}))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		x, err := parseCursor(s)
		if err != nil {
			return
		}
		if again, err := parseCursor(cursorOf(&x)); err != nil || again.Compare(&x) != 0 {
			t.Fatalf("%+v comes back as %+v, %v", x, again, err)
		}
	})
}
