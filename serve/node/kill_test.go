package node_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/foresee"
	"github.com/moat-platform/moat/river"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
	"github.com/moat-platform/moat/store/lake"
)

// killRounds is how often the process is killed.
const killRounds = 50

// victimEnv makes the test binary the process that is killed: its value is the data folder.
const victimEnv = "MOAT_TEST_VICTIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimEnv); dir != "" {
		if err := victim(dir); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// victim takes batches in as fast as it can, and says which were acknowledged. It takes snapshots
// and flushes much more often than a server, so that they are often interrupted.
func victim(dir string) error {
	ctx := context.Background()
	if limit, _ := strconv.ParseUint(os.Getenv(victimEnv+"_FILE_MAX"), 10, 64); limit > 0 {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
	}
	room, _ := strconv.ParseInt(os.Getenv(victimEnv+"_ROOM"), 10, 64)
	n, err := node.Open(ctx, node.Config{Dir: dir, River: river.Config{MaxBytes: room}, SnapshotEvery: 150 * time.Millisecond, FlushEvery: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	first, _ := strconv.Atoi(os.Getenv(victimEnv + "_FIRST"))
	fmt.Println("open")
	var out sync.Mutex
	var group sync.WaitGroup
	if os.Getenv(victimEnv+"_JUDGED") != "" {
		group.Go(func() { judgeAll(ctx, n, &out) })
	}
	for worker := range 4 {
		group.Go(func() {
			for i := first + worker; ; i += 4 {
				p, b := killBatch(i)
				_, err := n.River.Append(ctx, n.River.PartitionOf(p), b)
				for errors.Is(err, river.ErrFull) && room > 0 {
					_, err = n.River.Append(ctx, n.River.PartitionOf(p), b)
				}
				if err != nil {
					return
				}
				out.Lock()
				fmt.Println("acknowledged", i)
				out.Unlock()
			}
		})
	}
	group.Wait()
	return nil
}

// judgeAll judges cases as they open, each once, and puts the subject of some to sleep, and says so when it is done.
func judgeAll(ctx context.Context, n *node.Node, out *sync.Mutex) {
	for {
		cases, _, err := n.Book.Cases(ctx, moat.Everyone(), book.Query{Limit: 200})
		if err != nil {
			return
		}
		i := slices.IndexFunc(cases, func(c moat.Case) bool { return c.Verdict == moat.NoVerdict && c.Merged == "" })
		if i < 0 {
			if n.Drain(ctx) != nil { // until there are more
				return
			}
			continue
		}
		c := &cases[i]
		v := []moat.Verdict{moat.FalseAlarm, moat.FalseAlarm, moat.Confirmed, moat.Accepted}[c.Opened%4]
		if err := n.Judge(ctx, moat.Everyone(), c.ID, v, "mei"); err != nil {
			return
		}
		if c.Opened%3 == 0 {
			until := moat.TimeOf(time.Now()) + moat.Hour
			if _, err := n.Snooze(ctx, moat.Everyone(), book.Snooze{Partner: c.Partner, Entity: c.Entities[0], Until: until}, "an"); err != nil {
				return
			}
		}
		out.Lock()
		fmt.Println("judged", c.ID, v)
		out.Unlock()
	}
}

const perBatch = 20

// killBatch makes the i-th batch: people at work, and one who guesses passwords. One event in
// twenty repeats an earlier one.
func killBatch(i int) (partner string, batch []byte) {
	r := rand.New(rand.NewPCG(uint64(i), 1))
	start, _ := moat.ParseTime("2026-03-02T09:00:00Z")
	partner = fmt.Sprintf("p%d", i%7)
	var w moat.BatchWriter
	for k := range perBatch {
		n := i*perBatch + k
		at := start + moat.Time(n)*50*moat.Millisecond
		e := &moat.Event{Partner: partner, ID: fmt.Sprintf("e%d", n), Time: at, Received: at, Flags: moat.FlagHistory, Type: moat.OrderAccess,
			Actor: fmt.Sprintf("u%d", r.IntN(40)), IP: fmt.Sprintf("1.2.3.%d", r.IntN(40)), Operation: "view", Orders: []string{fmt.Sprintf("o%d", r.IntN(5000))}}
		switch {
		case k%3 == 0:
			e.Type, e.Orders, e.Operation, e.Actor, e.Outcome = moat.AuthLogin, nil, "", fmt.Sprintf("v%d", n/400), moat.Failure
		case k == 19 && i >= 7:
			e.ID = fmt.Sprintf("e%d", (i-7)*perBatch+1)
		}
		e.MarkAll()
		w.Append(e)
	}
	return partner, slices.Clone(w.Bytes())
}

// TestKill kills the process at random moments under load. Afterwards every acknowledged event is in
// the lake, none twice, and the book says what an undisturbed engine finds in the same events.
func TestKill(t *testing.T) {
	killMany(t, killRounds, func(int, string) {})
}

// TestKillWithoutState is TestKill for a process whose snapshots are lost, too, now and then: what its engines knew is built again
// from the lake, which may be ahead of what was sent to other partitions.
func TestKillWithoutState(t *testing.T) {
	killMany(t, killRounds/4, func(round int, dir string) {
		if round%4 != 3 {
			return
		}
		for _, f := range glob(t, dir, "*.snap") {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestKillFullRiver is TestKill for a process whose river is full most of the time, so that what its partitions have to tell each other waits.
func TestKillFullRiver(t *testing.T) {
	t.Setenv(victimEnv+"_ROOM", "100000")
	killMany(t, killRounds/4, func(int, string) {})
}

// TestKillWhileJudged kills the process while cases are judged. Every verdict that was taken is kept and was learned, and what is made
// again, from the lake alone, learns it at the same place: it ends in the same state to the byte.
func TestKillWhileJudged(t *testing.T) {
	t.Setenv(victimEnv+"_JUDGED", "1")
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 4))
	judged, next := map[string]moat.Verdict{}, 0
	for range killRounds / 4 {
		next = killed(t, dir, next, time.Duration(100+r.IntN(300))*time.Millisecond, func(line string) {
			var id, v string
			if _, err := fmt.Sscanf(line, "judged %s %s", &id, &v); err == nil {
				judged[id] = moat.Verdict(v)
			}
		})
	}
	n := open(t, dir)
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id, v := range judged {
		if c, _, err := n.Book.Case(t.Context(), moat.Everyone(), id); err != nil || c.Verdict != v {
			t.Errorf("case %s was judged %s, the book says %q, %v", id, v, c.Verdict, err)
		}
	}
	want, err := n.Book.Learned(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, _ := n.Verdicts(moat.Everyone())
	if !maps.Equal(got, want.Tallies(moat.Everyone())) || len(got) == 0 {
		t.Errorf("learned is %v, said was %v", got, want.Tallies(moat.Everyone()))
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	state := newest(t, dir)
	if again := replay(t, node.ReplayConfig{Dir: dir}); again.Total.New+again.Total.Gone > 0 || again.Total.Same == 0 {
		t.Errorf("a replay finds %+v", again.Total)
	}
	for _, f := range glob(t, dir, "*.snap") {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	n = open(t, dir)
	if err := errors.Join(n.Drain(t.Context()), n.Close()); err != nil {
		t.Fatal(err)
	}
	for part, b := range newest(t, dir) {
		if !bytes.Equal(state[part], b) {
			t.Errorf("partition %s ends differently", part)
		}
	}
	if len(judged) < 5 {
		t.Errorf("only %d verdicts: the test shows little", len(judged))
	}
	t.Logf("%d verdicts", len(judged))
}

func killMany(t *testing.T, rounds int, between func(round int, dir string)) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 3))
	acknowledged := map[int]bool{}
	next := 0
	for i := range rounds {
		next = killOnce(t, dir, next, time.Duration(r.IntN(250))*time.Millisecond, acknowledged)
		between(i, dir)
	}
	n := open(t, dir)
	defer n.Close()
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range mustStats(t, n).Partitions {
		if s.Warning != "" || s.GivenUp > 0 {
			t.Errorf("warning: %s, %d sightings given up", s.Warning, s.GivenUp)
		}
	}
	events := checkKept(t, n, acknowledged)
	want := undisturbed(t, n, events)
	got := map[string]bool{}
	for f, err := range n.Book.AllFindings(t.Context(), moat.Everyone(), book.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		got[f.ID] = true
		if !want[f.ID] {
			t.Errorf("finding %s (%s %s) is in the book but not in an undisturbed run", f.ID, f.Detector, f.Entity)
		}
	}
	for id := range want {
		if !got[id] {
			t.Errorf("finding %s is missing from the book", id)
		}
	}
	if len(want) < 5 {
		t.Errorf("only %d findings: the test shows little", len(want))
	}
	t.Logf("%d batches acknowledged, %d events in the lake, %d findings", len(acknowledged), count(events), len(want))
}

// killOnce lets the victim work for a while, kills it, and returns the number of a batch that was never sent.
func killOnce(t *testing.T, dir string, first int, after time.Duration, acknowledged map[int]bool) int {
	t.Helper()
	return killed(t, dir, first, after, func(line string) {
		var i int
		if _, err := fmt.Sscanf(line, "acknowledged %d", &i); err == nil {
			acknowledged[i] = true
		}
	})
}

// killed is killOnce for those who hear what the victim says.
func killed(t *testing.T, dir string, first int, after time.Duration, hear func(line string)) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"="+dir, fmt.Sprintf("%s_FIRST=%d", victimEnv, first))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	open, err := lines.ReadString('\n')
	if err != nil || open != "open\n" {
		cmd.Process.Kill()
		t.Fatalf("the process said %q, %v", open, err)
	}
	timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
	defer timer.Stop()
	last := first
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break
		}
		line = strings.TrimSpace(line)
		hear(line)
		var i int
		if _, err := fmt.Sscanf(line, "acknowledged %d", &i); err == nil {
			last = max(last, i+1)
		}
	}
	cmd.Wait()
	return last + 8 // what was on its way has these numbers at most
}

