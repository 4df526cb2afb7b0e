package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/canary"
	"github.com/moat-platform/moat/locate/story"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// ordersCmd tells who touched orders.
type ordersCmd struct {
	span
	Partner string   `placeholder:"ID" help:"Only what this partner did."`
	IDs     []string `arg:"" name:"id" help:"Ids of orders."`
}

// Help shows how to use it.
func (ordersCmd) Help() string {
	return examples("moat orders 4401234567", "moat orders 4401234567 4401234568 --since 30d --json")
}

// Run tells.
func (c *ordersCmd) Run(a *app) error {
	answer, err := c.ask(a)
	if err != nil {
		return err
	}
	a.damaged(answer.Damaged)
	for i, o := range answer.Items {
		if c.Partner != "" {
			o.Touches = slices.DeleteFunc(o.Touches, func(t api.Touch) bool { return t.Partner != c.Partner })
		}
		if a.JSON {
			if err := a.object(o); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			a.out.line()
		}
		a.out.line(a.out.paint(bold, "order "+clean(o.ID)), "touched", many(acts(o.Touches), "time"))
		if o.Canary != nil {
			a.out.wrap(a.out.paint(yellow, "planted: "), fmt.Sprintf("it is a canary in %s of %s for %s, and nobody's order", o.Canary.Channel, o.Canary.Partner, o.Canary.Period))
		}
		if len(o.Touches) == 0 {
			a.out.line("No event named it.")
			continue
		}
		a.touches(o.Touches)
		if o.Cut {
			a.out.line(a.out.paint(dim, "… there are later ones; --since TIME shows them"))
		}
	}
	return nil
}

// acts is how many of an order's touches somebody did; what is said about it afterwards is none.
func acts(list []api.Touch) (n int) {
	for i := range list {
		if t := list[i].Type; t != moat.Complaint.String() && t != moat.CanaryTouch.String() {
			n++
		}
	}
	return n
}

// ask asks the server, which knows the last half minute too, or the files.
func (c *ordersCmd) ask(a *app) (api.Orders, error) {
	s, err := a.served()
	if err != nil {
		return api.Orders{}, err
	}
	if s != nil {
		return s.Orders(a.ctx, api.OrdersQuestion{IDs: c.IDs, From: moat.Time(c.Since), To: moat.Time(c.Until)})
	}
	x, err := node.ReadIndex(a.Data, a.log)
	if err != nil {
		return api.Orders{}, err
	}
	defer x.Close()
	found, err := x.Ledger.Orders(a.ctx, moat.Everyone(), c.IDs, moat.Time(c.Since), moat.Time(c.Until))
	if err != nil {
		return api.Orders{}, err
	}
	planted, err := a.canaries()
	if err != nil && !errors.Is(err, book.ErrNoBook) {
		a.log.Warn("whether orders are planted is not known", "error", err)
	}
	out := api.Orders{Damaged: found.Damaged}
	for _, o := range found.Orders {
		x := api.Order{ID: o.ID, Touches: api.TouchesOf(o.Touches), Cut: o.Cut}
		if planted != nil {
			if found, ok := node.LookCanary(planted, moat.Everyone(), canary.Order, o.ID); ok {
				x.Canary = &found
			}
		}
		out.Items = append(out.Items, x)
	}
	return out, nil
}

// touches shows what was done, and by whom.
func (a *app) touches(list []api.Touch) {
	t := newTable("      r", "time", "partner", "who", "role", "from", "did", "records", "what")
	for i := range list {
		x := &list[i]
		did := x.Type
		if x.Operation != "" {
			did += " " + x.Operation
		}
		if x.Outcome != moat.Success.String() {
			did += " (" + x.Outcome + ")"
		}
		t.row(instant(x.Time), x.Partner, cmp.Or(x.Actor, x.App, "-"), cmp.Or(x.Role, "-"), cmp.Or(x.IP, x.Device, x.Host, "-"), did, number(x.Count), shown(x))
	}
	t.print(a.out)
}

// shown says which fields a touch brought to light and where it sent them, or else what it was about.
func shown(x *api.Touch) string {
	s := strings.Join(x.Fields, ",")
	if s != "" && x.Encrypted {
		s += " (encrypted)"
	}
	if x.Destination != "" {
		s = strings.TrimLeft(s+" → "+x.Destination, " ")
	}
	return cmp.Or(s, x.What)
}

// undetailed tells of what the lake could not tell more.
func (a *app) undetailed(u *story.Undetailed) {
	if u != nil {
		a.out.line(a.out.paint(dim, u.String()))
	}
}

// damaged warns that an answer may be incomplete.
func (a *app) damaged(files int) {
	if files > 0 {
		a.err.line(a.err.paint(yellow, "warning:"), many(files, "file"), "of the index cannot be read: touches may be missing")
	}
}
