package scope

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/index"
	"github.com/moat-platform/moat/store/intake"
	"github.com/moat-platform/moat/store/run/runtest"
)

// BenchmarkScope asks for the scope of an account that touched SCOPE_TOUCHES orders (1 M), one an event, among as
// many touches of others.
func BenchmarkScope(b *testing.B) {
	n := 1_000_000
	if s := os.Getenv("SCOPE_TOUCHES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	x, err := index.Open(index.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	writer, err := x.Writer(0)
	if err != nil {
		b.Fatal(err)
	}
	load := runtest.New(1, 100_000, 1000)
	var w moat.BatchWriter
	for at := 0; at < n; {
		w.Reset()
		for range 512 {
			var e moat.Event
			load.Event(&e)
			if at < n && len(e.Orders) > 0 {
				mine := e
				mine.Actor, mine.Partner, mine.App, mine.ID = "thief", "p", "erp", fmt.Sprint("thief-", at)
				mine.Device, mine.IP, mine.Host = fmt.Sprint("device-", at%3), fmt.Sprint("203.0.113.", at%7), "web-1"
				mine.Orders = e.Orders[:1]
				w.Append(&mine)
				at++
			}
			w.Append(&e)
		}
		batch := append([]byte(nil), w.Bytes()...)
		if err := intake.Append(writer.Position()+uint64(at), batch, nil, writer); err != nil {
			b.Fatal(err)
		}
	}
	if err := writer.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	q := Question{Source: moat.Entity{Kind: moat.Account, ID: "thief"}}
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprint("workers=", workers), func(b *testing.B) {
			f := New(Config{Diary: x.Diary, Ledger: x.Ledger, Workers: workers})
			before := runtest.CPU(b)
			var s *Scope
			for b.Loop() {
				if s, err = f.Scope(b.Context(), moat.Everyone(), q); err != nil || s.Events != int64(n) {
					b.Fatal(s, err)
				}
			}
			runtest.ReportCPU(b, before, int64(b.N), "op")
			b.ReportMetric(float64(s.Orders), "orders")
		})
	}
}
