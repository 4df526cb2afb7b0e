package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/river"
)

var update = flag.Bool("update", false, "write the golden files anew")

func testLoader(m River) *Loader {
	return &Loader{River: m, Key: testKey, Now: noon.Std, Wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
}

// TestGolden loads one file of every format and compares report and events with what they were.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/logs/*")
	if err != nil {
		t.Fatalf("%d files, %v", len(files), err)
	}
	loaded := 0
	for _, file := range files {
		if strings.HasSuffix(file, ".golden") {
			continue
		}
		loaded++
		t.Run(filepath.Base(file), func(t *testing.T) {
			m := newMemory(2)
			l := testLoader(m)
			l.App, l.Host = "erp", "web1"
			report, err := l.Load(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for i := range report.Bad {
				report.Bad[i].File = filepath.Base(report.Bad[i].File)
			}
			enc := json.NewEncoder(&got)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			enc.Encode(report)
			for _, e := range m.events(t) {
				fmt.Fprintf(&got, "%s\n", moat.AppendJSON(nil, e))
			}
			golden := file + ".golden"
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s", &got, want)
			}
			if bytes.Contains(got.Bytes(), []byte("13800138000")) || bytes.Contains(got.Bytes(), []byte("secret")) {
				t.Error("something came through that must not")
			}
		})
	}
	if loaded != 4 {
		t.Errorf("%d files were loaded", loaded)
	}
}

// TestRealLogs loads larger real logs, where the folder that has them exists.
func TestRealLogs(t *testing.T) {
	dir := filepath.Join("..", "..", "shared", "data", "logs")
	if _, err := os.Stat(dir); err != nil {
		t.Logf("no folder with real logs: %v", err)
		return
	}
	for name, want := range map[string][3]int64{"openssh_2k.log": {532, 1479, 0}, "apache_access_10k.log.gz": {10000, 0, 0}} {
		report, err := testLoader(newMemory(1)).Load(t.Context(), filepath.Join(dir, name))
		if got := [3]int64{report.Events, report.Context, report.Unreadable}; err != nil || got != want {
			t.Errorf("%s: events, context, unreadable: got %v, want %v, %v", name, got, want, err)
		}
	}
}

