package trace

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/locate/ledger"
	"github.com/moat-platform/moat/store/run"
	"github.com/moat-platform/moat/store/run/runtest"
)

// BenchmarkTrace traces 1,000 orders among TRACE_ROWS rows (2 M), 700 of which one account had in hand. Rows
// are kept in TRACE_DIR, if there is one, for the next time.
func BenchmarkTrace(b *testing.B) {
	rows, dir := int64(2_000_000), b.TempDir()
	if s := os.Getenv("TRACE_ROWS"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		rows = n
	}
	if s := os.Getenv("TRACE_DIR"); s != "" {
		dir = s
	}
	l, d := fill(b, dir, rows)
	if err := errors.Join(l.Close(), d.Close()); err != nil {
		b.Fatal(err)
	}
	still := run.Tuning{FanIn: 1 << 20} // merging would be measured, too
	var err error
	if l, err = ledger.Open(ledger.Config{Dir: filepath.Join(dir, "ledger"), Tuning: still}); err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	if d, err = diary.Open(diary.Config{Dir: filepath.Join(dir, "diary"), Tuning: still}); err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	st := l.Stats()
	t := st.Total()
	q := question(b, d, uint64(1<<20)+uint64(t.Rows)/7)
	ids := make([]string, len(q.Orders))
	for i := range ids {
		ids[i] = q.Orders[i].ID
	}
	b.Run("lookup", func(b *testing.B) {
		touches := 0
		for b.Loop() {
			if _, err := l.Each(b.Context(), moat.Everyone(), ids, 0, 0, func(int, *run.Row) error { touches++; return nil }); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(touches)/float64(b.N), "touches/op")
		b.ReportMetric(float64(t.Rows), "rows")
	})
	for _, cold := range []bool{false, true} {
		benchTrace(b, l, d, q, dir, cold)
	}
}

// benchTrace traces with everything in memory, or with no page of the files in it before each trace.
func benchTrace(b *testing.B, l *ledger.Ledger, d *diary.Diary, q Question, dir string, cold bool) {
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
			if a, err = (&Tracer{Rows: Kept(l, d)}).Trace(b.Context(), moat.Everyone(), q); err != nil {
				b.Fatal(err)
			}
			cpu, read = cpu+runtest.CPU(b)-before, read+runtest.Read(b)-had
		}
		st := l.Stats()
		b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op")
		b.ReportMetric(float64(st.Total().Rows), "rows")
		b.ReportMetric(float64(a.Population.Controls), "controls")
		b.ReportMetric(float64(len(st.Runs)), "runs")
		b.ReportMetric(a.Sources[0].Posterior, "posterior")
		if cold {
			b.ReportMetric(float64(left), "B-in-memory")
			b.ReportMetric(float64(read)/float64(b.N), "B-read/op")
		}
	})
}

// fill appends until ledger and diary have that many rows on disk.
func fill(b *testing.B, dir string, rows int64) (*ledger.Ledger, *diary.Diary) {
	l, err := ledger.Open(ledger.Config{Dir: filepath.Join(dir, "ledger")})
	if err != nil {
		b.Fatal(err)
	}
	d, err := diary.Open(diary.Config{Dir: filepath.Join(dir, "diary")})
	if err != nil {
		b.Fatal(err)
	}
	lw, err := l.Writer(0)
	if err != nil {
		b.Fatal(err)
	}
	dw, err := d.Writer(0)
	if err != nil {
		b.Fatal(err)
	}
	st := l.Stats()
	if st.Total().Rows >= rows {
		return l, d
	}
	load := runtest.New(1, 1_000_000, 2000)
	for seq := uint64(1); ; seq++ {
		if seq%4000 == 1 {
			if st = l.Stats(); st.Total().Rows >= rows {
				break
			}
		}
		batch := load.Batch(512)
		if err := lw.Append(seq, batch, nil); err != nil {
			b.Fatal(err)
		}
		if err := dw.Append(seq, batch, nil); err != nil {
			b.Fatal(err)
		}
		if seq%4000 == 0 { // few and large, as a server writes them
			if err := lw.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			if err := dw.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	return l, d
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
