package foresee

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/rule"
)

const (
	// perHour bounds the findings that a partner is given in an hour of event time.
	perHour = 64
	// within is how long after a sighting its partner is concerned.
	within = 7 * moat.Day
	// maxPlaces bounds the partners that are remembered of one entity, maxEntities the entities of a generation.
	maxPlaces   = 64
	maxEntities = 1 << 19
)

// fold takes the sightings of all partners.
type fold struct {
	engine *engine.Engine
	seed   rule.HashSeed
	seal   *seal
	batch  moat.BatchWriter // to be folded at the next step
	held   held             // until every part has come so far
	out    []*moat.Event
	// places are the partners of each entity, since began and in the time before. What is older than two generations is forgotten.
	places [2]map[uint64][]place
	began  moat.Time
	given  map[string]*tally // by partner

	inquiry inquiry
}

// place is a partner that an entity came to.
type place struct {
	partner uint64 // hash
	at      moat.Time
	seal    string // partner, the entity as the partner knows it, and the last event
}

// tally counts the findings that a partner was given in an hour.
type tally struct {
	hour int64
	n    int
}

func newFold(cfg Config, s *seal) (*fold, error) {
	f := &fold{seed: cfg.Seed, seal: s, places: [2]map[uint64][]place{{}, {}}, given: map[string]*tally{}}
	limits := cfg.Limits
	limits.Quota = limits.Records // there is but one partner
	d := engine.DefaultLimits()
	for k := range limits.Quota {
		if limits.Quota[k] == 0 {
			limits.Records[k] = d.Records[k] / 4
			limits.Quota[k] = limits.Records[k]
		}
	}
	if limits.Pairs == 0 {
		limits.Pairs, limits.PairQuota = d.PairQuota, d.PairQuota
	}
	limits.WatchQuota = d.Watches
	limits.Watches = d.Watches
	var err error
	f.engine, err = engine.New(engine.Config{Plan: cfg.Plan.Across, Seed: cfg.Seed, Limits: limits, After: f.after})
	if err != nil {
		return nil, fmt.Errorf("cannot make the engine over sightings: %w", err)
	}
	return f, nil
}

// step takes in the sightings that wait, and returns what they led to.
func (f *fold) step() ([]*moat.Event, error) {
	if f.batch.Len() == 0 {
		return nil, nil
	}
	_, err := f.engine.Step(f.batch.Bytes(), nil)
	f.batch.Reset()
	out := f.out
	f.out = nil
	return out, err
}

func (f *fold) key(k moat.EntityKind, id string) uint64 { return rule.Mix(f.seed.Text(id), uint64(k)) }

func (f *fold) after(ev *moat.Event, now moat.Time, _ bool, found []moat.Finding) {
	switch ev.Kind {
	case complained, traced, answered, settle:
		f.inquire(ev, found)
		return
	}
	f.inquiry.due(moat.Time(ev.Seq), false)
	if now-f.began > within || len(f.places[0]) >= maxEntities {
		f.places[1], f.places[0], f.began = f.places[0], map[uint64][]place{}, now
	}
	for _, k := range subjects {
		if id := ev.EntityID(k); id != "" {
			f.place(f.key(k, id), ev, now)
		}
	}
	for i := range found {
		f.warn(&found[i], ev)
	}
}

// subjects are the kinds of entity that a finding over sightings may be about.
var subjects = [...]moat.EntityKind{moat.IP, moat.Device, moat.Host, moat.Account, moat.App, moat.Outlet, moat.Peers}

func (f *fold) place(key uint64, ev *moat.Event, now moat.Time) {
	list := f.places[0][key]
	p := place{f.seed.Text(ev.Outlet), now, ev.Token}
	i := slices.IndexFunc(list, func(o place) bool { return o.partner == p.partner })
	switch {
	case i >= 0:
		if now >= list[i].at {
			p.seal = string(append([]byte(nil), p.seal...))
			list[i] = p
		}
	case len(list) < maxPlaces:
		p.seal = string(append([]byte(nil), p.seal...))
		f.places[0][key] = append(list, p)
	}
}