// TestCompressed: the same lines bring the same events, however they are packed, and twice the same ids.
func TestCompressed(t *testing.T) {
	plain, err := os.ReadFile("testdata/logs/auth.log")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	crlf := bytes.ReplaceAll(plain, []byte("\n"), []byte("\r\n"))
	var first string
	for i, data := range [][]byte{plain, gzipped(plain), zstded(t, plain), crlf, append([]byte("\xef\xbb\xbf"), plain...)} {
		file := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		m := newMemory(1)
		if _, err := testLoader(m).Load(t.Context(), file); err != nil {
			t.Fatal(err)
		}
		got := describe(m.events(t), func(e *moat.Event) string { return fmt.Sprint(e.ID, e.Time, e.Actor, e.Received) })
		if first == "" {
			first = got
		}
		if got != first || got == "" {
			t.Errorf("file %d: got\n%s\nwant\n%s", i, got, first)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, path := range map[string]string{
		"none":    filepath.Join(dir, "none"),
		"folder":  dir,
		"unknown": write("unknown", "what\nis\nthis\n"),
		"cut":     write("cut.gz", string(gzipped([]byte(strings.Repeat(string(sampleLine(1))+"\n", 100)))[:200])),
		"array":   write("array", `[{"a":1}`),
	} {
		if _, err := testLoader(newMemory(1)).Load(t.Context(), path); err == nil || !strings.Contains(err.Error(), "cannot load") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r, err := testLoader(newMemory(1)).Load(t.Context(), write("empty", ""), write("blank", "\n \n")); err != nil || r.Lines != 0 {
		t.Errorf("empty files: %+v, %v", r, err)
	}
	l := testLoader(newMemory(1))
	l.Format = "xml"
	if _, err := l.Load(t.Context(), write("x", "x")); err == nil || !strings.Contains(err.Error(), "ndjson, sshd, access") {
		t.Errorf("unknown format: %v", err)
	}
	l.Format = FormatAccess
	if r, err := l.Load(t.Context(), write("y", "x\ny\n")); err != nil || r.Unreadable != 2 || len(r.Bad) != 2 || r.Bad[1].Line != 2 {
		t.Errorf("forced format: %+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := testLoader(newMemory(1)).Load(ctx, "testdata/logs/auth.log"); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	for _, l := range []*Loader{{}, {River: newMemory(1)}} {
		if _, err := l.Read(t.Context(), "x", strings.NewReader("")); err == nil {
			t.Error("a loader without river or key")
		}
	}
}

// TestLoadWaits: a full river, or one whose answer is lost, is tried again; another error ends the load.
func TestLoadWaits(t *testing.T) {
	m, waits := newMemory(1), 0
	answers := []error{fmt.Errorf("no: %w", &river.FullError{Reason: "no room", RetryAfter: 3 * time.Second}), river.ErrUnknown, nil}
	m.refuse = func(int) error {
		err := answers[0]
		answers = append(answers[1:], nil)
		return err
	}
	l := testLoader(m)
	l.Wait = func(context.Context, time.Duration) error { waits++; return nil }
	var told []string
	l.Progress = func(p Progress) { told = append(told, p.Waits) }
	if r, err := l.Read(t.Context(), "x", bytes.NewReader(sampleBody(10))); err != nil || r.Events != 10 || waits != 2 || len(m.events(t)) != 10 {
		t.Errorf("%+v, %v, %d waits", r, err, waits)
	}
	if want := []string{"", "no room"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	fire := errors.New("disk on fire")
	m.refuse = func(int) error { return fire }
	if _, err := l.Read(t.Context(), "x", bytes.NewReader(sampleBody(20_000))); !errors.Is(err, fire) {
		t.Errorf("got %v", err)
	}
}

func TestManyPartners(t *testing.T) {
	m := newMemory(4)
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, `{"id":"%d","time":%d,"type":"auth.logout","actor":"a","partner":"p%d"}`+"\n", i, 1_700_000_000+i, i*i%13)
	}
	var steps []Progress
	l := testLoader(m)
	l.Progress = func(p Progress) { steps = append(steps, p) }
	r, err := l.Read(t.Context(), "x", strings.NewReader(b.String()))
	if err != nil || r.Events != 20_000 || len(r.Rejected) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	last := map[string]int{}
	for _, e := range m.events(t) {
		var i int
		fmt.Sscan(e.ID, &i)
		if before, ok := last[e.Partner]; ok && i <= before || e.Flags != moat.FlagHistory || e.Received != e.Time {
			t.Fatalf("event %d of %s after %d: flags %b, received %v", i, e.Partner, before, e.Flags, e.Received)
		}
		last[e.Partner] = i
	}
	if len(steps) < 2 || steps[len(steps)-1].Read != int64(b.Len()) || steps[len(steps)-1].Lines != 20_000 {
		t.Errorf("progress %+v", steps)
	}
}

func TestArrayFile(t *testing.T) {
	m := newMemory(1)
	r, err := testLoader(m).Read(t.Context(), "x", strings.NewReader("[\n"+logouts(3, ",\n")+"\n]\n"))
	if err != nil || r.Events != 3 || len(m.events(t)) != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestYears: lines without a year get the one that lets them follow each other and end before now.
func TestYears(t *testing.T) {
	tests := []struct{ name, days, want string }{
		{"this year", "May  1|May  2|Jun 10", "2025 2025 2025"},
		{"last year", "Jul  1|Dec  1", "2024 2024"},
		{"across new year", "Dec 31|Jan  1|Jan  2", "2024 2025 2025"},
		{"two new years", "Nov  1|Feb  1|Jun  1|Nov  1|Jan  5", "2023 2024 2024 2024 2025"},
		{"a little out of order", "Jan  1|Dec 31|Jan  1", "2025 2024 2025"},
		{"a clock that starts at new year", "Dec  5|Dec  5|Jan  1|Dec  5|Dec  6", "2024 2024 2025 2024 2024"},
		{"leap day", "Feb 28|Feb 29|Mar  1", "2024 2024 2024"},
		{"leap day, then new years", "Feb 29|Jun  1|Nov  1|Feb  1|Aug  1|May  1", "2020 2020 2020 2021 2021 2022"},
		{"tomorrow, in another time zone", "Jun 16", "2025"},
	}
	for _, tt := range tests {
		var log strings.Builder
		for day := range strings.SplitSeq(tt.days, "|") {
			fmt.Fprintf(&log, "%s 00:00:00 h sshd[1]: Accepted password for a from 192.0.2.1 port 1 ssh2\n", day)
		}
		file := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(file, []byte(log.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		m := newMemory(1)
		if r, err := testLoader(m).Load(t.Context(), file); err != nil || r.Unreadable != 0 { // it is 15 June 2025
			t.Fatalf("%s: %+v, %v", tt.name, r, err)
		}
		var got []string
		for _, e := range m.events(t) {
			got = append(got, fmt.Sprint(e.Time.Std().Year()))
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, s, tt.want)
		}
	}
	// A stream cannot be looked through first: its first line decides.
	m := newMemory(1)
	if _, err := testLoader(m).Read(t.Context(), "x", strings.NewReader("Dec 31 00:00:00 h sshd[1]: Accepted password for a from 192.0.2.1 port 1 ssh2\nJan  1 00:00:00 h sshd[1]: Accepted password for a from 192.0.2.1 port 1 ssh2\n")); err != nil {
		t.Fatal(err)
	}
	if e := m.events(t); e[0].Time.Std().Year() != 2024 || e[1].Time.Std().Year() != 2025 {
		t.Errorf("stream: %v %v", e[0].Time, e[1].Time)
	}
}

func TestPlaceOfClock(t *testing.T) {
	m := newMemory(1)
	l := testLoader(m)
	l.Location = time.FixedZone("", 8*3600)
	if _, err := l.Read(t.Context(), "x", strings.NewReader("Jan  1 00:00:00 h sshd[1]: Accepted password for a from 192.0.2.1 port 1 ssh2\n")); err != nil {
		t.Fatal(err)
	}
	if got := m.events(t)[0].Time.String(); got != "2024-12-31T16:00:00Z" {
		t.Errorf("got %s", got)
	}
}

// TestHistory: receipt follows the events' own times, whatever single lines say.
func TestHistory(t *testing.T) {
	const day = moat.Day
	start := noon - 3000*day
	steady := func(n int, step moat.Time) []moat.Time {
		var s []moat.Time
		for i := range n {
			s = append(s, start+moat.Time(i)*step)
		}
		return s
	}
	put := func(s []moat.Time, at int, t moat.Time) []moat.Time { return slices.Insert(slices.Clone(s), at, t) }
	ahead, behind := start+3650*day, start-3000*day
	loaded, future := ahead+day, ahead+13_000*day
	shuffled := steady(5000, moat.Minute)
	rand.New(rand.NewPCG(1, 1)).Shuffle(200, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	tests := []struct {
		name  string
		times []moat.Time
		wrong []int // flagged
	}{
		{"steady", steady(10_000, moat.Second), nil},
		{"sparse", steady(300, 10*day), nil},
		{"one line", steady(1, 1), nil},
		{"two, far apart", steady(2, 300*day), nil},
		{"ten years ahead", put(steady(9000, moat.Minute), 4096, ahead), []int{4096}},
		{"at the start", put(steady(100, moat.Minute), 0, ahead), []int{0}},
		{"at the end", put(steady(100, moat.Minute), 100, ahead), []int{100}},
		{"ten years behind", put(steady(100, moat.Minute), 50, behind), []int{50}},
		{"a gap of years", append(steady(100, moat.Minute), ahead, ahead+1, ahead+2), nil},
		{"files in the wrong order", append(steady(2000, moat.Hour), steady(2000, moat.Hour)...), nil},
		{"a little out of order", shuffled, nil},
		{"nothing but the future", []moat.Time{future}, []int{0}},
		{"all of it in the future", []moat.Time{future, future + 1, future + 2}, []int{0, 1, 2}},
		{"the future, then the past", put(steady(3, moat.Minute), 0, future), []int{0}},
		{"the past, then the future", append(steady(3, moat.Minute), future, future+1), []int{3, 4}},
		{"two in a row", put(put(steady(100, moat.Minute), 50, ahead), 51, ahead+1), []int{50, 51}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHistory(loaded)
			var wrong []int
			var last moat.Time
			n := 0
			give := func(e *moat.Event) {
				if e.Flags&moat.FlagHistory == 0 || e.Received < last || e.Received > loaded || e.ID != itoa(n) {
					t.Errorf("event %s as number %d: received %v after %v", e.ID, n, e.Received, last)
				}
				if e.Flags&moat.FlagClock != 0 {
					wrong = append(wrong, n)
				} else if last = e.Received; e.Received > slices.Max(tt.times) || e.Received > ahead-365*day && len(tt.wrong) > 0 {
					t.Errorf("event %d was received at %v", n, e.Received)
				}
				n++
			}
			for i, at := range tt.times {
				e := moat.Event{Partner: "p", ID: itoa(i), Time: at, Type: moat.AuthLogout}
				e.MarkAll()
				if err := h.add(&e, give); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.flush(give); err != nil {
				t.Fatal(err)
			}
			if n != len(tt.times) || !slices.Equal(wrong, tt.wrong) {
				t.Errorf("%d events, flagged %v, want %v", n, wrong, tt.wrong)
			}
		})
	}
}

// TestFollow plays a log that grows, stops in the middle of a line, is rotated and
// is cut, each step at one look of the follower.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.log")
	line := func(second int, user string) string {
		return fmt.Sprintf("Jun 15 15:06:%02d h sshd[%d]: Failed password for %s from 192.0.2.1 port 1 ssh2\n", second, 100+second, user)
	}
	write := func(flags int, text string) {
		f, err := os.OpenFile(path, flags|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	const more, cut = os.O_APPEND | os.O_CREATE, os.O_TRUNC
	write(more, line(0, "old"))
	var held *os.File // a writer that has not noticed the rotation yet
	steps := []func(){
		func() { write(more, line(1, "a")+line(2, "b")) },
		func() { write(more, line(3, "c")[:30]) },
		func() { write(more, line(3, "c")[30:]) },
		func() {
			var err error
			if held, err = os.OpenFile(path, more|os.O_WRONLY, 0); err != nil {
				t.Fatal(err)
			}
			os.Rename(path, path+".1")
		},
		func() { write(more, line(4, "d")) },
		func() { held.WriteString(line(5, "late") + "unfinished"); held.Close() },
		func() {},
		func() { write(cut, line(6, "e")[:20]) },
		func() { write(more, line(6, "e")[20:]) },
		func() { write(more, "Jun 15 15:06:07 h sshd[9]: Invalid user f from 192.0.2.1 port 1\n") },
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := newMemory(1)
	l := testLoader(m)
	now := noon
	l.Now = func() time.Time { return now.Std() }
	l.Wait = func(ctx context.Context, d time.Duration) error {
		if d != followEvery {
			t.Errorf("wait of %v", d)
		}
		now += moat.Second
		if len(steps) == 0 {
			cancel()
			return ctx.Err()
		}
		steps[0]()
		steps = steps[1:]
		return nil
	}
	report, err := l.Follow(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, e := range m.events(t) {
		got = append(got, e.Actor)
		if live := e.Flags&moat.FlagHistory == 0; live != (i > 0) || e.Flags&moat.FlagClock != 0 || live && e.Received <= noon {
			t.Errorf("event %d: flags %b, received %v", i, e.Flags, e.Received)
		}
	}
	if s := strings.Join(got, " "); s != "old a b c late d e f" || report.Unreadable != 1 || report.Events != 8 {
		t.Errorf("got %s; %+v", s, report)
	}
	if err := os.WriteFile(path, gzipped([]byte("x")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := testLoader(m).Follow(t.Context(), path); err == nil {
		t.Error("a compressed file was followed")
	}
	if _, err := testLoader(m).Follow(t.Context(), path+".none"); err == nil {
		t.Error("a file that is not there was followed")
	}
}

// TestFollowTimer stops a follower that waits by the clock.
func TestFollowTimer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte(logouts(2, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := newMemory(1)
	l := &Loader{River: m, Key: testKey, Progress: func(p Progress) {
		if p.Events == 2 {
			cancel()
		}
	}}
	if r, err := l.Follow(ctx, path); err != nil || r.Events != 2 || len(m.events(t)) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// FuzzLine: no line of a log breaks a reader, and what it brings is within the contract.
func FuzzLine(f *testing.F) {
	for _, name := range []string{"auth.log", "mixed.log", "access.log"} {
		text, err := os.ReadFile(filepath.Join("testdata", "logs", name))
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			f.Add(line, line)
		}
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, format := range []string{FormatSSHD, FormatAccess} {
			m := newMemory(1)
			l := testLoader(m)
			l.Format = format
			r, err := l.Read(t.Context(), "x", io.MultiReader(strings.NewReader(a), strings.NewReader("\n"), strings.NewReader(b)))
			if err != nil {
				if bytes.HasPrefix([]byte(a), []byte{0x1f, 0x8b}) || bytes.HasPrefix([]byte(a), []byte("\x28\xb5\x2f\xfd")) {
					continue // not a whole compressed file
				}
				t.Fatal(err)
			}
			if n := int64(len(m.events(t))); n != r.Events || len(r.Rejected) != 0 {
				t.Errorf("%d events, %+v", n, r)
			}
		}
		detectFormat([]byte(a))
	})
}

func BenchmarkLoad(b *testing.B) {
	var auth bytes.Buffer
	for i := range 5000 {
		fmt.Fprintf(&auth, "Jun 15 %02d:%02d:%02d gate sshd[%d]: Failed password for invalid user u%d from 192.0.2.%d port %d ssh2\n", i/3600, i/60%60, i%60, i, i%50, i%250, i)
	}
	var web bytes.Buffer
	for i := range 5000 {
		fmt.Fprintf(&web, "192.0.2.%d - - [15/Jun/2025:%02d:%02d:%02d +0000] \"GET /trade/list?shop=%d HTTP/1.1\" 200 %d \"https://erp.example/\" \"Mozilla/5.0 (X11)\"\n", i%250, i/3600, i/60%60, i%60, i, i)
	}
	for name, data := range map[string][]byte{"ndjson": sampleBody(5000), "sshd": auth.Bytes(), "access": web.Bytes()} {
		b.Run(name, func(b *testing.B) {
			m := newMemory(1)
			m.discard = true
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			start := cpuTime(b)
			for b.Loop() {
				if r, err := testLoader(m).Read(b.Context(), "x", bytes.NewReader(data)); err != nil || r.Events != 5000 {
					b.Fatal(r, err)
				}
			}
			b.ReportMetric(float64((cpuTime(b)-start).Nanoseconds())/float64(b.N)/5000, "cpu-ns/event")
		})
	}
}
