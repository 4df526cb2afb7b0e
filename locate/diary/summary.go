package diary

import (
	"cmp"
	"context"
	"slices"

	moat "github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run"
)

// Summary is the figures of an entity in a window.
type Summary struct {
	Events  int64     `json:"events"`
	Records int64     `json:"records"`        // order records touched, as often as they were
	First   moat.Time `json:"first,omitzero"` // of its events in the window
	Last    moat.Time `json:"last,omitzero"`
	Days    []Day     `json:"days"` // by day, type and operation

	// How many different ones it came with. A figure of [MaxDistinct] means so
	// many or more.
	Accounts     int `json:"accounts"`
	Devices      int `json:"devices"`
	IPs          int `json:"ips"`
	Destinations int `json:"destinations"`

	Damaged int `json:"damaged,omitempty"` // runs that could not be read
}

// Day is what was done of one sort on one day.
type Day struct {
	Day       moat.Time      `json:"day"` // its start in UTC
	Type      moat.EventType `json:"-"`
	Operation string         `json:"operation,omitempty"`
	Events    int64          `json:"events"`
	Records   int64          `json:"records"`
}

// MaxDistinct bounds each of the distinct figures of a summary, and maxDays its lines.
const (
	MaxDistinct = 1 << 18
	maxDays     = 1 << 16
)

// Summary counts all events of the entity in the window.
func (d *Diary) Summary(ctx context.Context, tenant moat.Tenant, q Query) (*Summary, error) {
	type sort struct {
		day       moat.Time
		kind      moat.EventType
		operation string
	}
	s := &Summary{}
	days := map[sort]*Day{}
	var accounts, devices, ips, destinations names
	seen := map[*run.Source]bool{}
	damaged, err := d.Each(ctx, tenant, q, func(r *run.Row) error {
		src, act, err := r.Acted()
		if err != nil {
			return err
		}
		if !seen[src] { // a view gives the same source again and again
			if len(seen) >= MaxDistinct {
				clear(seen)
			}
			seen[src] = true
			accounts.add(src.Actor)
			devices.add(src.Device)
			ips.add(src.IP)
		}
		destinations.add(act.Destination)
		if s.Events == 0 || r.Time < s.First {
			s.First = r.Time
		}
		s.Last = max(s.Last, r.Time)
		s.Events++
		s.Records += r.Count
		k := sort{r.Time - r.Time%moat.Day, act.Type, act.Operation}
		day := days[k]
		if day == nil {
			if len(days) >= maxDays { // free text in operations
				k.operation = "other"
			}
			if day = days[k]; day == nil {
				day = &Day{Day: k.day, Type: k.kind, Operation: k.operation}
				days[k] = day
			}
		}
		day.Events++
		day.Records += r.Count
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, day := range days {
		s.Days = append(s.Days, *day)
	}
	slices.SortFunc(s.Days, func(a, b Day) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Operation, b.Operation))
	})
	s.Accounts, s.Devices, s.IPs, s.Destinations = len(accounts), len(devices), len(ips), len(destinations)
	s.Damaged = damaged
	return s, nil
}

// names is a bounded set of texts, without the empty one.
type names map[string]struct{}

func (n *names) add(s string) {
	if s == "" || len(*n) >= MaxDistinct {
		return
	}
	if *n == nil {
		*n = names{}
	}
	(*n)[s] = struct{}{}
}

// Order is one order that an entity touched in a window.
type Order struct {
	ID      string    `json:"id"`
	Touches int64     `json:"touches"`
	First   moat.Time `json:"first"`
	Last    moat.Time `json:"last"`
}

// Touched is the orders of an entity.
type Touched struct {
	Orders []Order `json:"orders"`        // in no particular order, the same each time
	Cut    bool    `json:"cut,omitempty"` // there are more than [MaxOrders]
	// Unnamed is how many records were touched by events that only counted them.
	Unnamed int64 `json:"unnamed,omitempty"`
	Damaged int   `json:"damaged,omitempty"` // runs that could not be read
}

// MaxOrders bounds the orders of one answer.
const MaxOrders = 1 << 22

// Orders returns every order that the entity touched in the window, once. The
// number of them is exact unless it was cut.
func (d *Diary) Orders(ctx context.Context, tenant moat.Tenant, q Query) (*Touched, error) {
	a := &Touched{}
	places := map[string]int32{}
	damaged, err := d.Each(ctx, tenant, q, func(r *run.Row) error {
		named := int64(0)
		err := r.IDs(func(i int, id []byte) {
			if i == 0 { // the event's own
				return
			}
			named++
			at, ok := places[string(id)]
			if !ok {
				if len(a.Orders) >= MaxOrders {
					a.Cut = true
					return
				}
				at = int32(len(a.Orders))
				a.Orders = append(a.Orders, Order{ID: string(id), First: r.Time})
				places[a.Orders[at].ID] = at
			}
			o := &a.Orders[at]
			o.Touches++
			o.First, o.Last = min(o.First, r.Time), max(o.Last, r.Time)
		})
		a.Unnamed += max(r.Count-named, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	a.Damaged = damaged
	return a, nil
}
