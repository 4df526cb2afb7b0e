package story

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/lake"
	"github.com/moat-platform/moat/store/run"
)

// detailed tells which events say more than a diary keeps.
var detailed = [moat.EventTypes]bool{moat.AccountChange: true, moat.DBQuery: true, moat.HostProcess: true, moat.HostFile: true, moat.HostNetwork: true, moat.HostMalware: true}

// sorted returns all groups, the earliest first.
func (g *gathering) sorted() (list []*group) {
	for _, buckets := range g.groups {
		for _, x := range buckets {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.kind, b.kind), cmp.Compare(a.actor, b.actor), cmp.Compare(a.ip, b.ip), cmp.Compare(a.device, b.device),
			cmp.Compare(a.host, b.host), cmp.Compare(a.operation, b.operation), cmp.Compare(a.destination, b.destination), cmp.Compare(a.app, b.app), cmp.Compare(a.outcome, b.outcome))
	})
	return list
}

// suspect returns the hands that findings rest on, and the unusual ones of those that the case names.
func (g *gathering) suspect(list []*group) map[hand]bool {
	suspects := map[hand]bool{}
	for _, x := range list {
		if x.hand != (hand{}) && (x.anchored && g.concerns(x) || !g.usual(x) && (g.ips[x.ip] || g.devices[x.device])) {
			suspects[x.hand] = true
		}
	}
	return suspects
}

// usual tells whether the hand of a group is one that the accounts used before.
func (g *gathering) usual(x *group) bool {
	return g.used[x.hand] || x.device == "" && x.outcome != moat.Success && g.usedFrom[x.ip]
}

// concerns tells whether a group is an act of somebody in the case.
func (g *gathering) concerns(x *group) bool {
	if x.actor != "" && !x.job {
		return g.accounts[x.actor] || len(g.accounts) == 0 && g.apps[x.app] || x.host != "" && g.hosts[x.host] && (x.kind == moat.DBQuery || x.kind >= moat.HostLogin && x.kind <= moat.HostMalware)
	}
	return true
}

// sort is what somebody does.
type sort struct {
	actor, operation string
	kind             moat.EventType
}

// choose returns the groups that belong to the story, the earliest first, with their details.
func (g *gathering) choose(ctx context.Context, s *Story) (list []*group, err error) {
	all := g.sorted()
	suspects := g.suspect(all)
	anchored, visits := map[sort]bool{}, map[string][2]moat.Time{}
	for _, x := range all {
		if x.anchored {
			anchored[sort{x.actor, x.operation, x.kind}] = true
		}
		if x.host != "" && x.outcome == moat.Success && suspects[x.hand] {
			v, ok := visits[x.host]
			if !ok {
				v[0] = x.first
			}
			visits[x.host] = [2]moat.Time{v[0], x.last + margin}
		}
	}
	told := func(x *group) bool {
		switch {
		case x.anchored:
			return true
		case x.kind == moat.Heartbeat || x.kind == moat.AuthLogout || x.kind == moat.ClientSignal:
			return false
		case x.kind == moat.AccountChange:
			return g.accounts[x.actor] || x.detail != nil && g.accounts[x.detail.Object]
		case x.hand == (hand{}): // on a server: what was done while somebody was there whom findings rest on
			v, ok := visits[x.host]
			return ok && x.kind >= moat.HostLogin && x.kind <= moat.HostMalware && x.first >= v[0] && x.last <= v[1]
		case !suspects[x.hand] || !g.concerns(x):
			return false
		}
		// With its usual hands an account does its usual work, too.
		return !g.usual(x) || anchored[sort{x.actor, x.operation, x.kind}]
	}
	var why string
	for _, looked := range []bool{false, true} {
		list = list[:0]
		for _, x := range all {
			if told(x) || !looked && x.kind == moat.AccountChange {
				list = append(list, x)
			}
		}
		if !looked {
			if why, err = g.details(ctx, list); err != nil {
				return nil, err
			}
		}
	}
	for _, x := range list {
		if why != "" && detailed[x.kind] && x.detail == nil {
			if s.Undetailed == nil {
				s.Undetailed = &Undetailed{Why: why}
			}
			s.Undetailed.Acts++
		}
	}
	for _, x := range all {
		if x.actor != "" && (g.accounts[x.actor] || g.apps[x.app]) {
			s.Usual += x.events
		}
	}
	for _, x := range list {
		if x.actor != "" && (g.accounts[x.actor] || g.apps[x.app]) {
			s.Usual -= x.events
		}
	}
	return list, nil
}

// tell makes steps of groups.
func (g *gathering) tell(ctx context.Context, s *Story, list []*group) error {
	list = merged(list, 30*moat.Minute)
	if err := g.begin(ctx, list); err != nil {
		return err
	}
	list = merged(list, 4*moat.Hour)
	for _, gap := range []moat.Time{14 * moat.Hour, 4 * moat.Day, lookBack} {
		if len(list) <= MaxSteps {
			break
		}
		list = merged(list, gap)
	}
	if len(list) > MaxSteps {
		list, s.Cut = weightiest(list, MaxSteps), true
	}
	if g.young {
		s.Steps = append(s.Steps, g.birth())
	}
	for _, x := range list {
		s.Steps = append(s.Steps, g.step(x))
	}
	return nil
}