// warn tells each partner concerned of a finding, in the order of their hashes.
func (f *fold) warn(found *moat.Finding, ev *moat.Event) {
	key := f.key(found.Entity.Kind, found.Entity.ID)
	var concerned []place
	for _, generation := range f.places {
		for _, p := range generation[key] {
			if found.Time-p.at <= within && !slices.ContainsFunc(concerned, func(o place) bool { return o.partner == p.partner }) {
				concerned = append(concerned, p)
			}
		}
	}
	slices.SortFunc(concerned, func(a, b place) int { return cmp.Compare(a.partner, b.partner) })
	for _, p := range concerned {
		if own, ok := f.own(found, p.seal); ok && f.may(own.Partner, found.Time) {
			f.out = append(f.out, warn(&own, ev.Received, ev.Flags))
		}
	}
}

// own makes of a finding that of one partner.
func (f *fold) own(found *moat.Finding, sealed string) (moat.Finding, bool) {
	partner, id, event, ok := f.seal.open(sealed)
	if !ok {
		return moat.Finding{}, false
	}
	own := *found
	own.Partner, own.Entity.ID, own.Related, own.Strange, own.Events = partner, id, nil, nil, []string{event}
	switch own.Entity.Kind {
	case moat.Host: // sightings know no other than that of a destination
		own.Entity.Kind = moat.Destination
	case moat.Peers: // which kind of events: the fold does not know
		own.Reason = id + ": " + own.Reason
		fallthrough
	case moat.Outlet:
		own.Entity = moat.Entity{Kind: moat.Partner, ID: partner}
	}
	own.ID = moat.FindingID(own.Partner, own.Detector, own.Entity, event)
	return own, true
}

// may tells whether a partner may be given one more.
func (f *fold) may(partner string, at moat.Time) bool {
	t := f.given[partner]
	if t == nil {
		t = &tally{}
		f.given[partner] = t
	}
	if hour := int64(at / moat.Hour); hour != t.hour {
		*t = tally{hour: hour}
	}
	t.n++
	return t.n <= perHour
}

func (f *fold) snapshot(w io.Writer) error {
	b := binary.LittleEndian.AppendUint64(nil, uint64(f.began))
	for _, generation := range f.places {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(generation)))
		for _, key := range slices.Sorted(maps.Keys(generation)) {
			b = binary.LittleEndian.AppendUint64(b, key)
			b = append(b, byte(len(generation[key])))
			for _, p := range generation[key] {
				b = binary.LittleEndian.AppendUint64(b, p.partner)
				b = binary.LittleEndian.AppendUint64(b, uint64(p.at))
				b = lengthed(b, []byte(p.seal))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.given)) {
		t := f.given[name]
		b = lengthed(b, []byte(name))
		b = binary.LittleEndian.AppendUint64(b, uint64(t.hour))
		b = binary.LittleEndian.AppendUint64(b, uint64(t.n))
	}
	if _, err := w.Write(lengthed(nil, b)); err != nil {
		return fmt.Errorf("cannot write snapshot of sightings: %w", err)
	}
	return f.engine.Snapshot(w)
}

func (f *fold) restore(r io.Reader) error {
	b, err := readPart(r)
	if err == nil {
		err = f.read(bytes.NewReader(b))
	}
	if err != nil {
		return errors.Join(engine.ErrSnapshot, err)
	}
	return f.engine.Restore(r)
}

func (f *fold) read(r *bytes.Reader) error {
	var err error
	num := func() (n uint64) {
		if err == nil {
			err = binary.Read(r, binary.LittleEndian, &n)
		}
		return n
	}
	f.began = moat.Time(num())
	for g := range f.places {
		for range num() {
			key := num()
			n, bad := r.ReadByte()
			if err = errors.Join(err, bad); err != nil {
				return err
			}
			list := make([]place, 0, n)
			for range n {
				p := place{partner: num(), at: moat.Time(num())}
				text, bad := readPart(r)
				if err = errors.Join(err, bad); err != nil {
					return err
				}
				p.seal = string(text)
				list = append(list, p)
			}
			f.places[g][key] = list
		}
	}
	for err == nil && r.Len() > 0 {
		name, bad := readPart(r)
		if err = errors.Join(err, bad); err == nil {
			f.given[string(name)] = &tally{int64(num()), int(num())}
		}
	}
	return err
}
