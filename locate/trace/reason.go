package trace

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/moat-platform/moat"
)

// maxName is up to how many bytes a name says what cannot be told from the first member; Members has all.
const maxName = 64

// name names a unit: the narrowest first, with what cannot be told from it.
func (u *unit) name() string {
	lead, app := u.members[0], u.app()
	s := title(lead)
	if app != nil {
		s += " or " + title(app)
	}
	var more []string
	for _, m := range u.members[1:] {
		if m == app {
			continue
		}
		if t := KindName(m.Kind) + " " + m.ID; len(more) < 2 && len(s)+len(strings.Join(more, ", "))+len(t) <= maxName &&
			!(m.Kind == moat.Partner && slices.Contains(u.owners(), m.ID)) {
			more = append(more, t)
		}
	}
	return s + and(more)
}

// app returns the app that explains the leak as well as the person who is named first, or better, by the orders alone, or nil: its key may have been
// stolen, or the person may have used it.
func (u *unit) app() *candidate {
	for _, m := range u.members[1:] {
		if m.Kind == moat.App && u.members[0].isPerson() && m.alone >= u.members[0].alone {
			return m
		}
	}
	return nil
}

func and(more []string) string {
	if len(more) == 0 {
		return ""
	}
	return ", at " + strings.Join(more, ", ")
}

func title(x *candidate) string {
	if x.Kind == moat.Account {
		return x.ID
	}
	return KindName(x.Kind) + " " + x.ID
}

// acts calls fn for each touch of x on the orders of hits.
func (c *trial) acts(x *candidate, hits []hit, fn func(order int, t *Touch)) {
	place := c.index[x.Owner]
	for _, h := range hits {
		o := &c.orders[h.order]
		for i := range o.touch {
			t := &o.touch[i]
			if c.counts(t, o.At) == 0 {
				continue
			}
			if a, b := c.of(t); slices.Contains(a, place) || slices.Contains(b, place) {
				fn(h.order, t)
			}
		}
	}
}

// path is what most of the touches went through: who, with what, from where, through what, to where.
func (c *trial) path(x *candidate, hits []hit) []Step {
	count := map[Owner]map[int]bool{}
	c.acts(x, hits, func(order int, t *Touch) {
		a, b := c.of(t)
		for _, list := range [2][]int{a, b} {
			for _, i := range list {
				o := c.cands[i].Owner
				if count[o] == nil {
					count[o] = map[int]bool{}
				}
				count[o][order] = true
			}
		}
	})
	best := map[moat.EntityKind]Owner{}
	for o, orders := range count {
		b, ok := best[o.Kind]
		if !ok || len(orders) > len(count[b]) || len(orders) == len(count[b]) && compareOwners(o, b) < 0 {
			best[o.Kind] = o
		}
	}
	path := []Step{}
	for _, k := range []moat.EntityKind{moat.Account, moat.Device, moat.IP, moat.Host, moat.App, Version, moat.Outlet, moat.Partner, moat.Destination} {
		if o, ok := best[k]; ok {
			if k == x.Kind {
				o = x.Owner
			}
			path = append(path, Step{KindName(k), o.ID, len(count[o])})
		}
	}
	return path
}

// reason says in words why a unit is suspected.
func (c *trial) reason(u *unit, s *Source, hits []hit) string {
	face := u.face()
	ops := map[string]map[int]bool{}
	largest := int64(0)
	c.acts(face, hits, func(order int, t *Touch) {
		op := cmp.Or(t.Act.Operation, t.Act.Type.String())
		if ops[op] == nil {
			ops[op] = map[int]bool{}
		}
		ops[op][order] = true
		largest = max(largest, t.Count)
	})
	words := make([]string, 0, len(ops))
	for op := range ops {
		words = append(words, op)
	}
	slices.SortFunc(words, func(a, b string) int { return cmp.Or(len(ops[b])-len(ops[a]), cmp.Compare(a, b)) })
	for i, op := range words[:min(3, len(words))] {
		words[i] = fmt.Sprintf("%s of %d", op, len(ops[op]))
	}
	who := title(face)
	if u.alone {
		who = title(u.members[0]) + " at " + who
	}
	weight := fmt.Sprintf("%s times what chance would give (%s)", round(s.Lift), chance(s.P))
	text := fmt.Sprintf("%s had %d of the %d leaked orders in hand before they leaked", who, max(len(face.hits), len(face.every)), len(c.orders))
	if face == u.lead {
		text += ", " + weight
	}
	text += ", by " + strings.Join(words[:min(3, len(words))], ", ")
	if largest > 1 {
		text += fmt.Sprintf(", up to %d orders at once", largest)
	}
	if s.Until-s.Since < moat.Second {
		text += "; at " + clock(s.Since)
	} else {
		text += fmt.Sprintf("; nearly all of it from %s to %s", clock(s.Since), clock(s.Until))
	}
	if face != u.lead {
		text += fmt.Sprintf("; the figures are those of %s, which cannot be told from it and had %d, %s", title(u.lead), s.Leaked, weight)
	}
	if app := u.app(); app != nil {
		text += fmt.Sprintf("; %s had the same in hand and explains it as well: the person may have leaked them, or whoever has a key of the app", title(app))
	}
	if s.Shown < 0.2 {
		text += "; it saw them masked or by their ids only"
	}
	return text + "."
}

func clock(t moat.Time) string { return t.Std().Format(time.DateTime) }

// Chance writes [Source.P] with two digits, such that what is above the 0.01 that a name may have does not look like it.
func Chance(p float64) string {
	switch {
	case p < 1e-12:
		return "< 1e-12"
	case p > namedP && p <= namedP*1.05:
		return fmt.Sprintf("> %g", namedP)
	}
	return fmt.Sprintf("%.2g", p)
}

func chance(p float64) string {
	if s := Chance(p); s[0] == '<' || s[0] == '>' {
		return "p " + s
	}
	return "p = " + Chance(p)
}

// round writes a multiple, rounded down: what falls short must not look as if it did not.
func round(x float64) string {
	if x >= 10 {
		return fmt.Sprintf("%.0f", math.Floor(x))
	}
	return fmt.Sprintf("%.1f", math.Floor(10*x)/10)
}

// Probability writes [Source.Posterior], such that what is below the half that a name needs does not look like it.
func Probability(p float64) string {
	if p < namedFrom {
		p = min(p, namedFrom-0.01)
	}
	return fmt.Sprintf("%.2f", p)
}
