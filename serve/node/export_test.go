package node

import "github.com/moat-platform/moat/foresee"

// AcrossKey is the key of what n tells across partners.
func AcrossKey(n *Node) foresee.Key { return foresee.Key(hashKey(n.Master, "foresee")) }
