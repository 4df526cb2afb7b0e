package feature

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/moat-platform/moat"
)

// login is one observation with its levels.
type login struct {
	who  int
	keys [MaxLevels]uint64
}

// book writes down every login and reckons with all of them each time.
type book struct {
	weight [MaxLevels]float64
	logins []login
}

func (b *book) ask(l login) []float64 {
	n, users := 0.0, map[int]bool{}
	total := float64(len(b.logins))
	values := [MaxLevels]map[uint64]bool{{}, {}, {}, {}}
	var local, global [MaxLevels]float64
	for _, x := range b.logins {
		users[x.who] = true
		if x.who == l.who {
			n++
		}
		for i, k := range x.keys {
			if k == 0 {
				continue
			}
			values[i][k] = true
			if k == l.keys[i] {
				global[i]++
				if x.who == l.who {
					local[i]++
				}
			}
		}
	}
	if n == 0 {
		return []float64{0, 0, 0, 0, 0}
	}
	pLocal, pGlobal := 0.0, 0.0
	for i, k := range l.keys {
		switch {
		case k == 0:
			continue
		case i > 0:
			pGlobal += b.weight[i] * global[i] / total
		case global[0] > 0:
			m := 1.0 + float64(len(values[1])+len(values[2])+len(values[3]))
			pGlobal += b.weight[0] * global[0] / total * (1 - m/(total+m))
		default:
			pGlobal += b.weight[0] / (total + 1.0 + float64(len(values[1])+len(values[2])+len(values[3])))
		}
		pLocal += b.weight[i] * local[i] / n
	}
	score := 0.0
	if pGlobal > 0 {
		from := pLocal
		if from == 0 {
			from = pGlobal / 4
		}
		score = math.Log(pGlobal / from)
	}
	user := math.Log(1 / float64(len(users)) / (n / total))
	return []float64{score, user, n, pLocal, pGlobal}
}

// FuzzLikelihood lets five accounts of one partner log in from few places.
func FuzzLikelihood(f *testing.F) {
	for seed := range uint64(12) {
		var data []byte
		for i := range uint64(150) {
			data = binary.LittleEndian.AppendUint32(data, uint32(mix(seed<<32|i)))
		}
		f.Add(byte(seed), data)
	}
	f.Fuzz(func(t *testing.T, pick byte, data []byte) {
		given := []Params{nil, {"w1": 0.54, "w2": 0.27, "w3": 0.19}, {"w1": 1, "w2": 0, "w3": 0}}[pick%3]
		first := newSubject(t, "likelihood", given)
		p, _ := first.kind.Fill(given)
		b := &book{weight: [MaxLevels]float64{p["w1"], p["w2"], p["w3"], p["w4"]}}
		users := []*subject{first}
		for len(users) < 5 {
			s := newSubject(t, "likelihood", given)
			s.partner = first.partner
			users = append(users, s)
		}
		for i := 0; len(data) >= 4 && i < 300; i, data = i+1, data[4:] {
			in := Input{Now: start + moat.Time(i), Value: Levels, Key: uint64(binary.LittleEndian.Uint16(data[1:]) % 200)}
			l := login{int(data[0]) % len(users), levelsOf(&in)}
			want := b.ask(l)
			known := l.keys != [MaxLevels]uint64{}
			if !known {
				want[0], want[3], want[4] = 0, 0, 0
			}
			s := users[l.who]
			if data[3]%4 == 0 || !known {
				if !known {
					in.Value = NoValue
				}
				s.agree("read", i, in, given, 0, s.read(in), want)
				continue
			}
			s.agree("login", i, in, given, 0, s.observe(in), want)
			b.logins = append(b.logins, l)
		}
	})
}

