package scope

import (
	"math"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/moat-platform/moat"
)

// order is what is known of one order. The masks have a bit for each word of a dictionary.
type order struct {
	key         uint64
	first, last moat.Time
	countries   uint64
	to          uint64 // destinations
	plain       uint32 // fields shown readable
	masked      uint32 // fields shown encrypted or masked
	partners    uint32
	how         uint32
	touches     uint32
	shops       uint32 // word of the shortest list of shops
	outlet      uint32 // word
	id          uint32 // where its id begins, in an export
	wide        uint16 // shops in that list; 0 is none
	complained  bool
	planted     bool // a canary
}

// sight is one event as it concerns one of its orders. It is small, since many of them wait to be added at once.
type sight struct {
	key     uint64 // of the order
	at      moat.Time
	fields  uint32 // a mask
	shops   uint32 // word of the list of shops
	outlet  uint32 // word, plus one; 0 is none
	id      uint32 // where the id of the order ends, in an export
	wide    uint16 // shops in that list
	country uint8  // word, plus one; 0 is none
	to      uint8  // word of the destination, plus one; 0 is none
	partner uint8  // word
	how     uint8  // word
	masked  bool
	planted bool
}

// see adds what an event showed of an order. The earliest event tells the outlet, the one with the fewest
// shops the shops; between equals the smaller word, so that the order of reading hardly matters.
func (o *order) see(s *sight) {
	if s.wide > 0 && (o.wide == 0 || s.wide < o.wide || s.wide == o.wide && s.shops < o.shops) {
		o.shops, o.wide = s.shops, s.wide
	}
	if o.touches == 0 || s.at < o.first || s.at == o.first && s.outlet < o.outlet {
		o.first, o.outlet = s.at, s.outlet
	}
	o.last = max(o.last, s.at)
	o.countries |= 1 << s.country >> 1
	o.to |= 1 << s.to >> 1
	if s.masked {
		o.masked |= s.fields
	} else {
		o.plain |= s.fields
	}
	o.planted = s.planted
	o.partners |= 1 << s.partner
	o.how |= 1 << s.how
	o.touches++
}

// exposed tells whether the order is somebody's and was shown readable.
func (o *order) exposed() bool { return o.plain != 0 && !o.planted }

// orders is a set of orders, by many goroutines at a time. When it is full it keeps a half of all keys,
// then a quarter, …: always those whose lowest bits are all zero, so that what is kept is a fair
// sample, and the same one in whatever order they came.
type orders struct {
	most   int           // in a shard
	level  atomic.Uint32 // how many bits must be zero
	shards [shards]shard
}

const (
	shardBits = 6
	shards    = 1 << shardBits
	maxLevel  = 40
)

// shard is the orders whose keys begin with the same bits. They stay where they are: a list that moves when it
// grows costs as much as looking at it.
type shard struct {
	mu    sync.Mutex
	level uint32
	index []uint64 // a place, plus one; 0 is free. Above it 32 bits of the key. Its length is a power of two
	list  [][]order
	n     int
	ids   []byte // of an export: each with its length before it
	sink  uint64 // keeps what addAll reads ahead from being left out
}

const chunk = 256 // orders of a piece of a list

func (h *shard) at(i int) *order { return &h.list[i/chunk][i%chunk] }

func (h *shard) push(o order) {
	if h.n%chunk == 0 {
		h.list = append(h.list, make([]order, 0, chunk))
	}
	last := &h.list[len(h.list)-1]
	*last = append(*last, o)
	h.n++
}

func newOrders(most int) *orders { return &orders{most: max(most/shards, 16)} }

func sampled(key uint64, level uint32) bool {
	return uint32(bits.TrailingZeros64(lowBits(key))) >= level
}

// lowBits returns a key without its last bit, which is the same of all orders; see [run.EventKey].
func lowBits(key uint64) uint64 { return key >> 1 }

// batch is what one goroutine saw of the orders of one shard and has not added yet.
type batch struct {
	sights []sight
	ids    []byte
}

const batchSights = 128

// add takes down what an event showed of one order. id is kept if it is not nil.
func (t *orders) add(batches *[shards]batch, s *sight, id []byte) {
	if !sampled(s.key, t.level.Load()) {
		return
	}
	h := &t.shards[s.key>>(64-shardBits)]
	b := &batches[s.key>>(64-shardBits)]
	if b.sights == nil {
		b.sights = make([]sight, 0, batchSights)
	}
	if id != nil {
		b.ids = append(b.ids, id...)
		s.id = uint32(len(b.ids))
	}
	if b.sights = append(b.sights, *s); len(b.sights) == batchSights {
		t.addAll(h, b)
	}
}

