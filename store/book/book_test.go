package book

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
)

var everyone = moat.Everyone()

func TestCommitTwiceChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		fill(t, b, "a", 1)
		dump := func() (s string) {
			for v, err := range b.AllFindings(t.Context(), everyone, Query{}) {
				s += fmt.Sprintln(v, err)
			}
			for v, err := range b.AllCases(t.Context(), everyone, Query{}) {
				s += fmt.Sprintln(v, err)
			}
			for v, err := range b.AllDecisions(t.Context(), everyone, Query{}) {
				s += fmt.Sprintln(v, err)
			}
			for v, err := range b.AllAudit(t.Context(), everyone, Query{}) {
				s += fmt.Sprintln(v, err)
			}
			return s
		}
		before := dump()
		fill(t, b, "a", 1)
		if after := dump(); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		if n := strings.Count(before, "\n"); n != 10+1+1+2 {
			t.Errorf("%d rows, want 14:\n%s", n, before)
		}
		if seq, err := b.Position(t.Context(), 1); seq != 10 || err != nil {
			t.Errorf("position %d, %v", seq, err)
		}
		if seq, err := b.Position(t.Context(), 2); seq != 0 || err != nil {
			t.Errorf("position of a new partition %d, %v", seq, err)
		}
		if err := b.Commit(t.Context(), 1, 1<<63, Changes{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("position 2^63: %v", err)
		}
	})
}

// TestProlong: the same decision with a later end is prolonged, and those who follow the book hear of it; one that was undone stays undone.
func TestProlong(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		_, d := fill(t, b, "a", 1)
		head, _, err := b.AuditHead(t.Context())
		ok(t, err)
		longer := d
		longer.Until += moat.Hour
		for range 2 {
			ok(t, b.Commit(t.Context(), 1, 11, Changes{Decisions: []moat.Decision{longer, d}}))
		}
		list, upTo, err := b.Changed(t.Context(), everyone, head)
		if err != nil || upTo != head+1 || len(list) != 1 || list[0] != longer {
			t.Errorf("%d records, %+v, %v", upTo-head, list, err)
		}
		undone, err := b.Undo(t.Context(), everyone, d.ID, "mei")
		ok(t, err)
		longer.Until += moat.Hour
		ok(t, b.Commit(t.Context(), 1, 12, Changes{Decisions: []moat.Decision{longer}}))
		if got, err := b.Decision(t.Context(), everyone, d.ID); err != nil || got != undone {
			t.Errorf("after it was undone: %+v, %v", got, err)
		}
	})
}

func TestRoundTrip(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		c, d := fill(t, b, "a", 1)
		fs, next, err := b.Findings(t.Context(), everyone, Query{Limit: 1})
		if err != nil || len(fs) != 1 || next == "" || !reflect.DeepEqual(fs[0], finding("a", 9)) {
			t.Errorf("findings: %+v %q %v", fs, next, err)
		}
		gotCase, timeline, err := b.Case(t.Context(), everyone, c.ID)
		if err != nil || !reflect.DeepEqual(gotCase, c) {
			t.Errorf("case: %+v %v\nwant  %+v", gotCase, err, c)
		}
		if ids := findingIDs(timeline); !slices.Equal(ids, c.Findings) {
			t.Errorf("timeline %v, want %v", ids, c.Findings)
		}
		if got, err := b.Decision(t.Context(), everyone, d.ID); err != nil || got != d {
			t.Errorf("decision: %+v %v\nwant     %+v", got, err, d)
		}
	})
}

func findingIDs(list []moat.Finding) (ids []string) {
	for _, f := range list {
		ids = append(ids, f.ID)
	}
	return ids
}

