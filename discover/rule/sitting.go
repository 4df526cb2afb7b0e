package rule

import "github.com/moat-platform/moat"

// Sitting is what is remembered of an account's last sitting, so that what changes from one to the next only need not be
// looked up at every event: the upper half is a hash of what makes the sitting, bit i of the lower half says that
// it had an event of type i. It is 0 for an account without any.
//
// A sitting lasts as long as an account comes with the same session, device, address, browser, app, role, kind of actor and
// outcome, and at most until the next ten minutes of the clock begin.
type Sitting uint64

// sittingSpan is how long a sitting lasts at most.
const sittingSpan = 10 * moat.Minute

const _ = uint(32 - moat.EventTypes) // a bit for each type

// Sitting returns what last becomes by the frame's event, which is at that time. Whether the event begins a sitting, as
// event.begins_sitting says, follows from the last call for its scene; without one it does.
func (f *Frame) Sitting(last Sitting, now moat.Time) Sitting {
	sc := f.scene
	if sc.sitting == 0 {
		sc.sitting = f.sitting(now)
	}
	next := sc.sitting
	if sc.begins = last>>32 != next>>32 || last&next&(1<<32-1) == 0; last>>32 == next>>32 {
		next |= last
	}
	return next
}

// sitting returns a sitting that had the frame's event alone.
func (f *Frame) sitting(now moat.Time) Sitting {
	e := f.Event
	h := Mix(Mix(f.Entity(moat.Device), f.Entity(moat.IP)), Mix(f.Entity(moat.App), f.Entity(moat.Peers)))
	h = Mix(h, Mix(f.hash(agentPlace, e.UserAgent), f.hash(sessionPlace, e.Session)))
	h = Mix(h, uint64(now/sittingSpan)<<16|uint64(e.Outcome)<<8|uint64(e.ActorKind))
	return Sitting(h)&^(1<<32-1) | 1<<e.Type
}

// Begins tells whether the event of the scene begins a sitting.
func (sc *Scene) Begins() bool { return sc.begins }
