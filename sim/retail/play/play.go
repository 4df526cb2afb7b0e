// Package play lets an ecosystem of package retail live against a real node: partners sign
// batches of events and send them over HTTP as the simulated clock goes, and what was found is
// judged at the end.
//
// Use [Run] to show the whole path at work, and to measure from outside what it finds.
//
// It will not use a folder that holds anything, or a network beyond this machine. All clocks
// of the server but those of the machine's own housekeeping show the simulated time.
package play

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/serve/auth"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/sim/retail"
	"github.com/moat-platform/moat/sim/truth"
	"github.com/moat-platform/moat/store/book"
)

// ErrInUse says that the folder holds something: a play and real data must not mix.
var ErrInUse = errors.New("the folder is not empty")

// Config says what to play and where.
type Config struct {
	Dir string // data folder, empty or missing
	// Secret, if not "", is what the master key is made of, for a folder that is thrown away: what is counted in little memory is
	// estimated by hashes under that key, so that two plays with different ones differ in what is near a threshold.
	Secret string
	World  *retail.World
	// Speed is how many simulated seconds pass in one; 0 = as fast as events are taken.
	Speed  float64
	Logger *slog.Logger // nil = silent
	// Shown, if not nil, is called several times a second from one goroutine.
	Shown func(State)
}

// State is how far a play is.
type State struct {
	Now       moat.Time // simulated
	Day, Days int       // whole days that passed, of so many
	Events    int64     // acknowledged
	PerSecond float64
	Open      [moat.P4 + 1]int // cases by rank
}

// Result is what came of a play.
type Result struct {
	Verdict   truth.Verdict
	Decisions map[string][]moat.Decision // by case
	Events    int64
	Findings  int
	StaffDays int
	Took      time.Duration
}

// Pace of a play.
const (
	showEvery = 200 * time.Millisecond
	tick      = 100 * time.Millisecond // real time between two batches of a partner
	fastStep  = 2 * moat.Hour          // simulated time between them when there is no pace to keep
	keep      = 400 * 24 * time.Hour   // of events, so that none expires while the play is looked at
	maxTries  = 60
)

// player sends the events of a world to a node.
type player struct {
	cfg    Config
	node   *node.Node
	http   *http.Client
	url    string
	keys   map[string]string // id of its key, by partner
	now    atomic.Int64      // simulated
	events atomic.Int64
	begun  time.Time
}

// Run plays the world to its end. When it returns the folder is closed and holds all that was found.
func Run(ctx context.Context, cfg Config) (r Result, err error) {
	if list, err := os.ReadDir(cfg.Dir); err == nil && len(list) > 0 {
		return r, fmt.Errorf("cannot play in %s: %w", cfg.Dir, ErrInUse)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("cannot play in %s: %w", cfg.Dir, err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Secret != "" {
		err := os.MkdirAll(cfg.Dir, 0o700)
		if err == nil {
			err = book.MakeMaster(cfg.Dir, sha256.Sum256([]byte(cfg.Secret)))
		}
		if err != nil {
			return r, fmt.Errorf("cannot play in %s: %w", cfg.Dir, err)
		}
	}
	p := &player{cfg: cfg, keys: map[string]string{}, begun: time.Now(), http: &http.Client{Timeout: time.Minute}}
	p.now.Store(int64(cfg.World.Start()))
	if p.node, err = node.Open(ctx, node.Config{Dir: cfg.Dir, Retention: keep, Logger: cfg.Logger}); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.node.Close()) }()
	if err := p.enrol(ctx); err != nil {
		return r, err
	}
	stop, err := p.listen(ctx)
	if err != nil {
		return r, err
	}
	err = p.play(ctx)
	if err = errors.Join(err, stop()); err != nil {
		return r, err
	}
	if err := p.node.Drain(ctx); err != nil {
		return r, err
	}
	r.Took = time.Since(p.begun)
	return r, p.judge(ctx, &r)
}

// enrol makes the partners and a key for each.
func (p *player) enrol(ctx context.Context) error {
	for _, c := range p.cfg.World.Companies() {
		if _, err := p.node.Book.CreatePartner(ctx, moat.Everyone(), book.Partner{ID: c.ID, Name: c.Name}, "demo"); err != nil {
			return err
		}
		k, _, err := p.node.Book.CreateKey(ctx, moat.Everyone(), p.node.Master, book.Key{Partner: c.ID, Name: "demo"}, "demo")
		if err != nil {
			return err
		}
		p.keys[c.ID] = k.ID
	}
	return nil
}

func (p *player) clock() time.Time { return moat.Time(p.now.Load()).Std() }

// listen serves the node on this machine; stop ends that.
func (p *player) listen(ctx context.Context) (stop func() error, err error) {
	a, err := api.New(api.Config{Node: p.node, Logger: p.cfg.Logger, Now: p.clock})
	if err != nil {
		return nil, err
	}
	var l net.Listener
	if l, err = api.Listen(ctx, "127.0.0.1:0"); err != nil {
		return nil, err
	}
	p.url = "http://" + l.Addr().String() + "/v1/events"
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, a, p.cfg.Logger) }()
	return func() error { cancel(); return <-done }, nil
}