// TestLikelihood works the formula through by hand. Levels are address, network, country with weights .6, .3, .1.
//
// Ann logs in 8 times from home (address 1, network A, country X), Bob 12 times: 9 from
// address 2 in network A, 3 from address 3 in network B, all in X. So N = 20, U = 2, the coarser levels have 2 networks
// and 1 country: M = 4.
func TestLikelihood(t *testing.T) {
	const netA, netB, netC, landX, landY = 100, 101, 102, 200, 201
	ann := newSubject(t, "likelihood", nil)
	bob := newSubject(t, "likelihood", nil)
	bob.partner = ann.partner
	at := func(s *subject, observe bool, keys ...uint64) []float64 {
		in := Input{Now: start, Value: Levels, Key: 1}
		s.fill(&in)
		for i := range in.Level {
			in.Level[i] = Level{}
			if i < len(keys) {
				x := Input{Key: keys[i]}
				in.Level[i] = s.level(&x)
			}
		}
		s.poison()
		if observe {
			s.stat.Observe(s.state(), &in, s.outs())
		} else {
			s.stat.Read(s.state(), &in, s.outs())
		}
		return s.check()
	}
	for range 8 {
		at(ann, true, 1, netA, landX)
	}
	for range 9 {
		at(bob, true, 2, netA, landX)
	}
	for range 3 {
		at(bob, true, 3, netB, landX)
	}
	f := func(what string, s *subject, keys []uint64, user, n, local, global float64) {
		t.Helper()
		score := math.Log(global / local)
		if local == 0 {
			score = math.Log(4)
		}
		s.expect(what, at(s, false, keys...), score, user, n, local, global)
	}
	annUser, bobUser := math.Log(20.0/(2*8)), math.Log(20.0/(2*12)) // ln (1/U)/(n/N) = ln N/(U·n)
	// p(x|ann) = .6·8/8 + .3·8/8 + .1·8/8; p(x) = .6·8/(20+4) + .3·17/20 + .1·20/20
	f("Ann at home", ann, []uint64{1, netA, landX}, annUser, 8, 1, 0.6*8/24+0.3*17/20+0.1)
	// p(x|ann) = 0 + .3 + .1; p(x) = .6·9/24 + .3·17/20 + .1
	f("Ann at Bob's", ann, []uint64{2, netA, landX}, annUser, 8, 0.4, 0.6*9/24+0.3*17/20+0.1)
	// p(x|bob) = .6·9/12 + .3·9/12 + .1
	f("Bob at home", bob, []uint64{2, netA, landX}, bobUser, 12, 0.6*9/12+0.3*9/12+0.1, 0.6*9/24+0.3*17/20+0.1)
	// Nobody ever had the address: C₁ := 1. p(x|bob) = .3·3/12 + .1; p(x) = .6·1/24 + .3·3/20 + .1
	f("Bob at a new address of his second network", bob, []uint64{9, netB, landX}, bobUser, 12, 0.3*3/12+0.1, 0.6/24+0.3*3/20+0.1)
	// Nothing is known: p(x) = .6·1/24, p(x|ann) := p(x)/4
	f("Ann from abroad", ann, []uint64{9, netC, landY}, annUser, 8, 0, 0.6/24)
	// The address is Bob's third, its network unknown to the table: the level is left out.
	f("no network known", ann, []uint64{3, 0, landX}, annUser, 8, 0.1, 0.6*3/24+0.1)
	// One who never logged in is no risk that could be reckoned.
	new := newSubject(t, "likelihood", nil)
	new.partner = ann.partner
	new.expect("a new account", at(new, false, 1, netA, landX), 0, 0, 0, 0, 0)
}

// level returns the level of a key with its pairs.
func (s *subject) level(in *Input) Level {
	if in.Key == 0 {
		return Level{}
	}
	return Level{in.Key, s.pairOf(s.pairs, in.Key), s.pairOf(s.commonPairs, in.Key)}
}

func BenchmarkLikelihood(b *testing.B) {
	measure(b, "likelihood", nil, Levels, func(int, *Input) {})
}
