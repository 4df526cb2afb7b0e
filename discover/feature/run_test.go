package feature

import (
	"cmp"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
)

// reader keeps all ids of every minute, and reads numbers by regular expression.
type reader struct {
	step    int64
	minutes []minute
}

// minute is what was read in one; length and up are those of the run that ends with it, once there is a newer one.
type minute struct {
	at     int64
	ids    []int64
	length int64
	up     int64
}

func newReader(p Params) model { return &reader{step: int64(p["step"])} }

var ending = regexp.MustCompile(`[0-9]{1,18}$`)

// ends returns the lowest and the highest number, and how many count.
func (m *minute) ends() (lo, hi, count int64) {
	for i, id := range m.ids {
		switch {
		case i == 0:
			lo, hi, count = id, id, 1
		case id != lo && id != hi && hi-lo < 65535:
			lo, hi = min(lo, id), max(hi, id)
			count = min(count+1, hi-lo+1, 65535)
		}
	}
	return lo, hi, count
}

func (r *reader) dense(m *minute) bool {
	lo, hi, n := m.ends()
	return n > 0 && hi-lo < 65535 && hi-lo <= r.step*(n-1)
}

// reach returns length and direction of the run that ends with the i-th minute.
func (r *reader) reach(i int) (length, up int64) {
	if i < 0 || !r.dense(&r.minutes[i]) {
		return 0, 0
	}
	lo, hi, n := r.minutes[i].ends()
	if i == 0 || r.minutes[i-1].length == 0 {
		return n, 0
	}
	before := &r.minutes[i-1]
	l, h, _ := before.ends()
	switch {
	case lo > h && lo-h <= r.step && before.up >= 0:
		up = 1
	case hi < l && l-hi <= r.step && before.up <= 0:
		up = -1
	default:
		return n, 0
	}
	return min(before.length+n, 65535), up
}

func (r *reader) read(Input) []float64 {
	length, _ := r.reach(len(r.minutes) - 1)
	return []float64{float64(length)}
}

func (r *reader) take(at int64, text string) {
	digits := ending.FindString(text)
	if digits == "" {
		return
	}
	id, _ := strconv.ParseInt(digits, 10, 64)
	switch i := len(r.minutes) - 1; {
	case i < 0 || at > r.minutes[i].at:
		if i >= 0 {
			r.minutes[i].length, r.minutes[i].up = r.reach(i)
		}
		r.minutes = append(r.minutes, minute{at: at, ids: []int64{id}})
	case at == r.minutes[i].at:
		r.minutes[i].ids = append(r.minutes[i].ids, id)
	case at+1 == r.minutes[i].at && i > 0:
		m := &r.minutes[i-1]
		_, _, n := m.ends()
		m.ids = append(m.ids, id)
		_, _, after := m.ends()
		switch {
		case !r.dense(m):
			m.length, m.up = 0, 0
		case m.length == 0:
			m.length = after
		default:
			m.length = min(m.length+after-n, 65535)
		}
	}
}

func (r *reader) observe(in Input) []float64 {
	for _, text := range in.Texts {
		r.take(int64(in.Now/moat.Minute), text)
	}
	return r.read(in)
}

func FuzzRun(f *testing.F) {
	compare(f, "run", Keys, []Params{nil, {"step": 1}, {"step": 100}}, newReader)
}

// FuzzRunTexts feeds ids of any shape.
func FuzzRunTexts(f *testing.F) {
	f.Add("TB1001", "TB1002", "TB1004")
	f.Add("", "9", "99999999999999999999999999")
	f.Add("1-a", "000000000000000000000000000002", "3")
	f.Add("a9é", "1٣", "12\x00")
	f.Add("12345678", "x1234567890123456", "123456789012345678")
	f.Add("1234/678", "123:5678", "876543210000000009")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		s, m := newSubject(t, "run", nil), newReader(Params{"step": 3})
		in := Input{Now: start, Value: Keys, Texts: []string{a, b, c}}
		s.expect(a+" "+b+" "+c, s.observe(in), m.observe(in)...)
	})
}

