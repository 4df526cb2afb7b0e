package node

import "github.com/moat-platform/moat"

// Watch sees every event on its way into the log, as ingest wants it: what it stamps or adds is recorded, so that a replay
// finds the same. A complaint gets the way that its order took; an event that uses a canary in a way that is not
// the usual traffic is followed by canary.touch events.
func (n *Node) Watch(e *moat.Event, put func(*moat.Event)) {
	switch e.Type {
	case moat.Complaint:
		n.complain(e, put)
	case moat.CanaryTouch:
		n.named(e)
		put(e)
	default:
		put(e)
	}
	n.touches(e, put)
}
