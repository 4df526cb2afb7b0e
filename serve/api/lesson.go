package api

import (
	"net/http"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/store/book"
)

// Worth is what people said of the cases in which a detector took part, and what follows from it. The operator is told of
// all partners' cases that it judged, a partner of its own.
type Worth struct {
	Detector     string    `json:"detector"`
	N            int       `json:"n"` // judged cases that were confirmed or false
	Confirmed    int       `json:"confirmed"`
	FalseAlarms  int       `json:"false_alarms"`
	Accepted     int       `json:"accepted"`
	PrecisionLow float64   `json:"precision_low"` // lower bound: Wilson, 95 %
	State        moat.Mode `json:"state"`         // its mode, observe at most if it was demoted
	Demoted      string    `json:"demoted,omitempty"`
}

// WorthOf sums up for one detector.
func WorthOf(detector string, mode moat.Mode, t risk.Tally, demoted string) Worth {
	if demoted != "" {
		mode = min(mode, moat.Observe)
	}
	return Worth{Detector: detector, N: t.N(), Confirmed: t.Confirmed, FalseAlarms: t.False, Accepted: t.Accepted, PrecisionLow: t.Low(), State: mode, Demoted: demoted}
}

// worths tells of detectors what the caller may know.
func (c *call) worths() func(detector string, mode moat.Mode) Worth {
	tallies, demotions := c.api.node.Verdicts(c.tenant())
	return func(id string, mode moat.Mode) Worth {
		why := demotions[id]
		if why != "" && !c.id.Operator {
			why = "it raised too many false alarms" // the figures are of others, too
		}
		return WorthOf(id, mode, tallies[id], why)
	}
}

// worthsOf tells of the detectors of a case that run now.
func (c *call) worthsOf(one *moat.Case) []Worth {
	worth, out := c.worths(), []Worth{}
	for _, id := range one.Detectors {
		for _, d := range c.api.node.Plan.Detectors {
			if d.ID == id {
				out = append(out, worth(id, d.Mode))
			}
		}
	}
	return out
}

func (a *API) postPromote(c *call) error {
	if err := c.nothing(); err != nil {
		return err
	}
	id := c.r.PathValue("id")
	for _, d := range a.node.Plan.Detectors {
		if d.ID != id {
			continue
		}
		if err := a.node.Promote(c.ctx, c.tenant(), id, c.by()); err != nil {
			return err
		}
		return c.json(http.StatusOK, c.worths()(id, d.Mode))
	}
	return book.ErrNotFound
}

// NewSnooze is a snooze to be made.
type NewSnooze struct {
	Partner  string      `json:"partner,omitempty"` // the operator names it; else it follows from the credentials
	Entity   moat.Entity `json:"entity"`
	Detector string      `json:"detector,omitempty"` // "" = any
	Until    moat.Time   `json:"until"`
	Reason   string      `json:"reason,omitempty"`
}

func (a *API) postSnooze(c *call) error {
	var in NewSnooze
	if err := c.read(&in); err != nil {
		return err
	}
	partner, err := c.partner(in.Partner, "snoozes for")
	if err != nil {
		return err
	}
	s, err := a.node.Snooze(c.ctx, c.tenant(), book.Snooze{Partner: partner, Entity: in.Entity, Detector: in.Detector, Until: in.Until, Reason: in.Reason}, c.by())
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, s)
}

func (a *API) getSnoozes(c *call) error {
	q, err := c.query("entity", "detector", "active")
	if err != nil {
		return err
	}
	items, next, err := a.node.Book.Snoozes(c.ctx, c.tenant(), q)
	return list(c, items, next, err)
}

func (a *API) deleteSnooze(c *call) error {
	if err := c.form().end(); err != nil {
		return err
	}
	s, err := a.node.Wake(c.ctx, c.tenant(), c.r.PathValue("id"), c.by())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, s)
}
