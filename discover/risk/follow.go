package risk

import (
	"slices"

	"github.com/moat-platform/moat"
)

// Telling is how long a case tells of one thing. What is found later of its subject goes into it as long as it is more of the same: somebody has seen the case by then and has
// made up his mind of what it is, a trip or a new telephone. If what is found later rests on other things, and opens a case without what
// is told there, that case stands beside it and [moat.Case.Follows] it; else a theft would be told to nobody because of whatever was noticed of its victim
// some days before. From then on what is found of the subject goes into the newer one.
//
// The same holds once a case is quiet: what it told counts for the risk, but a trifle that comes on top of it opens no other.
const Telling = moat.Day

// tells tells whether what rests on a basis is told in the case: it was found while the case was young, or is more of the same.
func (o *open) tells(basis string) bool {
	first, ok := o.Since[basis]
	return ok && first <= o.Case.Opened+Telling
}

// hadItsDay tells whether something else than the case tells may be told beside it by f: what is heard of a theft outside, and what only joins, is not.
func (o *open) hadItsDay(f *moat.Finding) bool {
	return !o.Case.Background && !f.Background && !f.Joins && f.Basis != echo && f.Time > o.Case.Opened+Telling
}

// heard notes when a basis first took part in the case.
func (o *open) heard(basis string, at moat.Time) {
	if first, ok := o.Since[basis]; !ok || at < first {
		o.Since[basis] = at
	}
}

// news is what no case of the entity told: neither one before, nor o, if it is not nil. What everybody lives with is no case of its own.
func (ev evidence) news(o *open) evidence {
	return slices.DeleteFunc(slices.Clone(ev), func(s share) bool { return s.Told || o != nil && !o.Case.Background && o.tells(s.Basis) })
}

// tell notes what is told of the entity in its case. What joins may join another, too.
func (ev evidence) tell(o *open) {
	for i := range ev {
		if s := &ev[i]; s.Basis != joined && o.tells(s.Basis) {
			s.Told = true
		}
	}
}

// follows tells whether the case was opened beside the older one, or beside one that was.
func (k *Keeper) follows(o, older *open) bool {
	for o != nil && o.Case.Follows != "" {
		if o.Case.Follows == older.Case.ID {
			return true
		}
		o = k.cases[o.Case.Follows]
	}
	return false
}
