// Package feature holds the statistics that Moat keeps per entity: one Go file
// per kind, each with its parameters, its size in bytes, its outputs, and a slow
// exact reference in its test that it is fuzzed against.
//
// Use it through detector files, which name a kind and its parameters; the
// planner of package rule lays the states of all features out in one record per
// entity. To add a kind, write one file with a [Kind] value, add it to [Kinds],
// and write its test.
//
// It will not read a clock, allocate, lock or keep anything outside the state
// that it is handed: a state is plain bytes without pointers, all zero when
// empty, and the same observations always lead to the same bytes.
package feature

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/moat-platform/moat"
)

// Value says what a kind takes from an event.
type Value uint8

// The sorts of value.
const (
	NoValue Value = iota // the event alone
	Number               // one number
	Key                  // one text, by its hash
	Keys                 // a list of texts, such as the orders of an event
	Place                // where an address is
	Steps                // which steps of a sequence the event matches
	Levels               // one text in up to four levels, from fine to coarse
)

var valueNames = [...]string{"none", "number", "key", "keys", "place", "steps", "levels"}

// String returns the word for the manual.
func (v Value) String() string { return valueNames[v] }

// Input is one observation. A kind reads only the values of the sorts that it takes.
type Input struct {
	Value Value     // which sort is given; NoValue in a Read when none is at hand
	Now   moat.Time // of the event, made plausible; may be before earlier ones
	Born  moat.Time // first time that the entity was seen; Now for a new one
	Seen  moat.Time // last time before this event that the entity was seen; 0 for a new one
	Num   float64
	Key   uint64
	Keys  []uint64 // hashes of Texts
	Texts []string
	Place Spot
	Steps uint32           // bit i: the event matches step i
	Pair  unsafe.Pointer   // to the Pair of this entity and Key, which Observe updates; nil for one never seen and not kept
	Pairs []unsafe.Pointer // one a key, for Keys
	Level [MaxLevels]Level // for Levels, finest first
	// Common is the state that the kind keeps once for the partner; nil when the partner has no record.
	Common unsafe.Pointer
	// Mute says that nobody will ask for the outputs of this Observe; a kind whose outputs are dear may leave them out.
	Mute bool
}

// none tells whether a Read has no value to speak of: an event without the field.
func (in *Input) none() bool { return in.Value == NoValue && in.Key == 0 && in.Pair == nil }

// Spot is a place on Earth, known to a circle.
type Spot struct {
	Known    bool
	Country  uint16  // two letters; 0 unknown
	Lat, Lon float32 // degrees
	RadiusKM float32
}

// Pair is what is kept of one entity together with one value, exactly.
type Pair struct {
	First, Last uint32 // seconds since 1970
	N           uint32 // times seen
	Tick        uint32 // times in the newest tick; kept by burst only
}

// Stat is a kind with its parameters, ready to be used on any number of states.
// Its methods are safe for concurrent use on different states.
type Stat interface {
	// Observe adds in to the state and writes the outputs, in the order of Kind.Outputs,
	// to out. Statistics of what came before (last, seen, baseline, …) describe the
	// state before in; counts include in.
	Observe(state unsafe.Pointer, in *Input, out *Outputs)
	// Read writes the outputs as they stand at in.Now and changes nothing.
	Read(state unsafe.Pointer, in *Input, out *Outputs)
}

// MaxOutputs bounds the outputs of a kind.
const MaxOutputs = 8

// Outputs has room for the outputs of any kind.
type Outputs [MaxOutputs]float64

// Output is one number that a kind gives.
type Output struct {
	Name string
	Unit string
	Doc  string
}

// Param is a parameter of a kind.
type Param struct {
	Name     string
	Unit     string // "duration" for durations, which are held in seconds
	Default  float64
	Min, Max float64
	Doc      string
}

// Params holds the values of parameters by name, durations in seconds.
type Params map[string]float64

// Kind is one sort of statistic.
type Kind struct {
	Name  string
	Doc   string // one sentence; then what it is good for
	Value Value
	Also  []Value // other sorts of value that it takes
	Pairs bool    // keeps a Pair per entity and key
	// Vacant tells that a state has no pairs yet, so that none need be looked up to be read; nil = it cannot tell.
	Vacant func(state unsafe.Pointer) bool
	Blind  bool // Read looks at the state and the time alone: it needs no value, no steps and no pair
	// Conditions is how many steps it needs beside its value; Input.Steps says which of them the event matches.
	Conditions int
	Params     []Param
	Outputs    []Output // the first is the default
	CostNS     float64  // of Observe on a state in cache, measured
	// Sample tells of which of how many values it takes one, by their hash, a power of two; nil or 1 for all. The others are no value.
	Sample func(Params) int
	// Size is that of the state, a multiple of 4; of 8 if there are words of 8 bytes in it.
	Size func(Params) int
	// Near is how many bytes at the beginning of the state are looked at at every event; 0 = any of it may be.
	Near   int
	Common func(Params) int // size of the state that is kept once for all entities of a partner; nil for none
	// Single makes a Stat that keeps a word where others keep a Pair, for values that are the same at all events of an account; nil, or
	// a nil Stat, if there is none.
	Single func(Params) Stat
	New    func(Params) Stat
}

// Takes tells whether the kind takes values of that sort.
func (k *Kind) Takes(v Value) bool {
	if k.Value == v {
		return true
	}
	for _, a := range k.Also {
		if a == v {
			return true
		}
	}
	return false
}

// Output returns the index of the output of that name, or -1.
func (k *Kind) Output(name string) int {
	for i, o := range k.Outputs {
		if o.Name == name {
			return i
		}
	}
	return -1
}

// Fill checks given against the kind's parameters and returns all of them,
// with defaults for those not given.
func (k *Kind) Fill(given Params) (Params, error) {
	all := make(Params, len(k.Params))
	var names []string
	for _, p := range k.Params {
		all[p.Name] = p.Default
		names = append(names, p.Name)
		v, ok := given[p.Name]
		if !ok {
			continue
		}
		if math.IsNaN(v) || v < p.Min || v > p.Max {
			return nil, fmt.Errorf("%s of %s must be between %s and %s, not %s", p.Name, k.Name, p.text(p.Min), p.text(p.Max), p.text(v))
		}
		all[p.Name] = v
	}
	for name := range given {
		if _, ok := all[name]; !ok {
			if names == nil {
				names = []string{"none"}
			}
			return nil, fmt.Errorf("%s has no parameter %q: it has %s", k.Name, name, strings.Join(names, ", "))
		}
	}
	return all, nil
}

func (p Param) text(v float64) string {
	if p.Unit != "duration" || v != v {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	d := time.Duration(v * float64(time.Second))
	if day := 24 * time.Hour; v != 0 && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Find returns the kind of that name, or nil.
func Find(name string) *Kind {
	for i := range Kinds {
		if Kinds[i].Name == name {
			return &Kinds[i]
		}
	}
	return nil
}
