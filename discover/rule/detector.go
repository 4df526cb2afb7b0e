// Package rule is the language of detectors: a YAML file that declares features
// and a condition in CEL is parsed, checked with positions and hints, and
// compiled to closures over slots and to one record layout per kind of entity.
//
// Use [Parse] on a file, [Compile] on many detectors to get the [Plan] that
// package engine runs, and [RunTests] to run the tests that a file carries.
//
// It will not evaluate with cel-go (which only parses and checks types), nor
// accept a rule whose cost is not bounded by its text: there are no loops, no
// macros and no recursion in the language.
package rule

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/feature"
)

// Limits of a detector file.
const (
	MaxFileBytes       = 64 << 10
	MaxExpressionBytes = 2 << 10
	MaxScriptBytes     = 8 << 10
	MaxNodes           = 200 // of one expression, after parsing
	MaxDepth           = 32
	MaxFeatures        = 16 // of one detector
	MaxLets            = 8
	MaxParams          = 16
	MaxTests           = 32
	MaxSteps           = 8   // of a sequence
	MaxPatternBytes    = 256 // of a regular expression
	MaxStake           = 1_000_000_000
	MaxProblems        = 100 // told of one file
)

// MaxRecordBytes bounds the record of each kind of entity with the features of all detectors. For
// accounts, devices and addresses, of which there are many, those that ship fill most of it; the
// rest is for the operator's own. Apps, partners and peer groups are few.
var MaxRecordBytes = [moat.EntityKinds]int{
	moat.Account: 2048, moat.App: 8192, moat.Host: 4096, moat.Device: 384, moat.IP: 1792,
	moat.Shop: 1024, moat.Outlet: 2048, moat.Partner: 8192, moat.Peers: 8192,
}

// Detector is one rule that looks at events and features: the content of one file, or what one
// row of a family makes of it.
type Detector struct {
	ID             string // family.name
	Dimension      string // of the catalogue: A1, B2, …
	Family         string
	Basis          string            // what findings rest on, where detectors of several families rest on the same; empty = Family
	Certain        bool              // a finding needs no second witness
	Strange        []moat.EntityKind // which entities of the event a finding shows to be a stranger's
	Destination    Text              // expression: the system that a finding is about orders being sent to; empty = it is about none
	Title          string
	Doc            string
	Mode           moat.Mode
	On             []moat.EventType
	Subject        moat.EntityKind
	Params         []Param
	Features       []Feature
	Let            []Let
	When           Text
	After          Text // how long the subject must be silent; empty = When is asked at every event
	Confidence     Text
	Reason         Text
	Every          time.Duration // at most one finding per entity in so long, unless the score rises
	Stake          int64         // people at risk if a finding is true, even if nothing was taken yet
	Egress         bool          // a finding means that data left, whatever the event says
	Background     bool          // what everybody lives with: one case of a partner holds all findings
	Policy         bool          // what somebody must agree to: a case opens however unlikely a theft is
	Joins          bool          // a finding opens no case and raises no risk: it goes into a case that is there
	Attack         []string
	FalsePositives []string
	Evasions       []string
	Tests          []Test
	File           string
	Row            int // of a family, from 1; 0 = the file holds this detector alone
}

// Brings says in words what a finding does to its subject.
func (d *Detector) Brings() string {
	if d.Joins {
		return "goes into a case of"
	}
	return "raises the risk of"
}

// Bases are what findings rest on where it is not the family: how much was touched, what became of data outside,
// which orders they were, and a copy of a database, which its server and itself tell of.
var Bases = []string{"volume", "echo", "object", "dump"}

// rowName is what a [Problem] calls d's row.
func (d *Detector) rowName() string {
	if d.Row == 0 {
		return ""
	}
	return d.ID
}

// Problem returns a problem of d's file at line (from 1).
func (d *Detector) Problem(line int, code, what string) *Problem {
	return &Problem{File: d.File, Row: d.rowName(), Line: line, Column: min(line, 1), Code: code, What: what}
}

// Let is a number that the condition, the confidence and the reason may use by name: what would
// otherwise be written twice, or hard to read.
type Let struct {
	Name  string
	Value Text
}

// Param is a number that an operator may change without touching the rule.
type Param struct {
	Name     string
	Default  float64
	Min, Max float64
	Unit     string
	Doc      string
	Line     int
}

// Feature is a statistic that a detector needs.
type Feature struct {
	Name   string
	Kind   *feature.Kind
	Of     moat.EntityKind
	On     []moat.EventType // which events it observes
	Value  Text             // expression; empty when the kind takes none
	Where  Text             // condition; empty = always
	Steps  []Text
	Levels []Text
	Params feature.Params
	Line   int
	Col    int

	refs map[string]string // parameters of the kind that are parameters of the detector
}

// Test is a short event script with what must and must not be found.
type Test struct {
	Name   string
	Script Text
}

// Override changes detectors without editing their files.
type Override struct {
	Mode   *moat.Mode         `yaml:"mode"`
	Params map[string]float64 `yaml:"params"`
}

// apply returns d with o applied, or what is wrong with o.
func (d *Detector) apply(o Override) (*Detector, error) {
	c := *d
	if o.Mode != nil {
		c.Mode = *o.Mode
	}
	c.Params = slices.Clone(d.Params)
	for _, name := range slices.Sorted(maps.Keys(o.Params)) {
		v := o.Params[name]
		i := slices.IndexFunc(c.Params, func(p Param) bool { return p.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("detector %s has no parameter %q", d.ID, name)
		}
		p := &c.Params[i]
		if !(v >= p.Min && v <= p.Max) { // not a number is neither
			return nil, fmt.Errorf("parameter %s of %s must be between %v and %v, not %v", name, d.ID, p.Min, p.Max, v)
		}
		p.Default = v
	}
	c.Features = slices.Clone(d.Features)
	for i, f := range c.Features {
		var err error
		if c.Features[i], err = f.refill(c.Params); err != nil {
			return nil, fmt.Errorf("cannot override parameters of %s: %w", d.ID, err)
		}
	}
	return &c, nil
}
