package canary

import (
	"errors"
	"fmt"
	"math"
)

// PlanQuestion says what is known of a channel and of the thief that is to be seen.
type PlanQuestion struct {
	Orders int     // that the channel has in a month
	Leak   float64 // share of them that a thief takes
	Use    float64 // share of what was taken that is used: people called, parcels sent
	Power  float64 // probability with which at least one canary is to be used
	// Rate, if it is not 0, is the share of canaries among the orders of the channel: their number follows from it instead of from Power.
	Rate float64
}

// Plan is how many canaries a channel needs, and what they see.
type Plan struct {
	Orders int     `json:"orders"`
	Leak   float64 `json:"leak"`
	Use    float64 `json:"use"`
	Power  float64 `json:"power"`  // that is wanted
	Needed int     `json:"needed"` // canaries in the channel and month; -1: no number is enough
	Rate   float64 `json:"rate"`   // of canaries among all orders of the channel
	Has    float64 `json:"has"`    // the power that so many have
	// Shares is for thieves who take more or less, Used for as many leaked orders that are used, whoever took them.
	Shares []PlanShare `json:"shares"`
	Used   []PlanUsed  `json:"used"`
	Curve  []PlanPoint `json:"curve"` // by number of canaries
}

// PlanShare is for a thief who takes another share.
type PlanShare struct {
	Leak   float64 `json:"leak"`
	Needed [3]int  `json:"needed"` // canaries for each of [PlanPowers]
	Power  float64 `json:"power"`  // that [Plan.Needed] canaries have
}

// PlanUsed is how likely a canary is among so many used orders: 1 − (1 − rate)^orders.
type PlanUsed struct {
	Orders int     `json:"orders"`
	Power  float64 `json:"power"`
}

// PlanPoint is the power of a number of canaries.
type PlanPoint struct {
	Canaries int     `json:"canaries"`
	Power    float64 `json:"power"`
}

// PlanPowers are the powers for which a [PlanShare] tells how many canaries are needed.
var PlanPowers = [3]float64{0.5, 0.9, 0.99}

// MaxPlanned bounds the orders of a plan.
const MaxPlanned = 1_000_000_000

// NewPlan plans.
func NewPlan(q PlanQuestion) (*Plan, error) {
	share := func(p float64) bool { return p > 0 && p <= 1 }
	switch {
	case q.Orders < 1 || q.Orders > MaxPlanned:
		return nil, fmt.Errorf("cannot plan canaries: a channel has 1 to %d orders", MaxPlanned)
	case !share(q.Leak) || !share(q.Use):
		return nil, errors.New("cannot plan canaries: what a thief takes and what is used are shares above 0 up to 1")
	case !share(q.Power) || q.Power == 1:
		return nil, errors.New("cannot plan canaries: the power is above 0 and below 1")
	case q.Rate != 0 && !(q.Rate > 0 && q.Rate < 0.5):
		return nil, errors.New("cannot plan canaries: a rate is above 0 and below one half")
	}
	p := &Plan{Orders: q.Orders, Leak: q.Leak, Use: q.Use, Power: q.Power, Needed: Needed(q.Power, q.Leak, q.Use)}
	if q.Rate != 0 {
		p.Needed = max(1, int(math.Round(q.Rate*float64(q.Orders)/(1-q.Rate))))
	}
	n := max(p.Needed, 1)
	p.Rate, p.Has = float64(n)/(float64(n)+float64(q.Orders)), Power(p.Needed, q.Leak, q.Use)
	for _, leak := range []float64{0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1} {
		s := PlanShare{Leak: leak, Power: Power(n, leak, q.Use)}
		for i, want := range PlanPowers {
			s.Needed[i] = Needed(want, leak, q.Use)
		}
		p.Shares = append(p.Shares, s)
	}
	for _, k := range []int{10, 30, 100, 300, 1000, 3000, 10000} {
		p.Used = append(p.Used, PlanUsed{k, Power(k, 1, p.Rate)})
	}
	for i := range 21 {
		k := int(math.Round(2 * float64(n) * float64(i) / 20))
		p.Curve = append(p.Curve, PlanPoint{k, Power(k, q.Leak, q.Use)})
	}
	return p, nil
}
