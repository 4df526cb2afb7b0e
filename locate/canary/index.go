package canary

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/zeebo/xxh3"
)

// Index tells canaries from everything else: a filter of 16 bits a canary that fits into a processor's cache, in front of a table of
// hashes; what the table has is computed again and compared, so a hit is certain. It never changes and may be read from anywhere;
// With makes another.
type Index struct {
	key    Key
	seed   uint64
	lots   []Lot
	forms  []*Form
	filter []uint64 // bits
	slots  []slot   // open addressing, at most half full
	n      int
}

type slot struct {
	hash uint64 // 0 = empty
	lot  uint32
	n    uint32
}

// MaxCanaries bounds an index.
const MaxCanaries = 1 << 21

// ErrFull says that an index has [MaxCanaries].
var ErrFull = errors.New("there are too many canaries")

// Hit is a canary that was found.
type Hit struct {
	Lot *Lot
	N   int
}

// NewIndex returns an index of lots.
func NewIndex(key Key, lots []Lot) (*Index, error) {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte("index"))
	x := &Index{key: key, seed: binary.BigEndian.Uint64(mac.Sum(nil))}
	total := 0
	for i := range lots {
		total += lots[i].Count
	}
	if total > MaxCanaries {
		return nil, fmt.Errorf("cannot index canaries: %w: %d, at most %d", ErrFull, total, MaxCanaries)
	}
	x.room(total)
	for i := range lots {
		if err := x.add(lots[i]); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// With returns an index that has the lot too.
func (x *Index) With(l Lot) (*Index, error) {
	if x.n+l.Count > MaxCanaries {
		return nil, fmt.Errorf("cannot index canaries: %w: %d, at most %d", ErrFull, x.n+l.Count, MaxCanaries)
	}
	y := &Index{key: x.key, seed: x.seed, lots: append([]Lot(nil), x.lots...), forms: append([]*Form(nil), x.forms...)}
	y.room(x.n + l.Count)
	for _, s := range x.slots {
		if s.hash != 0 {
			y.put(s)
		}
	}
	return y, y.add(l)
}

// Len is how many canaries there are.
func (x *Index) Len() int { return x.n }

// Lots are those of the index; they must not be changed.
func (x *Index) Lots() []Lot { return x.lots }

func (x *Index) room(n int) {
	size := 64
	for size < 2*n {
		size *= 2
	}
	x.slots, x.filter = make([]slot, size), make([]uint64, size*8/64)
}

func (x *Index) add(l Lot) error {
	f, err := ParseForm(l.Pattern)
	if err != nil {
		return fmt.Errorf("cannot index canaries of lot %s: %w", l.ID, err)
	}
	at := uint32(len(x.lots))
	x.lots, x.forms = append(x.lots, l), append(x.forms, f)
	for _, n := range l.Numbers() {
		x.put(slot{x.hash(l.Kind, x.key.value(&l, f, n)), at, uint32(n)})
	}
	return nil
}

func (x *Index) put(s slot) {
	x.filter[s.hash>>6&uint64(len(x.filter)-1)] |= 1 << (s.hash & 63)
	mask := uint64(len(x.slots) - 1)
	i := s.hash >> 32 & mask
	for x.slots[i].hash != 0 {
		i = (i + 1) & mask
	}
	x.slots[i] = s
	x.n++
}

// hash is of a value in its one form.
func (x *Index) hash(k Kind, value string) uint64 {
	switch k {
	case Phone:
		value = phoneKey(canon(k, value))
	case Address:
		value = canon(k, value)
	}
	return xxh3.HashStringSeed(value, x.seed+uint64(len(k))) | 1<<63
}

// canon brings a phone number or an address into one form: people write them as they like.
func canon(k Kind, value string) string {
	keep := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	if k == Phone {
		keep = unicode.IsDigit
		value = strings.TrimPrefix(value, "00")
	}
	return strings.ToLower(strings.Map(func(r rune) rune {
		if keep(r) {
			return r
		}
		return -1
	}, value))
}

// Find returns the canaries of that kind that a value is, the earliest placed first. There are several where two owners share a pool of phones or
// addresses: neither is told of the other's. For a value that is none it takes some nanoseconds.
func (x *Index) Find(k Kind, value string) []Hit {
	if x.n == 0 || value == "" {
		return nil
	}
	h := x.hash(k, value)
	if x.filter[h>>6&uint64(len(x.filter)-1)]&(1<<(h&63)) == 0 {
		return nil
	}
	return x.look(k, value, h)
}

func (x *Index) look(k Kind, value string, h uint64) (found []Hit) {
	mask := uint64(len(x.slots) - 1)
	for i := h >> 32 & mask; x.slots[i].hash != 0; i = (i + 1) & mask {
		s := &x.slots[i]
		if s.hash != h {
			continue
		}
		l := &x.lots[s.lot]
		if l.Kind != k {
			continue
		}
		if v := x.key.value(l, x.forms[s.lot], int(s.n)); same(k, v, value) {
			found = append(found, Hit{l, int(s.n)})
		}
	}
	slices.SortFunc(found, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(a.Lot.Placed, b.Lot.Placed), cmp.Compare(a.Lot.ID, b.Lot.ID))
	})
	return found
}

// same tells whether two texts are one value.
func same(k Kind, a, b string) bool {
	switch {
	case a == b:
		return true
	case k == Phone:
		return samePhone(canon(k, a), canon(k, b))
	}
	return k == Address && canon(k, a) == canon(k, b)
}

// Token names a hit without telling its value.
func (x *Index) Token(h Hit) string { return x.key.Token(h.Lot, h.N) }

// Values are the canaries of a lot, in the order of its numbers.
func (x *Index) Values(l *Lot) []string {
	var list []string
	for _, n := range l.Numbers() {
		list = append(list, x.key.Value(l, n))
	}
	return list
}

// Fit sets First and Skip of a lot so that its canaries are new: after those of the same partner, channel, period and kind, and
// none that is a canary already, as far as its owner may know, or that taken says is in use. A pattern that has no room left is [ErrLot].
func (x *Index) Fit(l *Lot, taken func(values []string) (map[string]bool, error)) error {
	f, err := ParseForm(l.Pattern)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLot, err)
	}
	l.First, l.Skip = 0, nil
	for i := range x.lots {
		o := &x.lots[i]
		if o.Owner == l.Owner && o.Partner == l.Partner && o.Channel == l.Channel && o.Period == l.Period && o.Kind == l.Kind {
			l.First = max(l.First, o.End())
		}
	}
	seen := map[uint64]bool{}
	for n, good := l.First, 0; good < l.Count; {
		if len(l.Skip) > 20*l.Count+1000 || n >= MaxNumber {
			return fmt.Errorf("%w: most values of the pattern are in use", ErrLot)
		}
		begin, want := n, l.Count-good
		values := make([]string, want)
		for i := range values {
			values[i] = x.key.value(l, f, n)
			n++
		}
		used, err := taken(values)
		if err != nil {
			return err
		}
		for i, v := range values {
			h := x.hash(l.Kind, v)
			known := slices.ContainsFunc(x.Find(l.Kind, v), func(h Hit) bool { return l.Owner == "" || h.Lot.Owner == l.Owner })
			if known || used[v] || seen[h] {
				l.Skip = append(l.Skip, begin+i)
				continue
			}
			seen[h] = true
			good++
		}
	}
	return nil
}
