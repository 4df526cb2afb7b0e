package room

import (
	"slices"
	"testing"
)

// TestFor appends by ones and by many, and counts how often the slice moves.
func TestFor(t *testing.T) {
	var l, want []int32
	moves := 0
	for i := range int32(100_000) {
		n := 1
		if i%1000 == 0 {
			n = 700
		}
		if cap(l)-len(l) < n {
			moves++
		}
		if l = For(l, n); cap(l)-len(l) < n {
			t.Fatalf("room for %d, want %d", cap(l)-len(l), n)
		}
		l, want = append(l, i), append(want, i)
	}
	if !slices.Equal(l, want) || moves > 10 || cap(l) > 2*len(l)+700 {
		t.Errorf("%d values after %d moves, with room for %d", len(l), moves, cap(l))
	}
}
