// Package trace leads from leaked orders to their source: the account, device, app, version of an app, server,
// address, outlet, destination or partner through which they went out.
//
// Use a [Tracer] over the ledger and the diary ([Kept]) when customers complain or a list of
// orders turns up where it should not be. It answers who had these orders in hand before they
// leaked, how much better that explains the leak than chance does, what each of several sources
// explains, and what nobody explains; docs/trace.md has the formulas and how to read them.
//
// It will not accuse: each source has a probability, and where the evidence does not carry a name
// the verdict is [NotEnough]. It will not read whole diaries of giants, show a tenant anything of
// another, tell a person from the only device that the person uses, or find a source that left no touches.
package trace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run"
)

// Bounds of one question. What is over MaxLooked is sampled: more orders do not make an answer better.
const (
	MaxOrders  = 1 << 20 // ids, repetitions included
	MaxOrderID = 128     // bytes
	MaxLooked  = 2048    // orders that are looked up
	maxPerID   = 2048    // touches of one order
	maxTouches = 1 << 19 // of all leaked orders
	controls   = 1500    // orders that the leaked ones are compared with
	maxRead    = 30_000  // events of diaries
	maxOneRead = 15_000  // of one diary
	maxShown   = 100     // ids in a list of an answer
	usual      = 1 << 14 // candidates, of whom most are met with orders that did not leak
)

// ErrInvalid says that a question cannot be answered as it is put; the text says why.
var ErrInvalid = errors.New("invalid question")

// Leaked is an order that leaked.
type Leaked struct {
	ID string `json:"id"`
	// At is when it had leaked at the latest: when the customer was called, or the list was seen.
	// Without it, an earlier complaint or canary touch of that order says so; else all touches count.
	At moat.Time `json:"at,omitzero"`
	// By is who says so: a customer, a reporter, a partner. Orders that one of many reporters names
	// count less, see [WarnReporter].
	By string `json:"by,omitempty"`
	// Weight is how far it is believed, above 0 to 1; 0 means 1.
	Weight float64 `json:"weight,omitzero"`
}

// Question is what is asked of a [Tracer].
type Question struct {
	Orders []Leaked
	Since  moat.Time // only touches at it or later
	Until  moat.Time // only touches before it; 0 means no end
	At     moat.Time // of the orders that have none of their own
	// Skew is how far clocks of partners may be apart: touches so long after the leak count half.
	Skew moat.Time // 0 means [DefaultSkew]
}

// DefaultSkew is how far clocks may be apart if nobody says.
const DefaultSkew = 5 * moat.Minute

// Touch is one act on one order. Source and Act are shared by touches and must not be changed.
type Touch struct {
	Time   moat.Time
	Count  int64 // orders that the act touched
	Source *run.Source
	Act    *run.Act
	Shops  []string
}

// Owner is an entity at a partner; a Partner of "" means at all that the tenant sees.
type Owner struct {
	Kind    moat.EntityKind // or moat.Destination or Version
	Partner string
	ID      string
}

// Exposure is how many orders an entity had in hand in a window.
type Exposure struct {
	Known  bool    // false: there are more than it was worth reading
	Orders int     // distinct
	Weight float64 // sum over them of the most that was shown of each, see [Shown]
	// When has a bit for each 64th of the window in which an order was in hand, order by order.
	When []uint64
}

// Rows is where touches come from: [Kept] ones, or those of a simulation in [Memory].
// Implementations are safe for concurrent use and show a tenant only what it sees.
type Rows interface {
	// Touches calls fn for each touch of each order, in no order; i is the place of the order in ids.
	// It stops with the error that fn returns. damaged is how many files could not be read.
	Touches(ctx context.Context, tenant moat.Tenant, ids []string, from, to moat.Time, fn func(i int, t *Touch) error) (damaged int, err error)
	// Sample calls fn for each touch of about n orders chosen by chance among those touched in the
	// window, the same ones each time. share is which part of all orders it looked at.
	Sample(ctx context.Context, tenant moat.Tenant, n int, from, to moat.Time, fn func(order uint64, t *Touch) error) (share float64, err error)
	// Exposures counts what each entity of list had in hand, for as many from its start as are worth reading.
	Exposures(ctx context.Context, tenant moat.Tenant, list []Owner, from, to moat.Time) ([]Exposure, error)
}

