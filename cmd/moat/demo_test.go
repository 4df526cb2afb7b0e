package main

import (
	"testing"

	"github.com/moat-platform/moat"
)

func TestSpeed(t *testing.T) {
	for text, want := range map[string]float64{"1000x": 1000, "1000": 1000, "2.5x": 2.5, "0x": 0, "-1": 0, "x": 0, "": 0, "NaN": 0, "1e10": 0} {
		var s speed
		err := s.UnmarshalText([]byte(text))
		if float64(s) != want || (err == nil) != (want > 0) {
			t.Errorf("%q is %v, %v; want %v", text, s, err, want)
		}
	}
}

func TestLapse(t *testing.T) {
	for _, c := range []struct {
		t    moat.Time
		want string
	}{{0, "at once"}, {36 * moat.Second, "36 s"}, {90 * moat.Second, "1 min 30 s"}, {64 * moat.Minute, "1 h 4 min"}, {75 * moat.Hour, "3 d 3 h"}} {
		if got := lapse(c.t); got != c.want {
			t.Errorf("%d is %q, want %q", c.t, got, c.want)
		}
	}
}

func TestDecided(t *testing.T) {
	got := decided([]moat.Decision{{Action: moat.Verify, Scope: "device"}, {Action: moat.Deny, Scope: "ip"}, {Action: moat.Deny, Scope: "account", Approval: "wide"}, {Action: moat.Deny, Scope: "ip"}})
	if want := "deny ip, account; verify device (1 to approve)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := decided(nil); got != "nothing" {
		t.Errorf("%q, want nothing", got)
	}
}
