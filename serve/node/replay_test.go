package node_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// history appends days of work at several partners, with thieves among the staff, in batches
// whose events are out of order now and then and sometimes come twice.
func history(t testing.TB, n *node.Node) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	start, _ := moat.ParseTime("2026-03-02T08:00:00Z")
	batches := make([]moat.BatchWriter, n.River.Partitions())
	appendAll := func() {
		for i := range batches {
			if batches[i].Len() > 0 {
				if _, err := n.River.Append(t.Context(), i, batches[i].Bytes()); err != nil {
					t.Fatal(err)
				}
				batches[i].Reset()
			}
		}
	}
	for i := range 12_000 {
		e := &moat.Event{
			Partner: fmt.Sprintf("partner%d", r.IntN(5)), ID: fmt.Sprintf("e%d", i), Type: moat.OrderAccess,
			Time:  start + moat.Time(i)*20*moat.Second - moat.Time(r.IntN(90))*moat.Second,
			Actor: fmt.Sprintf("clerk%d", r.IntN(20)), Role: "clerk", App: "erp", Operation: "view", Flags: moat.FlagHistory,
			Orders: []string{fmt.Sprint("o", r.IntN(1_000_000))}, Count: 1, Fields: []string{"phone", "address"},
		}
		if i > 4000 && i%3 == 0 {
			e.Partner, e.Actor = "partner2", []string{"clerk3", "clerk7"}[i/3%2]
		}
		e.IP = "203.0.113." + strings.TrimPrefix(e.Actor, "clerk")
		switch {
		case e.Actor == "clerk3" && i > 6000: // guesses passwords and then takes all
			if e.Type, e.Orders, e.Fields, e.Count = moat.AuthLogin, nil, nil, 0; i < 9000 {
				e.Outcome = moat.Failure
			} else {
				e.Type, e.Operation, e.Count = moat.OrderAccess, "export", 5000
			}
		case e.Actor == "clerk7" && i > 4000: // walks the ids
			e.Orders = []string{fmt.Sprint(1_000_000 + i)}
			if i > 5000 { // and prints what he found
				e.Operation, e.Count = "print_list", 100
			}
		}
		e.Received = e.Time + moat.Second
		e.MarkAll()
		b := &batches[n.River.PartitionOf(e.Partner)]
		if b.Append(e); i%97 == 0 {
			b.Append(e)
		}
		if r.IntN(150) == 0 {
			appendAll()
		}
	}
	appendAll()
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func replay(t *testing.T, cfg node.ReplayConfig) *node.Replayed {
	t.Helper()
	r, err := node.Replay(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestReplay folds a history again, beside the node that took it in: all rules find exactly what
// was found live, and a changed rule differs where it should.
func TestReplay(t *testing.T) {
	dir := t.TempDir()
	n := open(t, dir)
	defer n.Close()
	history(t, n)
	live := findings(t, n)
	cases := 0
	for c, err := range n.Book.AllCases(t.Context(), moat.Everyone(), book.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Merged == "" {
			cases++
		}
	}
	byDetector := map[string]int{}
	for _, f := range live {
		byDetector[f.Detector]++
	}
	if len(byDetector) < 3 || cases == 0 {
		t.Fatalf("the history is too tame: %v, %d cases", byDetector, cases)
	}
	var done, total uint64
	all := replay(t, node.ReplayConfig{Dir: dir})
	if want := (node.Tally{Found: len(live), Same: len(live)}); all.Total != want {
		t.Errorf("all rules: %+v, want %+v; new %+v; gone %+v", all.Total, want, all.New, all.Gone)
	}
	if all.Events != 12_000 || len(all.Cases) != cases {
		t.Errorf("%d events and %d cases, want 12000 and %d", all.Events, len(all.Cases), cases)
	}

	// A part of the time and one partner.
	mid := (all.First + all.Last) / 2
	late := replay(t, node.ReplayConfig{Dir: dir, From: mid})
	early := replay(t, node.ReplayConfig{Dir: dir, To: mid})
	if late.Total.Found+early.Total.Found != len(live) || late.Total.New+late.Total.Gone+early.Total.New+early.Total.Gone != 0 || early.Total.Found == 0 {
		t.Errorf("in two parts: %+v and %+v", early.Total, late.Total)
	}
	one := replay(t, node.ReplayConfig{Dir: dir, Partner: "partner2"})
	if one.Total.Found == 0 || one.Total.Found != one.Total.Same || one.Total.Gone != 0 || one.Events >= all.Events {
		t.Errorf("one partner: %+v", one.Total)
	}

	// A rule that is changed, alone.
	alone := replay(t, node.ReplayConfig{Dir: dir, Alone: true, Rules: changed(t, "default: 6, min: 3", "default: 20, min: 3"),
		Progress: func(d, n uint64) { done, total = max(done, d), n }})
	was := byDetector["account.login_failures"]
	if x := alone.Total; x.Gone == 0 || x.Same+x.Gone != was || len(alone.Detectors) != 1 || len(alone.Gone) != x.Gone {
		t.Errorf("the changed rule alone: %+v, live it found %d", x, was)
	}
	if total == 0 || done != total {
		t.Errorf("progress ended at %d of %d", done, total)
	}
	// The same among all others.
	with := replay(t, node.ReplayConfig{Dir: dir, Rules: changed(t, "default: 6, min: 3", "default: 20, min: 3")})
	if with.Total.Gone != alone.Total.Gone || with.Total.New != alone.Total.New || len(with.Detectors) < len(byDetector) {
		t.Errorf("the changed rule among all: %+v, alone %+v", with.Total, alone.Total)
	}
	// The same in the folder.
	src := strings.Replace(source(t), "default: 6, min: 3", "default: 20, min: 3", 1)
	if err := os.MkdirAll(filepath.Join(dir, "detectors"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "detectors", "mine.yaml"), []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	if own := replay(t, node.ReplayConfig{Dir: dir}); own.Total != with.Total {
		t.Errorf("the changed rule in the folder: %+v, want %+v", own.Total, with.Total)
	}
}

func source(t *testing.T) string {
	t.Helper()
	_, sources, err := detectors.All()
	if err != nil {
		t.Fatal(err)
	}
	return string(sources["account/login_failures.yaml"])
}

// changed returns account.login_failures with a change.
func changed(t *testing.T, old, new string) []*rule.Detector {
	t.Helper()
	src := source(t)
	if !strings.Contains(src, old) {
		t.Fatalf("the detector does not contain %q", old)
	}
	list, err := rule.Parse("changed.yaml", []byte(strings.Replace(src, old, new, 1)))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestReplayOfNothing(t *testing.T) {
	if _, err := node.Replay(t.Context(), node.ReplayConfig{Dir: t.TempDir()}); !errors.Is(err, node.ErrNoFolder) {
		t.Errorf("a folder without data: %v", err)
	}
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	if r := replay(t, node.ReplayConfig{Dir: dir}); r.Events != 0 || r.Total != (node.Tally{}) {
		t.Errorf("an empty folder: %+v", r)
	}
	if _, err := node.Replay(t.Context(), node.ReplayConfig{Dir: dir, Alone: true}); err == nil {
		t.Error("no detector is no error")
	}
}
