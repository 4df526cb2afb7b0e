package api

import (
	"errors"
	"net/http"
	"strings"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/trace"
)

// TraceQuestion asks for the sources of a leak. Orders with nothing but an id may stand in IDs.
type TraceQuestion struct {
	IDs    []string       `json:"ids,omitempty"`
	Orders []trace.Leaked `json:"orders,omitempty"`
	Since  moat.Time      `json:"since,omitzero"`
	Until  moat.Time      `json:"until,omitzero"`
	At     moat.Time      `json:"at,omitzero"`   // when those had leaked that have no time of their own
	Skew   int            `json:"skew,omitzero"` // seconds that clocks may be apart; 0 = 300
}

// MaxTraced is how many orders, repetitions included, one call may name.
const MaxTraced = 20_000

func (a *API) postTrace(c *call) error {
	var q TraceQuestion
	if err := c.read(&q); err != nil {
		var e *Error
		if errors.As(err, &e) && strings.Contains(e.Message, "orders") {
			e.Hint = `orders are objects, such as {"id": "4401234567", "at": "2026-03-02T09:30:00Z"}; ids alone stand in ids`
		}
		return err
	}
	if n := len(q.IDs) + len(q.Orders); n == 0 || n > MaxTraced {
		return invalid("a trace names 1 to %d orders in ids and orders", MaxTraced)
	}
	for _, id := range q.IDs {
		q.Orders = append(q.Orders, trace.Leaked{ID: id})
	}
	for _, o := range q.Orders {
		if o.ID == "" || len(o.ID) > maxOrderID || strings.ContainsRune(o.ID, 0) {
			return invalid("an order id has 1 to %d bytes", maxOrderID)
		}
	}
	answer, err := a.node.Tracer().Trace(c.ctx, c.tenant(), trace.Question{Orders: q.Orders, Since: q.Since, Until: q.Until, At: q.At, Skew: moat.Time(q.Skew) * moat.Second})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, answer)
}
