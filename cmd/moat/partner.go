package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/store/book"
)

// partnerCmd is about partners.
type partnerCmd struct {
	Add  partnerAddCmd  `cmd:"" help:"Add a partner."`
	List partnerListCmd `cmd:"" default:"withargs" help:"List partners."`
}

// Help shows how to use it.
func (partnerCmd) Help() string {
	return examples("moat partner add acme --name 'Acme Ltd'", "moat partner list")
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

type partnerListCmd struct {
	Limit int `placeholder:"N" help:"At most N, the newest (a table shows 50; JSON shows all)."`
}

// Run lists.
func (c *partnerListCmd) Run(a *app) error {
	b, err := a.read()
	if err != nil {
		return err
	}
	defer b.Close()
	page := func(q book.Query) ([]book.Partner, string, error) { return b.Partners(a.ctx, moat.Everyone(), q) }
	if a.JSON {
		return everything(a, page, c.Limit)
	}
	rows, cut, err := newest(page, book.Query{}, cmp.Or(c.Limit, tableRows))
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		a.out.line("No partners. `moat partner add ID` adds one.")
		return nil
	}
	t := newTable("", "id", "created", "edition", "name")
	for _, p := range rows {
		t.row(p.ID, instant(p.Created), p.Edition, p.Name)
	}
	t.print(a.out)
	a.more(cut, len(rows))
	return nil
}
