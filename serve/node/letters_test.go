package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/foresee"
	"github.com/moat-platform/moat/river"
)

// unsent are the letters of a folder whose river takes nothing.
func unsent(t *testing.T, dir string, log *bytes.Buffer) *letters {
	t.Helper()
	r, err := river.Open(t.Context(), river.Config{Dir: t.TempDir(), Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := &partition{n: &Node{River: r, log: slog.New(slog.NewTextHandler(log, nil)), cfg: Config{Dir: dir}}}
	l := &letters{p: p, piles: map[int]*pile{}}
	if err := l.load(); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *letters) events() (n int) {
	for _, p := range l.piles {
		n += p.open.Len()
		for _, b := range p.whole {
			var r moat.BatchReader
			if r.Open(b) == nil {
				n += r.Len()
			}
		}
	}
	return n
}

// TestLettersBounded: of what cannot be sent sightings are given up first, and all that is not is there after a restart.
func TestLettersBounded(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	l := unsent(t, dir, &log)
	long, n := strings.Repeat("x", 64<<10), 0
	fill := func(partner string, e moat.EventType) {
		for given := l.givenUp.Load(); l.givenUp.Load() == given; n++ {
			l.post(foresee.Out{Warnings: []*moat.Event{{Partner: partner, ID: fmt.Sprint(n), Type: e, Reason: long}}})
		}
		n--
	}
	fill(foresee.Everyone, moat.Sighting)
	sightings := n
	fill("acme", moat.CanaryTouch)
	if sightings < 400 || n < 3*sightings/2 || !strings.Contains(log.String(), "is given up") {
		t.Errorf("%d sightings and %d events wait; the log says %s", sightings, n, &log)
	}
	if err := l.flush(); err != nil {
		t.Fatal(err)
	}
	if l = unsent(t, dir, &log); l.events() != n {
		t.Errorf("%d events wait after a restart, want %d", l.events(), n)
	}
	flipped, err := os.ReadFile(l.file())
	if err != nil {
		t.Fatal(err)
	}
	flipped[len(flipped)/2] ^= 1
	if err := os.WriteFile(l.file(), flipped, 0o600); err != nil {
		t.Fatal(err)
	}
	if l = unsent(t, dir, &log); l.events() != 0 || !strings.Contains(log.String(), "was set aside") {
		t.Errorf("of a damaged file %d events are read; the log says %s", l.events(), &log)
	}
	if _, err := os.Stat(l.file() + ".damaged"); err != nil {
		t.Error(err)
	}
}
