package world

import (
	"testing"

	"github.com/moat-platform/moat"
)

const monday = moat.Time(1_775_433_600) * moat.Second // 2026-04-06

func TestSmoke(t *testing.T) {
	w, err := New(Config{Seed: 1, Start: monday})
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	types := map[moat.EventType]int{}
	for {
		day, ok := w.Next()
		if !ok {
			break
		}
		total += len(day)
		for _, e := range day {
			types[e.Type]++
			if err := e.Check(); err != nil {
				t.Fatal(err, string(moat.AppendJSON(nil, e)))
			}
		}
		t.Log(w.day, len(day))
	}
	t.Log(total, types, w.Staff())
	for o := range oddities {
		if w.odd[o] == 0 {
			t.Error("never happened:", o)
		}
	}
	for _, x := range w.Thefts() {
		t.Log(x.Name, x.Variant, x.Partner, len(x.Acts), x.From, x.To, x.Culprits)
	}
}
