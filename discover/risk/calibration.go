package risk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
)

// mostSure is the highest probability that a finding can have: none is certain.
const mostSure = 0.999

// Limits of a [Calibration] and of what it may do.
const (
	MaxCalibration = 1 << 20 // bytes of JSON
	// Thin is how many findings a measure needs to count as much as what the detector states.
	Thin = 20
	// MaxShift bounds how far log-odds fall below what the detector states, a twelfth of the odds, and how far verdicts move them.
	MaxShift = 2.5
	// MaxTrust bounds how far a measure raises them, twice the odds: in a simulated ecosystem there are fewer honest
	// oddities than in life, so what is nearly always right there need not be so elsewhere.
	MaxTrust = 0.7
	// MaxDoubt bounds how far log-odds fall for a detector that was never right: perhaps nobody tried what it looks
	// for. Its odds fall at most fivefold.
	MaxDoubt = 1.6
)

// CalibrationVersion is that of the form of a [Calibration].
const CalibrationVersion = 1

// Calibration says what findings are worth by what was measured: how often those of a detector were
// about a theft. The zero value believes what detectors state. It must not change while it is used.
type Calibration struct {
	Version int  `json:"version"`
	Made    Made `json:"made"`
	// OpenAt is the score, 0..100, from which on an entity is worth a case, chosen so that false cases stay
	// within a budget; 0 = the constant of that name.
	OpenAt    float64            `json:"open_at,omitempty"`
	Detectors map[string]Measure `json:"detectors"` // by id
}

// Made says what a calibration was measured on.
type Made struct {
	World    string   `json:"world"`              // which ecosystem, in words
	Training []uint64 `json:"training,omitempty"` // seeds that the measures are fitted to
	HeldOut  []uint64 `json:"held_out,omitempty"` // seeds that it was judged on, each by a fit to the others
	Folds    int      `json:"folds,omitempty"`    // how many parts the seeds were cut into for that
	Findings int      `json:"findings,omitempty"` // fitted to
	Before   *Quality `json:"before,omitempty"`   // on held-out seeds, as detectors state it
	After    *Quality `json:"after,omitempty"`    // on the same, calibrated
}

// Quality is how good detection was on held-out seeds.
type Quality struct {
	Recall     float64 `json:"recall"`
	FalseCases float64 `json:"false_cases_per_1000_staff_days"`
	ECE        float64 `json:"ece"`         // expected calibration error of the cases' scores, 0..1
	FindingECE float64 `json:"finding_ece"` // the same of the findings' scores
}

// Measure is what was measured of one detector: of N findings True were about a theft. The log-odds
// of a finding that states x are Slope·x + Shift (Platt 1999).
type Measure struct {
	// Source marks the text of the detector that was measured: of another text nothing is known.
	Source string  `json:"source"`
	N      int     `json:"n"`
	True   int     `json:"true"`
	Low    float64 `json:"precision_low"` // lower bound of the precision: Wilson, 95 %
	Slope  float64 `json:"slope"`
	Shift  float64 `json:"shift"`
}

// Odds returns the odds p/(1-p) that a finding of the detector with a score 0..1 is about a theft. Thin
// data counts little: the measure weighs N/(N+[Thin]), the rest is what the detector states;
// and log-odds fall at most [MaxShift], rise at most [MaxTrust], and fall at most [MaxDoubt] for a detector that was
// never right. So one that was wrong a few times, or that looks for what nobody tried, still counts.
func (c Calibration) Odds(detector string, score float64) float64 {
	return math.Exp(c.logOdds(detector, score))
}

func (c Calibration) logOdds(detector string, score float64) float64 {
	stated := logit(min(max(score, 1-mostSure), mostSure))
	m := c.Detectors[detector]
	if m.N <= 0 {
		return stated
	}
	weight := float64(m.N) / float64(m.N+Thin)
	move := weight * (m.Slope*stated + m.Shift - stated)
	least := -MaxShift
	if m.True == 0 {
		least = -MaxDoubt
	}
	return stated + min(max(move, least), MaxTrust)
}

// enough is the share of what was measured that must still hold for OpenAt to hold.
const enough = 0.5

// For returns what of the calibration holds for detectors whose texts have these marks, by id. Measures of those
// that have changed are left out; with too many of them OpenAt, which was chosen for all together, is, too.
func (c Calibration) For(marks map[string]string) Calibration {
	out := c
	out.Detectors = map[string]Measure{}
	all, kept := 0, 0
	for id, m := range c.Detectors {
		all += m.N
		if marks[id] == m.Source {
			out.Detectors[id] = m
			kept += m.N
		}
	}
	if float64(kept) < enough*float64(all) {
		out.OpenAt = 0
	}
	return out
}

// OpensAt returns the score, 0..100, from which on an entity is worth a case.
func (c Calibration) OpensAt() float64 {
	if c.OpenAt > 0 {
		return c.OpenAt
	}
	return OpenAt
}

// ParseCalibration reads a calibration from JSON. It refuses what is not of this version, too
// large, or out of bounds.
func ParseCalibration(text []byte) (Calibration, error) {
	var c Calibration
	if len(text) > MaxCalibration {
		return c, fmt.Errorf("cannot read calibration: it has %d bytes, at most %d are read", len(text), MaxCalibration)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Calibration{}, fmt.Errorf("cannot read calibration: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Calibration{}, errors.New("cannot read calibration: there is more than one object")
	}
	if c.Version != CalibrationVersion {
		return Calibration{}, fmt.Errorf("cannot read calibration: it is of version %d, not %d; make it again with moat drill calibrate", c.Version, CalibrationVersion)
	}
	if !(c.OpenAt >= 0 && c.OpenAt <= 95) {
		return Calibration{}, fmt.Errorf("cannot read calibration: a case cannot open at %g; want 0 to 95", c.OpenAt)
	}
	for id, m := range c.Detectors {
		if id == "" || len(id) > 200 || len(m.Source) > 64 || m.True < 0 || m.N < m.True || !(m.Low >= 0 && m.Low <= 1) || !(m.Slope >= 0 && m.Slope <= 10) || !(math.Abs(m.Shift) <= 20) {
			return Calibration{}, fmt.Errorf("cannot read calibration: the measure of %.80q is out of bounds", id)
		}
	}
	return c, nil
}

// Wilson returns the lower bound of a precision of which yes of n were seen, with 95 % confidence;
// 0 if nothing was seen (Wilson 1927).
func Wilson(yes, n int) float64 {
	if n <= 0 || yes <= 0 {
		return 0
	}
	const z = 1.96
	p, m := float64(yes)/float64(n), float64(n)
	low := (p + z*z/(2*m) - z*math.Sqrt(p*(1-p)/m+z*z/(4*m*m))) / (1 + z*z/m)
	return max(low, 0)
}