// undisturbed folds the events, in the order in which they were kept, through new engines. What they would send each other must be
// what is in the lake: no sighting and no warning is lost at a kill, or there twice.
func undisturbed(t *testing.T, n *node.Node, events map[int][]*moat.Event) map[string]bool {
	t.Helper()
	found, sent, kept := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, list := range events {
		across := foresee.New(foresee.Config{Plan: n.Plan, Seed: n.Seed, Key: node.AcrossKey(n)})
		e, err := engine.New(engine.Config{Plan: n.Plan, Seed: n.Seed, Net: func(ip string) rule.Net { return rule.NetOf(n.Indicators.Table(), ip) }, After: across.See})
		if err != nil {
			t.Fatal(err)
		}
		for chunk := range slices.Chunk(list, 333) {
			var w moat.BatchWriter
			for _, ev := range chunk {
				if w.Append(ev); ev.Type == moat.Sighting && ev.Kind != "upto" { // how far a partition is depends on when it was asked
					kept[ev.Partner+" "+ev.ID] = true
				}
			}
			r, err := e.Step(w.Bytes(), nil)
			if err != nil {
				t.Fatal(err)
			}
			out, err := across.Step()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range append(r.Findings, out.Given...) {
				found[f.ID] = true
			}
			for _, ev := range out.Warnings {
				sent[ev.Partner+" "+ev.ID] = true
			}
			if out.Sightings != nil {
				var rd moat.BatchReader
				var ev moat.Event
				for err := rd.Open(out.Sightings); err == nil && rd.Next(&ev); {
					sent[ev.Partner+" "+ev.ID] = true
				}
			}
		}
	}
	if !maps.Equal(sent, kept) {
		t.Errorf("%d sightings and warnings are in the lake, an undisturbed run makes %d", len(kept), len(sent))
	}
	return found
}

