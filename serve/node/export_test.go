package node

import (
	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/foresee"
)

// AcrossKey is the key of what n tells across partners.
func AcrossKey(n *Node) foresee.Key { return foresee.Key(hashKey(n.Master, "foresee")) }

// Touches calls put for what the use of canaries in an event means.
func Touches(n *Node, e *moat.Event, put func(*moat.Event)) { n.touches(e, put) }
