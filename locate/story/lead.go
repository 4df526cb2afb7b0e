package story

import (
	"fmt"
	"slices"
	"time"

	"github.com/moat-platform/moat"
)

// Named is the detector whose findings say what complaints lead to.
const Named = "across.named_source"

// Lead is what the complaints of four weeks lead to, as the newest finding of [Named] says.
type Lead struct {
	Finding string      `json:"finding"`
	Source  moat.Entity `json:"source"`
	At      moat.Time   `json:"at"`    // of the trace
	Known   int64       `json:"known"` // orders that were complained about and that somebody had in hand
	// Leaked is how many of them the source had in hand before, and Explains for how many of these there is nobody likelier.
	Leaked   int64   `json:"leaked"`
	Explains int64   `json:"explains"`
	Touched  float64 `json:"touched"` // all orders that it had in hand in that time; may be an estimate
	// Reporters is how many different people complained about what it explains, from the first call to the last; 0 where findings do not tell.
	Reporters   int64     `json:"reporters"`
	FirstReport moat.Time `json:"first_report,omitzero"`
	LastReport  moat.Time `json:"last_report,omitzero"`
	First       moat.Time `json:"first,omitzero"` // when it had the first of the leaked orders in hand
	Since       moat.Time `json:"since,omitzero"` // the shortest span in which it had 95 % of what it explains
	Until       moat.Time `json:"until,omitzero"`
	Posterior   float64   `json:"posterior"`
	P           float64   `json:"p"`
}

// lead reads the newest finding of [Named], or returns nil if there is none.
func lead(findings []moat.Finding) *Lead {
	var f *moat.Finding
	for i := range findings {
		if x := &findings[i]; x.Detector == Named && (f == nil || x.Time >= f.Time) {
			f = x
		}
	}
	if f == nil {
		return nil
	}
	e := map[string]float64{}
	for _, x := range f.Evidence {
		e[x.Name] = x.Value
	}
	at := func(name string) moat.Time { return moat.Time(e[name]) * moat.Second }
	return &Lead{Finding: f.ID, Source: f.Entity, At: f.Time, Known: int64(e["known"]), Leaked: int64(e["leaked"]), Explains: int64(e["explains"]), Touched: e["touched"],
		Reporters: int64(e["reporters"]), FirstReport: at("first_report"), LastReport: at("last_report"), First: at("first_touch"), Since: at("since"), Until: at("until"),
		Posterior: e["posterior"], P: e["p"]}
}

// steps tells how the orders went out and came back: first in hand, nearly all in hand, complained about.
func (l *Lead) steps() (list []Step) {
	who := l.Source.ID
	if l.Source.Kind != moat.Account {
		who = l.Source.String()
	}
	if l.First != 0 {
		list = append(list, Step{From: l.First, To: l.First, Kind: moat.OrderAccess.String(), Who: who, Events: 1, Orders: 1,
			Text: fmt.Sprintf("%s had the first of %s in hand that customers complained about later.", who, many(l.Leaked, "order"))})
	}
	if l.Since != 0 && l.Explains > 1 {
		list = append(list, Step{From: l.Since, To: l.Until, Kind: moat.OrderAccess.String(), Who: who, Events: l.Explains, Orders: l.Explains,
			Text: fmt.Sprintf("%s had nearly all of the %s in hand that lead to it, until %s: of about %s in those weeks.", who, many(l.Explains, "order"), l.Until.Std().Format(time.DateTime),
				many(int64(l.Touched), "order"))})
	}
	if l.FirstReport != 0 {
		text := fmt.Sprintf("%s were called about these orders before they complained, the last at %s.", many(l.Reporters, "customer"), l.LastReport.Std().Format(time.DateTime))
		list = append(list, Step{From: l.FirstReport, To: l.LastReport, Kind: moat.Complaint.String(), Events: l.Reporters, Orders: l.Explains, Text: text})
	}
	return list
}

// lead adds the steps of a lead. Where nothing else tells how it began, it began with the first of them.
func (s *Story) lead(list []Step) {
	begun := slices.ContainsFunc(s.Steps, func(x Step) bool { return x.Beginning })
	if !begun && len(list) > 0 {
		list[0].Beginning, list[0].Why = true, "of all that was complained about it had nothing in hand before"
	}
	s.Steps = append(s.Steps, list...)
}
