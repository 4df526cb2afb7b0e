package feature

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/moat-platform/moat"
)

var update = flag.Bool("update", false, "rewrite golden files")

// start is the Monday midnight at which tests begin.
const start = moat.Time(1_767_571_200) * moat.Second // 2026-01-05

// end is the newest time of fuzz cases; states count seconds up to the year 2106.
const end = moat.Time(4_102_444_800) * moat.Second // 2100-01-01

// canary surrounds states and outputs to catch writes outside of them.
const canary = 0xC0FFEE0DDBA11

// subject is a kind with a state to try it on, as the engine would hold it.
type subject struct {
	t     testing.TB
	kind  *Kind
	stat  Stat
	size  int
	words []uint64 // canary, state, canary
	out   []float64
	pairs map[uint64]*Pair
	*partner
	born moat.Time
	seen moat.Time
}

// partner is what all subjects of one partner share.
type partner struct {
	common      []uint64
	commonPairs map[uint64]*Pair
}

func newSubject(t testing.TB, name string, given Params) *subject {
	t.Helper()
	k := Find(name)
	if k == nil {
		t.Fatalf("no kind %q", name)
	}
	p, err := k.Fill(given)
	if err != nil {
		t.Fatal(err)
	}
	s := &subject{t: t, kind: k, stat: k.New(p), size: k.Size(p), words: make([]uint64, (k.Size(p)+7)/8+2), out: make([]float64, MaxOutputs+1), pairs: map[uint64]*Pair{}}
	s.words[0], s.words[len(s.words)-1] = canary, canary
	s.partner = &partner{commonPairs: map[uint64]*Pair{}}
	if k.Common != nil {
		s.common = make([]uint64, k.Common(p)/8)
	}
	return s
}

func (s *subject) state() unsafe.Pointer { return unsafe.Pointer(&s.words[1]) }

// fill completes in with what the engine knows.
func (s *subject) fill(in *Input) {
	in.Born, in.Seen = s.born, s.seen
	if in.Born == 0 {
		in.Born = in.Now
	}
	if !s.kind.Pairs {
		return
	}
	pair := func(key uint64) unsafe.Pointer { return s.pairOf(s.pairs, key) }
	if s.common != nil {
		in.Common = unsafe.Pointer(&s.common[0])
		for i, key := range levelsOf(in) {
			in.Level[i] = Level{}
			if key != 0 {
				in.Level[i] = Level{key, pair(key), s.pairOf(s.commonPairs, key)}
			}
		}
		return
	}
	in.Pair, in.Pairs = pair(in.Key), nil
	for _, k := range in.Keys {
		in.Pairs = append(in.Pairs, pair(k))
	}
}

// pairOf returns a pair of m, which it makes when there is none.
func (*subject) pairOf(m map[uint64]*Pair, key uint64) unsafe.Pointer {
	p, ok := m[key]
	if !ok {
		p = new(Pair)
		m[key] = p
	}
	return unsafe.Pointer(p)
}

// levelsOf makes three levels of the key of in, of which any may be unknown.
func levelsOf(in *Input) (keys [MaxLevels]uint64) {
	if in.Key%13 != 0 {
		keys[0] = in.Key | 1<<40
	}
	if in.Key%11 != 0 {
		keys[1] = in.Key%7 + 10
	}
	if in.Key%5 != 0 {
		keys[2] = in.Key%3 + 20
	}
	return keys
}

func (s *subject) check() []float64 {
	s.t.Helper()
	if s.words[0] != canary || s.words[len(s.words)-1] != canary || s.size%8 != 0 && s.words[len(s.words)-2]>>32 != 0 {
		s.t.Fatalf("%s wrote outside of its state", s.kind.Name)
	}
	last := len(s.kind.Outputs)
	for _, v := range s.out[last:] {
		if math.Float64bits(v) != canary {
			s.t.Fatalf("%s wrote more outputs than it has", s.kind.Name)
		}
	}
	for i, v := range s.out[:last] {
		if v-v != 0 {
			s.t.Fatalf("%s gave %v for %s", s.kind.Name, v, s.kind.Outputs[i].Name)
		}
	}
	return slices.Clone(s.out[:last])
}

func (s *subject) outs() *Outputs { return (*Outputs)(s.out) }

func (s *subject) poison() {
	for i := range s.out {
		s.out[i] = math.Float64frombits(canary)
	}
}