// Tracer answers questions. It is safe for concurrent use if its parts are.
type Tracer struct {
	Rows Rows
	// Findings, if not nil, returns what detectors saw of an entity in a window, oldest first, at most a few.
	Findings func(ctx context.Context, tenant moat.Tenant, of Owner, from, to moat.Time) ([]moat.Finding, error)
	// Complaints, if not nil, returns when orders were first complained about: what was filed a moment ago may not have come to the
	// ledger yet. Orders that are not in the map were not.
	Complaints func(ctx context.Context, tenant moat.Tenant, orders []string) (map[string]moat.Time, error)
	// Planted, if not nil, tells what an order is planted as, if it is a canary that the tenant may know of.
	Planted func(tenant moat.Tenant, order string) (Canary, bool)
	// Blind, if not nil, tells which partners counted orders in a window without naming them, those with the most first.
	Blind func(ctx context.Context, tenant moat.Tenant, from, to moat.Time) ([]Blind, error)
}

// Blind is a partner that tells how many orders were in hand there, and not which: nobody can be traced by them.
type Blind struct {
	Partner string `json:"partner"`
	Records int64  `json:"records"`        // that it did not name, as often as they were in hand
	Of      int64  `json:"of"`             // all that it told of
	More    bool   `json:"more,omitempty"` // there are more events than were looked at
}

// Canary is a leaked order that is nobody's: whoever leaked it got it by the channel that it was planted in.
type Canary struct {
	Order   string `json:"order"`
	Kind    string `json:"kind"` // order, phone, address or credential: dumps have all of them
	Partner string `json:"partner"`
	Channel string `json:"channel"`
	Token   string `json:"token"` // names it in events and findings
}

// away tells whether a touch is by another partner, or by another channel, than the canary was planted in: it had leaked before it came there.
func (x *Canary) away(t *Touch) bool {
	s := t.Source
	if s.Partner != x.Partner {
		return true
	}
	kind, id, _ := strings.Cut(x.Channel, ":")
	is := ""
	switch k, _ := moat.ParseEntityKind(kind); k {
	case moat.App:
		is = s.App
	case moat.Outlet:
		is = s.Outlet
	case moat.Account:
		is = s.Actor
	case moat.Host:
		is = t.Act.Host
	case moat.Device:
		is = s.Device
	case moat.Shop:
		if len(t.Shops) == 1 {
			is = t.Shops[0]
		}
	}
	return is != "" && is != id
}

// Trace looks for the sources of the leak among all that tenant sees.
func (t *Tracer) Trace(ctx context.Context, tenant moat.Tenant, q Question) (*Answer, error) {
	c, err := open(q)
	if err != nil {
		return nil, err
	}
	c.own, _ = tenant.Partner()
	c.known(tenant, t.Planted)
	if err := c.look(ctx, tenant, t.Rows, t.Complaints); err != nil {
		return nil, fmt.Errorf("cannot trace orders: %w", err)
	}
	c.admit()
	if err := c.compare(ctx, tenant, t.Rows); err != nil {
		return nil, fmt.Errorf("cannot trace orders: %w", err)
	}
	if err := c.measure(ctx, tenant, t.Rows); err != nil {
		return nil, fmt.Errorf("cannot trace orders: %w", err)
	}
	if err := c.judge(ctx, tenant, t.Rows); err != nil {
		return nil, fmt.Errorf("cannot trace orders: %w", err)
	}
	a := c.answer()
	if t.Findings != nil {
		if err := c.explain(ctx, tenant, t.Findings, a); err != nil {
			return nil, fmt.Errorf("cannot trace orders: %w", err)
		}
	}
	if t.Blind != nil {
		from, to := c.seen()
		if a.Blind, err = t.Blind(ctx, tenant, from, to); err != nil {
			return nil, fmt.Errorf("cannot trace orders: %w", err)
		}
		warnBlind(a, from, to)
	}
	return a, nil
}

