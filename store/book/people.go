package book

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/moat-platform/moat"
)

// act runs one act of a person: it must be named, and what it is done to must
// be seen by the tenant, which f checks.
func (b *Book) act(ctx context.Context, verb, id, by string, f func(*tx) error) error {
	err := checkName("by", by, 200)
	if err == nil {
		err = b.change(ctx, f)
	}
	if err != nil {
		return fmt.Errorf("cannot %s %.64q: %w", verb, id, err)
	}
	return nil
}

// checkName wants 1..limit bytes of UTF-8 without control characters.
func checkName(what, s string, limit int) error {
	if s == "" || len(s) > limit || !utf8.ValidString(s) || slices.ContainsFunc([]rune(s), unicode.IsControl) {
		return fmt.Errorf("%w: %s must be 1 to %d bytes of UTF-8 without control characters", ErrInvalid, what, limit)
	}
	return nil
}

// partnerOf returns whose row id in a table is, or ErrNotFound when t may not see it.
func (t *tx) partnerOf(tenant moat.Tenant, table, id string) (string, error) {
	var w where
	w.and("id = ?", text(id))
	w.sees(tenant)
	var partner string
	err := t.row("SELECT partner FROM "+table+w.text(), w.args, &partner)
	return partner, errNoRows(err)
}

// changeCase sets one column of a case that people own. What follows from the change is for then, if it is not nil.
func (b *Book) changeCase(ctx context.Context, tenant moat.Tenant, verb, act, id, column, value, by string, then func(t *tx, partner string) error) error {
	return b.act(ctx, verb, id, by, func(t *tx) error {
		partner, err := t.partnerOf(tenant, "cases", id)
		if err != nil {
			return err
		}
		n, err := t.exec("UPDATE cases SET "+column+" = ? WHERE id = ? AND "+column+" <> ?", value, text(id), value)
		if err != nil || n == 0 { // it was so before: nothing happened, nothing to write down
			return err
		}
		t.note(partner, by, act, id, map[string]any{column: value})
		if then == nil {
			return nil
		}
		return then(t, partner)
	})
}

// CloseCase closes a case. Closing a closed case changes nothing.
func (b *Book) CloseCase(ctx context.Context, t moat.Tenant, id, by string) error {
	return b.changeCase(ctx, t, "close case", "case.close", id, "state", string(moat.CaseClosed), by, nil)
}

// ReopenCase opens a closed case again.
func (b *Book) ReopenCase(ctx context.Context, t moat.Tenant, id, by string) error {
	return b.changeCase(ctx, t, "reopen case", "case.reopen", id, "state", string(moat.CaseOpen), by, nil)
}

// AssignCase gives a case to owner; "" takes it from everyone.
func (b *Book) AssignCase(ctx context.Context, t moat.Tenant, id, owner, by string) error {
	if owner != "" {
		if err := checkName("owner", owner, 200); err != nil {
			return fmt.Errorf("cannot assign case %.64q: %w", id, err)
		}
	}
	return b.changeCase(ctx, t, "assign case", "case.assign", id, "owner", owner, by, nil)
}

// Undo ends a decision now and returns it as it is then. Undoing it again
// changes nothing. A partner may end what was decided by itself or by its own keys alone; one that an operator made, or approved, gives
// [ErrOperator].
func (b *Book) Undo(ctx context.Context, t moat.Tenant, id, by string) (moat.Decision, error) {
	err := b.act(ctx, "undo decision", id, by, func(tx *tx) error {
		partner, err := tx.partnerOf(t, "decisions", id)
		if err != nil {
			return err
		}
		if own, one := t.Partner(); one {
			if err := tx.mayUndo(own, id); err != nil {
				return err
			}
		}
		n, err := tx.exec("UPDATE decisions SET undone = ?, undone_by = ? WHERE id = ? AND undone = 0", int64(b.now()), by, text(id))
		if err != nil || n == 0 {
			return err
		}
		tx.note(partner, by, "decision.undo", id, nil)
		return nil
	})
	if err != nil {
		return moat.Decision{}, err
	}
	return b.Decision(ctx, t, id)
}

