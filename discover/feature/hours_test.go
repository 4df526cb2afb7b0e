package feature

import (
	"math"
	"testing"
	"time"

	"github.com/moat-platform/moat"
)

// clockwork counts active hours by the calendar of package time.
type clockwork struct {
	zone   *time.Location
	hours  map[int64]bool // active hours, in hours since 1970 local time
	count  map[time.Weekday]*[24]int
	newest int64
	first  int64
	n      int
}

func newClockwork(p Params) model {
	c := &clockwork{zone: time.FixedZone("", int(p["utc_offset_h"]*3600)), hours: map[int64]bool{}, count: map[time.Weekday]*[24]int{}}
	for d := time.Sunday; d <= time.Saturday; d++ {
		c.count[d] = new([24]int)
	}
	return c
}

func (c *clockwork) hour(now moat.Time) (int64, time.Time) {
	local := now.Std().In(c.zone)
	_, offset := local.Zone()
	return (now.Seconds() + int64(offset)) / 3600, local
}

func (c *clockwork) observe(in Input) []float64 {
	h, local := c.hour(in.Now)
	if (h > c.newest || c.newest-h < 32) && !c.hours[h] {
		c.hours[h] = true
		c.newest = max(c.newest, h)
		if c.n == 0 || h < c.first {
			c.first = h
		}
		c.n++
		c.count[local.Weekday()][local.Hour()]++
		if c.count[local.Weekday()][local.Hour()] == 16 {
			for _, day := range c.count {
				for i := range day {
					day[i] /= 2
				}
			}
		}
	}
	return c.read(in)
}

func (c *clockwork) read(in Input) []float64 {
	h, local := c.hour(in.Now)
	count := func(t time.Time, day int) float64 {
		w := (int(t.Weekday()) + day) % 7
		n := c.count[time.Weekday(w)][t.Hour()]
		if c.hours[h] && c.newest-h < 32 && n > 0 && w == int(local.Weekday()) && t.Hour() == local.Hour() {
			n--
		}
		return float64(n)
	}
	all, own, week := 0.0, 0.0, 0.0
	for _, near := range []struct {
		by     time.Duration
		weight float64
	}{{-time.Hour, 0.25}, {0, 0.5}, {time.Hour, 0.25}} {
		t := local.Add(near.by)
		own += near.weight * count(t, 0)
		for day := range 7 {
			week += near.weight * count(t, day) / 7
		}
	}
	for day := range 7 {
		for hour := range 24 {
			all += count(time.Date(2026, 1, 5, hour, 0, 0, 0, c.zone), day)
		}
	}
	days := 0.0
	if c.n > 0 {
		days = max(0, float64(h-c.first)/24)
	}
	w := (days / 7) / (days/7 + 2)
	p := (w*own + (1-w)*week + 1.0/168) / (all + 1)
	return []float64{p, p * 168, float64(c.n), days}
}

func FuzzHours(f *testing.F) {
	compare(f, "hours", NoValue, []Params{nil, {"utc_offset_h": 8}, {"utc_offset_h": -9.5}}, newClockwork)
}

// TestHours lets a clerk work from 9 to 18 on weekdays, in China, and asks at
// other hours after two weeks and after half a year.
func TestHours(t *testing.T) {
	s := newSubject(t, "hours", Params{"utc_offset_h": 8})
	s.expect("nothing known", s.read(Input{Now: start}), 1.0/168, 1, 0, 0)
	ratio := func(day, hour int) float64 {
		return s.read(Input{Now: start + moat.Time(day)*moat.Day + moat.Time(hour-8)*moat.Hour})[1]
	}
	work := func(from, to int) {
		for d := from; d < to; d++ {
			for h := 9; h < 18 && d%7 < 5; h++ {
				s.observe(Input{Now: start + moat.Time(d)*moat.Day + moat.Time(h-8)*moat.Hour})
				s.observe(Input{Now: start + moat.Time(d)*moat.Day + moat.Time(h-8)*moat.Hour + moat.Minute})
			}
		}
	}
	f := func(what string, got, least, most float64) {
		t.Helper()
		if got < least || got > most {
			t.Errorf("%s: ratio %.3f, want %.3f to %.3f", what, got, least, most)
		}
	}
	work(0, 14)
	f("two weeks: Tuesday 11 h", ratio(15, 11), 2.5, 4)
	f("two weeks: Tuesday 3 h", ratio(15, 3), 0, 0.1)
	f("two weeks: Tuesday 18 h, just after work", ratio(15, 18), 0.5, 1)
	f("two weeks: Sunday 11 h", ratio(20, 11), 0.5, 1.6)
	work(14, 182)
	f("half a year: Tuesday 11 h", ratio(183, 11), 3, 4)
	f("half a year: Tuesday 3 h", ratio(183, 3), 0, 0.005)
	f("half a year: Sunday 11 h", ratio(188, 11), 0, 0.3)
	if n := s.read(Input{Now: start})[2]; n != 26*5*9 {
		t.Errorf("%v active hours, want %d", n, 26*5*9)
	}
}

// TestHoursAddUp: p of all hours of a week is a distribution.
func TestHoursAddUp(t *testing.T) {
	s := newSubject(t, "hours", nil)
	for i := range 5000 {
		s.observe(Input{Now: start + moat.Time(mix(uint64(i))%(90*24))*moat.Hour})
		if i%1000 > 0 {
			continue
		}
		sum := 0.0
		for h := range 168 {
			// Far ahead, so that no hour is the present one, and always as many days on (within a week).
			sum += s.read(Input{Now: start + 7000*7*moat.Day + moat.Time(h)*moat.Hour})[0]
		}
		if math.Abs(sum-1) > 0.01 {
			t.Errorf("after %d: p adds up to %v", i, sum)
		}
	}
}

func BenchmarkHours(b *testing.B) { measure(b, "hours", nil, NoValue, func(int, *Input) {}) }
