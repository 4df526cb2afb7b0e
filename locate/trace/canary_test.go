package trace

import (
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run"
)

// TestCanaryElsewhere: who uses what was planted elsewhere has it from a leak that was before: he is no candidate for its source, and who works in
// its channel still is.
func TestCanaryElsewhere(t *testing.T) {
	events := office()
	planted := []string{"o-c1", "o-c2", "o-c3", "o-c4"}
	for i, o := range planted {
		at := day0 + moat.Time(i)*moat.Day
		events = append(events, &moat.Event{Type: moat.OrderAccess, Time: at, Partner: "acme", App: "erp", Actor: "clerk1", Device: "dev-1", Operation: "view", Fields: []string{"phone"}, Orders: []string{o}},
			&moat.Event{Type: moat.OrderAccess, Time: at + moat.Hour, Partner: "post", App: "hub", Actor: "fence", Outlet: "north1", Operation: "view", Fields: []string{"phone"}, Orders: []string{o}},
			&moat.Event{Type: moat.OrderAccess, Time: at + moat.Hour, Partner: "acme", App: "crm", Actor: "seller", Operation: "view", Fields: []string{"phone"}, Orders: []string{o}},
			&moat.Event{Type: moat.CanaryTouch, Time: at + moat.Hour, Partner: "*post", Actor: "fence", Orders: []string{o}})
	}
	tr := &Tracer{Rows: memory(events), Planted: func(_ moat.Tenant, order string) (Canary, bool) {
		return Canary{Order: order, Kind: "order", Partner: "acme", Channel: "app:erp"}, slices.Contains(planted, order)
	}}
	a, err := tr.Trace(t.Context(), moat.Everyone(), Question{Orders: every(planted, 4)})
	if err != nil || len(a.Canaries) != 4 || a.Orders.Known != 4 || len(a.Sources) == 0 {
		t.Fatalf("%+v, %v", a, err)
	}
	for _, s := range a.Sources {
		if s.Partner == "post" || strings.Contains(s.Name, "fence") || strings.Contains(s.Name, "seller") || strings.Contains(s.Name, "crm") {
			t.Errorf("%s of %s is a candidate with %.2f", s.Name, s.Partner, s.Posterior)
		}
	}
	if s := a.Sources[0]; s.Partner != "acme" || !strings.HasPrefix(s.Name, "clerk1") {
		t.Errorf("the likeliest is %s of %s", s.Name, s.Partner)
	}
	touch := &Touch{Source: &run.Source{Partner: "acme", Actor: "wang"}, Act: &run.Act{Host: "web"}, Shops: []string{"s1"}}
	for channel, want := range map[string]bool{"shop:s1": false, "shop:s2": true, "outlet:n": false, "account:li": true, "host:web": false, "mail": false, "what:ever": false} {
		if got := (&Canary{Partner: "acme", Channel: channel}).away(touch); got != want {
			t.Errorf("by %s it is away: %v", channel, got)
		}
	}
}
