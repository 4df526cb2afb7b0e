package drill

import (
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/sim/truth"
)

// sharers notes which addresses and devices honest accounts use, so that naming the address of an
// office does not pass for naming the thief in it.
type sharers struct {
	users map[place][2]string // up to two accounts
}

type place struct {
	partner string
	entity  moat.Entity
}

// maxPlaces bounds the memory. A place beyond it counts as nobody's.
const maxPlaces = 1 << 21

func newSharers() *sharers { return &sharers{users: map[place][2]string{}} }

// see takes in a day, with the thefts so far: what a thief did is no honest use.
func (s *sharers) see(day []*moat.Event, thefts []truth.Theft) {
	acts := map[string]bool{}
	for i := range thefts {
		for _, a := range thefts[i].Acts {
			acts[a.Event] = true
		}
	}
	for _, e := range day {
		who := e.EntityID(moat.Account)
		if who == "" || e.Outcome != moat.Success || acts[e.ID] {
			continue
		}
		for _, k := range [...]moat.EntityKind{moat.IP, moat.Device} {
			id := e.EntityID(k)
			if id == "" {
				continue
			}
			at := place{e.Partner, moat.Entity{Kind: k, ID: id}}
			u, known := s.users[at]
			switch {
			case u[0] == who || u[1] != "" || !known && len(s.users) == maxPlaces:
				continue
			case u[0] == "":
				u[0] = who
			default:
				u[1] = who
			}
			s.users[at] = u
		}
	}
}

// mark adds to the theft's shared culprits those that two honest accounts used.
func (s *sharers) mark(t *truth.Theft) {
	t.Shared = slices.Clone(t.Shared)
	for _, c := range t.Culprits {
		shared := slices.ContainsFunc(append([]string{t.Partner}, t.Elsewhere...), func(p string) bool { return s.users[place{p, c}][1] != "" })
		if shared && !slices.Contains(t.Shared, c) {
			t.Shared = append(t.Shared, c)
		}
	}
}
