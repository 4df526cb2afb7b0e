package book

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
)

// Judge writes down what an analyst found a case to be, and makes a lesson of it; [moat.NoVerdict] takes a verdict
// back. A case that went into another teaches nothing: the other does.
func (b *Book) Judge(ctx context.Context, t moat.Tenant, id string, v moat.Verdict, by string) error {
	switch v {
	case moat.NoVerdict, moat.Confirmed, moat.FalseAlarm, moat.Accepted:
	default:
		return fmt.Errorf("cannot judge case %.64q: %w: verdict %.40q is not confirmed, false_alarm or accepted", id, ErrInvalid, v)
	}
	return b.changeCase(ctx, t, "judge case", "case.judge", id, "verdict", string(v), by, func(tx *tx, partner string) error {
		var body, campaign string
		if err := tx.row("SELECT body, "+view(t)+" FROM cases WHERE id = ?", []any{text(id)}, &body, &campaign); err != nil {
			return err
		}
		var c moat.Case
		if err := json.Unmarshal([]byte(body), &c); err != nil {
			return err
		}
		if c.Merged != "" {
			return nil
		}
		_, own := t.Partner()
		l := risk.Lesson{Partner: partner, Kind: risk.Judged, Object: id, Campaign: campaign, Own: own, Verdict: v, Score: c.Score, Rank: c.Rank, Updated: c.Updated, Detectors: c.Detectors}
		if err := tx.subjects(&l); err != nil {
			return err
		}
		return tx.teach(&l)
	})
}

// subjects fills in whom the findings of the case of l are about and of which families they are.
func (t *tx) subjects(l *risk.Lesson) error {
	rows, err := t.sql.QueryContext(t.ctx, t.book.dialect.sql(
		"SELECT f.body FROM case_findings c JOIN findings f ON f.id = c.finding WHERE c.case_id = ? ORDER BY f.time DESC, f.id LIMIT 1000"), text(l.Object))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var body sql.RawBytes
		if err := rows.Scan(&body); err != nil {
			return err
		}
		var f moat.Finding
		if err := json.Unmarshal(body, &f); err != nil {
			return err
		}
		if !slices.Contains(l.Families, f.Family) {
			l.Families = append(l.Families, f.Family)
		}
		if !slices.Contains(l.Entities, f.Entity) && len(l.Entities) < risk.MaxEntities {
			l.Entities = append(l.Entities, f.Entity)
		}
	}
	return rows.Err()
}

// teach numbers a lesson and writes it down. Moving the head first makes PostgreSQL's writers wait for each other, so that
// lessons become visible in the order of their numbers.
func (t *tx) teach(l *risk.Lesson) error {
	l.Time = t.book.now()
	body, err := json.Marshal(l)
	if err != nil {
		return err
	}
	var seq int64
	if err := t.row("UPDATE lesson_head SET seq = seq + 1 WHERE id = 1 RETURNING seq", nil, &seq); err != nil {
		return fmt.Errorf("lesson: %w", err)
	}
	l.Seq = uint64(seq)
	_, err = t.exec("INSERT INTO lessons (seq, kind, object, body) VALUES (?, ?, ?, ?)", seq, string(l.Kind), text(l.Object), string(body))
	return err
}

// Lessons returns up to [MaxLimit] lessons after the one with a number, in order; fewer are the last. They are the
// installation's: no caller may show them to a partner.
func (b *Book) Lessons(ctx context.Context, after uint64) ([]*risk.Lesson, error) {
	rows, err := b.read.QueryContext(ctx, b.dialect.sql("SELECT seq, kind, object, body FROM lessons WHERE seq > ? ORDER BY seq LIMIT ?"), int64(after), MaxLimit)
	if err != nil {
		return nil, fmt.Errorf("cannot read lessons: %w", b.explain(err))
	}
	defer rows.Close()
	var out []*risk.Lesson
	for rows.Next() {
		var seq int64
		var kind, object, body string
		if err := rows.Scan(&seq, &kind, &object, &body); err != nil {
			return nil, fmt.Errorf("cannot read lessons: %w", err)
		}
		l := &risk.Lesson{}
		if err := json.Unmarshal([]byte(body), l); err != nil {
			return nil, fmt.Errorf("cannot read lesson %d: %w", seq, err)
		}
		l.Seq, l.Kind, l.Object = uint64(seq), risk.LessonKind(kind), object
		out = append(out, l)
	}
	return out, rows.Err()
}

