package detectors_test

import (
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/rule"
)

// index is the most that an entity takes in the index beside its record: 8 bytes a slot, of which a quarter is used at least.
const index = 32

// What ships keeps to the memory that is promised for each entity, all counted, and leaves a fifth of what the
// language allows to the operator's own detectors.
func TestSize(t *testing.T) {
	list, sources, err := detectors.All()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := rule.Compile(list, rule.Options{Sources: sources})
	if err != nil {
		t.Fatal(err)
	}
	for kind, most := range map[moat.EntityKind]int{moat.Account: 1536, moat.Device: 256} {
		if n := plan.Records[kind] + index; n > most {
			t.Errorf("%s takes %d bytes, promised are %d", kind, n, most)
		}
	}
	for k := range plan.Records {
		if n, limit := plan.Records[k], rule.MaxRecordBytes[k]; n > limit*8/10 {
			t.Errorf("%s: the detectors that ship take %d of %d bytes, which leaves too little for others", moat.EntityKind(k), n, limit)
		}
	}
}
