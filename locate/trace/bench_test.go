package trace

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/locate/index"
	"github.com/moat-platform/moat/store/intake"
	"github.com/moat-platform/moat/store/run"
	"github.com/moat-platform/moat/store/run/runtest"
)

// BenchmarkTrace traces 1,000 orders among TRACE_ROWS rows (2 M), 700 of which one account had in hand. Rows
// are kept in TRACE_DIR, if there is one, for the next time.
func BenchmarkTrace(b *testing.B) {
	rows, dir := runtest.Scale(b, "TRACE", 2_000_000)
	fill(b, dir, rows)
	still := run.Tuning{FanIn: 1 << 20} // merging would be measured, too
	x, err := index.Open(index.Config{Dir: dir, Tuning: still})
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	st := x.Stats()
	touches := touchesOf(st.Total())
	q := question(b, x.Diary, uint64(1<<20)+uint64(touches)/7)
	ids := make([]string, len(q.Orders))
	for i := range ids {
		ids[i] = q.Orders[i].ID
	}
	b.Run("lookup", func(b *testing.B) {
		found := 0
		for b.Loop() {
			if _, err := x.Ledger.Each(b.Context(), moat.Everyone(), ids, 0, 0, func(int, *run.Row) error { found++; return nil }); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(found)/float64(b.N), "touches/op")
		b.ReportMetric(float64(touches), "rows")
	})
	for _, cold := range []bool{false, true} {
		benchTrace(b, x, q, dir, cold)
	}
}

// benchTrace traces with everything in memory, or with no page of the files in it before each trace.
func benchTrace(b *testing.B, x *index.Index, q Question, dir string, cold bool) {
	name := "trace"
	if cold {
		name = "cold"
	}
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		var a *Answer
		var err error
		var left, read int64
		var cpu time.Duration
		for b.Loop() {
			if cold {
				b.StopTimer()
				left = max(left, runtest.Cold(b, dir))
				b.StartTimer()
			}
			before, had := runtest.CPU(b), runtest.Read(b)
			if a, err = (&Tracer{Rows: Kept(x.Ledger, x.Diary)}).Trace(b.Context(), moat.Everyone(), q); err != nil {
				b.Fatal(err)
			}
			cpu, read = cpu+runtest.CPU(b)-before, read+runtest.Read(b)-had
		}
		st := x.Stats()
		b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op")
		b.ReportMetric(float64(touchesOf(st.Total())), "rows")
		b.ReportMetric(float64(a.Population.Controls), "controls")
		b.ReportMetric(float64(len(st.Runs)), "runs")
		b.ReportMetric(a.Sources[0].Posterior, "posterior")
		if cold {
			b.ReportMetric(float64(left), "B-in-memory")
			b.ReportMetric(float64(read)/float64(b.N), "B-read/op")
		}
	})
}

// touchesOf estimates how many of an index's rows are touches of orders: runtest's events name 2.8 on average.
func touchesOf(t run.Info) int64 { return t.Events * 28 / 10 }

// fill appends until the index has that many touches of orders on disk.
func fill(b *testing.B, dir string, touches int64) {
	x, err := index.Open(index.Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	w, err := x.Writer(0)
	if err != nil {
		b.Fatal(err)
	}
	load := runtest.New(1, 1_000_000, 2000)
	for seq := x.Position(0) + 1; ; seq++ {
		if seq%4000 == 1 {
			if st := x.Stats(); touchesOf(st.Total()) >= touches {
				break
			}
		}
		if err := intake.Append(seq, load.Batch(512), nil, w); err != nil {
			b.Fatal(err)
		}
		if seq%4000 == 0 { // few and large, as a server writes them
			if err := w.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	x.Merge() // what a server does by itself, in time
	if err := x.Close(); err != nil {
		b.Fatal(err)
	}
}

// question is 700 orders that one account had in hand, if it had as many, and others.
func question(b *testing.B, d *diary.Diary, newest uint64) Question {
	had, err := d.Orders(b.Context(), moat.Everyone(), diary.Query{Entity: moat.Entity{Kind: moat.Account, ID: "user0000700"}})
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	var q Question
	for i := range min(700, len(had.Orders)/2) {
		q.Orders = append(q.Orders, Leaked{ID: had.Orders[2*i].ID})
	}
	for len(q.Orders) < 1000 {
		q.Orders = append(q.Orders, Leaked{ID: runtest.OrderID(r.Uint64N(newest))})
	}
	return q
}
