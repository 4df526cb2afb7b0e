package moat_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/moat-platform/moat"

// room is a folder with all below it, unless a longer name is listed.
type room struct {
	folder string
	floor  int
	beside []string // rooms of the same floor that it may import
}

// floors say why a room stands where it does. A room imports lower floors, itself, and what it
// lists beside it; an arrow never points up.
var floors = []string{
	"the nouns: everything may name them, so they name nothing",
	"knowledge: statistics, the language of detectors, facts about addresses, plausible data; pure",
	"the core: folds over events that are the same on any machine, so nothing here may reach outside",
	"what is kept and how it travels: knows bytes and positions, not what detectors think of them",
	"the verbs: each can be used alone, so none knows another or the server",
	"the server: puts the rooms of one machine together",
	"what runs a whole server to measure it, show it, or be looked at",
	"the command",
}

var rooms = []room{
	{"internal/digits", 0, nil},
	{".", 0, []string{"internal/digits"}},
	{"discover/feature", 1, nil},
	{"discover/indicator", 1, nil},
	{"discover/rule", 1, []string{"discover/feature", "discover/indicator"}},
	{"discover/detectors", 1, []string{"discover/rule"}},
	{"sdk/go", 1, nil},
	{"sim", 1, nil},
	{"discover/engine", 2, nil},
	{"discover/risk", 2, nil},
	{"river", 3, nil},
	{"store", 3, nil},
	{"ingest", 4, nil},
	{"locate", 4, nil},
	{"dispose", 4, nil},
	{"prevent", 4, nil},
	{"foresee", 4, nil},
	{"serve", 5, nil},
	{"console", 6, nil},
	{"sim/bench", 6, nil},
	{"sim/drill", 6, nil},
	{"sim/retail/play", 6, nil},
	{"cmd", 7, nil},
}

// pure rooms may not import these: their only time and chance are those of the events.
var (
	pureRooms = []string{".", "discover/feature", "discover/rule", "discover/engine", "discover/risk"}
	impure    = []string{"os", "os/exec", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "log", "log/slog", "database/sql", "syscall"}
	clocks    = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
)

// Sizes that new code may not cross.
const (
	maxFileLines = 900
	maxFuncLines = 120
	maxMainLines = 60
)

// long lists what is over a size, and why; it may only shrink.
var long = map[string]string{}

// spoken are words that tell how the house is built instead of what it is.
var spoken = []*regexp.Regexp{
	regexp.MustCompile(`(^|[\s"'(=` + "`" + `])/(work|tmp)/`),
	regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`),
	regexp.MustCompile(`(?i)\b(task|issue|session|sprint) #?[0-9]+\b`),
	regexp.MustCompile(`(?i)\b(claude|chatgpt|copilot|language model|sub-?agent)\b`),
	regexp.MustCompile(`\b(design|style|costs|methods|detections|protocols|enforcement|conventions)\.md\b`),
}

// source is one Go file.
type source struct {
	file  string // path from the root, with slashes
	text  []byte
	tree  *ast.File
	fset  *token.FileSet
	test  bool
	words []string // imports
}

func (s *source) dir() string { return path.Dir(s.file) }

func (s *source) line(p token.Pos) int { return s.fset.Position(p).Line }

