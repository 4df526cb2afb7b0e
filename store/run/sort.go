package run

import "math/bits"

// posting says that the event of that number touched the key.
type posting struct {
	key uint64
	ord uint32
}

// sortPostings returns the postings in order of their keys; equal keys keep
// their order. Keys are hashes, so one pass over their upper bits leaves
// groups that fit in the first-level cache, and two passes over the next 16
// bits leave next to nothing to an insertion sort.
func sortPostings(keys []uint64, ords []uint32) []posting {
	const group = 256
	out := make([]posting, len(keys))
	top := uint(min(12, bits.Len(uint(len(keys)/group))))
	starts := make([]int, 1<<top+1)
	for _, k := range keys {
		starts[k>>(64-top)+1]++
	}
	for i := 1; i < len(starts); i++ {
		starts[i] += starts[i-1]
	}
	next := append([]int(nil), starts[:1<<top]...)
	for i, k := range keys {
		g := k >> (64 - top)
		out[next[g]] = posting{k, ords[i]}
		next[g]++
	}
	var spare []posting
	for g := range next {
		p := out[starts[g]:starts[g+1]]
		if len(p) > len(spare) {
			spare = make([]posting, 2*len(p))
		}
		sortGroup(p, spare[:len(p)], top)
	}
	return out
}

// sortGroup sorts postings whose keys share their top bits.
func sortGroup(p, spare []posting, top uint) {
	if len(p) > 32 {
		passes := uint(2)
		if len(p) > 1<<14 { // a frequent key with others around it: insertion might be quadratic
			passes = 8
		}
		from := p
		for i := uint(passes); i > 0; i-- {
			var shift uint
			if used := top + 8*i; used < 64 {
				shift = 64 - used
			}
			radixPass(from, spare, shift)
			from, spare = spare, from
		}
	}
	for i := 1; i < len(p); i++ {
		x := p[i]
		j := i
		for ; j > 0 && p[j-1].key > x.key; j-- {
			p[j] = p[j-1]
		}
		p[j] = x
	}
}

// radixPass moves the postings of from to to, in order of the 8 bits of their keys at shift.
func radixPass(from, to []posting, shift uint) {
	var at [256]uint32
	for i := range from {
		at[byte(from[i].key>>shift)]++
	}
	var sum uint32
	for i, n := range at {
		at[i], sum = sum, sum+n
	}
	for i := range from {
		d := byte(from[i].key >> shift)
		to[at[d]] = from[i]
		at[d]++
	}
}
