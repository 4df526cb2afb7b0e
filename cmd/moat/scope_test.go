package main

import (
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/scope"
	"github.com/moat-platform/moat/serve/api"
)

// TestDeadlines marks what is late, and only that.
func TestDeadlines(t *testing.T) {
	duty := func(title string, within time.Duration) scope.Deadline {
		return scope.Deadline{Duty: scope.Duty{Title: title, Within: scope.Period(within)}, Due: moat.Day + moat.Time(within.Microseconds())}
	}
	var b strings.Builder
	(&app{out: &screen{w: &b}}).deadlines(&api.ScopeFile{Discovered: moat.Day, Scope: scope.Scope{People: scope.People{Least: 1, Most: 1},
		Deadlines: []scope.Deadline{duty("them", 0), duty("her", 24*time.Hour), duty("him", 72*time.Hour)}}}, 3*moat.Day)
	for _, want := range []string{"discovered 1970-01-02 00:00:00 UTC;", "[ ] at once: them\n", "[ ] OVERDUE since 1970-01-03 00:00:00 UTC: her\n", "[ ] by 1970-01-05 00:00:00 UTC: him\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// TestWritten says what is in a file of orders.
func TestWritten(t *testing.T) {
	for want, s := range map[string]scope.Scope{
		"1 order shown readable": {Orders: 1},
		"250 orders shown readable and 213 shown only encrypted or masked, whose column fields is empty":                 {Orders: 250, Masked: 213},
		"about 2,000,000 orders shown readable and about 5 shown only encrypted or masked, whose column fields is empty": {Orders: 2_000_000, Masked: 5, Estimated: true},
	} {
		if got := written(&s); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
