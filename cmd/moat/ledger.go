package main

import (
	"fmt"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/serve/node"
	runs "github.com/moat-platform/moat/store/run"
)

// ledgerCmd tells how large the indexes are.
type ledgerCmd struct{}

// Help shows how to use it.
func (ledgerCmd) Help() string {
	return "The ledger answers who touched an order, the diary what an entity did. A row is one order of one event, or one entity of one event. " +
		"What a server has not written to files yet, half a minute at most, is not counted.\n\n" + examples("moat ledger", "moat ledger --json")
}

// holding is what one index holds in files.
type holding struct {
	Index    string     `json:"index"`
	Runs     int        `json:"runs"`
	Events   int64      `json:"events"`
	Rows     int64      `json:"rows"`
	Keys     int64      `json:"keys"` // different ones a run, added up
	Bytes    int64      `json:"bytes"`
	RowBytes float64    `json:"row_bytes"`
	Oldest   moat.Time  `json:"oldest,omitzero"`
	Newest   moat.Time  `json:"newest,omitzero"`
	Damaged  int        `json:"damaged"`
	Gaps     []runs.Gap `json:"gaps"`
}

func holdingOf(index string, s runs.Stats) holding {
	t := s.Total()
	h := holding{Index: index, Runs: len(s.Runs), Events: t.Events, Rows: t.Rows, Keys: t.Keys, Bytes: t.Bytes, Damaged: s.Damaged, Gaps: append([]runs.Gap{}, s.Gaps...)}
	if t.Rows > 0 {
		h.RowBytes = float64(t.Bytes) / float64(t.Rows)
	}
	for _, r := range s.Runs {
		if r.Events == 0 {
			continue
		}
		if h.Oldest == 0 || r.Oldest < h.Oldest {
			h.Oldest = r.Oldest
		}
		h.Newest = max(h.Newest, r.Newest)
	}
	return h
}

// Run tells.
func (c *ledgerCmd) Run(a *app) error {
	l, err := node.ReadLedger(a.Data, a.log)
	if err != nil {
		return err
	}
	defer l.Close()
	d, err := node.ReadDiary(a.Data, a.log)
	if err != nil {
		return err
	}
	defer d.Close()
	list := []holding{holdingOf("ledger", l.Stats()), holdingOf("diary", d.Stats())}
	t := newTable(" rrrrrr", "index", "files", "events", "rows", "bytes", "bytes a row", "days", "oldest", "newest")
	for _, h := range list {
		if a.JSON {
			if err := a.object(h); err != nil {
				return err
			}
			continue
		}
		days := time.Duration(h.Newest-h.Oldest) * time.Microsecond
		t.row(h.Index, number(h.Runs), number(h.Events), number(h.Rows), number(h.Bytes), fmt.Sprintf("%.1f", h.RowBytes), fmt.Sprintf("%.1f", days.Hours()/24), instant(h.Oldest), instant(h.Newest))
	}
	if a.JSON {
		return nil
	}
	t.print(a.out)
	for _, h := range list {
		a.damaged(h.Damaged)
		for _, g := range h.Gaps {
			a.err.line(a.err.paint(yellow, "warning:"), fmt.Sprintf("the %s lacks messages %d to %d of partition %d: a file of it is gone; put it back from a backup", h.Index, g.First, g.Last, g.Partition))
		}
	}
	return nil
}
