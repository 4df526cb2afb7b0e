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
		own, common := levelKeys(op, i, v.Key, s)
		v.Pair, v.Common = e.pair(own, nil, s, observe), e.pair(common, nil, s, observe)
	}
	return any
}

// levelKeys returns the keys of the pairs that are kept of the i-th of op's levels, for the entity and for the partner.
func levelKeys(op *rule.Op, i int, key uint64, s *slot) (own, common uint64) {
	key = rule.Mix(key, uint64(i)) // Linux may be a level and another one's value
	return pairKey(op, key, s.keys[op.Of]), pairKey(op, ^key, s.keys[moat.Partner])
}