// Learned returns what all lessons so far add up to.
func (b *Book) Learned(ctx context.Context) (*risk.Learned, error) {
	x := risk.NewLearned()
	return x, b.LearnInto(ctx, x)
}

// LearnInto brings x up to date.
func (b *Book) LearnInto(ctx context.Context, x *risk.Learned) error {
	for {
		list, err := b.Lessons(ctx, x.Last())
		if err != nil {
			return err
		}
		for _, l := range list {
			x.Learn(l)
		}
		if len(list) < MaxLimit {
			return nil
		}
	}
}

// Place is after which message of the log, by its number, a partition learned a lesson.
type Place struct {
	Lesson uint64
	After  uint64
}

// PutPlaces writes down where a partition learns lessons. One that was put before moves.
func (b *Book) PutPlaces(ctx context.Context, partition int, list []Place) error {
	rows := make([]any, 0, 3*len(list))
	for _, p := range list {
		rows = append(rows, partition, int64(p.Lesson), int64(p.After))
	}
	err := b.change(ctx, func(t *tx) error {
		_, err := t.insert("lesson_places (part, lesson, place)", "ON CONFLICT (part, lesson) DO UPDATE SET place = excluded.place", 3, rows)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot write places of lessons: %w", err)
	}
	return nil
}

// Places returns where a partition learned the lessons after the one with a number, in order.
func (b *Book) Places(ctx context.Context, partition int, after uint64) ([]Place, error) {
	rows, err := b.read.QueryContext(ctx, b.dialect.sql("SELECT lesson, place FROM lesson_places WHERE part = ? AND lesson > ? ORDER BY lesson"), partition, int64(after))
	if err != nil {
		return nil, fmt.Errorf("cannot read places of lessons: %w", b.explain(err))
	}
	defer rows.Close()
	var out []Place
	for rows.Next() {
		var lesson, after int64
		if err := rows.Scan(&lesson, &after); err != nil {
			return nil, fmt.Errorf("cannot read places of lessons: %w", err)
		}
		out = append(out, Place{uint64(lesson), uint64(after)})
	}
	return out, rows.Err()
}

// Demote takes the right to bring decisions from a detector, and says why. Demoting it again changes nothing; it tells
// whether it changed something.
func (b *Book) Demote(ctx context.Context, detector, reason string) (bool, error) {
	return b.turn(ctx, "demote", risk.Demoted, detector, reason, engine)
}

// Promote gives a demoted detector its right back. Promoting it again changes nothing. Only who sees everyone may.
func (b *Book) Promote(ctx context.Context, t moat.Tenant, detector, by string) (bool, error) {
	if _, one := t.Partner(); one {
		return false, fmt.Errorf("cannot promote %.64q: %w", detector, ErrNotFound)
	}
	return b.turn(ctx, "promote", risk.Promoted, detector, "", by)
}

func (b *Book) turn(ctx context.Context, verb string, kind risk.LessonKind, detector, reason, by string) (turned bool, err error) {
	if err := checkName("detector", detector, 200); err != nil {
		return false, fmt.Errorf("cannot %s %.64q: %w", verb, detector, err)
	}
	err = b.act(ctx, verb, detector, by, func(t *tx) error {
		turned = false
		last := string(risk.Promoted)
		err := t.row("SELECT kind FROM lessons WHERE object = ? AND kind IN (?, ?) ORDER BY seq DESC LIMIT 1",
			[]any{text(detector), string(risk.Demoted), string(risk.Promoted)}, &last)
		if err != nil && !errors.Is(err, sql.ErrNoRows) || last == string(kind) {
			return errIf(err, sql.ErrNoRows)
		}
		detail := map[string]any{}
		if reason != "" {
			detail["reason"] = reason
		}
		t.note("", by, "detector."+verb, detector, detail)
		turned = true
		return t.teach(&risk.Lesson{Kind: kind, Object: detector, Reason: reason})
	})
	return turned, err
}

// errIf returns err unless it is the one that is expected.
func errIf(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
