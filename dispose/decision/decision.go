// Package decision knows which decisions are in force for whom, and how many
// may begin before a person must look.
//
// Use [Budget] where the engine's cases become decisions, with event time, so
// that a replay decides the same; use [Desk] to ask what is in force, and for
// what people do with decisions: undo, approve, decide.
//
// It will not choose decisions (package playbook does), store them (package
// book does) or carry them out (enforcers do).
package decision

import (
	"fmt"
	"net/netip"

	"github.com/moat-platform/moat"
)

// Target is whom a decision of a partner is about.
type Target struct {
	Scope string // an entity kind, or range, session, api_key
	Value string
}

// Block tells whether an action ends someone's work, and so counts against the
// harm budget; milder ones only slow it down.
func Block(a moat.Action) bool { return a >= moat.Deny }

// Wide tells whether d ends the work of many at once: of a whole partner, an
// application, a server, a role, or a network of more than 256 IPv4 addresses or wider
// than a site's /48.
func Wide(d *moat.Decision) bool {
	if !Block(d.Action) {
		return false
	}
	switch d.Scope {
	case moat.Partner.String(), moat.App.String(), moat.Host.String(), moat.Peers.String():
		return true
	case "range":
		p, err := netip.ParsePrefix(d.Value)
		return err != nil || p.Addr().Is4() && p.Bits() < 24 || p.Addr().Is6() && p.Bits() < 48
	}
	return false
}

// Approvers returns how many different people must approve d if it waits for
// approval. Who made it by hand is one of them.
func Approvers(d *moat.Decision) int {
	if Wide(d) {
		return 2
	}
	return 1
}

// wideReason is the Approval of a wide decision.
func wideReason(d *moat.Decision) string {
	return fmt.Sprintf("%s on a whole %s: two people must approve", d.Action, d.Scope)
}
