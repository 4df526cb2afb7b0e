// Package scope tells how far a leak reaches: from a source (an account, a device, an application, …)
// and a window of time to the orders and people whose data it saw, by field, shop, region and day, to
// where these orders went next, and to the duties and deadlines that follow.
//
// Use it when the source of a leak is known, or suspected, to decide whom to tell: [Finder.Scope] gives
// the figures, [Finder.Export] the orders one by one.
//
// It will not judge whether the source is guilty, show a tenant orders of partners that it does not
// see, keep anything, or know people: an event names orders, and no buyers.
//
// Orders are counted exactly up to [Config.MaxOrders] by a set of their keyed hashes. Beyond that the
// set keeps those whose hash ends with a zero bit, then with two, and so on (the adaptive sampling of
// Wegman, analysed by P. Flajolet, Computing 43, 1990), and figures of orders are estimates with a
// standard error of 1.2/√MaxOrders: 0.12 % by default.
package scope

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/locate/ledger"
	"github.com/moat-platform/moat/store/run"
)

// ErrQuestion says that a question makes no sense; the text says why.
var ErrQuestion = errors.New("not a question about a scope")

// Config says where a [Finder] looks. Diary and Ledger are required.
type Config struct {
	Diary  *diary.Diary
	Ledger *ledger.Ledger
	// Country tells the country of an address, ISO 3166-1 alpha-2, or "". It is called by several
	// goroutines. Nil knows none.
	Country func(ip string) string
	// Complaints calls fn with each order that somebody complained about at since or later, and that
	// the tenant may see, in no order and maybe more than once. Nil knows of none.
	Complaints func(ctx context.Context, t moat.Tenant, since moat.Time, fn func(order string) error) error
	// Planted tells whether an order is a canary, as far as the tenant may know. It is called by several
	// goroutines, for each order of each event. Nil knows of none.
	Planted   func(t moat.Tenant, order string) bool
	Duties    []Duty
	MaxOrders int // that are counted exactly; 0 = 1 Mi, which take 80 MiB
	Workers   int // goroutines of one question; 0 = one for each processor, at most 8
}

// Finder answers questions about scopes. It is safe for concurrent use.
type Finder struct{ cfg Config }

// New returns a finder.
func New(cfg Config) *Finder {
	if cfg.Country == nil {
		cfg.Country = func(string) string { return "" }
	}
	if cfg.MaxOrders <= 0 {
		cfg.MaxOrders = 1 << 20
	}
	if cfg.Workers <= 0 {
		cfg.Workers = min(runtime.GOMAXPROCS(0), 8)
	}
	return &Finder{cfg}
}

// Question says whose scope is asked for.
type Question struct {
	Partner string      // "" means every partner that the tenant sees
	Source  moat.Entity // of a kind that has a diary
	From    moat.Time   // what it touched at it or later
	To      moat.Time   // and before it; 0 means no end
	// Discovered is when the leak was discovered: deadlines count from it. 0 tells none.
	Discovered moat.Time
}

// Scope is how far a source reached in a window.
type Scope struct {
	First  moat.Time `json:"first,omitzero"` // of the touches that are counted
	Last   moat.Time `json:"last,omitzero"`
	Events int64     `json:"events"` // that showed order data, or handed it on

	// Orders is how many different orders were shown readable; they are what
	// Fields, Shops, Countries, … count. Masked is how many others were only
	// shown encrypted or masked.
	Orders int64 `json:"orders"`
	Masked int64 `json:"masked"`
	// Unnamed is how many records were touched by events that only counted
	// them, as often as they were.
	Unnamed int64 `json:"unnamed"`
	// Planted is how many of the orders that it saw are canaries. They are nobody's, and no other figure of
	// orders or people has them.
	Planted int64 `json:"planted"`
	// Refused is how many records were asked for and not given.
	Refused int64  `json:"refused"`
	People  People `json:"people"`

	// Estimated says that there were too many orders to count them one by one:
	// figures of orders are estimates, with this relative standard error.
	Estimated bool    `json:"estimated"`
	Error     float64 `json:"error,omitempty"`

	Fields     []Field `json:"fields"`
	Partners   []Group `json:"partners"`
	Shops      []Group `json:"shops"`
	Countries  []Group `json:"countries"` // of the addresses from which they were seen
	Outlets    []Group `json:"outlets"`   // where each was seen first
	Operations []Group `json:"operations"`
	Days       []Day   `json:"days"`

	Next       Next       `json:"next"`
	Complained Complained `json:"complained"`
	Deadlines  []Deadline `json:"deadlines"` // the earliest first; none if nobody is exposed
	// Damaged is how many parts of the indexes could not be read: if it is not
	// 0, there may be more.
	Damaged int `json:"damaged,omitempty"`
}

