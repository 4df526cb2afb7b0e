// Package room has slices grow that hold millions of values.
//
// Use it where append would: that grows such a slice by a quarter at a time, which copies it four times over on the way, and, as
// slices.Grow does, writes zeroes to all of the new room, so that the kernel has to back it with memory that may never be used.
//
// It will not hold pointers: the collector would have to see what the room has.
package room

// least is the room of the first step, in values.
const least = 256

// For returns l with room for n more.
func For[T any](l []T, n int) []T {
	if cap(l)-len(l) >= n {
		return l
	}
	return append(make([]T, 0, len(l)+max(least, len(l), n)), l...)
}
