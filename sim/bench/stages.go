package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/ingest"
	"github.com/moat-platform/moat/locate/index"
	"github.com/moat-platform/moat/river"
	"github.com/moat-platform/moat/sim/load"
	"github.com/moat-platform/moat/store/intake"
	"github.com/moat-platform/moat/store/lake"
)

// stages measures what each stage costs by itself, in CPU time of the whole process, so that
// whatever it does behind its caller's back counts.
func (b *bench) stages(ctx context.Context) error {
	events := 1_000_000
	if b.o.Short {
		events = 200_000
	}
	b.o.Progress("stages one by one")
	batches := b.batches(events, load.Config{Partners: partners, Accounts: b.accounts, Seed: 99})
	for _, stage := range []struct {
		name string
		run  func(context.Context, [][]byte) (func() error, error)
	}{{"river", b.river}, {"store", b.store}} {
		runtime.GC()
		cpu := cpuSeconds()
		end, err := stage.run(ctx, batches)
		if err != nil {
			return fmt.Errorf("stage %s: %w", stage.name, err)
		}
		b.r.CPU[stage.name] = (cpuSeconds() - cpu) * 1e6 / float64(events)
		if err := end(); err != nil {
			return fmt.Errorf("stage %s: %w", stage.name, err)
		}
	}
	if err := b.decode(events); err != nil {
		return err
	}
	if err := b.machine.lay(); err != nil {
		return err
	}
	if err := b.engineAlone(ctx, batches, events); err != nil {
		return err
	}
	return b.machine.lay()
}

func (b *bench) batches(events int, cfg load.Config) [][]byte {
	s := load.New(cfg)
	var out [][]byte
	var w moat.BatchWriter
	for range events / batch {
		for range batch {
			w.Append(s.Next())
		}
		out = append(out, bytes.Clone(w.Bytes()))
		w.Reset()
	}
	return out
}

func (b *bench) dir(name string) string { return filepath.Join(b.o.Dir, "stages", name) }

// river appends and reads every batch.
func (b *bench) river(ctx context.Context, batches [][]byte) (func() error, error) {
	r, err := river.Open(ctx, river.Config{Dir: b.dir("river"), Partitions: 1})
	if err != nil {
		return nil, err
	}
	appended := make(chan error, 1)
	go func() {
		sem := make(chan struct{}, 8)
		var failed error
		for _, x := range batches {
			sem <- struct{}{}
			go func() {
				if _, err := r.Append(ctx, 0, x); err != nil {
					failed = err
				}
				<-sem
			}()
		}
		for range cap(sem) {
			sem <- struct{}{}
		}
		appended <- failed
	}()
	rd, err := r.Read(ctx, 0, 0)
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	var br moat.BatchReader
	for n := 0; n < len(batches)*batch; {
		m, err := rd.Next(ctx)
		if err != nil {
			return nil, err
		}
		if err := br.Open(m.Data); err != nil {
			return nil, err
		}
		n += br.Len()
	}
	if err := <-appended; err != nil {
		return nil, err
	}
	return func() error { return r.Close(ctx) }, nil
}

// store writes every event to the lake and the index, decoded once for both, as a server does.
func (b *bench) store(ctx context.Context, batches [][]byte) (func() error, error) {
	l, err := lake.Open(lake.Config{Dir: b.dir("lake")})
	if err != nil {
		return nil, err
	}
	x, err := index.Open(index.Config{Dir: b.dir("index"), Key: [16]byte{1}})
	if err != nil {
		return nil, err
	}
	events := l.Writer(0)
	rows, err := x.Writer(0)
	if err != nil {
		return nil, err
	}
	for i, batch := range batches {
		if err := intake.Append(uint64(i+1), batch, nil, events, rows); err != nil {
			return nil, err
		}
	}
	return func() error { return errors.Join(l.Close(), x.Close()) }, errors.Join(events.Flush(), rows.Flush(ctx))
}

// drop is a river that keeps nothing.
type drop struct{}

func (drop) Partitions() int                                             { return 4 }
func (drop) PartitionOf(partner string) int                              { return len(partner) % 4 }
func (drop) Append(context.Context, int, []byte) (seq uint64, err error) { return 1, nil }

