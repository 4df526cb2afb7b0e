package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/store/book"
)

// snoozeCmd is about snoozes.
type snoozeCmd struct {
	Make snoozeMakeCmd `cmd:"" default:"withargs" help:"Keep what is found about somebody from opening cases, for a while."`
	List snoozeListCmd `cmd:"" help:"List snoozes."`
	End  snoozeEndCmd  `cmd:"" help:"End a snooze now."`
}

// Help shows how to use it.
func (snoozeCmd) Help() string {
	return "What is found about a snoozed entity is still recorded, in shadow mode: it opens no case and brings no decision. A snooze ends by itself, by the time of the events, after 90 days at the most.\n\n" +
		examples("moat snooze account nightly-export --detector access.bulk --for 30d --reason 'agreed with the shop'", "moat snooze list --active", "moat snooze end z_abcdefghijklmnop")
}

// lasting is how long something holds.
type lasting moat.Time

// UnmarshalText reads "7d" or "36h".
func (l *lasting) UnmarshalText(b []byte) error { return (*warmup)(l).UnmarshalText(b) }

type snoozeMakeCmd struct {
	Kind     string  `arg:"" help:"What it is: account, device, ip, host …"`
	ID       string  `arg:"" name:"id" help:"Its id."`
	Detector string  `placeholder:"ID" help:"Only what this detector finds."`
	For      lasting `default:"7d" placeholder:"SPAN" help:"For how long: 7d, 36h; at most 90d (${default})."`
	Partner  string  `placeholder:"ID" help:"At which partner. It may be left out if something was found about it at one only."`
	Reason   string  `help:"Why, for others to read."`
}

// Run snoozes.
func (c *snoozeMakeCmd) Run(a *app) error {
	kind, err := moat.ParseEntityKind(c.Kind)
	if err != nil {
		return usage(err, "such as: moat snooze account alice --for 7d")
	}
	e := moat.Entity{Kind: kind, ID: c.ID}
	if c.Partner == "" {
		if c.Partner, err = a.partnerOf(e); err != nil {
			return err
		}
	}
	until := moat.TimeOf(time.Now()) + moat.Time(c.For)
	s, err := change(a, func(s *api.Client) (book.Snooze, error) {
		return s.Snooze(a.ctx, api.NewSnooze{Partner: c.Partner, Entity: e, Detector: c.Detector, Until: until, Reason: c.Reason})
	}, func(b *book.Book) (book.Snooze, error) {
		return b.Snooze(a.ctx, moat.Everyone(), book.Snooze{Partner: c.Partner, Entity: e, Detector: c.Detector, Until: until, Reason: c.Reason}, a.by())
	})
	if err != nil {
		return err
	}
	return a.snoozed(s)
}

// partnerOf tells the one partner at which something was found about an entity.
func (a *app) partnerOf(e moat.Entity) (string, error) {
	b, err := a.read()
	if err != nil {
		return "", err
	}
	defer b.Close()
	var names []string
	for f, err := range b.AllFindings(a.ctx, moat.Everyone(), book.Query{Entity: e}) {
		if err != nil {
			return "", err
		}
		if !slices.Contains(names, f.Partner) {
			names = append(names, f.Partner)
		}
	}
	if len(names) != 1 {
		return "", hint(fmt.Errorf("cannot tell at which partner: something was found about %s at %s", e, many(len(names), "partner")), "say --partner ID")
	}
	return names[0], nil
}

// snoozed shows one.
func (a *app) snoozed(s book.Snooze) error {
	if a.JSON {
		return a.object(s)
	}
	a.snoozes([]book.Snooze{s})
	return nil
}

func (a *app) snoozes(rows []book.Snooze) {
	now := moat.TimeOf(time.Now())
	t := newTable("", "id", "made", "until", "partner", "whom", "detector", "state", "by", "reason")
	for i := range rows {
		s := &rows[i]
		state := cell{"asleep", green}
		switch {
		case s.Ended != 0:
			state = cell{"ended by " + s.EndedBy, dim}
		case now >= s.Until:
			state = cell{"over", dim}
		}
		t.row(s.ID, instant(s.Made), instant(s.Until), s.Partner, s.Entity, cmp.Or(s.Detector, "any"), state, s.By, cmp.Or(s.Reason, "-"))
	}
	t.print(a.out)
}

type snoozeListCmd struct {
	filter
	Detector string `placeholder:"ID" help:"Only of this detector."`
	Active   bool   `help:"Only those that hold now."`
}

// Run lists.
func (c *snoozeListCmd) Run(a *app) error {
	q := c.query()
	if q.Detector = c.Detector; c.Active {
		q.Active = moat.TimeOf(time.Now())
	}
	return listed(a, c.Partner, c.Limit, "No snoozes. `moat snooze KIND ID` makes one.", func(b *book.Book) pages[book.Snooze] {
		return func(x book.Query) ([]book.Snooze, string, error) {
			q.Limit, q.After = x.Limit, x.After
			return b.Snoozes(a.ctx, moat.Everyone(), q)
		}
	}, a.snoozes)
}

type snoozeEndCmd struct {
	ID string `arg:"" help:"Id of the snooze."`
}

// Run ends.
func (c *snoozeEndCmd) Run(a *app) error {
	s, err := change(a, func(s *api.Client) (book.Snooze, error) { return s.Wake(a.ctx, c.ID) },
		func(b *book.Book) (book.Snooze, error) { return b.Wake(a.ctx, moat.Everyone(), c.ID, a.by()) })
	if err != nil {
		return unknownID(err, "`moat snooze list` lists them")
	}
	return a.snoozed(s)
}
