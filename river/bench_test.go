package river

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const benchEvents = 512

// benchBatch makes a batch of 512 events of about kib KiB.
func benchBatch(kib int) []byte {
	ids := make([]string, benchEvents)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	return batchOf(kib<<10/benchEvents-61, ids...)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report adds what the design's budget is counted in: all events are of this process.
func report(b *testing.B, messages int, cpu time.Duration) {
	events := float64(messages * benchEvents)
	b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/events, "CPU-µs/event")
}

// appendAll appends b.N times from so many goroutines.
func appendAll(b *testing.B, r *River, batch []byte, appenders int) (took []time.Duration) {
	took = make([]time.Duration, b.N)
	var n atomic.Int64
	var trimmed sync.Mutex
	var wg sync.WaitGroup
	for range appenders {
		wg.Go(func() {
			for i := n.Add(1) - 1; i < int64(b.N); i = n.Add(1) - 1 {
				start := time.Now()
				seq, err := r.Append(b.Context(), 0, batch)
				took[i] = time.Since(start)
				if err != nil {
					b.Error(err)
					return
				}
				if seq%2048 == 0 && trimmed.TryLock() { // keep the store small
					if err := r.Trim(b.Context(), 0, seq-1024); err != nil {
						b.Error(err)
					}
					trimmed.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return took
}

// BenchmarkAppend measures how long one append takes and what it costs, by
// mode, size of the batch of 512 events, and number of concurrent appenders.
func BenchmarkAppend(b *testing.B) {
	for _, mode := range []struct {
		name string
		mode SyncMode
	}{{"group", SyncGroup}, {"always", SyncAlways}, {"interval", SyncInterval}} {
		for _, kib := range []int{40, 130} {
			for _, appenders := range []int{1, 8, 32} {
				b.Run(fmt.Sprintf("sync=%s/KiB=%d/appenders=%d", mode.name, kib, appenders), func(b *testing.B) {
					r := openRiver(b, Config{Dir: b.TempDir(), Partitions: 1, Sync: mode.mode})
					batch := benchBatch(kib)
					b.SetBytes(int64(len(batch)))
					b.ReportAllocs()
					b.ResetTimer()
					cpu := cpuTime()
					took := appendAll(b, r, batch, appenders)
					b.StopTimer()
					report(b, b.N, cpu)
					slices.Sort(took)
					b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
					b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
				})
			}
		}
	}
}

// BenchmarkRead measures reading what is stored already.
func BenchmarkRead(b *testing.B) {
	for _, kib := range []int{40, 130} {
		b.Run(fmt.Sprintf("KiB=%d", kib), func(b *testing.B) {
			r := openRiver(b, Config{Dir: b.TempDir(), Partitions: 1, Sync: SyncInterval})
			batch := benchBatch(kib)
			const stored = 1000
			for range stored {
				mustAppend(b, r, 0, batch)
			}
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			b.ResetTimer()
			cpu := cpuTime()
			var rd *Reader
			for i := range b.N {
				if i%stored == 0 {
					if rd != nil {
						rd.Close()
					}
					rd = read(b, r, 0, 0)
				}
				next(b, rd)
			}
			b.StopTimer()
			report(b, b.N, cpu)
		})
	}
}

// BenchmarkAppendAndRead measures the whole way: 8 appenders, and a reader that follows.
func BenchmarkAppendAndRead(b *testing.B) {
	r := openRiver(b, Config{Dir: b.TempDir(), Partitions: 1})
	batch := benchBatch(130)
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	rd := read(b, r, 0, 0)
	b.ResetTimer()
	cpu := cpuTime()
	var wg sync.WaitGroup
	wg.Go(func() {
		for bytes := 0; bytes < b.N*(len(batch)-16); { // a joined message has one header
			m := next(b, rd)
			bytes += len(m.Data) - 16
		}
	})
	appendAll(b, r, batch, 8)
	wg.Wait()
	b.StopTimer()
	report(b, b.N, cpu)
}
