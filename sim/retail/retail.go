// Package retail is a small ecosystem at work, laid over the real orders of a shop: two
// service providers with the staff of seven shops, a warehouse and a courier, and among them
// thieves, with the truth about what each of them did.
//
// Use it to see whether and how soon Moat finds thefts, and whom it suspects wrongly: take the
// events of [World.Next] day by day, give them to whatever is tried, then let [truth.Judge] compare
// the cases with [World.Thefts]. The same [Config] gives the same events.
//
// It will not react to what is found: a thief who was locked out goes on all the same, so that
// what is counted is what he could have taken. It says nothing about speed; see package load.
package retail

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/sim/truth"
)

//go:generate go run ./internal/pack -in online-retail.csv.gz -out data/orders.csv.gz

// Bounds of [Config.Days]: thieves begin after two weeks and need some time; there are orders of ten weeks.
const (
	MinDays     = 28
	MaxDays     = 70
	DefaultDays = 56
)

// quiet is how many days pass before the first theft, so that there is a past to compare with.
const quiet = 14

// Config says which world to make.
type Config struct {
	Seed uint64
	// Start is midnight of a Monday, UTC, which is the local time of everybody. The orders of
	// the data are moved there by whole weeks.
	Start moat.Time
	Days  int // 0 = DefaultDays
}

// Company is a partner: who sends events.
type Company struct {
	ID, Name, App string
}

// World is the ecosystem. It is not safe for concurrent use.
type World struct {
	cfg       Config
	orders    []*order
	companies []*company
	erps      []*company // the service providers
	warehouse *company
	courier   *company
	thieves   []*thief

	day   int // the next one
	sale  int // the day with the most orders
	today []*moat.Event
	ids   *rand.Rand
	line  pipeline
}

// New returns the world of cfg.
func New(cfg Config) (*World, error) {
	if cfg.Days == 0 {
		cfg.Days = DefaultDays
	}
	if cfg.Days < MinDays || cfg.Days > MaxDays {
		return nil, fmt.Errorf("cannot make ecosystem: %d days, want %d to %d", cfg.Days, MinDays, MaxDays)
	}
	if cfg.Start <= 0 || cfg.Start%moat.Day != 0 || cfg.Start.Std().Weekday() != 1 {
		return nil, fmt.Errorf("cannot make ecosystem: start %s is not midnight of a Monday", cfg.Start)
	}
	w := &World{cfg: cfg, ids: rand.New(rand.NewPCG(cfg.Seed, 1))}
	var err error
	if w.orders, err = readOrders(cfg.Start, cfg.Days); err != nil {
		return nil, fmt.Errorf("cannot make ecosystem: %w", err)
	}
	w.settle()
	perDay := make([]int, cfg.Days)
	for _, o := range w.orders {
		perDay[w.dayOf(o.at)]++
	}
	for d, n := range perDay {
		if n > perDay[w.sale] {
			w.sale = d
		}
	}
	w.oddities()
	w.conspire()
	return w, nil
}

// Companies returns the partners.
func (w *World) Companies() []Company {
	var out []Company
	for _, c := range w.companies {
		out = append(out, c.Company)
	}
	return out
}

// Start and End bound the events.
func (w *World) Start() moat.Time { return w.cfg.Start }

// End is the midnight after the last day.
func (w *World) End() moat.Time { return w.cfg.Start + moat.Time(w.cfg.Days)*moat.Day }

// Days is how many days there are.
func (w *World) Days() int { return w.cfg.Days }

// Staff is how many days people have worked so far, all together.
func (w *World) Staff() int { return w.line.staffDays }

// Next returns the events of the next day by time, or false after the last. They are the caller's.
func (w *World) Next() ([]*moat.Event, bool) {
	if w.day == w.cfg.Days {
		return nil, false
	}
	w.today = nil
	w.live(w.day)
	for _, t := range w.thieves {
		t.act(w.day)
	}
	slices.SortStableFunc(w.today, func(a, b *moat.Event) int { return cmp.Compare(a.Time, b.Time) })
	w.day++
	return w.today, true
}

// Thefts returns the truth about the thieves. It is whole after the last day.
func (w *World) Thefts() []truth.Theft {
	var out []truth.Theft
	for _, t := range w.thieves {
		out = append(out, t.Theft)
	}
	slices.SortFunc(out, func(a, b truth.Theft) int { return cmp.Compare(a.From, b.From) })
	return out
}

// emit adds e to the day and returns it.
func (w *World) emit(e *moat.Event) *moat.Event {
	e.ID = fmt.Sprintf("%016x", w.ids.Uint64())
	e.MarkAll()
	if e.Type == moat.AuthLogin || e.Type == moat.HostLogin {
		e.Mark(moat.FieldOutcome) // success, too, is said
	}
	w.today = append(w.today, e)
	return e
}

// at is a time of a day, given in minutes after midnight.
func (w *World) at(day int, minute float64) moat.Time {
	return w.cfg.Start + moat.Time(day)*moat.Day + moat.Time(minute*float64(moat.Minute))
}

func (w *World) dayOf(t moat.Time) int { return int((t - w.cfg.Start) / moat.Day) }

// chance returns the randomness of one thing on one day: what happens to others does not
// change it.
func (w *World) chance(what string, day int) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(what))
	return rand.New(rand.NewPCG(w.cfg.Seed^h.Sum64(), uint64(day)+2))
}

// between returns a number from a to b.
func between(r *rand.Rand, a, b float64) float64 { return a + (b-a)*r.Float64() }

// pick returns one of list.
func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }
