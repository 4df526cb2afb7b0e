package risk

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/moat-platform/moat"
)

// kept is the form of a Keeper in a snapshot.
type kept struct {
	Entities []keptEntity
	Cases    []*open
	Links    []keptLink
	Newest   map[string]moat.Time
	Swept    [2]int
	Lost     uint64
	Settled  []keptSettled
	Lessons  uint64 // the last that was learned
}

type keptSettled struct {
	Partner string
	Entity  moat.Entity
	settlement
}

type keptEntity struct {
	Partner  string
	Entity   moat.Entity
	Evidence evidence
}

type keptLink struct {
	Partner string
	Entity  moat.Entity
	Case    string
}

// Snapshot writes the whole state but the lessons, of which it notes the number of the last; equal states give equal bytes.
func (k *Keeper) Snapshot(w io.Writer) error {
	s := kept{Newest: k.newest, Swept: k.swept, Lost: k.Lost, Lessons: k.learned.last}
	for key, x := range k.settled {
		s.Settled = append(s.Settled, keptSettled{key.partner, key.entity, *x})
	}
	slices.SortFunc(s.Settled, func(a, b keptSettled) int {
		return subject{a.Partner, a.Entity}.compare(subject{b.Partner, b.Entity})
	})
	for key, ev := range k.entities {
		s.Entities = append(s.Entities, keptEntity{key.partner, key.entity, *ev})
	}
	for _, o := range k.cases {
		s.Cases = append(s.Cases, o)
	}
	for key, id := range k.links {
		s.Links = append(s.Links, keptLink{key.partner, key.entity, id})
	}
	slices.SortFunc(s.Entities, func(a, b keptEntity) int {
		return subject{a.Partner, a.Entity}.compare(subject{b.Partner, b.Entity})
	})
	slices.SortFunc(s.Cases, func(a, b *open) int { return cmp.Compare(a.Case.ID, b.Case.ID) })
	slices.SortFunc(s.Links, func(a, b keptLink) int {
		return subject{a.Partner, a.Entity}.compare(subject{b.Partner, b.Entity})
	})
	if err := json.NewEncoder(w).Encode(&s); err != nil {
		return fmt.Errorf("cannot write risks: %w", err)
	}
	return nil
}

// Restore reads a snapshot into a keeper that knows nothing and returns the number of the last lesson that it had
// learned: give it those, in order, to [Keeper.Learned]. After an error the keeper must not be used.
func (k *Keeper) Restore(r io.Reader) (lessons uint64, err error) {
	var s kept
	if err := json.NewDecoder(r).Decode(&s); err != nil {
		return 0, fmt.Errorf("cannot read risks: %w", err)
	}
	for i := range s.Settled {
		x := &s.Settled[i]
		k.settled[subject{x.Partner, x.Entity}] = &x.settlement
	}
	k.swept, k.Lost = s.Swept, s.Lost
	for p, t := range s.Newest {
		k.newest[p] = t
	}
	for i := range s.Entities {
		e := &s.Entities[i]
		k.entities[subject{e.Partner, e.Entity}] = &e.Evidence
	}
	for _, o := range s.Cases {
		if o == nil || len(o.Times) != len(o.Case.Findings) {
			return 0, errors.New("cannot read risks: a case is not whole")
		}
		if o.Exposed == nil {
			o.Exposed = map[string]int64{}
		}
		if o.Since == nil {
			o.Since = map[string]moat.Time{}
		}
		for _, x := range o.Evidence {
			if x.Enforce {
				o.Enforcers = appendNew(o.Enforcers, MaxFindings, x.Detector)
			}
		}
		k.cases[o.Case.ID] = o
		if o.Case.Background {
			if last := k.cases[k.rolls[o.Case.Partner]]; last == nil || last.Case.Opened < o.Case.Opened {
				k.rolls[o.Case.Partner] = o.Case.ID
			}
		}
	}
	for _, l := range s.Links {
		k.links[subject{l.Partner, l.Entity}] = l.Case
	}
	return s.Lessons, nil
}
