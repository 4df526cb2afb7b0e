package engine

import (
	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/feature"
	"github.com/moat-platform/moat/discover/rule"
)

// levels takes the levels of op's value from the event, with what is kept of each for the entity and for
// the partner; false means that the event has none of them.
func (e *Engine) levels(op *rule.Op, in *feature.Input, s *slot, observe bool) bool {
	any := false
	for i := range in.Level {
		v := &in.Level[i]
		*v = feature.Level{}
		if i >= len(op.Levels) {
			continue
		}
		if v.Key = op.Levels[i](&e.frame); v.Key == 0 {
			continue
		}
		any = true
		key := rule.Mix(v.Key, uint64(i)) // Linux may be a level and another one's value
		v.Pair = e.pair(pairKey(op, key, s.keys[op.Of]), anywhere, s, observe)
		v.Common = e.pair(pairKey(op, ^key, s.keys[moat.Partner]), anywhere, s, observe)
	}
	return any
}