// walk calls visit for the files of the house: not for what is built, fetched or test data.
func walk(t *testing.T, visit func(file string)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS("."), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case ".git", "bin", "testdata", "node_modules", "moat-data", "vendor":
				return fs.SkipDir
			}
			return nil
		}
		visit(file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sources(t *testing.T) (list []*source) {
	t.Helper()
	fset := token.NewFileSet()
	walk(t, func(file string) {
		if path.Ext(file) != ".go" {
			return
		}
		s := &source{file: file, text: read(t, file), fset: fset, test: strings.HasSuffix(file, "_test.go")}
		var err error
		if s.tree, err = parser.ParseFile(fset, file, s.text, parser.ParseComments); err != nil {
			t.Fatal(err)
		}
		for _, i := range s.tree.Imports {
			s.words = append(s.words, strings.Trim(i.Path.Value, `"`))
		}
		list = append(list, s)
	})
	if len(list) < 100 {
		t.Fatalf("only %d files of Go were found", len(list))
	}
	return list
}

// TestHouse holds the rules of the house that a compiler does not know.
func TestHouse(t *testing.T) {
	list := sources(t)
	t.Run("packages say what they are", func(t *testing.T) { packageDocs(t, list) })
	t.Run("arrows point down", func(t *testing.T) { arrows(t, list) })
	t.Run("the core is pure", func(t *testing.T) { purity(t, list) })
	t.Run("tests neither sleep nor skip", func(t *testing.T) { restless(t, list) })
	t.Run("sizes", func(t *testing.T) { sizes(t, list) })
	t.Run("gofmt", func(t *testing.T) { formatted(t, list) })
	t.Run("modules", func(t *testing.T) { modules(t, list) })
	t.Run("words", words)
	t.Run("the map is whole", codeMap)
}

var sentence = regexp.MustCompile(`[.!?]["')\]]*(\s|$)`)

func packageDocs(t *testing.T, list []*source) {
	docs := map[string]string{}
	for _, s := range list {
		if !s.test {
			docs[s.dir()] += s.tree.Doc.Text()
		}
	}
	for dir, doc := range docs {
		if n := len(sentence.FindAllString(doc, -1)); n < 2 {
			t.Errorf("%s: the package has a doc comment of %d sentences; say what it is, when to use it and what it will not do", dir, n)
		}
	}
}

func roomOf(dir string) *room {
	var best *room
	for i := range rooms {
		r := &rooms[i]
		if (dir == r.folder || strings.HasPrefix(dir, r.folder+"/")) && (best == nil || len(r.folder) > len(best.folder)) {
			best = r
		}
	}
	return best
}

func arrows(t *testing.T, list []*source) {
	for _, s := range list {
		if s.test {
			continue // a test may use anything, as a user would
		}
		from := roomOf(s.dir())
		if from == nil {
			t.Errorf("%s: no floor for this folder: add it to the table of rooms", s.file)
			continue
		}
		for _, w := range s.words {
			rel, ours := strings.CutPrefix(w, module)
			if !ours {
				if first, _, _ := strings.Cut(w, "/"); from.folder == "." && strings.Contains(first, ".") {
					t.Errorf("%s imports %s: the nouns use the standard library only, so that anybody can use them", s.file, w)
				}
				continue
			}
			to := roomOf(path.Clean("./" + rel))
			switch {
			case to == nil:
				t.Errorf("%s imports %s, which is on no floor", s.file, w)
			case to.folder == from.folder, to.floor < from.floor, slices.Contains(from.beside, to.folder):
			default:
				t.Errorf("%s imports %s: floor %d (%s) may not look at floor %d (%s)", s.file, w, from.floor, floors[from.floor], to.floor, floors[to.floor])
			}
		}
	}
}

func purity(t *testing.T, list []*source) {
	for _, s := range list {
		if r := roomOf(s.dir()); s.test || r == nil || !slices.Contains(pureRooms, r.folder) {
			continue
		}
		for _, w := range s.words {
			if slices.Contains(impure, w) {
				t.Errorf("%s imports %s: this room is pure", s.file, w)
			}
		}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s:%d: a goroutine: this room runs on its caller's", s.file, s.line(n.Pos()))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
					t.Errorf("%s:%d: time.%s: the only time here is that of the events", s.file, s.line(n.Pos()), n.Sel.Name)
				}
			}
			return true
		})
	}
}

func restless(t *testing.T, list []*source) {
	for _, s := range list {
		if !s.test {
			continue
		}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			switch {
			case !ok:
			case x.Name == "time" && sel.Sel.Name == "Sleep":
				t.Errorf("%s:%d: a test sleeps: wait for what you expect, or use testing/synctest", s.file, s.line(n.Pos()))
			case slices.Contains([]string{"t", "b", "f", "tb"}, x.Name) && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name):
				t.Errorf("%s:%d: a test is skipped: make it run everywhere, or take it out", s.file, s.line(n.Pos()))
			}
			return true
		})
	}
}

