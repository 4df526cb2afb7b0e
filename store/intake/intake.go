// Package intake hands the messages of the log to what keeps their events.
//
// Use it to store a message, in several sinks at once where there are several, such as lake and index: an event is decoded
// once for all of them, which costs as much as a sixth of what either does with it.
//
// It will not remember what a sink has: a sink knows that itself, and says it.
package intake

import (
	"fmt"

	"github.com/moat-platform/moat"
)

// Sink keeps the events of a partition of the log. It is given its messages in order, by one goroutine at a time.
type Sink interface {
	// Begin begins a message; received is the newest time of receipt in it. It says no of one that the sink took before. An error
	// says why the message cannot be taken now. A message that was begun may be begun again as long as nothing was added.
	Begin(seq uint64, received moat.Time) (lacks bool, err error)
	// Add takes in the event at a row of the message. The event and its lists stay until Add returns, its texts until End does.
	Add(row uint32, e *moat.Event)
	// End ends the message: from now on the sink has it.
	End()
}

// maxBatch bounds the bytes of a message, so that no page of a file grows beyond what its format allows.
const maxBatch = 256 << 20

// Append gives a message, which was opened before (see [moat.BatchReader.OpenAgain]), to those of the sinks that lack it, but for the rows
// whose bit is set in skip (bit n&63 of word n>>6 for row n). Where one of them cannot take it none does, and the caller may
// try again. Of a message that is broken the rows before the break are kept, and the error wraps [moat.ErrCorruptBatch]: it
// must not stop those behind it.
func Append(seq uint64, batch []byte, skip []uint64, sinks ...Sink) error {
	if len(batch) > maxBatch {
		return fmt.Errorf("cannot append message %d of %d bytes: over the limit of %d", seq, len(batch), maxBatch)
	}
	var r moat.BatchReader
	broken := r.OpenAgain(batch)
	received := r.Newest()
	into := make([]Sink, 0, 4)
	for _, s := range sinks {
		lacks, err := s.Begin(seq, received)
		if err != nil {
			return err
		}
		if lacks {
			into = append(into, s)
		}
	}
	if len(into) == 0 {
		return nil
	}
	e := new(moat.Event)
	for row := uint32(0); broken == nil && r.Next(e); row++ {
		if int(row>>6) < len(skip) && skip[row>>6]>>(row&63)&1 == 1 {
			continue
		}
		for _, s := range into {
			s.Add(row, e)
		}
	}
	for _, s := range into {
		s.End()
	}
	if broken == nil {
		broken = r.Err()
	}
	if broken != nil {
		return fmt.Errorf("cannot append all of message %d: %w", seq, broken)
	}
	return nil
}
