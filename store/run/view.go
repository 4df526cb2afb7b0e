package run

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"math"
	"runtime/debug"
	"slices"

	moat "github.com/moat-platform/moat"
)

// table is a run or a segment, to a reader.
type table interface {
	part() int
	span() (lo, hi moat.Time)
	partners() []string
	find(keys []uint64, fn func(i int, ords []uint32) error) error
	// count adds to n[i] how many events keys[i] has.
	count(keys []uint64, n []int64) error
	// scan calls fn with the events of each [EventKey] from lo to hi, both included; a key may come in pieces.
	scan(lo, hi uint64, fn func(key uint64, ords []uint32) error) error
	// upTo returns a time that no event up to that number is after.
	upTo(ord uint32) moat.Time
	// maybe tells whether the event may be at from or later and before to, without reading it.
	maybe(ord uint32, from, to moat.Time) bool
	// text returns an entry of a dictionary, which may be in the memory of buf.
	text(buf []byte, p Part, ref uint32) ([]byte, error)
}

// errNext ends the walk over the events of one key.
var errNext = errors.New("next key")

// View is a set as it was at one moment: everything appended by then, once,
// whatever is merged or expires meanwhile. It must be closed. A View is not
// safe for concurrent use; take one for each goroutine.
type View struct {
	set      *Set
	tables   []*reader
	files    []*file
	segments []*segment
	from     moat.Time // older ones have expired
	damaged  int
	closed   bool
	partners []string
	share    int // of shares, see Split
	shares   int // 0 means one
}

// reader is a table and what was read of its dictionaries.
type reader struct {
	table
	file    *file        // nil for a segment
	memory  *segmentView // nil for a file
	place   int          // among the tables of the view
	sources Memo[*Source]
	acts    Memo[*Act]
	shops   Memo[[]string]
	buf     []byte    // of [Row.Part]
	id      [256]byte // of [Row.IDs]: on the stack of that it would escape, once for each event

	block int // of the file that is decoded, plus one; 0 is none
	grid  grid
	tails []byte
}

// open decodes the block of a file that event ord is in: the events of a key follow one another, and often
// share a block.
func (t *reader) open(ord uint32) (err error) {
	if b := int(ord/blockEvents) + 1; b != t.block {
		t.block = 0
		if t.grid, t.tails, err = t.file.block(b - 1); err != nil {
			return err
		}
		t.block = b
	}
	return nil
}

func (t *reader) record(ord uint32) (record, error) {
	if t.file == nil {
		return t.memory.records[ord], nil
	}
	if err := t.open(ord); err != nil {
		return record{}, err
	}
	return t.grid.record(int(ord % blockEvents)), nil
}

// tail returns the ids of an event whose record is r.
func (t *reader) tail(ord uint32, r *record) ([]byte, error) {
	if t.file == nil {
		return t.memory.tail(ord), nil
	}
	if err := t.open(ord); err != nil {
		return nil, err
	}
	start, end := r[colTail], uint64(len(t.tails))
	if i := int(ord%blockEvents) + 1; i < t.file.blockLen(t.block-1) {
		end = t.grid.column(i, colTail)
	}
	if start > end || end > uint64(len(t.tails)) {
		return nil, t.file.damaged("events")
	}
	return t.tails[start:end], nil
}

// Row is one event as a view finds it. It is valid during the call that it is given to.
type Row struct {
	Time  moat.Time
	Count int64 // order records touched
	At    At

	ord uint32
	rec record
	in  *reader
}

// Close lets go of the files, and of the memory of what is in none yet.
func (v *View) Close() {
	if v.closed {
		return
	}
	v.closed = true
	for _, f := range v.files {
		f.release()
	}
	for _, g := range v.segments {
		g.views.Add(-1)
	}
}

// Split returns n views that together see what v sees, each event in one of them, for as many
// goroutines. They must be closed, and so must v.
func (v *View) Split(n int) []*View {
	out := make([]*View, n)
	for i := range out {
		w := &View{set: v.set, from: v.from, damaged: v.damaged, share: i, shares: n, files: slices.Clone(v.files), segments: slices.Clone(v.segments)}
		for _, f := range v.files {
			f.acquire()
		}
		for _, g := range v.segments {
			g.views.Add(1)
		}
		for _, t := range v.tables {
			w.tables = append(w.tables, &reader{table: t.table, file: t.file, memory: t.memory, place: t.place})
		}
		out[i] = w
	}
	return out
}

// maxPiece is how many events of a key one of several views takes at a time: so many that two views
// rarely decode the same block of events, so few that a large run keeps all of them busy.
const maxPiece = 4096