// decode measures the event endpoint without network, credentials and river: reading, checking,
// normalising and encoding.
func (b *bench) decode(events int) error {
	h, err := ingest.NewHandler(ingest.Config{River: drop{}, Key: make([]byte, 32),
		Authenticate: func(*http.Request) (ingest.Caller, error) { return ingest.Caller{Partner: "p1"}, nil }})
	if err != nil {
		return err
	}
	s := load.New(load.Config{Partners: partners, Accounts: b.accounts, Seed: 5})
	var bodies []*load.Body
	for range 64 {
		bodies = append(bodies, s.Body(1, batch))
	}
	used := 0.0
	for i := range events / batch {
		x := bodies[i%len(bodies)]
		x.Renew(uint64(i)*batch, moat.TimeOf(time.Now())) // a sender's work
		cpu := cpuSeconds()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/events", bytes.NewReader(x.Text)))
		if w.Code != http.StatusAccepted {
			return fmt.Errorf("the event endpoint answered %d: %s", w.Code, w.Body)
		}
		used += cpuSeconds() - cpu
	}
	b.r.CPU["decode"] = used * 1e6 / float64(events)
	return nil
}

// engineAlone runs the engine on one core with every account and device in state.
func (b *bench) engineAlone(ctx context.Context, batches [][]byte, events int) error {
	b.o.Progress("engine alone, on one core")
	e, err := b.newEngine()
	if err != nil {
		return err
	}
	if err := b.fill(ctx, e, b.accounts, b.accounts); err != nil {
		return err
	}
	mem := e.Memory()
	b.r.PerAccount, b.r.PerDevice, b.r.PerPair = mem.PerEntity[moat.Account], mem.PerEntity[moat.Device], mem.PerPair
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start, cpu := time.Now(), cpuSeconds()
	for _, x := range batches {
		if _, err := e.Step(x, nil); err != nil {
			return err
		}
	}
	used := cpuSeconds() - cpu
	b.r.CPU["engine"] = used * 1e6 / float64(events)
	b.r.Engine = float64(events) / max(time.Since(start).Seconds(), used)
	return nil
}

// fill has every account log in, every device be used, and every account look at orders.
func (b *bench) fill(ctx context.Context, e *engine.Engine, accounts, devices int) error {
	s := load.New(load.Config{Partners: partners, Accounts: accounts, Devices: devices, Even: true, Seed: 7})
	n := max(accounts, devices) + accounts
	var w moat.BatchWriter
	for i := range n {
		w.Append(s.Next())
		if i%batch == batch-1 || i == n-1 {
			if _, err := e.Step(w.Bytes(), nil); err != nil {
				return err
			}
			w.Reset()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if i%(1<<18) == 0 && rss() > b.memoryLimit() {
			return fmt.Errorf("%d events filled %d MiB of memory, more than half of the machine's", i, rss()>>20)
		}
	}
	return nil
}

// memoryLimit is half of the machine's memory.
func (b *bench) memoryLimit() int64 { return int64(b.r.MemoryGiB / 2 * (1 << 30)) }

// scale measures the memory of a million accounts with one and with ten million devices.
func (b *bench) scale(ctx context.Context) error {
	for _, devices := range []int{1_000_000, 10_000_000} {
		debug.FreeOSMemory()
		b.o.Progress(fmt.Sprintf("memory with %d accounts and %d devices", b.accounts, devices))
		before := rss()
		e, err := b.newEngine()
		if err != nil {
			return err
		}
		if err := b.fill(ctx, e, b.accounts, devices); err != nil {
			return err
		}
		mem := e.Memory()
		b.r.Scale = append(b.r.Scale, Scale{Accounts: e.Entities()[moat.Account], Devices: e.Entities()[moat.Device], RSSGiB: float64(rss()-before) / (1 << 30),
			PerAccount: mem.PerEntity[moat.Account], PerDevice: mem.PerEntity[moat.Device]})
		runtime.KeepAlive(e)
	}
	return nil
}
