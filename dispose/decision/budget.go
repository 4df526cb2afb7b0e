package decision

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/moat-platform/moat"
)

// Limits is the harm that may be done to a partner before a person must look.
// A zero field takes its default.
type Limits struct {
	BlocksPerHour int     `json:"blocks_per_hour"` // that may begin by themselves within an hour; 20
	AccountShare  float64 `json:"account_share"`   // of the active accounts that may be blocked at once, 0..1; 0.05
	AccountsFree  int     `json:"accounts_free"`   // that may be blocked at once whatever their share, for small partners; 3
}

func (l *Limits) fill() {
	if l.BlocksPerHour <= 0 {
		l.BlocksPerHour = 20
	}
	if l.AccountShare <= 0 {
		l.AccountShare = 0.05
	}
	if l.AccountsFree <= 0 {
		l.AccountsFree = 3
	}
}

// maxMade bounds how many decisions of a partner a Budget remembers. Beyond it
// a block must be approved, and the book drops what it has already.
const maxMade = 10_000

// Budget counts the blocks that began by themselves, per partner, in event
// time. It knows no clock and does no I/O: the same decisions in the same
// order are ruled the same, live and in replay. One goroutine may use it; a
// partner's decisions must all go through the same one.
//
// What people undo does not come back into the budget: their acts are not in
// the log, so counting them would make a replay decide otherwise.
type Budget struct {
	limits   Limits
	partners map[string]*spent
}

// spent is what one partner's budget was spent on.
type spent struct {
	Latest  moat.Time            `json:"latest"`  // newest event time seen; time never goes back
	Begun   []moat.Time          `json:"begun"`   // blocks of the last hour, oldest first
	Blocked map[string]moat.Time `json:"blocked"` // "scope value" → until
	Held    map[string]held      `json:"held"`    // what the playbook brought that is not over, by thread

	next moat.Time // when the first of Blocked and Held ends; 0: look
}

// held is a decision that is not over.
type held struct {
	ID    string    `json:"id"`
	From  moat.Time `json:"from"`
	Until moat.Time `json:"until"`
	// Waits tells that a person must approve it first. It is not prolonged but made again when it is over, since there may be room in the budget then.
	Waits bool `json:"waits,omitempty"`
}

// thread names what a case wants done to a target, however often it says so.
func thread(d *moat.Decision) string {
	return d.Case + " " + d.Action.String() + " " + d.Scope + " " + d.Value
}

// NewBudget returns a budget of which nothing is spent.
func NewBudget(l Limits) *Budget {
	l.fill()
	return &Budget{limits: l, partners: map[string]*spent{}}
}

// Rule returns those of the decisions that are new, in order, with Approval
// set on those that a person must approve first: wide ones, and blocks beyond
// the budget. A case asks for the same again whenever something is added to it: while a decision
// that was ruled before is not over, it is left out; when less than half of it
// is left, the same decision comes back with a later Until. One that was undone thus stays undone for as long as
// its case goes on asking.
// activeAccounts is how many accounts the partner has at work, by event time.
func (b *Budget) Rule(decisions []moat.Decision, activeAccounts int) []moat.Decision {
	var fresh []moat.Decision
	for _, d := range decisions {
		s := b.partners[d.Partner]
		if s == nil {
			s = &spent{Blocked: map[string]moat.Time{}, Held: map[string]held{}}
			b.partners[d.Partner] = s
		}
		s.advance(d.From)
		key := thread(&d)
		if h, ok := s.Held[key]; ok {
			if h.Waits || h.Until-d.From >= (d.Until-d.From)/2 {
				continue
			}
			d.ID, d.From = h.ID, h.From
			if target := d.Scope + " " + d.Value; s.Blocked[target] == h.Until {
				s.Blocked[target] = d.Until
			}
		} else if Block(d.Action) {
			d.Approval = b.spend(s, &d, activeAccounts)
		}
		if _, ok := s.Held[key]; ok || len(s.Held) < maxMade {
			s.Held[key] = held{d.ID, d.From, d.Until, d.Approval != ""}
			s.next = min(s.next, d.Until)
		}
		fresh = append(fresh, d)
	}
	return fresh
}

// spend takes a block from the budget, or says why it cannot.
func (b *Budget) spend(s *spent, d *moat.Decision, activeAccounts int) string {
	target := d.Scope + " " + d.Value
	until, already := s.Blocked[target]
	switch {
	case Wide(d):
		return wideReason(d)
	case already && until >= d.Until:
		return "" // blocked as long by another case: this one does no more harm
	case len(s.Begun) >= b.limits.BlocksPerHour:
		return fmt.Sprintf("harm budget: %d blocks began within an hour", len(s.Begun))
	case len(s.Held) >= maxMade:
		return fmt.Sprintf("harm budget: %d decisions are in force", len(s.Held))
	}
	if d.Scope == moat.Account.String() && !already {
		blocked := s.accounts()
		if blocked >= max(b.limits.AccountsFree, int(b.limits.AccountShare*float64(activeAccounts))) {
			return fmt.Sprintf("harm budget: %d of %d active accounts are blocked", blocked, activeAccounts)
		}
	}
	s.Begun = append(s.Begun, s.Latest)
	s.Blocked[target] = d.Until
	s.next = min(s.next, d.Until)
	return ""
}

// accounts returns how many accounts are blocked.
func (s *spent) accounts() (n int) {
	prefix := moat.Account.String() + " "
	for target := range s.Blocked {
		if len(target) > len(prefix) && target[:len(prefix)] == prefix {
			n++
		}
	}
	return n
}

// advance moves event time on and forgets what is over.
func (s *spent) advance(now moat.Time) {
	s.Latest = max(s.Latest, now)
	old, _ := slices.BinarySearch(s.Begun, s.Latest-moat.Hour+1)
	s.Begun = slices.Delete(s.Begun, 0, old)
	if s.Latest < s.next {
		return
	}
	const never = moat.Time(1<<63 - 1)
	s.next = never
	for key, until := range s.Blocked {
		if until <= s.Latest {
			delete(s.Blocked, key)
		} else {
			s.next = min(s.next, until)
		}
	}
	for key, h := range s.Held {
		if h.Until <= s.Latest {
			delete(s.Held, key)
		} else {
			s.next = min(s.next, h.Until)
		}
	}
}

// MarshalBinary returns the state for a snapshot: the same state, the same bytes.
func (b *Budget) MarshalBinary() ([]byte, error) {
	state, err := json.Marshal(b.partners)
	if err != nil {
		return nil, fmt.Errorf("cannot write harm budget: %w", err)
	}
	return state, nil
}

// UnmarshalBinary takes the state from a snapshot; the limits stay. After an
// error nothing has changed.
func (b *Budget) UnmarshalBinary(state []byte) error {
	var partners map[string]*spent
	if err := json.Unmarshal(state, &partners); err != nil {
		return fmt.Errorf("cannot read harm budget: %w", err)
	}
	for name, s := range partners {
		if s != nil && s.Held == nil { // written before decisions were prolonged: those in force are made again, under the same ids
			s.Held = map[string]held{}
		}
		if s == nil || s.Blocked == nil || !slices.IsSorted(s.Begun) ||
			len(s.Begun) > 0 && s.Begun[len(s.Begun)-1] > s.Latest || len(s.Held) > maxMade {
			return fmt.Errorf("cannot read harm budget: what is said of partner %.40q cannot be", name)
		}
	}
	if partners == nil {
		partners = map[string]*spent{}
	}
	b.partners = partners
	return nil
}
