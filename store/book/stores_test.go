package book

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/moat-platform/moat"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(crashBook); path != "" {
		crashChild(path)
	}
	code := m.Run()
	stopServer()
	os.Exit(code)
}

var (
	serverAsked           atomic.Bool
	testsOver, serverGone = make(chan struct{}), make(chan struct{})
)

func stopServer() {
	close(testsOver)
	if serverAsked.Load() {
		<-serverGone
	}
}

// server returns the PostgreSQL that the tests run against, "" when there is
// none, and starts it when it is first asked for.
var server = sync.OnceValues(func() (string, error) {
	type answer struct {
		dsn string
		err error
	}
	serverAsked.Store(true)
	started := make(chan answer)
	go func() {
		defer close(serverGone)
		runtime.LockOSThread() // the kernel stops the server when the thread that started it ends
		dsn, stop, err := startPostgres()
		started <- answer{dsn, err}
		<-testsOver
		stop()
	}()
	a := <-started
	return a.dsn, a.err
})

// each runs f on a new SQLite book and on a new PostgreSQL book.
func each(t *testing.T, f func(t *testing.T, b *Book)) {
	t.Helper()
	eachDSN(t, func(t *testing.T, dsn string) { f(t, openTest(t, dsn)) })
}

func eachDSN(t *testing.T, f func(t *testing.T, dsn string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, filepath.Join(t.TempDir(), "book.db")) })
	dsn, err := server()
	if err != nil {
		t.Fatal(err)
	}
	if dsn == "" {
		t.Log("no PostgreSQL on this machine: ran on SQLite only")
		return
	}
	t.Run("postgres", func(t *testing.T) { f(t, newSchema(t)) })
}

var schemas atomic.Int64

// newSchema returns the URL of an empty PostgreSQL book.
func newSchema(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("moat_test_%d_%d", os.Getpid(), schemas.Add(1))
	admin(tb, "CREATE SCHEMA "+name)
	tb.Cleanup(func() { admin(tb, "DROP SCHEMA "+name+" CASCADE") })
	dsn, err := server()
	if err != nil {
		tb.Fatal(err)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		tb.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String()
}

func admin(tb testing.TB, statement string) {
	tb.Helper()
	dsn, err := server()
	if err != nil {
		tb.Fatal(err)
	}
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		tb.Fatal(err)
	}
}

func openTest(tb testing.TB, dsn string) *Book {
	tb.Helper()
	b, err := Open(context.Background(), dsn, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.Close() })
	return b
}

const start = 1_767_225_600 * moat.Second // 2026-01-01

// finding is the n-th finding of a partner, a second after the one before.
func finding(partner string, n int) moat.Finding {
	e := moat.Entity{Kind: moat.Account, ID: fmt.Sprintf("clerk-%d", n%7)}
	event := fmt.Sprintf("e%d", n)
	return moat.Finding{
		ID: moat.FindingID(partner, "bulk.export", e, event), Time: start + moat.Time(n)*moat.Second, Partner: partner,
		Detector: []string{"bulk.export", "night.login"}[n%2], Dimension: "D1", Family: "bulk", Title: "Export far above the usual",
		Mode: moat.Enforce, Entity: e, Related: []moat.Entity{{Kind: moat.Device, ID: "d1"}, {Kind: moat.IP, ID: "192.0.2.7"}},
		Score: 0.9, Reason: "exported 4,000 orders <in> 5 minutes, usually 40 & fewer", Evidence: []moat.Evidence{{Name: "orders_5m", Value: 4000}},
		Events: []string{event, "e0"}, Orders: 4000, Weight: 0.8, Egress: true, Attack: []string{"T1530"},
	}
}

// story is a case over findings from..to of a partner.
func story(partner string, from, to int) moat.Case {
	first, last := finding(partner, from), finding(partner, to)
	c := moat.Case{
		ID: moat.CaseID(first.ID), Partner: partner, Rank: moat.P2, Score: 91.5, Damage: 1200, Orders: 4000, Opened: first.Time, Updated: last.Time,
		Title: "Export", Reason: "two findings", State: moat.CaseOpen,
		Entities: []moat.Entity{first.Entity, {Kind: moat.Device, ID: "d1"}}, Detectors: []string{first.Detector},
	}
	for n := from; n <= to; n++ {
		c.Findings = append(c.Findings, finding(partner, n).ID)
	}
	return c
}

// verdict is a decision that a case brings.
func decided(c moat.Case, action moat.Action) moat.Decision {
	e := c.Entities[0]
	return moat.Decision{
		ID: moat.DecisionID(c.ID, e.Kind.String(), e.ID, action, 0), Partner: c.Partner, Scope: e.Kind.String(), Value: e.ID, Action: action,
		From: c.Updated, Until: c.Updated + moat.Day, Origin: "playbook", Case: c.ID, Reason: c.Reason,
	}
}

// fill commits ten findings, a case and a decision for a partner.
func fill(t *testing.T, b *Book, partner string, partition int) (moat.Case, moat.Decision) {
	t.Helper()
	c := story(partner, 2, 5)
	c.Campaign = c.ID
	d := decided(c, moat.Verify)
	changes := Changes{Cases: []moat.Case{c}, Decisions: []moat.Decision{d}}
	for n := range 10 {
		changes.Findings = append(changes.Findings, finding(partner, n))
	}
	if err := b.Commit(t.Context(), partition, 10, changes); err != nil {
		t.Fatal(err)
	}
	return c, d
}
