package ledger

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	moat "github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run/runtest"
)

// BenchmarkAppend is the whole cost of writing: decoding batches, sorting,
// files and all merges, as CPU of the process an order.
func BenchmarkAppend(b *testing.B) {
	load := runtest.New(1, 1_000_000, 350_000)
	var batches [][]byte
	for range 2000 {
		batches = append(batches, load.Batch(512))
	}
	l, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	w, err := l.Writer(0)
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
	if err := w.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	l.set.Merge()
	b.StopTimer()
	st := l.Stats()
	t := st.Total()
	runtest.ReportCPU(b, before, t.Rows, "row")
	b.ReportMetric(float64(t.Bytes)/float64(t.Rows), "B/row")
	b.ReportMetric(float64(t.Rows)/float64(b.N), "rows/op")
	b.ReportMetric(float64(len(st.Runs)), "runs")
	b.ReportMetric(float64(t.Rows)/b.Elapsed().Seconds(), "rows/s")
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOrders asks for 1,000 orders among LEDGER_ROWS rows (10 M).
func BenchmarkOrders(b *testing.B) {
	rows := int64(10_000_000)
	if s := os.Getenv("LEDGER_ROWS"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		rows = n
	}
	l, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	load := runtest.New(1, 1_000_000, 350_000)
	var ids []string
	for p := 0; p < 1; p++ {
		w, err := l.Writer(p)
		if err != nil {
			b.Fatal(err)
		}
		for seq := uint64(1); ; seq++ {
			if err := w.Append(seq, load.Batch(512), nil); err != nil {
				b.Fatal(err)
			}
			if seq%500 == 0 {
				if st := l.Stats(); st.Total().Rows >= rows {
					break
				}
			}
		}
	}
	l.set.Merge()
	st := l.Stats()
	t := st.Total()
	newest := uint64(1<<20) + uint64(float64(t.Rows)/7)
	r := rand.New(rand.NewPCG(1, 1))
	touches := 0
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		ids = ids[:0]
		for range 1000 {
			ids = append(ids, runtest.OrderID(r.Uint64N(newest)))
		}
		b.StartTimer()
		a, err := l.Orders(context.Background(), moat.Everyone(), ids, 0, 0)
		if err != nil {
			b.Fatal(err)
		}
		for _, o := range a.Orders {
			touches += len(o.Touches)
		}
	}
	b.ReportMetric(float64(touches)/float64(b.N), "touches/op")
	b.ReportMetric(float64(t.Rows), "rows")
	b.ReportMetric(float64(t.Bytes)/float64(t.Rows), "B/row")
	b.ReportMetric(float64(len(st.Runs)), "runs")
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}
