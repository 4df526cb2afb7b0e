package runtest

import (
	"testing"
	"time"

	moat "github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/intake"
)

// Small is how many events a set of a test gathers, how many runs it merges, and how often it
// writes by itself: never during the test.
const (
	SmallFlush = 1500
	SmallFanIn = 3
	SmallEvery = time.Hour
)

// Append appends events as one batch, all of whose fields count as given.
func Append(tb testing.TB, w intake.Sink, seq uint64, events ...*moat.Event) {
	tb.Helper()
	var b moat.BatchWriter
	for _, e := range events {
		e.MarkAll()
		b.Append(e)
	}
	if err := intake.Append(seq, b.Bytes(), nil, w); err != nil {
		tb.Fatal(err)
	}
}
