package world

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/indicator"
	"github.com/moat-platform/moat/ingest"
)

const monday = moat.Time(1_775_433_600) * moat.Second // 2026-04-06

func world(t testing.TB, cfg Config) *World {
	t.Helper()
	cfg.Start = monday
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// sum is a hash of all that a world says.
func sum(t *testing.T, cfg Config) string {
	w := world(t, cfg)
	h := sha256.New()
	for day, ok := w.Next(); ok; day, ok = w.Next() {
		for _, e := range day {
			h.Write(moat.AppendJSON(nil, e))
		}
	}
	fmt.Fprint(h, w.Thefts(), w.Staff(), w.Partners())
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestDeterminism(t *testing.T) {
	cfg := Config{Seed: 5, Partners: 12, Days: 5}
	a, b := sum(t, cfg), sum(t, cfg)
	if a != b {
		t.Error("the same world is another one the second time")
	}
	if cfg.Seed = 6; sum(t, cfg) == a {
		t.Error("another seed makes the same world")
	}
}

// TestThievesApart tells that honest people do the same whether there are thieves or not.
func TestThievesApart(t *testing.T) {
	honest := func(thefts int) map[string]int {
		w := world(t, Config{Seed: 3, Partners: 10, Days: 5, Thefts: thefts})
		kept := map[string]int{}
		for !w.over() {
			w.live(w.day)
			for _, s := range w.mail.box {
				if s.by == nil && s.e.Type != moat.Complaint && s.e.Type != moat.CanaryTouch && s.e.Type != moat.Heartbeat {
					e := *s.e
					e.ID = ""
					e.MarkAll()
					kept[string(moat.AppendJSON(nil, &e))]++
				}
			}
			w.mail.box = nil
			w.day++
		}
		return kept
	}
	without, with := honest(-1), honest(8)
	for line, n := range without {
		if with[line] != n {
			t.Fatalf("with thieves this happens %d times instead of %d: %s", with[line], n, line)
		}
	}
}

func (w *World) over() bool { return w.day == w.cfg.Days }

// TestContract sends a world through decoder and ingest, as a file would go.
func TestContract(t *testing.T) {
	w := world(t, Config{Seed: 1})
	normaliser, err := ingest.NewNormaliser([]byte("sixteen bytes or more"))
	if err != nil {
		t.Fatal(err)
	}
	decoder := moat.Decoder{AllowPartner: true}
	var line, again []byte
	operations := map[string]int{}
	types, ids := map[moat.EventType]int{}, map[string]moat.Time{}
	received, events, late := moat.Time(0), 0, 0
	for day, ok := w.Next(); ok; day, ok = w.Next() {
		for _, e := range day {
			events++
			if e.Received < received {
				t.Fatalf("event is out of order, %s after %s: %s", e.Received, received, moat.AppendJSON(nil, e))
			}
			received = e.Received
			if err := e.Check(); err != nil {
				t.Fatalf("%v: %s", err, moat.AppendJSON(nil, e))
			}
			key := e.Partner + " " + e.ID
			if at, twice := ids[key]; twice && at != e.Time {
				t.Errorf("id %s stands for two events", key)
			}
			ids[key] = e.Time
			if e.Type == moat.OrderAccess {
				operations[e.Operation]++
			}
			if types[e.Type]++; e.Received-e.Time > 5*moat.Hour {
				late++
			}
			if e.Time < w.Start()-4*moat.Hour || e.Time > w.End()+moat.Day {
				t.Errorf("event at %s is outside of the world", e.Time)
			}
			if types[e.Type] > 500 && events%8 > 0 { // the rest is like these
				continue
			}
			line = moat.AppendJSON(line[:0], e)
			got := new(moat.Event)
			err := decoder.Decode(line, got)
			if err == nil {
				err = normaliser.Normalise(got, ingest.Caller{Operator: true}, received)
			}
			if err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if again = moat.AppendJSON(again[:0], got); !bytes.Equal(line, again) {
				t.Fatalf("an event comes out of ingest as another:\n%s\n%s", line, again)
			}
		}
	}
	for typ := moat.NoType + 1; typ < moat.EventTypes; typ++ {
		if types[typ] == 0 && typ != moat.Sighting { // which Moat makes itself
			t.Errorf("there is no %s", typ)
		}
	}
	for _, o := range strings.Fields("view view_list search print print_list export export_list download decrypt modify delete send") {
		if operations[o] == 0 {
			t.Errorf("nobody did %s", o)
		}
	}
	for o := range oddities {
		if w.odd[o] == 0 {
			t.Errorf("nothing like this happened: %s", o)
		}
	}
	if events < 400_000 || events > 2_500_000 || late == 0 || len(ids) == events {
		t.Errorf("%d events, %d late, %d ids", events, late, len(ids))
	}
	thefts := w.Thefts()
	if len(thefts) < 8 {
		t.Errorf("%d thefts", len(thefts))
	}
	for _, x := range thefts {
		for _, a := range x.Acts {
			at, ok := ids[x.Partner+" "+a.Event]
			for _, p := range x.Elsewhere {
				if !ok {
					at, ok = ids[p+" "+a.Event]
				}
			}
			if !ok || at != a.Time || at < x.From || at > x.To {
				t.Errorf("%s: act %s is not in the stream", x.Name, a.Event)
			}
		}
		if len(x.Culprits) == 0 || x.From < w.Start()+maxQuiet*moat.Day-4*moat.Hour {
			t.Errorf("%s at %s by %v", x.Name, x.From, x.Culprits)
		}
	}
	t.Logf("%d events, %d staff-days, %d thefts", events, w.Staff(), len(thefts))
}

// TestCampaigns lets every campaign happen.
func TestCampaigns(t *testing.T) {
	list := Campaigns()
	found, taken := map[string]int{}, map[string]int{}
	for seed := range uint64(2) {
		w := world(t, Config{Seed: seed, Partners: 24, Days: 14, Thefts: 3 * len(list)})
		for _, ok := w.Next(); ok; _, ok = w.Next() {
		}
		for _, x := range w.Thefts() {
			if found[x.Name]++; x.Partner == "" || x.To < x.From || len(x.Culprits) == 0 {
				t.Errorf("%s: %+v", x.Name, x)
			}
			for _, a := range x.Acts {
				taken[x.Name] += len(a.Orders) + int(a.Rows)
			}
		}
	}
	for _, c := range list {
		if c.Name == "" || !strings.HasSuffix(c.Doc, ".") {
			t.Errorf("campaign %q says of itself %q", c.Name, c.Doc)
		}
		if found[c.Name] < 2 || taken[c.Name] == 0 {
			t.Errorf("%s: of 6 thieves %d acted and took %d orders", c.Name, found[c.Name], taken[c.Name])
		}
	}
	names := map[string]bool{}
	for _, c := range campaigns() {
		if names[c.name] || c.days < 1 || c.plan == nil {
			t.Errorf("campaign %q is not whole, or there twice", c.name)
		}
		names[c.name] = true
	}
}

// TestRhythm compares when orders are born with the real data.
func TestRhythm(t *testing.T) {
	w := world(t, Config{Seed: 2, Partners: 60, Days: 35, Thefts: -1})
	var got [7][24]float64
	for day := range w.cfg.Days {
		if w.day = day; slices.Contains(w.sales, day) {
			continue
		}
		w.bear(day)
		for _, s := range w.shops {
			for _, o := range s.fresh {
				local := o.at + s.system.country.zone
				got[(local/moat.Day+3)%7][local%moat.Day/moat.Hour]++
			}
		}
	}
	share := func(week func(d int) float64) (out [7]float64) {
		sum := 0.0
		for d := range out {
			out[d] = week(d)
			sum += out[d]
		}
		for d := range out {
			out[d] /= sum
		}
		return out
	}
	days := share(func(d int) (n float64) {
		for _, x := range got[d] {
			n += x
		}
		return n
	})
	want := share(func(d int) (n float64) {
		for _, x := range w.rhythm[d] {
			n += float64(x)
		}
		return n
	})
	for d := range days {
		if d != 5 && math.Abs(days[d]-want[d]) > 0.05 {
			t.Errorf("weekday %d has %.3f of the orders, %.3f in the data", d, days[d], want[d])
		}
	}
	if days[5] > 0.1 {
		t.Errorf("Saturdays have %.3f", days[5])
	}
	for d := range 5 { // total variation: the share of orders that would have to move
		apart, sum, total := 0.0, 0.0, 0.0
		for h := range 24 {
			sum += got[d][h]
			total += float64(w.rhythm[d][h])
		}
		for h := range 24 {
			apart += math.Abs(got[d][h]/sum-float64(w.rhythm[d][h])/total) / 2
		}
		if apart > 0.22 {
			t.Errorf("weekday %d: %.2f of the orders come in another hour than in the data", d, apart)
		}
	}
}

func TestSales(t *testing.T) {
	w := world(t, Config{Seed: 4, Days: 28, Thefts: -1})
	if len(w.sales) == 0 {
		t.Fatal("no sale in four weeks")
	}
	perDay := map[int]int{}
	for day := range w.cfg.Days {
		w.bear(day)
		for _, s := range w.shops {
			if s.sales {
				perDay[day] += len(s.fresh)
			}
		}
	}
	usual := slices.Sorted(maps.Values(perDay))[len(perDay)/2]
	if x := float64(perDay[w.sales[0]]) / float64(usual); x < 5 || x > 40 {
		t.Errorf("a sale day has %.1f times the orders", x)
	}
}

func TestEverybodyDiffers(t *testing.T) {
	w := world(t, Config{Seed: 1})
	least, most, starts, shops := 1000, 0, map[float64]bool{}, map[string]bool{}
	kinds := map[Kind]int{}
	for _, p := range w.Partners() {
		least, most = min(least, p.Staff), max(most, p.Staff)
		kinds[p.Kind]++
	}
	people := 0
	for _, p := range w.partners {
		for _, q := range p.people {
			people++
			starts[q.from] = true
		}
	}
	for _, s := range w.shops {
		if shops[s.id] {
			t.Errorf("shop %s is there twice", s.id)
		}
		shops[s.id] = true
	}
	if least > 3 || most < 150 || len(kinds) != 4 || len(starts) < people*9/10 {
		t.Errorf("staff of %d to %d, %d kinds, %d beginnings of %d people", least, most, len(kinds), len(starts), people)
	}
}

// TestPlaces looks the networks up.
func TestPlaces(t *testing.T) {
	table, err := indicator.Default()
	if err != nil {
		t.Fatal(err)
	}
	r := chance(1, "places", 0)
	for _, c := range append([]*country{britain}, abroad...) {
		for _, nets := range [][]string{c.home, c.office, c.mobile} {
			for _, n := range nets {
				a := netip.MustParseAddr(address(r, []string{n}))
				if x := table.Lookup(a); x.Country != c.code || x.Kinds.Has(indicator.Hosting) {
					t.Errorf("%s of %s is in %s, %v", a, c.code, x.Country, x.Kinds)
				}
			}
		}
	}
	for _, n := range tunnels {
		if a := netip.MustParseAddr(address(r, []string{n})); !table.Lookup(a).Kinds.Has(indicator.Hosting | indicator.VPN) {
			t.Errorf("%s is not known to be a data centre", a)
		}
	}
}

func TestBounds(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Partners: 9}, "9 partners"},
		{Config{Partners: 100_001}, "100001 partners"},
		{Config{Days: -1}, "-1 days"},
		{Config{Days: 367}, "367 days"},
		{Config{Start: monday + moat.Hour}, "midnight"},
		{Config{Start: -moat.Day}, "midnight"},
		{Config{Thefts: 20_000}, "20000 thefts"},
		{Config{Only: []string{"magic"}}, "no campaign \"magic\": want one of"},
	} {
		if c.cfg.Start == 0 {
			c.cfg.Start = monday
		}
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.cfg, err)
		}
	}
	w := world(t, Config{Partners: MinPartners, Days: 1, Thefts: -1})
	if day, ok := w.Next(); !ok || len(day) == 0 {
		t.Error("the smallest world is empty")
	}
	if _, ok := w.Next(); ok || len(w.Thefts()) > 0 {
		t.Error("a world goes on after its last day, or has thieves that it should not have")
	}
}