// leaked is an order of the question with what is known of it.
type leaked struct {
	Leaked
	birth     moat.Time // first sight
	weight    float64
	bin       int
	shops     []string
	touch     []Touch
	cut       bool    // there were more touches
	late      bool    // touches within the skew after the leak were counted
	taken     bool    // a source that is named explains it, and the others are looked for without it
	kept      float64 // its weight then
	explained bool    // that stands when it is put back
	canary    *Canary // nil if it is none

	holders [kinds]int // candidates of each kind that touched it
}

// trial is one question on its way to an answer.
type trial struct {
	q       Question
	own     string // the only partner that the tenant sees
	asked   int
	unique  int
	looked  int
	orders  []leaked // that are looked up, then only those that are known
	unknown []string
	planted []Canary
	damaged int
	cut     bool
	from    moat.Time
	to      moat.Time

	born       [2]moat.Time // of known orders, with a margin
	lag        moat.Time    // from first sight to nearly all touches
	edges      []moat.Time  // of the bins of births
	sizes      []float64    // of the bins: how many orders were born then
	byBin      [][]int      // leaked orders of each
	leaks      []float64    // of the bins: how many of them leaked, of those that are left
	background []float64    // by bin: the chance that noise picks one certain order of it
	population population

	cands    []*candidate // all, as the indexes below name them
	top      []*candidate // the likeliest first
	pool     []*candidate // with those that one look is not for
	index    map[Owner]int
	bySource map[*run.Source][]int
	byAct    map[actOf][]int
	spare    []candidate // memory for the next
	tally    [2]showing
	kinds    [kinds]kindStats

	units   []*unit
	forms   []form
	sets    []set
	room    room
	mix     []float64 // by order: how much likelier sources make it than noise, of which candidates are what is beside them; nil is 1
	most    int       // sources of a set
	among   bool      // sources of several leaks are named one by one
	several bool      // there is more than one likely source
	left    int       // orders that are not taken
	none    float64   // probability that no source was seen

	framer    string // without whose orders the only source would not be suspected
	recounted int    // candidates counted to build a mixture

	sources  []Source
	partners map[string]float64 // probability of a source in each
}

type actOf struct {
	act     *run.Act
	partner string
}

// population is what the leaked orders are compared with.
type population struct {
	share  float64
	orders float64          // estimate of all that were born when the leaked ones were
	found  int              // controls
	bins   []int            // of them by birth
	when   [][slots]float64 // by birth, in how many slots of the window they were in anybody's hand
	// inside is the share of what was in hand in each slot of the window that is to be compared, see fair.
	inside [slots]float64
}

