package node

import (
	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/foresee"
	"github.com/moat-platform/moat/locate/trace"
)

// AcrossKey is the key of what n tells across partners.
func AcrossKey(n *Node) foresee.Key { return foresee.Key(hashKey(n.Master, "foresee")) }

// Touches calls put for what the use of canaries in an event means.
func Touches(n *Node, e *moat.Event, put func(*moat.Event)) { n.touches(e, put) }

// NamedFinding is what the partner of a source is told.
func NamedFinding(s *trace.Source, known int) (moat.Finding, bool) { return namedFinding(s, known) }
