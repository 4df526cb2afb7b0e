package scope

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/locate/index"
	"github.com/moat-platform/moat/store/run"
	"github.com/moat-platform/moat/store/run/runtest"
)

// world is an index of events.
type world struct {
	t      testing.TB
	index  *index.Index
	seq    uint64
	events []*moat.Event
}

func newWorld(t testing.TB) *world {
	t.Helper()
	small := run.Tuning{FlushEvents: runtest.SmallFlush, FanIn: runtest.SmallFanIn, FlushEvery: runtest.SmallEvery}
	w := &world{t: t}
	var err error
	if w.index, err = index.Open(index.Config{Dir: t.TempDir(), Tuning: small}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.index.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) add(events ...*moat.Event) {
	w.t.Helper()
	writer, err := w.index.Writer(0)
	if err != nil {
		w.t.Fatal(err)
	}
	w.seq++
	runtest.Append(w.t, writer, w.seq, events...)
	w.events = append(w.events, events...)
}

func (w *world) finder(c Config) *Finder {
	c.Diary, c.Ledger = w.index.Diary, w.index.Ledger
	return New(c)
}

func (w *world) scope(f *Finder, tenant moat.Tenant, q Question) *Scope {
	w.t.Helper()
	s, err := f.Scope(w.t.Context(), tenant, q)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// plain is the slow exact answer: the orders readable, those only masked, and who touched them after.
type plain struct {
	orders, masked map[string]moat.Time
	after          map[place]map[string]bool
	shops          map[string]map[string]bool
	days           map[moat.Time]int64
	unnamed        int64
}

func (w *world) plainly(tenant moat.Tenant, q Question) plain {
	p := plain{map[string]moat.Time{}, map[string]moat.Time{}, map[place]map[string]bool{}, map[string]map[string]bool{}, map[moat.Time]int64{}, 0}
	isSource := func(e *moat.Event) bool {
		return own(&q, &run.Source{Partner: e.Partner, App: e.App, Outlet: e.Outlet, Actor: e.Actor, Device: e.Device, IP: e.IP, ActorKind: e.ActorKind},
			&run.Act{Host: e.Host, Destination: e.Destination})
	}
	sees := func(e *moat.Event) bool {
		return tenant.Sees(e.Partner) && exposes[e.Type] && e.Outcome == moat.Success
	}
	narrow := map[string][]string{}
	for _, e := range w.events {
		if !sees(e) || !isSource(e) || q.Partner != "" && q.Partner != e.Partner || e.Time < q.From || q.To != 0 && e.Time >= q.To {
			continue
		}
		p.unnamed += e.Touched() - int64(len(e.Orders))
		for _, o := range e.Orders {
			to := p.orders
			if e.Encrypted {
				to = p.masked
			}
			if at, ok := to[o]; !ok || e.Time < at {
				to[o] = e.Time
			}
			if len(narrow[o]) == 0 || len(e.Shops) < len(narrow[o]) {
				narrow[o] = e.Shops
			}
		}
	}
	first := map[string]moat.Time{}
	for o, at := range p.orders {
		if m, ok := p.masked[o]; ok {
			delete(p.masked, o)
			at = min(at, m)
		}
		first[o] = at
		p.days[at-at%moat.Day]++
		for _, s := range narrow[o] {
			if p.shops[s] == nil {
				p.shops[s] = map[string]bool{}
			}
			p.shops[s][o] = true
		}
	}
	for _, e := range w.events {
		if !sees(e) || isSource(e) || e.Type == moat.OrderTransmit {
			continue
		}
		for _, o := range e.Orders {
			if at, ok := first[o]; ok && e.Time >= at {
				k := place{e.Partner, e.App, e.Outlet}
				if p.after[k] == nil {
					p.after[k] = map[string]bool{}
				}
				p.after[k][o] = true
			}
		}
	}
	return p
}

// mixed returns n events of few accounts with few orders, some of them masked, refused or only counted.
func mixed(r *rand.Rand, load *runtest.Workload, n int) (list []*moat.Event) {
	for range n {
		var e moat.Event
		load.Event(&e)
		shop := r.Uint64N(7)
		e.Shops = []string{fmt.Sprint("shop-", shop), fmt.Sprint("shop-", shop+1)}[:1+r.IntN(2)]
		for i := range e.Orders {
			e.Orders[i] = runtest.OrderID(7*r.Uint64N(600) + shop)
		}
		slices.Sort(e.Orders)
		e.Orders = slices.Compact(e.Orders)
		e.Partner = fmt.Sprintf("partner-%03d", r.IntN(2))
		e.Time += moat.Time(r.IntN(3)) * moat.Day
		switch r.IntN(8) {
		case 0:
			e.Encrypted = true
		case 1:
			e.Outcome = moat.Denied
		case 2:
			e.Count = e.Touched() + 3
		case 3:
			e.ActorKind = moat.ActorSystem
		}
		list = append(list, e.Clone())
	}
	return list
}

// TestAgainstPlain compares with the slow exact answer, for all kinds of source and by one and by several workers.
func TestAgainstPlain(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	w := newWorld(t)
	load := runtest.New(1, 20, 1)
	for range 12 {
		w.add(mixed(r, load, 400)...)
	}
	country := func(ip string) string { return "C" + ip[:2] }
	finders := []*Finder{w.finder(Config{Workers: 1, Country: country}), w.finder(Config{Workers: 3, Country: country})}
	for n := range 60 {
		e := w.events[r.IntN(len(w.events))]
		q := Question{Source: []moat.Entity{{Kind: moat.Account, ID: e.Actor}, {Kind: moat.App, ID: e.App}, {Kind: moat.Device, ID: e.Device}, {Kind: moat.IP, ID: e.IP},
			{Kind: moat.Host, ID: e.Host}, {Kind: moat.Destination, ID: "courier-07"}, {Kind: moat.Partner, ID: e.Partner}}[n%7]}
		if strings.Trim(q.Source.ID, "0") == "" { // a device of zeroes is none
			continue
		}
		tenant := moat.Everyone()
		if r.IntN(2) == 0 {
			tenant = moat.Only(e.Partner)
		}
		if r.IntN(2) == 0 {
			q.From, q.To = runtest.Start+moat.Time(r.IntN(3000))*moat.Second, runtest.Start+moat.Day+moat.Time(r.IntN(3000))*moat.Second
		}
		want := w.plainly(tenant, q)
		for _, f := range finders {
			s := w.scope(f, tenant, q)
			if s.Orders != int64(len(want.orders)) || s.Masked != int64(len(want.masked)) || s.Unnamed != want.unnamed || s.Estimated {
				t.Fatalf("%s: %d orders, %d masked, %d unnamed; want %d, %d, %d", q.Source, s.Orders, s.Masked, s.Unnamed, len(want.orders), len(want.masked), want.unnamed)
			}
			for _, g := range s.Shops {
				if g.Name != other && g.Orders != int64(len(want.shops[g.Name])) {
					t.Fatalf("%s: shop %s has %d, want %d", q.Source, g.Name, g.Orders, len(want.shops[g.Name]))
				}
			}
			for _, d := range s.Days {
				if d.Orders != want.days[d.Day] {
					t.Fatalf("%s: %d new orders on %s, want %d", q.Source, d.Orders, d.Day, want.days[d.Day])
				}
			}
			if s.Orders > MaxFollowed {
				continue
			}
			if s.Next.Followed != s.Orders || !s.Next.Cut && len(s.Next.After) != len(want.after) {
				t.Fatalf("%s: followed %d to %d places, want %d", q.Source, s.Next.Followed, len(s.Next.After), len(want.after))
			}
			for _, h := range s.Next.After {
				if n := len(want.after[place{h.Partner, h.App, h.Outlet}]); h.Orders != int64(n) {
					t.Fatalf("%s: %+v, want %d orders", q.Source, h, n)
				}
			}
		}
	}
}

// TestEstimate has room for fewer orders than there are: figures come near, and the export is still whole.
func TestEstimate(t *testing.T) {
	w := newWorld(t)
	const n = 40_000
	for i := 0; i < n; i += 100 {
		e := &moat.Event{Type: moat.OrderAccess, Partner: "p", App: "erp", Actor: "u", Operation: "export", Time: moat.Time(i) * moat.Second, Fields: []string{"phone"}}
		for j := range 100 {
			e.Orders = append(e.Orders, fmt.Sprint("o", i+j))
		}
		w.add(e)
	}
	f := w.finder(Config{MaxOrders: 4096, Workers: 2})
	q := Question{Source: moat.Entity{Kind: moat.App, ID: "erp"}}
	s := w.scope(f, moat.Everyone(), q)
	if !s.Estimated || math.Abs(float64(s.Orders)/n-1) > 4*s.Error {
		t.Errorf("%d orders ± %g, want %d", s.Orders, s.Error, n)
	}
	if again := w.scope(f, moat.Everyone(), q); again.Orders != s.Orders {
		t.Errorf("%d orders the first time, %d the second", s.Orders, again.Orders)
	}
	seen := map[string]bool{}
	if _, err := f.Export(t.Context(), moat.Everyone(), q, func(o *Order) error { seen[o.ID] = true; return nil }); err != nil || len(seen) != n {
		t.Errorf("exported %d orders, %v; want %d", len(seen), err, n)
	}
}

func access(at moat.Time, partner, actor string, orders ...string) *moat.Event {
	return &moat.Event{Type: moat.OrderAccess, ID: fmt.Sprint(partner, actor, at), Time: at, Partner: partner, Actor: actor, App: partner + "-app", IP: "203.0.113.9",
		Operation: "view", Fields: []string{"name", "phone"}, Orders: orders}
}

// TestTenancy has two partners with an account of the same name that touch the same order.
func TestTenancy(t *testing.T) {
	w := newWorld(t)
	day := 20_000 * moat.Day
	w.add(access(day, "acme", "alice", "o1", "o2"), access(day+1, "other", "alice", "o1"), access(day+2, "acme", "bob", "o2"))
	f := w.finder(Config{})
	alice := Question{Source: moat.Entity{Kind: moat.Account, ID: "alice"}}
	if s := w.scope(f, moat.Everyone(), alice); s.Orders != 2 || len(s.Partners) != 2 {
		t.Errorf("the operator sees %+v", s)
	}
	s := w.scope(f, moat.Only("other"), alice)
	if s.Orders != 1 || len(s.Partners) != 1 || s.Partners[0].Name != "other" || len(s.Next.After) != 0 {
		t.Errorf("a partner sees %+v", s)
	}
	for _, q := range []Question{{Partner: "acme", Source: alice.Source}, {Source: moat.Entity{Kind: moat.Partner, ID: "acme"}}} {
		if _, err := f.Scope(t.Context(), moat.Only("other"), q); !errors.Is(err, diary.ErrTenant) {
			t.Errorf("asking for acme's: %v", err)
		}
	}
	if s := w.scope(f, moat.Tenant{}, alice); s.Events != 0 {
		t.Errorf("nobody sees %+v", s)
	}
}

// TestNothing asks for what is not there, and for what makes no sense.
func TestNothing(t *testing.T) {
	w := newWorld(t)
	w.add(access(5*moat.Day, "acme", "alice", "o1"))
	f := w.finder(Config{})
	for _, q := range []Question{
		{Source: moat.Entity{Kind: moat.Account, ID: "nobody"}},
		{Source: moat.Entity{Kind: moat.Account, ID: "alice"}, To: 4 * moat.Day},
		{Source: moat.Entity{Kind: moat.Account, ID: "alice"}, From: 6 * moat.Day},
	} {
		s := w.scope(f, moat.Everyone(), q)
		if s.Events != 0 || s.Orders != 0 || s.First != 0 || s.People != (People{}) || s.Days == nil || s.Next.Hands == nil {
			t.Errorf("%+v gives %+v", q, s)
		}
	}
	for _, q := range []Question{
		{Source: moat.Entity{Kind: moat.Account}},
		{Source: moat.Entity{Kind: moat.Account, ID: "alice"}, From: 6, To: 6},
		{Source: moat.Entity{Kind: moat.Partner, ID: "acme"}, Partner: "other"},
	} {
		if _, err := f.Scope(t.Context(), moat.Everyone(), q); !errors.Is(err, ErrQuestion) {
			t.Errorf("%+v gives %v", q, err)
		}
	}
	if _, err := f.Scope(t.Context(), moat.Everyone(), Question{Source: moat.Entity{Kind: moat.Order, ID: "o1"}}); !errors.Is(err, diary.ErrKind) {
		t.Errorf("an order as source gives %v", err)
	}
}

// TestSkew has events of clocks that are wrong by decades, and counts beyond all reason.
func TestSkew(t *testing.T) {
	w := newWorld(t)
	far := moat.Time(math.MaxInt64 - 1)
	w.add(access(0, "p", "u", "a"), access(far, "p", "u", "b"), &moat.Event{Type: moat.OrderAccess, ID: "c", Partner: "p", Actor: "u", Time: moat.Day, Count: math.MaxInt64},
		&moat.Event{Type: moat.OrderAccess, ID: "d", Partner: "p", Actor: "u", Time: moat.Day, Count: math.MaxInt64})
	for i := range maxDays + 50 {
		w.add(access(moat.Time(i+2)*moat.Day, "p", "u", "z"))
	}
	s := w.scope(w.finder(Config{}), moat.Everyone(), Question{Source: moat.Entity{Kind: moat.Account, ID: "u"}, Discovered: moat.Day})
	if s.Orders != 3 || s.Unnamed < 2*math.MaxUint32 || s.People.Most < s.People.Least || s.Last != far || len(s.Days) > maxDays+1 {
		t.Errorf("%d orders, %d unnamed, people %+v, last %d, %d days", s.Orders, s.Unnamed, s.People, s.Last, len(s.Days))
	}
}

// TestStory follows three orders from a thief's account to the courier, with a complaint about one.
func TestStory(t *testing.T) {
	w := newWorld(t)
	at := 20_000 * moat.Day
	send := func(e *moat.Event, to, kind string) *moat.Event {
		e.Type, e.Operation, e.Destination, e.DestinationKind = moat.OrderTransmit, "send", to, kind
		return e
	}
	masked := access(at+5, "erp", "mia", "m")
	masked.Encrypted = true
	refused := access(at+6, "erp", "mia", "x", "y")
	refused.Outcome = moat.Denied
	w.add(access(at-moat.Hour, "erp", "bob", "1", "2"), access(at, "erp", "mia", "1", "2", "3"), masked, refused,
		send(access(at+10, "erp", "mia", "1", "2"), "files.example", "other"), send(access(at+moat.Hour, "wms", "job", "1"), "hub.example", "courier"),
		access(at+2*moat.Hour, "hub", "rider", "1"), &moat.Event{Type: moat.Complaint, ID: "c", Time: at + moat.Day, Partner: "hub", Orders: []string{"1"}})
	f := w.finder(Config{Duties: ShippedDuties(), Complaints: func(_ context.Context, _ moat.Tenant, since moat.Time, fn func(string) error) error {
		if since != at {
			t.Errorf("complaints since %s", since)
		}
		return errors.Join(fn("1"), fn("1"), fn("nobody's"))
	}})
	q := Question{Source: moat.Entity{Kind: moat.Account, ID: "mia"}, Discovered: at + moat.Day}
	s := w.scope(f, moat.Everyone(), q)
	if s.Orders != 3 || s.Masked != 1 || s.Refused != 2 || s.People != (People{3, 3}) || s.Complained != (Complained{1, 2}) {
		t.Errorf("%+v", s)
	}
	if h := s.Next.Hands; len(h) != 2 || !h[0].Source || h[0].Destination != "files.example" || h[0].Orders != 2 || h[1].Partner != "wms" || h[1].Kind != "courier" {
		t.Errorf("handed on %+v", h)
	}
	if a := s.Next.After; len(a) != 1 || a[0].Partner != "hub" || a[0].Orders != 1 {
		t.Errorf("after that %+v", a)
	}
	if d := s.Deadlines; len(d) != len(ShippedDuties()) || d[0].Due != q.Discovered || d[len(d)-1].Due != q.Discovered+3*moat.Day {
		t.Errorf("deadlines %+v", d)
	}
}

func TestCSV(t *testing.T) {
	w := newWorld(t)
	at := moat.TimeOf(time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC))
	e := access(at, "erp", "mia", "=cmd|x", "ok,\"1\"")
	e.Shops = []string{"@s", "t"}
	masked := access(at+moat.Minute, "erp", "mia", "ok,\"1\"")
	masked.Encrypted, masked.Fields = true, []string{"address"}
	w.add(e, masked)
	var b bytes.Buffer
	n, _, err := w.finder(Config{}).ExportCSV(t.Context(), moat.Everyone(), Question{Source: moat.Entity{Kind: moat.Account, ID: "mia"}}, &b)
	if err != nil || n != 2 {
		t.Fatal(n, err)
	}
	rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatal(rows, err)
	}
	slices.SortFunc(rows[1:], func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	want := []string{"'=cmd|x erp '@s;t name;phone  2026-03-02T09:00:00Z 2026-03-02T09:00:00Z 1 view no",
		"ok,\"1\" erp '@s;t name;phone address 2026-03-02T09:00:00Z 2026-03-02T09:01:00Z 2 view no"}
	for i, row := range rows[1:] {
		if got := strings.Join(row, " "); got != want[i] {
			t.Errorf("got  %s\nwant %s", got, want[i])
		}
	}
}

func TestParseDuties(t *testing.T) {
	good := "- {id: a, title: t, to: x, within: 36h, when: w, source: s}\n"
	if list, err := ParseDuties([]byte(good)); err != nil || len(list) != 1 || list[0].Within.String() != "36h" {
		t.Errorf("%+v, %v", list, err)
	}
	for _, bad := range []string{good + good, "- {id: a}", strings.Replace(good, "36h", "soon", 1), strings.Replace(good, "36h", "-1h", 1), "x: y", good + "  odd: 1\n", strings.Repeat("#", maxDutyBytes+1)} {
		if list, err := ParseDuties([]byte(bad)); err == nil {
			t.Errorf("%.60q gives %+v", bad, list)
		}
	}
}

func FuzzParseDuties(f *testing.F) {
	f.Add(shipped)
	f.Add([]byte("- {id: a, title: t, to: x, within: now, when: w, source: s}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := ParseDuties(text)
		if err == nil {
			deadlines(list, moat.Day)
		}
	})
}
