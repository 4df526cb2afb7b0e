// Package bench measures Moat on the machine that it runs on: the whole path from HTTP to the
// lake, its stages one by one, the engine alone, the synchronous question, and the
// memory of an entity.
//
// Use it through `moat bench`. Every figure is that of the shipped detectors over the events
// of package load, with a million accounts in state, or a fifth of that in a short run.
//
// It will not send anything anywhere but to the loopback address of its own server.
package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/sim/load"
	"github.com/moat-platform/moat/store/book"
)

// Options say how to measure.
type Options struct {
	Short bool // end within 40 s
	// Client is the command line of a process that calls [RunClient] on its standard input and output.
	Client   []string
	Dir      string // for data; "" = a temporary folder, removed at the end
	Progress func(what string)
	Logger   *slog.Logger
}

// Report is what was measured. Times are of this machine, shared as it is.
type Report struct {
	WholePath float64 `json:"whole_path_events_per_s"`
	Engine    float64 `json:"engine_events_per_s_per_core"`
	RiskP50   float64 `json:"risk_p50_ms"`
	RiskP99   float64 `json:"risk_p99_ms"`
	// CPU is by stage, each by itself: decode (of HTTP), river, engine, and store (lake and index, which decode an event once for both); "server" and
	// "client" are of the whole path.
	CPU        map[string]float64 `json:"cpu_us_per_event"`
	PerAccount float64            `json:"bytes_per_account"`
	PerDevice  float64            `json:"bytes_per_device"`
	PerPair    float64            `json:"bytes_per_pair"`
	Detectors  int                `json:"detectors"`
	Features   int                `json:"features"`

	RiskRate   int     `json:"risk_questions_per_s"`
	RiskBeside float64 `json:"risk_beside_events_per_s"` // ingest that went on during the questions
	FreshP50   float64 `json:"fresh_p50_ms"`             // beside the questions, from an event's acknowledgement to the detectors' answer
	FreshP99   float64 `json:"fresh_p99_ms"`
	AckP50     float64 `json:"ack_p50_ms"` // of a batch, until it is durable
	AckP99     float64 `json:"ack_p99_ms"`
	StartMS    float64 `json:"start_ms"` // of an empty server
	StartRSS   float64 `json:"start_rss_mib"`
	LoadedRSS  float64 `json:"loaded_rss_mib"` // with everything in state
	Accounts   int     `json:"accounts_in_state"`
	Devices    int     `json:"devices_in_state"`
	Scale      []Scale `json:"scale,omitempty"` // memory at more entities
	Findings   uint64  `json:"findings"`
	// How fast the machine was, by work that is not Moat's: medians of before and after the whole path and the engine.
	DecodeNS  float64 `json:"yardstick_decode_ns"` // of encoding/json, an event
	ReadNS    float64 `json:"yardstick_read_ns"`   // of a number anywhere in memory
	Machine   string  `json:"machine"`
	Cores     int     `json:"cores"`
	MemoryGiB float64 `json:"memory_gib"`
	Go        string  `json:"go"`
	Command   string  `json:"command"`
	Seconds   float64 `json:"seconds"`
}

// Scale is the memory of an engine with many entities.
type Scale struct {
	Accounts   int     `json:"accounts"`
	Devices    int     `json:"devices"`
	RSSGiB     float64 `json:"rss_gib"`
	PerAccount float64 `json:"bytes_per_account"`
	PerDevice  float64 `json:"bytes_per_device"`
}

const (
	partners      = 100
	allAccounts   = 1_000_000
	shortAccounts = 200_000 // their records fill the caches a hundred times over, too
	batch         = 512
)

// bench is one run.
type bench struct {
	o        Options
	r        Report
	accounts int
	n        *node.Node
	url      string
	keys     []string
	nextID   uint64
	plan     *rule.Plan
	seed     rule.HashSeed
	machine  yardstick
}

