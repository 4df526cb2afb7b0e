package engine_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/sim/load"
)

// loadBatches makes batches of 512 plausible events.
func loadBatches(cfg load.Config, n int) [][]byte {
	s := load.New(cfg)
	var out [][]byte
	var w moat.BatchWriter
	for range n {
		for range 512 {
			w.Append(s.Next())
		}
		out = append(out, bytes.Clone(w.Bytes()))
		w.Reset()
	}
	return out
}

// threadTime is what the processor has spent on this thread, in ns.
func threadTime(b *testing.B) float64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return float64(t.Nano())
}

// BenchmarkStep takes in plausible events with all shipped detectors and many accounts in state; an
// operation is one event. On a shared machine look at cpu-ns/op: the median over batches of what the processor
// spent on an event, which others' work hardly moves.
func BenchmarkStep(b *testing.B) {
	p := plan(b)
	for _, accounts := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("accounts=%d", accounts), func(b *testing.B) {
			e, err := engine.New(engine.Config{Plan: p, Seed: seed, Net: net, Beside: func(f func()) { go f() }})
			if err != nil {
				b.Fatal(err)
			}
			fill := load.New(load.Config{Accounts: accounts, Even: true, Seed: 1})
			var w moat.BatchWriter
			for i := range 3 * accounts {
				w.Append(fill.Next())
				if i%512 == 511 {
					if _, err := e.Step(w.Bytes(), nil); err != nil {
						b.Fatal(err)
					}
					w.Reset()
				}
			}
			in := loadBatches(load.Config{Accounts: accounts, Seed: 2}, max(b.N/512, 1)+1)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var spent []float64
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += 512 {
				begin := threadTime(b)
				if _, err := e.Step(in[i/512], nil); err != nil {
					b.Fatal(err)
				}
				spent = append(spent, threadTime(b)-begin)
			}
			b.StopTimer()
			slices.Sort(spent)
			b.ReportMetric(spent[len(spent)/2]/512, "cpu-ns/op")
			s := e.Stats()
			b.ReportMetric(float64(s.Findings)/float64(s.Events)*1e6, "findings/Mevent")
		})
	}
}

// BenchmarkAsk asks about logins of accounts in state, of which most have left the cache since.
func BenchmarkAsk(b *testing.B) {
	const accounts = 200_000
	e, err := engine.New(engine.Config{Plan: plan(b), Seed: seed, Net: net})
	if err != nil {
		b.Fatal(err)
	}
	s := load.New(load.Config{Accounts: accounts, Even: true, Seed: 1})
	var w moat.BatchWriter
	var logins []*moat.Event
	for i := range accounts {
		ev := s.Next()
		if w.Append(ev); i%20 == 0 {
			logins = append(logins, ev.Clone())
		}
		if i%512 == 511 {
			if _, err := e.Step(w.Bytes(), nil); err != nil {
				b.Fatal(err)
			}
			w.Reset()
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var spent []float64
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		begin := threadTime(b)
		e.Ask(logins[i*7919%len(logins)])
		spent = append(spent, threadTime(b)-begin)
	}
	slices.Sort(spent)
	b.ReportMetric(spent[len(spent)/2], "cpu-ns/op")
}
