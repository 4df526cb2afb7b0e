package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/locate/scope"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/serve/node"
)

// scopeCmd tells how far a leak reaches.
type scopeCmd struct {
	span
	Partner    string `placeholder:"ID" help:"Only at this partner; else at all of them."`
	Discovered when   `placeholder:"TIME" help:"When the leak was discovered: deadlines count from it (now)."`
	CSV        string `name:"csv" placeholder:"FILE" help:"Also write each order to this file, for those who must be told; - is stdout."`
	Kind       string `arg:"" help:"account, app, host, device, ip, shop, outlet, destination or partner."`
	ID         string `arg:"" help:"Its id."`
}

// Help shows how to use it.
func (scopeCmd) Help() string {
	return examples("moat scope account alice --since 2026-03-02 --until 2026-03-03", "moat scope ip 203.0.113.7 --csv orders.csv",
		"moat scope app acme-erp --discovered 2026-03-02T09:00:00Z --json | jq .people")
}

// Run tells.
func (c *scopeCmd) Run(a *app) error {
	kind, err := moat.ParseEntityKind(c.Kind)
	if err != nil || !diary.Keeps(kind) {
		return usage(fmt.Errorf("%q has no scope", c.Kind), "want account, app, host, device, ip, shop, outlet, destination or partner; who touched an order tells moat orders ID")
	}
	q := api.ScopeQuestion{Kind: c.Kind, ID: c.ID, Partner: c.Partner, Since: moat.Time(c.Since), Until: moat.Time(c.Until), Discovered: moat.Time(c.Discovered)}
	if q.Discovered == 0 {
		q.Discovered = moat.TimeOf(time.Now())
	}
	s, err := a.served()
	if err != nil {
		return err
	}
	ask := func() (api.ScopeFile, error) { return s.Scope(a.ctx, q) }
	export := func(w io.Writer) error { return s.ScopeOrders(a.ctx, q, w) }
	if s == nil {
		b, err := a.readOf(c.Partner)
		if err != nil {
			return err
		}
		defer b.Close()
		f, closeIt, err := node.ReadScopes(a.ctx, a.Data, b, a.log)
		if err != nil {
			return err
		}
		defer closeIt()
		own := scope.Question{Partner: q.Partner, Source: moat.Entity{Kind: kind, ID: q.ID}, From: q.Since, To: q.Until, Discovered: q.Discovered}
		ask = func() (api.ScopeFile, error) {
			found, err := f.Scope(a.ctx, moat.Everyone(), own)
			if err != nil {
				return api.ScopeFile{}, err
			}
			return api.ScopeFile{Kind: q.Kind, ID: q.ID, Partner: q.Partner, From: q.Since, To: q.Until, Discovered: q.Discovered, Scope: *found}, nil
		}
		export = func(w io.Writer) error {
			_, damaged, err := f.ExportCSV(a.ctx, moat.Everyone(), own, w)
			a.damaged(damaged)
			return err
		}
	}
	if c.CSV == "-" {
		return export(a.stdout)
	}
	found, err := ask()
	if err != nil {
		return err
	}
	a.damaged(found.Damaged)
	if a.JSON {
		err = a.object(found)
	} else {
		a.scope(&found, moat.TimeOf(time.Now()))
	}
	if err != nil || c.CSV == "" {
		return err
	}
	if err := writeWhole(c.CSV, export); err != nil {
		return err
	}
	if !a.JSON {
		a.out.line()
		a.out.line("wrote each order to", c.CSV+":", written(&found.Scope))
	}
	return nil
}

// written says what the lines of the file of orders are.
func written(s *scope.Scope) string {
	about := ""
	if s.Estimated {
		about = "about "
	}
	text := fmt.Sprintf("%s%s shown readable", about, many(s.Orders, "order"))
	if s.Masked > 0 {
		text += fmt.Sprintf(" and %s%s shown only encrypted or masked, whose column fields is empty", about, number(s.Masked))
	}
	return text
}

// writeWhole writes a file that appears when it is whole, for its owner's eyes only.
func writeWhole(name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".moat-*")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	defer os.Remove(f.Name())
	err = write(f)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return nil
}

// scope shows how far a leak reaches, as it stands now.
func (a *app) scope(s *api.ScopeFile, now moat.Time) {
	o := a.out
	o.line(o.paint(bold, "scope of "+s.Kind+" "+clean(s.ID)), o.paint(dim, window(s.From, s.To)))
	if s.Events == 0 {
		o.line("It showed nobody an order, and handed none on.")
		if s.Refused > 0 {
			o.linef("%s asked for were refused.", many(s.Refused, "record"))
		}
		return
	}
	about := ""
	if s.Estimated {
		about = "about "
	}
	o.linef("%s%s shown readable to it in %s, from %s to %s UTC", about, o.paint(bold, many(s.Orders, "order")), many(s.Events, "event"), instant(s.First), instant(s.Last))
	if s.Masked > 0 {
		o.linef("%s%s more shown only encrypted or masked", about, many(s.Masked, "order"))
	}
	if s.Unnamed > 0 {
		o.wrap("", fmt.Sprintf("%s more were told of without naming the orders: nobody can be traced or told by them", many(s.Unnamed, "record")))
	}
	if s.Planted > 0 {
		o.linef("%s among them, which no figure counts", many(s.Planted, "canary order"))
	}
	if s.Refused > 0 {
		o.linef("%s asked for and refused", many(s.Refused, "record"))
	}
	people := number(s.People.Least)
	if s.People.Most > s.People.Least {
		people += " to " + number(s.People.Most)
	}
	o.line("people exposed:", o.paint(bold, about+people), o.paint(dim, "(one an order: events name no buyers)"))
	if s.People.Most > s.People.Least {
		o.wrap("  ", "the most only if no record without a name was told of twice; a daily backup tells of the same ones every day, and the least counts the largest one")
	}
	if s.Estimated {
		o.line(o.paint(dim, fmt.Sprintf("too many to count one by one: figures of orders are estimates, ±%.2f %%", 200*s.Error)))
	}
	a.days(s.Days)
	t := newTable(" rr", "field", "readable", "only masked")
	for _, f := range s.Fields {
		t.row(f.Name, number(f.Orders), number(f.Masked))
	}
	o.line()
	t.print(o)
	for _, g := range []struct {
		name string
		list []scope.Group
	}{{"how", s.Operations}, {"partner", s.Partners}, {"shop", s.Shops}, {"seen from country", s.Countries}, {"seen first at outlet", s.Outlets}} {
		a.groups(g.name, g.list)
	}
	a.next(&s.Scope)
	a.deadlines(s, now)
}

