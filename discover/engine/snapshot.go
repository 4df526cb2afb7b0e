package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/moat-platform/moat/discover/rule"
)

// ErrSnapshot means that a snapshot is damaged or not one of this version.
var ErrSnapshot = errors.New("not a readable snapshot")

// ErrVersion is an ErrSnapshot of a whole one that another version wrote.
var ErrVersion = fmt.Errorf("%w: it is of another version", ErrSnapshot)

// snapshotMagic ends in the version.
const snapshotMagic = "MOATENG6"

// Snapshot writes the whole state. Restored into an engine with the same plan, the same
// events lead to the same findings; with another plan, features that both plans have keep
// their state and new ones begin empty.
func (e *Engine) Snapshot(w io.Writer) error {
	h := xxh3.New()
	s := &saver{w: io.MultiWriter(w, h)}
	s.text(snapshotMagic)
	s.num(uint64(e.cfg.Seed))
	s.num(uint64(len(e.names)))
	for i, name := range e.names {
		s.text(name)
		s.num(uint64(e.newest[i]))
	}
	for k, t := range e.tables {
		s.places(e.plan.Layout[k])
		s.table(t)
	}
	s.table(e.pairs)
	s.table(e.fired)
	s.ids(e.ids)
	s.bytes(unsafe.Slice((*byte)(unsafe.Pointer(&e.stats)), unsafe.Sizeof(e.stats)))
	s.watches(e.watches)
	s.w = w
	s.num(h.Sum64())
	if s.err != nil {
		return fmt.Errorf("cannot write snapshot: %w", s.err)
	}
	return nil
}

// Restore reads a snapshot into an engine that has taken in nothing yet. An error wraps
// ErrSnapshot when the bytes are at fault; then the engine must not be used.
func (e *Engine) Restore(r io.Reader) error {
	l := &loader{r: r, h: xxh3.New()}
	if first, any := l.text(len(snapshotMagic)), snapshotMagic[:len(snapshotMagic)-1]; first != snapshotMagic {
		if l.err == nil && strings.HasPrefix(first, any) {
			return ErrVersion
		}
		l.fail("its first bytes are not those of a snapshot")
	}
	if seed := l.num(); l.err == nil && seed != uint64(e.cfg.Seed) {
		l.fail("it belongs to another installation")
	}
	n := l.count(uint64(e.cfg.Limits.Partners) + 1)
	for range n {
		name := l.text(1 << 10)
		if l.err != nil {
			break
		}
		e.partner(name)
		e.newest[len(e.newest)-1] = uint32(l.num())
	}
	for k, t := range e.tables {
		l.table(t, l.places(), e.plan.Layout[k])
	}
	l.table(e.pairs, nil, nil)
	l.table(e.fired, nil, nil)
	l.ids(e.ids)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&e.stats)), unsafe.Sizeof(e.stats)), l.bytes(int(unsafe.Sizeof(e.stats))))
	l.watches(e)
	want := l.h.Sum64()
	if got := l.num(); l.err == nil && got != want {
		l.fail("its checksum does not match")
	}
	return l.err
}

type saver struct {
	w   io.Writer
	err error
}

func (s *saver) bytes(b []byte) {
	if s.err == nil {
		_, s.err = s.w.Write(b)
	}
}

func (s *saver) num(v uint64) { s.bytes(binary.LittleEndian.AppendUint64(nil, v)) }

func (s *saver) text(t string) {
	s.num(uint64(len(t)))
	s.bytes([]byte(t))
}

func (s *saver) places(list []rule.Place) {
	s.num(uint64(len(list)))
	for _, p := range list {
		s.text(p.Name)
		s.num(uint64(p.Offset))
		s.num(uint64(p.Size))
	}
}

func (s *saver) table(t *table) {
	if t == nil {
		s.num(0)
		return
	}
	s.num(uint64(t.size))
	s.num(uint64(t.n))
	s.num(uint64(len(t.owners)))
	for _, q := range t.owners {
		s.num(uint64(q.head) | uint64(q.tail)<<32)
		s.num(uint64(q.count))
	}
	// In pieces, so that a writer that counts or copies is never handed gigabytes.
	for b := t.mem.b[:t.n*t.size]; len(b) > 0 && s.err == nil; {
		piece := b[:min(len(b), 1<<20)]
		s.bytes(piece)
		b = b[len(piece):]
	}
}

