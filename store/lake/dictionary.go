package lake

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/moat-platform/moat/store/internal/room"
)

// A dictionary that holds more than this is not added to by the next page: its
// table would no longer stay in the cache, which costs more than compressing the
// plain text (1.5 against 1.9 µs an event, for 4 % more bytes).
const (
	dictionaryWords = 8 << 10
	dictionaryBytes = 2 << 20
	dictionaryShare = 0.4 // of all values
)

// dictionary holds the distinct values of a text column in one row group, in
// the form of a Parquet dictionary page.
type dictionary struct {
	data   []byte
	ends   []uint32 // end of each value in data
	slots  []value  // open addressing
	values int      // values added, repeated ones counted, in all pages of the row group
	codes  [32]int32
}

// value is a value of the column as a look-up compares it: without its text, unless that is long.
type value struct {
	low, high uint64 // see wordsOf
	size      int32
	number    int32 // of the value, plus one; 0 is free
}

// shortText is the longest text that two words tell.
const shortText = 16

// dictionarySeed keeps strangers from choosing values that collide.
var dictionarySeed = [2]uint64{rand.Uint64(), rand.Uint64()}

// wordsOf returns two words that tell a short text from all others of its length; of a longer one it is a hash.
func wordsOf(s string) (low, high uint64) {
	n, p := len(s), unsafe.Pointer(unsafe.StringData(s))
	switch {
	case n > shortText:
		return xxh3.HashStringSeed(s, dictionarySeed[0]), 0
	case n >= 8:
		return word(p), word(unsafe.Add(p, n-8))
	case n >= 4:
		return uint64(half(p)), uint64(half(unsafe.Add(p, n-4)))
	case n > 0:
		return uint64(s[0])<<16 | uint64(s[n/2])<<8 | uint64(s[n-1]), 0
	}
	return 0, 0
}

// word returns the eight bytes at p as a number, half four.
func word(p unsafe.Pointer) uint64 { return binary.LittleEndian.Uint64((*[8]byte)(p)[:]) }
func half(p unsafe.Pointer) uint32 { return binary.LittleEndian.Uint32((*[4]byte)(p)[:]) }

func (d *dictionary) reset() {
	if d.slots == nil {
		d.slots = make([]value, 64)
	}
	clear(d.slots)
	d.data, d.ends, d.values = d.data[:0], d.ends[:0], 0
	d.codes = [32]int32{}
}

// at returns the value with number i, which stays until reset.
func (d *dictionary) at(i int32) string {
	start := uint32(0)
	if i > 0 {
		start = d.ends[i-1]
	}
	v := d.data[start+4 : d.ends[i]]
	return unsafe.String(unsafe.SliceData(v), len(v))
}

// addAll appends the numbers of the values in l to index, and makes those that are new.
// Taking the values of a column together keeps its table in the cache: one
// by one, row by row, costs twice as much.
func (d *dictionary) addAll(index []int32, l []string) []int32 {
	start := len(index)
	index = room.For(index, len(l))[:start+len(l)]
	var last value // the value before: events come in runs of one app, host or account
	for i, s := range l {
		n := len(s)
		var low, high uint64
		if p := unsafe.Pointer(unsafe.StringData(s)); n >= 8 && n <= shortText { // the usual case of wordsOf, inlined
			low, high = word(p), word(unsafe.Add(p, n-8))
		} else {
			low, high = wordsOf(s)
		}
		if low != last.low || high != last.high || n != int(last.size) || last.number == 0 || n > shortText && s != d.at(last.number-1) {
			last = d.find(low, high, s)
		}
		index[start+i] = last.number - 1
	}
	return index
}

// find returns a value, which it makes if there is none.
func (d *dictionary) find(low, high uint64, s string) value {
	mask := uint64(len(d.slots) - 1)
	for at := placeOf(low, high, len(s)) & mask; ; at = (at + 1) & mask {
		e := &d.slots[at]
		if e.number == 0 {
			return d.make(low, high, s, e)
		}
		if e.low == low && e.high == high && int(e.size) == len(s) && (len(s) <= shortText || s == d.at(e.number-1)) {
			return *e
		}
	}
}

// make makes a value in a free slot.
func (d *dictionary) make(low, high uint64, s string, free *value) value {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
		low, high = wordsOf(s)
		return d.find(low, high, s)
	}
	d.data = binary.LittleEndian.AppendUint32(room.For(d.data, 4+len(s)), uint32(len(s)))
	d.data = append(d.data, s...)
	d.ends = append(room.For(d.ends, 1), uint32(len(d.data)))
	e := value{low, high, int32(len(s)), int32(len(d.ends))}
	if *free = e; len(d.ends)*2 > len(d.slots) {
		d.grow()
	}
	return e
}

// placeOf returns where the search for a value begins. It mixes what wordsOf returned with the seed.
func placeOf(low, high uint64, size int) uint64 {
	up, down := bits.Mul64(low^dictionarySeed[0], high^dictionarySeed[1]^uint64(size))
	return up ^ down
}

func (d *dictionary) grow() {
	old := d.slots
	d.slots = make([]value, 4*len(old))
	mask := uint64(len(d.slots) - 1)
	for _, e := range old {
		if e.number == 0 {
			continue
		}
		at := placeOf(e.low, e.high, int(e.size)) & mask
		for d.slots[at].number != 0 {
			at = (at + 1) & mask
		}
		d.slots[at] = e
	}
}

// addCode returns the number of the text of an enumeration, whose values are few and numbered.
func (d *dictionary) addCode(code uint8, text func() string) int32 {
	if int(code) >= len(d.codes) {
		return d.addAll(nil, []string{text()})[0]
	}
	if d.codes[code] == 0 {
		d.codes[code] = d.addAll(nil, []string{text()})[0] + 1
	}
	return d.codes[code] - 1
}

// full tells that the next page had better not use the dictionary.
func (d *dictionary) full() bool {
	return len(d.ends) > dictionaryWords || len(d.data) > dictionaryBytes ||
		d.values > 1000 && float64(len(d.ends)) > dictionaryShare*float64(d.values)
}