// TestFoldAndPeople: the engine brings its part of a case up to date and
// leaves people's part alone, also when it is replayed out of date.
func TestFoldAndPeople(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		ctx := t.Context()
		c, d := fill(t, b, "a", 1)
		for _, err := range []error{
			b.AssignCase(ctx, everyone, c.ID, "mei", "lin"),
			b.Judge(ctx, everyone, c.ID, moat.Confirmed, "mei"),
			b.CloseCase(ctx, everyone, c.ID, "mei"),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		undone, err := b.Undo(ctx, everyone, d.ID, "mei")
		if err != nil || undone.Undone == 0 || undone.UndoneBy != "mei" {
			t.Fatalf("%+v %v", undone, err)
		}
		worse := story("a", 2, 8)
		worse.Rank, worse.Detectors, worse.Entities = moat.P1, append(worse.Detectors, "night.login"), append(worse.Entities, moat.Entity{Kind: moat.IP, ID: "192.0.2.7"})
		if err := b.Commit(ctx, 1, 11, Changes{Cases: []moat.Case{worse}, Decisions: []moat.Decision{d}}); err != nil {
			t.Fatal(err)
		}
		if err := b.Commit(ctx, 1, 10, Changes{Cases: []moat.Case{c}}); err != nil { // a replay is behind
			t.Fatal(err)
		}
		got, timeline, err := b.Case(ctx, everyone, c.ID)
		want := worse
		want.State, want.Owner, want.Verdict, want.Campaign = moat.CaseClosed, "mei", moat.Confirmed, c.ID
		if err != nil || !reflect.DeepEqual(got, want) || len(timeline) != 7 {
			t.Errorf("%+v, %d findings, %v\nwant %+v", got, len(timeline), err, want)
		}
		if got, err := b.Decision(ctx, everyone, d.ID); err != nil || got != undone {
			t.Errorf("the fold changed a decision: %+v %v", got, err)
		}
		for _, q := range []Query{{Detector: "night.login"}, {Detector: "night.login", Entity: c.Entities[0], Rank: moat.P1}, {Entity: moat.Entity{Kind: moat.IP, ID: "192.0.2.7"}}, {Rank: moat.P1}, {State: moat.CaseClosed}} {
			if list, _, err := b.Cases(ctx, everyone, q); err != nil || len(list) != 1 {
				t.Errorf("%+v: %d cases, %v", q, len(list), err)
			}
		}
		if err := b.ReopenCase(ctx, everyone, c.ID, "lin"); err != nil {
			t.Fatal(err)
		}
		if got, _, _ := b.Case(ctx, everyone, c.ID); got.State != moat.CaseOpen {
			t.Errorf("state %q after reopening", got.State)
		}
	})
}

func TestHostileText(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		f := finding("a", 1)
		f.Entity.ID, f.Reason = "x\x00y\xff'; DROP TABLE findings; --", "a\x00b\xff<&>\u2028"
		if err := b.Commit(t.Context(), 0, 1, Changes{Findings: []moat.Finding{f}}); err != nil {
			t.Fatal(err)
		}
		list, _, err := b.Findings(t.Context(), everyone, Query{Entity: f.Entity})
		if err != nil || len(list) != 1 || list[0].Reason != "a\x00b\uFFFD<&>\u2028" {
			t.Errorf("%+v %v", list, err)
		}
	})
}

func TestPagesAndFilters(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		ctx := t.Context()
		fill(t, b, "b", 2)
		var want []string
		changes := Changes{}
		for n := range 25 {
			f := finding("a", n)
			f.Time = start + moat.Time(n/5)*moat.Second // five at a time
			changes.Findings = append(changes.Findings, f)
		}
		if err := b.Commit(ctx, 1, 1, changes); err != nil {
			t.Fatal(err)
		}
		a := moat.Only("a")
		for f, err := range b.AllFindings(ctx, a, Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, f.ID)
		}
		slices.Reverse(want)
		var got []string
		for q := (Query{Limit: 4}); ; {
			list, next, err := b.Findings(ctx, a, q)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, findingIDs(list)...)
			if q.After = next; next == "" {
				break
			}
		}
		if len(want) != 25 || !slices.Equal(got, want) {
			t.Errorf("pages %v\nall   %v", got, want)
		}
		count := func(q Query, want int) {
			t.Helper()
			if list, _, err := b.Findings(ctx, a, q); err != nil || len(list) != want {
				t.Errorf("%+v: %d findings, want %d: %v", q, len(list), want, err)
			}
		}
		count(Query{Since: start + moat.Second, Until: start + 3*moat.Second}, 10)
		count(Query{Detector: "night.login"}, 12)
		count(Query{Entity: moat.Entity{Kind: moat.Account, ID: "clerk-0"}}, 4)
		count(Query{Entity: moat.Entity{Kind: moat.App, ID: "clerk-0"}}, 0)
		count(Query{Partner: "a"}, 25)
		count(Query{Partner: "b"}, 0)
		for _, q := range []Query{{Limit: 1001}, {Limit: -1}, {After: "x"}, {After: "1."}, {Rank: moat.P1}, {Waiting: true}, {Object: "x"}} {
			if _, _, err := b.Findings(ctx, a, q); q.After != "1." && !errors.Is(err, ErrInvalid) {
				t.Errorf("%+v: %v", q, err)
			}
		}
	})
}

