package node

import "github.com/moat-platform/moat"

// Watch sees every event on its way into the log, as ingest wants it: what it stamps or adds is recorded, so that a replay
// finds the same. A complaint gets the way that its order took.
func (n *Node) Watch(e *moat.Event, put func(*moat.Event)) {
	if e.Type == moat.Complaint {
		n.complain(e, put)
		return
	}
	put(e)
}
