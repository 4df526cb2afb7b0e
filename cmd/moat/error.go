package main

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/river"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
	"github.com/moat-platform/moat/store/lake"
	"github.com/moat-platform/moat/store/query"
)

// failure is an error with what to do about it and the exit code that it brings.
type failure struct {
	err   error
	hints []string
	code  int
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// hint adds what to do about err.
func hint(err error, hints ...string) error { return &failure{err, hints, exitError} }

// usage is an error of the command line.
func usage(err error, hints ...string) error {
	var p *kong.ParseError
	if errors.As(err, &p) && len(hints) == 0 {
		command := "moat"
		if p.Context != nil && p.Context.Selected() != nil {
			command = strings.TrimSuffix("moat "+strings.TrimPrefix(p.Context.Selected().FullPath(), "moat "), " ")
		}
		hints = []string{command + " --help says what there is"}
	}
	return &failure{err, hints, exitUsage}
}

// errProblems ends a command that has told what it found wrong.
var errProblems = errors.New("problems were found")

// fail prints an error, what to do about it, and returns the exit code.
func (a *app) fail(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errProblems):
		return exitProblems
	case errors.Is(err, context.Canceled) && a.ctx.Err() != nil:
		a.err.line(a.err.paint(red, "error:"), "stopped")
		return exitStopped
	}
	f := &failure{err: err, code: exitError}
	if !errors.As(err, &f) || len(f.hints) == 0 {
		f.hints = a.advice(err)
	}
	if p := rule.AsProblems(err); p != nil {
		a.err.line(a.err.paint(red, "error:"), strings.TrimSuffix(err.Error(), p.Error())+"the detectors are not in order")
		for _, x := range p {
			a.err.line(clean(x.Display()))
		}
	} else {
		a.err.line(a.err.paint(red, "error:"), clean(strings.ReplaceAll(err.Error(), "\n", "; ")))
	}
	for _, h := range f.hints {
		a.err.line(a.err.paint(bold, "hint:"), clean(h))
	}
	return f.code
}

// advice says what to do about errors that any command may meet.
func (a *app) advice(err error) []string {
	var damaged *book.DamagedError
	switch {
	case errors.Is(err, book.ErrNoBook), errors.Is(err, node.ErrNoFolder):
		return []string{"there is no Moat data in " + a.Data + " yet: load some with `moat ingest FILE…`, or start `moat serve`",
			"another folder is named with --data or MOAT_DATA"}
	case errors.Is(err, river.ErrInUse):
		return []string{"a running Moat has " + a.Data + " open: stop it first, or send events to it over HTTP",
			"findings, cases, decisions and all other questions work beside it"}
	case errors.Is(err, book.ErrOlder):
		return []string{"start `moat serve` once: it brings the book up to date"}
	case errors.Is(err, book.ErrNewer):
		return []string{"the data was written by a newer Moat: use that one"}
	case errors.As(err, &damaged):
		return []string{"nothing was changed; restore the book from a backup, or move it away to begin an empty one"}
	case errors.Is(err, lake.ErrDamaged):
		return []string{"start `moat serve` once: it sets damaged files aside and goes on with the rest"}
	case errors.Is(err, diary.ErrKind):
		return []string{"kinds are account, app, host, device, ip, shop, outlet and destination; for an order ask `moat orders ID`"}
	case errors.Is(err, query.ErrUnavailable):
		return []string{"`make build` builds with SQL where there is a C compiler"}
	case errors.Is(err, query.ErrRefused):
		return []string{"ask one SELECT over the view `events`"}
	case errors.Is(err, syscall.EROFS):
		return []string{"the folder can only be read: findings, cases, decisions and all other questions work on it; what writes wants another, named with --data or MOAT_DATA"}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return []string{"the disk is full: make room and start again; what was loaded before counts once"}
	case errors.Is(err, fs.ErrPermission):
		return []string{"run it as the user who owns the folder"}
	case errors.Is(err, fs.ErrNotExist):
		return []string{"look at the path"}
	}
	return nil
}
