package moat_test

import (
	"testing"

	"github.com/moat-platform/moat"
)

// TestEntityKinds checks that each kind is read as it is written, and that a destination has the number that diaries on disk have.
func TestEntityKinds(t *testing.T) {
	kinds := []moat.EntityKind{moat.Destination}
	for k := moat.NoEntity + 1; k < moat.EntityKinds; k++ {
		kinds = append(kinds, k)
	}
	for _, k := range kinds {
		if got, err := moat.ParseEntityKind(k.String()); err != nil || got != k {
			t.Errorf("%s is read as %s: %v", k, got, err)
		}
	}
	if moat.Destination != 255 || moat.Destination.String() != "destination" {
		t.Errorf("%s has number %d", moat.Destination, moat.Destination)
	}
	if k, err := moat.ParseEntityKind("planet"); err == nil {
		t.Errorf("planet is %s", k)
	}
}
