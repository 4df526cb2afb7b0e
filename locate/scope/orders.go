package scope

import (
	"math/bits"
	"slices"
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
}

// sight is one event as it concerns each of its orders.
type sight = order

// see adds what an event showed of an order. The earliest event tells the outlet, the one with the fewest
// shops the shops; between equals the smaller word, so that the order of reading hardly matters.
func (o *order) see(s *sight) {
	if s.wide > 0 && (o.wide == 0 || s.wide < o.wide || s.wide == o.wide && s.shops < o.shops) {
		o.shops, o.wide = s.shops, s.wide
	}
	if o.touches == 0 || s.first < o.first || s.first == o.first && s.outlet < o.outlet {
		o.first, o.outlet = s.first, s.outlet
	}
	o.last = max(o.last, s.first)
	o.countries |= s.countries
	o.plain |= s.plain
	o.masked |= s.masked
	o.partners |= s.partners
	o.how |= s.how
	o.to |= s.to
	o.touches++
}

// exposed tells whether the order was shown readable.
func (o *order) exposed() bool { return o.plain != 0 }

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

type shard struct {
	mu    sync.Mutex
	level uint32
	index []uint32 // a place in list, plus one; 0 is free. Its length is a power of two
	list  []order
	ids   []byte // of an export: each with its length before it
}

func newOrders(most int) *orders { return &orders{most: max(most/shards, 16)} }

func sampled(key uint64, level uint32) bool { return uint32(bits.TrailingZeros64(key)) >= level }

// add adds what an event showed of one order. id is kept if it is not nil.
func (t *orders) add(key uint64, s *sight, id []byte) {
	level := t.level.Load()
	if !sampled(key, level) {
		return
	}
	h := &t.shards[key>>(64-shardBits)]
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.level < level {
		h.thin(level)
	}
	at, ok := h.find(key)
	if !ok {
		if 4*(len(h.list)+1) > 3*len(h.index) {
			h.grow()
			at, _ = h.find(key)
		}
		o := order{key: key}
		if id != nil {
			o.id = uint32(len(h.ids))
			h.ids = append(append(h.ids, byte(len(id))), id[:min(len(id), 255)]...)
		}
		h.list = append(h.list, o)
		h.index[at] = uint32(len(h.list))
	}
	h.list[h.index[at]-1].see(s)
	for len(h.list) > t.most && h.level < maxLevel {
		raised := max(t.level.Load(), h.level+1)
		for old := t.level.Load(); old < raised && !t.level.CompareAndSwap(old, raised); old = t.level.Load() {
		}
		h.thin(raised)
	}
}

// find returns the slot where the key is, or would be.
func (h *shard) find(key uint64) (at int, ok bool) {
	if len(h.index) == 0 {
		return 0, false
	}
	mask := len(h.index) - 1
	for at = int(key>>20) & mask; ; at = (at + 1) & mask {
		i := h.index[at]
		if i == 0 || h.list[i-1].key == key {
			return at, i != 0
		}
	}
}

func (h *shard) grow() { h.rebuild(max(64, 2*len(h.index))) }

func (h *shard) rebuild(n int) {
	h.index = make([]uint32, n)
	for i := range h.list {
		at, _ := h.find(h.list[i].key)
		h.index[at] = uint32(i + 1)
	}
}

// thin leaves the keys of a higher level. The ids of the others stay where they are.
func (h *shard) thin(level uint32) {
	h.level = level
	h.list = slices.DeleteFunc(h.list, func(o order) bool { return !sampled(o.key, level) })
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

// each calls fn for every order, in the order of shards.
func (t *orders) each(fn func(o *order)) {
	for i := range t.shards {
		for j := range t.shards[i].list {
			fn(&t.shards[i].list[j])
		}
	}
}

// find returns an order, nil if it is not in the set.
func (t *orders) find(key uint64) *order {
	h := &t.shards[key>>(64-shardBits)]
	if at, ok := h.find(key); ok {
		return &h.list[h.index[at]-1]
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
	w.list = append(w.list, text)
	w.at[text] = n
	return n
}