// play sends day after day, at its pace.
func (p *player) play(ctx context.Context) error {
	shown, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	if p.cfg.Shown != nil {
		watching.Go(func() { p.watch(shown) })
	}
	defer watching.Wait()
	defer stop()
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	begun, w := time.Now(), p.cfg.World
	for {
		day, ok := w.Next()
		if !ok {
			return nil
		}
		for len(day) > 0 {
			now := moat.Time(p.now.Load()) + fastStep
			if p.cfg.Speed > 0 {
				select {
				case <-ticks.C:
				case <-ctx.Done():
					return ctx.Err()
				}
				now = w.Start() + moat.Time(time.Since(begun).Seconds()*p.cfg.Speed*float64(moat.Second))
			}
			n := 0
			for n < len(day) && day[n].Time <= now {
				n++
			}
			p.now.Store(int64(now))
			if err := p.send(ctx, day[:n]); err != nil {
				return err
			}
			day = day[n:]
		}
	}
}

// send sends each partner's part of events, all partners at once, and returns when they are durable.
func (p *player) send(ctx context.Context, events []*moat.Event) error {
	bodies, counts := map[string][]byte{}, map[string]int{}
	for _, e := range events {
		partner := e.Partner
		e.Partner = "" // the key says whose it is
		bodies[partner] = append(moat.AppendJSON(bodies[partner], e), '\n')
		counts[partner]++
	}
	errs := make(chan error, len(bodies))
	for partner, body := range bodies {
		go func() { errs <- p.post(ctx, partner, body, counts[partner]) }()
	}
	var all []error
	for range bodies {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// post sends one batch and tries again when the server says that it is full.
func (p *player) post(ctx context.Context, partner string, body []byte, n int) error {
	for try := 1; ; try++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		id := p.keys[partner]
		// The same batch signed twice at one time would look like a replay.
		auth.Sign(req, id, book.Secret(p.node.Master, id), body, p.clock().Add(time.Duration(try)*time.Microsecond))
		res, err := p.http.Do(req)
		if err != nil {
			return fmt.Errorf("cannot send events of %s: %w", partner, err)
		}
		answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		res.Body.Close()
		switch {
		case err != nil:
			return fmt.Errorf("cannot send events of %s: %w", partner, err)
		case res.StatusCode == http.StatusAccepted:
			if want := fmt.Appendf(nil, `{"accepted":%d,`, n); !bytes.HasPrefix(answer, want) {
				return fmt.Errorf("cannot send events of %s: of %d not all were taken: %.300s", partner, n, answer)
			}
			p.events.Add(int64(n))
			return nil
		case try == maxTries || res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable:
			return fmt.Errorf("cannot send events of %s: %s: %.300s", partner, res.Status, answer)
		}
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		select {
		case <-time.After(time.Duration(max(seconds, 1)) * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch shows how far it is until ctx ends.
func (p *player) watch(ctx context.Context) {
	every := time.NewTicker(showEvery)
	defer every.Stop()
	for ctx.Err() == nil {
		s := State{Now: moat.Time(p.now.Load()), Days: p.cfg.World.Days(), Events: p.events.Load()}
		s.Day = min(int((s.Now-p.cfg.World.Start())/moat.Day), s.Days)
		s.PerSecond = float64(s.Events) / math.Max(time.Since(p.begun).Seconds(), 0.001)
		cases, _, err := p.node.Book.Cases(ctx, moat.Everyone(), book.Query{State: moat.CaseOpen, Limit: 1000})
		if err != nil {
			return
		}
		for i := range cases {
			if cases[i].Merged == "" {
				s.Open[cases[i].Rank]++
			}
		}
		p.cfg.Shown(s)
		select {
		case <-every.C:
		case <-ctx.Done():
		}
	}
}

// judge compares what the book says with the truth.
func (p *player) judge(ctx context.Context, r *Result) error {
	var cases []moat.Case
	for c, err := range p.node.Book.AllCases(ctx, moat.Everyone(), book.Query{}) {
		if err != nil {
			return err
		}
		cases = append(cases, c)
	}
	r.Decisions = map[string][]moat.Decision{}
	for d, err := range p.node.Book.AllDecisions(ctx, moat.Everyone(), book.Query{}) {
		if err != nil {
			return err
		}
		r.Decisions[d.Case] = append(r.Decisions[d.Case], d)
	}
	for _, err := range p.node.Book.AllFindings(ctx, moat.Everyone(), book.Query{}) {
		if err != nil {
			return err
		}
		r.Findings++
	}
	r.Events, r.StaffDays = p.events.Load(), p.cfg.World.Staff()
	r.Verdict = truth.Judge(p.cfg.World.Thefts(), cases, nil, nil)
	return nil
}
