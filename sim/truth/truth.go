// Package truth says what the thieves of a simulated ecosystem really did, and compares with it
// what was found.
//
// Use it to measure any detection: a simulation hands out its [Theft]s, [Judge] tells which of
// them the cases found, when, and which cases are about nothing.
//
// It will not look at events: what a thief did is what his simulation says he did.
package truth

import "github.com/moat-platform/moat"

// Theft is what one thief did.
type Theft struct {
	Name    string `json:"name"`              // of its kind: "stolen app key"
	Variant string `json:"variant,omitempty"` // how he went about it: "careful" imitates his victim's habits
	Partner string `json:"partner"`
	// Elsewhere are the other partners that he stole from.
	Elsewhere []string `json:"elsewhere,omitempty"`
	// Slow says that it is a drip of days, not a burst of hours.
	Slow bool `json:"slow,omitempty"`
	// From and To are the first and the last act.
	From moat.Time `json:"from"`
	To   moat.Time `json:"to"`
	// Culprits are what the thief acted as and from: the account that was taken over or bribed, the
	// device, the address, the server that was broken into, the app whose key was stolen.
	Culprits []moat.Entity `json:"culprits"`
	// Shared are those of the culprits that honest people use, too: the address of an office, the
	// computer of a packing table. An address that is shared names nobody; see [Judge].
	Shared []moat.Entity `json:"shared,omitempty"`
	Acts   []Act         `json:"acts"`
	// Echoes are the events by which others tell of it later: a person whose order he sold is called, a planted
	// order is used. They are true and name nobody.
	Echoes []Echo `json:"echoes,omitempty"`
}

// Echo is an event that only the theft brought about.
type Echo struct {
	Partner string    `json:"partner"` // that is told of it, which may be another than the one that was robbed
	Event   string    `json:"event"`   // id
	Time    moat.Time `json:"time"`
}

// Act is one event of a thief.
type Act struct {
	Event  string    `json:"event"`            // id
	Time   moat.Time `json:"time"`             // when it happened by its partner's clock, or when it was received if that is earlier
	Orders []string  `json:"orders,omitempty"` // what was seen or taken; those refused are not counted
	Rows   int64     `json:"rows,omitempty"`   // what was taken without order ids
}