// mine tells whether a view reads the n-th piece of table i.
func (v *View) mine(i, n int) bool { return v.shares < 2 || (i+n)%v.shares == v.share }

// Damaged returns how many runs this view could not read, or not to the end:
// if it is not 0, what was found is not everything.
func (v *View) Damaged() int { return v.damaged }

// Partners returns the partners that have events here, sorted.
func (v *View) Partners() []string {
	if v.partners == nil {
		for _, t := range v.tables {
			v.partners = append(v.partners, t.partners()...)
		}
		slices.Sort(v.partners)
		v.partners = slices.Compact(v.partners)
	}
	return v.partners
}

// Each calls fn for each event of each key that tenant sees and that happened
// at from or later and before to; a to of 0 means no end. Keys must be
// distinct; i is the place of the key. Events come in no order. It stops with
// the error that fn returns, and with that of ctx; where fn returns a
// [DamageError] that it got from the row, it goes on with the next run.
func (v *View) Each(ctx context.Context, tenant moat.Tenant, keys []uint64, from, to moat.Time, fn func(i int, r *Row) error) error {
	from, to = v.window(from, to)
	order := make([]int, len(keys))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(keys[a], keys[b]) })
	sorted := make([]uint64, len(keys))
	for i, o := range order {
		sorted[i] = keys[o]
	}
	return v.eachTable(ctx, func(t *reader) error {
		lo, hi := t.span()
		if lo >= to || hi < from {
			return nil
		}
		g := gathering{ctx: ctx, table: t, ask: t.ahead(v), tenant: tenant, from: from, to: to,
			fn: func(i int, r *Row) error { return fn(order[i], r) }}
		piece := 0
		for done := 0; done < len(sorted); {
			next := len(sorted)
			if g.ask != nil {
				next = done + g.ask.keys(sorted[done:])
			}
			err := t.find(sorted[done:next], func(i int, ords []uint32) error {
				for ords := range slices.Chunk(ords, maxPiece) {
					if piece++; v.mine(t.place, piece) {
						if err := g.add(done+i, ords); err != nil {
							return err
						}
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			done = next
		}
		return g.read()
	})
}

// ahead returns what asks for the pieces of a file before they are read, or nil if they seem to be in memory.
func (t *reader) ahead(v *View) *ahead {
	if t.file == nil || !t.file.cold() {
		return nil
	}
	a := &ahead{file: t.file, split: v.shares > 1}
	a.indexes()
	return a
}

// Counts returns how many events each of the keys has, of all time and of all
// partners, without reading them: it is cheap for a key with millions. Keys must be sorted.
func (v *View) Counts(ctx context.Context, keys []uint64) ([]int64, error) {
	n := make([]int64, len(keys))
	err := v.eachTable(ctx, func(t *reader) error {
		if ask := t.ahead(v); ask != nil {
			ask.entries(keys)
		}
		return t.count(keys, n)
	})
	return n, err
}

// Scan calls fn for each event of each [EventKey] from lo to hi, both included, that
// tenant sees and that happened at from or later and before to; a to of 0
// means no end. Keys are hashes, so a range of them is a random sample of what they
// stand for, the same one in every run. Events come in no order. It stops with
// the error that fn returns, and with that of ctx, as [View.Each] does.
func (v *View) Scan(ctx context.Context, tenant moat.Tenant, lo, hi uint64, from, to moat.Time, fn func(key uint64, r *Row) error) error {
	from, to = v.window(from, to)
	return v.eachTable(ctx, func(t *reader) error {
		first, last := t.span()
		if first >= to || last < from {
			return nil
		}
		var keys []uint64 // of the events that are gathered
		g := gathering{ctx: ctx, table: t, ask: t.ahead(v), tenant: tenant, from: from, to: to,
			fn: func(i int, r *Row) error { return fn(keys[i], r) }}
		add := func(key uint64, ords []uint32) error {
			keys = append(keys, key)
			return g.add(len(keys)-1, ords)
		}
		if g.ask == nil {
			if err := t.scan(lo, hi, add); err != nil {
				return err
			}
			return g.read()
		}
		n := t.file.foot.Buckets
		for at, end := bucketOf(lo, n), bucketOf(hi, n)+1; at < end; at += aheadBuckets {
			next, most := min(end, at+aheadBuckets), hi
			g.ask.buckets(at, next)
			if next < end {
				most = bucketStart(next, n) - 1
			}
			if err := t.scan(max(lo, bucketStart(at, n)), most, add); err != nil {
				return err
			}
			if err := g.read(); err != nil {
				return err
			}
			keys = keys[:0]
		}
		return nil
	})
}

// Newest returns the touches of the keys that tenant sees in the window, the
// newest first, at most limit, and only those before the given one if there is
// one; more tells whether there are others. No event may have two of the keys: it would come twice.
func (v *View) Newest(ctx context.Context, tenant moat.Tenant, keys []uint64, from, to moat.Time,
	before *Touch, limit int) (touches []Touch, more bool, err error) {
	from, to = v.window(from, to)
	if before != nil {
		to = min(to, before.Time+1)
	}
	keys = slices.Clone(keys)
	slices.Sort(keys)
	var best rowHeap
	err = v.eachTable(ctx, func(t *reader) error {
		return t.find(keys, func(_ int, ords []uint32) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			for _, ord := range slices.Backward(ords) {
				floor := from
				if len(best) > limit {
					floor = max(from, best[0].Time)
				}
				if t.upTo(ord) < floor {
					return errNext
				}
				var row Row
				ok, err := t.load(&row, ord, tenant, floor, to)
				if err != nil {
					return err
				}
				if ok && (before == nil || row.compare(before.Time, before.At) < 0) {
					best.offer(row, limit+1)
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, false, err
	}
	slices.SortFunc(best, func(a, b Row) int { return b.compare(a.Time, a.At) })
	if more = len(best) > limit; more {
		best = best[:limit]
	}
	for i := range best {
		t, err := best[i].Touch()
		if v.lost(best[i].in, err) {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		touches = append(touches, t)
	}
	return touches, more, nil
}

// window cuts off what has expired.
func (v *View) window(from, to moat.Time) (moat.Time, moat.Time) {
	if to == 0 {
		to = math.MaxInt64
	}
	return max(from, v.from), to
}

// stop carries an error of the caller through the reading of a run.
type stop struct{ error }

// stopped returns what a caller's error means: damage that it met is like any other.
func stopped(err error) error {
	var d *DamageError
	if errors.As(err, &d) {
		return err
	}
	return stop{err}
}

// eachTable calls fn for every table. A damaged run is set aside and passed over.
func (v *View) eachTable(ctx context.Context, fn func(t *reader) error) error {
	for _, t := range v.tables {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := guard(t.path(), func() error { return fn(t) })
		if s, ok := err.(stop); ok {
			return s.error
		}
		if err != nil && !v.lost(t, err) {
			return err
		}
	}
	return nil
}

// lost tells whether err is damage of a run; then the run is set aside.
func (v *View) lost(t *reader, err error) bool {
	var d *DamageError
	if !errors.As(err, &d) {
		return false
	}
	v.damaged++
	if t.file != nil {
		v.set.setAside(t.file, err)
	}
	return true
}

func (t *reader) path() string {
	if t.file == nil {
		return "in memory"
	}
	return t.file.path
}

// guard turns the fault of a mapped file that cannot be read into an error.
func guard(path string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if _, fault := r.(interface{ Addr() uintptr }); !fault {
				panic(r)
			}
			err = &DamageError{Path: path, What: "page"}
		}
	}()
	return fn()
}

// load reads event ord into row, and tells whether it is in the window and the tenant sees it.
func (t *reader) load(row *Row, ord uint32, tenant moat.Tenant, from, to moat.Time) (bool, error) {
	if !t.maybe(ord, from, to) {
		return false, nil
	}
	rec, err := t.record(ord)
	if err != nil {
		return false, err
	}
	*row = Row{Time: moat.Time(rec[colTime]), Count: int64(rec[colCount]), ord: ord, rec: rec, in: t,
		At: At{Partition: t.part(), Seq: rec[colSeq], Row: uint32(rec[colRow])}}
	if row.Time < from || row.Time >= to {
		return false, nil
	}
	if tenant == moat.Everyone() {
		return true, nil
	}
	s, err := row.Source()
	return err == nil && tenant.Sees(s.Partner), err
}

func (r *Row) compare(t moat.Time, at At) int {
	a, b := Touch{Time: r.Time, At: r.At}, Touch{Time: t, At: at}
	return a.Compare(&b)
}

// Ref returns a number that stands for part p of the event: in one view, events with the same number
// have the same part. It saves who looks at many events to look at the part again.
func (r *Row) Ref(p Part) uint64 {
	return uint64(r.in.place)<<32 | r.rec[colSource+int(p)]&math.MaxUint32
}

// cached returns part p of the event, decoded.
func cached[T any](r *Row, memo *Memo[T], p Part, read func([]byte) (T, bool)) (T, error) {
	return memo.Of(r.rec[colSource+int(p)], func() (v T, err error) {
		ref := r.rec[colSource+int(p)]
		if ref > math.MaxUint32 {
			return v, r.damaged()
		}
		b, err := r.in.text(r.in.buf[:0], p, uint32(ref))
		if err != nil {
			return v, err
		}
		if r.in.file != nil { // what is in memory stays as it is
			r.in.buf, b = b, bytes.Clone(b)
		}
		v, ok := read(b)
		if !ok {
			return v, r.damaged()
		}
		return v, nil
	})
}

func (r *Row) damaged() error { return &DamageError{Path: r.in.path(), What: "event"} }

// Source returns from whom and where the event came. It must not be changed.
func (r *Row) Source() (*Source, error) {
	return cached(r, &r.in.sources, PartSource, func(b []byte) (*Source, bool) {
		s, ok := (&fields{b: b, view: true}).source()
		return &s, ok
	})
}

// Act returns what was done. It must not be changed.
func (r *Row) Act() (*Act, error) {
	return cached(r, &r.in.acts, PartAct, func(b []byte) (*Act, bool) {
		a, ok := (&fields{b: b, view: true}).act()
		return &a, ok
	})
}

// Acted returns who it was and what was done, for those who need both.
func (r *Row) Acted() (*Source, *Act, error) {
	src, err := r.Source()
	if err != nil {
		return nil, nil, err
	}
	act, err := r.Act()
	return src, act, err
}

// Shops returns the shops whose data it is. They must not be changed.
func (r *Row) Shops() ([]string, error) {
	return cached(r, &r.in.shops, PartShops, func(b []byte) ([]string, bool) { return (&fields{b: b, view: true}).shops() })
}

// Part sets the partner of t and its fields of part p. They are valid until the next call for any row of the
// view. It remembers nothing: it is for who looks at each part once.
func (r *Row) Part(p Part, t *Touch) error {
	ref := r.rec[colSource+int(p)]
	if ref > math.MaxUint32 {
		return r.damaged()
	}
	b, err := r.in.text(r.in.buf[:0], p, uint32(ref))
	if err != nil {
		return err
	}
	if r.in.file != nil {
		r.in.buf = b
	}
	if !t.viewPart(p, b) {
		return r.damaged()
	}
	return nil
}

// Orders calls fn with each order that was kept. The bytes are valid during the call.
func (r *Row) Orders(fn func(id []byte)) error {
	b, err := r.in.tail(r.ord, &r.rec)
	if err != nil {
		return err
	}
	var last idShape
	b, ok := skipID(b, &last) // the event's own
	for ok && len(b) > 0 {
		var id []byte
		if id, b, ok = nextID(r.in.id[:0], b, &last); ok {
			fn(id)
		}
	}
	if !ok {
		return r.damaged()
	}
	return nil
}

// IDs calls fn with the id of the event, and then with each order that was
// kept. The bytes are valid during the call.
func (r *Row) IDs(fn func(i int, id []byte)) error {
	b, err := r.in.tail(r.ord, &r.rec)
	if err != nil {
		return err
	}
	var last idShape
	for i := 0; len(b) > 0; i++ {
		id, rest, ok := nextID(r.in.id[:0], b, &last)
		if !ok {
			return r.damaged()
		}
		fn(i, id)
		b = rest
	}
	return nil
}

// Touch returns everything that is kept of the event. Its lists must not be changed.
func (r *Row) Touch() (Touch, error) {
	s, err := r.Source()
	if err != nil {
		return Touch{}, err
	}
	a, err := r.Act()
	if err != nil {
		return Touch{}, err
	}
	t := Touch{Time: r.Time, Source: *s, Act: *a, Count: r.Count, At: r.At}
	if t.Shops, err = r.Shops(); err != nil {
		return Touch{}, err
	}
	err = r.IDs(func(i int, id []byte) {
		if i == 0 {
			t.Event = string(id)
		} else {
			t.Orders = append(t.Orders, string(id))
		}
	})
	return t, err
}

// rowHeap is the newest rows so far, the oldest of them first.
type rowHeap []Row

func (h rowHeap) Len() int           { return len(h) }
func (h rowHeap) Less(i, j int) bool { return h[i].compare(h[j].Time, h[j].At) < 0 }
func (h rowHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *rowHeap) Push(x any)        { *h = append(*h, x.(Row)) }
func (h *rowHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// offer keeps r if it is among the newest n.
func (h *rowHeap) offer(r Row, n int) {
	if len(*h) < n {
		heap.Push(h, r)
		return
	}
	if r.compare((*h)[0].Time, (*h)[0].At) > 0 {
		(*h)[0] = r
		heap.Fix(h, 0)
	}
}
