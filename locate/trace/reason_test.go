package trace

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
)

// TestFace wants the path, the partner and the reason of a source to be those of the member that is named first, although the figures are
// those of another that cannot be told from it: two partners send orders to a third, whose program takes them.
func TestFace(t *testing.T) {
	events := office()
	r := rand.New(rand.NewPCG(1, 4))
	var sent []string
	for i := range 1500 {
		if r.IntN(4) > 0 {
			continue
		}
		sent = append(sent, id(i))
		at, from := day0+moat.Time(i)*10*moat.Minute+moat.Hour, fmt.Sprint("shopware", i%2)
		events = append(events, &moat.Event{Type: moat.OrderTransmit, Time: at, Partner: from, App: from, IP: "192.0.2.9", Destination: "packs", DestinationKind: "wms", Fields: []string{"phone"}, Orders: []string{id(i)}},
			&moat.Event{Type: moat.OrderAccess, Time: at + moat.Minute, Partner: "depot", App: "packs", Actor: "robot", ActorKind: moat.ActorService, IP: "192.0.2.10", Operation: "print", Fields: []string{"phone"}, Orders: []string{id(i)}})
	}
	a := ask(t, memory(events), moat.Everyone(), Question{Orders: every(sent, 40)})
	if s := a.Sources[0]; s.ID != "robot" || !strings.Contains(s.Reason, "; the figures are those of ") {
		t.Errorf("%s is first: %s", s.Name, s.Reason)
	}
	for _, s := range a.Sources {
		if !strings.HasPrefix(s.Reason, s.Name[:len(s.ID)]) || !slices.ContainsFunc(s.Path, func(p Step) bool { return p.Kind == s.Kind && p.ID == s.ID }) ||
			s.Partner != "" && !slices.ContainsFunc(s.Path, func(p Step) bool { return p.Kind == "partner" && p.ID == s.Partner }) {
			t.Errorf("%s of %q goes by %v: %s", s.Name, s.Partner, s.Path, s.Reason)
		}
	}
}

// TestOneShop tells that all orders are of one shop only where events that name no other say so.
func TestOneShop(t *testing.T) {
	var list []Leaked
	for i := range 12 {
		list = append(list, Leaked{ID: id(i * 30)}) // office has these in shop0
	}
	for _, c := range []struct {
		name   string
		orders []Leaked
		change func(e *moat.Event)
		want   bool
	}{
		{"one shop", list, nil, true},
		{"two shops", append(slices.Clone(list), Leaked{ID: id(1)}), nil, false},
		{"two shops, and one list of both", append(slices.Clone(list), Leaked{ID: id(1)}), func(e *moat.Event) {
			if e.Partner == "post" {
				e.Shops = []string{"shop0", "shop1"}
			}
		}, false},
		{"lists of several only", list, func(e *moat.Event) { e.Shops = []string{"shop0", "shop1"} }, false},
		{"one shop, and lists of several", list, func(e *moat.Event) {
			if e.Partner == "post" {
				e.Shops = []string{"shop0", "shop1"}
			}
		}, true},
	} {
		events := office()
		for _, e := range events {
			if c.change != nil {
				c.change(e)
			}
		}
		a := ask(t, memory(events), moat.Everyone(), Question{Orders: c.orders})
		if warned(a, WarnShop) != c.want {
			t.Errorf("%s: %v", c.name, a.Warnings)
		}
		for _, w := range a.Warnings {
			if w.Code == WarnShop && !strings.HasPrefix(w.Text, "all orders are of shop shop0: ") {
				t.Errorf("%s: %s", c.name, w.Text)
			}
		}
	}
}

// TestShort writes numbers that fall short so that they do not look as if they did not.
func TestShort(t *testing.T) {
	for got, want := range map[string]string{
		Chance(0.011): "0.011", Chance(0.0101): "> 0.01", Chance(0.01): "0.01", Chance(0.0099): "0.0099", Chance(0.38): "0.38", Chance(1): "1", Chance(0): "< 1e-12",
		chance(0.0101): "p > 0.01", chance(0.2): "p = 0.2", chance(1e-13): "p < 1e-12",
		round(1.99): "1.9", round(2): "2.0", round(12.9): "12", Probability(0.499): "0.49", Probability(0.5): "0.50", Probability(0.126): "0.13",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestUnfit says in words what a likely source lacks, with the numbers that docs/trace.md has.
func TestUnfit(t *testing.T) {
	for _, c := range []struct {
		hits    int
		touched float64
		p       float64
		among   bool
		want    string
	}{
		{2, 50, 0, false, "it had 2 of these orders in hand, fewer than 3"},
		{5, 400, 0, false, "it had 1.2 times as many of these orders in hand as chance would give: its work alone may explain that. A name needs 2 times as many, or that orders which it had leaked 4 times as often as others"},
		{4, 200, 0, true, "it had 2.0 times as many of these orders in hand as chance would give: its work alone may explain that. A name needs 3 times as many, or that orders which it had leaked 4 times as often as others"},
		{5, 50, 0.011, false, "somebody innocent has as many of these orders with a chance of 0.011; it must be 0.01 at most"},
		{5, 50, 0.0101, false, "somebody innocent has as many of these orders with a chance of > 0.01; it must be 0.01 at most"},
		{5, 50, 0.01, false, ""},
	} {
		tr := &trial{orders: make([]leaked, 10), left: 10, among: c.among, sizes: []float64{1000}, leaks: []float64{10}, population: population{orders: 1000, bins: []int{0}}}
		if got := tr.unfit(&candidate{hits: make([]hit, c.hits), touched: c.touched, exact: true, adjusted: c.p}); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// TestMore says of whom more complaints would tell by the name that stands first, not by that of the member whose figures stand for it.
func TestMore(t *testing.T) {
	tr := &trial{orders: make([]leaked, 10), left: 10, sizes: []float64{1000}, leaks: []float64{10}, population: population{orders: 1000, bins: []int{0}}}
	lead := &candidate{Owner: Owner{Kind: moat.App, ID: "packs"}, hits: make([]hit, 5), touched: 50, exact: true, alone: 2, p: 0.1, adjusted: 0.4}
	robot := &candidate{Owner: Owner{Kind: moat.Account, ID: "robot"}}
	s := Source{lead: lead, unit: &unit{lead: lead, members: []*candidate{robot, lead}}}
	if got := tr.more(&s); !strings.HasSuffix(got, " more complaints like these would settle whether it is robot") {
		t.Errorf("%q", got)
	}
}

// TestApp names the app beside the person who alone works in it: nothing tells which of them it was.
func TestApp(t *testing.T) {
	events := office()
	var had []string
	for i := range 1500 {
		if i%5 == 0 {
			had = append(had, id(i))
			events = append(events, &moat.Event{Type: moat.OrderAccess, Time: day0 + moat.Time(i)*10*moat.Minute + moat.Hour, Partner: "corner", App: "till", Actor: "solo", Operation: "view", Fields: []string{"phone"}, Orders: []string{id(i)}})
		}
	}
	s := ask(t, memory(events), moat.Everyone(), Question{Orders: every(had, 30)}).Sources[0]
	if !strings.HasPrefix(s.Name, "solo or app till") || !strings.Contains(s.Reason, "app till had the same in hand") {
		t.Errorf("%s: %s", s.Name, s.Reason)
	}
}
