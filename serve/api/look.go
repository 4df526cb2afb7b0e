package api

import (
	"net/http"
	"strings"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/dispose/decision"
	"github.com/moat-platform/moat/locate/canary"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/locate/ledger"
	"github.com/moat-platform/moat/locate/story"
	"github.com/moat-platform/moat/serve/node"
)

// What the indexes know: who touched an order, and what an entity did.

// Touch is one act in the diary of an entity or on an order.
type Touch struct {
	diary.Touch
	Type    string    `json:"type"`
	Outcome string    `json:"outcome"`
	What    string    `json:"what,omitempty"` // which program, file, page, statement or setting it was; of entities, if asked for
	At      *struct{} `json:"at,omitempty"`   // hides the place in the log: it would tell one partner how much others send
}

// TouchesOf adds the words for what the indexes keep as numbers.
func TouchesOf(from []diary.Touch) []Touch {
	list := make([]Touch, len(from))
	for i := range from {
		list[i] = Touch{Touch: from[i], Type: from[i].Type.String(), Outcome: from[i].Outcome.String()}
	}
	return list
}

// Day is what an entity did of one sort on one day.
type Day struct {
	diary.Day
	Type string `json:"type"`
}

// Summary is the figures of an entity in a window.
type Summary struct {
	diary.Summary
	Days []Day `json:"days"` // by day, type and operation
}

func summaryOf(s *diary.Summary) *Summary {
	out := &Summary{Summary: *s, Days: make([]Day, len(s.Days))}
	for i := range s.Days {
		out.Days[i] = Day{s.Days[i], s.Days[i].Type.String()}
	}
	return out
}

// EntityFile is what is known of an entity. Risk and Decisions are there when one partner is asked
// about; Summary on the first page only.
type EntityFile struct {
	Kind      string          `json:"kind"`
	ID        string          `json:"id"`
	Partner   string          `json:"partner,omitempty"`
	Risk      *moat.Risk      `json:"risk,omitempty"`
	Decisions []moat.Decision `json:"decisions,omitempty"` // in force, the most severe first
	Summary   *Summary        `json:"summary,omitempty"`
	Items     []Touch         `json:"items"` // its diary, newest first
	Next      string          `json:"next,omitempty"`
	Damaged   int             `json:"damaged,omitempty"` // parts of the diary that could not be read: touches may be missing
	// Undetailed is there if details were asked for and the lake could not tell all of them.
	Undetailed *story.Undetailed `json:"undetailed,omitempty"`
}

// diaryKind reads a kind of entity of which a diary is kept.
func diaryKind(s string) (moat.EntityKind, error) {
	if k, err := moat.ParseEntityKind(s); err == nil && diary.Keeps(k) {
		return k, nil
	}
	e := invalid("no diary is kept of this kind of entity")
	e.Hint = "ask for account, app, host, device, ip, outlet, shop, destination or partner; orders are at /v1/orders"
	return 0, e
}

func (a *API) getEntity(c *call) error {
	kind, err := diaryKind(c.r.PathValue("kind"))
	if err != nil {
		return err
	}
	f := c.form()
	q := diary.Query{Partner: f.partner(c), Entity: moat.Entity{Kind: kind, ID: c.r.PathValue("id")}, From: f.time("since"), To: f.time("until")}
	at, limit, cursor, details := f.time("at"), f.limit(), f.text("cursor"), f.bool("details")
	if err := f.end(); err != nil {
		return err
	}
	if at == 0 {
		at = c.now()
	}
	if limit == 0 {
		limit = 100
	}
	out := EntityFile{Kind: c.r.PathValue("kind"), ID: q.Entity.ID, Partner: q.Partner}
	page, err := a.node.Diary.Entity(c.ctx, c.tenant(), q, limit, cursor)
	if err != nil {
		return err
	}
	out.Items, out.Next, out.Damaged = TouchesOf(page.Touches), page.Next, page.Damaged
	if details {
		what, undetailed, err := a.node.Stories.Details(c.ctx, c.tenant(), page.Touches)
		if err != nil {
			return err
		}
		for i := range what {
			out.Items[i].What = what[i]
		}
		out.Undetailed = undetailed
	}
	if cursor == "" {
		s, err := a.node.Diary.Summary(c.ctx, c.tenant(), q)
		if err != nil {
			return err
		}
		out.Summary = summaryOf(s)
	}
	if q.Partner != "" && kind != moat.Partner {
		risk, err := a.node.Risk(c.ctx, c.tenant(), q.Partner, q.Entity, at)
		if err != nil {
			return err
		}
		risk.Shares = orEmpty(risk.Shares)
		out.Risk = &risk
		out.Decisions = a.node.Desk.At(at, q.Partner, decision.Target{Scope: kind.String(), Value: q.Entity.ID})
	}
	return c.json(http.StatusOK, out)
}

// Order is who touched one order.
type Order struct {
	ID      string  `json:"id"`
	Touches []Touch `json:"touches"`       // oldest first
	Cut     bool    `json:"cut,omitempty"` // there are more, later ones
	// Canary is there if the order is planted and the caller may know.
	Canary *node.Canary `json:"canary,omitempty"`
}

// Orders is who touched some orders.
type Orders struct {
	Items   []Order `json:"items"`             // one for each id, in the order of the question
	Damaged int     `json:"damaged,omitempty"` // parts of the ledger that could not be read: touches may be missing
}

// OrdersQuestion asks who touched orders.
type OrdersQuestion struct {
	IDs  []string  `json:"ids"`
	From moat.Time `json:"from,omitzero"`
	To   moat.Time `json:"to,omitzero"` // 0 = no end
}

// Bounds of one question about orders.
const (
	maxOrders  = 1000
	maxOrderID = 128
)

func (a *API) getOrders(c *call) error {
	f := c.form()
	q := OrdersQuestion{IDs: f.values["id"], From: f.time("from"), To: f.time("to")}
	delete(f.values, "id")
	if err := f.end(); err != nil {
		return err
	}
	return a.orders(c, q)
}

func (a *API) postOrders(c *call) error {
	var q OrdersQuestion
	if err := c.read(&q); err != nil {
		return err
	}
	return a.orders(c, q)
}

func (a *API) orders(c *call, q OrdersQuestion) error {
	if len(q.IDs) == 0 || len(q.IDs) > maxOrders {
		return invalid("a question names 1 to %d orders", maxOrders)
	}
	for _, id := range q.IDs {
		if id == "" || len(id) > maxOrderID || strings.ContainsRune(id, 0) {
			return invalid("an order id has 1 to %d bytes, none of them zero", maxOrderID)
		}
	}
	found, err := a.node.Ledger.Orders(c.ctx, c.tenant(), q.IDs, q.From, q.To)
	if err != nil {
		return err
	}
	out := ordersOf(found)
	for i := range out.Items {
		if x, ok := a.node.FindCanary(c.tenant(), canary.Order, out.Items[i].ID); ok {
			out.Items[i].Canary = &x
		}
	}
	return c.json(http.StatusOK, out)
}

func ordersOf(found *ledger.Answer) Orders {
	out := Orders{Items: make([]Order, len(found.Orders)), Damaged: found.Damaged}
	for i := range found.Orders {
		o := &found.Orders[i]
		out.Items[i] = Order{ID: o.ID, Touches: TouchesOf(o.Touches), Cut: o.Cut}
	}
	return out
}
