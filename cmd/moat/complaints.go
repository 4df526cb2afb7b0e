package main

import (
	"cmp"
	"fmt"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/book"
)

// complaintsCmd lists complaints.
type complaintsCmd struct {
	span
	Partner  string `placeholder:"ID" help:"Only of orders that went through this partner's hands."`
	Order    string `placeholder:"ID" help:"Only about this order."`
	Kind     string `enum:",scam_call,scam_sms,spam,fraud,other,dump" default:"" placeholder:"KIND" help:"Only of this kind: scam_call, scam_sms, spam, fraud, other or dump."`
	Reporter string `placeholder:"HASH" help:"Only of this reporter."`
	Limit    int    `placeholder:"N" help:"At most N, the newest (a table shows 50; JSON shows all)."`
}

// Help shows how to use it.
func (complaintsCmd) Help() string {
	return examples("moat complaints --since 7d", "moat complaints --order 4401234567", "moat complaints --json --kind scam_call | jq -r .order | sort -u")
}

// Run lists.
func (c *complaintsCmd) Run(a *app) error {
	b, err := a.readOf(c.Partner)
	if err != nil {
		return err
	}
	defer b.Close()
	q := book.Query{Partner: c.Partner, Order: c.Order, Kind: c.Kind, Reporter: c.Reporter, Since: moat.Time(c.Since), Until: moat.Time(c.Until)}
	page := func(q book.Query) ([]book.Complaint, string, error) { return b.Complaints(a.ctx, moat.Everyone(), q) }
	if a.JSON {
		return objects(a, b.AllComplaints(a.ctx, moat.Everyone(), q), page, q, c.Limit, nil)
	}
	who, err := b.Reporters(a.ctx, moat.Everyone(), q)
	if err != nil {
		return err
	}
	rows, cut, err := newest(page, q, cmp.Or(c.Limit, tableRows))
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return a.none("complaints", q, "`moat complaint import FILE.csv` files them.")
	}
	t := newTable("    r", "contacted", "order", "kind", "partner", "weight", "reporter", "filed by", "channel")
	for i := range rows {
		x := &rows[i]
		t.row(instant(x.Time), x.Order, x.Kind, x.Partner, fmt.Sprintf("%.2f", x.Weight), x.Reporter, cmp.Or(x.FiledBy, "operator"), cmp.Or(x.Channel, "-"))
	}
	t.print(a.out)
	a.more(cut, len(rows))
	if w := who.Warning(); w != "" {
		a.out.line()
		a.out.wrap(a.out.paint(yellow, "warning: "), w)
	}
	return nil
}
