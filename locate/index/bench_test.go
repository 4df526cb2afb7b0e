package index

import (
	"context"
	"math/rand/v2"
	"testing"

	moat "github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/ledger"
	"github.com/moat-platform/moat/store/intake"
	"github.com/moat-platform/moat/store/run"
	"github.com/moat-platform/moat/store/run/runtest"
)

// BenchmarkAppend is the whole cost of writing: decoding batches, sorting,
// files and all merges, as CPU of the process an event. A million events are
// sent round and round, so orders repeat; below some 14,000 batches there are too
// few runs to be merged, which "runs" shows.
func BenchmarkAppend(b *testing.B) {
	load := runtest.New(1, 1_000_000, 350_000)
	var batches [][]byte
	for range 2000 {
		batches = append(batches, load.Batch(512))
	}
	x, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	w, err := x.Writer(0)
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	before := runtest.CPU(b)
	for i := range b.N {
		if err := intake.Append(uint64(i+1), batches[i%len(batches)], nil, w); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	x.Merge()
	b.StopTimer()
	st := x.Stats()
	t := st.Total()
	runtest.ReportCPU(b, before, t.Events, "event")
	b.ReportMetric(float64(t.Bytes)/float64(t.Rows), "B/row")
	b.ReportMetric(float64(t.Bytes)/float64(t.Events), "B/event")
	b.ReportMetric(float64(t.Rows)/float64(t.Events), "rows/event")
	b.ReportMetric(float64(len(st.Runs)), "runs")
	if err := x.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOrders asks for 1,000 orders among INDEX_ROWS rows (10 M). They are
// kept in INDEX_DIR, if there is one, for the next time.
func BenchmarkOrders(b *testing.B) {
	rows, dir := runtest.Scale(b, "INDEX", 10_000_000)
	x, err := Open(Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	fill(b, x, rows)
	st := x.Stats()
	t := st.Total()
	newest := uint64(1<<20) + uint64(t.Events)*2/5 // 2.8 touches of an order an event, 7 of each order
	r := rand.New(rand.NewPCG(1, 1))
	ids := make([]string, 1000)
	for _, name := range []string{"orders", "each"} {
		b.Run(name, func(b *testing.B) {
			touches := 0
			before := runtest.CPU(b)
			for b.Loop() {
				for i := range ids {
					ids[i] = runtest.OrderID(r.Uint64N(newest))
				}
				if name == "each" { // what a trace needs of a touch
					_, err = x.Ledger.Each(b.Context(), moat.Everyone(), ids, 0, 0, func(_ int, r *run.Row) error {
						touches++
						_, err := r.Source()
						return err
					})
				} else {
					var a *ledger.Answer
					if a, err = x.Ledger.Orders(b.Context(), moat.Everyone(), ids, 0, 0); err == nil {
						for _, o := range a.Orders {
							touches += len(o.Touches)
						}
					}
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			runtest.ReportCPU(b, before, int64(b.N), "op")
			b.ReportMetric(float64(touches)/float64(b.N), "touches/op")
			b.ReportMetric(float64(t.Rows), "rows")
			b.ReportMetric(float64(t.Bytes)/float64(t.Rows), "B/row")
			b.ReportMetric(float64(len(st.Runs)), "runs")
		})
	}
	if err := x.Close(); err != nil {
		b.Fatal(err)
	}
}

// fill appends until the index has that many rows on disk.
func fill(b *testing.B, x *Index, rows int64) {
	load := runtest.New(1, 1_000_000, 350_000)
	w, err := x.Writer(0)
	if err != nil {
		b.Fatal(err)
	}
	for seq := x.Position(0) + 1; ; seq++ {
		if seq%500 == 1 {
			if st := x.Stats(); st.Total().Rows >= rows {
				break
			}
		}
		if err := intake.Append(seq, load.Batch(512), nil, w); err != nil {
			b.Fatal(err)
		}
	}
	x.Merge()
}