// mayUndo returns why a partner may not end a decision: somebody had a hand in it who is none of its own.
func (t *tx) mayUndo(partner, id string) error {
	var others int
	err := t.row("SELECT COUNT(*) FROM (SELECT origin AS person FROM decisions WHERE id = ? AND origin <> ? UNION SELECT person FROM approvals WHERE decision = ?) AS hands"+
		" WHERE person NOT IN (SELECT id FROM api_keys WHERE partner = ? AND operator = 0)", []any{text(id), playbook, text(id), text(partner)}, &others)
	if err == nil && others > 0 {
		err = fmt.Errorf("%w: an operator made the decision or approved it", ErrOperator)
	}
	return err
}

// playbook is the origin of decisions that no person made.
const playbook = "playbook"

// Approve writes down that a person approves a waiting decision, and puts it
// in force once need different people have; package decision knows how many a
// decision needs, so call its Service and not this. It returns the decision as
// it is then. One person's approvals count once. A decision that was undone
// or is over is refused with [ErrInvalid]; one in force stays as it is.
func (b *Book) Approve(ctx context.Context, t moat.Tenant, id string, need int, by string) (moat.Decision, error) {
	if need < 1 {
		return moat.Decision{}, fmt.Errorf("cannot approve decision %.64q: %w: %d people", id, ErrInvalid, need)
	}
	err := b.act(ctx, "approve decision", id, by, func(tx *tx) error { return tx.approve(t, id, need, by) })
	if err != nil {
		return moat.Decision{}, err
	}
	return b.Decision(ctx, t, id)
}

func (t *tx) approve(tenant moat.Tenant, id string, need int, by string) error {
	partner, err := t.partnerOf(tenant, "decisions", id)
	if err != nil {
		return err
	}
	// Writing first makes two people who approve at once wait for each other in PostgreSQL too.
	if _, err := t.exec("UPDATE decisions SET id = id WHERE id = ?", text(id)); err != nil {
		return err
	}
	var approval string
	var undone, ends int64
	if err := t.row("SELECT approval, undone, ends FROM decisions WHERE id = ?", []any{text(id)}, &approval, &undone, &ends); err != nil {
		return err
	}
	now := t.book.now()
	switch {
	case undone != 0:
		return fmt.Errorf("%w: it was undone", ErrInvalid)
	case moat.Time(ends) <= now:
		return fmt.Errorf("%w: it was over at %s", ErrInvalid, moat.Time(ends))
	case approval == "":
		return nil
	}
	fresh, err := t.exec("INSERT INTO approvals (decision, person, time) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", text(id), by, int64(now))
	if err != nil || fresh == 0 {
		return err
	}
	var have int
	if err := t.row("SELECT COUNT(*) FROM approvals WHERE decision = ?", []any{text(id)}, &have); err != nil {
		return err
	}
	t.note(partner, by, "decision.approve", id, map[string]any{"have": have, "need": need})
	if have < need {
		return nil
	}
	_, err = t.exec("UPDATE decisions SET approval = '' WHERE id = ?", text(id))
	return err
}

// Approvals returns who has approved a decision so far, in the order of time.
func (b *Book) Approvals(ctx context.Context, t moat.Tenant, id string) ([]string, error) {
	if _, err := b.Decision(ctx, t, id); err != nil {
		return nil, err
	}
	rows, err := b.read.QueryContext(ctx, b.dialect.sql("SELECT person FROM approvals WHERE decision = ? ORDER BY time, person"), text(id))
	if err != nil {
		return nil, fmt.Errorf("cannot read approvals of %.64q: %w", id, b.explain(err))
	}
	defer rows.Close()
	var people []string
	for rows.Next() {
		var p string
		if err := rows.Scan(&p); err != nil {
			return nil, fmt.Errorf("cannot read approvals of %.64q: %w", id, err)
		}
		people = append(people, p)
	}
	return people, rows.Err()
}

