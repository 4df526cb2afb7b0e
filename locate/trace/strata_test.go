package trace

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/moat-platform/moat"
)

// TestWave has complaints come in a wave, each about any order of the days before, by chance: who worked in these days had many of them in hand and leaked none.
// A relay through which most orders go since the middle of the month, and clerks who come and go, are what complaints of chance are compared with.
func TestWave(t *testing.T) {
	const orders, many = 12_000, 700
	born := func(i int) moat.Time { return day0 + moat.Time(i)*28*moat.Day/orders }
	r := rand.New(rand.NewPCG(7, 7))
	m := NewMemory()
	for i := range orders {
		late := i > orders/2
		relay := r.IntN(10) < 2 || late && r.IntN(10) < 6
		look := func(after moat.Time, partner, app, who, ip string) {
			e := moat.Event{Type: moat.OrderAccess, Time: born(i) + after, Partner: partner, App: app, IP: ip, Operation: "view", Fields: []string{"phone", "address"}, Orders: []string{id(i)}}
			if who != "" {
				e.Actor, e.Device = who, "d-"+who
			}
			m.Add(&e)
		}
		look(0, "acme", "erp", fmt.Sprint("clerk", (i*8/orders+r.IntN(4))%12), "192.0.2.1")
		if relay {
			look(moat.Time(r.IntN(120))*moat.Minute, "relay", "relay", "", "192.0.2.2")
		}
		if !late || r.IntN(3) == 0 {
			look(moat.Time(r.IntN(48))*moat.Hour, "post", "hub", fmt.Sprint("rider", (i*5/orders+r.IntN(3))%9), "192.0.2.3")
		}
	}
	m.Ready()
	const tries = 20
	named := 0
	for try := range tries {
		r := rand.New(rand.NewPCG(uint64(try), 9))
		var q Question
		for n := range many { // in the order in which they came
			day := 14 + 5*float64(n)/many + math.Abs(r.NormFloat64())
			if n%20 == 0 {
				day = 28 * float64(n+1) / many
			}
			hi := min(orders-1, int(day/28*orders))
			i := hi - r.IntN(1+min(hi, orders/8))
			q.Orders = append(q.Orders, Leaked{ID: id(i), At: max(born(i), day0+moat.Time(day*float64(moat.Day))), By: fmt.Sprint("buyer", n)})
		}
		a := ask(t, m, moat.Everyone(), q)
		for i := range a.Sources {
			if s := &a.Sources[i]; s.Named {
				t.Logf("try %d named %s: %d leaked, lift %.2f, p %.2g", try, s.Name, s.Leaked, s.Lift, s.P)
				named++
				break
			}
		}
	}
	if named > tries/20 {
		t.Errorf("chance named somebody in %d of %d tries", named, tries)
	}
}

// TestCut divides births where leaked orders are more frequent, and nowhere else.
func TestCut(t *testing.T) {
	var others, even, late []moat.Time
	for i := range moat.Time(400) {
		others = append(others, i*10)
		if i%4 == 0 {
			even = append(even, i*10+1)
		}
		if i >= 300 || i%40 == 0 {
			late = append(late, i*10+1)
		}
	}
	if s := cut(even, others, math.Log(500)); s.gain > 0 {
		t.Errorf("births alike are divided at %d", s.at)
	}
	if s := cut(late, others, math.Log(500)); s.at != 8 || s.beside != 301 {
		t.Errorf("a wave of which %d come before is divided at %d, %d", 8, s.at, s.beside)
	}
	if s := cut(make([]moat.Time, 50), others, 1); s.gain > 0 {
		t.Error("births at one time are divided")
	}
	if s := cut(nil, nil, 1); s.gain > 0 {
		t.Error("nothing is divided")
	}
}
