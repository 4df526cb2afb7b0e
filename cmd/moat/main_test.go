package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/store/book"
	"github.com/moat-platform/moat/store/query"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"moat": main})
}

var update = flag.Bool("update", false, "write the golden files in the sessions anew")

// TestScripts runs the sessions in testdata: commands, what they print, and how they end.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) < 12 {
		t.Fatalf("%d sessions, %v", len(scripts), err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("MOAT_DATA", filepath.Join(e.WorkDir, "data"))
			e.Setenv("NO_COLOR", "1")
			e.Values[serverKey{}] = &server{}
			return nil
		},
		Condition: func(name string) (bool, error) {
			_, err := query.Open("lake")
			return name == "duckdb" && !errors.Is(err, query.ErrUnavailable), nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "pick": pick, "key": key, "serve": serve, "terminate": terminate, "crash": crash, "post": post, "await": await, "tamper": tamper, "found": found, "append": appendTo,
		},
	})
}

// exits CODE COMMAND… wants that exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); !errors.As(err, &exit) || exit.ExitCode() != want {
		ts.Fatalf("it ended with %v, want exit code %d", err, want)
	}
}

// pick NAME puts the first id of the output before into the environment.
func pick(ts *testscript.TestScript, _ bool, args []string) {
	form := map[string]string{"case": `c_[a-z2-7]{16}`, "decision": `d_[a-z2-7]{16}`, "key": `(?m)^[a-z2-7]{16}`, "order": `(?m)^44[0-9]{14}$`, "lot": `cl_[a-z2-7]{16}`, "snooze": `z_[a-z2-7]{16}`}[args[0]]
	id := regexp.MustCompile(form).FindString(ts.ReadFile("stdout"))
	if id == "" {
		ts.Fatalf("there is no %s", args[0])
	}
	ts.Setenv(args[0], id)
}

// key takes the text of the key in the output before for later calls.
func key(ts *testscript.TestScript, _ bool, _ []string) {
	var k api.ShownKey
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &k))
	ts.Setenv("KEY", k.Text)
}

// server is a `moat serve` that runs beside a session.
type server struct {
	cmd *exec.Cmd
	url string
}

type serverKey struct{}

// serve starts a server and waits until it says that it is there.
func serve(ts *testscript.TestScript, _ bool, _ []string) {
	path, err := exec.LookPath("moat")
	ts.Check(err)
	s := ts.Value(serverKey{}).(*server)
	s.cmd = exec.Command(path, "serve", "--listen", "127.0.0.1:0", "--log", "error")
	s.cmd.Dir = ts.MkAbs(".")
	s.cmd.Env = append(os.Environ(), "MOAT_DATA="+ts.Getenv("MOAT_DATA"))
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(s.cmd.Start())
	ts.Defer(func() {
		if s.cmd.ProcessState == nil {
			s.cmd.Process.Kill()
			s.cmd.Wait()
		}
	})
	welcome, lines := "", bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "moat findings") {
		welcome += lines.Text() + "\n"
		if at, ok := strings.CutPrefix(lines.Text(), "Moat answers on "); ok {
			s.url = at
		}
	}
	for _, want := range []string{"http://127.0.0.1:", "moat partner add acme", "moat key create", s.url + "/v1/events"} {
		if !strings.Contains(welcome, want) {
			ts.Fatalf("the welcome lacks %q:\n%s", want, welcome)
		}
	}
	ts.Setenv("URL", s.url)
	ts.Setenv("listen", strings.TrimPrefix(s.url, "http://"))
}

// terminate ends the server and wants it to end well.
func terminate(ts *testscript.TestScript, _ bool, _ []string) {
	s := ts.Value(serverKey{}).(*server)
	ts.Check(s.cmd.Process.Signal(syscall.SIGTERM))
	ts.Check(s.cmd.Wait())
}

// crash ends the server at once.
func crash(ts *testscript.TestScript, _ bool, _ []string) {
	s := ts.Value(serverKey{}).(*server)
	ts.Check(s.cmd.Process.Kill())
	if err := s.cmd.Wait(); err == nil {
		ts.Fatalf("it ended before")
	}
}

// post FILE sends events. In the file, "@n" becomes the time n seconds after an hour ago.
func post(ts *testscript.TestScript, _ bool, args []string) {
	start := time.Now().Add(-time.Hour)
	events := regexp.MustCompile(`"@[0-9]+"`).ReplaceAllStringFunc(ts.ReadFile(args[0]), func(at string) string {
		n, err := strconv.Atoi(strings.Trim(at, `"@`))
		ts.Check(err)
		return strconv.Quote(start.Add(time.Duration(n) * time.Second).UTC().Format(time.RFC3339))
	})
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(events), 0o600))
	r, err := http.NewRequest("POST", ts.Getenv("URL")+"/v1/events", strings.NewReader(events))
	ts.Check(err)
	r.Header.Set("Authorization", "Bearer "+ts.Getenv("KEY"))
	r.Header.Set("Content-Type", "application/x-ndjson")
	answer, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer answer.Body.Close()
	var told struct{ Accepted int }
	ts.Check(json.NewDecoder(answer.Body).Decode(&told))
	if n := strings.Count(events, "\n"); answer.StatusCode != http.StatusAccepted || told.Accepted != n {
		ts.Fatalf("the events were answered %s: %d of %d accepted", answer.Status, told.Accepted, n)
	}
}

// await findings returns when the server found something.
func await(ts *testscript.TestScript, _ bool, _ []string) {
	c, err := api.Dial(context.Background(), ts.Getenv("MOAT_DATA"))
	ts.Check(err)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		found, _, err := c.Findings(context.Background(), book.Query{})
		ts.Check(err)
		if len(found) > 0 {
			return
		}
	}
	ts.Fatalf("nothing was found in 10 s")
}

// tamper changes a record of the audit trail behind the book's back.
func tamper(ts *testscript.TestScript, _ bool, _ []string) {
	db, err := sql.Open("sqlite", filepath.Join(ts.Getenv("MOAT_DATA"), "book.db"))
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec("UPDATE audit SET person = 'nobody' WHERE seq = 2")
	ts.Check(err)
}

// found N returns when findings about N entities are in the book.
func found(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	n := 0
	for end := time.Now().Add(20 * time.Second); n < want; {
		if time.Now().After(end) {
			ts.Fatalf("findings about %d of %d entities in 20 s", n, want)
		}
		b, err := book.OpenReadOnly(context.Background(), filepath.Join(ts.Getenv("MOAT_DATA"), "book.db"), nil)
		if err != nil { // it is just being made
			continue
		}
		seen := map[moat.Entity]bool{}
		for f, err := range b.AllFindings(context.Background(), moat.Everyone(), book.Query{}) {
			ts.Check(err)
			seen[f.Entity] = true
		}
		n = len(seen)
		ts.Check(b.Close())
	}
}

// append FILE FROM writes the lines of one file to the end of another.
func appendTo(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.WriteString(ts.ReadFile(args[1]))
	ts.Check(errors.Join(err, f.Close()))
}
