package moat

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strconv"
)

// Mode says how far a detector is trusted.
type Mode uint8

// The modes, in rising order of effect.
const (
	Shadow  Mode = iota // found and shown, not counted
	Observe             // counted into risk, brings no decision
	Enforce             // counted, and may bring decisions
)

var modeNames = []string{"shadow", "observe", "enforce"}

// String returns "shadow", "observe" or "enforce".
func (m Mode) String() string { return enumText(modeNames, uint8(m)) }

// MarshalText writes [Mode.String].
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what [Mode.String] writes.
func (m *Mode) UnmarshalText(b []byte) error {
	for i, n := range modeNames {
		if n == string(b) {
			*m = Mode(i)
			return nil
		}
	}
	return fmt.Errorf("unknown mode %.40q: want shadow, observe or enforce", b)
}

// Evidence is one number that made a detector fire.
type Evidence struct {
	Name  string  `json:"name"` // of the feature or parameter
	Value float64 `json:"value"`
}

// Finding is what a detector saw.
type Finding struct {
	ID        string     `json:"id"` // see [FindingID]
	Time      Time       `json:"time"`
	Partner   string     `json:"partner"`
	Detector  string     `json:"detector"`
	Dimension string     `json:"dimension"`
	Family    string     `json:"family"`
	Basis     string     `json:"basis,omitempty"` // what it rests on; findings of one basis witness the same thing. "" = its family
	Title     string     `json:"title"`
	Mode      Mode       `json:"mode"`
	Snoozed   string     `json:"snoozed,omitempty"` // id of the snooze that put it in shadow
	Entity    Entity     `json:"entity"`            // whose risk it raises
	Related   []Entity   `json:"related,omitempty"` // the other entities of the event, widest last
	Strange   []Entity   `json:"strange,omitempty"` // those of them that it shows to be a stranger's: an address that nobody ever came from
	Channel   string     `json:"channel,omitempty"` // of what was planted: the channel that it stood in; what leaked by one says nothing of another
	Certain   bool       `json:"certain,omitempty"` // needs no second witness
	Score     float64    `json:"score"`             // probability that it is a true theft, 0..1
	Reason    string     `json:"reason"`
	Evidence  []Evidence `json:"evidence,omitempty"`
	Events    []string   `json:"events"` // ids of the events that it rests on, newest first
	Orders    int64      `json:"orders"` // about how many orders, exact up to 12, then ±13 %, of which Entity saw personal data in the last 24 h, not counting what was masked
	Stake     int64      `json:"stake"`  // people at risk if it is true, even if nothing was taken yet
	Weight    float64    `json:"weight"` // sensitivity of what was shown, 0..1
	Egress    bool       `json:"egress"` // the data left the partner's systems
	// Background is what everybody lives with who can be reached from the internet: it opens no case for each entity.
	Background bool `json:"background,omitempty"`
	// Policy is what somebody must know of and agree to, theft or not: a case opens on it, of rank P4 while it is not worth more.
	Policy bool `json:"policy,omitempty"`
	// Joins is what is worth knowing of a case and is none by itself: that many complain says that data leaked, and not from whom. It goes into a
	// case of its entity that is there or opens within two weeks; it opens none, and raises no risk, no rank and no decision.
	Joins  bool     `json:"joins,omitempty"`
	Attack []string `json:"attack,omitempty"`
}

// FindingID returns the id of a finding: made from what it says and not from
// when it was computed, so that computing it again changes nothing.
func FindingID(partner, detector string, entity Entity, event string) string {
	return stableID("f", partner, detector, entity.Kind.String(), entity.ID, event)
}

// ComplaintID returns the id of a complaint about an order at a partner, made from what it says: the same file read
// again changes nothing.
func ComplaintID(partner, order, kind string, contacted Time, reporter, channel string) string {
	return stableID("k", partner, order, kind, strconv.FormatInt(int64(contacted), 10), reporter, channel)
}

// TouchID returns the id of the event that says that an event used a canary.
func TouchID(token, partner, event string) string { return stableID("t", token, partner, event) }

// LotID returns the id of canaries that are planted together.
func LotID(owner, partner, channel, period, kind string, first int) string {
	return stableID("cl", owner, partner, channel, period, kind, strconv.Itoa(first))
}

// SnoozeID returns the id of a snooze that a person made at a time.
func SnoozeID(partner string, entity Entity, detector, by string, at Time) string {
	return stableID("z", partner, entity.Kind.String(), entity.ID, detector, by, strconv.FormatInt(int64(at), 10))
}

// stableID hashes parts, each with its length, to 16 base32 characters after a prefix.
func stableID(prefix string, parts ...string) string {
	b := make([]byte, 0, 256)
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	h := sha256.Sum256(b)
	return prefix + "_" + lowerBase32.EncodeToString(h[:10])
}

var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
