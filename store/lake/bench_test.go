package lake

import (
	"bufio"
	"io"
	"runtime"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/intake"
)

// BenchmarkStages tells what the steps of writing an event cost, each on its own.
func BenchmarkStages(b *testing.B) {
	const rows = 512
	batches := realisticBatches(512)
	perEvent := func(b *testing.B, start int64) {
		b.ReportMetric(float64(cpuTime()-start)/float64(b.N)/rows, "cpu-ns/event")
	}
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		var r moat.BatchReader
		var e moat.Event
		start := cpuTime()
		for i := range b.N {
			must(b, r.Open(batches[i%len(batches)]))
			for r.Next(&e) {
			}
		}
		perEvent(b, start)
	})
	add := func(b *testing.B, g *group, batch []byte) {
		var r moat.BatchReader
		var e moat.Event
		must(b, r.Open(batch))
		for row := uint32(0); r.Next(&e); row++ {
			g.add(1, row, &e)
		}
		g.commit()
	}
	b.Run("decode+columns", func(b *testing.B) {
		b.ReportAllocs()
		g, blk := &group{dicts: newDictionaries()}, new(block)
		start := cpuTime()
		for i := range b.N {
			if i%len(batches) == 0 {
				resetDictionaries(g.dicts)
			}
			if i%64 == 0 {
				g.open(blk)
			}
			add(b, g, batches[i%len(batches)])
			if i%64 == 63 {
				g.seal()
			}
		}
		perEvent(b, start)
	})
	b.Run("encode", func(b *testing.B) {
		g, x := &group{dicts: newDictionaries()}, newEncoder(runtime.Gosched)
		var blocks []*block
		for i := range 512 {
			if i%64 == 0 {
				g.open(new(block))
			}
			add(b, g, batches[i])
			if i%64 == 63 {
				blocks = append(blocks, g.seal())
			}
		}
		b.ReportAllocs()
		b.ResetTimer()
		start := cpuTime()
		for range b.N {
			x.reset()
			for _, blk := range blocks {
				must(b, x.add(blk))
			}
			f, err := newFileWriter(bufio.NewWriter(io.Discard))
			must(b, err)
			must(b, f.writeGroup(x, g.dicts))
			must(b, f.close())
		}
		b.ReportMetric(float64(cpuTime()-start)/float64(b.N)/512/rows, "cpu-ns/event")
	})
}

func BenchmarkAppend(b *testing.B) {
	batches := realisticBatches(512)
	l := openLake(b, Config{})
	w := l.Writer(0)
	b.ReportAllocs()
	b.ResetTimer()
	start := cpuTime()
	for i := range b.N {
		must(b, intake.Append(uint64(i+1), batches[i%len(batches)], nil, w))
	}
	must(b, w.Flush())
	b.StopTimer()
	cpu := cpuTime() - start
	rows, bytes := int64(0), int64(0)
	for _, f := range l.Files() {
		rows, bytes = rows+f.Rows, bytes+f.Bytes
	}
	b.ReportMetric(float64(cpu)/float64(rows), "cpu-ns/event")
	b.ReportMetric(float64(bytes)/float64(rows), "B/event")
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkColumns logs what each column takes on disk.
func BenchmarkColumns(b *testing.B) {
	l := openLake(b, Config{})
	w := l.Writer(0)
	for i, batch := range realisticBatches(512) {
		must(b, intake.Append(uint64(i+1), batch, nil, w))
	}
	must(b, w.Flush())
	s, err := openSource(l.Files()[0].Path)
	must(b, err)
	defer s.close()
	for i, c := range s.meta.RowGroups[0].Columns {
		b.ReportMetric(float64(c.MetaData.TotalCompressedSize)/float64(s.meta.NumRows), specs[i].name+"-B/event")
	}
}
