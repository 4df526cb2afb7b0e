package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/canary"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// canaryCmd is about canaries.
type canaryCmd struct {
	Plan  canaryPlanCmd  `cmd:"" help:"Tell how many canaries see a leak."`
	Place canaryPlaceCmd `cmd:"" help:"Make canaries for a channel of a partner."`
	List  canaryListCmd  `cmd:"" default:"withargs" help:"List what was planted where."`
	Show  canaryShowCmd  `cmd:"" help:"Show the canaries that were placed together."`
	Check canaryCheckCmd `cmd:"" help:"Tell whether values are canaries, and of which channel."`
}

// Help shows how to use it.
func (canaryCmd) Help() string {
	return examples("moat canary plan --leak 0.1 --use 0.2", "moat canary place --partner acme --channel app:erp --kind order --count 150 --example 4401234567890123",
		"moat canary place --partner acme --channel sms --kind phone --count 20 --example '+44 7700 900123'",
		"moat canary list", "moat canary check < found.txt", "moat canary check --report '+1 202-555-0151'")
}

type canaryPlaceCmd struct {
	logFlags
	Partner string `required:"" placeholder:"ID" help:"Where they are planted."`
	Channel string `required:"" placeholder:"NAME" help:"By which the partner gets them: app:ID, outlet:ID, shop:ID, account:ID, or any name."`
	Kind    string `enum:"order,phone,address,credential" default:"order" placeholder:"KIND" help:"order, phone, address or credential (${default})."`
	Count   int    `short:"n" default:"10" placeholder:"N" help:"How many (${default})."`
	Example string `xor:"form" placeholder:"ID" help:"A real id, whose form they are to have; of phones one that is set aside for fiction."`
	Pattern string `xor:"form" placeholder:"TEXT" help:"# a digit, @ a letter, ^ a capital, * either, | between alternatives."`
	Period  string `placeholder:"TEXT" help:"Such as 2026-11; this month if left out."`
}

// Run places.
func (c *canaryPlaceCmd) Run(a *app) (err error) {
	if c.Example == "" && c.Pattern == "" {
		return errors.New("cannot place canaries: give --example or --pattern")
	}
	in := api.NewCanaries{Partner: c.Partner, Channel: c.Channel, Kind: canary.Kind(c.Kind), Count: c.Count, Pattern: c.Pattern, Example: c.Example, Period: c.Period}
	s, err := a.served()
	if err != nil {
		return err
	}
	var p node.Planted
	if s != nil {
		p, err = s.PlaceCanaries(a.ctx, in)
	} else {
		p, err = c.alone(a, &in)
	}
	switch {
	case errors.Is(err, book.ErrNotFound):
		return hint(fmt.Errorf("cannot place canaries: nobody added a partner %q", c.Partner), "add it first: moat partner add "+shell(c.Partner))
	case err != nil:
		return err
	case a.JSON:
		return a.object(p)
	}
	for _, v := range p.Values {
		a.out.line(clean(v))
	}
	a.err.linef("Lot %s: %s of kind %s for %s of %s in %s. Bring them into that channel; `moat canary show %s` shows them again.",
		p.ID, many(len(p.Values), "value"), c.Kind, clean(c.Channel), clean(c.Partner), clean(p.Period), p.ID)
	return nil
}

func (c *canaryPlaceCmd) alone(a *app, in *api.NewCanaries) (p node.Planted, err error) {
	l, err := in.Lot()
	if err != nil {
		return p, err
	}
	n, err := a.open(c.logFlags, a.log, 0)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	return n.PlaceCanaries(a.ctx, moat.Everyone(), l, a.by(), moat.TimeOf(time.Now()))
}

type canaryListCmd struct {
	Partner string `placeholder:"ID" help:"Only what is planted at this partner."`
	Channel string `placeholder:"NAME" help:"Only in this channel."`
	Kind    string `enum:",order,phone,address,credential" default:"" placeholder:"KIND" help:"Only of this kind: order, phone, address or credential."`
	short
}

