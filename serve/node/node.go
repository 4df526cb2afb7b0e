// Package node puts the rooms of one machine together: the river, an engine per partition,
// the risks and cases, and what is kept of it all.
//
// Use [Open] on a data folder; then append batches to its River, ask questions with
// [Node.Ask], and read what was found through Book, Ledger and Diary. One process
// at a time can have a data folder open.
//
// It will not listen on a network, authenticate anybody or parse what partners send.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/indicator"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/dispose/decision"
	"github.com/moat-platform/moat/dispose/playbook"
	"github.com/moat-platform/moat/foresee"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/locate/index"
	"github.com/moat-platform/moat/locate/ledger"
	"github.com/moat-platform/moat/locate/scope"
	"github.com/moat-platform/moat/locate/story"
	"github.com/moat-platform/moat/river"
	"github.com/moat-platform/moat/store/book"
	"github.com/moat-platform/moat/store/lake"
)

// ErrClosed: the node is closed, or about to be.
var ErrClosed = errors.New("node is closed")

// Config says where a node keeps its data and how. Only Dir is needed.
type Config struct {
	Dir    string
	River  river.Config // its Dir is Dir/river unless it has a URL
	Book   string       // DSN of the book; "" = Dir/book.db
	Limits engine.Limits
	// SnapshotEvery and FlushEvery bound how much is done again after a crash.
	// 0 = 2 minutes and 10 seconds. SnapshotEvery < 0 = no snapshots, not even at the end, for a node that is thrown away.
	SnapshotEvery, FlushEvery time.Duration
	LakeMaxBytes              int64         // 0 = a share of the disk
	Retention                 time.Duration // of events and touches; 0 = events as long as LakeMaxBytes allows, touches for ever
	Logger                    *slog.Logger  // nil = silent
}

// Node is an open data folder at work. Its methods are safe for concurrent use.
type Node struct {
	River      *river.River
	Book       *book.Book
	Master     book.MasterKey
	Lake       *lake.Lake
	Index      *index.Index
	Ledger     *ledger.Ledger // of the index
	Diary      *diary.Diary   // of the index
	Plan       *rule.Plan
	Seed       rule.HashSeed
	Odds       risk.Calibration // what findings are worth
	Indicators *indicator.Holder
	Desk       *decision.Desk
	Scopes     *scope.Finder
	Stories    *story.Teller

	cfg    Config
	log    *slog.Logger
	play   *playbook.Playbook
	titles map[string]string // of detectors, by id
	parts  []*partition
	stop   context.CancelFunc
	group  sync.WaitGroup
	notes  notes
	school school

	canaries canaries

	inquiring sync.Mutex // held while a question is answered
	answered  int64      // number of the last question that was

	closing chan struct{} // closed when nothing that fails may be tried again
	between atomic.Pointer[func()]
}

var errBehind = errors.New("the store does not have all events: see the warning before")

// Open opens or makes the data folder of cfg and starts to work on what its river holds.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	n := &Node{cfg: cfg, log: cfg.Logger, closing: make(chan struct{})}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	if n.cfg.SnapshotEvery == 0 {
		n.cfg.SnapshotEvery = 2 * time.Minute
	}
	if n.cfg.FlushEvery == 0 {
		n.cfg.FlushEvery = 10 * time.Second
	}
	if err := n.open(ctx); err != nil {
		n.release()
		return nil, err
	}
	return n, nil
}

func (n *Node) open(ctx context.Context) (err error) {
	dir := n.cfg.Dir
	for _, sub := range []string{"state", "detectors", "indicators"} { // the latter are for people to put files into
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return fmt.Errorf("cannot make data folder: %w", err)
		}
	}
	// The river first: its lock says whether the folder is in use.
	rc := n.cfg.River
	rc.Logger = n.log
	if rc.URL == "" {
		rc.Dir = filepath.Join(dir, "river")
	}
	if n.River, err = river.Open(ctx, rc); err != nil {
		return err
	}
	if err := checkMaster(dir); err != nil {
		return err
	}
	if n.Master, err = book.Master(dir); err != nil {
		return err
	}
	n.Seed = hashSeed(n.Master)
	if n.Indicators, err = OpenIndicators(dir, n.log); err != nil {
		return err
	}
	if n.Plan, err = LoadPlan(dir, n.Seed); err != nil {
		return err
	}
	n.titles = make(map[string]string, len(n.Plan.Detectors))
	for _, d := range n.Plan.Detectors {
		n.titles[d.ID] = d.Title
	}
	if n.play, err = loadPlaybook(filepath.Join(dir, "playbook.yaml")); err != nil {
		return err
	}
	if n.Odds, err = Calibration(dir); err != nil {
		return err
	}
	if n.Book, err = book.Open(ctx, n.dsn(), n.log); err != nil {
		return err
	}
	if n.Desk, err = decision.Open(ctx, n.Book, moat.TimeOf(time.Now()), n.log); err != nil {
		return err
	}
	n.school.learned = risk.NewLearned()
	if n.school.budget, err = loadBudget(dir); err != nil {
		return err
	}
	if err = n.study(ctx); err != nil {
		return err
	}
	if err = n.openStores(dir); err != nil {
		return err
	}
	if err = n.openCanaries(ctx); err != nil {
		return err
	}
	for i := range n.River.Partitions() {
		p, err := n.openPartition(ctx, i)
		if err != nil {
			return fmt.Errorf("cannot open partition %d: %w", i, err)
		}
		n.parts = append(n.parts, p)
	}
	ctx, n.stop = context.WithCancel(context.WithoutCancel(ctx))
	n.notes.open(n)
	for _, p := range n.parts {
		n.group.Go(func() { p.run(ctx) })
	}
	n.group.Go(func() { n.keepHouse(ctx) })
	n.group.Go(func() { n.watchTides(ctx) })
	n.group.Go(func() { n.inquire(ctx) })
	return nil
}