// window writes the bounds of a window.
func window(from, to moat.Time) string {
	switch {
	case from != 0 && to != 0:
		return "from " + instant(from) + " to " + instant(to)
	case from != 0:
		return "from " + instant(from) + " on"
	case to != 0:
		return "before " + instant(to)
	}
	return "in all that is kept"
}

const (
	barWidth   = 30
	shownDays  = 31
	shownGroup = 10
)

// days draws a bar for each day.
func (a *app) days(days []scope.Day) {
	most := int64(1)
	for _, d := range days {
		most = max(most, d.Records)
	}
	a.out.line()
	t := newTable(" rrr", "day", "events", "records", "new orders", "")
	for _, d := range days[max(0, len(days)-shownDays):] {
		n := int((d.Records*barWidth + most - 1) / most)
		t.row(d.Day.Std().Format(time.DateOnly), number(d.Events), number(d.Records), number(d.Orders), cell{strings.Repeat("█", n), yellow})
	}
	t.print(a.out)
	if len(days) > shownDays {
		a.out.line(a.out.paint(dim, fmt.Sprintf("… the last of %s; --json tells all", many(len(days), "day"))))
	}
}

// groups shows one breakdown, if it tells anything.
func (a *app) groups(name string, list []scope.Group) {
	if len(list) == 0 {
		return
	}
	t := newTable(" r", name, "orders")
	for _, g := range list[:min(len(list), shownGroup)] {
		t.row(g.Name, number(g.Orders))
	}
	a.out.line()
	t.print(a.out)
	if len(list) > shownGroup {
		a.out.line(a.out.paint(dim, fmt.Sprintf("… the largest %d of %d; --json tells more", shownGroup, len(list))))
	}
}

// next shows where the orders went.
func (a *app) next(s *scope.Scope) {
	o := a.out
	o.line()
	if len(s.Next.Hands)+len(s.Next.After) == 0 {
		o.line("Nobody handed these orders on or touched them afterwards.")
	}
	if len(s.Next.Hands) > 0 {
		t := newTable("  rr", "handed on by", "to", "orders", "events", "first", "last")
		for _, h := range s.Next.Hands[:min(len(s.Next.Hands), shownGroup)] {
			by := "it"
			if !h.Source {
				by = strings.Trim(h.Partner+"/"+h.App, "/")
			}
			to := h.Destination
			if h.Kind != "" {
				to += " (" + h.Kind + ")"
			}
			t.row(by, to, number(h.Orders), number(h.Events), instant(h.First), instant(h.Last))
		}
		t.print(o)
		o.line()
	}
	if len(s.Next.After) > 0 {
		t := newTable("   rr", "touched after it by", "app", "outlet", "orders", "events", "first", "last")
		for _, h := range s.Next.After[:min(len(s.Next.After), shownGroup)] {
			t.row(h.Partner, dash(h.App), dash(h.Outlet), number(h.Orders), number(h.Events), instant(h.First), instant(h.Last))
		}
		t.print(o)
		o.line()
	}
	if s.Next.Followed < s.Orders {
		o.line(o.paint(dim, fmt.Sprintf("followed a fair sample of %s: what others did is an estimate", many(s.Next.Followed, "order"))))
	}
	o.linef("%s complained about, %s quiet yet", many(s.Complained.Orders, "order"), number(s.Complained.Quiet))
}

// deadlines shows what is to be done, by when, and what is late.
func (a *app) deadlines(s *api.ScopeFile, now moat.Time) {
	o := a.out
	o.line()
	if s.People.Most == 0 {
		o.line("nobody is exposed, so no deadline runs")
		return
	}
	o.line("discovered", instant(s.Discovered), "UTC; check which of these apply:")
	for _, d := range s.Deadlines {
		due, st := "at once", bold
		switch {
		case d.Within != 0 && d.Due < now:
			due, st = "OVERDUE since "+instant(d.Due)+" UTC", red
		case d.Within != 0:
			due = "by " + instant(d.Due) + " UTC"
		}
		o.linef("[ ] %s: %s", o.paint(st, due), d.Title)
		o.wrap("      if   ", d.When)
		o.wrap("      see  ", d.Source)
	}
	if len(s.Deadlines) == 0 {
		o.line("none are known: write them to duties.yaml in the data folder")
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