func (s *subject) observe(in Input) []float64 {
	s.t.Helper()
	s.fill(&in)
	s.poison()
	s.stat.Observe(s.state(), &in, s.outs())
	if s.born == 0 || in.Now < s.born {
		s.born = in.Now
	}
	s.seen = max(s.seen, in.Now)
	return s.check()
}

func (s *subject) read(in Input) []float64 {
	s.t.Helper()
	s.fill(&in)
	s.poison()
	before := slices.Clone(s.words)
	pairs := map[uint64]Pair{}
	for k, p := range s.pairs {
		pairs[k] = *p
	}
	s.stat.Read(s.state(), &in, s.outs())
	if !slices.Equal(before, s.words) {
		s.t.Fatalf("Read of %s changed its state", s.kind.Name)
	}
	for k, p := range s.pairs {
		if pairs[k] != *p {
			s.t.Fatalf("Read of %s changed a pair", s.kind.Name)
		}
	}
	return s.check()
}

// expect fails unless the outputs are these, to within a part in 10⁴.
func (s *subject) expect(what string, got []float64, want ...float64) {
	s.t.Helper()
	for i, w := range want {
		if !near(got[i], w) {
			s.t.Fatalf("%s: %s of %s is %v, want %v (all: %v, want %v)", what, s.kind.Outputs[i].Name, s.kind.Name, got[i], w, got, want)
		}
	}
}

// agree is expect for fuzzing: it writes no words while all is well.
func (s *subject) agree(what string, i int, in Input, given Params, by float64, got, want []float64) {
	s.t.Helper()
	for j := range want {
		if !near(got[j], want[j]) && math.Abs(got[j]-want[j]) > by {
			s.expect(fmt.Sprintf("%s %d %v at %v", what, i, given, in.Now), got, want...)
		}
	}
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-4*(1+max(math.Abs(a), math.Abs(b))) }

// rough is a model of a kind that keeps numbers as shorts: by how much its outputs may be wrong.
type rough interface{ by() float64 }

// model is a slow and plain form of a kind: it may keep all that it was given.
type model interface {
	// observe takes in like Stat.Observe; read gives the outputs at in.Now.
	observe(in Input) []float64
	read(in Input) []float64
}

// steps of operations of a fuzz case, in bytes.
const opSize = 6

// operations decodes a fuzz case: times that stand still, creep, jump, and go
// back; values of all sorts, from few so that they repeat.
func operations(data []byte) (ops []Input) {
	now := start
	for ; len(data) >= opSize && len(ops) < 420; data = data[opSize:] {
		a := moat.Time(binary.LittleEndian.Uint16(data[1:]))
		switch data[0] % 16 {
		case 0, 1:
		case 2:
			now += a
		case 3, 4, 5, 6:
			now += a * moat.Millisecond
		case 7, 8, 9:
			now += a % 600 * moat.Second
		case 10:
			now += a % 48 * moat.Hour
		case 11:
			now -= a * moat.Millisecond
		case 12:
			now -= a % 7200 * moat.Second
		case 13:
			now += a % 40 * moat.Day
		case 14:
			now -= a % 3 * moat.Day
		case 15:
			if a%16 == 0 {
				now += a * moat.Hour
			}
		}
		now = max(moat.Day, min(now, end))
		ops = append(ops, operation(now, data[0]>>4, data[3], data[4], data[5]))
	}
	return ops
}

func operation(now moat.Time, mode, a, b, c byte) Input {
	in := Input{Now: now, Num: float64(a), Steps: uint32(b), Key: mix(uint64(a) % 40)}
	switch {
	case mode == 1:
		in.Num = math.Exp(float64(b) / 12) // up to 1.7e9
		in.Key = mix(uint64(a) | uint64(b)<<8)
	case mode == 2:
		in.Num = float64(c) / 7
	}
	id := uint64(a)
	for i := range uint64(c % 5) {
		id += uint64(b >> (2 * i) & 3)
		in.Keys = append(in.Keys, mix(id))
		text := fmt.Sprintf("TB%d", 1000+id)
		if b == 77 {
			text = "none"
		}
		in.Texts = append(in.Texts, text)
	}
	in.Place = Spot{Known: b != 9, Country: uint16(a % 4), Lat: float32(int(b)%180 - 90), Lon: float32(int(c)*360/256 - 180), RadiusKM: float32(a % 64)}
	return in
}

