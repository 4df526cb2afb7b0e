package indicator

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moat-platform/moat/discover/indicator/internal/place"
)

// Holder keeps the current [Table] and renews it when the files of its folder
// change. It is safe for concurrent use.
type Holder struct {
	table atomic.Pointer[Table]
	dir   string
	log   *slog.Logger
	atlas *place.Atlas

	mu       sync.Mutex
	files    map[string]*file // of the current table, by name
	stray    []Problem        // files of the folder that are not read
	lastFail string           // so that a lasting failure is logged once
}

// Open returns a Holder of what is built in and of the files in dir, as [Load]
// reads them. With dir "" there are no files. If dir cannot be read, the Holder
// still serves what is built in, logs it, and looks again at each
// [Holder.Refresh].
func Open(dir string, log *slog.Logger) (*Holder, error) {
	atlas, err := place.Load()
	if err != nil {
		return nil, err
	}
	h := &Holder{dir: dir, log: log, atlas: atlas}
	if h.Refresh(); h.table.Load() != nil {
		return h, nil
	}
	t, err := build(atlas, nil, nil)
	if err != nil {
		return nil, err
	}
	h.table.Store(t)
	return h, nil
}

// Table returns the current table. Callers ask for it once a batch.
func (h *Holder) Table() *Table { return h.table.Load() }

// Refresh looks at the size and time of each file and, if one has changed, come
// or gone, reads it and renews the table; changed tells so. A file that became
// garbage is refused, and what it held before goes on to serve. If the folder
// cannot be read the table stays as it is. Write a file under a name that
// begins with "." and rename it, so that none is read half.
func (h *Holder) Refresh() (changed bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed, err = h.refresh()
	switch {
	case err == nil:
		h.lastFail = ""
	case err.Error() != h.lastFail:
		h.lastFail = err.Error()
		h.log.Error("indicators not refreshed", "error", err)
	}
	return changed, err
}

func (h *Holder) refresh() (changed bool, err error) {
	if h.dir == "" {
		return false, nil
	}
	files, problems, err := readFolder(h.dir, h.atlas, h.files)
	if err != nil {
		return false, err
	}
	changed = h.table.Load() == nil || len(files) != len(h.files) || !slices.Equal(problems, h.stray)
	now := make(map[string]*file, len(files))
	for _, f := range files {
		now[f.name] = f
		changed = changed || h.files[f.name] != f
	}
	if !changed {
		return false, nil
	}
	t, err := build(h.atlas, files, problems)
	if err != nil {
		return false, err
	}
	h.files, h.stray = now, slices.Clone(problems)
	h.table.Store(t)
	for _, p := range t.problems {
		h.log.Warn("indicator not used", "path", p.Path, "line", p.Line, "reason", p.Reason)
	}
	h.log.Info("indicators refreshed", "files", len(files), "problems", len(t.problems))
	return true, nil
}

// Watch refreshes at each tick until ctx is done or tick is closed. Give it the
// channel of a [time.Ticker]; a minute is a good period.
func (h *Holder) Watch(ctx context.Context, tick <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-tick:
			if !ok {
				return
			}
			h.Refresh() // logs its error
		}
	}
}
