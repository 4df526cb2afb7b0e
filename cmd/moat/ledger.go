package main

import (
	"fmt"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/serve/node"
	runs "github.com/moat-platform/moat/store/run"
)

// ledgerCmd tells how large the index is.
type ledgerCmd struct{}

// Help shows how to use it.
func (ledgerCmd) Help() string {
	return "The ledger answers who touched an order, the diary what an entity did; one index has both. A row is one order of one event, or one entity of one event. " +
		"What a server has not written to files yet, half a minute at most, is not counted.\n\n" + examples("moat ledger", "moat ledger --json")
}

// holding is what the index holds in files.
type holding struct {
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

func holdingOf(s runs.Stats) holding {
	t := s.Total()
	h := holding{Runs: len(s.Runs), Events: t.Events, Rows: t.Rows, Keys: t.Keys, Bytes: t.Bytes, Damaged: s.Damaged, Gaps: append([]runs.Gap{}, s.Gaps...)}
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
	x, err := node.ReadIndex(a.Data, a.log)
	if err != nil {
		return err
	}
	defer x.Close()
	h := holdingOf(x.Stats())
	if a.JSON {
		return a.object(h)
	}
	t := newTable("rrrrrr", "files", "events", "rows", "bytes", "bytes a row", "days", "oldest", "newest")
	days := time.Duration(h.Newest-h.Oldest) * time.Microsecond
	t.row(number(h.Runs), number(h.Events), number(h.Rows), number(h.Bytes), fmt.Sprintf("%.1f", h.RowBytes), fmt.Sprintf("%.1f", days.Hours()/24), instant(h.Oldest), instant(h.Newest))
	t.print(a.out)
	a.damaged(h.Damaged)
	for _, g := range h.Gaps {
		a.err.line(a.err.paint(yellow, "warning:"), fmt.Sprintf("the index lacks messages %d to %d of partition %d: a file of it is gone; put it back from a backup", g.First, g.Last, g.Partition))
	}
	return nil
}
