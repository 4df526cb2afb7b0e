package diary

import (
	"fmt"
	"testing"

	moat "github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run/runtest"
)

// BenchmarkAppend is the whole cost of writing: decoding batches, files and all
// merges, as processor time of an event. A million events are sent round and round.
func BenchmarkAppend(b *testing.B) {
	load := runtest.New(1, 1_000_000, 350_000)
	var batches [][]byte
	for range 2000 {
		batches = append(batches, load.Batch(512))
	}
	d, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	w, err := d.Writer(0)
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	before := runtest.CPU(b)
	for i := range b.N {
		if err := w.Append(uint64(i+1), batches[i%len(batches)], nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	d.set.Merge()
	b.StopTimer()
	st := d.Stats()
	t := st.Total()
	runtest.ReportCPU(b, before, t.Events, "event")
	b.ReportMetric(float64(t.Bytes)/float64(t.Rows), "B/row")
	b.ReportMetric(float64(t.Bytes)/float64(t.Events), "B/event")
	b.ReportMetric(float64(t.Rows)/float64(t.Events), "rows/event")
	b.ReportMetric(float64(len(st.Runs)), "runs")
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkQuestions asks for a busy app and a quiet account among 2 M events.
func BenchmarkQuestions(b *testing.B) {
	d, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	w, err := d.Writer(0)
	if err != nil {
		b.Fatal(err)
	}
	load := runtest.New(1, 20_000, 1000)
	for seq := range uint64(4000) {
		if err := w.Append(seq+1, load.Batch(512), nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	d.set.Merge()
	for _, e := range []moat.Entity{{Kind: moat.App, ID: "app-000-0"}, {Kind: moat.Account, ID: "user0012345"}} {
		q := Query{Partner: "partner-000", Entity: e}
		if e.Kind == moat.Account {
			q.Partner = fmt.Sprintf("partner-%03d", 12345%197)
		}
		s, err := d.Summary(b.Context(), moat.Everyone(), q)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("page/"+e.Kind.String(), func(b *testing.B) {
			for b.Loop() {
				if p, err := d.Entity(b.Context(), moat.Everyone(), q, 100, ""); err != nil || len(p.Touches) == 0 {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(s.Events), "events")
		})
		b.Run("summary/"+e.Kind.String(), func(b *testing.B) {
			for b.Loop() {
				if _, err := d.Summary(b.Context(), moat.Everyone(), q); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(s.Events), "events")
		})
		b.Run("orders/"+e.Kind.String(), func(b *testing.B) {
			n, before := 0, runtest.CPU(b)
			for b.Loop() {
				a, err := d.Orders(b.Context(), moat.Everyone(), q)
				if err != nil {
					b.Fatal(err)
				}
				n = len(a.Orders)
			}
			runtest.ReportCPU(b, before, int64(b.N), "op")
			b.ReportMetric(float64(n), "orders")
		})
	}
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
}
