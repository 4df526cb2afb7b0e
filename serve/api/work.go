package api

import (
	"errors"
	"net/http"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/book"
)

// What people work with: findings, cases, decisions, and the trail of what they did.

func (a *API) getFindings(c *call) error {
	q, err := c.query("entity", "detector", "case")
	if err != nil {
		return err
	}
	items, next, err := a.node.Book.Findings(c.ctx, c.tenant(), q)
	return list(c, items, next, err)
}

func (a *API) getCases(c *call) error {
	q, err := c.query("entity", "detector", "rank", "state", "campaign")
	if err != nil {
		return err
	}
	items, next, err := a.node.Book.Cases(c.ctx, c.tenant(), q)
	return list(c, items, next, err)
}

func (a *API) getCampaigns(c *call) error {
	q, err := c.query("state")
	if err != nil {
		return err
	}
	items, next, err := a.node.Book.Campaigns(c.ctx, c.tenant(), q)
	return list(c, items, next, err)
}

// CaseFile is a case with what belongs to it.
type CaseFile struct {
	Case      moat.Case       `json:"case"`
	Findings  []moat.Finding  `json:"findings"`  // its timeline: the newest 1000, oldest first
	Decisions []moat.Decision `json:"decisions"` // the newest 1000, newest first
	Detectors []Worth         `json:"detectors"` // of those that took part and run now
}

func (a *API) getCase(c *call) error {
	if err := c.form().end(); err != nil {
		return err
	}
	id := c.r.PathValue("id")
	one, timeline, err := a.node.Book.Case(c.ctx, c.tenant(), id)
	if err != nil {
		return err
	}
	decisions, _, err := a.node.Book.Decisions(c.ctx, c.tenant(), book.Query{Case: id, Limit: book.MaxLimit})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, CaseFile{one, orEmpty(timeline), orEmpty(decisions), c.worthsOf(&one)})
}

// getTimeline answers what happened in a case, step by step.
func (a *API) getTimeline(c *call) error {
	if err := c.form().end(); err != nil {
		return err
	}
	one, findings, err := a.node.Book.Case(c.ctx, c.tenant(), c.r.PathValue("id"))
	if err != nil {
		return err
	}
	decisions, _, err := a.node.Book.Decisions(c.ctx, c.tenant(), book.Query{Case: one.ID, Limit: book.MaxLimit})
	if err != nil {
		return err
	}
	s, err := a.node.Stories.Tell(c.ctx, &one, findings, decisions)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, s)
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// whole is the member of acts on a case that extends them.
type whole struct {
	// Campaign says that the act is on every case of the campaign that the caller sees.
	Campaign bool `json:"campaign,omitempty"`
}

// act does something to the case of the path, or to its whole campaign, and answers the case as it is then.
func (c *call) act(w whole, do func(id string) error) error {
	one, err := c.api.node.Book.Act(c.ctx, c.tenant(), c.r.PathValue("id"), w.Campaign, do)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, one)
}

