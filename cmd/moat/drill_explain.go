package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/sim/drill"
)

// maxShown bounds the lines of acts or findings of one explanation.
const maxShown = 40

// explained prints what was missed or suspected wrongly, with what led there.
func (a *app) explained(list []drill.Explanation) error {
	if a.JSON {
		for i := range list {
			if err := a.object(&list[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(list) == 0 {
		a.out.line("Nothing to explain: none was missed, nobody was suspected wrongly.")
	}
	for i := range list {
		if i > 0 {
			a.out.line()
		}
		if x := &list[i]; x.Missed != nil {
			a.explainMiss(x)
		} else {
			a.explainFalse(x)
		}
	}
	return nil
}

func (a *app) explainMiss(x *drill.Explanation) {
	o, t := a.out, x.Missed
	name := t.Name
	if t.Variant != "" {
		name += ", " + t.Variant
	}
	o.linef("%s %s · seed %d · %s · %s – %s (%s)", o.paint(red, "MISSED"), o.paint(bold, clean(name)), x.Seed, clean(t.Partner), instant(t.From), instant(t.To), lapse(t.To-t.From))
	who := make([]string, len(t.Culprits))
	for i, e := range t.Culprits {
		if who[i] = e.String(); slices.Contains(t.Shared, e) {
			who[i] += " (shared)"
		}
	}
	o.wrap("  culprits  ", strings.Join(who, ", "))
	if x.Case != nil {
		o.wrap("  before    ", fmt.Sprintf("%s, opened %s, had named a culprit before he stole: %s", x.Case.ID, instant(x.Case.Opened), x.Case.Reason))
	}
	o.linef("  acts      %s", number(len(t.Acts)))
	var acts []*moat.Event
	for _, act := range t.Acts {
		if e := x.Events[act.Event]; e != nil {
			acts = append(acts, e)
		}
	}
	a.acts(acts)
	o.linef("  findings  %s, highest risk %.0f of the %.0f that open a case", number(len(x.Findings)), x.Highest, x.OpensAt)
	a.found(x)
}

func (a *app) explainFalse(x *drill.Explanation) {
	o, c := a.out, x.Case
	o.linef("%s %s · seed %d · %s · %s · score %.0f, damage %.1f · opened %s, last %s", o.paint(yellow, "FALSE"), o.paint(bold, c.ID), x.Seed, c.Rank, clean(c.Partner), c.Score, c.Damage,
		instant(c.Opened), instant(c.Updated))
	who := make([]string, len(c.Entities))
	for i, e := range c.Entities {
		who[i] = e.String()
	}
	o.wrap("  entities  ", strings.Join(who, ", "))
	o.wrap("  reason    ", c.Reason)
	o.linef("  findings  %s", number(len(x.Findings)))
	a.found(x)
}

// found prints findings, each with the event that made it.
func (a *app) found(x *drill.Explanation) {
	for i, f := range x.Findings {
		if i == maxShown {
			a.out.line(a.out.paint(dim, fmt.Sprintf("            … %s more; --json has all", number(len(x.Findings)-i))))
			return
		}
		mark := " "
		if f.Case != "" && moat.CaseID(f.ID) == f.Case {
			mark = "▶" // it opened the case
		}
		detector := detectorCell(&f.Finding)
		score := scoreCell(f.Score)
		a.out.linef("  %s %s  %s %s → risk %2.0f  %s", mark, instant(f.Time), a.out.paint(score.style, score.text), a.out.paint(detector.style, detector.text), f.Risk, clean(f.Entity.String()))
		a.out.wrap("      ", f.Reason)
		if len(f.Events) > 0 {
			if e := x.Events[f.Events[0]]; e != nil {
				a.out.line(a.out.paint(dim, "      "+clean(act(e))))
			}
		}
	}
}

// acts prints events, those alike in a row as one line.
func (a *app) acts(events []*moat.Event) {
	lines := 0
	for i := 0; i < len(events); {
		first, n, orders, rows := events[i], 0, map[string]bool{}, int64(0)
		for ; i < len(events) && sameAct(first, events[i]); i++ {
			n++
			rows += events[i].Rows
			for _, id := range events[i].Orders {
				orders[id] = true
			}
		}
		if lines++; lines > maxShown {
			a.out.line(a.out.paint(dim, "      …"))
			return
		}
		text := act(first)
		if n > 1 {
			text = fmt.Sprintf("%s; %d times until %s, %s", text, n, instant(events[i-1].Time), many(len(orders), "order"))
			if rows > 0 {
				text += ", " + many(rows, "row")
			}
		}
		a.out.line("      " + instant(first.Time) + "  " + clean(text))
	}
}

// sameAct tells whether two acts differ only in what they touched, on the same day.
func sameAct(a, b *moat.Event) bool {
	return a.Type == b.Type && a.Operation == b.Operation && a.Method == b.Method && a.Outcome == b.Outcome && a.Actor == b.Actor && a.IP == b.IP && a.Device == b.Device &&
		a.Host == b.Host && a.Destination == b.Destination && a.Time/moat.Day == b.Time/moat.Day
}

// act is an event in a line.
func act(e *moat.Event) string {
	parts := []string{e.Type.String()}
	add := func(label, value string) {
		if value != "" {
			parts = append(parts, label+shortened(value))
		}
	}
	add("", e.Operation)
	add("", e.Method)
	if e.Outcome != moat.Success {
		add("", e.Outcome.String())
	}
	add("account:", e.Actor)
	add("role:", e.Role)
	add("app:", e.App)
	add("ip:", e.IP)
	add("device:", e.Device)
	add("host:", e.Host)
	add("outlet:", e.Outlet)
	add("to:", e.Destination)
	add("object:", e.Object)
	add("path:", e.Path)
	add("exe:", e.Exe)
	add("statement:", e.Statement)
	if n := e.Touched(); n > 0 {
		parts = append(parts, many(n, "order"))
	}
	if e.Rows > 0 {
		parts = append(parts, many(e.Rows, "row"))
	}
	if e.Bytes > 0 {
		parts = append(parts, many(e.Bytes, "byte"))
	}
	if len(e.Fields) > 0 {
		add("fields:", strings.Join(e.Fields, ","))
	}
	return strings.Join(parts, " ")
}

func shortened(s string) string { return shorten(s, 60) }
