package node_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
	"github.com/moat-platform/moat/store/lake"
)

func open(t testing.TB, dir string) *node.Node {
	t.Helper()
	n, err := node.Open(t.Context(), node.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// send appends failed logins of one account, and returns when they were worked on.
func send(t *testing.T, n *node.Node, from, to int) {
	t.Helper()
	start, _ := moat.ParseTime("2026-03-02T09:00:00Z")
	for i := from; i < to; i++ {
		var w moat.BatchWriter
		at := start + moat.Time(i)*10*moat.Second
		e := &moat.Event{Partner: "acme", ID: fmt.Sprintf("e%d", i), Time: at, Received: at, Type: moat.AuthLogin, Actor: "alice", IP: "1.2.3.4", Outcome: moat.Failure, Flags: moat.FlagHistory}
		e.MarkAll()
		w.Append(e)
		if _, err := n.River.Append(t.Context(), n.River.PartitionOf("acme"), w.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func findings(t *testing.T, n *node.Node) []moat.Finding {
	t.Helper()
	var out []moat.Finding
	for f, err := range n.Book.AllFindings(t.Context(), moat.Everyone(), book.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// TestLife carries events through the whole node, over a restart.
func TestLife(t *testing.T) {
	dir := t.TempDir()
	n := open(t, dir)
	send(t, n, 0, 4)
	if f := findings(t, n); len(f) != 0 {
		t.Fatalf("four failures were found to be something: %+v", f)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = open(t, dir)
	defer n.Close()
	send(t, n, 4, 40)
	f := findings(t, n)
	if len(f) == 0 || f[0].Detector != "account.login_failures" || f[0].Evidence[0].Value < 6 {
		t.Fatalf("forty failures led to %+v", f)
	}
	a, err := n.Ask(t.Context(), &moat.Event{Partner: "acme", ID: "q", Type: moat.AuthLogin, Actor: "alice", IP: "1.2.3.4", Time: f[0].Time, Received: f[0].Time})
	if err != nil || a.Risk < 0.05 {
		t.Errorf("the answer about alice is %+v, %v", a, err)
	}
	d, err := n.Diary.Entity(t.Context(), moat.Everyone(), diary.Query{Partner: "acme", Entity: moat.Entity{Kind: moat.Account, ID: "alice"}}, 100, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Touches) != 41 && len(d.Touches) != 40 {
		t.Errorf("the diary of alice has %d acts", len(d.Touches))
	}
}

// TestNoSnapshots closes a node that wants none: the next start folds the log again, and nothing is stored twice.
func TestNoSnapshots(t *testing.T) {
	dir := t.TempDir()
	n, err := node.Open(t.Context(), node.Config{Dir: dir, SnapshotEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	send(t, n, 0, 40)
	rows := func(n *node.Node) (all int) {
		err := n.Lake.Scan(t.Context(), lake.Filter{Tenant: moat.Everyone()}, func(_ lake.Position, e *moat.Event) error {
			if e.Kind != "upto" { // how far a partition is it says again
				all++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	want, kept := findings(t, n), rows(n)
	id := n.River.PartitionOf("acme")
	_, last, err := n.River.Bounds(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := n.Position(t.Context(), id); err != nil || at != last || last == 0 {
		t.Errorf("the engine is at %d of %d, %v", at, last, err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "state", "*")); len(files) > 0 {
		t.Errorf("there are %v", files)
	}
	n = open(t, dir)
	defer n.Close()
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := findings(t, n); len(got) != len(want) || len(got) == 0 || got[0].ID != want[0].ID {
		t.Errorf("after a start without snapshots there are %d findings, before there were %d", len(got), len(want))
	}
	s, err := n.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if events := s.Partitions[id].Engine.Events; events < 40 {
		t.Errorf("the engine took %d events in again", events)
	}
	if got := rows(n); got != kept {
		t.Errorf("the lake has %d events, before it had %d", got, kept)
	}
}