func (a *API) postVerdict(c *call) error {
	var in struct {
		whole
		Verdict *moat.Verdict `json:"verdict"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	if in.Verdict == nil {
		return invalid("verdict is missing")
	}
	return c.act(in.whole, func(id string) error { return a.node.Judge(c.ctx, c.tenant(), id, *in.Verdict, c.by()) })
}

func (a *API) postClose(c *call) error {
	var in whole
	if err := c.readAny(&in); err != nil {
		return err
	}
	return c.act(in, func(id string) error { return a.node.Book.CloseCase(c.ctx, c.tenant(), id, c.by()) })
}

func (a *API) postReopen(c *call) error {
	var in whole
	if err := c.readAny(&in); err != nil {
		return err
	}
	return c.act(in, func(id string) error { return a.node.Book.ReopenCase(c.ctx, c.tenant(), id, c.by()) })
}

func (a *API) postAssign(c *call) error {
	var in struct {
		whole
		Owner *string `json:"owner"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	if in.Owner == nil {
		return invalid("owner is missing")
	}
	return c.act(in.whole, func(id string) error { return a.node.Book.AssignCase(c.ctx, c.tenant(), id, *in.Owner, c.by()) })
}

func (a *API) getDecisions(c *call) error {
	q, err := c.query("entity", "case", "scope", "value", "active", "waiting")
	if err != nil {
		return err
	}
	items, next, err := a.node.Book.Decisions(c.ctx, c.tenant(), q)
	return list(c, items, next, err)
}

// DecisionFile is a decision and who approved it so far.
type DecisionFile struct {
	Decision  moat.Decision `json:"decision"`
	Approvals []string      `json:"approvals"` // in the order of time; who made it by hand is the first
}

func (a *API) getDecision(c *call) error {
	if err := c.form().end(); err != nil {
		return err
	}
	id := c.r.PathValue("id")
	d, err := a.node.Book.Decision(c.ctx, c.tenant(), id)
	if err != nil {
		return err
	}
	people, err := a.node.Book.Approvals(c.ctx, c.tenant(), id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, DecisionFile{d, orEmpty(people)})
}

// NewDecision is a decision that a person makes.
type NewDecision struct {
	Partner string      `json:"partner,omitempty"` // the operator names it; else it follows from the credentials
	Scope   string      `json:"scope"`
	Value   string      `json:"value"`
	Action  moat.Action `json:"action"`
	From    moat.Time   `json:"from,omitzero"` // 0 = now
	Until   moat.Time   `json:"until"`
	Case    string      `json:"case,omitempty"`
	Reason  string      `json:"reason"`
}

func (a *API) postDecision(c *call) error {
	var in NewDecision
	if err := c.read(&in); err != nil {
		return err
	}
	partner, err := c.partner(in.Partner, "decides for")
	if err != nil {
		return err
	}
	d, err := a.node.Desk.Decide(c.ctx, c.tenant(), c.now(), moat.Decision{Partner: partner, Scope: in.Scope, Value: in.Value,
		Action: in.Action, From: in.From, Until: in.Until, Case: in.Case, Reason: in.Reason}, c.by())
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, d)
}

func (a *API) deleteDecision(c *call) error {
	if err := c.form().end(); err != nil {
		return err
	}
	d, err := a.node.Desk.Undo(c.ctx, c.tenant(), c.now(), c.r.PathValue("id"), c.by())
	if errors.Is(err, book.ErrOperator) {
		return &Error{Status: http.StatusForbidden, Code: "forbidden", Message: "an operator made this decision or approved it", Hint: "ask the operator to end it", cause: err}
	}
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, d)
}

func (a *API) postApprove(c *call) error {
	if err := c.nothing(); err != nil {
		return err
	}
	d, err := a.node.Desk.Approve(c.ctx, c.tenant(), c.now(), c.r.PathValue("id"), c.by())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, d)
}

func (a *API) getAudit(c *call) error {
	q, err := c.query("object")
	if err != nil {
		return err
	}
	items, next, err := a.node.Book.Audit(c.ctx, c.tenant(), q)
	return list(c, items, next, err)
}

// Vouched tells up to where the audit trail was found whole. Whoever keeps Seq and Hash elsewhere
// can tell later that nobody wrote the trail anew.
type Vouched struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
}

func (a *API) getAuditVerify(c *call) error {
	if err := c.form().end(); err != nil {
		return err
	}
	seq, hash, err := a.node.Book.AuditHead(c.ctx)
	if err == nil {
		err = a.node.Book.VerifyAudit(c.ctx)
	}
	var broken *book.BrokenError
	if errors.As(err, &broken) {
		return &Error{Status: http.StatusConflict, Code: "broken", Message: broken.Error(), Hint: "keep the book as it is and compare it with a backup", cause: err}
	}
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, Vouched{seq, hash})
}
