package node

import "github.com/moat-platform/moat"

// Watch sees every event on its way into the log, as ingest wants it: what it stamps or adds is recorded, so that a replay
// finds the same. A complaint gets the way that its order took, and its error is a [moat.Problem]. Whether an event uses a canary is looked at when it is out of the
// log again: how long a sender waits must not tell which of its orders are planted.
func (n *Node) Watch(e *moat.Event, put func(*moat.Event)) error {
	switch e.Type {
	case moat.Complaint:
		return n.complain(e, put)
	case moat.CanaryTouch:
		n.named(e)
		put(e)
	default:
		put(e)
	}
	return nil
}
