package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/book"
)

// auditCmd is about the audit trail.
type auditCmd struct {
	List   auditListCmd   `cmd:"" default:"withargs" help:"Show the audit trail."`
	Verify auditVerifyCmd `cmd:"" help:"Verify that no record was changed or taken out."`
}

// Help shows how to use it.
func (auditCmd) Help() string {
	return examples("moat audit --since 24h", "moat audit --object d_abcdefghijklmnop", "moat audit verify")
}

type auditListCmd struct {
	span
	Partner string `placeholder:"ID" help:"Only what concerns this partner."`
	Object  string `placeholder:"ID" help:"Only what was done to this case, decision, key or partner."`
	Limit   int    `placeholder:"N" help:"At most N, the newest (a table shows 50; JSON shows all)."`
}

// Run shows.
func (c *auditListCmd) Run(a *app) error {
	b, err := a.readOf(c.Partner)
	if err != nil {
		return err
	}
	defer b.Close()
	q := book.Query{Partner: c.Partner, Object: c.Object, Since: moat.Time(c.Since), Until: moat.Time(c.Until)}
	page := func(q book.Query) ([]book.Record, string, error) { return b.Audit(a.ctx, moat.Everyone(), q) }
	if a.JSON {
		return objects(a, b.AllAudit(a.ctx, moat.Everyone(), q), page, q, c.Limit, nil)
	}
	rows, cut, err := newest(page, q, cmp.Or(c.Limit, tableRows))
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		a.out.line("Nothing was done yet that is written down.")
		return nil
	}
	t := newTable("r", "no", "time", "by", "act", "object", "partner", "detail")
	for _, r := range rows {
		t.row(r.Seq, instant(r.Time), r.By, r.Act, r.Object, cmp.Or(r.Partner, "-"), string(r.Detail))
	}
	t.print(a.out)
	a.more(cut, len(rows))
	return nil
}

type auditVerifyCmd struct{}

// vouched is what a whole trail is known by.
type vouched struct {
	OK      bool   `json:"ok"`
	Records uint64 `json:"records"`
	Hash    string `json:"hash,omitempty"`
	Broken  uint64 `json:"broken,omitempty"` // first record that is not as it was written
	Why     string `json:"why,omitempty"`
}

// Run verifies.
func (c *auditVerifyCmd) Run(a *app) error {
	b, err := a.read()
	if err != nil {
		return err
	}
	defer b.Close()
	var v vouched
	if v.Records, v.Hash, err = b.AuditHead(a.ctx); err != nil {
		return err
	}
	var broken *book.BrokenError
	if err := b.VerifyAudit(a.ctx); errors.As(err, &broken) {
		v.Broken, v.Why = broken.Seq, broken.Why
	} else if err != nil {
		return err
	}
	v.OK = v.Broken == 0
	switch {
	case a.JSON:
		err = a.object(v)
	case v.OK:
		a.out.line(a.out.paint(green, "ok"), fmt.Sprintf("%s, all as they were written; the last has the hash", many(v.Records, "record")))
		a.out.line("  ", v.Hash)
		a.out.line("Keep it elsewhere: whoever can write to the book could rewrite the whole trail.")
	default:
		a.out.line(a.out.paint(red, "broken"), fmt.Sprintf("at record %d: %s", v.Broken, v.Why))
	}
	if err == nil && !v.OK {
		return errProblems
	}
	return err
}
