package node

import "runtime"

// Between has look called between two pieces of work by whoever works for long, on the way of an event to the disk, until end is called: a
// person waits for the answer to a question, and a queue for events. It is called without a lock or a turn, by several at
// the same time, some ten thousand times a second, and may take as long as answering takes. There is one at a time; of two the later counts.
func (n *Node) Between(look func()) (end func()) {
	n.between.Store(&look)
	return func() { n.between.CompareAndSwap(&look, nil) }
}

// Look lets what is more urgent go first.
func (n *Node) Look() {
	if look := n.between.Load(); look != nil {
		(*look)()
	}
}

// breathe lets what is more urgent go first, and then others on to the processor.
func (n *Node) breathe() {
	n.Look()
	runtime.Gosched()
}