// merged joins groups that are alike, if the gap between them is no longer than that. What opened a door
// stays a step of its own.
func merged(list []*group, gap moat.Time) (out []*group) {
	open := map[key]*group{}
	for _, x := range list {
		o := open[x.key]
		if o == nil || x.begins != "" || x.first-o.last > gap || o.begins != "" && !alike(o) {
			open[x.key] = x
			out = append(out, x)
			continue
		}
		o.last = max(o.last, x.last)
		o.events, o.records, o.named, o.anchored = o.events+x.events, o.records+x.records, o.named || x.named, o.anchored || x.anchored
		maps.Copy(o.actors, x.actors)
		maps.Copy(o.orders, x.orders)
		if o.detail == nil {
			o.detail = x.detail
		}
	}
	return out
}

// alike tells whether a step that opened a door goes on in those like it.
func alike(x *group) bool {
	return x.kind != moat.AuthLogin && x.kind != moat.HostLogin && x.kind != moat.AccountChange
}

// weightiest keeps the n groups that matter most, in their order.
func weightiest(list []*group, n int) []*group {
	weight := func(x *group) int64 {
		w := min(x.records, 1<<40) + x.events
		if x.anchored {
			w += 1 << 42
		}
		if x.begins != "" {
			w += 1 << 43
		}
		return w
	}
	kept := slices.Clone(list)
	slices.SortStableFunc(kept, func(a, b *group) int { return cmp.Compare(weight(b), weight(a)) })
	kept = kept[:n]
	slices.SortStableFunc(kept, func(a, b *group) int { return cmp.Compare(a.first, b.first) })
	return kept
}

// begin marks the earliest group that opened a door, else the first that took something.
func (g *gathering) begin(ctx context.Context, list []*group) error {
	failed := map[string]int64{} // sign-ins, by address
	var took *group
	if g.young {
		return nil
	}
	looks := maxLooks
	for _, x := range list {
		if x.kind == moat.CanaryTouch {
			continue
		}
		if x.outcome != moat.Success {
			if x.kind == moat.AuthLogin || x.kind == moat.HostLogin {
				failed[x.ip] += x.events
			}
			continue
		}
		why := g.door(x, failed[x.ip])
		if who := g.whose(x); why == "" && who.ID != "" && looks > 0 {
			var err error
			looks--
			if why, err = g.unknown(ctx, x, who); err != nil {
				return err
			}
		}
		if why != "" {
			x.begins = why
			return nil
		}
		if took == nil && x.records > 0 {
			took = x
		}
	}
	if took != nil {
		took.begins = "no break-in or stolen access is seen before it: it was done with the account's own access"
	}
	return nil
}

// whose returns the account or app that a group acts as, if a finding is about it or about the address or device that it
// acts with: a step of anybody else is not where it began.
func (g *gathering) whose(x *group) moat.Entity {
	switch {
	case x.hand == (hand{}) || g.usual(x) || !g.concerns(x) || x.job:
	case x.actor != "" && (g.suspected[x.actor] || g.accounts[x.actor] && x.anchored):
		return moat.Entity{Kind: moat.Account, ID: x.actor}
	case x.actor == "" && g.apps[x.app]:
		return moat.Entity{Kind: moat.App, ID: x.app}
	}
	return moat.Entity{}
}

// unknown says that whoever a group acts as was not used with its hand before, by what the diary knows; "" if it was, or if
// nothing is known.
func (g *gathering) unknown(ctx context.Context, x *group, who moat.Entity) (string, error) {
	since := moat.Time(0)
	_, known, err := g.each(ctx, who, max(x.first-lookBack, 0), x.first, maxRead, func(r *run.Row, src *run.Source, act *run.Act) error {
		if act.Outcome == moat.Success && src.IP == x.ip && src.Device == x.device {
			return errEnough
		}
		if since == 0 || r.Time < since {
			since = r.Time
		}
		return nil
	})
	if err != nil || known || since == 0 || x.first-since < moat.Day { // of who is known for hours everything is new
		return "", err
	}
	hand := "this address and device"
	if x.device == "" {
		hand = "this address"
	}
	return fmt.Sprintf("%s %s had not been used from %s in the %s before", who.Kind, short(who.ID), hand, lasting(x.first-since)), nil
}

// door says how a group opened the way for what came after, "" if it did not.
func (g *gathering) door(x *group, failed int64) string {
	switch {
	case x.kind == moat.HostMalware || x.kind == moat.HostFile && x.anchored:
		return "from here on the server was not only its owner's"
	case (x.kind == moat.AuthLogin || x.kind == moat.HostLogin) && failed >= 5:
		return "of " + many(failed+1, "attempt") + " from the same address, this one opened"
	case x.hand == (hand{}) || g.usual(x) || !g.concerns(x):
		return ""
	case x.kind == moat.AccountChange && g.born != 0: // otherwise everything is new
		return "whoever changed it could act as this account from here on, and came in an unusual way"
	}
	return ""
}

// details looks whole events up in the lake, for as long as that may take, and tells why it did not find others.
func (g *gathering) details(ctx context.Context, list []*group) (why string, err error) {
	want := map[string]*group{}
	var from, to moat.Time
	for _, x := range list {
		if !detailed[x.kind] || x.sample == "" || len(want) >= maxDetails {
			continue
		}
		if len(want) == 0 {
			from = x.first
		}
		want[x.sample], to = x, max(to, x.first)
	}
	if len(want) == 0 || g.t.cfg.Scan == nil {
		return "", nil
	}
	return g.t.look(ctx, lake.Filter{Tenant: moat.Only(g.c.Partner), From: from, To: to + 1}, func(_ lake.Position, e *moat.Event) bool {
		if x := want[e.ID]; x != nil && x.detail == nil {
			x.detail = e.Clone()
			delete(want, e.ID)
		}
		return len(want) == 0
	})
}
