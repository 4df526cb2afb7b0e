package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/alecthomas/kong"

	"github.com/moat-platform/moat/discover/detectors"
)

const root = "../.."

// manual returns every Markdown file of the repository, by its path.
func manual(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != root && (strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata" || e.Name() == "node_modules" || e.Name() == "moat-data"):
			return fs.SkipDir
		case filepath.Ext(path) == ".md":
			text, err := os.ReadFile(path)
			all[path] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("there are only %d pages", len(all))
	}
	return all
}

var (
	fences = regexp.MustCompile("(?ms)^```.*?^```$")
	links  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	spans  = regexp.MustCompile("`([^`\n]+)`")
	titles = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// TestLinks wants every link of the manual into the repository to lead somewhere.
func TestLinks(t *testing.T) {
	all := manual(t)
	for page, text := range all {
		for _, m := range links.FindAllStringSubmatch(fences.ReplaceAllString(text, ""), -1) {
			to, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
				continue
			}
			path := page
			if to != "" {
				path = filepath.Join(filepath.Dir(page), to)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			} else if target, ok := all[path]; anchor != "" && ok && !slices.Contains(anchors(target), anchor) {
				t.Errorf("%s links to %s, and there is no such heading", page, m[1])
			}
		}
	}
}

// anchors are what the headings of a page are linked by.
func anchors(text string) (list []string) {
	for _, m := range titles.FindAllStringSubmatch(fences.ReplaceAllString(text, ""), -1) {
		list = append(list, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1]))
	}
	return list
}

