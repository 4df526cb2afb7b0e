package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/moat-platform/moat/ingest/complaint"
	"github.com/moat-platform/moat/store/book"
)

// TestImport files a long table: a tenth of its lines are those of others, as many are there twice, as many name nobody's orders, and as many
// are broken. The process must not need more and more memory for it: MOAT_IMPORT_LINES says how many lines (100,000).
func TestImport(t *testing.T) {
	lines := 100_000
	if s := os.Getenv("MOAT_IMPORT_LINES"); s != "" {
		var err error
		if lines, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	orders := min(lines, 50_000)
	events, table := filepath.Join(dir, "events.ndjson"), filepath.Join(dir, "complaints.csv")
	writeText(t, events, func(w *bufio.Writer) {
		for i := range orders {
			partner, day := "acme", 1+i%20
			if i%5 == 0 {
				partner = "rival"
			}
			fmt.Fprintf(w, `{"partner":%q,"id":"e%d","time":"2026-03-%02dT08:00:00Z","type":"order.access","actor":"li","app":"erp","shops":["s%d"],"operation":"view","orders":["44%07d"]}`+"\n", partner, i, day, i%50, i)
		}
	})
	want := imported{Lines: int64(lines)}
	writeText(t, table, func(w *bufio.Writer) {
		r := rand.New(rand.NewPCG(1, 1))
		fmt.Fprintln(w, "order,kind,contacted_at,reporter")
		last := ""
		for i := range lines {
			order := i % orders
			switch k := r.IntN(10); {
			case k == 0: // rival's
				order -= order % 5
				want.Unknown++
			case k == 1 && last != "":
				want.Duplicate++
				fmt.Fprintln(w, last)
				continue
			case k == 2:
				want.Unknown++
				fmt.Fprintf(w, "99%07d,scam_call,2026-03-25,caller%d\n", i, i)
				continue
			case k == 3:
				want.Refused++
				fmt.Fprintln(w, []string{",scam_call,2026-03-25,nobody", "44,scam_call,2026-02-31,", "44,scam_call,2199-01-01,", strings.Repeat("4", 200), "44,scam_call,yesterday,"}[i%5])
				continue
			default:
				if order%5 == 0 {
					order++
				}
				want.New++
			}
			line := fmt.Sprintf("44%07d,scam_call,2026-03-%d,caller%d", order, 22+i%4, i)
			if fmt.Fprintln(w, line); order%5 > 0 {
				last = line
			}
		}
	})
	program(t, data, "ingest", events)
	out, used := program(t, data, "complaint", "import", table, "--partner", "acme", "--json")
	var got imported
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got.Lines != want.Lines || got.New != want.New || got.Duplicate != want.Duplicate || got.Unknown != want.Unknown || got.Refused != want.Refused || len(got.Bad) != 2*maxBadLines {
		t.Errorf("%d lines: %d new, %d known already, %d unknown, %d refused; want %d, %d, %d, %d", got.Lines, got.New, got.Duplicate, got.Unknown, got.Refused, want.New, want.Duplicate, want.Unknown, want.Refused)
	}
	t.Logf("%d lines: %v of processor time, %d MB at most", lines, used.UserTime()+used.SystemTime(), maxMemory(used)>>20)
	limit := int64(448 << 20)
	if lines > 100_000 {
		limit = 640 << 20 // files that are mapped count, and they grow
	}
	if most := maxMemory(used); most > limit {
		t.Errorf("it took %d MB", most>>20)
	}
}

// writeText writes a file.
func writeText(t *testing.T, path string, write func(*bufio.Writer)) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	write(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// program runs the program on a data folder and returns what it said, and what it used.
func program(t *testing.T, data string, args ...string) ([]byte, *os.ProcessState) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "moat", append(args, "--data", data)...)
	c.Env = append(os.Environ(), "TZ=UTC")
	out, err := c.Output()
	if e, ok := err.(*exec.ExitError); ok {
		t.Fatalf("moat %s: %v: %s", args[0], err, e.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	return out, c.ProcessState
}

// maxMemory is the most that a process had in memory, in bytes, files that it mapped included.
func maxMemory(p *os.ProcessState) int64 { return p.SysUsage().(*syscall.Rusage).Maxrss << 10 }

// TestNamers: a file whose complaints are mostly one reporter's is told of, however many others complained before; so is one who made most of all
// complaints in files where others stand, too.
func TestNamers(t *testing.T) {
	rows := func(who string, from, to int) (list []complaint.Row) {
		for i := from; i < to; i++ {
			list = append(list, complaint.Row{Line: i + 2, Order: fmt.Sprint("o", i), Kind: "spam", Reporter: who})
		}
		return list
	}
	many := &book.Reporters{Orders: 5000, Top: "r_x", TopCount: 20}
	for _, c := range []struct {
		what  string
		rows  []complaint.Row
		known *book.Reporters
		want  []string // parts of the warning; none if there is none
	}{
		{"one of many", append(rows("rival", 3, 15), rows("", 20, 23)...), many, []string{"in this file one reporter, that of line 5, made the complaints about 12 of 15 orders"}},
		{"as others write him", append(rows("Rival", 0, 8), rows("rival", 8, 14)...), many, []string{"that of line 2", "14 of 14"}},
		{"few", rows("rival", 0, 9), many, nil},
		{"again and again of the same", append(rows("rival", 0, 9), rows("rival", 0, 9)...), many, nil},
		{"nobody in particular", rows("", 0, 30), many, nil},
		{"a dump", []complaint.Row{{Order: "a", Kind: complaint.Dump, Reporter: "r"}}, many, nil},
		{"others here, one before", rows("", 0, 30), &book.Reporters{Orders: 60, Top: "r_x", TopCount: 40}, []string{"one reporter, r_x"}},
		{"the same one", rows("rival", 0, 12), &book.Reporters{Orders: 30, Top: "r_x", TopCount: 22}, []string{"in this file", "Of all complaints of the last 30 days one reporter, r_x"}},
		{"all that there is", rows("rival", 0, 12), &book.Reporters{Orders: 12, Top: "r_x", TopCount: 12}, []string{"one reporter, r_x"}},
	} {
		w := newNamers()
		for i := range c.rows {
			w.add(&c.rows[i])
		}
		got := w.warning(c.known)
		for _, part := range c.want {
			if !strings.Contains(got, part) {
				t.Errorf("%s: %q lacks %q", c.what, got, part)
			}
		}
		if len(c.want) == 0 && got != "" {
			t.Errorf("%s: %q", c.what, got)
		}
	}
}