// People is how many people are exposed. One person an order, as events name no buyers: who
// bought twice counts twice. Records without names may be the same ones again, as those of a daily backup are, so that they
// add nothing to Least but what the largest single event counts; Most takes all of them to be different, since nothing bounds
// how many orders there are that nobody names.
type People struct {
	Least int64 `json:"least"`
	Most  int64 `json:"most"`
}

// Field is how many orders were shown with one field readable, and with how many it was only ever
// encrypted or masked.
type Field struct {
	Name   string `json:"name"` // "unspecified": the event does not say what it showed
	Orders int64  `json:"orders"`
	Masked int64  `json:"masked"`
}

// Group is some of the exposed orders. "other" is all groups that are too many to be told apart.
type Group struct {
	Name   string `json:"name"`
	Orders int64  `json:"orders"`
}

// Day is what was exposed on one day in UTC.
type Day struct {
	Day     moat.Time `json:"day"`
	Events  int64     `json:"events"`
	Records int64     `json:"records"` // as often as they were touched
	Orders  int64     `json:"orders"`  // exposed on this day for the first time
}

// Complained is how many of the exposed orders somebody has complained about, and how many are quiet yet.
type Complained struct {
	Orders int64 `json:"orders"`
	Quiet  int64 `json:"quiet"`
}

// exposes tells which events show order data to who causes them, or hand it on.
var exposes = [moat.EventTypes]bool{moat.OrderAccess: true, moat.OrderTransmit: true, moat.OrderServed: true, moat.DataDecrypt: true,
	moat.DBQuery: true, moat.APICall: true, moat.HTTPRequest: true}

// check refuses what cannot be asked.
func (q *Question) check() error {
	switch {
	case q.Source.ID == "":
		return fmt.Errorf("cannot find scope: %w: it names no source", ErrQuestion)
	case q.To != 0 && q.To <= q.From:
		return fmt.Errorf("cannot find scope: %w: its window ends before it begins", ErrQuestion)
	case q.Source.Kind == moat.Partner && q.Partner != "" && q.Partner != q.Source.ID:
		return fmt.Errorf("cannot find scope: %w: the partner is the source", ErrQuestion)
	}
	return nil
}

// Scope returns how far a source reached.
func (f *Finder) Scope(ctx context.Context, tenant moat.Tenant, q Question) (*Scope, error) {
	s, err := f.survey(ctx, tenant, q, pass{})
	if err != nil {
		return nil, err
	}
	out := s.figures()
	if out.Next, err = f.follow(ctx, tenant, &q, s, out.Orders); err != nil {
		return nil, err
	}
	if q.Discovered != 0 && out.People.Most > 0 { // where nobody is exposed nobody must be told
		out.Deadlines = deadlines(f.cfg.Duties, q.Discovered)
	}
	out.Damaged = s.damaged + out.Next.damaged
	return out, nil
}

// survey walks over all that the source did.
func (f *Finder) survey(ctx context.Context, tenant moat.Tenant, q Question, p pass) (*survey, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	s := newSurvey(f, p, tenant)
	workers := make([]*worker, f.cfg.Workers)
	for i := range workers {
		workers[i] = newWorker(s)
	}
	dq := diary.Query{Partner: q.Partner, Entity: q.Source, From: q.From, To: q.To}
	var err error
	s.damaged, err = f.cfg.Diary.EachIn(ctx, tenant, dq, len(workers), func(i int, r *run.Row) error { return workers[i].see(r) })
	if err != nil {
		return nil, err
	}
	for _, w := range workers {
		s.add(w)
	}
	s.orders.settle()
	return s, f.complaints(ctx, tenant, s)
}

// complaints marks the orders that somebody complained about since the first of them was exposed.
func (f *Finder) complaints(ctx context.Context, tenant moat.Tenant, s *survey) error {
	if f.cfg.Complaints == nil || s.events == 0 {
		return nil
	}
	err := f.cfg.Complaints(ctx, tenant, s.first, func(order string) error {
		if o := s.orders.find(f.cfg.Ledger.Key(order)); o != nil {
			o.complained = true
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot find scope: cannot read complaints: %w", err)
	}
	return nil
}

// plus adds without overflow.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
