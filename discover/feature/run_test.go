package feature

import (
	"math/big"
	"regexp"
	"testing"
)

// reader keeps every id, by regular expression and with big numbers.
type reader struct {
	step     *big.Int
	previous *big.Int // nil: none
	up       int
	length   int
	followed []bool
}

func newReader(p Params) model { return &reader{step: big.NewInt(int64(p["step"]))} }

var ending = regexp.MustCompile(`[0-9]{1,18}$`)

func (r *reader) read(Input) []float64 {
	recent := r.followed[max(0, len(r.followed)-64):]
	yes := 0.0
	for _, f := range recent {
		if f {
			yes++
		}
	}
	return []float64{float64(r.length), yes / float64(max(1, len(recent))), float64(len(r.followed))}
}

func (r *reader) take(text string) {
	digits := ending.FindString(text)
	if digits == "" {
		r.previous, r.up, r.length = nil, 0, 0
		r.followed = append(r.followed, false)
		return
	}
	id, _ := new(big.Int).SetString(digits, 10)
	if r.previous == nil {
		r.up, r.length = 0, 1
		r.followed = append(r.followed, false)
	} else {
		by := new(big.Int).Sub(id, r.previous)
		switch {
		case by.Sign() == 0:
			return
		case by.CmpAbs(r.step) > 0:
			r.up, r.length = 0, 1
			r.followed = append(r.followed, false)
		case r.up == 0 || r.up == by.Sign():
			r.up = by.Sign()
			r.length++
			r.followed = append(r.followed, true)
		default:
			r.up, r.length = by.Sign(), 2
			r.followed = append(r.followed, true)
		}
	}
	r.previous = id
}

func (r *reader) observe(in Input) []float64 {
	longest := 0
	for _, text := range in.Texts {
		r.take(text)
		longest = max(longest, r.length)
	}
	out := r.read(in)
	if len(in.Texts) > 0 {
		out[0] = float64(longest)
	}
	return out
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
	f := func(what string, step float64, len, share, n float64, ids ...string) {
		t.Helper()
		s := newSubject(t, "run", Params{"step": step})
		var got []float64
		for _, id := range ids {
			got = s.observe(Input{Now: start, Value: Keys, Texts: []string{id}})
		}
		s.expect(what, got, len, share, n)
	}
	f("one", 3, 1, 0, 1, "A7")
	f("up", 3, 4, 0.75, 4, "A7", "A8", "A10", "A13")
	f("a larger step", 3, 1, 0, 2, "A7", "A11")
	f("a smaller step allowed", 1, 1, 0, 2, "A7", "A9")
	f("down", 3, 3, 2.0/3, 3, "A10", "A9", "A8")
	f("turned", 3, 2, 2.0/3, 3, "A7", "A8", "A7")
	f("the same again", 3, 2, 0.5, 2, "A7", "A8", "A8")
	f("without digits", 3, 0, 1.0/3, 3, "A7", "A8", "none")
	f("after that", 3, 1, 0.25, 4, "A7", "A8", "none", "A9")
	f("other letters do not matter", 3, 2, 0.5, 2, "A7", "B8")
	f("over a power of ten", 3, 3, 2.0/3, 3, "A99", "A100", "A101")
	f("19 digits: the first is not looked at", 3, 2, 0.5, 2, "1000000000000000007", "2000000000000000008")
	s := newSubject(t, "run", nil)
	got := s.observe(Input{Now: start, Value: Keys, Texts: []string{"1", "2", "3", "900"}})
	s.expect("the longest during the event", got, 3, 0.5, 4)
	s.expect("then as it stands", s.read(Input{Now: start}), 1, 0.5, 4)
}

func BenchmarkRun(b *testing.B) {
	ids := []string{"5840012345678901", "5840012345678902", "5840012345678904", "5840012399999999"}
	texts := make([]string, 1)
	measure(b, "run", nil, Keys, func(i int, in *Input) {
		texts[0] = ids[i&3]
		in.Texts = texts
	})
}
