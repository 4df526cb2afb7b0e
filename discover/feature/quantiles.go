package feature

import (
	"math"
	"unsafe"
)

// quantilesKind keeps the distribution of a number.
//
// State: 52 buckets of 16 bits, a maximum and a count, 112 bytes. Cost: 30 ns.
//
// Formula: the logarithmic buckets of DDSketch (Masson 2019): the first holds
// what is below 1 and answers 0, the i-th holds [γⁱ⁻¹, γⁱ) with γ = 1.502 and
// answers with the number whose relative error is the same at both ends,
// (γ − 1)/(γ + 1) = 20.1 %. That bound holds for every quantile of
// numbers from 1 to 10⁹; larger ones count as 10⁹, negative ones as 0.
// When a bucket reaches 4096 all are halved (rounding down), so that old values
// fade: the quantiles are then of the last ten thousand or so.
var quantilesKind = Kind{
	Name:  "quantiles",
	Doc:   "The distribution of a number, to within 20 %. Good for sizes without a fixed limit: more than 99 of 100 of the entity's own exports.",
	Value: Number,
	Blind: true,
	Outputs: []Output{
		{"q50", "of the value", "Half of the values before this event were at most this; 0 when there were none."},
		{"q90", "of the value", "The same for 90 of 100."},
		{"q99", "of the value", "The same for 99 of 100."},
		{"max", "of the value", "Largest value before this event; it decays by 1/256 of its distance to each smaller value that comes."},
		{"n", "events", "Values that count, this one included: halved whenever old ones fade, so that it stays below 213,000."},
	},
	CostNS: 30,
	Size:   func(Params) int { return int(unsafe.Sizeof(quantilesState{})) },
	New:    func(Params) Stat { return newQuantiles() },
}

const (
	gamma       = 1.502
	buckets     = 52
	bucketFull  = 4096 // the count that halves all; four of them must fit in 16 bits
	lanes       = 4    // buckets in a word
	laneOnes    = 0x0001_0001_0001_0001
	laneHalves  = 0x7FFF_7FFF_7FFF_7FFF
	valueLimit  = 1e9
	decay       = 256
	bucketWords = buckets / lanes
)

type quantilesState struct {
	n     uint32 // sum of count
	max   float32
	count [bucketWords]uint64 // four buckets of 16 bits a word, lowest first
}

// quantiles holds the lower edges of the buckets and their answers.
type quantiles struct {
	edge   [buckets + 1]float64
	answer [buckets]float64
	scale  float64 // buckets per doubling
}

func newQuantiles() *quantiles {
	q := &quantiles{scale: 1 / math.Log2(gamma)}
	edge := 1.0
	for i := 1; i <= buckets; i++ {
		q.edge[i] = edge
		if i < buckets {
			q.answer[i] = 2 * edge * gamma / (1 + gamma)
		}
		edge *= gamma
	}
	q.edge[buckets] = math.Inf(1)
	return q
}

func (q *quantiles) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	s := (*quantilesState)(state)
	q.Read(state, in, out)
	v := 0.0
	if in.Num > 0 {
		v = min(in.Num, valueLimit)
	}
	if f := float32(v); f > s.max {
		s.max = f
	} else {
		s.max -= float32((s.max - f) / decay)
	}
	s.add(q.bucket(v))
	out[4] = float64(s.n)
}

func (q *quantiles) Read(state unsafe.Pointer, _ *Input, out *Outputs) {
	s := (*quantilesState)(state)
	_ = out[4]
	out[3], out[4] = float64(s.max), float64(s.n)
	if s.n == 0 {
		out[0], out[1], out[2] = 0, 0, 0
		return
	}
	at := place{}
	out[0] = q.answer[s.find(&at, (s.n+1)/2)]
	out[1] = q.answer[s.find(&at, (9*s.n+9)/10)]
	out[2] = q.answer[s.find(&at, (99*s.n+99)/100)]
}

// place is a word and how many values lie in the words before it.
type place struct {
	word   int
	before uint32
}

// find returns the bucket of the value of that rank (the smallest has rank 1),
// which is not before at, and moves at there.
func (s *quantilesState) find(at *place, rank uint32) int {
	i, missing := at.word, rank-at.before
	w := s.count[i]
	for in := inWord(w); in < missing && i < bucketWords-1; in = inWord(w) {
		missing -= in
		i++
		w = s.count[i]
	}
	at.word, at.before = i, rank-missing
	lane := i * lanes
	for ; uint32(w&0xFFFF) < missing && w != 0; lane++ {
		missing -= uint32(w & 0xFFFF)
		w >>= 16
	}
	return lane
}

// inWord adds up the four buckets of a word.
func inWord(w uint64) uint32 { return uint32(w * laneOnes >> 48) }

// bucket returns the bucket of v.
func (q *quantiles) bucket(v float64) int {
	if v < 1 {
		return 0
	}
	// Exponent and mantissa in one are log₂ v, too small by at most 0.09; a
	// bucket is 0.59 wide, so that the right one is this or the next.
	b := math.Float64bits(v)
	log2 := float64(int64(b)-1023<<52) / (1 << 52)
	i := 1 + int(log2*q.scale)
	if v >= q.edge[i+1] {
		return i + 1
	}
	return i
}

func (s *quantilesState) add(i int) {
	w, shift := &s.count[i/lanes], uint(i%lanes)*16
	*w += 1 << shift
	s.n++
	if *w>>shift&0xFFFF < bucketFull {
		return
	}
	s.n = 0
	for i, w := range s.count {
		s.count[i] = w >> 1 & laneHalves
		s.n += inWord(s.count[i])
	}
}
