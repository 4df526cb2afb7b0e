package engine

import (
	"net/netip"
	"slices"
	"unsafe"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/feature"
	"github.com/moat-platform/moat/discover/rule"
)

// said is what is kept of a detector's last finding about an entity.
type said struct {
	at    uint32 // seconds
	score float32
	_     [2]uint32
}

// fire makes a finding, unless the same was said shortly before.
func (e *Engine) fire(s *slot, c *rule.Compiled, findings *[]moat.Finding) {
	ev := &s.ev
	key := s.keys[c.Subject]
	if key == 0 {
		return
	}
	score := min(max(c.Confidence(&e.frame), 0.01), 0.99)
	now := seconds(s.now)
	if last := e.lastSaid(rule.Mix(key, e.cfg.Seed.Text(c.ID))|1, s); last != nil {
		fresh := c.Every == 0 || last.at == 0 || now >= last.at && float64(now-last.at) >= c.Every.Seconds()
		if !fresh && score < float64(last.score)+0.1 {
			e.stats.Repeats++
			return
		}
		last.at, last.score = max(now, 1), float32(score)
	}
	entity := moat.Entity{Kind: c.Subject, ID: clone(ev.EntityID(c.Subject))}
	f := moat.Finding{
		Time: s.now, Partner: e.names[s.owner], Detector: c.ID, Dimension: c.Dimension, Family: c.Family, Title: c.Title,
		Basis: c.Basis, Certain: c.Certain, Strange: strange(ev, c.Strange), Mode: c.Mode, Entity: entity, Related: e.related(ev, c), Score: score,
		Reason: c.Reason(&e.frame), Evidence: c.Evidence(&e.frame), Events: []string{clone(ev.ID)},
		Weight: rule.Sensitivity(ev), Egress: c.Egress || rule.Leaves(ev), Attack: c.Attack,
		Stake: c.Stake, Background: c.Background, Policy: c.Policy, Joins: c.Joins,
		Orders: e.exposure(c.Subject, e.records[c.Subject], s.now),
	}
	if ev.Type == moat.CanaryTouch && ev.Verdict != "" { // else nobody knows where it was planted
		f.Channel = clone(ev.Channel)
	}
	f.ID = moat.FindingID(f.Partner, f.Detector, entity, f.Events[0])
	if e.ask == nil {
		e.stats.Findings++
	}
	*findings = append(*findings, f)
}

func (e *Engine) lastSaid(key uint64, s *slot) *said {
	return (*said)(e.kept(e.fired, key, nil, s, true))
}

// maxExposure bounds what counts that others state add up to.
const maxExposure = 1 << 50

// exposure returns of how many orders the subject saw personal data in the last 24 hours; what was masked exposes nobody.
func (e *Engine) exposure(k moat.EntityKind, rec unsafe.Pointer, now moat.Time) int64 {
	x := e.plan.Exposure[k]
	if x == nil {
		x, rec = e.plan.Exposure[moat.Account], e.records[moat.Account]
	}
	if x == nil || rec == nil {
		return 0
	}
	in := feature.Input{Now: now}
	var a, b feature.Outputs
	x.Distinct.Read(unsafe.Add(rec, x.DistinctOffset), &in, &a)
	x.Sum.Read(unsafe.Add(rec, x.SumOffset), &in, &b)
	return int64(min(a[0]+b[0]+0.5, maxExposure))
}

// related lists the other entities of the event, narrowest first, and the destination that a finding of c is about.
func (e *Engine) related(ev *moat.Event, c *rule.Compiled) []moat.Entity {
	var out []moat.Entity
	add := func(k moat.EntityKind, id string) {
		if id != "" {
			out = append(out, moat.Entity{Kind: k, ID: clone(id)})
		}
	}
	for _, k := range [...]moat.EntityKind{moat.Account, moat.Device, moat.IP, moat.Host, moat.App, moat.Outlet} {
		if k != c.Subject {
			add(k, ev.EntityID(k))
		}
	}
	if c.Destination != nil {
		add(moat.Destination, c.Destination(&e.frame))
	}
	return slices.Clip(out)
}

// strange lists the entities of the event of some kinds. The address of a server's connection is that of its other end.
func strange(ev *moat.Event, kinds []moat.EntityKind) (out []moat.Entity) {
	for _, k := range kinds {
		id := ev.EntityID(k)
		if k == moat.IP && ev.Type == moat.HostNetwork {
			if a, err := netip.ParseAddr(rule.HostOf(ev.Peer)); err != nil || a.IsPrivate() {
				id = ""
			} else {
				id = a.String()
			}
		}
		if id != "" {
			out = append(out, moat.Entity{Kind: k, ID: clone(id)})
		}
	}
	return out
}

func clone(s string) string { return string(append([]byte(nil), s...)) }