// TestCommands wants every command that the manual names to be one, and those in full to be understood.
func TestCommands(t *testing.T) {
	var cli commands
	parser, err := kong.New(&cli, kong.Name("moat"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, n := range parser.Model.Leaves(false) {
		for ; n != nil && n.Parent != nil; n = n.Parent {
			known[strings.TrimPrefix(n.FullPath(), "moat ")] = true
		}
	}
	named := 0
	for page, text := range manual(t) {
		for _, m := range spans.FindAllStringSubmatch(fences.ReplaceAllString(text, ""), -1) {
			words := strings.Fields(m[1])
			if len(words) < 2 || words[0] != "moat" || strings.HasPrefix(words[1], "-") || words[1] == "COMMAND" {
				continue
			}
			if named++; !known[words[1]] {
				t.Errorf("%s names `%s`, which is no command", page, m[1])
			}
		}
		for _, b := range blocks(text) {
			for _, s := range b.steps {
				words := strings.Fields(s.command)
				if len(words) == 0 || filepath.Base(words[0]) != "moat" || strings.ContainsAny(s.command, "$|<>'\"`") {
					continue
				}
				if _, err := parser.Parse(words[1:]); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: %s: %v", page, s.command, err)
				}
				named++
			}
		}
	}
	if named < 20 {
		t.Errorf("the manual names only %d commands", named)
	}
}

// TestNumbers wants what the manual says of how many detectors there are to be so.
func TestNumbers(t *testing.T) {
	list, _, err := detectors.All()
	if err != nil {
		t.Fatal(err)
	}
	said := 0
	for page, text := range manual(t) {
		for _, m := range regexp.MustCompile(`(\d+)(?: |\]\(|\[|\n)+detectors`).FindAllStringSubmatch(text, -1) {
			if said++; m[1] != strconv.Itoa(len(list)) {
				t.Errorf("%s says that there are %s detectors: there are %d", page, m[1], len(list))
			}
		}
	}
	if said < 3 {
		t.Errorf("the manual says only %d times how many detectors there are", said)
	}
}

// block is a fenced block: a session of commands with their outputs, or the text of a file.
type block struct {
	kind, word string // "console" and "live" or "head", "yaml" and a file's name
	from, to   int    // of what is within the fences
	text       string
	steps      []step
}

type step struct {
	command string
	output  []string
}

func blocks(text string) (list []block) {
	for _, at := range fences.FindAllStringIndex(text, -1) {
		first := at[0] + strings.IndexByte(text[at[0]:], '\n') + 1
		b := block{from: first, to: at[1] - len("```")}
		b.kind, b.word, _ = strings.Cut(strings.Trim(text[at[0]:first], "`\n"), " ")
		b.text = text[b.from:b.to]
		if b.kind == "console" {
			b.steps = steps(b.text)
		}
		list = append(list, b)
	}
	return list
}

// steps reads a session: a command follows "$ " and goes on while its lines end with a backslash.
func steps(text string) (list []step) {
	more := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		command, begins := strings.CutPrefix(line, "$ ")
		switch {
		case more:
			list[len(list)-1].command += "\n" + line
		case begins:
			list = append(list, step{command: command})
		case len(list) > 0:
			list[len(list)-1].output = append(list[len(list)-1].output, line)
			continue
		}
		more = strings.HasSuffix(line, `\`)
	}
	return list
}

// TestDocs does what the tutorial and the story of a leak say, and wants the output that they show. With -update
// they show what came out.
func TestDocs(t *testing.T) {
	for page, least := range map[string]int{"start.md": 12, "leak.md": 5} {
		t.Run(page, func(t *testing.T) { testPage(t, page, least) })
	}
}

func testPage(t *testing.T, page string, least int) {
	path := filepath.Join(root, "docs", page)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(t)
	var got strings.Builder
	end, ran := 0, 0
	for _, b := range blocks(string(text)) {
		got.WriteString(string(text[end:b.from]))
		end = b.to
		if b.kind != "console" {
			if b.word != "" {
				s.write(b.word, b.text)
			}
			got.WriteString(b.text)
			continue
		}
		for _, step := range b.steps {
			fmt.Fprintf(&got, "$ %s\n", step.command)
			shown, did := s.do(step, b.word)
			if did {
				ran++
			}
			for _, line := range shown {
				got.WriteString(line + "\n")
			}
		}
	}
	got.WriteString(string(text[end:]))
	if ran < least {
		t.Errorf("only %d commands were run", ran)
	}
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// session is a reader of the tutorial at work in a folder, with a shell and a server.
type session struct {
	t      *testing.T
	dir    string
	server *exec.Cmd
	url    string
}

func newSession(t *testing.T) *session {
	s := &session{t: t, dir: t.TempDir()}
	docs, err := filepath.Abs(filepath.Join(root, "docs"))
	if err == nil {
		err = os.Symlink(docs, filepath.Join(s.dir, "docs"))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.server != nil {
			s.server.Process.Signal(syscall.SIGTERM)
			if err := s.server.Wait(); err != nil {
				t.Errorf("the server ended with %v", err)
			}
		}
	})
	return s
}

func (s *session) write(name, text string) {
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// do runs a step, and returns what the page is to show and whether anything was run. Of a live step the output
// differs from time to time; of one whose head counts, all but the first line may.
func (s *session) do(step step, word string) (shown []string, ran bool) {
	switch first, _, _ := strings.Cut(step.command, " "); {
	case first == "git" || first == "make" || first == "export":
		return step.output, false
	case step.command == "moat serve":
		s.serve()
		return step.output, true
	}
	lines := s.lines(step.command)
	if step.command == "moat decisions --active" {
		lines = s.settled(step.command, lines)
	}
	shown = fitted(lines, step.output)
	switch {
	case *update:
	case word == "head" && len(lines) > 0 && len(step.output) > 0:
		if lines[0] != step.output[0] {
			s.t.Errorf("$ %s\nbegins with\n%s\n\nand not with\n%s", step.command, lines[0], step.output[0])
		}
	case word == "live" && len(step.output) > 0 && len(lines) == 0:
		s.t.Errorf("$ %s\nsays nothing", step.command)
	case word != "live" && !slices.EqualFunc(shown, step.output, alike):
		s.t.Errorf("$ %s\nshows\n%s\n\nand not, as the page has it,\n%s", step.command, strings.Join(shown, "\n"), strings.Join(step.output, "\n"))
	}
	return shown, true
}

// What of an output a page shows.
const (
	shownWidth = 136
	shownLines = 20
)

// fitted cuts an output to what a page can show: as many lines as it has now, if it is cut there.
func fitted(lines, now []string) []string {
	most := shownLines
	if n := len(now); n > 0 && now[n-1] == "…" {
		most = n - 1
	}
	cut := len(lines) > most
	lines = slices.Clone(lines[:min(len(lines), most)])
	for i, l := range lines {
		if runes := []rune(l); len(runes) > shownWidth {
			lines[i] = strings.TrimRight(string(runes[:shownWidth-1]), " ") + "…"
		}
	}
	if cut {
		lines = append(lines, "…")
	}
	return lines
}

// changing is what differs from run to run: ids that depend on the installation's secret, times.
var changing = regexp.MustCompile(`^(\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d|[\d.]+m?s:?|[cdf]_[a-z2-7]{16}|[a-z2-7]{16}|[a-z2-7]{26}|mk_\w+|http://\S+|─+)$`)

// alike tells whether two lines say the same, but for what changes from run to run. Numbers may differ by a factor of two,
// since distinct things are estimated.
func alike(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	return len(x) == len(y) && slices.EqualFunc(x, y, func(v, w string) bool {
		if v == w || changing.MatchString(v) && changing.MatchString(w) {
			return true
		}
		n, err1 := strconv.ParseFloat(strings.ReplaceAll(strings.Trim(v, "(~),:…"), ",", ""), 64)
		m, err2 := strconv.ParseFloat(strings.ReplaceAll(strings.Trim(w, "(~),:…"), ",", ""), 64)
		return err1 == nil && err2 == nil && n <= 2*m && m <= 2*n
	})
}

// prelude stands before each command: it keeps the variable KEY, and hands what curl was asked to the test,
// which sends it, so that no machine needs a curl to be tested.
const prelude = `
KEY=$(cat .key 2>/dev/null)
curl() {
	printf '%s\n' "$@" > .call
	case "$*" in *@-*) cat > .body ;; esac
}
`

// settled repeats a question until its answer is some and stays the same: what was sent a moment ago is being
// worked on, and a reader is slower than a test.
func (s *session) settled(command string, lines []string) []string {
	same, until := 0, time.Now().Add(10*time.Second)
	for same < 5 && time.Now().Before(until) {
		again := s.lines(command)
		if same++; !slices.Equal(again, lines) || len(lines) < 2 {
			same, lines = 0, again
		}
	}
	return lines
}

// lines runs a command and returns the lines that it printed.
func (s *session) lines(command string) []string {
	out := strings.TrimRight(s.shell(command), "\n")
	if out == "" {
		return nil
	}
	return strings.Split(out, "\n")
}

// shell runs a command and returns what it printed.
func (s *session) shell(command string) string {
	command = strings.ReplaceAll(command, "http://127.0.0.1:8480", s.url)
	c := exec.Command("sh", "-c", prelude+command+"\nended=$?\nprintf %s \"$KEY\" > .key\nexit $ended")
	c.Dir = s.dir
	c.Env = append(os.Environ(), "MOAT_DATA=moat-data", "NO_COLOR=1", "TZ=UTC")
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		s.t.Fatalf("$ %s\n%v\n%s%s", command, err, out.String(), errs.String())
	}
	call := filepath.Join(s.dir, ".call")
	if args, err := os.ReadFile(call); err == nil {
		os.Remove(call)
		out.WriteString(s.curl(strings.Split(strings.TrimSuffix(string(args), "\n"), "\n")))
	}
	return out.String()
}

// curl sends what curl would.
func (s *session) curl(args []string) string {
	header, url, body := http.Header{}, "", ""
	for i := 0; i < len(args); i++ {
		switch a := args[i]; a {
		case "-s":
		case "-H":
			i++
			name, value, _ := strings.Cut(args[i], ": ")
			header.Set(name, value)
		case "--data-binary":
			i++
			body = args[i]
		default:
			url = a
		}
	}
	if body == "@-" {
		text, err := os.ReadFile(filepath.Join(s.dir, ".body"))
		if err != nil {
			s.t.Fatal(err)
		}
		body = string(text)
	}
	r, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header = header
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode/100 != 2 {
		s.t.Fatalf("%s was answered %s: %s %v", url, answer.Status, text, err)
	}
	return string(text)
}

// serve starts the server and waits until it answers.
func (s *session) serve() {
	path, err := exec.LookPath("moat")
	if err != nil {
		s.t.Fatal(err)
	}
	c := exec.Command(path, "serve", "--listen", "127.0.0.1:0", "--log", "error")
	c.Dir, c.Stderr = s.dir, os.Stderr
	c.Env = append(os.Environ(), "MOAT_DATA=moat-data")
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.server = c
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if at, ok := strings.CutPrefix(lines.Text(), "Moat answers on "); ok {
			s.url = at
			return
		}
	}
	s.t.Fatal("the server does not say where it answers")
}
