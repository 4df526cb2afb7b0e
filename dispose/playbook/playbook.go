// Package playbook turns cases into decisions: a policy in YAML says which
// decisions a rank brings, on whom and for how long.
//
// Use [Default] or [Load] once, then [Playbook.Decide] whenever a case is new,
// gets worse or grows.
//
// It will not look at what was decided before, count harm or ask anybody
// (package decision does), and it knows no clock.
package playbook

import (
	_ "embed"
	"slices"

	"github.com/moat-platform/moat"
)

//go:embed playbook.yaml
var defaultText []byte

// Role says which entities of a case a step is about.
type Role string

// The roles.
const (
	Subject Role = "subject" // whom the case is about
	Related Role = "related" // its other entities
	// Stranger is what the thief brought with him, as far as is known: an address or a device that nobody had used.
	Stranger Role = "stranger"
)

// Step is one decision that a rank brings.
type Step struct {
	Action moat.Action
	On     Role
	Kinds  []moat.EntityKind
	For    moat.Time
}

// Playbook says which decisions a rank brings. It does not change after it is
// loaded and may be used by many goroutines.
type Playbook struct {
	ranks [moat.P4 + 1][]Step
}

// maxTargets bounds the decisions that one call of Decide returns.
const maxTargets = 100

// Default returns the playbook that ships.
func Default() *Playbook {
	p, err := Load("playbook.yaml", defaultText)
	if err != nil {
		panic("BUG: the playbook that ships is wrong: " + err.Error())
	}
	return p
}

// DefaultText returns the text of the playbook that ships, to begin one's own from.
func DefaultText() string { return string(defaultText) }

// Steps returns what a rank brings.
func (p *Playbook) Steps(r moat.Rank) []Step {
	if int(r) >= len(p.ranks) {
		return nil
	}
	return slices.Clone(p.ranks[r])
}

// Decide returns what a rank brings at now, event time: that of the subject, which may be milder than that of
// the case. What is decided about the subject has the reason that is given, what is decided about others that of the case. Asking again
// for the same case gives the same ids, and ids are what makes a decision: so
// a case that grows adds decisions, one that gets worse adds stronger ones, and
// neither changes those that it brought before. A rank can only bring steps at
// least as strong as a milder one's ([Load] sees to it). Where strangers are known, an account or an app is never denied but masked at most: it is its owner's, and the thief is kept out by
// what is his. A closed or merged
// case and one without a rank bring nothing.
func (p *Playbook) Decide(c moat.Case, subject moat.Entity, reason string, rank moat.Rank, now moat.Time) []moat.Decision {
	if c.State == moat.CaseClosed || c.Merged != "" || int(rank) >= len(p.ranks) {
		return nil
	}
	var all []moat.Decision
	for _, s := range p.ranks[rank] {
		targets := []moat.Entity{subject}
		switch s.On {
		case Related:
			targets = c.Entities
		case Stranger:
			targets = c.Strange
		}
		for i, e := range targets {
			if s.On == Related && (e == subject || slices.Contains(targets[:i], e)) {
				continue
			}
			if e.ID == "" || !slices.Contains(s.Kinds, e.Kind) || len(all) >= maxTargets {
				continue
			}
			action := s.Action
			if len(c.Strange) > 0 && (e.Kind == moat.Account || e.Kind == moat.App) {
				action = min(action, moat.Mask)
			}
			why := c.Reason
			if e == subject {
				why = reason
			}
			all = append(all, moat.Decision{
				ID: moat.DecisionID(c.ID, e.Kind.String(), e.ID, action, int64((now-c.Opened)/s.For)), Partner: c.Partner, Scope: e.Kind.String(), Value: e.ID,
				Action: action, From: now, Until: now + s.For, Origin: "playbook", Case: c.ID, Reason: why,
			})
		}
	}
	return all
}
