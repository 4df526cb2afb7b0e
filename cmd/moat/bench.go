package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/moat-platform/moat/sim/bench"
)

// benchCmd measures this machine.
type benchCmd struct {
	Short bool   `help:"End within 40 s: shorter runs, 200,000 accounts instead of a million, no ten million devices."`
	Dir   string `placeholder:"DIR" help:"Where to keep the data of the run (a temporary folder)."`
}

// Help shows how to use it.
func (benchCmd) Help() string {
	return "Starts a server of its own on the loopback address, and a client process beside it. It measures the whole path " +
		"from HTTP to the lake, its stages, the engine alone, the synchronous question, and the memory of an entity, with all " +
		"shipped detectors and a million accounts in state, 200,000 in a short run. It ends by itself.\n\n" +
		"Machines differ, and a shared one differs from itself a minute ago. So it also measures work that is not Moat's, before and after: how long encoding/json " +
		"takes for an event, and memory for a number that lies anywhere. Figures of two runs can be compared where these are alike.\n\n" +
		"Of each stage by itself it tells the processor time of an event (cpu_us_per_event in JSON): decode reads and checks a request, river makes it durable and reads it again, " +
		"engine judges, store decodes it once for the lake and the index and writes both. server and client are of the whole path.\n\n" +
		"Who asks questions runs on the same processors, before all others if the user may have it so (root may): its own wait for a processor is not " +
		"the server's, and what it takes of the processors the server lacks. Without that the times of questions are longer.\n\n" +
		examples("moat bench --short", "moat bench --json > bench.json")
}

// Run measures and prints.
func (c *benchCmd) Run(a *app) error {
	tune()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find this program: %w", err)
	}
	r, err := bench.Run(a.ctx, bench.Options{
		Short: c.Short, Dir: c.Dir, Client: []string{self, "bench-client"}, Logger: newLogger(a.Log, slog.LevelError),
		Progress: func(what string) { a.err.line(time.Now().Format(time.TimeOnly), what+" …") },
	})
	if err != nil {
		return err
	}
	if a.JSON {
		return json.NewEncoder(a.stdout).Encode(r)
	}
	c.print(a.out, r)
	return nil
}

func (c *benchCmd) print(o *screen, r *bench.Report) {
	o.linef("%s, %d cores, %.0f GiB, %s: %s (%.0f s)", r.Machine, r.Cores, r.MemoryGiB, r.Go, r.Command, r.Seconds)
	o.linef("how fast it was: encoding/json decoded an event in %.1f µs, a number anywhere in memory came after %.0f ns", r.DecodeNS/1000, r.ReadNS)
	o.line()
	o.linef("whole path            %9.0f events/s   %.2f µs CPU an event here, %.2f in the client", r.WholePath, r.CPU["server"], r.CPU["client"])
	o.linef("acknowledged after    %9.1f ms p50     %.1f ms p99, a batch of 512", r.AckP50, r.AckP99)
	o.linef("engine alone          %9.0f events/s   on one core, %d detectors on %d features", r.Engine, r.Detectors, r.Features)
	o.linef("question              %9.2f ms p50     %.2f ms p99 at %d/s beside %.0f events/s", r.RiskP50, r.RiskP99, r.RiskRate, r.RiskBeside)
	o.linef("fresh                 %9.1f ms p50     %.1f ms p99 beside these, from acknowledged to looked at", r.FreshP50, r.FreshP99)
	o.linef("in state              %9d accounts   %d devices, %.0f MiB resident", r.Accounts, r.Devices, r.LoadedRSS)
	o.linef("memory                %9.0f B an account  %.0f B a device, %.0f B a pair", r.PerAccount, r.PerDevice, r.PerPair)
	o.linef("empty server          %9.0f ms to start  %.0f MiB resident", r.StartMS, r.StartRSS)
	for _, s := range r.Scale {
		o.linef("at %8d accounts  %9.2f GiB          %.0f B an account, %.0f B a device", s.Accounts, s.RSSGiB, s.PerAccount, s.PerDevice)
	}
	o.line()
	o.line("µs of CPU an event, each stage by itself:")
	for _, stage := range []string{"decode", "river", "engine", "store"} {
		o.linef("  %-8s %6.2f", stage, r.CPU[stage])
	}
}

// benchClientCmd is the client process of bench.
type benchClientCmd struct{}

// Run does the job that it reads from its standard input.
func (benchClientCmd) Run(a *app) error { return bench.RunClient(a.ctx, os.Stdin, os.Stdout) }