func (s *saver) ids(d *ids) {
	for i := range d.segments {
		seg := &d.segments[i]
		s.num(uint64(len(seg.slots)))
		s.num(uint64(seg.used))
		if len(seg.slots) > 0 {
			s.bytes(unsafe.Slice((*byte)(unsafe.Pointer(&seg.slots[0])), 8*len(seg.slots)))
		}
	}
}

type loader struct {
	r   io.Reader
	h   hash.Hash64
	err error
}

func (l *loader) fail(why string) {
	if l.err == nil {
		l.err = fmt.Errorf("%w: %s", ErrSnapshot, why)
	}
}

func (l *loader) into(b []byte) {
	if l.err != nil {
		return
	}
	if _, err := io.ReadFull(l.r, b); err != nil {
		l.fail("it ends too early")
		return
	}
	l.h.Write(b)
}

func (l *loader) bytes(n int) []byte {
	b := make([]byte, n)
	l.into(b)
	return b
}

func (l *loader) num() uint64 {
	var b [8]byte
	l.into(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// count reads a number that must not exceed limit.
func (l *loader) count(limit uint64) int {
	n := l.num()
	if n > limit {
		l.fail("a count is out of bounds")
		return 0
	}
	return int(n)
}

func (l *loader) text(limit int) string { return string(l.bytes(l.count(uint64(limit)))) }

func (l *loader) places() []rule.Place {
	list := make([]rule.Place, 0, 64)
	for n := l.count(4096); n > 0 && l.err == nil; n-- {
		list = append(list, rule.Place{Name: l.text(64 << 10), Offset: l.count(1 << 16), Size: l.count(1 << 16)})
	}
	return list
}

// table reads a table whose records have the layout old into t, whose records have the
// layout now; t is nil when the plan keeps none of that kind.
func (l *loader) table(t *table, old, now []rule.Place) {
	size := l.count(1 << 16)
	if size == 0 || l.err != nil {
		return
	}
	n, owners := l.num(), l.count(1<<24)
	if t != nil && n > uint64(t.limit) || n > 1<<34 {
		l.fail("it has more records than the limits allow")
		return
	}
	queues := make([]queue, owners)
	for i := range queues {
		v := l.num()
		queues[i] = queue{uint32(v), uint32(v >> 32), uint32(l.num())}
		if uint64(queues[i].head) > n || uint64(queues[i].tail) > n {
			l.fail("a queue points outside its table")
			return
		}
	}
	if t == nil {
		for range n {
			l.bytes(size)
		}
		return
	}
	t.owners, t.n = queues, int(n)
	moves, same := carry(size, t.size, old, now)
	if same {
		for b := t.mem.b[:t.n*t.size]; len(b) > 0 && l.err == nil; {
			piece := b[:min(len(b), 1<<20)]
			l.into(piece)
			b = b[len(piece):]
		}
	} else {
		rec := make([]byte, size)
		for i := range t.n {
			l.into(rec)
			to := unsafe.Slice((*byte)(t.at(i)), t.size)
			copy(to[:rule.HeaderBytes], rec)
			for _, m := range moves {
				copy(to[m.to:m.to+m.size], rec[m.from:m.from+m.size])
			}
		}
	}
	if l.err == nil {
		t.reindex()
	}
}

type move struct{ from, to, size int }

// carry pairs the features that both layouts have.
func carry(oldSize, newSize int, old, now []rule.Place) (moves []move, same bool) {
	same = oldSize == newSize && len(old) == len(now)
	at := map[string]rule.Place{}
	for _, p := range old {
		if p.Offset >= rule.HeaderBytes && p.Offset+p.Size <= oldSize {
			at[p.Name] = p
		}
	}
	for i, p := range now {
		same = same && old[i] == p
		if o, ok := at[p.Name]; ok && o.Size == p.Size {
			moves = append(moves, move{o.Offset, p.Offset, p.Size})
		}
	}
	return moves, same
}

func (l *loader) ids(d *ids) {
	for i := range d.segments {
		n, used := l.count(1<<30), l.count(1<<30)
		if n == 0 || l.err != nil {
			continue
		}
		if n&(n-1) != 0 || used > n {
			l.fail("a table of ids has an impossible size")
			return
		}
		seg := &d.segments[i]
		seg.slots, seg.used = d.slab.get(n), used
		l.into(unsafe.Slice((*byte)(unsafe.Pointer(&seg.slots[0])), 8*n))
	}
}
