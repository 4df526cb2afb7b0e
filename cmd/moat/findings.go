package main

import (
	"cmp"
	"fmt"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/book"
)

// findingsCmd lists findings.
type findingsCmd struct {
	filter
	Detector string `placeholder:"ID" help:"Only of this detector."`
	Case     string `placeholder:"ID" help:"Only of this case."`
}

// Help shows how to use it.
func (findingsCmd) Help() string {
	return examples("moat findings --entity account:alice",
		"moat findings --detector egress.large_export --since 7d",
		"moat findings --json | jq -r 'select(.score > 0.5) | .entity.id'")
}

// Run lists.
func (c *findingsCmd) Run(a *app) error {
	b, err := a.readOf(c.Partner)
	if err != nil {
		return err
	}
	defer b.Close()
	q := c.query()
	q.Detector, q.Case = c.Detector, c.Case
	page := func(q book.Query) ([]moat.Finding, string, error) { return b.Findings(a.ctx, moat.Everyone(), q) }
	if a.JSON {
		return objects(a, b.AllFindings(a.ctx, moat.Everyone(), q), page, q, c.Limit, nil)
	}
	rows, cut, err := newest(page, q, cmp.Or(c.Limit, tableRows))
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return a.none("findings", q, "`moat ingest FILE…` loads events; `moat detectors` lists what is looked for.")
	}
	a.findings(rows)
	a.more(cut, len(rows))
	return nil
}

// findings shows findings as a table.
func (a *app) findings(rows []moat.Finding) {
	t := newTable("    r", "time", "partner", "detector", "entity", "score", "reason")
	for i := range rows {
		f := &rows[i]
		t.row(instant(f.Time), f.Partner, detectorCell(f), f.Entity, scoreCell(f.Score), f.Reason)
	}
	t.print(a.out)
}

// detectorCell marks the findings that count for nothing yet.
func detectorCell(f *moat.Finding) cell {
	if f.Mode == moat.Shadow {
		return cell{f.Detector + " (shadow)", dim}
	}
	return cell{f.Detector, plain}
}

func scoreCell(p float64) cell {
	s := plain
	switch {
	case p >= 0.8:
		s = red
	case p >= 0.5:
		s = yellow
	}
	return cell{fmt.Sprintf("%.2f", p), s}
}
