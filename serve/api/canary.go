package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/moat-platform/moat/locate/canary"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// NewCanaries asks for canaries. One of Pattern and Example is needed.
type NewCanaries struct {
	Partner string      `json:"partner,omitempty"` // the operator names it; else it follows from the credentials
	Channel string      `json:"channel"`
	Kind    canary.Kind `json:"kind"`
	Count   int         `json:"count"`
	Pattern string      `json:"pattern,omitempty"`
	Example string      `json:"example,omitempty"` // a real id, whose form the canaries are to have
	Period  string      `json:"period,omitempty"`  // "" = this month
}

// Lot is what the request asks for.
func (in *NewCanaries) Lot() (canary.Lot, error) {
	l := canary.Lot{Partner: in.Partner, Channel: in.Channel, Kind: in.Kind, Count: in.Count, Pattern: in.Pattern, Period: in.Period}
	if in.Pattern != "" || in.Example == "" {
		return l, nil
	}
	var err error
	if l.Pattern, err = canary.PatternFor(in.Kind, in.Example); err != nil {
		return l, fmt.Errorf("%w: %w", book.ErrInvalid, err)
	}
	return l, nil
}

func (a *API) postCanaries(c *call) error {
	var in NewCanaries
	if err := c.read(&in); err != nil {
		return err
	}
	partner, err := c.partner(in.Partner, "places at")
	if err != nil {
		return err
	}
	in.Partner = partner
	if in.Pattern != "" && in.Example != "" {
		return invalid("give a pattern or an example, not both")
	}
	l, err := in.Lot()
	if err != nil {
		return err
	}
	p, err := a.node.PlaceCanaries(c.ctx, c.tenant(), l, c.by(), c.now())
	if errors.Is(err, book.ErrNotFound) {
		return &Error{Status: http.StatusNotFound, Code: "not_found", Message: fmt.Sprintf("nobody added a partner %.64q", partner), Hint: "add it first: POST /v1/partners, or moat partner add", cause: err}
	}
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, p)
}

func (a *API) getCanaries(c *call) error {
	q, err := c.query("kind", "channel", "planted")
	if err != nil {
		return err
	}
	if err := canaryKind(canary.Kind(q.Kind)); err != nil {
		return err
	}
	items, next, err := a.node.Lots(c.ctx, c.tenant(), q)
	return list(c, items, next, err)
}

func (a *API) getCanary(c *call) error {
	if err := c.form().end(); err != nil {
		return err
	}
	p, err := a.node.Lot(c.ctx, c.tenant(), c.r.PathValue("id"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, p)
}

// canaryKind refuses what is no kind; "" is any.
func canaryKind(k canary.Kind) error {
	if k == "" || slices.Contains(canary.Kinds[:], k) {
		return nil
	}
	return invalid("kind must be one of %v", canary.Kinds)
}

// CanaryQuestion asks which values are canaries.
type CanaryQuestion struct {
	Kind   canary.Kind `json:"kind,omitempty"` // "" = any
	Values []string    `json:"values"`
	Report bool        `json:"report,omitempty"` // those that are were used: find out where they leaked
}

// CanaryAnswer has one item for each value, in the order of the question. The values are not repeated.
type CanaryAnswer struct {
	Items []CheckedCanary `json:"items"`
}

// CheckedCanary is one value; Canary is there if it is one that the caller may know of.
type CheckedCanary struct {
	Canary *node.Canary `json:"canary,omitempty"`
}

func (a *API) postCanaryCheck(c *call) error {
	var q CanaryQuestion
	if err := c.read(&q); err != nil {
		return err
	}
	if len(q.Values) == 0 || len(q.Values) > maxOrders {
		return invalid("a question has 1 to %d values", maxOrders)
	}
	if err := canaryKind(q.Kind); err != nil {
		return err
	}
	out := CanaryAnswer{Items: make([]CheckedCanary, len(q.Values))}
	for i, v := range q.Values {
		if len(v) > 1024 {
			return invalid("a value has at most 1024 bytes")
		}
		found, ok := a.node.FindCanary(c.tenant(), q.Kind, v)
		if !ok {
			continue
		}
		out.Items[i].Canary = &found
		if !q.Report {
			continue
		}
		if _, _, err := a.node.ReportCanary(c.ctx, c.tenant(), q.Kind, v, c.now()); err != nil {
			return err
		}
	}
	return c.json(http.StatusOK, out)
}