func TestDecisionFilters(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		ctx := t.Context()
		c, d := fill(t, b, "a", 1)
		waiting := decided(c, moat.Deny)
		waiting.Approval = "over the harm budget"
		if err := b.Commit(ctx, 1, 11, Changes{Decisions: []moat.Decision{waiting}}); err != nil {
			t.Fatal(err)
		}
		count := func(q Query, want ...string) {
			t.Helper()
			list, _, err := b.Decisions(ctx, everyone, q)
			var got []string
			for _, d := range list {
				got = append(got, d.ID)
			}
			slices.Sort(got)
			slices.Sort(want)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%+v: %v, want %v: %v", q, got, want, err)
			}
		}
		count(Query{}, d.ID, waiting.ID)
		count(Query{Active: d.From}, d.ID)
		count(Query{Active: d.Until})
		count(Query{Active: d.From - 1})
		count(Query{Waiting: true}, waiting.ID)
		count(Query{Case: c.ID}, d.ID, waiting.ID)
		count(Query{Case: "c_other"})
		count(Query{Entity: c.Entities[0]}, d.ID, waiting.ID)
		count(Query{Scope: "account", Value: d.Value}, d.ID, waiting.ID)
		count(Query{Scope: "range"})
	})
}

func TestReadOnlyAndSchema(t *testing.T) {
	eachDSN(t, func(t *testing.T, dsn string) {
		ctx, log := t.Context(), slog.New(slog.DiscardHandler)
		if _, err := OpenReadOnly(ctx, dsn, log); err == nil {
			t.Error("there is no book to read yet")
		}
		b := openTest(t, dsn)
		c, _ := fill(t, b, "a", 1)
		r, err := OpenReadOnly(ctx, dsn, log)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, timeline, err := r.Case(ctx, everyone, c.ID); err != nil || len(timeline) != 4 {
			t.Errorf("beside the writer: %d findings, %v", len(timeline), err)
		}
		if err := r.CloseCase(ctx, everyone, c.ID, "mei"); !errors.Is(err, ErrReadOnly) {
			t.Errorf("writing while reading: %v", err)
		}
		if err := r.Commit(ctx, 1, 1, Changes{}); !errors.Is(err, ErrReadOnly) {
			t.Errorf("committing while reading: %v", err)
		}
		for version, want := range map[int]error{99: ErrNewer, 0: ErrOlder} {
			if _, err := b.write.Exec(b.dialect.sql("UPDATE schema_version SET version = ?"), version); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenReadOnly(ctx, dsn, log); !errors.Is(err, want) {
				t.Errorf("reading version %d: %v", version, err)
			}
			if version == 99 {
				if _, err := Open(ctx, dsn, log); !errors.Is(err, ErrNewer) {
					t.Errorf("opening version %d: %v", version, err)
				}
			}
		}
	})
}

func TestFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c%20#d.db")
	b := openTest(t, path)
	fill(t, b, "a", 1)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", suffix, info, err)
		}
	}
	if _, err := OpenReadOnly(t.Context(), path+".not", slog.New(slog.DiscardHandler)); !errors.Is(err, ErrNoBook) {
		t.Errorf("no file: %v", err)
	}
}

