package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/intake"
	"github.com/parquet-go/parquet-go"
)

func TestScanFilter(t *testing.T) {
	l := openLake(t, Config{SegmentRows: 40})
	var all []found
	for p := range 3 {
		for seq := uint64(1); seq <= 30; seq++ {
			var events []*moat.Event
			for row := range 10 {
				e := simple(fmt.Sprintf("%d-%d-%d", p, seq, row), testDay+moat.Time(seq)*moat.Hour+moat.Time(row)*moat.Minute)
				e.Partner = []string{"acme", "best", "cargo"}[(int(seq)/4+row)%3]
				if seq%4 == 0 {
					e.Partner = "acme"
				}
				if row == 9 {
					e.Reset()
					e.ID, e.Partner = "no time", "best"
					e.MarkAll()
				}
				events = append(events, e)
				all = append(all, found{Position{p, seq, row}, e})
			}
			must(t, intake.Append(seq, batchOf(events...), nil, l.Writer(p)))
		}
		must(t, l.Writer(p).Flush())
	}
	one := 1
	for name, f := range map[string]Filter{
		"everyone":   everything,
		"nobody":     {},
		"acme":       {Tenant: moat.Only("acme")},
		"best":       {Tenant: moat.Only("best")},
		"stranger":   {Tenant: moat.Only("zzz")},
		"no partner": {Tenant: moat.Only("")},
		"partition":  {Tenant: moat.Everyone(), Partition: &one},
		"from":       {Tenant: moat.Everyone(), From: testDay + 20*moat.Hour},
		"to":         {Tenant: moat.Everyone(), To: testDay + 3*moat.Hour},
		"window":     {Tenant: moat.Only("cargo"), From: testDay + 5*moat.Hour, To: testDay + 6*moat.Hour, Partition: &one},
		"late":       {Tenant: moat.Everyone(), From: testDay + 1000*moat.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			var want []found
			for _, e := range all {
				if f.Tenant.Sees(e.Partner) && (f.From == 0 || e.Time >= f.From) && (f.To == 0 || e.Time < f.To) && (f.Partition == nil || e.Partition == *f.Partition) {
					want = append(want, e)
				}
			}
			sameEvents(t, l, f, want)
		})
	}
	stop := errors.New("enough")
	n := 0
	err := l.Scan(context.Background(), everything, func(Position, *moat.Event) error { n++; return stop })
	if err != stop || n != 1 {
		t.Errorf("a scan that was ended: %v after %d events", err, n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Scan(ctx, everything, func(Position, *moat.Event) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled scan: %v", err)
	}
}

// Scans see each event once while files are written, merged and deleted under them.
func TestScanWhileCompacting(t *testing.T) {
	l := openLake(t, Config{SegmentRows: 2})
	w := l.Writer(0)
	for seq := 1; seq <= 40; seq++ {
		must(t, intake.Append(uint64(seq), message(seq), nil, w))
	}
	must(t, w.Flush())
	entered, leave := make(chan struct{}), make(chan struct{})
	var got []string
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		err := l.Scan(context.Background(), everything, func(p Position, e *moat.Event) error {
			if p.Seq == 1 && p.Row == 0 {
				close(entered)
				<-leave
			}
			got = append(got, e.Clone().ID)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}()
	<-entered
	before := l.Files()
	must(t, l.Compact(context.Background()))
	equal(t, "merged", ids(t, l), wantIDs(1, 40))
	close(leave)
	wg.Wait()
	equal(t, "scan that began before", got, wantIDs(1, 40))
	if len(l.Files()) != 1 || len(before) != 40 {
		t.Errorf("%d files, then %d", len(before), len(l.Files()))
	}
	for _, f := range before {
		if _, err := os.Stat(f.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", f.Path, err)
		}
	}
}

func TestCompactCopiesLargeRowGroups(t *testing.T) {
	l := openLake(t, Config{SegmentRows: 70_000})
	w := l.Writer(0)
	batches := realisticBatches(300)
	for i, b := range batches[:290] {
		must(t, intake.Append(uint64(i+1), b, nil, w))
	}
	must(t, w.Flush())
	for i, b := range batches[290:] {
		must(t, intake.Append(uint64(i+291), b, nil, w))
		must(t, w.Flush())
	}
	must(t, intake.Append(1000, batchOf(simple("late", testDay+moat.Day)), nil, w))
	must(t, w.Flush())
	var want []string
	for _, b := range batches {
		for _, e := range eventsOf(t, b) {
			want = append(want, e.ID)
		}
	}
	want = append(want, "late")
	must(t, l.Compact(context.Background()))
	if got := ids(t, l); !slices.Equal(got, want) {
		t.Fatalf("%d events after the merge, want %d", len(got), len(want))
	}
	files := l.Files()
	if len(files) != 2 || files[0].Rows != 300*512 {
		t.Fatalf("files: %+v", files)
	}
	s, err := openSource(files[0].Path)
	must(t, err)
	defer s.close()
	var rows []int64
	for _, g := range s.meta.RowGroups {
		rows = append(rows, g.NumRows)
	}
	if fmt.Sprint(rows) != "[70144 70144 13312]" {
		t.Errorf("row groups of %v rows", rows)
	}
	must(t, l.Compact(context.Background()))
	if !slices.Equal(l.Files(), files) {
		t.Errorf("a second merge changed files: %+v", l.Files())
	}
}

// Any reader of Parquet reads the files: here parquet-go's own, by a Go struct.
func TestGenericReader(t *testing.T) {
	l := openLake(t, Config{})
	batches := realisticBatches(80)
	for i, b := range batches {
		must(t, intake.Append(uint64(i+1), b, nil, l.Writer(0)))
	}
	must(t, l.Writer(0).Flush())
	type row struct {
		Seq       int64    `parquet:"seq"`
		Row       int64    `parquet:"row"`
		Type      string   `parquet:"type"`
		Time      int64    `parquet:"time,optional,timestamp(microsecond)"`
		Partner   string   `parquet:"partner"`
		Actor     *string  `parquet:"actor,optional"`
		UserAgent *string  `parquet:"user_agent,optional"`
		Orders    []string `parquet:"orders,optional,list"`
		Encrypted *bool    `parquet:"encrypted,optional"`
		Status    *int64   `parquet:"status,optional"`
		Detail    *string  `parquet:"detail,optional"`
	}
	f, err := os.Open(l.Files()[0].Path)
	must(t, err)
	defer f.Close()
	r := parquet.NewGenericReader[row](f)
	defer r.Close()
	got := make([]row, 0, 80*512)
	for {
		page := make([]row, 1000)
		n, err := r.Read(page)
		got = append(got, page[:n]...)
		if err == io.EOF {
			break
		}
		must(t, err)
	}
	i := 0
	for seq, b := range batches {
		for n, e := range eventsOf(t, b) {
			g := got[i]
			i++
			if g.Seq != int64(seq+1) || g.Row != int64(n) || g.Type != e.Type.String() || g.Time != int64(e.Time) || g.Partner != e.Partner ||
				*g.Actor != e.Actor || fmt.Sprint(g.Orders) != fmt.Sprint(e.Orders) || (g.Status != nil) != e.Has(moat.FieldStatus) ||
				(g.Detail != nil) != (e.Type != moat.OrderAccess && e.Type != moat.OrderTransmit && (e.LatencyMS != 0 || e.MFA || e.DurationMS != 0 || e.Exe != "" || len(e.Tables) > 0)) ||
				g.UserAgent != nil && *g.UserAgent != e.UserAgent {
				t.Fatalf("row %d is %+v, want %+v", i-1, g, e)
			}
		}
	}
	if i != len(got) {
		t.Errorf("%d rows, want %d", len(got), i)
	}
}

func TestOpenCleansUp(t *testing.T) {
	dir := t.TempDir()
	day := filepath.Join(dir, "events", "day=2026-11-21")
	must(t, os.MkdirAll(day, 0o750))
	must(t, os.MkdirAll(filepath.Join(dir, "positions"), 0o750))
	tmp := filepath.Join(day, "p000-x.parquet.tmp")
	other := filepath.Join(day, "notes.txt")
	must(t, os.WriteFile(tmp, nil, 0o640))
	must(t, os.WriteFile(other, nil, 0o640))
	must(t, os.WriteFile(filepath.Join(dir, "positions", "p000.tmp"), nil, 0o640))
	must(t, os.WriteFile(filepath.Join(dir, "positions", "p001"), []byte("nonsense"), 0o640))
	l := openLake(t, Config{Dir: dir})
	if _, err := os.Stat(tmp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file: %v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("a stranger's file: %v", err)
	}
	if l.Position(1) != 0 {
		t.Errorf("position is %d", l.Position(1))
	}
	for _, c := range []Config{{}, {Dir: dir, SegmentRows: -1}} {
		if _, err := Open(c); err == nil {
			t.Errorf("Open(%+v) succeeds", c)
		}
	}
}

func TestNames(t *testing.T) {
	for _, r := range []Range{{0, 1, 1}, {7, 5, 1 << 62}, {12345, 0, 0}} {
		if got, ok := parseName(fileName(r)); !ok || got != r {
			t.Errorf("%s is read as %v", fileName(r), got)
		}
	}
	for _, s := range []string{"", "x.parquet", "p0-1-2.parquet", "p000-00000000000000000002-00000000000000000001.parquet", fileName(Range{0, 1, 2}) + ".tmp"} {
		if r, ok := parseName(s); ok {
			t.Errorf("%q is read as %v", s, r)
		}
	}
}
