package moat

import (
	"fmt"
	"strconv"
)

// Action is what an enforcer does, in rising order of severity.
type Action uint8

// The actions.
const (
	Allow Action = iota
	ObserveOnly
	Verify
	Throttle
	Mask
	ReadOnly
	Deny
	Ban
	Isolate
)

var actionNames = []string{"allow", "observe", "verify", "throttle", "mask", "read_only", "deny", "ban", "isolate"}

// String returns the action as it is written in JSON: "verify", …
func (a Action) String() string { return enumText(actionNames, uint8(a)) }

// MarshalText writes [Action.String].
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what [Action.String] writes.
func (a *Action) UnmarshalText(b []byte) error {
	for i, n := range actionNames {
		if n == string(b) {
			*a = Action(i)
			return nil
		}
	}
	return fmt.Errorf("unknown action %.20q: want one of observe, verify, throttle, mask, read_only, deny, ban, isolate", b)
}

// Decision is what is to be done to whom, until when. Every decision expires
// and can be undone.
type Decision struct {
	ID      string `json:"id"`
	Partner string `json:"partner"`
	Scope   string `json:"scope"` // an entity kind, or range, session, api_key
	Value   string `json:"value"`
	Action  Action `json:"action"`
	From    Time   `json:"from"`
	Until   Time   `json:"until"`
	Origin  string `json:"origin"` // playbook, or who made it
	Case    string `json:"case,omitempty"`
	Reason  string `json:"reason"`
	// Approval is "" when it is in force, or why a person must approve it first.
	Approval string `json:"approval,omitempty"`
	Undone   Time   `json:"undone,omitzero"`
	UndoneBy string `json:"undone_by,omitempty"`
}

// Active tells whether d is in force at t.
func (d *Decision) Active(t Time) bool {
	return d.Approval == "" && d.Undone == 0 && d.From <= t && t < d.Until
}

// DecisionID returns the id of the decision that a case brings on a target, for the n-th time: one that has
// expired may be needed again.
func DecisionID(caseID, scope, value string, action Action, n int64) string {
	return stableID("d", caseID, scope, value, action.String(), strconv.FormatInt(n, 10))
}
