package feature

import "math"

// history is how many closed periods a series remembers: two weeks of days.
const history = 14

// settled is how many closed periods a series needs before it judges.
const settled = 3

// series is a total per period, and what is usual for it. Periods without any
// observation are no samples: a weekend at home does not make Monday unusual.
//
// A closed period enters what is usual with at most median + 6·scale, so that
// one theft does not make the next one normal: it takes about a week of periods
// as bad as that to carry the median up by those 6 scales.
type series struct {
	x      float64 // total of the running period
	open   uint32  // number of the running period + 1; 0 when empty
	mean   float32 // EWMA of closed totals
	dev    float32 // EWMA of their distance from the mean
	median float32 // of past
	scale  float32 // the unit of z
	drift  float32 // for cusum
	mad    short   // median distance of past from the median
	n      uint16  // closed periods
	past   [history]short
}

// seriesMost is how many closed periods are counted; then the last history of them are counted over and over.
const seriesMost = math.MaxUint16 / history * history

// clip is how many scales above the median a total may count as.
const clip = 6

// add adds v to period p, which closes the running period if p is newer. It
// returns the total that was closed and whether there was one. What belongs to
// a closed period is ignored.
func (s *series) add(p uint32, v, floor float64) (closed float64, ok bool) {
	if p > s.open {
		closed, ok = s.close(floor)
		s.open = p
	}
	if p == s.open {
		s.x = bounded(s.x + v)
	}
	return closed, ok
}

// close ends the running period, if one runs.
func (s *series) close(floor float64) (total float64, ok bool) {
	if s.open == 0 {
		return 0, false
	}
	total = s.x
	s.x = 0
	p := shorten(s.clipped(total), toNearest)
	v := float32(p.value())
	if s.n == seriesMost {
		s.n -= history
	}
	s.n++
	// The first ten weigh the same, then each new one a tenth.
	weight := max(1/float32(s.n), 0.1)
	if s.n > 1 {
		s.dev += float32(weight * (abs(v-s.mean) - s.dev))
	}
	s.mean += float32(weight * (v - s.mean))
	s.past[(s.n-1)%history] = p
	s.measure(floor)
	return total, true
}

// clipped returns a total as it may count.
func (s *series) clipped(total float64) float64 {
	if s.n < settled {
		return total
	}
	return min(total, float64(s.median)+float64(clip*s.scale))
}

// measure takes median, mad and scale of the past anew.
func (s *series) measure(floor float64) {
	n := int(min(s.n, history))
	var past, sorted [history]float32
	for i := range n {
		past[i] = float32(s.past[i].value())
	}
	sorted = past
	s.median = middle(sorted[:n])
	for i := range n {
		sorted[i] = abs(past[i] - s.median)
	}
	mad := float64(middle(sorted[:n]))
	s.mad = shorten(bounded(mad), toNearest)
	m := float64(s.median)
	s.scale = float32(max(1.4826*mad, 0.1*math.Abs(m), math.Sqrt(max(0, m)), floor))
}

// z is how many scales v is above the median; 0 while there is too little past.
func (s *series) z(v float64) float64 {
	if s.n < settled {
		return 0
	}
	return (v - float64(s.median)) / float64(s.scale)
}

// middle sorts v, which is short, and returns its median.
func middle(v []float32) float32 {
	for i := 1; i < len(v); i++ {
		x, j := v[i], i
		for ; j > 0 && v[j-1] > x; j-- {
			v[j] = v[j-1]
		}
		v[j] = x
	}
	h := len(v) / 2
	if len(v)%2 == 1 {
		return v[h]
	}
	return v[h-1]/2 + v[h]/2
}

func abs(v float32) float32 { return max(v, -v) }

// periodParam and floorParam belong to the kinds over a series.
var (
	periodParam = Param{Name: "period", Unit: "duration", Default: 86400, Min: 60, Max: 31 * 86400,
		Doc: "Length of a period; days begin at midnight UTC."}
	floorParam = Param{Name: "floor", Unit: "of the total", Default: 1, Min: 1e-6, Max: 1e12,
		Doc: "Smallest difference that is worth one z."}
)
