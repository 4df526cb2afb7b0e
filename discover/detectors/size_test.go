package detectors_test

import (
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/rule"
)

// What ships keeps to the memory that is promised for each entity, and leaves a fifth of what the
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
	for kind, most := range map[moat.EntityKind]int{moat.Account: 1536, rule.Annex: 704, moat.Device: 256} {
		if n := plan.Records[kind]; n > most {
			t.Errorf("record %s takes %d bytes, promised are %d", kind, n, most)
		}
	}
	for k := range plan.Records {
		if n, limit := plan.Records[k], rule.MaxRecordBytes[k]; n > limit*8/10 {
			t.Errorf("%s: the detectors that ship take %d of %d bytes, which leaves too little for others", moat.EntityKind(k), n, limit)
		}
	}
}