func sizes(t *testing.T, list []*source) {
	over := map[string]bool{}
	check := func(what string, lines, most int) {
		if lines <= most {
			return
		}
		if over[what] = true; long[what] == "" {
			t.Errorf("%s has %d lines, more than %d", what, lines, most)
		}
	}
	for _, s := range list {
		lines := bytes.Count(s.text, []byte("\n"))
		if path.Base(s.file) == "main.go" && strings.HasPrefix(s.file, "cmd/") {
			check(s.file, lines, maxMainLines)
		}
		if s.test {
			continue
		}
		check(s.file, lines, maxFileLines)
		for _, d := range s.tree.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				check(s.file+" "+f.Name.Name, s.line(f.End())-s.line(f.Pos())+1, maxFuncLines)
			}
		}
	}
	for what := range long {
		if !over[what] {
			t.Errorf("%s is short now: take it off the list", what)
		}
	}
}

func formatted(t *testing.T, list []*source) {
	for _, s := range list {
		if want, err := format.Source(s.text); err != nil || !bytes.Equal(want, s.text) {
			t.Errorf("%s is not formatted: run gofmt -w (%v)", s.file, err)
		}
	}
}

var required = regexp.MustCompile(`(?m)^(?:require\s+|\t)([^\s()]+) v\S+( // indirect)?$`)

func modules(t *testing.T, list []*source) {
	indirect, used := map[string]bool{}, map[string]string{}
	for _, m := range required.FindAllStringSubmatch(string(read(t, "go.mod")), -1) {
		indirect[m[1]] = m[2] != ""
	}
	if len(indirect) < 10 {
		t.Fatalf("only %d modules were found in go.mod", len(indirect))
	}
	for _, s := range list {
		for _, w := range s.words {
			best := ""
			for m := range indirect {
				if (w == m || strings.HasPrefix(w, m+"/")) && len(m) > len(best) {
					best = m
				}
			}
			if first, _, _ := strings.Cut(w, "/"); best == "" && strings.Contains(first, ".") && w != module && !strings.HasPrefix(w, module+"/") {
				t.Errorf("%s imports %s, which go.mod does not require", s.file, w)
			}
			used[best] = s.file
		}
	}
	for m, marked := range indirect {
		switch file, direct := used[m], used[m] != ""; {
		case direct && marked:
			t.Errorf("go.mod marks %s as indirect, but %s imports it", m, file)
		case !direct && !marked:
			t.Errorf("go.mod requires %s directly, but nothing imports it", m)
		}
	}
}

func words(t *testing.T) {
	kinds := []string{".go", ".md", ".yaml", ".yml", ".sh", ".html", ".ts", ".css", ".sql", ".mod", ""}
	walk(t, func(file string) {
		if !slices.Contains(kinds, path.Ext(file)) || file == "house_test.go" || file == "LICENSE" || strings.Contains(file, "/data/") {
			return
		}
		text := read(t, file)
		if bytes.IndexByte(text, 0) >= 0 {
			return
		}
		for i, line := range strings.Split(string(text), "\n") {
			for _, p := range spoken {
				if m := p.FindString(line); m != "" {
					t.Errorf("%s:%d: %q does not belong in the house", file, i+1, strings.TrimSpace(m))
				}
			}
		}
	})
}

// codeMap checks that ARCHITECTURE.md names every folder at the top.
func codeMap(t *testing.T) {
	text := string(read(t, "ARCHITECTURE.md"))
	tops := map[string]bool{}
	walk(t, func(file string) {
		if top, _, below := strings.Cut(file, "/"); below && !strings.HasPrefix(top, ".") {
			tops[top] = true
		}
	})
	for top := range tops {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)(^|[\s(\x60\[/])%s/?[\s)\x60\]/]`, top)).MatchString(text) {
			t.Errorf("ARCHITECTURE.md does not name %s/", top)
		}
	}
}
