package node_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// newest returns the bytes of the newest snapshot of each partition, by name.
func newest(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := glob(t, dir, "*.snap")
	slices.Sort(files)
	out := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		part, _, _ := strings.Cut(filepath.Base(f), "-")
		// Risks, cases and lessons. The engine behind them counts sightings that are sent again as repeated.
		out[part] = b[:16+binary.LittleEndian.Uint64(b)]
	}
	return out
}

// guesses is the i-th burst of failed logins, on one of 36 accounts of three partners.
func guesses(i int) (partner string, batch []byte) {
	start, _ := moat.ParseTime("2026-03-02T09:00:00Z")
	partner = fmt.Sprintf("p%d", i%3)
	var w moat.BatchWriter
	for k := range 40 {
		at := start + moat.Time(i*40+k)*10*moat.Second
		e := &moat.Event{Partner: partner, ID: fmt.Sprintf("e%d", i*40+k), Time: at, Received: at, Flags: moat.FlagHistory, Type: moat.AuthLogin, Actor: fmt.Sprintf("v%d", i%36), IP: fmt.Sprintf("1.2.3.%d", i%36), Outcome: moat.Failure}
		e.MarkAll()
		w.Append(e)
	}
	return partner, w.Bytes()
}

// TestLessonsReplayed gives verdicts and snoozes amid events, and then loses snapshots: one that knew of them, and all. What
// is folded again learns them at the same places, and ends in the same state to the byte.
func TestLessonsReplayed(t *testing.T) {
	dir := t.TempDir()
	put := func(n *node.Node, from, to int) {
		for i := from; i < to; i++ {
			p, b := guesses(i)
			if _, err := n.River.Append(t.Context(), n.River.PartitionOf(p), b); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n := open(t, dir)
	put(n, 0, 36)
	check(n.Drain(t.Context()))
	check(n.Close())
	n = open(t, dir)
	put(n, 36, 72)
	check(n.Drain(t.Context()))
	cases, _, err := n.Book.Cases(t.Context(), moat.Everyone(), book.Query{Limit: 12})
	check(err)
	if len(cases) < 12 {
		t.Fatalf("%d cases are too few to learn from", len(cases))
	}
	for i, c := range cases {
		put(n, 72+3*i, 75+3*i) // on their way while the verdict is given
		check(n.Judge(t.Context(), moat.Everyone(), c.ID, []moat.Verdict{moat.FalseAlarm, moat.FalseAlarm, moat.Confirmed, moat.Accepted}[i%4], "mei"))
		_, err := n.Snooze(t.Context(), moat.Only(cases[(i+5)%12].Partner), book.Snooze{Partner: cases[(i+5)%12].Partner, Entity: cases[(i+5)%12].Entities[0], Until: now() + moat.Hour}, "an")
		check(err)
	}
	put(n, 108, 216)
	check(n.Drain(t.Context()))
	snoozed := 0
	for _, f := range findings(t, n) {
		if f.Snoozed != "" {
			snoozed++
		}
	}
	if snoozed == 0 {
		t.Error("no finding was snoozed")
	}
	check(n.Close())
	want := newest(t, dir)

	for name, lose := range map[string]func(i int) bool{"the newest": func(i int) bool { return i == 0 }, "all": func(int) bool { return true }} {
		byPart := map[string]int{}
		files := glob(t, dir, "*.snap")
		slices.Sort(files)
		slices.Reverse(files)
		for _, f := range files {
			part, _, _ := strings.Cut(filepath.Base(f), "-")
			if lose(byPart[part]) {
				check(os.Remove(f))
			}
			byPart[part]++
		}
		n = open(t, dir)
		check(n.Drain(t.Context()))
		check(n.Close())
		got := newest(t, dir)
		for part, b := range want {
			if !bytes.Equal(got[part], b) {
				t.Errorf("without %s of the snapshots partition %s ends differently", name, part)
			}
		}
	}
}

// TestLessonsBeside gives a verdict while nobody is at work: the node learns it when it starts.
func TestLessonsBeside(t *testing.T) {
	dir := t.TempDir()
	n := open(t, dir)
	send(t, n, 0, 100)
	cases, _, err := n.Book.Cases(t.Context(), moat.Everyone(), book.Query{})
	if err != nil || len(cases) == 0 {
		t.Fatal(cases, err)
	}
	at := cases[0].Updated
	before, err := n.Risk(t.Context(), moat.Everyone(), "acme", cases[0].Entities[0], at)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := book.Open(t.Context(), filepath.Join(dir, "book.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Judge(t.Context(), moat.Everyone(), cases[0].ID, moat.FalseAlarm, "mei"); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and again from what it noted
		n = open(t, dir)
		if err := n.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		after, err := n.Risk(t.Context(), moat.Everyone(), "acme", cases[0].Entities[0], at)
		if err != nil || after.Score >= before.Score {
			t.Errorf("the risk is %g, it was %g, %v", after.Score, before.Score, err)
		}
		if tallies, _ := n.Verdicts(moat.Everyone()); tallies[cases[0].Detectors[0]].False != 1 {
			t.Errorf("the verdicts are %v", tallies)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDemotes: verdicts that spend the budget demote, which is said in the log and the audit trail, and holds until somebody promotes.
func TestDemotes(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "verdicts.yaml"), []byte("judged: 1\nprecision: 0.8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, log := reopen(t, dir)
	send(t, n, 0, 100)
	cases, _, err := n.Book.Cases(t.Context(), moat.Everyone(), book.Query{})
	if err != nil || len(cases) == 0 {
		t.Fatal(cases, err)
	}
	id := cases[0].Detectors[0]
	if err := n.Judge(t.Context(), moat.Only("acme"), cases[0].ID, moat.FalseAlarm, "an"); err != nil {
		t.Fatal(err)
	}
	if _, demoted := n.Verdicts(moat.Everyone()); len(demoted) != 0 {
		t.Errorf("a partner's own verdict demotes for all: %v", demoted)
	}
	for _, v := range []moat.Verdict{moat.Confirmed, moat.FalseAlarm} {
		if err := n.Judge(t.Context(), moat.Everyone(), cases[0].ID, v, "mei"); err != nil {
			t.Fatal(err)
		}
	}
	if _, demoted := n.Verdicts(moat.Everyone()); demoted[id] == "" {
		t.Errorf("demoted are %v, not %s", demoted, id)
	}
	acts, _, err := n.Book.Audit(t.Context(), moat.Everyone(), book.Query{Object: id})
	if err != nil || len(acts) != 1 || acts[0].Act != "detector.demote" || acts[0].By != "engine" {
		t.Errorf("the audit trail says %+v, %v", acts, err)
	}
	if !strings.Contains(log.String(), "a detector was demoted") {
		t.Errorf("the log says\n%s", log)
	}
	if err := n.Promote(t.Context(), moat.Only("acme"), id, "an"); err == nil {
		t.Error("a partner promotes")
	}
	if err := n.Promote(t.Context(), moat.Everyone(), id, "mei"); err != nil {
		t.Fatal(err)
	}
	if _, demoted := n.Verdicts(moat.Everyone()); demoted[id] != "" {
		t.Errorf("after the promotion: %v", demoted)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"judged: 0\n", "precision: 2\n", "presicion: 0.1\n", "{"} {
		if err := os.WriteFile(filepath.Join(dir, "verdicts.yaml"), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := node.Open(t.Context(), node.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "verdicts.yaml") {
			t.Errorf("%q: %v", bad, err)
			n.Close()
		}
	}
}
