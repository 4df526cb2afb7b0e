package rule

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/feature"
)

// Shape is what an event concerns when certain conditions of its type hold. It is its sorter's and must not be changed.
type Shape struct {
	Runs      []Run    // of those that observe the event, in order
	Fetch     []Fetch  // those of them with one pair that can be fetched ahead
	Lists     []*Op    // those with one for each text of a list
	Levels    []*Op    // those with one for each level, and another for the partner
	Known     []uint64 // bit i: the pair with that early number is among Fetch
	Detectors []Ask    // that may fire
	Far       []Far    // the lines of records that are looked at
}

// Run is ops in a row that have state in the record of one entity and observe the event, unless features have a say.
type Run struct {
	Of    moat.EntityKind
	Takes []Take
}

// Far is up to 64 lines of the record of one entity: bit i is that at Offset + i·LineBytes.
type Far struct {
	Of     moat.EntityKind
	Offset uint16
	Bits   uint64
}

// Take is what it takes to have an op take an event in, in one line of memory: an op has five, and fifty take an event.
type Take struct {
	Stat   feature.Stat
	Where  func(*Frame) bool // what the conditions of the shape leave open; nil = nothing
	Num    func(*Frame) float64
	Op     *Op
	Offset uint32
	Out    uint32
	Early  int16
	Asks   int16 // number of Where among those that Wheres of the type counts; -1 if no other op has it
	Value  feature.Value
	Mute   bool
}

func (op *Op) take() Take {
	return Take{op.Stat, op.rest, op.Num, op, uint32(op.Offset), uint32(op.Out), int16(op.Early), int16(op.Asks), op.Value, op.Mute}
}

// Fetch is what it takes to compute the key of an op's pair.
type Fetch struct {
	Key   func(*Frame) uint64
	Salt  uint64
	Mask  uint64
	Early int32
	Of    moat.EntityKind
}

func (op *Op) fetch() Fetch { return Fetch{op.Key, op.Salt, op.Mask, int32(op.Early), op.Of} }

// shape returns the shape of an event of which these conditions hold.
func (tp *TypePlan) shape(holds []uint64) *Shape {
	s := &Shape{Known: make([]uint64, words(tp.Early))}
	ops, detectors := make([]uint64, words(len(tp.Ops))), make([]uint64, words(len(tp.Detectors)))
	var lines [moat.EntityKinds]LineSet
	for i := range tp.Conditions {
		if !bit(holds, i) {
			continue
		}
		c := &tp.Conditions[i]
		for w, bits := range c.Ops {
			ops[w] |= bits
		}
		for w, bits := range c.Detectors {
			detectors[w] |= bits
		}
		for _, l := range c.Lines {
			lines[l.Of].add(l.Bits)
		}
	}
	var takes []Take
	for i := range tp.Ops {
		if op := &tp.Ops[i]; bit(ops, i) {
			takes = append(takes, op.take())
			switch {
			case !op.early || !op.Ahead || op.Own != 0:
			case op.Value == feature.Levels:
				s.Levels = append(s.Levels, op)
			case op.Early < 0:
				s.Lists = append(s.Lists, op)
			default:
				s.Fetch = append(s.Fetch, op.fetch())
				s.Known[op.Early>>6] |= 1 << (op.Early & 63)
			}
		}
	}
	for begin := 0; begin < len(takes); { // they stay together in memory, as all are gone through at an event
		of, end := takes[begin].Op.Of, begin+1
		for end < len(takes) && takes[end].Op.Of == of {
			end++
		}
		s.Runs = append(s.Runs, Run{of, takes[begin:end]})
		begin = end
	}
	computed := func(first int) bool {
		i := int(tp.At[first])
		return i >= 0 && bit(ops, i) && tp.Ops[i].rest == nil
	}
	var terms []term
	for i, c := range tp.Detectors {
		if bit(detectors, i) {
			own := cheapestFirst(c.rest, computed)
			s.Detectors = append(s.Detectors, Ask{Compiled: c, terms: own})
			terms = append(terms, own...)
		}
	}
	for i := range s.Detectors { // so do these
		n := len(s.Detectors[i].terms)
		s.Detectors[i].terms, terms = terms[:n:n], terms[n:]
	}
	for _, k := range tp.Kinds {
		lines[k].add(LineSet{1}) // the first has the header
		for word, bits := range lines[k] {
			if bits != 0 {
				s.Far = append(s.Far, Far{k, uint16(word * 64 * LineBytes), bits})
			}
		}
	}
	return s
}