func TestDamage(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for name, spoil := range map[string]func(t *testing.T, path string, size int64){
		"no database": func(t *testing.T, path string, _ int64) { scribble(t, path, 0, 4096) },
		"torn":        func(t *testing.T, path string, size int64) { ok(t, os.Truncate(path, size/2/4096*4096)) },
		"torn mid-page": func(t *testing.T, path string, size int64) {
			ok(t, os.Truncate(path, size/3+123))
		},
		"pages overwritten": func(t *testing.T, path string, size int64) { scribble(t, path, 8192, size-8192) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "book.db")
			b := openTest(t, path)
			fill(t, b, "a", 1)
			ok(t, b.Backup(t.Context(), path+".backup"))
			ok(t, b.Close())
			if _, err := SetAside(t.Context(), path, log); !errors.Is(err, ErrInvalid) {
				t.Fatalf("a sound book was set aside: %v", err)
			}
			info, err := os.Stat(path)
			ok(t, err)
			spoil(t, path, info.Size())
			before, err := os.ReadFile(path)
			ok(t, err)

			var damaged *DamagedError
			b, err = Open(t.Context(), path, log)
			if err == nil {
				err = b.Check(t.Context())
				b.Close()
			}
			if !errors.As(err, &damaged) || !strings.Contains(err.Error(), "set it aside") || !strings.Contains(err.Error(), path) {
				t.Fatalf("opened and checked: %v", err)
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("the damaged file was changed")
			}
			aside, err := SetAside(t.Context(), path, log)
			ok(t, err)
			if kept, _ := os.ReadFile(aside); string(kept) != string(before) {
				t.Error("the file that was set aside is another")
			}
			ok(t, openTest(t, path).Check(t.Context()))
			if _, _, err := openTest(t, path+".backup").Case(t.Context(), everyone, story("a", 2, 5).ID); err != nil {
				t.Errorf("backup: %v", err)
			}
		})
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func scribble(t *testing.T, path string, from, n int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	ok(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte(strings.Repeat("flood ", int(n/6+1))[:n]), from)
	ok(t, err)
}

func TestPlaceholders(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"SELECT 1", "SELECT 1"},
		{"a = ? AND b IN (?, ?)", "a = $1 AND b IN ($2, $3)"},
		{strings.Repeat("?", 12), "$1$2$3$4$5$6$7$8$9$10$11$12"},
	} {
		if got := postgres.sql(c.in); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
		if got := lite.sql(c.in); got != c.in {
			t.Errorf("%q: %q for SQLite", c.in, got)
		}
	}
}

func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", "1.f_a", "-5.x.y", "1767225600000000.f_abcdefghijklmnop", "1", ".", "01.a", "1.\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		order, id, err := parseCursor(s)
		if err == nil && cursor(order, id) != s {
			t.Errorf("%q reads as %d and %q", s, order, id)
		}
	})
}

func BenchmarkCommit(b *testing.B) {
	for name, dsn := range map[string]func() string{
		"sqlite":   func() string { return filepath.Join(b.TempDir(), "book.db") },
		"postgres": func() string { return newSchema(b) },
	} {
		if name == "postgres" {
			if dsn, err := server(); err != nil || dsn == "" {
				b.Log("no PostgreSQL on this machine", err)
				continue
			}
		}
		b.Run(name, func(b *testing.B) {
			k := openTest(b, dsn())
			const batch = 1000
			b.ReportAllocs()
			for seq := 0; b.Loop(); seq++ {
				b.StopTimer()
				var c Changes
				for n := range batch {
					f := finding("a", seq*batch+n)
					f.Entity.ID = fmt.Sprint("clerk-", (seq*batch+n)*7919%100_000)
					c.Findings = append(c.Findings, f)
				}
				b.StartTimer()
				if err := k.Commit(b.Context(), 1, uint64(seq+1), c); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*batch/b.Elapsed().Seconds(), "findings/s")
		})
	}
}

func TestPrune(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		c, _ := fill(t, b, "a", 1)
		n, err := b.Prune(t.Context(), start+8*moat.Second)
		if err != nil || n != 4 { // 0, 1, 6 and 7; 2 to 5 are in the case
			t.Errorf("%d pruned, %v", n, err)
		}
		if _, timeline, err := b.Case(t.Context(), everyone, c.ID); err != nil || len(timeline) != 4 {
			t.Errorf("timeline of %d, %v", len(timeline), err)
		}
	})
}
