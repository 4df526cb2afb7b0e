package trace

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/moat-platform/moat"
)

// roaming is the past of the office with a rider whose address changes every day, with a stranger who acts as clerk1 from a
// device and an address of his own, and with two riders behind one address.
func roaming() []*moat.Event {
	events := office()
	look := func(at moat.Time, partner, app, actor, device, ip string, order int) {
		events = append(events, &moat.Event{Type: moat.OrderAccess, Time: at, Partner: partner, App: app, Actor: actor, Device: device, IP: ip, Operation: "view",
			Fields: []string{"phone", "address"}, Orders: []string{id(order)}})
	}
	r := rand.New(rand.NewPCG(2, 2))
	for i := range 1500 {
		at := day0 + moat.Time(i)*10*moat.Minute
		if r.IntN(3) == 0 {
			look(at+2*moat.Hour, "post", "hub", "rover", "phone", fmt.Sprintf("100.64.0.%d", i/144), i)
		}
		if i > 300 && i < 1200 && i%15 == 0 {
			look(at+3*moat.Hour, "acme", "erp", "clerk1", "stolen", "203.0.113.9", i)
		}
		if r.IntN(8) == 0 {
			look(at+4*moat.Hour, "post", "hub", []string{"rider8", "rider9"}[r.IntN(2)], "scanner", "100.64.9.9", i)
		}
	}
	return events
}

// TestPlaces leaks what was in hand at some places of a person: the person is named if there are several, the place if it is one.
func TestPlaces(t *testing.T) {
	events := roaming()
	rows := memory(events)
	at := func(ip ...string) (list []string) {
		for _, e := range events {
			if slices.Contains(ip, e.IP) {
				list = append(list, e.Orders...)
			}
		}
		return list
	}
	for _, c := range []struct {
		name    string
		leaked  []string
		n       int
		want    string
		members []string
	}{
		{"four addresses of one person", at("100.64.0.2", "100.64.0.4", "100.64.0.6", "100.64.0.7"), 24, "rover", []string{"phone", "100.64.0.2", "100.64.0.4", "100.64.0.6", "100.64.0.7"}},
		{"a stranger's device, at his address, as somebody else", at("203.0.113.9"), 20, "clerk1, at device stolen, ip 203.0.113.9", []string{"stolen", "203.0.113.9", "clerk1"}},
		{"an address of two", at("100.64.9.9"), 30, "ip 100.64.9.9", nil},
	} {
		a := ask(t, rows, moat.Everyone(), Question{Orders: every(c.leaked, c.n)})
		s := a.Sources[0]
		if !s.Named || len(s.Name) < len(c.want) || s.Name[:len(c.want)] != c.want {
			t.Errorf("%s: named %q (%v), posterior %.2f, want %q", c.name, s.Name, s.Named, s.Posterior, c.want)
		}
		for _, id := range c.members {
			if !slices.ContainsFunc(s.Members, func(m Member) bool { return m.ID == id && m.Posterior >= 0 && m.Posterior <= 1.000001 }) {
				t.Errorf("%s: %s is not among %+v", c.name, id, s.Members)
			}
		}
		for _, other := range a.Sources[1:] {
			if slices.ContainsFunc(other.Members, func(m Member) bool { return m.ID == "100.64.0.2" || m.ID == "stolen" }) {
				t.Errorf("%s: a place stands beside its person: %s", c.name, other.Name)
			}
		}
	}
}

// TestReceiver: orders that are sent to an app are met where they are sent from; what leaks there leaks at the app's partner.
func TestReceiver(t *testing.T) {
	events := office()
	r := rand.New(rand.NewPCG(3, 3))
	var sent []string
	for i := range 1500 {
		if r.IntN(6) > 0 {
			continue
		}
		sent = append(sent, id(i))
		at := day0 + moat.Time(i)*10*moat.Minute + moat.Hour
		events = append(events, &moat.Event{Type: moat.OrderTransmit, Time: at, Partner: "acme", App: "erp", Destination: "packs", DestinationKind: "wms", Fields: []string{"phone"}, Orders: []string{id(i)}},
			&moat.Event{Type: moat.OrderAccess, Time: at + moat.Minute, Partner: "depot", App: "packs", Actor: fmt.Sprint("packer", r.IntN(3)), Operation: "print", Fields: []string{"phone"}, Orders: []string{id(i)}})
	}
	a := ask(t, memory(events), moat.Everyone(), Question{Orders: every(sent, 40)})
	if s := a.Sources[0]; !s.Named || s.Kind != "app" || s.Partner != "depot" || a.Partners[0].Partner != "depot" {
		t.Errorf("named %q at %q, first partner %+v; want the app of depot", s.Name, s.Partner, a.Partners[0])
	}
}

// TestBorn: half of what somebody had in hand was of orders that are too young to have leaked. They are left out once, not
// again by a window in which they were not in hand.
func TestBorn(t *testing.T) {
	c := &trial{}
	for i := range slots / 2 {
		c.population.inside[i] = 1
	}
	x := &candidate{exact: true, odds: &c.population.inside}
	for i := range 192 {
		x.when = append(x.when, 1<<(i%slots))
	}
	if fair := c.fair(x); fair < 0.49 || fair > 0.53 {
		t.Errorf("%.2f of it is to be compared, want a half", fair)
	}
	x.exposed = 100
	for hi, want := range map[int]float64{slots: 100, slots / 2: 100, slots / 4: 50} {
		if got := x.in(between(0, hi)).exposed; got < 0.98*want || got > 1.02*want {
			t.Errorf("%.1f in hand in the first %d slots, want %.0f", got, hi, want)
		}
	}
}

// TestMeek: what a person shared an address with counts only as far as it was shown to the person.
func TestMeek(t *testing.T) {
	whole := func(shown float64, orders ...int) (x *candidate) {
		x = &candidate{}
		for _, o := range orders {
			x.hits, x.exposed = append(x.hits, hit{order: o, shown: shown}), x.exposed+shown
		}
		return x
	}
	x := whole(0.5, 1, 2, 3)
	got := x.across([]*place{{[]*candidate{whole(1, 1, 2)}}, {[]*candidate{whole(0.3, 2, 3, 4)}}})
	var shown []float64
	for _, h := range got.hits {
		shown = append(shown, h.shown)
	}
	if !slices.Equal(shown, []float64{0.5, 0.5, 0.3}) || got.exposed > x.exposed {
		t.Errorf("at its places it was shown %v of %v in hand, want no more than it was shown in all", shown, got.exposed)
	}
}
