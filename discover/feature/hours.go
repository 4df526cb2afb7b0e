package feature

import (
	"math"
	"unsafe"

	"github.com/moat-platform/moat"
)

// hoursKind tells how usual this hour of the week is.
//
// State: 168 counters of four bits and four words, 112 bytes. Cost: 25 ns.
// An hour is counted once however many events it has; late ones are counted up
// to 32 hours back. When a counter reaches 16 (four months of weeks) all are halved,
// so that an old habit fades.
//
// Formula: activity of an hour = ½ itself + ¼ each neighbour, then
// w · this day's + (1 − w) · mean of the seven days', with w = weeks/(weeks + 2):
// after two weeks a Tuesday leans on the other days by half, after a year hardly.
// p = (activity + 1/168) / (active hours + 1), so that p of all hours of the week
// adds up to 1 and is 1/168 while nothing is known. The present hour is left out,
// so that all its events get the same answer.
var hoursKind = Kind{
	Name:  "hours",
	Doc:   "How usual activity at this hour of the week is. Good for acts outside one's own working hours.",
	Value: NoValue,
	Blind: true,
	Params: []Param{{Name: "utc_offset_h", Unit: "h", Default: 0, Min: -12, Max: 14,
		Doc: "Local time minus UTC."}},
	Outputs: []Output{
		{"p", "share", "Share of the entity's active hours that fall on this hour of the week; the average is 1/168."},
		{"ratio", "times", "p against the average hour: 1 is average, near 0 is never."},
		{"n", "h", "Active hours counted, this one included; 65,535 at most."},
		{"days", "days", "Time since the first active hour."},
	},
	CostNS: 25,
	Size:   func(Params) int { return int(unsafe.Sizeof(hoursState{})) },
	New: func(p Params) Stat {
		// 1970 began on a Thursday: shifted by three days, hour 0 is Monday's first.
		return &hours{shift: moat.Time(p["utc_offset_h"]*float64(moat.Hour)) + 3*moat.Day}
	},
}

// hoursFull is the count that halves all counts.
const hoursFull = 16

type hoursState struct {
	first  uint32     // number of the first active hour; 0 when empty
	newest uint32     // number of the newest active hour
	recent uint32     // bit i: hour newest − i is counted
	n      uint16     // active hours, ever
	mass   uint16     // sum of count
	count  [24]uint32 // by hour: its days, in four bits each
}

type hours struct{ shift moat.Time }

func (h *hours) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	s := (*hoursState)(state)
	now := number(in.Now+h.shift, uint64(moat.Hour))
	if s.mark(now) {
		s.tick(now)
	}
	s.write(now, out)
}

func (h *hours) Read(state unsafe.Pointer, in *Input, out *Outputs) {
	(*hoursState)(state).write(number(in.Now+h.shift, uint64(moat.Hour)), out)
}

// mark notes that hour now is active and tells whether it is to be counted.
func (s *hoursState) mark(now uint32) bool {
	if now > s.newest {
		if now-s.newest < 32 {
			s.recent = s.recent<<(now-s.newest) | 1
		} else {
			s.recent = 1
		}
		s.newest = now
		return true
	}
	bit := uint32(1) << (s.newest - now) // 0 when too long ago
	if bit == 0 || s.recent&bit != 0 {
		return false
	}
	s.recent |= bit
	return true
}

// counted tells whether hour now is in the counts.
func (s *hoursState) counted(now uint32) bool {
	return now <= s.newest && s.recent&(1<<(s.newest-now)) != 0
}

// tick counts hour now.
func (s *hoursState) tick(now uint32) {
	if s.first == 0 || now < s.first {
		s.first = now
	}
	if s.n != math.MaxUint16 {
		s.n++
	}
	h, d := now%24, now/24%7
	if s.on(h, d) == hoursFull-1 {
		s.mass = 0
		for i, c := range s.count {
			s.count[i] = c >> 1 & 0x7777777
			s.mass += uint16(s.row(uint32(i)))
		}
	}
	s.count[h] += 1 << (4 * d)
	s.mass++
}

// on is the count of an hour on a day.
func (s *hoursState) on(h, day uint32) int { return int(s.count[h] >> (4 * day) & 15) }

// write gives the outputs at hour now.
func (s *hoursState) write(now uint32, out *Outputs) {
	_ = out[3]
	h, d := now%24, now/24%7
	// Neighbours of the first and the last hour lie on the days before and after.
	before, after := (now+167)%168, (now+1)%168
	own := s.on(before%24, before/24) + 2*s.on(h, d) + s.on(after%24, after/24)
	days := s.row(before%24) + 2*s.row(h) + s.row(after%24)
	mass := int(s.mass)
	if s.counted(now) && s.on(h, d) > 0 {
		own, days, mass = own-2, days-2, mass-1
	}
	age := 0.0
	if now > s.first && s.first > 0 {
		age = float64(now-s.first) / 24
	}
	w := age / (age + 14)
	activity := (w*float64(own) + (1-w)*float64(days)/7) / 4
	p := (activity + 1.0/168) / (float64(mass) + 1)
	out[0], out[1], out[2], out[3] = p, p*168, float64(s.n), age
}

// row adds up an hour's counts over the days.
func (s *hoursState) row(h uint32) int {
	c := s.count[h]
	return int((c&0x0F0F0F0F + c>>4&0x0F0F0F0F) * 0x01010101 >> 24)
}
