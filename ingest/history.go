package ingest

import (
	"cmp"
	"slices"

	"github.com/moat-platform/moat"
)

// When a file is loaded, nobody knows when its events were received. They are given a receipt that follows
// their own times, as if Moat had been there, so that old history is not taken for
// a wrong clock: for each partner, the latest time so far. One line ten years ahead must
// not drag that along, so a jump forwards counts only if what follows
// agrees: half at least of the partner's next lines must not be earlier, of the next 8
// for a jump within a year, else of the next 64. A time that the others do not bear
// out is flagged, if it is a day ahead or 30 days behind. A whole stretch that goes
// back (files in the wrong order) is not. Whatever a file says, it was not received
// more than a year after it is loaded.
const (
	historyJump    = moat.Hour      // a smaller step needs nobody's agreement
	historyAhead   = moat.Day       // beyond it a lone time is flagged
	historyBehind  = 30 * moat.Day  // the same, backwards
	historyGap     = 366 * moat.Day // a jump up to this is believed with little or nothing to compare
	historyFew     = 8              // following lines that are asked first
	historyMany    = 64             // and for a longer jump
	historyStage   = 4096           // events that wait for those after them
	historyMaxSize = 4 << 20        // bytes of them
)

// history puts events through two stages, so that each can be compared with those after it.
type history struct {
	now      moat.Time // when the file is loaded
	partners map[string]int
	high     []moat.Time // by partner: latest believed time
	older    stage
	newer    stage
	event    moat.Event
	reader   moat.BatchReader
	times    [][]moat.Time // by partner: of both stages, in order
	next     []int         // by partner
}

type stage struct {
	events moat.BatchWriter
	stamps []stamp
}

type stamp struct {
	partner int
	at      moat.Time
	absurd  bool // it is out of the question, and says nothing about others
}

func newHistory(now moat.Time) *history { return &history{now: now, partners: map[string]int{}} }

// add takes e in, and gives out those that have waited long enough.
func (h *history) add(e *moat.Event, give func(*moat.Event)) error {
	p, ok := h.partners[e.Partner]
	if !ok {
		p = len(h.high)
		h.partners[string(append([]byte(nil), e.Partner...))] = p
		h.high = append(h.high, 0)
		h.times, h.next = append(h.times, nil), append(h.next, 0)
	}
	h.newer.events.Append(e)
	h.newer.stamps = append(h.newer.stamps, stamp{p, e.Time, e.Time > h.now+historyGap})
	if len(h.newer.stamps) < historyStage && h.newer.events.Size() < historyMaxSize {
		return nil
	}
	return h.turn(give)
}

// flush gives out all that waits.
func (h *history) flush(give func(*moat.Event)) error {
	if err := h.turn(give); err != nil {
		return err
	}
	return h.turn(give)
}

// turn gives out the older stage and makes the newer one the older.
func (h *history) turn(give func(*moat.Event)) error {
	for _, s := range [...]*stage{&h.older, &h.newer} {
		for _, t := range s.stamps {
			if !t.absurd {
				h.times[t.partner] = append(h.times[t.partner], t.at)
			}
		}
	}
	if len(h.older.stamps) > 0 {
		if err := h.reader.Open(h.older.events.Bytes()); err != nil {
			return err
		}
		for _, t := range h.older.stamps {
			h.reader.Next(&h.event)
			if !t.absurd {
				h.next[t.partner]++
			}
			h.date(&h.event, t, h.times[t.partner][h.next[t.partner]:])
			give(&h.event)
		}
		if err := h.reader.Err(); err != nil {
			return err
		}
	}
	for _, s := range [...]*stage{&h.older, &h.newer} {
		for _, t := range s.stamps {
			h.times[t.partner], h.next[t.partner] = h.times[t.partner][:0], 0
		}
	}
	h.older, h.newer = h.newer, h.older
	h.newer.events.Reset()
	h.newer.stamps = h.newer.stamps[:0]
	return nil
}

// date gives e its receipt, in the light of the times of its partner's next events.
func (h *history) date(e *moat.Event, s stamp, following []moat.Time) {
	following = following[:min(len(following), historyMany)]
	high := &h.high[s.partner]
	t := e.Time
	switch {
	case s.absurd:
		if *high == 0 {
			*high = cmp.Or(middle(following), slices.Max(h.high), h.now)
		}
	case t > *high+historyJump && !h.believed(t, *high, following):
		if *high == 0 { // the first of all, and wrong
			*high = middle(following)
		}
	case *high == 0 && len(following) > 0 && middle(following) > t+historyGap:
		*high = middle(following)
	default:
		*high = max(*high, t)
	}
	e.Received = *high
	e.Flags |= moat.FlagHistory
	if t > *high+historyAhead || t < *high-historyBehind && !settled(t+historyBehind, following) {
		e.Flags |= moat.FlagClock
	}
}

// believed tells whether what follows agrees that it is t.
func (h *history) believed(t, high moat.Time, following []moat.Time) bool {
	near := high == 0 || t <= high+historyGap
	if len(following) == 0 {
		return near
	}
	few := following[:min(len(following), historyFew)]
	return near && 2*atLeast(t-historyJump, few) >= len(few) || 2*atLeast(t-historyJump, following) >= len(following)
}

// settled tells whether half of the next lines are before a time.
func settled(before moat.Time, following []moat.Time) bool {
	few := following[:min(len(following), historyFew)]
	return len(few) > 0 && 2*atLeast(before+1, few) <= len(few)
}

// atLeast counts the times from t on.
func atLeast(t moat.Time, times []moat.Time) (n int) {
	for _, u := range times {
		if u >= t {
			n++
		}
	}
	return n
}
