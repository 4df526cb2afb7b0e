package main

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/dispose/decision"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/store/book"
)

// decisionsCmd is about decisions.
type decisionsCmd struct {
	List    decisionsListCmd    `cmd:"" default:"withargs" help:"List decisions."`
	Undo    decisionsUndoCmd    `cmd:"" help:"End decisions now."`
	Approve decisionsApproveCmd `cmd:"" help:"Approve a decision that waits for a person."`
}

// Help shows how to use it.
func (decisionsCmd) Help() string {
	return examples("moat decisions --active", "moat decisions --waiting", "moat decisions undo d_abcdefghijklmnop", "moat decisions --json")
}

type decisionsListCmd struct {
	filter
	Case    string `placeholder:"ID" help:"Only of this case."`
	Active  bool   `help:"Only those in force now."`
	Waiting bool   `help:"Only those that a person must approve first."`
}

// Run lists.
func (c *decisionsListCmd) Run(a *app) error {
	b, err := a.readOf(c.Partner)
	if err != nil {
		return err
	}
	defer b.Close()
	q := c.query()
	q.Case, q.Waiting = c.Case, c.Waiting
	if c.Active {
		q.Active = moat.TimeOf(time.Now())
	}
	page := func(q book.Query) ([]moat.Decision, string, error) { return b.Decisions(a.ctx, moat.Everyone(), q) }
	if a.JSON {
		return objects(a, b.AllDecisions(a.ctx, moat.Everyone(), q), page, q, c.Limit, nil)
	}
	rows, cut, err := newest(page, q, cmp.Or(c.Limit, tableRows))
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return a.none("decisions", q, "Cases of high rank bring them; `moat cases` lists cases.")
	}
	a.decisions(rows)
	a.more(cut, len(rows))
	return nil
}

// decisions shows decisions as a table.
func (a *app) decisions(rows []moat.Decision) {
	now := moat.TimeOf(time.Now())
	t := newTable("", "id", "from", "until", "partner", "action", "whom", "state", "reason")
	for i := range rows {
		d := &rows[i]
		t.row(d.ID, instant(d.From), instant(d.Until), d.Partner, d.Action, d.Scope+":"+d.Value, decisionState(d, now), d.Reason)
	}
	t.print(a.out)
}

func decisionState(d *moat.Decision, now moat.Time) cell {
	switch {
	case d.Undone != 0:
		return cell{"undone", dim}
	case now >= d.Until:
		return cell{"over", dim}
	case d.Approval != "":
		return cell{"waits for approval", yellow}
	case d.Active(now):
		return cell{"in force", green}
	}
	return cell{"to come", plain}
}

type decisionsUndoCmd struct {
	ID []string `arg:"" name:"id" help:"Ids of decisions."`
}

// Run undoes.
func (c *decisionsUndoCmd) Run(a *app) error {
	return a.changeDecisions(c.ID, (*api.Client).Undo, (*decision.Desk).Undo)
}

type decisionsApproveCmd struct {
	ID []string `arg:"" name:"id" help:"Ids of decisions."`
}

// Run approves.
func (c *decisionsApproveCmd) Run(a *app) error {
	return a.changeDecisions(c.ID, (*api.Client).Approve, (*decision.Desk).Approve)
}

// changeDecisions does one thing to each decision and shows what they are then.
func (a *app) changeDecisions(ids []string, through func(*api.Client, context.Context, string) (moat.Decision, error),
	alone func(*decision.Desk, context.Context, moat.Tenant, moat.Time, string, string) (moat.Decision, error)) error {
	rows, err := change(a, func(s *api.Client) ([]moat.Decision, error) {
		return each(ids, func(id string) (moat.Decision, error) { return through(s, a.ctx, id) })
	}, func(b *book.Book) ([]moat.Decision, error) {
		now := moat.TimeOf(time.Now())
		desk, err := decision.Open(a.ctx, b, now, a.log)
		if err != nil {
			return nil, err
		}
		return each(ids, func(id string) (moat.Decision, error) { return alone(desk, a.ctx, moat.Everyone(), now, id, a.by()) })
	})
	if a.JSON {
		for _, d := range rows {
			err = errors.Join(err, a.object(d))
		}
	} else if len(rows) > 0 {
		a.decisions(rows)
	}
	return unknownID(err, "`moat decisions` lists them")
}

// each does one thing to each id, up to the first that fails.
func each(ids []string, do func(string) (moat.Decision, error)) (out []moat.Decision, err error) {
	for _, id := range ids {
		d, err := do(id)
		if err != nil {
			return out, err
		}
		out = append(out, d)
	}
	return out, nil
}

// unknownID adds where ids come from, if it is the id that is wrong.
func unknownID(err error, where string) error {
	if errors.Is(err, book.ErrNotFound) {
		return hint(err, "there is none with this id: "+where)
	}
	return err
}

// examples is the closing part of a command's help.
func examples(lines ...string) string {
	return "Examples:\n\n    " + strings.Join(lines, "\n    ")
}

// shell quotes a word for a command line, if it must be.
func shell(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-:/@,+", r))
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