// addAll adds a batch to its shard. Every order is at least two cache misses away. It reads where they are before
// it does anything with them, so that the processor fetches many at the same time.
func (t *orders) addAll(h *shard, b *batch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if level := t.level.Load(); h.level < level {
		h.thin(level)
	}
	h.reserve(len(b.sights))
	for i := range b.sights {
		h.sink += h.index[slotOf(b.sights[i].key)&(len(h.index)-1)]
	}
	for i := range b.sights {
		if place := uint32(h.index[slotOf(b.sights[i].key)&(len(h.index)-1)]); place != 0 {
			h.sink += uint64(h.at(int(place - 1)).touches)
		}
	}
	start := uint32(0)
	for i := range b.sights {
		s := &b.sights[i]
		var id []byte
		if s.id > 0 {
			id, start = b.ids[start:s.id], s.id
		}
		if sampled(s.key, h.level) {
			h.see(s, id)
			t.bound(h)
		}
	}
	b.sights, b.ids = b.sights[:0], b.ids[:0]
}

// see adds one sight. There must be room for one more order.
func (h *shard) see(s *sight, id []byte) {
	at, ok := h.find(s.key)
	if !ok {
		o := order{key: s.key}
		if id != nil {
			o.id = uint32(len(h.ids))
			h.ids = append(append(h.ids, byte(len(id))), id...)
		}
		h.push(o)
		h.index[at] = slotFor(s.key, h.n)
	}
	h.at(int(uint32(h.index[at]) - 1)).see(s)
}

// bound leaves fewer orders in all shards if there are too many in this one.
func (t *orders) bound(h *shard) {
	for h.n > t.most && h.level < maxLevel {
		raised := max(t.level.Load(), h.level+1)
		for old := t.level.Load(); old < raised && !t.level.CompareAndSwap(old, raised); old = t.level.Load() {
		}
		h.thin(raised)
	}
}

// The lowest bits of a key are those that the level goes by, the highest those of the shard.

func slotOf(key uint64) int { return int(key >> 20) }

func slotFor(key uint64, place int) uint64 { return key>>16<<32 | uint64(uint32(place)) }

// find returns the slot where the key is, or would be.
func (h *shard) find(key uint64) (at int, ok bool) {
	if len(h.index) == 0 {
		return 0, false
	}
	mask := len(h.index) - 1
	for at = slotOf(key) & mask; ; at = (at + 1) & mask {
		s := h.index[at]
		if s == 0 {
			return at, false
		}
		if s>>32 == key>>16&math.MaxUint32 && h.at(int(uint32(s)-1)).key == key {
			return at, true
		}
	}
}

// reserve makes room for n more orders.
func (h *shard) reserve(n int) {
	size := max(64, len(h.index))
	for 4*(h.n+n) > 3*size {
		size *= 2
	}
	if size != len(h.index) {
		h.rebuild(size)
	}
}

func (h *shard) rebuild(size int) {
	h.index = make([]uint64, size)
	for i := range h.n {
		key := h.at(i).key
		at := slotOf(key) & (size - 1)
		for h.index[at] != 0 {
			at = (at + 1) & (size - 1)
		}
		h.index[at] = slotFor(key, i+1)
	}
}

// thin leaves the keys of a higher level. The ids of the others stay where they are.
func (h *shard) thin(level uint32) {
	old := h.list
	h.level, h.list, h.n = level, nil, 0
	for _, part := range old {
		for i := range part {
			if sampled(part[i].key, level) {
				h.push(part[i])
			}
		}
	}
	h.rebuild(len(h.index))
}

// settle brings all shards to one level.
func (t *orders) settle() {
	level := t.level.Load()
	for i := range t.shards {
		if h := &t.shards[i]; h.level < level {
			h.thin(level)
		}
	}
}

func (h *shard) each(fn func(o *order)) {
	for _, part := range h.list {
		for i := range part {
			fn(&part[i])
		}
	}
}

// each calls fn for every order, in the order of shards.
func (t *orders) each(fn func(o *order)) {
	for i := range t.shards {
		t.shards[i].each(fn)
	}
}

// find returns an order, nil if it is not in the set.
func (t *orders) find(key uint64) *order {
	h := &t.shards[key>>(64-shardBits)]
	if at, ok := h.find(key); ok {
		return h.at(int(uint32(h.index[at]) - 1))
	}
	return nil
}

// id returns the id of an order of an export.
func (t *orders) id(o *order) []byte {
	ids := t.shards[o.key>>(64-shardBits)].ids
	return ids[o.id+1:][:ids[o.id]]
}

// words is a dictionary, by many goroutines at a time. Word 0 stands for all that came after it was full.
type words struct {
	mu   sync.RWMutex
	most int
	list []string
	at   map[string]uint32
}

// other is the word for everything beyond the bound of a dictionary.
const other = "other"

func newWords(most int) *words {
	return &words{most: most, list: []string{other}, at: map[string]uint32{}}
}

// of returns the number of a word.
func (w *words) of(text string) uint32 {
	w.mu.RLock()
	n, ok := w.at[text]
	w.mu.RUnlock()
	if ok {
		return n
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n, ok := w.at[text]; ok {
		return n
	}
	if len(w.list) >= w.most {
		return 0
	}
	n = uint32(len(w.list))
	text = strings.Clone(text) // it may be in memory that is used again
	w.list = append(w.list, text)
	w.at[text] = n
	return n
}
