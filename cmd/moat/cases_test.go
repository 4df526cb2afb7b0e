package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
)

// JSON has the order of the table: a script that takes the first case has the worst.
func TestWorse(t *testing.T) {
	list := []moat.Case{
		{ID: "closed", State: moat.CaseClosed, Rank: moat.P1, Score: 99, Opened: 1},
		{ID: "noise", State: moat.CaseOpen, Rank: moat.P3, Score: 97, Opened: 2, Background: true},
		{ID: "old", State: moat.CaseOpen, Rank: moat.P3, Score: 60, Damage: 100, Opened: 3},
		{ID: "worst", State: moat.CaseOpen, Rank: moat.P1, Score: 90, Damage: 100, Opened: 4},
		{ID: "dearer", State: moat.CaseOpen, Rank: moat.P3, Score: 60, Damage: 9000, Opened: 5},
	}
	slices.SortFunc(list, worse)
	var got []string
	for _, c := range list {
		got = append(got, c.ID)
	}
	if want := "worst dearer old noise closed"; strings.Join(got, " ") != want {
		t.Errorf("%s, want %s", strings.Join(got, " "), want)
	}
}
