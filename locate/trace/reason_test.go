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