// Run measures and reports.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	b := &bench{o: o, nextID: 1, accounts: allAccounts}
	if o.Short {
		b.accounts = shortAccounts
	}
	begin := time.Now()
	b.describe()
	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "moat-bench-")
		if err != nil {
			return nil, fmt.Errorf("cannot make a folder: %w", err)
		}
		defer os.RemoveAll(dir)
		b.o.Dir = dir
	}
	if err := b.server(ctx); err != nil {
		return nil, err
	}
	debug.FreeOSMemory()
	if err := b.stages(ctx); err != nil {
		return nil, err
	}
	if !o.Short {
		if err := b.scale(ctx); err != nil {
			return nil, err
		}
	}
	b.r.DecodeNS, b.r.ReadNS = median(b.machine.decode), median(b.machine.read)
	b.r.Seconds = time.Since(begin).Seconds()
	return &b.r, nil
}

// describe notes what machine this is.
func (b *bench) describe() {
	b.r.Cores, b.r.Go = runtime.NumCPU(), runtime.Version()
	b.r.Command = strings.Join(os.Args, " ")
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				b.r.Machine = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kb float64
		fmt.Sscanf(string(text), "MemTotal: %f kB", &kb)
		b.r.MemoryGiB = kb / (1 << 20)
	}
}

// server measures what a client sees, on a server in this process and a client in another.
func (b *bench) server(ctx context.Context) (err error) {
	start := time.Now()
	if b.n, err = node.Open(ctx, node.Config{Dir: b.o.Dir, SnapshotEvery: -1, Logger: b.o.Logger}); err != nil {
		return err
	}
	b.plan, b.seed = b.n.Plan, b.n.Seed
	defer func() { // what comes after is measured without the server's memory
		if closed := b.n.Close(); err == nil {
			err = closed
		}
		b.n = nil
	}()
	h, err := api.New(api.Config{Node: b.n, Logger: b.o.Logger})
	if err != nil {
		return err
	}
	l, err := api.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	serving, end := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- api.Serve(serving, l, h, b.o.Logger) }()
	defer func() {
		end()
		<-served
	}()
	b.url = "http://" + l.Addr().String()
	b.r.StartMS, b.r.StartRSS = float64(time.Since(start).Microseconds())/1000, float64(rss())/(1<<20)
	b.r.Detectors, b.r.Features = len(b.n.Plan.Detectors), b.n.Plan.Features
	if err := b.makeKeys(ctx); err != nil {
		return err
	}
	b.o.Progress(fmt.Sprintf("every one of %d accounts logs in and looks at orders", b.accounts))
	filled, err := b.run(ctx, Job{Fill: true, Seconds: 300})
	if err != nil {
		return err
	}
	if filled.Events < int64(2*b.accounts) {
		return fmt.Errorf("this machine took %d events of %d accounts in five minutes: nothing would be said about a full server", filled.Events, b.accounts)
	}
	if err := b.n.Drain(ctx); err != nil {
		return err
	}
	if err := b.machine.lay(); err != nil {
		return err
	}
	if err := b.wholePath(ctx); err != nil {
		return err
	}
	if err := b.machine.lay(); err != nil {
		return err
	}
	return b.questions(ctx)
}

func (b *bench) makeKeys(ctx context.Context) error {
	for i := range partners {
		id := fmt.Sprintf("p%d", i)
		if _, err := b.n.Book.CreatePartner(ctx, moat.Everyone(), book.Partner{ID: id, Name: id}, "bench"); err != nil {
			return err
		}
		_, text, err := b.n.Book.CreateKey(ctx, moat.Everyone(), b.n.Master, book.Key{Partner: id, Name: "bench"}, "bench")
		if err != nil {
			return err
		}
		b.keys = append(b.keys, text)
	}
	return nil
}

// run has a client process do a job.
func (b *bench) run(ctx context.Context, j Job) (*Sent, error) {
	j.URL, j.Keys, j.Accounts, j.Batch, j.FirstID = b.url, b.keys, b.accounts, batch, b.nextID
	if j.Connections == 0 {
		j.Connections = 8
	}
	in, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.o.Client[0], b.o.Client[1:]...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("the client failed: %w: %s", err, errs.String())
	}
	var s Sent
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		return nil, fmt.Errorf("cannot read what the client says: %w", err)
	}
	if s.Failed > 0 {
		return nil, fmt.Errorf("%d requests failed, the first with: %s", s.Failed, s.FirstError)
	}
	b.nextID = s.NextID
	return &s, nil
}