// mix makes a well mixed hash of x (SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// compare fuzzes a kind against its model, with values of that sort, with
// parameters picked from choices. A Read of a time ahead follows every third operation.
func compare(f *testing.F, name string, value Value, choices []Params, build func(p Params) model) {
	f.Helper()
	for seed := range 15 {
		r := rand.New(rand.NewPCG(uint64(seed), 7))
		data := make([]byte, opSize*(20+r.IntN(400)))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		if seed%3 == 1 { // mostly forward in small steps, one sort of value
			for i := 0; i+opSize <= len(data); i += opSize {
				if r.IntN(8) > 0 {
					data[i] = byte(r.IntN(10))
				}
			}
		}
		f.Add(byte(seed), data)
	}
	f.Fuzz(func(t *testing.T, pick byte, data []byte) {
		given := choices[int(pick)%len(choices)]
		s := newSubject(t, name, given)
		p, _ := s.kind.Fill(given)
		m := build(p)
		for i, in := range operations(data) {
			in.Value = value
			s.fill(&in)
			want, by := m.observe(in), 0.0
			if r, ok := m.(rough); ok {
				by = r.by()
			}
			s.agree("operation", i, in, given, by, s.observe(in), want)
			if i%3 == 0 {
				in.Now = min(end, in.Now+moat.Time(min(in.Num, 3000)*min(in.Num, 3000))*20*moat.Second)
				s.fill(&in)
				s.agree("read after operation", i, in, given, by, s.read(in), m.read(in))
			}
		}
	})
}

// measure is the benchmark of a kind: Observe on one state in cache.
func measure(b *testing.B, name string, given Params, value Value, next func(i int, in *Input)) {
	s := newSubject(b, name, given)
	in := Input{Now: start, Value: value, Born: start - moat.Day, Seen: start}
	var pair Pair
	in.Pair = unsafe.Pointer(&pair)
	if s.common != nil {
		in.Key = 1
		s.fill(&in)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		in.Now += 50 * moat.Millisecond
		next(i, &in)
		s.stat.Observe(s.state(), &in, s.outs())
	}
}

// every returns operations of a pseudo-random case, for tests over all kinds.
func every(n int) []Input {
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, opSize*n)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return operations(data)
}

func eachKind(t *testing.T, f func(t *testing.T, k *Kind, v Value)) {
	n := 0
	for i := range Kinds {
		k := &Kinds[i]
		for v := NoValue; v <= Levels; v++ {
			if k.Takes(v) {
				n++
				t.Run(k.Name+"/"+v.String(), func(t *testing.T) { f(t, k, v) })
			}
		}
	}
	if n < len(Kinds) || n == 0 {
		t.Fatalf("ran %d of %d kinds", n, len(Kinds))
	}
}

// TestMute leaves out the outputs of two of three observations: what the others and what reads say is the same.
func TestMute(t *testing.T) {
	eachKind(t, func(t *testing.T, k *Kind, v Value) {
		heard, muted := newSubject(t, k.Name, nil), newSubject(t, k.Name, nil)
		for i, in := range every(400) {
			in.Value = v
			want := heard.observe(in)
			if in.Mute = i%3 != 0; in.Mute {
				muted.fill(&in)
				muted.stat.Observe(muted.state(), &in, muted.outs())
				muted.born, muted.seen = heard.born, heard.seen
			} else if got := muted.observe(in); !slices.Equal(got, want) {
				t.Fatalf("operation %d gives %v, %v without mute ones before", i, got, want)
			}
			in.Mute = false
			in.Now += moat.Time(i%5) * moat.Hour
			if got, want := muted.read(in), heard.read(in); !slices.Equal(got, want) {
				t.Fatalf("read after operation %d gives %v, %v without mute ones", i, got, want)
			}
		}
	})
}

// TestBlind reads blind kinds with a value and without.
func TestBlind(t *testing.T) {
	eachKind(t, func(t *testing.T, k *Kind, v Value) {
		if !k.Blind {
			return
		}
		s := newSubject(t, k.Name, nil)
		for i, in := range every(400) {
			in.Value = v
			s.observe(in)
			in.Now += moat.Time(i%5) * moat.Hour
			if got, want := s.read(Input{Now: in.Now}), s.read(in); !slices.Equal(got, want) {
				t.Fatalf("read after operation %d gives %v, %v with a value", i, got, want)
			}
		}
	})
}