// MaxDecision is the longest that a decision may last.
const MaxDecision = 366 * moat.Day

// Decide stores a decision that a person made and returns it as stored: ID,
// Origin (by) and, when zero, From (now) are filled in. d.Approval tells
// whether others must approve; the maker counts as the first of them. Package
// decision knows when that is so, call its Service and not this.
func (b *Book) Decide(ctx context.Context, t moat.Tenant, d moat.Decision, by string) (moat.Decision, error) {
	now := b.now()
	if d.From == 0 {
		d.From = now
	}
	d.Origin, d.Undone, d.UndoneBy = by, 0, ""
	d.ID = moat.DecisionID(d.Partner+" by "+by+" at "+now.String(), d.Scope, d.Value, d.Action, 0)
	err := checkDecision(&d, now)
	if err == nil && !t.Sees(d.Partner) {
		err = ErrNotFound
	}
	if err != nil {
		return moat.Decision{}, fmt.Errorf("cannot decide on %.20s %.64q: %w", d.Scope, d.Value, err)
	}
	err = b.act(ctx, "decide on", d.Value, by, func(tx *tx) error {
		if d.Case != "" {
			partner, err := tx.partnerOf(t, "cases", d.Case)
			if err == nil && partner != d.Partner {
				err = ErrNotFound
			}
			if err != nil {
				return fmt.Errorf("case %.64q: %w", d.Case, err)
			}
		}
		if err := tx.putDecision(&d, by); err != nil {
			return err
		}
		if d.Approval == "" {
			return nil
		}
		_, err := tx.exec("INSERT INTO approvals (decision, person, time) VALUES (?, ?, ?)", d.ID, by, int64(now))
		return err
	})
	if err != nil {
		return moat.Decision{}, err
	}
	return d, nil
}

// checkDecision says what is wrong with a decision that a person typed.
func checkDecision(d *moat.Decision, now moat.Time) error {
	for _, f := range []struct {
		what, value string
		limit       int
	}{{"partner", d.Partner, 128}, {"value", d.Value, 256}, {"reason", d.Reason, 1000}} {
		if err := checkName(f.what, f.value, f.limit); err != nil {
			return err
		}
	}
	if d.Action <= moat.Allow || d.Action > moat.Isolate {
		return fmt.Errorf("%w: action must be one of observe … isolate", ErrInvalid)
	}
	if d.Until <= d.From || d.Until <= now || d.Until-d.From > MaxDecision {
		return fmt.Errorf("%w: until must be in the future and at most %d days after from", ErrInvalid, MaxDecision/moat.Day)
	}
	return checkTarget(d)
}

// checkTarget wants a known scope and a value that enforcers will match:
// addresses and ranges in the form in which programs write them.
func checkTarget(d *moat.Decision) error {
	switch d.Scope {
	case "session", "api_key":
		return nil
	case "range":
		p, err := netip.ParsePrefix(d.Value)
		if err != nil || p != p.Masked() || p.Addr().Is4In6() {
			return fmt.Errorf("%w: range must be written like 192.0.2.0/24 or 2001:db8::/32", ErrInvalid)
		}
		return nil
	case "ip":
		if a, err := netip.ParseAddr(d.Value); err != nil || a.Zone() != "" || a.Is4In6() || a.String() != d.Value {
			return fmt.Errorf("%w: ip must be written like 192.0.2.1 or 2001:db8::1", ErrInvalid)
		}
		return nil
	case "partner":
		if d.Value != d.Partner {
			return fmt.Errorf("%w: scope partner must name the decision's partner", ErrInvalid)
		}
		return nil
	}
	switch k, err := moat.ParseEntityKind(d.Scope); {
	case err != nil:
		return fmt.Errorf("%w: scope %.40q is no entity kind, range, session or api_key", ErrInvalid, d.Scope)
	case k == moat.Destination:
		return fmt.Errorf("%w: no enforcer keeps orders from a destination: decide about the account or the app that sends there", ErrInvalid)
	}
	return nil
}
