package risk

import (
	"slices"

	"github.com/moat-platform/moat"
)

// Telling is how long a case tells of one thing. What is found later of its subject goes into it as long as it is more of the same: somebody has seen the case by then and has
// made up his mind of what it is, a trip or a new telephone. If what is found later rests on other things, and would have opened a case without what
// is told there, it opens one beside it that [moat.Case.Follows] the older; else a theft would be told to nobody because of whatever was noticed of its victim
// some days before. From then on what is found of the subject goes into the newer one.
const Telling = moat.Day

// unheard is what speaks of the subject of f and not in the case, which had its day: what it rests on took no part in the case by then. What is heard of
// a theft outside, and what only joins, tells nothing new.
func (o *open) unheard(f *moat.Finding, ev evidence) evidence {
	if o == nil || o.Case.Background || f.Background || f.Joins || f.Basis == echo {
		return nil
	}
	young := o.Case.Opened + Telling
	if f.Time <= young {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(ev), func(s share) bool {
		first, told := o.Since[s.Basis]
		return s.At <= young || s.Basis == joined || told && first <= young
	})
}

// heard notes when a basis first took part in the case.
func (o *open) heard(basis string, at moat.Time) {
	if first, ok := o.Since[basis]; !ok || at < first {
		o.Since[basis] = at
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
