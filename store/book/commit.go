package book

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/moat-platform/moat"
)

// Changes is what a step of the engine found and decided.
type Changes struct {
	Findings  []moat.Finding
	Cases     []moat.Case
	Decisions []moat.Decision
	// Complaints are those that came as events.
	Complaints []Complaint
}

// Add adds those of a later step.
func (c *Changes) Add(o Changes) {
	c.Findings = append(c.Findings, o.Findings...)
	c.Cases = append(c.Cases, o.Cases...)
	c.Decisions = append(c.Decisions, o.Decisions...)
	c.Complaints = append(c.Complaints, o.Complaints...)
}

// engine is who the audit trail names for what the fold wrote.
const engine = "engine"

// Commit stores what a partition's events up to seq brought, and seq as the
// position of that partition, in one transaction. Doing it again changes
// nothing: findings that exist stay as they are, decisions may only come to end later, and a case
// takes what the engine says unless the book has it newer (by Updated); State,
// Owner and Verdict belong to people and are only set when the case is new.
// New cases and new decisions go to the audit trail. Nothing keeps seq from
// going back: after a restart from a snapshot it follows the replay.
//
// Partitions may commit at the same time, each from one goroutine.
func (b *Book) Commit(ctx context.Context, partition int, seq uint64, c Changes) error {
	if seq > math.MaxInt64 {
		return fmt.Errorf("cannot commit to book: %w: position %d", ErrInvalid, seq)
	}
	rows, err := findingRows(c.Findings)
	if err != nil {
		return fmt.Errorf("cannot commit to book: %w", err)
	}
	err = b.change(ctx, func(t *tx) error {
		if _, err := t.insert("findings (id, partner, time, detector, kind, entity, body)", "ON CONFLICT (id) DO NOTHING", 7, rows); err != nil {
			return fmt.Errorf("findings: %w", err)
		}
		for i := range c.Cases {
			if err := t.putCase(&c.Cases[i]); err != nil {
				return fmt.Errorf("case %s: %w", c.Cases[i].ID, err)
			}
		}
		if err := t.tieAll(c.Cases); err != nil {
			return fmt.Errorf("campaigns: %w", err)
		}
		for i := range c.Decisions {
			err := t.putDecision(&c.Decisions[i], engine)
			if errors.Is(err, ErrExists) {
				err = t.prolong(&c.Decisions[i])
			}
			if err != nil {
				return fmt.Errorf("decision %s: %w", c.Decisions[i].ID, err)
			}
		}
		if _, err := t.putComplaints(c.Complaints); err != nil {
			return err
		}
		_, err := t.exec("INSERT INTO positions (part, seq) VALUES (?, ?) ON CONFLICT (part) DO UPDATE SET seq = excluded.seq",
			partition, int64(seq))
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot commit to book: %w", err)
	}
	return nil
}

// Position returns the seq of the partition's last [Book.Commit], 0 before the first.
func (b *Book) Position(ctx context.Context, partition int) (uint64, error) {
	var seq int64
	err := b.read.QueryRowContext(ctx, b.dialect.sql("SELECT seq FROM positions WHERE part = ?"), partition).Scan(&seq)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("cannot read position of partition %d: %w", partition, b.explain(err))
	}
	return uint64(seq), nil
}

// findingRows flattens findings for the table. It is done before the
// transaction, because SQLite has one writer at a time.
func findingRows(findings []moat.Finding) ([]any, error) {
	rows := make([]any, 0, 7*len(findings))
	for i := range findings {
		f := &findings[i]
		body, err := json.Marshal(f)
		if err != nil {
			return nil, fmt.Errorf("finding %s: %w", f.ID, err)
		}
		rows = append(rows, text(f.ID), text(f.Partner), int64(f.Time), text(f.Detector), f.Entity.Kind.String(), text(f.Entity.ID), string(body))
	}
	return rows, nil
}

