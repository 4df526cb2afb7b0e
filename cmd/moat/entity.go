package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/locate/story"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// entityCmd tells what an entity did.
type entityCmd struct {
	span
	Partner string `placeholder:"ID" help:"Only at this partner; else at all of them."`
	Limit   int    `default:"20" placeholder:"N" help:"Show at most N of its acts, the newest (${default})."`
	Kind    string `arg:"" help:"account, app, host, device, ip, shop, outlet, partner or destination."`
	ID      string `arg:"" help:"Its id."`
}

// Help shows how to use it.
func (entityCmd) Help() string {
	return examples("moat entity account alice", "moat entity ip 203.0.113.7 --since 7d", "moat entity destination erp.example.com --json")
}

// dossier is what is known of an entity.
type dossier struct {
	Kind     string         `json:"kind"`
	ID       string         `json:"id"`
	Risks    []peak         `json:"risks"`              // one for each partner where something was found
	Standing *risk.Standing `json:"standing,omitempty"` // of a partner
	Summary  *api.Summary   `json:"summary"`
	Findings []moat.Finding `json:"findings"` // the newest 100, oldest first
	Acts     []api.Touch    `json:"acts"`     // newest first
	// Undetailed is there if the lake could not tell more of some acts.
	Undetailed *story.Undetailed `json:"undetailed,omitempty"`
}

// peak is a risk when it was last fed, and what is left of it now.
type peak struct {
	moat.Risk
	Now float64 `json:"now"`
}

// Run tells.
func (c *entityCmd) Run(a *app) error {
	kind, err := moat.ParseEntityKind(c.Kind)
	if err != nil {
		return usage(err, "such as: moat entity account alice")
	}
	d := dossier{Kind: c.Kind, ID: c.ID, Risks: []peak{}, Findings: []moat.Finding{}}
	if err := c.diary(a, kind, &d); err != nil {
		return err
	}
	if err := c.findings(a, moat.Entity{Kind: kind, ID: c.ID}, &d); err != nil {
		return err
	}
	if a.JSON {
		return a.object(d)
	}
	c.show(a, &d)
	return nil
}

// diary reads what it did: from the server, which knows the last half minute too, or from the files.
func (c *entityCmd) diary(a *app, kind moat.EntityKind, d *dossier) error {
	s, err := a.served()
	if err != nil {
		return err
	}
	if s != nil {
		f, err := s.Entity(a.ctx, api.EntityQuestion{Kind: c.Kind, ID: c.ID, Partner: c.Partner, Since: moat.Time(c.Since), To: moat.Time(c.Until), Limit: max(1, c.Limit), Details: true})
		if err != nil {
			return err
		}
		a.damaged(f.Damaged)
		d.Summary, d.Acts, d.Undetailed = f.Summary, f.Items, f.Undetailed
		return nil
	}
	x, stories, err := node.ReadStories(a.Data, a.log)
	if err != nil {
		return err
	}
	defer x.Close()
	q := diary.Query{Partner: c.Partner, Entity: moat.Entity{Kind: kind, ID: c.ID}, From: moat.Time(c.Since), To: moat.Time(c.Until)}
	sum, err := x.Diary.Summary(a.ctx, moat.Everyone(), q)
	if err != nil {
		return err
	}
	a.damaged(sum.Damaged)
	d.Summary = &api.Summary{Summary: *sum, Days: []api.Day{}}
	for _, day := range sum.Days {
		d.Summary.Days = append(d.Summary.Days, api.Day{Day: day, Type: day.Type.String()})
	}
	page, err := x.Diary.Entity(a.ctx, moat.Everyone(), q, max(1, c.Limit), "")
	if err != nil {
		return err
	}
	what, undetailed, err := stories.Details(a.ctx, moat.Everyone(), page.Touches)
	d.Acts, d.Undetailed = api.TouchesOf(page.Touches), undetailed
	for i := range what {
		d.Acts[i].What = what[i]
	}
	return err
}