// wholePath counts the events of a time over that time plus what it takes until all of them are through
// the engine and durable in the lake and the indexes.
func (b *bench) wholePath(ctx context.Context) error {
	seconds := 20.0
	if b.o.Short {
		seconds = 6
	}
	b.o.Progress("whole path, as fast as it takes events")
	cpu := cpuSeconds()
	s, err := b.run(ctx, Job{Seconds: seconds})
	if err != nil {
		return err
	}
	end := time.Now()
	if err := b.n.Drain(ctx); err != nil {
		return err
	}
	took := s.Seconds + time.Since(end).Seconds()
	b.r.WholePath = float64(s.Events) / took
	b.r.CPU = map[string]float64{
		"server": (cpuSeconds() - cpu) * 1e6 / float64(s.Events),
		"client": s.CPUSeconds * 1e6 / float64(s.Events),
	}
	b.r.AckP50, b.r.AckP99 = s.P50, s.P99
	st, err := b.n.Stats(ctx)
	if err != nil {
		return err
	}
	for _, p := range st.Partitions {
		b.r.Accounts += p.Entities[moat.Account.String()]
		b.r.Devices += p.Entities[moat.Device.String()]
		b.r.Findings += p.Engine.Findings
		if p.Engine.Duplicates > 0 {
			return fmt.Errorf("BUG: %d of the events were sent twice", p.Engine.Duplicates)
		}
	}
	b.r.LoadedRSS = float64(rss()) / (1 << 20)
	return nil
}

// questions asks 5,000 times a second while events come in at half of what the whole path takes, and sees how soon
// those are looked at.
func (b *bench) questions(ctx context.Context) error {
	seconds := 15.0
	if b.o.Short {
		seconds = 5
	}
	b.r.RiskRate = 5000
	b.o.Progress("5,000 questions a second beside half the load")
	var group errgroup.Group
	load, fresh := *b, []time.Duration(nil)
	load.nextID += 1 << 40
	var events, asked *Sent
	group.Go(func() (err error) {
		events, err = load.run(ctx, Job{Seconds: seconds + 1, Rate: int(b.r.WholePath / 2), Connections: 4})
		return err
	})
	probing, end := context.WithCancel(ctx)
	group.Go(func() (err error) {
		fresh, err = b.probe(probing)
		return err
	})
	group.Go(func() (err error) {
		defer end()
		asked, err = b.run(ctx, Job{Seconds: seconds, Questions: b.r.RiskRate, Connections: 4 * partners})
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	b.r.RiskP50, b.r.RiskP99 = asked.P50, asked.P99
	b.r.RiskBeside = float64(events.Events) / events.Seconds
	b.r.FreshP50, b.r.FreshP99 = quantile(fresh, 0.5), quantile(fresh, 0.99)
	return nil
}

// probe appends an event of its own fifty times a second until ctx ends, and returns how long each took from when it was durable, as
// its sender would have been told, until it was through the engine.
func (b *bench) probe(ctx context.Context) (took []time.Duration, err error) {
	s := load.New(load.Config{Partners: partners, Accounts: b.accounts, Seed: 11})
	var w moat.BatchWriter
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return took, nil
		case <-tick.C:
		}
		e := s.Next()
		e.ID, e.Time = fmt.Sprintf("probe%d", len(took)), moat.TimeOf(time.Now())
		e.Received = e.Time
		w.Reset()
		w.Append(e)
		id := b.n.River.PartitionOf(e.Partner)
		seq, err := b.n.River.Append(ctx, id, w.Bytes())
		for start, at := time.Now(), uint64(0); err == nil; time.Sleep(time.Millisecond) {
			if at, err = b.n.Position(ctx, id); err == nil && at >= seq {
				took = append(took, time.Since(start))
				break
			}
		}
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
	}
}

func (b *bench) newEngine() (*engine.Engine, error) {
	return engine.New(engine.Config{Plan: b.plan, Seed: b.seed, Limits: wide(), Beside: func(f func()) { go f() }})
}

// wide are limits that let ten million entities in.
func wide() engine.Limits {
	l := engine.DefaultLimits()
	for _, k := range []moat.EntityKind{moat.Account, moat.Device, moat.IP} {
		l.Records[k], l.Quota[k] = 16<<20, 16<<20
	}
	l.Pairs, l.PairQuota, l.IDs = 128<<20, 128<<20, 1<<20
	return l
}
