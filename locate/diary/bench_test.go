package diary

import (
	"fmt"
	"testing"

	moat "github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/intake"
	"github.com/moat-platform/moat/store/run"
	"github.com/moat-platform/moat/store/run/runtest"
)

// BenchmarkQuestions asks for a busy app and a quiet account among 2 M events.
func BenchmarkQuestions(b *testing.B) {
	d := open(b, b.TempDir(), run.Tuning{})
	w, err := d.Writer(0)
	if err != nil {
		b.Fatal(err)
	}
	load := runtest.New(1, 20_000, 1000)
	for seq := range uint64(4000) {
		if err := intake.Append(seq+1, load.Batch(512), nil, w); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	d.Merge()
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