// open checks the question, joins repetitions and takes a sample if there are too many orders.
func open(q Question) (*trial, error) {
	if len(q.Orders) == 0 || len(q.Orders) > MaxOrders {
		return nil, fmt.Errorf("%w: it names %d orders, want 1 to %d", ErrInvalid, len(q.Orders), MaxOrders)
	}
	if q.Skew < 0 || q.Skew > moat.Day {
		return nil, fmt.Errorf("%w: a skew of %d s, want 0 to a day", ErrInvalid, q.Skew/moat.Second)
	}
	if q.Until != 0 && q.Until <= q.Since {
		return nil, fmt.Errorf("%w: until is not after since", ErrInvalid)
	}
	if q.Skew == 0 {
		q.Skew = DefaultSkew
	}
	c := &trial{q: q, asked: len(q.Orders), index: make(map[Owner]int, usual),
		bySource: make(map[*run.Source][]int, usual/2), byAct: make(map[actOf][]int, usual/2)}
	place := make(map[string]int, len(q.Orders))
	for _, o := range q.Orders {
		switch {
		case o.ID == "" || len(o.ID) > MaxOrderID:
			return nil, fmt.Errorf("%w: an order id has 1 to %d bytes", ErrInvalid, MaxOrderID)
		case len(o.By) > 256:
			return nil, fmt.Errorf("%w: a reporter has at most 256 bytes", ErrInvalid)
		case math.IsNaN(o.Weight) || o.Weight < 0 || o.Weight > 1:
			return nil, fmt.Errorf("%w: a weight is above 0 to 1, not %g", ErrInvalid, o.Weight)
		}
		o.Weight, o.At = cmp.Or(o.Weight, 1), cmp.Or(o.At, q.At)
		if i, ok := place[o.ID]; ok {
			was := &c.orders[i].Leaked
			if o.At != 0 && (was.At == 0 || o.At < was.At) {
				was.At = o.At
			}
			was.Weight, was.By = max(was.Weight, o.Weight), cmp.Or(was.By, o.By)
			continue
		}
		place[o.ID] = len(c.orders)
		c.orders = append(c.orders, leaked{Leaked: o})
	}
	if c.unique = len(c.orders); c.unique > MaxLooked {
		slices.SortFunc(c.orders, func(a, b leaked) int {
			return cmp.Or(cmp.Compare(lot(a.ID), lot(b.ID)), cmp.Compare(a.ID, b.ID))
		})
		c.orders = slices.Clone(c.orders[:MaxLooked])
	}
	return c, nil
}

// known notes which of the orders are canaries.
func (c *trial) known(tenant moat.Tenant, planted func(moat.Tenant, string) (Canary, bool)) {
	if planted == nil {
		return
	}
	for i := range c.orders {
		if x, ok := planted(tenant, c.orders[i].ID); ok {
			c.planted, c.orders[i].canary = append(c.planted, x), &x
		}
	}
}

// look reads the touches of the leaked orders, and finds out when each was first seen and when it had leaked.
func (c *trial) look(ctx context.Context, tenant moat.Tenant, rows Rows,
	complaints func(context.Context, moat.Tenant, []string) (map[string]moat.Time, error)) (err error) {
	c.looked = len(c.orders)
	ids := make([]string, len(c.orders))
	for i := range c.orders {
		ids[i] = c.orders[i].ID
	}
	total := 0
	reports := make([]moat.Time, len(ids))
	c.damaged, err = rows.Touches(ctx, tenant, ids, c.q.Since, c.q.Until, func(i int, t *Touch) error {
		o := &c.orders[i]
		if t.Act.Type == moat.Complaint || t.Act.Type == moat.CanaryTouch {
			if reports[i] == 0 || t.Time < reports[i] {
				reports[i] = t.Time
			}
			return nil
		}
		if o.canary != nil && o.canary.away(t) {
			return nil
		}
		if len(o.touch) >= maxPerID || total >= maxTouches {
			o.cut, c.cut = true, true
			return nil
		}
		total++
		o.touch = append(o.touch, *t)
		if o.birth == 0 || t.Time < o.birth {
			o.birth = t.Time
		}
		return nil
	})
	var filed map[string]moat.Time
	if err == nil && complaints != nil {
		filed, err = complaints(ctx, tenant, ids)
	}
	if err != nil {
		return err
	}
	known := c.orders[:0]
	for i, o := range c.orders {
		switch {
		case len(o.touch) == 0 && o.canary != nil: // it is known where it was
			continue
		case len(o.touch) == 0:
			c.unknown = append(c.unknown, o.ID)
			continue
		}
		if at, ok := filed[o.ID]; ok && within(at, c.q.Since, c.q.Until) && (reports[i] == 0 || at < reports[i]) {
			reports[i] = at
		}
		o.At = cmp.Or(o.At, reports[i])
		for _, t := range o.touch { // who names several shops does not say of which of them the order is
			if len(t.Shops) == 1 && !slices.Contains(o.shops, t.Shops[0]) && len(o.shops) < 16 {
				o.shops = append(o.shops, t.Shops[0])
			}
		}
		known = append(known, o)
	}
	c.orders = known
	return nil
}

// lot is the number by which a sample of orders is drawn.
func lot(id string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	return h ^ h>>32
}