// findings reads what was found about it, and what that adds up to at each partner.
func (c *entityCmd) findings(a *app, e moat.Entity, d *dossier) error {
	b, err := a.readOf(c.Partner)
	if err != nil {
		return err
	}
	defer b.Close()
	odds, err := node.Calibration(a.Data)
	if err != nil {
		return err
	}
	if e.Kind == moat.Partner {
		if err := c.standing(a, b, d); err != nil {
			return err
		}
	}
	keeper, last := risk.NewKeeper(odds), map[string]moat.Time{}
	if err := b.LearnInto(a.ctx, keeper.Learned()); err != nil {
		return err
	}
	var partners []string
	for f, err := range b.AllFindings(a.ctx, moat.Everyone(), book.Query{Partner: c.Partner, Entity: e, Since: moat.Time(c.Since), Until: moat.Time(c.Until)}) {
		if err != nil {
			return err
		}
		if _, ok := last[f.Partner]; !ok {
			partners = append(partners, f.Partner)
		}
		last[f.Partner] = max(last[f.Partner], f.Time)
		keeper.Fold(&f)
		if d.Findings = append(d.Findings, f); len(d.Findings) > 200 {
			d.Findings = append(d.Findings[:0], d.Findings[100:]...)
		}
	}
	d.Findings = d.Findings[max(0, len(d.Findings)-100):]
	for _, p := range partners {
		now := max(last[p], moat.TimeOf(time.Now()))
		d.Risks = append(d.Risks, peak{keeper.Risk(p, e, last[p]), keeper.Risk(p, e, now).Score})
	}
	return nil
}

// standing adds the risk of a partner itself.
func (c *entityCmd) standing(a *app, b *book.Book, d *dossier) error {
	standing, err := a.standings(b)
	if err != nil {
		return err
	}
	s, err := standing(c.ID)
	d.Standing = &s
	return err
}

func (c *entityCmd) show(a *app, d *dossier) {
	o, s := a.out, d.Summary
	o.line(o.paint(bold, d.Kind+" "+clean(d.ID)))
	if s.Events == 0 && len(d.Findings) == 0 {
		o.line("No event" + c.ofTime() + " names it.")
		return
	}
	o.linef("%s, %s touched, from %s to %s", many(s.Events, "event"), many(s.Records, "record"), instant(s.First), instant(s.Last))
	o.linef("with %s, %s, %s, %s", many(s.Accounts, "account"), many(s.Devices, "device"), many(s.IPs, "address"), many(s.Destinations, "destination"))
	if d.Standing != nil {
		a.standing(d.Standing)
	} else {
		d.risks(o)
	}
	if len(d.Findings) > 0 {
		o.line()
		a.findings(d.Findings)
	}
	if len(s.Days) > 0 {
		o.line()
		t := newTable("  rr", "day", "what", "events", "records")
		for _, x := range s.Days[max(0, len(s.Days)-20):] {
			t.row(x.Day.Day.Std().Format(time.DateOnly), x.Type+" "+x.Operation, number(x.Events), number(x.Records))
		}
		t.print(o)
	}
	if len(d.Acts) > 0 {
		o.line()
		list := slices.Clone(d.Acts)
		slices.Reverse(list)
		a.touches(list)
		a.undetailed(d.Undetailed)
		if int64(len(list)) < s.Events {
			o.line(o.paint(dim, fmt.Sprintf("… the newest %s of %s; --limit N shows more", number(len(list)), number(s.Events))))
		}
	}
}

func (d *dossier) risks(o *screen) {
	for _, r := range d.Risks {
		st := plain
		if r.Score >= risk.OpenAt {
			st = red
		}
		o.line(fmt.Sprintf("risk at %s: %s of 100 at %s, %.0f now", clean(r.Partner), o.paint(st, fmt.Sprintf("%.0f", r.Score)), instant(r.Time), r.Now))
		for _, x := range r.Shares {
			o.linef("    %+.1f  %s", x.LogOdds, x.Detector)
		}
	}
}
