// Package world is a simulated ecosystem of any size through which orders flow: service providers
// with ERP apps, merchants, cross-border sellers, warehouses, couriers with outlets, all their people,
// servers and oddities, and thieves among them, with the truth about what each of them did.
//
// Use it to measure what Moat finds, how soon, and whom it suspects wrongly: take the events of
// [World.Next] day by day, give them to whatever is tried, then let [truth.Judge] compare the cases
// with [World.Thefts]. The same [Config] gives the same events. How thieves go about it is told in
// campaigns, one a function; the type campaign says how to write another.
//
// It will not react to what is found: a thief who was locked out goes on all the same, so that what
// is counted is what he could have taken. It keeps days in memory one at a time, does no I/O, and
// knows nothing of detectors.
package world

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/sim/retail"
	"github.com/moat-platform/moat/sim/truth"
)

// Bounds of a [Config].
const (
	MinPartners = 10
	MaxPartners = 100_000
	MaxDays     = 366
	MaxThefts   = 10_000
)

// Defaults of a [Config].
const (
	DefaultPartners = 40
	DefaultDays     = 28
)

// maxQuiet is how many days at most pass before the first theft, so that there is a past to compare with.
const maxQuiet = 14

// Config says which world to make.
type Config struct {
	Seed     uint64    `json:"seed"`
	Partners int       `json:"partners"` // 10 to 100,000; 0 = DefaultPartners
	Days     int       `json:"days"`     // 1 to 366; 0 = DefaultDays
	Start    moat.Time `json:"start"`    // a midnight, UTC, which is the local time of most partners
	// Thefts is how many thieves there are; 0 = one for every four partners, 5 to 200; negative = none.
	// Some of them may find no victim, in a small world or with few days.
	Thefts int `json:"thefts"`
	// Only names the campaigns to take; empty = all.
	Only []string `json:"only,omitempty"`
}

// Kind says what a partner does.
type Kind uint8

// The kinds of partner.
const (
	Service     Kind = iota // a service provider: an ERP app that serves many merchants
	Merchant                // sells, with an app of its own
	Logistics               // stores or carries parcels
	CrossBorder             // sells from another country and time zone
	kinds
)

var kindNames = [kinds]string{"service", "merchant", "logistics", "cross_border"}

// String returns the kind as it is written in JSON.
func (k Kind) String() string { return kindNames[k] }

// MarshalText writes [Kind.String].
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Partner is one who sends events.
type Partner struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Kind    Kind     `json:"kind"`
	Country string   `json:"country"`
	Apps    []string `json:"apps"`
	Staff   int      `json:"staff"` // people with an account on the first day
	Shops   []string `json:"shops,omitempty"`
}

// World is the ecosystem. It is not safe for concurrent use.
type World struct {
	cfg      Config
	rhythm   [7][24]int
	partners []*partner
	byKind   [kinds][]*partner
	shops    []*shop
	thieves  []*thief
	sales    []int // days

	day       int // the next one
	staffDays int
	number    uint64 // of the last order
	mail      mail
	odd       [oddities]int
}

// New returns the world of cfg.
func New(cfg Config) (*World, error) {
	if cfg.Partners == 0 {
		cfg.Partners = DefaultPartners
	}
	if cfg.Days == 0 {
		cfg.Days = DefaultDays
	}
	switch {
	case cfg.Partners < MinPartners || cfg.Partners > MaxPartners:
		return nil, fmt.Errorf("cannot make world: %d partners, want %d to %d", cfg.Partners, MinPartners, MaxPartners)
	case cfg.Days < 1 || cfg.Days > MaxDays:
		return nil, fmt.Errorf("cannot make world: %d days, want 1 to %d", cfg.Days, MaxDays)
	case cfg.Start <= 0 || cfg.Start%moat.Day != 0 || cfg.Start > moat.Time(80*366)*moat.Day:
		return nil, fmt.Errorf("cannot make world: start %q is not a midnight, UTC, from 1970 to 2050", cfg.Start.String())
	case cfg.Thefts > MaxThefts:
		return nil, fmt.Errorf("cannot make world: %d thefts, want at most %d", cfg.Thefts, MaxThefts)
	}
	list, err := chosen(cfg.Only)
	if err != nil {
		return nil, fmt.Errorf("cannot make world: %w", err)
	}
	w := &World{cfg: cfg}
	if w.rhythm, err = retail.Rhythm(); err != nil {
		return nil, fmt.Errorf("cannot make world: %w", err)
	}
	w.mail.w = w
	w.settle()
	w.conspire(list)
	return w, nil
}

