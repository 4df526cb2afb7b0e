package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// partnerCmd is about partners.
type partnerCmd struct {
	Add  partnerAddCmd  `cmd:"" help:"Add a partner."`
	List partnerListCmd `cmd:"" default:"withargs" help:"List partners and the risk of each."`
	Show partnerShowCmd `cmd:"" help:"Show a partner, its risk and why."`
}

// Help shows how to use it.
func (partnerCmd) Help() string {
	return examples("moat partner add acme --name 'Acme Ltd'", "moat partner list", "moat partner show acme")
}

type partnerAddCmd struct {
	Name    string `placeholder:"TEXT" help:"Its name for people; the id if left out."`
	Edition string `placeholder:"WORD" help:"Pack of policy for its kind of business."`
	ID      string `arg:"" help:"1 to 64 of a-z A-Z 0-9 . _ -"`
}

// Run adds.
func (c *partnerAddCmd) Run(a *app) error {
	if err := a.begin(); err != nil {
		return err
	}
	name := cmp.Or(c.Name, c.ID)
	p, err := change(a, func(s *api.Client) (book.Partner, error) {
		return s.CreatePartner(a.ctx, api.NewPartner{ID: c.ID, Name: name, Edition: c.Edition})
	}, func(b *book.Book) (book.Partner, error) {
		return b.CreatePartner(a.ctx, moat.Everyone(), book.Partner{ID: c.ID, Name: name, Edition: c.Edition}, a.by())
	})
	if err != nil {
		return err
	}
	if a.JSON {
		return a.object(p)
	}
	a.out.linef("Partner %s was added. Make it a key: moat key create --partner %s%s", clean(p.ID), shell(p.ID), a.dataFlag())
	return nil
}

// begin makes the data folder and its book, if there is none yet.
func (a *app) begin() error {
	if err := os.MkdirAll(a.Data, 0o700); err != nil {
		return fmt.Errorf("cannot make data folder: %w", err)
	}
	if _, err := os.Stat(a.path("book.db")); a.Book != "" || !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	b, err := book.Open(a.ctx, a.dsn(), a.log)
	if err != nil {
		return err
	}
	return b.Close()
}

// standings computes the risks of partners from the book.
func (a *app) standings(b *book.Book) (func(partner string) (risk.Standing, error), error) {
	odds, err := node.Calibration(a.Data)
	if err != nil {
		return nil, err
	}
	learned := risk.NewLearned()
	if err := b.LearnInto(a.ctx, learned); err != nil {
		return nil, err
	}
	now, err := node.AsOf(a.ctx, b, moat.Everyone(), moat.TimeOf(time.Now()))
	return func(partner string) (risk.Standing, error) {
		return node.Standing(a.ctx, b, odds, learned, moat.Everyone(), partner, now)
	}, err
}

type partnerListCmd struct{ short }

// Run lists.
func (c *partnerListCmd) Run(a *app) error {
	return listed(a, "", c.Limit, "No partners. `moat partner add ID` adds one.", func(b *book.Book) pages[api.PartnerFile] {
		standing, err := a.standings(b)
		return func(q book.Query) ([]api.PartnerFile, string, error) {
			if err != nil {
				return nil, "", err
			}
			rows, next, err := b.Partners(a.ctx, moat.Everyone(), q)
			if err == nil && next == "" {
				rows, err = heard(a.ctx, b, rows, q.Limit)
			}
			files := make([]api.PartnerFile, len(rows))
			for i, p := range rows {
				s, bad := standing(p.ID)
				files[i], err = api.PartnerFile{Partner: p, Risk: s}, errors.Join(err, bad)
			}
			return files, next, err
		}
	}, func(rows []api.PartnerFile) {
		t := newTable("    r", "id", "created", "edition", "name", "risk", "for")
		for i := range rows {
			p := &rows[i]
			why := ""
			if len(p.Risk.Reasons) > 0 {
				why = p.Risk.Reasons[0].Title
			}
			t.row(p.ID, instant(p.Created), p.Edition, p.Name, riskCell(p.Risk.Score), why)
		}
		t.print(a.out)
	})
}

// notAdded stands for the name of a partner that only files told of.
const notAdded = "(not added)"

// heard adds partners that files told of and nobody added, up to limit in all.
func heard(ctx context.Context, b *book.Book, rows []book.Partner, limit int) ([]book.Partner, error) {
	ids, err := b.Heard(ctx, moat.Everyone())
	for _, id := range slices.Backward(ids[:min(len(ids), max(limit-len(rows), 0))]) { // rows are shown from the last on
		rows = append(rows, book.Partner{ID: id, Name: notAdded})
	}
	return rows, err
}

func riskCell(score float64) cell {
	switch text := fmt.Sprintf("%.0f", score); {
	case score >= risk.OpenAt:
		return cell{text, red}
	case score >= 10:
		return cell{text, yellow}
	default:
		return cell{text, dim}
	}
}

type partnerShowCmd struct {
	ID string `arg:"" help:"Id of the partner."`
}

// Help says what is shown.
func (partnerShowCmd) Help() string {
	return "The risk is that of the partner itself, from 0 to 100: whether its apps report honestly, how its house is kept, what was found of it as a whole, and its " +
		"cases of rank P1 and P2. What its staff does is not in it. What is found fades: half of it is gone after 30 days, or after 2 if it was about a theft.\n\n" +
		examples("moat partner show acme", "moat partner show acme --json | jq .risk.reasons")
}

// Run shows.
func (c *partnerShowCmd) Run(a *app) error {
	b, err := a.read()
	if err != nil {
		return err
	}
	defer b.Close()
	p, err := b.Partner(a.ctx, moat.Everyone(), c.ID)
	if errors.Is(err, book.ErrNotFound) {
		if list, _, bad := b.Findings(a.ctx, moat.Everyone(), book.Query{Partner: c.ID, Limit: 1}); bad != nil || len(list) > 0 {
			p, err = book.Partner{ID: c.ID, Name: notAdded}, bad
		}
	}
	if err != nil {
		return unknownID(err, "`moat partner list` lists them")
	}
	standing, err := a.standings(b)
	if err != nil {
		return err
	}
	s, err := standing(p.ID)
	if err != nil {
		return err
	}
	if a.JSON {
		return a.object(api.PartnerFile{Partner: p, Risk: s})
	}
	a.out.line(a.out.paint(bold, clean(p.ID)), clean(p.Name), clean(p.Edition))
	if p.Created != 0 {
		a.out.linef("since %s", instant(p.Created))
	}
	a.standing(&s)
	a.out.line()
	a.onward(0, "moat findings --partner "+shell(p.ID), "moat cases --partner "+shell(p.ID), "moat entity partner "+shell(p.ID))
	return nil
}

// standing prints the risk of a partner and why.
func (a *app) standing(s *risk.Standing) {
	o := a.out
	score := riskCell(s.Score)
	o.linef("risk of the partner itself: %s of 100 at %s", o.paint(score.style, score.text), instant(s.Time))
	if len(s.Reasons) == 0 {
		o.line("Nothing was found of its reports, its house or its cases.")
		return
	}
	t := newTable("r", "adds", "since", "what", "why")
	for _, r := range s.Reasons {
		t.row(fmt.Sprintf("%+.1f", r.LogOdds), instant(r.Time), cmp.Or(r.Detector, r.Title), r.Text)
	}
	t.print(o)
}
