package engine

import (
	"math/rand/v2"
	"testing"
)

// TestIDs holds the table against a map of the last day of each id, through growth and a year of days.
func TestIDs(t *testing.T) {
	d, err := newIDs(1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	ids := make([]uint64, 4000)
	for i := range ids {
		ids[i] = idHash(r.Uint64())
	}
	last := map[uint64]int{}
	for n := range 200_000 {
		at := n / 500 // over 400 days, more than a byte can tell apart
		id := ids[r.IntN(len(ids))]
		then, was := last[id]
		want := was && at-then <= idDays
		if got := d.add(id, uint8(at)); got != want {
			t.Fatalf("id of day %d on day %d: seen is %v", then, at, got)
		}
		if !want {
			last[id] = at
		}
	}
	late := idHash(r.Uint64())
	if d.add(late, 200) || !d.add(late, 190) {
		t.Error("an id that was seen on a later day is not known")
	}
}

// TestIDsFlood sees that more ids than there is room for push out the oldest days first, and are counted.
func TestIDsFlood(t *testing.T) {
	d, err := newIDs(1<<12, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	today := make([]uint64, 500)
	for i := range today {
		today[i] = idHash(r.Uint64())
	}
	for range 3000 {
		d.add(idHash(r.Uint64()), 1)
	}
	for _, id := range today {
		d.add(id, 2)
	}
	if d.forgot == 0 {
		t.Error("3,500 ids fit into a table of 4,096 slots, of which five in eight are used at most")
	}
	for _, id := range today {
		if !d.add(id, 2) {
			t.Fatal("an id of today was forgotten before all of yesterday's")
		}
	}
}