func bit(of []uint64, i int) bool { return of[i>>6]>>(i&63)&1 != 0 }

// Sorter tells the shapes of events. Events are alike in few ways: what their plain facts say follows from a profile and a few
// classes, the facts that are left are asked one after the other, and which way that leads is remembered. It is not safe for
// concurrent use. What it remembers is bounded and changes no answer.
type Sorter struct {
	plan  *Plan
	kinds [moat.EventTypes][]kind
	roots [moat.EventTypes][]root
	ends  [moat.EventTypes]map[string]*Shape // by the conditions that hold
	// How much is remembered.
	nodes, shapes int
}

// kind is what must be known of the events of one profile beside it.
type kind struct {
	profile uint64
	classes []func(*Frame) uint64
}

// root is where the events of one profile and certain classes begin.
type root struct {
	key  uint64
	node *node
}

// node is a fact that must be asked, or the end.
type node struct {
	shape   *Shape // if this is the end
	test    *test
	is, not *node
	left    []uint64 // the conditions that are left
	next    int      // number of the test after this one
}

const (
	kindsMost  = 1 << 10 // of one type
	rootsMost  = 1 << 13 // so, too
	nodesMost  = 1 << 14
	shapesMost = 1 << 11
)

// NewSorter returns a sorter of events under p.
func (p *Plan) NewSorter() *Sorter { return &Sorter{plan: p} }

// Shape returns the shape of the frame's event.
func (s *Sorter) Shape(f *Frame) *Shape {
	if s.nodes > nodesMost || s.shapes > shapesMost { // far more than there are, unless somebody makes events up
		*s = Sorter{plan: s.plan}
	}
	t := f.Event.Type
	tp := &s.plan.Types[t]
	if s.roots[t] == nil {
		s.kinds[t], s.roots[t], s.ends[t] = make([]kind, kindsMost), make([]root, rootsMost), map[string]*Shape{}
	}
	key := f.begins()
	k := &s.kinds[t][key>>32%kindsMost]
	if k.profile != key {
		*k = kind{key, tp.classes(f)}
	}
	for _, class := range k.classes {
		key = (bits.RotateLeft64(key, 5) ^ class(f)) * 0x9E3779B97F4A7C15
	}
	key |= 1
	r := &s.roots[t][key>>32%rootsMost]
	if r.key != key {
		*r = root{key, s.begin(tp, f)}
	}
	n := r.node
	for n.shape == nil {
		n = s.step(tp, n, n.test.is(f))
	}
	return n.shape
}

// begin settles the plain facts of the frame's event.
func (s *Sorter) begin(tp *TypePlan, f *Frame) *node {
	left := tp.all()
	for i := range tp.tests[:tp.plain] {
		if t := &tp.tests[i]; t.needed(left) && !t.is(f) {
			t.rule(left)
		}
	}
	return s.node(tp, left, tp.plain)
}

// step returns where the answer to the test of n leads.
func (s *Sorter) step(tp *TypePlan, n *node, is bool) *node {
	to := &n.not
	if is {
		to = &n.is
	}
	if *to == nil {
		left := slices.Clone(n.left)
		if !is {
			n.test.rule(left)
		}
		*to = s.node(tp, left, n.next)
	}
	return *to
}

// node returns what must be asked next while these conditions are left.
func (s *Sorter) node(tp *TypePlan, left []uint64, next int) *node {
	s.nodes++
	for i := next; i < len(tp.tests); i++ {
		if t := &tp.tests[i]; t.needed(left) {
			return &node{test: t, left: left, next: i + 1}
		}
	}
	var key []byte
	for _, w := range left {
		key = binary.LittleEndian.AppendUint64(key, w)
	}
	shape := s.ends[tp.typ][string(key)]
	if shape == nil {
		shape = tp.shape(left)
		s.ends[tp.typ][string(key)] = shape
		s.shapes++
	}
	return &node{shape: shape}
}

// needed tells whether a condition is left that needs the fact.
func (t *test) needed(left []uint64) bool {
	for w, bits := range t.needs {
		if left[w]&bits != 0 {
			return true
		}
	}
	return false
}

// rule takes away the conditions that need the fact, which does not hold.
func (t *test) rule(left []uint64) {
	for w, bits := range t.needs {
		left[w] &^= bits
	}
}