func (n *Node) dsn() string {
	if n.cfg.Book != "" {
		return n.cfg.Book
	}
	return filepath.Join(n.cfg.Dir, "book.db")
}

func (n *Node) openStores(dir string) (err error) {
	if n.Lake, err = lake.Open(lake.Config{Dir: filepath.Join(dir, "lake"), MaxBytes: n.cfg.LakeMaxBytes, Retention: n.cfg.Retention, Logger: n.log, Yield: n.breathe}); err != nil {
		return err
	}
	if n.Index, err = index.Open(index.Config{Dir: filepath.Join(dir, indexFolder), Key: hashKey(n.Master, "index"), Retention: n.cfg.Retention, Logger: n.log, Yield: n.breathe}); err != nil {
		return err
	}
	n.Ledger, n.Diary = n.Index.Ledger, n.Index.Diary
	if old := outdated(dir); len(old) > 0 {
		n.log.Warn("folders are of an older version: the index is made out of the lake instead", "folders", old, "hint", "delete them")
	}
	n.Stories = story.New(story.Config{Diary: n.Diary, Scan: n.Lake.Scan, Country: countries(n.Indicators), Logger: n.log})
	n.Scopes, err = scopes(dir, n.Book, n.Index, n.Indicators, n.canaries.index.Load)
	return err
}

// IngestKey returns the key of the hashes that ingest makes for this installation: of
// phone numbers and e-mail addresses, and of the ids of events that come without.
func (n *Node) IngestKey() []byte { return []byte(book.Secret(n.Master, "ingest")) }

// Risk returns what the findings so far add up to for an entity of a partner at a time. It gives
// [book.ErrNotFound] if the tenant does not see the partner.
func (n *Node) Risk(ctx context.Context, t moat.Tenant, partner string, e moat.Entity, at moat.Time) (moat.Risk, error) {
	if !t.Sees(partner) {
		return moat.Risk{}, fmt.Errorf("cannot read risk: %w", book.ErrNotFound)
	}
	p := n.parts[n.River.PartitionOf(partner)]
	var r moat.Risk
	err := p.do(ctx, func() { r = p.risks.Risk(partner, e, at) })
	return r, err
}

// net tells what is known of an address now. Indicators that are refreshed while events flow make
// findings differ from those of a replay under newer ones, as newer rules do.
func (n *Node) net(ip string) rule.Net { return rule.NetOf(n.Indicators.Table(), ip) }

// Close stops the work, makes everything durable and closes the folder.
func (n *Node) Close() error {
	n.notes.close()
	close(n.closing)
	n.stop()
	n.group.Wait()
	var errs []error
	for _, p := range n.parts {
		errs = append(errs, p.err)
	}
	return errors.Join(append(errs, n.release())...)
}

func (n *Node) release() error {
	var errs []error
	if n.Index != nil {
		errs = append(errs, n.Index.Close())
	}
	if n.Lake != nil {
		errs = append(errs, n.Lake.Close())
	}
	if n.Book != nil {
		errs = append(errs, n.Book.Close())
	}
	if n.River != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		errs = append(errs, n.River.Close(ctx))
	}
	return errors.Join(errs...)
}

