// Package foresee watches what no single partner can see: one address at five partners, one destination that spreads,
// one version of an app behind many findings.
//
// Use one [Across] beside the engine of each part of the log, as its After, and send what [Across.Step] gives
// where it says. The owner of a part makes small sightings of its events, which go to the part that [Everyone]
// lives in; there an engine of its own folds the sightings of all partners, and what its detectors find
// comes back to each partner concerned as a finding of that partner. Like the engine it is a pure fold: the
// same log gives the same findings.
//
// It will not tell a partner who the others are: a sighting names partner and thing by keyed hashes, and what
// is needed to hand a finding back is sealed. It does not travel by itself, and keeps nothing on a disk.
package foresee

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/rule"
)

// Everyone is the partner of all sightings: no real one has this name.
const Everyone = "*"

// Key is the secret of an installation that names and seals are made with.
type Key [16]byte

// Config says how to build an [Across].
type Config struct {
	Plan *rule.Plan // whose Across is run over sightings; without one there are none
	Seed rule.HashSeed
	Key  Key
	// Limits are those of the engine over sightings.
	Limits engine.Limits
	// Parts is in how many parts the log lies that are worked on side by side, and Part which of them this is, from 0. Sightings are
	// then folded in the order of their events' receipt, whichever part is ahead. 0 parts: as they come.
	Part, Parts int
	// Run tells what this run of the program vouches for from what earlier ones did: a mark that was made before would be passed over
	// as a repetition, and the message that it is alone in would be missed in what is kept.
	Run uint64
}

// Across is what the owner of one part of the log does across partners. Like an engine it belongs to one goroutine.
type Across struct {
	cfg   Config
	look  *lookout
	fold  *fold // made when the first sighting comes
	given []moat.Finding
	err   error
}

// New returns one that has seen nothing.
func New(cfg Config) *Across {
	s := newSeal(cfg.Key)
	a := &Across{cfg: cfg, look: newLookout(cfg.Seed, s)}
	a.look.part, a.look.parts, a.look.run = cfg.Part, cfg.Parts, strconv.FormatUint(cfg.Run, 36)
	return a
}

// Tide says how far the part has come.
func (a *Across) Tide() Tide { return a.look.Tide }

// Vouch says that the part has nothing to come that was received before upTo. The next Step passes it on. Without it the
// sightings of others wait for a part that nobody sends anything to.
func (a *Across) Vouch(upTo moat.Time) { a.look.vouch(upTo) }

// See is for [engine.Config.After].
func (a *Across) See(ev *moat.Event, now moat.Time, begins bool, found []moat.Finding) {
	switch {
	case a.cfg.Plan.Across == nil:
	case ev.Type != moat.Sighting:
		a.look.see(ev, now, begins, found)
	case ev.Partner != Everyone:
		if f, ok := Given(ev); ok {
			a.given = append(a.given, f)
		}
	case a.need():
		a.fold.take(ev)
	}
}

func (a *Across) need() bool {
	if a.fold == nil && a.err == nil {
		a.fold, a.err = newFold(a.cfg, a.look.seal)
	}
	return a.err == nil
}

// Out is what came of a step of the engine.
type Out struct {
	// Sightings is a batch for the part of the log that [Everyone] lives in; nil if there are none. It
	// holds until the next Step.
	Sightings []byte
	// Warnings are events for the parts that their partners live in.
	Warnings []*moat.Event
	// Given are findings, from warnings that this step took in.
	Given []moat.Finding
}

// Step returns what came of the events since the last one.
func (a *Across) Step() (Out, error) {
	out := Out{Given: a.given, Sightings: a.look.take()}
	a.given = nil
	if a.fold == nil || a.err != nil {
		return out, a.err
	}
	var err error
	out.Warnings, err = a.fold.step()
	return out, err
}