// TestVacant asks states whether they have pairs, against what was observed.
func TestVacant(t *testing.T) {
	eachKind(t, func(t *testing.T, k *Kind, v Value) {
		if k.Vacant == nil {
			return
		}
		s := newSubject(t, k.Name, nil)
		if !k.Vacant(s.state()) {
			t.Fatal("an empty state has pairs")
		}
		for i, in := range every(50) {
			in.Value = v
			if s.observe(in); k.Vacant(s.state()) != (s.out[4] == 0) {
				t.Fatalf("after operation %d vacant is %v, with %v values", i, k.Vacant(s.state()), s.out[4])
			}
		}
	})
}

// TestKindsAreWhole checks what a Kind says of itself.
func TestKindsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for i := range Kinds {
		k := &Kinds[i]
		if seen[k.Name] || k.Name == "" || k.Doc == "" || k.CostNS <= 0 || len(k.Outputs) == 0 || len(k.Outputs) > MaxOutputs {
			t.Errorf("%q: twice, or without name, doc, cost or outputs", k.Name)
		}
		seen[k.Name] = true
		if Find(k.Name) != k {
			t.Errorf("%s is not found by its name", k.Name)
		}
		for j, o := range k.Outputs {
			if o.Name == "" || o.Doc == "" || o.Unit == "" || k.Output(o.Name) != j {
				t.Errorf("%s: output %d %q lacks a word", k.Name, j, o.Name)
			}
		}
		for _, p := range k.Params {
			if p.Name == "" || p.Doc == "" || p.Unit == "" || p.Default < p.Min || p.Default > p.Max {
				t.Errorf("%s: parameter %q lacks a word or its default is out of bounds", k.Name, p.Name)
			}
		}
	}
}

// TestSizes pins the bytes of every state, for the defaults and for ever.
func TestSizes(t *testing.T) {
	forEver := Params{"window": 0}
	f := func(name string, given Params, want int) {
		t.Helper()
		k := Find(name)
		p, err := k.Fill(given)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Size(p); got != want || got%4 != 0 {
			t.Errorf("%s %v: state of %d bytes, want %d", name, given, got, want)
		}
	}
	f("count", nil, 32)
	f("count", forEver, 8)
	f("sum", nil, 32)
	f("sum", forEver, 8)
	f("max", nil, 32)
	f("max", forEver, 8)
	f("distinct", nil, 112)
	f("distinct", forEver, 64)
	f("seen", nil, 4)
	f("age", nil, 0)
	f("last", nil, 8)
	f("baseline", nil, 64)
	f("cusum", nil, 64)
	f("hours", nil, 112)
	f("quantiles", nil, 112)
	f("rarity", nil, 8)
	f("travel", nil, 24)
	f("run", nil, 32)
	f("rhythm", nil, 24)
	f("burst", nil, 0)
	f("entropy", nil, 80)
	f("likelihood", nil, 4)
	f("top", nil, 144)
	f("coverage", nil, 1056)
	f("coverage", Params{"keep": 17}, 168)
	f("sequence", nil, 16)
	f("sequence", Params{"times": 5}, 32)
}

// TestCopyGoesOnAlike makes sure that a state is all in its bytes and its pairs.
func TestCopyGoesOnAlike(t *testing.T) {
	eachKind(t, func(t *testing.T, k *Kind, v Value) {
		a, b := newSubject(t, k.Name, nil), newSubject(t, k.Name, nil)
		for i, in := range every(400) {
			in.Value = v
			if i == 200 {
				copy(b.words, a.words)
				copy(b.common, a.common)
				for key, p := range a.commonPairs {
					c := *p
					b.commonPairs[key] = &c
				}
				for key, p := range a.pairs {
					c := *p
					b.pairs[key] = &c
				}
				b.born, b.seen = a.born, a.seen
			}
			want := a.observe(in)
			if i >= 200 && !slices.Equal(b.observe(in), want) {
				t.Fatalf("operation %d: a copied state went on differently", i)
			}
		}
	})
}