// chosen returns the campaigns of those names, all if there are none.
func chosen(names []string) ([]campaign, error) {
	all := campaigns()
	if len(names) == 0 {
		return all, nil
	}
	var out []campaign
	for _, n := range names {
		i := slices.IndexFunc(all, func(c campaign) bool { return c.name == n })
		if i < 0 {
			var known []string
			for _, c := range all {
				known = append(known, c.name)
			}
			return nil, fmt.Errorf("there is no campaign %.60q: want one of %s", n, strings.Join(known, ", "))
		}
		out = append(out, all[i])
	}
	return out, nil
}

// Campaign is a way to steal.
type Campaign struct {
	Name string `json:"name"`
	Doc  string `json:"doc"` // a sentence
}

// Campaigns returns the ways to steal that there are, by name.
func Campaigns() []Campaign {
	var out []Campaign
	for _, c := range campaigns() {
		out = append(out, Campaign{c.name, c.doc})
	}
	slices.SortFunc(out, func(a, b Campaign) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Config returns what the world was made of, with defaults put in.
func (w *World) Config() Config { return w.cfg }

// Start and End bound the events, but for clocks that are wrong.
func (w *World) Start() moat.Time { return w.cfg.Start }

// End is the midnight after the last day.
func (w *World) End() moat.Time { return w.cfg.Start + moat.Time(w.cfg.Days)*moat.Day }

// Days is how many days there are.
func (w *World) Days() int { return w.cfg.Days }

// Staff is how many days people have worked so far, all together.
func (w *World) Staff() int { return w.staffDays }

// Partners returns all partners.
func (w *World) Partners() []Partner {
	var out []Partner
	for _, p := range w.partners {
		x := Partner{ID: p.id, Name: p.name, Kind: p.kind, Country: p.country.code}
		for _, a := range p.apps {
			x.Apps = append(x.Apps, a.id)
		}
		for _, q := range p.people {
			if q.hired <= 0 {
				x.Staff++
			}
		}
		for _, s := range p.shops {
			x.Shops = append(x.Shops, s.id)
		}
		out = append(out, x)
	}
	return out
}

// Next returns the events of the next day in the order in which the platform gets them, or false
// after the last. Received says when that is. They are the caller's. A partner that reports late sends events of
// days before; with the last day comes all that is still under way.
func (w *World) Next() ([]*moat.Event, bool) {
	if w.day == w.cfg.Days {
		return nil, false
	}
	if w.day == 0 { // in time zones to the east the first day has begun the day before
		w.live(-1)
	}
	w.live(w.day)
	w.day++
	return w.mail.deliver(w.at(w.day), w.day == w.cfg.Days), true
}

// live is a day of everybody; on day -1 only of those for whom it reaches into the world's first.
func (w *World) live(day int) {
	w.bear(day)
	for _, p := range w.partners {
		if day >= 0 || p.phase > 0 {
			p.live(day)
		}
	}
	for _, t := range w.thieves {
		t.live(day)
	}
	if day >= 0 {
		w.complain(day)
	}
}

// Thefts returns the truth about the thieves. It is whole after the last day.
func (w *World) Thefts() []truth.Theft {
	var out []truth.Theft
	for _, t := range w.thieves {
		if len(t.Acts) > 0 {
			x := t.Theft
			slices.SortStableFunc(x.Acts, func(a, b truth.Act) int { return cmp.Compare(a.Time, b.Time) })
			out = append(out, x)
		}
	}
	slices.SortStableFunc(out, func(a, b truth.Theft) int { return cmp.Compare(a.From, b.From) })
	return out
}

// at is the midnight, UTC, at which a day begins.
func (w *World) at(day int) moat.Time { return w.cfg.Start + moat.Time(day)*moat.Day }
