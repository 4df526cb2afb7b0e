package ledger

import (
	"fmt"
	"math"
	"testing"

	moat "github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run"
)

// TestSample takes samples of every size, from files and from memory, and holds them against all touches.
func TestSample(t *testing.T) {
	l := open(t, t.TempDir())
	defer l.Close()
	const orders = 30_000
	touches := func(i int) int { return 1 + i%3 }
	seq := uint64(0)
	for round := range 3 {
		var batch []*moat.Event
		for i := range orders {
			if touches(i) <= round {
				continue
			}
			partner := "p"
			if i%10 == 0 {
				partner = "q"
			}
			batch = append(batch, &moat.Event{Type: moat.OrderAccess, ID: fmt.Sprint(round, i), Time: moat.Time(1+round) * moat.Hour, Partner: partner, Orders: []string{fmt.Sprint("o", i)}})
			if len(batch) == 500 || i == orders-1 {
				seq++
				appendBatch(t, l, int(seq%2), seq, batch...)
				batch = nil
			}
		}
		if len(batch) > 0 {
			seq++
			appendBatch(t, l, int(seq%2), seq, batch...)
		}
	}
	for _, c := range []struct {
		n      int
		tenant moat.Tenant
		from   moat.Time
		all    float64
	}{
		{1000, moat.Everyone(), 0, orders},
		{5000, moat.Everyone(), 0, orders},
		{1000, moat.Everyone(), 3 * moat.Hour, orders / 3},
		{500, moat.Only("q"), 0, orders / 10},
		{1000, moat.Only("nobody"), 0, 0},
		{1000, moat.Tenant{}, 0, 0},
		{math.MaxInt, moat.Everyone(), 0, orders},
	} {
		found := map[uint64]int{}
		share, damaged, err := l.Sample(t.Context(), c.tenant, c.n, c.from, 0, func(order uint64, r *run.Row) error {
			found[order]++
			if s, err := r.Source(); err != nil || !c.tenant.Sees(s.Partner) || r.Time < c.from {
				t.Fatalf("%+v at %v for %v, %v", s, r.Time, c.tenant, err)
			}
			return nil
		})
		if err != nil || damaged != 0 {
			t.Fatal(err, damaged)
		}
		if len(found) < c.n && share != 1 {
			t.Errorf("%+v: %d orders in a share of %g", c, len(found), share)
		}
		all := float64(len(found)) / share
		if slack := 5*math.Sqrt(all/share) + 1; math.Abs(all-c.all) > slack || share == 1 && all != c.all {
			t.Errorf("%+v: an estimate of %.0f orders from %d in a share of %g", c, all, len(found), share)
		}
		if c.from == 0 && c.tenant == moat.Everyone() {
			times := [4]int{}
			for _, n := range found {
				times[n]++
			}
			for n := 1; n <= 3; n++ {
				if part := float64(times[n]) / float64(len(found)); math.Abs(part-1./3) > 0.1 {
					t.Errorf("%+v: %d of %d orders have %d touches", c, times[n], len(found), n)
				}
			}
		}
	}
}