// Run lists.
func (c *canaryListCmd) Run(a *app) error {
	return listed(a, c.Partner, c.Limit, "No canaries. `moat canary plan` tells how many are needed, `moat canary place` makes them.", func(b *book.Book) pages[canary.Lot] {
		return func(q book.Query) ([]canary.Lot, string, error) {
			q.Planted, q.Channel, q.Kind = c.Partner, c.Channel, c.Kind
			rows, next, err := b.Canaries(a.ctx, moat.Everyone(), q)
			lots := make([]canary.Lot, len(rows))
			for i := range rows {
				err = errors.Join(err, json.Unmarshal(rows[i].Body, &lots[i]))
			}
			return lots, next, err
		}
	}, func(rows []canary.Lot) {
		t := newTable("      r", "id", "placed", "by", "partner", "channel", "period", "count", "kind", "pattern")
		for _, l := range rows {
			t.row(l.ID, instant(l.Placed), cmp.Or(l.Owner, "operator"), l.Partner, l.Channel, l.Period, number(l.Count), string(l.Kind), l.Pattern)
		}
		t.print(a.out)
	})
}

// canaries are those of the data folder, to be read beside whoever works on it.
func (a *app) canaries() (*canary.Index, error) {
	b, err := a.read()
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return node.ReadCanaries(a.ctx, a.Data, b)
}

type canaryShowCmd struct {
	ID string `arg:"" help:"Id of the lot."`
}

// Run shows.
func (c *canaryShowCmd) Run(a *app) error {
	x, err := a.canaries()
	if err != nil {
		return err
	}
	lots := x.Lots()
	i := slices.IndexFunc(lots, func(l canary.Lot) bool { return l.ID == c.ID })
	if i < 0 {
		return unknownID(book.ErrNotFound, "`moat canary list` lists them")
	}
	p := node.Planted{Lot: lots[i], Values: x.Values(&lots[i])}
	if a.JSON {
		return a.object(p)
	}
	for _, v := range p.Values {
		a.out.line(clean(v))
	}
	return nil
}

type canaryCheckCmd struct {
	logFlags
	Kind   string   `enum:",order,phone,address,credential" default:"" placeholder:"KIND" help:"What the values are; any if left out."`
	Report bool     `help:"Those that are canaries were used: a phone rang, a letter came, it stands in a dump. Write it down and judge it."`
	Values []string `arg:"" optional:"" name:"value" help:"Values; else one a line from standard input."`
}

// foundCanary is a value that is a canary.
type foundCanary struct {
	Line int `json:"line"` // or place on the command line
	node.Canary
}

// Run checks.
func (c *canaryCheckCmd) Run(a *app) (err error) {
	x, err := a.canaries()
	if err != nil {
		return err
	}
	var found []foundCanary
	var values []string
	n := 0
	look := func(v string) {
		n++
		if f, ok := node.LookCanary(x, moat.Everyone(), canary.Kind(c.Kind), v); ok {
			found, values = append(found, foundCanary{n, f}), append(values, v)
		}
	}
	for _, v := range c.Values {
		look(v)
	}
	if len(c.Values) == 0 {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			look(strings.TrimSpace(in.Text()))
		}
		if err := in.Err(); err != nil {
			return fmt.Errorf("cannot read values: %w", err)
		}
	}
	if c.Report && len(values) > 0 {
		if err := c.report(a, values); err != nil {
			return err
		}
	}
	if a.JSON {
		for _, f := range found {
			if err := a.object(f); err != nil {
				return err
			}
		}
		return nil
	}
	a.out.linef("%s of %s planted", number(len(found)), map[bool]string{true: "1 value is", false: number(n) + " values are"}[n == 1])
	if len(found) == 0 {
		return nil
	}
	t := newTable("r", "line", "kind", "partner", "channel", "period", "token")
	for _, f := range found[:min(len(found), tableRows)] {
		t.row(number(f.Line), string(f.Kind), f.Partner, f.Channel, f.Period, f.Token)
	}
	t.print(a.out)
	if c.Report {
		a.onward(0, "moat cases", "moat findings --detector access.canary_used")
	}
	return nil
}

// report writes down that canaries were used.
func (c *canaryCheckCmd) report(a *app, values []string) (err error) {
	s, err := a.served()
	if err != nil {
		return err
	}
	if s != nil {
		for part := range slices.Chunk(values, 500) {
			if _, err := s.CheckCanaries(a.ctx, api.CanaryQuestion{Kind: canary.Kind(c.Kind), Values: part, Report: true}); err != nil {
				return err
			}
		}
		return nil
	}
	n, err := a.open(c.logFlags, a.log, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Drain(a.ctx), n.Close()) }()
	for _, v := range values {
		if _, _, err := n.ReportCanary(a.ctx, moat.Everyone(), canary.Kind(c.Kind), v, moat.TimeOf(time.Now())); err != nil {
			return err
		}
	}
	return nil
}