func TestRun(t *testing.T) {
	f := func(what string, step, len float64, ids ...string) {
		t.Helper()
		for gap, of := range map[moat.Time]string{0: "in a minute", 2 * moat.Minute: "minutes apart"} {
			s := newSubject(t, "run", Params{"step": step})
			var got []float64
			for i, id := range ids {
				got = s.observe(Input{Now: start + moat.Time(i)*gap, Value: Keys, Texts: []string{id}})
			}
			s.expect(what+" "+of, got, len)
		}
	}
	f("one", 3, 1, "A7")
	f("up", 3, 4, "A7", "A8", "A10", "A13")
	f("a smaller step allowed", 2, 2, "A7", "A9")
	f("down", 3, 3, "A10", "A9", "A8")
	f("other letters do not matter", 3, 2, "A7", "B8")
	f("without digits", 3, 3, "A7", "A8", "none", "A9")
	f("over a power of ten", 3, 3, "A99", "A100", "A101")
	f("19 digits: the first is not looked at", 3, 2, "1000000000000000007", "2000000000000000008")
	g := func(what string, len float64, ids ...string) {
		t.Helper()
		s := newSubject(t, "run", nil)
		var got []float64
		for i, id := range ids {
			got = s.observe(Input{Now: start + moat.Time(i)*moat.Minute, Value: Keys, Texts: strings.Fields(id)})
		}
		s.expect(what, got, len)
	}
	g("too far", 1, "A7", "A11")
	g("turned", 1, "A7", "A8", "A7")
	g("a minute of others ends it", 2, "1 2 3", "900", "4 5")
	g("a minute in any order", 9, "3 1 2", "6 4 5", "9 8 7")
	g("holes in a minute", 7, "1 2 3", "4 9 5 10")
	g("too many holes", 0, "1 2 3", "4 20 21")
	g("far away and back", 2, "1 2 3", "999999999999999999", "4 5")
	s := newSubject(t, "run", nil)
	for i, id := range []string{"1 2 6", "8 9", "4 3 5 7"} { // the last come a minute late
		s.observe(Input{Now: start + moat.Time([]int{0, 1, 0}[i])*moat.Minute, Value: Keys, Texts: strings.Fields(id)})
	}
	s.expect("late", s.read(Input{Now: start}), 9)
}

// TestRunShuffled: a walk whose events arrive up to 20 s apart from their order is a run all the same; orders as they come to hand are none.
func TestRunShuffled(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	for _, gap := range []float64{0.5, 1, 3, 6, 40} {
		type act struct {
			at, arrives float64
			id          int
		}
		var walk, desk []act
		for i := range 300 {
			at := float64(i) * gap
			walk = append(walk, act{at, at + 20*r.Float64(), 900_000 - i})
			desk = append(desk, act{at, at + 20*r.Float64(), 900_000 + i/4 + r.IntN(200)})
		}
		for _, acts := range [][]act{walk, desk} {
			slices.SortFunc(acts, func(a, b act) int { return cmp.Compare(a.arrives, b.arrives) })
			s, most := newSubject(t, "run", Params{"step": 2}), 0.0
			for _, a := range acts {
				out := s.observe(Input{Now: start + moat.Time(a.at*float64(moat.Second)), Value: Keys, Texts: []string{strconv.Itoa(a.id)}})
				most = max(most, out[0])
			}
			switch {
			case &acts[0] == &walk[0] && most < 150:
				t.Errorf("a walk of 300, one in %g s: the longest run has %g", gap, most)
			case &acts[0] == &desk[0] && gap >= 1 && most > 30: // two a second of 200 lie densely, whoever takes them
				t.Errorf("300 orders of a desk, one in %g s: the longest run has %g", gap, most)
			}
		}
	}
}

func BenchmarkRun(b *testing.B) {
	ids := []string{"5840012345678901", "5840012345678902", "5840012345678904", "5840012399999999"}
	texts := make([]string, 1)
	measure(b, "run", nil, Keys, func(i int, in *Input) {
		texts[0] = ids[i&3]
		in.Texts = texts
	})
}