// Drain returns when all that the river held at the call, and the events of the questions answered before
// it, have been through the engine and are in the store, durably.
func (n *Node) Drain(ctx context.Context) error {
	n.notes.drain(ctx)
	for more := true; more; { // what one partition tells another goes through the river
		more = false
		upTo := make([]uint64, len(n.parts))
		for i, p := range n.parts {
			var err error
			if upTo[i], err = p.drain(ctx); err != nil {
				return err
			}
		}
		for i, p := range n.parts {
			_, last, err := n.River.Bounds(ctx, p.id)
			if err != nil {
				return err
			}
			more = more || last > upTo[i]
		}
		if !more {
			var err error
			if more, err = n.settle(ctx); err != nil {
				return err
			}
			if !more {
				if more, err = n.settleComplaints(ctx); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Position returns the last message of a partition's log that is through its engine, and whose findings are on their way into
// the book, which takes a twentieth of a second more.
func (n *Node) Position(ctx context.Context, partition int) (seq uint64, err error) {
	p := n.parts[partition]
	err = p.do(ctx, func() { seq = p.handed })
	return seq, err
}

// Stats is what a node did since it was opened, and what it holds.
type Stats struct {
	Partitions []PartitionStats `json:"partitions"`
	Detectors  int              `json:"detectors"`
	Features   int              `json:"features"`
}

// Heard returns the partners that events were taken in of.
func (n *Node) Heard(ctx context.Context) (map[string]bool, error) {
	heard := map[string]bool{}
	for _, p := range n.parts {
		var names []string
		if err := p.do(ctx, func() { names = p.engine.Partners() }); err != nil {
			return nil, err
		}
		for _, name := range names {
			heard[name] = true
		}
	}
	delete(heard, foresee.Everyone)
	maps.DeleteFunc(heard, func(name string, _ bool) bool { _, veiled := moat.Unveiled(name); return veiled })
	return heard, nil
}

// PartitionStats is the part of one partition.
type PartitionStats struct {
	Engine   engine.Stats   `json:"engine"`
	Entities map[string]int `json:"entities"`
	Pairs    int            `json:"pairs"`
	Position uint64         `json:"position"` // of the engine in the log
	Last     uint64         `json:"last"`     // of the log
	Bytes    uint64         `json:"bytes"`    // of the log
	GivenUp  uint64         `json:"given_up"` // sightings, warnings and uses of canaries that were too many to wait for room in the log
	Warning  string         `json:"warning,omitempty"`
}

// Stats asks every partition. It waits at most until ctx is done.
func (n *Node) Stats(ctx context.Context) (Stats, error) {
	s := Stats{Detectors: len(n.Plan.Detectors), Features: n.Plan.Features}
	for i, p := range n.parts {
		ps, err := p.stats(ctx)
		if err != nil {
			return s, err
		}
		log, err := n.River.Stats(ctx, i)
		if err != nil {
			return s, err
		}
		ps.Last, ps.Bytes = log.Last, log.Bytes
		s.Partitions = append(s.Partitions, ps)
	}
	return s, nil
}

// checkMaster refuses a folder that was at work and lost its master key: with a new one its API keys would be
// void, and what was kept under the old one could not be found again.
func checkMaster(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "master.key")); !errors.Is(err, os.ErrNotExist) {
		return nil // Master says what is wrong with it, if anything
	}
	for _, kept := range []string{"state/*.snap", "lake/events/*/*.parquet", "book.db"} {
		if found, _ := filepath.Glob(filepath.Join(dir, kept)); len(found) > 0 {
			return fmt.Errorf("%s has data but no master.key: put the key back from its backup, or choose another folder", dir)
		}
	}
	return nil
}

// expire deletes what is older than the retention. A lake that holds nothing newer is somebody's history, loaded to
// be judged: it stays.
func (n *Node) expire(now time.Time) error {
	newest := moat.Time(0)
	for _, f := range n.Lake.Files() {
		newest = max(newest, f.To)
	}
	if now.Sub(newest.Std()) > 30*24*time.Hour {
		return nil
	}
	return n.Lake.Expire(now)
}

// keepHouse merges, expires and refreshes in the background.
func (n *Node) keepHouse(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for name, err := range map[string]error{"compact lake": n.Lake.Compact(ctx), "expire lake": n.expire(now)} {
				if err != nil && ctx.Err() == nil {
					n.log.Warn("housekeeping failed", "work", name, "error", err)
				}
			}
			n.refreshCanaries(ctx)
			changed, err := n.Indicators.Refresh()
			if err != nil {
				n.log.Warn("indicators not refreshed", "error", err)
			}
			for _, p := range n.parts {
				if changed && p.do(ctx, p.engine.NetChanged) != nil {
					break // closing
				}
			}
			if err := n.learn(ctx); err != nil && ctx.Err() == nil {
				n.log.Warn("what was said beside this process is not learned", "error", err)
			}
			if _, err := n.Book.Prune(ctx, moat.TimeOf(now.Add(-365*24*time.Hour))); err != nil && ctx.Err() == nil {
				n.log.Warn("book not pruned", "error", err)
			}
		}
	}
}
