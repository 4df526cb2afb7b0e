package index

import (
	"fmt"
	"slices"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/store/run"
	"github.com/moat-platform/moat/store/run/runtest"
)

// TestBoth holds what ledger and diary say of the same events, in memory and in files, against the events.
func TestBoth(t *testing.T) {
	dir := t.TempDir()
	open := func() *Index {
		x, err := Open(Config{Dir: dir, Key: [16]byte{1}, Tuning: run.Tuning{FlushEvents: runtest.SmallFlush, FanIn: runtest.SmallFanIn}})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	x := open()
	load := runtest.New(1, 20, 100)
	byOrder, byActor := map[string][]string{}, map[string][]string{}
	rows := int64(0)
	for seq := range uint64(20) {
		var batch []*moat.Event
		for range 100 {
			var e moat.Event
			load.Event(&e)
			batch = append(batch, e.Clone())
			orders := slices.Compact(slices.Sorted(slices.Values(e.Orders)))
			for _, o := range orders {
				byOrder[o] = append(byOrder[o], e.ID)
			}
			byActor[e.Actor] = append(byActor[e.Actor], e.ID)
			rows += int64(len(orders))
		}
		w, err := x.Writer(0)
		if err != nil {
			t.Fatal(err)
		}
		runtest.Append(t, w, seq+1, batch...)
	}
	check := func() {
		t.Helper()
		for order, want := range byOrder {
			a, err := x.Ledger.Orders(t.Context(), moat.Everyone(), []string{order}, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			same(t, order, a.Orders[0].Touches, want)
			for _, touch := range a.Orders[0].Touches {
				if touch.Orders != nil {
					t.Fatalf("who asks for order %s is told of %v", order, touch.Orders)
				}
			}
		}
		for actor, want := range byActor {
			p, err := x.Diary.Entity(t.Context(), moat.Everyone(), diary.Query{Entity: moat.Entity{Kind: moat.Account, ID: actor}}, 0, "")
			if err != nil {
				t.Fatal(err)
			}
			same(t, actor, p.Touches, want[max(0, len(want)-diary.MaxPage):])
		}
	}
	check()
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = open()
	defer x.Close()
	check()
	if st := x.Stats(); st.Total().Events != 2000 || st.Total().Rows <= rows {
		t.Errorf("%+v, want 2000 events once, under %d orders and their entities", st.Total(), rows)
	}
}

// same holds touches against the ids of events.
func same(t *testing.T, what string, touches []run.Touch, want []string) {
	t.Helper()
	var got []string
	for i := range touches {
		got = append(got, touches[i].Event)
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%s: events %v, want %v", what, got, want)
	}
}
