package story

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/locate/index"
	"github.com/moat-platform/moat/store/lake"
	"github.com/moat-platform/moat/store/run/runtest"
)

const day0 = 20_000 * moat.Day

// told tells the story of a case about an account of acme; the findings rest on the events with an id that
// begins with an exclamation mark.
func told(t *testing.T, entities []moat.Entity, events ...*moat.Event) *Story {
	t.Helper()
	return toldBy(t, scanOf(events), entities, events...)
}

// toldBy is told with a lake that is read by scan.
func toldBy(t *testing.T, scan func(context.Context, lake.Filter, func(lake.Position, *moat.Event) error) error, entities []moat.Entity, events ...*moat.Event) *Story {
	t.Helper()
	c := &moat.Case{ID: "c", Partner: "acme", Entities: entities}
	var findings []moat.Finding
	for i, e := range events {
		if e.Partner == "" {
			e.Partner = "acme"
		}
		if e.ID == "" || e.ID == "!" {
			e.ID += fmt.Sprint(i)
		}
		if strings.HasPrefix(e.ID, "!") {
			findings = append(findings, moat.Finding{ID: "f" + e.ID, Detector: "d", Time: e.Time, Reason: "it was odd", Events: []string{e.ID}})
		}
	}
	s, err := New(Config{Diary: diaryOf(t, events), Scan: scan, Country: func(string) string { return "NL" }}).Tell(t.Context(), c, findings,
		[]moat.Decision{{Action: moat.Deny, Scope: "account", Value: "eve", From: day0, Until: day0 + moat.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// diaryOf is a diary to which events were appended as message 1.
func diaryOf(t *testing.T, events []*moat.Event) *diary.Diary {
	t.Helper()
	x, err := index.Open(index.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	w, err := x.Writer(0)
	if err != nil {
		t.Fatal(err)
	}
	runtest.Append(t, w, 1, events...)
	return x.Diary
}

// scanOf reads events that were appended as message 1, and ends with an error if there is one.
func scanOf(events []*moat.Event, end ...error) func(context.Context, lake.Filter, func(lake.Position, *moat.Event) error) error {
	return func(_ context.Context, f lake.Filter, fn func(lake.Position, *moat.Event) error) error {
		for i, e := range events {
			if f.Tenant.Sees(e.Partner) && e.Time >= f.From && e.Time < f.To {
				if err := fn(lake.Position{Seq: 1, Row: i}, e); err != nil {
					return err
				}
			}
		}
		return errors.Join(end...)
	}
}

func (s *Story) String() string {
	var b strings.Builder
	for _, x := range s.Steps {
		mark := "  "
		if x.Beginning {
			mark = "> "
		}
		b.WriteString(mark + x.Text + "\n")
	}
	return b.String()
}

func view(id string, at moat.Time, actor, ip string, orders ...string) *moat.Event {
	return &moat.Event{ID: id, Time: at, Type: moat.OrderAccess, Actor: actor, App: "erp", IP: ip, Device: "d-" + ip, Operation: "view", Fields: []string{"phone"}, Orders: orders}
}

var eve = []moat.Entity{{Kind: moat.Account, ID: "eve"}}

// TestNewHand: that a hand is new can be said of an account that is known for a day, not of one of which everything is new.
func TestNewHand(t *testing.T) {
	for before, want := range map[moat.Time]bool{2 * moat.Day: true, moat.Day / 2: false} {
		s := told(t, eve, view("", day0-before, "eve", "192.0.2.1", "1"), view("!", day0, "eve", "203.0.113.9", "2"))
		new := false
		for _, x := range s.Steps {
			new = new || strings.Contains(x.Why, "had not been used from this address and device")
		}
		if new != want {
			t.Errorf("known for %d hours: %v\n%v", before/moat.Hour, new, s)
		}
	}
}

// TestBeginnings tells which step made the rest possible.
func TestBeginnings(t *testing.T) {
	host := []moat.Entity{{Kind: moat.Host, ID: "web-1"}}
	for _, c := range []struct {
		name     string
		entities []moat.Entity
		events   []*moat.Event
		want     string
	}{
		{"a changed password", eve, []*moat.Event{
			view("", day0-5*moat.Day, "eve", "192.0.2.1", "1"),
			{Time: day0 - moat.Day, Type: moat.AccountChange, Actor: "eve", Object: "eve", Change: "password", IP: "203.0.113.9"},
			view("!", day0, "eve", "203.0.113.9", "1", "2"), view("", day0+moat.Minute, "eve", "203.0.113.9", "3"),
		}, `> The password of account eve was changed from 203.0.113.9 (NL).
  eve viewed 3 orders with phone in 60 seconds from 203.0.113.9 (NL) with device d-203.0.113.9.
  Moat noticed: it was odd.
  Moat decided: deny account eve until 2024-10-04 01:00:00.
`},
		{"a web shell", host, []*moat.Event{
			{ID: "!", Time: day0, Type: moat.HostFile, Host: "web-1", Path: "/srv/upload/a.php", Operation: "create", User: "www"},
			{ID: "!", Time: day0 + moat.Minute, Type: moat.HostNetwork, Host: "web-1", Peer: "198.51.100.7", Direction: "out", Bytes: 3 << 20},
		}, `> The file /srv/upload/a.php was created on server web-1 by www.
  Moat noticed: it was odd; and 1 finding like it.
  Moat decided: deny account eve until 2024-10-04 01:00:00.
  Server web-1 sent 3 MiB to 198.51.100.7.
`},
		{"a planted order that somebody opened begins nothing", eve, []*moat.Event{
			{ID: "!", Time: day0, Type: moat.CanaryTouch, Actor: "eve", App: "erp", IP: "203.0.113.9", Operation: "view", Count: 1, Orders: []string{"1"}},
		}, `  eve viewed 1 order from 203.0.113.9 (NL).
  Moat noticed: it was odd.
  Moat decided: deny account eve until 2024-10-04 01:00:00.
`},
		{"usual work is not told", eve, []*moat.Event{
			view("", day0-9*moat.Day, "eve", "192.0.2.1", "1"),
			view("", day0-moat.Minute, "eve", "192.0.2.1", "4"), view("", day0-moat.Minute, "bob", "203.0.113.9", "4"),
			view("!", day0, "eve", "203.0.113.9", "1"),
		}, `> eve viewed 1 order with phone from 203.0.113.9 (NL) with device d-203.0.113.9.
  Moat noticed: it was odd.
  Moat decided: deny account eve until 2024-10-04 01:00:00.
`},
		{"another partner has an eve, too", eve, []*moat.Event{
			{Partner: "other", Time: day0 - 1, Type: moat.HostMalware, Actor: "eve", Host: "web-1", Name: "x"},
			{Partner: "other", Time: day0, Type: moat.OrderAccess, Actor: "eve", IP: "203.0.113.9", Orders: []string{"o"}},
			view("!", day0, "eve", "203.0.113.9", "1"),
		}, `> eve viewed 1 order with phone from 203.0.113.9 (NL) with device d-203.0.113.9.
  Moat noticed: it was odd.
  Moat decided: deny account eve until 2024-10-04 01:00:00.
`},
		{"colleagues who share a server and an office with her", []moat.Entity{eve[0], {Kind: moat.IP, ID: "192.0.2.1"}, {Kind: moat.Host, ID: "web-1"}, {Kind: moat.Account, ID: "tried"}}, []*moat.Event{
			view("", day0-9*moat.Day, "eve", "192.0.2.1", "1"),
			{Time: day0 - 3*moat.Hour, Type: moat.AuthLogin, Actor: "bob", IP: "192.0.2.1", Device: "bobs", Host: "web-1"},
			{Time: day0 - 2*moat.Hour, Type: moat.HostProcess, Host: "web-1", Exe: "/usr/sbin/logrotate", User: "root"},
			{Time: day0 - 2*moat.Hour, Type: moat.AuthLogin, Actor: "tried", IP: "192.0.2.1", Device: "tries", Host: "web-1"},
			view("!", day0, "eve", "203.0.113.9", "1"),
		}, `  tried signed in from 192.0.2.1 (NL) with device tries.
> eve viewed 1 order with phone from 203.0.113.9 (NL) with device d-203.0.113.9.
  Moat noticed: it was odd.
  Moat decided: deny account eve until 2024-10-04 01:00:00.
`},
		{"no finding is known", eve, []*moat.Event{view("", day0, "eve", "203.0.113.9", "1")}, "  Moat decided: deny account eve until 2024-10-04 01:00:00.\n"},
		{"clocks at both ends of time", eve, []*moat.Event{view("!", 0, "eve", "203.0.113.9", "1"), view("!", math.MaxInt64-moat.Day, "eve", "203.0.113.9", "2")},
			`> eve viewed 1 order with phone from 203.0.113.9 (NL) with device d-203.0.113.9.
  Moat noticed: it was odd; and 1 finding like it.
  Moat decided: deny account eve until 2024-10-04 01:00:00.
  eve viewed 1 order with phone from 203.0.113.9 (NL) with device d-203.0.113.9.
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := told(t, c.entities, c.events...).String(); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// TestUnknown tells since when nobody acted as an account from there, as far as the diary goes.
func TestUnknown(t *testing.T) {
	s := told(t, eve, view("", day0-9*moat.Day, "eve", "192.0.2.1", "1"), view("!", day0, "eve", "203.0.113.9", "1"))
	if got, want := s.Steps[0].Why, "account eve had not been used from this address and device in the 9 days before"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	s = told(t, eve, view("!", day0, "eve", "203.0.113.9", "1"))
	if got := s.Steps[0].Why; strings.Contains(got, "before") && strings.Contains(got, "had not been used") {
		t.Errorf("nothing is known of eve, but the story says %q", got)
	}
}

// TestUndetailed tells what a diary knows, and says that the lake could not tell more.
func TestUndetailed(t *testing.T) {
	host := []moat.Entity{{Kind: moat.Host, ID: "web-1"}}
	events := []*moat.Event{
		{ID: "!", Time: day0, Type: moat.HostFile, Host: "web-1", Path: "/srv/upload/a.php", Operation: "create", User: "www"},
		{ID: "!", Time: day0 + moat.Minute, Type: moat.HostNetwork, Host: "web-1", Peer: "198.51.100.7", Direction: "out", Bytes: 3 << 20},
	}
	if s := told(t, host, events...); s.Undetailed != nil {
		t.Errorf("of a whole lake: %v", s.Undetailed)
	}
	s := toldBy(t, scanOf(events[:1], lake.ErrDamaged), host, events...)
	if s.Undetailed == nil || s.Undetailed.String() != "1 act without details: a file of the lake is damaged" || len(s.Steps) != 4 {
		t.Errorf("%v\n%s", s.Undetailed, s)
	}
	if s := toldBy(t, scanOf(nil), host, events...); s.Undetailed == nil || s.Undetailed.Acts != 2 {
		t.Errorf("of a lake that is gone: %v\n%s", s.Undetailed, s)
	}
}

// TestBounded has a thief who does nothing twice.
func TestBounded(t *testing.T) {
	var events []*moat.Event
	for i := range 500 {
		e := view("!", day0+moat.Time(i)*moat.Minute, "eve", fmt.Sprintf("203.0.%d.%d", i/200, i%200), fmt.Sprint(i))
		e.Operation = fmt.Sprint("op", i)
		events = append(events, e)
	}
	s := told(t, eve, events...)
	if n := len(s.Steps); n > MaxSteps+2 || !s.Cut {
		t.Errorf("%d steps, cut: %v", n, s.Cut)
	}
	for _, x := range s.Steps {
		if x.Beginning {
			return
		}
	}
	t.Error("it has no beginning")
}
