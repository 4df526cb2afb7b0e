package world

import "testing"

// BenchmarkNext is a month of forty partners.
func BenchmarkNext(b *testing.B) {
	b.ReportAllocs()
	events := 0
	for range b.N {
		w, err := New(Config{Seed: 1, Start: monday})
		if err != nil {
			b.Fatal(err)
		}
		for day, ok := w.Next(); ok; day, ok = w.Next() {
			events += len(day)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(events), "ns/event")
}

// BenchmarkNew is the start of ten thousand partners.
func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for range b.N {
		if _, err := New(Config{Seed: 1, Start: monday, Partners: 10_000}); err != nil {
			b.Fatal(err)
		}
	}
}
