package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/book"
)

// The exit codes.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2
	exitProblems = 3 // what was to be checked is not in order
	exitStopped  = 130
)

// globals are the flags of every command.
type globals struct {
	Data string `env:"MOAT_DATA" default:"./moat-data" placeholder:"DIR" help:"Data folder (${env}; ${default})."`
	Book string `env:"MOAT_BOOK" placeholder:"DSN" help:"Book of cases and decisions: an SQLite file or a postgres:// URL (${env}; DIR/book.db)."`
	JSON bool   `name:"json" help:"Print JSON: one object a line."`
	Log  string `enum:",debug,info,warn,error" default:"" placeholder:"LEVEL" help:"Log to stderr from this level on: debug, info, warn or error."`
}

// app is what a command has to work with.
type app struct {
	globals
	ctx    context.Context
	out    *screen // stdout
	err    *screen // stderr
	log    *slog.Logger
	stdout io.Writer
}

// dataFlag is what a command in a hint needs to find the data folder; "" if it finds it by itself.
func (a *app) dataFlag() string {
	if a.Data == cmp.Or(os.Getenv("MOAT_DATA"), "./moat-data") {
		return ""
	}
	return " --data " + shell(a.Data)
}

// onward says which commands lead on, in the first line of that or in one below it, so that they can be copied as they are.
func (a *app) onward(line int, commands ...string) {
	for i, c := range commands {
		if name, ok := strings.CutPrefix(c, "moat "); ok {
			c = "moat" + a.dataFlag() + " " + name
		}
		commands[i] = strings.ReplaceAll(c, " | moat ", " | moat"+a.dataFlag()+" ")
	}
	a.out.line(a.out.paint(dim, []string{"next: ", "      "}[min(line, 1)]+strings.Join(commands, " · ")))
}

// run is the whole program; it returns the exit code.
func run(args []string) int {
	var cli commands
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parser, err := kong.New(&cli, kong.Name("moat"), kong.UsageOnError(),
		kong.Description("Moat finds thieves of order data and ends what they do."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
		kong.ValueFormatter(func(v *kong.Value) string { return v.Help }))
	if err != nil {
		panic("BUG: " + err.Error()) // the command line is a constant
	}
	a := &app{ctx: ctx, out: newScreen(os.Stdout), err: newScreen(os.Stderr), stdout: os.Stdout}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	chosen, err := parser.Parse(args)
	if err != nil {
		return a.fail(usage(err))
	}
	a.globals = cli.globals
	a.log = newLogger(cli.Log, slog.LevelWarn)
	if g := chosen.Selected().ClosestGroup(); g != nil && g.Key == "Look" || chosen.Selected().Name == "replay" {
		a.behind()
	}
	return a.fail(chosen.Run(a))
}

// newLogger logs to stderr from a level on, unless the level is named otherwise.
func newLogger(name string, level slog.Level) *slog.Logger {
	if name != "" {
		level.UnmarshalText([]byte(name)) // one of the enumeration
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// by names the person at the keyboard in the audit trail.
func (a *app) by() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return "cli:" + u.Username
	}
	return "cli"
}

func (a *app) path(name ...string) string {
	return filepath.Join(append([]string{a.Data}, name...)...)
}

// dsn is the book's.
func (a *app) dsn() string {
	if a.Book != "" {
		return a.Book
	}
	return a.path("book.db")
}

// read opens the book beside whoever writes it.
func (a *app) read() (*book.Book, error) { return book.OpenReadOnly(a.ctx, a.dsn(), a.log) }

// readOf is read; it says so if a partner is none that is known.
func (a *app) readOf(partner string) (*book.Book, error) {
	b, err := a.read()
	if err != nil || partner == "" {
		return b, err
	}
	if _, err := b.Partner(a.ctx, moat.Everyone(), partner); !errors.Is(err, book.ErrNotFound) {
		return b, err
	}
	if list, _, err := b.Findings(a.ctx, moat.Everyone(), book.Query{Partner: partner, Limit: 1}); err != nil || len(list) > 0 {
		return b, err
	}
	a.err.line(a.err.paint(yellow, "warning:"), fmt.Sprintf("nobody added a partner %q, and nothing was found of it: `moat partner list` lists those that are known", partner))
	return b, nil
}

// write opens the book to change it; the folder must have one.
func (a *app) write() (*book.Book, error) {
	if _, err := os.Stat(a.path("book.db")); a.Book == "" && errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot open book: %w: %s", book.ErrNoBook, a.path("book.db"))
	}
	return book.Open(a.ctx, a.dsn(), a.log)
}

// object prints one JSON line.
func (a *app) object(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// terminal tells whether a file is one.
func terminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