func mustStats(t *testing.T, n *node.Node) node.Stats {
	t.Helper()
	s, err := n.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func count(events map[int][]*moat.Event) (n int) {
	for _, list := range events {
		n += len(list)
	}
	return n
}

// checkKept checks that every acknowledged event is in the lake, and none twice, and returns the events by
// partition in the order in which they are kept.
func checkKept(t *testing.T, n *node.Node, acknowledged map[int]bool) map[int][]*moat.Event {
	t.Helper()
	seen, events := map[string]int{}, map[int][]*moat.Event{}
	err := n.Lake.Scan(t.Context(), lake.Filter{Tenant: moat.Everyone()}, func(at lake.Position, e *moat.Event) error {
		seen[e.Partner+" "+e.ID]++
		events[at.Partition] = append(events[at.Partition], e.Clone())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range acknowledged {
		p, b := killBatch(i)
		var rd moat.BatchReader
		var e moat.Event
		if err := rd.Open(b); err != nil {
			t.Fatal(err)
		}
		for rd.Next(&e) {
			if seen[p+" "+e.ID] == 0 {
				t.Fatalf("event %s of batch %d was acknowledged and is not in the lake", e.ID, i)
			}
		}
	}
	for id, n := range seen {
		if n > 1 {
			t.Fatalf("event %s is in the lake %d times", id, n)
		}
	}
	return events
}
