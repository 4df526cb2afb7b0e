package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	moat "github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run"
	"github.com/moat-platform/moat/store/run/runtest"
)

var small = run.Tuning{FlushEvents: runtest.SmallFlush, FanIn: runtest.SmallFanIn, FlushEvery: runtest.SmallEvery}

// kept is a ledger in a set of its own, but for one key of others: that of the event's partner.
type kept struct {
	*Ledger
	*run.Set
}

func openWith(cfg run.Config) (*kept, error) {
	cfg.Key = [16]byte{7}
	cfg.Index = run.Index{Event: Keys(cfg.Key), Orders: true, Part: func(keys []uint64, _ run.Part, t *run.Touch) []uint64 {
		return append(keys, run.PartKey(run.NewHasher(cfg.Key).Sum(t.Partner)))
	}}
	set, err := run.Open(cfg)
	return &kept{New(set, cfg.Key), set}, err
}

func open(t *testing.T, dir string) *kept {
	t.Helper()
	l, err := openWith(run.Config{Dir: dir, Tuning: small})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func appendBatch(t *testing.T, l *kept, partition int, seq uint64, events ...*moat.Event) {
	t.Helper()
	w, err := l.Writer(partition)
	if err != nil {
		t.Fatal(err)
	}
	runtest.Append(t, w, seq, events...)
}

// want is what the oracle says of one order.
type want struct {
	at      moat.Time
	event   string
	partner string
}

// TestOrdersAgainstOracle asks for orders that went through two partitions and
// many partners, before and after a restart.
func TestOrdersAgainstOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	dir, oracle := t.TempDir(), map[string][]want{}
	l := open(t, dir)
	loads := []*runtest.Workload{runtest.New(1, 300, 100), runtest.New(2, 300, 100)}
	ask := func(tenant moat.Tenant, from, to moat.Time) {
		t.Helper()
		ids := []string{"nobody's", "nobody's"}
		for id := range oracle {
			if ids = append(ids, id, id); len(ids) > 600 {
				break
			}
		}
		a, err := l.Orders(t.Context(), tenant, ids, from, to)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Orders) != len(ids)/2 || a.Damaged != 0 {
			t.Fatalf("%d answers to %d ids, %d damaged", len(a.Orders), len(ids)/2, a.Damaged)
		}
		for i, o := range a.Orders {
			if o.ID != ids[2*i] || o.Cut {
				t.Fatalf("answer %d is for %q, cut %t", i, o.ID, o.Cut)
			}
			var w []want
			for _, x := range oracle[o.ID] {
				if tenant.Sees(x.partner) && x.at >= from && (to == 0 || x.at < to) {
					w = append(w, x)
				}
			}
			slices.SortStableFunc(w, func(a, b want) int { return int(a.at - b.at) })
			var got []want
			for _, x := range o.Touches {
				got = append(got, want{x.Time, x.Event, x.Partner})
			}
			if !slices.Equal(got, w) {
				t.Fatalf("order %s: got %v, want %v", o.ID, got, w)
			}
		}
	}
	for step := range 40 {
		p := step % 2
		var events []*moat.Event
		for range 1 + r.IntN(300) {
			var e moat.Event
			loads[p].Event(&e)
			events = append(events, e.Clone())
			for _, o := range e.Orders {
				if w := (want{e.Time, e.ID, e.Partner}); !slices.Contains(oracle[o], w) {
					oracle[o] = append(oracle[o], w)
				}
			}
		}
		appendBatch(t, l, p, uint64(step+1), events...)
		if step%13 == 5 {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t, dir)
		}
		if step%10 == 9 {
			ask(moat.Everyone(), 0, 0)
			ask(moat.Only(fmt.Sprintf("partner-%03d", r.IntN(150))), 0, 0)
			ask(moat.Everyone(), runtest.Start+10*moat.Second, runtest.Start+30*moat.Second)
			ask(moat.Tenant{}, 0, 0)
		}
	}
	if l.Position(0) == 0 || l.Position(2) != 0 {
		t.Errorf("positions %d and %d", l.Position(0), l.Position(2))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTouch(t *testing.T) {
	l := open(t, t.TempDir())
	defer l.Close()
	e := &moat.Event{ID: "e-1", Time: 5 * moat.Second, Type: moat.OrderTransmit, Partner: "p", App: "a", Actor: "u", ActorKind: moat.ActorService,
		Role: "courier", Device: "d", IP: "192.0.2.1", Host: "h", Outlet: "o", Operation: "send", Outcome: moat.Denied, Destination: "erp.example",
		DestinationKind: "erp", Shops: []string{"s1", "s2"}, Fields: []string{"phone"}, Encrypted: true, Orders: []string{"1", "2", "2"}, Count: 9}
	appendBatch(t, l, 4, 77, &moat.Event{Type: moat.AuthLogin, ID: "e-0", Time: 1, Partner: "p", Actor: "u"}, e)
	a, err := l.Orders(t.Context(), moat.Only("p"), []string{"2"}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := Touch{Time: 5 * moat.Second, Source: run.Source{Partner: "p", App: "a", Actor: "u",
		ActorKind: moat.ActorService, Role: "courier", Device: "d", IP: "192.0.2.1", Outlet: "o"},
		Act: run.Act{Type: moat.OrderTransmit, Outcome: moat.Denied, Host: "h", Operation: "send", Destination: "erp.example", DestinationKind: "erp",
			Fields: []string{"phone"}, Encrypted: true},
		Shops: []string{"s1", "s2"}, Count: 9, Event: "e-1", At: run.At{Partition: 4, Seq: 77, Row: 1}}
	if len(a.Orders) != 1 || len(a.Orders[0].Touches) != 1 || fmt.Sprintf("%+v", a.Orders[0].Touches[0]) != fmt.Sprintf("%+v", w) {
		t.Errorf("got %+v, want %+v", a.Orders, w)
	}
	if a, err = l.Orders(t.Context(), moat.Only("q"), []string{"2"}, 0, 0); err != nil || len(a.Orders[0].Touches) != 0 {
		t.Errorf("another partner sees %+v, %v", a, err)
	}
}

// TestLimits cuts an order of very many touches to its oldest, and refuses too many ids.
func TestLimits(t *testing.T) {
	l := open(t, t.TempDir())
	defer l.Close()
	r := rand.New(rand.NewPCG(1, 1))
	times := r.Perm(5 * MaxTouches)
	for seq := 0; seq < len(times); seq += 500 {
		var events []*moat.Event
		for _, at := range times[seq : seq+500] {
			events = append(events, &moat.Event{Type: moat.OrderAccess, ID: fmt.Sprint(at), Time: moat.Time(at+1) * moat.Second,
				Partner: "p", Actor: "u", Orders: []string{"busy", fmt.Sprint(at)}})
		}
		appendBatch(t, l, 0, uint64(seq+1), events...)
	}
	a, err := l.Orders(t.Context(), moat.Everyone(), []string{"busy", "17"}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	busy := a.Orders[0]
	if len(busy.Touches) != MaxTouches || !busy.Cut || a.Orders[1].Cut || len(a.Orders[1].Touches) != 1 {
		t.Fatalf("%d touches, cut %t", len(busy.Touches), busy.Cut)
	}
	for i, x := range busy.Touches {
		if x.Time != moat.Time(i+1)*moat.Second {
			t.Fatalf("touch %d is of %s", i, x.Time)
		}
	}
	n := 0
	_, err = l.Each(t.Context(), moat.Everyone(), []string{"busy", "busy"}, 0, 0, func(i int, _ *run.Row) error { n += 1 - i; return nil })
	if err != nil || n != len(times) {
		t.Errorf("each gives %d of %d, %v", n, len(times), err)
	}
	if _, err := l.Orders(t.Context(), moat.Everyone(), make([]string, 2), 0, 0); err != nil {
		t.Error(err)
	}
	many := make([]string, MaxOrders+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	if _, err := l.Orders(t.Context(), moat.Everyone(), many, 0, 0); !errors.Is(err, ErrTooMany) {
		t.Errorf("too many ids: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Orders(ctx, moat.Everyone(), []string{"busy"}, 0, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestTotalLimit cuts the longest orders so that all together stay bounded.
func TestTotalLimit(t *testing.T) {
	a := &Answer{}
	for i := range 600 {
		o := Order{}
		for j := range MaxTouches {
			o.Touches = append(o.Touches, Touch{Time: moat.Time(MaxTouches - j)})
		}
		if i == 0 {
			o.Touches = o.Touches[:3]
		}
		a.Orders = append(a.Orders, o)
	}
	total := a.cut()
	if total > MaxTotalTouches || total < MaxTotalTouches/4 || a.Orders[0].Cut || !a.Orders[1].Cut || a.Orders[1].Touches[0].Time != 1 {
		t.Errorf("%d touches left; the short one is cut: %t", total, a.Orders[0].Cut)
	}
}

// TestExpiry: what is older than the retention is not found any more, at once; its files go when all in them is as old, and what
// is younger stays.
func TestExpiry(t *testing.T) {
	dir := t.TempDir()
	now := (100 * moat.Day).Std()
	l, err := openWith(run.Config{Dir: dir, Retention: 30 * 24 * time.Hour, Now: func() time.Time { return now }, Tuning: run.Tuning{FanIn: 100}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w, err := l.Writer(0)
	if err != nil {
		t.Fatal(err)
	}
	for i, day := range []moat.Time{71, 95} { // a file each
		at := day * moat.Day
		appendBatch(t, l, 0, uint64(i+1), &moat.Event{Type: moat.OrderAccess, ID: fmt.Sprint("e", i), Time: at, Received: at, Partner: "p", Orders: []string{"o"}})
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		day            moat.Time
		touches, files int
	}{{100, 2, 2}, {102, 1, 1}, {130, 0, 1}} { // the last file stays: it tells up to where the log was read
		now = (c.day * moat.Day).Std()
		a, err := l.Orders(t.Context(), moat.Everyone(), []string{"o"}, 0, 0)
		if err != nil || len(a.Orders[0].Touches) != c.touches {
			t.Errorf("day %d: %+v, %v; want %d touches", c.day, a, err, c.touches)
		}
		l.Expire()
		files, err := filepath.Glob(filepath.Join(dir, "*.run"))
		if st := l.Stats(); err != nil || len(files) != c.files || len(st.Runs) != c.files || st.Total().Bytes <= 0 {
			t.Errorf("day %d: files %v, %+v, %v; want %d", c.day, files, st, err, c.files)
		}
	}
	if p := l.Position(0); p != 2 {
		t.Errorf("position %d, want 2", p)
	}
}