// TestMany is a day of many partners: most small ones are asleep, and nothing grows with all of them together.
func TestMany(t *testing.T) {
	w := world(t, Config{Seed: 1, Partners: 1500, Days: 1})
	day, _ := w.Next()
	if n := len(day); n < 20_000 || n > 400_000 {
		t.Errorf("%d events of 1500 partners", n)
	}
}

// TestRoads tries all that a campaign may use.
func TestRoads(t *testing.T) {
	w := world(t, Config{Seed: 8, Partners: 12, Days: 6, Thefts: -1})
	x := &thief{w: w, r: chance(8, "roads", 0), day: 2, acts: map[int][]func(int){}, resale: 1}
	w.thieves = append(w.thieves, x)
	p := x.partner(func(p *partner) bool { return p.kind == Service })
	o := x.another(func(p *partner) bool { return p.kind != Logistics })
	if p == nil || o == nil || x.another(func(p *partner) bool { return false }) != nil || x.Partner != p.id || !slices.Equal(x.Elsewhere, []string{o.id}) {
		t.Fatalf("victims %v, %v", p, o)
	}
	a := p.apps[0]
	x.tap(a, func(day int, at moat.Time, orders []*order) {
		x.caller(a, day, a.servers(day)[0]).transmit(at+moat.Second, "https://copy.example", "other", whole, orders...)
	})
	q := x.hire(p, clerk, 1)
	x.beside(q, func(k *desk) { k.login(k.to, "") })
	x.daily(2, 4, func(day int) {
		s := x.shell(p.db(), day, "root", "203.0.113.9")
		s.login(p.at(day, 60), "sshd", "password", moat.Success)
		s.query(p.at(day, 61), "select * from orders", []string{"orders"}, "psql", 900)
		x.visit(o, p.at(day, 62), "203.0.113.9", "curl/8.5.0", "POST", "/upload", 200)
		if orders := newest(p.shops, p.at(day, 600), 50); len(orders) > 0 {
			x.takes(orders...)
		}
	})
	types, works, complaints := map[moat.EventType]int{}, 0, 0
	acts := map[string]bool{}
	var all []*moat.Event
	for day, ok := w.Next(); ok; day, ok = w.Next() {
		all = append(all, day...)
	}
	for _, a := range x.Acts {
		acts[a.Event] = true
	}
	for _, e := range all {
		switch {
		case acts[e.ID]:
			types[e.Type]++
		case e.Actor == q.account && e.Type == moat.OrderAccess && e.Partner == p.id:
			works++
		case e.Type == moat.Complaint:
			complaints++
		}
		if e.Type == moat.OrderTransmit && e.Destination == "https://copy.example" != (acts[e.ID] && e.Type == moat.OrderTransmit) {
			t.Errorf("event %s is an act, or not, the wrong way round", e.ID)
		}
	}
	if types[moat.OrderTransmit] == 0 || types[moat.AuthLogin] == 0 || types[moat.HostLogin] != 2 || types[moat.DBQuery] != 2 || types[moat.HTTPRequest] != 2 || works == 0 || complaints < 10 {
		t.Errorf("acts %v, %d honest acts of the hired, %d complaints", types, works, complaints)
	}
	if x.From == 0 || x.To <= x.From {
		t.Errorf("from %s to %s", x.From, x.To)
	}
}