// putCase inserts c, or brings the engine's part of it up to date.
func (t *tx) putCase(c *moat.Case) error {
	own := *c
	own.State, own.Owner, own.Verdict, own.Campaign = "", "", "", ""
	body, err := json.Marshal(&own)
	if err != nil {
		return err
	}
	var old moat.Case
	var oldBody string
	err = t.row("SELECT body FROM cases WHERE id = ?", []any{text(c.ID)}, &oldBody)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		state := c.State
		if state == "" {
			state = moat.CaseOpen
		}
		_, err = t.exec("INSERT INTO cases (id, partner, opened, updated, rank, body, state, owner, verdict, campaign, own_campaign) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			text(c.ID), text(c.Partner), int64(c.Opened), int64(c.Updated), int64(c.Rank), string(body), string(state), text(c.Owner), string(c.Verdict), text(c.ID), text(c.ID))
		t.note(c.Partner, engine, "case.open", c.ID, map[string]any{"rank": c.Rank})
	case err != nil:
		return err
	case oldBody == string(body):
		return nil
	default:
		if err := json.Unmarshal([]byte(oldBody), &old); err != nil {
			return err
		}
		if old.Updated > c.Updated {
			return nil
		}
		_, err = t.exec("UPDATE cases SET updated = ?, rank = ?, body = ? WHERE id = ?", int64(c.Updated), int64(c.Rank), string(body), text(c.ID))
	}
	if err != nil {
		return err
	}
	return t.linkCase(&old, c)
}

// linkCase makes c findable by the entities, detectors and findings that it
// has and old had not. What it had stays: a case is found by its past too.
func (t *tx) linkCase(old, c *moat.Case) error {
	had := make(map[any]bool, len(old.Entities)+len(old.Detectors)+len(old.Findings))
	for _, e := range old.Entities {
		had[e] = true
	}
	var marks []any
	for _, e := range c.Entities {
		if !had[e] {
			had[e] = true
			marks = append(marks, text(c.ID), e.Kind.String(), text(e.ID))
		}
	}
	for _, d := range old.Detectors {
		had[d] = true
	}
	for _, d := range c.Detectors {
		if !had[d] {
			had[d] = true
			marks = append(marks, text(c.ID), "detector", text(d))
		}
	}
	if _, err := t.insert("case_marks (case_id, kind, value)", "ON CONFLICT DO NOTHING", 3, marks); err != nil {
		return err
	}
	clear(had)
	for _, f := range old.Findings {
		had[f] = true
	}
	var links []any
	for _, f := range c.Findings {
		if !had[f] {
			had[f] = true
			links = append(links, text(c.ID), text(f))
		}
	}
	_, err := t.insert("case_findings (case_id, finding)", "ON CONFLICT DO NOTHING", 2, links)
	return err
}

// putDecision inserts d, or gives ErrExists and changes nothing.
func (t *tx) putDecision(d *moat.Decision, by string) error {
	n, err := t.exec(`INSERT INTO decisions (id, partner, scope, value, action, starts, ends, origin, case_id, reason, approval, undone, undone_by)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		text(d.ID), text(d.Partner), text(d.Scope), text(d.Value), int64(d.Action), int64(d.From), int64(d.Until), text(d.Origin),
		text(d.Case), text(d.Reason), text(d.Approval), int64(d.Undone), text(d.UndoneBy))
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrExists
	}
	t.note(d.Partner, by, "decision.make", d.ID, map[string]any{
		"scope": d.Scope, "value": d.Value, "action": d.Action, "until": d.Until, "case": d.Case, "approval": d.Approval})
	return nil
}

// prolong gives a decision that exists a later end, unless it was undone.
func (t *tx) prolong(d *moat.Decision) error {
	n, err := t.exec("UPDATE decisions SET ends = ? WHERE id = ? AND ends < ? AND undone = 0", int64(d.Until), text(d.ID), int64(d.Until))
	if n > 0 {
		t.note(d.Partner, engine, "decision.prolong", d.ID, map[string]any{"until": d.Until})
	}
	return err
}
