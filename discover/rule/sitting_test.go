package rule

import (
	"testing"

	"github.com/moat-platform/moat"
)

func TestSitting(t *testing.T) {
	day := 20_000 * moat.Day
	base := moat.Event{Type: moat.OrderAccess, Actor: "li", Session: "s1", Device: "d1", IP: "1.2.3.4", UserAgent: "Firefox", App: "erp", Role: "packer", Outcome: moat.Success}
	fr := (&Plan{Texts: sessionPlace + 1}).NewFrame()
	var last Sitting
	for _, c := range []struct {
		what   string
		at     moat.Time
		change func(e *moat.Event)
		begins bool
	}{
		{"the first event of all", 0, nil, true},
		{"the next", moat.Second, nil, false},
		{"another order", 2 * moat.Second, func(e *moat.Event) { e.Orders = []string{"A2"}; e.Operation = "print" }, false},
		{"another type", 3 * moat.Second, func(e *moat.Event) { e.Type = moat.AuthLogin }, true},
		{"both again", 4 * moat.Second, func(e *moat.Event) { e.Type = moat.AuthLogin }, false},
		{"both again", 5 * moat.Second, nil, false},
		{"the last second of ten minutes", 10*moat.Minute - 1, nil, false},
		{"ten minutes", 10 * moat.Minute, nil, true},
		{"after them", 11 * moat.Minute, nil, false},
		{"a late one", 9 * moat.Minute, nil, true},
		{"back in time", 11 * moat.Minute, nil, true},
		{"another session", 11 * moat.Minute, func(e *moat.Event) { e.Session = "s2" }, true},
		{"another device", 11 * moat.Minute, func(e *moat.Event) { e.Device = "d2" }, true},
		{"another address", 11 * moat.Minute, func(e *moat.Event) { e.IP = "1.2.3.5" }, true},
		{"another browser", 11 * moat.Minute, func(e *moat.Event) { e.UserAgent = "curl" }, true},
		{"the session where the browser was", 11 * moat.Minute, func(e *moat.Event) { e.UserAgent, e.Session = e.Session, e.UserAgent }, true},
		{"another app", 11 * moat.Minute, func(e *moat.Event) { e.App = "wms" }, true},
		{"another role", 11 * moat.Minute, func(e *moat.Event) { e.Role = "admin" }, true},
		{"refused", 11 * moat.Minute, func(e *moat.Event) { e.Outcome = moat.Denied }, true},
		{"by a program", 11 * moat.Minute, func(e *moat.Event) { e.ActorKind = moat.ActorService }, true},
		{"as at first", 11 * moat.Minute, nil, true},
		{"and again", 11 * moat.Minute, nil, false},
	} {
		ev := base
		if c.change != nil {
			c.change(&ev)
		}
		fr.Begin(&ev)
		if !vocabulary["event.begins_sitting"].bool(&fr) {
			t.Errorf("%s: an event alone does not begin a sitting", c.what)
		}
		fr.Sitting(0, day+c.at) // what was thought before does not count
		last = fr.Sitting(last, day+c.at)
		if got := vocabulary["event.begins_sitting"].bool(&fr); got != c.begins {
			t.Errorf("%s: begins %v, want %v", c.what, got, c.begins)
		}
	}
}
