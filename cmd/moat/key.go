package main

import (
	"cmp"
	"errors"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/store/book"
)

// keyCmd is about API keys.
type keyCmd struct {
	Create keyCreateCmd `cmd:"" help:"Create a key and show it, once."`
	List   keyListCmd   `cmd:"" default:"withargs" help:"List keys."`
	Revoke keyRevokeCmd `cmd:"" help:"End a key for good."`
}

// Help shows how to use it.
func (keyCmd) Help() string {
	return examples("moat key create --partner acme --app erp", "moat key create --operator --name console", "moat key list", "moat key revoke k_abcdefgh",
		"KEY=$(moat key create --partner acme --app erp | sed -n 's/^key //p')")
}

type keyCreateCmd struct {
	Partner  string `xor:"whose" required:"" placeholder:"ID" help:"Whose key it is."`
	Operator bool   `xor:"whose" required:"" help:"A key of the operator, who sees all partners."`
	App      string `placeholder:"ID" help:"The app that it is for: such a key may send events and ask, no more."`
	Name     string `placeholder:"TEXT" help:"What it is for."`
}

// Run creates.
func (c *keyCreateCmd) Run(a *app) error {
	if c.Operator {
		if err := a.begin(); err != nil {
			return err
		}
	}
	name := cmp.Or(c.Name, c.App, "made on the command line")
	k, err := change(a, func(s *api.Client) (api.ShownKey, error) {
		return s.CreateKey(a.ctx, api.NewKey{Partner: c.Partner, Operator: c.Operator, App: c.App, Name: name})
	}, func(b *book.Book) (out api.ShownKey, err error) {
		m, err := book.Master(a.Data)
		if err != nil {
			return out, err
		}
		k, text, err := b.CreateKey(a.ctx, moat.Everyone(), m, book.Key{Partner: c.Partner, Operator: c.Operator, App: c.App, Name: name}, a.by())
		return api.ShownKey{Key: k, Text: text}, err
	})
	if errors.Is(err, book.ErrNotFound) {
		return hint(err, "add the partner first: moat partner add "+shell(c.Partner))
	}
	if err != nil {
		return err
	}
	if a.JSON {
		return a.object(k)
	}
	a.out.linef("%s  %s", a.out.paint(bold, "id"), k.ID)
	a.out.linef("%s %s", a.out.paint(bold, "key"), k.Text)
	a.out.line("It is shown this once. Send it as `Authorization: Bearer …`, or sign with it.")
	return nil
}

type keyListCmd struct{ short }

// Run lists.
func (c *keyListCmd) Run(a *app) error {
	return listed(a, "", c.Limit, "No keys. `moat key create --partner ID` makes one.", func(b *book.Book) pages[book.Key] {
		return func(q book.Query) ([]book.Key, string, error) { return b.Keys(a.ctx, moat.Everyone(), q) }
	}, a.keys)
}

func (a *app) keys(rows []book.Key) {
	t := newTable("", "id", "whose", "app", "created", "state", "name")
	for _, k := range rows {
		whose, state := k.Partner, cell{"good", green}
		if k.Operator {
			whose = "(operator)"
		}
		if k.Revoked != 0 {
			state = cell{"revoked " + instant(k.Revoked), dim}
		}
		t.row(k.ID, whose, cmp.Or(k.App, "-"), instant(k.Created), state, k.Name)
	}
	t.print(a.out)
}

type keyRevokeCmd struct {
	ID string `arg:"" help:"Id of the key: as in moat key list."`
}

// Run revokes.
func (c *keyRevokeCmd) Run(a *app) error {
	k, err := change(a, func(s *api.Client) (book.Key, error) { return s.RevokeKey(a.ctx, c.ID) },
		func(b *book.Book) (book.Key, error) { return b.RevokeKey(a.ctx, moat.Everyone(), c.ID, a.by()) })
	if err != nil {
		return unknownID(err, "`moat key list` lists them")
	}
	if a.JSON {
		return a.object(k)
	}
	a.keys([]book.Key{k})
	return nil
}
