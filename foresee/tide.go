package foresee

import (
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/moat-platform/moat"
)

// The parts of a log are worked on side by side, and one may be days ahead of another while old events are loaded. Were sightings
// folded as they come, the time of all partners together would be that of the fastest part, and those of a slower one would
// seem silent. So each part marks how far it has come (a low watermark, as in Akidau et al., "The Dataflow Model", 2015), and
// sightings are held until all parts have come as far, then folded in the order in which their events were received.

// upto is the kind of sighting that marks how far part Name of Count has come: to Seq.
const upto = "upto"

const (
	// slack is how far the receipts of one part may be out of order: requests overtake each other by less, and lines of a
	// file, whose partners have clocks of their own, by historySlack. What comes later is folded as of when it came.
	slack        = 5 * moat.Second
	historySlack = moat.Hour
	// backStep is how far receipts go back at least where those before were wrong, and not merely out of order.
	backStep = 6 * moat.Hour
	// markEvery is how far a part comes between two marks.
	markEvery = 5 * moat.Second
	// maxHeld bounds the sightings that wait. Beyond it the oldest are folded before their time.
	maxHeld = 1 << 17
	// maxParts bounds what a mark may claim.
	maxParts = 1 << 10
)

// Tide is how far a part of the log has come, in the time of receipt.
type Tide struct {
	Upto   moat.Time // what is received before it is through
	Newest moat.Time // receipt of the newest event
	Told   moat.Time // the newest mark since the start
}

// pass takes the time from an event. The receipts of a file are a guess, and may be ahead: others set them right.
func (l *lookout) pass(ev *moat.Event) {
	history := ev.Flags&moat.FlagHistory != 0
	wrong := !history && ev.Received < l.Upto-backStep
	if ev.Received <= l.Newest && !wrong {
		return
	}
	l.Newest = ev.Received
	behind := slack
	if history {
		behind = historySlack
	}
	if upTo := ev.Received - behind; upTo > l.Upto || wrong {
		l.Upto = upTo
	}
}

func (l *lookout) vouch(upTo moat.Time) {
	if l.Upto = max(l.Upto, upTo); l.Upto > l.Told {
		l.tellUpto(l.run)
	}
}

// mark tells how far the part has come, if that is much further than what was told.
func (l *lookout) mark() {
	if l.Upto >= l.Told+markEvery {
		l.tellUpto("")
	}
}

func (l *lookout) tellUpto(run string) {
	if l.parts == 0 {
		return
	}
	l.Told = l.Upto
	part := strconv.Itoa(l.part)
	e := &moat.Event{Partner: Everyone, Type: moat.Sighting, Kind: upto, Name: part, Count: int64(l.parts), Time: l.Upto, Received: l.Upto, Seq: int64(l.Upto),
		ID: l.seal.name(upto, run, part, strconv.FormatInt(int64(l.Upto), 10))}
	e.MarkAll()
	l.out.Append(e)
}

// held are sightings that wait for parts that are behind, as a heap: the one to be folded first is on top.
type held struct {
	list  []waiting
	tides []moat.Time // how far each part has come
	low   moat.Time   // the least of them
}

type waiting struct {
	at, time moat.Time
	tie      string // of those of the same instant
	event    []byte // a batch of one
}

func (h *held) Len() int { return len(h.list) }
func (h *held) Less(i, j int) bool {
	a, b := &h.list[i], &h.list[j]
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.time, b.time), cmp.Compare(a.tie, b.tie)) < 0
}
func (h *held) Swap(i, j int) { h.list[i], h.list[j] = h.list[j], h.list[i] }

// Push is for container/heap.
func (h *held) Push(x any) { h.list = append(h.list, x.(waiting)) }

// Pop is for container/heap.
func (h *held) Pop() any {
	last := len(h.list) - 1
	w := h.list[last]
	h.list[last] = waiting{}
	h.list = h.list[:last]
	return w
}

// take takes a sighting in: it is folded when every part has come as far.
func (f *fold) take(ev *moat.Event) {
	h := &f.held
	switch {
	case ev.Kind == upto:
		h.rise(ev)
	case moat.Time(ev.Seq) <= h.low: // late, or of a log that is not in parts
		f.batch.Append(ev)
		return
	default:
		f.hold(ev)
	}
	for len(h.list) > 0 && (h.list[0].at <= h.low || len(h.list) > maxHeld) {
		f.release(heap.Pop(h).(waiting))
	}
}

func (f *fold) release(w waiting) {
	var r moat.BatchReader
	var e moat.Event
	if r.Open(w.event) == nil && r.Next(&e) {
		f.batch.Append(&e)
	}
}

func (f *fold) hold(ev *moat.Event) {
	var w moat.BatchWriter
	w.Append(ev)
	heap.Push(&f.held, waiting{moat.Time(ev.Seq), ev.Time, f.tie(ev), slices.Clone(w.Bytes())})
}

// tie orders sightings of the same instant: those of one event as they were made, others by what they are of, in plain words,
// since those of the seal differ from one installation to the next.
func (f *fold) tie(ev *moat.Event) string {
	rank := byte(slices.Index([]string{alive, failed, met, finding, flagged, complained, traced, answered, settle}, ev.Kind) + 1)
	partner, own, event, _ := f.seal.open(ev.Token)
	return string(rank) + strings.Join([]string{partner, event, ev.Name, own, ev.ID}, "\x00")
}

// rise takes a mark in.
func (h *held) rise(ev *moat.Event) {
	part, err := strconv.Atoi(ev.Name)
	if err != nil || part < 0 || int64(part) >= ev.Count || ev.Count > maxParts {
		return
	}
	if int64(len(h.tides)) != ev.Count {
		h.tides = make([]moat.Time, ev.Count)
	}
	h.tides[part] = max(h.tides[part], moat.Time(ev.Seq))
	low := h.tides[0]
	for _, t := range h.tides {
		low = min(low, t)
	}
	h.low = max(h.low, low)
}

// tides is the state of it, for a snapshot.
func (a *Across) tides() []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(a.look.Upto))
	b = binary.LittleEndian.AppendUint64(b, uint64(a.look.Newest))
	if a.fold == nil {
		return lengthed(nil, b)
	}
	h := &a.fold.held
	b = binary.LittleEndian.AppendUint64(b, uint64(h.low))
	b = lengthed(b, must(binary.Append(nil, binary.LittleEndian, h.tides)))
	for i := range h.list {
		b = lengthed(b, h.list[i].event)
	}
	return lengthed(nil, b)
}

func (a *Across) readTides(b []byte) error {
	r := bytes.NewReader(b)
	var own [2]moat.Time
	if err := binary.Read(r, binary.LittleEndian, &own); err != nil {
		return err
	}
	if a.look.Upto, a.look.Newest = own[0], own[1]; a.fold == nil {
		return nil
	}
	h := &a.fold.held
	if err := binary.Read(r, binary.LittleEndian, &h.low); err != nil {
		return err
	}
	tides, err := readPart(r)
	if err != nil {
		return err
	}
	h.tides = make([]moat.Time, len(tides)/8)
	if _, err := binary.Decode(tides, binary.LittleEndian, h.tides); err != nil && len(h.tides) > 0 {
		return err
	}
	for {
		one, err := readPart(r)
		if err == io.EOF {
			return nil
		}
		var in moat.BatchReader
		var e moat.Event
		if err == nil {
			err = in.Open(one)
		}
		if err == nil && !in.Next(&e) {
			err = errors.New("a sighting is missing")
		}
		if err != nil {
			return err
		}
		a.fold.hold(&e)
	}
}
