package river

import (
	"errors"
	"fmt"
	"time"
)

// What a caller may want to tell apart with [errors.Is].
var (
	// ErrFull: nothing was appended; try later. The error is a [*FullError].
	ErrFull = errors.New("river is full")
	// ErrUnknown: the append may or may not be in the log. Append it again:
	// events are told apart by their ids downstream.
	ErrUnknown = errors.New("result of the append is unknown")
	// ErrAway: nothing was appended, as there is no way to the log now; try later.
	ErrAway = errors.New("log is away")
	// ErrTooLarge: nothing was appended, as the batch is over the largest message; cut it.
	ErrTooLarge = errors.New("batch is too large")
	// ErrTrimmed: messages that the reader asked for are gone, as they
	// were trimmed. The error is a [*TrimmedError].
	ErrTrimmed = errors.New("messages were trimmed")
	// ErrCorrupt: the disk lost messages. The error is a [*CorruptError].
	ErrCorrupt = errors.New("messages are lost")
	// ErrAhead: the reader's position is after the end of the log, so the
	// log is not the one that the position was taken from, or lost its end.
	ErrAhead = errors.New("position is after the end of the log")
	// ErrClosed: the river or the reader is closed.
	ErrClosed = errors.New("river is closed")
	// ErrInUse: another process has the embedded store.
	ErrInUse = errors.New("store is in use")
	// ErrPartitions: the log has another number of partitions.
	ErrPartitions = errors.New("number of partitions differs")
)

// FullError says why an append was refused. Nothing of it was kept.
type FullError struct {
	Partition  int
	Reason     string        // for the operator's log
	RetryAfter time.Duration // when room is likely
}

func (e *FullError) Error() string {
	return fmt.Sprintf("partition %d: %v: %s; try again in %v", e.Partition, ErrFull, e.Reason, e.RetryAfter)
}

// Is tells that it is an ErrFull.
func (e *FullError) Is(target error) bool { return target == ErrFull }

// TrimmedError names the messages that a reader missed.
type TrimmedError struct {
	Partition int
	After     uint64 // the position that the reader asked to go on from
	First     uint64 // the first message that is still kept, or will be
}

func (e *TrimmedError) Error() string {
	return fmt.Sprintf("partition %d: %v: %d through %d", e.Partition, ErrTrimmed, e.After+1, e.First-1)
}

// Is tells that it is an ErrTrimmed.
func (e *TrimmedError) Is(target error) bool { return target == ErrTrimmed }

// CorruptError names messages that were appended and can no longer be read.
// The reader goes on after Last.
type CorruptError struct {
	Partition   int
	First, Last uint64
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("partition %d: %v: %d through %d", e.Partition, ErrCorrupt, e.First, e.Last)
}

// Is tells that it is an ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }
