package lake

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/intake"
)

func openLake(t testing.TB, cfg Config) *Lake {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// found is an event and where it was.
type found struct {
	Position
	*moat.Event
}

func scanAll(t testing.TB, l *Lake, f Filter) (out []found) {
	t.Helper()
	must(t, l.Scan(context.Background(), f, func(p Position, e *moat.Event) error {
		out = append(out, found{p, e.Clone()})
		return nil
	}))
	return out
}

var everything = Filter{Tenant: moat.Everyone()}

// sameEvents checks that the lake holds want, in this order.
func sameEvents(t testing.TB, l *Lake, f Filter, want []found) {
	t.Helper()
	got := scanAll(t, l, f)
	if len(got) != len(want) {
		t.Fatalf("%d events in the lake, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].Position != want[i].Position {
			t.Fatalf("event %d is at %v, want %v", i, got[i].Position, want[i].Position)
		}
		if d := differs(got[i].Event, want[i].Event); d != "" {
			t.Fatalf("event %d at %v differs in %s", i, got[i].Position, d)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	l := openLake(t, Config{SegmentRows: 3000})
	r := rand.New(rand.NewPCG(1, 2))
	var want []found
	for p := range 2 {
		w := l.Writer(p)
		seq := uint64(0)
		for range 20 {
			seq += uint64(1 + r.IntN(3))
			var events []*moat.Event
			skip := make([]uint64, 10)
			for row := range r.IntN(600) {
				e := randomEvent(r)
				events = append(events, e)
				if r.IntN(10) == 0 {
					skip[row>>6] |= 1 << (row & 63)
					continue
				}
				want = append(want, found{Position{p, seq, row}, e})
			}
			must(t, intake.Append(seq, batchOf(events...), skip, w))
			must(t, intake.Append(seq, batchOf(events...), nil, w)) // taken before: ignored
		}
		must(t, w.Flush())
		if got := l.Position(p); got != seq {
			t.Errorf("position of partition %d is %d, want %d", p, got, seq)
		}
	}
	sameEvents(t, l, everything, want)
	if n := len(l.Files()); n < 4 {
		t.Errorf("%d files, want several for each partition", n)
	}
	must(t, l.Compact(context.Background()))
	sameEvents(t, l, everything, want)
	again := openLake(t, Config{Dir: l.cfg.Dir})
	sameEvents(t, again, everything, want)
}

// TestFront keeps ids and orders of which each begins as the one before, up to a byte within a letter, or is no text at all.
func TestFront(t *testing.T) {
	l := openLake(t, Config{})
	var want []found
	var events []*moat.Event
	texts := []string{"é", "é1", "\xc3a", "\xc3", "é", "", "1", "12345678", "123456789", "12345678", "1234567é", "1234567\xc3x", "1234567è", strings.Repeat("ü", 100)}
	w := l.Writer(0)
	for seq := range uint64(3) {
		for i, s := range texts {
			e := simple(s, 1000)
			e.Orders = append([]string{texts[len(texts)-1-i]}, texts[i:]...)
			e.MarkAll()
			e.Mark(moat.FieldEventID)
			events = append(events, e)
			kept := e.Clone()
			kept.ID = strings.ToValidUTF8(e.ID, "\uFFFD")
			for j, o := range e.Orders {
				kept.Orders[j] = strings.ToValidUTF8(o, "\uFFFD")
			}
			want = append(want, found{Position{0, seq + 1, i}, kept})
		}
		must(t, intake.Append(seq+1, batchOf(events...), nil, w))
		events = nil
	}
	must(t, w.Flush())
	sameEvents(t, l, everything, want)
}

func TestRealistic(t *testing.T) {
	l := openLake(t, Config{})
	w := l.Writer(0)
	var want []found
	for i, b := range realisticBatches(100) {
		must(t, intake.Append(uint64(i+1), b, nil, w))
		for row, e := range eventsOf(t, b) {
			want = append(want, found{Position{0, uint64(i + 1), row}, e})
		}
	}
	must(t, w.Flush())
	sameEvents(t, l, everything, want)
}
