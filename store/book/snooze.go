package book

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
)

// Snooze keeps what is found about an entity from opening cases and from bringing decisions until a time.
type Snooze struct {
	ID       string      `json:"id"`
	Partner  string      `json:"partner"`
	Entity   moat.Entity `json:"entity"`
	Detector string      `json:"detector,omitempty"` // "" = any
	Made     moat.Time   `json:"made"`
	Until    moat.Time   `json:"until"` // by the time of the findings
	By       string      `json:"by"`
	Reason   string      `json:"reason,omitempty"`
	Ended    moat.Time   `json:"ended,omitzero"` // before its time
	EndedBy  string      `json:"ended_by,omitempty"`
}

// Bounds of snoozes.
const (
	MaxSnooze  = 90 * moat.Day
	MaxSnoozes = 1000 // of a partner that are not over
)

func snoozesTable() *table[Snooze] {
	return &table[Snooze]{
		name: "snoozes", time: "made", order: "made", id: "id",
		columns: "SELECT id, partner, kind, entity, detector, made, until, person, reason, ended, ended_by", from: "snoozes",
		filter: func(q *Query, w *where) {
			take(w, &q.Entity, "entity = ? AND kind = ?", text(q.Entity.ID), q.Entity.Kind.String())
			take(w, &q.Detector, "detector = ?", text(q.Detector))
			take(w, &q.Active, "ended = 0 AND until > ?", int64(q.Active))
		},
		scan: func(rows *sql.Rows) (s Snooze, err error) {
			var kind string
			if err := rows.Scan(&s.ID, &s.Partner, &kind, &s.Entity.ID, &s.Detector, &s.Made, &s.Until, &s.By, &s.Reason, &s.Ended, &s.EndedBy); err != nil {
				return s, err
			}
			s.Entity.Kind, err = moat.ParseEntityKind(kind)
			return s, err
		},
		key: func(s *Snooze) (int64, string) { return int64(s.Made), text(s.ID) },
	}
}

// Snoozes returns one page of snoozes, the latest first, and the cursor of the next page, "" after the last.
func (b *Book) Snoozes(ctx context.Context, t moat.Tenant, q Query) ([]Snooze, string, error) {
	return snoozesTable().page(ctx, b, t, q, false)
}

// Snooze makes a snooze, a lesson too, and returns it as stored: ID, Made and By are filled in.
func (b *Book) Snooze(ctx context.Context, t moat.Tenant, s Snooze, by string) (Snooze, error) {
	s.Made, s.By, s.Ended, s.EndedBy = b.now(), by, 0, ""
	s.ID = moat.SnoozeID(s.Partner, s.Entity, s.Detector, by, s.Made)
	err := checkSnooze(&s)
	if err == nil && !t.Sees(s.Partner) {
		err = ErrNotFound
	}
	if err != nil {
		return Snooze{}, fmt.Errorf("cannot snooze %.64q: %w", s.Entity.ID, err)
	}
	_, own := t.Partner()
	err = b.act(ctx, "snooze", s.Entity.ID, by, func(tx *tx) error {
		l := risk.Lesson{Partner: s.Partner, Kind: risk.Snoozed, Object: s.ID, Own: own, Entity: s.Entity, Detector: s.Detector, Until: s.Until}
		if err := tx.teach(&l); err != nil { // first: it puts writers in line, so that the count holds
			return err
		}
		var n int
		if err := tx.row("SELECT COUNT(*) FROM snoozes WHERE partner = ? AND ended = 0 AND until > ?", []any{text(s.Partner), int64(s.Made)}, &n); err != nil {
			return err
		}
		if n >= MaxSnoozes {
			return fmt.Errorf("%w: %s has %d snoozes, the most there may be; end some", ErrInvalid, s.Partner, n)
		}
		_, err := tx.exec(`INSERT INTO snoozes (id, partner, kind, entity, detector, made, until, person, reason, ended, ended_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '')`,
			s.ID, text(s.Partner), s.Entity.Kind.String(), text(s.Entity.ID), text(s.Detector), int64(s.Made), int64(s.Until), text(by), text(s.Reason))
		tx.note(s.Partner, by, "snooze.make", s.ID, map[string]any{"entity": s.Entity, "detector": s.Detector, "until": s.Until, "reason": s.Reason})
		return err
	})
	if err != nil {
		return Snooze{}, err
	}
	return s, nil
}

// checkSnooze says what is wrong with a snooze that a person typed.
func checkSnooze(s *Snooze) error {
	if s.Entity.Kind == moat.NoEntity {
		return fmt.Errorf("%w: it names no kind of entity", ErrInvalid)
	}
	for _, f := range []struct {
		what, value string
		limit       int
		optional    bool
	}{{"partner", s.Partner, 128, false}, {"id", s.Entity.ID, 256, false}, {"detector", s.Detector, 200, true}, {"reason", s.Reason, 1000, true}} {
		if f.optional && f.value == "" {
			continue
		}
		if err := checkName(f.what, f.value, f.limit); err != nil {
			return err
		}
	}
	if s.Until <= s.Made || s.Until-s.Made > MaxSnooze {
		return fmt.Errorf("%w: until must be in the future and at most %d days away", ErrInvalid, MaxSnooze/moat.Day)
	}
	return nil
}

// Wake ends a snooze now and returns it as it is then. Ending it again changes nothing.
func (b *Book) Wake(ctx context.Context, t moat.Tenant, id, by string) (Snooze, error) {
	err := b.act(ctx, "end snooze", id, by, func(tx *tx) error {
		partner, err := tx.partnerOf(t, "snoozes", id)
		if err != nil {
			return err
		}
		n, err := tx.exec("UPDATE snoozes SET ended = ?, ended_by = ? WHERE id = ? AND ended = 0", int64(b.now()), text(by), text(id))
		if err != nil || n == 0 {
			return err
		}
		tx.note(partner, by, "snooze.end", id, nil)
		return tx.teach(&risk.Lesson{Partner: partner, Kind: risk.Woken, Object: id})
	})
	if err != nil {
		return Snooze{}, err
	}
	return snoozesTable().one(ctx, b, t, id)
}
