package risk

import "github.com/moat-platform/moat"

// Roll is how long a case of background findings takes in more; then the next one begins, so that nothing grows for ever.
const Roll = 30 * moat.Day

// What everybody lives with who can be reached from the internet, such as guesses at logins of servers, would fill the list
// of cases with one for each address. Its findings go into one case a partner instead, of the last rank:
// nobody can ask a scanner who it is, and nothing is lost until one gets in. They tie nothing together: when an address gets in, what is found then opens
// a case of its own, and what was found of it before belongs to that story.

// rolling returns the case that a background finding goes into: that of its entity if there is one, else the one that rolls.
func (k *Keeper) rolling(f *moat.Finding) *open {
	if o := k.cases[k.links[subject{f.Partner, f.Entity}]]; o != nil && f.Time-o.Case.Updated <= Quiet {
		return o
	}
	o := k.cases[k.rolls[f.Partner]]
	if o == nil || f.Time-o.Case.Opened > Roll {
		return nil
	}
	return o
}

// house is whom a rolling case of a partner is about when it was judged.
func house(partner string) subject {
	return subject{partner, moat.Entity{Kind: moat.Partner, ID: partner}}
}
