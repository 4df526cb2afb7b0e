// Package risk folds findings into the risk of entities, into ranks by expected damage, and
// into cases.
//
// Use one [Keeper] per partition of the log, from one goroutine, and give it every finding in
// the order in which the engine made them. Like the engine it is a pure fold: the same
// findings give the same risks and cases.
//
// What people say teaches it at a place among the findings: see [Lesson].
//
// It will not decide what is to be done (see package playbook) or read a clock.
package risk

import (
	"cmp"
	"math"
	"slices"

	"github.com/moat-platform/moat"
)

// The constants of the model. They are starting points that are measured by drills.
const (
	// Prior is the probability that an entity is up to no good when nothing was found.
	Prior = 0.01
	// HalfLife is how long a finding takes to lose half of its log-odds.
	HalfLife = 48 * moat.Hour
	// OpenAt is the score from which on an entity is worth a case, unless a calibration says another.
	OpenAt = 50
	// Quiet is how long a case waits for more before a new finding opens another one.
	Quiet = 72 * moat.Hour
	// Witness is the log-odds from which on a share counts as a witness: the odds are fourfold.
	Witness = 1.386
	// EchoWait is the same for what is heard of it outside: data is sold before it is used.
	EchoWait = 14 * moat.Day
	// likely is the score from which on something is more likely right than wrong.
	likely = 50
	// forgotten is the log-odds below which a share counts as nothing.
	forgotten = 0.05
)

// The bases that are looked at by name; a detector names them.
const (
	volume = "volume"
	echo   = "echo"
	dump   = "dump"
)

// Limits of what a case lists and of what a Keeper holds.
const (
	MaxEntities = 64
	MaxFindings = 200
	MaxKept     = 1 << 18 // entities
	MaxCases    = 1 << 15 // open to more findings
)

// share is the strongest finding of one basis about an entity.
type share struct {
	Basis, Family, Detector, Finding string
	Title, Reason                    string
	Channel                          string `json:",omitempty"` // of what was planted
	At                               moat.Time
	LogOdds                          float64 // at At
	Enforce                          bool
	Certain                          bool
	Told                             bool `json:",omitempty"` // in a case of the entity's own: it opens no other
}

// told tells whether the share is worth telling of at now: there is something left of it, or it joined what may still come.
func (s *share) told(now moat.Time) bool {
	return s.left(now) > 0 || s.Basis == joined && now-s.At <= EchoWait
}

// left is what remains of the share at now.
func (s *share) left(now moat.Time) float64 {
	if now <= s.At {
		return s.LogOdds
	}
	if v := s.LogOdds * math.Exp2(-float64(now-s.At)/float64(HalfLife)); v >= forgotten {
		return v
	}
	return 0
}

func logit(p float64) float64   { return math.Log(p / (1 - p)) }
func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// evidence is the shares of an entity or of a case, one a basis, sorted by basis.
type evidence []share

// joined is the basis of what joins: it has a place of its own, so that it never takes that of what weighs something.
const joined = "joined"

// share is what a finding is worth. No finding lowers a risk, and none is certain.
func (k *Keeper) share(f *moat.Finding) share {
	if f.Joins {
		return share{Basis: joined, Family: f.Family, Detector: f.Detector, Finding: f.ID, Title: f.Title, Reason: f.Reason, At: f.Time}
	}
	return share{
		Basis: cmp.Or(f.Basis, f.Family), Family: f.Family, Detector: f.Detector, Finding: f.ID, Title: f.Title, Reason: f.Reason, Channel: f.Channel,
		At: f.Time, LogOdds: worth(k.odds, k.learned, f), Enforce: f.Mode == moat.Enforce, Certain: f.Certain && f.Score >= 0.5,
	}
}

// worth is how many log-odds a finding adds to the prior.
func worth(odds Calibration, learned *Learned, f *moat.Finding) float64 {
	if f.Joins || !(f.Score > Prior) { // nor if it is no number
		return 0
	}
	x := min(odds.logOdds(f.Detector, f.Score)+learned.Shift(f.Partner, f.Detector), logit(mostSure))
	return max(x-logit(Prior), 0)
}

// keep keeps the stronger of s and what the basis had.
func (ev *evidence) keep(s share, now moat.Time) {
	i, ok := slices.BinarySearchFunc(*ev, s.Basis, func(s share, b string) int { return cmp.Compare(s.Basis, b) })
	switch {
	case !ok:
		*ev = slices.Insert(*ev, i, s)
	case s.left(now) >= (*ev)[i].left(now):
		(*ev)[i] = s
	}
}

// score is the probability 0..1 that all shares together mean. Findings of one basis do not
// add up, bases do: they are taken as independent, so their log-odds sum.
func (ev evidence) score(now moat.Time) float64 {
	x := logit(Prior)
	for i := range ev {
		x += ev[i].left(now)
	}
	return sigmoid(x)
}

// corroborated tells whether two witnesses say so that do not rest on the same thing, or one that needs no other.
func (ev evidence) corroborated(now moat.Time) bool {
	n := 0
	for i := range ev {
		if ev[i].left(now) < Witness {
			continue
		}
		if n++; n >= 2 || ev[i].Certain {
			return true
		}
	}
	return false
}

// telling returns the share that tells best what happened, or nil: the strongest, but that much was touched says the
// least and must weigh twice as much as any other.
func (ev evidence) telling(now moat.Time) *share {
	var best *share
	most := -1.0
	for i := range ev {
		v := ev[i].left(now)
		switch ev[i].Basis {
		case joined:
			continue
		case volume:
			v /= 2
		}
		if v > most {
			best, most = &ev[i], v
		}
	}
	return best
}

func (ev evidence) dead(now moat.Time) bool {
	for i := range ev {
		if ev[i].told(now) {
			return false
		}
	}
	return true
}

// shares explains the score, strongest first.
func (ev evidence) shares(now moat.Time) []moat.Share {
	var out []moat.Share
	for i := range ev {
		if v := ev[i].left(now); v > 0 {
			out = append(out, moat.Share{Family: ev[i].Family, Detector: ev[i].Detector, LogOdds: v, Finding: ev[i].Finding})
		}
	}
	slices.SortStableFunc(out, func(a, b moat.Share) int { return cmp.Compare(b.LogOdds, a.LogOdds) })
	return out
}

// Damage is the expected harm, in people whose full data leaves: probability × people ×
// sensitivity of what was shown × how far it got. Data on a screen can be
// copied, but slower than a file: it counts a third.
func Damage(p float64, people int64, weight float64, egress bool) float64 {
	reach := 0.33
	if egress {
		reach = 1
	}
	return p * float64(people) * weight * reach
}

// rank is that of a damage if the evidence is what it rests on: what only one witness says, or what is more likely wrong
// than right, is not among the worst.
func (ev evidence) rank(damage, score float64, now moat.Time) moat.Rank {
	r := sure(RankOf(damage), score)
	if r == moat.P1 && !ev.corroborated(now) {
		return moat.P2
	}
	return r
}

// sure is the rank of what has a score: nothing that is more likely wrong than right is among the worst.
func sure(r moat.Rank, score float64) moat.Rank {
	if score < likely {
		return max(r, moat.P2)
	}
	return r
}

// RankOf returns the rank of an expected damage.
func RankOf(damage float64) moat.Rank {
	switch {
	case damage >= 500:
		return moat.P1
	case damage >= 50:
		return moat.P2
	case damage >= 5:
		return moat.P3
	}
	return moat.P4
}