// Run folds one batch through an engine whose After is a's, and what comes of it through the same
// engine until nothing more does: for those who hold the whole log in one part. It returns all that was found.
func (a *Across) Run(e *engine.Engine, batch []byte) ([]moat.Finding, error) {
	var found []moat.Finding
	for batch != nil {
		r, err := e.Step(batch, nil)
		if err != nil {
			return found, err
		}
		out, err := a.Step()
		if err != nil {
			return found, err
		}
		found = append(append(found, r.Findings...), out.Given...)
		if batch = out.Sightings; len(out.Warnings) > 0 {
			var w moat.BatchWriter
			for _, ev := range out.Warnings {
				w.Append(ev)
			}
			if r, err = e.Step(w.Bytes(), nil); err != nil {
				return found, err
			}
			found = append(append(found, r.Findings...), a.given...)
			a.given = nil
		}
	}
	return found, nil
}

const magic = "MOATACR1"

// Snapshot writes the whole state. It is for between two steps.
func (a *Across) Snapshot(w io.Writer) error {
	head := binary.LittleEndian.AppendUint64([]byte(magic), 0)
	if a.fold != nil {
		head[len(magic)] = 1
	}
	if _, err := w.Write(a.look.append(head)); err != nil {
		return fmt.Errorf("cannot write snapshot of sightings: %w", err)
	}
	if a.fold != nil {
		if err := a.fold.snapshot(w); err != nil {
			return err
		}
	}
	tail := a.tides()
	if a.fold != nil {
		text, err := json.Marshal(&a.fold.inquiry)
		if err != nil {
			return fmt.Errorf("cannot write snapshot of complaints: %w", err)
		}
		tail = lengthed(tail, text)
	}
	if _, err := w.Write(tail); err != nil {
		return fmt.Errorf("cannot write snapshot of sightings: %w", err)
	}
	return nil
}

// Restore reads a snapshot into one that has seen nothing. An error wraps [engine.ErrSnapshot] when the bytes are at fault.
func (a *Across) Restore(r io.Reader) error {
	var head [16]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || string(head[:8]) != magic {
		return errors.Join(engine.ErrSnapshot, err)
	}
	if err := a.look.read(r); err != nil {
		return errors.Join(engine.ErrSnapshot, err)
	}
	if head[8] != 0 {
		if a.cfg.Plan.Across == nil {
			return nil // no detector looks at them any more
		}
		if !a.need() {
			return a.err
		}
		if err := a.fold.restore(r); err != nil {
			return err
		}
	}
	b, err := readPart(r)
	if err == io.EOF {
		return nil // from before sightings were put in order
	}
	if err == nil {
		err = a.readTides(b)
	}
	if err == nil && a.fold != nil {
		if b, err = readPart(r); err == io.EOF {
			return nil // from before complaints were traced by themselves
		}
		if err == nil {
			err = json.Unmarshal(b, &a.fold.inquiry)
			a.fold.inquiry.Count = max(a.fold.inquiry.Count, int64(len(a.fold.inquiry.Asked))) // from before they were counted
		}
	}
	if err != nil {
		return errors.Join(engine.ErrSnapshot, err)
	}
	return nil
}

// warn makes the event that carries a finding to its partner.
func warn(f *moat.Finding, received moat.Time, flags moat.Flag) *moat.Event {
	text, err := json.Marshal(f)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	e := &moat.Event{Partner: f.Partner, Received: received, Flags: flags & moat.FlagHistory, ID: f.ID, Time: f.Time, Type: moat.Sighting,
		Kind: "warning", Name: f.Detector, Reason: f.Reason, Extra: string(text)}
	e.MarkAll()
	return e
}

// Given reads the finding that an event carries to its partner.
func Given(ev *moat.Event) (f moat.Finding, ok bool) {
	if ev.Kind != "warning" || json.Unmarshal([]byte(ev.Extra), &f) != nil || f.Partner != ev.Partner {
		return f, false
	}
	return f, true
}

// lengthed writes b with its length before it.
func lengthed(to, b []byte) []byte {
	return append(binary.LittleEndian.AppendUint64(to, uint64(len(b))), b...)
}

// maxPart bounds what a snapshot may claim to hold in one piece.
const maxPart = 1 << 30

// readPart reads what lengthed wrote. It grows with what is there, not with what is claimed.
func readPart(r io.Reader) ([]byte, error) {
	var n [8]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint64(n[:])
	if size > maxPart {
		return nil, fmt.Errorf("a part claims %d bytes", size)
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, int64(size)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
