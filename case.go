package moat

import "fmt"

// Rank orders risks by expected damage: P1 is the worst.
type Rank uint8

// The ranks. NoRank is "not worth a case".
const (
	NoRank Rank = iota
	P1
	P2
	P3
	P4
)

var rankNames = []string{"", "P1", "P2", "P3", "P4"}

// String returns "P1" … "P4".
func (r Rank) String() string { return enumText(rankNames, uint8(r)) }

// MarshalText writes [Rank.String].
func (r Rank) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what [Rank.String] writes.
func (r *Rank) UnmarshalText(b []byte) error {
	for i, n := range rankNames {
		if n == string(b) {
			*r = Rank(i)
			return nil
		}
	}
	return fmt.Errorf("unknown rank %.20q: want P1, P2, P3 or P4", b)
}

// Share is how much one family of findings gave to a risk.
type Share struct {
	Family   string  `json:"family"`
	Detector string  `json:"detector"` // the strongest of the family
	LogOdds  float64 `json:"log_odds"` // what is left of it after decay
	Finding  string  `json:"finding"`  // id
}

// Risk is what findings add up to for an entity at one time.
type Risk struct {
	Entity  Entity  `json:"entity"`
	Partner string  `json:"partner"`
	Time    Time    `json:"time"`
	Score   float64 `json:"score"`  // 0..100
	Shares  []Share `json:"shares"` // strongest first; with the prior they sum to the log-odds of Score
}

// Case is findings that belong together, worked as one. The engine writes all
// of it but what people decide: State, Owner and Verdict.
type Case struct {
	ID        string   `json:"id"`
	Partner   string   `json:"partner"`
	Rank      Rank     `json:"rank"`
	Score     float64  `json:"score"`  // highest risk among its entities so far, 0..100
	Damage    float64  `json:"damage"` // expected number of people harmed, weighted by what was shown
	Orders    int64    `json:"orders"` // exposed, about: exact up to 12, then ±13 %; masked ones are not
	Opened    Time     `json:"opened"`
	Updated   Time     `json:"updated"`
	Title     string   `json:"title"`
	Reason    string   `json:"reason"`
	Entities  []Entity `json:"entities"`           // the subject first
	Strange   []Entity `json:"strange,omitempty"`  // addresses and devices that a thief brought with him, as far as is known
	Detectors []string `json:"detectors"`          // in the order in which they fired
	Findings  []string `json:"findings"`           // ids, in time order; the newest 200
	Merged    string   `json:"merged,omitempty"`   // id of the case that it went into
	Follows   string   `json:"follows,omitempty"`  // id of the older case of its subject beside which it was opened, since it rests on something else
	Campaign  string   `json:"campaign,omitempty"` // id of the [Campaign] that it belongs to, in what the book says
	// Background says that it gathers what everybody lives with: see [Finding.Background].
	Background bool `json:"background,omitempty"`

	State   CaseState `json:"state"`
	Owner   string    `json:"owner,omitempty"`
	Verdict Verdict   `json:"verdict,omitempty"`
}

// Campaign is the cases of one attacker, as far as what he brought with him tells: an address or a device that they
// share. They are worked as one; a case that shares nothing is a campaign by itself. Who sees one partner's cases sees
// campaigns of these alone.
type Campaign struct {
	ID       string   `json:"id"`     // of the case that it began with
	Rank     Rank     `json:"rank"`   // by Damage
	Score    float64  `json:"score"`  // highest of its cases, 0..100
	Damage   float64  `json:"damage"` // of all of them
	Orders   int64    `json:"orders"` // of all of them, about
	Opened   Time     `json:"opened"`
	Updated  Time     `json:"updated"`
	Title    string   `json:"title"` // of its worst case
	Reason   string   `json:"reason"`
	Worst    string   `json:"worst"`             // id of that
	Subject  Entity   `json:"subject"`           // of that; of several cases the source that most of them share
	Sources  []Entity `json:"sources,omitempty"` // addresses and devices that it came from, the most shared first; at most 64
	Partners []string `json:"partners"`
	Cases    int      `json:"cases"`
	// Background says that all of them are: see [Case.Background].
	Background bool      `json:"background,omitempty"`
	State      CaseState `json:"state"` // open while one of them is
	Owner      string    `json:"owner,omitempty"`
	Verdict    Verdict   `json:"verdict,omitempty"` // and Owner: if they have the same
}

// CaseState is where the work on a case stands.
type CaseState string

// The states of a case.
const (
	CaseOpen   CaseState = "open"
	CaseClosed CaseState = "closed"
)

// Verdict is what an analyst decided about a case.
type Verdict string

// The verdicts.
const (
	NoVerdict  Verdict = ""
	Confirmed  Verdict = "confirmed"
	FalseAlarm Verdict = "false_alarm"
	Accepted   Verdict = "accepted"
)

// CaseID returns the id of the case that the finding with that id opens.
func CaseID(finding string) string { return stableID("c", finding) }