// TestExtremes feeds what no sender should: times before 1970 and at the end of
// the calendar, numbers that are none, with parameters at both ends.
func TestExtremes(t *testing.T) {
	nums := []float64{0, -1, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, 1e-300, 5}
	times := []moat.Time{0, -5, math.MinInt64 / 2, math.MaxInt64 / 2, 1, start, 253402300799 * moat.Second, start + 1}
	eachKind(t, func(t *testing.T, k *Kind, v Value) {
		for end := range 3 {
			given := Params{}
			for _, p := range k.Params {
				given[p.Name] = []float64{p.Min, p.Default, p.Max}[end]
			}
			s := newSubject(t, k.Name, given)
			for i := range 400 {
				in := Input{Now: times[i%len(times)], Value: v, Num: nums[i%len(nums)], Key: uint64(i % 3), Steps: uint32(i), Place: Spot{Known: true, Lat: 90, Lon: float32(i)}}
				in.Keys, in.Texts = []uint64{0, math.MaxUint64}, []string{"", "99999999999999999999999"}
				s.observe(in)
				in.Now = times[(i*3)%len(times)]
				s.read(in)
			}
		}
	})
}

// TestAllocations holds the promise that no kind allocates.
func TestAllocations(t *testing.T) {
	ops := every(64)
	eachKind(t, func(t *testing.T, k *Kind, v Value) {
		s := newSubject(t, k.Name, nil)
		for i := range ops {
			ops[i].Value = v
			s.fill(&ops[i])
		}
		n := testing.AllocsPerRun(20, func() {
			for i := range ops {
				s.stat.Observe(s.state(), &ops[i], s.outs())
				s.stat.Read(s.state(), &ops[i], s.outs())
			}
		})
		if n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// TestNilPair: a value whose pair is not kept is one never seen.
func TestNilPair(t *testing.T) {
	f := func(name string, want ...float64) {
		t.Helper()
		s := newSubject(t, name, nil)
		in := Input{Now: start, Born: start - moat.Day, Value: Key, Key: 2}
		for range 10 {
			s.observe(Input{Now: start, Value: Key, Key: 1})
		}
		s.poison()
		s.stat.Read(s.state(), &in, s.outs())
		s.expect("read", s.check(), want...)
		s.stat.Observe(s.state(), &in, s.outs())
		s.stat.Read(s.state(), &in, s.outs())
		if name == "seen" && s.check()[0] != 1 {
			t.Error("a value without a pair was kept")
		}
	}
	f("seen", 1, 0, 0, 0, 1)
	f("rarity", 1.0/12, 10, 0.9)
	f("burst", 0, 0, 0)
}

// TestNoValue: an event without the field is nothing new and nothing rare.
func TestNoValue(t *testing.T) {
	f := func(name string, v Value, want ...float64) {
		t.Helper()
		s := newSubject(t, name, nil)
		in := every(1)[0]
		in.Now, in.Num, in.Value = start, 5, v
		for range 10 {
			s.observe(in)
		}
		s.poison()
		s.stat.Read(s.state(), &Input{Now: start, Born: start}, s.outs())
		s.expect("read", s.check(), want...)
	}
	f("seen", Key, 0, 0, 0, 0, 1)
	f("rarity", Key, 1, 10, 0.9)
	f("burst", Key, 0, 0, 0)
	f("last", Key, 0, 0, 0)
	f("last", Number, 0, 0, 0)
	f("travel", Place, 0, 0, 0)
	f("sum", Number, 50)
	f("distinct", Key, 1)
	f("baseline", Number, 0, 50)
}

func TestFill(t *testing.T) {
	f := func(name string, given Params, want string) {
		t.Helper()
		_, err := Find(name).Fill(given)
		if got := fmt.Sprint(err); got != want {
			t.Errorf("%s %v: %s, want %s", name, given, got, want)
		}
	}
	f("count", nil, "<nil>")
	f("count", Params{"window": 60}, "<nil>")
	f("count", Params{"window": -1}, "window of count must be between 0s and 400d, not -1s")
	f("count", Params{"window": math.NaN()}, "window of count must be between 0s and 400d, not NaN")
	f("count", Params{"span": 1}, `count has no parameter "span": it has window`)
	f("age", Params{"span": 1}, `age has no parameter "span": it has none`)
	f("sequence", Params{"steps": 9}, "steps of sequence must be between 1 and 8, not 9")
	if Find("nothing") != nil {
		t.Error("found a kind that does not exist")
	}
}
