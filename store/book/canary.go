package book

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/moat-platform/moat"
)

// CanaryLot is canaries that were planted together. What else there is to know of it is Body, which package canary reads.
type CanaryLot struct {
	ID      string
	Owner   string // the partner that placed it for itself; "" = the operator, and no partner sees it
	Partner string // that it is planted at
	Channel string
	Period  string
	Kind    string
	Placed  moat.Time
	Body    json.RawMessage
}

func canariesTable() *table[CanaryLot] {
	return &table[CanaryLot]{
		name: "canaries", time: "placed", order: "placed", id: "id",
		columns: "SELECT id, partner, planted, channel, period, kind, placed, body", from: "canaries",
		filter: func(q *Query, w *where) {
			take(w, &q.Kind, "kind = ?", text(q.Kind))
			take(w, &q.Channel, "channel = ?", text(q.Channel))
			take(w, &q.Planted, "planted = ?", text(q.Planted))
		},
		scan: func(rows *sql.Rows) (l CanaryLot, err error) {
			var body string
			err = rows.Scan(&l.ID, &l.Owner, &l.Partner, &l.Channel, &l.Period, &l.Kind, &l.Placed, &body)
			l.Body = json.RawMessage(body)
			return l, err
		},
		key: func(l *CanaryLot) (int64, string) { return int64(l.Placed), text(l.ID) },
	}
}

// Canaries returns one page of lots, the latest first, and the cursor of the next page, "" after the last. A partner sees those that
// it placed itself; Planted filters by the partner that they are planted at.
func (b *Book) Canaries(ctx context.Context, t moat.Tenant, q Query) ([]CanaryLot, string, error) {
	return canariesTable().page(ctx, b, t, q, false)
}

// AllCanaries yields the lots that q asks for, in the order in which they were placed.
func (b *Book) AllCanaries(ctx context.Context, t moat.Tenant, q Query) iter.Seq2[CanaryLot, error] {
	return canariesTable().all(ctx, b, t, q)
}

// Canary returns one lot.
func (b *Book) Canary(ctx context.Context, t moat.Tenant, id string) (CanaryLot, error) {
	return canariesTable().one(ctx, b, t, id)
}

// PlaceCanaries writes a lot down. A partner may place for itself alone; what is another's gives [ErrNotFound].
func (b *Book) PlaceCanaries(ctx context.Context, t moat.Tenant, l CanaryLot, by string) error {
	own, one := t.Partner()
	if one && (own == "" || l.Owner != own || l.Partner != own) || !one && l.Owner != "" {
		return fmt.Errorf("cannot place canaries: %w", ErrNotFound)
	}
	return b.act(ctx, "place canaries", l.ID, by, func(tx *tx) error {
		_, err := tx.exec("INSERT INTO canaries (id, partner, planted, channel, period, kind, placed, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			text(l.ID), text(l.Owner), text(l.Partner), text(l.Channel), text(l.Period), text(l.Kind), int64(l.Placed), text(string(l.Body)))
		if taken(err) {
			return ErrExists
		}
		tx.note(l.Owner, by, "canary.place", l.ID, map[string]any{"planted": l.Partner, "channel": l.Channel, "period": l.Period, "kind": l.Kind})
		return err
	})
}
