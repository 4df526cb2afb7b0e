package node_test

import (
	"testing"

	"github.com/moat-platform/moat/serve/node"
)

// BenchmarkReplay is the whole cost of a replay, an event.
func BenchmarkReplay(b *testing.B) {
	dir := b.TempDir()
	n := open(b, dir)
	history(b, n)
	if err := n.Close(); err != nil {
		b.Fatal(err)
	}
	var events int64
	for b.Loop() {
		r, err := node.Replay(b.Context(), node.ReplayConfig{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		events += r.Events
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(events), "ns/event")
}
